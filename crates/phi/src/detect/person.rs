//! Names in free text: by lists, by what stands before and after, and by how they are written.

use super::lexicon::{Flags, nameness, technical};
use super::token::{Gap, Kind, Shape, Token, Tokens};
use super::{Finder, Span};
use crate::Class;

/// Words of one name at most.
const NAME_WORDS_MAX: usize = 6;
/// Above this an unknown word is taken for a name also where a capital says nothing.
const NAMENESS_SURE: i32 = 100;
/// Names of one text that are looked for again.
const NAMES_MAX: usize = 64;

/// Words in a row that are written like a name.
struct Run {
    after: usize,
    words: u8,
    /// Words that are on the lists of names.
    listed: u8,
    /// Words that are on no list at all.
    unknown: u8,
    /// All in capitals.
    upper: bool,
}

/// What stands before a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Title,
    /// A relative, a role, `by`, `name`.
    Announced,
    Sentence,
    Middle,
}

impl Finder<'_> {
    /// A name that begins at a word, or an age in words.
    pub(super) fn person(&mut self, at: usize) -> Option<usize> {
        let token = self.tokens.get(at)?;
        match token.shape {
            Shape::Capital | Shape::Upper | Shape::Initial => self.capital(at),
            Shape::Lower if token.flags.any(Flags::NAME) => self.lower(at),
            Shape::Lower if token.flags.any(Flags::RELATIVE) => self.relative(at),
            Shape::Lower | Shape::Other if token.flags.any(Flags::AGE) => self.spelled_age(at),
            Shape::Lower | Shape::Other => None,
        }
    }

    fn capital(&mut self, at: usize) -> Option<usize> {
        if self.flags(at).any(Flags::TITLE) && self.same_line(at + 1) {
            return None;
        }
        // The end of `Wolff-Parkinson-White`, of which the start was no name.
        if self.glued(at) && at > 0 && matches!(self.kind(at - 1), Some(Kind::Sign(b'-' | b'_'))) {
            return None;
        }
        let before = self.before(at);
        let strong = matches!(before, Before::Title | Before::Announced);
        let run = self.run(at, strong)?;
        let confidence = self.confidence(at, &run, before)?;
        self.found(at, run.after, Class::Name, confidence)
    }

    /// `mr. garcia`, `maria garcia`: only what is on the lists and no ordinary word.
    fn lower(&mut self, at: usize) -> Option<usize> {
        let known = |place: usize, of: Flags| {
            let flags = self.flags(place);
            flags.any(of) && !flags.any(Flags::ORDINARY)
        };
        if !known(at, Flags::NAME) {
            return None;
        }
        let pair = known(at, Flags::GIVEN)
            && known(at + 1, Flags::FAMILY)
            && self.tokens.get(at + 1).is_some_and(|t| t.gap == Gap::Blank);
        let announced = matches!(self.before(at), Before::Title | Before::Announced);
        match (pair, announced) {
            (true, _) => self.found(at, at + 2, Class::Name, 60),
            (false, true) => self.found(at, at + 1, Class::Name, 60),
            (false, false) => None,
        }
    }

    /// `neighbor xiuying found`: an unknown word in lower case right after a relative.
    fn relative(&mut self, at: usize) -> Option<usize> {
        let next = self.tokens.get(at + 1)?;
        let unknown = next.kind == Kind::Word && next.shape == Shape::Lower && next.flags == Flags::NONE;
        let shown = self.shown(at + 1);
        let named = unknown && next.gap == Gap::Blank && shown.len() > 3 && nameness(shown) > NAMENESS_SURE;
        named.then(|| self.found(at + 1, at + 2, Class::Name, 55)).flatten()
    }

    fn before(&self, at: usize) -> Before {
        let Some(mut place) = at.checked_sub(1) else { return Before::Sentence };
        let line = !self.same_line(at);
        let mut colon = false;
        let mut comma = false;
        for _ in 0..3 {
            match self.kind(place) {
                Some(Kind::Sign(b'.'))
                    if self.flags(place.wrapping_sub(1)).any(Flags::TITLE) && self.glued(place) => {}
                Some(Kind::Sign(b':' | b'=')) => colon = true,
                Some(Kind::Sign(b',')) => comma = true,
                Some(Kind::Sign(b'(' | b'"' | b'-' | b'#' | b'>')) => {}
                Some(Kind::Word)
                    if matches!(self.shown(place), "is" | "was" | "named" | "called") && place > 0 => {}
                _ => break,
            }
            match place.checked_sub(1) {
                Some(earlier) => place = earlier,
                None => break,
            }
        }
        let flags = self.flags(place);
        // `Petaluma, MS. Images`: Mississippi, not Ms.
        let state = self.shown(place).len() == 2
            && flags.any(Flags::STATE)
            && place > 0
            && self.kind(place - 1) == Some(Kind::Sign(b','));
        if flags.any(Flags::TITLE) && !line && !comma && !state {
            return Before::Title;
        }
        if flags.any(Flags::BEFORE_NAME.with(Flags::CREDENTIAL)) && (!line || colon) {
            return Before::Announced;
        }
        let ends = matches!(
            self.kind(at - 1),
            Some(Kind::Sign(
                b'.' | b'!' | b'?' | b':' | b';' | b'*' | b'-' | b'"' | b'>' | b'{' | b'[' | b')' | 0
            ))
        );
        if line || (ends && !self.glued(at)) { Before::Sentence } else { Before::Middle }
    }

    /// Collects the words of a name from `at`.
    fn run(&self, at: usize, strong: bool) -> Option<Run> {
        let mut run = Run { after: at, words: 0, listed: 0, unknown: 0, upper: true };
        let (mut place, mut comma) = (at, false);
        while run.words < u8::try_from(NAME_WORDS_MAX).unwrap_or(u8::MAX) {
            let Some(token) = self.tokens.get(place) else { break };
            if token.gap == Gap::Line && place > at {
                break;
            }
            if let Some(listed) = self.name_word(place, strong, run.words) {
                run.words += 1;
                run.listed += u8::from(listed);
                let initial = token.shape == Shape::Initial;
                run.unknown += u8::from(!listed && !initial && !token.flags.any(Flags::ORDINARY));
                run.upper &= matches!(token.shape, Shape::Upper | Shape::Initial);
                run.after = place + 1;
                let initial_dot = token.shape == Shape::Initial && self.sign(place + 1, b'.');
                place = if initial_dot { place + 2 } else { place + 1 };
                if initial_dot {
                    run.after = place;
                }
                continue;
            }
            let next_is_name =
                |next: usize| self.same_line(next) && self.name_word(next, strong, run.words).is_some();
            let joins = match token.kind {
                Kind::Word => {
                    token.shape == Shape::Lower && token.flags.any(Flags::PARTICLE) && run.words > 0
                }
                Kind::Sign(b'-') => token.gap == Gap::None && self.glued(place + 1) && run.words > 0,
                Kind::Sign(b',') if !comma && run.words == 1 => {
                    comma = true;
                    self.last_first(at, place + 1, strong)
                }
                _ => false,
            };
            let second_particle =
                joins && self.flags(place + 1).any(Flags::PARTICLE) && next_is_name(place + 2);
            if !joins || !(next_is_name(place + 1) || second_particle) {
                break;
            }
            place += if second_particle { 2 } else { 1 };
        }
        (run.words > 0).then_some(run)
    }

    /// Whether a comma stands between a family name and a given name.
    fn last_first(&self, last: usize, first: usize, strong: bool) -> bool {
        let (last, first) = (self.flags(last), self.flags(first));
        let given = first.any(Flags::GIVEN) && !first.any(Flags::ORDINARY);
        strong || (given && !last.any(Flags::ORDINARY.with(Flags::STATE).with(Flags::MONTH)))
    }

    /// Whether a word is written like part of a name, and if so whether it is on a list.
    fn name_word(&self, at: usize, strong: bool, words: u8) -> Option<bool> {
        let token = self.tokens.get(at).filter(|token| token.kind == Kind::Word)?;
        let flags = token.flags;
        let listed = flags.any(Flags::NAME);
        let ordinary = flags.any(Flags::ORDINARY) && !listed;
        let shown = self.shown(at);
        let written = match token.shape {
            Shape::Capital => true,
            Shape::Upper => {
                (listed && shown.len() > 2) || (strong && shown.len() > 2 && !flags.any(Flags::CREDENTIAL))
            }
            Shape::Initial => {
                words > 0
                    || (flags.any(Flags::PARTICLE) && self.is_name_next(at + 1))
                    || (self.sign(at + 1, b'.') && self.is_name_next(at + 2))
            }
            Shape::Lower | Shape::Other => false,
        };
        let suffix = words > 0 && matches!(shown, "Jr" | "Sr" | "II" | "III" | "IV");
        let month_day = flags.any(Flags::MONTH) && self.kind(at + 1) == Some(Kind::Number);
        let credential = flags.any(Flags::CREDENTIAL) && token.shape == Shape::Upper;
        let title = flags.any(Flags::TITLE) && !listed;
        let fits = (written && !ordinary && !credential && !title && !month_day) || suffix;
        (fits && !self.eponym(at, words)).then_some(listed)
    }

    fn is_name_next(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| {
            let ordinary = token.flags.any(Flags::ORDINARY) && !token.flags.any(Flags::NAME);
            token.shape == Shape::Capital && token.gap != Gap::Line && !ordinary
        })
    }

    /// `Hodgkin lymphoma`, `Foley catheter`: a name that names no person here.
    fn eponym(&self, at: usize, words: u8) -> bool {
        let tail = |place: usize| self.flags(place).any(Flags::AFTER_EPONYM) && self.same_line(place);
        let hyphenated = self.sign(at + 1, b'-') && self.glued(at + 2);
        words == 0 && (tail(at + 1) || (hyphenated && tail(at + 3)))
    }

    fn confidence(&self, at: usize, run: &Run, before: Before) -> Option<u8> {
        let flags = self.flags(at);
        let ambiguous = flags.any(Flags::ORDINARY);
        let credential = self.credential_after(run.after);
        let verb = self.flags(run.after).any(Flags::AFTER_NAME) && self.same_line(run.after);
        if run.words == 1 && flags.any(Flags::STATE) && !flags.any(Flags::NAME) {
            return None;
        }
        let several = run.words >= 2;
        let announced = matches!(before, Before::Title | Before::Announced);
        if flags.any(Flags::MONTH) && !several && !announced {
            return None;
        }
        let confidence = match before {
            Before::Title => 95,
            Before::Announced if several || run.listed > 0 => 85,
            Before::Announced if !technical(self.shown(at)) => 70,
            _ if credential && (run.listed > 0 || run.unknown > 0) => 90,
            _ if run.upper && run.listed < 2 => return None,
            _ if several && run.listed > 0 => {
                if ambiguous && run.words == run.listed {
                    70
                } else {
                    85
                }
            }
            Before::Middle if several => 65,
            Before::Sentence if several && run.unknown >= 2 => 55,
            // `White`, `Cross`: an ordinary word that is a family name too says too little alone.
            Before::Middle if ambiguous && !flags.any(Flags::GIVEN) => return None,
            Before::Middle if run.listed > 0 => {
                if ambiguous {
                    55
                } else {
                    70
                }
            }
            Before::Sentence if run.listed > 0 && !ambiguous => 60,
            Before::Sentence if verb && run.listed > 0 => 60,
            _ if !several && !ambiguous && matches!(self.shown(run.after), "family" | "household") => 70,
            Before::Sentence if verb && run.unknown > 0 => self.unknown(at)?,
            Before::Sentence if run.unknown > 0 && nameness(self.shown(at)) > NAMENESS_SURE => {
                self.unknown(at)?
            }
            Before::Middle => self.unknown(at)?,
            Before::Announced | Before::Sentence => return None,
        };
        Some(confidence)
    }

    /// One unknown word with a capital where none is due: a name, unless it looks like a term or a brand.
    fn unknown(&self, at: usize) -> Option<u8> {
        let shown = self.shown(at);
        let article = at.checked_sub(1).is_some_and(|before| {
            matches!(
                self.shown(before),
                "the" | "The" | "a" | "an" | "A" | "An" | "of" | "on" | "taking" | "started" | "mg"
            ) && self.kind(before) == Some(Kind::Word)
        });
        let term = technical(shown);
        let dosed = matches!(self.kind(at + 1), Some(Kind::Number | Kind::Mixed));
        let place = self.flags(at).any(Flags::STATE.with(Flags::PLACE).with(Flags::STREET));
        let long = shown.chars().count() >= 3;
        (long && !article && !term && !dosed && !place).then_some(52)
    }

    /// `, MD`
    fn credential_after(&self, at: usize) -> bool {
        let place = if self.kind(at) == Some(Kind::Sign(b',')) { at + 1 } else { at };
        let token = self.tokens.get(place);
        token.is_some_and(|token| {
            let dotted = matches!(self.shown(place), "M" | "D" | "R" | "N" | "P")
                && self.sign(place + 1, b'.')
                && place > at;
            token.gap != Gap::Line
                && (token.shape == Shape::Upper && token.flags.any(Flags::CREDENTIAL)
                    || matches!(self.shown(place), "PhD" | "PharmD" | "PsyD")
                    || dotted)
        })
    }
}

/// Looks for the words of the names that were found once more: `Zofia` after `Zofia Nowak` was seen.
pub(super) fn propagate(text: &str, tokens: &Tokens, spans: &mut Vec<Span>, names: &mut Vec<u64>) {
    names.clear();
    let capital =
        |token: &Token| token.kind == Kind::Word && matches!(token.shape, Shape::Capital | Shape::Upper);
    for span in spans.iter().filter(|span| span.class == Class::Name && span.confidence >= 60) {
        let first = tokens.all.partition_point(|token| token.start < span.start);
        let within = tokens.all.iter().skip(first).take_while(|token| token.end <= span.end);
        for token in within.filter(|token| capital(token)) {
            let ordinary = token.flags.any(Flags::ORDINARY);
            let long = text.get(token.start..token.end).is_some_and(|word| word.chars().count() > 2);
            if !ordinary && long && names.len() < NAMES_MAX && !names.contains(&token.hash) {
                names.push(token.hash);
            }
        }
    }
    if names.is_empty() {
        return;
    }
    // One bit for each name: most other words are told apart without looking through them.
    let bit = |hash: u64| 1_u64 << (hash >> 58);
    let bits = names.iter().fold(0, |bits, hash| bits | bit(*hash));
    let known = spans.len();
    let mut next = 0;
    spans.sort_unstable_by_key(|span| span.start);
    let active = tokens.active.iter().filter_map(|place| tokens.all.get(*place));
    for token in
        active.filter(|token| bits & bit(token.hash) != 0 && capital(token) && names.contains(&token.hash))
    {
        while next < known && spans.get(next).is_some_and(|span| span.end <= token.start) {
            next += 1;
        }
        let covered = next < known && spans.get(next).is_some_and(|span| span.start <= token.start);
        if !covered {
            spans.push(Span { start: token.start, end: token.end, class: Class::Name, confidence: 75 });
        }
    }
}
