//! What inspecting a text gave, remembered for all sessions: clients send the same few texts again and again.
//!
//! A verdict holds under one version of one resource's catalogue, for one exact text, or for all texts of one shape where
//! literals make no difference (`sql::Shape`), and for nothing else: the hash finds, the comparison decides. What comes
//! once is not kept. Deliberately absent: decisions of policy, which are about a person.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use model::ResourceId;
use parking_lot::Mutex;

use super::catalogues::{Slot, Versioned};
use super::sql::{self, Inspection, Limits, Meaning, Shape, Unreadable};
use crate::limits::{VERDICT_TEXT_BYTES_MAX, VERDICTS_BYTES_MAX, VERDICTS_MAX, VERDICTS_SEEN_MAX};

/// Sessions of different threads rarely meet in one shard.
const SHARDS: u64 = 16;
/// Each shard has a young and an old generation.
const GENERATION_BYTES_MAX: usize = VERDICTS_BYTES_MAX / 32;

/// How many hashes of what came once each shard has.
const SEEN_MAX: usize = VERDICTS_SEEN_MAX / 16;

/// The remembered inspections. Bounded: what comes for the second time is kept, of each shard in two generations, and
/// what is asked for again moves from the old to the young one.
#[derive(Debug)]
pub(crate) struct Verdicts {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    generation_max: usize,
}

/// The key is the seeded hash already; one entry for each, the later one wins.
type Generation = HashMap<u64, Entry, AsIs>;

#[derive(Debug)]
struct Shard {
    young: Generation,
    old: Generation,
    /// What the young ones weigh.
    young_bytes: usize,
    /// Hashes of what came once, each in the place that its lowest bits give, until another takes it.
    seen: Box<[u64]>,
}

impl Default for Shard {
    fn default() -> Shard {
        let (young, old) = Default::default();
        Shard { young, old, young_bytes: 0, seen: vec![0; SEEN_MAX].into() }
    }
}

/// What a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct About<'a> {
    resource: &'a ResourceId,
    version: u64,
    what: What,
    /// The text, or what its shape leaves of it.
    text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Text,
    Shape,
}

#[derive(Debug)]
struct Entry {
    resource: ResourceId,
    version: u64,
    what: What,
    text: Box<[u8]>,
    /// Of a shape, with the literals of one of its texts.
    inspection: Arc<Inspection>,
}

impl Entry {
    fn of(about: About<'_>, inspection: &Arc<Inspection>) -> Entry {
        let About { resource, version, what, text } = about;
        Entry {
            resource: resource.clone(),
            version,
            what,
            text: text.into(),
            inspection: Arc::clone(inspection),
        }
    }

    fn is_of(&self, about: About<'_>) -> bool {
        let Entry { resource, version, what, text, inspection: _ } = self;
        About { resource, version: *version, what: *what, text } == about
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

    /// Returns the inspection of a text under what is known of the resource now; with `lineage` also
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
        let limits = Limits { lineage, catalogue: version, ..Limits::default() };
        if text.len() > VERDICT_TEXT_BYTES_MAX {
            return inspected(text, &catalogue, &limits);
        }
        let exactly = About { resource, version, what: What::Text, text: text.as_bytes() };
        // Where values come from may be asked of literals as well.
        let shape = if lineage { None } else { Shape::of(text) };
        let Some(Shape { text: shape, literals }) = shape else {
            return self.find_or(exactly, lineage, || inspected(text, &catalogue, &limits));
        };
        let alike = About { what: What::Shape, text: &shape, ..exactly };
        let hash = self.hash(alike);
        if let Some(known) = self.find(hash, alike) {
            let meaning: Arc<Meaning> = Arc::clone(&known.meaning);
            return Ok(Arc::new(Inspection { meaning, literals: literals.into() }));
        }
        self.find_or(exactly, lineage, || {
            let inspection = inspected(text, &catalogue, &limits)?;
            if inspection.holds_for_any_literals() {
                self.keep(hash, alike, &inspection);
            }
            Ok(inspection)
        })
    }

    /// Finds a verdict, or makes one, and keeps it if it was made before.
    fn find_or(
        &self,
        about: About<'_>,
        lineage: bool,
        make: impl FnOnce() -> Result<Arc<Inspection>, Unreadable>,
    ) -> Result<Arc<Inspection>, Unreadable> {
        let hash = self.hash(about);
        // What was inspected before the resource had anything to protect does not tell where values come from.
        let known = self.find(hash, about);
        if let Some(inspection) = known.filter(|known| !lineage || known.lineage.len() == known.statements) {
            return Ok(inspection);
        }
        let inspection = make()?;
        self.keep(hash, about, &inspection);
        Ok(inspection)
    }

    fn find(&self, hash: u64, about: About<'_>) -> Option<Arc<Inspection>> {
        let mut shard = self.shard(hash)?.lock();
        if let Some(entry) = shard.young.get(&hash) {
            return entry.is_of(about).then(|| Arc::clone(&entry.inspection));
        }
        shard.old.get(&hash).filter(|entry| entry.is_of(about))?;
        let entry = shard.old.remove(&hash)?;
        let inspection = Arc::clone(&entry.inspection);
        let replaced = shard.add(hash, entry, self.generation_max);
        drop(shard);
        drop(replaced);
        Some(inspection)
    }

    /// Keeps a verdict that is made for the second time.
    fn keep(&self, hash: u64, about: About<'_>, inspection: &Arc<Inspection>) {
        let Some(shard) = self.shard(hash) else { return };
        if !shard.lock().sees(hash) {
            return;
        }
        let entry = Entry::of(about, inspection);
        // What falls out is freed after the lock is released.
        let _out = shard.lock().add(hash, entry, self.generation_max);
    }

    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        // The map below uses the lowest and the highest bits.
        let index = usize::try_from((hash >> 32) % SHARDS).ok()?;
        self.shards.get(index)
    }

    fn hash(&self, about: About<'_>) -> u64 {
        let About { resource, version, what, text } = about;
        let mut hasher = self.hasher.build_hasher();
        hasher.write(resource.0.as_bytes());
        hasher.write_u8(match what {
            What::Text => 0xff,
            What::Shape => 0xfe,
        });
        hasher.write_u64(version);
        hasher.write(text);
        hasher.finish()
    }
}

fn inspected(text: &str, catalogue: &Versioned, limits: &Limits) -> Result<Arc<Inspection>, Unreadable> {
    sql::inspect(text, &catalogue.catalogue, limits).map(Arc::new)
}

impl Shard {
    /// Tells whether something of that hash came before, of late.
    fn sees(&mut self, hash: u64) -> bool {
        let place = usize::try_from(hash % SEEN_MAX as u64).ok().and_then(|place| self.seen.get_mut(place));
        place.is_some_and(|place| std::mem::replace(place, hash) == hash)
    }

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

    impl Verdicts {
        fn of(&self, slot: &Slot, resource: &str, text: &str) -> Arc<Inspection> {
            self.inspect(slot, &id(resource), text, false).unwrap()
        }

        /// Inspects a text often enough for it to be kept.
        fn kept_of(&self, slot: &Slot, resource: &str, text: &str) -> Arc<Inspection> {
            self.of(slot, resource, text);
            self.of(slot, resource, text)
        }
    }

    #[test]
    fn one_exact_text_of_one_resource_and_version() {
        let (verdicts, slot) = (Verdicts::new(), slot());
        let text = "SELECT $$1$$";
        let first = verdicts.kept_of(&slot, "one", text);
        assert!(Arc::ptr_eq(&first, &verdicts.of(&slot, "one", text)));
        for (resource, text) in [("two", text), ("one", "SELECT $$2$$"), ("one", "SELECT $$1$$ ")] {
            let other = verdicts.kept_of(&slot, resource, text);
            assert!(!Arc::ptr_eq(&first, &other), "{resource} {text}");
        }
        slot.replace(read());
        let later = verdicts.kept_of(&slot, "one", text);
        assert!(!Arc::ptr_eq(&first, &later));
        slot.stale();
        assert!(Arc::ptr_eq(&first, &verdicts.of(&slot, "one", text)), "unknown as before");
        for _ in 0..3 {
            assert!(verdicts.inspect(&slot, &id("one"), "SELEC", false).is_err());
        }
        assert_eq!(kept(&verdicts), 5);
    }

    #[test]
    fn what_comes_once_is_not_kept() {
        let (verdicts, slot) = (Verdicts::new(), slot());
        let first = verdicts.of(&slot, "one", "SELECT $$1$$");
        assert_eq!(kept(&verdicts), 0);
        let second = verdicts.of(&slot, "one", "SELECT $$1$$");
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &verdicts.of(&slot, "one", "SELECT $$1$$")));
        assert_eq!(kept(&verdicts), 1);
    }

    #[test]
    fn texts_of_one_shape_are_inspected_twice_and_keep_their_literals() {
        let (verdicts, slot) = (Verdicts::new(), slot());
        slot.replace(sql::tests::catalogue());
        let text =
            |number: usize| format!("SELECT name FROM hr.staff WHERE id = {number} AND name <> 'n{number}'");
        let first = verdicts.of(&slot, "one", &text(1));
        let second = verdicts.of(&slot, "one", &text(2));
        assert!(!Arc::ptr_eq(&first.meaning, &second.meaning));
        for number in 3..100 {
            let got = verdicts.of(&slot, "one", &text(number));
            assert!(Arc::ptr_eq(&got.meaning, &second.meaning), "{number}");
            let limits = Limits { catalogue: got.catalogue, ..Limits::default() };
            let alone = sql::inspect(&text(number), &slot.current().catalogue, &limits).unwrap();
            assert_eq!(format!("{got:?}"), format!("{alone:?}"));
        }
        assert_eq!(kept(&verdicts), 1);
        // Of another resource, of another catalogue, or with where values come from, it is another verdict.
        let other = verdicts.of(&slot, "two", &text(3));
        assert!(!Arc::ptr_eq(&other.meaning, &second.meaning));
        let followed = verdicts.inspect(&slot, &id("one"), &text(3), true).unwrap();
        assert_eq!(followed.lineage.len(), 1);
        slot.stale();
        assert!(!Arc::ptr_eq(&verdicts.of(&slot, "one", &text(3)).meaning, &second.meaning));
    }

    #[test]
    fn a_text_whose_literals_count_is_inspected_itself() {
        let (verdicts, slot) = (Verdicts::new(), slot());
        slot.replace(sql::tests::catalogue());
        for _ in 0..3 {
            let runs = verdicts.of(&slot, "one", "EXPLAIN (ANALYZE 1) DELETE FROM notes WHERE id = 1");
            let plans = verdicts.of(&slot, "one", "EXPLAIN (ANALYZE 0) DELETE FROM notes WHERE id = 1");
            assert_eq!((runs.effect, plans.effect), (sql::Effect::Write, sql::Effect::Read));
            let harmless = verdicts.of(&slot, "one", "SELECT set_config('work_mem', '64MB', true)");
            let role = verdicts.of(&slot, "one", "SELECT set_config('role', 'admin', true)");
            assert!(harmless.needs.is_empty() && !role.needs.is_empty());
        }
    }

    #[test]
    fn equal_hashes_are_not_equal_texts() {
        let verdicts = Verdicts::new();
        let inspection =
            Arc::new(sql::inspect("SELECT 1", &Catalogue::unknown(), &Limits::default()).unwrap());
        let (one, two) = (id("one"), id("two"));
        let about = About { resource: &one, version: 1, what: What::Text, text: b"SELECT 1" };
        let later = About { text: b"SELECT 2", ..about };
        let keep = |about| (0..2).for_each(|_| verdicts.keep(7, about, &inspection));
        keep(about);
        assert!(verdicts.find(7, about).is_some());
        assert!(verdicts.find(7, later).is_none());
        assert!(verdicts.find(7, About { version: 2, ..about }).is_none());
        assert!(verdicts.find(7, About { resource: &two, ..about }).is_none());
        assert!(verdicts.find(7, About { what: What::Shape, ..about }).is_none());
        keep(later);
        assert!(verdicts.find(7, about).is_none());
        assert!(verdicts.find(7, later).is_some());
    }

    #[test]
    fn one_time_texts_do_not_displace_what_is_in_use() {
        let (verdicts, slot) = (Verdicts::holding(320), slot());
        let used = verdicts.kept_of(&slot, "one", "SELECT $$used$$");
        for number in 0..2_000 {
            verdicts.kept_of(&slot, "one", &format!("SELECT $${number}$$"));
            let again = verdicts.of(&slot, "one", "SELECT $$used$$");
            assert!(Arc::ptr_eq(&used, &again), "{number}");
            assert!(kept(&verdicts) <= 320);
        }
    }

    #[test]
    fn heavy_texts_are_bounded_by_their_weight() {
        let (verdicts, slot) = (Verdicts::new(), slot());
        let filler = "x".repeat(VERDICT_TEXT_BYTES_MAX - 100);
        for number in 0..9_000 {
            verdicts.kept_of(&slot, "one", &format!("SELECT {number}, $${filler}$$"));
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
        let (verdicts, slot) = (Verdicts::new(), slot());
        let text = format!("SELECT '{}'", "x".repeat(VERDICT_TEXT_BYTES_MAX));
        verdicts.kept_of(&slot, "one", &text);
        assert_eq!(kept(&verdicts), 0);
    }
}
