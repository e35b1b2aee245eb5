//! A trail below one checkpoint, as parts that can be carried away and put together again, byte for byte.
//!
//! Leaves are carried packed, 65,536 to a part, and the tree's files are made from them again: so a copy needs no key to
//! be checked, and stays whole when keys of old months are destroyed. Deliberately absent: where copies go (`wardline
//! backup`), and any signature but that of the log's own key.

use std::fmt;
use std::io;
use std::sync::Arc;

use model::RootKey;
use tlog::{
    Bundle, Checkpoint, NoteVerifier, SignedNote, Tile, TileBuilder, decode_bundle, encode_entry, leaf_hash,
};

use crate::disk::{self, Disk};
use crate::error::{DamageKind, Error};
use crate::held::RESTORED_FILE;
use crate::keys::{Keys, VERIFIER_FILE};
use crate::leaf::LEAF_BYTES;
use crate::read::read_verifier;
use crate::scan::{Scan, damage, segments};
use crate::sealed::read_frames;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_file};
use crate::signers::{LogKeys, change_notes};
use crate::tree::{CHECKPOINT_FILE, read_bundle, read_if_there, tree_file};

/// Leaves in one part.
pub const LEAVES_PER_PART: u64 = 65_536;
/// Entries in one bundle of the tree.
const BUNDLE_LEAVES: u64 = 256;

/// A trail as it was when its last checkpoint was signed. What is written meanwhile is not seen.
pub struct Copying {
    disk: Arc<dyn Disk>,
    verifier: NoteVerifier,
    note: Vec<u8>,
    checkpoint: Checkpoint,
}

impl fmt::Debug for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copying").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// A part of the copy that one segment makes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPart {
    /// The segment's number.
    pub number: u64,
    /// Whether it will never grow: a further segment follows, and the checkpoint covers all of it.
    pub complete: bool,
}

impl Copying {
    /// Takes the trail as its last checkpoint has it; later than `size` at least.
    ///
    /// # Errors
    /// When there is no checkpoint of this log.
    pub fn begin(disk: Arc<dyn Disk>) -> Result<Copying, Error> {
        let read = disk.read(CHECKPOINT_FILE);
        let note = read.map_err(|source| Error::io("read the checkpoint", source))?;
        Copying::at(disk, note)
    }

    /// Takes the trail as an earlier checkpoint of it has it.
    ///
    /// # Errors
    /// When it is not one of this log.
    pub fn at(disk: Arc<dyn Disk>, note: Vec<u8>) -> Result<Copying, Error> {
        let log = LogKeys::read(&*disk)?;
        let bad = || Error::Damaged(damage(CHECKPOINT_FILE.to_owned(), None, None, DamageKind::Checkpoint));
        let checkpoint = log.open(&*disk, &note).map_err(|_| bad())?;
        // The key that signed it: the one in force may be younger than an earlier checkpoint.
        let signed = SignedNote::parse(&note).map_err(|_| bad())?;
        let verifier = log.succession().signer_of(&signed).cloned().ok_or_else(bad)?;
        Ok(Copying { disk, verifier, note, checkpoint })
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// Returns the log's verifier key.
    pub fn verifier_key(&self) -> String {
        self.verifier.to_string()
    }

    /// Returns how many entries the checkpoint covers.
    pub fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// Returns the signed checkpoint.
    pub fn checkpoint(&self) -> &[u8] {
        &self.note
    }

    /// Returns the segments that hold what the checkpoint covers.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn segments(&self) -> Result<Vec<SegmentPart>, Error> {
        let mut parts: Vec<SegmentPart> = Vec::new();
        for number in segments(&*self.disk)? {
            let first = Scan::open(&*self.disk, number)?.header.first;
            if first <= self.size()
                && let Some(before) = parts.last_mut()
            {
                before.complete = true;
            }
            if first >= self.size() && !parts.is_empty() {
                break;
            }
            parts.push(SegmentPart { number, complete: false });
        }
        Ok(parts)
    }

    /// Returns a segment's bytes up to the last frame that the checkpoint covers.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn segment(&self, number: u64) -> Result<Vec<u8>, Error> {
        read_frames(&*self.disk, number, self.size()).map(|complete| complete.bytes)
    }

    /// Returns how many parts the leaves have.
    pub fn leaf_parts(&self) -> u64 {
        self.size().div_ceil(LEAVES_PER_PART)
    }

    /// Returns the leaves of one part, one behind the other.
    ///
    /// # Errors
    /// When the tree's files are missing or damaged.
    pub fn leaves(&self, part: u64) -> Result<Vec<u8>, Error> {
        let end = self.size().min((part + 1) * LEAVES_PER_PART);
        let mut leaves = Vec::new();
        let mut at = part * LEAVES_PER_PART;
        while at < end {
            let bundle = Bundle::at(at / BUNDLE_LEAVES, self.size()).expect("the index is within the tree");
            let file = tree_file(&bundle.path());
            let bad = |kind| Error::Damaged(damage(file.clone(), None, Some(at), kind));
            let read = read_bundle(&*self.disk, bundle);
            let bytes = read.map_err(|source| Error::io(format!("read `{file}`"), source))?;
            let bytes = bytes.ok_or_else(|| bad(DamageKind::Missing))?;
            let entries = decode_bundle(bundle, &bytes).map_err(|_| bad(DamageKind::Bundle))?;
            if entries.iter().any(|entry| entry.len() != LEAF_BYTES) {
                return Err(bad(DamageKind::Leaf));
            }
            entries.iter().for_each(|entry| leaves.extend_from_slice(entry));
            at += BUNDLE_LEAVES;
        }
        Ok(leaves)
    }

    /// Returns the small files: keys, wrapped as they are, and the verifier key. Not which segments are sealed: whoever has
    /// the copy looks at the store anew.
    ///
    /// To be called after the segments were read: a key is there before what is under it.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let io = |source| Error::io("read the keys", source);
        let mut files = Vec::new();
        // Marks of destroyed keys are among the keys, and what outlives them is beside them.
        for folder in ["keys", "held"] {
            for name in self.disk.list(folder).map_err(io)? {
                // One in the making.
                if name.ends_with(".new") || name.ends_with(".next") {
                    continue;
                }
                let file = format!("{folder}/{name}");
                let bytes = self.disk.read(&file).map_err(io)?;
                files.push((file, bytes));
            }
        }
        files.extend(change_notes(&*self.disk)?);
        if let Some(bytes) = read_if_there(&*self.disk, VERIFIER_FILE).map_err(io)? {
            files.push((VERIFIER_FILE.to_owned(), bytes));
        }
        Ok(files)
    }
}

/// Puts a copied trail together in an empty folder. It does not open before somebody has answered for it, see
/// [`crate::Options::resume_restored`].
pub struct Assembling {
    disk: Arc<dyn Disk>,
    checkpoint: Checkpoint,
    note: Vec<u8>,
    builder: TileBuilder,
    bundle: Vec<u8>,
    made: u64,
}

impl fmt::Debug for Assembling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembling").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Assembling {
    /// Begins in an empty folder. `what` says from which backup; it comes into the record that it was restored.
    ///
    /// # Errors
    /// When the folder is not empty, the checkpoint not of this key, or the disk refuses.
    pub fn begin(
        disk: Arc<dyn Disk>,
        verifier_key: &str,
        note: &[u8],
        what: &str,
    ) -> Result<Assembling, Error> {
        let names = disk.list("").map_err(|source| Error::io("list the folder", source))?;
        if !names.is_empty() {
            return Err(Error::Option { name: "folder", problem: "it is not empty" });
        }
        let verifier: NoteVerifier = verifier_key
            .parse()
            .map_err(|_| Error::Option { name: "verifier_key", problem: "not a verifier key" })?;
        let bad = |_| Error::Damaged(damage(CHECKPOINT_FILE.to_owned(), None, None, DamageKind::Checkpoint));
        let checkpoint =
            Checkpoint::open(note, verifier.name(), std::slice::from_ref(&verifier)).map_err(bad)?;
        // First of all: what is half restored must not open either.
        let io = |source| Error::io(format!("write `{RESTORED_FILE}`"), source);
        disk::replace(&*disk, RESTORED_FILE, format!("{what}\n").as_bytes()).map_err(io)?;
        let (builder, bundle) = (TileBuilder::new(), Vec::new());
        Ok(Assembling { disk, checkpoint, note: note.to_owned(), builder, bundle, made: 0 })
    }

    /// Writes a file of [`Copying::files`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write(name, bytes)
    }

    /// Writes a segment, with the zeros that it had. Only those of the `last` one take space: it will be written to.
    ///
    /// # Errors
    /// When it is not that segment, or the disk refuses.
    pub fn segment(&self, number: u64, bytes: &[u8], last: bool) -> Result<(), Error> {
        let file = segment_file(number);
        let header = bytes.get(..SEGMENT_HEADER_BYTES).and_then(SegmentHeader::decode);
        let Some(header) = header.filter(|header| header.segment == number) else {
            return Err(Error::Damaged(damage(file, Some(0), None, DamageKind::SegmentHeader)));
        };
        put_segment_file(&*self.disk, &file, bytes, header.bytes, last)
    }

    /// Takes the next leaves, and writes the files of the tree that they fill.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn leaves(&mut self, leaves: &[u8]) -> Result<(), Error> {
        let mut full: Vec<(String, Vec<u8>)> = Vec::new();
        for leaf in leaves.as_chunks::<LEAF_BYTES>().0 {
            encode_entry(leaf, &mut self.bundle).expect("a leaf fits an entry");
            let bundle = &mut self.bundle;
            self.builder.push(leaf_hash(leaf), |tile, bytes| {
                if tile.level() == 0 {
                    full.push((Bundle::from(tile).path(), std::mem::take(bundle)));
                }
                full.push((tile.path(), bytes.to_vec()));
            });
        }
        for (path, bytes) in full {
            self.write(&tree_file(&path), &bytes)?;
            self.made += 1;
        }
        Ok(())
    }

    /// Ends: the leaves must give the root that was signed. Returns the number of entries.
    ///
    /// # Errors
    /// When they do not, or the disk refuses.
    pub fn finish(self) -> Result<u64, Error> {
        let size = self.checkpoint.size();
        if self.builder.size() != size || self.builder.root() != self.checkpoint.root() {
            return Err(Error::Damaged(damage(CHECKPOINT_FILE.to_owned(), None, None, DamageKind::Root)));
        }
        let partials: Vec<(Tile, Vec<u8>)> =
            self.builder.partials().map(|(tile, bytes)| (tile, bytes.to_vec())).collect();
        for (tile, bytes) in partials {
            if tile.level() == 0 {
                self.write(&tree_file(&Bundle::from(tile).path()), &self.bundle)?;
            }
            self.write(&tree_file(&tile.path()), &bytes)?;
        }
        let io = |source| Error::io("sync the folders", source);
        for folder in ["segments", "keys", "tree", ""] {
            self.disk.make_dir(folder).and_then(|()| self.disk.sync_dir(folder)).map_err(io)?;
        }
        // The checkpoint comes last: where it is, the rest is.
        disk::replace(&*self.disk, CHECKPOINT_FILE, &self.note).map_err(io)?;
        Ok(size)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            self.disk.write(file, bytes)?;
            self.disk.sync(file)
        };
        write().map_err(|source| Error::io(format!("write `{file}`"), source))
    }
}

/// Writes a segment's file at its full length, with a hole at its end unless it is the `last`.
pub(crate) fn put_segment_file(
    disk: &dyn Disk,
    file: &str,
    bytes: &[u8],
    length: u64,
    last: bool,
) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        if last {
            disk.allocate(file, length.max(bytes.len() as u64))?;
            let mut open = disk.open(file)?;
            open.write_at(0, bytes)?;
            return open.sync();
        }
        disk.write(file, bytes)?;
        let mut open = disk.open(file)?;
        if let Some(end) = length.checked_sub(1).filter(|end| *end >= bytes.len() as u64) {
            open.write_at(end, &[0])?;
        }
        open.sync()
    };
    write().map_err(|source| Error::io(format!("write `{file}`"), source))
}

/// Signs a text with the log's own key: a manifest, a report. Its first line must hold a space, which no origin does: so
/// it can never be taken for a checkpoint.
///
/// # Errors
/// When the text is none, or the key does not open.
pub fn sign_text(disk: &dyn Disk, root: &RootKey, text: String) -> Result<String, Error> {
    if !text.lines().next().is_some_and(|line| line.contains(' ')) {
        return Err(Error::Option { name: "text", problem: "its first line must hold a space" });
    }
    let verifier = read_verifier(disk)?;
    let signers = Keys::new(root, verifier.name()).checkpoint_signers(disk)?;
    let note = SignedNote::sign(text, &signers.iter().collect::<Vec<_>>());
    let note = note.map_err(|_| Error::Option { name: "text", problem: "it is not the text of a note" })?;
    Ok(note.to_string())
}

/// Returns the text of a note if this key signed it.
pub fn signed_text(note: &[u8], verifier_key: &str) -> Option<String> {
    let verifier: NoteVerifier = verifier_key.trim().parse().ok()?;
    let note = SignedNote::parse(note).ok()?;
    note.verify(std::slice::from_ref(&verifier)).ok()?;
    Some(note.text().to_owned())
}
