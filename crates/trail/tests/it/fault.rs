//! A broken disk, a full disk, a wrong key, a second process, an old backup.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Kind, Micros, Record, RootKey};
use trail::{DamageKind, Error, Reader, State, Trail, VerifyOptions, verify_on};

use crate::memory::{Faults, MemoryDisk};
use crate::support::{options, root, select};

fn open(disk: &MemoryDisk) -> Result<Trail, Error> {
    Trail::open_on(Arc::new(disk.clone()), &root(), options())
}

fn check_failure(faults: Faults) {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    let good = trail.record(&select(1)).unwrap().wait().unwrap().index();
    let failed = trail.failed();
    disk.set_faults(faults);
    let lost = trail.record(&select(2)).unwrap();
    assert!(matches!(lost.wait(), Err(Error::Failed)));
    assert_eq!(trail.state(), State::Failed);
    disk.set_faults(Faults::default());
    assert!(matches!(trail.record(&select(3)), Err(Error::Failed)), "it is never tried again");
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(failed);
    assert!(trail.close().is_err());

    let trail = open(&disk).unwrap();
    trail.close().unwrap();
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let entry = reader.entries(good).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.record, select(1));
    assert!(verify_on(&disk, VerifyOptions::default()).unwrap().passed());
}

#[test]
fn a_failed_sync_ends_the_trail() {
    check_failure(Faults { sync_fails_in: Some(0), ..Faults::default() });
}

#[test]
fn a_failed_write_ends_the_trail() {
    check_failure(Faults { write_fails_in: Some(0), ..Faults::default() });
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_full_disk_refuses_records_the_refusal_and_resumes() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    // Room for two segments, the reserve and a little tree.
    disk.set_faults(Faults { space: Some(3 * (256 << 10)), ..Faults::default() });
    let mut number = 0;
    let mut durable = 0;
    wait_for("full", || {
        number += 1;
        let mut record = select(number);
        record.detail = Some(incompressible(number, 4000).into());
        match trail.record(&record).and_then(trail::Pending::wait) {
            Ok(_receipt) => durable += 1,
            Err(Error::Unavailable) => {}
            Err(other) => panic!("{other}"),
        }
        trail.state() == State::Full
    });
    assert!(durable > 0);
    assert!(matches!(trail.record(&select(0)), Err(Error::Unavailable)));
    // What is kept in reserve takes a good number of refusals.
    for n in 0..50 {
        let mut refusal = Record::new(Kind::SignIn, Micros(1));
        refusal.detail = Some(format!("refused {n}").into());
        let _receipt = trail.record_urgent(&refusal).unwrap().wait().unwrap();
    }
    disk.set_faults(Faults::default());
    wait_for("space", || trail.state() == State::Open);
    let index = trail.record(&select(77)).unwrap().wait().unwrap().index();
    trail.close().unwrap();
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let entries: Vec<_> = reader.entries(0).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries[index as usize].record, select(77));
    let incidents = entries.iter().filter(|entry| entry.record.kind == Kind::Incident).count();
    assert_eq!(incidents, 2, "when it became full and when it ended");
    assert_eq!(entries.iter().filter(|entry| entry.record.kind == Kind::SignIn).count(), 50);
    let report =
        verify_on(&disk, VerifyOptions { root_key: Some(&root()), ..VerifyOptions::default() }).unwrap();
    assert!(report.passed(), "{:?}", report.findings);
}

#[test]
fn the_space_that_the_reserve_gave_back_is_no_reason_to_go_on() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    wait_for("a segment ahead", || disk.files().iter().any(|file| file == "segments/spare"));
    // Segments are there, and no space for the tree.
    let used = disk.files().iter().map(|file| disk.bytes(file).len()).sum::<usize>();
    disk.set_faults(Faults { space: Some(used), ..Faults::default() });
    for n in 0..50 {
        let _either = trail.record(&select(n)).and_then(trail::Pending::wait);
    }
    wait_for("full", || trail.state() == State::Full);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        assert_eq!(trail.state(), State::Full, "space was tried for every 20 ms, and there is none");
        std::thread::sleep(Duration::from_millis(1));
    }
    disk.set_faults(Faults::default());
    wait_for("space", || trail.state() == State::Open);
    let _receipt = trail.record(&select(77)).unwrap().wait().unwrap();
    trail.close().unwrap();
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let incidents =
        reader.entries(0).unwrap().filter(|entry| entry.as_ref().unwrap().record.kind == Kind::Incident);
    assert_eq!(incidents.count(), 2, "when it became full and when it ended");
}

fn incompressible(seed: u64, length: usize) -> String {
    let mut random = crate::memory::Random::new(seed);
    (0..length).map(|_| char::from(33 + random.below(90) as u8)).collect()
}

#[test]
fn another_root_key_is_refused() {
    let disk = MemoryDisk::default();
    open(&disk).unwrap().close().unwrap();
    let other = RootKey::new([8; 32]);
    let opened = Trail::open_on(Arc::new(disk.clone()), &other, options());
    assert!(matches!(opened, Err(Error::RootKey { .. })));
    assert!(matches!(Reader::open_on(Arc::new(disk.clone()), &other), Err(Error::RootKey { .. })));
    let report =
        verify_on(&disk, VerifyOptions { root_key: Some(&other), ..VerifyOptions::default() }).unwrap();
    assert_eq!(report.findings[0].damage.kind, DamageKind::Key);
    open(&disk).unwrap().close().unwrap();
}

#[test]
fn another_origin_is_refused() {
    let disk = MemoryDisk::default();
    open(&disk).unwrap().close().unwrap();
    let mut other = options();
    other.origin = "gw2.test".into();
    let opened = Trail::open_on(Arc::new(disk), &root(), other);
    assert!(matches!(opened, Err(Error::Origin { .. })));
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Trail::open(folder.path(), &root(), options()).unwrap();
    assert!(matches!(Trail::open(folder.path(), &root(), options()), Err(Error::Locked)));
    first.close().unwrap();
    Trail::open(folder.path(), &root(), options()).unwrap().close().unwrap();
}

#[test]
fn an_old_backup_under_a_newer_checkpoint_is_refused() {
    let disk = MemoryDisk::default();
    open(&disk).unwrap().close().unwrap();
    let backup = disk.copy();
    let trail = open(&disk).unwrap();
    let _receipt = trail.record(&select(1)).unwrap().wait().unwrap();
    trail.close().unwrap();
    for file in disk.files().iter().filter(|file| file.starts_with("tree/")) {
        backup.put(file, disk.bytes(file));
    }
    assert!(matches!(open(&backup), Err(Error::Rollback { .. })));
    let report = verify_on(&backup, VerifyOptions::default()).unwrap();
    assert_eq!(report.findings[0].damage.kind, DamageKind::Truncated);
}

#[test]
fn an_old_backup_as_a_whole_is_found_by_a_checkpoint_held_elsewhere() {
    let disk = MemoryDisk::default();
    open(&disk).unwrap().close().unwrap();
    let backup = disk.copy();
    let early = disk.bytes("tree/checkpoint");
    open(&disk).unwrap().close().unwrap();
    let late = disk.bytes("tree/checkpoint");
    let check = |disk: &MemoryDisk, held: &[u8]| {
        let options = VerifyOptions { checkpoint: Some(held.to_vec()), ..VerifyOptions::default() };
        verify_on(disk, options).unwrap().findings.first().map(|finding| finding.damage.kind)
    };
    assert_eq!(check(&disk, &early), None);
    assert_eq!(check(&disk, &late), None);
    assert_eq!(check(&backup, &late), Some(DamageKind::Inconsistent));
    // The backup lives on: another history of the same sizes.
    let forked = open(&backup).unwrap();
    let _receipt = forked.record(&select(1)).unwrap().wait().unwrap();
    forked.close().unwrap();
    assert_eq!(check(&backup, &early), None);
    assert_eq!(check(&backup, &late), Some(DamageKind::Inconsistent));
}

#[test]
fn a_missing_checkpoint_or_key_is_refused() {
    for file in ["tree/checkpoint", "keys/checkpoint.key", "segments/0000000000.seg"] {
        let disk = MemoryDisk::default();
        open(&disk).unwrap().close().unwrap();
        disk.delete(file);
        assert!(matches!(open(&disk), Err(Error::Damaged(_) | Error::Rollback { .. })), "{file}");
    }
}

/// A closed trail with sealed literals and patients in entries 2 to 4.
fn sealed_trail() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    for n in 0..3 {
        let mut record = select(n);
        let session = record.session.unwrap().0;
        record.sealed = Some(trail.sealer().seal(session, n, b"MRN 0012345").into());
        record.patients = trail.sealer().patients(session, n, "hospital", &[(*b"0012345").into()]);
        let _receipt = trail.record(&record).unwrap().wait().unwrap();
    }
    trail.close().unwrap();
    disk
}

fn key_file(disk: &MemoryDisk, class: &str) -> String {
    let prefix = format!("keys/{class}-");
    disk.files().into_iter().find(|file| file.starts_with(&prefix)).unwrap()
}

fn findings_with_key(disk: &MemoryDisk) -> Vec<(DamageKind, String, Option<u64>)> {
    let options = VerifyOptions { root_key: Some(&root()), ..VerifyOptions::default() };
    let findings = verify_on(disk, options).unwrap().findings;
    findings.into_iter().map(|f| (f.damage.kind, f.damage.file, f.damage.index)).collect()
}

#[test]
fn a_lost_key_of_a_month_is_found_and_never_replaced() {
    for class in ["literal", "record", "patient"] {
        let disk = sealed_trail();
        assert_eq!(findings_with_key(&disk), []);
        let file = key_file(&disk, class);
        let kept = disk.bytes(&file);
        disk.delete(&file);
        let named = match class {
            "literal" | "patient" => (DamageKind::Missing, file.clone(), Some(3)),
            _ => (DamageKind::Key, "segments/0000000000.seg".to_owned(), Some(0)),
        };
        assert_eq!(findings_with_key(&disk), [named]);
        let refused = open(&disk).unwrap_err();
        assert!(matches!(&refused, Error::KeyLost { file: lost, .. } if *lost == file), "{refused}");
        let words = refused.to_string();
        assert!(words.contains(&file) && words.contains("from a backup"), "{words}");
        let checked = trail::check_keys_on(&disk, &root(), &options()).unwrap_err();
        assert!(matches!(checked, Error::KeyLost { .. }), "{checked}");
        assert!(!disk.files().contains(&file), "no other key took its place");
        // With the file back everything is as it was.
        trail::Disk::write(&disk, &file, &kept).unwrap();
        trail::check_keys_on(&disk, &root(), &options()).unwrap();
        open(&disk).unwrap().close().unwrap();
        assert_eq!(findings_with_key(&disk), []);
    }
}

#[test]
fn a_replaced_key_of_sealed_values_is_found() {
    for class in ["literal", "patient"] {
        let disk = sealed_trail();
        let file = key_file(&disk, class);
        // Another key under the same root key, from a log of the same name.
        let other = sealed_trail();
        trail::Disk::write(&disk, &file, &other.bytes(&file)).unwrap();
        let segment = "segments/0000000000.seg".to_owned();
        assert_eq!(findings_with_key(&disk), [(DamageKind::Literal, segment, Some(3))]);
    }
}

#[test]
fn a_period_without_sealed_values_may_get_its_keys() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    let _receipt = trail.record(&select(1)).unwrap().wait().unwrap();
    trail.close().unwrap();
    let files = ["literal", "patient"].map(|class| key_file(&disk, class));
    files.iter().for_each(|file| disk.delete(file));
    open(&disk).unwrap().close().unwrap();
    assert!(files.iter().all(|file| disk.files().contains(file)));
}

#[test]
fn the_key_that_signs_is_missed_and_known() {
    let file = "keys/checkpoint.key";
    let disk = sealed_trail();
    let other = sealed_trail();
    disk.delete(file);
    assert_eq!(findings_with_key(&disk), [(DamageKind::Missing, file.to_owned(), None)]);
    assert!(matches!(trail::check_keys_on(&disk, &root(), &options()), Err(Error::Damaged(_))));
    trail::Disk::write(&disk, file, &other.bytes(file)).unwrap();
    assert_eq!(findings_with_key(&disk), [(DamageKind::Key, file.to_owned(), None)]);
    assert!(trail::check_keys_on(&disk, &root(), &options()).is_err());
}

#[test]
fn the_tree_is_made_again_from_the_frames() {
    let disk = MemoryDisk::default();
    let trail = open(&disk).unwrap();
    for n in 0..700 {
        let _pending = trail.record(&select(n)).unwrap();
    }
    trail.close().unwrap();
    let checkpoint = disk.bytes("tree/checkpoint");
    for file in disk.files().into_iter().filter(|file| file.starts_with("tree/tile/")) {
        disk.delete(&file);
    }
    open(&disk).unwrap().close().unwrap();
    let held = VerifyOptions { checkpoint: Some(checkpoint), ..VerifyOptions::default() };
    let report = verify_on(&disk, held).unwrap();
    assert!(report.passed(), "{:?}", report.findings);
}

/// A file system of 2 MiB, as root only: nobody else may mount one.
#[test]
fn a_small_file_system_fills_up_and_the_trail_resumes() {
    let mounted = tempfile::tempdir().unwrap();
    let folder = mounted.path();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(folder)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("SKIP: only root mounts a small file system");
        return;
    }
    fill_and_resume(folder);
    assert!(std::process::Command::new("umount").arg(folder).status().unwrap().success());
}

fn fill_and_resume(folder: &std::path::Path) {
    let trail = Trail::open(&folder.join("trail"), &root(), options()).unwrap();
    // Somebody else takes the rest.
    let hog = folder.join("hog");
    let mut file = std::fs::File::create(&hog).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    let mut number = 0;
    wait_for("full", || {
        number += 1;
        let mut record = select(number);
        record.detail = Some(incompressible(number, 4000).into());
        let _either = trail.record(&record).and_then(trail::Pending::wait);
        trail.state() == State::Full
    });
    assert!(matches!(trail.record(&select(0)), Err(Error::Unavailable)));
    let _receipt = trail.record_urgent(&select(1)).unwrap().wait().unwrap();
    // Space comes back only when nobody has the file open any more.
    drop(file);
    std::fs::remove_file(hog).unwrap();
    wait_for("space", || trail.state() == State::Open);
    let _receipt = trail.record(&select(2)).unwrap().wait().unwrap();
    trail.close().unwrap();
    let report = trail::verify(
        &folder.join("trail"),
        VerifyOptions { root_key: Some(&root()), ..VerifyOptions::default() },
    );
    assert!(report.unwrap().passed());
}
