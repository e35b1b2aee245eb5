//! Writes the files that one manifest names: events, the filter of their tokens, and what people and patients add up to.
//!
//! Each is written under another name, brought to disk and then renamed; until a manifest in the trail names it, it is
//! nothing, and the next run removes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{Date32Array, FixedSizeBinaryBuilder, RecordBatch, StringArray, UInt16Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use model::{Kind, PatientToken, Phase};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use trail::{ARCHIVE_FORM, Manifest, ManifestFile, Reader};
use xorf::{BinaryFuse8, DmaSerializable as _};

use crate::error::Error;
use crate::rows::{Batch, PLAIN, SCHEMA};
use crate::sealed::{FRAME_BYTES, SealingWriter};

/// The events file.
pub(crate) const EVENTS: &str = "events";
/// The filter of the tokens in it.
pub(crate) const FILTER: &str = "filter";
/// What each person did on each day.
pub(crate) const PEOPLE: &str = "people";
/// How often each patient's records were reached on each day.
pub(crate) const PATIENTS: &str = "patients";
/// What a name ends with until the file is whole.
const UNFINISHED: &str = ".new";
/// The most rows of a row group in a file that was compacted: measured to be read fastest, see decision 0026.
pub(crate) const ROW_GROUP_ROWS: usize = 1 << 20;
/// The same in a file that is to be compacted: of each file, one row group is in memory while they are merged.
pub(crate) const FRESH_ROW_GROUP_ROWS: usize = 1 << 17;
/// Texts that repeat: as many bytes of different ones are numbered in each row group.
const DICTIONARY_BYTES_MAX: usize = 4 << 20;
/// Rows of roll-ups that are written at once.
const ROLLUP_ROWS: usize = 1 << 14;
const DAY_US: i64 = 86_400_000_000;

/// The columns of the table `person_days`.
pub static PERSON_DAYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let number = |name| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("day", DataType::Date32, false),
        text("person"),
        text("person_name"),
        text("resource"),
        number("operations"),
        number("refused"),
        number("rows"),
        number("patients"),
    ]))
});

/// The columns of the table `patient_days`.
pub static PATIENT_DAYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("token", DataType::FixedSizeBinary(16), false),
        Field::new("token_year", DataType::UInt16, false),
        Field::new("day", DataType::Date32, false),
        Field::new("resource", DataType::Utf8, true),
        Field::new("operations", DataType::UInt64, false),
    ]))
});

fn properties(row_group_rows: usize) -> WriterPropertiesBuilder {
    let zstd = ZstdLevel::try_new(3).expect("zstd has a level 3");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_data_page_size_limit(FRAME_BYTES)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_bloom_filter_enabled(false)
        .set_created_by("wardline".to_owned())
}

/// Returns how the events file is written.
pub fn events_properties(row_group_rows: usize) -> WriterProperties {
    let mut properties = properties(row_group_rows);
    for column in PLAIN {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    for column in ["index", "at", "committed_after_us"] {
        let path = ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    // By these, pages are left out of what is read.
    for column in ["token", "index", "at", "person_name"] {
        properties =
            properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Page);
    }
    properties.build()
}

type Sealed = SealingWriter<BufWriter<File>>;

/// The files of an archive folder.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    fn begin(&self, reader: &Reader, month: u32, name: &str) -> Result<Sealed, Error> {
        let path = self.0.join(format!("{name}{UNFINISHED}"));
        let file = File::create(&path).map_err(Error::io(format!("make `{}`", path.display())))?;
        SealingWriter::begin(reader, month, name, BufWriter::new(file))
    }

    fn end(&self, name: &str, writer: Sealed) -> Result<[u8; 32], Error> {
        let what = || Error::io(format!("write `{name}`"));
        let (file, digest, _) = writer.finish().map_err(what())?;
        let file = file.into_inner().map_err(|error| what()(error.into_error()))?;
        file.sync_all().map_err(what())?;
        fs::rename(self.0.join(format!("{name}{UNFINISHED}")), self.0.join(name)).map_err(what())?;
        Ok(digest)
    }

    /// Makes the names of finished files durable.
    fn sync(&self) -> Result<(), Error> {
        let synced = File::open(&self.0).and_then(|folder| folder.sync_all());
        synced.map_err(Error::io("bring the archive's folder to disk"))
    }

    /// Removes the files that no manifest names: of runs that did not finish, and those that others replaced.
    ///
    /// # Errors
    /// When the folder cannot be listed or a file not be removed.
    pub fn tidy(&self, archive: &[Manifest]) -> Result<u64, Error> {
        let known: Vec<String> = archive
            .iter()
            .flat_map(|manifest| manifest.files.iter().map(|file| manifest.file_name(&file.part)))
            .collect();
        let mut removed = 0;
        for entry in fs::read_dir(&self.0).map_err(Error::io("list the archive"))? {
            let entry = entry.map_err(Error::io("list the archive"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Only what this writes: somebody may keep notes here.
            let ours = name.trim_end_matches(UNFINISHED).rsplit_once('.').is_some_and(|(range, part)| {
                range.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
                    && [EVENTS, FILTER, PEOPLE, PATIENTS].contains(&part)
            });
            if ours && !known.contains(&name) {
                fs::remove_file(entry.path()).map_err(Error::io(format!("remove `{name}`")))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Writes the files of one manifest.
pub(crate) struct Unit<'r> {
    reader: &'r Reader,
    folder: Folder,
    manifest: Manifest,
    events: ArrowWriter<Sealed>,
    keys: Vec<u64>,
    people: PersonDays,
    patients: PatientDays,
}

impl<'r> Unit<'r> {
    /// Begins the files of a range of entries.
    pub(crate) fn begin(
        reader: &'r Reader,
        folder: &Folder,
        (first, end, month): (u64, u64, u32),
        row_group_rows: usize,
    ) -> Result<Unit<'r>, Error> {
        let manifest = Manifest { form: ARCHIVE_FORM, first, end, rows: 0, month, files: Vec::new() };
        let begin = |part: &str| folder.begin(reader, month, &manifest.file_name(part));
        let events = ArrowWriter::try_new(
            begin(EVENTS)?,
            Arc::clone(&SCHEMA),
            Some(events_properties(row_group_rows)),
        )?;
        let small = || Some(properties(ROW_GROUP_ROWS).build());
        let people = ArrowWriter::try_new(begin(PEOPLE)?, Arc::clone(&PERSON_DAYS), small())?;
        let patients = ArrowWriter::try_new(begin(PATIENTS)?, Arc::clone(&PATIENT_DAYS), small())?;
        Ok(Unit {
            reader,
            folder: folder.clone(),
            events,
            keys: Vec::new(),
            people: PersonDays { writer: people, days: BTreeMap::new() },
            patients: PatientDays { writer: patients, of: None, days: BTreeMap::new(), rows: Vec::new() },
            manifest,
        })
    }

    /// Appends rows, which come in the order of their tokens.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let rows = Batch(batch);
        for row in 0..batch.num_rows() {
            let fact = Fact::of(rows, row)?;
            if let Some(token) = fact.token {
                let key = key_of(token);
                if self.keys.last() != Some(&key) {
                    self.keys.push(key);
                }
                self.patients.add(token, &fact)?;
            }
            if fact.first {
                self.people.add(&fact);
            }
        }
        self.manifest.rows += batch.num_rows() as u64;
        Ok(self.events.write(batch)?)
    }

    /// Returns the manifest, once the files are durable under their names.
    pub(crate) fn finish(self) -> Result<Manifest, Error> {
        let Unit { reader, folder, mut manifest, events, mut keys, people, patients } = self;
        keys.sort_unstable();
        keys.dedup();
        let name = manifest.file_name(FILTER);
        let mut filter = folder.begin(reader, manifest.month, &name)?;
        filter.write_all(&filter_bytes(&keys)?).map_err(Error::io(format!("write `{name}`")))?;
        let parts = [
            (EVENTS, events.into_inner()?),
            (FILTER, filter),
            (PATIENTS, patients.finish()?),
            (PEOPLE, people.finish()?),
        ];
        for (part, writer) in parts {
            let sha256 = folder.end(&manifest.file_name(part), writer)?;
            manifest.files.push(ManifestFile { part: part.to_owned(), sha256 });
        }
        folder.sync()?;
        Ok(manifest)
    }
}

/// Writes rows that are already sorted as the files of a range of entries, as the archive has them once compacted. For the
/// benchmark, which has no log of so many entries.
///
/// # Errors
/// When a file cannot be written.
pub fn write_sorted<E: From<Error>>(
    reader: &Reader,
    folder: &Folder,
    range: (u64, u64, u32),
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
) -> Result<Manifest, E> {
    let mut unit = Unit::begin(reader, folder, range, ROW_GROUP_ROWS)?;
    for batch in batches {
        unit.push(&batch?)?;
    }
    Ok(unit.finish()?)
}

/// Returns what the filter holds of a token: it is random, so its beginning is a hash.
pub(crate) fn key_of(token: PatientToken) -> u64 {
    u64::from_le_bytes(*token.0.first_chunk().expect("a token has 16 bytes"))
}

/// Returns the filter's bytes: the descriptor and the fingerprints; none where there are no tokens.
fn filter_bytes(keys: &[u64]) -> Result<Vec<u8>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |_| Error::damaged("the filter", "it cannot be made");
    let filter = BinaryFuse8::try_from(keys).map_err(failed)?;
    let mut bytes = vec![0; BinaryFuse8::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut bytes);
    bytes.extend_from_slice(filter.dma_fingerprints());
    Ok(bytes)
}

/// What of a row adds up.
struct Fact {
    token: Option<PatientToken>,
    year: u16,
    first: bool,
    day: i32,
    person: Option<String>,
    person_name: Option<String>,
    resource: Option<String>,
    /// Whether the entry is the last of its operation.
    operation: bool,
    refused: bool,
    rows: u64,
    patients: u64,
}

impl Fact {
    fn of(batch: Batch<'_>, row: usize) -> Result<Fact, Error> {
        let text = |name| Ok::<_, Error>(batch.text(name, row)?.map(ToOwned::to_owned));
        let at = batch.number::<arrow::datatypes::TimestampMicrosecondType>("at", row)?.unwrap_or_default();
        let is_operation = batch.text("kind", row)? == Some(Kind::Operation.name());
        let phase = batch.text("phase", row)?;
        let is = |wanted: Phase| phase == Some(wanted.name());
        let operation = is_operation && (is(Phase::Complete) || is(Phase::Settled) || is(Phase::Refused));
        let number = |name| batch.number::<arrow::datatypes::UInt64Type>(name, row);
        let patients = batch.number::<arrow::datatypes::UInt32Type>("patients", row)?;
        Ok(Fact {
            token: batch.token(row)?,
            year: batch.number::<arrow::datatypes::UInt16Type>("token_year", row)?.unwrap_or_default(),
            first: batch.part(row)? == 0 && is_operation,
            day: i32::try_from(at.div_euclid(DAY_US)).unwrap_or(i32::MAX),
            person: text("person")?,
            person_name: text("person_name")?,
            resource: text("resource")?,
            operation,
            refused: is(Phase::Refused),
            rows: if operation { number("rows")?.unwrap_or_default() } else { 0 },
            patients: u64::from(patients.unwrap_or_default()),
        })
    }
}

type PersonDay = (i32, Option<String>, Option<String>, Option<String>);

struct PersonDays {
    writer: ArrowWriter<Sealed>,
    /// Operations, refused ones, rows, patients.
    days: BTreeMap<PersonDay, [u64; 4]>,
}

impl PersonDays {
    fn add(&mut self, fact: &Fact) {
        let key = (fact.day, fact.person.clone(), fact.person_name.clone(), fact.resource.clone());
        let sums = self.days.entry(key).or_default();
        let more = [u64::from(fact.operation), u64::from(fact.refused), fact.rows, fact.patients];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    fn finish(mut self) -> Result<Sealed, Error> {
        let (keys, sums): (Vec<PersonDay>, Vec<[u64; 4]>) = self.days.into_iter().unzip();
        let column = |at: usize| {
            let sums = sums.iter().map(|sums| sums.get(at).copied().unwrap_or_default());
            Arc::new(UInt64Array::from_iter_values(sums))
        };
        let batch = RecordBatch::try_new(
            Arc::clone(&PERSON_DAYS),
            vec![
                Arc::new(Date32Array::from_iter_values(keys.iter().map(|key| key.0))),
                Arc::new(StringArray::from_iter(keys.iter().map(|key| key.1.as_deref()))),
                Arc::new(StringArray::from_iter(keys.iter().map(|key| key.2.as_deref()))),
                Arc::new(StringArray::from_iter(keys.iter().map(|key| key.3.as_deref()))),
                column(0),
                column(1),
                column(2),
                column(3),
            ],
        )?;
        self.writer.write(&batch)?;
        Ok(self.writer.into_inner()?)
    }
}

struct PatientDay {
    token: PatientToken,
    year: u16,
    day: i32,
    resource: Option<String>,
    operations: u64,
}

struct PatientDays {
    writer: ArrowWriter<Sealed>,
    of: Option<(PatientToken, u16)>,
    days: BTreeMap<(i32, Option<String>), u64>,
    rows: Vec<PatientDay>,
}

impl PatientDays {
    /// A patient's rows follow each other, so the sums of one are in memory. What a patient is in is counted once for an
    /// operation that is recorded at once, and once for each part of a larger one.
    fn add(&mut self, token: PatientToken, fact: &Fact) -> Result<(), Error> {
        if self.of != Some((token, fact.year)) {
            self.turn()?;
            self.of = Some((token, fact.year));
        }
        let count = self.days.entry((fact.day, fact.resource.clone())).or_default();
        *count = count.saturating_add(1);
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Error> {
        if let Some((token, year)) = self.of {
            let days = std::mem::take(&mut self.days).into_iter();
            let row = |((day, resource), operations)| PatientDay { token, year, day, resource, operations };
            self.rows.extend(days.map(row));
        }
        if self.rows.len() >= ROLLUP_ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut tokens = FixedSizeBinaryBuilder::with_capacity(self.rows.len(), 16);
        self.rows.iter().try_for_each(|row| tokens.append_value(row.token.0))?;
        let batch = RecordBatch::try_new(
            Arc::clone(&PATIENT_DAYS),
            vec![
                Arc::new(tokens.finish()),
                Arc::new(UInt16Array::from_iter_values(self.rows.iter().map(|row| row.year))),
                Arc::new(Date32Array::from_iter_values(self.rows.iter().map(|row| row.day))),
                Arc::new(StringArray::from_iter(self.rows.iter().map(|row| row.resource.as_deref()))),
                Arc::new(UInt64Array::from_iter_values(self.rows.iter().map(|row| row.operations))),
            ],
        )?;
        self.rows.clear();
        Ok(self.writer.write(&batch)?)
    }

    fn finish(mut self) -> Result<Sealed, Error> {
        self.turn()?;
        self.write()?;
        Ok(self.writer.into_inner()?)
    }
}

/// Returns the folder of an archive, made if it is not there.
///
/// # Errors
/// When it cannot be made.
pub fn folder(path: &Path) -> Result<Folder, Error> {
    fs::create_dir_all(path).map_err(Error::io(format!("make `{}`", path.display())))?;
    Ok(Folder(path.to_owned()))
}
