//! What inspecting a text gave, remembered for all sessions: clients send the same few texts again and again.
//!
//! A verdict holds for one exact text under one version of one resource's catalogue, and for nothing else: the hash
//! finds, the comparison decides. Deliberately absent: decisions of policy, which are about a person.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use model::ResourceId;
use parking_lot::Mutex;

use super::catalogues::{Slot, Versioned};
use super::sql::{self, Inspection, Limits, Unreadable};
use crate::limits::{VERDICT_TEXT_BYTES_MAX, VERDICTS_BYTES_MAX, VERDICTS_MAX};

/// Sessions of different threads rarely meet in one shard.
const SHARDS: u64 = 16;
/// Each shard has a young and an old generation.
const GENERATION_BYTES_MAX: usize = VERDICTS_BYTES_MAX / 32;

/// The remembered inspections. Bounded: of each shard the texts of two generations are kept, and a text asked for
/// again moves from the old to the young one.
#[derive(Debug)]
pub(crate) struct Verdicts {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    generation_max: usize,
}

/// The key is the seeded hash already; one entry for each, the later one wins.
type Generation = HashMap<u64, Entry, AsIs>;

#[derive(Debug, Default)]
struct Shard {
    young: Generation,
    old: Generation,
    /// What the young ones weigh.
    young_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    resource: ResourceId,
    version: u64,
    text: Box<str>,
    inspection: Arc<Inspection>,
}

impl Entry {
    fn is_of(&self, resource: &ResourceId, version: u64, text: &str) -> bool {
        self.resource == *resource && self.version == version && *self.text == *text
    }
}

impl Verdicts {
    /// Starts with none.
    pub(crate) fn new() -> Verdicts {
        Verdicts::holding(VERDICTS_MAX)
    }

    fn holding(verdicts_max: usize) -> Verdicts {
        let shards: Box<[Mutex<Shard>]> = (0..SHARDS).map(|_| Mutex::default()).collect();
        let generation_max = (verdicts_max / shards.len() / 2).max(1);
        Verdicts { hasher: RandomState::default(), shards, generation_max }
    }

    /// Returns the inspection of a text under what is known of the resource now, and remembers it; with `lineage` also
    /// where its values come from. `slot` is the resource's own.
    ///
    /// # Errors
    ///
    /// As [`sql::inspect`]; errors are not remembered.
    pub(crate) fn inspect(
        &self,
        slot: &Slot,
        resource: &ResourceId,
        text: &str,
        lineage: bool,
    ) -> Result<Arc<Inspection>, Unreadable> {
        let catalogue = slot.current();
        let version = catalogue.version;
        let limits = Limits { lineage, ..Limits::default() };
        if text.len() > VERDICT_TEXT_BYTES_MAX {
            return inspected(text, &catalogue, &limits);
        }
        let hash = self.hash(resource, version, text);
        let known = self.find(hash, resource, version, text);
        // What was inspected before the resource had anything to protect does not tell where values come from.
        if let Some(inspection) = known.filter(|known| !lineage || known.lineage.len() == known.statements) {
            return Ok(inspection);
        }
        let inspection = inspected(text, &catalogue, &limits)?;
        let entry = Entry {
            resource: resource.clone(),
            version,
            text: text.into(),
            inspection: Arc::clone(&inspection),
        };
        self.keep(hash, entry);
        Ok(inspection)
    }

    fn find(&self, hash: u64, resource: &ResourceId, version: u64, text: &str) -> Option<Arc<Inspection>> {
        let mut shard = self.shard(hash)?.lock();
        if let Some(entry) = shard.young.get(&hash) {
            return entry.is_of(resource, version, text).then(|| Arc::clone(&entry.inspection));
        }
        shard.old.get(&hash).filter(|entry| entry.is_of(resource, version, text))?;
        let entry = shard.old.remove(&hash)?;
        let inspection = Arc::clone(&entry.inspection);
        let replaced = shard.add(hash, entry, self.generation_max);
        drop(shard);
        drop(replaced);
        Some(inspection)
    }

    fn keep(&self, hash: u64, entry: Entry) {
        // What falls out is freed after the lock is released.
        let _out = self.shard(hash).map(|shard| shard.lock().add(hash, entry, self.generation_max));
    }

    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        // The map below uses the lowest and the highest bits.
        let index = usize::try_from((hash >> 32) % SHARDS).ok()?;
        self.shards.get(index)
    }

    fn hash(&self, resource: &ResourceId, version: u64, text: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(resource.0.as_bytes());
        hasher.write_u8(0xff);
        hasher.write_u64(version);
        hasher.write(text.as_bytes());
        hasher.finish()
    }
}

fn inspected(text: &str, catalogue: &Versioned, limits: &Limits) -> Result<Arc<Inspection>, Unreadable> {
    let inspection = sql::inspect(text, &catalogue.catalogue, limits)?;
    Ok(Arc::new(Inspection { catalogue: catalogue.version, ..inspection }))
}

impl Shard {
    /// Adds an entry, beginning a new generation when the young one is full by number or by weight; returns what it displaced, to be freed by the caller.
    fn add(&mut self, hash: u64, entry: Entry, generation_max: usize) -> (Option<Entry>, Generation) {
        let mut out = Generation::default();
        let weight = entry.text.len() + entry.inspection.weight();
        if self.young.len() >= generation_max || self.young_bytes + weight > GENERATION_BYTES_MAX {
            self.young_bytes = 0;
            let next = Generation::with_capacity_and_hasher(self.young.len(), AsIs);
            out = std::mem::replace(&mut self.old, std::mem::replace(&mut self.young, next));
        }
        self.young_bytes += weight;
        (self.young.insert(hash, entry), out)
    }
}

/// Hashes a hash to itself.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs;

impl BuildHasher for AsIs {
    type Hasher = AsIsHasher;

    fn build_hasher(&self) -> AsIsHasher {
        AsIsHasher(0)
    }
}

#[derive(Debug)]
struct AsIsHasher(u64);

impl Hasher for AsIsHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogues::Catalogues;
    use super::super::sql::{Catalogue, Rows};
    use super::*;

    fn id(name: &str) -> ResourceId {
        ResourceId(name.into())
    }

    fn slot() -> Arc<Slot> {
        Catalogues::new().slot(&super::super::catalogues::tests::upstream("one"))
    }

    fn read() -> Catalogue {
        Catalogue::from_rows(&vec![Rows::new(); Catalogue::QUERIES.len()]).unwrap()
    }

    fn kept(verdicts: &Verdicts) -> usize {
        verdicts
            .shards
            .iter()
            .map(|shard| shard.lock())
            .map(|shard| shard.young.len() + shard.old.len())
            .sum()
    }

    #[test]
    fn one_exact_text_of_one_resource_and_version() {
        let (verdicts, slot, one) = (Verdicts::new(), slot(), id("one"));
        let text = "SELECT 1";
        let first = verdicts.inspect(&slot, &one, text, false).unwrap();
        assert!(Arc::ptr_eq(&first, &verdicts.inspect(&slot, &one, text, false).unwrap()));
        for (resource, text) in [("two", text), ("one", "SELECT 2"), ("one", "SELECT 1 ")] {
            let other = verdicts.inspect(&slot, &id(resource), text, false).unwrap();
            assert!(!Arc::ptr_eq(&first, &other), "{resource} {text}");
        }
        slot.replace(read());
        let later = verdicts.inspect(&slot, &one, text, false).unwrap();
        assert!(!Arc::ptr_eq(&first, &later));
        slot.stale();
        assert!(
            Arc::ptr_eq(&first, &verdicts.inspect(&slot, &one, text, false).unwrap()),
            "unknown as before"
        );
        assert!(verdicts.inspect(&slot, &one, "SELEC", false).is_err());
        assert_eq!(kept(&verdicts), 5);
    }

    #[test]
    fn equal_hashes_are_not_equal_texts() {
        let verdicts = Verdicts::new();
        let inspection =
            Arc::new(sql::inspect("SELECT 1", &Catalogue::unknown(), &Limits::default()).unwrap());
        let entry = |text: &str| Entry {
            resource: id("one"),
            version: 1,
            text: text.into(),
            inspection: Arc::clone(&inspection),
        };
        verdicts.keep(7, entry("SELECT 1"));
        assert!(verdicts.find(7, &id("one"), 1, "SELECT 1").is_some());
        assert!(verdicts.find(7, &id("one"), 1, "SELECT 2").is_none());
        assert!(verdicts.find(7, &id("one"), 2, "SELECT 1").is_none());
        assert!(verdicts.find(7, &id("two"), 1, "SELECT 1").is_none());
        verdicts.keep(7, entry("SELECT 2"));
        assert!(verdicts.find(7, &id("one"), 1, "SELECT 1").is_none());
        assert!(verdicts.find(7, &id("one"), 1, "SELECT 2").is_some());
    }

    #[test]
    fn one_time_texts_do_not_displace_what_is_in_use() {
        let (verdicts, slot, one) = (Verdicts::holding(320), slot(), id("one"));
        let used = verdicts.inspect(&slot, &one, "SELECT 'used'", false).unwrap();
        for number in 0..2_000 {
            verdicts.inspect(&slot, &one, &format!("SELECT {number}"), false).unwrap();
            let again = verdicts.inspect(&slot, &one, "SELECT 'used'", false).unwrap();
            assert!(Arc::ptr_eq(&used, &again), "{number}");
            assert!(kept(&verdicts) <= 320);
        }
    }

    #[test]
    fn heavy_texts_are_bounded_by_their_weight() {
        let (verdicts, slot, one) = (Verdicts::new(), slot(), id("one"));
        let filler = "x".repeat(VERDICT_TEXT_BYTES_MAX - 100);
        for number in 0..9_000 {
            verdicts.inspect(&slot, &one, &format!("SELECT {number}, '{filler}'"), false).unwrap();
        }
        let weight = |generation: &Generation| -> usize {
            generation.values().map(|entry| entry.text.len() + entry.inspection.weight()).sum()
        };
        let shards = verdicts.shards.iter().map(|shard| shard.lock());
        let total: usize = shards.map(|shard| weight(&shard.young) + weight(&shard.old)).sum();
        assert!(total <= VERDICTS_BYTES_MAX && total > VERDICTS_BYTES_MAX / 4, "{total}");
    }

    #[test]
    fn long_texts_are_not_kept() {
        let (verdicts, slot, one) = (Verdicts::new(), slot(), id("one"));
        let text = format!("SELECT '{}'", "x".repeat(VERDICT_TEXT_BYTES_MAX));
        verdicts.inspect(&slot, &one, &text, false).unwrap();
        assert_eq!(kept(&verdicts), 0);
    }
}
