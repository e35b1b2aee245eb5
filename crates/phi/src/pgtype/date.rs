//! Dates and timestamps: days and microseconds since 2000-01-01, in text as ISO 8601 with `BC`.

use super::Type;
use crate::Format;

const DAY_US: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
/// PostgreSQL's dates end in the year 5874897.
const YEAR_MAX: i64 = 5_874_897;

/// A moment of a `date` (in days) or a timestamp (in microseconds), counted from 2000-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// `-infinity`
    Before,
    /// A finite one.
    At(i64),
    /// `infinity`
    After,
}

/// Decodes a `date`, `timestamp` or `timestamptz`.
pub(crate) fn decode(ty: &Type, format: Format, value: &[u8]) -> Option<Moment> {
    match (format, ty) {
        (Format::Text, _) => parse(ty, value),
        (Format::Binary, Type::Date) => Some(match i32::from_be_bytes(value.try_into().ok()?) {
            i32::MIN => Moment::Before,
            i32::MAX => Moment::After,
            days => Moment::At(i64::from(days)),
        }),
        (Format::Binary, Type::Timestamp | Type::TimestampTz) => {
            Some(match i64::from_be_bytes(value.try_into().ok()?) {
                i64::MIN => Moment::Before,
                i64::MAX => Moment::After,
                microseconds => Moment::At(microseconds),
            })
        }
        _ => None,
    }
}

/// Appends a `date`, `timestamp` or `timestamptz`; the latter in text always as UTC.
pub(crate) fn encode(ty: &Type, format: Format, moment: Moment, out: &mut Vec<u8>) -> Option<()> {
    match (format, ty) {
        (Format::Text, _) => match moment {
            Moment::Before => out.extend_from_slice(b"-infinity"),
            Moment::After => out.extend_from_slice(b"infinity"),
            Moment::At(count) => write(ty, count, out)?,
        },
        (Format::Binary, Type::Date) => {
            let days = match moment {
                Moment::Before => i32::MIN,
                Moment::After => i32::MAX,
                Moment::At(days) => i32::try_from(days).ok()?,
            };
            out.extend_from_slice(&days.to_be_bytes());
        }
        (Format::Binary, Type::Timestamp | Type::TimestampTz) => {
            let microseconds = match moment {
                Moment::Before => i64::MIN,
                Moment::After => i64::MAX,
                Moment::At(microseconds) => microseconds,
            };
            out.extend_from_slice(&microseconds.to_be_bytes());
        }
        _ => return None,
    }
    Some(())
}

/// Splits a finite moment into its day and the microseconds within it.
pub(crate) fn split(ty: &Type, count: i64) -> (i64, i64) {
    if *ty == Type::Date { (count, 0) } else { (count.div_euclid(DAY_US), count.rem_euclid(DAY_US)) }
}

/// Joins what [`split`] split; `None` beyond what the type holds.
pub(crate) fn join(ty: &Type, day: i64, microseconds: i64) -> Option<i64> {
    if *ty == Type::Date { Some(day) } else { day.checked_mul(DAY_US)?.checked_add(microseconds) }
}

/// Returns the year of a day, where 0 is 1 BC.
pub(crate) fn year_of(day: i64) -> i64 {
    civil(day).0
}

/// Returns the first day of a year.
pub(crate) fn first_of_year(year: i64) -> i64 {
    days(year, 1, 1)
}

/// Year, month and day of a day count. Years are counted from 1 March, so that the leap day is the last of its year.
fn civil(day: i64) -> (i64, i64, i64) {
    let from_march = day + EPOCH_DAYS + 719_468;
    let era = from_march.div_euclid(146_097);
    let in_era = from_march.rem_euclid(146_097);
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * in_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, in_year - (153 * shifted + 2) / 5 + 1)
}

/// The day count of a year, month and day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, in_era) = (year.div_euclid(400), year.rem_euclid(400));
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468 - EPOCH_DAYS
}

/// Parses ISO text.
pub(crate) fn parse(ty: &Type, value: &[u8]) -> Option<Moment> {
    match value {
        b"infinity" => return Some(Moment::After),
        b"-infinity" => return Some(Moment::Before),
        _ => {}
    }
    let text = std::str::from_utf8(value).ok()?;
    let (text, before_christ) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let day = parse_date(date, before_christ)?;
    match (ty, time) {
        (Type::Date, None) => Some(Moment::At(day)),
        (Type::Timestamp, Some(time)) => Some(Moment::At(join(ty, day, parse_time(time)?)?)),
        (Type::TimestampTz, Some(time)) => {
            let sign = time.rfind(['+', '-'])?;
            let (time, zone) = time.split_at_checked(sign)?;
            Some(Moment::At(join(ty, day, parse_time(time)?)?.checked_sub(parse_zone(zone)?)?))
        }
        _ => None,
    }
}

fn parse_date(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year = number(year, 4, 7)?;
    let (month, day) = (number(month, 2, 2)?, number(day, 2, 2)?);
    let year = if before_christ { 1 - year } else { year };
    let count = days(year, month, day);
    // A day that does not exist comes back as another.
    let sound = parts.next().is_none() && year <= YEAR_MAX && civil(count) == (year, month, day);
    sound.then_some(count)
}

fn parse_time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (
        number(parts.next()?, 2, 2)?,
        number(parts.next()?, 2, 2)?,
        number(parts.next().unwrap_or("00"), 2, 2)?,
    );
    let digits = u32::try_from(fraction.len()).ok()?;
    let fraction = if digits == 0 { 0 } else { number(fraction, 1, 6)? * 10_i64.pow(6 - digits) };
    let sound = parts.next().is_none() && hour <= 24 && minute < 60 && second <= 60;
    sound.then_some(((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction)
}

fn parse_zone(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let mut parts = text.get(1..)?.split(':');
    let mut seconds = number(parts.next()?, 2, 2)? * 3600;
    seconds += number(parts.next().unwrap_or("00"), 2, 2)? * 60;
    seconds += number(parts.next().unwrap_or("00"), 2, 2)?;
    parts.next().is_none().then_some(sign * seconds * 1_000_000)
}

fn number(text: &str, least: usize, most: usize) -> Option<i64> {
    let sound = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    sound.then(|| text.parse().ok()).flatten()
}

fn write(ty: &Type, count: i64, out: &mut Vec<u8>) -> Option<()> {
    let (day, microseconds) = split(ty, count);
    if i32::try_from(day).is_err() {
        return None;
    }
    let (year, month, of_month) = civil(day);
    let (shown, suffix): (i64, &[u8]) = if year > 0 { (year, b"") } else { (1 - year, b" BC") };
    padded(shown, 4, out);
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(of_month, 2, out);
    if *ty != Type::Date {
        let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
        for (separator, part) in [(b' ', seconds / 3600), (b':', seconds / 60 % 60), (b':', seconds % 60)] {
            out.push(separator);
            padded(part, 2, out);
        }
        if fraction > 0 {
            out.push(b'.');
            padded(fraction, 6, out);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
    }
    if *ty == Type::TimestampTz {
        out.extend_from_slice(b"+00");
    }
    out.extend_from_slice(suffix);
    Some(())
}

fn padded(number: i64, width: u32, out: &mut Vec<u8>) {
    for place in (1..width).rev() {
        if number < 10_i64.pow(place) {
            out.push(b'0');
        }
    }
    super::number::write_decimal(number, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ty: &Type, text: &str, count: i64) {
        assert_eq!(parse(ty, text.as_bytes()), Some(Moment::At(count)), "{text}");
        let mut out = Vec::new();
        encode(ty, Format::Text, Moment::At(count), &mut out).expect("encodes");
        assert_eq!(String::from_utf8_lossy(&out), text);
        out.clear();
        encode(ty, Format::Binary, Moment::At(count), &mut out).expect("encodes");
        assert_eq!(decode(ty, Format::Binary, &out), Some(Moment::At(count)));
    }

    #[test]
    fn moments_in_both_formats() {
        check(&Type::Date, "2000-01-01", 0);
        check(&Type::Date, "1999-12-31", -1);
        check(&Type::Date, "2024-02-29", 8825);
        check(&Type::Date, "0044-03-15 BC", -746_117);
        check(&Type::Date, "12024-01-01", first_of_year(12_024));
        check(&Type::Timestamp, "2000-01-02 00:00:00.5", DAY_US + 500_000);
        check(&Type::Timestamp, "1999-12-31 23:59:59.999999", -1);
        check(&Type::TimestampTz, "2000-01-01 00:00:00+00", 0);
        assert_eq!(parse(&Type::TimestampTz, b"2000-01-01 05:30:00+05:30"), Some(Moment::At(0)));
        assert_eq!(parse(&Type::TimestampTz, b"1999-12-31 19:00:00-05"), Some(Moment::At(0)));
        assert_eq!(year_of(-1), 1999);
    }

    #[test]
    fn infinity_in_both_formats() {
        for ty in [Type::Date, Type::Timestamp, Type::TimestampTz] {
            for moment in [Moment::Before, Moment::After] {
                for format in [Format::Text, Format::Binary] {
                    let mut out = Vec::new();
                    encode(&ty, format, moment, &mut out).expect("encodes");
                    assert_eq!(decode(&ty, format, &out), Some(moment));
                }
            }
        }
    }

    #[test]
    fn other_styles_do_not_decode() {
        for text in
            ["03/15/2020", "15.03.2020", "2023-02-29", "2020-13-01", "2020-3-1", "2020-03-15 10:00", ""]
        {
            assert_eq!(parse(&Type::Date, text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&Type::Timestamp, b"Sun Mar 15 10:00:00 2020"), None);
        assert_eq!(parse(&Type::TimestampTz, b"2020-03-15 10:00:00 EST"), None);
    }
}
