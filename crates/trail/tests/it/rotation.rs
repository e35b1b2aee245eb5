//! Another key signs: who follows it, what a crash leaves, and what whoever holds an old key cannot do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Kind, Micros, Record};
use tlog::{Checkpoint, KeyChange, NoteSigner, SignedNote};
use trail::{
    Assembling, Copying, DamageKind, Error, Options, Published, Reader, Report, Trail, VerifyOptions,
    verify_on,
};

use crate::memory::{Faults, MemoryDisk, Random};
use crate::support::{ORIGIN, options, root, select};

const HOUR: Duration = Duration::from_hours(1);
const BEGIN_US: u64 = 1_795_428_000_000_000;

/// A clock that stands until it is told.
fn clocked(now: &Arc<AtomicU64>) -> Options {
    let shown = Arc::clone(now);
    let mut options = options();
    options.clock = Arc::new(move || Micros(shown.load(Ordering::Relaxed)));
    options
}

fn clock() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(BEGIN_US))
}

fn open(disk: &MemoryDisk, now: &Arc<AtomicU64>) -> Result<Trail, Error> {
    Trail::open_on(Arc::new(disk.clone()), &root(), clocked(now))
}

fn write(trail: &Trail, count: u64) {
    for number in 0..count {
        let _receipt = trail.record(&select(number)).unwrap().wait().unwrap();
    }
}

/// Waits until a checkpoint covers what is durable.
fn signed(trail: &Trail, published: &Published) -> SignedNote {
    loop {
        let head = published.checkpoint().unwrap();
        if head.checkpoint.size() >= trail.durable() {
            return head.note;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets the overlap pass; the step of the clock is an incident, as in a node.
fn later(trail: &Trail, now: &AtomicU64) {
    let then = now.fetch_add(3_600_000_001, Ordering::Relaxed);
    let _receipt = trail.record(&Record::new(Kind::Incident, Micros(then))).unwrap().wait().unwrap();
}

fn check(disk: &MemoryDisk, pinned: Option<&str>) -> Report {
    let key = root();
    let verifier_key = pinned.map(str::to_owned);
    verify_on(disk, VerifyOptions { root_key: Some(&key), verifier_key, ..VerifyOptions::default() }).unwrap()
}

fn kinds(report: &Report) -> Vec<(u8, DamageKind)> {
    report.findings.iter().map(|finding| (finding.level, finding.damage.kind)).collect()
}

/// Waits until the key before no longer signs.
fn retired(disk: &MemoryDisk, file: &str) {
    while disk.files().iter().any(|name| name == file) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whoever_holds_either_key_follows_the_change() {
    let (disk, now) = (MemoryDisk::default(), clock());
    let trail = open(&disk, &now).unwrap();
    let early = Published::open_on(Arc::new(disk.clone())).unwrap();
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    write(&trail, 300);
    let first = early.verifier();
    let before = signed(&trail, &early);
    let rotated = trail.rotate_checkpoint_key(HOUR).unwrap();
    assert_eq!((rotated.number, rotated.old.as_str()), (1, first.to_string().as_str()));
    assert!(trail.rotate_checkpoint_key(HOUR).is_err(), "one change at a time");
    write(&trail, 10);
    let both = signed(&trail, &early);
    for key in [&rotated.old, &rotated.new] {
        let known = [key.parse().unwrap()];
        assert!(Checkpoint::from_note(&both, ORIGIN, &known).is_ok(), "both sign");
        assert_eq!(kinds(&check(&disk, Some(key))), []);
    }
    // Its time is over.
    later(&trail, &now);
    retired(&disk, "keys/checkpoint.key");
    write(&trail, 10);
    let after = signed(&trail, &early);
    assert!(Checkpoint::from_note(&after, ORIGIN, &[first]).is_err(), "the old key signs no more");
    assert_eq!(reader.durable_at_least().unwrap(), trail.durable(), "an open reader follows");
    let second = trail.rotate_checkpoint_key(Duration::ZERO).unwrap();
    assert_eq!((second.number, &second.old), (2, &rotated.new));
    write(&trail, 5);
    retired(&disk, "keys/checkpoint.1.key");
    trail.close().unwrap();
    let trail = open(&disk, &now).unwrap();
    assert_eq!(trail.verifier_key(), second.new);
    let seeds = trail.keys().unwrap().into_iter().filter(|key| key.class == "checkpoint");
    assert_eq!(seeds.map(|key| key.generation).collect::<Vec<_>>(), [2], "the others went away");
    write(&trail, 5);
    trail.close().unwrap();
    for key in [&rotated.old, &rotated.new, &second.new] {
        let held = Some(before.to_string().into_bytes());
        let options = VerifyOptions {
            verifier_key: Some(key.clone()),
            checkpoint: held,
            root_key: Some(&root()),
            ..VerifyOptions::default()
        };
        let report = verify_on(&disk, options).unwrap();
        assert_eq!((kinds(&report), report.key_changes), (vec![], 2));
    }
    let told = reader.entries(0).unwrap().map(Result::unwrap).filter(|e| e.record.kind == Kind::KeyRotated);
    assert_eq!(told.count(), 4, "two changes, two ends");
}

#[test]
fn power_cuts_while_a_key_changes_leave_a_log_that_signs_and_verifies() {
    let mut finished = 0;
    for seed in 0..120 {
        let (disk, now, mut random) = (MemoryDisk::default(), clock(), Random::new(seed));
        let trail = open(&disk, &now).unwrap();
        write(&trail, 20);
        let first = trail.verifier_key();
        disk.set_faults(Faults { power_cut_in: Some(random.below(40) as u64), ..Faults::default() });
        let rotated = trail.rotate_checkpoint_key(HOUR);
        let acknowledged = trail.durable();
        trail.abandon();
        let disk = disk.after_power_cut(&mut random);
        let trail = open(&disk, &now).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(trail.durable() >= acknowledged, "seed {seed}");
        if let Ok(rotated) = &rotated {
            assert_eq!(trail.verifier_key(), rotated.new, "seed {seed}: what was said to be changed is");
        }
        finished += u32::from(trail.verifier_key() != first);
        write(&trail, 3);
        later(&trail, &now);
        trail.close().unwrap();
        for key in [&first, &trail.verifier_key()] {
            assert_eq!(kinds(&check(&disk, Some(key))), [], "seed {seed}");
        }
        // Whatever was left of it, the next change is made.
        let trail = open(&disk, &now).unwrap();
        std::iter::repeat_with(|| trail.rotate_checkpoint_key(HOUR))
            .inspect(|_| std::thread::sleep(Duration::from_millis(5)))
            .find(Result::is_ok);
        trail.close().unwrap();
        assert_eq!(kinds(&check(&disk, Some(&first))), [], "seed {seed}");
    }
    assert!((20..120).contains(&finished), "cut before and after the decision: {finished}");
}

/// A log whose key changed, with both keys as whoever stole them has them.
fn changed() -> (MemoryDisk, String, String) {
    let (disk, now) = (MemoryDisk::default(), clock());
    let trail = open(&disk, &now).unwrap();
    write(&trail, 20);
    let rotated = trail.rotate_checkpoint_key(Duration::ZERO).unwrap();
    write(&trail, 20);
    retired(&disk, "keys/checkpoint.key");
    trail.close().unwrap();
    assert_eq!(kinds(&check(&disk, None)), []);
    (disk, rotated.old, rotated.new)
}

#[test]
fn a_change_that_is_altered_or_gone_is_found() {
    let (disk, old, new) = changed();
    let file = "tree/keys/0001";
    for place in 0..disk.bytes(file).len() {
        let copy = disk.copy();
        copy.alter(file, |bytes| bytes[place] ^= 1);
        assert!(!check(&copy, Some(&old)).passed(), "byte {place}");
    }
    let gone = disk.copy();
    gone.delete(file);
    for key in [&old, &new] {
        assert!(!check(&gone, Some(key)).passed());
        assert!(open(&gone, &clock()).is_err());
    }
    // A change that the log does not tell of, made by who has both keys of a chain of their own.
    let (mallory, other) = (signer(50), signer(51));
    let forged =
        KeyChange { number: 2, entries: 21, both_until_s: 0, old: mallory.verifier(), new: other.verifier() };
    let copy = disk.copy();
    copy.put("tree/keys/0002", forged.sign(&mallory, &other).unwrap().to_string().into_bytes());
    assert!(kinds(&check(&copy, Some(&old))).contains(&(1, DamageKind::KeyChange)));
}

fn signer(number: u8) -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[number; 32]).unwrap()
}

#[test]
fn a_copy_carries_the_changes() {
    let (disk, old, new) = changed();
    let copying = Copying::begin(Arc::new(disk.clone())).unwrap();
    assert_eq!(copying.verifier_key(), new);
    let copy = MemoryDisk::default();
    let (key, note) = (copying.verifier_key(), copying.checkpoint());
    let mut assembling = Assembling::begin(Arc::new(copy.clone()), &key, note, "a test").unwrap();
    for part in copying.segments().unwrap() {
        let bytes = copying.segment(part.number).unwrap();
        assembling.segment(part.number, &bytes, !part.complete).unwrap();
    }
    for part in 0..copying.leaf_parts() {
        assembling.leaves(&copying.leaves(part).unwrap()).unwrap();
    }
    for (name, bytes) in copying.files().unwrap() {
        assembling.file(&name, &bytes).unwrap();
    }
    assembling.finish().unwrap();
    for key in [&old, &new] {
        assert_eq!(kinds(&check(&copy, Some(key))), []);
    }
}
