//! Checks a trail against nothing but its files, and a key or checkpoint that the auditor brings.
//!
//! Level 1: the checkpoint's signature, origin and key. 2: tiles ⇐ leaves ⇐ root, everything recomputed.
//! 3: sequence, time, heartbeats of the leaves, and the chain of frames. 5: with the root key, every frame
//! decrypts, every record is the one its leaf commits to, and the literals sealed in it open. (4 is for the archive.)
//!
//! Deliberately absent: any trust in who wrote the folder, any network, any repair.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use model::{Kind, Record, RootKey};
use tlog::{
    Bundle, Checkpoint, Hash, KeyChange, NoteVerifier, Policy, SignedNote, Tile, TileBuilder, decode_bundle,
    leaf_hash,
};

use crate::disk::{Disk, Folder};
use crate::epoch::EpochHead;
use crate::error::{Damage, DamageKind, Error};
use crate::expire::{Expired, Tombstone};
use crate::keys::{CHECKPOINT_KEY_FILE, Class, Keys, SegmentKeys, VERIFIER_FILE};
use crate::leaf::{LEAF_BYTES, Leaf, commitment};
use crate::options::HEARTBEAT_GAP_MAX;
use crate::published::WITNESSED_FILE;
use crate::read::{read_verifier, sealed_for};
use crate::record;
use crate::scan::{Position, Remains, Scan, Step, damage, segments};
use crate::seal::{Content, Unsealer, sealed_stamp};
use crate::segment::{FrameHeader, FrameOpener, FramePlace, Records, chain_origin, segment_file};
use crate::signers::{KEY_CHANGES_FOLDER, LogKeys, change_notes};
use crate::tree::{CHECKPOINT_FILE, read_bundle, read_if_there, read_tile, tree_file};

/// A leaf in an entry bundle: two bytes of length, then the leaf.
const BUNDLED_LEAF_BYTES: u64 = LEAF_BYTES as u64 + 2;
/// The clock is watched every second; a busy machine is slower.
const SILENCE_EXPLAINED_MAX: Duration = Duration::from_secs(60);

/// What to check, and against what.
pub struct VerifyOptions<'a> {
    /// The log's verifier key from outside; without it the folder's own `verifier.txt` is believed, and the
    /// report says so.
    pub verifier_key: Option<String>,
    /// A signed checkpoint of this log that was held elsewhere: the log must contain it.
    pub checkpoint: Option<Vec<u8>>,
    /// Whom to believe: a checkpoint must be there that its quorum of witnesses signed (level 1).
    pub policy: Option<&'a Policy>,
    /// With it, records are decrypted and compared with their leaves (level 5).
    pub root_key: Option<&'a RootKey>,
    /// Check the tree only (levels 1 to 3), as for an export without segments.
    pub tree_only: bool,
    /// The longest silence of a running node.
    pub heartbeat_gap_max: Duration,
    /// Stop looking for more after so many findings.
    pub findings_max: usize,
    /// Called now and then with how many entries are done, and of how many.
    pub progress: Option<&'a mut dyn FnMut(u64, u64)>,
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        VerifyOptions {
            verifier_key: None,
            checkpoint: None,
            policy: None,
            root_key: None,
            tree_only: false,
            heartbeat_gap_max: HEARTBEAT_GAP_MAX,
            findings_max: 20,
            progress: None,
        }
    }
}

impl fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions").field("tree_only", &self.tree_only).finish_non_exhaustive()
    }
}

/// Where the leaves stand between a start and its epoch head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Epochs {
    /// No epoch head has come yet: the log may have begun before there were any.
    None,
    /// Each start has had its head.
    Headed,
    /// The last start has none yet.
    Started,
}

/// A jump in the times of leaves that is longer than a heartbeat may take: the node was silent, or its clock stepped.
struct Silence {
    file: String,
    offset: Option<u64>,
    index: u64,
    time_us: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The level of the check that found it.
    pub level: u8,
    /// Where and what.
    pub damage: Damage,
}

/// What stands behind the last checkpoint: durable perhaps, but not signed for yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Records in whole frames.
    pub records: u64,
    /// Bytes of an unfinished frame, which the next opening cuts off.
    pub torn_bytes: u64,
}

/// What was checked and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name of the log.
    pub origin: String,
    /// The key that was believed.
    pub verifier_key: String,
    /// Whether that key came from outside the folder.
    pub key_pinned: bool,
    /// How often the log's key has changed, each time signed by the key before and the one after.
    pub key_changes: u64,
    /// The size that the checkpoint signs.
    pub size: u64,
    /// The root that the checkpoint signs.
    pub root: Hash,
    /// The size of the newest checkpoint that witnesses signed: as many as the policy asks for, or without one those that
    /// the node asked.
    pub witnessed: Option<u64>,
    /// Leaves that were hashed into the root.
    pub leaves: u64,
    /// Frames whose checksum and chain were checked.
    pub frames: u64,
    /// Records that were decrypted and compared with their leaves.
    pub records: u64,
    /// How often the node started.
    pub starts: u64,
    /// How often it started without having stopped before: a crash or a kill.
    pub crashes: u64,
    /// Silences that an incident soon behind them explains: steps of the clock, a machine that was asleep.
    pub explained_silences: u64,
    /// Entries that nobody can read any more because a tombstone says so.
    pub expired: u64,
    /// Of these, the ones that are held, decrypted and compared with their leaves.
    pub held: u64,
    /// The tombstones.
    pub tombstones: Vec<Tombstone>,
    /// What stands behind the checkpoint.
    pub tail: Tail,
    /// What is wrong, the first bad entry first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Tells whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Checks the trail in a folder.
///
/// # Errors
/// When the checks could not be made. Damage is not an error but a finding.
pub fn verify(folder: &Path, options: VerifyOptions<'_>) -> Result<Report, Error> {
    let disk = Folder::open(folder).map_err(|source| Error::io("open the trail's folder", source))?;
    verify_on(&disk, options)
}

/// As [`verify`], on any disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_on(disk: &dyn Disk, options: VerifyOptions<'_>) -> Result<Report, Error> {
    let verifier = trusted_key(disk, &options)?;
    let (log, bad_change) = match LogKeys::believing(disk, verifier.clone()) {
        Ok(log) => (log, None),
        Err(Error::Damaged(damage)) => (LogKeys::only(verifier.clone()), Some(damage)),
        Err(error) => return Err(error),
    };
    let mut report = Report {
        origin: verifier.name().to_owned(),
        verifier_key: verifier.to_string(),
        key_pinned: options.verifier_key.is_some(),
        key_changes: log.succession().changes().len() as u64,
        size: 0,
        root: tlog::EMPTY_ROOT,
        witnessed: None,
        leaves: 0,
        frames: 0,
        records: 0,
        starts: 0,
        crashes: 0,
        explained_silences: 0,
        expired: 0,
        held: 0,
        tombstones: Vec::new(),
        tail: Tail::default(),
        findings: Vec::new(),
    };
    report.findings.extend(bad_change.map(|damage| Finding { level: 1, damage }));
    // Whoever pins an earlier key follows it to the one that the folder names.
    let named = read_verifier(disk).ok().filter(|named| log.succession().keys().contains(named));
    let changes_due = changes_due(disk, named.as_ref());
    if report.key_pinned && named.is_none() {
        report.findings.push(finding(1, VERIFIER_FILE, None, None, DamageKind::Key));
    }
    let checkpoint = match checkpoint(disk, &log)? {
        Ok(checkpoint) => checkpoint,
        Err(kind) => {
            report.findings.push(finding(1, CHECKPOINT_FILE, None, None, kind));
            return Ok(report);
        }
    };
    (report.size, report.root) = (checkpoint.size(), checkpoint.root());
    let mut run = Run {
        disk,
        options,
        log,
        changes_due,
        changed: Vec::new(),
        change_leaves: 0,
        checkpoint,
        report,
        run_leaf: None,
        epochs: Epochs::None,
        begun: BTreeSet::new(),
        // A log that begins with an incident has its first start behind it, and stood at nothing.
        roots: BTreeMap::from([(0, tlog::EMPTY_ROOT)]),
        silence: None,
        cached: None,
    };
    run.tree()?;
    if !run.options.tree_only {
        run.frames()?;
    }
    let mut report = run.report;
    // Damage to a file that many entries stand on counts behind damage to an entry.
    report.findings.sort_by_key(|finding| finding.damage.index.unwrap_or(u64::MAX));
    Ok(report)
}

fn finding(level: u8, file: &str, offset: Option<u64>, index: Option<u64>, kind: DamageKind) -> Finding {
    Finding { level, damage: damage(file.to_owned(), offset, index, kind) }
}

/// Returns the changes of key that are in the log by now. The folder names a new key once its change is durable there, so
/// while it names the old one the last change may still be on its way.
fn changes_due(disk: &dyn Disk, named: Option<&NoteVerifier>) -> Vec<(String, Vec<u8>)> {
    // Changes that cannot be read are found elsewhere.
    let mut notes = change_notes(disk).unwrap_or_default();
    let last = notes.last().and_then(|(_, note)| KeyChange::open(note).ok());
    if last.is_some_and(|change| named == Some(&change.old)) {
        notes.pop();
    }
    notes
}

fn trusted_key(disk: &dyn Disk, options: &VerifyOptions<'_>) -> Result<NoteVerifier, Error> {
    match &options.verifier_key {
        None => read_verifier(disk),
        Some(key) => key.trim().parse().map_err(|_| Error::Option {
            name: "verifier_key",
            problem: "not a verifier key of a signed note",
        }),
    }
}

fn checkpoint(disk: &dyn Disk, log: &LogKeys) -> Result<Result<Checkpoint, DamageKind>, Error> {
    Ok(match read_if_there(disk, CHECKPOINT_FILE).map_err(io_error(CHECKPOINT_FILE))? {
        None => Err(DamageKind::Missing),
        Some(bytes) => log.open(disk, &bytes).map_err(|_| DamageKind::Checkpoint),
    })
}

fn io_error(file: &str) -> impl Fn(io::Error) -> Error {
    move |source| Error::io(format!("read `{file}`"), source)
}

struct Run<'a, 'o> {
    disk: &'a dyn Disk,
    options: VerifyOptions<'o>,
    log: LogKeys,
    /// The changes of key that must be in the log, with their files.
    changes_due: Vec<(String, Vec<u8>)>,
    /// The changes of key that records tell of.
    changed: Vec<String>,
    /// How many leaves say that the log's key changed.
    change_leaves: u64,
    checkpoint: Checkpoint,
    report: Report,
    /// The leaf before, for what leaves say about each other.
    run_leaf: Option<Leaf>,
    /// Since the first epoch head, each start has one.
    epochs: Epochs,
    /// The starts in the bundle that is looked at.
    begun: BTreeSet<u64>,
    /// The roots at which epochs began, as the leaves give them.
    roots: BTreeMap<u64, Hash>,
    /// A silence that only an incident soon behind it explains.
    silence: Option<Silence>,
    /// The bundle that level 5 looked at last.
    cached: Option<(u64, Vec<u8>)>,
}

impl Run<'_, '_> {
    fn found(&mut self, level: u8, file: &str, offset: Option<u64>, index: Option<u64>, kind: DamageKind) {
        self.report.findings.push(finding(level, file, offset, index, kind));
    }

    fn enough(&self) -> bool {
        self.report.findings.len() >= self.options.findings_max
    }

    fn progress(&mut self, done: u64, total: u64) {
        if let Some(progress) = &mut self.options.progress {
            progress(done, total);
        }
    }

    /// Levels 2 and 3 over the leaves.
    fn tree(&mut self) -> Result<(), Error> {
        let size = self.checkpoint.size();
        let mut outside: Vec<(&str, Checkpoint)> =
            self.outside_checkpoint().map(|held| (CHECKPOINT_FILE, held)).into_iter().collect();
        outside.extend(self.witnessed()?.map(|witnessed| (WITNESSED_FILE, witnessed)));
        let mut builder = TileBuilder::new();
        self.compare_outside(&outside, &builder);
        let mut full = Vec::new();
        for index in 0..size.div_ceil(256) {
            let hashes = self.bundle(Bundle::at(index, size).expect("the index is within the tree"))?;
            let Some(hashes) = hashes else { return Ok(()) };
            for (place, hash) in (0_u64..).zip(hashes) {
                if self.begun.contains(&(index * 256 + place)) {
                    self.roots.insert(index * 256 + place, builder.root());
                }
                builder.push(hash, |tile, bytes| full.push((tile, bytes.to_vec())));
                self.compare_outside(&outside, &builder);
            }
            self.begun.clear();
            for (tile, bytes) in full.drain(..) {
                self.tile(tile, &bytes)?;
            }
            if self.enough() {
                return Ok(());
            }
            if index % 256 == 0 {
                self.progress(builder.size(), size);
            }
        }
        let partials: Vec<_> = builder.partials().map(|(tile, bytes)| (tile, bytes.to_vec())).collect();
        for (tile, bytes) in partials {
            self.tile(tile, &bytes)?;
        }
        self.judge_silence(None);
        self.key_changes_have_leaves();
        self.report.leaves = builder.size();
        if builder.root() != self.checkpoint.root() {
            self.found(2, CHECKPOINT_FILE, None, None, DamageKind::Root);
        }
        self.progress(size, size);
        Ok(())
    }

    /// Each change of key left a leaf.
    fn key_changes_have_leaves(&mut self) {
        // The last one may not be below the checkpoint yet.
        let older = self.changes_due.len().saturating_sub(1) as u64;
        if self.change_leaves < older {
            self.found(3, KEY_CHANGES_FOLDER, None, None, DamageKind::KeyChange);
        }
    }

    /// Opens the checkpoint that was held elsewhere.
    fn outside_checkpoint(&mut self) -> Option<Checkpoint> {
        let bytes = self.options.checkpoint.take()?;
        let outside = self.log.open(self.disk, &bytes);
        let usable = outside.ok().filter(|outside| outside.size() <= self.checkpoint.size());
        if usable.is_none() {
            let end = Some(self.checkpoint.size());
            self.found(1, CHECKPOINT_FILE, None, end, DamageKind::Inconsistent);
        }
        usable
    }

    /// Returns the checkpoint that witnesses signed, if there is one that is to be believed.
    fn witnessed(&mut self) -> Result<Option<Checkpoint>, Error> {
        let stored = read_if_there(self.disk, WITNESSED_FILE).map_err(io_error(WITNESSED_FILE))?;
        let Some(policy) = self.options.policy else {
            let Some(bytes) = stored else { return Ok(None) };
            let Ok(witnessed) = self.log.open(self.disk, &bytes) else {
                self.found(1, WITNESSED_FILE, None, None, DamageKind::Checkpoint);
                return Ok(None);
            };
            return Ok(self.within(witnessed));
        };
        // The newest checkpoint serves as well, if somebody has put the witnesses' lines behind it.
        let newest = read_if_there(self.disk, CHECKPOINT_FILE).map_err(io_error(CHECKPOINT_FILE))?;
        let log = self.log.succession();
        let believed = newest.iter().chain(&stored).find_map(|bytes| {
            let note = SignedNote::parse(bytes).ok()?;
            policy.open_of(&note, &log).ok()
        });
        if believed.is_none() {
            self.found(1, WITNESSED_FILE, None, None, DamageKind::Quorum);
        }
        Ok(believed.and_then(|witnessed| self.within(witnessed)))
    }

    /// A witnessed checkpoint beyond the end of the log: entries were cut off, and the end was signed anew.
    fn within(&mut self, witnessed: Checkpoint) -> Option<Checkpoint> {
        if witnessed.size() > self.checkpoint.size() {
            let end = Some(self.checkpoint.size());
            self.found(1, WITNESSED_FILE, None, end, DamageKind::Inconsistent);
            return None;
        }
        self.report.witnessed = Some(witnessed.size());
        Some(witnessed)
    }

    fn compare_outside(&mut self, outside: &[(&str, Checkpoint)], builder: &TileBuilder) {
        for (file, held) in outside {
            if held.size() == builder.size() && held.root() != builder.root() {
                self.found(2, file, None, None, DamageKind::Inconsistent);
            }
        }
    }

    /// Checks one bundle of leaves and returns their hashes, where it is damaged those of its tile; `None` when
    /// there are neither.
    fn bundle(&mut self, bundle: Bundle) -> Result<Option<Vec<Hash>>, Error> {
        let first = bundle.first_leaf().expect("the bundle is within the tree");
        let file = tree_file(&bundle.path());
        let tile = Tile::new(0, bundle.index(), bundle.width()).expect("as wide as its bundle");
        let Some(bytes) = read_bundle(self.disk, bundle).map_err(io_error(&file))? else {
            self.found(2, &file, None, Some(first), DamageKind::Missing);
            return self.tile_hashes(tile);
        };
        let leaves = match decode_bundle(bundle, &bytes) {
            Ok(leaves) => leaves,
            Err(_) => {
                self.bad_bundle(&file, &bytes, first, tile)?;
                return self.tile_hashes(tile);
            }
        };
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let stored = self.tile_hashes(tile)?;
        let differs = stored.as_ref().and_then(|stored| stored.iter().zip(&hashes).position(|(a, b)| a != b));
        if let Some(place) = differs
            && self.tile_is_good(tile, stored.as_deref().unwrap_or_default())?
        {
            let (index, offset) = (first + place as u64, place as u64 * BUNDLED_LEAF_BYTES);
            self.found(2, &file, Some(offset), Some(index), DamageKind::Bundle);
            self.run_leaf = None;
            return Ok(stored);
        }
        // A tile that differs while the leaves are good is found when the computed tile is compared.
        for (place, leaf) in leaves.into_iter().enumerate() {
            self.leaf(&file, first, place as u64, leaf);
        }
        Ok(Some(hashes))
    }

    /// Finds the first entry of a bundle that cannot be split that its tile does not know.
    fn bad_bundle(&mut self, file: &str, bytes: &[u8], first: u64, tile: Tile) -> Result<(), Error> {
        let width = usize::try_from(BUNDLED_LEAF_BYTES).expect("54");
        let stored = self.tile_hashes(tile)?.unwrap_or_default();
        let good = bytes
            .chunks(width)
            .zip(&stored)
            .take_while(|(chunk, hash)| {
                let leaf = chunk.split_at_checked(2).map(|(_, leaf)| leaf).unwrap_or_default();
                chunk.starts_with(&[0, 52]) && leaf_hash(leaf) == **hash
            })
            .count() as u64;
        self.run_leaf = None;
        self.found(2, file, Some(good * BUNDLED_LEAF_BYTES), Some(first + good), DamageKind::Bundle);
        Ok(())
    }

    fn tile_hashes(&self, tile: Tile) -> Result<Option<Vec<Hash>>, Error> {
        let bytes = read_tile(self.disk, tile).map_err(io_error("tree/tile"))?;
        let fits = bytes.filter(|bytes| bytes.len() == usize::from(tile.width()) * 32);
        Ok(fits.map(|bytes| bytes.as_chunks::<32>().0.iter().map(|hash| Hash(*hash)).collect()))
    }

    /// Tells whether a stored tile of level 0 fits the tree above it, so that it can judge its bundle.
    fn tile_is_good(&self, tile: Tile, stored: &[Hash]) -> Result<bool, Error> {
        if !tile.is_full() {
            let read =
                |tile: Tile| -> io::Result<Vec<u8>> { Ok(read_tile(self.disk, tile)?.unwrap_or_default()) };
            let root = tlog::root_from_tiles(self.checkpoint.size(), &read);
            return Ok(root.is_ok_and(|root| root == self.checkpoint.root()));
        }
        let mut builder = TileBuilder::new();
        stored.iter().for_each(|hash| builder.push(*hash, |_, _| {}));
        let above =
            Tile::at(1, tile.index() / 256, self.checkpoint.size()).expect("a full tile has one above");
        let place = usize::try_from(tile.index() % 256).expect("below 256");
        let row = self.tile_hashes(above)?.unwrap_or_default();
        Ok(row.get(place) == Some(&builder.root()))
    }

    /// Compares a tile with what the leaves give.
    fn tile(&mut self, tile: Tile, computed: &[u8]) -> Result<(), Error> {
        let file = tree_file(&tile.path());
        // The first leaf below the tile's first hash, and how many stand below each.
        let leaves_each = 1_u64 << (8 * u32::from(tile.level()));
        let first = tile.index() * 256 * leaves_each;
        match read_tile(self.disk, tile).map_err(io_error(&file))? {
            None => self.found(2, &file, None, Some(first), DamageKind::Missing),
            Some(stored) if stored == computed => {}
            Some(stored) => {
                let same = stored.iter().zip(computed).take_while(|(a, b)| a == b).count() as u64;
                let index = first + same / 32 * leaves_each;
                self.found(2, &file, Some(same), Some(index), DamageKind::Tile);
            }
        }
        Ok(())
    }

    /// Level 3 of one leaf.
    fn leaf(&mut self, file: &str, first: u64, place: u64, bytes: &[u8]) {
        let (index, offset) = (first + place, Some(place * BUNDLED_LEAF_BYTES));
        let leaf = Leaf::decode(bytes)
            .filter(|leaf| leaf.sequence == index && Kind::ALL.iter().any(|kind| *kind as u8 == leaf.kind));
        let Some(leaf) = leaf else {
            self.run_leaf = None;
            return self.found(3, file, offset, Some(index), DamageKind::Leaf);
        };
        let starts = leaf.kind == Kind::NodeStarted as u8;
        if let Some(before) = self.run_leaf {
            let gap_max = u64::try_from(self.options.heartbeat_gap_max.as_micros()).unwrap_or(u64::MAX);
            if leaf.time_us < before.time_us {
                self.found(3, file, offset, Some(index), DamageKind::Time);
            } else if leaf.time_us - before.time_us > gap_max && !starts {
                self.judge_silence(None);
                let (file, time_us) = (file.to_owned(), leaf.time_us);
                self.silence = Some(Silence { file, offset, index, time_us });
            }
            self.report.crashes += u64::from(starts && before.kind != Kind::NodeStopped as u8 && index > 1);
        }
        self.judge_silence(Some(&leaf));
        self.epoch(file, offset, &leaf);
        self.report.starts += u64::from(starts);
        self.change_leaves += u64::from(leaf.kind == Kind::KeyRotated as u8);
        if starts {
            self.begun.insert(index);
        }
        self.run_leaf = Some(leaf);
    }

    /// Between a start and its head stands only what the trail itself writes. A start that died before its head has none.
    fn epoch(&mut self, file: &str, offset: Option<u64>, leaf: &Leaf) {
        let is = |kind: Kind| leaf.kind == kind as u8;
        if is(Kind::EpochHead) {
            self.epochs = Epochs::Headed;
            return;
        }
        let own = is(Kind::SegmentOpened) || is(Kind::Heartbeat) || is(Kind::Incident);
        self.epochs = match self.epochs {
            Epochs::None => Epochs::None,
            Epochs::Headed | Epochs::Started if is(Kind::NodeStarted) => Epochs::Started,
            Epochs::Headed => Epochs::Headed,
            Epochs::Started if own => Epochs::Started,
            Epochs::Started => {
                self.found(3, file, offset, Some(leaf.sequence), DamageKind::Epoch);
                Epochs::Headed
            }
        };
    }

    /// Compares an epoch head's record with the tree and with the frame that holds it.
    fn epoch_head(&self, index: u64, record: &Record<'_>, epoch: u32) -> bool {
        if record.kind != Kind::EpochHead || index >= self.report.size {
            return true;
        }
        let head = record.detail.as_deref().and_then(|detail| detail.parse::<EpochHead>().ok());
        // Where the start's leaf is damaged there is no root to compare with, and that is found already.
        let stood = |head: &EpochHead| match self.roots.get(&head.size) {
            Some(root) => *root == head.root,
            None => !self.report.findings.is_empty(),
        };
        head.is_some_and(|head| head.epoch == epoch && stood(&head))
    }

    /// A silence is explained by an incident soon behind it, such as a step of the clock, and otherwise a finding.
    fn judge_silence(&mut self, leaf: Option<&Leaf>) {
        let Some(silence) = self.silence.take() else { return };
        let explained_us = u64::try_from(SILENCE_EXPLAINED_MAX.as_micros()).unwrap_or(u64::MAX);
        let soon = leaf.filter(|leaf| leaf.time_us.saturating_sub(silence.time_us) <= explained_us);
        match soon {
            Some(leaf) if leaf.kind == Kind::Incident as u8 => self.report.explained_silences += 1,
            Some(_) => self.silence = Some(silence),
            None => {
                let Silence { file, offset, index, .. } = silence;
                self.found(3, &file, offset, Some(index), DamageKind::Heartbeat);
            }
        }
    }

    /// The frames: level 3 without keys, level 5 with them.
    fn frames(&mut self) -> Result<(), Error> {
        let numbers = match segments(self.disk) {
            Ok(numbers) => numbers,
            Err(Error::Damaged(damage)) => {
                let index = self.index_behind(&damage.file)?;
                self.found(3, &damage.file, None, index, damage.kind);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if numbers.first().is_none_or(|first| *first > 0) {
            self.found(3, &segment_file(0), None, Some(0), DamageKind::Missing);
            return Ok(());
        }
        let keys = self.options.root_key.map(|root| Keys::new(root, self.log.origin()));
        let mut expired = Expired::default();
        if let Some(keys) = &keys {
            self.keys(keys)?;
            expired = self.expired(keys)?;
        }
        let mut walk = Walk {
            expired,
            keys,
            classes: BTreeMap::new(),
            opener: FrameOpener::new(),
            literals: Literals::default(),
            end: None,
        };
        for number in &numbers {
            self.segment(*number, numbers.last() == Some(number), &mut walk)?;
            if self.enough() {
                return Ok(());
            }
        }
        if walk.keys.is_some() {
            self.key_changes_recorded()?;
        }
        Ok(())
    }

    /// Each change of key is in the log, and the log tells of no other.
    fn key_changes_recorded(&mut self) -> Result<(), Error> {
        for (file, bytes) in std::mem::take(&mut self.changes_due) {
            if !self.changed.iter().any(|told| told.as_bytes() == bytes) {
                self.found(5, &file, None, None, DamageKind::KeyChange);
            }
        }
        let notes = change_notes(self.disk)?;
        let told = self.changed.iter().filter(|told| !notes.iter().any(|(_, note)| note == told.as_bytes()));
        for _ in 0..told.count() {
            self.found(5, KEY_CHANGES_FOLDER, None, None, DamageKind::KeyChange);
        }
        Ok(())
    }

    /// The files of the keys: each opens, and the one that signs is there and is the one of this log.
    fn keys(&mut self, keys: &Keys) -> Result<(), Error> {
        let unopened = keys.unopened(self.disk).map_err(|source| Error::io("list the keys", source))?;
        if let Some(file) = unopened {
            self.found(5, &file, None, None, DamageKind::Key);
        }
        match keys.checkpoint_signer(self.disk) {
            Ok(signer) if signer.verifier() == *self.log.succession().current() => {}
            Ok(_) => self.found(5, CHECKPOINT_KEY_FILE, None, None, DamageKind::Key),
            Err(Error::Damaged(damage)) => self.found(5, CHECKPOINT_KEY_FILE, None, None, damage.kind),
            // Found above.
            Err(Error::RootKey { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The tombstones, and what is held of their months: all that a tombstone says is held must be there.
    fn expired(&mut self, keys: &Keys) -> Result<Expired, Error> {
        let expired = match Expired::load(self.disk, keys, self.checkpoint.size()) {
            Ok(expired) => expired,
            Err(Error::Damaged(damage)) => {
                self.report.findings.push(Finding { level: 5, damage });
                return Ok(Expired::default());
            }
            Err(error) => return Err(error),
        };
        for stone in expired.stones.values() {
            let held = expired.entries.range(stone.first..stone.end).count() as u64;
            self.report.held += held;
            if held != stone.held {
                self.found(5, "held", None, Some(stone.first), DamageKind::Missing);
            }
        }
        self.report.tombstones = expired.stones.values().cloned().collect();
        Ok(expired)
    }

    /// Returns the first index of a missing segment: the end of the one before it.
    fn index_behind(&self, missing: &str) -> Result<Option<u64>, Error> {
        let mut end = None;
        for number in 0.. {
            let name = segment_file(number);
            if name == missing {
                return Ok(end);
            }
            let Ok(mut scan) = Scan::open(self.disk, number) else { return Ok(None) };
            while let Step::Frame(_) = scan.step()? {}
            end = Some(scan.position.index);
        }
        Ok(end)
    }

    fn segment(&mut self, number: u64, last: bool, walk: &mut Walk) -> Result<(), Error> {
        let expected = walk.end.take();
        let mut scan = match Scan::open(self.disk, number) {
            Ok(scan) => scan,
            Err(Error::Damaged(damage)) => {
                let index = expected.map(|position: Position| position.index);
                self.found(3, &damage.file, damage.offset, index, damage.kind);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let begins = match &expected {
            Some(previous) => scan.follows(previous),
            None => number > 0 || scan.header.previous == chain_origin(self.log.origin()),
        };
        if !begins || scan.header.origin != self.log.origin() {
            let index = expected.map_or(scan.header.first, |position| position.index);
            self.found(3, &scan.name, Some(0), Some(index), DamageKind::Chain);
        }
        let keys = walk.segment_keys(self.disk, &scan);
        let stone = if keys.is_none() { walk.stone_of(self.disk, &scan) } else { None };
        if walk.keys.is_some() && keys.is_none() && stone.is_none() {
            self.found(5, &scan.name, Some(0), Some(scan.header.first), DamageKind::Key);
        }
        let mut step = scan.step()?;
        while !self.enough() {
            let bad = match step {
                Step::Frame(header) => {
                    if let Some(end) = stone {
                        // What a tombstone does not cover is lost, whatever it is lost for.
                        if header.end() > end {
                            self.found(5, &scan.name, None, Some(end.max(header.first)), DamageKind::Key);
                        }
                        self.report.expired += u64::from(header.count);
                    }
                    self.frame(&header, &mut scan, keys.as_ref(), walk)?;
                    step = scan.step()?;
                    continue;
                }
                Step::End => None,
                Step::Bad(kind) => Some(kind),
            };
            let remains = scan.remains()?;
            scan.refresh();
            step = scan.step()?;
            // A live writer may have finished the frame meanwhile; frames are written in order, so whatever was
            // seen behind it is no reason to call it bad.
            if !matches!(step, Step::Frame(_)) {
                self.end(&scan, remains, bad, last, walk);
                return Ok(());
            }
        }
        Ok(())
    }

    fn frame(
        &mut self,
        header: &FrameHeader,
        scan: &mut Scan,
        keys: Option<&SegmentKeys>,
        walk: &mut Walk,
    ) -> Result<(), Error> {
        self.report.frames += 1;
        self.report.tail.records += header.end().saturating_sub(self.report.size.max(header.first));
        let Some(keys) = keys else { return Ok(()) };
        let (name, offset) = (scan.name.clone(), Some(scan.offset - header.frame_bytes()));
        let place = FramePlace { origin: self.log.believed().name(), segment: scan.header.segment };
        let Some(raw) = walk.opener.open(header, &place, keys, scan.body()) else {
            self.found(5, &name, offset, Some(header.first), DamageKind::Sealing);
            return Ok(());
        };
        let mut records = Records(raw);
        let mut index = header.first;
        for canonical in records.by_ref() {
            let record = decoded(canonical);
            self.key_change(record.as_ref());
            if record.as_ref().is_some_and(|record| !self.epoch_head(index, record, header.epoch)) {
                self.found(5, &name, offset, Some(index), DamageKind::Epoch);
            }
            match self.record(index, record.as_ref(), canonical, header.time_us, keys)? {
                Some(kind) => self.found(5, &name, offset, Some(index), kind),
                None => {
                    let of = (walk.keys.as_ref(), record.as_ref());
                    if let (Some(keys), Some(record)) = of
                        && let Some((file, kind)) = walk.literals.check(keys, self.disk, record)?
                        && !file.as_deref().is_some_and(|file| walk.expired.explains(file))
                    {
                        let offset = offset.filter(|_| file.is_none());
                        self.found(5, file.as_deref().unwrap_or(&name), offset, Some(index), kind);
                    }
                }
            }
            index += 1;
        }
        if !records.0.is_empty() || index != header.end() {
            self.found(5, &name, offset, Some(index), DamageKind::Record);
        }
        Ok(())
    }

    /// Keeps what a record says of a change of key; other words of that kind tell that a key signs no more.
    fn key_change(&mut self, record: Option<&Record<'_>>) {
        let told = record.filter(|record| record.kind == Kind::KeyRotated);
        let Some(detail) = told.and_then(|record| record.detail.as_deref()) else { return };
        if KeyChange::open(detail.as_bytes()).is_ok() && !self.changed.iter().any(|known| known == detail) {
            self.changed.push(detail.to_owned());
        }
    }

    /// Compares one record with its leaf; returns what is wrong.
    fn record(
        &mut self,
        index: u64,
        record: Option<&Record<'_>>,
        canonical: &[u8],
        time_us: u64,
        keys: &SegmentKeys,
    ) -> Result<Option<DamageKind>, Error> {
        self.report.records += 1;
        let Some(record) = record else { return Ok(Some(DamageKind::Record)) };
        let kind = record.kind as u8;
        if index >= self.report.size {
            return Ok(None);
        }
        let commitment = commitment(&keys.salt(index), canonical);
        let leaf = Leaf { kind, sequence: index, time_us, commitment }.encode();
        let stored = self.stored_leaf(index)?;
        // A leaf that is not there was found when the tree was checked.
        Ok(stored.and_then(|stored| (stored != leaf).then_some(DamageKind::Commitment)))
    }

    fn stored_leaf(&mut self, index: u64) -> Result<Option<[u8; LEAF_BYTES]>, Error> {
        let number = index / 256;
        if self.cached.as_ref().is_none_or(|(cached, _)| *cached != number) {
            let bundle = Bundle::at(number, self.report.size).expect("the index is within the tree");
            let bytes =
                read_bundle(self.disk, bundle).map_err(io_error("tree/tile/entries"))?.unwrap_or_default();
            self.cached = Some((number, bytes));
        }
        let at = usize::try_from(index % 256 * BUNDLED_LEAF_BYTES).expect("a bundle is small") + 2;
        let bytes = self.cached.as_ref().and_then(|(_, bytes)| bytes.get(at..at + LEAF_BYTES));
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
    }

    /// Judges how a segment ends.
    fn end(&mut self, scan: &Scan, remains: Remains, bad: Option<DamageKind>, last: bool, walk: &mut Walk) {
        let position = scan.position;
        let covered = position.index >= self.report.size;
        let stopped = self.run_leaf.is_some_and(|leaf| leaf.kind == Kind::NodeStopped as u8)
            && position.index == self.report.size;
        let torn = last && covered && !remains.frame && !stopped && bad != Some(DamageKind::Chain);
        if remains.dirty_bytes > 0 && !torn {
            let found = scan.damage(bad.unwrap_or(DamageKind::Frame));
            self.report.findings.push(Finding { level: 3, damage: found });
            return;
        }
        self.report.tail.torn_bytes = remains.dirty_bytes;
        if last && !covered {
            let found = scan.damage(DamageKind::Truncated);
            self.report.findings.push(Finding { level: 3, damage: found });
        }
        walk.end = Some(position);
    }
}

/// Reads a record; `None` when it is not in canonical form.
fn decoded(canonical: &[u8]) -> Option<Record<'static>> {
    let record = record::decode(canonical).ok()?;
    let mut again = Vec::with_capacity(canonical.len());
    (record::encode(&record, &mut again).is_ok() && again == canonical).then_some(record)
}

/// Opens what is sealed in the records, to see that it can be opened.
#[derive(Default)]
struct Literals {
    unsealer: Unsealer,
    /// Days of which a finding was made: the first entry is named, the others do not open for the same reason.
    named: BTreeSet<Option<u32>>,
}

impl Literals {
    /// Returns what is wrong, and the key's file where it is the file.
    fn check(
        &mut self,
        keys: &Keys,
        disk: &dyn Disk,
        record: &Record<'_>,
    ) -> Result<Option<(Option<String>, DamageKind)>, Error> {
        let of = sealed_for(record);
        if let Some(sealed) =
            record.sealed.as_deref().filter(|sealed| !self.named.contains(&sealed_stamp(sealed)))
        {
            let opened = self.unsealer.open(keys, disk, Content::Literals, of, sealed);
            if let Some(wrong) = self.wrong(opened.map(drop), sealed)? {
                return Ok(Some(wrong));
            }
        }
        let patients = record.patients.as_ref();
        let Some(patients) = patients.filter(|p| !self.named.contains(&sealed_stamp(p.sealed()))) else {
            return Ok(None);
        };
        let opened = self.unsealer.patients(keys, disk, of, patients);
        self.wrong(opened.map(drop), patients.sealed())
    }

    fn wrong(
        &mut self,
        opened: Result<(), Error>,
        sealed: &[u8],
    ) -> Result<Option<(Option<String>, DamageKind)>, Error> {
        let wrong = match opened {
            Ok(()) => return Ok(None),
            Err(Error::Sealed) => (None, DamageKind::Literal),
            Err(Error::Damaged(damage)) => (Some(damage.file), damage.kind),
            Err(Error::RootKey { file }) => (Some(file), DamageKind::Key),
            Err(error) => return Err(error),
        };
        self.named.insert(sealed_stamp(sealed));
        Ok(Some(wrong))
    }
}

/// What is carried from segment to segment.
struct Walk {
    expired: Expired,
    keys: Option<Keys>,
    classes: BTreeMap<u32, crate::keys::Key>,
    opener: FrameOpener,
    literals: Literals,
    /// Where the segment before ended, if it ended well.
    end: Option<Position>,
}

impl Walk {
    /// Returns up to where a tombstone explains that a segment's key is not there; a key that is there and does not open
    /// is explained by nothing.
    fn stone_of(&self, disk: &dyn Disk, scan: &Scan) -> Option<u64> {
        let missing = match self.keys.as_ref()?.class(disk, Class::Record, scan.header.month) {
            Err(Error::Damaged(damage)) => damage.kind == DamageKind::Missing,
            Ok(_) | Err(_) => false,
        };
        self.expired.stone_of(&scan.header).filter(|_| missing).map(|stone| stone.end)
    }

    fn segment_keys(&mut self, disk: &dyn Disk, scan: &Scan) -> Option<SegmentKeys> {
        let keys = self.keys.as_ref()?;
        let month = scan.header.month;
        if let std::collections::btree_map::Entry::Vacant(place) = self.classes.entry(month) {
            place.insert(keys.class(disk, Class::Record, month).ok()?);
        }
        SegmentKeys::open(self.classes.get(&month)?, &scan.header.key_aad(), &scan.header.wrapped)
    }
}

/// Copies the public half of a trail, as of its last checkpoint, to a folder in the standard layout of a tiled
/// log: `checkpoint`, `tile/…`, `tile/entries/…`, and `verifier.txt`. Returns the number of leaves.
///
/// # Errors
/// When a file is missing or cannot be written. Nothing is checked: that is for the reader of the copy.
pub fn export_tlog(folder: &Path, out: &Path) -> Result<u64, Error> {
    let from = Folder::open(folder).map_err(|source| Error::io("open the trail's folder", source))?;
    let to = Folder::create(out).map_err(|source| Error::io("make the export's folder", source))?;
    let log = LogKeys::read(&from)?;
    // The checkpoint first: the tree may grow meanwhile, but what this one covers stays.
    let bytes = from.read(CHECKPOINT_FILE).map_err(|source| Error::io("read the checkpoint", source))?;
    let checkpoint = log.open(&from, &bytes).map_err(|_| {
        Error::Damaged(damage(CHECKPOINT_FILE.to_owned(), None, None, DamageKind::Checkpoint))
    })?;
    let size = checkpoint.size();
    for tile in tlog::tiles_of(size) {
        copy(read_tile(&from, tile), &to, &tile.path())?;
    }
    for bundle in tlog::bundles_between(0, size) {
        copy(read_bundle(&from, bundle), &to, &bundle.path())?;
    }
    copy(read_if_there(&from, VERIFIER_FILE), &to, VERIFIER_FILE)?;
    for (file, note) in change_notes(&from)? {
        let place = file.trim_start_matches("tree/").to_owned();
        copy(Ok(Some(note)), &to, &place)?;
    }
    copy(Ok(Some(bytes)), &to, "checkpoint")?;
    Ok(size)
}

fn copy(bytes: io::Result<Option<Vec<u8>>>, to: &Folder, path: &str) -> Result<(), Error> {
    let bytes = bytes.map_err(io_error(path))?;
    let bytes =
        bytes.ok_or_else(|| Error::Damaged(damage(path.to_owned(), None, None, DamageKind::Missing)))?;
    to.write(path, &bytes).map_err(|error| Error::io(format!("write `{path}`"), error))
}
