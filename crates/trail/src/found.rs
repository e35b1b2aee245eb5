//! Entries that a search found, and how they go between `wardline` and `wardline-lake`: one behind the other, each behind
//! its numbers.
//!
//! index (u64), time of the commit (u64), patients (u32), 1 if the record is whole and else 0 (u8), length (u32), canonical
//! record; numbers are little endian. An end has length 2^32-1, so that a stream that was cut is not taken for a whole.

use std::io::{self, Read, Write};

use model::Record;

use crate::record;

const END: u32 = u32::MAX;
const HEAD_BYTES: usize = 25;

/// An entry that a search found, in the archive or behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place in the log.
    pub index: u64,
    /// When it was committed, in microseconds since 1970.
    pub time_us: u64,
    /// What it says; where it is not whole, of the patients only those sought, and nothing sealed.
    pub record: Record<'static>,
    /// Whether `record` is all of the entry.
    pub whole: bool,
    /// How many patients the entry names.
    pub patients: u32,
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn head(index: u64, time_us: u64, patients: u32, whole: bool, length: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let parts: [&[u8]; 5] = [
        &index.to_le_bytes(),
        &time_us.to_le_bytes(),
        &patients.to_le_bytes(),
        &[u8::from(whole)],
        &length.to_le_bytes(),
    ];
    let bytes = parts.concat();
    head.copy_from_slice(&bytes);
    head
}

impl Found {
    /// Takes over an entry that was read from the trail.
    pub fn whole(entry: crate::Entry) -> Found {
        let patients = entry.record.patients.as_ref().map_or(0, |patients| patients.tokens().len());
        let patients = u32::try_from(patients).unwrap_or(u32::MAX);
        Found { index: entry.index, time_us: entry.time_us, record: entry.record, whole: true, patients }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// When the writer refuses, or the record is longer than one may be.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut canonical = Vec::new();
        record::encode(&self.record, &mut canonical).map_err(|_| invalid("a record is too long"))?;
        let length = u32::try_from(canonical.len()).expect("a record is below 16 MiB");
        out.write_all(&head(self.index, self.time_us, self.patients, self.whole, length))?;
        out.write_all(&canonical)
    }

    /// Writes that there are no more.
    ///
    /// # Errors
    /// When the writer refuses.
    pub fn write_end(out: &mut impl Write) -> io::Result<()> {
        out.write_all(&head(0, 0, 0, true, END))?;
        out.flush()
    }

    /// Reads the next entry; `None` at the end.
    ///
    /// # Errors
    /// When there is none, or it is not one.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Found>> {
        let mut head = [0; HEAD_BYTES];
        input.read_exact(&mut head)?;
        let mut rest = head.as_slice();
        let mut number = |bytes: usize| {
            let (now, later) = rest.split_at(bytes);
            rest = later;
            now.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let (index, time_us, patients, whole, length) =
            (number(8), number(8), number(4), number(1), number(4));
        if length == u64::from(END) {
            return Ok(None);
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= record::RECORD_BYTES_MAX);
        let mut canonical = vec![0; length.ok_or_else(|| invalid("an entry is too long"))?];
        input.read_exact(&mut canonical)?;
        let record = record::decode(&canonical).map_err(|_| invalid("an entry is none"))?;
        let patients = u32::try_from(patients).unwrap_or(u32::MAX);
        Ok(Some(Found { index, time_us, record, whole: whole == 1, patients }))
    }
}
