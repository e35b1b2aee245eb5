//! Whole numbers, decimals and floats.

use super::Type;
use crate::Format;

/// Decodes a whole number.
pub(crate) fn decode_int(ty: &Type, format: Format, value: &[u8]) -> Option<i64> {
    if format == Format::Text {
        let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
        return fits(ty, number).then_some(number);
    }
    Some(match ty {
        Type::Int2 => i64::from(i16::from_be_bytes(value.try_into().ok()?)),
        Type::Int4 => i64::from(i32::from_be_bytes(value.try_into().ok()?)),
        Type::Int8 => i64::from_be_bytes(value.try_into().ok()?),
        Type::Oid => i64::from(u32::from_be_bytes(value.try_into().ok()?)),
        _ => return None,
    })
}

/// Appends a whole number; `None` where it does not fit the type.
pub(crate) fn encode_int(ty: &Type, format: Format, number: i64, out: &mut Vec<u8>) -> Option<()> {
    if !fits(ty, number) {
        return None;
    }
    match (format, ty) {
        (Format::Text, _) => write_decimal(number, out),
        (Format::Binary, Type::Int2) => out.extend_from_slice(&i16::try_from(number).ok()?.to_be_bytes()),
        (Format::Binary, Type::Int4) => out.extend_from_slice(&i32::try_from(number).ok()?.to_be_bytes()),
        (Format::Binary, Type::Int8) => out.extend_from_slice(&number.to_be_bytes()),
        (Format::Binary, Type::Oid) => out.extend_from_slice(&u32::try_from(number).ok()?.to_be_bytes()),
        (Format::Binary, _) => return None,
    }
    Some(())
}

fn fits(ty: &Type, number: i64) -> bool {
    match ty {
        Type::Int2 => i16::try_from(number).is_ok(),
        Type::Int4 => i32::try_from(number).is_ok(),
        Type::Int8 => true,
        Type::Oid => u32::try_from(number).is_ok(),
        _ => false,
    }
}

/// Appends a number in decimal, without going through a `String`.
pub(crate) fn write_decimal(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut rest = number.unsigned_abs();
    let mut start = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("one digit");
        rest /= 10;
        start = place;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Returns the largest whole number that is not above a `numeric` or float; `None` for NaN, infinity and the huge.
pub(crate) fn floor(ty: &Type, format: Format, value: &[u8]) -> Option<i64> {
    match (ty, format) {
        (Type::Numeric { .. }, Format::Binary) => Numeric::decode(value)?.floor(),
        (Type::Numeric { .. }, Format::Text) => floor_text(value),
        (Type::Float4, Format::Binary) => floor_float(f64::from(f32::from_be_bytes(value.try_into().ok()?))),
        (Type::Float8, Format::Binary) => floor_float(f64::from_be_bytes(value.try_into().ok()?)),
        (Type::Float4, Format::Text) => {
            // Through f32, so that text and binary of one value round alike.
            floor_float(f64::from(std::str::from_utf8(value).ok()?.parse::<f32>().ok()?))
        }
        (Type::Float8, Format::Text) => floor_float(std::str::from_utf8(value).ok()?.parse().ok()?),
        _ => None,
    }
}

/// Beyond this a float is not a whole number to the unit, and no age or count either.
const FLOAT_MAX: f64 = 1e15;

fn floor_float(number: f64) -> Option<i64> {
    let floor = number.floor();
    // The text of a float this small is exact, so the conversion is too.
    (floor.abs() <= FLOAT_MAX).then(|| format!("{floor:.0}").parse().ok()).flatten()
}

/// The floor of decimal text: `-12.5` is -13.
pub(crate) fn floor_text(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || whole.starts_with('+') {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let down = whole.starts_with('-') && fraction.bytes().any(|b| b != b'0');
    number.checked_sub(i64::from(down))
}

/// Appends a whole number as a `numeric` or float.
pub(crate) fn encode_whole(ty: &Type, format: Format, number: i64, out: &mut Vec<u8>) -> Option<()> {
    match (ty, format) {
        (_, Format::Text) => write_decimal(number, out),
        (Type::Numeric { .. }, Format::Binary) => encode_numeric(number, 0, out),
        (Type::Float4, Format::Binary) => {
            let text = number.to_string();
            out.extend_from_slice(&text.parse::<f32>().ok()?.to_be_bytes());
        }
        (Type::Float8, Format::Binary) => {
            let text = number.to_string();
            out.extend_from_slice(&text.parse::<f64>().ok()?.to_be_bytes());
        }
        _ => return None,
    }
    Some(())
}

const SIGN_NEGATIVE: u16 = 0x4000;

/// Appends a whole number in the binary format of `numeric`, with the scale it is to be shown with.
pub(crate) fn encode_numeric(number: i64, scale: u16, out: &mut Vec<u8>) {
    let mut groups = Vec::with_capacity(5);
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        groups.push(u16::try_from(rest % 10_000).expect("four digits"));
        rest /= 10_000;
    }
    let count = u16::try_from(groups.len()).expect("at most five");
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&count.saturating_sub(1).to_be_bytes());
    out.extend_from_slice(&(if number < 0 { SIGN_NEGATIVE } else { 0 }).to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for group in groups.iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// The binary format of `numeric`, taken apart: a finite number.
struct Numeric<'a> {
    weight: i16,
    negative: bool,
    groups: &'a [u8],
}

impl<'a> Numeric<'a> {
    fn decode(value: &'a [u8]) -> Option<Numeric<'a>> {
        let (head, groups) = value.split_first_chunk::<8>()?;
        let [a, b, c, d, e, f, _, _] = *head;
        let negative = match u16::from_be_bytes([e, f]) {
            0 => false,
            SIGN_NEGATIVE => true,
            _ => return None,
        };
        let count = usize::from(u16::from_be_bytes([a, b]));
        let sound = groups.len() == count * 2 && groups.chunks(2).all(|pair| group(pair) < 10_000);
        sound.then_some(Numeric { weight: i16::from_be_bytes([c, d]), negative, groups })
    }

    /// The four decimal digits at a power of 10,000.
    fn at(&self, power: i32) -> u16 {
        let place = usize::try_from(i32::from(self.weight) - power).ok();
        place.and_then(|place| self.groups.chunks(2).nth(place)).map_or(0, group)
    }

    fn lowest(&self) -> i32 {
        let count = i32::try_from(self.groups.len() / 2).unwrap_or(i32::MAX);
        (i32::from(self.weight) + 1).saturating_sub(count)
    }

    fn floor(&self) -> Option<i64> {
        let mut whole = 0_i64;
        for power in (0..=i32::from(self.weight)).rev() {
            whole = whole.checked_mul(10_000)?.checked_add(i64::from(self.at(power)))?;
        }
        let fraction = (self.lowest()..0).any(|power| self.at(power) > 0);
        if self.negative { (-whole).checked_sub(i64::from(fraction)) } else { Some(whole) }
    }

    /// Appends the shortest decimal text.
    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        let top = i32::from(self.weight).max(0);
        let mut digits = String::new();
        for power in (self.lowest().min(0)..=top).rev() {
            if power == -1 {
                digits.push('.');
            }
            digits.push_str(&format!("{:04}", self.at(power)));
        }
        out.extend_from_slice(shortest(&digits).as_bytes());
        if out.get(start..) == Some(b"-0") {
            out.truncate(start);
            out.push(b'0');
        }
    }
}

fn group(pair: &[u8]) -> u16 {
    pair.first_chunk().map_or(u16::MAX, |pair| u16::from_be_bytes(*pair))
}

/// The digits without leading zeros and without zeros at the end of a fraction.
fn shortest(digits: &str) -> &str {
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() || trimmed.starts_with('.') {
        // One zero stays before the point, or alone.
        digits.get(digits.len() - trimmed.len() - 1..).unwrap_or("0")
    } else {
        trimmed
    }
}

/// Digits beyond this are no identifier, and would make a short message a long text.
const NUMERIC_DIGITS_MAX: i32 = 1000;

/// Appends the shortest decimal text of a `numeric`.
pub(crate) fn canonical_numeric(format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if format == Format::Binary {
        let number = Numeric::decode(value)?;
        if i32::from(number.weight).abs() > NUMERIC_DIGITS_MAX / 4 {
            return None;
        }
        number.write(out);
        return Some(());
    }
    let text = std::str::from_utf8(value).ok()?;
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let points = digits.bytes().filter(|b| *b == b'.').count();
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !plain || points > 1 || digits.len() == points {
        return None;
    }
    // `.5` and `5` alike begin with a digit after this.
    let digits = shortest(&format!("0{digits}")).to_owned();
    if digits != "0" {
        out.extend_from_slice(sign.as_bytes());
    }
    out.extend_from_slice(digits.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMERIC: Type = Type::Numeric { scale: 0 };

    fn numeric(weight: i16, sign: u16, groups: &[u16]) -> Vec<u8> {
        let mut out = u16::try_from(groups.len()).expect("few").to_be_bytes().to_vec();
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend([0, 0]);
        out.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
        out
    }

    #[track_caller]
    fn check(binary: &[u8], text: &str, floor_expected: Option<i64>) {
        let mut out = Vec::new();
        canonical_numeric(Format::Binary, binary, &mut out).expect("decodes");
        assert_eq!(String::from_utf8_lossy(&out), text);
        let mut again = Vec::new();
        canonical_numeric(Format::Text, text.as_bytes(), &mut again).expect("decodes");
        assert_eq!(out, again);
        assert_eq!(floor(&NUMERIC, Format::Binary, binary), floor_expected);
        assert_eq!(floor(&NUMERIC, Format::Text, text.as_bytes()), floor_expected);
    }

    #[test]
    fn numerics_in_both_formats() {
        check(&numeric(0, 0, &[42, 5000]), "42.5", Some(42));
        check(&numeric(0, SIGN_NEGATIVE, &[42, 5000]), "-42.5", Some(-43));
        check(&numeric(1, 0, &[1, 2]), "10002", Some(10_002));
        check(&numeric(2, 0, &[1]), "100000000", Some(100_000_000));
        check(&numeric(-1, 0, &[5000]), "0.5", Some(0));
        check(&numeric(-2, SIGN_NEGATIVE, &[5]), "-0.00000005", Some(-1));
        check(&numeric(0, 0, &[]), "0", Some(0));
        assert_eq!(floor(&NUMERIC, Format::Binary, &numeric(0, 0xc000, &[])), None);
        assert_eq!(floor(&NUMERIC, Format::Binary, &numeric(7, 0, &[1])), None);
        assert_eq!(floor(&NUMERIC, Format::Text, b"NaN"), None);
        assert_eq!(canonical_numeric(Format::Text, b"1.2.3", &mut Vec::new()), None);
    }

    #[test]
    fn whole_numbers_encode() {
        for number in [0, 1, 9_999, 10_000, 123_456_789, -10_001, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            encode_whole(&NUMERIC, Format::Binary, number, &mut out).expect("encodes");
            let mut text = Vec::new();
            canonical_numeric(Format::Binary, &out, &mut text).expect("decodes");
            assert_eq!(String::from_utf8_lossy(&text), number.to_string());
        }
        let mut out = Vec::new();
        assert_eq!(encode_int(&Type::Int2, Format::Binary, 40_000, &mut out), None);
        encode_whole(&Type::Float8, Format::Binary, 90, &mut out).expect("encodes");
        assert_eq!(out, 90_f64.to_be_bytes());
    }

    #[test]
    fn floats_floor_alike_in_both_formats() {
        assert_eq!(floor(&Type::Float8, Format::Binary, &89.99_f64.to_be_bytes()), Some(89));
        assert_eq!(floor(&Type::Float8, Format::Text, b"89.99"), Some(89));
        assert_eq!(floor(&Type::Float4, Format::Text, b"-0.5"), Some(-1));
        assert_eq!(floor(&Type::Float8, Format::Text, b"NaN"), None);
        assert_eq!(floor(&Type::Float8, Format::Text, b"1e300"), None);
    }
}
