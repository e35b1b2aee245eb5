//! Reading back, following, sealing apart, exporting, and what no file may show.

use std::sync::Arc;
use std::time::Duration;

use model::Kind;
use trail::{Error, Reader, Trail, VerifyOptions, export_tlog, verify};

use crate::memory::MemoryDisk;
use crate::support::{options, root, select};

#[test]
fn a_reader_follows_a_live_writer() {
    let disk = MemoryDisk::default();
    let mut small = options();
    small.segment_bytes = trail::SEGMENT_BYTES_MIN;
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), small).unwrap();
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let mut entries = reader.entries(0).unwrap();
    let mut seen = Vec::new();
    let mut random = crate::memory::Random::new(3);
    for round in 0..30_u64 {
        let pending: Vec<_> = (0..100)
            .map(|n| {
                let mut record = select(round * 100 + n);
                // Does not compress: so that several segments are filled, however records gather into frames.
                record.sealed =
                    Some((0..100).map(|_| random.next().to_le_bytes()[0]).collect::<Vec<_>>().into());
                trail.record(&record).unwrap()
            })
            .collect();
        for pending in pending {
            let _receipt = pending.wait().unwrap();
        }
        seen.extend(entries.by_ref().map(Result::unwrap));
        assert!(seen.len() as u64 <= trail.durable(), "nothing is shown before it is durable");
    }
    let _receipt = trail.record(&select(1)).unwrap().wait().unwrap();
    let start = std::time::Instant::now();
    while (seen.len() as u64) < trail.durable() {
        std::thread::sleep(Duration::from_millis(5));
        seen.extend(entries.by_ref().map(Result::unwrap));
        assert!(start.elapsed() < Duration::from_secs(10), "{} of {}", seen.len(), trail.durable());
    }
    assert!(seen.iter().zip(0..).all(|(entry, index)| entry.index == index));
    assert!(seen.iter().any(|entry| entry.segment > 0), "several segments were crossed");
    let numbers: Vec<u64> = seen.iter().filter_map(|entry| Some(entry.record.operation?.0)).collect();
    assert_eq!(numbers.len(), 3001);
    assert!(numbers[..3000].is_sorted());
    trail.close().unwrap();

    let tail: Vec<_> = reader.tail(3).unwrap().map(Result::unwrap).collect();
    assert_eq!(tail.len(), 3);
    assert_eq!(tail[2].record.kind, Kind::NodeStopped);
    assert_eq!(reader.entries(1234).unwrap().next().unwrap().unwrap(), seen[1234]);
    assert!(reader.entries(1_000_000).unwrap().next().is_none());
}

#[test]
fn sealed_literals_open_only_for_their_record() {
    let disk = MemoryDisk::default();
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options()).unwrap();
    let mut record = select(9);
    let sealed = trail.sealer().seal(record.session.unwrap().0, 9, b"MRN 0012345");
    assert!(!sealed.windows(7).any(|window| window == b"0012345"));
    record.sealed = Some(sealed.into());
    let index = trail.record(&record).unwrap().wait().unwrap().index();
    trail.close().unwrap();
    let reader = Reader::open_on(Arc::new(disk), &root()).unwrap();
    let mut read = reader.entries(index).unwrap().next().unwrap().unwrap().record;
    assert_eq!(reader.open_sealed(&read).unwrap().unwrap(), b"MRN 0012345");
    read.operation = Some(model::OperationId(10));
    assert!(matches!(reader.open_sealed(&read), Err(Error::Sealed)));
}

#[test]
fn patients_are_found_by_their_tokens_and_opened_for_their_record() {
    let disk = MemoryDisk::default();
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options()).unwrap();
    let mut record = select(9);
    let session = record.session.unwrap().0;
    let ids: [Box<[u8]>; 4] = [(*b"17").into(), (*b"4711").into(), (*b"5").into(), (*b"17").into()];
    let patients = trail.sealer().patients(session, 9, "hospital", &ids).unwrap();
    assert_eq!(patients.tokens().len(), 3, "each once");
    assert_eq!(trail.sealer().patients(session, 9, "hospital", &[]), None);
    let elsewhere = trail.sealer().patients(session, 9, "clinic", &ids).unwrap();
    assert!(patients.tokens().iter().all(|token| !elsewhere.names(*token)), "an issuer's own");
    record.patients = Some(patients.clone());
    let index = trail.record(&record).unwrap().wait().unwrap().index();
    trail.close().unwrap();

    let reader = Reader::open_on(Arc::new(disk), &root()).unwrap();
    let mut read = reader.entries(index).unwrap().next().unwrap().unwrap().record;
    assert_eq!(read.patients.as_ref(), Some(&patients));
    for (id, named) in [("4711", true), ("471", false), ("18", false)] {
        let token = reader.patient_token(patients.year(), "hospital", id.as_bytes()).unwrap();
        assert_eq!(patients.names(token), named, "{id}");
    }
    assert!(reader.patient_token(patients.year() + 1, "hospital", b"17").is_err(), "no such key");
    let opened = reader.open_patients(&read).unwrap().unwrap();
    let mut identifiers = opened.identifiers;
    identifiers.sort();
    assert_eq!(
        (opened.issuer.as_str(), identifiers),
        ("hospital", vec![b"17".into(), b"4711".into(), b"5".into()])
    );
    // Neither as another operation's, nor as literals.
    read.sealed = Some(patients.sealed().to_vec().into());
    assert!(matches!(reader.open_sealed(&read), Err(Error::Sealed)));
    read.operation = Some(model::OperationId(10));
    assert!(matches!(reader.open_patients(&read), Err(Error::Sealed)));
}

#[test]
fn logs_have_tokens_of_their_own() {
    let token = |key: u8| {
        let root = model::RootKey::new([key; 32]);
        let trail = Trail::open_on(Arc::new(MemoryDisk::default()), &root, options()).unwrap();
        let patients = trail.sealer().patients(1, 1, "hospital", &[(*b"17").into()]).unwrap();
        patients.tokens()[0]
    };
    assert_ne!(token(7), token(8));
}

#[test]
fn no_file_shows_what_was_recorded() {
    let canary = b"CANARY-7f3a-Aurelia-Finch";
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(folder.path(), &root(), options()).unwrap();
    for n in 0..50 {
        let mut record = select(n);
        record.statement = Some(String::from_utf8_lossy(canary));
        record.detail = Some(String::from_utf8_lossy(canary));
        record.sealed = Some(trail.sealer().seal(1, n, canary).into());
        let _receipt = trail.record(&record).unwrap().wait().unwrap();
    }
    trail.close().unwrap();
    let mut folders = vec![folder.path().to_owned()];
    let mut files = 0;
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            files += 1;
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(
                !bytes.windows(canary.len()).any(|window| window == canary),
                "{}",
                entry.path().display()
            );
            assert!(!bytes.windows(32).any(|window| window == root().expose()), "{}", entry.path().display());
        }
    }
    assert!(files > 8);
}

#[test]
fn an_export_verifies_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let trail = Trail::open(folder.path(), &root(), options()).unwrap();
    for n in 0..600 {
        let _pending = trail.record(&select(n)).unwrap();
    }
    trail.close().unwrap();
    let size = export_tlog(folder.path(), out.path()).unwrap();
    assert!(size > 600);
    let key = std::fs::read_to_string(out.path().join("verifier.txt")).unwrap();
    let key: tlog::NoteVerifier = key.trim_end().parse().unwrap();
    let checkpoint = std::fs::read(out.path().join("checkpoint")).unwrap();
    let checkpoint = tlog::Checkpoint::open(&checkpoint, key.name(), std::slice::from_ref(&key)).unwrap();
    let read = |tile: tlog::Tile| std::fs::read(out.path().join(tile.path()));
    assert_eq!(tlog::root_from_tiles(size, &read).unwrap(), checkpoint.root());
    assert!(verify(folder.path(), VerifyOptions::default()).unwrap().passed());
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_own() {
    let disk = MemoryDisk::default();
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options()).unwrap();
    let mut random = crate::memory::Random::new(9);
    let mut record = select(1);
    let text = (0..3 << 20).map(|_| random.next().to_le_bytes()[3]).collect::<Vec<_>>();
    record.sealed = Some(trail.sealer().seal(record.session.unwrap().0, 1, &text).into());
    let index = trail.record(&record).unwrap().wait().unwrap().index();
    let _receipt = trail.record(&select(2)).unwrap().wait().unwrap();
    trail.close().unwrap();
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    assert_eq!(reader.entries(index).unwrap().next().unwrap().unwrap().record, record);
    let root = root();
    let report =
        trail::verify_on(&disk, VerifyOptions { root_key: Some(&root), ..VerifyOptions::default() }).unwrap();
    assert!(report.passed(), "{:?}", report.findings);
}

#[test]
fn a_full_queue_is_an_answer() {
    let mut few = options();
    few.queue_records_max = 1;
    let trail = Trail::open_on(Arc::new(MemoryDisk::default()), &root(), few).unwrap();
    let mut overloaded = 0;
    let mut taken = Vec::new();
    for n in 0..2000 {
        match trail.record(&select(n)) {
            Ok(pending) => taken.push(pending),
            Err(Error::Overloaded) => overloaded += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(overloaded > 0);
    for pending in taken {
        let _receipt = pending.wait().unwrap();
    }
    trail.close().unwrap();
}

#[test]
fn tasks_wait_as_futures() {
    let trail = Trail::open_on(Arc::new(MemoryDisk::default()), &root(), options()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for writer in 0..64_u64 {
            let trail = trail.clone();
            tasks.push(tokio::spawn(async move {
                let mut last = 0;
                for n in 0..50 {
                    let index = trail.record(&select(writer * 100 + n)).unwrap().await.unwrap().index();
                    assert!(index > last);
                    last = index;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert!(trail.durable() >= 3200);
    trail.close().unwrap();
}

#[test]
fn heartbeats_come_also_when_idle_and_silence_is_found() {
    let disk = MemoryDisk::default();
    let mut quick = options();
    quick.heartbeat_interval = Duration::from_millis(20);
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), quick).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    trail.close().unwrap();
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    let beats =
        reader.entries(0).unwrap().filter(|e| e.as_ref().unwrap().record.kind == Kind::Heartbeat).count();
    assert!(beats >= 3, "{beats}");
    let strict = VerifyOptions { heartbeat_gap_max: Duration::from_millis(1), ..VerifyOptions::default() };
    let report = trail::verify_on(&disk, strict).unwrap();
    assert_eq!(report.findings[0].damage.kind, trail::DamageKind::Heartbeat);
}
