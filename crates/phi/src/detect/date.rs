//! Dates, and ages over 89. A year alone is no identifier.

use super::Finder;
use super::lexicon::Flags;
use super::token::{Gap, Kind, Shape};
use crate::Class;

/// Ages that tell who somebody is.
const AGES: std::ops::RangeInclusive<u64> = 90..=125;

impl Finder<'_> {
    /// A date that begins at a number or month, and an age at a number.
    pub(super) fn date(&mut self, at: usize) -> Option<usize> {
        let found = match self.kind(at)? {
            Kind::Word => self.month_first(at),
            Kind::Number => self.numeric(at).or_else(|| self.day_first(at)).or_else(|| self.compact(at)),
            Kind::Mixed => {
                self.iso_with_time(at).or_else(|| self.day_first(at)).or_else(|| self.glued_month(at))
            }
            Kind::Sign(_) => None,
        };
        match found {
            Some((after, confidence)) => self.found(at, after, Class::Date, confidence),
            None => self.age(at),
        }
    }

    /// `2020-03-15`, `3/15/2020`, `15.03.2020`, `3/15/20`; in context `3/15` and `03/2020`.
    fn numeric(&self, at: usize) -> Option<(usize, u8)> {
        let separator = match self.kind(at + 1)? {
            Kind::Sign(byte @ (b'-' | b'/' | b'.')) if self.glued(at + 1) => byte,
            _ => return None,
        };
        let (first_length, first) = self.value(at)?;
        // Part of something longer, such as a version or a code.
        if self.glued(at) && at > 0 && matches!(self.kind(at - 1), Some(Kind::Sign(b'-' | b'/' | b'.'))) {
            return None;
        }
        let second = self.value(at + 2).filter(|_| self.glued(at + 2));
        let third = self.sign(at + 3, separator).then(|| self.part(at + 4)).flatten();
        if let (Some((_, second)), Some((third_length, third))) = (second, third) {
            let more = self.sign(at + 5, separator) && matches!(self.kind(at + 6), Some(Kind::Number));
            let year_first = first_length == 4 && year(first) && month_day(second, third);
            let year_last = (third_length == 4 && year(third) || third_length == 2 && separator != b'.')
                && first_length <= 2
                && (month_day(first, second) || month_day(second, first));
            return (!more && (year_first || year_last)).then_some((at + 5, 90));
        }
        let (second_length, second) = second?;
        let ends = !self.glued(at + 3)
            || matches!(self.kind(at + 3), Some(Kind::Sign(b',' | b'.' | b')' | b';' | b':')));
        if separator == b'.' || !ends || first_length > 2 {
            return None;
        }
        let month_year = second_length == 4 && year(second) && (1..=12).contains(&first);
        if month_year {
            return Some((at + 3, 70));
        }
        let announced = self.recent(at, 2, Flags::BEFORE_DATE);
        let plausible = separator == b'/' && second_length <= 2 && month_day(first, second);
        (announced && plausible).then_some((at + 3, 60))
    }

    /// The last part of a date, which a time may follow in the same word: `15T10`.
    fn part(&self, at: usize) -> Option<(usize, u64)> {
        if !self.glued(at) {
            return None;
        }
        self.value(at).or_else(|| {
            let (digits, rest) = split_digits(self.shown(at));
            let time =
                rest.strip_prefix(['T', 't'])?.bytes().all(|byte| byte.is_ascii_digit() || byte == b'Z');
            (time && digits.len() == 2).then(|| Some((2, digits.parse().ok()?))).flatten()
        })
    }

    /// `20200315T101500Z` in one word.
    fn iso_with_time(&self, at: usize) -> Option<(usize, u8)> {
        let (digits, rest) = split_digits(self.shown(at));
        (digits.len() == 8 && rest.starts_with('T') && compact(digits)).then_some((at + 1, 85))
    }

    /// `20200315`
    fn compact(&self, at: usize) -> Option<(usize, u8)> {
        let text = self.shown(at);
        if text.len() != 8 || !compact(text) {
            return None;
        }
        let announced = self.recent(at, 2, Flags::LABEL) && !self.recent(at, 2, Flags::BEFORE_DATE);
        (!announced).then_some((at + 1, 70))
    }

    /// `March 15, 2020`, `Mar 15th`, `March 2020`.
    fn month_first(&self, at: usize) -> Option<(usize, u8)> {
        let token = self.tokens.get(at)?;
        if !token.flags.any(Flags::MONTH) || !matches!(token.shape, Shape::Capital | Shape::Upper) {
            return None;
        }
        let mut next = at + 1;
        if self.sign(next, b'.') || self.sign(next, b'-') {
            next += 1;
        }
        if !self.same_line(next) {
            return None;
        }
        if self.day(next).is_some_and(|day| (1..=31).contains(&day)) {
            return Some((self.year_after(next + 1), 85));
        }
        let mut place = next;
        if matches!(self.kind(place), Some(Kind::Sign(b','))) || self.shown(place) == "of" {
            place += 1;
        }
        let (length, value) = self.value(place)?;
        (length == 4 && year(value)).then_some((place + 1, 75))
    }

    /// `15 March 2020`, `15-Mar-2020`, `3rd of March`.
    fn day_first(&self, at: usize) -> Option<(usize, u8)> {
        let day = self.day(at)?;
        let mut next = at + 1;
        if self.sign(next, b'-') || self.sign(next, b'/') || self.sign(next, b'.') || self.shown(next) == "of"
        {
            next += 1;
        }
        let token = self.tokens.get(next)?;
        let month = token.flags.any(Flags::MONTH) && matches!(token.shape, Shape::Capital | Shape::Upper);
        (month && token.gap != Gap::Line && (1..=31).contains(&day)).then(|| (self.year_after(next + 1), 85))
    }

    /// `15MAR2020`, `15Mar20`.
    fn glued_month(&self, at: usize) -> Option<(usize, u8)> {
        let (day, rest) = split_digits(self.shown(at));
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (month, year) = rest.split_at_checked(letters)?;
        let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let named = months.iter().any(|name| month.eq_ignore_ascii_case(name));
        let sound = named && matches!(day.len(), 1 | 2) && matches!(year.len(), 0 | 2 | 4);
        sound.then_some((at + 1, 85))
    }

    /// A day of the month: `15`, `15th`.
    fn day(&self, at: usize) -> Option<u64> {
        if let Some((length, value)) = self.value(at) {
            return (length <= 2).then_some(value);
        }
        let (digits, rest) = split_digits(self.shown(at));
        let ordinal = ["st", "nd", "rd", "th"].iter().any(|ending| rest.eq_ignore_ascii_case(ending));
        ordinal.then(|| digits.parse().ok()).flatten()
    }

    /// Returns the token after a year that follows, if one does.
    fn year_after(&self, at: usize) -> usize {
        let skipped = match self.kind(at) {
            Some(Kind::Sign(b',' | b'-' | b'/' | b'.')) => at + 1,
            _ if self.shown(at) == "of" => at + 1,
            _ => at,
        };
        match self.value(skipped) {
            Some((4, value)) if year(value) && self.same_line(skipped) => skipped + 1,
            Some((2, _)) if skipped > at && self.glued(skipped) => skipped + 1,
            _ => at,
        }
    }

    /// An age from 90: `93 years old`, `93yo`, `93-year-old`, `aged 93`, `93 y/o`.
    fn age(&mut self, at: usize) -> Option<usize> {
        // Most numbers are none: told apart by their value alone.
        if self.kind(at) == Some(Kind::Number)
            && !self.value(at).is_some_and(|(_, value)| AGES.contains(&value))
        {
            return None;
        }
        let (digits, rest) = split_digits(self.shown(at));
        let value: u64 = digits.parse().ok()?;
        if !AGES.contains(&value) || digits.len() > 3 {
            return None;
        }
        let unit = |text: &str| {
            ["yo", "y", "yr", "yrs", "year", "years", "f", "m", "yof", "yom"]
                .iter()
                .any(|unit| text.eq_ignore_ascii_case(unit))
        };
        if !rest.is_empty() {
            return unit(rest).then(|| self.found(at, at + 1, Class::Age, 85)).flatten();
        }
        let next = if self.sign(at + 1, b'-') { at + 2 } else { at + 1 };
        let spelled = self.shown(next);
        let years = ["year", "years", "yo", "yr", "yrs", "yof", "yom"]
            .iter()
            .any(|u| spelled.eq_ignore_ascii_case(u));
        let slashed =
            spelled.eq_ignore_ascii_case("y") && (self.sign(next + 1, b'/') || self.sign(next + 1, b'.'));
        // `90 years ago` is no age, but says as much as one.
        let announced = self.recent(at, 2, Flags::AGE);
        (years || slashed || announced).then(|| self.found(at, at + 1, Class::Age, 85)).flatten()
    }

    /// An age from 90 in words: `ninety-three-year-old`, `a centenarian`.
    pub(super) fn spelled_age(&mut self, at: usize) -> Option<usize> {
        // Which they all have.
        if !self.flags(at).any(Flags::AGE) {
            return None;
        }
        let is = |word: &&str| self.shown(at).eq_ignore_ascii_case(word);
        if ["nonagenarian", "centenarian", "supercentenarian"].iter().any(is) {
            return self.found(at, at + 1, Class::Age, 80);
        }
        if !["ninety", "hundred"].iter().any(is) {
            return None;
        }
        let years = (at + 1..at + 6).find(|place| {
            self.same_line(*place) && matches!(self.shown(*place), "year" | "years" | "Year" | "Years")
        })?;
        self.found(at, years, Class::Age, 80)
    }
}

fn year(value: u64) -> bool {
    (1880..=2100).contains(&value)
}

fn month_day(month: u64, day: u64) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

fn compact(text: &str) -> bool {
    let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u64>().ok());
    match (part(0, 4), part(4, 6), part(6, 8)) {
        (Some(years), Some(month), Some(day)) => year(years) && month_day(month, day),
        _ => false,
    }
}

/// Splits the digits off the front.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}
