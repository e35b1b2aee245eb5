//! Codes of letters and digits, and whatever a word such as `MRN` or `policy number` announces.

use super::lexicon::Flags;
use super::token::{Gap, Kind, Shape};
use super::{Finder, checksum};
use crate::Class;

/// Words and signs that may stand between the announcing word and the code.
const BETWEEN_MAX: usize = 6;

/// The longest part of a plate.
const PLATE_PIECE_MAX: usize = 5;

/// Pieces of one code at most: what is longer is several.
const PIECES_MAX: usize = 16;

/// The classes, by the word that announces them; the first that holds is taken.
const LABELS: [(Flags, Class); 10] = [
    (Flags::SSN, Class::Ssn),
    (Flags::MRN, Class::Mrn),
    (Flags::LICENCE, Class::Licence),
    (Flags::VEHICLE, Class::Vehicle),
    (Flags::DEVICE, Class::Device),
    (Flags::ACCOUNT, Class::Account),
    (Flags::PLAN, Class::HealthPlan),
    (Flags::BIOMETRIC, Class::Biometric),
    (Flags::PHOTO, Class::Photo),
    (Flags::CODE, Class::UniqueCode),
];

/// The extent of a code: the token after it, and how many digits and letters it has.
struct Extent {
    after: usize,
    digits: usize,
    letters: usize,
}

impl Finder<'_> {
    /// A code after the word at `at` that announces it.
    pub(super) fn labelled(&mut self, at: usize) -> Option<usize> {
        let (mut place, mut explicit, mut flags) = (at + 1, false, self.flags(at));
        for _ in 0..BETWEEN_MAX {
            let token = self.tokens.get(place)?;
            match token.kind {
                Kind::Sign(b':' | b'#' | b'=') => explicit = true,
                Kind::Sign(b'.' | b'(' | b')' | b'/' | b'-') => {}
                Kind::Word
                    if token.flags.any(Flags::LABEL.with(Flags::NUMBER))
                        && token.shape != Shape::Initial
                        && !self.sign(place + 1, b'_') =>
                {
                    explicit |= token.flags.any(Flags::NUMBER);
                    if token.flags.any(Flags::LABEL) {
                        flags = flags.with(token.flags);
                    }
                }
                Kind::Word | Kind::Number | Kind::Mixed | Kind::Sign(_) => break,
            }
            place += 1;
        }
        let class = LABELS.into_iter().find(|(label, _)| flags.any(*label))?.1;
        let first = self.tokens.get(place)?;
        if first.gap == Gap::Line && !explicit {
            return None;
        }
        // A date or a telephone number after such a word is still that.
        let own = self.date(place).or_else(|| self.number(place)).or_else(|| self.phone(place));
        if own.is_some() {
            return own;
        }
        let extent = self.extent(place, class)?;
        let written = self.tokens.get(extent.after - 1)?.end - first.start;
        let enough = match (explicit, class) {
            (true, Class::UniqueCode) => extent.digits >= 3 && written >= 4,
            (true, _) => extent.digits >= 2 && written >= 4,
            (false, Class::Vehicle) => extent.digits >= 2 && extent.letters >= 1 && written >= 5,
            (false, _) => extent.digits >= 5 || (extent.digits >= 3 && extent.letters >= 2),
        };
        let class = self.sharper(place, class);
        enough.then(|| self.found(place, extent.after, class, 90)).flatten()
    }

    /// `Medicare number` may announce an MBI, `license` a DEA: the form decides where it is proven.
    fn sharper(&self, at: usize, class: Class) -> Class {
        let text = self.shown(at).as_bytes();
        match () {
            () if checksum::dea(text) => Class::Licence,
            () if checksum::mbi(text) => Class::HealthPlan,
            () if checksum::vin(text) == (true, true) => Class::Vehicle,
            () => class,
        }
    }

    /// How far a code goes: pieces of digits and capitals, joined by `-`, `/`, `.` or `_`.
    fn extent(&self, at: usize, class: Class) -> Option<Extent> {
        let mut extent = Extent { after: at, digits: 0, letters: 0 };
        let mut place = at;
        loop {
            let token = self.tokens.get(place)?;
            let piece = match token.kind {
                Kind::Number | Kind::Mixed => true,
                Kind::Word => matches!(token.shape, Shape::Upper | Shape::Initial),
                Kind::Sign(_) => false,
            };
            if !piece {
                break;
            }
            let shown = self.shown(place);
            extent.digits += shown.bytes().filter(u8::is_ascii_digit).count();
            extent.letters += shown.bytes().filter(u8::is_ascii_alphabetic).count();
            extent.after = place + 1;
            let next = place + 1;
            let joined =
                [b'-', b'/', b'_', b'.'].iter().any(|sign| self.sign(next, *sign)) && self.glued(next + 1);
            // `ABC 1234`, `3HY N22`: plates are written with a blank.
            let other = match self.kind(next) {
                Some(Kind::Number | Kind::Mixed) => true,
                Some(Kind::Word) => self.tokens.get(next)?.shape == Shape::Upper && token.kind != Kind::Word,
                Some(Kind::Sign(_)) | None => false,
            };
            let spaced = class == Class::Vehicle
                && place == at
                && other
                && self.same_line(next)
                && self.shown(next).len() <= PLATE_PIECE_MAX;
            let glued = self.glued(next) && matches!(self.kind(next), Some(Kind::Number | Kind::Mixed));
            place = match () {
                () if joined => place + 2,
                () if spaced || glued => next,
                () => break,
            };
            if place >= self.tokens.len() || place > at + 2 * PIECES_MAX {
                break;
            }
        }
        (extent.after > at).then_some(extent)
    }

    /// A code by its own form.
    pub(super) fn code(&mut self, at: usize) -> Option<usize> {
        match self.kind(at)? {
            Kind::Number => self.dashed(at).or_else(|| self.long_number(at)),
            Kind::Mixed => self.dashed(at).or_else(|| self.mixed(at)),
            Kind::Word | Kind::Sign(_) => None,
        }
    }

    fn mixed(&mut self, at: usize) -> Option<usize> {
        let text = self.shown(at).as_bytes();
        let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
        let confidence = |sure: bool, sureness: u8| sure.then_some(sureness);
        let (class, confidence) = if checksum::dea(text) {
            (Class::Licence, Some(90))
        } else if checksum::mbi(text) {
            (Class::HealthPlan, Some(95))
        } else if let (true, right) = checksum::vin(text) {
            (Class::Vehicle, Some(if right { 95 } else { 60 }))
        } else {
            let unique = text.len() >= 7 && digits >= 5 && !self.recent(at, 2, Flags::CODE_SYSTEM);
            (Class::UniqueCode, confidence(unique, 55))
        };
        self.found(at, at + 1, class, confidence?)
    }

    /// `1EG4-TE5-MK73`, UUIDs, and other codes with dashes and many digits.
    fn dashed(&mut self, at: usize) -> Option<usize> {
        if !self.sign(at + 1, b'-') || (at > 0 && self.glued(at) && self.sign(at - 1, b'-')) {
            return None;
        }
        let extent = self.extent(at, Class::UniqueCode)?;
        let pieces = extent.after - at;
        let bare: String = (at..extent.after).step_by(2).map(|place| self.shown(place)).collect();
        if checksum::mbi(bare.as_bytes()) {
            return self.found(at, extent.after, Class::HealthPlan, 95);
        }
        let hexadecimal = bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        if pieces == 9 && bare.len() == 32 && hexadecimal {
            return self.found(at, extent.after, Class::UniqueCode, 80);
        }
        // National drug codes have this form: five, four and two digits, or one less.
        let drug = extent.letters == 0 && pieces == 5 && (10..=11).contains(&bare.len());
        let unique =
            extent.digits >= 6 && bare.len() >= 8 && !drug && !self.recent(at, 2, Flags::CODE_SYSTEM);
        unique.then(|| self.found(at, extent.after, Class::UniqueCode, 55)).flatten()
    }
}
