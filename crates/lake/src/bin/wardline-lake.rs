//! `wardline-lake`: the half of `wardline trail` that needs a query engine. `wardline` runs it; it is not for people.
//!
//! It reads one line of JSON from standard input, does what that says, and writes entries, lines of JSON or rows to
//! standard output. The root key comes in that line, through the pipe, and lies nowhere else.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, RecordBatch};
use arrow::csv::WriterBuilder;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lake::{Engine, Error, Limits, SealedStore, Wanted};
use model::RootKey;
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{Bucket, Credentials, Endpoint, S3};
use trail::{Disk, Folder, FolderStore, Found, Manifest, Question, Reader, Store, WithStore};

/// The most entries outside of the archive that SQL takes into memory.
const RECENT_ENTRIES_MAX: u64 = 1 << 20;
/// Rows that are made at once.
const BATCH_ROWS: usize = 8_192;
/// Rows of a row group in a file for others.
const EXPORT_ROW_GROUP_ROWS: usize = 1 << 20;

/// Everything that can be asked for.
#[derive(Deserialize)]
struct Job {
    /// How many kinds of records `wardline` knows: another build may know others, and could not give them back.
    kinds: usize,
    /// The form of the archive's files that `wardline` knows.
    archive_form: u32,
    trail: PathBuf,
    /// Where the segments are that are not in the trail's folder any more; nowhere for a copy.
    store: Option<Shelf>,
    archive: PathBuf,
    /// The root key, as 64 hexadecimal digits.
    key: String,
    /// The manifests of the archive, as their texts.
    #[serde(default)]
    manifests: Vec<String>,
    #[serde(flatten)]
    what: What,
}

/// The store of the trail. A credential is read from its file, as `wardline` does.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shelf {
    Folder(PathBuf),
    Bucket {
        name: String,
        prefix: String,
        region: String,
        endpoint: String,
        credentials: PathBuf,
        ca: Option<PathBuf>,
    },
}

impl Shelf {
    fn open(self) -> Result<Arc<dyn Store>, Error> {
        let failed = |error: &dyn fmt::Display| Error::Question(format!("the trail's store: {error}"));
        match self {
            Shelf::Folder(path) => match FolderStore::create(&path) {
                Ok(store) => Ok(Arc::new(store)),
                Err(error) => Err(failed(&error)),
            },
            Shelf::Bucket { name, prefix, region, endpoint, credentials, ca } => {
                let endpoint = Endpoint::parse(&endpoint, ca.as_deref()).map_err(|error| failed(&error))?;
                let credentials = Credentials::load(&credentials).map_err(|error| failed(&error))?;
                Ok(Arc::new(S3::new(endpoint, Bucket { name, prefix, region }, credentials)))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
enum What {
    /// Write entries into the archive; a line for each manifest, each of which is answered with a line.
    Archive { from: u64, end: u64, entries_min: u64, entries_max: u64 },
    /// Merge files; a line for each manifest, each of which is answered with a line.
    Compact { eager: bool },
    /// Remove what no manifest names; a line with how many files.
    Tidy {},
    /// Find archived entries; writes them as frames.
    Search { question: Box<Question>, latest: Option<usize>, timeout_s: u64, memory_mib: usize },
    /// Answer a query, also over the entries of the ranges that no manifest has.
    Sql { query: String, gaps: Vec<(u64, u64)>, form: Form, timeout_s: u64, memory_mib: usize },
    /// Write the entries that follow on standard input, as frames, to a Parquet file that is not encrypted.
    Parquet { file: PathBuf },
    /// Compare the archive with the log; a line for each finding, and one with what was checked.
    Verify {},
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Text,
    Json,
    Csv,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let text = error.to_string();
                // The engine's errors repeat their causes.
                if !message.contains(&text) {
                    message.push_str(": ");
                    message.push_str(&text);
                }
                cause = error.source();
            }
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Error> {
    let mut line = String::new();
    let mut input = BufReader::new(io::stdin());
    input.read_line(&mut line).map_err(io_error("read what to do"))?;
    // The parser's message may quote what it could not read, and with it the key.
    let stranger =
        || Error::Question("this `wardline-lake` is not of the `wardline` that runs it".to_owned());
    let job: Job = serde_json::from_str(&line).map_err(|_| stranger())?;
    if job.kinds != model::Kind::ALL.len() || job.archive_form != trail::ARCHIVE_FORM {
        return Err(stranger());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(io_error("start"))?.block_on(perform(job, input))
}

async fn perform(job: Job, mut input: BufReader<io::Stdin>) -> Result<(), Error> {
    let local = Folder::open(&job.trail).map_err(io_error("open the trail's folder"))?;
    let disk: Arc<dyn Disk> = match job.store {
        Some(shelf) => Arc::new(WithStore::new(Arc::new(local), shelf.open()?)),
        None => Arc::new(local),
    };
    let reader = Arc::new(Reader::open_on(disk, &root_key(&job.key)?)?);
    let mut archive = Vec::new();
    for text in &job.manifests {
        let manifest = text.parse::<Manifest>();
        archive.push(manifest.map_err(|error| Error::Question(error.to_string()))?);
    }
    let store = |folder: &Path| -> Result<Arc<SealedStore>, Error> {
        lake::folder(folder)?;
        let below = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| Error::Question(format!("the archive's folder: {error}")))?;
        Ok(Arc::new(SealedStore::new(Arc::new(below), Arc::clone(&reader))))
    };
    match job.what {
        What::Archive { from, end, entries_min, entries_max } => {
            let wanted = Wanted { range: from..end, entries_min, entries_max };
            lake::archive(&reader, &lake::folder(&job.archive)?, &wanted, |manifest| {
                told(manifest, &mut input)
            })
        }
        What::Compact { eager } => {
            let (folder, store) = (lake::folder(&job.archive)?, store(&job.archive)?);
            for group in lake::compactions(&archive, eager) {
                let manifest = lake::compact(&reader, &store, &folder, &group).await?;
                told(&manifest, &mut input)?;
            }
            Ok(())
        }
        What::Tidy {} => say(&json!({ "removed": lake::folder(&job.archive)?.tidy(&archive)? })),
        What::Search { question, latest, timeout_s, memory_mib } => {
            let engine = Engine::new(store(&job.archive)?, limits(timeout_s, memory_mib));
            let mut out = BufWriter::new(io::stdout());
            engine
                .search(&archive, &question, latest, |found| {
                    found.write(&mut out).map_err(io_error("hand over an entry"))
                })
                .await?;
            Found::write_end(&mut out).map_err(io_error("hand over the end"))
        }
        What::Sql { query, gaps, form, timeout_s, memory_mib } => {
            let engine = Engine::new(store(&job.archive)?, limits(timeout_s, memory_mib));
            let recent = recent(&reader, &gaps)?;
            let mut printer = Printer { form, heading: false };
            engine.sql(&archive, recent, &query, |batch| printer.print(batch)).await
        }
        What::Parquet { file } => export(&file, &mut input),
        What::Verify {} => {
            verify(&reader, &store(&job.archive)?, &lake::folder(&job.archive)?, &archive).await
        }
    }
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source: Arc::new(source) }
}

fn limits(timeout_s: u64, memory_mib: usize) -> Limits {
    Limits { memory_bytes_max: memory_mib << 20, time_max: Duration::from_secs(timeout_s) }
}

fn root_key(hex: &str) -> Result<RootKey, Error> {
    let wrong = || Error::Question("the root key is not 64 hexadecimal digits".to_owned());
    let mut key = [0; 32];
    if hex.len() != 2 * key.len() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (at, byte) in key.iter_mut().enumerate() {
        let digits = hex.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(RootKey::new(key))
}

fn say(value: &Value) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(io_error("answer"))
}

/// Says which files were written, and waits until their manifest is in the log.
fn told(manifest: &Manifest, input: &mut BufReader<io::Stdin>) -> Result<(), Error> {
    say(&json!({ "manifest": manifest.to_string() }))?;
    let mut line = String::new();
    let read = input.read_line(&mut line).map_err(io_error("wait for the manifest's record"))?;
    if read == 0 { Err(Error::Question("the manifest was not recorded".to_owned())) } else { Ok(()) }
}

/// Returns what is not archived, as rows.
fn recent(reader: &Reader, gaps: &[(u64, u64)]) -> Result<Vec<RecordBatch>, Error> {
    let mut events = Vec::new();
    for (from, end) in gaps {
        for entry in reader.entries(*from)? {
            let entry = entry?;
            if entry.index >= *end {
                break;
            }
            if events.len() as u64 >= RECENT_ENTRIES_MAX {
                let limit = format!(
                    "more than {RECENT_ENTRIES_MAX} entries are not archived; run `wardline trail archive`"
                );
                return Err(Error::Question(limit));
            }
            events.push(Found::whole(entry));
        }
    }
    lake::batches(events.into_iter(), BATCH_ROWS)
}

/// Writes rows as a table, as JSON lines or as CSV.
struct Printer {
    form: Form,
    heading: bool,
}

impl Printer {
    fn print(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let schema = batch.schema();
        let options = FormatOptions::new().with_null("");
        let columns: Result<Vec<_>, _> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect();
        let columns = columns?;
        let mut out = BufWriter::new(io::stdout().lock());
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let first = !std::mem::replace(&mut self.heading, true);
        match self.form {
            Form::Json => {
                for row in 0..batch.num_rows() {
                    let mut object = Map::new();
                    for ((name, column), array) in names.iter().zip(&columns).zip(batch.columns()) {
                        let text = || column.value(row).to_string();
                        let value = match array.data_type() {
                            _ if array.is_null(row) => Value::Null,
                            kind if kind.is_integer() || kind.is_floating() => {
                                serde_json::from_str(&text()).unwrap_or_else(|_| json!(text()))
                            }
                            DataType::Boolean => json!(text() == "true"),
                            _ => json!(text()),
                        };
                        object.insert((*name).to_owned(), value);
                    }
                    writeln!(out, "{}", Value::Object(object)).map_err(io_error("answer"))?;
                }
            }
            Form::Csv | Form::Text => {
                let delimiter = if matches!(self.form, Form::Csv) { b',' } else { b'\t' };
                let mut texts = Vec::with_capacity(batch.num_columns());
                for column in &columns {
                    let cells = (0..batch.num_rows()).map(|row| printable(&column.value(row).to_string()));
                    texts.push(Arc::new(arrow::array::StringArray::from_iter_values(cells))
                        as arrow::array::ArrayRef);
                }
                let texts = names.iter().zip(texts).map(|(name, column)| (*name, column));
                let mut writer =
                    WriterBuilder::new().with_header(first).with_delimiter(delimiter).build(&mut out);
                writer.write(&RecordBatch::try_from_iter(texts)?)?;
            }
        }
        out.flush().map_err(io_error("answer"))
    }
}

/// Writes control characters out: text that came from a client must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_unicode().collect() } else { vec![c] }).collect()
}

fn export(file: &Path, input: &mut BufReader<io::Stdin>) -> Result<(), Error> {
    let written = File::options().write(true).create_new(true).open(file);
    let written = written.map_err(io_error(&format!("make `{}`", file.display())))?;
    let properties = lake::events_properties(EXPORT_ROW_GROUP_ROWS);
    let mut writer = ArrowWriter::try_new(written, Arc::clone(&lake::SCHEMA), Some(properties))?;
    let mut entries = 0_u64;
    let mut more = true;
    while more {
        let mut events = Vec::with_capacity(BATCH_ROWS);
        while events.len() < BATCH_ROWS {
            match Found::read(input).map_err(io_error("take over an entry"))? {
                Some(event) => events.push(event),
                None => {
                    more = false;
                    break;
                }
            }
        }
        entries += events.len() as u64;
        for batch in lake::batches(events.into_iter(), BATCH_ROWS)? {
            writer.write(&batch)?;
        }
    }
    let file = writer.into_inner()?;
    file.sync_all().map_err(io_error("bring the file to disk"))?;
    say(&json!({ "entries": entries }))
}

async fn verify(
    reader: &Reader,
    store: &Arc<SealedStore>,
    folder: &lake::Folder,
    archive: &[Manifest],
) -> Result<(), Error> {
    let salts = reader.salts()?;
    let mut rows = 0;
    for manifest in archive {
        let mut findings = lake::check_digests(folder, manifest)?;
        if findings.is_empty() {
            let (checked, finding) = lake::check_rows(reader, &salts, store, manifest).await?;
            rows += checked;
            findings.extend(finding);
        }
        for finding in findings {
            say(&json!({ "file": finding.file, "problem": finding.problem, "entry": finding.index }))?;
        }
    }
    say(&json!({ "rows": rows }))
}
