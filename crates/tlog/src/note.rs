//! Signed notes (C2SP `signed-note`): a text and the lines that sign it.
//!
//! Deliberately absent: signature types other than Ed25519. Their lines are kept and carried on, unverified.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::sha256;

/// The longest note that is read: 100 signatures of 5 kB, the size of the largest post-quantum ones.
pub const NOTE_BYTES_MAX: usize = 512 * 1024;

/// The most signatures a note may carry, as in Go's `sumdb/note`; the specification asks for at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 100;

const SIGNATURE_PREFIX: &str = "— ";
const KEY_ID_BYTES: usize = 4;
const ED25519_KEY_BYTES: usize = 32;

/// The byte that names a signature algorithm, within a verifier key and within its key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignatureType(pub u8);

impl SignatureType {
    /// Ed25519 over the note's text.
    pub const ED25519: Self = Self(0x01);
    /// Ed25519 over a witness's message: a time and the note's text.
    pub const COSIGNATURE: Self = Self(0x04);
}

/// The four bytes that, with the key's name, say which key made a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// Returns the id of a key: the first bytes of `SHA-256(name ‖ 0x0A ‖ type ‖ public key)`.
    #[must_use]
    pub fn of(name: &str, signature_type: SignatureType, public_key: &[u8]) -> Self {
        let preimage = [name.as_bytes(), b"\n", &[signature_type.0], public_key].concat();
        let [a, b, c, d, ..] = sha256(&preimage).0;
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Names are not empty and hold no white space, control character or `+`.
    #[error("not a key name")]
    Name,
    /// The text is not `name+id+Base64`.
    #[error("not a verifier key: expected `name+id+key`")]
    Form,
    /// The key id in the text is not that of the key in it.
    #[error("the key id does not belong to this name and key")]
    Id,
    /// Another algorithm than Ed25519.
    #[error("signature type {:#04x} is not supported", .0.0)]
    Unsupported(SignatureType),
}

/// A note cannot be read or is not signed as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("the note is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// More signatures than [`NOTE_SIGNATURES_MAX`].
    #[error("the note has more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// Not UTF-8, a control character, no blank line before the signatures, no last newline.
    #[error("malformed note")]
    Malformed,
    /// A signature line is not an em dash, a key name and Base64.
    #[error("malformed signature line {0}")]
    SignatureLine(usize),
    /// A signature claims a known key and is wrong.
    #[error("wrong signature by `{name}+{id}`")]
    WrongSignature {
        /// The name of the key.
        name: String,
        /// The id of the key.
        id: KeyId,
    },
    /// None of the known keys signed.
    #[error("no signature by a known key")]
    Unsigned,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    /// Returns a signature made elsewhere, by whatever algorithm its key id stands for.
    ///
    /// # Errors
    /// When the name is no key name.
    pub fn new(name: &str, id: KeyId, bytes: Vec<u8>) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), id, bytes })
    }

    /// Returns the name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of the key that is said to have signed.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the signature itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a signature line, without its newline.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let bytes = STANDARD.decode(base64).ok()?;
        let (id, bytes) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
        if bytes.is_empty() {
            return None;
        }
        Self::new(name, KeyId(u32::from_be_bytes(*id)), bytes.to_vec()).ok()
    }
}

/// The signature line, without its newline.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0.to_be_bytes(), self.bytes.as_slice()].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A text and its signature lines, which nobody has verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// Returns a note with these signatures.
    ///
    /// # Errors
    /// When the text does not end in a newline or holds another control character, when there is no signature,
    /// or when a limit is exceeded.
    pub fn new(text: String, signatures: Vec<Signature>) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || !is_note_text(&text) || signatures.is_empty() {
            return Err(NoteError::Malformed);
        }
        if signatures.len() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        let note = Self { text, signatures };
        if note.to_string().len() > NOTE_BYTES_MAX { Err(NoteError::TooLong) } else { Ok(note) }
    }

    /// Signs a text.
    ///
    /// # Errors
    /// As [`SignedNote::new`].
    pub fn sign(text: String, signers: &[&NoteSigner]) -> Result<Self, NoteError> {
        let signatures = signers.iter().map(|signer| signer.sign(&text)).collect();
        Self::new(text, signatures)
    }

    /// Reads a note without verifying it.
    ///
    /// # Errors
    /// When the bytes are no note or exceed a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed)?;
        if !is_note_text(note) {
            return Err(NoteError::Malformed);
        }
        let (head, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut signatures = Vec::new();
        for (number, line) in lines.split('\n').enumerate() {
            if number == NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(Signature::parse(line).ok_or(NoteError::SignatureLine(number + 1))?);
        }
        Ok(Self { text: format!("{head}\n"), signatures })
    }

    /// Returns the text, with its last newline: what is signed. Not to be believed before
    /// [`SignedNote::verify`] was content.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns all signatures, also unknown ones.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature, for instance a witness's, after the others.
    ///
    /// # Errors
    /// When a limit is exceeded.
    pub fn with_signature(mut self, signature: Signature) -> Result<Self, NoteError> {
        self.signatures.push(signature);
        Self::new(self.text, self.signatures)
    }

    /// Returns which of the known keys signed, at least one.
    ///
    /// Signatures of unknown keys are ignored, also if they share a name or an id (not both) with a known key.
    ///
    /// # Errors
    /// When no known key signed, and when any signature that claims a known key is wrong.
    pub fn verify<'k>(&self, known: &'k [NoteVerifier]) -> Result<Vec<&'k NoteVerifier>, NoteError> {
        let mut signed: Vec<&NoteVerifier> = Vec::new();
        for signature in &self.signatures {
            let claimed = known.iter().filter(|key| key.name == signature.name && key.id == signature.id);
            for key in claimed {
                if !key.accepts(&self.text, &signature.bytes) {
                    let (name, id) = (key.name.clone(), key.id);
                    return Err(NoteError::WrongSignature { name, id });
                }
                if !signed.contains(&key) {
                    signed.push(key);
                }
            }
        }
        if signed.is_empty() { Err(NoteError::Unsigned) } else { Ok(signed) }
    }
}

/// The note as it is stored and sent.
impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// A private key that signs notes under a name.
pub struct NoteSigner {
    name: String,
    id: KeyId,
    pair: Ed25519KeyPair,
}

impl NoteSigner {
    /// Returns the Ed25519 key of this seed (RFC 8032's private key).
    ///
    /// # Errors
    /// When the name is no key name.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed");
        let id = KeyId::of(name, SignatureType::ED25519, pair.public_key().as_ref());
        Ok(Self { name: name.to_owned(), id, pair })
    }

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

    /// Signs the text of a note.
    #[must_use]
    pub fn sign(&self, text: &str) -> Signature {
        let bytes = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        Signature { name: self.name.clone(), id: self.id, bytes }
    }

    /// Returns the public half.
    #[must_use]
    pub fn verifier(&self) -> NoteVerifier {
        let key = self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        NoteVerifier { name: self.name.clone(), id: self.id, key }
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({}+{})", self.name, self.id)
    }
}

/// A public key that is believed, and its name: `name+id+Base64(type ‖ key)` as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    id: KeyId,
    key: [u8; ED25519_KEY_BYTES],
}

impl NoteVerifier {
    /// Returns the verifier of an Ed25519 public key.
    ///
    /// # Errors
    /// When the name is no key name.
    pub fn from_public_key(name: &str, key: [u8; ED25519_KEY_BYTES]) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), id: KeyId::of(name, SignatureType::ED25519, &key), key })
    }

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

    /// Returns the algorithm.
    #[must_use]
    pub const fn signature_type(&self) -> SignatureType {
        SignatureType::ED25519
    }

    /// Returns the public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; ED25519_KEY_BYTES] {
        &self.key
    }

    fn accepts(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.signature_type().0], self.key.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for NoteVerifier {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
        let is_hex =
            id.len() == 2 * KEY_ID_BYTES && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = u32::from_str_radix(id, 16).ok().filter(|_| is_hex).ok_or(KeyError::Form)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let (signature_type, key) = key.split_first().ok_or(KeyError::Form)?;
        check_name(name)?;
        if KeyId::of(name, SignatureType(*signature_type), key) != KeyId(id) {
            return Err(KeyError::Id);
        }
        match SignatureType(*signature_type) {
            SignatureType::ED25519 => {
                Self::from_public_key(name, key.try_into().map_err(|_| KeyError::Form)?)
            }
            other => Err(KeyError::Unsupported(other)),
        }
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), KeyError> {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    if !name.is_empty() && name.chars().all(allowed) { Ok(()) } else { Err(KeyError::Name) }
}

/// Newline is the only control character in a note.
fn is_note_text(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' || byte == b'\n')
}
