//! Whether a log may be signed for: what it signed before, and what others hold of it, must be in it.
//!
//! A restored backup is a log that ends early. Signing on would give two roots for one size, so a restored log opens
//! only when somebody shows its last checkpoint, and any log only when it contains what was shown.

use std::io;

use tlog::{Checkpoint, Hash, Tile};

use crate::disk::Disk;
use crate::error::{Damage, DamageKind, Error};
use crate::options::Options;
use crate::signers::LogKeys;
use crate::tree::{CHECKPOINT_FILE, read_if_there, read_tile};

/// Says that the folder was restored from a backup, and of what; there until the log may go on.
pub(crate) const RESTORED_FILE: &str = "restored";

/// Reads the checkpoints that were shown. One that another key signed is of another log of this name, and refused.
pub(crate) fn held(disk: &dyn Disk, options: &Options, log: &LogKeys) -> Result<Vec<Checkpoint>, Error> {
    let open = |bytes: &Vec<u8>| log.open(disk, bytes).map_err(|_| inconsistent(0));
    let mut held: Vec<Checkpoint> = options.held.iter().map(open).collect::<Result<_, _>>()?;
    held.sort_by_key(Checkpoint::size);
    Ok(held)
}

/// Returns what a restored folder says of itself; refuses it while nobody answers for its last checkpoint.
pub(crate) fn check_restored(disk: &dyn Disk, options: &Options) -> Result<Option<String>, Error> {
    let read = read_if_there(disk, RESTORED_FILE);
    let bytes = read.map_err(|source| Error::io(format!("read `{RESTORED_FILE}`"), source))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let what = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if options.resume_restored && !options.held.is_empty() {
        return Ok(Some(what));
    }
    Err(Error::Restored { what })
}

/// Compares with the tree that this log signed for, where its files have it.
pub(crate) fn check_signed(disk: &dyn Disk, held: &[Checkpoint], signed: &Checkpoint) -> Result<(), Error> {
    for outside in held.iter().filter(|outside| outside.size() <= signed.size()) {
        let read = |tile: Tile| -> io::Result<Vec<u8>> { Ok(read_tile(disk, tile)?.unwrap_or_default()) };
        let same = match outside.size() == signed.size() {
            true => signed.root() == outside.root(),
            false => tlog::root_from_tiles(outside.size(), &read).is_ok_and(|root| root == outside.root()),
        };
        if !same {
            return Err(inconsistent(outside.size()));
        }
    }
    Ok(())
}

/// Refuses a log that ends before what others hold of it.
pub(crate) fn check_reached(held: &[Checkpoint], found: u64) -> Result<(), Error> {
    match held.last().map(Checkpoint::size).filter(|size| *size > found) {
        Some(checkpoint) => Err(Error::Rollback { checkpoint, found }),
        None => Ok(()),
    }
}

pub(crate) fn inconsistent(size: u64) -> Error {
    let kind = DamageKind::Inconsistent;
    Error::Damaged(Damage { file: CHECKPOINT_FILE.to_owned(), offset: None, index: Some(size), kind })
}

/// Sizes at which the tree must have a known root, in order.
pub(crate) struct Known(Vec<(u64, Hash, bool)>);

impl Known {
    pub(crate) fn new(signed: &Checkpoint, held: &[Checkpoint]) -> Known {
        let mut all = vec![(signed.size(), signed.root(), true)];
        all.extend(held.iter().map(|outside| (outside.size(), outside.root(), false)));
        all.sort_by_key(|(size, ..)| *size);
        Known(all)
    }

    /// Returns the next of these sizes beyond one.
    pub(crate) fn next(&self, size: u64) -> Option<u64> {
        self.0.iter().map(|(known, ..)| *known).find(|known| *known > size)
    }

    /// Compares where a root is known.
    pub(crate) fn check(&self, size: u64, root: Hash) -> Result<(), Error> {
        let mut here = self.0.iter().filter(|(known, hash, _)| *known == size && *hash != root);
        match here.next() {
            None => Ok(()),
            Some((.., true)) => {
                let file = CHECKPOINT_FILE.to_owned();
                Err(Error::Damaged(Damage { file, offset: None, index: None, kind: DamageKind::Root }))
            }
            Some((.., false)) => Err(inconsistent(size)),
        }
    }
}
