//! Reads the trail back: from an index, from the end, or following a live writer, in this process or another.
//!
//! Shown is only what is durable: covered by a checkpoint, or followed by a further frame, because a frame is
//! written only after the sync of the one before it. Deliberately absent: proofs (`verify`).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use model::{PatientToken, Record, RootKey};
use parking_lot::Mutex;
use tlog::{NoteVerifier, SignedNote};

use crate::disk::{Disk, Folder};
use crate::error::{DamageKind, Error};
use crate::expire::{Expired, Tombstone};
use crate::keys::{Class, Key, Keys, SegmentKeys, VERIFIER_FILE};
use crate::record;
use crate::scan::{Scan, Step, damage, segments};
use crate::seal::{Content, OpenedPatients, Unsealer};
use crate::segment::{FrameHeader, FrameOpener, FramePlace, Records, segment_file};
use crate::signers::{LogKeys, change_notes};
use crate::tree::read_checkpoint;

/// One durable record and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the node's log.
    pub index: u64,
    /// When it was committed, in microseconds since 1970.
    pub time_us: u64,
    /// The number of the segment that holds it.
    pub segment: u64,
    /// The byte in the segment where its frame begins.
    pub offset: u64,
    /// What it says.
    pub record: Record<'static>,
}

/// Reads one trail.
pub struct Reader {
    disk: Arc<dyn Disk>,
    keys: Keys,
    log: LogKeys,
    unsealer: Mutex<Unsealer>,
    /// Read when a key is missing for the first time.
    expired: OnceLock<Expired>,
}

impl Reader {
    /// Opens a trail for reading, whether or not a process writes to it.
    ///
    /// # Errors
    /// When there is no trail, or the root key is another one.
    pub fn open(folder: &Path, root: &RootKey) -> Result<Reader, Error> {
        let disk = Folder::open(folder).map_err(|source| Error::io("open the trail's folder", source))?;
        Reader::open_on(Arc::new(disk), root)
    }

    /// As [`Reader::open`], on any disk.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_on(disk: Arc<dyn Disk>, root: &RootKey) -> Result<Reader, Error> {
        let origin = read_verifier(&*disk)?;
        let keys = Keys::new(root, origin.name());
        keys.checkpoint_signer(&*disk)?;
        Reader::of(disk, keys)
    }

    pub(crate) fn of(disk: Arc<dyn Disk>, keys: Keys) -> Result<Reader, Error> {
        let log = LogKeys::read(&*disk)?;
        Ok(Reader { disk, keys, log, unsealer: Mutex::default(), expired: OnceLock::new() })
    }

    /// Returns what is known of expired months.
    pub(crate) fn expired(&self) -> Result<&Expired, Error> {
        if let Some(known) = self.expired.get() {
            return Ok(known);
        }
        let loaded = Expired::load(&*self.disk, &self.keys, self.durable_at_least()?)?;
        Ok(self.expired.get_or_init(|| loaded))
    }

    /// Returns the tombstones of the months that expired: entries that no iterator shows any more.
    ///
    /// # Errors
    /// When what is held of such months cannot be read.
    pub fn tombstones(&self) -> Result<Vec<Tombstone>, Error> {
        Ok(self.expired()?.stones.values().cloned().collect())
    }

    /// Returns what was sealed in a held entry of an expired month, where opening it failed for want of the key.
    fn opened_or_held(&self, opened: Result<Vec<u8>, Error>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        match opened {
            Err(Error::Damaged(damage)) if damage.kind == DamageKind::Missing => {
                self.expired()?.opened(sealed).ok_or(Error::Damaged(damage))
            }
            opened => opened,
        }
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        self.log.origin()
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn log(&self) -> &LogKeys {
        &self.log
    }

    /// Returns the records from an index on, in order. The iterator ends where the durable records end now; asked
    /// again later, it goes on.
    ///
    /// # Errors
    /// When the segments cannot be read, or the one with the first of these records is neither here nor in the store.
    pub fn entries(&self, from: u64) -> Result<Entries<'_>, Error> {
        let numbers = segments(&*self.disk)?;
        let (mut low, mut high) = (0, numbers.len());
        // The last segment that begins at or before the index.
        while high - low > 1 {
            let middle = low.midpoint(high);
            let number = numbers.get(middle).copied().unwrap_or_default();
            if Scan::open(&*self.disk, number)?.header.first <= from {
                low = middle;
            } else {
                high = middle;
            }
        }
        let segment = numbers.get(low).copied();
        let mut entries = Entries {
            reader: self,
            from,
            durable: 0,
            walk: None,
            ready: VecDeque::new(),
            opener: FrameOpener::new(),
            classes: BTreeMap::new(),
        };
        if let Some(segment) = segment {
            let walk = entries.enter(segment)?;
            // A copy may lack what was dropped for the store: silence about it would look like an answer.
            if walk.scan.header.first > from {
                return Err(missing(segment.saturating_sub(1), from));
            }
            entries.walk = Some(walk);
        } else if from < self.durable_at_least()? {
            return Err(missing(0, from));
        }
        Ok(entries)
    }

    /// Returns the last records, as [`Reader::entries`] does.
    ///
    /// # Errors
    /// When the segments cannot be read.
    pub fn tail(&self, count: u64) -> Result<Entries<'_>, Error> {
        let mut from = self.durable_at_least()?;
        // What is durable beyond the checkpoint is at most a second's worth.
        let mut beyond = self.entries(from)?;
        while let Some(frame) = beyond.next_frame()? {
            from = frame.end();
        }
        self.entries(from.saturating_sub(count))
    }

    /// Returns the size of the last checkpoint: so much is durable, and perhaps a little more.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or is not this log's.
    pub fn durable_at_least(&self) -> Result<u64, Error> {
        Ok(read_checkpoint(&*self.disk, &self.log)?.size())
    }

    /// Opens the sealed literals of a record; `None` when it has none. Whoever calls this must hold the right to,
    /// and record that they did.
    ///
    /// # Errors
    /// When they do not open: damaged, or not of this record.
    pub fn open_sealed(&self, record: &Record<'_>) -> Result<Option<Vec<u8>>, Error> {
        let Some(sealed) = record.sealed.as_deref() else { return Ok(None) };
        let of = sealed_for(record);
        let opened = self.unsealer.lock().open(&self.keys, &*self.disk, Content::Literals, of, sealed);
        self.opened_or_held(opened, sealed).map(Some)
    }

    /// Opens the identifiers of the patients that a record names; `None` when it names none. As [`Reader::open_sealed`],
    /// this takes a right, and a record.
    ///
    /// # Errors
    /// When they do not open, or are not those of the tokens.
    pub fn open_patients(&self, record: &Record<'_>) -> Result<Option<OpenedPatients>, Error> {
        let Some(patients) = &record.patients else { return Ok(None) };
        let of = sealed_for(record);
        let opened = self.unsealer.lock().patients(&self.keys, &*self.disk, of, patients);
        match opened {
            Err(error @ Error::Damaged(_)) => {
                let plain = self.opened_or_held(Err(error), patients.sealed())?;
                OpenedPatients::read(&plain).ok_or(Error::Sealed).map(Some)
            }
            opened => opened.map(Some),
        }
    }

    /// Signs facts about a file that was made from this trail, one a line, as a note of its own kind: see
    /// [`crate::open_export`].
    ///
    /// # Errors
    /// When the key cannot be read, or the facts cannot stand in a note.
    pub fn sign_export(&self, facts: &str) -> Result<String, Error> {
        let signers = self.keys.checkpoint_signers(&*self.disk)?;
        let note = SignedNote::sign(crate::statement::text(facts), &signers.iter().collect::<Vec<_>>());
        let problem = "they cannot stand in a signed note";
        note.map(|note| note.to_string()).map_err(|_| Error::Option { name: "facts", problem })
    }

    /// Returns the changes of the log's key, each a note that both keys signed, the first one first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn key_changes(&self) -> Result<Vec<String>, Error> {
        let notes = change_notes(&*self.disk)?;
        Ok(notes.into_iter().map(|(_, note)| String::from_utf8_lossy(&note).into_owned()).collect())
    }

    /// Returns the verifier's half of the checkpoint key, as others take it.
    pub fn verifier_key(&self) -> String {
        self.log.succession().current().to_string()
    }

    /// Returns the token by which records of a year name a patient.
    ///
    /// # Errors
    /// When the year's key is missing or damaged.
    pub fn patient_token(&self, year: u16, issuer: &str, identifier: &[u8]) -> Result<PatientToken, Error> {
        self.unsealer.lock().token(&self.keys, &*self.disk, year, issuer, identifier)
    }
}

fn missing(segment: u64, index: u64) -> Error {
    Error::Damaged(damage(segment_file(segment), None, Some(index), DamageKind::Missing))
}

/// Returns the session and operation that sealed values of a record are bound to.
pub(crate) fn sealed_for(record: &Record<'_>) -> (u128, u64) {
    (record.session.map_or(0, |id| id.0), record.operation.map_or(0, |id| id.0))
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

pub(crate) fn read_verifier(disk: &dyn Disk) -> Result<NoteVerifier, Error> {
    let bytes =
        disk.read(VERIFIER_FILE).map_err(|source| Error::io(format!("read `{VERIFIER_FILE}`"), source))?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .ok_or_else(|| Error::Damaged(damage(VERIFIER_FILE.to_owned(), None, None, DamageKind::Key)))
}

struct Walk {
    scan: Scan,
    /// `None` for a segment of an expired month.
    keys: Option<SegmentKeys>,
}

/// An iterator over durable records. After `None` it may be asked again: it follows a live writer.
pub struct Entries<'a> {
    reader: &'a Reader,
    from: u64,
    durable: u64,
    walk: Option<Walk>,
    ready: VecDeque<Entry>,
    opener: FrameOpener,
    classes: BTreeMap<u32, Key>,
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Result<Entry, Error>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.next_frame() {
                Ok(Some(header)) => {
                    if let Err(error) = self.unpack(&header) {
                        return Some(Err(error));
                    }
                }
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Entries<'_> {
    fn enter(&mut self, segment: u64) -> Result<Walk, Error> {
        let (disk, keys) = (&*self.reader.disk, &self.reader.keys);
        let scan = Scan::open(disk, segment)?;
        let class = match self.classes.entry(scan.header.month) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                match keys.class(disk, Class::Record, scan.header.month) {
                    Ok(class) => place.insert(class),
                    Err(Error::Damaged(damage)) if damage.kind == DamageKind::Missing => {
                        let explained = self.reader.expired()?.stone_of(&scan.header).is_some();
                        return if explained {
                            Ok(Walk { scan, keys: None })
                        } else {
                            Err(Error::Damaged(damage))
                        };
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let keys = SegmentKeys::open(class, &scan.header.key_aad(), &scan.header.wrapped)
            .ok_or_else(|| Error::Damaged(scan.damage(DamageKind::Key)))?;
        Ok(Walk { scan, keys: Some(keys) })
    }

    /// Moves to the next durable frame that holds anything from `from` on.
    fn next_frame(&mut self) -> Result<Option<FrameHeader>, Error> {
        loop {
            let Some(walk) = &mut self.walk else { return Ok(None) };
            let before = (walk.scan.offset, walk.scan.position);
            match walk.scan.step()? {
                Step::Frame(header) if header.end() <= self.from => {}
                Step::Frame(header) => {
                    if header.end() > self.durable && !self.is_durable(&header)? {
                        self.rewind(before);
                        return Ok(None);
                    }
                    return Ok(Some(header));
                }
                Step::End if self.next_segment()? || self.was_covered()? => {}
                Step::End => return Ok(None),
                Step::Bad(kind) if !self.was_finished(kind)? => return Ok(None),
                Step::Bad(_) => self.rewind(before),
            }
        }
    }

    fn rewind(&mut self, (offset, position): (u64, crate::scan::Position)) {
        if let Some(walk) = &mut self.walk {
            (walk.scan.offset, walk.scan.position) = (offset, position);
            walk.scan.refresh();
        }
    }

    /// Tells whether the frame just read is durable.
    fn is_durable(&mut self, header: &FrameHeader) -> Result<bool, Error> {
        self.durable = self.durable.max(self.reader.durable_at_least()?);
        if header.end() <= self.durable {
            return Ok(true);
        }
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let at = (walk.scan.offset - header.frame_bytes(), walk.scan.position);
        walk.scan.refresh();
        let followed = matches!(walk.scan.step()?, Step::Frame(_)) || self.has_next_segment()?;
        if followed {
            self.reread(at.0, header)?;
        }
        Ok(followed)
    }

    /// Goes back to a frame that was already checked, so that its body is at hand again.
    fn reread(&mut self, offset: u64, header: &FrameHeader) -> Result<(), Error> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        let segment = walk.scan.header.segment;
        let mut scan = Scan::open(&*self.reader.disk, segment)?;
        scan.offset = offset;
        scan.resume_at(header)?;
        walk.scan = scan;
        Ok(())
    }

    fn has_next_segment(&self) -> Result<bool, Error> {
        let Some(walk) = &self.walk else { return Ok(false) };
        Ok(segments(&*self.reader.disk)?.contains(&(walk.scan.header.segment + 1)))
    }

    /// At a segment's end: goes on with the next one, if there is one and nothing was written here meanwhile.
    fn next_segment(&mut self) -> Result<bool, Error> {
        if !self.has_next_segment()? {
            if let Some(walk) = &mut self.walk {
                walk.scan.refresh();
            }
            return Ok(false);
        }
        let Some(walk) = &mut self.walk else { return Ok(false) };
        walk.scan.refresh();
        let before = (walk.scan.offset, walk.scan.position);
        if matches!(walk.scan.step()?, Step::Frame(_)) {
            self.rewind(before);
            return Ok(true);
        }
        let next = walk.scan.header.segment + 1;
        let mut entered = self.enter(next)?;
        if !entered.scan.follows(&before.1) {
            let file = segment_file(next);
            return Err(Error::Damaged(damage(file, Some(0), Some(before.1.index), DamageKind::Chain)));
        }
        self.walk = Some(entered);
        Ok(true)
    }

    /// At the end of everything: tells whether there is more by now. What a checkpoint covers was written before it; when
    /// it is not here, a segment is missing.
    fn was_covered(&mut self) -> Result<bool, Error> {
        let covered = self.reader.durable_at_least()?;
        let Some(walk) = &mut self.walk else { return Ok(false) };
        if walk.scan.position.index >= covered {
            return Ok(false);
        }
        let before = (walk.scan.offset, walk.scan.position);
        walk.scan.refresh();
        let more = matches!(walk.scan.step()?, Step::Frame(_));
        let (next, index) = (walk.scan.header.segment + 1, before.1.index);
        self.rewind(before);
        if more || self.has_next_segment()? { Ok(true) } else { Err(missing(next, index)) }
    }

    /// A bad frame at the end may be one that is just being written. Tells whether it is good by now; if it is not
    /// though a checkpoint covers it or a segment follows, it is damage.
    fn was_finished(&mut self, kind: DamageKind) -> Result<bool, Error> {
        let covered = self.reader.durable_at_least()?;
        let more = self.has_next_segment()?;
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let index = walk.scan.position.index;
        walk.scan.refresh();
        if matches!(walk.scan.step()?, Step::Frame(_)) {
            return Ok(true);
        }
        if more || index < covered {
            return Err(Error::Damaged(walk.scan.damage(kind)));
        }
        walk.scan.refresh();
        Ok(false)
    }

    /// Of an expired frame, takes what is held.
    fn unpack_held(&mut self, header: &FrameHeader, segment: u64, offset: u64) -> Result<(), Error> {
        for (index, held) in self.reader.expired()?.entries.range(header.first.max(self.from)..header.end()) {
            let (index, time_us) = (*index, held.time_us);
            let record = record::decode(&held.canonical)?;
            self.ready.push_back(Entry { index, time_us, segment, offset, record });
        }
        self.from = self.from.max(header.end());
        Ok(())
    }

    fn unpack(&mut self, header: &FrameHeader) -> Result<(), Error> {
        let Some(Walk { scan, keys }) = &mut self.walk else { return Ok(()) };
        let (segment, offset) = (scan.header.segment, scan.offset - header.frame_bytes());
        let bad =
            |index, kind| Error::Damaged(damage(segment_file(segment), Some(offset), Some(index), kind));
        let Some(keys) = keys else { return self.unpack_held(header, segment, offset) };
        let place = FramePlace { origin: self.reader.origin(), segment };
        let raw = self.opener.open(header, &place, keys, scan.body());
        let raw = raw.ok_or_else(|| bad(header.first, DamageKind::Sealing))?;
        for (index, canonical) in (header.first..header.end()).zip(Records(raw)) {
            if index >= self.from {
                let record = record::decode(canonical).map_err(|_| bad(index, DamageKind::Record))?;
                self.ready.push_back(Entry { index, time_us: header.time_us, segment, offset, record });
            }
        }
        self.from = self.from.max(header.end());
        Ok(())
    }
}
