//! Proofs for outsiders.

use proptest::prelude::*;
use tlog::{
    Checkpoint, NoteSigner, OfflineProof, OfflineProofError, PROOF_BYTES_MAX, PROOF_EXTRA_BYTES_MAX,
    ProofError, SignedNote, prove_inclusion,
};

use super::support::{Log, ORIGIN};

fn signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[5; 32]).unwrap()
}

fn proof(log: &Log, index: u64, extra: Option<Vec<u8>>) -> OfflineProof {
    let checkpoint = Checkpoint::new(ORIGIN, log.builder.size(), log.builder.root()).unwrap();
    let hashes = prove_inclusion(index, log.builder.size(), log).unwrap();
    OfflineProof { index, hashes, extra, checkpoint: checkpoint.sign(&[&signer()]).unwrap() }
}

#[test]
fn a_proof_survives_its_text_and_proves() {
    for size in [1, 2, 300] {
        let log = Log::at(size);
        for (index, extra) in [(0, None), (size - 1, Some(b"context".to_vec())), (size / 2, Some(Vec::new()))]
        {
            let proof = proof(&log, index, extra);
            let read = OfflineProof::parse(proof.to_string().as_bytes()).unwrap();
            assert_eq!(read, proof);
            let checkpoint =
                read.verify(&log.leaves[index as usize], ORIGIN, &[signer().verifier()]).unwrap();
            assert_eq!((checkpoint.size(), checkpoint.root()), (size, log.builder.root()));
        }
    }
}

#[test]
fn what_does_not_prove_is_refused() {
    let log = Log::at(300);
    let (good, keys) = (proof(&log, 7, None), [signer().verifier()]);
    let leaf = log.leaves[7];
    assert_eq!(
        good.verify(&log.leaves[8], ORIGIN, &keys),
        Err(OfflineProofError::Inclusion(ProofError::Root)),
        "another leaf"
    );
    assert!(OfflineProof { index: 8, ..good.clone() }.verify(&leaf, ORIGIN, &keys).is_err());
    assert!(OfflineProof { index: 300, ..good.clone() }.verify(&leaf, ORIGIN, &keys).is_err());
    assert!(good.verify(&leaf, "example.com/other", &keys).is_err());
    assert!(good.verify(&leaf, ORIGIN, &[]).is_err());
    let text = good.to_string().into_bytes();
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        let proven =
            OfflineProof::parse(&changed).is_ok_and(|proof| proof.verify(&leaf, ORIGIN, &keys).is_ok());
        assert!(!proven, "byte {at}");
    }
}

#[test]
fn malformed_proofs_are_refused() {
    let good = proof(&Log::at(3), 1, Some(b"x".to_vec())).to_string();
    let malformed = [
        String::new(),
        good.replace("@v1", "@v2"),
        good.replace("index 1", "index 01"),
        good.replace("index 1", "index +1"),
        good.replace("index 1", "index"),
        good.replace("index 1\n", ""),
        good.replace("extra ", "extra  "),
        good.replace("extra eA==", "extra eA"),
        good.replace("extra eA==", "extra eA==\nextra eA=="),
        good.replace("index 1\n", "index 1\nAAAA\n"),
        good.replace("index 1\n", "index 1\nindex 1\n"),
        format!("\n{good}"),
        format!("{good}\n"),
        good.trim_end().to_owned(),
        good.replace('\n', "\r\n"),
    ];
    for text in malformed {
        assert!(OfflineProof::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    // The hashes become text before the checkpoint: a note, but none of a checkpoint.
    let split = OfflineProof::parse(good.replace("index 1\n", "index 1\n\n").as_bytes()).unwrap();
    assert!(split.verify(&Log::at(3).leaves[1], ORIGIN, &[signer().verifier()]).is_err());
    let line = format!("{}\n", tlog::EMPTY_ROOT);
    let long = good.replace("index 1\n", &format!("index 1\n{}", line.repeat(65)));
    assert_eq!(OfflineProof::parse(long.as_bytes()), Err(OfflineProofError::TooLong));
    let extra = |bytes: usize| good.replace("eA==", &"AAAA".repeat(bytes / 3));
    assert!(OfflineProof::parse(extra(PROOF_EXTRA_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(
        OfflineProof::parse(extra(PROOF_EXTRA_BYTES_MAX + 3).as_bytes()),
        Err(OfflineProofError::TooLong)
    );
    assert_eq!(OfflineProof::parse(&vec![b'a'; PROOF_BYTES_MAX + 1]), Err(OfflineProofError::TooLong));
}

proptest! {
    #[test]
    fn any_parts_survive_their_text(
        index in any::<u64>(), hashes in prop::collection::vec(any::<[u8; 32]>(), 0..=64),
        extra in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)), text in "([a-z]{0,3}\n){1,4}",
    ) {
        let hashes = hashes.into_iter().map(tlog::Hash).collect();
        let checkpoint = SignedNote::sign(text, &[&signer()]).unwrap();
        let proof = OfflineProof { index, hashes, extra, checkpoint };
        prop_assert_eq!(OfflineProof::parse(proof.to_string().as_bytes()), Ok(proof));
    }
}
