//! Keys that change, and keys that are destroyed: what stays readable, what does not, and what `verify` says of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Kind, Micros, Record, RootKey};
use trail::{DamageKind, Folder, Options, Reader, Report, Trail, VerifyOptions, verify};

use crate::support::{options, root, select};

const DAY_US: u64 = 86_400_000_000;
/// 2020-03-10 and 2020-04-10.
const MARCH: u64 = 18_331 * DAY_US;
const APRIL: u64 = 18_362 * DAY_US;
const LATER: u64 = 20_600 * DAY_US;

fn at(clock: u64) -> (Options, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(clock));
    let mut options = options();
    let read = Arc::clone(&now);
    options.clock = Arc::new(move || Micros(read.fetch_add(1, Ordering::Relaxed)));
    (options, now)
}

fn person(name: &str, number: u64) -> Record<'static> {
    let mut record = select(number);
    record.person_name = Some(name.to_owned().into());
    record
}

fn write(trail: &Trail, records: &[Record<'_>]) {
    for record in records {
        let _receipt = trail.record(record).unwrap().wait().unwrap();
    }
}

/// A trail of two old months, and the third opened.
fn old(folder: &Path) -> Trail {
    for (month, names) in [(MARCH, ["ann", "bob"]), (APRIL, ["ann", "eve"])] {
        let trail = Trail::open(folder, &root(), at(month).0).unwrap();
        let mut records: Vec<_> = (1..20).map(|n| person(names[usize::from(n % 2 == 0)], n)).collect();
        for (number, record) in (1..).zip(&mut records) {
            let of = (record.session.unwrap().0, number);
            record.operation = Some(model::OperationId(number));
            record.sealed = Some(trail.sealer().seal(of.0, of.1, b"a literal").into());
            record.patients = trail.sealer().patients(of.0, of.1, "clinic", &[b"4711".to_vec().into()]);
        }
        write(&trail, &records);
        trail.close().unwrap();
    }
    Trail::open(folder, &root(), at(LATER).0).unwrap()
}

fn checked(folder: &Path, root: &RootKey) -> Report {
    verify(folder, VerifyOptions { root_key: Some(root), ..VerifyOptions::default() }).unwrap()
}

fn tombstone() -> Record<'static> {
    Record::new(Kind::KeyDestroyed, Micros(LATER))
}

/// Waits until the last entry is under a checkpoint.
fn sealed(trail: &Trail, folder: &Path, root: &RootKey) {
    let reader = Reader::open(folder, root).unwrap();
    while reader.durable_at_least().unwrap() < trail.durable() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_further_class_key_keeps_the_old_readable() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(folder.path(), &root(), at(LATER).0).unwrap();
    let seal = |number: u64| {
        let mut record = select(number);
        let of = (record.session.unwrap().0, number);
        record.sealed = Some(trail.sealer().seal(of.0, of.1, b"a literal").into());
        record
    };
    write(&trail, &[seal(1)]);
    let before = trail.keys().unwrap();
    for _ in 0..2 {
        let made = trail.rotate_class_keys().unwrap();
        assert_eq!(made.len(), 2);
        assert!(made.iter().all(|key| before.iter().all(|old| old.id != key.id)), "new ids");
        write(&trail, &[seal(2), seal(3)]);
    }
    let keys = trail.keys().unwrap();
    let current: Vec<_> = keys.iter().filter(|key| key.current).collect();
    assert_eq!(current.len(), 2);
    assert!(current.iter().all(|key| key.generation == 2), "{current:?}");
    trail.close().unwrap();
    // It goes on under the newest key after a start, too.
    let trail = Trail::open(folder.path(), &root(), at(LATER + 1_000_000).0).unwrap();
    write(&trail, &[select(4)]);
    assert!(trail.keys().unwrap().iter().any(|key| key.current && key.generation == 2));
    trail.close().unwrap();
    let reader = Reader::open(folder.path(), &root()).unwrap();
    let entries: Vec<_> = reader.entries(0).unwrap().map(Result::unwrap).collect();
    let opened = entries.iter().filter_map(|entry| reader.open_sealed(&entry.record).unwrap());
    assert_eq!(opened.filter(|plain| plain == b"a literal").count(), 5);
    assert!(entries.iter().map(|entry| entry.segment).max() >= Some(2), "each key has segments of its own");
    let report = checked(folder.path(), &root());
    assert!(report.passed(), "{:?}", report.findings);
    // A key of a later generation is no less missed.
    std::fs::remove_file(folder.path().join(&current[0].file)).unwrap();
    assert!(!checked(folder.path(), &root()).passed());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_root_key_changes_and_a_crash_leaves_one_that_opens_all() {
    let folder = tempfile::tempdir().unwrap();
    let crashed = tempfile::tempdir().unwrap();
    let new = RootKey::new([9; 32]);
    let trail = old(folder.path());
    let ids =
        |trail: &Trail| -> Vec<String> { trail.keys().unwrap().into_iter().map(|key| key.id).collect() };
    let before = ids(&trail);
    let failed = trail.rotate_root(&new, || Err(std::io::Error::other("no space")));
    assert!(failed.is_err());
    write(&trail, &[select(1)]);
    // The process dies where the decision falls: whichever root key is in its place opens everything.
    let crash = || {
        for name in ["old", "new"] {
            copy(folder.path(), &crashed.path().join(name));
        }
        Ok(())
    };
    let count = trail.rotate_root(&new, crash).unwrap();
    assert_eq!(count, before.len());
    assert_eq!(ids(&trail), before, "the keys are the same");
    trail.rotate_class_keys().unwrap();
    write(&trail, &[select(2)]);
    trail.close().unwrap();
    assert!(checked(folder.path(), &new).passed());
    assert!(
        Trail::open(folder.path(), &root(), at(LATER + 2 * DAY_US).0).is_err(),
        "the old root opens nothing"
    );
    for (name, root) in [("old", root()), ("new", new)] {
        let place = crashed.path().join(name);
        std::fs::remove_file(place.join("lock")).unwrap();
        Trail::open(&place, &root, at(LATER + 2 * DAY_US).0).unwrap().close().unwrap();
        let report = checked(&place, &root);
        assert!(report.passed(), "{name}: {:?}", report.findings);
        assert!(
            std::fs::read_dir(place.join("keys"))
                .unwrap()
                .all(|file| { !file.unwrap().file_name().to_string_lossy().ends_with(".next") })
        );
    }
}

#[test]
fn an_expired_month_is_explained_and_what_is_held_stays() {
    let folder = tempfile::tempdir().unwrap();
    let trail = old(folder.path());
    sealed(&trail, folder.path(), &root());
    let months = trail.months().unwrap();
    assert_eq!(months.iter().map(|row| row.month).collect::<Vec<_>>(), [202_003, 202_004, 202_605]);
    assert!(months[0].last < Micros(MARCH + DAY_US) && !months[0].open && months[2].open);
    assert!(trail.expire(202_605, &tombstone(), &|_, _| false).is_err(), "the month that is written to");
    assert!(trail.expire(201_901, &tombstone(), &|_, _| false).is_err(), "no such month");
    let bobs =
        |record: &Record<'_>, _: Option<&trail::OpenedPatients>| record.person_name.as_deref() == Some("bob");
    let key = std::fs::read(folder.path().join("keys/record-202003.key")).unwrap();
    let stone = trail.expire(202_003, &tombstone(), &bobs).unwrap();
    assert_eq!((stone.first, stone.end, stone.held), (months[0].first, months[0].end, 9));
    assert_eq!(stone, trail.expire(202_003, &tombstone(), &bobs).unwrap(), "asked again it is the same");
    for class in ["record", "literal"] {
        assert!(!folder.path().join(format!("keys/{class}-202003.key")).exists());
    }
    trail.close().unwrap();

    let report = checked(folder.path(), &root());
    assert!(report.passed(), "{:?}", report.findings);
    assert_eq!((report.expired, report.held), (stone.end - stone.first, 9));
    assert!(verify(folder.path(), VerifyOptions::default()).unwrap().passed(), "proofs need no key");
    let reader = Reader::open(folder.path(), &root()).unwrap();
    let entries: Vec<_> = reader.entries(0).unwrap().map(Result::unwrap).collect();
    let old: Vec<_> = entries.iter().filter(|entry| entry.index < stone.end).collect();
    assert!(old.len() == 9 && old.iter().all(|entry| entry.record.person_name.as_deref() == Some("bob")));
    for entry in &old {
        assert_eq!(reader.open_sealed(&entry.record).unwrap().unwrap(), b"a literal");
        assert_eq!(reader.open_patients(&entry.record).unwrap().unwrap().identifiers, [b"4711"]);
    }
    assert!(entries.iter().any(|entry| entry.record.person_name.as_deref() == Some("eve")));

    // What no tombstone names is damage: another month's key, what was held, and a stone for other entries.
    let april = folder.path().join("keys/record-202004.key");
    let bytes = std::fs::read(&april).unwrap();
    std::fs::remove_file(&april).unwrap();
    let found = checked(folder.path(), &root()).findings;
    assert_eq!((found[0].damage.kind, found[0].damage.index), (DamageKind::Key, Some(stone.end)));
    let mark = folder.path().join("keys/202004.destroyed");
    std::fs::write(&mark, format!("{}\n", stone.index)).unwrap();
    assert!(!checked(folder.path(), &root()).passed(), "a signpost to another month's stone");
    std::fs::remove_file(mark).unwrap();
    std::fs::write(&april, bytes).unwrap();
    assert!(checked(folder.path(), &root()).passed());
    let held = folder.path().join("held/202003.held");
    let mut bytes = std::fs::read(&held).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&held, &bytes).unwrap();
    assert!(!checked(folder.path(), &root()).passed(), "what is held was altered");
    std::fs::remove_file(&held).unwrap();
    assert!(!checked(folder.path(), &root()).passed(), "what is held is gone");
    // A key that comes back, as from a backup, opens the month again: so its copies must go, too.
    std::fs::write(folder.path().join("keys/record-202003.key"), key).unwrap();
    let _folder = Folder::open(folder.path()).unwrap();
}

#[test]
fn tombstones_outlive_the_month_that_holds_them() {
    let folder = tempfile::tempdir().unwrap();
    let trail = old(folder.path());
    sealed(&trail, folder.path(), &root());
    trail.expire(202_003, &tombstone(), &|_, _| false).unwrap();
    trail.close().unwrap();
    let trail = Trail::open(folder.path(), &root(), at(LATER + 100 * DAY_US).0).unwrap();
    sealed(&trail, folder.path(), &root());
    trail.expire(202_605, &tombstone(), &|_, _| false).unwrap();
    trail.close().unwrap();
    let report = checked(folder.path(), &root());
    assert!(report.passed(), "{:?}", report.findings);
    assert_eq!((report.tombstones.len(), report.held), (2, 1));
}
