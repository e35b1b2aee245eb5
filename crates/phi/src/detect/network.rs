//! E-mail, web and network addresses: found by their signs, before anything else.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::Span;
use crate::Class;

/// The longest way to write an IPv6 address.
const IPV6_MAX: usize = 45;

/// Made once: making it costs more than a short text takes.
static WWW: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"www."));

/// Appends what is found.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    // Inside of a web address nothing is looked for again: else a text of them would be read once for each.
    let (mut seen, mut www) = (0, 0);
    for at in memchr::memchr2_iter(b'@', b':', bytes).chain(WWW.find_iter(bytes)) {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let found = match bytes.get(at) {
            Some(b'@') => email(bytes, at),
            Some(b'w') if at < www => None,
            Some(b'w') if before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'/') => {
                Some(web(bytes, at, at + 4))
            }
            Some(b'w') => None,
            _ if at < seen => None,
            _ if bytes.get(at..at + 3) == Some(b"://") => url(bytes, at),
            _ => ipv6(text, at),
        };
        if let Some(span) = found {
            if bytes.get(at) == Some(&b'w') {
                www = span.end;
            } else {
                seen = span.end;
            }
            spans.push(span);
        }
    }
}

fn email(bytes: &[u8], at: usize) -> Option<Span> {
    let local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(byte) || *byte >= 0x80;
    let start = bytes.get(..at)?.iter().rposition(|byte| !local(byte)).map_or(0, |before| before + 1);
    let domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || *byte >= 0x80;
    let rest = bytes.get(at + 1..)?;
    let mut end = rest.iter().position(|byte| !domain(byte)).unwrap_or(rest.len());
    while end > 0 && rest.get(end - 1).is_some_and(|byte| matches!(byte, b'.' | b'-')) {
        end -= 1;
    }
    let host = rest.get(..end)?;
    let dot = host.iter().rposition(|byte| *byte == b'.');
    let top = dot.and_then(|dot| host.get(dot + 1..)).unwrap_or_default();
    let confidence = if top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic) { 95 } else { 60 };
    let sound = start < at && host.len() >= 2 && host.iter().any(u8::is_ascii_alphabetic);
    sound.then_some(Span { start, end: at + 1 + end, class: Class::Email, confidence })
}

fn url(bytes: &[u8], colon: usize) -> Option<Span> {
    let scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-');
    let start = bytes.get(..colon)?.iter().rposition(|byte| !scheme(byte)).map_or(0, |before| before + 1);
    let host = bytes.get(colon + 3).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'[');
    (start < colon && host).then(|| web(bytes, start, colon + 3))
}

fn web(bytes: &[u8], start: usize, from: usize) -> Span {
    let stops =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>' | b'"' | b'`' | b'|' | b'\\');
    let rest = bytes.get(from..).unwrap_or_default();
    let mut end = from + rest.iter().position(stops).unwrap_or(rest.len());
    while end > from && bytes.get(end - 1).is_some_and(|byte| b".,;:!?)]}'".contains(byte)) {
        end -= 1;
    }
    Span { start, end, class: Class::Url, confidence: 95 }
}

/// An IPv6 or MAC address around a colon; looked at from its first colon only.
fn ipv6(text: &str, colon: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let start =
        bytes.get(..colon)?.iter().rposition(|byte| !byte.is_ascii_hexdigit()).map_or(0, |before| before + 1);
    // A colon before means that this address was looked at from there.
    let before = start.checked_sub(1).and_then(|before| bytes.get(before));
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b':') || colon - start > 4 {
        return None;
    }
    let rest = bytes.get(start..)?;
    let mut end = start + rest.iter().take(IPV6_MAX).take_while(|byte| part(byte)).count();
    while end > start && bytes.get(end - 1) == Some(&b'.') {
        end -= 1;
    }
    let written = text.get(start..end)?;
    let colons = written.bytes().filter(|byte| *byte == b':').count();
    if colons >= 2 && written.len() >= 6 && written.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(Span { start, end, class: Class::Ip, confidence: 90 });
    }
    let mac = colons == 5 && written.len() == 17 && written.split(':').all(|pair| pair.len() == 2);
    mac.then_some(Span { start, end, class: Class::Device, confidence: 90 })
}
