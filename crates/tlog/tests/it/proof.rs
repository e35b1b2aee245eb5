//! Proofs: all of small trees, mutated ones, and the oracle's.

use std::io::Error;

use proptest::prelude::*;
use tlog::{
    EMPTY_ROOT, Frontier, Hash, ProofError, ReadError, Tile, leaf_hash, prove_consistency, prove_inclusion,
    verify_consistency, verify_inclusion,
};

use super::support::{Log, Oracle, hash, theirs};

const SIZE: u64 = 300;

/// Sizes at which the oracle is asked too.
fn oracle_is_asked(size: u64) -> bool {
    size <= 40 || (254..260).contains(&size) || size == SIZE
}

#[test]
fn every_leaf_of_every_tree_is_proven() {
    let log = Log::grown(SIZE);
    let oracle = Oracle::of(&log.leaves);
    for size in 1..=SIZE {
        let root = log.roots[size as usize];
        for index in 0..size {
            let leaf = log.leaves[index as usize];
            let proof = prove_inclusion(index, size, &log).unwrap();
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()), "{index} of {size}");
            if oracle_is_asked(size) {
                assert_eq!(tlog_tiles::prove_record(size, index, &oracle).unwrap(), theirs(&proof));
                let (root, leaf) = (tlog_tiles::Hash(root.0), tlog_tiles::Hash(leaf.0));
                tlog_tiles::check_record(&theirs(&proof), size, root, index, leaf).unwrap();
            }
        }
    }
}

#[test]
fn every_tree_is_proven_to_continue_every_smaller_one() {
    let log = Log::grown(SIZE);
    let oracle = Oracle::of(&log.leaves);
    for new in 0..=SIZE {
        for old in 0..=new {
            let (old_root, new_root) = (log.roots[old as usize], log.roots[new as usize]);
            let proof = prove_consistency(old, new, &log).unwrap();
            assert_eq!(verify_consistency(old, new, &old_root, &new_root, &proof), Ok(()), "{old} to {new}");
            if old > 0 && oracle_is_asked(new) {
                assert_eq!(
                    tlog_tiles::prove_tree(new, old, &oracle).unwrap(),
                    theirs(&proof),
                    "{old} to {new}"
                );
                let (o, n) = (tlog_tiles::Hash(old_root.0), tlog_tiles::Hash(new_root.0));
                tlog_tiles::check_tree(&theirs(&proof), new, n, old, o).unwrap();
            }
        }
    }
}

/// Vectors of the reference implementation of RFC 6962.
#[test]
fn known_proofs() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let row: Vec<u8> = leaves.iter().flat_map(|leaf| leaf_hash(leaf).0).collect();
    let reader = |tile: Tile| Ok::<_, Error>(row[..usize::from(tile.width()) * 32].to_vec());
    let proof = prove_inclusion(5, 8, &reader).unwrap();
    assert_eq!(
        proof,
        [
            hash("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
            hash("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
            hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ]
    );
    assert_eq!(
        prove_consistency(6, 8, &reader).unwrap(),
        [
            hash("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
            hash("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
            hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ]
    );
}

#[test]
fn a_changed_inclusion_proof_proves_nothing() {
    let log = Log::grown(40);
    for size in 1..=40 {
        let root = log.roots[size as usize];
        for index in 0..size {
            let leaf = log.leaves[index as usize];
            let proof = prove_inclusion(index, size, &log).unwrap();
            let check =
                |index, leaf: &Hash, proof: &[Hash]| verify_inclusion(index, size, leaf, proof, &root);
            for changed in changed(&proof) {
                assert!(check(index, &leaf, &changed).is_err(), "{index} of {size}: {changed:?}");
            }
            for other in (0..size).filter(|other| *other != index) {
                assert!(check(other, &leaf, &proof).is_err(), "{index} as {other} of {size}");
                assert!(check(index, &log.leaves[other as usize], &proof).is_err());
            }
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &leaf_hash(b"x")), Err(ProofError::Root));
            assert_eq!(check(size, &leaf, &proof), Err(ProofError::OutOfRange));
        }
    }
    assert_eq!(verify_inclusion(0, 0, &EMPTY_ROOT, &[], &EMPTY_ROOT), Err(ProofError::OutOfRange));
}

#[test]
fn a_changed_consistency_proof_proves_nothing() {
    let log = Log::grown(40);
    let other_root = leaf_hash(b"another");
    for new in 0..=40 {
        for old in 0..=new {
            let (old_root, new_root) = (log.roots[old as usize], log.roots[new as usize]);
            let proof = prove_consistency(old, new, &log).unwrap();
            for changed in changed(&proof) {
                let result = verify_consistency(old, new, &old_root, &new_root, &changed);
                assert!(result.is_err(), "{old} to {new}: {changed:?}");
            }
            assert!(verify_consistency(old, new, &other_root, &new_root, &proof).is_err(), "{old} to {new}");
            let trivial = old == 0 && new > 0;
            let result = verify_consistency(old, new, &old_root, &other_root, &proof);
            assert_eq!(result.is_ok(), trivial, "{old} to {new}");
        }
        assert_eq!(verify_consistency(41, new, &EMPTY_ROOT, &EMPTY_ROOT, &[]), Err(ProofError::OutOfRange));
    }
    assert!(verify_consistency(3, 7, &log.roots[3], &log.roots[7], &[]).is_err());
    assert!(verify_consistency(4, 7, &log.roots[4], &log.roots[7], &[]).is_err());
}

/// One byte flipped, one hash dropped, doubled or swapped with the next, one more at either end.
fn changed(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let extra = leaf_hash(b"extra");
    let mut all = vec![[&[extra], proof].concat(), [proof, &[extra]].concat()];
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at].0[at % 32] ^= 0x10;
        let mut dropped = proof.to_vec();
        dropped.remove(at);
        let mut doubled = proof.to_vec();
        doubled.insert(at, proof[at]);
        all.extend([flipped, dropped, doubled]);
        if at + 1 < proof.len() {
            let mut swapped = proof.to_vec();
            swapped.swap(at, at + 1);
            all.push(swapped);
        }
    }
    all
}

#[test]
fn a_full_tile_serves_for_a_partial_one() {
    let log = Log::grown(256);
    let reader = |tile: Tile| {
        let leaves = log.tiles[&Tile::new(0, 0, 256).unwrap()].clone();
        Ok::<_, Error>(if tile.level() == 0 { leaves } else { log.tiles[&tile].clone() })
    };
    for size in 1..=256 {
        assert_eq!(tlog::root_from_tiles(size, &reader).unwrap(), log.roots[size as usize]);
        assert_eq!(prove_inclusion(0, size, &reader).unwrap(), prove_inclusion(0, size, &log).unwrap());
        assert_eq!(prove_consistency(1, size, &reader).unwrap(), prove_consistency(1, size, &log).unwrap());
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let log = Log::grown(3);
    assert!(matches!(prove_inclusion(3, 3, &log), Err(ReadError::OutOfRange)));
    assert!(matches!(prove_inclusion(0, 0, &log), Err(ReadError::OutOfRange)));
    assert!(matches!(prove_inclusion(0, u64::MAX, &log), Err(ReadError::OutOfRange)));
    assert!(matches!(prove_consistency(4, 3, &log), Err(ReadError::OutOfRange)));
    assert!(matches!(prove_consistency(0, u64::MAX, &log), Err(ReadError::OutOfRange)));
    assert!(matches!(prove_inclusion(0, 4, &log), Err(ReadError::Reader { .. })));
}

#[test]
fn proofs_reach_across_levels_of_tiles() {
    let size = 66_000;
    let log = Log::at(size);
    let root = log.builder.root();
    for index in [0, 1, 255, 256, 65_535, 65_536, 65_999] {
        let proof = prove_inclusion(index, size, &log).unwrap();
        assert_eq!(verify_inclusion(index, size, &log.leaves[index as usize], &proof, &root), Ok(()));
    }
    for old in [1, 255, 256, 257, 4096, 65_535, 65_536, 65_537, 65_999] {
        let proof = prove_consistency(old, size, &log).unwrap();
        assert_eq!(verify_consistency(old, size, &log.roots[old as usize - 1], &root, &proof), Ok(()));
    }
}

proptest! {
    /// Whatever the numbers and hashes, the answer is an error or true.
    #[test]
    fn checking_never_panics(a in any::<u64>(), b in any::<u64>(), shift in 0..64u32, length in 0..70usize) {
        let hashes = vec![leaf_hash(b"h"); length];
        let leaf = leaf_hash(b"leaf");
        for (a, b) in [(a, b), (a >> shift, b >> shift), (a >> shift, b)] {
            prop_assert!(verify_inclusion(a, b, &leaf, &hashes, &leaf).is_err() || (b == 1 && length == 0));
            prop_assert!(verify_consistency(a, b, &leaf, &leaf, &hashes).is_err() || (a == b && length == 0));
            let mut known = Frontier::new();
            known.push(leaf);
            prop_assert_eq!(known.root(), leaf);
        }
    }
}
