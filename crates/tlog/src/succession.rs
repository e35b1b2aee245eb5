//! How a log changes its key: a note that both keys sign, and the chain of such notes.
//!
//! Whoever believes one key of the chain believes the others, each for what it may sign: a key that was followed by
//! another speaks for trees up to the size at which it was followed. A key that is stolen later signs nothing new.
//!
//! Deliberately absent: where the notes are kept, and when a key is changed (`trail`).

use std::fmt;

use crate::checkpoint::{Checkpoint, OpenError, decimal};
use crate::note::{NoteError, NoteSigner, NoteVerifier, SignedNote};

/// The first line of a change of key; its spaces keep it from being taken for the checkpoint of a log.
const HEADER: &str = "wardline key change v1";

/// The most changes of key that a log may have.
pub const KEY_CHANGES_MAX: usize = 1_000;

/// One change of a log's key: the text of a note that both keys sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Which change of this log it is, from 1.
    pub number: u32,
    /// The size of the last tree for which the old key speaks alone.
    pub entries: u64,
    /// Until when both keys sign, in seconds since 1970.
    pub both_until_s: u64,
    /// The key that is followed.
    pub old: NoteVerifier,
    /// The key that follows it.
    pub new: NoteVerifier,
}

/// A change of key is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeError {
    /// It is no signed note.
    #[error("the change of key is no signed note")]
    Note(#[from] NoteError),
    /// The note is not in the one form that a change of key has.
    #[error("the note is no change of key")]
    Form,
    /// One of the two keys did not sign.
    #[error("the change of key is not signed by both keys")]
    Unsigned,
    /// The changes do not follow each other, or the believed key is none of theirs.
    #[error("the changes of key are no chain that the believed key is in")]
    Chain,
}

impl KeyChange {
    /// Returns the name of the log: that of both keys.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.new.name()
    }

    /// Signs the change with both keys.
    ///
    /// # Errors
    /// When these are not the keys that it names.
    pub fn sign(&self, old: &NoteSigner, new: &NoteSigner) -> Result<SignedNote, KeyChangeError> {
        if old.verifier() != self.old || new.verifier() != self.new {
            return Err(KeyChangeError::Unsigned);
        }
        Ok(SignedNote::sign(self.to_string(), &[old, new])?)
    }

    /// Reads a change of key, and believes that both keys agreed to it. Whether either is to be believed is for
    /// [`Succession`].
    ///
    /// # Errors
    /// When it is no such note, or not signed by both.
    pub fn open(bytes: &[u8]) -> Result<KeyChange, KeyChangeError> {
        let note = SignedNote::parse(bytes)?;
        let change = KeyChange::read(note.text()).ok_or(KeyChangeError::Form)?;
        let both = [change.old.clone(), change.new.clone()];
        let signed = note.verify(&both).map_err(|_| KeyChangeError::Unsigned)?.len();
        if signed == both.len() { Ok(change) } else { Err(KeyChangeError::Unsigned) }
    }

    fn read(text: &str) -> Option<KeyChange> {
        let mut lines = text.strip_prefix(HEADER)?.strip_prefix('\n')?.split_terminator('\n');
        let mut word = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let origin = word("origin")?;
        let change = KeyChange {
            number: decimal(word("number")?)?.try_into().ok()?,
            entries: decimal(word("entries")?)?,
            both_until_s: decimal(word("both-until")?)?,
            old: word("old")?.parse().ok()?,
            new: word("new")?.parse().ok()?,
        };
        let names = [change.old.name(), change.new.name()];
        let fits = names == [origin; 2] && change.old != change.new && change.number > 0;
        // One spelling for each change.
        (fits && change.to_string() == text).then_some(change)
    }
}

/// The text that is signed.
impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\norigin {}\nnumber {}", self.origin(), self.number)?;
        writeln!(f, "entries {}\nboth-until {}", self.entries, self.both_until_s)?;
        writeln!(f, "old {}\nnew {}", self.old, self.new)
    }
}

/// The keys of one log, from its first to the one that signs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    keys: Vec<NoteVerifier>,
    changes: Vec<KeyChange>,
}

impl Succession {
    /// Returns the keys of a log whose key never changed, as far as anybody says.
    #[must_use]
    pub fn of(believed: NoteVerifier) -> Succession {
        Succession { keys: vec![believed], changes: Vec::new() }
    }

    /// Follows all changes of a log's key, from the first on. The believed key must be one of theirs.
    ///
    /// # Errors
    /// When they are no chain, or the believed key is not in it.
    pub fn new(believed: NoteVerifier, changes: Vec<KeyChange>) -> Result<Succession, KeyChangeError> {
        let Some(first) = changes.first() else { return Ok(Succession::of(believed)) };
        if changes.len() > KEY_CHANGES_MAX {
            return Err(KeyChangeError::Chain);
        }
        let mut keys = vec![first.old.clone()];
        let mut entries = 0;
        for (number, change) in (1..).zip(&changes) {
            let follows = keys.last() == Some(&change.old) && !keys.contains(&change.new);
            if !follows || change.number != number || change.entries < entries {
                return Err(KeyChangeError::Chain);
            }
            entries = change.entries;
            keys.push(change.new.clone());
        }
        if keys.contains(&believed) { Ok(Succession { keys, changes }) } else { Err(KeyChangeError::Chain) }
    }

    /// Returns the name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.current().name()
    }

    /// Returns the key that signs now.
    #[must_use]
    pub fn current(&self) -> &NoteVerifier {
        self.keys.last().expect("a log has a key")
    }

    /// Returns all keys, the first one first.
    #[must_use]
    pub fn keys(&self) -> &[NoteVerifier] {
        &self.keys
    }

    /// Returns the changes, the first one first.
    #[must_use]
    pub fn changes(&self) -> &[KeyChange] {
        &self.changes
    }

    /// Reads a signed checkpoint and believes it only if it is of this log and a key signed it that speaks for a tree of
    /// that size.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open(&self, bytes: &[u8]) -> Result<Checkpoint, OpenError> {
        self.from_note(&SignedNote::parse(bytes)?)
    }

    /// As [`Succession::open`], of a note already read.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_note(&self, note: &SignedNote) -> Result<Checkpoint, OpenError> {
        let checkpoint = Checkpoint::from_note(note, self.origin(), &self.keys)?;
        let signed = note.verify(&self.keys)?;
        let speaks = |key: &NoteVerifier| self.speaks_up_to(key).is_none_or(|end| checkpoint.size() <= end);
        if signed.into_iter().any(speaks) { Ok(checkpoint) } else { Err(NoteError::Unsigned.into()) }
    }

    /// Returns the newest of the keys that signed a note.
    #[must_use]
    pub fn signer_of(&self, note: &SignedNote) -> Option<&NoteVerifier> {
        let signed = note.verify(&self.keys).ok()?;
        self.keys.iter().rev().find(|key| signed.contains(key))
    }

    /// Returns the size of the last tree for which a key speaks; `None` for the key that signs now.
    fn speaks_up_to(&self, key: &NoteVerifier) -> Option<u64> {
        self.changes.iter().find(|change| change.old == *key).map(|change| change.entries)
    }
}
