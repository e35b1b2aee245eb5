//! Arrays, composites, ranges and multiranges: taken apart, each part given to a function, and put together again.
//!
//! The shape stays: how many elements, dimensions and bounds, and which elements are NULL.

use crate::Format;

/// What is done with one part: takes its bytes (`None` for NULL), appends the result, and says whether there is one.
pub(crate) type Part<'f> = dyn FnMut(usize, Option<&[u8]>, &mut Vec<u8>) -> bool + 'f;

const NULL_LENGTH: [u8; 4] = (-1_i32).to_be_bytes();
/// PostgreSQL's own limit.
const DIMENSIONS_MAX: u32 = 6;

/// Maps the elements of an array.
pub(crate) fn array(format: Format, value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
    match format {
        Format::Text => array_text(value, out, part),
        Format::Binary => array_binary(value, out, part),
    }
}

fn array_binary(value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
    let mut reader = Reader(value);
    let dimensions = reader.u32()?;
    let flags = reader.u32()?;
    let element = reader.u32()?;
    if dimensions > DIMENSIONS_MAX || flags > 1 {
        return None;
    }
    let mut count = usize::from(dimensions > 0);
    out.extend_from_slice(&dimensions.to_be_bytes());
    let flags_at = out.len();
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&element.to_be_bytes());
    for _ in 0..dimensions {
        let (length, lower) = (reader.u32()?, reader.u32()?);
        count = count.checked_mul(usize::try_from(length).ok()?)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&lower.to_be_bytes());
    }
    let mut nulls = false;
    for place in 0..count {
        nulls |= !framed(reader.cell()?, place, out, part);
    }
    if nulls {
        out.get_mut(flags_at..flags_at + 4)?.copy_from_slice(&1_u32.to_be_bytes());
    }
    reader.0.is_empty().then_some(())
}

/// Appends one part with its length before it; false for NULL.
fn framed(cell: Option<&[u8]>, place: usize, out: &mut Vec<u8>, part: &mut Part<'_>) -> bool {
    let at = out.len();
    out.extend_from_slice(&NULL_LENGTH);
    let some = part(place, cell, out);
    let length = i32::try_from(out.len() - at - 4);
    match (some, length, out.get_mut(at..at + 4)) {
        (true, Ok(length), Some(field)) => {
            field.copy_from_slice(&length.to_be_bytes());
            true
        }
        _ => {
            out.truncate(at + 4);
            false
        }
    }
}

fn array_text(value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
    let body = bounds(value)?;
    out.extend_from_slice(value.get(..value.len() - body.len())?);
    let (mut element, mut masked) = (Vec::new(), Vec::new());
    let (mut depth, mut place, mut at) = (0_u32, 0, 0);
    let mut value_may_follow = true;
    loop {
        let byte = *body.get(at)?;
        match byte {
            b'{' if value_may_follow && depth < DIMENSIONS_MAX => depth += 1,
            // `{}` is empty; `{a,}` is not written by any server.
            b'}' if !value_may_follow || body.get(at.wrapping_sub(1)) == Some(&b'{') => {
                depth -= 1;
                value_may_follow = false;
            }
            b',' if !value_may_follow && depth > 0 => value_may_follow = true,
            _ if value_may_follow && depth > 0 => {
                let (quoted, length) = token(body.get(at..)?, b",{}", &mut element)?;
                if !quoted && element.is_empty() {
                    return None;
                }
                let null = !quoted && element.eq_ignore_ascii_case(b"null");
                masked.clear();
                let some = part(place, (!null).then_some(&element), &mut masked);
                write_element(some.then_some(&masked), out);
                (place, at, value_may_follow) = (place + 1, at + length, false);
                continue;
            }
            _ => return None,
        }
        out.push(byte);
        at += 1;
        if depth == 0 {
            return (at == body.len()).then_some(());
        }
    }
}

/// Returns the array's text without the bounds, which are written where they do not begin with 1: `[0:1]={a,b}`.
fn bounds(value: &[u8]) -> Option<&[u8]> {
    if value.first() != Some(&b'[') {
        return Some(value);
    }
    let end = memchr::memchr(b'=', value)?;
    let sound = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'[' | b']');
    value.get(..end)?.iter().all(sound).then(|| value.get(end + 1..)).flatten()
}

/// Reads one possibly quoted part up to one of `stops`: whether it was quoted, and its length as written.
fn token(text: &[u8], stops: &[u8], plain: &mut Vec<u8>) -> Option<(bool, usize)> {
    plain.clear();
    let (mut quoted, mut inside, mut at) = (false, false, 0);
    loop {
        let byte = *text.get(at)?;
        match byte {
            b'\\' => {
                at += 1;
                plain.push(*text.get(at)?);
            }
            b'"' if inside && text.get(at + 1) == Some(&b'"') => {
                at += 1;
                plain.push(b'"');
            }
            b'"' => (quoted, inside) = (true, !inside),
            _ if !inside && stops.contains(&byte) => return Some((quoted, at)),
            _ => plain.push(byte),
        }
        at += 1;
    }
}

fn write_element(element: Option<&Vec<u8>>, out: &mut Vec<u8>) {
    let Some(element) = element else {
        out.extend_from_slice(b"NULL");
        return;
    };
    let special =
        |b: &u8| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',') || b.is_ascii_whitespace() || *b == 11;
    if element.is_empty() || element.eq_ignore_ascii_case(b"null") || element.iter().any(special) {
        quote(element, b'\\', out);
    } else {
        out.extend_from_slice(element);
    }
}

/// Appends a part in quotes, with `escape` before a quote; a backslash is always doubled.
fn quote(text: &[u8], escape: u8, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(&[escape, b'"']),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

/// Maps the columns of a composite value, of which there must be `count`.
pub(crate) fn composite(
    format: Format,
    value: &[u8],
    count: usize,
    out: &mut Vec<u8>,
    part: &mut Part<'_>,
) -> Option<()> {
    match format {
        Format::Text => composite_text(value, count, out, part),
        Format::Binary => {
            let mut reader = Reader(value);
            let found = reader.u32()?;
            if usize::try_from(found).ok()? != count {
                return None;
            }
            out.extend_from_slice(&found.to_be_bytes());
            for place in 0..count {
                out.extend_from_slice(&reader.u32()?.to_be_bytes());
                framed(reader.cell()?, place, out, part);
            }
            reader.0.is_empty().then_some(())
        }
    }
}

fn composite_text(value: &[u8], count: usize, out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
    let mut rest = value.strip_prefix(b"(")?;
    out.push(b'(');
    let (mut column, mut masked) = (Vec::new(), Vec::new());
    for place in 0..count {
        let (quoted, length) = token(rest, b",)", &mut column)?;
        let null = !quoted && column.is_empty();
        masked.clear();
        if part(place, (!null).then_some(&column), &mut masked) {
            write_part(&masked, b"\"\\(),", out);
        }
        let (stop, tail) = rest.get(length..)?.split_first()?;
        if (*stop == b',') != (place + 1 < count) {
            return None;
        }
        out.push(*stop);
        rest = tail;
    }
    (rest.is_empty() && count > 0).then_some(())
}

/// Appends a column of a composite or a bound of a range, in quotes where one of `special` is in it.
fn write_part(text: &[u8], special: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| special.contains(b) || b.is_ascii_whitespace() || *b == 11;
    if text.is_empty() || text.iter().any(special) {
        quote(text, b'"', out);
    } else {
        out.extend_from_slice(text);
    }
}

const RANGE_EMPTY: u8 = 0x01;
const RANGE_LOWER_INFINITE: u8 = 0x08;
const RANGE_UPPER_INFINITE: u8 = 0x10;
const RANGE_FLAGS: u8 = 0x1f;

/// Maps the bounds of a range. A bound that cannot be masked makes the whole range NULL.
pub(crate) fn range(format: Format, value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
    let used = match format {
        Format::Text => range_text(value, out, part)?,
        Format::Binary => range_binary(value, out, part)?,
    };
    (used == value.len()).then_some(())
}

fn range_binary(value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<usize> {
    let (flags, rest) = value.split_first()?;
    if flags & !RANGE_FLAGS != 0 {
        return None;
    }
    out.push(*flags);
    let mut reader = Reader(rest);
    if flags & RANGE_EMPTY == 0 {
        for (place, infinite) in [RANGE_LOWER_INFINITE, RANGE_UPPER_INFINITE].into_iter().enumerate() {
            if flags & infinite == 0 && !framed(Some(reader.cell()??), place, out, part) {
                return None;
            }
        }
    }
    Some(value.len() - reader.0.len())
}

fn range_text(value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<usize> {
    if value.starts_with(b"empty") {
        out.extend_from_slice(b"empty");
        return Some(5);
    }
    let mut at = 0;
    let (mut bound, mut masked) = (Vec::new(), Vec::new());
    for (place, starts) in [b"[(", b",,"].into_iter().enumerate() {
        let start = *value.get(at).filter(|byte| starts.contains(byte))?;
        out.push(start);
        let (quoted, length) = token(value.get(at + 1..)?, b",)]", &mut bound)?;
        if quoted || !bound.is_empty() {
            masked.clear();
            if !part(place, Some(&bound), &mut masked) {
                return None;
            }
            write_part(&masked, b"\"\\()[],", out);
        }
        at += 1 + length;
    }
    out.push(*value.get(at).filter(|byte| b")]".contains(byte))?);
    Some(at + 1)
}

/// Maps the bounds of all ranges of a multirange.
pub(crate) fn multirange(format: Format, value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
    if format == Format::Text {
        return multirange_text(value, out, part);
    }
    let mut reader = Reader(value);
    let count = reader.u32()?;
    out.extend_from_slice(&count.to_be_bytes());
    for _ in 0..count {
        let one = reader.cell()??;
        let mut sound = true;
        framed(Some(one), 0, out, &mut |_, _, out| {
            sound = range(Format::Binary, one, out, part).is_some();
            sound
        });
        if !sound {
            return None;
        }
    }
    reader.0.is_empty().then_some(())
}

fn multirange_text(value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
    if value == b"{}" {
        out.extend_from_slice(value);
        return Some(());
    }
    let mut rest = value;
    let mut start = b'{';
    loop {
        rest = rest.strip_prefix(&[start])?;
        out.push(start);
        let used = range_text(rest, out, part)?;
        rest = rest.get(used..)?;
        start = b',';
        if rest == b"}" {
            out.push(b'}');
            return Some(());
        }
    }
}

/// Bytes yet to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    /// A length and that many bytes; inner `None` for NULL.
    #[allow(clippy::option_option, reason = "not decodable and NULL are different answers")]
    fn cell(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.u32()?;
        if length == u32::MAX {
            return Some(None);
        }
        let length = usize::try_from(length).ok().filter(|_| length < 1 << 31)?;
        let (cell, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Walk = fn(Format, &[u8], &mut Vec<u8>, &mut Part<'_>) -> Option<()>;

    /// Doubles each part, and makes `drop` NULL.
    fn twice(_: usize, cell: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
        let Some(cell) = cell.filter(|cell| *cell != b"drop") else { return false };
        out.extend_from_slice(cell);
        out.extend_from_slice(cell);
        true
    }

    #[track_caller]
    fn check(walk: Walk, text: &str, expected: Option<&str>) {
        let mut out = Vec::new();
        let done = walk(Format::Text, text.as_bytes(), &mut out, &mut twice);
        assert_eq!(done.map(|()| String::from_utf8_lossy(&out).into_owned()).as_deref(), expected, "{text}");
    }

    fn record(format: Format, value: &[u8], out: &mut Vec<u8>, part: &mut Part<'_>) -> Option<()> {
        composite(format, value, 3, out, part)
    }

    #[test]
    fn array_texts() {
        check(array, "{}", Some("{}"));
        check(array, "{a,NULL,\"NULL\",drop}", Some("{aa,NULL,NULLNULL,NULL}"));
        check(array, r#"{"a b","\"","\\",""}"#, Some(r#"{"a ba b","\"\"","\\\\",""}"#));
        check(array, "{{1,2},{3,4}}", Some("{{11,22},{33,44}}"));
        check(array, "[0:1]={a,b}", Some("[0:1]={aa,bb}"));
        for wrong in ["", "{", "a", "{a}b", "{a,}", "{,a}", "{a}}", "{{a}", "[x]={a}", "{\"a}", "}", "{a{b}}"]
        {
            check(array, wrong, None);
        }
    }

    #[test]
    fn composite_texts() {
        check(record, "(a,,\"b c\")", Some("(aa,,\"b cb c\")"));
        check(record, r#"("",")","a""b\\")"#, Some(r#"("","))","a""b\\a""b\\")"#));
        check(record, "(drop,1,2)", Some("(,11,22)"));
        for wrong in ["", "(a,b)", "(a,b,c,d)", "(a,b,c", "a,b,c", "(a,b,c)x"] {
            check(record, wrong, None);
        }
    }

    #[test]
    fn range_texts() {
        check(range, "empty", Some("empty"));
        check(range, "[1,2)", Some("[11,22)"));
        check(range, "(,2]", Some("(,22]"));
        check(range, "[\"a b\",)", Some("[\"a ba b\",)"));
        check(range, "[drop,)", None);
        check(multirange, "{}", Some("{}"));
        check(multirange, "{[1,2),[3,)}", Some("{[11,22),[33,)}"));
        for wrong in ["", "[1", "[1,2", "[1,2,3)", "1,2", "emptyx", "[1,2)x"] {
            check(range, wrong, None);
            check(multirange, wrong, None);
        }
        check(multirange, "{[1,2)", None);
        check(multirange, "{[1,2)[3,4)}", None);
    }

    #[test]
    fn binary_arrays() {
        let cells: &[u8] = &[0, 0, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff];
        let mut value = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1];
        let head = value.clone();
        value.extend_from_slice(cells);
        let mut out = Vec::new();
        array(Format::Binary, &value, &mut out, &mut twice).expect("decodes");
        assert_eq!(out.get(..20), Some(head.as_slice()));
        assert_eq!(out.get(20..), Some([0, 0, 0, 2, b'a', b'a', 0xff, 0xff, 0xff, 0xff].as_slice()));
        for end in 0..value.len() {
            assert!(array(Format::Binary, &value[..end], &mut Vec::new(), &mut twice).is_none());
        }
        value.push(0);
        assert!(array(Format::Binary, &value, &mut Vec::new(), &mut twice).is_none());
    }

    #[test]
    fn binary_ranges_and_composites() {
        let mut out = Vec::new();
        range(Format::Binary, &[2 | 0x10, 0, 0, 0, 1, b'a'], &mut out, &mut twice).expect("decodes");
        assert_eq!(out, [2 | 0x10, 0, 0, 0, 2, b'a', b'a']);
        out.clear();
        let value = [0, 0, 0, 1, 0, 0, 0, 6, 0x12, 0, 0, 0, 1, b'a'];
        multirange(Format::Binary, &value, &mut out, &mut twice).expect("decodes");
        assert_eq!(out, [0, 0, 0, 1, 0, 0, 0, 7, 0x12, 0, 0, 0, 2, b'a', b'a']);
        out.clear();
        let value = [0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 1, b'a'];
        composite(Format::Binary, &value, 1, &mut out, &mut twice).expect("decodes");
        assert_eq!(out, [0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, b'a', b'a']);
        assert!(composite(Format::Binary, &value, 2, &mut out, &mut twice).is_none());
        assert!(range(Format::Binary, &[0x80], &mut out, &mut twice).is_none());
    }
}
