//! Text inside of text: base64 and hexadecimal, opened to a bounded depth.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::token::{Kind, Token, Tokens};
use super::{Budget, DEPTH_MAX, Detector, Exhausted, Features, Scratch, Span};
use crate::Class;

/// Shorter runs hold too little to be worth hiding something in, and are too often ordinary words.
const RUN_MIN: usize = 16;

/// Appends the runs that hold something once decoded, each as a whole.
pub(super) fn find(
    detector: &Detector,
    text: &str,
    tokens: &Tokens,
    budget: &mut Budget,
    depth: u8,
    spans: &mut Vec<Span>,
) -> Result<(), Exhausted> {
    let mut after = 0;
    for token in tokens.long.iter().filter_map(|place| tokens.all.get(*place)) {
        if token.start < after || matches!(token.kind, Kind::Sign(_)) {
            continue;
        }
        let (start, end) = run(text.as_bytes(), token, after);
        after = end;
        if end - start < RUN_MIN {
            continue;
        }
        let Some(written) = text.get(start..end) else { continue };
        if let Some(class) = inside(detector, written, budget, depth)? {
            spans.push(Span { start, end, class, confidence: 80 });
        }
    }
    Ok(())
}

/// The run of encoding characters around a token.
fn run(bytes: &[u8], token: &Token, from: usize) -> (usize, usize) {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let before = bytes.get(from..token.start).unwrap_or_default();
    let start = token.start - before.iter().rev().take_while(|byte| part(byte)).count();
    let rest = bytes.get(token.end..).unwrap_or_default();
    let end = token.end + rest.iter().take_while(|byte| part(byte)).count();
    let padding =
        bytes.get(end..).unwrap_or_default().iter().take(2).take_while(|byte| **byte == b'=').count();
    (start, end + padding)
}

/// Returns the class of the surest finding within a run, if it decodes to text at all.
fn inside(
    detector: &Detector,
    written: &str,
    budget: &mut Budget,
    depth: u8,
) -> Result<Option<Class>, Exhausted> {
    for plain in decodings(written) {
        let Some(plain) = readable(plain) else { continue };
        if depth + 1 >= DEPTH_MAX {
            // Nobody wraps text this often without a reason.
            return Ok(Some(Class::FreeText));
        }
        let mut scratch = Scratch::default();
        detector.find_at(&plain, &Features::none(), budget, &mut scratch, depth + 1)?;
        if let Some(span) = scratch.spans.iter().max_by_key(|span| span.confidence) {
            return Ok(Some(span.class));
        }
    }
    Ok(None)
}

fn decodings(written: &str) -> impl Iterator<Item = Vec<u8>> {
    let bare = written.trim_end_matches('=');
    let hex = written.strip_prefix("0x").unwrap_or(written);
    let mut plain = Vec::new();
    let from_hex = crate::pgtype::plain::decode_hex(hex.as_bytes(), &mut plain).map(|()| plain);
    [from_hex, STANDARD_NO_PAD.decode(bare).ok(), URL_SAFE_NO_PAD.decode(bare).ok()].into_iter().flatten()
}

/// Text, if nearly all of it is printable: a random run decodes to something else.
fn readable(plain: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(plain).ok()?;
    let odd = text.chars().filter(|c| c.is_control() && !c.is_whitespace()).count();
    (text.len() >= 5 && odd == 0).then_some(text)
}
