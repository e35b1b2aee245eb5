//! Complete segments go to a store: copied as they are, read back, recorded, and only then believed.
//!
//! ```text
//! complete segment ─▶ put, if there is none ─▶ read back, compare ─▶ SegmentSealed in the trail ─▶ line in `sealed`
//! ```
//!
//! A crash between any two steps repeats what is not in `sealed`: an object with the same bytes is taken as put.
//! `docs/formats/store.md` has the bytes. Deliberately absent: where the store is, and when to do this.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;

use model::{Kind, Record};

use crate::Trail;
use crate::copying::put_segment_file;
use crate::core::Core;
use crate::disk::{self, Disk};
use crate::error::{DamageKind, Error};
use crate::keys::{Class, class_file};
use crate::scan::{Scan, Step, damage, segments};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_file};
use crate::store::{Store, StoreError, sha256};
use crate::tree::{CHECKPOINT_FILE, read_if_there};
use crate::verify::Finding;

/// One line for each segment that is in the store.
pub(crate) const SEALED_FILE: &str = "sealed";
/// The folder of the store that holds segments.
pub const SEGMENTS_FOLDER: &str = "segments";
/// The folder of the store that holds signed checkpoints, named by their sizes.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";
/// Digits of a number in a key, so that keys are in the order of numbers.
const SIZE_DIGITS: usize = 20;

/// A segment that a store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The segment's number.
    pub segment: u64,
    /// The index of its first record.
    pub first: u64,
    /// How many records it holds.
    pub count: u64,
    /// The length of the object: up to the end of the last frame.
    pub bytes: u64,
    /// The SHA-256 of the object.
    pub sha256: [u8; 32],
    /// The object's key.
    pub key: String,
    /// The object's version, where the store has versions.
    pub version: Option<String>,
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sealed { segment, first, count, bytes, sha256, key, version } = self;
        write!(f, "segment={segment} first={first} count={count} bytes={bytes} sha256=")?;
        sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, " key={key} version={}", version.as_deref().unwrap_or("-"))
    }
}

impl Sealed {
    /// Reads the words that a record of [`Kind::SegmentSealed`] has in `detail`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Sealed> {
        let mut words = text.split(' ');
        let mut word = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let sealed = Sealed {
            segment: word("segment")?.parse().ok()?,
            first: word("first")?.parse().ok()?,
            count: word("count")?.parse().ok()?,
            bytes: word("bytes")?.parse().ok()?,
            sha256: unhex(word("sha256")?)?,
            key: word("key")?.to_owned(),
            version: Some(word("version")?.to_owned()).filter(|version| version != "-"),
        };
        (words.next().is_none() && sealed.to_string() == text).then_some(sealed)
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Why a segment is not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store has another object in its place: somebody else put it there.
    #[error("`{key}` is in {place} already, with other bytes than the segment has")]
    Other {
        /// The object.
        key: String,
        /// The store.
        place: String,
    },
    /// The store does not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trail does not do it.
    #[error(transparent)]
    Trail(#[from] Error),
}

/// Returns the segments that are in the store, by number.
pub(crate) fn sealed_segments(disk: &dyn Disk) -> Result<BTreeMap<u64, Sealed>, Error> {
    let io = |source| Error::io(format!("read `{SEALED_FILE}`"), source);
    let bytes = read_if_there(disk, SEALED_FILE).map_err(io)?.unwrap_or_default();
    let mut known = BTreeMap::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let Some(sealed) = Sealed::parse(line) else {
            return Err(Error::Damaged(damage(SEALED_FILE.to_owned(), None, None, DamageKind::Unexpected)));
        };
        known.insert(sealed.segment, sealed);
    }
    Ok(known)
}

fn write_sealed(disk: &dyn Disk, known: &BTreeMap<u64, Sealed>) -> io::Result<()> {
    let text: String = known.values().map(|sealed| format!("{sealed}\n")).collect();
    disk::replace(disk, SEALED_FILE, text.as_bytes())
}

/// A complete segment's bytes up to the end of its last frame.
pub(crate) struct Complete {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Reads frames of a segment up to its end, or up to the record before `end`. Checks what needs no key.
pub(crate) fn read_frames(disk: &dyn Disk, segment: u64, end: u64) -> Result<Complete, Error> {
    let mut scan = Scan::open(disk, segment)?;
    let first = scan.header.first;
    loop {
        if scan.position.index >= end {
            break;
        }
        match scan.step()? {
            Step::Frame(_) => {}
            Step::End => break,
            Step::Bad(kind) => return Err(Error::Damaged(scan.damage(kind))),
        }
    }
    let length = usize::try_from(scan.offset).expect("a segment fits memory");
    let mut bytes = vec![0; length];
    let file = segment_file(segment);
    let io = |source| Error::io(format!("read `{file}`"), source);
    let read = disk.open_read(&file).and_then(|open| open.read_at(0, &mut bytes)).map_err(io)?;
    if read != length {
        return Err(Error::Damaged(scan.damage(DamageKind::Truncated)));
    }
    Ok(Complete { first, count: scan.position.index - first, bytes })
}

impl Trail {
    /// Lets the segment end that is written to, with the next record: it is complete then.
    pub fn roll(&self) {
        self.handle.core.roll_wanted.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Brings the oldest complete segment that is not sealed yet to the store, and returns what was recorded of it;
    /// `None` when there is none. Blocks. To be called by one thread at a time.
    ///
    /// # Errors
    /// When the store or the trail refuses; it may be tried again. An object with other bytes in the segment's place
    /// is recorded as an incident by the caller, once.
    pub fn seal_next(&self, store: &dyn Store) -> Result<Option<Sealed>, SealError> {
        let disk = &*self.handle.core.disk;
        let mut known = sealed_segments(disk)?;
        let numbers = segments(disk)?;
        let complete = numbers.split_last().map_or(&[][..], |(_, complete)| complete);
        let Some(number) = complete.iter().copied().find(|number| !known.contains_key(number)) else {
            return Ok(None);
        };
        let sealed = put_segment(disk, store, number)?;
        let _receipt = self.record(&sealed_record(&self.handle.core, &sealed))?.wait()?;
        known.insert(number, sealed.clone());
        write_sealed(disk, &known).map_err(|source| Error::io(format!("write `{SEALED_FILE}`"), source))?;
        Ok(Some(sealed))
    }

    /// Puts the last signed checkpoint into the store and returns its size; whoever has the store can then tell a
    /// rollback of this node.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn keep_checkpoint(&self, store: &dyn Store) -> Result<u64, SealError> {
        let core = &self.handle.core;
        let read = core.disk.read(CHECKPOINT_FILE);
        let bytes = read.map_err(|source| Error::io("read the checkpoint", source))?;
        let checkpoint: Option<tlog::Checkpoint> =
            tlog::SignedNote::parse(&bytes).ok().and_then(|note| note.text().parse().ok());
        let Some(checkpoint) = checkpoint else {
            let found = damage(CHECKPOINT_FILE.to_owned(), None, None, DamageKind::Checkpoint);
            return Err(Error::Damaged(found).into());
        };
        let size = checkpoint.size();
        match store.put(&checkpoint_key(&core.options.origin, size), &bytes) {
            Ok(_) | Err(StoreError::Exists(_)) => Ok(size),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes sealed segments from the folder, but for the last `kept` complete ones, and returns how many. Each is read
    /// from the store and compared first; reading the trail goes to the store for them from then on.
    ///
    /// # Errors
    /// When the store or the disk refuses.
    pub fn drop_sealed(&self, store: &dyn Store, kept: usize) -> Result<usize, SealError> {
        self.drop_sealed_below(store, kept, u64::MAX)
    }

    /// As [`Trail::drop_sealed`], but nothing that holds an entry from an index on.
    ///
    /// # Errors
    /// As [`Trail::drop_sealed`].
    pub fn drop_sealed_below(&self, store: &dyn Store, kept: usize, below: u64) -> Result<usize, SealError> {
        let core = &self.handle.core;
        let known = sealed_segments(&*core.disk)?;
        let numbers = segments(&*core.disk)?;
        let complete = numbers.split_last().map_or(&[][..], |(_, complete)| complete);
        let surplus = complete.len().saturating_sub(kept);
        let covered = crate::tree::read_checkpoint(&*core.disk, &core.log)?;
        let mut dropped = 0;
        for number in complete.iter().take(surplus) {
            // INVARIANT: only what is recorded, covered by a checkpoint and in the store as it is here goes away.
            let Some(sealed) = known.get(number) else { break };
            if sealed.first + sealed.count > covered.size().min(below) {
                break;
            }
            let file = segment_file(*number);
            let io = |source| Error::io(format!("remove `{file}`"), source);
            if !core.disk.is_local(&file).map_err(io)? {
                continue;
            }
            check_object(store, sealed)?;
            core.disk.remove(&file).map_err(io)?;
            dropped += 1;
        }
        if dropped > 0 {
            let io = |source| Error::io("sync the folder of segments", source);
            core.disk.sync_dir("segments").map_err(io)?;
        }
        Ok(dropped)
    }
}

/// Returns the key of a checkpoint of this size.
pub fn checkpoint_key(origin: &str, size: u64) -> String {
    // An origin may hold a slash, a key's name may not.
    let log: String = sha256(origin.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{CHECKPOINTS_FOLDER}/{log}-{size:0SIZE_DIGITS$}")
}

/// Returns the signed checkpoint of the largest tree that a store holds of this log.
///
/// # Errors
/// When it cannot be asked.
pub fn newest_checkpoint(store: &dyn Store, origin: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let own = checkpoint_key(origin, 0);
    let prefix = own.trim_start_matches(CHECKPOINTS_FOLDER).trim_start_matches('/');
    let prefix = prefix.get(..prefix.len() - SIZE_DIGITS).unwrap_or_default();
    let names = store.list(CHECKPOINTS_FOLDER)?;
    let Some(name) = names.iter().rev().find(|name| name.starts_with(prefix)) else { return Ok(None) };
    store.read(&format!("{CHECKPOINTS_FOLDER}/{name}"), None).map(Some)
}

/// Returns the key of a segment.
pub(crate) fn segment_key(origin: &str, segment: u64) -> String {
    let log: String = sha256(origin.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{SEGMENTS_FOLDER}/{log}-{segment:010}.seg")
}

fn put_segment(disk: &dyn Disk, store: &dyn Store, number: u64) -> Result<Sealed, SealError> {
    let origin = Scan::open(disk, number)?.header.origin;
    let Complete { first, count, bytes } = read_frames(disk, number, u64::MAX)?;
    let key = segment_key(&origin, number);
    let digest = sha256(&bytes);
    let put = match store.put(&key, &bytes) {
        Ok(version) => version,
        // Put before a crash, or by an answer that got lost.
        Err(StoreError::Exists(_)) => latest_version(store, &key)?,
        Err(error) => return Err(error.into()),
    };
    let sealed = Sealed {
        segment: number,
        first,
        count,
        bytes: bytes.len() as u64,
        sha256: digest,
        key,
        version: put.filter(|version| version.bytes().all(|byte| byte.is_ascii_graphic())),
    };
    drop(bytes);
    check_object(store, &sealed)?;
    Ok(sealed)
}

fn latest_version(store: &dyn Store, key: &str) -> Result<Option<String>, StoreError> {
    let versions = store.versions(disk::parent(key))?;
    let latest =
        versions.into_iter().find(|version| version.key == key && version.latest && !version.deleted);
    Ok(latest.and_then(|version| version.id))
}

/// Reads an object back and compares it with what was sealed.
pub(crate) fn check_object(store: &dyn Store, sealed: &Sealed) -> Result<(), SealError> {
    let there = store.read(&sealed.key, sealed.version.as_deref())?;
    if there.len() as u64 == sealed.bytes && sha256(&there) == sealed.sha256 {
        return Ok(());
    }
    Err(SealError::Other { key: sealed.key.clone(), place: store.place() })
}

/// Compares a store with what was sealed: each segment is there once, in the version that was recorded, and nothing was
/// deleted, also not so that an older version shows. With `read`, every object is read and compared as well.
///
/// # Errors
/// When the store cannot be asked. What is wrong is no error.
pub fn check_store(disk: &dyn Disk, store: &dyn Store, read: bool) -> Result<Vec<Finding>, SealError> {
    let mut findings = Vec::new();
    let mut found = |key: &str, index, kind| {
        findings.push(Finding { level: 3, damage: damage(format!("store: {key}"), None, index, kind) });
    };
    let versions = store.versions(SEGMENTS_FOLDER)?;
    for sealed in sealed_segments(disk)?.values() {
        let (key, first) = (&sealed.key, Some(sealed.first));
        let mut there = false;
        for version in versions.iter().filter(|version| version.key == *key) {
            if version.deleted {
                found(key, first, DamageKind::Deleted);
            } else if version.id != sealed.version {
                found(key, first, DamageKind::Version);
            } else {
                there = true;
                if version.bytes != sealed.bytes {
                    found(key, first, DamageKind::Object);
                }
            }
        }
        if !there {
            found(key, first, DamageKind::Missing);
        } else if read {
            match check_object(store, sealed) {
                Ok(()) => {}
                Err(SealError::Other { .. }) => found(key, first, DamageKind::Object),
                Err(error) => return Err(error),
            }
        }
    }
    let mut before: Option<String> = None;
    for version in store.versions(CHECKPOINTS_FOLDER)? {
        if version.deleted {
            found(&version.key, None, DamageKind::Deleted);
        } else if before.as_ref() == Some(&version.key) {
            found(&version.key, None, DamageKind::Version);
        }
        before = Some(version.key).filter(|_| !version.deleted);
    }
    Ok(findings)
}

/// Returns the segments that a trail's folder says are in its store.
///
/// # Errors
/// When that cannot be read.
pub fn sealed_of(disk: &dyn Disk) -> Result<Vec<Sealed>, Error> {
    sealed_segments(disk).map(|known| known.into_values().collect())
}

/// Puts what a copied trail lacks, and the store has, behind its last segment: whole segments only. Returns how many.
/// For a folder that is not open, such as one that was just assembled.
///
/// # Errors
/// When the store or the disk refuses, or what the store has does not go on from what is here.
pub fn refill(disk: &dyn Disk, store: &dyn Store) -> Result<u64, SealError> {
    let Some(last) = segments(disk)?.last().copied() else { return Ok(0) };
    let origin = Scan::open(disk, last)?.header.origin;
    let mut filled = 0;
    for number in last.. {
        let key = segment_key(&origin, number);
        let bytes = match store.read(&key, None) {
            Ok(bytes) => bytes,
            Err(StoreError::Absent(_)) => break,
            Err(error) => return Err(error.into()),
        };
        let header = bytes.get(..SEGMENT_HEADER_BYTES).and_then(SegmentHeader::decode);
        let header = header.filter(|header| header.segment == number && header.origin == origin);
        let Some(header) = header else {
            return Err(SealError::Other { key, place: store.place() });
        };
        // What is under a key that is not here could not be read, and the log would not open.
        let class = class_file(Class::Record, header.month);
        let known =
            read_if_there(disk, &class).map_err(|source| Error::io(format!("read `{class}`"), source))?;
        if known.is_none() {
            break;
        }
        if number == last && !bytes.starts_with(&read_frames(disk, number, u64::MAX)?.bytes) {
            return Err(SealError::Other { key, place: store.place() });
        }
        let file = segment_file(number);
        // Whichever is the last in the end is written to: all are made for it.
        put_segment_file(disk, &file, &bytes, header.bytes, true)?;
        filled += 1;
    }
    disk.sync_dir("segments").map_err(|source| Error::io("sync the folder of segments", source))?;
    Ok(filled)
}

fn sealed_record<'a>(core: &Core, sealed: &Sealed) -> Record<'a> {
    let mut record = Record::new(Kind::SegmentSealed, core.now());
    record.detail = Some(Cow::Owned(sealed.to_string()));
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_again() {
        let sealed = Sealed {
            segment: 3,
            first: 1000,
            count: 20,
            bytes: 70_000,
            sha256: [0xa5; 32],
            key: segment_key("gw1.example", 3),
            version: Some("v.1-x".to_owned()),
        };
        assert_eq!(Sealed::parse(&sealed.to_string()), Some(sealed.clone()));
        let plain = Sealed { version: None, ..sealed.clone() };
        assert_eq!(Sealed::parse(&plain.to_string()), Some(plain));
        for bad in ["", "segment=3", &format!("{sealed} more=1"), &sealed.to_string().replace("a5", "g5")] {
            assert_eq!(Sealed::parse(bad), None, "{bad}");
        }
    }
}
