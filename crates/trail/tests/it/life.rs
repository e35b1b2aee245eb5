//! Open, record, close, open again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Micros;
use trail::{Error, Options, Reader, State, Trail, VerifyOptions, verify_on};

use crate::memory::MemoryDisk;
use crate::support::{ORIGIN, options, root, select};

#[test]
fn records_become_durable_in_order_and_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(folder.path(), &root(), options()).unwrap();
    let pending: Vec<_> = (0..1000).map(|n| trail.record(&select(n)).unwrap()).collect();
    let indexes: Vec<u64> = pending.into_iter().map(|p| p.wait().unwrap().index()).collect();
    assert!(indexes.is_sorted_by(|a, b| a < b));
    assert_eq!(trail.state(), State::Open);
    trail.close().unwrap();
    assert_eq!(trail.state(), State::Closed);
    assert!(matches!(trail.record(&select(0)), Err(Error::Closed)));
    let durable = trail.durable();

    let trail = Trail::open(folder.path(), &root(), options()).unwrap();
    let index = trail.record(&select(1)).unwrap().wait().unwrap().index();
    assert!(index > durable, "{index} behind {durable}");
    trail.close().unwrap();
    let checkpoint = std::fs::read_to_string(folder.path().join("tree/checkpoint")).unwrap();
    let lines: Vec<&str> = checkpoint.lines().collect();
    assert_eq!(lines[0], ORIGIN);
    assert_eq!(lines[1], (index + 2).to_string(), "the checkpoint covers the node's stop");
}

/// A clock that the test sets.
fn clock() -> (Arc<AtomicU64>, Options) {
    let now = Arc::new(AtomicU64::new(1_795_428_000_000_000));
    let mut options = options();
    let shown = Arc::clone(&now);
    options.clock = Arc::new(move || Micros(shown.load(Ordering::Relaxed)));
    (now, options)
}

#[test]
fn a_new_month_has_its_own_keys_and_segment() {
    let disk = MemoryDisk::default();
    let (now, options) = clock();
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options).unwrap();
    let mut indexes = Vec::new();
    for month in 0..3_u64 {
        now.store(1_795_428_000_000_000 + month * 31 * 86_400_000_000, Ordering::Relaxed);
        // The sealing key follows within a checkpoint interval; either day's opens.
        std::thread::sleep(Duration::from_millis(60));
        let mut record = select(month);
        record.sealed = Some(trail.sealer().seal(record.session.unwrap().0, month, b"value").into());
        indexes.push(trail.record(&record).unwrap().wait().unwrap().index());
    }
    trail.close().unwrap();
    let files = disk.files();
    for month in ["202611", "202612", "202701"] {
        assert!(files.contains(&format!("keys/record-{month}.key")), "{files:?}");
        assert!(files.contains(&format!("keys/literal-{month}.key")), "{files:?}");
    }
    let reader = Reader::open_on(Arc::new(disk.clone()), &root()).unwrap();
    for (segment, index) in indexes.into_iter().enumerate() {
        let entry = reader.entries(index).unwrap().next().unwrap().unwrap();
        assert_eq!(entry.segment, segment as u64);
        assert_eq!(reader.open_sealed(&entry.record).unwrap().unwrap(), b"value");
    }
    check_passes(&disk, Duration::from_secs(100 * 86_400));
}

#[test]
fn time_in_the_log_never_runs_backwards() {
    let disk = MemoryDisk::default();
    let (now, options) = clock();
    for step in [0_i64, -3_600_000_000, 10, -50] {
        now.fetch_add(step.cast_unsigned(), Ordering::Relaxed);
        let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options.clone()).unwrap();
        let _receipt = trail.record(&select(1)).unwrap().wait().unwrap();
        trail.close().unwrap();
    }
    check_passes(&disk, Duration::from_secs(180));
}

fn check_passes(disk: &MemoryDisk, heartbeat_gap_max: Duration) {
    let root = root();
    let options = VerifyOptions { root_key: Some(&root), heartbeat_gap_max, ..VerifyOptions::default() };
    let report = verify_on(disk, options).unwrap();
    assert!(report.passed(), "{:?}", report.findings);
}

/// Whoever reads by the last checkpoint, or is killed before the next, finds its files whole.
#[test]
fn files_of_a_checkpoint_are_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(folder.path(), &root(), options()).unwrap();
    let tile = folder.path().join("tree/tile/1/000.p/2");
    let checkpoint = folder.path().join("tree/checkpoint");
    let start = std::time::Instant::now();
    let wait = |ready: &dyn Fn() -> bool| {
        while !ready() {
            assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    for n in 0..600 {
        let _pending = trail.record(&select(n)).unwrap();
    }
    wait(&|| {
        tile.exists() && std::fs::read(&checkpoint).unwrap().windows(5).any(|bytes| bytes == b"\n603\n")
    });
    let written = std::fs::metadata(&tile).unwrap().modified().unwrap();
    let before = std::fs::read(&checkpoint).unwrap();
    let _receipt = trail.record(&select(600)).unwrap().wait().unwrap();
    wait(&|| std::fs::read(&checkpoint).unwrap() != before);
    assert_eq!(std::fs::metadata(&tile).unwrap().modified().unwrap(), written);
    trail.close().unwrap();
}

#[test]
fn verify_passes_while_a_writer_writes() {
    let disk = MemoryDisk::default();
    // A machine that stands still for minutes is silence, but not what is looked for here.
    let day = Duration::from_secs(86_400);
    let mut small = options();
    small.segment_bytes = trail::SEGMENT_BYTES_MIN;
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), small).unwrap();
    let writer = trail.clone();
    let stop = Arc::new(AtomicU64::new(0));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        for n in 0.. {
            if stopped.load(Ordering::Relaxed) > 0 {
                return;
            }
            let _receipt = writer.record(&select(n)).unwrap().wait().unwrap();
        }
    });
    for _ in 0..20 {
        check_passes(&disk, day);
    }
    stop.store(1, Ordering::Relaxed);
    thread.join().unwrap();
    trail.close().unwrap();
    check_passes(&disk, day);
}
