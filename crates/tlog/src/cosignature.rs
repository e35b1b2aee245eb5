//! Cosignatures of witnesses (C2SP `tlog-cosignature`, Ed25519): the checkpoint, and when it was seen.
//!
//! A witness's key is a type of its own: it can never stand for the key of a log, nor the other way round.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note::{KeyError, KeyId, Signature, SignatureType, SignedNote, check_name};

const HEADER: &str = "cosignature/v1";
const TIME_BYTES: usize = 8;
const SIGNATURE_BYTES: usize = 64;
const KEY_BYTES: usize = 32;
/// The specification's bound.
const TIME_S_MAX: u64 = i64::MAX.unsigned_abs();

/// A private key with which a witness says which checkpoint it saw, and when.
pub struct Cosigner {
    name: String,
    id: KeyId,
    pair: Ed25519KeyPair,
}

impl Cosigner {
    /// Returns the Ed25519 key of this seed (RFC 8032's private key). One seed serves one witness only: what is signed
    /// does not say the witness's name.
    ///
    /// # Errors
    /// When the name is no key name.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed");
        let id = KeyId::of(name, SignatureType::COSIGNATURE, pair.public_key().as_ref());
        Ok(Self { name: name.to_owned(), id, pair })
    }

    /// Signs the text of a checkpoint as seen at a time, in seconds since 1970; `None` for a time that cannot be.
    #[must_use]
    pub fn cosign(&self, text: &str, time_s: u64) -> Option<Signature> {
        let message = message(text, time_s)?;
        let mut bytes = time_s.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.pair.sign(message.as_bytes()).as_ref());
        Signature::new(&self.name, self.id, bytes).ok()
    }

    /// Returns the public half.
    #[must_use]
    pub fn verifier(&self) -> CosignatureVerifier {
        let key = self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        CosignatureVerifier { name: self.name.clone(), id: self.id, key }
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({}+{})", self.name, self.id)
    }
}

/// The public key of a witness, and its name: `name+id+Base64(0x04 ‖ key)` as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignatureVerifier {
    name: String,
    id: KeyId,
    key: [u8; KEY_BYTES],
}

impl CosignatureVerifier {
    /// Returns the name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of the key.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    /// Tells whether a signature line claims this key.
    #[must_use]
    pub fn is_named_by(&self, signature: &Signature) -> bool {
        signature.name() == self.name && signature.id() == self.id
    }

    /// Returns when the witness saw this text, in seconds since 1970, if the signature is its own and right.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &Signature) -> Option<u64> {
        if !self.is_named_by(signature) {
            return None;
        }
        let (time, bytes) = signature.bytes().split_first_chunk::<TIME_BYTES>()?;
        let time_s = u64::from_be_bytes(*time);
        let message = message(text, time_s)?;
        let fits = bytes.len() == SIGNATURE_BYTES;
        let right = UnparsedPublicKey::new(&ED25519, &self.key).verify(message.as_bytes(), bytes).is_ok();
        (fits && right).then_some(time_s)
    }

    /// Returns when the witness last saw this checkpoint, by the right ones among its signatures.
    #[must_use]
    pub fn seen(&self, note: &SignedNote) -> Option<u64> {
        note.signatures().iter().filter_map(|signature| self.verify(note.text(), signature)).max()
    }
}

impl fmt::Display for CosignatureVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[SignatureType::COSIGNATURE.0], self.key.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for CosignatureVerifier {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
        let (_, key) = rest.split_once('+').ok_or(KeyError::Form)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let (signature_type, key) = key.split_first().ok_or(KeyError::Form)?;
        check_name(name)?;
        if SignatureType(*signature_type) != SignatureType::COSIGNATURE {
            return Err(KeyError::Unsupported(SignatureType(*signature_type)));
        }
        let id = KeyId::of(name, SignatureType::COSIGNATURE, key);
        let verifier = Self { name: name.to_owned(), id, key: key.try_into().map_err(|_| KeyError::Form)? };
        // One spelling for each key; and the id in the text is the key's.
        if verifier.to_string() == text { Ok(verifier) } else { Err(KeyError::Id) }
    }
}

/// What a witness signs.
fn message(text: &str, time_s: u64) -> Option<String> {
    (time_s <= TIME_S_MAX).then(|| format!("{HEADER}\ntime {time_s}\n{text}"))
}
