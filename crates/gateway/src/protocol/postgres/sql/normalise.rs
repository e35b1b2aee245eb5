//! Takes the literals out of a statement: `WHERE id = 12345` becomes `WHERE id = $1`.
//!
//! Works on the text, by the rules of PostgreSQL's scanner (`scan.l`) for `standard_conforming_strings = on`, so that
//! *every* string, number and bit string is taken out, wherever the grammar allows one. Comments go, white space
//! becomes one space; identifiers stay, cut at the 63 bytes that PostgreSQL keeps of them. A name in double quotes that the
//! resource does not have is taken out as well: `WHERE name = "Miller"` is a slip, and a patient's name. So are the bare words that a setting of
//! somebody's own is set to.
//!
//! # Encoding of the literals
//!
//! One entry per literal, in the order of the text; the first has the number after the highest `$n` the client wrote.
//! An entry is a LEB128 number and then that number minus one bytes of UTF-8: the literal as it was written, quotes
//! and all. The number 0 stands for a literal that was withheld because it may be a password.

use std::ops::Range;

/// PostgreSQL keeps this many bytes of an identifier.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// What a text consists of, apart from white space and comments, which are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// A string, number or bit string, with its prefix and all its continuations.
    Literal,
    /// `$n`.
    Parameter,
    /// A name or keyword, bare or quoted.
    Word,
    /// One character of an operator or of punctuation.
    Mark,
}

/// A statement without its literals, and the literals.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Normalised {
    pub(super) statement: Box<str>,
    pub(super) literals: Box<[u8]>,
    /// At least one literal was withheld.
    pub(super) withheld: bool,
}

/// Part of a text, and what may be kept of its literals.
pub(super) struct Part {
    pub(super) range: Range<usize>,
    pub(super) secret: super::statement::Secret,
    /// It sets a setting of somebody's own: bare words behind `=` or `TO` are values too.
    pub(super) sets: bool,
}

/// Finds the bare words that are values: `SET app.patient = miller`.
struct Values<I: Iterator<Item = Range<usize>>> {
    parts: std::iter::Peekable<I>,
    /// The name of the setting is behind.
    begun: bool,
}

impl<I: Iterator<Item = Range<usize>>> Values<I> {
    fn has(&mut self, token: Token, source: &str, at: usize) -> bool {
        while self.parts.next_if(|part| part.end <= at).is_some() {
            self.begun = false;
        }
        if !self.parts.peek().is_some_and(|part| part.contains(&at)) {
            return false;
        }
        let begun = self.begun;
        self.begun |= source == "=" || source.eq_ignore_ascii_case("to");
        begun && token == Token::Word && !source.eq_ignore_ascii_case("default")
    }
}

/// Normalises `text`; literals in secret parts, given in order, are withheld. The statement is cut at `bytes_max`.
/// `is_name` tells whether the resource has something of that name.
pub(super) fn normalise(
    text: &str,
    parts: &[Part],
    bytes_max: usize,
    is_name: impl Fn(&str) -> bool,
) -> Normalised {
    let mut withheld = parts.iter().filter(|part| is_secret(text, part)).map(|part| &part.range).peekable();
    let sets = parts.iter().filter(|part| part.sets).map(|part| part.range.clone());
    let mut values = Values { parts: sets.peekable(), begun: false };
    let mut number = highest_parameter(text);
    let mut out = String::with_capacity(text.len().min(bytes_max).saturating_add(16));
    let mut literals = Vec::new();
    let mut any_withheld = false;
    let mut end = 0;
    let mut is_full = false;
    let mut scanner = Scanner::new(text);
    while let Some((token, range)) = scanner.next() {
        is_full = is_full || out.len() >= bytes_max;
        if range.start > end && !out.is_empty() && !is_full {
            out.push(' ');
        }
        end = range.end;
        let source = text.get(range.clone()).unwrap_or_default();
        let value = values.has(token, source, range.start);
        let slip = token == Token::Word && !is_plain_name(source, &is_name);
        let token = if value || slip { Token::Literal } else { token };
        if token == Token::Literal {
            number = number.saturating_add(1);
            while withheld.next_if(|part| part.end <= range.start).is_some() {}
            let is_withheld = withheld.peek().is_some_and(|part| part.contains(&range.start));
            any_withheld |= is_withheld;
            push_literal(&mut literals, (!is_withheld).then_some(source));
        }
        if is_full {
            continue;
        }
        match token {
            Token::Literal => push_number(&mut out, number),
            Token::Word if source.len() > IDENTIFIER_BYTES_MAX.saturating_add(2) => {
                out.push_str(cut(source, IDENTIFIER_BYTES_MAX));
                out.push('…');
            }
            Token::Word | Token::Parameter | Token::Mark => out.push_str(source),
        }
    }
    if is_full || out.len() > bytes_max {
        out.truncate(cut(&out, bytes_max).len());
        out.push_str(" …");
    }
    Normalised { statement: out.into(), literals: literals.into(), withheld: any_withheld }
}

/// Tells whether a word is written without quotes, or is a name of the resource.
fn is_plain_name(word: &str, is_name: impl Fn(&str) -> bool) -> bool {
    match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some(quoted) => is_name(&quoted.replace("\"\"", "\"")),
        // `U&"…"` spells a name in another way.
        None => !word.ends_with('"') || is_name(word),
    }
}

/// Tells whether the literals of `part` must not be kept.
fn is_secret(text: &str, part: &Part) -> bool {
    use super::statement::Secret;
    match part.secret {
        Secret::No => false,
        Secret::Yes => true,
        Secret::Suspect => {
            let source = text.get(part.range.clone()).unwrap_or_default();
            ["password", "passwd", "secret", "pgpass", "identified by"]
                .iter()
                .any(|word| has_word(source, word))
        }
    }
}

/// Finds `word`, given in lower case, in any case.
fn has_word(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

fn highest_parameter(text: &str) -> u32 {
    if !text.contains('$') {
        return 0;
    }
    let mut highest = 0;
    let mut scanner = Scanner::new(text);
    while let Some((token, range)) = scanner.next() {
        if token == Token::Parameter {
            let digits = text.get(range).and_then(|source| source.strip_prefix('$'));
            highest = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0).max(highest);
        }
    }
    highest
}

fn push_number(out: &mut String, number: u32) {
    use std::fmt::Write as _;
    out.push('$');
    if let Some(digit) = (number < 10).then(|| char::from_digit(number, 10)).flatten() {
        out.push(digit);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(out, "{number}");
    }
}

pub(super) fn push_literal(literals: &mut Vec<u8>, source: Option<&str>) {
    const MORE: u8 = 0x80;
    let mut length = source.map_or(0, |source| source.len().saturating_add(1));
    loop {
        let low = u8::try_from(length & 0x7f).expect("seven bits fit a byte");
        length >>= 7;
        if length == 0 {
            literals.push(low);
            break;
        }
        literals.push(low | MORE);
    }
    literals.extend_from_slice(source.unwrap_or_default().as_bytes());
}

/// Returns the longest start of `text` of at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// Cuts a text that PostgreSQL's parser has accepted into tokens. On other text it ends early or late, never panics.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Scanner<'a> {
        Scanner { bytes: text.as_bytes(), at: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at.saturating_add(ahead)).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, is: impl Fn(u8) -> bool) {
        while self.at < self.bytes.len() && is(self.peek(0)) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<(Token, Range<usize>)> {
        self.skip_space();
        if self.at >= self.bytes.len() {
            return None;
        }
        let start = self.at;
        let token = self.token();
        Some((token, start..self.at))
    }

    fn token(&mut self) -> Token {
        match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'\'', _, _) => self.string(0, false),
            (b'e' | b'E', b'\'', _) => self.string(1, true),
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', _) => self.string(1, false),
            (b'u' | b'U', b'&', b'\'') => self.string(2, false),
            (b'u' | b'U', b'&', b'"') => self.quoted_name(2),
            (b'"', _, _) => self.quoted_name(0),
            (b'$', b'0'..=b'9', _) => {
                self.at += 1;
                self.skip_while(|b| b.is_ascii_digit());
                Token::Parameter
            }
            (b'$', next, _) if next == b'$' || is_name_start(next) => self.dollar_string(),
            (b'0'..=b'9', _, _) | (b'.', b'0'..=b'9', _) => self.number(),
            (first, _, _) if is_name_start(first) => {
                self.skip_while(|b| is_name_start(b) || b.is_ascii_digit() || b == b'$');
                Token::Word
            }
            _ => {
                self.at += 1;
                Token::Mark
            }
        }
    }

    fn skip_space(&mut self) {
        loop {
            self.skip_while(is_space);
            match (self.peek(0), self.peek(1)) {
                (b'-', b'-') => self.skip_while(|b| b != b'\n' && b != b'\r'),
                (b'/', b'*') => self.skip_comment(),
                _ => return,
            }
        }
    }

    /// `/* … */`, which nest.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth = depth.saturating_sub(1);
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// `'…'`, with all that continues it on further lines.
    fn string(&mut self, prefix: usize, escapes: bool) -> Token {
        self.at += prefix;
        loop {
            self.at += 1;
            self.string_body(escapes);
            let end = self.at;
            if !self.skip_to_continuation() {
                self.at = end.min(self.bytes.len());
                return Token::Literal;
            }
        }
    }

    /// From after the opening quote to after the closing one.
    fn string_body(&mut self, escapes: bool) {
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'\\', _) if escapes => self.at += 2,
                (b'\'', b'\'') => self.at += 2,
                (b'\'', _) => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    /// Moves to a quote that continues the string: after white space or `--` comments with a line end among them.
    fn skip_to_continuation(&mut self) -> bool {
        let mut has_line_end = false;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'\n' | b'\r', _) => {
                    has_line_end = true;
                    self.at += 1;
                }
                (b'-', b'-') => self.skip_while(|b| b != b'\n' && b != b'\r'),
                (b'\'', _) => return has_line_end,
                (space, _) if is_space(space) => self.at += 1,
                _ => return false,
            }
        }
    }

    /// `"…"`, where `""` stands for one quote.
    fn quoted_name(&mut self, prefix: usize) -> Token {
        self.at += prefix + 1;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'"', b'"') => self.at += 2,
                (b'"', _) => {
                    self.at += 1;
                    break;
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.bytes.len());
        Token::Word
    }

    /// `$tag$ … $tag$`.
    fn dollar_string(&mut self) -> Token {
        let start = self.at;
        self.at += 1;
        self.skip_while(|b| is_name_start(b) || b.is_ascii_digit());
        if self.peek(0) != b'$' {
            self.at = start + 1;
            return Token::Mark;
        }
        self.at += 1;
        let tag = self.bytes.get(start..self.at).unwrap_or_default();
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // Only a `$` can begin the closing tag, so look at those alone.
        let mut from = 0;
        while let Some(dollar) = rest.get(from..).and_then(|tail| tail.iter().position(|b| *b == b'$')) {
            let found = from + dollar;
            if rest.get(found..).is_some_and(|tail| tail.starts_with(tag)) {
                self.at += found + tag.len();
                return Token::Literal;
            }
            from = found + 1;
        }
        self.at = self.bytes.len();
        Token::Literal
    }

    /// `1`, `1_000`, `1.5`, `.5`, `1e-3`, `0xff`; not the second dot of `1..10`.
    fn number(&mut self) -> Token {
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X' | b'o' | b'O' | b'b' | b'B') {
            self.at += 2;
            self.skip_while(|b| b.is_ascii_hexdigit() || b == b'_');
            return Token::Literal;
        }
        self.skip_while(is_digit);
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.skip_while(is_digit);
        }
        let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + sign).is_ascii_digit() {
            self.at += 1 + sign;
            self.skip_while(is_digit);
        }
        Token::Literal
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'_'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Reads the encoding of the literals back; `None` stands for one that was withheld.
#[cfg(test)]
pub(super) fn decode(mut literals: &[u8]) -> Option<Vec<Option<&str>>> {
    let mut all = Vec::new();
    while !literals.is_empty() {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let (byte, rest) = literals.split_first()?;
            literals = rest;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some(bytes) = length.checked_sub(1) else {
            all.push(None);
            continue;
        };
        let (source, rest) = literals.split_at_checked(bytes)?;
        literals = rest;
        all.push(Some(std::str::from_utf8(source).ok()?));
    }
    Some(all)
}
