//! The keys of SCRAM and what is stored of them.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{RootKey, Secret};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::prep::prepare;
use super::{ITERATIONS, ITERATIONS_MAX};

/// The bytes of each key.
pub(super) const KEY_LENGTH: usize = 32;
/// A salt, ours or a peer's, has at most this many bytes. PostgreSQL's have 16.
pub(super) const SALT_BYTES_MAX: usize = 256;

const SALT_LENGTH: usize = 16;
const TEXT_PREFIX: &str = "SCRAM-SHA-256$";

/// What the password is hashed with: public, and the same for the password and the tokens of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The salt.
    pub salt: Vec<u8>,
    /// The rounds of PBKDF2; 0 counts as 1.
    pub iterations: u32,
}

/// The source of salts: for each name the same one, whether there is such a person or not.
///
/// A server that invents a salt for a person it does not know must invent the same one each time, or repeating the
/// question tells who exists. Ours derives all of them, so that a salt does not even change when a person is added,
/// and the tokens of a person share the salt of their password.
pub struct Salts(hmac::Key);

impl Salts {
    /// Derives the source from the root key. Another root key gives other salts; stored verifiers keep their own.
    pub fn new(root: &RootKey) -> Salts {
        let root = hmac::Key::new(hmac::HMAC_SHA256, root.expose());
        let derived = hmac::sign(&root, b"wardline/scram-salt/v1");
        Salts(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// Returns the parameters for a login name.
    pub fn parameters(&self, name: &str) -> Parameters {
        let tag = hmac::sign(&self.0, name.as_bytes());
        let salt = tag.as_ref().iter().take(SALT_LENGTH).copied().collect();
        Parameters { salt, iterations: ITERATIONS }
    }
}

impl fmt::Debug for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salts(..)")
    }
}

/// What a server stores to check a password: enough to check, not enough to sign in elsewhere.
///
/// Its text form is PostgreSQL's: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
#[derive(Clone)]
pub struct Verifier {
    parameters: Parameters,
    pub(super) stored_key: [u8; KEY_LENGTH],
    pub(super) server_key: [u8; KEY_LENGTH],
}

impl Verifier {
    /// Derives the verifier of a password or token. Costs one PBKDF2.
    pub fn derive(secret: &Secret, parameters: &Parameters) -> Verifier {
        let keys = ClientKeys::derive(secret, parameters);
        Verifier {
            parameters: parameters.clone(),
            stored_key: sha256(&keys.client_key),
            server_key: keys.server_key,
        }
    }

    /// Returns what it was derived with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Returns PostgreSQL's text form. To be stored as carefully as a password hash.
    pub fn to_text(&self) -> String {
        format!(
            "{TEXT_PREFIX}{}:{}${}:{}",
            self.parameters.iterations,
            STANDARD.encode(&self.parameters.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key),
        )
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// The text is not a SCRAM-SHA-256 verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a SCRAM-SHA-256 verifier")]
pub struct UnreadableVerifier;

impl FromStr for Verifier {
    type Err = UnreadableVerifier;

    fn from_str(text: &str) -> Result<Verifier, UnreadableVerifier> {
        parse_verifier(text).ok_or(UnreadableVerifier)
    }
}

fn parse_verifier(text: &str) -> Option<Verifier> {
    let (parameters, keys) = text.strip_prefix(TEXT_PREFIX)?.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let iterations = number(iterations)?;
    let salt = STANDARD.decode(salt).ok()?;
    if !(1..=ITERATIONS_MAX).contains(&iterations) || salt.is_empty() || salt.len() > SALT_BYTES_MAX {
        return None;
    }
    Some(Verifier {
        parameters: Parameters { salt, iterations },
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

/// Reads a number without sign or leading zero, as the grammar's `posit-number`.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if digits { text.parse().ok() } else { None }
}

/// Reads 32 bytes in base64.
pub(super) fn key(text: &str) -> Option<[u8; KEY_LENGTH]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// What a client derives from a password, once per salt and number of iterations: worth keeping, since it is the
/// expensive part, and to be kept like the password itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ClientKeys {
    #[zeroize(skip)]
    parameters: Parameters,
    pub(super) client_key: [u8; KEY_LENGTH],
    pub(super) server_key: [u8; KEY_LENGTH],
}

impl ClientKeys {
    /// Derives the keys. Costs one PBKDF2: 0.5 to 1 ms for 4096 iterations.
    pub fn derive(secret: &Secret, parameters: &Parameters) -> ClientKeys {
        let prepared = prepare(secret.expose());
        let mut salted = Zeroizing::new([0; KEY_LENGTH]);
        let iterations = NonZeroU32::new(parameters.iterations).unwrap_or(NonZeroU32::MIN);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, &parameters.salt, prepared.as_bytes(), salted.as_mut_slice());
        if let std::borrow::Cow::Owned(mut owned) = prepared {
            owned.zeroize();
        }
        ClientKeys {
            parameters: parameters.clone(),
            client_key: hmac_sha256(salted.as_slice(), b"Client Key"),
            server_key: hmac_sha256(salted.as_slice(), b"Server Key"),
        }
    }

    /// Tells whether the keys answer a challenge with these parameters.
    pub fn fits(&self, parameters: &Parameters) -> bool {
        self.parameters == *parameters
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKeys(..)")
    }
}

pub(super) fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; KEY_LENGTH] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let mut out = [0; KEY_LENGTH];
    out.copy_from_slice(tag.as_ref());
    out
}

pub(super) fn sha256(data: &[u8]) -> [u8; KEY_LENGTH] {
    let mut out = [0; KEY_LENGTH];
    out.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    out
}

pub(super) fn xor(mut left: [u8; KEY_LENGTH], right: &[u8; KEY_LENGTH]) -> [u8; KEY_LENGTH] {
    left.iter_mut().zip(right).for_each(|(left, right)| *left ^= right);
    left
}

pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}
