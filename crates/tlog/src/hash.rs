//! SHA-256 tree hashes of RFC 6962, section 2.1.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Length of a hash.
pub const HASH_BYTES: usize = 32;

/// The root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// What keeps a leaf from passing for an inner node (RFC 6962, 2.1).
const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;

/// Leaves up to this length are hashed in one call from the stack; longer ones are streamed.
const LEAF_BYTES_ON_STACK: usize = 255;

/// A node of the Merkle tree: leaf hash, inner node or root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

/// Returns the hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut buffer = [LEAF_PREFIX; LEAF_BYTES_ON_STACK + 1];
    if let Some(space) = buffer.get_mut(1..=leaf.len()) {
        space.copy_from_slice(leaf);
        return sha256(buffer.get(..=leaf.len()).expect("as long as the space just filled"));
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[LEAF_PREFIX]);
    context.update(leaf);
    digest_to_hash(&context.finish())
}

/// Returns the hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut buffer = [NODE_PREFIX; 1 + 2 * HASH_BYTES];
    let (_, halves) = buffer.split_at_mut(1);
    let (l, r) = halves.split_at_mut(HASH_BYTES);
    l.copy_from_slice(&left.0);
    r.copy_from_slice(&right.0);
    sha256(&buffer)
}

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    digest_to_hash(&digest::digest(&digest::SHA256, bytes))
}

fn digest_to_hash(digest: &digest::Digest) -> Hash {
    Hash(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

/// Standard Base64, as in checkpoints and proofs.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The text is not the Base64 form of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the Base64 form of a 32-byte hash")]
pub struct HashParseError;

impl FromStr for Hash {
    type Err = HashParseError;

    /// Accepts exactly what [`fmt::Display`] writes: padded, canonical, no white space.
    fn from_str(text: &str) -> Result<Self, HashParseError> {
        let bytes = STANDARD.decode(text).map_err(|_| HashParseError)?;
        Ok(Self(bytes.try_into().map_err(|_| HashParseError)?))
    }
}
