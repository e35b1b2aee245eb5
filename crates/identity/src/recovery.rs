//! Recovery codes: ten secrets on paper, each of which stands once for a second factor that is not at hand.
//!
//! A code has 100 random bits, so a plain SHA-256 of it is enough: there is nothing to guess from a stolen registry.

use aws_lc_rs::digest::{Context, SHA256};
use model::{PersonId, Secret};
use zeroize::Zeroizing;

use crate::random;

/// How many codes a person has.
pub const CODES: usize = 10;

/// Twenty characters of 5 bits each.
const CHARACTERS: usize = 20;
/// As Crockford's base 32 has them: what looks alike is one character.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Keeps the digest apart from any other use of SHA-256.
const LABEL: &[u8] = b"wardline/recovery/v1";

/// Makes the codes of a person: what is shown once, and what is stored.
pub fn fresh(person: PersonId) -> Vec<(Secret, [u8; 32])> {
    (0..CODES).filter_map(|_| one(person)).collect()
}

fn one(person: PersonId) -> Option<(Secret, [u8; 32])> {
    let bytes: Zeroizing<[u8; CHARACTERS]> = Zeroizing::new(random());
    let mut text = Zeroizing::new(String::with_capacity(CHARACTERS + 4));
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(*ALPHABET.get(usize::from(byte & 31))?));
    }
    let secret = Secret::new(text.as_str());
    let digest = digest(person, &secret)?;
    Some((secret, digest))
}

/// Tells whether a typed code has the length of a recovery code, and so is none of an authenticator.
pub fn looks_like_code(typed: &Secret) -> bool {
    characters(typed).count() == CHARACTERS
}

/// Returns what is stored of a typed code; nothing if it cannot be one. Case, dashes and spaces do not matter, and what
/// looks alike is taken for what was meant.
pub fn digest(person: PersonId, typed: &Secret) -> Option<[u8; 32]> {
    let mut text = Zeroizing::new(Vec::with_capacity(CHARACTERS));
    for c in characters(typed) {
        let meant = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        let byte = u8::try_from(meant).ok().filter(|byte| ALPHABET.contains(byte))?;
        text.push(byte);
    }
    if text.len() != CHARACTERS {
        return None;
    }
    let mut context = Context::new(&SHA256);
    context.update(LABEL);
    context.update(&person.0.to_be_bytes());
    context.update(&text);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Some(digest)
}

fn characters(typed: &Secret) -> impl Iterator<Item = char> {
    typed.expose().chars().filter(|c| *c != '-' && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ten_codes_that_people_can_type() {
        let codes = fresh(PersonId(7));
        assert_eq!(codes.len(), CODES);
        let different: HashSet<[u8; 32]> = codes.iter().map(|(_, digest)| *digest).collect();
        assert_eq!(different.len(), CODES);
        for (code, stored) in codes {
            let text = code.expose();
            assert_eq!(text.len(), 24, "{text}");
            for typed in [text.to_owned(), text.to_uppercase(), text.replace('-', " "), text.replace('-', "")]
            {
                assert_eq!(digest(PersonId(7), &Secret::new(typed)), Some(stored));
            }
            let alike = text.replace('1', "l").replace('0', "O");
            assert_eq!(digest(PersonId(7), &Secret::new(alike)), Some(stored));
            assert_ne!(digest(PersonId(8), &code), Some(stored), "a code is of one person");
            assert!(looks_like_code(&code));
        }
    }

    #[test]
    fn what_is_no_code_has_no_digest() {
        for typed in ["", "123456", &"0".repeat(19), &"0".repeat(21), &format!("{}u", "0".repeat(19))] {
            assert_eq!(digest(PersonId(7), &Secret::new(typed)), None, "{typed}");
        }
        assert!(!looks_like_code(&Secret::new("123 456")));
    }
}
