//! Numbers that are recognised by their own form: SSN, telephone, card, network address, NPI, routing number.

use super::lexicon::Flags;
use super::token::{Gap, Kind};
use super::{Finder, checksum};
use crate::Class;

/// The longest number of which digits are gathered.
const DIGITS_MAX: usize = 24;
/// A number so long counts nothing in a note: it identifies something.
const UNIQUE_DIGITS_MIN: usize = 7;

/// Digits, as values.
#[derive(Default)]
struct Digits {
    values: [u8; DIGITS_MAX],
    count: usize,
}

impl Digits {
    fn add(&mut self, text: &str) -> Option<()> {
        for byte in text.bytes() {
            *self.values.get_mut(self.count)? = byte.wrapping_sub(b'0');
            self.count += 1;
        }
        Some(())
    }

    fn get(&self) -> &[u8] {
        self.values.get(..self.count).unwrap_or_default()
    }
}

impl Finder<'_> {
    /// Whatever begins at a number.
    pub(super) fn number(&mut self, at: usize) -> Option<usize> {
        if self.kind(at) != Some(Kind::Number) {
            return None;
        }
        self.ssn(at)
            .or_else(|| self.ip(at))
            .or_else(|| self.phone(at))
            .or_else(|| self.card(at))
            .or_else(|| self.coordinates(at))
            .or_else(|| self.zip_plus_four(at))
    }

    /// Whether a number continues before: then it is not the start of anything.
    fn continues(&self, at: usize) -> bool {
        at > 1 && self.glued(at) && self.sign(at - 1, b'-') && self.kind(at - 2) == Some(Kind::Number)
    }

    /// The digits of groups of the given lengths with one separator between them, and the token after.
    #[inline(always)]
    fn groups(&self, at: usize, lengths: &[usize], separators: &[u8]) -> Option<(Digits, u8, usize)> {
        // Most numbers stand alone, or have another length: nothing of them is gathered.
        let first = self.tokens.get(at).filter(|token| token.kind == Kind::Number)?;
        let next = self.tokens.get(at + 1)?;
        let separated = match next.kind {
            Kind::Number => next.gap == Gap::Blank,
            Kind::Sign(byte) => next.gap == Gap::None && separators.contains(&byte),
            Kind::Word | Kind::Mixed => false,
        };
        if !separated || lengths.first() != Some(&(first.end - first.start)) {
            return None;
        }
        self.gathered(at, lengths, separators)
    }

    #[inline(never)]
    fn gathered(&self, at: usize, lengths: &[usize], separators: &[u8]) -> Option<(Digits, u8, usize)> {
        let mut digits = Digits::default();
        let mut separator = None;
        let mut place = at;
        for (number, length) in lengths.iter().enumerate() {
            if number > 0 {
                let (found, next) = self.separator(place)?;
                if !separators.contains(&found) || *separator.get_or_insert(found) != found {
                    return None;
                }
                place = next;
            }
            let token = self.tokens.get(place).filter(|token| token.kind == Kind::Number)?;
            if token.end - token.start != *length {
                return None;
            }
            digits.add(self.shown(place))?;
            place += 1;
        }
        // Another group would make it something else.
        let more = self.separator(place).is_some_and(|(found, next)| {
            Some(found) == separator && found != b' ' && self.kind(next) == Some(Kind::Number)
        });
        (!more).then_some((digits, separator.unwrap_or(0), place))
    }

    /// What stands between two groups, and the token after it.
    fn separator(&self, at: usize) -> Option<(u8, usize)> {
        let token = self.tokens.get(at)?;
        match (token.kind, token.gap) {
            (Kind::Number, Gap::Blank) => Some((b' ', at)),
            (Kind::Sign(byte), Gap::None) if self.glued(at + 1) => Some((byte, at + 1)),
            _ => None,
        }
    }

    fn ssn(&mut self, at: usize) -> Option<usize> {
        let announced = |finder: &Self| finder.recent(at, 4, Flags::SSN);
        if let Some((digits, separator, after)) = self.groups(at, &[3, 2, 4], b"- .") {
            let confidence = match (checksum::ssn(digits.get()), separator) {
                (_, _) if announced(self) => 95,
                (true, b'-') => 95,
                (true, _) => 80,
                (false, b'-') => 70,
                (false, _) => 40,
            };
            return (!self.continues(at)).then(|| self.found(at, after, Class::Ssn, confidence)).flatten();
        }
        let length = self.value(at)?.0;
        (matches!(length, 4 | 9) && announced(self)).then(|| self.found(at, at + 1, Class::Ssn, 85)).flatten()
    }

    /// A telephone number, from `+`, `(` or a digit.
    pub(super) fn phone(&mut self, at: usize) -> Option<usize> {
        if self.continues(at) {
            return None;
        }
        let (after, confidence) = self.phone_form(at)?;
        let class = if self.recent(at, 3, Flags::FAX) { Class::Fax } else { Class::Phone };
        let mut end = after;
        let extension = self.shown(end);
        let marks = ["x", "ext", "extension"].iter().any(|mark| extension.eq_ignore_ascii_case(mark));
        if marks && self.same_line(end) {
            let dotted = if self.sign(end + 1, b'.') { end + 2 } else { end + 1 };
            if self.kind(dotted) == Some(Kind::Number) {
                end = dotted + 1;
            }
        } else if extension.starts_with(['x', 'X']) && self.kind(end) == Some(Kind::Mixed) {
            end += 1;
        }
        self.found(at, end, class, confidence)
    }

    fn phone_form(&self, at: usize) -> Option<(usize, u8)> {
        // Asked only of what is written like a telephone number: most numbers are not.
        let announced = || self.recent(at, 3, Flags::PHONE.with(Flags::FAX));
        if self.kind(at) == Some(Kind::Sign(b'+')) {
            return self.international(at);
        }
        let mut place = at;
        if self.value(place) == Some((1, 1)) {
            place = match self.kind(place + 1)? {
                Kind::Sign(b'-' | b'.' | b'/') if self.glued(place + 1) => place + 2,
                Kind::Sign(b'(') | Kind::Number => place + 1,
                _ => return None,
            };
        }
        if self.kind(place) == Some(Kind::Sign(b'(')) {
            return self.with_area(place);
        }
        if let Some((digits, separator, after)) = self.groups(place, &[3, 3, 4], b"-. /") {
            return match (checksum::nanp(digits.get()), separator) {
                (true, _) => Some((after, 90)),
                (false, b' ') if !announced() => None,
                (false, _) => Some((after, 60)),
            };
        }
        if let Some((_, _, after)) = self.groups(place, &[3, 4], b"-. ") {
            let expected = announced() || self.features.expected() == Some(Class::Phone);
            return expected.then_some((after, 75));
        }
        let (length, _) = self.value(place).filter(|_| place == at)?;
        ((10..=15).contains(&length) && announced()).then_some((at + 1, 85))
    }

    /// `(617) 555-0123`
    fn with_area(&self, at: usize) -> Option<(usize, u8)> {
        let (length, _) = self.value(at + 1)?;
        if length != 3 || !self.sign(at + 2, b')') {
            return None;
        }
        let next = if self.sign(at + 3, b'-') { at + 4 } else { at + 3 };
        let (_, _, after) = self.groups(next, &[3, 4], b"-. ")?;
        self.same_line(next).then_some((after, 95))
    }

    /// `+44 20 7946 0018`
    fn international(&self, at: usize) -> Option<(usize, u8)> {
        let (mut place, mut digits) = (at + 1, 0);
        if !self.glued(place) {
            return None;
        }
        loop {
            let (length, _) = self.value(place)?;
            digits += length;
            let next = match (self.kind(place + 1), self.tokens.get(place + 1).map(|token| token.gap)) {
                (Some(Kind::Number), Some(Gap::Blank)) => place + 1,
                (Some(Kind::Sign(b'-' | b'.' | b'(' | b')')), Some(Gap::None | Gap::Blank)) => {
                    let skip = (place + 1..place + 4).find(|next| self.kind(*next) == Some(Kind::Number));
                    match skip {
                        Some(next) if self.same_line(next) => next,
                        _ => break,
                    }
                }
                _ => break,
            };
            if digits + self.value(next).map_or(0, |(length, _)| length) > 15 {
                break;
            }
            place = next;
        }
        (digits >= 8).then_some((place + 1, 90))
    }

    /// A payment card, in one piece or in groups.
    fn card(&mut self, at: usize) -> Option<usize> {
        let forms: [&[usize]; 4] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3]];
        for form in forms {
            if let Some((digits, _, after)) = self.groups(at, form, b"- .") {
                let confidence = if checksum::luhn(digits.get()) { 95 } else { 60 };
                return self.found(at, after, Class::Account, confidence);
            }
        }
        None
    }

    /// `192.0.2.77`, with or without a prefix length.
    fn ip(&mut self, at: usize) -> Option<usize> {
        let mut place = at;
        for number in 0..4 {
            if number > 0 {
                if !self.sign(place, b'.') || !self.glued(place + 1) {
                    return None;
                }
                place += 1;
            }
            let (length, value) = self.value(place)?;
            if length > 3 || value > 255 {
                return None;
            }
            place += 1;
        }
        if self.sign(place, b'.') && self.glued(place + 1) && self.kind(place + 1) == Some(Kind::Number) {
            return None;
        }
        if self.sign(place, b'/') && self.value(place + 1).is_some_and(|(_, value)| value <= 32) {
            place += 2;
        }
        let version = at > 0 && matches!(self.shown(at - 1), "version" | "Version" | "v");
        self.found(at, place, Class::Ip, if version { 40 } else { 85 })
    }

    /// `42.3601, -71.0589`
    fn coordinates(&mut self, at: usize) -> Option<usize> {
        let fraction = |place: usize| {
            let precise =
                self.value(place + 2).is_some_and(|(length, _)| length >= 4) && self.glued(place + 2);
            (self.value(place)?.1 <= 180 && self.sign(place + 1, b'.') && precise).then_some(place + 3)
        };
        let after = fraction(at)?;
        let comma = if self.kind(after) == Some(Kind::Sign(b',')) { after + 1 } else { after };
        let second = if self.kind(comma) == Some(Kind::Sign(b'-')) { comma + 1 } else { comma };
        let end = fraction(second)?;
        self.found(at, end, Class::Geographic, 80)
    }

    fn zip_plus_four(&mut self, at: usize) -> Option<usize> {
        let (_, _, after) = self.groups(at, &[5, 4], b"-")?;
        (!self.continues(at)).then(|| self.found(at, after, Class::Geographic, 60)).flatten()
    }

    /// A long number in one piece that nothing announces.
    pub(super) fn long_number(&mut self, at: usize) -> Option<usize> {
        let token = self.tokens.get(at)?;
        let length = token.end - token.start;
        if length < UNIQUE_DIGITS_MIN || self.recent(at, 2, Flags::CODE_SYSTEM) || self.counts(at + 1) {
            return None;
        }
        // A decimal fraction is a measurement.
        if self.glued(at) && at > 0 && matches!(self.kind(at - 1), Some(Kind::Sign(b'.' | b','))) {
            return None;
        }
        let mut digits = Digits::default();
        if length <= DIGITS_MAX {
            digits.add(self.shown(at))?;
        }
        let digits = digits.get();
        let (class, confidence) = match length {
            13..=19 if checksum::luhn(digits) && matches!(digits.first(), Some(3..=6)) => {
                (Class::Account, 95)
            }
            14 if checksum::gtin(digits) => (Class::Device, 60),
            10 if checksum::npi(digits) => (Class::Licence, 65),
            10 if checksum::nanp(digits) => (Class::Phone, 55),
            9 if checksum::aba(digits) => (Class::Account, 60),
            9 if checksum::ssn(digits) => (Class::Ssn, 55),
            _ => (Class::UniqueCode, 52),
        };
        self.found(at, at + 1, class, confidence)
    }

    /// Whether the word says that a number counts something.
    fn counts(&self, at: usize) -> bool {
        let word = self.shown(at);
        ["copies", "cells", "units", "iu", "cfu", "platelets", "dollars"]
            .iter()
            .any(|unit| word.eq_ignore_ascii_case(unit))
    }

    /// `(01)00643169001763(17)...`, the human-readable form of a UDI.
    pub(super) fn udi(&mut self, at: usize) -> Option<usize> {
        if self.value(at + 1) != Some((2, 1)) || !self.sign(at + 2, b')') {
            return None;
        }
        let (length, _) = self.value(at + 3).filter(|_| self.glued(at + 3))?;
        if length != 14 {
            return None;
        }
        let mut digits = Digits::default();
        digits.add(self.shown(at + 3))?;
        let mut after = at + 4;
        // More parts: lot, serial number, expiry.
        while self.sign(after, b'(')
            && self.kind(after + 1) == Some(Kind::Number)
            && self.sign(after + 2, b')')
        {
            after += 4;
            while self.sign(after, b'-') && self.glued(after + 1) {
                after += 2;
            }
        }
        let confidence = if checksum::gtin(digits.get()) { 95 } else { 75 };
        (length == 14)
            .then(|| self.found(at, after.min(self.tokens.len()), Class::Device, confidence))
            .flatten()
    }
}
