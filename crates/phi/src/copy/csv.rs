//! COPY in csv format: quotes may hold delimiters and ends of lines.

use super::{Error, Scan, Span, Value};

/// Returns the length of the first row with its end, if it is all there.
pub(super) fn line(rest: &[u8], quote: u8, escape: u8, scan: &mut Scan) -> Option<usize> {
    loop {
        let tail = rest.get(scan.at..)?;
        let found = if scan.inside {
            memchr::memchr2(quote, escape, tail)
        } else {
            memchr::memchr2(quote, b'\n', tail)
        };
        let Some(found) = found else {
            scan.at = rest.len();
            return None;
        };
        scan.at += found;
        let byte = *rest.get(scan.at)?;
        if !scan.inside && byte == b'\n' {
            return Some(scan.at + 1);
        }
        if scan.inside && byte == escape {
            let next = *rest.get(scan.at + 1)?;
            if next == quote || next == escape {
                scan.at += 2;
                continue;
            }
        }
        if byte == quote {
            scan.inside = !scan.inside;
        }
        scan.at += 1;
    }
}

/// Takes a row apart. `special` is delimiter, quote and escape.
pub(super) fn cells(
    line: &[u8],
    special: [u8; 3],
    null: &[u8],
    plain: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), Error> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let [delimiter, quote, _] = special;
    let mut start = 0;
    loop {
        let rest = line.get(start..).unwrap_or_default();
        let plain_end = memchr::memchr2(delimiter, quote, rest).unwrap_or(rest.len());
        let (end, value) = if rest.get(plain_end) == Some(&quote) {
            let from = plain.len();
            let length = decode_quoted(rest, special, plain).ok_or(Error::Malformed)?;
            (start + length, Value::Plain(from..plain.len()))
        } else {
            let end = start + plain_end;
            let null = rest.get(..plain_end) == Some(null);
            (end, if null { Value::Null } else { Value::Raw(start..end) })
        };
        spans.push(Span { written: start..end, value });
        if end >= line.len() {
            return Ok(());
        }
        start = end + 1;
    }
}

/// Appends what a cell with quotes stands for, and returns its length as written.
fn decode_quoted(rest: &[u8], [delimiter, quote, escape]: [u8; 3], plain: &mut Vec<u8>) -> Option<usize> {
    let (mut at, mut inside) = (0, false);
    loop {
        let Some(byte) = rest.get(at) else { return (!inside).then_some(at) };
        let next = rest.get(at + 1);
        if inside && *byte == escape && next.is_some_and(|next| *next == quote || *next == escape) {
            plain.push(*next?);
            at += 1;
        } else if *byte == quote {
            inside = !inside;
        } else if !inside && *byte == delimiter {
            return Some(at);
        } else {
            plain.push(*byte);
        }
        at += 1;
    }
}

/// Appends a cell as the server would write it, in quotes where they are needed or asked for.
pub(super) fn encode(plain: &[u8], [delimiter, quote, escape]: [u8; 3], force: bool, out: &mut Vec<u8>) {
    let special = |byte: &u8| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r');
    if !force && !plain.iter().any(special) {
        out.extend_from_slice(plain);
        return;
    }
    out.push(quote);
    for byte in plain {
        if *byte == quote || *byte == escape {
            out.push(escape);
        }
        out.push(*byte);
    }
    out.push(quote);
}
