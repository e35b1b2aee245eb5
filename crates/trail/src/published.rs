//! The public half of a trail as others see it: its checkpoints, and proofs made from its tiles. Needs no key.
//!
//! Also beside a process that writes. Deliberately absent: any check of the tiles (`verify`), and the network over which
//! a checkpoint reaches its witnesses.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tlog::{Bundle, Checkpoint, Hash, NoteVerifier, OfflineProof, SignedNote, Succession, Tile};

use crate::disk::{self, Disk, Folder};
use crate::error::{DamageKind, Error};
use crate::leaf::LEAF_BYTES;
use crate::scan::damage;
use crate::signers::LogKeys;
use crate::tree::{CHECKPOINT_FILE, read_bundle, read_if_there, read_tile, tree_file};

/// The newest checkpoint that a quorum of witnesses signed, below the trail's folder.
pub(crate) const WITNESSED_FILE: &str = "tree/witnessed";

/// A signed checkpoint of this log: the note with all its signatures, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The note as it is stored.
    pub note: SignedNote,
    /// What the log's key signed.
    pub checkpoint: Checkpoint,
}

/// The public half of one trail.
#[derive(Clone)]
pub struct Published {
    disk: Arc<dyn Disk>,
    log: LogKeys,
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Published {
    /// Opens the public half of the trail in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> Result<Published, Error> {
        let disk = Folder::open(folder).map_err(|source| Error::io("open the trail's folder", source))?;
        Published::open_on(Arc::new(disk))
    }

    /// As [`Published::open`], on any disk.
    ///
    /// # Errors
    /// As [`Published::open`].
    pub fn open_on(disk: Arc<dyn Disk>) -> Result<Published, Error> {
        let log = LogKeys::read(&*disk)?;
        Ok(Published { disk, log })
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        self.log.origin()
    }

    /// Returns the log's own key, the one that signs now, as the folder says it.
    pub fn verifier(&self) -> NoteVerifier {
        self.log.succession().current().clone()
    }

    /// Returns the log's keys, from its first to the one that signs now, as the folder says it.
    pub fn keys(&self) -> Succession {
        self.log.succession()
    }

    /// Returns the newest checkpoint.
    ///
    /// # Errors
    /// When it is missing, or the log's key did not sign it.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, Error> {
        let missing = || Error::Damaged(damage(CHECKPOINT_FILE.to_owned(), None, None, DamageKind::Missing));
        self.read(CHECKPOINT_FILE)?.ok_or_else(missing)
    }

    /// Returns the newest checkpoint that a quorum of witnesses signed; `None` when there never was one.
    ///
    /// # Errors
    /// When it cannot be read, or the log's key did not sign it.
    pub fn witnessed(&self) -> Result<Option<SignedCheckpoint>, Error> {
        self.read(WITNESSED_FILE)
    }

    /// Stores a checkpoint of this log that witnesses signed, durably. An older one never replaces a newer one.
    ///
    /// # Errors
    /// When the log's key did not sign it, or it cannot be written.
    pub fn store_witnessed(&self, note: &SignedNote) -> Result<(), Error> {
        let new = self.believe(WITNESSED_FILE, note)?;
        if self.witnessed()?.is_some_and(|stored| stored.checkpoint.size() > new.size()) {
            return Ok(());
        }
        disk::replace(&*self.disk, WITNESSED_FILE, note.to_string().as_bytes())
            .map_err(|source| Error::io("write the witnessed checkpoint", source))
    }

    /// Returns the proof that the tree of `new` leaves continues the tree of `old` leaves.
    ///
    /// # Errors
    /// When `old` is above `new`, or a tile is missing.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        tlog::prove_consistency(old, new, &|tile| whole_tile(&*self.disk, tile)).map_err(unproven)
    }

    /// Returns the proof that an entry is in the log, up to the newest checkpoint that witnesses signed, or else to the
    /// newest. Its extra datum is the leaf.
    ///
    /// # Errors
    /// When no checkpoint covers the entry, or a file is missing.
    pub fn prove(&self, index: u64) -> Result<OfflineProof, Error> {
        let witnessed = self.witnessed()?.filter(|witnessed| witnessed.checkpoint.size() > index);
        let SignedCheckpoint { note, checkpoint } = match witnessed {
            Some(witnessed) => witnessed,
            None => self.checkpoint()?,
        };
        let size = checkpoint.size();
        let hashes = inclusion(&*self.disk, index, size)?;
        let extra = Some(self.leaf(index, size)?);
        Ok(OfflineProof { index, hashes, extra, checkpoint: note })
    }

    fn leaf(&self, index: u64, size: u64) -> Result<Vec<u8>, Error> {
        let bundle = Bundle::at(index / 256, size);
        let bundle = bundle.ok_or(Error::Option { name: "index", problem: "no checkpoint covers it" })?;
        let file = tree_file(&bundle.path());
        let bad = |kind| Error::Damaged(damage(file.clone(), None, Some(index), kind));
        let bytes = read_bundle(&*self.disk, bundle);
        let bytes = bytes.map_err(|source| Error::io(format!("read `{file}`"), source))?;
        let bytes = bytes.ok_or_else(|| bad(DamageKind::Missing))?;
        let at = usize::try_from(index % 256).unwrap_or(usize::MAX).saturating_mul(LEAF_BYTES + 2) + 2;
        bytes.get(at..at + LEAF_BYTES).map(<[u8]>::to_vec).ok_or_else(|| bad(DamageKind::Bundle))
    }

    fn read(&self, file: &str) -> Result<Option<SignedCheckpoint>, Error> {
        let bytes = read_if_there(&*self.disk, file);
        let Some(bytes) = bytes.map_err(|source| Error::io(format!("read `{file}`"), source))? else {
            return Ok(None);
        };
        let bad = || Error::Damaged(damage(file.to_owned(), None, None, DamageKind::Checkpoint));
        let note = SignedNote::parse(&bytes).map_err(|_| bad())?;
        let checkpoint = self.believe(file, &note)?;
        Ok(Some(SignedCheckpoint { note, checkpoint }))
    }

    fn believe(&self, file: &str, note: &SignedNote) -> Result<Checkpoint, Error> {
        self.log
            .open_note(&*self.disk, note)
            .map_err(|_| Error::Damaged(damage(file.to_owned(), None, None, DamageKind::Checkpoint)))
    }
}

/// Returns the hashes that lead from an entry to the root of a tree of this size.
pub(crate) fn inclusion(disk: &dyn Disk, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
    tlog::prove_inclusion(index, size, &|tile| whole_tile(disk, tile)).map_err(unproven)
}

fn whole_tile(disk: &dyn Disk, tile: Tile) -> io::Result<Vec<u8>> {
    read_tile(disk, tile)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn unproven(error: tlog::ReadError<io::Error>) -> Error {
    match error {
        tlog::ReadError::Reader { tile, source } => {
            let file = tree_file(&tile.path());
            match source.kind() {
                io::ErrorKind::NotFound => Error::Damaged(damage(file, None, None, DamageKind::Missing)),
                _ => Error::io(format!("read `{file}`"), source),
            }
        }
        tlog::ReadError::Length { tile, .. } => {
            Error::Damaged(damage(tree_file(&tile.path()), None, None, DamageKind::Tile))
        }
        tlog::ReadError::OutOfRange => Error::Option { name: "index", problem: "no checkpoint covers it" },
    }
}
