//! Checkpoints (C2SP `tlog-checkpoint`): which log, how many leaves, which root.

use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;
use crate::note::{NoteError, NoteSigner, NoteVerifier, SignedNote};
use crate::tile::LEAVES_MAX;

/// The head of a log at one size: the text of the note that the log signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

/// The text or the parts are no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The origin is empty or holds a control character.
    #[error("the origin is not a line of text")]
    Origin,
    /// The size is no decimal number in its shortest form, or is above [`LEAVES_MAX`].
    #[error("the tree size is not a number of leaves")]
    Size,
    /// The root is not the Base64 form of 32 bytes.
    #[error("the root is not a hash")]
    Root,
    /// An extension line is empty or holds a control character.
    #[error("an extension is not a line of text")]
    Extension,
    /// The text does not end in a newline.
    #[error("the last line does not end")]
    Unterminated,
}

/// A signed checkpoint is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The note cannot be read, or its signatures do not hold.
    #[error("the checkpoint's note is refused")]
    Note(#[from] NoteError),
    /// The signed text is no checkpoint.
    #[error("the note is signed, but no checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is another log's.
    #[error("the checkpoint is of the log `{found}`")]
    Origin {
        /// The origin that it names.
        found: String,
    },
}

impl Checkpoint {
    /// Returns the checkpoint of a log.
    ///
    /// # Errors
    /// When the origin is not a line of text, or the size too large.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_line(origin) {
            return Err(CheckpointError::Origin);
        }
        if size > LEAVES_MAX {
            return Err(CheckpointError::Size);
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Adds an extension line. The specification advises against them.
    ///
    /// # Errors
    /// When it is not a line of text.
    pub fn with_extension(mut self, line: &str) -> Result<Self, CheckpointError> {
        if !is_line(line) {
            return Err(CheckpointError::Extension);
        }
        self.extensions.push(line.to_owned());
        Ok(self)
    }

    /// Signs the checkpoint. The name of the log's key should be its origin.
    ///
    /// # Errors
    /// When there is no signer, or the note would exceed a limit.
    pub fn sign(&self, signers: &[&NoteSigner]) -> Result<SignedNote, NoteError> {
        SignedNote::sign(self.to_string(), signers)
    }

    /// Reads a signed checkpoint and believes it only if it is of this origin and a known key signed it.
    ///
    /// # Errors
    /// When the note is malformed, not signed by a known key or wrongly signed, no checkpoint, or of another log.
    pub fn open(bytes: &[u8], origin: &str, known: &[NoteVerifier]) -> Result<Self, OpenError> {
        Self::from_note(&SignedNote::parse(bytes)?, origin, known)
    }

    /// As [`Checkpoint::open`], of a note already read.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_note(note: &SignedNote, origin: &str, known: &[NoteVerifier]) -> Result<Self, OpenError> {
        note.verify(known)?;
        let checkpoint: Self = note.text().parse()?;
        if checkpoint.origin == origin {
            Ok(checkpoint)
        } else {
            Err(OpenError::Origin { found: checkpoint.origin })
        }
    }

    /// Returns the name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the Merkle tree hash of these leaves.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Returns the extension lines.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().map(String::as_str)
    }
}

/// The text to sign.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Unterminated)?.split('\n');
        let origin = lines.next().ok_or(CheckpointError::Origin)?;
        let size = lines.next().and_then(decimal).ok_or(CheckpointError::Size)?;
        let root = lines.next().and_then(|line| line.parse().ok()).ok_or(CheckpointError::Root)?;
        lines.try_fold(Self::new(origin, size, root)?, Self::with_extension)
    }
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte >= b' ')
}

/// Reads a decimal number written in its shortest form.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let shortest = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| shortest && digits)
}
