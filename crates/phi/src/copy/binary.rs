//! COPY in binary format: a signature, rows of cells with their lengths, and a trailer.

use super::{Error, Front, Span, Value};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
const TRAILER: u16 = u16::MAX;
/// The length that stands for NULL.
pub(super) const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Returns what stands at the front.
pub(super) fn front(rest: &[u8], header: bool, columns: usize) -> Result<Front, Error> {
    if header { signature(rest) } else { row(rest, columns) }
}

fn signature(rest: &[u8]) -> Result<Front, Error> {
    let known = rest.len().min(SIGNATURE.len());
    if rest.get(..known) != SIGNATURE.get(..known) {
        return Err(Error::Malformed);
    }
    let Some(flags) = number(rest, SIGNATURE.len()) else { return Ok(Front::Incomplete) };
    let Some(extension) = number(rest, SIGNATURE.len() + 4) else { return Ok(Front::Incomplete) };
    // Flags change what follows, and nothing is known to write an extension.
    if flags != 0 || extension != 0 {
        return Err(Error::Malformed);
    }
    Ok(Front::Header(SIGNATURE.len() + 8))
}

fn row(rest: &[u8], columns: usize) -> Result<Front, Error> {
    let Some(count) = rest.first_chunk::<2>() else { return Ok(Front::Incomplete) };
    let count = u16::from_be_bytes(*count);
    if count == TRAILER {
        return Ok(Front::End(2));
    }
    if usize::from(count) != columns {
        return Err(Error::Columns(columns));
    }
    let mut at = 2;
    for _ in 0..count {
        let Some(length) = number(rest, at) else { return Ok(Front::Incomplete) };
        at += 4 + cell_length(length)?.unwrap_or(0);
        if at > rest.len() {
            return Ok(Front::Incomplete);
        }
    }
    Ok(Front::Row(at))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_be_bytes(*four))
}

fn cell_length(length: u32) -> Result<Option<usize>, Error> {
    match i32::from_be_bytes(length.to_be_bytes()) {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Error::Malformed),
    }
}

/// Takes a complete row apart.
pub(super) fn cells(row: &[u8], spans: &mut Vec<Span>) -> Result<(), Error> {
    let mut at = 2;
    while at < row.len() {
        let length = cell_length(number(row, at).ok_or(Error::Malformed)?)?;
        let end = at + 4 + length.unwrap_or(0);
        let value = if length.is_some() { Value::Raw(at + 4..end) } else { Value::Null };
        spans.push(Span { written: at..end, value });
        at = end;
    }
    Ok(())
}

/// Appends a cell with its length.
pub(super) fn encode(plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let length = i32::try_from(plain.len()).map_err(|_| Error::Malformed)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(plain);
    Ok(())
}
