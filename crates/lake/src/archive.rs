//! Writes entries into the archive, and files of the archive into fewer, larger ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use futures_util::StreamExt as _;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use trail::{Entry, Found, Manifest, Reader};

use crate::error::Error;
use crate::rows::{Batch, Rows, SortKey};
use crate::sealed::{SealedFile, SealedStore};
use crate::unit::{EVENTS, FRESH_ROW_GROUP_ROWS, Folder, ROW_GROUP_ROWS, Unit};

/// Rows that are made, read or written at once.
const BATCH_ROWS: usize = 8_192;
/// The most entries of a file before it is compacted.
pub const FRESH_ENTRIES_MAX: u64 = 1 << 20;
/// As much of entries is sorted in memory at once.
const FRESH_BYTES_MAX: usize = 256 << 20;
/// The most rows of a compacted file: measured, see decision 0026.
pub const COMPACT_ROWS_MAX: u64 = 20 << 20;
/// So many files of a month that is not over are worth compacting.
const COMPACT_FILES_MIN: usize = 8;
/// What an entry takes in memory beside its texts.
const ENTRY_BYTES: usize = 600;

/// Which entries are archived.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From which entry to before which.
    pub range: Range<u64>,
    /// What is left over and is fewer entries than this waits for more.
    pub entries_min: u64,
    /// The most entries of one file.
    pub entries_max: u64,
}

/// Writes entries into files, and calls with the manifest of each once it is durable. Stops at an error of the call.
///
/// # Errors
/// When the trail cannot be read, or a file not be written.
pub fn archive<E: From<Error>>(
    reader: &Reader,
    folder: &Folder,
    wanted: &Wanted,
    mut written: impl FnMut(&Manifest) -> Result<(), E>,
) -> Result<(), E> {
    let mut gathered = Gathered::default();
    for entry in reader.entries(wanted.range.start).map_err(Error::from)? {
        let entry = entry.map_err(Error::from)?;
        if entry.index >= wanted.range.end {
            break;
        }
        if gathered.must_end_before(reader, &entry, wanted.entries_max)? {
            written(&gathered.write(reader, folder)?)?;
            gathered = Gathered::default();
        }
        gathered.take(reader, entry)?;
    }
    if !gathered.events.is_empty() && gathered.events.len() as u64 >= wanted.entries_min {
        written(&gathered.write(reader, folder)?)?;
    }
    Ok(())
}

/// Entries that become one file.
#[derive(Default)]
struct Gathered {
    events: Vec<Found>,
    bytes: usize,
    segment: Option<u64>,
    month: u32,
}

impl Gathered {
    fn must_end_before(&self, reader: &Reader, entry: &Entry, entries_max: u64) -> Result<bool, Error> {
        let full =
            self.events.len() as u64 >= entries_max.min(FRESH_ENTRIES_MAX) || self.bytes >= FRESH_BYTES_MAX;
        let other = self.segment.is_some_and(|segment| segment != entry.segment)
            && reader.segment_month(entry.segment)? != self.month;
        Ok(!self.events.is_empty() && (full || other))
    }

    fn take(&mut self, reader: &Reader, entry: Entry) -> Result<(), Error> {
        if self.segment.is_none() {
            self.month = reader.segment_month(entry.segment)?;
        }
        self.segment = Some(entry.segment);
        let record = entry.record;
        let texts =
            [&record.statement, &record.detail].map(|text| text.as_ref().map_or(0, |text| text.len()));
        let named = record.patients.as_ref().map_or(0, |patients| patients.tokens().len());
        let sealed = record.patients.as_ref().map_or(0, |patients| patients.sealed().len())
            + record.sealed.as_ref().map_or(0, |sealed| sealed.len());
        self.bytes += ENTRY_BYTES + texts.iter().sum::<usize>() + sealed + named * 64;
        self.events.push(Found::whole(Entry { record, ..entry }));
        Ok(())
    }

    fn write(&self, reader: &Reader, folder: &Folder) -> Result<Manifest, Error> {
        let first = self.events.first().map_or(0, |event| event.index);
        let end = self.events.last().map_or(0, |event| event.index + 1);
        let mut order: Vec<(SortKey, u32, u32)> = Vec::with_capacity(self.events.len());
        for (at, event) in (0..).zip(&self.events) {
            match &event.record.patients {
                None => order.push(((true, [0; 16], event.index), at, 0)),
                Some(patients) => order.extend(
                    (0..)
                        .zip(patients.tokens())
                        .map(|(part, token)| ((false, token.0, event.index), at, part)),
                ),
            }
        }
        order.sort_unstable();
        let mut unit = Unit::begin(reader, folder, (first, end, self.month), FRESH_ROW_GROUP_ROWS)?;
        let mut rows = Rows::new();
        for (_, at, part) in order {
            let event = usize::try_from(at).ok().and_then(|at| self.events.get(at));
            let event = event.expect("the order is of these entries");
            rows.push(event, usize::try_from(part).expect("parts are few"))?;
            if rows.len() == BATCH_ROWS {
                unit.push(&rows.finish()?)?;
            }
        }
        unit.push(&rows.finish()?)?;
        unit.finish()
    }
}

/// Returns which files are worth being one: of one month, following each other, together not too large. Those of a
/// month that is not over wait until they are several, unless `eager`.
pub fn compactions(archive: &[Manifest], eager: bool) -> Vec<Vec<Manifest>> {
    let last = archive.last().map(|manifest| manifest.month);
    let mut groups: Vec<Vec<Manifest>> = Vec::new();
    for manifest in archive {
        let fits = groups.last().is_some_and(|group| {
            let follows =
                group.last().is_some_and(|last| last.end == manifest.first && last.month == manifest.month);
            let rows: u64 = group.iter().map(|manifest| manifest.rows).sum();
            follows && rows + manifest.rows <= COMPACT_ROWS_MAX
        });
        match groups.last_mut().filter(|_| fits) {
            Some(group) => group.push(manifest.clone()),
            None => groups.push(vec![manifest.clone()]),
        }
    }
    groups.retain(|group| {
        let over = eager || group.last().map(|manifest| manifest.month) != last;
        group.len() >= if over { 2 } else { COMPACT_FILES_MIN }
    });
    groups
}

/// Merges files that follow each other into one. They stay; the new manifest replaces theirs.
///
/// # Errors
/// When a file cannot be read or written, or is not sorted.
pub async fn compact(
    reader: &Reader,
    store: &Arc<SealedStore>,
    folder: &Folder,
    group: &[Manifest],
) -> Result<Manifest, Error> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return Err(Error::Question("nothing to compact".to_owned()));
    };
    let mut inputs = Vec::with_capacity(group.len());
    for manifest in group {
        inputs.push(Input::open(store, &manifest.file_name(EVENTS)).await?);
    }
    let mut heap = BinaryHeap::with_capacity(inputs.len());
    for (at, input) in inputs.iter_mut().enumerate() {
        if let Some(key) = input.key().await? {
            heap.push(Reverse((key, at)));
        }
    }
    let mut unit = Unit::begin(reader, folder, (first.first, last.end, first.month), ROW_GROUP_ROWS)?;
    let mut picked = Picked::default();
    while let Some(Reverse((key, at))) = heap.pop() {
        let input = inputs.get_mut(at).expect("the heap names inputs");
        picked.take(at, input)?;
        if picked.rows.len() == BATCH_ROWS {
            unit.push(&picked.finish()?)?;
        }
        if let Some(next) = input.next_key().await? {
            if next < key {
                return Err(Error::damaged(&input.file, "it is not sorted"));
            }
            heap.push(Reverse((next, at)));
        }
    }
    if !picked.rows.is_empty() {
        unit.push(&picked.finish()?)?;
    }
    let manifest = unit.finish()?;
    let rows: u64 = group.iter().map(|manifest| manifest.rows).sum();
    if manifest.rows != rows {
        return Err(Error::damaged(
            &manifest.file_name(EVENTS),
            "the files do not have the rows of their manifests",
        ));
    }
    Ok(manifest)
}

/// One of the files that are merged.
struct Input {
    file: String,
    stream: ParquetRecordBatchStream<SealedFile>,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Input {
    async fn open(store: &Arc<SealedStore>, file: &str) -> Result<Input, Error> {
        let builder = ParquetRecordBatchStreamBuilder::new(SealedFile::new(store, file)).await?;
        let stream = builder.with_batch_size(BATCH_ROWS).build()?;
        Ok(Input { file: file.to_owned(), stream, batch: None, row: 0 })
    }

    async fn key(&mut self) -> Result<Option<SortKey>, Error> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            self.row = 0;
            self.batch = self.stream.next().await.transpose()?;
            if self.batch.is_none() {
                return Ok(None);
            }
        }
        self.batch.as_ref().map(|batch| Batch(batch).sort_key(self.row)).transpose()
    }

    async fn next_key(&mut self) -> Result<Option<SortKey>, Error> {
        self.row += 1;
        self.key().await
    }
}

/// Rows of several batches, which become one.
#[derive(Default)]
struct Picked {
    batches: Vec<RecordBatch>,
    /// The batch of each input that was picked from last.
    of_input: Vec<Option<usize>>,
    rows: Vec<(usize, usize)>,
}

impl Picked {
    fn take(&mut self, at: usize, input: &Input) -> Result<(), Error> {
        let batch = input.batch.as_ref().ok_or_else(|| Error::damaged(&input.file, "it ends too early"))?;
        if self.of_input.len() <= at {
            self.of_input.resize(at + 1, None);
        }
        let place = self.of_input.get_mut(at).expect("it was made long enough");
        let held = match *place {
            // A new batch begins at its first row.
            Some(held) if input.row > 0 => held,
            Some(_) | None => {
                self.batches.push(batch.clone());
                *place.insert(self.batches.len() - 1)
            }
        };
        self.rows.push((held, input.row));
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch, Error> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let batch = interleave_record_batch(&batches, &self.rows)?;
        *self = Picked::default();
        Ok(batch)
    }
}
