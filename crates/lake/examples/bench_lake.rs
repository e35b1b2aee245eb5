//! Measures questions to an archive: one patient, one person, top relations, warm and cold, beside DuckDB over an unencrypted
//! export of the same rows and `grep` over JSON lines. `cargo xtask bench trail-search` runs it.
//!
//! The rows are made here and written as the compacted archive has them; there is no log behind them. DuckDB comes from PyPI
//! (`python3 -m pip install duckdb`); where it is not, its column says so.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss
)]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lake::{Engine, Error, Limits, SealedStore};
use model::{
    Action, Kind, Micros, OperationId, Outcome, PatientToken, Patients, PersonId, Phase, Record, RootKey,
    SessionId, Verdict,
};
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use rustix::fs::{Advice, fadvise};
use trail::{Found, Manifest, Options, Question, Reader, Sought, Trail};

const FILE_ROWS: u64 = 20 << 20;
const BATCH_ROWS: usize = 8_192;
const PATIENTS: u64 = 500_000;
const PEOPLE: u64 = 3_000;
const BEGIN_US: u64 = 1_640_995_200_000_000;
const STEP_US: u64 = 1_700_000;
/// JSON lines are searched over so many entries at most: they take several hundred bytes each.
const JSON_ENTRIES_MAX: u64 = 1_000_000;
const REPEATS: usize = 5;

/// SplitMix64: the same rows every time.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Tokens in ascending order: the number in front, then what looks random.
fn token(patient: u64) -> PatientToken {
    let front = (u128::from(patient) << 64) / u128::from(PATIENTS);
    let front = (front as u64).wrapping_add(mix(patient) % (u64::MAX / PATIENTS));
    PatientToken((u128::from(front) << 64 | u128::from(mix(patient ^ 77))).to_be_bytes())
}

/// An entry about as large and as varied as the gateway's.
fn found(index: u64, patient: u64) -> Found {
    let random = mix(index);
    let person = (random % PEOPLE).min(random / PEOPLE % PEOPLE);
    let at = BEGIN_US + index * STEP_US;
    let shape = (random >> 20) % 200;
    let bytes = |count: u64| (0..count).flat_map(|at| mix(random ^ at).to_le_bytes()).collect::<Vec<u8>>();
    let record = Record {
        session: Some(SessionId(u128::from(mix(person << 32 | index >> 14)) << 64 | u128::from(mix(person)))),
        operation: Some(OperationId(index % 400)),
        phase: Some(Phase::Complete),
        person: Some(PersonId(u128::from(mix(person)) << 64 | 5)),
        person_name: Some(format!("person.{person:05}").into()),
        address: Some([10, (person >> 8) as u8, person as u8, 7].into()),
        port: Some(40_000 + (mix(person ^ index >> 14) % 20_000) as u16),
        client: Some("psql".into()),
        resource: Some(format!("hospital{}", person % 4).into()),
        action: Some(Action::Read),
        command: Some("SELECT".into()),
        statement: Some(
            format!("SELECT name, birth_date, note{shape} FROM patients p JOIN encounters e ON e.patient_id = p.id WHERE p.id = $1")
                .into(),
        ),
        sealed: Some(bytes(7).into()),
        objects: vec!["public.patients".into(), format!("public.t{}", shape % 40).into()],
        verdict: Some(if random.is_multiple_of(97) { Verdict::Deny } else { Verdict::Allow }),
        policies: vec!["nurse.read".into()],
        policy_version: Some(1_795_428_000_000_000),
        rows: Some(random % 30),
        bytes: Some(random % 9_000),
        duration_us: Some(300 + random % 5_000),
        outcome: Some(Outcome::Completed),
        patients: Patients::new(2022, vec![token(patient)], bytes(6).into()),
        ..Record::new(Kind::Operation, Micros(at))
    };
    Found { index, time_us: at + random % 400, record, whole: true, patients: 1 }
}

/// Calls with the rows of a file, sorted by patient.
fn rows(first: u64, end: u64) -> impl Iterator<Item = Found> {
    // Each patient gets every so many-th entry, from a beginning of their own.
    let count = end - first;
    let patients = PATIENTS.min(count);
    (0..patients).flat_map(move |place| {
        let patient = place * PATIENTS / patients;
        (place..count).step_by(usize::try_from(patients).unwrap()).map(move |at| found(first + at, patient))
    })
}

fn batches(first: u64, end: u64) -> impl Iterator<Item = Result<arrow::array::RecordBatch, Error>> {
    let mut rows = rows(first, end).peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let some: Vec<Found> = rows.by_ref().take(BATCH_ROWS).collect();
        Some(lake::batches(some.into_iter(), usize::MAX).map(|mut batches| batches.remove(0)))
    })
}

struct Bench {
    folder: PathBuf,
    reader: Arc<Reader>,
    archive: Vec<Manifest>,
    runtime: tokio::runtime::Runtime,
    events: u64,
}

impl Bench {
    fn begin(folder: &Path, events: u64) -> Bench {
        let trail = folder.join("trail");
        let key = RootKey::new([1; 32]);
        Trail::open(&trail, &key, Options::new("bench")).unwrap().close().unwrap();
        let reader = Arc::new(Reader::open(&trail, &key).unwrap());
        let month = reader.segment_month(0).unwrap();
        let files = lake::folder(&folder.join("archive")).unwrap();
        let begun = Instant::now();
        let mut archive = Vec::new();
        for first in (0..events).step_by(usize::try_from(FILE_ROWS).unwrap()) {
            let end = events.min(first + FILE_ROWS);
            archive
                .push(lake::write_sorted(&reader, &files, (first, end, month), batches(first, end)).unwrap());
        }
        let took = begun.elapsed();
        println!(
            "written: {events} entries in {} files, {:.0} entries/s",
            archive.len(),
            events as f64 / took.as_secs_f64()
        );
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Bench { folder: folder.to_owned(), reader, archive, runtime, events }
    }

    fn sizes(&self) {
        for part in ["events", "filter", "people", "patients"] {
            let bytes: u64 = self
                .archive
                .iter()
                .map(|manifest| {
                    fs::metadata(self.folder.join("archive").join(manifest.file_name(part))).unwrap().len()
                })
                .sum();
            println!("{part}: {bytes} bytes, {:.1} an entry", bytes as f64 / self.events as f64);
        }
    }

    /// Forgets what memory holds of the files.
    fn forget(&self, folder: &str) {
        for entry in fs::read_dir(self.folder.join(folder)).unwrap() {
            let file = File::open(entry.unwrap().path()).unwrap();
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    }

    /// Each time in a new engine, as each command is a new process.
    fn engine(&self) -> Engine {
        let below = LocalFileSystem::new_with_prefix(self.folder.join("archive")).unwrap();
        let store = SealedStore::new(Arc::new(below), Arc::clone(&self.reader));
        Engine::new(Arc::new(store), Limits { time_max: Duration::from_secs(3_600), ..Limits::default() })
    }

    fn search(&self, question: &Question) -> (Duration, u64) {
        let (begun, mut count) = (Instant::now(), 0);
        let found = |_: &Found| {
            count += 1;
            Ok(())
        };
        self.runtime.block_on(self.engine().search(&self.archive, question, Some(10_000), found)).unwrap();
        (begun.elapsed(), count)
    }

    fn sql(&self, query: &str) -> (Duration, u64) {
        let (begun, mut count) = (Instant::now(), 0);
        let rows = |batch: &arrow::array::RecordBatch| {
            count += batch.num_rows() as u64;
            Ok(())
        };
        self.runtime.block_on(self.engine().sql(&self.archive, Vec::new(), query, rows)).unwrap();
        (begun.elapsed(), count)
    }

    fn measure(&self, name: &str, ask: impl Fn() -> (Duration, u64)) {
        self.forget("archive");
        let (cold, count) = ask();
        let mut warm: Vec<Duration> = (0..REPEATS).map(|_| ask().0).collect();
        warm.sort_unstable();
        println!(
            "wardline {name}: cold {cold:.3?}, warm {:.3?} (median of {REPEATS}), {count} rows",
            warm.get(REPEATS / 2).copied().unwrap_or_default()
        );
    }

    fn export(&self) {
        let folder = self.folder.join("export");
        fs::create_dir_all(&folder).unwrap();
        let mut bytes = 0;
        for manifest in &self.archive {
            let path = folder.join(format!("{:012}.parquet", manifest.first));
            let file = File::create(&path).unwrap();
            let mut writer =
                ArrowWriter::try_new(file, Arc::clone(&lake::SCHEMA), Some(lake::events_properties(1 << 20)))
                    .unwrap();
            for batch in batches(manifest.first, manifest.end) {
                writer.write(&batch.unwrap()).unwrap();
            }
            bytes += writer.into_inner().unwrap().metadata().unwrap().len();
        }
        println!("export, not encrypted: {bytes} bytes, {:.1} an entry", bytes as f64 / self.events as f64);
    }

    fn duckdb(&self, patient: PatientToken) {
        let files = self.folder.join("export/*.parquet");
        let script = format!(
            "import duckdb, time\nc = duckdb.connect()\nc.execute('SET threads = 2')\nfor name, query in [\n\
             ('one patient', \"SELECT * FROM '{0}' WHERE token = from_hex('{patient}') ORDER BY index\"),\n\
             ('one person', \"SELECT * FROM '{0}' WHERE person_name = 'person.00042' AND part = 0 ORDER BY index DESC LIMIT 10000\"),\n\
             ('top relations', \"SELECT o, count(*) n FROM (SELECT unnest(objects) o FROM '{0}' WHERE part = 0) GROUP BY o ORDER BY n DESC LIMIT 10\")]:\n\
             \x20 times = []\n  for _ in range({REPEATS}):\n    t = time.time(); rows = len(c.execute(query).fetchall()); times.append(time.time() - t)\n\
             \x20 print(f'duckdb {{name}}: warm {{sorted(times)[{REPEATS} // 2] * 1000:.0f}}ms (median of {REPEATS}), {{rows}} rows')\n",
            files.display()
        );
        match Command::new("python3").args(["-c", &script]).output() {
            Ok(output) if output.status.success() => print!("{}", String::from_utf8_lossy(&output.stdout)),
            Ok(output) => println!(
                "duckdb: SKIPPED, {}",
                String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default()
            ),
            Err(error) => println!("duckdb: SKIPPED, python3: {error}"),
        }
    }

    fn grep(&self, patient: PatientToken) {
        let path = self.folder.join("entries.jsonl");
        let mut out = BufWriter::new(File::create(&path).unwrap());
        let count = self.events.min(JSON_ENTRIES_MAX);
        for found in rows(0, count) {
            let record = &found.record;
            let text =
                |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
            let tokens = record.patients.as_ref().unwrap().tokens();
            let line = serde_json::json!({
                "index": found.index, "at_us": record.at.0, "session": record.session.unwrap().to_string(),
                "operation": record.operation.unwrap().0, "kind": "operation", "phase": "complete",
                "person": record.person.unwrap().to_string(), "person_name": text(&record.person_name),
                "address": record.address.unwrap().to_string(), "port": record.port, "client": "psql",
                "resource": text(&record.resource), "action": "read", "command": "SELECT",
                "statement": text(&record.statement), "objects": record.objects, "rows": record.rows,
                "bytes": record.bytes, "duration_us": record.duration_us, "patients": tokens.iter().take(1).map(ToString::to_string).collect::<Vec<_>>(),
            });
            writeln!(out, "{line}").unwrap();
        }
        out.flush().unwrap();
        let bytes = fs::metadata(&path).unwrap().len();
        println!(
            "JSON lines, without sealed values: {:.1} bytes an entry ({count} entries)",
            bytes as f64 / count as f64
        );
        let begun = Instant::now();
        let output = Command::new("grep").arg("-c").arg(patient.to_string()).arg(&path).output().unwrap();
        let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("grep one patient: warm {:.3?} over {count} entries, {found} lines", begun.elapsed());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let events = after("--events").map_or(1_000_000, |text| text.parse().expect("--events takes a number"));
    let temporary = tempfile::tempdir().unwrap();
    let folder = after("--folder").map_or(temporary.path().to_owned(), PathBuf::from);
    let bench = Bench::begin(&folder, events);
    bench.sizes();
    let patient = token(PATIENTS / 2);
    let of_patient =
        Question { patients: Some(vec![Sought { year: 2022, token: patient }]), ..Question::default() };
    let of_person = Question { person: Some("person.00042".to_owned()), ..Question::default() };
    bench.measure("one patient", || bench.search(&of_patient));
    bench.measure("one person, the latest 10,000", || bench.search(&of_person));
    let top = "SELECT o, count(*) AS n FROM (SELECT unnest(objects) AS o FROM events WHERE part = 0) GROUP BY o ORDER BY n DESC LIMIT 10";
    bench.measure("top relations", || bench.sql(top));
    let people =
        "SELECT person_name, sum(operations) AS n FROM person_days GROUP BY 1 ORDER BY 2 DESC LIMIT 10";
    bench.measure("busiest people, by the roll-up", || bench.sql(people));
    bench.export();
    bench.duckdb(patient);
    bench.grep(patient);
}
