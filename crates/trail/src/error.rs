//! What can go wrong, by what the caller can do about it.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::record::{DecodeError, TooLarge};

/// Why the trail did not do what was asked. None of them ever means "recorded".
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The queue is full: more was offered than the disk takes. Try again, or refuse.
    #[error("the trail cannot keep up: the queue is full")]
    Overloaded,
    /// There is no space left for ordinary records. The trail resumes by itself when there is.
    #[error("the trail has no space left to record")]
    Unavailable,
    /// The disk failed. The process must end; opening again runs recovery.
    #[error("the trail failed and takes no more records")]
    Failed,
    /// The trail was closed.
    #[error("the trail is closed")]
    Closed,
    /// The record is longer than a record may be.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Another process holds the trail.
    #[error("another process holds the trail's lock")]
    Locked,
    /// The root key does not open the keys in the folder.
    #[error("the root key does not open `{file}`: it is another installation's key, or the file is damaged")]
    RootKey {
        /// The wrapped key's file.
        file: String,
    },
    /// The key of a month is not there though entries were written under it. No other is made in its place.
    #[error(
        "`{file}` is missing, and entry {index} is under that key: bring the file back from a backup of the trail's \
         folder, or what the key protects can never be read again"
    )]
    KeyLost {
        /// The wrapped key's file.
        file: String,
        /// An entry that needs it.
        index: u64,
    },
    /// The folder holds the log of another origin.
    #[error("the folder holds the log of `{found}`, not of `{expected}`")]
    Origin {
        /// The origin that was asked for.
        expected: String,
        /// The origin in the folder.
        found: String,
    },
    /// An option is out of its range.
    #[error("option `{name}`: {problem}")]
    Option {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What is on disk is not what was written. The trail does not open until somebody has looked.
    #[error("the trail is damaged: {0}")]
    Damaged(Damage),
    /// The log is shorter than a checkpoint that it signed: a restored backup, or lost files.
    #[error("rollback: the checkpoint covers {checkpoint} entries, the segments hold {found}")]
    Rollback {
        /// The size that was signed.
        checkpoint: u64,
        /// The entries that were found.
        found: u64,
    },
    /// The folder was restored from a backup, and nobody has shown that nothing was signed since.
    #[error("the log was restored and does not sign: {what}")]
    Restored {
        /// From what.
        what: String,
    },
    /// The bytes of a record are not canonical.
    #[error("the record is not in canonical form")]
    Decode(#[from] DecodeError),
    /// A sealed value does not open: another key, another session or operation, or damaged.
    #[error("the sealed value does not open")]
    Sealed,
    /// The operating system refused.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What it answered.
        source: Arc<io::Error>,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Error {
        Error::Io { what: what.into(), source: Arc::new(source) }
    }
}

/// A place in the trail's files and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, relative to the trail's folder.
    pub file: String,
    /// The byte within the file, where it is known.
    pub offset: Option<u64>,
    /// The first entry that is affected, where it is known.
    pub index: Option<u64>,
    /// What kind of damage.
    pub kind: DamageKind,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in `{}`", self.kind.name(), self.file)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if let Some(index) = self.index {
            write!(f, ", first bad entry {index}")?;
        }
        Ok(())
    }
}

/// What kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DamageKind {
    /// A file that must be there is not.
    Missing,
    /// A file is not named or numbered as it must be.
    Unexpected,
    /// A segment's header does not check.
    SegmentHeader,
    /// A frame's checksum or fields do not check.
    Frame,
    /// A frame checks by itself but does not follow from the one before it.
    Chain,
    /// The segments end before the entries that a checkpoint covers.
    Truncated,
    /// A frame does not decrypt or decompress.
    Sealing,
    /// A record is not in canonical form.
    Record,
    /// A record is not the one its leaf commits to.
    Commitment,
    /// A leaf is not in its fixed form, or says another place than it has.
    Leaf,
    /// An entry bundle does not hold the entries it should.
    Bundle,
    /// A tile is not what the leaves give.
    Tile,
    /// The leaves do not give the root that was signed.
    Root,
    /// The checkpoint is not a valid signed note of this log.
    Checkpoint,
    /// A checkpoint held elsewhere is not a prefix of this log.
    Inconsistent,
    /// A leaf's time is before the time of the leaf before it.
    Time,
    /// A running node left no entry for longer than a heartbeat may take.
    Heartbeat,
    /// A wrapped key does not open.
    Key,
    /// The sealed literals of an entry do not open.
    Literal,
    /// A file of the archive is not what its manifest in the log says, or two manifests hold the same entries.
    Archive,
    /// A start does not say truly where the log stood.
    Epoch,
    /// The changes of the log's key are no chain, or the log says other than they do.
    KeyChange,
    /// No checkpoint is signed by as many witnesses as the policy asks for.
    Quorum,
    /// Something in the store was deleted; a marker says so, and the version may still be there.
    Deleted,
    /// The store has another version of what is put only once.
    Version,
    /// An object in the store is not what was sealed.
    Object,
}

impl DamageKind {
    /// Returns the words used in reports.
    pub fn name(self) -> &'static str {
        match self {
            DamageKind::Missing => "missing file",
            DamageKind::Unexpected => "unexpected file",
            DamageKind::SegmentHeader => "bad segment header",
            DamageKind::Frame => "bad frame",
            DamageKind::Chain => "broken chain of frames",
            DamageKind::Truncated => "missing frames",
            DamageKind::Sealing => "frame does not decrypt",
            DamageKind::Record => "record not canonical",
            DamageKind::Commitment => "record differs from its leaf",
            DamageKind::Leaf => "bad leaf",
            DamageKind::Bundle => "bad entry bundle",
            DamageKind::Tile => "tile differs from the leaves",
            DamageKind::Root => "root differs from the leaves",
            DamageKind::Checkpoint => "bad checkpoint",
            DamageKind::Inconsistent => "not an extension of the given checkpoint",
            DamageKind::Time => "time runs backwards",
            DamageKind::Heartbeat => "missing heartbeat",
            DamageKind::Key => "wrapped key does not open",
            DamageKind::Literal => "sealed literals do not open",
            DamageKind::Archive => "archive differs from its manifest",
            DamageKind::Epoch => "bad or missing epoch head",
            DamageKind::KeyChange => "bad change of the log's key",
            DamageKind::Quorum => "not witnessed as the policy asks",
            DamageKind::Deleted => "deletion in the store",
            DamageKind::Version => "another version in the store",
            DamageKind::Object => "object differs from what was sealed",
        }
    }
}
