//! Segments in a store: put, read back, dropped, and what a crash leaves. Logs that may not go on.

use std::sync::Arc;
use std::time::Duration;

use model::{Kind, Record};
use trail::{
    Assembling, Copying, DamageKind, Disk, Error, FolderStore, Reader, SealError, Sealed, Store, Trail,
    VerifyOptions, WithStore, check_store, newest_checkpoint, refill, sign_text, signed_text, verify_on,
};

use crate::memory::{Faults, MemoryDisk, Random};
use crate::support::{ORIGIN, options, root, select};

fn store_on(disk: &MemoryDisk) -> Arc<dyn Store> {
    Arc::new(FolderStore::on(Arc::new(disk.clone()), "a store in memory"))
}

fn open(disk: &MemoryDisk) -> Result<Trail, Error> {
    Trail::open_on(Arc::new(disk.clone()), &root(), options())
}

fn open_with(disk: &MemoryDisk, store: &Arc<dyn Store>) -> Result<Trail, Error> {
    let both = WithStore::new(Arc::new(disk.clone()), Arc::clone(store));
    Trail::open_on(Arc::new(both), &root(), options())
}

/// Records so many, and ends the segment before each tenth.
fn fill(trail: &Trail, from: u64, count: u64) {
    for n in from..from + count {
        if n % 10 == 0 {
            trail.roll();
        }
        let _receipt = trail.record(&select(n)).unwrap().wait().unwrap();
    }
}

fn seal_all(trail: &Trail, store: &dyn Store) -> Vec<Sealed> {
    std::iter::from_fn(|| trail.seal_next(store).unwrap()).collect()
}

fn whole(disk: &dyn Disk) -> Vec<(DamageKind, String)> {
    let with_key = VerifyOptions { root_key: Some(&root()), ..VerifyOptions::default() };
    let findings = verify_on(disk, with_key).unwrap().findings;
    findings.into_iter().map(|found| (found.damage.kind, found.damage.file)).collect()
}

fn records(disk: Arc<dyn Disk>) -> Vec<Record<'static>> {
    let reader = Reader::open_on(disk, &root()).unwrap();
    reader.entries(0).unwrap().map(|entry| entry.unwrap().record).collect()
}

#[test]
fn segments_are_sealed_once_and_read_from_the_store_when_they_are_gone() {
    let (disk, shelf) = (MemoryDisk::default(), MemoryDisk::default());
    let store = store_on(&shelf);
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 45);
    let sealed = seal_all(&trail, &*store);
    assert_eq!(sealed.iter().map(|sealed| sealed.segment).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(sealed.iter().all(|sealed| sealed.bytes < 64 << 10), "zeros are not copied");
    assert_eq!(seal_all(&trail, &*store), []);
    trail.close().unwrap();
    let before = records(Arc::new(disk.clone()));
    let said: Vec<_> = before.iter().filter(|record| record.kind == Kind::SegmentSealed).collect();
    let parsed: Vec<_> = said.iter().filter_map(|record| Sealed::parse(record.detail.as_deref()?)).collect();
    assert_eq!(parsed, sealed);

    let trail = open_with(&disk, &store).unwrap();
    assert_eq!(trail.drop_sealed(&*store, 1).unwrap(), 3);
    assert_eq!(trail.drop_sealed(&*store, 1).unwrap(), 0);
    fill(&trail, 100, 5);
    trail.close().unwrap();
    assert!(!disk.files().contains(&"segments/0000000000.seg".to_owned()));
    let both = Arc::new(WithStore::new(Arc::new(disk.clone()), Arc::clone(&store)));
    assert_eq!(records(both.clone()).get(..before.len()), Some(before.as_slice()));
    assert_eq!(whole(&*both), []);
    // Without the store nobody takes what is here for all there is.
    let alone = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let refused = alone.entries(0).err();
    assert!(
        matches!(&refused, Some(Error::Damaged(found)) if found.kind == DamageKind::Missing),
        "{refused:?}"
    );
    assert_eq!(alone.tail(3).unwrap().map(Result::unwrap).count(), 3);
    let cut = disk.copy();
    let last = cut.files().into_iter().filter(|name| name.ends_with(".seg")).max().unwrap();
    cut.remove(&last).unwrap();
    let cut = Arc::new(WithStore::new(Arc::new(cut), Arc::clone(&store)));
    let ended = Reader::open_on(cut, &root()).unwrap().entries(0).unwrap().find_map(Result::err);
    assert!(matches!(&ended, Some(Error::Damaged(found)) if found.file == last), "{ended:?}");
    // Opening goes on without the store as long as it needs no old segment.
    open_with(&disk, &store).unwrap().close().unwrap();

    let first = sealed.first().unwrap();
    shelf.alter(&first.key, |bytes| bytes[5000] ^= 1);
    let reader = Reader::open_on(both, &root()).unwrap();
    let refused = reader.entries(0).unwrap().find_map(Result::err);
    assert!(matches!(refused, Some(Error::Io { .. })), "an altered object is not believed");
}

#[test]
fn an_object_with_other_bytes_is_not_taken_for_the_segment() {
    let (disk, shelf) = (MemoryDisk::default(), MemoryDisk::default());
    let store = store_on(&shelf);
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 15);
    let copy = disk.copy();
    let key = trail.seal_next(&*store).unwrap().unwrap().key;
    trail.close().unwrap();
    // Another process put something else there before the segment was sealed.
    shelf.alter(&key, |bytes| bytes[4500] ^= 1);
    let forked = open(&copy).unwrap();
    assert!(matches!(forked.seal_next(&*store), Err(SealError::Other { .. })));
    forked.close().unwrap();
}

#[test]
fn segments_end_by_number_and_by_age() {
    let disk = MemoryDisk::default();
    let mut few = options();
    few.segment_records_max = 5;
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), few).unwrap();
    fill(&trail, 1, 8);
    trail.close().unwrap();
    assert!(disk.files().contains(&"segments/0000000001.seg".to_owned()));
    let mut short = options();
    short.segment_age_max = Duration::from_micros(1);
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), short).unwrap();
    fill(&trail, 11, 2);
    trail.close().unwrap();
    assert!(disk.files().contains(&"segments/0000000003.seg".to_owned()));
    assert_eq!(whole(&disk), []);
}

/// Power is cut at any point of sealing, of the trail's disk or of the store's: afterwards nothing is lost, nothing half
/// an object, and sealing goes on.
#[test]
fn power_cuts_while_sealing_lose_nothing_and_leave_no_half_object() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let (disk, shelf) = (MemoryDisk::default(), MemoryDisk::default());
        let store = store_on(&shelf);
        let trail = open(&disk).unwrap();
        fill(&trail, 1, 25);
        let acknowledged = trail.durable();
        let cut = Faults { power_cut_in: Some(random.below(30) as u64), ..Faults::default() };
        if seed % 2 == 0 {
            disk.set_faults(cut)
        } else {
            shelf.set_faults(cut)
        }
        while let Ok(Some(_)) = trail.seal_next(&*store) {}
        trail.abandon();
        let (disk, shelf) = (disk.after_power_cut(&mut random), shelf.after_power_cut(&mut random));
        let store = store_on(&shelf);
        let trail = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(trail.durable() > acknowledged, "seed {seed}");
        seal_all(&trail, &*store);
        trail.drop_sealed(&*store, 0).unwrap();
        trail.close().unwrap();
        let both = WithStore::new(Arc::new(disk.clone()), store);
        assert_eq!(whole(&both), [], "seed {seed}");
    }
}

#[test]
fn what_is_not_archived_is_not_dropped() {
    let (disk, shelf) = (MemoryDisk::default(), MemoryDisk::default());
    let store = store_on(&shelf);
    let trail = open_with(&disk, &store).unwrap();
    fill(&trail, 1, 45);
    let sealed = seal_all(&trail, &*store);
    let second = &sealed[1];
    for (below, dropped) in [(0, 0), (second.first, 1), (second.first + second.count - 1, 0), (u64::MAX, 2)] {
        while Reader::open_on(Arc::new(disk.clone()), &root()).unwrap().durable_at_least().unwrap()
            < trail.durable()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(trail.drop_sealed_below(&*store, 1, below).unwrap(), dropped, "below {below}");
    }
    trail.close().unwrap();
}

#[test]
fn a_full_store_is_told_and_tried_again() {
    let (disk, shelf) = (MemoryDisk::default(), MemoryDisk::default());
    let store = store_on(&shelf);
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 15);
    shelf.set_faults(Faults { space: Some(1000), ..Faults::default() });
    assert!(matches!(trail.seal_next(&*store), Err(SealError::Store(_))));
    shelf.set_faults(Faults::default());
    assert!(trail.seal_next(&*store).unwrap().is_some());
    trail.close().unwrap();
    assert_eq!(whole(&disk), []);
}

#[test]
fn a_log_opens_only_with_what_others_hold_of_it() {
    let (disk, shelf) = (MemoryDisk::default(), MemoryDisk::default());
    let store = store_on(&shelf);
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 3);
    trail.close().unwrap();
    let backup = disk.copy();
    let early = disk.bytes("tree/checkpoint");
    let trail = open(&disk).unwrap();
    fill(&trail, 11, 300);
    assert!(trail.keep_checkpoint(&*store).unwrap() > 0);
    trail.close().unwrap();
    let late = disk.bytes("tree/checkpoint");
    let open_held = |disk: &MemoryDisk, held: &[u8]| {
        let mut options = options();
        options.held = vec![held.to_vec()];
        Trail::open_on(Arc::new(disk.clone()), &root(), options)
    };
    let kept = newest_checkpoint(&*store, ORIGIN).unwrap().unwrap();
    for held in [&early, &late, &kept] {
        open_held(&disk, held).unwrap().close().unwrap();
    }
    assert!(matches!(open_held(&backup, &late), Err(Error::Rollback { .. })));
    open_held(&backup, &early).unwrap().close().unwrap();
    // Another history of the same length.
    let trail = open(&backup).unwrap();
    fill(&trail, 21, 400);
    trail.close().unwrap();
    let other = open_held(&backup, &late).unwrap_err();
    assert!(matches!(&other, Error::Damaged(damage) if damage.kind == DamageKind::Inconsistent), "{other}");
    // The frames are compared, too, where the tree has to be made again.
    let files: Vec<String> =
        backup.files().into_iter().filter(|file| file.starts_with("tree/tile")).collect();
    files.iter().for_each(|file| backup.delete(file));
    assert!(open_held(&backup, &late).is_err());
    assert_eq!(newest_checkpoint(&*store, "another.log").unwrap(), None);
}

#[test]
fn a_restored_log_waits_for_its_last_checkpoint() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 3);
    trail.close().unwrap();
    let held = disk.bytes("tree/checkpoint");
    disk.write("restored", b"backup of 2026-11-23, 8 entries\n").unwrap();
    let refused = open(&disk).unwrap_err();
    assert!(matches!(&refused, Error::Restored { what } if what.contains("8 entries")), "{refused}");
    let mut shown = options();
    shown.held = vec![held];
    // That the store has a checkpoint is not enough.
    let refused = Trail::open_on(Arc::new(disk.clone()), &root(), shown.clone()).unwrap_err();
    assert!(matches!(refused, Error::Restored { .. }));
    shown.resume_restored = true;
    Trail::open_on(Arc::new(disk.clone()), &root(), shown).unwrap().close().unwrap();
    open(&disk).unwrap().close().unwrap();
    let restored: Vec<_> =
        records(Arc::new(disk.clone())).into_iter().filter(|record| record.kind == Kind::Restored).collect();
    assert_eq!(restored.len(), 1);
    assert_eq!(whole(&disk), []);
}

#[test]
fn a_new_log_begins_with_its_incident() {
    let disk = MemoryDisk::default();
    let mut next = options();
    next.begins_with = Some("goes on from gw1.test, which was restored".to_owned());
    for _ in 0..2 {
        Trail::open_on(Arc::new(disk.clone()), &root(), next.clone()).unwrap().close().unwrap();
    }
    let kinds: Vec<Kind> = records(Arc::new(disk.clone())).into_iter().map(|record| record.kind).collect();
    assert_eq!(kinds.first(), Some(&Kind::Incident));
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Incident).count(), 1);
    let report = verify_on(&disk, VerifyOptions::default()).unwrap();
    assert!(report.passed() && report.crashes == 0 && report.starts == 2, "{report:?}");
}

fn carry(from: &MemoryDisk, to: &MemoryDisk) -> Result<u64, Error> {
    let copying = Copying::begin(Arc::new(from.clone()))?;
    let target = Arc::new(to.clone());
    let (key, note) = (copying.verifier_key(), copying.checkpoint());
    let mut assembling = Assembling::begin(target, &key, note, "a copy in memory")?;
    let parts = copying.segments()?;
    for part in &parts {
        let last = parts.last() == Some(part);
        assembling.segment(part.number, &copying.segment(part.number)?, last)?;
    }
    for part in 0..copying.leaf_parts() {
        assembling.leaves(&copying.leaves(part)?)?;
    }
    for (name, bytes) in copying.files()? {
        assembling.file(&name, &bytes)?;
    }
    assembling.finish()
}

#[test]
fn a_copy_is_the_same_byte_for_byte_and_does_not_sign() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 620);
    trail.close().unwrap();
    let copy = MemoryDisk::default();
    assert!(carry(&disk, &copy).unwrap() > 620);
    let kept = |file: &String| !file.ends_with("spare") && file != "reserve" && file != "lock";
    for file in disk.files().into_iter().filter(kept) {
        assert!(copy.files().contains(&file), "{file} was not copied");
        assert_eq!(copy.bytes(&file), disk.bytes(&file), "{file}");
    }
    assert_eq!(
        copy.files().into_iter().filter(|file| !disk.files().contains(file)).collect::<Vec<_>>(),
        ["restored"]
    );
    assert_eq!(whole(&copy), []);
    assert!(matches!(open(&copy), Err(Error::Restored { .. })));
    assert!(carry(&disk, &copy).is_err(), "it is not empty");
}

#[test]
fn a_copy_is_refilled_from_the_store_and_then_contains_the_last_checkpoint() {
    let (disk, shelf) = (MemoryDisk::default(), MemoryDisk::default());
    let store = store_on(&shelf);
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 24);
    trail.keep_checkpoint(&*store).unwrap();
    wait_for_checkpoint(&disk, trail.durable());
    let copy = MemoryDisk::default();
    carry(&disk, &copy).unwrap();
    fill(&trail, 25, 10);
    let middle = wait_for_checkpoint(&disk, trail.durable());
    fill(&trail, 35, 10);
    seal_all(&trail, &*store);
    let held = wait_for_checkpoint(&disk, trail.durable());
    trail.abandon();

    let shown = |held: &[u8]| {
        let mut options = options();
        options.held = vec![held.to_vec()];
        options.resume_restored = true;
        options
    };
    let early = Trail::open_on(Arc::new(copy.copy()), &root(), shown(&held)).unwrap_err();
    assert!(matches!(early, Error::Rollback { .. }), "{early}");
    assert_eq!(refill(&copy, &*store).unwrap(), 2);
    assert_eq!(refill(&copy, &*store).unwrap(), 1, "the last one is there already");
    // What was never sealed is missing still.
    let refused = Trail::open_on(Arc::new(copy.copy()), &root(), shown(&held));
    assert!(matches!(refused, Err(Error::Rollback { .. })));
    // What is there again may go on, if it was all.
    let whole_again = copy.copy();
    Trail::open_on(Arc::new(whole_again.clone()), &root(), shown(&middle)).unwrap().close().unwrap();
    assert_eq!(whole(&whole_again), []);
    let sealed_end =
        trail::sealed_of(&disk).unwrap().last().map(|sealed| sealed.first + sealed.count).unwrap();
    assert!(sealed_end > 35);
    assert_eq!(check_store(&disk, &*store, true).unwrap(), []);
    shelf.alter(&trail::sealed_of(&disk).unwrap()[0].key, |bytes| bytes[6000] ^= 1);
    assert_eq!(check_store(&disk, &*store, false).unwrap(), []);
    let found = check_store(&disk, &*store, true).unwrap();
    assert_eq!(found.iter().map(|found| found.damage.kind).collect::<Vec<_>>(), [DamageKind::Object]);
}

/// Returns the checkpoint once it covers so many entries.
fn wait_for_checkpoint(disk: &MemoryDisk, size: u64) -> Vec<u8> {
    loop {
        let bytes = disk.bytes("tree/checkpoint");
        let text = String::from_utf8(bytes.clone()).unwrap();
        if text.lines().nth(1).unwrap().parse::<u64>().unwrap() >= size {
            return bytes;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_copy_of_a_log_that_is_written_to_is_whole() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    let writer = {
        let trail = trail.clone();
        std::thread::spawn(move || fill(&trail, 1, 1500))
    };
    while !writer.is_finished() {
        let copy = MemoryDisk::default();
        carry(&disk, &copy).unwrap();
        assert_eq!(whole(&copy), []);
    }
    writer.join().unwrap();
    trail.close().unwrap();
}

#[test]
fn power_cuts_while_copying_leave_nothing_that_signs() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    fill(&trail, 1, 40);
    trail.close().unwrap();
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let copy = MemoryDisk::default();
        copy.set_faults(Faults { power_cut_in: Some(random.below(60) as u64), ..Faults::default() });
        let carried = carry(&disk, &copy);
        let after = copy.after_power_cut(&mut random);
        // What begins there is another log, under another key, if nothing at all was restored.
        if after.files().iter().any(|file| file != "restored.new") {
            assert!(open(&after).is_err(), "seed {seed}");
        }
        if carried.is_ok() {
            assert_eq!(whole(&after), [], "seed {seed}: what was said to be restored is");
        }
    }
}

#[test]
fn what_the_log_signs_is_no_checkpoint() {
    let disk = MemoryDisk::default();
    open(&disk).unwrap().close().unwrap();
    let key = String::from_utf8(disk.bytes("verifier.txt")).unwrap();
    let note = sign_text(&disk, &root(), "wardline test v1\nhello\n".to_owned()).unwrap();
    assert_eq!(signed_text(note.as_bytes(), &key).as_deref(), Some("wardline test v1\nhello\n"));
    assert_eq!(signed_text(note.replace("hello", "hullo").as_bytes(), &key), None);
    assert!(sign_text(&disk, &root(), format!("{ORIGIN}\n5\n")).is_err());
}
