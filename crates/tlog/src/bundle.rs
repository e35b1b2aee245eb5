//! Entry bundles: the leaves themselves, each behind its length in two bytes, big endian.

use crate::tile::Bundle;

/// The longest entry that a bundle can carry.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// The entry does not fit its two bytes of length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {0} bytes is longer than a bundle can carry")]
pub struct EntryTooLong(pub usize);

/// The bytes are not the bundle they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The bytes end within an entry.
    #[error("the bundle ends within entry {0}")]
    Truncated(usize),
    /// There are fewer or more entries than the bundle's width.
    #[error("the bundle should hold {expected} entries and nothing more")]
    Count {
        /// The bundle's width.
        expected: u16,
    },
}

/// Appends one entry to the bytes of a bundle.
///
/// # Errors
/// When the entry is longer than [`ENTRY_BYTES_MAX`]; then nothing is appended.
pub fn encode_entry(entry: &[u8], bundle: &mut Vec<u8>) -> Result<(), EntryTooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Splits the bytes of a bundle into its entries.
///
/// # Errors
/// When the bytes do not hold exactly as many entries as the bundle is wide.
pub fn decode_bundle(bundle: Bundle, mut bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let count = BundleError::Count { expected: bundle.width() };
    let mut entries = Vec::with_capacity(bundle.width().into());
    while !bytes.is_empty() {
        let truncated = BundleError::Truncated(entries.len());
        let (length, rest) = bytes.split_first_chunk().ok_or(truncated)?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(truncated)?;
        if entries.len() == usize::from(bundle.width()) {
            return Err(count);
        }
        entries.push(entry);
        bytes = rest;
    }
    if entries.len() == usize::from(bundle.width()) { Ok(entries) } else { Err(count) }
}
