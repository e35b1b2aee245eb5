//! Times as S3 writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;

/// A moment, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
}

impl Date {
    pub(crate) fn of(at: SystemTime) -> Date {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let (year, month, day) = civil(seconds / DAY_S);
        Date { year, month, day, second_of_day: seconds % DAY_S }
    }

    /// Returns `20261123`.
    pub(crate) fn day(self) -> String {
        format!("{:04}{:02}{:02}", self.year, self.month, self.day)
    }

    /// Returns `20261123T190059Z`.
    pub(crate) fn basic(self) -> String {
        let s = self.second_of_day;
        format!("{}T{:02}{:02}{:02}Z", self.day(), s / 3600, s / 60 % 60, s % 60)
    }

    /// Returns `2026-11-23T19:00:59Z`.
    pub(crate) fn extended(self) -> String {
        let Date { year, month, day, second_of_day: s } = self;
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
    }
}

/// The civil calendar from a day's number since 1970, after Howard Hinnant's `civil_from_days`.
fn civil(day: u64) -> (u64, u64, u64) {
    let z = day + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_calendar_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_460_459, "2026-11-23T19:00:59Z"),
        ] {
            let date = Date::of(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(date.extended(), expected);
            assert_eq!(date.basic(), expected.replace(['-', ':'], ""));
        }
    }
}
