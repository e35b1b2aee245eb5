//! One-time codes from a phone (RFC 6238): six digits that change every thirty seconds, made with HMAC-SHA-1, which is
//! the one algorithm that every authenticator app knows.
//!
//! A code counts once: whoever accepts one keeps its step, and takes none of that step or an earlier one again. The
//! secret is stored sealed; only [`Sealer`] opens it. Deliberately absent: the clock, and where steps are kept.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use model::{Micros, PersonId, RootKey, Secret};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::random;

/// How long a code is shown, in seconds.
pub const STEP_S: u64 = 30;
/// A clock may be wrong by one step on either side.
const STEPS_ASIDE: u64 = 1;
/// The recommendation of RFC 4226 for the length of the secret.
const SECRET_BYTES: usize = 20;
const DIGITS: u32 = 6;
const NONCE_BYTES: usize = 12;
/// Keeps this key and its ciphertexts apart from every other use of the root key.
const LABEL: &[u8] = b"wardline/totp/v1";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A stored secret cannot be opened: damaged, of another person, or sealed under another root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the stored secret of an authenticator cannot be opened")]
pub struct Unopenable;

/// The secret that a phone and we share.
pub struct Shared(Zeroizing<[u8; SECRET_BYTES]>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(..)")
    }
}

impl Shared {
    /// Makes a fresh one.
    pub fn fresh() -> Shared {
        Shared(Zeroizing::new(random()))
    }

    /// Returns it as people type it into an authenticator, in base32.
    pub fn base32(&self) -> Secret {
        let mut text = String::with_capacity(SECRET_BYTES.div_ceil(5) * 8);
        for chunk in self.0.chunks(5) {
            let mut bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            bits <<= 8 * (5 - chunk.len());
            for place in (0..8).rev() {
                let digit = usize::try_from(bits >> (5 * place) & 31).unwrap_or_default();
                text.extend(BASE32.get(digit).copied().map(char::from));
            }
        }
        Secret::new(text)
    }

    /// Returns the address that an authenticator reads from a QR code.
    pub fn address(&self, issuer: &str, person: &str) -> Secret {
        let (issuer, person) = (escaped(issuer), escaped(person));
        let secret = self.base32();
        Secret::new(format!(
            "otpauth://totp/{issuer}:{person}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
            secret.expose()
        ))
    }

    /// Returns the step of a right code that is later than all that were used, and not in the past.
    pub fn check(&self, code: &Secret, at: Micros, last_step: u64) -> Option<u64> {
        let typed: String = code.expose().chars().filter(|c| !c.is_whitespace()).collect();
        let now = at.0 / 1_000_000 / STEP_S;
        // All steps are compared, whichever fits.
        let steps = now.saturating_sub(STEPS_ASIDE)..=now.saturating_add(STEPS_ASIDE);
        let mut found = None;
        for step in steps {
            let right = verify_slices_are_equal(self.code(step).as_bytes(), typed.as_bytes()).is_ok();
            if right && step > last_step {
                found = Some(step);
            }
        }
        found
    }

    /// Returns the code of a step.
    fn code(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.0.as_slice());
        let tag = hmac::sign(&key, &step.to_be_bytes());
        truncated(tag.as_ref())
    }

    /// Returns the code that is shown at a time, for tests that stand in for a phone.
    pub fn code_at(&self, at: Micros) -> String {
        self.code(at.0 / 1_000_000 / STEP_S)
    }

    /// Reads what [`Shared::base32`] wrote.
    pub fn from_base32(text: &str) -> Option<Shared> {
        let mut bytes = Vec::with_capacity(SECRET_BYTES);
        let (mut bits, mut held) = (0_u32, 0_u32);
        for c in text.bytes().filter(|byte| *byte != b'=') {
            let digit = BASE32.iter().position(|known| *known == c.to_ascii_uppercase())?;
            bits = bits << 5 | u32::try_from(digit).ok()?;
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
                bits &= (1 << held) - 1;
            }
        }
        <[u8; SECRET_BYTES]>::try_from(bytes.as_slice()).ok().map(|bytes| Shared(Zeroizing::new(bytes)))
    }
}

/// Returns the digits that RFC 4226 takes out of an HMAC-SHA-1.
fn truncated(tag: &[u8]) -> String {
    let offset = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
    let word = tag.get(offset..).and_then(<[u8]>::first_chunk::<4>).copied().unwrap_or_default();
    let number = (u32::from_be_bytes(word) & 0x7fff_ffff) % 10_u32.pow(DIGITS);
    format!("{number:06}")
}

/// Escapes all but letters, digits and a few marks, as an address asks for.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Seals secrets for storage and opens them, each for one person.
pub struct Sealer(RandomizedNonceKey);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// Derives the key.
    pub fn new(root: &RootKey) -> Sealer {
        let prk = Salt::new(HKDF_SHA256, LABEL).extract(root.expose());
        let mut key = Zeroizing::new([0; 32]);
        let info: [&[u8]; 1] = [LABEL];
        // INVARIANT: 32 bytes are one block of HKDF-SHA-256, and what AES-256 takes.
        let okm = prk.expand(&info, HKDF_SHA256).expect("one block can be had");
        okm.fill(key.as_mut_slice()).expect("one block was asked for");
        Sealer(RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).expect("AES-256 takes 32 bytes"))
    }

    /// Seals a secret for a person: nonce, then ciphertext and tag.
    pub fn seal(&self, person: PersonId, secret: &Shared) -> Result<Vec<u8>, Unopenable> {
        let mut sealed = secret.0.to_vec();
        let nonce = self.0.seal_in_place_append_tag(aad(person), &mut sealed).map_err(|_| Unopenable)?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(bytes)
    }

    /// Opens what was sealed for this person.
    pub fn open(&self, person: PersonId, sealed: &[u8]) -> Result<Shared, Unopenable> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES).ok_or(Unopenable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopenable)?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let opened = self.0.open_in_place(nonce, aad(person), &mut bytes).map_err(|_| Unopenable)?;
        let secret = <[u8; SECRET_BYTES]>::try_from(&*opened).map_err(|_| Unopenable)?;
        Ok(Shared(Zeroizing::new(secret)))
    }
}

fn aad(person: PersonId) -> Aad<Vec<u8>> {
    Aad::from([LABEL, &person.0.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_rfc() -> Shared {
        Shared(Zeroizing::new(*b"12345678901234567890"))
    }

    fn at(seconds: u64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    #[test]
    fn the_vectors_of_rfc_6238() {
        // Appendix B, SHA-1; the last six of its eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(of_rfc().code_at(at(seconds)), code);
        }
    }

    #[test]
    fn a_code_counts_once_and_not_for_long() {
        let now = 1_111_111_111;
        let step = now / STEP_S;
        let check = |code: &str, seconds, last| of_rfc().check(&Secret::new(code), at(seconds), last);
        assert_eq!(check("050471", now, 0), Some(step));
        assert_eq!(check("050 471 ", now, 0), Some(step), "as phones show it");
        assert_eq!(check("050471", now, step), None, "used");
        assert_eq!(check("050471", now, step + 1), None, "older than one that was used");
        assert_eq!(check("050471", now + STEP_S, 0), Some(step), "one step late");
        assert_eq!(check("050471", now - STEP_S, 0), Some(step), "one step early");
        assert_eq!(check("050471", now + 2 * STEP_S, 0), None);
        for wrong in ["", "05047", "0504711", "050472", "O50471"] {
            assert_eq!(check(wrong, now, 0), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_comes_back_for_its_person_only() {
        let sealer = Sealer::new(&RootKey::new([7; 32]));
        let secret = Shared::fresh();
        let sealed = sealer.seal(PersonId(1), &secret).unwrap();
        assert_eq!(sealer.open(PersonId(1), &sealed).unwrap().base32(), secret.base32());
        assert!(sealer.open(PersonId(2), &sealed).is_err());
        assert!(Sealer::new(&RootKey::new([8; 32])).open(PersonId(1), &sealed).is_err());
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(sealer.open(PersonId(1), &changed).is_err(), "byte {index}");
            assert!(sealer.open(PersonId(1), &sealed[..index]).is_err(), "cut at {index}");
        }
        assert!(!sealed.windows(SECRET_BYTES).any(|window| window == secret.0.as_slice()));
    }

    #[test]
    fn the_address_says_all_that_an_app_needs() {
        assert_eq!(of_rfc().base32().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let address = of_rfc().address("Wardline gw1", "ann@ward/3");
        let expected = "otpauth://totp/Wardline%20gw1:ann%40ward%2F3?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
                        &issuer=Wardline%20gw1&algorithm=SHA1&digits=6&period=30";
        assert_eq!(address.expose(), expected);
        let read = Shared::from_base32("gezdgnbvgy3tqojqgezdgnbvgy3tqojq").unwrap();
        assert_eq!(read.base32(), of_rfc().base32());
        assert!(Shared::from_base32("GEZD").is_none());
        assert!(Shared::from_base32("1").is_none());
    }

    #[test]
    fn another_implementation_agrees() {
        let secret = Shared::fresh();
        let other = totp_rs::Builder::new().with_secret(*secret.0).build_noncompliant();
        for seconds in [0, 59, 1_111_111_109, 1_795_426_200] {
            assert_eq!(secret.code_at(at(seconds)), other.generate(seconds).to_string());
        }
    }
}
