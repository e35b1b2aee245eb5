//! What the archive needs of the trail: keys for its files, the leaves of its rows, and manifests that bind its files to
//! the log. The files themselves are another crate's (`lake`); `docs/formats/archive.md` has the bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use aws_lc_rs::aead::RandomizedNonceKey;
use aws_lc_rs::digest;
use model::Record;
use tlog::{
    Bundle, Checkpoint, Hash, KeyChange, NoteVerifier, OfflineProof, SignedNote, Succession, decode_bundle,
    leaf_hash,
};

use crate::error::{DamageKind, Error};
use crate::expire::Tombstone;
use crate::keys::{
    Class, Key, NONCE_BYTES, SegmentKeys, TAG_BYTES, WRAPPED_BYTES, class_of_file, open_in, period_of,
    seal_behind,
};
use crate::leaf::{Leaf, commitment};
use crate::published::inclusion;
use crate::read::Reader;
use crate::record::{self, TooLarge};
use crate::scan::{Scan, damage, segments};
use crate::segment::segment_file;
use crate::tree::{CHECKPOINT_FILE, read_bundle, tree_file};

/// What a sealed piece of a file is longer than what was sealed.
pub const FILE_SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// The length of a file's key as it stands in the file, wrapped.
pub const FILE_KEY_BYTES: usize = WRAPPED_BYTES;

/// The key of one file of the archive. It lies in the file, wrapped under a month's class key for records.
pub struct FileKey(RandomizedNonceKey);

impl FileKey {
    /// Encrypts what stands behind room for the nonce (12 bytes) in place; the tag is appended.
    pub fn seal(&self, additional: &[u8], buffer: &mut Vec<u8>) {
        seal_behind(&self.0, additional, buffer, 0);
    }

    /// Decrypts nonce, ciphertext and tag in place; `None` when they are not what was sealed with this additional data.
    pub fn open<'b>(&self, additional: &[u8], sealed: &'b mut [u8]) -> Option<&'b mut [u8]> {
        open_in(&self.0, additional, sealed)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(..)")
    }
}

/// What a wrapped file key is bound to.
fn file_key_aad(origin: &str, month: u32, file: &str) -> Vec<u8> {
    let mut aad = b"wardline/archive-key/v1".to_vec();
    aad.extend_from_slice(&month.to_le_bytes());
    aad.extend_from_slice(&(origin.len() as u64).to_le_bytes());
    aad.extend_from_slice(origin.as_bytes());
    aad.extend_from_slice(file.as_bytes());
    aad
}

/// One file of the archive, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// What it holds: the last part of its name.
    pub part: String,
    /// SHA-256 of the file as it lies there, encrypted.
    pub sha256: [u8; 32],
}

/// Binds files of the archive to the log: the `detail` of a record of kind `archive-manifest`.
///
/// The archive of a log are its manifests in the order of their entries; a later one replaces those whose entries it
/// covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The form of the files, [`ARCHIVE_FORM`] where they are of now.
    pub form: u32,
    /// The index of the first entry in the files.
    pub first: u64,
    /// The index behind the last one.
    pub end: u64,
    /// The rows of the events file.
    pub rows: u64,
    /// The number of the class key under which the files are: the month as `YYYYMM`, and a million for each key of the
    /// month before it.
    pub month: u32,
    /// The files, in the order of their parts.
    pub files: Vec<ManifestFile>,
}

/// A text is not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an archive manifest")]
pub struct NoManifest;

/// The form of the archive's files. Those of an earlier one lack columns that are asked about: they count for nothing, and
/// their entries are read from the segments until they are archived anew.
pub const ARCHIVE_FORM: u32 = 2;
/// The most files that one manifest names.
const MANIFEST_FILES_MAX: usize = 16;

impl Manifest {
    /// Returns the name of one of the files.
    pub fn file_name(&self, part: &str) -> String {
        format!("{:015}-{:015}.{part}", self.first, self.end)
    }

    /// Tells whether every entry of another manifest is in this one.
    pub fn covers(&self, other: &Manifest) -> bool {
        self.first <= other.first && other.end <= self.end
    }
}

/// The archive of a log as a file beside it says: the manifests in force, and how far the log was looked through for
/// them. It can be made again from the log, which alone is believed by `verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveIndex {
    /// The entries before this one were looked through.
    pub seen: u64,
    /// The manifests in force with the indexes of their entries, in the order of what they hold.
    pub manifests: Vec<(u64, Manifest)>,
}

impl ArchiveIndex {
    /// Takes in a manifest of an entry, in place of those that it covers. One of files of another form is passed over.
    pub fn take(&mut self, index: u64, manifest: Manifest) {
        if manifest.form != ARCHIVE_FORM {
            return;
        }
        self.manifests.retain(|(_, older)| !manifest.covers(older));
        let at = self.manifests.partition_point(|(_, other)| other.first < manifest.first);
        self.manifests.insert(at, (index, manifest));
    }

    /// Leaves out the files of months that expired: their keys are destroyed. What is held of such months is with the
    /// segments.
    pub fn expire(&mut self, stones: &[Tombstone]) {
        let expired = |manifest: &Manifest| {
            stones.iter().any(|stone| stone.first <= manifest.first && manifest.end <= stone.end)
        };
        self.manifests.retain(|(_, manifest)| !expired(manifest));
    }

    /// Returns the ranges before `end` of which no manifest in force has the entries.
    pub fn gaps(&self, end: u64) -> Vec<Range<u64>> {
        let (mut gaps, mut at) = (Vec::new(), 0);
        for (_, manifest) in &self.manifests {
            if manifest.first > at {
                gaps.push(at..manifest.first.min(end));
            }
            at = at.max(manifest.end);
        }
        if at < end {
            gaps.push(at..end);
        }
        gaps.retain(|gap| gap.start < gap.end);
        gaps
    }

    /// Returns whether two manifests in force hold the same entry.
    pub fn overlaps(&self) -> bool {
        self.manifests.array_windows().any(|[(_, one), (_, next)]| next.first < one.end)
    }
}

impl fmt::Display for ArchiveIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seen {}", self.seen)?;
        self.manifests.iter().try_for_each(|(index, manifest)| writeln!(f, "{index} {manifest}"))
    }
}

impl FromStr for ArchiveIndex {
    type Err = NoManifest;

    fn from_str(text: &str) -> Result<ArchiveIndex, NoManifest> {
        let mut lines = text.lines();
        let seen = lines.next().and_then(|line| line.strip_prefix("seen ")?.parse().ok());
        let mut archive = ArchiveIndex { seen: seen.ok_or(NoManifest)?, manifests: Vec::new() };
        for line in lines {
            let (index, manifest) = line.split_once(' ').ok_or(NoManifest)?;
            archive.take(index.parse().map_err(|_| NoManifest)?, manifest.parse()?);
        }
        Ok(archive)
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "archive v{} entries {}-{} rows {} month {}",
            self.form, self.first, self.end, self.rows, self.month
        )?;
        self.files.iter().try_for_each(|file| write!(f, " {} {}", file.part, Hash(file.sha256)))
    }
}

impl FromStr for Manifest {
    type Err = NoManifest;

    fn from_str(text: &str) -> Result<Manifest, NoManifest> {
        let mut words = text.split(' ');
        let mut after = |name: &str| {
            if words.next() == Some(name) { words.next().ok_or(NoManifest) } else { Err(NoManifest) }
        };
        let form =
            after("archive")?.strip_prefix('v').and_then(|form| form.parse().ok()).ok_or(NoManifest)?;
        let (first, end) = after("entries")?.split_once('-').ok_or(NoManifest)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| NoManifest);
        let (first, end) = (number(first)?, number(end)?);
        let rows = number(after("rows")?)?;
        let month = after("month")?.parse().map_err(|_| NoManifest)?;
        let mut files = Vec::new();
        while let Some(part) = words.next() {
            let hash: Hash = words.next().and_then(|text| text.parse().ok()).ok_or(NoManifest)?;
            files.push(ManifestFile { part: part.to_owned(), sha256: hash.0 });
        }
        let manifest = Manifest { form, first, end, rows, month, files };
        let sound = (1..=ARCHIVE_FORM).contains(&form)
            && first < end
            && (1..=MANIFEST_FILES_MAX).contains(&manifest.files.len());
        // One manifest has one text.
        if sound && manifest.to_string() == text { Ok(manifest) } else { Err(NoManifest) }
    }
}

/// The salts of entries, by their index.
pub struct Salts {
    /// The keys of each segment, by the index of its first entry; `None` for one of an expired month.
    segments: BTreeMap<u64, Option<SegmentKeys>>,
}

impl fmt::Debug for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salts(..)")
    }
}

impl Salts {
    /// Returns the salt of an entry; `None` before the first segment that is there.
    pub fn of(&self, index: u64) -> Option<[u8; 32]> {
        self.segments.range(..=index).next_back()?.1.as_ref().map(|keys| keys.salt(index))
    }

    /// Returns the leaf that an entry must have.
    ///
    /// # Errors
    /// When no record can be like this.
    pub fn leaf(&self, index: u64, time_us: u64, record: &Record<'_>) -> Result<Option<Leaf>, TooLarge> {
        let Some(salt) = self.of(index) else { return Ok(None) };
        let mut canonical = Vec::new();
        record::encode(record, &mut canonical)?;
        let commitment = commitment(&salt, &canonical);
        Ok(Some(Leaf { kind: record.kind as u8, sequence: index, time_us, commitment }))
    }
}

impl Reader {
    /// Makes the key of a new file, and what the file has to hold of it.
    ///
    /// # Errors
    /// When the month has no class key.
    pub fn new_file_key(&self, month: u32, file: &str) -> Result<(FileKey, [u8; FILE_KEY_BYTES]), Error> {
        let class = self.keys().class(self.disk(), Class::Record, month)?;
        let (key, wrapped) = Key::new_wrapped(&class, &file_key_aad(self.origin(), month, file));
        Ok((FileKey(key.aead()), wrapped))
    }

    /// Opens the key that a file holds.
    ///
    /// # Errors
    /// When the month has no class key, or the key is not of a file of this name.
    pub fn open_file_key(&self, month: u32, file: &str, wrapped: &[u8]) -> Result<FileKey, Error> {
        let class = self.keys().class(self.disk(), Class::Record, month)?;
        let key = crate::keys::unwrap(&class, &file_key_aad(self.origin(), month, file), wrapped);
        key.map(|key| FileKey(key.aead())).ok_or(Error::Sealed)
    }

    /// Returns the month of the class key under which a segment is.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub fn segment_month(&self, segment: u64) -> Result<u32, Error> {
        Ok(Scan::open(self.disk(), segment)?.header.month)
    }

    /// Returns the years that have a key for tokens of patients, in order.
    ///
    /// # Errors
    /// When the keys cannot be listed.
    pub fn patient_years(&self) -> Result<Vec<u16>, Error> {
        let names = self.disk().list("keys").map_err(|source| Error::io("list the keys", source))?;
        let number = |name: &String| class_of_file(name).filter(|(class, _)| *class == Class::Patient);
        let mut years: Vec<u16> =
            names.iter().filter_map(|name| u16::try_from(period_of(number(name)?.1)).ok()).collect();
        years.sort_unstable();
        years.dedup();
        Ok(years)
    }

    /// Returns the salts of all entries whose segments are there.
    ///
    /// # Errors
    /// When a segment or a class key cannot be read.
    pub fn salts(&self) -> Result<Salts, Error> {
        let mut classes: BTreeMap<u32, Key> = BTreeMap::new();
        let mut known = BTreeMap::new();
        for number in segments(self.disk())? {
            let header = Scan::open(self.disk(), number)?.header;
            let class = match classes.get(&header.month) {
                Some(class) => class,
                None => match self.keys().class(self.disk(), Class::Record, header.month) {
                    Ok(class) => classes.entry(header.month).or_insert(class),
                    Err(Error::Damaged(damage))
                        if damage.kind == DamageKind::Missing
                            && self.expired()?.stone_of(&header).is_some() =>
                    {
                        known.insert(header.first, None);
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let bad = || Error::Damaged(damage(segment_file(number), Some(0), None, DamageKind::Key));
            let keys = SegmentKeys::open(class, &header.key_aad(), &header.wrapped).ok_or_else(bad)?;
            known.insert(header.first, Some(keys));
        }
        Ok(Salts { segments: known })
    }

    /// Calls with each leaf of a range that a checkpoint covers, in order, as the tree has it.
    ///
    /// # Errors
    /// When a bundle is missing or damaged, or the range is beyond the checkpoint.
    pub fn leaves(&self, range: Range<u64>, mut each: impl FnMut(Leaf)) -> Result<(), Error> {
        let size = self.durable_at_least()?;
        if range.end > size {
            return Err(Error::Rollback { checkpoint: range.end, found: size });
        }
        let width = u64::from(tlog::TILE_HASHES_MAX);
        for at in range.start / width..range.end.div_ceil(width) {
            let file = || tree_file(&Bundle::at(at, size).map(Bundle::path).unwrap_or_default());
            let bad = |kind| Error::Damaged(damage(file(), None, Some(at * width), kind));
            let bundle = Bundle::at(at, size).ok_or_else(|| bad(DamageKind::Missing))?;
            let read =
                read_bundle(self.disk(), bundle).map_err(|source| Error::io("read the tree", source))?;
            let bytes = read.ok_or_else(|| bad(DamageKind::Missing))?;
            let entries = decode_bundle(bundle, &bytes).map_err(|_| bad(DamageKind::Leaf))?;
            for (index, entry) in (at * width..).zip(entries) {
                let leaf = Leaf::decode(entry).filter(|leaf| leaf.sequence == index);
                let leaf = leaf.ok_or_else(|| bad(DamageKind::Leaf))?;
                if range.contains(&index) {
                    each(leaf);
                }
            }
        }
        Ok(())
    }

    /// Returns the manifests among the entries of a range that a checkpoint covers, with their indexes. Only the leaves
    /// are read for it, and the entries that they say are manifests.
    ///
    /// # Errors
    /// When the tree or one of these entries cannot be read, or is not what its leaf says.
    pub fn manifests(&self, range: Range<u64>) -> Result<Vec<(u64, Manifest)>, Error> {
        let mut indexes = Vec::new();
        self.leaves(range, |leaf| {
            if leaf.kind == model::Kind::ArchiveManifest as u8 {
                indexes.push(leaf.sequence);
            }
        })?;
        let mut found = Vec::with_capacity(indexes.len());
        for index in indexes {
            let entry = self.entries(index)?.next().transpose()?;
            let text =
                entry.as_ref().filter(|entry| entry.index == index).and_then(|e| e.record.detail.as_deref());
            let bad = || Error::Damaged(damage("segments".to_owned(), None, Some(index), DamageKind::Record));
            found.push((index, text.and_then(|text| text.parse().ok()).ok_or_else(bad)?));
        }
        Ok(found)
    }

    /// Returns the last checkpoint as it lies there, and what it says.
    ///
    /// # Errors
    /// When it cannot be read or is not this log's.
    pub fn checkpoint(&self) -> Result<(SignedNote, Checkpoint), Error> {
        let bytes =
            self.disk().read(CHECKPOINT_FILE).map_err(|source| Error::io("read the checkpoint", source))?;
        let bad = || Error::Damaged(damage(CHECKPOINT_FILE.to_owned(), None, None, DamageKind::Checkpoint));
        let note = SignedNote::parse(&bytes).map_err(|_| bad())?;
        let checkpoint = self.log().open_note(self.disk(), &note).map_err(|_| bad())?;
        Ok((note, checkpoint))
    }

    /// Proves that an entry is below a checkpoint of this log.
    ///
    /// # Errors
    /// When the entry is not below it, or a tile of the tree cannot be read.
    pub fn prove(&self, index: u64, note: &SignedNote, size: u64) -> Result<OfflineProof, Error> {
        let hashes = inclusion(self.disk(), index, size)?;
        Ok(OfflineProof { index, hashes, extra: None, checkpoint: note.clone() })
    }
}

/// A signed checkpoint, against which entries are proven without the trail.
#[derive(Clone, Debug)]
pub struct Proven {
    checkpoint: Checkpoint,
}

/// An entry is not proven to be in a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The key is no verifier key.
    #[error("`{0}` is no verifier key")]
    Key(String),
    /// The changes of the log's key do not lead from or to this key.
    #[error("the changes of the log's key do not lead from this key to the one that signs")]
    KeyChange,
    /// The checkpoint is not to be believed.
    #[error("it is not signed by this key for this log")]
    Checkpoint,
    /// The proof does not lead from the entry to the checkpoint.
    #[error("the proof does not lead from the entry to the checkpoint")]
    Proof,
}

impl Proven {
    /// Opens a checkpoint that this key must have signed for this log, or one that followed it by the changes of key that the
    /// log shows.
    ///
    /// # Errors
    /// When it did not.
    pub fn open(
        checkpoint: &[u8],
        origin: &str,
        verifier_key: &str,
        key_changes: &[String],
    ) -> Result<Proven, NotProven> {
        let key: NoteVerifier =
            verifier_key.trim().parse().map_err(|_| NotProven::Key(verifier_key.to_owned()))?;
        let changes = key_changes.iter().map(|note| KeyChange::open(note.as_bytes()));
        let changes = changes.collect::<Result<_, _>>().map_err(|_| NotProven::KeyChange)?;
        let log = Succession::new(key, changes).map_err(|_| NotProven::KeyChange)?;
        let checkpoint = log.open(checkpoint).map_err(|_| NotProven::Checkpoint)?;
        if checkpoint.origin() == origin { Ok(Proven { checkpoint }) } else { Err(NotProven::Checkpoint) }
    }

    /// Returns how many entries the checkpoint covers.
    pub fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// Checks that a leaf is at its place below the checkpoint, by an inclusion proof to this very tree.
    ///
    /// # Errors
    /// When it is not proven.
    pub fn contains(&self, leaf: &Leaf, proof: &[u8]) -> Result<(), NotProven> {
        let proof = OfflineProof::parse(proof).map_err(|_| NotProven::Proof)?;
        let hash = leaf_hash(&leaf.encode());
        let (size, root) = (self.checkpoint.size(), self.checkpoint.root());
        let included = tlog::verify_inclusion(leaf.sequence, size, &hash, &proof.hashes, &root);
        included.map_err(|_| NotProven::Proof)
    }
}

/// Returns the SHA-256 of bytes that come in pieces.
#[derive(Clone)]
pub struct Digest(digest::Context);

impl Default for Digest {
    fn default() -> Digest {
        Digest(digest::Context::new(&digest::SHA256))
    }
}

impl Digest {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(first: u64, end: u64) -> Manifest {
        let files = vec![
            ManifestFile { part: "events".to_owned(), sha256: [1; 32] },
            ManifestFile { part: "filter".to_owned(), sha256: [2; 32] },
        ];
        Manifest { form: ARCHIVE_FORM, first, end, rows: end - first, month: 202_611, files }
    }

    #[test]
    fn a_manifest_has_one_text() {
        let text = manifest(5, 9).to_string();
        assert_eq!(text.parse(), Ok(manifest(5, 9)));
        for wrong in [
            "",
            "archive v1",
            &text.replace("5-9", "9-9"),
            &text.replace("5-9", "05-9"),
            &text.replace("archive v2", "archive v3"),
            &text.replace("archive v2", "archive v02"),
            &format!("{text} "),
            &format!("{text} more"),
            text.split(" events").next().unwrap(),
        ] {
            assert_eq!(wrong.parse::<Manifest>(), Err(NoManifest), "{wrong}");
        }
    }

    #[test]
    fn a_later_manifest_replaces_what_it_covers() {
        let mut archive = ArchiveIndex::default();
        for (at, (first, end)) in (100..).zip([(0, 10), (20, 30), (10, 20), (0, 20)]) {
            archive.take(at, manifest(first, end));
        }
        let ranges: Vec<_> = archive.manifests.iter().map(|(at, one)| (*at, one.first, one.end)).collect();
        assert_eq!(ranges, [(103, 0, 20), (101, 20, 30)]);
        assert!(!archive.overlaps());
        assert_eq!(archive.gaps(30), []);
        assert_eq!(archive.gaps(35), vec![Range { start: 30, end: 35 }]);
        assert_eq!(archive.to_string().parse(), Ok(archive.clone()));
        archive.take(104, manifest(40, 50));
        assert_eq!(archive.gaps(60), [30..40, 50..60]);
        assert_eq!(archive.gaps(35), vec![Range { start: 30, end: 35 }]);
        archive.take(105, Manifest { form: 1, ..manifest(30, 40) });
        assert_eq!(archive.gaps(60), [30..40, 50..60], "files of an earlier form are not asked");
        archive.take(106, manifest(5, 25));
        assert!(archive.overlaps());
    }
}
