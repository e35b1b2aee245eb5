//! A text as words, numbers and signs: one pass, without copying.

use super::lexicon::{self, Flags, Lexicon};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, with an apostrophe inside.
    Word,
    /// Digits.
    Number,
    /// Letters and digits.
    Mixed,
    /// One other character; its byte, or 0 beyond ASCII.
    Sign(u8),
}

/// How a word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Lower,
    /// One capital first, such as `Mary`, `McKay`, `O'Brien`.
    Capital,
    /// All capitals, two or more.
    Upper,
    /// One capital letter alone.
    Initial,
    Other,
}

/// What stands before a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    None,
    Blank,
    Line,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) start: usize,
    /// Without a possessive `'s`.
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    pub(super) gap: Gap,
    pub(super) flags: Flags,
    /// Of a word the hash of its lower case; of a number its value, as far as it fits.
    pub(super) hash: u64,
}

/// A text taken apart.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) all: Vec<Token>,
    /// Those at which something may begin: all words with a capital are among them.
    pub(super) active: Vec<usize>,
    /// Those long enough to be part of an encoded run.
    pub(super) long: Vec<usize>,
}

/// The length from which a token counts as long.
const LONG: usize = 8;

impl Tokens {
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.active.clear();
        self.long.clear();
    }

    /// Measured: as a call of its own this took an eighth of the whole search.
    #[inline(always)]
    fn push(&mut self, token: Token) {
        let place = self.all.len();
        let idle = match token.kind {
            Kind::Word => token.shape == Shape::Lower && !token.flags.any(Flags::BEGINS),
            Kind::Sign(byte) => byte != b'(' && byte != b'+',
            Kind::Number | Kind::Mixed => false,
        };
        if !idle {
            self.active.push(place);
        }
        if token.end - token.start >= LONG {
            self.long.push(place);
        }
        self.all.push(token);
    }
}

/// What a byte that begins no word of ASCII is, by number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Space,
    Line,
    Sign,
    High,
}

#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated by the compiler")]
const BYTES: [Byte; 256] = {
    let mut table = [Byte::Sign; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\t' | 11 | 12 => Byte::Space,
            b'\n' | b'\r' => Byte::Line,
            0x80..=0xff => Byte::High,
            _ => Byte::Sign,
        };
        byte += 1;
    }
    table
};

/// Takes a text apart into `tokens`.
pub(super) fn tokens(text: &str, tokens: &mut Tokens) {
    let lexicon = Lexicon::get();
    let bytes = text.as_bytes();
    let (mut at, mut gap) = (0, Gap::Line);
    while let Some(byte) = bytes.get(at) {
        // Nearly always, in turns: asked for first, each is foreseen by the processor.
        if *byte == b' ' {
            gap = gap.max(Gap::Blank);
            at += 1;
            continue;
        }
        if byte.is_ascii_alphanumeric() {
            let after = ascii_word(text, at, gap, lexicon, tokens);
            at = after.unwrap_or_else(|| word(text, at, gap, lexicon, tokens));
            gap = Gap::None;
            continue;
        }
        match byte_class(*byte) {
            Byte::Space => {
                gap = gap.max(Gap::Blank);
                at += 1;
                continue;
            }
            Byte::Line => {
                gap = Gap::Line;
                at += 1;
                continue;
            }
            Byte::High => {
                let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) else { return };
                if character.is_whitespace() {
                    gap = gap.max(Gap::Blank);
                    at += character.len_utf8();
                    continue;
                }
                // This apostrophe counts as a letter, but begins no word.
                if !character.is_alphanumeric() || character == 'ʼ' {
                    tokens.push(sign(at, character.len_utf8(), 0, gap));
                    at += character.len_utf8();
                    gap = Gap::None;
                    continue;
                }
            }
            Byte::Sign => {
                tokens.push(sign(at, 1, *byte, gap));
                at += 1;
                gap = Gap::None;
                continue;
            }
        }
        let after = word(text, at, gap, lexicon, tokens);
        // INVARIANT: a word has at least the character that began it. Without progress this would never end.
        assert!(after > at, "a word without a character");
        at = after;
        gap = Gap::None;
    }
}

fn byte_class(byte: u8) -> Byte {
    BYTES.get(usize::from(byte)).copied().unwrap_or(Byte::Sign)
}

fn sign(start: usize, length: usize, byte: u8, gap: Gap) -> Token {
    let (kind, shape) = (Kind::Sign(byte), Shape::Other);
    Token { start, end: start + length, kind, shape, gap, flags: Flags::NONE, hash: 0 }
}

/// Reads a word or number of ASCII letters and digits only: nearly all of them. `None` where it is something else.
#[inline(always)]
fn ascii_word(text: &str, start: usize, gap: Gap, lexicon: &Lexicon, tokens: &mut Tokens) -> Option<usize> {
    let rest = text.as_bytes().get(start..)?;
    let Some(chunk) = rest.first_chunk::<8>() else {
        return long_word(rest, start, gap, lexicon, tokens);
    };
    let chunk = u64::from_le_bytes(*chunk);
    let eight = Eight::of(chunk);
    let held = eight.held();
    if held == 8 {
        return long_word(rest, start, gap, lexicon, tokens);
    }
    let stop = rest.get(held).copied().unwrap_or(0);
    if stop >= 0x80 || stop == b'\'' {
        return None;
    }
    let (upper, digit) = (eight.upper & below(held), eight.digit & below(held));
    let end = start + held;
    if digit == eight.part & below(held) {
        let hash = value_of(chunk, held);
        let (kind, shape, flags) = (Kind::Number, Shape::Lower, Flags::NONE);
        tokens.push(Token { start, end, kind, shape, gap, flags, hash });
        return Some(end);
    }
    let shape = if upper == 0 { Shape::Lower } else { shape_of(chunk, held, marked(upper), marked(digit)) };
    let kind = if digit == 0 { Kind::Word } else { Kind::Mixed };
    let hash = lexicon::mix_ascii(0, chunk, held);
    tokens.push(Token { start, end, kind, shape, gap, flags: lexicon.lookup(hash), hash });
    Some(end)
}

/// The shape of a word by its first letters and what is in it.
fn shape_of(first: u64, length: usize, upper: u32, digit: u32) -> Shape {
    let letters = u32::try_from(length).unwrap_or(u32::MAX) - digit;
    let is_upper = |byte: u64| (b'A'..=b'Z').contains(&byte.to_le_bytes()[0]);
    // Beyond ASCII digits are letters or not, never first: the shape is that of the letters alone.
    let (first_upper, second_upper) = (is_upper(first), is_upper(first >> 8) && length > 1);
    Count { lower: letters - upper, upper, digit, first_upper, second_upper }.shape()
}

/// The same for a word of any length, also where the text ends soon.
#[inline(never)]
fn long_word(rest: &[u8], start: usize, gap: Gap, lexicon: &Lexicon, tokens: &mut Tokens) -> Option<usize> {
    let (mut length, mut upper, mut digit, mut hash) = (0, 0, 0, 0);
    let mut first = 0;
    loop {
        let tail = rest.get(length..).unwrap_or_default();
        let chunk =
            tail.first_chunk::<8>().map_or_else(|| lexicon::load(tail), |eight| u64::from_le_bytes(*eight));
        let eight = Eight::of(chunk);
        let held = eight.held();
        if length == 0 {
            first = chunk;
        }
        upper += marked(eight.upper & below(held));
        digit += marked(eight.digit & below(held));
        hash = lexicon::mix_ascii(hash, chunk, held);
        length += held;
        if held < 8 {
            let stop = tail.get(held).copied().unwrap_or(0);
            if stop >= 0x80 || stop == b'\'' {
                return None;
            }
            break;
        }
    }
    let letters = u32::try_from(length).ok()? - digit;
    let end = start + length;
    let kind = Count { lower: letters - upper, upper, digit, ..Count::default() }.kind();
    let shape = shape_of(first, length, upper, digit);
    let (flags, hash) = match kind {
        Kind::Number if length <= 8 => (Flags::NONE, value_of(first, length)),
        Kind::Number => {
            let digits = rest.iter().take(length);
            let value = digits
                .fold(0_u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
            (Flags::NONE, value)
        }
        Kind::Word | Kind::Mixed | Kind::Sign(_) => (lexicon.lookup(hash), hash),
    };
    tokens.push(Token { start, end, kind, shape, gap, flags, hash });
    Some(end)
}

/// Eight bytes at once: of each byte that is a capital, a digit, or either a letter or a digit, the high bit.
struct Eight {
    upper: u64,
    digit: u64,
    part: u64,
}

/// The same byte eight times.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

const HIGH: u64 = eight(0x80);

/// The bits of the first `count` bytes, of at most 8.
fn below(count: usize) -> u64 {
    if count < 8 { (1 << (8 * count)) - 1 } else { u64::MAX }
}

/// Returns how many high bits are set, without the instruction for it, which not every processor has.
#[inline(always)]
fn marked(bits: u64) -> u32 {
    let [.., sum] = (bits >> 7).wrapping_mul(eight(1)).to_le_bytes();
    u32::from(sum)
}

impl Eight {
    /// Bytes beyond ASCII are none of them.
    #[inline(always)]
    fn of(bytes: u64) -> Eight {
        let low = bytes & !HIGH;
        // No byte of `low` is above 127, so that no sum below carries into the next.
        let from = |bytes: u64, first: u8| bytes + eight(0x80 - first);
        let between = |bytes: u64, first: u8, last: u8| from(bytes, first) & !from(bytes, last + 1);
        let ascii = HIGH & !bytes;
        let letter = between(low | eight(0x20), b'a', b'z') & ascii;
        let digit = between(low, b'0', b'9') & ascii;
        let upper = letter & !(bytes << 2);
        Eight { upper, digit, part: letter | digit }
    }

    /// Returns how many bytes from the first on are letters and digits.
    #[inline(always)]
    fn held(&self) -> usize {
        let other = !self.part & HIGH;
        usize::try_from(other.trailing_zeros() / 8).unwrap_or(8)
    }
}

/// Returns the number that up to eight digits write, which are the first bytes.
fn value_of(bytes: u64, length: usize) -> u64 {
    // The digits at the end, zeros before them; then pairs, fours and all of them are put together.
    let digits = (bytes << (64 - 8 * length)) & eight(0x0f);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

/// Counts of a word's letters.
#[derive(Default)]
struct Count {
    lower: u32,
    upper: u32,
    digit: u32,
    first_upper: bool,
    second_upper: bool,
}

impl Count {
    fn letter(&mut self, upper: bool) {
        match self.lower + self.upper {
            0 => self.first_upper = upper,
            1 => self.second_upper = upper,
            _ => {}
        }
        if upper { self.upper += 1 } else { self.lower += 1 }
    }

    fn kind(&self) -> Kind {
        match (self.lower + self.upper, self.digit) {
            (0, _) => Kind::Number,
            (_, 0) => Kind::Word,
            _ => Kind::Mixed,
        }
    }

    fn shape(&self) -> Shape {
        match (self.upper, self.lower) {
            (0, _) => Shape::Lower,
            (1, 0) => Shape::Initial,
            (_, 0) => Shape::Upper,
            // `McKay`, `O'Brien`, `DeShawn`: a second capital later, and not most of the word.
            (upper, lower) if self.first_upper && upper <= 2 && lower >= upper && !self.second_upper => {
                Shape::Capital
            }
            (2, lower) if self.first_upper && lower > 2 => Shape::Capital,
            _ => Shape::Other,
        }
    }
}

/// Reads one word or number from `start`, and returns where it ends.
fn word(text: &str, start: usize, gap: Gap, lexicon: &Lexicon, tokens: &mut Tokens) -> usize {
    let bytes = text.as_bytes();
    let mut count = Count::default();
    let mut at = start;
    // Where a possessive ending begins.
    let mut possessive = None;
    while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let length = character.len_utf8();
        if matches!(character, '\'' | '’' | 'ʼ') {
            let Some(is_possessive) = apostrophe(bytes, at, length, &count) else { break };
            possessive = is_possessive.then_some(at).or(possessive);
        } else if character.is_ascii_digit() {
            count.digit += 1;
        } else if character.is_alphanumeric() {
            count.letter(character.is_uppercase());
        } else {
            break;
        }
        at += length;
    }
    let kind = count.kind();
    let mut end = at;
    if let Some(place) = possessive.filter(|place| at - place <= 4) {
        end = place;
        count.lower -= count.lower.min(1);
    }
    let written = text.get(start..end).unwrap_or_default();
    let (flags, hash) = if kind == Kind::Number {
        (Flags::NONE, written.parse().unwrap_or(u64::MAX))
    } else {
        let hash = lexicon::hash(&written.to_lowercase().replace(['’', 'ʼ'], "'"));
        (lexicon.lookup(hash), hash)
    };
    tokens.push(Token { start, end, kind, shape: count.shape(), gap, flags, hash });
    at
}

/// Whether an apostrophe belongs to the word, and if so whether `'s` ends the word here.
fn apostrophe(bytes: &[u8], at: usize, length: usize, count: &Count) -> Option<bool> {
    if count.lower + count.upper == 0 {
        return None;
    }
    let next = bytes.get(at + length)?;
    if !next.is_ascii_alphabetic() && *next < 0x80 {
        return None;
    }
    let after = bytes.get(at + length + 1);
    let ends = after.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte < 0x80);
    Some(next.eq_ignore_ascii_case(&b's') && ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_are_what_they_are_one_by_one() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                let mut bytes = *b"aZ0m9xQ5";
                bytes[place] = byte;
                let eight = Eight::of(u64::from_le_bytes(bytes));
                for (at, byte) in bytes.iter().enumerate() {
                    let has = |bits: u64| bits >> (8 * at + 7) & 1 == 1;
                    assert_eq!(has(eight.upper), byte.is_ascii_uppercase(), "{byte:#x} at {at}");
                    assert_eq!(has(eight.digit), byte.is_ascii_digit(), "{byte:#x} at {at}");
                    assert_eq!(has(eight.part), byte.is_ascii_alphanumeric(), "{byte:#x} at {at}");
                }
                let held = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
                assert_eq!(eight.held(), held);
                assert_eq!((eight.upper | eight.digit | eight.part) & !HIGH, 0);
            }
        }
        for number in ["0", "7", "42", "007", "2026", "99999999", "12345678", "00000010"] {
            assert_eq!(value_of(lexicon::load(number.as_bytes()), number.len()), number.parse().unwrap());
            let more = format!("{number} and more");
            assert_eq!(value_of(lexicon::load(more.as_bytes()), number.len()), number.parse().unwrap());
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Kind, Shape)]) {
        let mut found = Tokens::default();
        tokens(text, &mut found);
        let found: Vec<_> = found.all.iter().map(|t| (&text[t.start..t.end], t.kind, t.shape)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn words_numbers_and_signs() {
        use Kind::{Mixed, Number, Sign, Word};
        check(
            "Mary's BP 120/80.",
            &[
                ("Mary", Word, Shape::Capital),
                ("BP", Word, Shape::Upper),
                ("120", Number, Shape::Lower),
                ("/", Sign(b'/'), Shape::Other),
                ("80", Number, Shape::Lower),
                (".", Sign(b'.'), Shape::Other),
            ],
        );
        check(
            "O’Brien McKay DeShawn",
            &[
                ("O’Brien", Word, Shape::Capital),
                ("McKay", Word, Shape::Capital),
                ("DeShawn", Word, Shape::Capital),
            ],
        );
        check(
            "Żółw é 1EG4 A",
            &[
                ("Żółw", Word, Shape::Capital),
                ("é", Word, Shape::Lower),
                ("1EG4", Mixed, Shape::Upper),
                ("A", Word, Shape::Initial),
            ],
        );
        check(
            "—x\u{a0}y'",
            &[
                ("—", Sign(0), Shape::Other),
                ("x", Word, Shape::Lower),
                ("y", Word, Shape::Lower),
                ("'", Sign(b'\''), Shape::Other),
            ],
        );
    }
}
