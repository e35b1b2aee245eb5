//! The keys behind tokens, hashes, format-preserving encryption and date shifts: one per purpose and class.
//!
//! They are derived from one root, so two gateways with the same root give the same tokens, and a token of one class
//! says nothing about a value of another.

use std::fmt;

use aws_lc_rs::hmac;
use model::RootKey;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Class;

/// Names a generation of keys; it stands inside each token, so that tokens of two generations are never confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u8);

impl KeyId {
    /// The largest id: it has to fit in two digits, and into seven bits of an `int8`.
    pub const MAX: u8 = 99;

    /// Returns the id for a number from 1 to 99.
    pub fn new(number: u8) -> Option<KeyId> {
        (1..=Self::MAX).contains(&number).then_some(KeyId(number))
    }

    /// Returns the number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a derived key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    Token,
    Hash,
    FormatPreserving,
    DateShift,
}

impl Domain {
    fn name(self) -> &'static str {
        match self {
            Domain::Token => "token",
            Domain::Hash => "hash",
            Domain::FormatPreserving => "format_preserving",
            Domain::DateShift => "date_shift",
        }
    }
}

/// One generation of keys.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    #[zeroize(skip)]
    id: KeyId,
    root: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, ..)", self.id)
    }
}

impl Keys {
    /// Derives a generation from the installation's root key.
    pub fn derive(root: &RootKey, id: KeyId) -> Keys {
        let label = format!("wardline phi v1 {id}");
        Keys { id, root: sign(root.expose(), &[label.as_bytes()]) }
    }

    /// Returns which generation this is.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the key for one purpose and class.
    pub(crate) fn key(&self, domain: Domain, class: Class) -> [u8; 32] {
        sign(&self.root, &[domain.name().as_bytes(), b"/", class.name().as_bytes()])
    }

    /// Returns the keyed function for one purpose and class.
    pub(crate) fn mac(&self, domain: Domain, class: Class) -> Mac {
        Mac { id: self.id, key: hmac::Key::new(hmac::HMAC_SHA256, &self.key(domain, class)) }
    }
}

fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    bytes(&context.sign())
}

fn bytes(tag: &hmac::Tag) -> [u8; 32] {
    *tag.as_ref().first_chunk().expect("HMAC-SHA-256 gives 32 bytes")
}

/// HMAC-SHA-256 with its key schedule done.
#[derive(Clone, Debug)]
pub(crate) struct Mac {
    pub(crate) id: KeyId,
    key: hmac::Key,
}

impl Mac {
    pub(crate) fn sign(&self, value: &[u8]) -> [u8; 32] {
        bytes(&hmac::sign(&self.key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_root_generation_purpose_and_class() {
        let id = |number| KeyId::new(number).expect("in range");
        let keys = |byte, number| Keys::derive(&RootKey::new([byte; 32]), id(number));
        let one = keys(1, 1);
        let sign = |keys: &Keys, domain, class| keys.mac(domain, class).sign(b"value");
        let base = sign(&one, Domain::Token, Class::Ssn);
        assert_eq!(base, sign(&keys(1, 1), Domain::Token, Class::Ssn));
        assert_ne!(base, sign(&keys(2, 1), Domain::Token, Class::Ssn));
        assert_ne!(base, sign(&keys(1, 2), Domain::Token, Class::Ssn));
        assert_ne!(base, sign(&one, Domain::Hash, Class::Ssn));
        assert_ne!(base, sign(&one, Domain::Token, Class::Mrn));
        assert_eq!((KeyId::new(0), KeyId::new(100)), (None, None));
        assert_eq!(format!("{one:?}"), "Keys(1, ..)");
    }
}
