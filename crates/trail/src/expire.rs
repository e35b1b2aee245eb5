//! The end of a month: what must be kept of it is sealed anew, a tombstone is recorded, and its keys are destroyed.
//!
//! Leaves, tiles and frames stay, so that every proof stays valid; what the frames say nobody can read again. The order is
//! the point: held entries are durable and compared with their leaves, then the tombstone is durable, then a mark says
//! where it is, and only then the keys are overwritten and removed. What a crash interrupts is done again.
//!
//! Deliberately absent: who may ask for this, and for how long entries are kept.

use std::collections::{BTreeMap, HashMap};

use model::{Kind, Micros, Patients, Record};
use tlog::Bundle;

use crate::Trail;
use crate::disk::{self, Disk};
use crate::error::{DamageKind, Error};
use crate::keys::{
    CHECKPOINT_KEY_FILE, Class, KEY_BYTES, Keys, SegmentKeys, class_file, class_of_file, month_of_day,
    open_in, period_of, seal_behind,
};
use crate::leaf::{LEAF_BYTES, Leaf, commitment};
use crate::read::sealed_for;
use crate::record::{self, Input, RECORD_BYTES_MAX, varint};
use crate::scan::{Scan, Step, segments};
use crate::seal::{Content, Unsealer};
use crate::segment::{FrameOpener, FramePlace, Records};
use crate::tree::{read_bundle, read_if_there};

/// What is kept of one month at most: it is read as a whole. Where more is held, the month stays as it is.
const HELD_BYTES_MAX: usize = 256 << 20;

const HELD_MAGIC: [u8; 8] = *b"WLHLD\0\0\x01";

/// A calendar month of the trail, by the keys that its segments are under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    /// As `YYYYMM`.
    pub month: u32,
    /// The index of its first entry.
    pub first: u64,
    /// The index behind its last entry.
    pub end: u64,
    /// When its last entry was committed.
    pub last: Micros,
    /// Whether entries may still be added to it.
    pub open: bool,
    /// The tombstone under which its keys were destroyed.
    pub tombstone: Option<u64>,
    /// The entries that can be read although the keys are gone.
    pub held: u64,
}

/// What a tombstone says: which entries nobody can read any more, and why that is no damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Its own index.
    pub index: u64,
    /// The month as `YYYYMM`.
    pub month: u32,
    /// The index of the first entry.
    pub first: u64,
    /// The index behind the last.
    pub end: u64,
    /// How many of these are kept apart.
    pub held: u64,
    /// The files of the keys that were destroyed.
    pub keys: Vec<String>,
}

impl Tombstone {
    /// Reads what [`words`] wrote; `None` for a record that is no tombstone.
    pub fn of(index: u64, record: &Record<'_>) -> Option<Tombstone> {
        if record.kind != Kind::KeyDestroyed {
            return None;
        }
        let mut stone = Tombstone { index, month: 0, first: 0, end: 0, held: 0, keys: Vec::new() };
        for words in &record.objects {
            let words: Vec<&str> = words.split(' ').collect();
            match *words.as_slice() {
                ["month", month] => stone.month = month.parse().ok()?,
                ["entries", first, end] => {
                    (stone.first, stone.end) = (first.parse().ok()?, end.parse().ok()?);
                }
                ["held", count] => stone.held = count.parse().ok()?,
                ["key", file, _id] => stone.keys.push(file.to_owned()),
                _ => return None,
            }
        }
        let whole = stone.month > 0 && stone.first < stone.end && stone.end <= index;
        (whole && !stone.keys.is_empty()).then_some(stone)
    }
}

/// One entry that outlives the key of its month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldEntry {
    pub(crate) index: u64,
    pub(crate) time_us: u64,
    pub(crate) salt: [u8; KEY_BYTES],
    pub(crate) canonical: Vec<u8>,
    /// The literals and the patients that are sealed in it, opened.
    pub(crate) literals: Option<Vec<u8>>,
    pub(crate) patients: Option<Vec<u8>>,
}

impl HeldEntry {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.time_us.to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        let parts = [Some(&self.canonical), self.literals.as_ref(), self.patients.as_ref()];
        for part in parts {
            // Nothing and an empty value are told apart.
            let content = part.map(|part| [&[1], part.as_slice()].concat()).unwrap_or_default();
            varint(&mut bytes, content.len() as u64);
            bytes.extend_from_slice(&content);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<HeldEntry> {
        let (index, rest) = bytes.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let mut input = Input { bytes: rest };
        let mut part = || -> Option<Option<Vec<u8>>> {
            match input.bytes(0, RECORD_BYTES_MAX + 1).ok()? {
                [] => Some(None),
                [1, content @ ..] => Some(Some(content.to_vec())),
                _ => None,
            }
        };
        let (canonical, literals, patients) = (part()??, part()?, part()?);
        let (index, time_us) = (u64::from_le_bytes(*index), u64::from_le_bytes(*time));
        Some(HeldEntry { index, time_us, salt: *salt, canonical, literals, patients })
    }

    /// Tells whether the public log says that this entry stood at this place.
    pub(crate) fn matches(&self, leaf: Option<Leaf>) -> bool {
        let kind = record::kind_number(&self.canonical);
        let commitment = commitment(&self.salt, &self.canonical);
        leaf == Some(Leaf { kind, sequence: self.index, time_us: self.time_us, commitment })
    }
}

fn held_file(month: u32) -> String {
    format!("held/{month:06}.held")
}

/// The file that says under which tombstone a month's keys were destroyed: a signpost, believed by nobody.
fn mark_file(month: u32) -> String {
    format!("keys/{month:06}.destroyed")
}

fn held_aad(origin: &str, month: u32, count: u32, place: u32) -> Vec<u8> {
    let mut aad = b"wardline/held/v1".to_vec();
    for number in [month, count, place] {
        aad.extend_from_slice(&number.to_le_bytes());
    }
    aad.extend_from_slice(origin.as_bytes());
    aad
}

/// Reads what is kept of a month; none when nothing is.
fn read_held(disk: &dyn Disk, keys: &Keys, month: u32) -> Result<Vec<HeldEntry>, Error> {
    let file = held_file(month);
    let bytes = read_if_there(disk, &file).map_err(|source| Error::io(format!("read `{file}`"), source))?;
    let Some(bytes) = bytes else { return Ok(Vec::new()) };
    let key = keys.class(disk, Class::Hold, month)?.aead();
    let bad = || Error::Damaged(crate::scan::damage(file.clone(), None, None, DamageKind::Sealing));
    let rest = bytes.strip_prefix(&HELD_MAGIC).ok_or_else(bad)?;
    let (count, mut rest) = rest.split_first_chunk().ok_or_else(bad)?;
    let count = u32::from_le_bytes(*count);
    let mut held = Vec::new();
    for place in 0..count {
        let (length, behind) = rest.split_first_chunk().ok_or_else(bad)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| bad())?;
        let (sealed, behind) = behind.split_at_checked(length).ok_or_else(bad)?;
        let mut sealed = sealed.to_vec();
        let plain = open_in(&key, &held_aad(keys.origin(), month, count, place), &mut sealed);
        held.push(plain.and_then(|plain| HeldEntry::decode(plain)).ok_or_else(bad)?);
        rest = behind;
    }
    if rest.is_empty() { Ok(held) } else { Err(bad()) }
}

fn write_held(disk: &dyn Disk, keys: &Keys, month: u32, held: &[HeldEntry]) -> Result<(), Error> {
    let key = keys.class_or_new(disk, Class::Hold, month)?.aead();
    let count = u32::try_from(held.len()).unwrap_or(u32::MAX);
    let mut bytes = HELD_MAGIC.to_vec();
    bytes.extend_from_slice(&count.to_le_bytes());
    for (place, entry) in (0..).zip(held) {
        let mut sealed = vec![0; crate::keys::NONCE_BYTES];
        sealed.extend_from_slice(&entry.encode());
        seal_behind(&key, &held_aad(keys.origin(), month, count, place), &mut sealed, 0);
        bytes.extend_from_slice(&u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&sealed);
    }
    let file = held_file(month);
    disk::replace(disk, &file, &bytes).map_err(|source| Error::io(format!("write `{file}`"), source))?;
    disk.sync_dir("").map_err(|source| Error::io("sync the trail's folder", source))?;
    // What was written is read, as it will be read when there is nothing else.
    if read_held(disk, keys, month)? == held { Ok(()) } else { Err(Error::Sealed) }
}

/// Reads one entry whose key is there; `None` where it is not, or there is no such entry.
pub(crate) fn entry_at(disk: &dyn Disk, keys: &Keys, index: u64) -> Result<Option<Record<'static>>, Error> {
    for number in segments(disk)?.into_iter().rev() {
        let mut scan = Scan::open(disk, number)?;
        if scan.header.first > index {
            continue;
        }
        let Ok(class) = keys.class(disk, Class::Record, scan.header.month) else { return Ok(None) };
        let data = SegmentKeys::open(&class, &scan.header.key_aad(), &scan.header.wrapped);
        let Some(data) = data else { return Ok(None) };
        let mut opener = FrameOpener::new();
        while let Step::Frame(header) = scan.step()? {
            if header.end() <= index {
                continue;
            }
            let place = FramePlace { origin: keys.origin(), segment: number };
            let Some(raw) = opener.open(&header, &place, &data, scan.body()) else { return Ok(None) };
            let at = usize::try_from(index - header.first).unwrap_or(usize::MAX);
            return Records(raw).nth(at).map(record::decode).transpose().map_err(Error::from);
        }
        return Ok(None);
    }
    Ok(None)
}

/// What outlives the keys of expired months, and the tombstones that explain the rest.
#[derive(Debug, Default)]
pub(crate) struct Expired {
    pub(crate) stones: BTreeMap<u32, Tombstone>,
    pub(crate) entries: BTreeMap<u64, HeldEntry>,
    /// Sealed values of held entries, opened.
    plain: HashMap<Vec<u8>, Vec<u8>>,
}

impl Expired {
    /// Reads what is held and the tombstones. A held entry that its leaf does not know is damage.
    pub(crate) fn load(disk: &dyn Disk, keys: &Keys, size: u64) -> Result<Expired, Error> {
        let mut expired = Expired::default();
        for month in months_held(disk)? {
            for entry in read_held(disk, keys, month)? {
                if !entry.matches(leaf_at(disk, size, entry.index)) {
                    let (file, index) = (held_file(month), Some(entry.index));
                    return Err(Error::Damaged(crate::scan::damage(
                        file,
                        None,
                        index,
                        DamageKind::Commitment,
                    )));
                }
                let record = record::decode(&entry.canonical)?;
                let patients = record.patients.as_ref().map(Patients::sealed);
                let sealed = [(record.sealed.as_deref(), &entry.literals), (patients, &entry.patients)];
                for (sealed, plain) in sealed {
                    if let (Some(sealed), Some(plain)) = (sealed, plain) {
                        expired.plain.insert(sealed.to_vec(), plain.clone());
                    }
                }
                expired.entries.insert(entry.index, entry);
            }
        }
        expired.stones = tombstones(disk, |index| match expired.entries.get(&index) {
            Some(held) => Ok(record::decode(&held.canonical).ok()),
            None => entry_at(disk, keys, index),
        })?;
        Ok(expired)
    }

    /// Returns the tombstone under which a segment's key was destroyed.
    pub(crate) fn stone_of(&self, header: &crate::segment::SegmentHeader) -> Option<&Tombstone> {
        let stone = self.stones.get(&period_of(header.month))?;
        let named = stone.keys.contains(&class_file(Class::Record, header.month));
        (named && (stone.first..stone.end).contains(&header.first)).then_some(stone)
    }

    /// Tells whether the key of this file was destroyed under a tombstone.
    pub(crate) fn explains(&self, file: &str) -> bool {
        self.stones.values().any(|stone| stone.keys.iter().any(|key| key == file))
    }

    /// Returns a sealed value of a held entry, opened.
    pub(crate) fn opened(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.plain.get(sealed).cloned()
    }
}

/// Returns a leaf of the public log.
pub(crate) fn leaf_at(disk: &dyn Disk, size: u64, index: u64) -> Option<Leaf> {
    let bundle = Bundle::at(index / 256, size)?;
    let bytes = read_bundle(disk, bundle).ok()??;
    let at = usize::try_from(index % 256).ok()? * (LEAF_BYTES + 2) + 2;
    Leaf::decode(bytes.get(at..at + LEAF_BYTES)?)
}

/// Returns the tombstones that the signposts lead to: each read where it is recorded, and not believed otherwise.
fn tombstones(
    disk: &dyn Disk,
    mut entry: impl FnMut(u64) -> Result<Option<Record<'static>>, Error>,
) -> Result<BTreeMap<u32, Tombstone>, Error> {
    let names = disk.list("keys").map_err(|source| Error::io("list the keys", source))?;
    let mut stones = BTreeMap::new();
    for name in names.iter().filter(|name| name.ends_with(".destroyed")) {
        let file = format!("keys/{name}");
        let bytes = disk.read(&file).map_err(|source| Error::io(format!("read `{file}`"), source))?;
        let index = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok());
        let Some(index) = index else { continue };
        let stone = entry(index)?.and_then(|record| Tombstone::of(index, &record));
        if let Some(stone) = stone.filter(|stone| mark_file(stone.month) == file) {
            stones.insert(stone.month, stone);
        }
    }
    Ok(stones)
}

/// Returns the months of which something is kept.
fn months_held(disk: &dyn Disk) -> Result<Vec<u32>, Error> {
    let names = disk.list("held").map_err(|source| Error::io("list what is held", source))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".held")?.parse().ok()).collect())
}

impl Trail {
    /// Returns the months of the trail, the oldest first.
    ///
    /// # Errors
    /// When the segments cannot be read.
    pub fn months(&self) -> Result<Vec<Month>, Error> {
        let disk = &*self.handle.core.disk;
        let numbers = segments(disk)?;
        let mut months: Vec<(Month, u64)> = Vec::new();
        for number in &numbers {
            let header = Scan::open(disk, *number)?.header;
            let month = period_of(header.month);
            if let Some((before, _)) = months.last_mut() {
                before.end = header.first;
            }
            let first = header.first;
            match months.last_mut() {
                Some((known, last)) if known.month == month => *last = *number,
                Some(_) | None => {
                    let last = Micros(header.time_us);
                    let row = Month { month, first, end: first, last, open: false, tombstone: None, held: 0 };
                    months.push((row, *number));
                }
            }
        }
        if let Some((month, _)) = months.last_mut() {
            (month.open, month.end) = (true, self.durable());
        }
        let stones = self.tombstones()?;
        let mut rows = Vec::with_capacity(months.len());
        for (mut row, last) in months {
            let mut scan = Scan::open(disk, last)?;
            while let Step::Frame(_) = scan.step()? {}
            row.last = Micros(scan.position.time_us);
            if let Some(stone) = stones.get(&row.month) {
                (row.tombstone, row.held) = (Some(stone.index), stone.held);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn tombstones(&self) -> Result<BTreeMap<u32, Tombstone>, Error> {
        let core = &self.handle.core;
        let reader = crate::Reader::of(core.disk.clone(), core.keys.again())?;
        Ok(reader.expired()?.stones.clone())
    }

    /// Ends a month: keeps the entries that `held` names, records the tombstone with the words of `record`, and destroys
    /// the keys. Blocks. Asked again after a crash, it does what is left.
    ///
    /// # Errors
    /// When the month is not whole and readable, is the one that is written to, or too much of it is held. Until the
    /// tombstone is recorded nothing has changed.
    pub fn expire(
        &self,
        month: u32,
        record: &Record<'_>,
        held: &dyn Fn(&Record<'_>, Option<&crate::OpenedPatients>) -> bool,
    ) -> Result<Tombstone, Error> {
        let core = &self.handle.core;
        let (disk, keys) = (&*core.disk, &core.keys);
        let unfit = |problem| Error::Option { name: "month", problem };
        let rows = self.months()?;
        let mut of = rows.iter().filter(|row| row.month == month);
        let row = of.next().ok_or_else(|| unfit("there is no such month in the trail"))?;
        if of.next().is_some() {
            return Err(unfit("its entries do not stand together: the clock ran backwards"));
        }
        if row.open || row.first >= row.end {
            return Err(unfit("entries may still be added to it"));
        }
        if let Some(stone) = self.tombstones()?.remove(&month) {
            destroy(disk, keys, &stone)?;
            return Ok(stone);
        }
        let kept = self.collect(row, held)?;
        if !kept.is_empty() {
            write_held(disk, keys, month, &kept)?;
        }
        let mut record = record.clone();
        record.kind = Kind::KeyDestroyed;
        record.rows = Some(row.end - row.first);
        let doomed = doomed(disk, keys, month)?;
        record.objects = words(row, kept.len(), &doomed);
        let receipt = self.record_urgent(&record)?.wait()?;
        let stone =
            Tombstone::of(receipt.index(), &record).ok_or_else(|| unfit("it is not as a month is"))?;
        let mark = mark_file(month);
        let io = |source| Error::io(format!("write `{mark}`"), source);
        disk::replace(disk, &mark, format!("{}\n", stone.index).as_bytes()).map_err(io)?;
        destroy(disk, keys, &stone)?;
        Ok(stone)
    }

    /// Returns the entries of a month that must be kept, each compared with its leaf. Tombstones are always kept: other
    /// months are explained by them.
    fn collect(
        &self,
        row: &Month,
        held: &dyn Fn(&Record<'_>, Option<&crate::OpenedPatients>) -> bool,
    ) -> Result<Vec<HeldEntry>, Error> {
        let core = &self.handle.core;
        let (disk, keys) = (&*core.disk, &core.keys);
        let size = crate::Reader::of(core.disk.clone(), core.keys.again())?.durable_at_least()?;
        if size < row.end {
            return Err(Error::Option {
                name: "month",
                problem: "its entries are not under a checkpoint yet",
            });
        }
        let (mut kept, mut bytes) = (Vec::new(), 0);
        let (mut unsealer, mut opener) = (Unsealer::default(), FrameOpener::new());
        for number in segments(disk)? {
            let mut scan = Scan::open(disk, number)?;
            if scan.header.first < row.first || scan.header.first >= row.end {
                continue;
            }
            let class = keys.class(disk, Class::Record, scan.header.month)?;
            let data = SegmentKeys::open(&class, &scan.header.key_aad(), &scan.header.wrapped)
                .ok_or_else(|| Error::Damaged(scan.damage(DamageKind::Key)))?;
            while let Step::Frame(header) = scan.step()? {
                let place = FramePlace { origin: keys.origin(), segment: number };
                let raw = opener.open(&header, &place, &data, scan.body());
                let raw = raw.ok_or_else(|| Error::Damaged(scan.damage(DamageKind::Sealing)))?;
                for (index, canonical) in (header.first..).zip(Records(raw)) {
                    let record = record::decode(canonical)?;
                    let of = sealed_for(&record);
                    let patients = record.patients.as_ref();
                    let patients = patients.map(|p| unless_destroyed(unsealer.patients(keys, disk, of, p)));
                    let patients = patients.transpose()?.flatten();
                    if record.kind != Kind::KeyDestroyed && !held(&record, patients.as_ref()) {
                        continue;
                    }
                    let mut open = |content, sealed: &[u8]| {
                        unless_destroyed(unsealer.open(keys, disk, content, of, sealed))
                    };
                    let literals =
                        record.sealed.as_deref().map(|s| open(Content::Literals, s)).transpose()?;
                    let named = record.patients.as_ref();
                    let patients = named.map(|p| open(Content::Patients, p.sealed())).transpose()?;
                    let entry = HeldEntry {
                        index,
                        time_us: header.time_us,
                        salt: data.salt(index),
                        canonical: canonical.to_vec(),
                        literals: literals.flatten(),
                        patients: patients.flatten(),
                    };
                    if !entry.matches(leaf_at(disk, size, index)) {
                        return Err(Error::Damaged(scan.damage(DamageKind::Commitment)));
                    }
                    bytes += entry.encode().len();
                    kept.push(entry);
                }
                if bytes > HELD_BYTES_MAX {
                    let problem = "more than 256 MiB of it is held: it stays until holds end";
                    return Err(Error::Option { name: "month", problem });
                }
            }
        }
        Ok(kept)
    }
}

/// Returns the keys of a month that are to be destroyed: their files and names.
fn doomed(disk: &dyn Disk, keys: &Keys, month: u32) -> Result<Vec<(String, String)>, Error> {
    let folder = disk::parent(CHECKPOINT_KEY_FILE);
    let names = disk.list(folder).map_err(|source| Error::io("list the keys", source))?;
    let mut doomed = Vec::new();
    for (class, number) in names.iter().filter_map(|name| class_of_file(name)) {
        let of_month = matches!(class, Class::Record | Class::Literal) && period_of(number) == month;
        if of_month {
            doomed.push((class_file(class, number), keys.class(disk, class, number)?.id()));
        }
    }
    Ok(doomed)
}

fn words(row: &Month, held: usize, doomed: &[(String, String)]) -> Vec<std::borrow::Cow<'static, str>> {
    let mut words = vec![
        format!("month {:06}", row.month),
        format!("entries {} {}", row.first, row.end),
        format!("held {held}"),
    ];
    words.extend(doomed.iter().map(|(file, id)| format!("key {file} {id}")));
    words.into_iter().map(Into::into).collect()
}

/// Overwrites and removes the keys that a tombstone names.
fn destroy(disk: &dyn Disk, keys: &Keys, stone: &Tombstone) -> Result<(), Error> {
    // No root key is changed meanwhile, which would write the file again.
    let _held = keys.wrapping.read();
    for file in &stone.keys {
        let io = |source| Error::io(format!("destroy `{file}`"), source);
        let mut open = match disk.open(file) {
            Ok(open) => open,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io(error)),
        };
        let length = usize::try_from(open.length().map_err(io)?).unwrap_or(0);
        open.write_at(0, &vec![0; length]).map_err(io)?;
        open.sync().map_err(io)?;
        disk.remove(file).map_err(io)?;
    }
    let folder = disk::parent(CHECKPOINT_KEY_FILE);
    disk.sync_dir(folder).map_err(|source| Error::io("sync the folder of keys", source))
}

/// Returns nothing for what cannot be opened because its key is gone: an entry at the turn of a month may be committed under
/// one key and its literals sealed under the one before, which expired.
///
/// # Errors
/// Any other.
pub fn unless_destroyed<T>(opened: Result<T, Error>) -> Result<Option<T>, Error> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Error::Damaged(damage)) if damage.kind == DamageKind::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the month of a day, for whoever asks by calendar.
pub fn month_of(at: Micros) -> u32 {
    month_of_day(crate::keys::day_of(at))
}
