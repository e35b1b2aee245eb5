//! The shape of a text: what is left of it without its plain numbers and strings, found without parsing it.
//!
//! Clients write values into their texts, so that each text is new; but all texts of one shape mean the same
//! ([`super::Meaning::holds_for_any_literals`] tells when), and one of them is parsed.
//!
//! INVARIANT: PostgreSQL's scanner sees the same tokens in two texts of one shape, but for the values of the literals
//! taken out. That is why only what cannot be read in two ways has a shape: no comment, no quoted name, no escape, no
//! prefix of a string, no continuation, no parameter, nothing but ASCII. Every other text has none.

use super::normalise::push_literal;

/// Stands for a number. Neither of these bytes can be in a text that has a shape.
const NUMBER: u8 = 1;
/// Stands for a string.
const STRING: u8 = 2;
/// Longer numbers may be of another kind to the grammar.
const DIGITS_MAX: usize = 9;

/// A text without its literals, and these.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) text: Vec<u8>,
    /// In order, as `normalise` encodes them.
    pub(crate) literals: Vec<u8>,
}

impl Shape {
    /// Returns the shape of a text that has one and has literals.
    pub(crate) fn of(text: &str) -> Option<Shape> {
        let mut scan = Scan { rest: text, shape: Vec::with_capacity(text.len()), literals: Vec::new() };
        let mut before = Token::Space;
        let mut last = Token::Mark;
        while let Some(first) = scan.rest.bytes().next() {
            let token = scan.token(first)?;
            let joins = match token {
                // `e'…'`, `'…''…'`, `5'…'`; and a string behind a string may continue it.
                Token::String => before.is_joined() || last == Token::String,
                // `'…'5`, `.5`.
                Token::Number => before.is_joined() || before == Token::Dot,
                Token::Word => before == Token::Number || before == Token::String,
                Token::Dot => before == Token::Number,
                // `--`, `/*`.
                Token::Minus => before == Token::Minus,
                Token::Star => before == Token::Slash,
                Token::Slash | Token::Mark | Token::Space => false,
            };
            if joins {
                return None;
            }
            before = token;
            last = if token == Token::Space { last } else { token };
        }
        let Scan { rest: _, shape, literals } = scan;
        (!literals.is_empty()).then_some(Shape { text: shape, literals })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Space,
    Word,
    Number,
    String,
    Dot,
    Minus,
    Slash,
    Star,
    /// Another character that stands for itself or is part of an operator.
    Mark,
}

impl Token {
    /// Tells whether a literal right behind it may be part of the same token.
    fn is_joined(self) -> bool {
        matches!(self, Token::Word | Token::Number | Token::String)
    }
}

struct Scan<'a> {
    rest: &'a str,
    shape: Vec<u8>,
    literals: Vec<u8>,
}

impl Scan<'_> {
    /// Moves behind the next token.
    fn token(&mut self, first: u8) -> Option<Token> {
        let token = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = self.length(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                self.keep(length);
                return Some(Token::Word);
            }
            b'0'..=b'9' => {
                let length = self.length(|byte| byte.is_ascii_digit());
                self.take(length, NUMBER)?;
                return (length <= DIGITS_MAX).then_some(Token::Number);
            }
            b'\'' => {
                let inside = self.rest.bytes().skip(1).take_while(|byte| is_plain(*byte)).count();
                let quote = self.rest.as_bytes().get(inside + 1) == Some(&b'\'');
                self.take(inside + 2, STRING)?;
                return quote.then_some(Token::String);
            }
            b' ' | b'\t' | b'\n' | b'\r' => Token::Space,
            b'.' => Token::Dot,
            b'-' => Token::Minus,
            b'/' => Token::Slash,
            b'*' => Token::Star,
            b'(' | b')' | b'[' | b']' | b',' | b';' | b':' | b'=' | b'<' | b'>' | b'+' | b'%' | b'|'
            | b'!' => Token::Mark,
            _ => return None,
        };
        self.keep(1);
        Some(token)
    }

    fn length(&self, is: impl Fn(u8) -> bool) -> usize {
        self.rest.bytes().take_while(|byte| is(*byte)).count()
    }

    fn keep(&mut self, length: usize) {
        let (kept, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.shape.extend_from_slice(kept.as_bytes());
        self.rest = rest;
    }

    fn take(&mut self, length: usize, stands_for: u8) -> Option<()> {
        let (literal, rest) = self.rest.split_at_checked(length)?;
        push_literal(&mut self.literals, Some(literal));
        self.shape.push(stands_for);
        self.rest = rest;
        Some(())
    }
}

/// Tells whether a byte in a string is no more than itself, whatever comes before or behind it.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\'' && byte != b'\\'
}
