//! Cosignatures, submissions and policies.

use tlog::{
    Checkpoint, CosignatureVerifier, Cosigner, EMPTY_ROOT, KeyError, NoteSigner, NoteVerifier, Policy,
    PolicyError, Signature, SignedNote, Submission, SubmissionError,
};

const ORIGIN: &str = "example.com/log";

fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness.example/w{number}"), &[number; 32]).unwrap()
}

fn log() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[100; 32]).unwrap()
}

fn signed(by: &[u8]) -> SignedNote {
    let note = Checkpoint::new(ORIGIN, 7, EMPTY_ROOT).unwrap().sign(&[&log()]).unwrap();
    by.iter().fold(note, |note, number| {
        let line = witness(*number).cosign(note.text(), 1_700_000_000).unwrap();
        note.with_signature(line).unwrap()
    })
}

/// The example of the specification: its key is not given, but its key id and time are in the line.
#[test]
fn the_specifications_line_is_read() {
    let line = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";
    let signature = Signature::parse(line).unwrap();
    assert_eq!(signature.name(), "witness.example.com/w1");
    assert_eq!(signature.id().to_string(), "8d66cf3f");
    let (time, rest) = signature.bytes().split_first_chunk::<8>().unwrap();
    assert_eq!((u64::from_be_bytes(*time), rest.len()), (1_679_315_147, 64));
}

#[test]
fn a_cosignature_is_over_text_and_time() {
    let key = witness(1).verifier();
    let note = signed(&[1]);
    assert_eq!(key.seen(&note), Some(1_700_000_000));
    assert_eq!(witness(2).verifier().seen(&note), None);
    let line = note.signatures().last().unwrap();
    assert_eq!(key.verify("other\n", line), None);
    for place in 0..line.bytes().len() {
        let mut bytes = line.bytes().to_vec();
        bytes[place] ^= 1;
        let changed = Signature::new(line.name(), line.id(), bytes).unwrap();
        assert_eq!(key.verify(note.text(), &changed), None, "byte {place}");
    }
    let longer = [line.bytes(), &[0]].concat();
    assert_eq!(key.verify(note.text(), &Signature::new(line.name(), line.id(), longer).unwrap()), None);
    assert!(witness(1).cosign(note.text(), u64::MAX).is_none());
}

#[test]
fn keys_of_logs_and_witnesses_do_not_mix() {
    let (log, witness) = (log().verifier().to_string(), witness(1).verifier().to_string());
    assert_eq!(witness.parse::<CosignatureVerifier>().unwrap().to_string(), witness);
    assert!(matches!(witness.parse::<NoteVerifier>(), Err(KeyError::Unsupported(_))));
    assert!(matches!(log.parse::<CosignatureVerifier>(), Err(KeyError::Unsupported(_))));
    let other_id = witness.replacen('+', "+0", 1);
    assert!(other_id.parse::<CosignatureVerifier>().is_err());
}

#[test]
fn submissions_are_read_as_written() {
    let submission = Submission { old: 3, proof: vec![EMPTY_ROOT; 2], checkpoint: signed(&[1]) };
    let text = submission.to_string();
    assert_eq!(Submission::parse(text.as_bytes()).unwrap(), submission);
    for bad in [
        text.replacen("old 3", "old 03", 1),
        text.replacen("old 3", "old -3", 1),
        text.replacen("old 3", "new 3", 1),
        text.replacen("\n\n", "\n", 1),
        text.replacen(&format!("{EMPTY_ROOT}\n"), "AAAA\n", 1),
        text.trim_end().to_owned(),
    ] {
        assert!(Submission::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let long = Submission { proof: vec![EMPTY_ROOT; 64], ..submission }.to_string();
    assert_eq!(Submission::parse(long.as_bytes()), Err(SubmissionError::TooLong));
}

fn keys() -> String {
    let mut text = format!("# who watches\nlog {} https://log.example\n", log().verifier());
    for number in 1..=4 {
        text.push_str(&format!(
            "\twitness  W{number} {} http://127.0.0.1:{number}\n",
            witness(number).verifier()
        ));
    }
    text
}

#[track_caller]
fn check(quorum: &str, reached: &[&[u8]], missed: &[&[u8]]) {
    let policy = Policy::parse(format!("{}{quorum}\n", keys()).as_bytes()).unwrap();
    for by in reached {
        let opened = policy.open(&signed(by), ORIGIN, &[]);
        assert_eq!(opened.map(|checkpoint| checkpoint.size()), Ok(7), "{by:?}");
    }
    for by in missed {
        let opened = policy.open(&signed(by), ORIGIN, &[]);
        assert!(matches!(opened, Err(PolicyError::Quorum { .. })), "{by:?}: {opened:?}");
    }
}

#[test]
fn quorums_count_as_they_say() {
    check("quorum none", &[&[], &[1]], &[]);
    check("quorum W2", &[&[2], &[1, 2]], &[&[], &[1], &[1, 3]]);
    check("group g 2 W1 W2 W3\nquorum g", &[&[1, 2], &[3, 1, 4]], &[&[], &[1], &[1, 4], &[1, 1]]);
    check("group g any W1 W2\nquorum g", &[&[1], &[2]], &[&[3, 4]]);
    let two = "group g all W1 W2\ngroup h any W3 W4\ngroup both all g h\nquorum both";
    check(two, &[&[1, 2, 3], &[1, 2, 4]], &[&[1, 2], &[1, 3, 4], &[2, 3]]);
}

#[test]
fn a_policy_believes_its_own_log_only() {
    let policy = Policy::parse(format!("{}quorum none\n", keys()).as_bytes()).unwrap();
    assert!(matches!(policy.open(&signed(&[]), "example.com/other", &[]), Err(PolicyError::UnknownLog(_))));
    let forged = NoteSigner::from_seed(ORIGIN, &[101; 32]).unwrap();
    let note = Checkpoint::new(ORIGIN, 7, EMPTY_ROOT).unwrap().sign(&[&forged]).unwrap();
    assert!(matches!(policy.open(&note, ORIGIN, &[forged.verifier()]), Err(PolicyError::Checkpoint(_))));
    let without_logs = Policy::parse(b"quorum none\n").unwrap();
    assert!(without_logs.open(&note, ORIGIN, &[forged.verifier()]).is_ok());
}

#[test]
fn policies_that_are_not_understood_are_refused() {
    let key = witness(9).verifier();
    for (bad, line) in [
        ("".to_owned(), 0),
        ("quorum W1\nquorum W1".to_owned(), 7),
        ("quorum W9".to_owned(), 6),
        ("group g 3 W1 W2\nquorum g".to_owned(), 6),
        ("group g 0 W1 W2\nquorum g".to_owned(), 6),
        ("group g any\nquorum g".to_owned(), 6),
        ("group g any W1 W1\nquorum g".to_owned(), 6),
        ("group g any W1\ngroup h any W1\nquorum g".to_owned(), 7),
        ("group g any h\ngroup h any W1\nquorum g".to_owned(), 6),
        (format!("witness W1 {key}\nquorum W1"), 6),
        (format!("witness none {key}\nquorum none"), 6),
        (format!("witness W9 {}\nquorum none", witness(1).verifier()), 6),
        (format!("log {}\nquorum none", log().verifier()), 6),
        ("witness W9 nonsense\nquorum none".to_owned(), 6),
        ("more\nquorum none".to_owned(), 6),
        ("quorum none\r".to_owned(), 6),
    ] {
        let found = Policy::parse(format!("{}{bad}\n", keys()).as_bytes());
        assert_eq!(found.expect_err(&bad).line, line + usize::from(line > 0), "{bad}");
    }
}
