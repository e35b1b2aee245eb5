//! Verifiers that share no code with us, on a tree that we wrote: they accept it, and refuse each damage to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use signed_note::{Note, StandardVerifier, VerifierList};
use tempfile::TempDir;
use tlog::NoteSigner;

use super::support::{Log, ORIGIN};

/// Two full tiles and a partial one at level 0, a partial one at level 1.
const SIZE: u64 = 600;

/// Every kind of file of that tree, and a byte in it: first, middle or last.
const DAMAGES: [(&str, Where); 11] = [
    ("tile/0/000", Where::First),
    ("tile/0/001", Where::Last),
    ("tile/0/002.p/88", Where::Middle),
    ("tile/1/000.p/2", Where::Last),
    ("tile/entries/000", Where::First),
    ("tile/entries/001", Where::Middle),
    ("tile/entries/002.p/88", Where::Last),
    ("checkpoint", Where::First),
    ("checkpoint", Where::Middle),
    ("checkpoint", Where::Size),
    ("checkpoint", Where::Signature),
];

#[derive(Clone, Copy, Debug)]
enum Where {
    First,
    Middle,
    Last,
    /// A digit of the checkpoint's tree size.
    Size,
    /// Within the Base64 of the checkpoint's signature.
    Signature,
}

impl Where {
    fn of(self, bytes: &[u8]) -> usize {
        match self {
            Self::First => 0,
            Self::Middle => bytes.len() / 2,
            Self::Last => bytes.len() - 1,
            Self::Size => ORIGIN.len() + 1,
            Self::Signature => bytes.len() - 20,
        }
    }
}

fn signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[9; 32]).unwrap()
}

/// What a verifier said: accepted, or why not.
type Answer = Result<(), String>;

fn check(verify: impl Fn(&Path, &str) -> Answer) {
    let key = signer().verifier().to_string();
    for size in [0, 1, 255, 256, 257, 70_000] {
        let folder = TempDir::new().unwrap();
        Log::at(size).write_to(folder.path(), &signer());
        assert_eq!(verify(folder.path(), &key), Ok(()), "an intact tree of {size}");
    }
    let folder = TempDir::new().unwrap();
    Log::at(SIZE).write_to(folder.path(), &signer());
    assert_eq!(verify(folder.path(), &key), Ok(()), "an intact tree");

    let stranger = NoteSigner::from_seed(ORIGIN, &[8; 32]).unwrap().verifier().to_string();
    verify(folder.path(), &stranger).expect_err("signed by another key");
    for (path, place) in DAMAGES {
        let file = folder.path().join(path);
        let intact = fs::read(&file).unwrap();
        let mut damaged = intact.clone();
        damaged[place.of(&intact)] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert!(verify(folder.path(), &key).is_err(), "{path} changed at {place:?}");
        fs::write(&file, &intact[..intact.len() - 1]).unwrap();
        assert!(verify(folder.path(), &key).is_err(), "{path} cut");
        fs::remove_file(&file).unwrap();
        assert!(verify(folder.path(), &key).is_err(), "{path} removed");
        fs::write(&file, &intact).unwrap();
    }
    assert_eq!(verify(folder.path(), &key), Ok(()), "intact again");
}

/// Reads the answer of a verifier's process. One that could not run has not refused.
fn answer(output: &Output) -> Answer {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) if said.starts_with("verified: ") => Ok(()),
        Some(1) if said.starts_with("refused: ") => Err(said),
        _ => {
            panic!("the verifier broke: {} {said}{}", output.status, String::from_utf8_lossy(&output.stderr))
        }
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

#[test]
fn go_verifies() {
    const NEEDED: &str = "this test needs Go and its x/mod (Debian: golang-go golang-golang-x-mod-dev)";
    let folder = TempDir::new().unwrap();
    let binary = folder.path().join("verify");
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&binary, &program("verify.go")])
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOFLAGS", "")
        .output()
        .unwrap_or_else(|error| panic!("{NEEDED}: {error}"));
    assert!(built.status.success(), "{NEEDED}: {}", String::from_utf8_lossy(&built.stderr));
    check(|folder, key| answer(&Command::new(&binary).arg(folder).arg(key).output().unwrap()));
}

#[test]
fn python_verifies() {
    // Beside a Python from elsewhere, Debian's has the package. It says where it is: a wrapper would cost more than it.
    let python = ["python3", "/usr/bin/python3"].into_iter().find_map(|python| {
        let mut command = Command::new(python);
        let out = command.args(["-c", "import cryptography, sys; print(sys.executable)"]).output().ok()?;
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap().trim().to_owned())
    });
    let python = python.expect("this test needs Python (Debian: python3 python3-cryptography)");
    let script = program("verify.py");
    check(|folder, key| answer(&Command::new(&python).arg(&script).arg(folder).arg(key).output().unwrap()));
}

#[test]
fn the_oracle_verifies() {
    check(|folder, key| {
        let refused = |error: &dyn std::fmt::Debug| format!("{error:?}");
        let verifier = StandardVerifier::new(key).unwrap();
        let message = fs::read(folder.join("checkpoint")).map_err(|e| refused(&e))?;
        let note = Note::from_bytes(&message).map_err(|e| refused(&e))?;
        note.verify(&VerifierList::new(vec![Box::new(verifier)])).map_err(|e| refused(&e))?;
        let head = tlog_tiles::Checkpoint::from_bytes(note.text()).map_err(|e| refused(&e))?;
        if head.origin() != ORIGIN {
            return Err("another origin".into());
        }
        // It stops short of the empty tree.
        if head.size() == 0 {
            return if *head.hash() == tlog_tiles::EMPTY_HASH { Ok(()) } else { Err("another root".into()) };
        }
        oracle_tree(folder, &head)
    });
}

fn oracle_tree(folder: &Path, head: &tlog_tiles::Checkpoint) -> Answer {
    let files = OracleFiles(folder.to_owned());
    let reader = tlog_tiles::TileHashReader::new(head.size(), *head.hash(), &files);
    for mut tile in tlog_tiles::Tile::new_tiles(8, 0, head.size()) {
        let proven = tile.read_data(&reader).map_err(|error| format!("{error:?}"))?;
        if tile.level() > 0 {
            continue;
        }
        tile.set_is_data();
        let mut entries = fs::read(files.path(&tile)).map_err(|error| error.to_string())?;
        for hash in proven.chunks(32) {
            let Some(length) = entries.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))
            else {
                return Err("too few entries".into());
            };
            let entry = entries.get(2..2 + length).ok_or("ends within an entry")?;
            if tlog_tiles::record_hash(entry).0 != hash {
                return Err(format!("an entry of {} is not the leaf", tile.path()));
            }
            entries.drain(..2 + length);
        }
        if !entries.is_empty() {
            return Err("entries beyond the tree".into());
        }
    }
    Ok(())
}

struct OracleFiles(PathBuf);

impl OracleFiles {
    fn path(&self, tile: &tlog_tiles::Tile) -> PathBuf {
        self.0.join(tile.path().replacen("tile/8/", "tile/", 1).replace("/data/", "/entries/"))
    }
}

impl tlog_tiles::TileReader for OracleFiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile| fs::read(self.path(tile)).map_err(|_| tlog_tiles::Error::InvalidTile);
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}
