//! What people and machines get to read on standard output.
//!
//! Colour only on a terminal and never with `NO_COLOR`. Text that came from a client is made printable first:
//! a name in the trail must not be able to move the cursor of the person who reads it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// Puts text in colour, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Decides for standard output.
    pub(crate) fn stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint { on: wanted && !dumb && io::stdout().is_terminal() }
    }

    /// Leaves everything alone.
    pub(crate) fn off() -> Paint {
        Paint { on: false }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Returns the text in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Returns the text in grey.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Returns the text as something good.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Returns the text as something bad.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }
}

/// Writes a line; a closed pipe ends the process quietly, as `head` expects.
pub(crate) fn line(text: &str) {
    let written = writeln!(io::stdout().lock(), "{text}");
    if written.is_err() {
        std::process::exit(0);
    }
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?);
    Ok(())
}

/// Writes why a command failed as one line of JSON to standard error.
pub(crate) fn json_error(error: &str, help: Option<&str>) {
    eprintln!("{}", serde_json::json!({ "error": error, "help": help }));
}

/// Returns a table with aligned columns, the first row being the heading.
pub(crate) fn table(rows: &[Vec<String>], paint: Paint) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(most) => *most = width.max(*most),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let mut shown = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(shown, "{cell:<width$}  ").expect("writing to a string succeeds");
        }
        let shown = shown.trim_end();
        text.push_str(&if index == 0 { paint.bold(shown) } else { shown.to_owned() });
        text.push('\n');
    }
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// Returns the text with control and direction-changing characters written out.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || direction {
            write!(shown, "{}", c.escape_unicode()).expect("writing to a string succeeds");
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns as much of the text as fits into a number of bytes.
pub(crate) fn clipped(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or_default().to_owned()
}

/// Returns bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
    }
    text
}

/// Returns a time as RFC 3339 in UTC with microseconds.
pub(crate) fn time(at: model::Micros) -> String {
    let seconds = at.0 / 1_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", at.0 % 1_000_000)
}

/// Returns a time in [`time`]'s form without its fraction of a second, for people.
pub(crate) fn to_second(time: &str) -> String {
    let whole: String = time.chars().take(19).collect();
    whole.replace('T', " ") + "Z"
}

/// Reads a day, or a day and time, in UTC: `2026-11-23`, `2026-11-23T09:40`, `2026-11-23T09:40:16.5Z`.
///
/// # Errors
/// What to write, for anything else.
pub(crate) fn parse_time(text: &str) -> Result<model::Micros, String> {
    let wrong = || "write a day in UTC such as 2026-11-23, or a time such as 2026-11-23T09:40:16Z".to_owned();
    let (day, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers = |text: &str, separator: char| -> Option<Vec<u64>> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.split(separator).map(|part| digits(part).then(|| part.parse().ok()).flatten()).collect()
    };
    let day = numbers(day, '-').ok_or_else(wrong)?;
    let [year, month, day] = *day.as_slice() else { return Err(wrong()) };
    let clock = clock.strip_suffix('Z').unwrap_or(clock);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let clock = numbers(clock, ':').ok_or_else(wrong)?;
    let (hour, minute, second) = match *clock.as_slice() {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(wrong()),
    };
    let micros: u64 = match fraction.len() {
        1..=6 if fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{fraction:0<6}").parse().map_err(|_| wrong())?
        }
        _ => return Err(wrong()),
    };
    let days = days_of(year, month, day).ok_or_else(wrong)?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err(wrong());
    }
    Ok(model::Micros((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros))
}

/// Returns the number of days from 1970-01-01 to a day of the calendar, until the year 9999.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let year_of_era = shifted % 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = shifted / 400 * 146_097 + day_of_era - 719_468;
    // A day that the month does not have becomes another one.
    (civil(days) == (year, month, day)).then_some(days)
}

/// Returns year, month and day of a number of days since 1970-01-01 (Hinnant, `civil_from_days`).
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for at in [0, 1, 86_399_999_999, 951_782_400_000_000, 1_795_426_816_000_042, 253_402_300_799_999_999]
        {
            assert_eq!(parse_time(&time(model::Micros(at))), Ok(model::Micros(at)));
        }
        assert_eq!(parse_time("2026-11-23"), parse_time("2026-11-23T00:00:00Z"));
        assert_eq!(parse_time("2026-11-23 09:40"), parse_time("2026-11-23T09:40:00.0Z"));
        for wrong in [
            "",
            "now",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1T24:00",
            "1969-12-31",
            "2026-11-23T",
            "2026-11-23T9",
            "+2026-11-23",
            "2026-11-23T09:40:16.1234567Z",
            "2026-11-23T09:40:16+01:00",
        ] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_795_426_816_000_042, "2026-11-23T09:40:16.000042Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
        ];
        for (micros, text) in cases {
            assert_eq!(time(model::Micros(micros)), text);
        }
    }

    #[test]
    fn terminals_are_not_steered_by_names() {
        assert_eq!(printable("ann\u{1b}[2J\u{202e}x\n"), "ann\\u{1b}[2J\\u{202e}x\\u{a}");
        assert_eq!(printable("Zoë 漢"), "Zoë 漢");
    }
}
