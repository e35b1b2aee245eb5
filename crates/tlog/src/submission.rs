//! What a log sends to a witness (C2SP `tlog-witness`, `add-checkpoint`): where the witness stood, the proof from
//! there, and the signed checkpoint.

use std::fmt;

use crate::checkpoint::decimal;
use crate::hash::{HASH_BYTES, Hash};
use crate::note::{NOTE_BYTES_MAX, NoteError, SignedNote};

/// The most lines of proof that the specification allows.
pub const SUBMISSION_HASHES_MAX: usize = 63;

/// The longest submission that is read.
pub const SUBMISSION_BYTES_MAX: usize = NOTE_BYTES_MAX + SUBMISSION_HASHES_MAX * 2 * HASH_BYTES + 64;

/// A checkpoint on its way to a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The size of the last checkpoint that the witness signed, 0 for none.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: SignedNote,
}

/// The bytes are no submission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// More than [`SUBMISSION_BYTES_MAX`] bytes or [`SUBMISSION_HASHES_MAX`] hashes.
    #[error("the submission is too long")]
    TooLong,
    /// Not an old size, hashes, an empty line and a note.
    #[error("malformed submission")]
    Malformed,
    /// The checkpoint in it is no signed note.
    #[error("the checkpoint in the submission is malformed")]
    Note(#[from] NoteError),
}

impl Submission {
    /// Reads a submission without verifying anything.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, SubmissionError> {
        if bytes.len() > SUBMISSION_BYTES_MAX {
            return Err(SubmissionError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SubmissionError::Malformed)?;
        let (head, note) = text.split_once("\n\n").ok_or(SubmissionError::Malformed)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(SubmissionError::Malformed)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == SUBMISSION_HASHES_MAX {
                return Err(SubmissionError::TooLong);
            }
            proof.push(line.parse().map_err(|_| SubmissionError::Malformed)?);
        }
        Ok(Self { old, proof, checkpoint: SignedNote::parse(note.as_bytes())? })
    }
}

/// The submission as it is sent.
impl fmt::Display for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
