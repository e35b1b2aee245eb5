//! Texts, bytes and UUIDs.

use crate::Format;

/// Appends bytes as lower-case hexadecimal.
pub(crate) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(hex_digit(byte >> 4));
        out.push(hex_digit(byte & 15));
    }
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Returns the value of one hexadecimal digit.
pub(crate) fn unhex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends what pairs of hexadecimal digits stand for.
pub(crate) fn decode_hex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    for pair in text.chunks_exact(2) {
        let [high, low] = pair.first_chunk::<2>()?;
        out.push(unhex(*high)? << 4 | unhex(*low)?);
    }
    Some(())
}

/// The bytes without the blanks at the end, which do not count in `char(n)`.
pub(crate) fn trim_blanks(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    value.get(..end).unwrap_or_default()
}

/// Returns the prefix of a text with at most `max` characters.
pub(crate) fn characters(text: &str, max: usize) -> &str {
    let end = text.char_indices().nth(max).map_or(text.len(), |(place, _)| place);
    text.get(..end).unwrap_or_default()
}

/// Decodes a UUID.
pub(crate) fn decode_uuid(format: Format, value: &[u8]) -> Option<[u8; 16]> {
    if format == Format::Binary {
        return value.try_into().ok();
    }
    if value.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut digits = 0_usize;
    for (place, byte) in value.iter().enumerate() {
        if matches!(place, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let target = bytes.get_mut(digits / 2)?;
        *target = *target << 4 | unhex(*byte)?;
        digits += 1;
    }
    Some(bytes)
}

/// Appends a UUID's text.
pub(crate) fn write_uuid_text(bytes: &[u8; 16], out: &mut Vec<u8>) {
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        write_hex(&[*byte], out);
    }
}

/// Appends what a `bytea` holds, also of the old escape output.
pub(crate) fn decode_bytea(format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if format == Format::Binary {
        out.extend_from_slice(value);
        return Some(());
    }
    if let Some(digits) = value.strip_prefix(b"\\x") {
        return decode_hex(digits, out);
    }
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return None,
            (byte, tail) => {
                out.push(*byte);
                tail
            }
        };
    }
    Some(())
}

/// Appends bytes as a `bytea`.
pub(crate) fn encode_bytea(format: Format, bytes: &[u8], out: &mut Vec<u8>) {
    match format {
        Format::Binary => out.extend_from_slice(bytes),
        Format::Text => {
            out.extend_from_slice(b"\\x");
            write_hex(bytes, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytea_in_all_its_forms() {
        let decode = |format, value: &[u8]| {
            let mut out = Vec::new();
            decode_bytea(format, value, &mut out).map(|()| out)
        };
        assert_eq!(decode(Format::Text, b"\\x00ff"), Some(vec![0, 255]));
        assert_eq!(decode(Format::Text, b"a\\\\\\377"), Some(b"a\\\xff".to_vec()));
        assert_eq!(decode(Format::Text, b"\\x0"), None);
        assert_eq!(decode(Format::Text, b"\\9"), None);
        assert_eq!(decode(Format::Binary, &[0, 255]), Some(vec![0, 255]));
    }

    #[test]
    fn uuids() {
        let text = b"00112233-4455-6677-8899-aabbccddeeff";
        let bytes = decode_uuid(Format::Text, text).expect("a uuid");
        assert_eq!(bytes[15], 0xff);
        let mut out = Vec::new();
        write_uuid_text(&bytes, &mut out);
        assert_eq!(out, text);
        assert_eq!(decode_uuid(Format::Text, b"00112233x4455-6677-8899-aabbccddeeff"), None);
        assert_eq!(decode_uuid(Format::Binary, &[1; 15]), None);
    }

    #[test]
    fn blanks_and_characters() {
        assert_eq!(trim_blanks(b"ab  "), b"ab");
        assert_eq!(trim_blanks(b"  "), b"");
        assert_eq!(characters("żółw", 2), "żó");
        assert_eq!(characters("ab", 5), "ab");
    }
}
