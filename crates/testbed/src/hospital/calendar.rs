//! Days and moments as numbers, and the forms in which people write them.

use std::fmt;

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day(pub(crate) i64);

/// Seconds since 1970-01-01T00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) i64);

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Day {
    /// The day on which the hospital's records end: fixed, so that the same seed gives the same bytes.
    pub(crate) const TODAY: Day = Day(20_758); // 2026-11-01

    /// Returns year, month and day (the "days to civil" algorithm of Howard Hinnant).
    pub(crate) fn civil(self) -> (i64, i64, i64) {
        let z = self.0 + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let m = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * m + 2) / 5 + 1;
        let month = if m < 10 { m + 3 } else { m - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }

    /// Returns `10/31/2026`.
    pub(crate) fn us(self) -> String {
        let (y, m, d) = self.civil();
        format!("{m:02}/{d:02}/{y:04}")
    }

    /// Returns `October 31, 2026`.
    pub(crate) fn long(self) -> String {
        let (y, m, d) = self.civil();
        let month = usize::try_from(m - 1).ok().and_then(|m| MONTHS.get(m)).expect("a month from 1 to 12");
        format!("{month} {d}, {y}")
    }

    /// Returns the moment so many minutes after midnight.
    pub(crate) fn at(self, minutes: i64) -> Moment {
        Moment(self.0 * 86_400 + minutes * 60)
    }

    /// Returns the whole years from a birth on `birth` to this day.
    pub(crate) fn age(self, birth: Day) -> i64 {
        let (y, m, d) = self.civil();
        let (by, bm, bd) = birth.civil();
        y - by - i64::from((m, d) < (bm, bd))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, m, d) = self.civil();
        write!(f, "{y:04}-{m:02}-{d:02}")
    }
}

impl Moment {
    /// Returns the day it is in.
    pub(crate) fn day(self) -> Day {
        Day(self.0.div_euclid(86_400))
    }

    /// Returns the moment so many minutes later.
    pub(crate) fn plus(self, minutes: i64) -> Moment {
        Moment(self.0 + minutes * 60)
    }

    /// Returns `14:05`.
    pub(crate) fn clock(self) -> String {
        let minutes = self.0.rem_euclid(86_400) / 60;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{:02}+00", self.day(), self.clock(), self.0.rem_euclid(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_the_dates_of_the_calendar() {
        for (day, date) in
            [(0, "1970-01-01"), (-1, "1969-12-31"), (11_016, "2000-02-29"), (20_758, "2026-11-01")]
        {
            assert_eq!(Day(day).to_string(), date);
        }
        assert_eq!(Day::TODAY.at(545).to_string(), "2026-11-01 09:05:00+00");
        assert_eq!(Day::TODAY.long(), "November 1, 2026");
    }

    #[test]
    fn age_counts_whole_years() {
        assert_eq!(Day::TODAY.age(Day(20_758 - 365)), 1);
        assert_eq!(Day::TODAY.age(Day(20_758 - 364)), 0);
    }
}
