//! The leaf of a record: 52 bytes without any content, and the commitment in it.

use aws_lc_rs::digest;

/// The version of the leaf that is written.
pub const LEAF_VERSION: u8 = 1;
/// The length of a leaf.
pub const LEAF_BYTES: usize = 52;

const COMMITMENT_LABEL: &[u8] = b"wardline/leaf/v1";

/// What the log says about one record without saying what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The number of the record's kind.
    pub kind: u8,
    /// The record's place in the node's log, from 0.
    pub sequence: u64,
    /// When it was committed, in microseconds since 1970; never before the leaf before it.
    pub time_us: u64,
    /// SHA-256 of a label, a secret salt and the canonical record.
    pub commitment: [u8; 32],
}

impl Leaf {
    /// Returns the leaf's bytes.
    pub fn encode(&self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        let mut rest = bytes.as_mut_slice();
        for part in [
            [LEAF_VERSION, self.kind, 0, 0].as_slice(),
            &self.sequence.to_le_bytes(),
            &self.time_us.to_le_bytes(),
            &self.commitment,
        ] {
            let (to, next) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = next;
        }
        bytes
    }

    /// Reads a leaf; `None` when it is not in its fixed form.
    pub fn decode(bytes: &[u8]) -> Option<Leaf> {
        let bytes: &[u8; LEAF_BYTES] = bytes.try_into().ok()?;
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let [LEAF_VERSION, kind, 0, 0] = *head else { return None };
        let (sequence, rest) = rest.split_first_chunk()?;
        let (time, commitment) = rest.split_first_chunk()?;
        Some(Leaf {
            kind,
            sequence: u64::from_le_bytes(*sequence),
            time_us: u64::from_le_bytes(*time),
            commitment: commitment.try_into().ok()?,
        })
    }
}

/// Returns the commitment to a canonical record under a salt.
pub fn commitment(salt: &[u8; 32], canonical: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(COMMITMENT_LABEL);
    context.update(salt);
    context.update(canonical);
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}
