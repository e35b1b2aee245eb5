//! Epoch heads, witnessed checkpoints and proofs of a trail that was written here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Kind, Micros, Record};
use tlog::{Checkpoint, Cosigner, Policy, leaf_hash};
use trail::{DamageKind, Options, Published, Reader, Trail, VerifyOptions, verify_on};

use crate::memory::MemoryDisk;
use crate::support::{ORIGIN, options, root, select};

fn run(disk: &MemoryDisk, options: Options, count: u64) {
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options).unwrap();
    for number in 0..count {
        let _receipt = trail.record(&select(number)).unwrap().wait().unwrap();
    }
    trail.close().unwrap();
}

#[test]
fn each_start_says_where_the_log_stood() {
    let disk = MemoryDisk::default();
    for count in [3, 0, 300, 1] {
        run(&disk, options(), count);
    }
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let entries: Vec<_> = reader.entries(0).unwrap().map(Result::unwrap).collect();
    let starts: Vec<u64> =
        entries.iter().filter(|e| e.record.kind == Kind::NodeStarted).map(|e| e.index).collect();
    let heads: Vec<String> = entries
        .iter()
        .filter(|entry| entry.record.kind == Kind::EpochHead)
        .map(|entry| entry.record.detail.as_deref().unwrap().to_owned())
        .collect();
    assert_eq!(heads.len(), 4);
    for ((epoch, start), head) in (1..).zip(starts).zip(&heads) {
        assert!(head.starts_with(&format!("epoch {epoch} behind {start} entries with root ")), "{head}");
    }
    let root = root();
    let options = VerifyOptions { root_key: Some(&root), ..VerifyOptions::default() };
    assert_eq!(verify_on(&disk, options).unwrap().findings, []);
}

/// A clock that jumps by ten minutes when it is told to.
fn stepping() -> (Arc<AtomicU64>, Options) {
    let now = Arc::new(AtomicU64::new(1_795_428_000_000_000));
    let shown = Arc::clone(&now);
    let mut options = options();
    options.clock = Arc::new(move || Micros(shown.load(Ordering::Relaxed)));
    (now, options)
}

#[test]
fn a_silence_is_a_finding_unless_an_incident_follows_soon() {
    for (late_us, explained) in [(None, false), (Some(1_000_000), true), (Some(61_000_000), false)] {
        let disk = MemoryDisk::default();
        let (now, options) = stepping();
        let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options).unwrap();
        let record = |record: &Record<'_>| trail.record(record).unwrap().wait().unwrap().index();
        now.fetch_add(600_000_000, Ordering::Relaxed);
        let silent = record(&select(1));
        if let Some(late_us) = late_us {
            now.fetch_add(late_us, Ordering::Relaxed);
            record(&Record::new(Kind::Incident, Micros(now.load(Ordering::Relaxed))));
        }
        trail.close().unwrap();
        let report = verify_on(&disk, VerifyOptions::default()).unwrap();
        assert_eq!(report.explained_silences, u64::from(explained), "{late_us:?}");
        let found: Vec<_> = report.findings.iter().map(|f| (f.damage.kind, f.damage.index)).collect();
        let expected = if explained { vec![] } else { vec![(DamageKind::Heartbeat, Some(silent))] };
        assert_eq!(found, expected, "{late_us:?}");
    }
}

#[test]
fn what_witnesses_signed_is_proven_and_enforced() {
    let disk = MemoryDisk::default();
    run(&disk, options(), 300);
    let published = Published::open_on(Arc::new(disk.clone())).unwrap();
    let log = published.verifier().clone();
    let witness = Cosigner::from_seed("w.test", &[3; 32]).unwrap();
    let policy = format!("log {log}\nwitness w {}\nquorum w\n", witness.verifier());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let check = |disk: &MemoryDisk, policy: Option<&Policy>| {
        let report = verify_on(disk, VerifyOptions { policy, ..VerifyOptions::default() }).unwrap();
        (report.witnessed, report.findings.iter().map(|finding| finding.damage.kind).collect::<Vec<_>>())
    };
    assert_eq!(check(&disk, Some(&policy)), (None, vec![DamageKind::Quorum]));

    let head = published.checkpoint().unwrap();
    let size = head.checkpoint.size();
    let note = head.note.clone().with_signature(witness.cosign(head.note.text(), 7).unwrap()).unwrap();
    published.store_witnessed(&note).unwrap();
    assert_eq!(check(&disk, Some(&policy)), (Some(size), vec![]));
    run(&disk, options(), 300);
    assert_eq!(check(&disk, Some(&policy)), (Some(size), vec![]));
    // A proof leads to the witnessed checkpoint where that covers the entry.
    for (index, witnessed) in [(0, true), (size - 1, true), (size, false)] {
        let proof = published.prove(index).unwrap();
        let leaf = leaf_hash(proof.extra.as_deref().unwrap());
        let opened = proof.verify(&leaf, ORIGIN, std::slice::from_ref(&log)).unwrap();
        assert_eq!((policy.is_witnessed(&proof.checkpoint), opened.size() == size), (witnessed, witnessed));
    }
    assert!(published.prove(1_000_000).is_err());
    let newer = published.checkpoint().unwrap().checkpoint;
    let proof = published.prove_consistency(size, newer.size()).unwrap();
    tlog::verify_consistency(size, newer.size(), &head.checkpoint.root(), &newer.root(), &proof).unwrap();

    // Every byte of the witnessed checkpoint counts where a policy is given.
    for place in 0..disk.bytes("tree/witnessed").len() {
        let copy = disk.copy();
        copy.alter("tree/witnessed", |bytes| bytes[place] ^= 1);
        assert_eq!(check(&copy, Some(&policy)).1, [DamageKind::Quorum], "byte {place}");
    }
    // Another history of the same length under the same key.
    let other = MemoryDisk::default();
    for file in disk.files().iter().filter(|file| file.starts_with("keys/") || *file == "verifier.txt") {
        other.put(file, disk.bytes(file));
    }
    run(&other, options(), 700);
    assert_eq!(check(&other, None), (None, vec![]), "whole by itself");
    other.put("tree/witnessed", disk.bytes("tree/witnessed"));
    assert_eq!(check(&other, Some(&policy)).1, [DamageKind::Inconsistent]);
    let anchor = Checkpoint::open(note.to_string().as_bytes(), ORIGIN, &[log]).unwrap();
    assert_eq!(anchor.size(), size);
    let options =
        VerifyOptions { checkpoint: Some(note.to_string().into_bytes()), ..VerifyOptions::default() };
    let kinds: Vec<_> =
        verify_on(&other, options).unwrap().findings.iter().map(|finding| finding.damage.kind).collect();
    assert_eq!(kinds, [DamageKind::Inconsistent; 2], "by the anchor, and by what was put there");
}
