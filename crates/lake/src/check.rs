//! Checks the archive against the log (level 4 of `verify`): the files are those of their manifests, and each row gives
//! back the leaf of its entry.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::sync::Arc;

use futures_util::StreamExt as _;
use model::{PatientToken, Patients, Record};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use trail::{Digest, Found, Leaf, Manifest, Reader, Salts};

use crate::error::Error;
use crate::rows::{Batch, of_columns};
use crate::sealed::{SealedFile, SealedStore};
use crate::unit::{EVENTS, Folder};

/// Read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What is wrong with a file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// What is wrong.
    pub problem: &'static str,
    /// The first entry that is affected, where it is known.
    pub index: Option<u64>,
}

/// Compares the files of a manifest with the digests in it.
///
/// # Errors
/// When a file cannot be read for another reason than that it is not there.
pub fn check_digests(folder: &Folder, manifest: &Manifest) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for file in &manifest.files {
        let name = manifest.file_name(&file.part);
        let mut finding = |problem| {
            findings.push(Finding { file: name.clone(), problem, index: Some(manifest.first) });
        };
        let mut opened = match File::open(folder.0.join(&name)) {
            Ok(opened) => opened,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                finding("a manifest in the log names it, and it is not there");
                continue;
            }
            Err(error) => return Err(Error::io(format!("read `{name}`"))(error)),
        };
        let mut digest = Digest::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = opened.read(&mut chunk).map_err(Error::io(format!("read `{name}`")))?;
            if read == 0 {
                break;
            }
            digest.update(chunk.get(..read).unwrap_or_default());
        }
        if digest.finish() != file.sha256 {
            finding("it is not the file of its manifest in the log");
        }
    }
    Ok(findings)
}

/// Sums that are equal for equal sets of rows in any order, and cannot be made equal by who does not know this run's keys.
#[derive(Debug, Default)]
struct Sums {
    keys: [RandomState; 2],
    sums: [u64; 2],
}

impl Sums {
    fn add(&mut self, index: u64, record: &Record<'_>, sign: fn(u64, u64) -> u64) -> Result<(), Error> {
        let mut bytes = index.to_le_bytes().to_vec();
        trail::encode(record, &mut bytes).map_err(|_| Error::damaged("a row", "it is too long"))?;
        for (sum, key) in self.sums.iter_mut().zip(&self.keys) {
            *sum = sign(*sum, key.hash_one(&bytes));
        }
        Ok(())
    }
}

/// Returns what a row beyond the first holds of its entry.
fn row_of<'r>(record: &'r Record<'r>, year: u16, token: PatientToken) -> Record<'r> {
    let patients = Patients::new(year, vec![token], b"".as_slice().into());
    Record { sealed: None, patients, ..of_columns(record) }
}

/// Checks each row of a file: the first row of each entry of the manifest's range gives the entry's leaf, and the other
/// rows are those that follow from it. Returns how many rows there were.
///
/// # Errors
/// When the file cannot be read, or the trail.
pub async fn check_rows(
    reader: &Reader,
    salts: &Salts,
    store: &Arc<SealedStore>,
    manifest: &Manifest,
) -> Result<(u64, Option<Finding>), Error> {
    let file = manifest.file_name(EVENTS);
    let finding = |problem, index| Some(Finding { file: file.clone(), problem, index });
    let mut stream = ParquetRecordBatchStreamBuilder::new(SealedFile::new(store, &file)).await?.build()?;
    let count = usize::try_from(manifest.end - manifest.first).unwrap_or(0);
    // As much of each leaf's digest as nobody finds another leaf for; zero where no row was seen.
    let mut seen = vec![0_u128; count];
    let (mut rows, mut sums) = (0_u64, Sums::default());
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            rows += 1;
            let event = Batch(&batch).event(row)?;
            let place = event.index.checked_sub(manifest.first).and_then(|at| usize::try_from(at).ok());
            let Some(place) = place.and_then(|at| seen.get_mut(at)) else {
                return Ok((
                    rows,
                    finding("a row is of an entry outside of its manifest", Some(event.index)),
                ));
            };
            if !event.whole {
                sums.add(event.index, &event.record, u64::wrapping_sub)?;
                continue;
            }
            let leaf = leaf_of(salts, &event)?;
            if *place != 0 {
                return Ok((rows, finding("an entry is there twice", Some(event.index))));
            }
            *place = digest_of(&leaf);
            for token in event.record.patients.iter().flat_map(|patients| patients.tokens().iter().skip(1)) {
                let year = event.record.patients.as_ref().map_or(0, Patients::year);
                sums.add(event.index, &row_of(&event.record, year, *token), u64::wrapping_add)?;
            }
        }
    }
    let mut bad = None;
    let mut place = seen.iter();
    reader.leaves(manifest.first..manifest.end, |leaf| {
        if place.next() != Some(&digest_of(&leaf)) && bad.is_none() {
            bad = Some(leaf.sequence);
        }
    })?;
    if bad.is_some() {
        return Ok((rows, finding("a row does not give the leaf of its entry", bad)));
    }
    if rows != manifest.rows {
        return Ok((rows, finding("it does not have the rows of its manifest", None)));
    }
    if sums.sums != [0, 0] {
        return Ok((rows, finding("the rows of an entry's other patients are not those of the entry", None)));
    }
    Ok((rows, None))
}

fn leaf_of(salts: &Salts, event: &Found) -> Result<Leaf, Error> {
    let leaf = salts.leaf(event.index, event.time_us, &event.record);
    let leaf = leaf.map_err(|_| Error::damaged("a row", "it is too long"))?;
    leaf.ok_or_else(|| Error::damaged("the trail", "the segment of an archived entry is not there"))
}

fn digest_of(leaf: &Leaf) -> u128 {
    let mut digest = Digest::default();
    digest.update(&leaf.encode());
    let digest = digest.finish();
    // Never zero, which stands for none.
    u128::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes")) | 1
}
