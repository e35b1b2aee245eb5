//! Streets, cities, counties and ZIP codes. A state alone is no identifier.

use super::Finder;
use super::lexicon::Flags;
use super::token::{Gap, Kind, Shape};
use crate::Class;

/// Words between the house number and `Street`.
const STREET_WORDS_MAX: usize = 5;

impl Finder<'_> {
    /// A street address that begins with a house number.
    pub(super) fn address(&mut self, at: usize) -> Option<usize> {
        let number = self.tokens.get(at)?;
        if number.end - number.start > 6 || !self.shown(at).starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let mut place = at + 1;
        let mut words = 0;
        while words < STREET_WORDS_MAX && self.same_line(place) {
            let token = self.tokens.get(place)?;
            let named = match token.kind {
                Kind::Word => matches!(token.shape, Shape::Capital | Shape::Upper | Shape::Initial),
                Kind::Mixed | Kind::Number => words < 3,
                Kind::Sign(b'.' | b'-') if token.gap == Gap::None && words > 0 => {
                    place += 1;
                    continue;
                }
                Kind::Sign(_) => false,
            };
            if !named {
                return None;
            }
            let street = token.flags.any(Flags::STREET);
            // `12 Drive`: a street needs a name; `St Mary's Road` begins with one.
            let more = self.flags(place + 1).any(Flags::STREET) && self.same_line(place + 1);
            if street && words > 0 && !more {
                let dotted = if self.sign(place + 1, b'.') && !self.ends_sentence(place + 1) {
                    place + 2
                } else {
                    place + 1
                };
                let after = self.rest_of_address(dotted);
                return self.found(at, after, Class::Geographic, 90);
            }
            words += 1;
            place += 1;
        }
        None
    }

    /// Whether the dot at `at` is followed by a capital that begins something new rather than `, City`.
    fn ends_sentence(&self, at: usize) -> bool {
        self.tokens.get(at + 1).is_none_or(|next| next.gap == Gap::Line)
    }

    /// Direction, unit, city, state and ZIP code after a street.
    fn rest_of_address(&self, at: usize) -> usize {
        let mut after = at;
        let direction = |text: &str| matches!(text, "N" | "S" | "E" | "W" | "NE" | "NW" | "SE" | "SW");
        if direction(self.shown(after)) && self.same_line(after) {
            after += 1;
        }
        let unit = if self.kind(after) == Some(Kind::Sign(b',')) { after + 1 } else { after };
        let sharp = self.kind(unit) == Some(Kind::Sign(b'#'));
        if (self.flags(unit).any(Flags::UNIT) || sharp) && self.same_line(unit) {
            let mut code = unit + 1;
            while matches!(self.kind(code), Some(Kind::Sign(b'.' | b'#'))) {
                code += 1;
            }
            if matches!(self.kind(code), Some(Kind::Number | Kind::Mixed)) || self.shown(code).len() == 1 {
                after = code + 1;
            }
        }
        let comma = self.kind(after) == Some(Kind::Sign(b','));
        let city = if comma { after + 1 } else { after };
        let city_zip = || if comma { self.city_zip(city) } else { None };
        self.city_state(city).map(|(end, _)| end).or_else(city_zip).unwrap_or(after)
    }

    /// `Springfield, 62704` after a street: the token after it.
    fn city_zip(&self, at: usize) -> Option<usize> {
        let mut place = at;
        while place < at + 3 && self.is_capital(place) && self.same_line(place) {
            place += 1;
        }
        let code = if self.sign(place, b',') { place + 1 } else { place };
        if place == at { None } else { self.zip(code) }
    }

    /// `Springfield, IL 62704`: the token after it, and whether a ZIP code is part of it.
    fn city_state(&self, at: usize) -> Option<(usize, bool)> {
        let mut place = at;
        while place < at + 4
            && self.is_capital(place)
            && (place == at || self.tokens.get(place)?.gap == Gap::Blank)
        {
            place += 1;
            if self.sign(place, b'.') && self.shown(place - 1).len() <= 2 {
                place += 1;
            }
            // A state written out in capitals without a comma before it.
            if self.is_state(place) && self.zip(place + 1).is_some() {
                break;
            }
        }
        if place == at {
            return None;
        }
        let state = if self.sign(place, b',') { place + 1 } else { place };
        if !self.is_state(state) {
            return None;
        }
        if self.flags(at).any(Flags::TITLE)
            || (self.flags(state).any(Flags::CREDENTIAL) && self.zip(state + 1).is_none())
        {
            return None;
        }
        // `New York`, `North Carolina`.
        let long = self.is_state(state + 1) && self.tokens.get(state + 1)?.gap == Gap::Blank;
        let after = if long { state + 2 } else { state + 1 };
        let comma = state > place;
        match self.zip(after) {
            Some(end) => Some((end, true)),
            None if comma => Some((after, false)),
            None => None,
        }
    }

    fn is_capital(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| {
            token.kind == Kind::Word && matches!(token.shape, Shape::Capital | Shape::Upper)
        })
    }

    fn is_state(&self, at: usize) -> bool {
        let shown = self.shown(at);
        let written = if shown.len() == 2 {
            shown.bytes().all(|b| b.is_ascii_uppercase())
        } else {
            self.is_capital(at)
        };
        self.same_line(at)
            && written
            && (self.flags(at).any(Flags::STATE) || matches!(shown, "New" | "North" | "South" | "West"))
    }

    /// The token after a ZIP code.
    fn zip(&self, at: usize) -> Option<usize> {
        let (length, _) = self.value(at).filter(|_| self.same_line(at))?;
        if length != 5 {
            return None;
        }
        let plus = self.sign(at + 1, b'-') && self.value(at + 2).is_some_and(|(length, _)| length == 4);
        Some(if plus { at + 3 } else { at + 1 })
    }

    /// A place that begins at a word.
    pub(super) fn place(&mut self, at: usize) -> Option<usize> {
        self.post_box(at)
            .or_else(|| self.announced_zip(at))
            .or_else(|| self.street(at))
            .or_else(|| self.town(at))
            .or_else(|| self.lived_in(at))
    }

    /// `P.O. Box 112`
    fn post_box(&mut self, at: usize) -> Option<usize> {
        let written = self.shown(at);
        let dotted = written == "P" && self.sign(at + 1, b'.') && self.shown(at + 2) == "O";
        let next = match written {
            "PO" | "POB" | "POBox" => at + 1,
            "P" if dotted && self.sign(at + 3, b'.') => at + 4,
            "P" if dotted => at + 3,
            _ => return None,
        };
        let number = if self.shown(next).eq_ignore_ascii_case("box") { next + 1 } else { next };
        self.value(number)?;
        let after = self.rest_of_address(number + 1);
        self.found(at, after, Class::Geographic, 90)
    }

    /// `on Whippoorwill Way`: a street without a house number.
    fn street(&mut self, at: usize) -> Option<usize> {
        let before = at.checked_sub(1).map(|before| self.shown(before));
        if !matches!(before, Some("on" | "at" | "to" | "from" | "off" | "near")) || !self.is_capital(at) {
            return None;
        }
        let mut after = at + 1;
        while after < at + 4 && self.is_capital(after) && self.tokens.get(after)?.gap == Gap::Blank {
            if self.flags(after).any(Flags::STREET) && self.shown(after).len() > 2 {
                let end = self.rest_of_address(after + 1);
                return self.found(at, end, Class::Geographic, 70);
            }
            after += 1;
        }
        let short = after > at + 1 && matches!(self.shown(after - 1), "St" | "Rd" | "Dr" | "Ln" | "Ct");
        short.then(|| self.found(at, after, Class::Geographic, 60)).flatten()
    }

    fn announced_zip(&mut self, at: usize) -> Option<usize> {
        let word = self.shown(at);
        if !["zip", "zipcode", "postcode"].iter().any(|zip| word.eq_ignore_ascii_case(zip)) {
            return None;
        }
        let code = (at + 1..at + 4).find(|place| self.kind(*place) == Some(Kind::Number))?;
        let after = self.zip(code)?;
        self.found(code, after, Class::Geographic, 85)
    }

    /// `Springfield, IL`, `Cook County`, and known cities after a preposition.
    fn town(&mut self, at: usize) -> Option<usize> {
        if !self.is_capital(at) {
            return None;
        }
        let before = at.checked_sub(1).map_or(Flags::NONE, |before| self.flags(before));
        let preposition = before.any(Flags::PREPOSITION.with(Flags::BEFORE_PLACE));
        let flags = self.flags(at);
        let possible = !flags.any(Flags::ORDINARY) || flags.any(Flags::PLACE);
        if possible && let Some((after, zip)) = self.city_state(at) {
            return self.found(at, after, Class::Geographic, if zip { 90 } else { 80 });
        }
        let mut after = at + 1;
        while after < at + 3
            && self.is_capital(after)
            && self.tokens.get(after).is_some_and(|t| t.gap == Gap::Blank)
        {
            if self.flags(after).any(Flags::COUNTY) && !flags.any(Flags::ORDINARY) {
                return self.found(at, after + 1, Class::Geographic, 80);
            }
            after += 1;
        }
        let known = flags.any(Flags::PLACE) && !flags.any(Flags::ORDINARY);
        (known && preposition).then(|| self.found(at, at + 1, Class::Geographic, 75)).flatten()
    }

    /// `lives in Xyz`, `moved from Xyz Abc`: any capital that is no ordinary word.
    fn lived_in(&mut self, at: usize) -> Option<usize> {
        if !self.flags(at).any(Flags::PREPOSITION) || !self.recent(at, 2, Flags::BEFORE_PLACE) {
            return None;
        }
        let first = at + 1;
        let unknown = |place: usize| {
            let flags = self.flags(place);
            let ordinary = flags.any(Flags::ORDINARY) && !flags.any(Flags::PLACE);
            self.is_capital(place) && self.same_line(place) && !ordinary && !flags.any(Flags::STATE)
        };
        let mut after = first;
        while after < first + 3 && unknown(after) {
            after += 1;
        }
        (after > first).then(|| self.found(first, after, Class::Geographic, 75)).flatten()
    }
}
