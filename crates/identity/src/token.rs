//! Tokens: secrets of limited life that a person, or a program of theirs, sends in place of the password.
//!
//! `wlt_` and 64 characters of base64url: 16 bytes that name the token, 32 that prove it. Only a SHA-256 of it is
//! stored: with 256 random bits there is nothing to guess, so a slow hash would protect nothing.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Micros, PersonId, Secret, Shown};
use zeroize::Zeroizing;

use crate::{random, scram};

/// What every token begins with, and no password may.
pub const PREFIX: &str = "wlt_";

const ID_LENGTH: usize = 16;
const KEY_LENGTH: usize = 32;
const LENGTH: usize = ID_LENGTH + KEY_LENGTH;
/// Keeps the digest apart from any other use of SHA-256.
const LABEL: &[u8] = b"wardline/token/v1";

/// The public part of a token: names it in lists and in the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; ID_LENGTH]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A token as it is stored: enough to check one, not enough to make one.
#[derive(Clone, Debug)]
pub struct StoredToken {
    /// Its public part.
    pub id: TokenId,
    /// Whose it is.
    pub person: PersonId,
    /// SHA-256 of the whole.
    pub digest: [u8; 32],
    /// When it was issued.
    pub issued: Micros,
    /// From when on it is no longer accepted.
    pub expires: Micros,
    /// When it was withdrawn.
    pub revoked: Option<Micros>,
    /// For listeners that ask for SCRAM.
    pub scram: Option<scram::Verifier>,
    /// How the person showed who they are when it was issued: what the token is worth.
    pub shown: Shown,
}

impl StoredToken {
    /// Tells whether the secret is this token; says nothing about its life.
    pub(crate) fn is(&self, parsed: &Parsed) -> bool {
        verify_slices_are_equal(&self.digest, &parsed.digest).is_ok() && self.id == parsed.id
    }
}

/// Makes a token. The secret is shown to the person once and never stored.
///
/// With `scram`, the parameters of the person's own verifier, it also works where SCRAM is asked for; that costs one
/// PBKDF2. What was shown for it goes on to count wherever the token is taken.
pub fn issue(
    person: PersonId,
    shown: Shown,
    at: Micros,
    lifetime: Duration,
    scram: Option<&scram::Parameters>,
) -> (Secret, StoredToken) {
    let bytes: Zeroizing<[u8; LENGTH]> = Zeroizing::new(random());
    let secret = Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice())));
    let parsed = Parsed::from_bytes(&bytes);
    let stored = StoredToken {
        id: parsed.id,
        person,
        digest: parsed.digest,
        issued: at,
        expires: at_after(at, lifetime),
        revoked: None,
        scram: scram.map(|parameters| scram::Verifier::derive(&secret, parameters)),
        shown,
    };
    (secret, stored)
}

/// Tells whether the secret claims to be a token, well-formed or not, and so is never checked as a password.
pub fn looks_like_token(secret: &Secret) -> bool {
    secret.expose().starts_with(PREFIX)
}

/// Returns which stored token to look for, or nothing if the secret is not a well-formed token.
pub fn token_id(secret: &Secret) -> Option<TokenId> {
    decode(secret).map(|bytes| Parsed::from_bytes(&bytes).id)
}

/// A presented token, taken apart.
pub(crate) struct Parsed {
    id: TokenId,
    digest: [u8; 32],
}

impl Parsed {
    /// Takes the secret apart, with the same work for one that is not well-formed (which then matches nothing).
    pub(crate) fn new(secret: &Secret) -> Option<Parsed> {
        let bytes = decode(secret);
        let parsed = Parsed::from_bytes(bytes.as_deref().unwrap_or(&[0; LENGTH]));
        bytes.is_some().then_some(parsed)
    }

    fn from_bytes(bytes: &[u8; LENGTH]) -> Parsed {
        let (id, _) = bytes.split_first_chunk::<ID_LENGTH>().expect("a token is longer than its id");
        let mut context = Context::new(&SHA256);
        context.update(LABEL);
        context.update(bytes);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Parsed { id: TokenId(*id), digest }
    }
}

fn decode(secret: &Secret) -> Option<Zeroizing<[u8; LENGTH]>> {
    let text = secret.expose().strip_prefix(PREFIX)?;
    let mut bytes = Zeroizing::new([0; LENGTH]);
    let length = URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()).ok()?;
    (length == LENGTH).then_some(bytes)
}

/// Returns the time a while later, or the end of time.
pub(crate) fn at_after(at: Micros, while_: Duration) -> Micros {
    let micros = u64::try_from(while_.as_micros()).unwrap_or(u64::MAX);
    Micros(at.0.saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Micros = Micros(1_000_000);

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let (secret, stored) =
            issue(PersonId(7), Shown::alone("password"), AT, Duration::from_secs(60), None);
        let (other, _) = issue(PersonId(7), Shown::alone("password"), AT, Duration::from_secs(60), None);
        assert_eq!(secret.expose().len(), PREFIX.len() + 64);
        assert!(looks_like_token(&secret));
        assert_eq!(token_id(&secret), Some(stored.id));
        assert_eq!(stored.expires, Micros(61_000_000));
        assert!(stored.is(&Parsed::new(&secret).unwrap()));
        assert!(!stored.is(&Parsed::new(&other).unwrap()));
    }

    #[test]
    fn every_changed_character_makes_another_token() {
        let (secret, stored) =
            issue(PersonId(7), Shown::alone("password"), AT, Duration::from_secs(60), None);
        for index in 0..secret.expose().len() {
            let mut text = secret.expose().as_bytes().to_vec();
            text[index] = if text[index] == b'A' { b'B' } else { b'A' };
            let changed = Secret::new(String::from_utf8(text).unwrap());
            assert!(!Parsed::new(&changed).is_some_and(|parsed| stored.is(&parsed)), "character {index}");
        }
    }

    #[test]
    fn what_is_not_well_formed_names_no_token() {
        let (secret, _) = issue(PersonId(7), Shown::alone("password"), AT, Duration::from_secs(60), None);
        let text = secret.expose();
        for text in [
            "",
            "wlt_",
            "password",
            &text[..text.len() - 1],
            &format!("{text}A"),
            &format!("{text}="),
            &text.replace("wlt_", "WLT_"),
            &text.replace("wlt_", ""),
        ] {
            assert_eq!(token_id(&Secret::new(text)), None, "{}", text.len());
        }
    }

    #[test]
    fn a_lifetime_past_the_end_of_time_ends_there() {
        let (_, stored) = issue(PersonId(7), Shown::alone("password"), AT, Duration::MAX, None);
        assert_eq!(stored.expires, Micros(u64::MAX));
    }
}
