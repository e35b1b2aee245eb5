//! Files and their digests.

use export::{Checked, Format, Outgoing, Shown, check};

use crate::support::{eventually, open, read, reader, write};

#[test]
fn a_file_is_whole_or_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    write(&trail, &read(1));
    let reader = reader(folder.path());
    eventually("a checkpoint", || reader.durable_at_least().unwrap() > 1);
    let path = folder.path().join("events");
    let mut file = Outgoing::begin(&path, Format::Fhir, Shown::Tokens).unwrap();
    for entry in reader.entries(0).unwrap() {
        file.add(&reader, &entry.unwrap()).unwrap();
    }
    let written = file.finish(&reader).unwrap();
    let key = reader.verifier_key();
    let Checked::Whole(facts) = check(&path, &key).unwrap() else { panic!("it is whole") };
    assert!(facts.contains(&format!("sha256 {}\n", written.sha256)), "{facts}");
    assert!(Outgoing::begin(&path, Format::Fhir, Shown::Tokens).is_err(), "it is there already");
    let other = open(tempfile::tempdir().unwrap().path());
    drop(other);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[1..]).unwrap();
    assert!(matches!(check(&path, &key).unwrap(), Checked::Altered { .. }));
    std::fs::write(&path, &whole).unwrap();
    // A digest that somebody else wrote, or nobody signed.
    let note = folder.path().join("events.digest");
    let forged = std::fs::read_to_string(&note).unwrap().replace("events 2", "events 3");
    std::fs::write(&note, forged).unwrap();
    assert_eq!(check(&path, &key).unwrap(), Checked::NotSigned);
}

#[test]
fn a_checkpoint_is_no_digest() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    trail.close().unwrap();
    let key = reader(folder.path()).verifier_key();
    let checkpoint = std::fs::read(folder.path().join("trail/tree/checkpoint")).unwrap();
    assert_eq!(trail::open_export(&checkpoint, &key), None);
}
