//! Passwords at rest: argon2id in PHC strings, and what a new password must be like.
//!
//! Both [`hash`] and [`verify`] cost 15 to 30 ms of CPU and 19 MiB of memory, on purpose.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use model::Secret;
use thiserror::Error;

use crate::{random, token};

/// A new password has at least this many characters. NIST SP 800-63B asks for 8, or 15 without a second factor.
pub const LENGTH_MIN: usize = 12;

/// A password has at most this many bytes, so that nobody can make us hash a novel.
pub const BYTES_MAX: usize = 1024;

/// The first of the OWASP recommendations for argon2id: 19 MiB, two passes, one lane.
const PARAMS: Params = match Params::new(19_456, 2, 1, None) {
    Ok(params) => params,
    Err(_) => Params::DEFAULT,
};

/// A stored hash may ask for at most this much memory, whoever wrote it.
const MEMORY_KIB_MAX: u32 = 262_144;

/// Belongs to nobody; checked where there is no password to check, so that this takes as long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5Ym9keW5vYm9keQ\
                      $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a new password is not accepted. The text is for the person who chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// It has fewer than [`LENGTH_MIN`] characters.
    #[error("the password is too short: at least {LENGTH_MIN} characters")]
    TooShort,
    /// It has more than [`BYTES_MAX`] bytes.
    #[error("the password is too long: at most {BYTES_MAX} bytes")]
    TooLong,
    /// It holds a control character, which some clients cannot send.
    #[error("the password contains a control character")]
    ControlCharacter,
    /// It would be taken for a token at sign-in.
    #[error("the password begins with `{}`, which is kept for tokens", token::PREFIX)]
    LooksLikeToken,
}

/// Why no hash was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The password is not accepted.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The hash function failed, for example for want of memory.
    #[error("the password could not be hashed")]
    Hash,
}

/// A stored hash that this version cannot check: not argon2id, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the stored password hash is not readable")]
pub struct Unreadable;

/// Returns the PHC string of a new password, if it fits.
pub fn hash(password: &Secret) -> Result<String, Error> {
    fits(password)?;
    let salt: [u8; 16] = random();
    let hash = argon2id().hash_password_with_salt(password.expose().as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| Error::Hash)
}

/// Tells whether a new password is acceptable, without the cost of hashing it.
pub fn fits(password: &Secret) -> Result<(), Unfit> {
    let text = password.expose();
    if text.len() > BYTES_MAX {
        return Err(Unfit::TooLong);
    }
    if token::looks_like_token(password) {
        return Err(Unfit::LooksLikeToken);
    }
    if text.chars().any(char::is_control) {
        return Err(Unfit::ControlCharacter);
    }
    if text.chars().count() < LENGTH_MIN {
        return Err(Unfit::TooShort);
    }
    Ok(())
}

/// Tells whether the password is the one that was hashed. Costs the same either way.
pub fn verify(password: &Secret, phc: &str) -> Result<bool, Unreadable> {
    let Some(stored) = readable(phc) else {
        verify_nobody(password);
        return Err(Unreadable);
    };
    // A password longer than any that can be set is wrong; cutting it bounds the cost.
    let bytes = password.expose().as_bytes();
    let fits = bytes.len() <= BYTES_MAX;
    let bytes = bytes.get(..BYTES_MAX).unwrap_or(bytes);
    match argon2id().verify_password(bytes, &stored) {
        Ok(()) => Ok(fits),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(Unreadable),
    }
}

/// Costs what [`verify`] costs, for somebody who has no password.
pub(crate) fn verify_nobody(password: &Secret) {
    let matched = verify(password, NOBODY);
    debug_assert_eq!(matched, Ok(false), "the hash of nobody matches nothing");
}

fn readable(phc: &str) -> Option<PasswordHash> {
    let stored = PasswordHash::new(phc).ok()?;
    let params = Params::try_from(&stored).ok()?;
    let argon2id = Algorithm::try_from(stored.algorithm.as_str()) == Ok(Algorithm::Argon2id);
    let complete = stored.salt.is_some() && stored.hash.is_some();
    (argon2id && complete && params.m_cost() <= MEMORY_KIB_MAX).then_some(stored)
}

fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[test]
    fn a_hash_is_argon2id_with_the_owasp_parameters_and_verifies() {
        let phc = hash(&secret("correct horse battery")).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(verify(&secret("correct horse battery"), &phc), Ok(true));
        assert_eq!(verify(&secret("correct horse batterz"), &phc), Ok(false));
        assert_ne!(phc, hash(&secret("correct horse battery")).unwrap(), "salts differ");
    }

    #[test]
    fn the_reference_implementation_agrees() {
        // From the test suite of the argon2 reference implementation (phc-winner-argon2, src/test.c, v=19).
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(verify(&secret("password"), phc), Ok(true));
        assert_eq!(verify(&secret("Password"), phc), Ok(false));
    }

    #[test]
    fn nobody_is_readable_and_matches_nothing() {
        assert!(readable(NOBODY).is_some());
        assert_eq!(verify(&secret(""), NOBODY), Ok(false));
    }

    #[test]
    fn a_foreign_or_damaged_hash_is_unreadable_and_never_right() {
        for phc in [
            "",
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
            "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5Ym9keW5vYm9keQ",
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ] {
            assert_eq!(verify(&secret("password"), phc), Err(Unreadable), "{phc}");
        }
    }

    #[test]
    fn what_a_new_password_must_be_like() {
        let check = |text: &str, expected| assert_eq!(fits(&secret(text)), expected, "{text}");
        check("elevenchars", Err(Unfit::TooShort));
        check("twelve chars", Ok(()));
        check("ключ-от-ябл", Err(Unfit::TooShort));
        check("ключ-от-ябло", Ok(()));
        check("twelve\0chars!", Err(Unfit::ControlCharacter));
        check("wlt_twelve chars", Err(Unfit::LooksLikeToken));
        check(&"x".repeat(BYTES_MAX), Ok(()));
        check(&"x".repeat(BYTES_MAX + 1), Err(Unfit::TooLong));
    }

    #[test]
    fn an_overlong_password_is_wrong_even_if_it_begins_with_the_right_one() {
        let right = "y".repeat(BYTES_MAX);
        let phc = hash(&secret(&right)).unwrap();
        assert_eq!(verify(&secret(&format!("{right}z")), &phc), Ok(false));
    }
}
