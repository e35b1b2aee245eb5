//! JSON as a stream of pieces: strict enough that what is put together again is JSON, without building a tree.

/// Deeper documents do not decode.
const DEPTH_MAX: usize = 512;

/// One piece of a document, in order; all pieces together are the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Structure and white space.
    Raw(&'a [u8]),
    /// What stands between the quotes of a member's name.
    Key(&'a [u8]),
    /// What stands between the quotes of a string.
    String(&'a [u8]),
    /// A number.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(&'a [u8]),
    /// `null`
    Null,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

/// Walks through a document. `None` where it is not JSON; pieces given until then must be thrown away.
pub(crate) fn scan<'a>(text: &'a [u8], mut each: impl FnMut(Piece<'a>)) -> Option<()> {
    let mut expect = Expect::Value;
    // One entry for each open container: whether it is an object.
    let mut open: Vec<bool> = Vec::new();
    let mut place = 0;
    while let Some(byte) = text.get(place) {
        let rest = text.get(place..)?;
        let (length, piece) = match (byte, expect) {
            (b' ' | b'\t' | b'\n' | b'\r', _) => (1, Piece::Raw(rest.get(..1)?)),
            (b'{' | b'[', Expect::Value | Expect::ValueOrEnd) => {
                if open.len() == DEPTH_MAX {
                    return None;
                }
                open.push(*byte == b'{');
                expect = if *byte == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
                (1, Piece::Raw(rest.get(..1)?))
            }
            (b'}', Expect::KeyOrEnd | Expect::CommaOrEnd)
            | (b']', Expect::ValueOrEnd | Expect::CommaOrEnd) => {
                if open.pop()? != (*byte == b'}') {
                    return None;
                }
                expect = Expect::CommaOrEnd;
                (1, Piece::Raw(rest.get(..1)?))
            }
            (b',', Expect::CommaOrEnd) => {
                expect = if *open.last()? { Expect::Key } else { Expect::Value };
                (1, Piece::Raw(rest.get(..1)?))
            }
            (b':', Expect::Colon) => {
                expect = Expect::Value;
                (1, Piece::Raw(rest.get(..1)?))
            }
            (b'"', Expect::Key | Expect::KeyOrEnd) => {
                expect = Expect::Colon;
                let length = string_length(rest)?;
                (length, Piece::Key(rest.get(1..length - 1)?))
            }
            (_, Expect::Value | Expect::ValueOrEnd) => {
                expect = Expect::CommaOrEnd;
                scalar(rest)?
            }
            _ => return None,
        };
        each(piece);
        place += length;
    }
    (open.is_empty() && expect == Expect::CommaOrEnd).then_some(())
}

fn scalar(rest: &[u8]) -> Option<(usize, Piece<'_>)> {
    Some(match rest {
        [b'"', ..] => {
            let length = string_length(rest)?;
            (length, Piece::String(rest.get(1..length - 1)?))
        }
        [b't', b'r', b'u', b'e', ..] => (4, Piece::Bool(rest.get(..4)?)),
        [b'f', b'a', b'l', b's', b'e', ..] => (5, Piece::Bool(rest.get(..5)?)),
        [b'n', b'u', b'l', b'l', ..] => (4, Piece::Null),
        [b'-' | b'0'..=b'9', ..] => {
            let is_number = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
            let length = rest.iter().position(|b| !is_number(b)).unwrap_or(rest.len());
            (length, Piece::Number(rest.get(..length)?))
        }
        _ => return None,
    })
}

/// The length of a string with its quotes.
fn string_length(rest: &[u8]) -> Option<usize> {
    let mut place = 1;
    loop {
        place += memchr::memchr2(b'"', b'\\', rest.get(place..)?)?;
        if rest.get(place) == Some(&b'"') {
            return Some(place + 1);
        }
        place += 2;
    }
}

/// Appends what a string, given without its quotes, stands for.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = raw;
    while let Some(place) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(rest.get(..place)?);
        let (escape, tail) = rest.get(place + 1..)?.split_first()?;
        rest = tail;
        match escape {
            b'"' | b'\\' | b'/' => out.push(*escape),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (character, tail) = unicode(rest)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
            }
            _ => return None,
        }
    }
    out.extend_from_slice(rest);
    Some(())
}

fn unicode(rest: &[u8]) -> Option<(char, &[u8])> {
    let (high, rest) = code_unit(rest)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, rest));
    }
    let (low, rest) = code_unit(rest.strip_prefix(b"\\u")?)?;
    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)?, rest))
}

fn code_unit(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_at_checked(4)?;
    let mut unit = 0;
    for digit in digits {
        unit = unit << 4 | u32::from(super::plain::unhex(*digit)?);
    }
    Some((unit, rest))
}

/// Appends a text as a string, with its quotes.
pub(crate) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                super::plain::write_hex(&[*byte], out);
            }
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> Option<String> {
        let mut out = Vec::new();
        scan(text.as_bytes(), |piece| match piece {
            Piece::Raw(raw) | Piece::Number(raw) | Piece::Bool(raw) => out.extend_from_slice(raw),
            Piece::Key(raw) | Piece::String(raw) => {
                let mut plain = Vec::new();
                unescape(raw, &mut plain).expect("escapes");
                write_string(&plain, &mut out);
            }
            Piece::Null => out.extend_from_slice(b"null"),
        })?;
        Some(String::from_utf8(out).expect("utf-8"))
    }

    #[test]
    fn documents_come_back() {
        for text in [r#"{"a": [1, -2.5e3, "x", true, null, {}], "b": {"c": []}}"#, "7", "\"a\"", " [ ] "] {
            assert_eq!(again(text).as_deref(), Some(text));
        }
        assert_eq!(again(r#""\u00e9\ud83d\ude00\/""#).as_deref(), Some("\"é😀/\""));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "[1",
            "{\"a\" 1}",
            "{1:2}",
            "[1,]",
            "{\"a\":1,}",
            "1 2",
            "1,2",
            "[}",
            "]",
            "nul",
            "\"a",
            "{,}",
        ] {
            assert_eq!(again(text), None, "{text}");
        }
        assert_eq!(scan("[".repeat(600).as_bytes(), |_| {}), None);
        assert_eq!(unescape(b"\\ud83d", &mut Vec::new()), None);
        assert_eq!(unescape(b"\\x", &mut Vec::new()), None);
    }
}
