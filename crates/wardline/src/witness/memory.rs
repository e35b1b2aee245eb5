//! What a witness knows: its key, and of each log the last checkpoint that it signed.
//!
//! One folder: `witness.key`, and `logs/` with one file for each origin, which is the signed checkpoint itself, so that
//! it serves as an anchor for `wardline verify`. A checkpoint is durable there before its cosignature leaves.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use tlog::{Checkpoint, Cosigner, EMPTY_ROOT, NoteVerifier, OpenError, Signature, SignedNote, Submission};
use zeroize::Zeroizing;

use crate::config::sha256;
use crate::data::{create_private, write_new};
use crate::output::hex;

const KEY_FILE: &str = "witness.key";
const KEY_HEADER: &str = "wardline witness key v1";
const LOGS_FOLDER: &str = "logs";

/// What becomes of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Seen, remembered and signed: the signature line.
    Cosigned(String),
    /// It is no submission, or its old size is above its size.
    Malformed,
    /// No trusted key of the log signed it.
    Unsigned,
    /// The log is not one that is watched.
    UnknownLog,
    /// The last signed checkpoint has this size, not the old one, or the same size and another root.
    Conflict(u64),
    /// The proof does not lead from the last signed checkpoint to this one.
    Inconsistent,
}

/// The memory of one witness.
pub(crate) struct Memory {
    folder: PathBuf,
    cosigner: Cosigner,
    logs: Vec<NoteVerifier>,
    // One at a time: what was compared is still the last one when it is replaced.
    turn: Mutex<()>,
    _lock: File,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Memory {
    /// Opens a folder, or begins one with a new key under `name`. What is remembered of every log must be readable: a
    /// witness that forgot would sign a second history.
    pub(crate) fn open(folder: &Path, name: Option<&str>, logs: Vec<NoteVerifier>) -> anyhow::Result<Memory> {
        create_private(folder)?;
        let lock =
            File::options().write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another process is the witness of {}", folder.display());
        }
        let cosigner = key(folder, name)?;
        create_private(&folder.join(LOGS_FOLDER))?;
        let memory = Memory { folder: folder.to_owned(), cosigner, logs, turn: Mutex::new(()), _lock: lock };
        for log in &memory.logs {
            let last = memory.last(log.name());
            last.with_context(|| format!("what was signed of `{}`", log.name()))?;
        }
        Ok(memory)
    }

    /// Returns the public key, as policies name it.
    pub(crate) fn verifier(&self) -> tlog::CosignatureVerifier {
        self.cosigner.verifier()
    }

    /// Returns the keys of the logs that are watched.
    pub(crate) fn logs(&self) -> &[NoteVerifier] {
        &self.logs
    }

    /// Judges a submission, and signs it if it continues what was signed before. Blocks for the disk.
    ///
    /// # Errors
    /// When the memory cannot be read or written; then nothing is signed.
    pub(crate) fn add(&self, body: &[u8], now_s: u64) -> anyhow::Result<Answer> {
        let Ok(submission) = Submission::parse(body) else { return Ok(Answer::Malformed) };
        let Ok(claimed) = submission.checkpoint.text().parse::<Checkpoint>() else {
            return Ok(Answer::Malformed);
        };
        let keys: Vec<NoteVerifier> =
            self.logs.iter().filter(|log| log.name() == claimed.origin()).cloned().collect();
        if keys.is_empty() {
            return Ok(Answer::UnknownLog);
        }
        let new = match Checkpoint::from_note(&submission.checkpoint, claimed.origin(), &keys) {
            Ok(new) => new,
            Err(OpenError::Note(_)) => return Ok(Answer::Unsigned),
            Err(OpenError::Checkpoint(_) | OpenError::Origin { .. }) => return Ok(Answer::Malformed),
        };
        if submission.old > new.size() {
            return Ok(Answer::Malformed);
        }
        let _turn = self.turn.lock();
        let (size, root) =
            self.last(new.origin())?.map_or((0, EMPTY_ROOT), |last| (last.size(), last.root()));
        if size != submission.old || (size == new.size() && root != new.root()) {
            return Ok(Answer::Conflict(size));
        }
        if tlog::verify_consistency(size, new.size(), &root, &new.root(), &submission.proof).is_err() {
            return Ok(Answer::Inconsistent);
        }
        let text = submission.checkpoint.text();
        let line = self.cosigner.cosign(text, now_s).context("the clock is beyond the end of time")?;
        let known = |signature: &&Signature| {
            keys.iter().any(|key| key.name() == signature.name() && key.id() == signature.id())
        };
        let mut signatures: Vec<Signature> =
            submission.checkpoint.signatures().iter().filter(known).cloned().collect();
        signatures.push(line.clone());
        let note = SignedNote::new(text.to_owned(), signatures)?;
        self.remember(new.origin(), note.to_string().as_bytes())?;
        Ok(Answer::Cosigned(format!("{line}\n")))
    }

    /// Returns the last checkpoint that was signed of a log, which must bear our own signature.
    pub(crate) fn last(&self, origin: &str) -> anyhow::Result<Option<Checkpoint>> {
        let path = self.file(origin);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        };
        let read = || -> Option<Checkpoint> {
            let note = SignedNote::parse(&bytes).ok()?;
            self.verifier().seen(&note)?;
            note.text().parse().ok().filter(|checkpoint: &Checkpoint| checkpoint.origin() == origin)
        };
        read().map(Some).with_context(|| format!("{} is not what this witness wrote", path.display()))
    }

    fn file(&self, origin: &str) -> PathBuf {
        // Names of logs hold what file names cannot.
        self.folder.join(LOGS_FOLDER).join(hex(&sha256(origin.as_bytes())))
    }

    /// Replaces what is remembered, whole or not at all, and durably.
    fn remember(&self, origin: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.file(origin);
        let fresh = path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(self.folder.join(LOGS_FOLDER))?.sync_all()
    }
}

/// Reads the key, or makes one.
fn key(folder: &Path, name: Option<&str>) -> anyhow::Result<Cosigner> {
    let path = folder.join(KEY_FILE);
    let shown = path.display();
    let text = match fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if folder.join(LOGS_FOLDER).exists() {
                bail!(
                    "{shown} is missing, and with it the key behind what is remembered here; bring it back"
                );
            }
            let Some(name) = name else { bail!("a new witness needs a name: give --name") };
            let mut seed = Zeroizing::new([0; 32]);
            rand::fill(&mut seed[..]).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
            let cosigner = Cosigner::from_seed(name, &seed).context("--name")?;
            let text = Zeroizing::new(format!("{KEY_HEADER}\n{name}\n{}\n", STANDARD.encode(*seed)));
            write_new(&path, 0o600, text.as_bytes()).with_context(|| format!("{shown}"))?;
            return Ok(cosigner);
        }
        Err(error) => return Err(error).with_context(|| format!("{shown}")),
    };
    let read = || -> Option<Cosigner> {
        let mut lines = text.strip_prefix(KEY_HEADER)?.strip_prefix('\n')?.lines();
        let (name, seed) = (lines.next()?, Zeroizing::new(STANDARD.decode(lines.next()?).ok()?));
        Cosigner::from_seed(name, seed.as_slice().try_into().ok()?).ok()
    };
    let cosigner = read().with_context(|| format!("{shown} is not the key of a witness"))?;
    let known = cosigner.verifier();
    if let Some(name) = name.filter(|name| *name != known.name()) {
        bail!("this witness is `{}`, not `{name}`", known.name());
    }
    Ok(cosigner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog::{Frontier, Hash, NoteSigner, leaf_hash, prove_consistency};

    const ORIGIN: &str = "gw1.test";

    fn signer() -> NoteSigner {
        NoteSigner::from_seed(ORIGIN, &[1; 32]).expect("a key")
    }

    fn leaf(prefix: &str, number: u64) -> Hash {
        leaf_hash(format!("{prefix} {number}").as_bytes())
    }

    fn root(prefix: &str, size: u64) -> Hash {
        let mut tree = Frontier::new();
        (0..size).for_each(|number| tree.push(leaf(prefix, number)));
        tree.root()
    }

    fn body(prefix: &str, old: u64, size: u64, signer: &NoteSigner) -> Vec<u8> {
        let tile = |tile: tlog::Tile| -> io::Result<Vec<u8>> {
            Ok((0..u64::from(tile.width())).flat_map(|number| leaf(prefix, number).0).collect())
        };
        let proof =
            if old <= size { prove_consistency(old, size, &tile).expect("a proof") } else { Vec::new() };
        let checkpoint = Checkpoint::new(signer.name(), size, root(prefix, size)).expect("a checkpoint");
        let note = checkpoint.sign(&[signer]).expect("signed");
        Submission { old, proof, checkpoint: note }.to_string().into_bytes()
    }

    #[test]
    fn only_what_continues_is_signed_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            Memory::open(&folder.path().join("w"), Some("w.test"), vec![signer().verifier()]).expect("opens")
        };
        let memory = open();
        let add = |memory: &Memory, body: Vec<u8>| memory.add(&body, 1_700_000_000).expect("an answer");
        assert!(matches!(add(&memory, body("a", 0, 0, &signer())), Answer::Cosigned(_)));
        assert!(matches!(add(&memory, body("a", 0, 9, &signer())), Answer::Cosigned(_)));
        assert_eq!(add(&memory, body("a", 0, 20, &signer())), Answer::Conflict(9));
        assert_eq!(add(&memory, body("a", 4, 20, &signer())), Answer::Conflict(9));
        assert!(matches!(add(&memory, body("a", 9, 9, &signer())), Answer::Cosigned(_)), "again");
        assert_eq!(add(&memory, body("b", 9, 9, &signer())), Answer::Conflict(9), "another root");
        assert_eq!(add(&memory, body("b", 9, 20, &signer())), Answer::Inconsistent);
        assert_eq!(add(&memory, body("a", 9, 5, &signer())), Answer::Malformed, "smaller");
        assert_eq!(add(&memory, body("a", 5, 5, &signer())), Answer::Conflict(9), "smaller");
        let stranger = NoteSigner::from_seed(ORIGIN, &[2; 32]).expect("a key");
        assert_eq!(add(&memory, body("a", 9, 20, &stranger)), Answer::Unsigned);
        let other = NoteSigner::from_seed("gw2.test", &[1; 32]).expect("a key");
        assert_eq!(add(&memory, body("a", 0, 20, &other)), Answer::UnknownLog);
        assert_eq!(add(&memory, b"old 9\n\nnonsense".to_vec()), Answer::Malformed);
        drop(memory);

        let memory = open();
        assert_eq!(add(&memory, body("a", 0, 20, &signer())), Answer::Conflict(9));
        let Answer::Cosigned(line) = add(&memory, body("a", 9, 20, &signer())) else { panic!("not signed") };
        let line = Signature::parse(line.trim_end()).expect("a line");
        let text = Checkpoint::new(ORIGIN, 20, root("a", 20)).expect("a checkpoint").to_string();
        assert_eq!(memory.verifier().verify(&text, &line), Some(1_700_000_000));
    }

    #[test]
    fn a_memory_that_was_touched_or_lost_its_key_does_not_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("w");
        let open = || Memory::open(&place, None, vec![signer().verifier()]);
        assert!(open().is_err(), "no name");
        let memory = Memory::open(&place, Some("w.test"), vec![signer().verifier()]).expect("opens");
        assert!(open().is_err(), "two witnesses of one folder");
        memory.add(&body("a", 0, 9, &signer()), 1).expect("an answer");
        let file = memory.file(ORIGIN);
        drop(memory);
        let whole = fs::read(&file).expect("readable");
        let mut bytes = whole.clone();
        bytes[12] ^= 1;
        fs::write(&file, &bytes).expect("written");
        assert!(open().is_err(), "changed");
        fs::write(&file, &whole).expect("written");
        assert!(open().is_ok());
        fs::remove_file(place.join(KEY_FILE)).expect("removed");
        assert!(Memory::open(&place, Some("w.test"), vec![signer().verifier()]).is_err(), "no key");
    }
}
