//! Finds identifiers in text: the second net, below the policy by column.
//!
//! One pass takes a text apart into words and numbers; recognisers look only where a number, a capital or an announcing
//! word gives them a reason, and check digits are computed only for candidates. A wrong check digit lowers the confidence
//! of a finding in free text, and here alone; nothing in this module ever unmasks a value that policy masks.
//!
//! What is found is a span with a class and a confidence. Not found does not mean not there: names that look like
//! ordinary words are missed, see `docs/formats/phi.md` for the measured recall.

mod checksum;
mod code;
mod date;
mod features;
mod lexicon;
mod nested;
mod network;
mod number;
mod person;
mod place;
mod screen;
mod token;

pub use features::Features;
pub(crate) use features::words;
pub use screen::{Cell, Screened};

use lexicon::Flags;
use token::{Gap, Kind, Shape, Token, Tokens};

use crate::Class;

/// The confidence, of 100, from which a finding is masked, unless configured otherwise.
pub const THRESHOLD: u8 = 50;
/// How deep base64 and hexadecimal are opened.
const DEPTH_MAX: u8 = 3;

/// One finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// What it seems to be.
    pub class: Class,
    /// How sure that is, of 100.
    pub confidence: u8,
}

/// The work that may still be done, in bytes looked at. Time is the caller's: bytes are what can be promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes: u64,
}

impl Budget {
    /// Returns a budget of so many bytes.
    pub fn new(bytes: u64) -> Budget {
        Budget { bytes }
    }

    /// Returns the bytes left.
    pub fn left(&self) -> u64 {
        self.bytes
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let bytes = u64::try_from(bytes).map_err(|_| Exhausted)?;
        // An empty budget stays empty: a shorter text that came later must not slip through.
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or(0);
        left.map(drop).ok_or(Exhausted)
    }
}

/// The budget is spent: the whole cell must be masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the detection budget is spent")]
pub struct Exhausted;

/// Buffers that are used again from cell to cell.
#[derive(Debug, Default)]
pub struct Scratch {
    tokens: Tokens,
    spans: Vec<Span>,
    names: Vec<u64>,
}

/// The detectors with what a site adds to them.
#[derive(Clone, Debug)]
pub struct Detector {
    threshold: u8,
    mrn: Vec<Pattern>,
    /// A bit for each class that may be seen.
    seen: u32,
}

impl Default for Detector {
    fn default() -> Detector {
        Detector { threshold: THRESHOLD, mrn: Vec::new(), seen: 0 }
    }
}

impl Detector {
    /// Returns a detector that also knows the forms of the site's record numbers.
    pub fn with_record_numbers(patterns: Vec<Pattern>) -> Detector {
        Detector { threshold: THRESHOLD, mrn: patterns, seen: 0 }
    }

    /// Returns the detector for somebody who sees these classes: findings of others alone are reported.
    pub fn for_whom_sees(mut self, sees: impl Fn(Class) -> bool) -> Detector {
        let seen = Class::ALL.into_iter().filter(|class| sees(*class));
        self.seen = seen.fold(0, |seen, class| seen | 1 << class as u32);
        self
    }

    /// Returns the findings in a text, in order and without overlap.
    pub fn find<'s>(
        &self,
        text: &str,
        features: &Features,
        budget: &mut Budget,
        scratch: &'s mut Scratch,
    ) -> Result<&'s [Span], Exhausted> {
        self.find_at(text, features, budget, scratch, 0)?;
        // At the end, so that what may be seen still tells what is beside it.
        scratch.spans.retain(|span| self.seen & (1 << span.class as u32) == 0);
        Ok(&scratch.spans)
    }

    fn find_at(
        &self,
        text: &str,
        features: &Features,
        budget: &mut Budget,
        scratch: &mut Scratch,
        depth: u8,
    ) -> Result<(), Exhausted> {
        scratch.spans.clear();
        scratch.tokens.clear();
        budget.spend(text.len())?;
        if let Some(class) = features.whole_cell(text) {
            scratch.spans.push(Span { start: 0, end: text.len(), class, confidence: 80 });
            return Ok(());
        }
        token::tokens(text, &mut scratch.tokens);
        network::find(text, &mut scratch.spans);
        nested::find(self, text, &scratch.tokens, budget, depth, &mut scratch.spans)?;
        settle(&mut scratch.spans, 0);
        let known = scratch.spans.len();
        let mut finder =
            Finder { text, tokens: &scratch.tokens.all, spans: &mut scratch.spans, features, mrn: &self.mrn };
        finder.walk(&scratch.tokens, known);
        person::propagate(text, &scratch.tokens, &mut scratch.spans, &mut scratch.names);
        settle(&mut scratch.spans, self.threshold);
        Ok(())
    }
}

/// Drops what is too unsure, sorts, and joins what overlaps; the surer finding gives the class.
fn settle(spans: &mut Vec<Span>, threshold: u8) {
    spans.retain(|span| span.confidence >= threshold && span.start < span.end);
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    spans.dedup_by(|later, earlier| {
        let overlap = later.start < earlier.end;
        if overlap {
            earlier.end = earlier.end.max(later.end);
            if later.confidence > earlier.confidence {
                (earlier.class, earlier.confidence) = (later.class, later.confidence);
            }
        }
        overlap
    });
}

/// Appends the text with a placeholder in the place of each span, such as `[NAME]`. Spans come in order and without
/// overlap, as [`Detector::find`] gives them.
pub fn redact_spans(text: &str, spans: &[Span], out: &mut Vec<u8>) {
    let mut from = 0;
    for span in spans {
        out.extend_from_slice(text.get(from..span.start).unwrap_or_default().as_bytes());
        out.extend_from_slice(span.class.placeholder().as_bytes());
        from = span.end.max(from);
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default().as_bytes());
}

/// The form of a site's record numbers: `#` is a digit, `@` a letter, anything else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    form: Vec<u8>,
}

/// A record number's form that would match almost anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record number's form has at most 40 ASCII characters without blanks, of them at least four `#`")]
pub struct PatternError;

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(form: &str) -> Result<Pattern, PatternError> {
        let digits = form.bytes().filter(|byte| *byte == b'#').count();
        let sound = form.len() <= 40 && form.bytes().all(|byte| byte.is_ascii_graphic()) && digits >= 4;
        if sound { Ok(Pattern { form: form.as_bytes().to_vec() }) } else { Err(PatternError) }
    }
}

impl Pattern {
    /// Returns whether the text begins with the form.
    fn matches(&self, text: &[u8]) -> bool {
        let fits = |(form, byte): (&u8, &u8)| match form {
            b'#' => byte.is_ascii_digit(),
            b'@' => byte.is_ascii_alphabetic(),
            other => other == byte,
        };
        text.len() >= self.form.len() && self.form.iter().zip(text).all(fits)
    }
}

/// One text on its way through the recognisers.
struct Finder<'a> {
    text: &'a str,
    tokens: &'a [Token],
    spans: &'a mut Vec<Span>,
    features: &'a Features,
    mrn: &'a [Pattern],
}

impl Finder<'_> {
    /// Looks at each token at which something may begin, and which is not part of the first `known` spans.
    fn walk(&mut self, tokens: &Tokens, known: usize) {
        let (mut from, mut next_known) = (0, 0);
        let mut look = |finder: &mut Self, at: usize| {
            let Some(token) = finder.tokens.get(at).filter(|_| at >= from) else { return };
            while next_known < known
                && finder.spans.get(next_known).is_some_and(|span| span.end <= token.start)
            {
                next_known += 1;
            }
            let covered = next_known < known
                && finder.spans.get(next_known).is_some_and(|span| span.start <= token.start);
            if !covered {
                from = finder.look(at, token).unwrap_or(0).max(at + 1);
            }
        };
        if self.mrn.is_empty() {
            tokens.active.iter().for_each(|at| look(self, *at));
        } else {
            // A site's record number may begin with anything.
            (0..tokens.all.len()).for_each(|at| look(self, at));
        }
    }

    /// Returns the token after what was found.
    #[inline(never)]
    fn look(&mut self, at: usize, token: &Token) -> Option<usize> {
        match token.kind {
            Kind::Number if self.only_counts(at, token) => None,
            Kind::Number | Kind::Mixed => self
                .site_record(at)
                .or_else(|| self.date(at))
                .or_else(|| self.number(at))
                .or_else(|| self.address(at))
                .or_else(|| self.code(at)),
            Kind::Sign(b'(' | b'+') => self.phone(at).or_else(|| self.udi(at)),
            Kind::Sign(_) => None,
            Kind::Word => self.word(at, token.flags),
        }
    }

    fn word(&mut self, at: usize, flags: Flags) -> Option<usize> {
        let labelled = if flags.any(Flags::LABEL) { self.labelled(at) } else { None };
        labelled
            .or_else(|| if flags.any(Flags::MONTH) { self.date(at) } else { None })
            .or_else(|| self.site_record(at))
            .or_else(|| self.place(at))
            .or_else(|| self.person(at))
    }

    /// Whether a number is one of the many that begin nothing: short, below 90, and an ordinary word or sign follows.
    fn only_counts(&self, at: usize, token: &Token) -> bool {
        let short = token.end - token.start <= 3 && token.hash < 90;
        short
            && self.mrn.is_empty()
            && self.tokens.get(at + 1).is_none_or(|next| match (next.kind, next.gap) {
                (Kind::Word, _) => next.shape == Shape::Lower && self.shown(at + 1) != "of",
                (Kind::Sign(byte), Gap::None) => !matches!(byte, b'-' | b'/' | b'.' | b'(' | b'_'),
                (Kind::Sign(byte), _) => byte != b'(',
                (Kind::Number | Kind::Mixed, _) => false,
            })
    }

    fn found(&mut self, first: usize, after: usize, class: Class, confidence: u8) -> Option<usize> {
        let (first, last) = (self.tokens.get(first)?, self.tokens.get(after.checked_sub(1)?)?);
        self.spans.push(Span { start: first.start, end: last.end, class, confidence });
        Some(after)
    }

    fn site_record(&mut self, at: usize) -> Option<usize> {
        if self.mrn.is_empty() {
            return None;
        }
        let start = self.tokens.get(at)?.start;
        let rest = self.text.as_bytes().get(start..)?;
        let pattern = self.mrn.iter().find(|pattern| pattern.matches(rest))?;
        let end = start + pattern.form.len();
        if self.text.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        self.spans.push(Span { start, end, class: Class::Mrn, confidence: 95 });
        Some(at + self.tokens.iter().skip(at).take_while(|token| token.start < end).count())
    }

    fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn flags(&self, at: usize) -> Flags {
        self.tokens.get(at).map_or(Flags::NONE, |token| token.flags)
    }

    fn shown(&self, at: usize) -> &str {
        self.tokens.get(at).and_then(|token| self.text.get(token.start..token.end)).unwrap_or_default()
    }

    /// Whether the token follows the one before without a gap.
    fn glued(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.gap == Gap::None)
    }

    fn same_line(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.gap != Gap::Line)
    }

    /// Whether the token is this sign, glued to the one before.
    fn sign(&self, at: usize, byte: u8) -> bool {
        self.glued(at) && self.kind(at) == Some(Kind::Sign(byte))
    }

    /// The length and value of a number of up to 18 digits.
    fn value(&self, at: usize) -> Option<(usize, u64)> {
        let token = self.tokens.get(at).filter(|token| token.kind == Kind::Number)?;
        let length = token.end - token.start;
        (length <= 18).then_some((length, token.hash))
    }

    /// Whether one of up to `count` words before the token, on the same line, has one of the properties.
    fn recent(&self, at: usize, count: usize, flags: Flags) -> bool {
        let mut place = at;
        for _ in 0..count {
            if !self.same_line(place) || place == 0 {
                return false;
            }
            place -= 1;
            if self.flags(place).any(flags) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
