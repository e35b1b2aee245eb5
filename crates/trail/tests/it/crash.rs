//! Power cuts at every kind of moment: nothing acknowledged is lost, and `verify` passes after recovery.

use std::sync::Arc;
use std::time::Duration;

use trail::{Options, Reader, Trail, VerifyOptions, verify_on};

use crate::memory::{Faults, MemoryDisk, Random};
use crate::support::{options, root, select};

fn small_options() -> Options {
    let mut options = options();
    options.segment_bytes = trail::SEGMENT_BYTES_MIN;
    options.reserve_bytes = 16 << 10;
    options.checkpoint_interval = Duration::from_millis(1);
    options
}

/// A record of this number, sometimes with a text that does not compress.
fn numbered(trail: &Trail, number: u64, random: &mut Random) -> model::Record<'static> {
    let mut record = select(number);
    let bytes =
        (0..random.below(12) * random.below(200)).map(|_| random.next().to_le_bytes()[0]).collect::<Vec<_>>();
    record.sealed = Some(trail.sealer().seal(record.session.unwrap().0, number, &bytes).into());
    record
}

/// Records until the disk fails and returns what was acknowledged: index and record number.
fn record_until_failure(trail: &Trail, random: &mut Random, start: u64) -> Vec<(u64, u64)> {
    let mut acknowledged = Vec::new();
    for round in 0..200 {
        let numbers: Vec<u64> = (0..=random.below(6) as u64).map(|n| start + round * 10 + n).collect();
        let pending: Vec<_> = numbers
            .iter()
            .filter_map(|n| Some((*n, trail.record(&numbered(trail, *n, random)).ok()?)))
            .collect();
        for (number, pending) in pending {
            if let Ok(receipt) = pending.wait() {
                acknowledged.push((receipt.index(), number));
            }
        }
        if trail.state() != trail::State::Open {
            break;
        }
    }
    acknowledged
}

fn check_all_there(disk: &MemoryDisk, acknowledged: &[(u64, u64)], seed: u64) {
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let numbers: Vec<(u64, Option<u64>)> = reader
        .entries(0)
        .unwrap()
        .map(|entry| entry.map(|entry| (entry.index, entry.record.operation.map(|id| id.0))).unwrap())
        .collect();
    for (place, (index, _)) in numbers.iter().enumerate() {
        assert_eq!(*index, place as u64, "seed {seed}: indexes have no gap");
    }
    for (index, number) in acknowledged {
        assert_eq!(numbers[*index as usize].1, Some(*number), "seed {seed}: entry {index} was acknowledged");
    }
}

fn check_verifies(disk: &MemoryDisk, seed: u64) {
    let root = root();
    // A machine that stands still for minutes is silence, but not what is looked for here.
    let heartbeat_gap_max = Duration::from_secs(86_400);
    let options = VerifyOptions { root_key: Some(&root), heartbeat_gap_max, ..VerifyOptions::default() };
    let report = verify_on(disk, options).unwrap();
    assert!(report.passed(), "seed {seed}: {:?}", report.findings);
}

/// Several crashes in a row on one disk, each at a random operation.
fn crash(seed: u64) {
    let mut random = Random::new(seed + 1);
    let mut disk = MemoryDisk::default();
    let mut acknowledged = Vec::new();
    for life in 0..3 {
        // Small numbers cut power within the opening, at its first writes.
        let operations = if random.below(4) == 0 { random.below(30) } else { random.below(500) };
        disk.set_faults(Faults { power_cut_in: Some(operations as u64), ..Faults::default() });
        if let Ok(trail) = Trail::open_on(Arc::new(disk.clone()), &root(), small_options()) {
            acknowledged.extend(record_until_failure(&trail, &mut random, life * 10_000));
            trail.abandon();
        }
        disk = disk.after_power_cut(&mut random);
    }
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), small_options())
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    trail.close().unwrap();
    check_all_there(&disk, &acknowledged, seed);
    check_verifies(&disk, seed);
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let seeds = std::env::var("TRAIL_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    for seed in 0..seeds {
        crash(seed);
    }
}

#[test]
fn a_frame_torn_at_any_byte_is_cut_off() {
    let mut slow = small_options();
    slow.checkpoint_interval = Duration::from_secs(3600);
    let disk = MemoryDisk::default();
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), slow.clone()).unwrap();
    let kept = trail.record(&select(1)).unwrap().wait().unwrap().index();
    let before = disk.copy();
    let _torn = trail.record(&select(2)).unwrap().wait().unwrap();
    let after = disk.copy();
    trail.abandon();
    let file = "segments/0000000000.seg";
    let (old, new) = (before.bytes(file), after.bytes(file));
    let start = old.iter().zip(&new).position(|(a, b)| a != b).unwrap();
    let end = new.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in start..end {
        let disk = before.copy();
        disk.alter(file, |bytes| bytes[start..cut].copy_from_slice(&new[start..cut]));
        let trail = Trail::open_on(Arc::new(disk.clone()), &root(), slow.clone())
            .unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        trail.close().unwrap();
        check_all_there(&disk, &[(kept, 1)], cut as u64);
        check_verifies(&disk, cut as u64);
    }
    // The whole frame, though never acknowledged, is kept: it may have been.
    check_whole(&after, kept);
}

fn check_whole(after: &MemoryDisk, kept: u64) {
    let trail = Trail::open_on(Arc::new(after.clone()), &root(), small_options()).unwrap();
    trail.close().unwrap();
    check_all_there(after, &[(kept, 1), (kept + 1, 2)], 0);
}
