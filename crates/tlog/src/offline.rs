//! Proofs for outsiders (C2SP `tlog-proof`): an inclusion proof and the signed checkpoint it leads to, in one text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, OpenError, decimal};
use crate::hash::{HASH_BYTES, Hash};
use crate::note::{NOTE_BYTES_MAX, NoteError, NoteVerifier, SignedNote};
use crate::proof::{PROOF_HASHES_MAX, ProofError, verify_inclusion};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest extra datum: larger things do not belong into a proof.
pub const PROOF_EXTRA_BYTES_MAX: usize = 64 * 1024;

/// The longest proof that is read: a note, the hashes, and extra data in Base64.
pub const PROOF_BYTES_MAX: usize =
    NOTE_BYTES_MAX + PROOF_HASHES_MAX * 2 * HASH_BYTES + PROOF_EXTRA_BYTES_MAX * 3 / 2;

/// Shows, without asking the log, that an entry is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineProof {
    /// The number of the entry, from 0.
    pub index: u64,
    /// The audit path of [`crate::prove_inclusion`].
    pub hashes: Vec<Hash>,
    /// What the application adds, at most [`PROOF_EXTRA_BYTES_MAX`]. Nothing proves it.
    pub extra: Option<Vec<u8>>,
    /// The signed checkpoint of the tree.
    pub checkpoint: SignedNote,
}

/// A proof cannot be read or does not prove.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfflineProofError {
    /// More than [`PROOF_BYTES_MAX`] bytes, [`PROOF_EXTRA_BYTES_MAX`] of extra data or [`PROOF_HASHES_MAX`] hashes.
    #[error("the proof is too long")]
    TooLong,
    /// Not the text of such a proof.
    #[error("malformed proof")]
    Malformed,
    /// The checkpoint in it is no signed note.
    #[error("the checkpoint in the proof is malformed")]
    Note(#[from] NoteError),
    /// The checkpoint in it is not to be believed.
    #[error("the checkpoint in the proof is refused")]
    Checkpoint(#[from] OpenError),
    /// The hashes do not lead from the entry to the root.
    #[error("the entry is not proven")]
    Inclusion(#[from] ProofError),
}

impl OfflineProof {
    /// Reads a proof without verifying it.
    ///
    /// # Errors
    /// When the bytes are no such proof.
    pub fn parse(bytes: &[u8]) -> Result<Self, OfflineProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(OfflineProofError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| OfflineProofError::Malformed)?;
        let (head, note) = text.split_once("\n\n").ok_or(OfflineProofError::Malformed)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(OfflineProofError::Malformed);
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.and_then(|line| line.strip_prefix("extra ")).map(|base64| STANDARD.decode(base64));
        let extra = extra.transpose().map_err(|_| OfflineProofError::Malformed)?;
        if extra.as_ref().is_some_and(|extra| extra.len() > PROOF_EXTRA_BYTES_MAX) {
            return Err(OfflineProofError::TooLong);
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(OfflineProofError::Malformed)?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == PROOF_HASHES_MAX {
                return Err(OfflineProofError::TooLong);
            }
            hashes.push(line.parse().map_err(|_| OfflineProofError::Malformed)?);
        }
        Ok(Self { index, hashes, extra, checkpoint: SignedNote::parse(note.as_bytes())? })
    }

    /// Returns the believed checkpoint if the leaf with this hash is in its tree at [`OfflineProof::index`].
    ///
    /// # Errors
    /// When the checkpoint is refused (see [`Checkpoint::open`]) or the hashes do not lead to its root.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        known: &[NoteVerifier],
    ) -> Result<Checkpoint, OfflineProofError> {
        let checkpoint = Checkpoint::from_note(&self.checkpoint, origin, known)?;
        verify_inclusion(self.index, checkpoint.size(), leaf, &self.hashes, &checkpoint.root())?;
        Ok(checkpoint)
    }
}

/// The proof as it is stored, in files called `.tlog-proof`.
impl fmt::Display for OfflineProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
