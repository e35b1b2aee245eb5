//! The public half of the trail: leaves become tiles, entry bundles and signed checkpoints under `tree/`.
//!
//! Everything here can be made again from the frames. A checkpoint is signed only over files that are durable.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use tlog::{Bundle, Checkpoint, Tile, TileBuilder, encode_entry, leaf_hash};

use crate::disk::{self, Disk};
use crate::error::{DamageKind, Error};
use crate::leaf::LEAF_BYTES;
use crate::scan::damage;
use crate::signers::{LogKeys, Signers, Signing};

/// The checkpoint, below the trail's folder.
pub(crate) const CHECKPOINT_FILE: &str = "tree/checkpoint";

/// How often a partial file that is gone is looked for in its wider forms, while a writer replaces these, too.
const GROWN_TRIES_MAX: u32 = 1_000;

/// Returns where a file of the tree lies, below the trail's folder.
pub(crate) fn tree_file(path: &str) -> String {
    format!("tree/{path}")
}

/// Reads the checkpoint and checks that a key of this log signed it.
pub(crate) fn read_checkpoint(disk: &dyn Disk, log: &LogKeys) -> Result<Checkpoint, Error> {
    let file = || CHECKPOINT_FILE.to_owned();
    let bytes = match disk.read(CHECKPOINT_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Damaged(damage(file(), None, None, DamageKind::Missing)));
        }
        Err(error) => return Err(Error::io("read the checkpoint", error)),
    };
    log.open(disk, &bytes).map_err(|_| Error::Damaged(damage(file(), None, None, DamageKind::Checkpoint)))
}

/// Reads a tile as it was at its width; `None` when it is not there, also not in a wider form.
pub(crate) fn read_tile(disk: &dyn Disk, tile: Tile) -> io::Result<Option<Vec<u8>>> {
    read_grown(disk, &tile.path(), &tile.full().path(), usize::from(tile.width()) * 32)
}

/// Reads a bundle as it was at its width; `None` when it is not there, also not in a wider form.
pub(crate) fn read_bundle(disk: &dyn Disk, bundle: Bundle) -> io::Result<Option<Vec<u8>>> {
    let full = Bundle::new(bundle.index(), tlog::TILE_HASHES_MAX).expect("256 is a width");
    read_grown(disk, &bundle.path(), &full.path(), usize::from(bundle.width()) * (LEAF_BYTES + 2))
}

/// A partial file goes away a while after a wider one came: then the wider one begins with the same bytes. That one may
/// go, too, between listing and reading, but only behind a new checkpoint: so a file is missing when it was not found
/// although the checkpoint stayed the same.
fn read_grown(disk: &dyn Disk, path: &str, full: &str, length: usize) -> io::Result<Option<Vec<u8>>> {
    for _ in 0..GROWN_TRIES_MAX {
        let checkpoint = read_if_there(disk, CHECKPOINT_FILE)?;
        if let Some(bytes) = try_read_grown(disk, path, full, length)? {
            return Ok(Some(bytes));
        }
        if path == full || checkpoint == read_if_there(disk, CHECKPOINT_FILE)? {
            return Ok(None);
        }
    }
    Ok(None)
}

fn try_read_grown(disk: &dyn Disk, path: &str, full: &str, length: usize) -> io::Result<Option<Vec<u8>>> {
    if let Some(bytes) = read_if_there(disk, &tree_file(path))? {
        return Ok(Some(bytes));
    }
    if path == full {
        return Ok(None);
    }
    let folder = tree_file(&format!("{full}.p"));
    let wider = disk.list(&folder)?.into_iter().map(|name| format!("{folder}/{name}"));
    for file in std::iter::once(tree_file(full)).chain(wider) {
        if let Some(mut bytes) = read_if_there(disk, &file)?.filter(|bytes| bytes.len() > length) {
            bytes.truncate(length);
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Reads a file; `None` when it is not there.
pub(crate) fn read_if_there(disk: &dyn Disk, file: &str) -> io::Result<Option<Vec<u8>>> {
    match disk.read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The growing tree and its files.
pub(crate) struct Tree {
    disk: Arc<dyn Disk>,
    signers: Arc<Signers>,
    origin: String,
    builder: TileBuilder,
    /// The entries of the bundle that is not full yet.
    bundle: Vec<u8>,
    /// Full files that are not written yet, in order.
    unwritten: VecDeque<(String, Vec<u8>)>,
    /// Files and folders to bring to disk before the next checkpoint.
    unsynced: BTreeSet<String>,
    unsynced_folders: BTreeSet<String>,
    /// Partial files of the last checkpoint and of the one before it.
    partials: [Vec<String>; 2],
    published: u64,
}

impl Tree {
    /// Begins a tree with no files.
    pub(crate) fn new(disk: Arc<dyn Disk>, signers: Arc<Signers>, origin: &str) -> Tree {
        Tree {
            disk,
            signers,
            origin: origin.to_owned(),
            builder: TileBuilder::new(),
            bundle: Vec::new(),
            unwritten: VecDeque::new(),
            unsynced: BTreeSet::new(),
            unsynced_folders: BTreeSet::new(),
            partials: Default::default(),
            published: 0,
        }
    }

    /// Continues the tree of a checkpoint from its files; `None` when they do not give its root.
    pub(crate) fn load(mut self, checkpoint: &Checkpoint) -> Option<Tree> {
        let size = checkpoint.size();
        let disk = Arc::clone(&self.disk);
        let read = move |path: String| disk.read(&tree_file(&path));
        self.builder = TileBuilder::from_tiles(size, &|tile: Tile| read(tile.path())).ok()?;
        if self.builder.root() != checkpoint.root() {
            return None;
        }
        if let Some(bundle) = Tile::partial(0, size).map(Bundle::from) {
            self.bundle = self.disk.read(&tree_file(&bundle.path())).ok()?;
            let entries = tlog::decode_bundle(bundle, &self.bundle).ok()?;
            let (_, row) = self.builder.partial(0)?;
            if !entries.iter().map(|entry| leaf_hash(entry).0).eq(row.as_chunks::<32>().0.iter().copied()) {
                return None;
            }
        }
        self.published = size;
        self.signers.0.lock().published = size;
        let [last, _] = &mut self.partials;
        last.extend(partial_paths(size));
        Some(self)
    }

    pub(crate) fn size(&self) -> u64 {
        self.builder.size()
    }

    pub(crate) fn root(&self) -> tlog::Hash {
        self.builder.root()
    }

    /// Appends leaves; the files that they fill wait for [`Tree::flush`].
    pub(crate) fn append(&mut self, leaves: &[u8]) {
        for leaf in leaves.as_chunks::<LEAF_BYTES>().0 {
            encode_entry(leaf, &mut self.bundle).expect("a leaf fits an entry");
            let (bundle, unwritten) = (&mut self.bundle, &mut self.unwritten);
            self.builder.push(leaf_hash(leaf), |tile, bytes| {
                if tile.level() == 0 {
                    unwritten.push_back((tree_file(&Bundle::from(tile).path()), std::mem::take(bundle)));
                }
                unwritten.push_back((tree_file(&tile.path()), bytes.to_vec()));
            });
        }
    }

    /// Writes the files that were filled. After an error it may be called again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some((file, bytes)) = self.unwritten.front() {
            write_if_other(&*self.disk, file, bytes)?;
            self.unsynced.extend(self.unwritten.pop_front().map(|(file, _)| file));
        }
        Ok(())
    }

    /// Makes the tree's files durable, signs its root and replaces the checkpoint, if the tree grew. After an
    /// error for lack of space it may be called again.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        self.flush()?;
        let size = self.size();
        if size == self.published && size > 0 {
            return self.sign_again();
        }
        let [signed, _] = &self.partials;
        for (tile, bytes) in self.builder.partials() {
            // A tile of the last checkpoint that did not grow since: writing it again could only harm it.
            if signed.contains(&tree_file(&tile.path())) {
                continue;
            }
            write(&*self.disk, &mut self.unsynced, &tile.path(), bytes)?;
            if tile.level() == 0 {
                write(&*self.disk, &mut self.unsynced, &Bundle::from(tile).path(), &self.bundle)?;
            }
        }
        // After a failed sync nothing is known, also when it says that there is no space.
        self.sync().map_err(io::Error::other)?;
        self.sign(&mut self.signers.0.lock())?;
        self.published = size;
        self.forget_partials();
        Ok(())
    }

    /// Signs the tree as it is. INVARIANT: its files are durable.
    fn sign(&self, signing: &mut Signing) -> io::Result<()> {
        let checkpoint = Checkpoint::new(&self.origin, self.size(), self.root())
            .expect("the origin was checked when the log was opened");
        let note = signing.sign(&checkpoint);
        disk::replace(&*self.disk, CHECKPOINT_FILE, note.to_string().as_bytes())?;
        signing.published = self.size();
        signing.again = false;
        Ok(())
    }

    /// Signs what was published once more, if the keys changed.
    fn sign_again(&self) -> io::Result<()> {
        let mut signing = self.signers.0.lock();
        if signing.again { self.sign(&mut signing) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        for file in &self.unsynced {
            self.disk.sync(file)?;
            let mut folder = disk::parent(file);
            while !folder.is_empty() && self.unsynced_folders.insert(folder.to_owned()) {
                folder = disk::parent(folder);
            }
        }
        for folder in &self.unsynced_folders {
            self.disk.sync_dir(folder)?;
        }
        self.unsynced.clear();
        self.unsynced_folders.clear();
        Ok(())
    }

    /// Removes the partial files of the checkpoint before the last one: whoever still reads by it finds the
    /// same hashes in wider files.
    fn forget_partials(&mut self) {
        let current: Vec<String> = partial_paths(self.published).collect();
        let [last, before] = &mut self.partials;
        for file in before.drain(..).filter(|file| !last.contains(file) && !current.contains(file)) {
            remove_partial(&*self.disk, &file);
        }
        *before = std::mem::replace(last, current);
    }

    /// Removes all partial files that the last checkpoint does not need: at the end of a run.
    pub(crate) fn tidy(&mut self) {
        let [last, before] = &mut self.partials;
        for file in before.drain(..).filter(|file| !last.contains(file)) {
            remove_partial(&*self.disk, &file);
        }
    }
}

fn write(disk: &dyn Disk, unsynced: &mut BTreeSet<String>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let file = tree_file(path);
    write_if_other(disk, &file, bytes)?;
    unsynced.insert(file);
    Ok(())
}

/// Writes a file unless it is there already. A recovery that makes the tree again must not tear, in a second crash, what
/// a checkpoint stands on.
fn write_if_other(disk: &dyn Disk, file: &str, bytes: &[u8]) -> io::Result<()> {
    let is_there = || Ok::<bool, io::Error>(read_if_there(disk, file)?.is_some_and(|there| there == bytes));
    if is_there()? {
        // After a failed sync the cache may show what the disk does not have.
        disk.open_read(file)?.forget()?;
        if is_there()? {
            return Ok(());
        }
    }
    disk.write(file, bytes)
}

fn remove_partial(disk: &dyn Disk, file: &str) {
    // Only tidying: a file that stays does no harm.
    let _stays = disk.remove(file);
    let _not_empty = disk.remove_dir(disk::parent(file));
}

/// Returns the partial files of a tree of this size.
pub(crate) fn partial_paths(size: u64) -> impl Iterator<Item = String> {
    let tiles = (0..=tlog::TILE_LEVEL_MAX).filter_map(move |level| Tile::partial(level, size));
    let bundle = Tile::partial(0, size).map(|tile| tree_file(&Bundle::from(tile).path()));
    tiles.map(|tile| tree_file(&tile.path())).chain(bundle)
}
