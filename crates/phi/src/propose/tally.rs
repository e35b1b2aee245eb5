//! What a sample of a column looks like, in numbers. The values themselves are looked at and forgotten.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::Class;
use crate::detect::{Budget, Detector, Features, Scratch, Span};

/// Bytes looked at for one cell; the rest of a longer one is not.
const CELL_BYTES_MAX: usize = 4 << 10;
/// Different values are counted up to here: a column with more is no list of codes.
const DISTINCT_MAX: usize = 32;
/// A cell is as a whole what so many percent of its letters and digits are.
const WHOLE_PERCENT: usize = 80;

/// What a sample of one column looks like.
#[derive(Debug)]
pub struct Tally {
    filled: u32,
    whole: [u32; Class::ALL.len()],
    within: u32,
    words: u64,
    longest: usize,
    digits_max: usize,
    distinct: BTreeSet<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            filled: 0,
            whole: [0; Class::ALL.len()],
            within: 0,
            words: 0,
            longest: 0,
            digits_max: 0,
            distinct: BTreeSet::new(),
        }
    }
}

/// The detectors with their buffers, for one sample after the other.
#[derive(Debug, Default)]
pub struct Sampler {
    detector: Detector,
    scratch: Scratch,
}

impl Sampler {
    /// Counts a cell, as its type writes it in text.
    pub fn count(&mut self, tally: &mut Tally, value: &str) {
        let end = value.floor_char_boundary(CELL_BYTES_MAX);
        let value = value.get(..end).unwrap_or_default().trim();
        if value.is_empty() {
            return;
        }
        tally.filled += 1;
        tally.words += value.split_whitespace().count() as u64;
        tally.longest = tally.longest.max(value.chars().count());
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        tally.digits_max = tally.digits_max.max(digits);
        if tally.distinct.len() <= DISTINCT_MAX {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            tally.distinct.insert(hasher.finish());
        }
        // Nothing is expected of a column here: what its name says is counted apart.
        let mut budget = Budget::new(u64::MAX);
        match self.detector.find(value, &Features::none(), &mut budget, &mut self.scratch) {
            Ok([]) => {}
            Ok(spans) => match whole(value, spans) {
                Some(class) => tally.count_whole(class),
                None => tally.within += 1,
            },
            // What cannot be looked into is not known to be harmless.
            Err(_) => tally.within += 1,
        }
    }
}

/// Returns the class that a cell is as a whole.
fn whole(value: &str, spans: &[Span]) -> Option<Class> {
    let letters = |text: &str| text.chars().filter(|character| character.is_alphanumeric()).count();
    let covered = |span: &Span| letters(value.get(span.start..span.end).unwrap_or_default());
    let all: usize = spans.iter().map(covered).sum();
    let most = spans.iter().max_by_key(|span| covered(span))?;
    (all * 100 >= letters(value) * WHOLE_PERCENT).then_some(most.class)
}

impl Tally {
    fn count_whole(&mut self, class: Class) {
        if let Some(count) = self.whole.get_mut(class as usize - 1) {
            *count += 1;
        }
    }

    /// Returns how many cells held something.
    pub fn filled(&self) -> u32 {
        self.filled
    }

    /// Returns the class that most cells look like, and how many do.
    pub fn most(&self) -> Option<(Class, u32)> {
        let counted = Class::ALL.into_iter().zip(self.whole).filter(|(_, cells)| *cells > 0);
        counted.max_by_key(|(_, cells)| *cells)
    }

    /// Returns in how many cells anything was found.
    pub fn found(&self) -> u32 {
        self.whole.iter().sum::<u32>() + self.within
    }

    /// Returns how many different values there were; `None` where there were many.
    pub fn distinct(&self) -> Option<usize> {
        Some(self.distinct.len()).filter(|distinct| *distinct <= DISTINCT_MAX)
    }

    pub(super) fn evidence(&self, class: Class) -> Option<String> {
        let cells = self.whole.get(class as usize - 1).copied().filter(|cells| *cells > 0)?;
        Some(format!("{cells} of {} sampled look like it", self.filled))
    }

    pub(super) fn words_mean(&self) -> u64 {
        self.words.checked_div(u64::from(self.filled)).unwrap_or(0)
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn digits_max(&self) -> usize {
        self.digits_max
    }
}
