//! The root key for the day when its file is lost: sealed under passphrases that people keep, each their own.
//!
//! All of them are needed to open it: each passphrase becomes a key by argon2id, and the keys together one by HKDF. A part of
//! the passphrases says nothing. Deliberately absent: any two of three (a scheme of shares), and where the file is kept.
//! `docs/formats/vault.md` has the form.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{digest, hkdf, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{RootKey, Secret};
use zeroize::Zeroizing;

use crate::seal::{KEY_LENGTH, Key};

const HEADER: &str = "wardline root key escrow v1";
const LABEL: &[u8] = b"wardline/escrow/v1";
const SALT_BYTES: usize = 16;
const KEY_ID_BYTES: usize = 8;
/// The most people that a root key is split among.
pub const CUSTODIANS_MAX: usize = 5;
/// The fewest characters of a passphrase: it is all that stands between a stolen file and the key.
pub const PASSPHRASE_CHARS_MIN: usize = 16;
/// 64 MiB and three passes: the second recommendation of RFC 9106.
const COST: Cost = Cost { memory_kib: 65_536, passes: 3 };
/// A file that asks for more is not obeyed.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 100;
/// The longest file that is read.
const TEXT_BYTES_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
}

/// What makes a key of one custodian's passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Custodian {
    cost: Cost,
    salt: [u8; SALT_BYTES],
}

/// A root key, sealed for its custodians. It may lie anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escrow {
    node: String,
    key_id: String,
    custodians: Vec<Custodian>,
    sealed: Vec<u8>,
}

/// Why an escrow is not made, read or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EscrowError {
    /// Too many or no custodians, or a passphrase that is too short.
    #[error(
        "1 to {CUSTODIANS_MAX} passphrases of at least {PASSPHRASE_CHARS_MIN} characters are needed, no two alike"
    )]
    Passphrases,
    /// The name of the node is not a word.
    #[error("the name of the node cannot stand in the file")]
    Node,
    /// The text is no escrow file, or one of another version.
    #[error("it is no escrow file of a root key that this version reads")]
    Form,
    /// It does not open.
    #[error("it does not open with these passphrases, in this order")]
    Closed,
    /// The cryptographic library failed.
    #[error("encryption failed")]
    Crypto,
}

/// Returns what names a root key and says nothing about it.
pub fn root_key_id(root: &RootKey) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"wardline/root-key-id/v1");
    context.update(root.expose());
    context.finish().as_ref().iter().take(KEY_ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

impl Escrow {
    /// Seals a root key, for one passphrase of each custodian.
    ///
    /// # Errors
    /// When a passphrase is too short, or comes twice.
    pub fn seal(root: &RootKey, node: &str, passphrases: &[Secret]) -> Result<Escrow, EscrowError> {
        let long = |secret: &Secret| secret.expose().chars().count() >= PASSPHRASE_CHARS_MIN;
        let twice = (1..passphrases.len()).any(|at| {
            let (before, from) = passphrases.split_at(at);
            from.first().is_some_and(|secret| before.contains(secret))
        });
        if !(1..=CUSTODIANS_MAX).contains(&passphrases.len()) || !passphrases.iter().all(long) || twice {
            return Err(EscrowError::Passphrases);
        }
        if !is_word(node) {
            return Err(EscrowError::Node);
        }
        let mut custodians = Vec::with_capacity(passphrases.len());
        for _ in passphrases {
            let mut salt = [0; SALT_BYTES];
            rand::fill(&mut salt).map_err(|_| EscrowError::Crypto)?;
            custodians.push(Custodian { cost: COST, salt });
        }
        let (node, key_id) = (node.to_owned(), root_key_id(root));
        let mut escrow = Escrow { node, key_id, custodians, sealed: Vec::new() };
        let key = escrow.key(passphrases)?;
        escrow.sealed = key.seal(escrow.head().as_bytes(), root.expose()).map_err(|_| EscrowError::Crypto)?;
        Ok(escrow)
    }

    /// Opens it with the passphrases of all custodians, in their order.
    ///
    /// # Errors
    /// When one of them is wrong, or the file was altered.
    pub fn open(&self, passphrases: &[Secret]) -> Result<RootKey, EscrowError> {
        if passphrases.len() != self.custodians.len() {
            return Err(EscrowError::Closed);
        }
        let plain = self.key(passphrases)?.open(self.head().as_bytes(), &self.sealed);
        let plain = plain.ok_or(EscrowError::Closed)?;
        let bytes: [u8; KEY_LENGTH] = plain.as_slice().try_into().map_err(|_| EscrowError::Form)?;
        Ok(RootKey::new(bytes))
    }

    /// Tells whether a text says that it is an escrow file.
    pub fn is_escrow(text: &[u8]) -> bool {
        text.starts_with(b"wardline root key escrow ")
    }

    /// Returns whose root key it is.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the id of the root key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns how many passphrases open it.
    pub fn custodians(&self) -> usize {
        self.custodians.len()
    }

    fn key(&self, passphrases: &[Secret]) -> Result<Key, EscrowError> {
        let mut keys = Zeroizing::new(Vec::with_capacity(KEY_LENGTH * passphrases.len()));
        for (custodian, passphrase) in self.custodians.iter().zip(passphrases) {
            let Cost { memory_kib, passes } = custodian.cost;
            let params =
                Params::new(memory_kib, passes, 1, Some(KEY_LENGTH)).map_err(|_| EscrowError::Form)?;
            let mut key = Zeroizing::new([0; KEY_LENGTH]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase.expose().as_bytes(), &custodian.salt, key.as_mut_slice())
                .map_err(|_| EscrowError::Crypto)?;
            keys.extend_from_slice(key.as_slice());
        }
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, LABEL)
            .extract(&keys)
            .expand(&[b"root"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .map_err(|_| EscrowError::Crypto)?;
        Key::new(bytes.as_slice()).map_err(|_| EscrowError::Crypto)
    }

    /// The lines before the sealed key: what it is bound to.
    fn head(&self) -> String {
        let mut head = format!("{HEADER}\nnode {}\nkey {}\n", self.node, self.key_id);
        for Custodian { cost: Cost { memory_kib, passes }, salt } in &self.custodians {
            let salt = STANDARD.encode(salt);
            head.push_str(&format!("custodian argon2id m={memory_kib} t={passes} p=1 salt={salt}\n"));
        }
        head
    }
}

/// The file.
impl fmt::Display for Escrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}sealed {}", self.head(), STANDARD.encode(&self.sealed))
    }
}

impl FromStr for Escrow {
    type Err = EscrowError;

    fn from_str(text: &str) -> Result<Escrow, EscrowError> {
        let escrow = read(text).ok_or(EscrowError::Form)?;
        // One spelling for each file.
        if escrow.to_string() == text { Ok(escrow) } else { Err(EscrowError::Form) }
    }
}

fn read(text: &str) -> Option<Escrow> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut lines = text.strip_prefix(HEADER)?.strip_prefix('\n')?.lines();
    let node = lines.next()?.strip_prefix("node ")?.to_owned();
    let key_id = lines.next()?.strip_prefix("key ")?.to_owned();
    let mut custodians = Vec::new();
    let mut last = lines.next()?;
    while let Some(words) = last.strip_prefix("custodian argon2id ") {
        let mut words = words.split(' ');
        let mut word = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let cost = Cost { memory_kib: word("m")?.parse().ok()?, passes: word("t")?.parse().ok()? };
        if word("p")? != "1" || cost.memory_kib > MEMORY_KIB_MAX || cost.passes > PASSES_MAX {
            return None;
        }
        let salt = STANDARD.decode(word("salt")?).ok()?.try_into().ok()?;
        custodians.push(Custodian { cost, salt });
        last = lines.next()?;
    }
    let sealed = STANDARD.decode(last.strip_prefix("sealed ")?).ok()?;
    let fits = (1..=CUSTODIANS_MAX).contains(&custodians.len()) && is_word(&node);
    fits.then_some(Escrow { node, key_id, custodians, sealed })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    const FIRST: &str = "correct horse battery";
    const SECOND: &str = "staple in the safe of two";

    #[test]
    fn all_custodians_open_it_and_a_part_of_them_does_not() {
        let root = RootKey::new([7; 32]);
        let made = Escrow::seal(&root, "gw1", &secrets(&[FIRST, SECOND])).expect("sealed");
        let read: Escrow = made.to_string().parse().expect("read again");
        assert_eq!((read.custodians(), read.node(), read.key_id()), (2, "gw1", root_key_id(&root).as_str()));
        assert_eq!(read.open(&secrets(&[FIRST, SECOND])).expect("opens").expose(), root.expose());
        for wrong in [&[FIRST][..], &[SECOND, FIRST], &[FIRST, FIRST], &[FIRST, SECOND, FIRST]] {
            assert_eq!(read.open(&secrets(wrong)).err(), Some(EscrowError::Closed), "{wrong:?}");
        }
        assert!(!made.to_string().contains("0707070707"), "the key is not in the file");
    }

    #[test]
    fn what_was_altered_does_not_open() {
        let root = RootKey::new([7; 32]);
        let text = Escrow::seal(&root, "gw1", &secrets(&[FIRST])).expect("sealed").to_string();
        for (from, to) in [("node gw1", "node gw2"), (" t=3 ", " t=2 "), ("\nkey ", "\nkey 0")] {
            let altered: Escrow = text.replacen(from, to, 1).parse().expect("of the form");
            assert_eq!(altered.open(&secrets(&[FIRST])).err(), Some(EscrowError::Closed), "{to}");
        }
        for (from, to) in [("v1", "v2"), (" m=65536 ", " m=99999999 "), ("sealed ", "sealed"), ("\n", "\r\n")]
        {
            assert_eq!(text.replacen(from, to, 1).parse::<Escrow>(), Err(EscrowError::Form), "{to}");
        }
    }

    #[test]
    fn passphrases_are_long_and_of_different_people() {
        let root = RootKey::new([7; 32]);
        for bad in [&[][..], &["too short"], &[FIRST, FIRST], &[FIRST; 6]] {
            assert_eq!(
                Escrow::seal(&root, "gw1", &secrets(bad)).err(),
                Some(EscrowError::Passphrases),
                "{}",
                bad.len()
            );
        }
        assert_eq!(Escrow::seal(&root, "g w", &secrets(&[FIRST])).err(), Some(EscrowError::Node));
    }
}
