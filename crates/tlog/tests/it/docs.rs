//! The test vectors of `docs/formats/checkpoint.md`, made anew and compared.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use tlog::{
    Checkpoint, Cosigner, KeyChange, NoteSigner, OfflineProof, Policy, SignedNote, Submission,
    bundles_between, encode_entry, prove_consistency, prove_inclusion, tiles_of,
};

use super::support::{Log, entry};

const ORIGIN: &str = "example.com/vectors";
const SIZE: u64 = 300;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// The block of the document after `<!-- vector: NAME -->`.
fn documented(document: &str, name: &str) -> String {
    let (_, rest) =
        document.split_once(&format!("<!-- vector: {name} -->\n```\n")).unwrap_or_else(|| panic!("{name}"));
    rest.split_once("```\n").unwrap().0.to_owned()
}

fn vectors() -> Vec<(&'static str, String)> {
    let signer = NoteSigner::from_seed(ORIGIN, &std::array::from_fn(|i| i as u8)).unwrap();
    let log = Log::grown(SIZE);
    let checkpoint = Checkpoint::new(ORIGIN, SIZE, log.builder.root()).unwrap().sign(&[&signer]).unwrap();
    let roots = [0, 1, 2, 3, 255, 256, 300].map(|size| format!("{size} {}\n", log.roots[size]));
    let mut files = String::new();
    for tile in tiles_of(SIZE) {
        writeln!(files, "{} {tile}", hex(digest(&SHA256, &log.tiles[&tile]).as_ref())).unwrap();
    }
    for bundle in bundles_between(0, SIZE) {
        let first = bundle.first_leaf().unwrap();
        let mut bytes = Vec::new();
        (first..first + u64::from(bundle.width())).for_each(|i| encode_entry(&entry(i), &mut bytes).unwrap());
        writeln!(files, "{} {bundle}", hex(digest(&SHA256, &bytes).as_ref())).unwrap();
    }
    let hashes = prove_inclusion(7, SIZE, &log).unwrap();
    let proof = OfflineProof { index: 7, hashes, extra: None, checkpoint: checkpoint.clone() };
    let consistency = prove_consistency(7, SIZE, &log).unwrap();
    vec![
        ("key", format!("{}\n", signer.verifier())),
        ("roots", roots.concat()),
        ("checkpoint", checkpoint.to_string()),
        ("files", files),
        ("proof", proof.to_string()),
        ("consistency", consistency.iter().map(|hash| format!("{hash}\n")).collect()),
        ("key change", key_change(&signer)),
        ("witness key", format!("{}\n", witness().verifier())),
        ("cosigned", cosigned(&checkpoint)),
        ("submission", Submission { old: 7, proof: consistency, checkpoint }.to_string()),
        ("policy", format!("log {}\nwitness w1 {}\nquorum w1\n", signer.verifier(), witness().verifier())),
    ]
}

fn witness() -> Cosigner {
    Cosigner::from_seed("example.com/witness", &std::array::from_fn(|i| 0x40 + i as u8)).unwrap()
}

fn cosigned(checkpoint: &SignedNote) -> String {
    let line = witness().cosign(checkpoint.text(), 1_800_000_000).unwrap();
    let note = checkpoint.clone().with_signature(line).unwrap();
    let policy = format!("witness w1 {}\nquorum w1\n", witness().verifier());
    assert!(Policy::parse(policy.as_bytes()).unwrap().is_witnessed(&note));
    note.to_string()
}

fn key_change(old: &NoteSigner) -> String {
    let new = NoteSigner::from_seed(ORIGIN, &std::array::from_fn(|i| 0x20 + i as u8)).unwrap();
    let change = KeyChange {
        number: 1,
        entries: SIZE,
        both_until_s: 1_800_000_000,
        old: old.verifier(),
        new: new.verifier(),
    };
    let note = change.sign(old, &new).unwrap().to_string();
    assert_eq!(KeyChange::open(note.as_bytes()), Ok(change));
    note
}

#[test]
fn the_vectors_of_the_document_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/checkpoint.md");
    let mut document = fs::read_to_string(&path).unwrap();
    if std::env::var_os("BLESS").is_some() {
        for (name, vector) in vectors() {
            let mark = format!("<!-- vector: {name} -->\n```\n");
            let old = format!("{mark}{}", documented(&document, name));
            document = document.replacen(&old, &format!("{mark}{vector}"), 1);
        }
        fs::write(path, &document).unwrap();
    }
    for (name, vector) in vectors() {
        assert_eq!(documented(&document, name), vector, "{name}");
    }
}
