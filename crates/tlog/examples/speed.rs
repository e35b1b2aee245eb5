//! Measures what a leaf costs: `cargo run --release -p tlog --example speed`.
#![allow(clippy::cast_precision_loss, clippy::indexing_slicing)]

use std::hint::black_box;
use std::time::Instant;

use tlog::{Frontier, TileBuilder, leaf_hash, node_hash};

const LEAVES: u32 = 4_000_000;
const ROUNDS: u32 = 5;
/// A leaf of the trail.
const LEAF_BYTES: usize = 56;

fn leaf(number: u32) -> [u8; LEAF_BYTES] {
    let mut leaf = [0x5a; LEAF_BYTES];
    leaf[..4].copy_from_slice(&number.to_le_bytes());
    leaf
}

/// Prints the median of the rounds.
fn measure(what: &str, mut round: impl FnMut()) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() as f64 / f64::from(LEAVES)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!("{what:<44} {median:7.1} ns/leaf {:12.0} leaves/s", 1e9 / median);
}

fn main() {
    let hashes: Vec<_> = (0..LEAVES).map(|number| leaf_hash(&leaf(number))).collect();
    measure("leaf_hash of 56 bytes", || {
        (0..LEAVES).for_each(|number| {
            black_box(leaf_hash(&leaf(number)));
        });
    });
    measure("node_hash", || {
        hashes.iter().for_each(|hash| {
            black_box(node_hash(hash, hash));
        });
    });
    measure("Frontier::push", || {
        let mut frontier = Frontier::new();
        hashes.iter().for_each(|hash| frontier.push(*hash));
        black_box(frontier.root());
    });
    measure("TileBuilder::push", || {
        let mut builder = TileBuilder::new();
        hashes.iter().for_each(|hash| {
            builder.push(*hash, |tile, bytes| {
                black_box((tile, bytes.len()));
            })
        });
        black_box(builder.root());
    });
    measure("leaf_hash and TileBuilder::push, to the root", || {
        let mut builder = TileBuilder::new();
        (0..LEAVES).for_each(|number| {
            builder.push(leaf_hash(&leaf(number)), |tile, bytes| {
                black_box((tile, bytes.len()));
            });
        });
        black_box(builder.root());
    });
}
