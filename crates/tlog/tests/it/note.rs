//! Signed notes and checkpoints.

use proptest::prelude::*;
use signed_note::{Note, NoteError as TheirError, StandardSigner, StandardVerifier, VerifierList};
use tlog::{
    Checkpoint, CheckpointError, KeyError, KeyId, LEAVES_MAX, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, NoteError,
    NoteSigner, NoteVerifier, OpenError, Signature, SignatureType, SignedNote, leaf_hash,
};

use super::support::ORIGIN;

const SEED: [u8; 32] = [42; 32];

fn signer(name: &str, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(name, &[seed; 32]).unwrap()
}

/// The example of the specification.
const EXAMPLE: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n— \
    quasimodo.example/salvatore \
    NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

/// Key and note from the documentation of Go's `golang.org/x/mod/sumdb/note`.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem \
    is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn the_notes_of_others_are_read() {
    let note = SignedNote::parse(EXAMPLE.as_bytes()).unwrap();
    assert!(note.text().ends_with("sole:\n\ned è subito sera.\n"));
    assert_eq!(note.signatures()[0].name(), "quasimodo.example/salvatore");
    assert_eq!(note.signatures()[0].bytes().len(), 64);
    assert_eq!(note.to_string(), EXAMPLE);

    let key: NoteVerifier = GO_KEY.parse().unwrap();
    assert_eq!((key.name(), key.id()), ("PeterNeumann", KeyId(0xc74f_20a3)));
    assert_eq!(key.to_string(), GO_KEY);
    let note = SignedNote::parse(GO_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&key)).unwrap(), [&key]);
}

#[test]
fn key_and_signature_are_those_of_the_oracle() {
    use base64::Engine as _;
    let ours = NoteSigner::from_seed(ORIGIN, &SEED).unwrap();
    let private = base64::engine::general_purpose::STANDARD.encode([&[1], SEED.as_slice()].concat());
    let theirs = StandardSigner::new(&format!("PRIVATE+KEY+{ORIGIN}+{}+{private}", ours.id())).unwrap();
    let note = SignedNote::sign("text\n".into(), &[&ours]).unwrap();
    let mut their_note = Note::new(b"text\n", &[]).unwrap();
    their_note.add_sigs(&[&theirs]).unwrap();
    assert_eq!(note.to_string().as_bytes(), their_note.to_bytes());
    assert_eq!(ours.verifier().to_string().parse(), Ok(ours.verifier()));
    assert_eq!(NoteVerifier::from_public_key(ORIGIN, *ours.verifier().public_key()), Ok(ours.verifier()));
    assert_eq!(format!("{ours:?}"), format!("NoteSigner({ORIGIN}+{})", ours.id()), "no key in a log");
}

#[test]
fn keys_that_are_none_are_refused() {
    let good = signer(ORIGIN, 1).verifier().to_string();
    let (head, key) = good.rsplit_once('+').unwrap();
    let id = &head[head.len() - 8..];
    let with_type = |byte: u8| {
        use base64::Engine as _;
        let key = [&[byte], signer(ORIGIN, 1).verifier().public_key().as_slice()].concat();
        let id = KeyId::of(ORIGIN, SignatureType(byte), &key[1..]);
        format!("{ORIGIN}+{id}+{}", base64::engine::general_purpose::STANDARD.encode(key))
    };
    for (text, error) in [
        (String::new(), KeyError::Form),
        (ORIGIN.to_owned(), KeyError::Form),
        (head.to_owned(), KeyError::Form),
        (format!("{ORIGIN}+{}+{key}", id.to_uppercase()), KeyError::Form),
        (format!("{ORIGIN}+{id}0+{key}"), KeyError::Form),
        (format!("{ORIGIN}+{id}+"), KeyError::Form),
        (format!("{good}+"), KeyError::Form),
        (format!("{good}\n"), KeyError::Form),
        (format!("other+{id}+{key}"), KeyError::Id),
        (format!("+{id}+{key}"), KeyError::Name),
        (format!("a b+{id}+{key}"), KeyError::Name),
        (with_type(6), KeyError::Unsupported(SignatureType(6))),
    ] {
        assert_eq!(text.parse::<NoteVerifier>(), Err(error), "{text:?}");
    }
    for name in ["", "a b", "a+b", "a\n", "a\u{a0}b", "\u{2003}", "a\u{1}"] {
        assert_eq!(NoteSigner::from_seed(name, &SEED).err(), Some(KeyError::Name), "{name:?}");
    }
}

#[test]
fn unknown_signatures_are_ignored_and_wrong_ones_refused() {
    let (log, witness, other) = (signer(ORIGIN, 1), signer("witness.example", 2), signer(ORIGIN, 3));
    let note = SignedNote::sign("text\n".into(), &[&log, &witness]).unwrap();
    let verify = |note: &SignedNote, keys: &[&NoteSigner]| {
        let keys: Vec<_> = keys.iter().map(|key| key.verifier()).collect();
        note.verify(&keys).map(|signed| signed.len())
    };
    assert_eq!(verify(&note, &[&log]), Ok(1));
    assert_eq!(verify(&note, &[&log, &witness]), Ok(2));
    assert_eq!(verify(&note, &[&log, &witness, &other]), Ok(2));
    assert_eq!(verify(&note, &[&other]), Err(NoteError::Unsigned), "same name, other key");
    assert_eq!(verify(&note, &[]), Err(NoteError::Unsigned));

    // Another algorithm's signature is carried on.
    let foreign = Signature::new("pq.example", KeyId(7), vec![9; 2420]).unwrap();
    let longer = note.clone().with_signature(foreign).unwrap();
    assert_eq!(verify(&longer, &[&log]), Ok(1));
    assert_eq!(SignedNote::parse(longer.to_string().as_bytes()), Ok(longer.clone()));

    // The same signature twice counts once.
    let twice = note.clone().with_signature(log.sign("text\n")).unwrap();
    assert_eq!(verify(&twice, &[&log]), Ok(1));

    let forged = Signature::new(log.name(), log.id(), vec![9; 64]).unwrap();
    let forged = note.with_signature(forged).unwrap();
    let wrong = NoteError::WrongSignature { name: ORIGIN.into(), id: log.id() };
    assert_eq!(verify(&forged, &[&log]), Err(wrong), "one good signature does not outweigh a wrong one");
    assert_eq!(verify(&forged, &[&witness]), Ok(1));
}

#[test]
fn malformed_notes_are_refused() {
    let good = SignedNote::sign("text\n".into(), &[&signer("k", 1)]).unwrap().to_string();
    let line = good.strip_prefix("text\n\n").unwrap();
    let cases = [
        (String::new(), NoteError::Malformed),
        ("text\n".into(), NoteError::Malformed),
        ("text\n\n".into(), NoteError::Malformed),
        (good.trim_end().into(), NoteError::Malformed),
        (format!("{good}\n"), NoteError::Malformed),
        (format!("te\txt\n\n{line}"), NoteError::Malformed),
        (format!("text\r\n\n{line}"), NoteError::Malformed),
        (format!("text\n{line}"), NoteError::Malformed),
        (format!("text\n\n{line}x\n"), NoteError::SignatureLine(2)),
        (good.replace('—', "-"), NoteError::SignatureLine(1)),
        (good.replace("— k ", "—  "), NoteError::SignatureLine(1)),
        (good.replace("— k ", "— k+ "), NoteError::SignatureLine(1)),
        (good.replace("— k ", "— k  "), NoteError::SignatureLine(1)),
        ("text\n\n— k AAAAAA==\n".into(), NoteError::SignatureLine(1)),
        ("text\n\n— k AAAAAAB=\n".into(), NoteError::SignatureLine(1)),
        (format!("text\n\n{}", line.repeat(NOTE_SIGNATURES_MAX + 1)), NoteError::TooManySignatures),
        (format!("{}\n\n{line}", "a".repeat(NOTE_BYTES_MAX)), NoteError::TooLong),
    ];
    for (note, error) in cases {
        assert_eq!(SignedNote::parse(note.as_bytes()), Err(error), "{:.80}", note);
    }
    assert_eq!(SignedNote::parse(b"te\xffxt\n\n"), Err(NoteError::Malformed));
    let most = format!("text\n\n{}", line.repeat(NOTE_SIGNATURES_MAX));
    assert_eq!(SignedNote::parse(most.as_bytes()).unwrap().signatures().len(), NOTE_SIGNATURES_MAX);
    for text in ["", "no newline", "tab\t\n"] {
        assert_eq!(SignedNote::sign(text.into(), &[&signer("k", 1)]), Err(NoteError::Malformed), "{text:?}");
    }
    assert_eq!(SignedNote::sign("unsigned\n".into(), &[]), Err(NoteError::Malformed));
}

#[test]
fn checkpoints_are_read_strictly() {
    let root = leaf_hash(b"root");
    let checkpoint = Checkpoint::new(ORIGIN, 20_852_163, root).unwrap();
    let text = format!("{ORIGIN}\n20852163\n{root}\n");
    assert_eq!(checkpoint.to_string(), text);
    assert_eq!(text.parse(), Ok(checkpoint.clone()));
    let extended = checkpoint.with_extension("more").unwrap().with_extension("and more").unwrap();
    assert_eq!(extended.to_string(), format!("{text}more\nand more\n"));
    assert_eq!(extended.to_string().parse(), Ok(extended.clone()));
    assert_eq!(extended.extensions().collect::<Vec<_>>(), ["more", "and more"]);

    let sized = |size: &str| format!("{ORIGIN}\n{size}\n{root}\n");
    for (text, error) in [
        (String::new(), CheckpointError::Unterminated),
        (text.trim_end().to_owned(), CheckpointError::Unterminated),
        ("\n".into(), CheckpointError::Size),
        (format!("\n7\n{root}\n"), CheckpointError::Origin),
        (format!("a\tb\n7\n{root}\n"), CheckpointError::Origin),
        (format!("{ORIGIN}\n7\n"), CheckpointError::Root),
        (format!("{ORIGIN}\n7\n{root}=\n"), CheckpointError::Root),
        (format!("{ORIGIN}\n7\nAAAA\n"), CheckpointError::Root),
        (format!("{text}\n"), CheckpointError::Extension),
        (format!("{text}\nmore\n"), CheckpointError::Extension),
        (format!("{text}a\rb\n"), CheckpointError::Extension),
        (sized(""), CheckpointError::Size),
        (sized("00"), CheckpointError::Size),
        (sized("07"), CheckpointError::Size),
        (sized("+7"), CheckpointError::Size),
        (sized("-7"), CheckpointError::Size),
        (sized(" 7"), CheckpointError::Size),
        (sized("7 "), CheckpointError::Size),
        (sized("0x7"), CheckpointError::Size),
        (sized("9223372036854775808"), CheckpointError::Size),
        (sized("99999999999999999999"), CheckpointError::Size),
    ] {
        assert_eq!(text.parse::<Checkpoint>(), Err(error), "{text:?}");
    }
    assert_eq!(sized("0").parse::<Checkpoint>().unwrap().size(), 0);
    assert_eq!(sized("9223372036854775807").parse::<Checkpoint>().unwrap().size(), LEAVES_MAX);
    assert_eq!(Checkpoint::new("a\nb", 0, root), Err(CheckpointError::Origin));
    assert_eq!(Checkpoint::new(ORIGIN, LEAVES_MAX + 1, root), Err(CheckpointError::Size));
}

#[test]
fn a_checkpoint_is_believed_only_from_its_log() {
    let key = signer(ORIGIN, 1);
    let keys = [key.verifier()];
    let checkpoint = Checkpoint::new(ORIGIN, 7, leaf_hash(b"root")).unwrap();
    let note = checkpoint.sign(&[&key]).unwrap().to_string();
    assert_eq!(Checkpoint::open(note.as_bytes(), ORIGIN, &keys), Ok(checkpoint.clone()));
    let other = OpenError::Origin { found: ORIGIN.into() };
    assert_eq!(Checkpoint::open(note.as_bytes(), "example.com/other", &keys), Err(other));
    let stranger = [signer(ORIGIN, 2).verifier()];
    assert_eq!(Checkpoint::open(note.as_bytes(), ORIGIN, &stranger), Err(NoteError::Unsigned.into()));
    for at in 0..note.len() {
        let mut changed = note.clone().into_bytes();
        changed[at] ^= 1;
        assert!(Checkpoint::open(&changed, ORIGIN, &keys).is_err(), "byte {at}");
    }
    let text = SignedNote::sign("no checkpoint\n".into(), &[&key]).unwrap().to_string();
    assert_eq!(Checkpoint::open(text.as_bytes(), ORIGIN, &keys), Err(CheckpointError::Size.into()));
    assert_eq!(checkpoint.sign(&[]), Err(NoteError::Malformed));
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Signed(usize),
    Wrong,
    Unsigned,
    Malformed,
}

fn our_verdict(note: &[u8], keys: &[NoteVerifier]) -> Verdict {
    match SignedNote::parse(note).and_then(|note| note.verify(keys).map(|signed| signed.len())) {
        Ok(count) => Verdict::Signed(count),
        Err(NoteError::WrongSignature { .. }) => Verdict::Wrong,
        Err(NoteError::Unsigned) => Verdict::Unsigned,
        Err(_) => Verdict::Malformed,
    }
}

fn their_verdict(note: &[u8], keys: &[NoteVerifier]) -> Verdict {
    let list: Vec<Box<dyn signed_note::Verifier>> = keys
        .iter()
        .map(|key| -> Box<dyn signed_note::Verifier> {
            Box::new(StandardVerifier::new(&key.to_string()).unwrap())
        })
        .collect();
    match Note::from_bytes(note).and_then(|note| note.verify(&VerifierList::new(list))) {
        Ok((verified, _)) => Verdict::Signed(verified.len()),
        Err(TheirError::InvalidSignature { .. }) => Verdict::Wrong,
        Err(TheirError::UnverifiedNote) => Verdict::Unsigned,
        Err(_) => Verdict::Malformed,
    }
}

proptest! {
    /// No key signs twice: where the second signature is wrong, the oracle looks away and we refuse.
    #[test]
    fn verdicts_are_those_of_the_oracle(
        text in "([a-zè \n—]{0,12}\n){1,3}",
        signers in prop::sample::subsequence(vec![1u8, 2, 3], 1..=3),
        known in prop::collection::btree_set(1..4u8, 0..3),
        change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let signers: Vec<_> = signers.into_iter().map(|seed| signer("k", seed)).collect();
        let mut note = SignedNote::sign(text, &signers.iter().collect::<Vec<_>>()).unwrap().to_string().into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(note.len());
            note[at] = byte;
        }
        let keys: Vec<_> = known.into_iter().map(|seed| signer("k", seed).verifier()).collect();
        prop_assert_eq!(our_verdict(&note, &keys), their_verdict(&note, &keys));
    }

    #[test]
    fn checkpoints_are_those_of_the_oracle(
        origin in "[a-z./ ]{0,9}", size in "(0|[1-9][0-9]{0,17}|[0-9+ ]{0,4})", root in any::<[u8; 32]>(), cut in 0..3usize,
        extensions in prop::collection::vec("[a-z ]{0,5}", 0..3),
    ) {
        let mut text = format!("{origin}\n{size}\n{}\n", tlog::Hash(root));
        extensions.iter().for_each(|line| { text.push_str(line); text.push('\n'); });
        text.truncate(text.len() - cut);
        let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes());
        match text.parse::<Checkpoint>() {
            Ok(ours) => {
                let theirs = theirs.unwrap();
                prop_assert_eq!(theirs.to_bytes(), ours.to_string().into_bytes());
                prop_assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (ours.origin(), ours.size(), ours.root().0));
            }
            Err(error) => prop_assert!(theirs.is_err(), "only we refuse {:?}: {}", text, error),
        }
    }
}
