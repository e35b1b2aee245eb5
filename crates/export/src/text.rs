//! Times, identifiers and text in the forms that other systems take. Pure.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use model::Micros;
use serde_json::Value;

/// Returns a time as RFC 3339 in UTC, with microseconds.
pub(crate) fn time(at: Micros) -> String {
    let seconds = at.0 / 1_000_000;
    let (year, month, day) = civil(seconds / 86_400);
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", at.0 % 1_000_000)
}

/// The civil calendar from a day's number, after Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Returns text without control characters and directions, which a receiver may not bear or show wrongly.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        // Not characters of XML, and of use to nobody.
        let none = matches!(c, '\u{fffe}' | '\u{ffff}');
        if c.is_control() || direction || none {
            write!(shown, "{}", c.escape_unicode()).expect("writing to a string succeeds");
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns text that a receiver may show: never empty, which FHIR does not allow.
pub(crate) fn shown(text: &str) -> String {
    let plain = plain(text);
    if plain.trim().is_empty() { "(none)".to_owned() } else { plain }
}

/// Returns what stands in a document there; null for what does not.
pub(crate) fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Returns bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
    }
    text
}

/// Returns the SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Returns an identifier of the form of a UUID (version 8, RFC 9562) that is always the same for a name.
pub(crate) fn uuid(name: &str) -> String {
    let digest = sha256(format!("wardline/event/v1\n{name}").as_bytes());
    let mut hex: Vec<char> = hex(&digest).chars().take(32).collect();
    for (at, c) in [(12, '8'), (16, 'a')] {
        if let Some(place) = hex.get_mut(at) {
            *place = c;
        }
    }
    let mut text = String::with_capacity(36);
    for (at, c) in hex.into_iter().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(Micros(1_795_426_816_000_042)), "2026-11-23T09:40:16.000042Z");
        assert_eq!(time(Micros(0)), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn an_identifier_is_stable_and_has_the_form() {
        let one = uuid("gw1/7");
        assert_eq!(one, uuid("gw1/7"));
        assert_ne!(one, uuid("gw1/8"));
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "8");
        assert_eq!(&one[19..20], "a");
    }

    #[test]
    fn text_loses_what_moves_a_cursor() {
        assert_eq!(plain("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
        assert_eq!(shown(" "), "(none)");
    }
}
