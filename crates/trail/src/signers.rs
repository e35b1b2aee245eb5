//! The key that signs checkpoints: which one it is, and how it is followed by another.
//!
//! ```text
//! new seed, wrapped, in keys/ ─▶ change of key, signed by both, in tree/keys/ ─▶ both sign ─▶ KeyRotated in the log
//!                                                                            ─▶ verifier.txt ─▶ the old seed goes away
//! ```
//!
//! INVARIANT: the change in `tree/keys/` decides. Before it is there the old key signs alone, from then on the new one
//! does; what is left of a change that a crash cut off is done at the next opening.

use std::sync::Arc;
use std::time::Duration;

use model::{Kind, Micros};
use parking_lot::{Mutex, RwLock};
use tlog::{Checkpoint, KeyChange, NoteSigner, NoteVerifier, OpenError, SignedNote, Succession};

use crate::Trail;
use crate::allocate::is_no_space;
use crate::core::Core;
use crate::disk::{self, Disk};
use crate::error::{DamageKind, Error};
use crate::keys::{CHECKPOINT_KEY_FILE, Class, Keys, VERIFIER_FILE, class_file, class_of_file, generation};
use crate::read::read_verifier;
use crate::record;
use crate::scan::damage;
use crate::tree::read_if_there;

/// The changes of the log's key, one file each, below the trail's folder.
pub(crate) const KEY_CHANGES_FOLDER: &str = "tree/keys";

const US_PER_S: u64 = 1_000_000;

/// Returns the file of a change.
pub(crate) fn change_file(number: u32) -> String {
    format!("{KEY_CHANGES_FOLDER}/{number:04}")
}

/// Returns how often the key of a log has changed.
pub(crate) fn changes_count(disk: &dyn Disk) -> Result<u32, Error> {
    let names = disk.list(KEY_CHANGES_FOLDER);
    let names = names.map_err(|source| Error::io("list the changes of the log's key", source))?;
    let is_change = |name: &&String| name.bytes().all(|byte| byte.is_ascii_digit());
    let count = names.iter().filter(is_change).count();
    u32::try_from(count).map_err(|_| bad_change(KEY_CHANGES_FOLDER))
}

/// Returns the changes as they lie there, the first one first.
pub(crate) fn change_notes(disk: &dyn Disk) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut notes = Vec::new();
    for number in 1..=changes_count(disk)? {
        let file = change_file(number);
        let read =
            read_if_there(disk, &file).map_err(|source| Error::io(format!("read `{file}`"), source))?;
        let bytes = read.ok_or_else(|| bad_change(&file))?;
        notes.push((file, bytes));
    }
    Ok(notes)
}

/// Reads the changes, and follows them from a key that is believed.
pub(crate) fn read_succession(disk: &dyn Disk, believed: NoteVerifier) -> Result<Succession, Error> {
    let mut changes = Vec::new();
    for (file, bytes) in change_notes(disk)? {
        changes.push(KeyChange::open(&bytes).map_err(|_| bad_change(&file))?);
    }
    Succession::new(believed, changes).map_err(|_| bad_change(KEY_CHANGES_FOLDER))
}

fn bad_change(file: &str) -> Error {
    Error::Damaged(damage(file.to_owned(), None, None, DamageKind::KeyChange))
}

/// The keys of a log as one reader believes them: from one key, along the changes in the folder. All clones follow together.
#[derive(Clone, Debug)]
pub(crate) struct LogKeys {
    believed: NoteVerifier,
    known: Arc<RwLock<Succession>>,
}

impl LogKeys {
    /// Believes the key that the folder names.
    pub(crate) fn read(disk: &dyn Disk) -> Result<LogKeys, Error> {
        let believed = read_verifier(disk)?;
        LogKeys::believing(disk, believed)
    }

    /// Believes this key.
    pub(crate) fn believing(disk: &dyn Disk, believed: NoteVerifier) -> Result<LogKeys, Error> {
        let known = read_succession(disk, believed.clone())?;
        Ok(LogKeys { believed, known: Arc::new(RwLock::new(known)) })
    }

    /// Believes this key, and no other.
    pub(crate) fn only(believed: NoteVerifier) -> LogKeys {
        let known = Succession::of(believed.clone());
        LogKeys { believed, known: Arc::new(RwLock::new(known)) }
    }

    /// Returns the name of the log.
    pub(crate) fn origin(&self) -> &str {
        self.believed.name()
    }

    /// Returns the key that was believed first.
    pub(crate) fn believed(&self) -> &NoteVerifier {
        &self.believed
    }

    /// Returns the keys as they are known by now.
    pub(crate) fn succession(&self) -> Succession {
        self.known.read().clone()
    }

    /// Follows what was changed since.
    pub(crate) fn follow(&self, disk: &dyn Disk) -> Result<(), Error> {
        let known = read_succession(disk, self.believed.clone())?;
        *self.known.write() = known;
        Ok(())
    }

    /// Opens a checkpoint of this log.
    pub(crate) fn open(&self, disk: &dyn Disk, bytes: &[u8]) -> Result<Checkpoint, OpenError> {
        self.open_note(disk, &SignedNote::parse(bytes)?)
    }

    /// As [`LogKeys::open`], of a note already read.
    pub(crate) fn open_note(&self, disk: &dyn Disk, note: &SignedNote) -> Result<Checkpoint, OpenError> {
        let opened = self.known.read().from_note(note);
        match opened {
            // The key may have changed since the changes were read.
            Err(OpenError::Note(refused)) if self.follow(disk).is_ok() => {
                self.known.read().from_note(note).map_err(|_| OpenError::Note(refused))
            }
            opened => opened,
        }
    }
}

/// Who signs, and what was signed last.
pub(crate) struct Signing {
    current: Arc<NoteSigner>,
    old: Option<OldSigner>,
    /// The size that was signed last.
    pub(crate) published: u64,
    /// Whether it is to be signed again though the tree did not grow.
    pub(crate) again: bool,
}

/// The key that was followed, while it still signs.
struct OldSigner {
    signer: Arc<NoteSigner>,
    until_s: u64,
    file: String,
}

/// The keys that sign checkpoints. Whoever signs holds the lock.
pub(crate) struct Signers(pub(crate) Mutex<Signing>);

impl Signers {
    /// Takes the first key of a new log.
    pub(crate) fn new(signer: NoteSigner) -> Signers {
        Signers(Mutex::new(Signing { current: Arc::new(signer), old: None, published: 0, again: false }))
    }

    /// Reads the keys of a log that was begun.
    pub(crate) fn open(disk: &dyn Disk, keys: &Keys, log: &LogKeys) -> Result<Signers, Error> {
        let current = keys.checkpoint_signer(disk)?;
        let succession = log.succession();
        if current.verifier() != *succession.current() {
            let file = class_file(Class::Checkpoint, generation(changes_count(disk)?));
            return Err(Error::Damaged(damage(file, None, None, DamageKind::Key)));
        }
        let signers = Signers::new(current);
        if let Some(change) = succession.changes().last() {
            let number = generation(change.number - 1);
            let file = class_file(Class::Checkpoint, number);
            let there = read_if_there(disk, &file).map_err(|source| Error::io("read a key", source))?;
            if there.is_some() {
                let signer = Arc::new(keys.checkpoint_signer_of(disk, number)?);
                let mut signing = signers.0.lock();
                signing.old = Some(OldSigner { signer, until_s: change.both_until_s, file });
                // The last checkpoint may be from before the change.
                signing.again = true;
            }
        }
        Ok(signers)
    }
}

impl Signing {
    /// Signs a checkpoint.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> SignedNote {
        let old = self.old.iter().map(|old| &*old.signer);
        let signers: Vec<&NoteSigner> = std::iter::once(&*self.current).chain(old).collect();
        checkpoint.sign(&signers).expect("two signatures are within the limits of a note")
    }
}

/// A change of the key that signs checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRotation {
    /// Which change of this log it is.
    pub number: u32,
    /// The verifier key that was followed.
    pub old: String,
    /// The verifier key that follows it.
    pub new: String,
    /// How many entries the old key speaks for alone.
    pub entries: u64,
    /// Until when both sign.
    pub both_until: Micros,
    /// The entry that says so.
    pub index: u64,
}

impl Trail {
    /// Lets another key sign checkpoints; for a while both do. The change is signed by both keys, lies beside the tree, and
    /// is in the log. Blocks.
    ///
    /// # Errors
    /// While the change before is still under way. When the disk refuses before the change is there, nothing has changed;
    /// after that the trail has failed, and the next opening finishes it.
    pub fn rotate_checkpoint_key(&self, both: Duration) -> Result<KeyRotation, Error> {
        let core = &*self.handle.core;
        let change = begin(core, both)?;
        let index = finish(core, &change)?;
        Ok(KeyRotation {
            number: change.number,
            old: change.old.to_string(),
            new: change.new.to_string(),
            entries: change.entries,
            both_until: Micros(change.both_until_s.saturating_mul(US_PER_S)),
            index,
        })
    }

    /// Returns the key that others check this log by.
    pub fn verifier_key(&self) -> String {
        self.handle.core.log.succession().current().to_string()
    }
}

/// Makes the new key and puts the change in its place.
fn begin(core: &Core, both: Duration) -> Result<KeyChange, Error> {
    let disk = &*core.disk;
    let mut signing = core.signers.0.lock();
    if signing.old.is_some() {
        return Err(Error::Option { name: "overlap", problem: "the change before is still under way" });
    }
    let number = changes_count(disk)?.saturating_add(1);
    let place = generation(number);
    // A key without its change is of a change that never was.
    let new = core.keys.create_signer(disk, place)?;
    let change = KeyChange {
        number,
        entries: signing.published,
        both_until_s: core.now().0.saturating_add(u64::try_from(both.as_micros()).unwrap_or(u64::MAX))
            / US_PER_S,
        old: signing.current.verifier(),
        new: new.verifier(),
    };
    let note = change.sign(&signing.current, &new).expect("these are the keys that it names").to_string();
    if let Err(source) = put_change(disk, number, note.as_bytes()) {
        let full = is_no_space(&source);
        let error = Error::io("write a change of the log's key", source);
        if !full {
            core.fail("write a change of the log's key", &error);
        }
        return Err(error);
    }
    let new = Arc::new(new);
    let old = std::mem::replace(&mut signing.current, new);
    let file = class_file(Class::Checkpoint, generation(number - 1));
    signing.old = Some(OldSigner { signer: old, until_s: change.both_until_s, file });
    signing.again = true;
    core.log.follow(disk)?;
    Ok(change)
}

fn put_change(disk: &dyn Disk, number: u32, note: &[u8]) -> std::io::Result<()> {
    disk::replace(disk, &change_file(number), note)?;
    disk.sync_dir(disk::parent(KEY_CHANGES_FOLDER)).map_err(std::io::Error::other)
}

/// Records a change, and names the new key where others look for it.
fn finish(core: &Core, change: &KeyChange) -> Result<u64, Error> {
    let file = change_file(change.number);
    let read = core.disk.read(&file).map_err(|source| Error::io(format!("read `{file}`"), source))?;
    let note = String::from_utf8(read).map_err(|_| bad_change(&file))?;
    let mut canonical = Vec::new();
    record::encode(&core.own_record(Kind::KeyRotated, Some(&note)), &mut canonical)?;
    let receipt = core.take(&canonical, true)?.wait()?;
    let verifier = format!("{}\n", change.new);
    disk::replace(&*core.disk, VERIFIER_FILE, verifier.as_bytes())
        .map_err(|source| Error::io("name the new key", source))?;
    tracing::info!(number = change.number, new = %change.new, "trail: another key signs");
    Ok(receipt.index())
}

/// Does what is left of a change that a crash cut off: it was made, and the folder names the key before.
pub(crate) fn settle(core: &Core) -> Result<(), Error> {
    let succession = core.log.succession();
    let Some(change) = succession.changes().last() else { return Ok(()) };
    let named = read_verifier(&*core.disk)?;
    if named == change.new {
        return Ok(());
    }
    if named != change.old {
        return Err(Error::Damaged(damage(VERIFIER_FILE.to_owned(), None, None, DamageKind::KeyChange)));
    }
    finish(core, change).map(drop)
}

/// Lets the old key go when its time is over.
pub(crate) fn retire(core: &Core) {
    let mut signing = core.signers.0.lock();
    let over = |old: &&OldSigner| core.now().0 / US_PER_S >= old.until_s;
    let Some(old) = signing.old.as_ref().filter(over) else { return };
    let removed = core.disk.remove(&old.file).and_then(|()| core.disk.sync_dir(disk::parent(&old.file)));
    if let Err(error) = removed {
        tracing::warn!(%error, "trail: cannot remove the key that no longer signs");
        return;
    }
    let detail = format!("the checkpoint key {} signs no more", old.signer.verifier());
    signing.old = None;
    drop(signing);
    core.note(Kind::KeyRotated, Some(&detail));
}

/// Tells whether a file is a seed of this log's signing keys.
pub(crate) fn is_signing_key(name: &str) -> bool {
    format!("keys/{name}") == CHECKPOINT_KEY_FILE
        || class_of_file(name).is_some_and(|(class, _)| class == Class::Checkpoint)
}
