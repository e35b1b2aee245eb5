//! COPY in text format: one row a line, escapes with a backslash.

use super::{Scan, Span, Value};

/// Returns the length of the first line with its end, if it is all there.
pub(super) fn line(rest: &[u8], scan: &mut Scan) -> Option<usize> {
    loop {
        let Some(found) = memchr::memchr2(b'\n', b'\\', rest.get(scan.at..)?) else {
            scan.at = rest.len();
            return None;
        };
        scan.at += found;
        if rest.get(scan.at) == Some(&b'\n') {
            return Some(scan.at + 1);
        }
        // The byte after a backslash never ends a line; where it has not come yet, look again from the backslash.
        rest.get(scan.at + 1)?;
        // `\.` ends the stream, also when the line before it is empty.
        scan.at += 2;
    }
}

/// Takes a line apart.
pub(super) fn cells(line: &[u8], delimiter: u8, null: &[u8], plain: &mut Vec<u8>, spans: &mut Vec<Span>) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut start = 0;
    loop {
        let (end, escaped) = cell_end(line, start, delimiter);
        let raw = line.get(start..end).unwrap_or_default();
        let value = if raw == null {
            Value::Null
        } else if escaped {
            let from = plain.len();
            decode(raw, plain);
            Value::Plain(from..plain.len())
        } else {
            Value::Raw(start..end)
        };
        spans.push(Span { written: start..end, value });
        if end == line.len() {
            return;
        }
        start = end + 1;
    }
}

/// Returns where a cell ends, and whether it holds an escape.
fn cell_end(line: &[u8], start: usize, delimiter: u8) -> (usize, bool) {
    let (mut at, mut escaped) = (start, false);
    while let Some(found) = memchr::memchr2(delimiter, b'\\', line.get(at..).unwrap_or_default()) {
        at += found;
        if line.get(at) == Some(&delimiter) {
            return (at, escaped);
        }
        escaped = true;
        at = (at + 2).min(line.len());
    }
    (line.len(), escaped)
}

/// Appends what a cell's text stands for.
pub(super) fn decode(raw: &[u8], plain: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        let Some((escape, tail)) = rest.split_first() else {
            plain.push(b'\\');
            return;
        };
        rest = tail;
        let byte = match escape {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let digits = rest.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let (more, tail) = rest.split_at(digits);
                rest = tail;
                more.iter().fold(escape - b'0', |sum, digit| sum.wrapping_mul(8).wrapping_add(digit - b'0'))
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let digits = rest.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                let (more, tail) = rest.split_at(digits);
                rest = tail;
                more.iter()
                    .filter_map(|digit| crate::pgtype::plain::unhex(*digit))
                    .fold(0, |sum, d| sum << 4 | d)
            }
            other => *other,
        };
        plain.push(byte);
    }
}

/// Appends a cell as the server would write it.
pub(super) fn encode(plain: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for byte in plain {
        let escape = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            _ if *byte == delimiter => delimiter,
            _ => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escape]);
    }
}
