//! Durable events per second, latency, size on disk and speed of verification, against the disk itself.
//!
//! `cargo run --release -p trail --example bench_trail [-- --quick] [--json FILE] [--folder DIR] [--seconds N]`
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::indexing_slicing, clippy::panic)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{
    Action, Kind, Micros, OperationId, Outcome, PersonId, Phase, Record, RootKey, SessionId, Verdict,
};
use trail::{Options, Published, Reader, Trail, VerifyOptions, verify};

struct Arguments {
    json: Option<PathBuf>,
    folder: Option<PathBuf>,
    seconds: u64,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { json: None, folder: None, seconds: 3 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        if name == "--quick" {
            arguments.seconds = 1;
            continue;
        }
        let value = given.next().expect("a value behind each option");
        match name.as_str() {
            "--json" => arguments.json = Some(value.into()),
            "--folder" => arguments.folder = Some(value.into()),
            "--seconds" => arguments.seconds = value.parse().expect("a number of seconds"),
            other => panic!("unknown option `{other}`"),
        }
    }
    arguments
}

struct Results(Vec<(String, f64, &'static str)>);

impl Results {
    fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        println!("{name:<36} {value:>14.1} {unit}");
        self.0.push((name, value, unit));
    }

    fn json(&self) -> String {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|(name, value, unit)| {
                format!(r#"{{"name": "{name}", "value": {value:.3}, "unit": "{unit}"}}"#)
            })
            .collect();
        format!("[{}]\n", lines.join(",\n "))
    }
}

fn now() -> Micros {
    Micros(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap())
}

const STATEMENTS: [(&str, &str); 4] = [
    (
        "SELECT p.name, p.birth_date, e.reason FROM patients p JOIN encounters e ON e.patient_id = p.id WHERE p.id = $1",
        "public.encounters",
    ),
    (
        "SELECT id, ward, admitted_at FROM admissions WHERE ward = $1 AND discharged_at IS NULL ORDER BY admitted_at",
        "public.admissions",
    ),
    (
        "SELECT code, value, unit, taken_at FROM results WHERE patient_id = $1 AND taken_at > $2 ORDER BY taken_at DESC",
        "public.results",
    ),
    (
        "SELECT drug, dose, prescribed_by FROM prescriptions WHERE patient_id = $1 AND ended_at IS NULL",
        "public.prescriptions",
    ),
];

/// A read as the gateway records it, about 340 canonical bytes.
fn select(trail: &Trail, writer: u64, number: u64) -> Record<'static> {
    let mix = (writer << 20 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (statement, object) = STATEMENTS[usize::try_from(mix >> 62).unwrap()];
    let session = u128::from(writer.wrapping_mul(0xd134_2543_de82_ef95)) << 64 | u128::from(writer + 1);
    let mut record = Record::new(Kind::Operation, now());
    record.session = Some(SessionId(session));
    record.operation = Some(OperationId(number));
    record.phase = Some(Phase::Complete);
    record.person = Some(PersonId(session.rotate_left(31)));
    record.person_name = Some(format!("nurse.{:03}", writer % 200).into());
    record.address = Some(std::net::IpAddr::from([10, 3, 7, writer.to_le_bytes()[0]]));
    record.port = Some(40_000 + u16::from(writer.to_le_bytes()[0]));
    record.client = Some("psql".into());
    record.resource = Some("hospital".into());
    record.action = Some(Action::Read);
    record.command = Some("SELECT".into());
    record.statement = Some(statement.into());
    record.sealed =
        Some(trail.sealer().seal(session, number, format!("{mix:020}2026-10-01").as_bytes()).into());
    record.objects = vec!["public.patients".into(), object.into()];
    record.verdict = Some(Verdict::Allow);
    record.policies = vec!["role.nurse.read".into()];
    record.policy_version = Some(7);
    record.rows = Some(mix >> 58);
    record.bytes = Some(mix >> 52);
    record.duration_us = Some(200 + (mix >> 54));
    record.outcome = Some(Outcome::Completed);
    record
}

fn percentile(sorted: &[u64], part: f64) -> f64 {
    let place = ((sorted.len() - 1) as f64 * part).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    let place = place as usize;
    sorted[place] as f64 / 1000.0
}

/// One write of 400 bytes and one fdatasync on a preallocated file of zeros, 2000 times.
fn raw_disk(folder: &Path) -> Vec<u64> {
    let path = folder.join("raw");
    let mut file = File::create(&path).unwrap();
    file.write_all(&vec![0; 8 << 20]).unwrap();
    file.sync_all().unwrap();
    let block = [7; 400];
    let mut times: Vec<u64> = (0..2000)
        .map(|n| {
            let start = Instant::now();
            file.write_all_at(&block, n * 400).unwrap();
            file.sync_data().unwrap();
            u64::try_from(start.elapsed().as_nanos()).unwrap()
        })
        .collect();
    fs::remove_file(path).unwrap();
    times.sort_unstable();
    times
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Writers as tasks: each waits for its record to be durable before the next.
fn run(trail: &Trail, writers: u64, seconds: u64) -> (Vec<u64>, Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let times = runtime.block_on(async {
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let (trail, stop) = (trail.clone(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut times = Vec::with_capacity(4096);
                    while !stop.load(Ordering::Relaxed) {
                        let record = select(&trail, writer, times.len() as u64);
                        let start = Instant::now();
                        let _receipt = trail.record(&record).unwrap().await.unwrap();
                        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap());
                    }
                    times
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    (times, start.elapsed())
}

/// One writer on a thread of its own, without a runtime.
fn run_thread(trail: &Trail, seconds: u64) -> Vec<u64> {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed().as_secs() < seconds {
        let record = select(trail, 999, times.len() as u64);
        let start = Instant::now();
        let _receipt = trail.record(&record).unwrap().wait().unwrap();
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap());
    }
    times.sort_unstable();
    times
}

/// Bytes used by frames, and blocks taken by the tree.
fn sizes(folder: &Path) -> (u64, u64, u64) {
    let (mut frames, mut tree, mut blocks) = (0, 0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "seg") {
                let bytes = fs::read(&path).unwrap();
                frames += bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            } else if path.starts_with(folder.join("tree")) {
                let metadata = entry.metadata().unwrap();
                tree += metadata.len();
                blocks += std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
            }
        }
    }
    (frames, tree, blocks)
}

fn main() {
    let arguments = arguments();
    let temporary =
        tempfile::tempdir_in(arguments.folder.clone().unwrap_or_else(|| PathBuf::from("."))).unwrap();
    let mut results = Results(Vec::new());
    let root = RootKey::new([7; 32]);
    let folder = temporary.path().join("trail");
    let trail = Trail::open(&folder, &root, Options::new("bench.example")).unwrap();
    let mut sample = Vec::new();
    trail::encode(&select(&trail, 3, 4), &mut sample).unwrap();
    results.add("trail.record_bytes", sample.len() as f64, "B");
    let disk = raw_disk(temporary.path());
    results.add("disk.fdatasync_p50", percentile(&disk, 0.5), "us");
    results.add("disk.fdatasync_p99", percentile(&disk, 0.99), "us");
    let alone = run_thread(&trail, arguments.seconds);
    results.add("trail.thread_p50", percentile(&alone, 0.5), "us");
    results.add("trail.thread_p99", percentile(&alone, 0.99), "us");
    for writers in [1, 16, 64, 256] {
        if writers == 256 {
            measure_size(&mut results, &trail, &folder, writers, arguments.seconds);
        } else {
            measure(&mut results, &trail, writers, arguments.seconds);
        }
    }
    let after = raw_disk(temporary.path());
    results.add("disk.fdatasync_p50.after", percentile(&after, 0.5), "us");
    trail.close().unwrap();
    check(&mut results, &folder, &root);
    if let Some(file) = arguments.json {
        fs::write(file, results.json()).unwrap();
    }
}

fn measure(results: &mut Results, trail: &Trail, writers: u64, seconds: u64) {
    let cpu = cpu_seconds();
    let (mut times, elapsed) = run(trail, writers, seconds);
    let cpu = cpu_seconds() - cpu;
    times.sort_unstable();
    results.add(format!("trail.events_per_s.{writers}"), times.len() as f64 / elapsed.as_secs_f64(), "1/s");
    results.add(format!("trail.p50.{writers}"), percentile(&times, 0.5), "us");
    results.add(format!("trail.p99.{writers}"), percentile(&times, 0.99), "us");
    results.add(format!("trail.cpu_us_per_event.{writers}"), cpu * 1e6 / times.len() as f64, "us");
}

/// As [`measure`], and how much the events took on disk: the tree is given time to catch up before and after.
fn measure_size(results: &mut Results, trail: &Trail, folder: &Path, writers: u64, seconds: u64) {
    std::thread::sleep(Duration::from_secs(3));
    let (before, events) = (sizes(folder), trail.durable());
    measure(results, trail, writers, seconds);
    std::thread::sleep(Duration::from_secs(3));
    let (after, events) = (sizes(folder), (trail.durable() - events) as f64);
    results.add("trail.wal_bytes_per_event", (after.0 - before.0) as f64 / events, "B");
    results.add("trail.tree_bytes_per_event", (after.1 - before.1) as f64 / events, "B");
    results.add("trail.tree_disk_bytes_per_event", (after.2 - before.2) as f64 / events, "B");
    results.add("trail.bytes_per_event", (after.0 - before.0 + after.1 - before.1) as f64 / events, "B");
}

/// Drops the pages of all files below a folder from the cache.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            forget(&entry.path());
        } else {
            let file = File::open(entry.path()).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

fn check(results: &mut Results, folder: &Path, root: &RootKey) {
    let start = Instant::now();
    let tree = verify(folder, VerifyOptions { tree_only: true, ..VerifyOptions::default() }).unwrap();
    assert!(tree.passed(), "{:?}", tree.findings);
    results.add("trail.verify_level2_events_per_s", tree.size as f64 / start.elapsed().as_secs_f64(), "1/s");
    // Published afresh, and its files forgotten by the cache: what a proof of an old entry costs.
    let mut times: Vec<u64> = (0..20)
        .map(|n| {
            forget(&folder.join("tree"));
            let start = Instant::now();
            let proof = Published::open(folder).unwrap().prove(tree.size / 20 * n).unwrap();
            assert!(!proof.hashes.is_empty());
            u64::try_from(start.elapsed().as_nanos()).unwrap()
        })
        .collect();
    times.sort_unstable();
    results.add("trail.prove_cold_p50", percentile(&times, 0.5), "us");
    results.add("trail.prove_cold_max", percentile(&times, 1.0), "us");
    let start = Instant::now();
    let full = verify(folder, VerifyOptions { root_key: Some(root), ..VerifyOptions::default() }).unwrap();
    assert!(full.passed(), "{:?}", full.findings);
    results.add(
        "trail.verify_level5_events_per_s",
        full.records as f64 / start.elapsed().as_secs_f64(),
        "1/s",
    );
    let start = Instant::now();
    let read = Reader::open(folder, root).unwrap().entries(0).unwrap().map(Result::unwrap).count();
    results.add("trail.read_events_per_s", read as f64 / start.elapsed().as_secs_f64(), "1/s");
}
