//! A log's key that changes: who is believed for what.

use tlog::{
    Checkpoint, EMPTY_ROOT, KeyChange, KeyChangeError, NoteSigner, NoteVerifier, Policy, PolicyError,
    SignedNote, Succession,
};

const ORIGIN: &str = "example.com/log";

fn key(number: u8) -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[number; 32]).unwrap()
}

/// The change from one key to the next, behind so many entries.
fn change(number: u8, entries: u64) -> KeyChange {
    let (old, new) = (key(number).verifier(), key(number + 1).verifier());
    KeyChange { number: number.into(), entries, both_until_s: 1_800_000_000, old, new }
}

fn chain(believed: u8) -> Succession {
    Succession::new(key(believed).verifier(), vec![change(1, 100), change(2, 200)]).unwrap()
}

fn note(size: u64, by: &[u8]) -> SignedNote {
    let signers: Vec<NoteSigner> = by.iter().map(|number| key(*number)).collect();
    let signers: Vec<&NoteSigner> = signers.iter().collect();
    Checkpoint::new(ORIGIN, size, EMPTY_ROOT).unwrap().sign(&signers).unwrap()
}

#[test]
fn a_key_speaks_up_to_the_size_at_which_it_was_followed() {
    for (size, by, believed) in [
        (100, &[1][..], true),
        (101, &[1], false),
        (101, &[1, 2], true),
        (101, &[2], true),
        (200, &[2], true),
        (201, &[2], false),
        (201, &[2, 3], true),
        // A newer key may sign an older tree.
        (5, &[3], true),
        (5, &[9], false),
        (201, &[1, 2], false),
    ] {
        // Whichever key of the chain is known.
        for known in 1..=3 {
            let opened = chain(known).open(note(size, by).to_string().as_bytes());
            assert_eq!(opened.is_ok(), believed, "size {size} by {by:?}, knowing {known}");
        }
    }
}

#[test]
fn a_change_is_signed_by_both_keys() {
    let change = change(1, 100);
    let note = change.sign(&key(1), &key(2)).unwrap();
    assert_eq!(KeyChange::open(note.to_string().as_bytes()), Ok(change.clone()));
    assert_eq!(change.sign(&key(1), &key(3)), Err(KeyChangeError::Unsigned));
    for by in [&[1][..], &[2], &[1, 3]] {
        let signers: Vec<NoteSigner> = by.iter().map(|number| key(*number)).collect();
        let signers: Vec<&NoteSigner> = signers.iter().collect();
        let note = SignedNote::sign(change.to_string(), &signers).unwrap();
        assert_eq!(KeyChange::open(note.to_string().as_bytes()), Err(KeyChangeError::Unsigned), "{by:?}");
    }
    let text = note.to_string();
    for (from, to) in [("entries 100", "entries 0100"), ("v1", "v2"), ("number 1", "number 0"), ("both-", "")]
    {
        let text = text.replacen(from, to, 1);
        assert!(KeyChange::open(text.as_bytes()).is_err(), "{to}");
    }
    assert!(Checkpoint::open(text.as_bytes(), ORIGIN, &[key(1).verifier()]).is_err(), "no checkpoint");
}

#[test]
fn changes_that_do_not_follow_each_other_are_refused() {
    let known = |number: u8| key(number).verifier();
    for (believed, changes) in [
        (known(4), vec![change(1, 100), change(2, 200)]),
        (known(1), vec![change(2, 200)]),
        (known(1), vec![change(1, 100), change(3, 200)]),
        (known(1), vec![change(1, 100), change(2, 99)]),
        (known(1), vec![change(1, 100), change(1, 100)]),
        (known(1), vec![change(1, 100), KeyChange { new: known(1), ..change(2, 200) }]),
    ] {
        assert_eq!(Succession::new(believed, changes), Err(KeyChangeError::Chain));
    }
    assert_eq!(Succession::new(known(4), Vec::new()).unwrap().current(), &known(4));
}

#[test]
fn a_policy_that_names_one_key_believes_its_followers() {
    let policy = |of: &NoteVerifier| Policy::parse(format!("log {of}\nquorum none\n").as_bytes()).unwrap();
    let newest = note(300, &[3]);
    for number in 1..=3 {
        assert!(policy(&key(number).verifier()).open_of(&newest, &chain(1)).is_ok(), "{number}");
    }
    let other = policy(&key(4).verifier()).open_of(&newest, &chain(1));
    assert!(matches!(other, Err(PolicyError::Checkpoint(_))), "{other:?}");
}
