//! The committer: one thread that turns what has gathered into one frame, one write and one sync.
//!
//! While one sync runs, the next batch fills by itself; how long it is left to fill beyond that is for `queue`.
//!
//! INVARIANT: at most one frame is not durable at any time, and it is the last one: a frame is written only
//! after the sync of the one before it returned. Recovery relies on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use model::Kind;

use crate::allocate::{allocate, is_no_space};
use crate::core::{Core, SPARE_FILE, Spare, State};
use crate::disk::DiskFile;
use crate::error::Error;
use crate::keys::{Class, SegmentKeys, month_of};
use crate::leaf::{LEAF_BYTES, Leaf, commitment};
use crate::pending::Fate;
use crate::queue::Batch;
use crate::record::{self, kind_number};
use crate::scan::Position;
use crate::segment::{
    FrameInput, FramePlace, FrameWriter, SEGMENT_HEADER_BYTES, SegmentHeader, frame_bound, segment_file,
};

/// Room for the record that says that a segment was opened.
const OPENED_RECORD_BYTES_MAX: usize = 64;

/// The segment that is written to.
pub(crate) struct Active {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) segment: u64,
    pub(crate) month: u32,
    pub(crate) keys: SegmentKeys,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// The index of its first record.
    pub(crate) first: u64,
    /// When it was begun, in microseconds since 1970.
    pub(crate) begun_us: u64,
}

pub(crate) struct Committer {
    core: Arc<Core>,
    active: Option<Active>,
    position: Position,
    next_segment: u64,
    writer: FrameWriter,
    frame: Vec<u8>,
    leaves: Vec<u8>,
}

/// Why a batch was not written.
enum Stop {
    NoSpace,
    Failed(&'static str, Error),
}

impl Committer {
    pub(crate) fn new(
        core: Arc<Core>,
        active: Option<Active>,
        position: Position,
        next_segment: u64,
    ) -> Committer {
        let writer = FrameWriter::new();
        Committer { core, active, position, next_segment, writer, frame: Vec::new(), leaves: Vec::new() }
    }

    /// The thread's life.
    pub(crate) fn run(mut self) {
        while let Some(batch) = self.core.queue.next() {
            if !self.settle(batch) {
                break;
            }
        }
        let mut leaves = self.core.leaves.lock();
        leaves.closed = true;
        self.core.leaves_wake.notify_all();
    }

    /// Brings a batch to an end, whichever it is; `false` when the trail failed.
    fn settle(&mut self, mut batch: Batch) -> bool {
        let mut result = self.commit(&mut batch).map(Fate::Durable);
        if let Err(Stop::NoSpace) = result {
            self.core.enter_full();
            result = self.commit_urgent(&batch);
        }
        let fate = match result {
            Ok(fate) => fate,
            Err(Stop::NoSpace) => Fate::Lost(Error::Unavailable),
            Err(Stop::Failed(what, error)) => {
                // First the state, so that whoever learns of the loss sees why.
                self.core.fail(what, &error);
                batch.shared.resolve(Fate::Lost(Error::Failed));
                return false;
            }
        };
        batch.shared.resolve(fate);
        self.core.queue.recycle(batch);
        true
    }

    /// Makes all records of a batch durable and returns the index of its first.
    fn commit(&mut self, batch: &mut Batch) -> Result<u64, Stop> {
        let time_us = self.core.now().0.max(self.position.time_us);
        let month = self.core.record_key(month_of(model::Micros(time_us)));
        let room = frame_bound(batch.raw.len() + OPENED_RECORD_BYTES_MAX) as u64;
        let mut before = 0;
        let fits = self.active.as_ref().is_some_and(|active| active.offset + room <= active.bytes);
        let same_month = self.active.as_ref().is_none_or(|active| active.month == month);
        let old = self.active.as_ref().is_some_and(|active| self.is_complete(active, time_us));
        if !fits || !same_month || old {
            match self.rotate(month, time_us, room) {
                Ok(()) => before = self.insert_opened(batch),
                // The old month's key, or an old segment, is better than no record.
                Err(Stop::NoSpace) if fits => {}
                Err(stop) => return Err(stop),
            }
        }
        let first = self.position.index;
        self.write(batch, time_us)?;
        Ok(first + before)
    }

    /// Tells whether a segment has all that it shall have: by number of records, by age, or because somebody asked.
    fn is_complete(&self, active: &Active, time_us: u64) -> bool {
        let (options, records) = (&self.core.options, self.position.index - active.first);
        let age_us = u64::try_from(options.segment_age_max.as_micros()).unwrap_or(u64::MAX);
        let asked = records > 0 && self.core.roll_wanted.swap(false, Ordering::AcqRel);
        asked
            || records >= options.segment_records_max
            || (records > 0 && time_us.saturating_sub(active.begun_us) > age_us)
    }

    /// With no space for all: makes the urgent records durable in what is kept in reserve.
    fn commit_urgent(&mut self, batch: &Batch) -> Result<Fate, Stop> {
        let mut urgent = Batch::new();
        for span in batch.spans.iter().filter(|span| span.urgent) {
            urgent.push(batch.canonical(*span), true);
        }
        if urgent.spans.is_empty() {
            return Err(Stop::NoSpace);
        }
        let mut next = self.commit(&mut urgent)?..;
        Ok(Fate::Some(batch.spans.iter().map(|span| if span.urgent { next.next() } else { None }).collect()))
    }

    /// Puts the record of the new segment into its first frame, before the others except a node's start, and
    /// returns how many records now come before the batch's own.
    fn insert_opened(&self, batch: &mut Batch) -> u64 {
        let mut canonical = Vec::with_capacity(OPENED_RECORD_BYTES_MAX);
        record::encode(&self.core.own_record(Kind::SegmentOpened, None), &mut canonical)
            .expect("a record of kind and time is small");
        let starts = batch.spans.first().is_some_and(|span| is_start(batch.canonical(*span)));
        // What a log begins with comes first of all.
        if starts || self.position.index == 0 {
            batch.push(&canonical, true);
            return 0;
        }
        let mut with = Batch::new();
        with.push(&canonical, true);
        let shift = with.raw.len();
        with.raw.extend_from_slice(&batch.raw);
        batch.raw = std::mem::take(&mut with.raw);
        batch.spans.iter_mut().for_each(|span| {
            span.start += shift;
            span.end += shift;
        });
        batch.spans.splice(0..0, std::mem::take(&mut with.spans));
        1
    }

    fn write(&mut self, batch: &Batch, time_us: u64) -> Result<(), Stop> {
        let active = self.active.as_mut().expect("commit made room in a segment");
        let first = self.position.index;
        self.leaves.clear();
        for (sequence, span) in (first..).zip(&batch.spans) {
            let canonical = batch.canonical(*span);
            let commitment = commitment(&active.keys.salt(sequence), canonical);
            let leaf = Leaf { kind: kind_number(canonical), sequence, time_us, commitment };
            self.leaves.extend_from_slice(&leaf.encode());
        }
        let count = self.leaves.len() / LEAF_BYTES;
        let input = FrameInput {
            epoch: self.position.epoch,
            count: u32::try_from(count).expect("a batch has few records"),
            first,
            time_us,
            previous: self.position.chain,
            raw: &batch.raw,
        };
        let place = FramePlace { origin: &self.core.options.origin, segment: active.segment };
        let chain = self.writer.write(&input, &place, &active.keys, &mut self.frame);
        let started = Instant::now();
        active
            .file
            .write_at(active.offset, &self.frame)
            .map_err(|source| Stop::Failed("write a frame", Error::io("write a frame", source)))?;
        active
            .file
            .sync()
            .map_err(|source| Stop::Failed("sync a frame", Error::io("sync a frame", source)))?;
        active.offset += self.frame.len() as u64;
        let index = first + count as u64;
        self.position = Position { index, time_us, chain, epoch: self.position.epoch };
        self.core.durable.store(index, Ordering::Release);
        self.core.offer_leaves(&self.leaves);
        measure(&self.core, count, self.frame.len(), started);
        Ok(())
    }

    /// Begins a new segment with room for a frame of `room` bytes.
    fn rotate(&mut self, month: u32, time_us: u64, room: u64) -> Result<(), Stop> {
        let needed = SEGMENT_HEADER_BYTES as u64 + room;
        let (file, bytes) = self.take_file(needed)?;
        let failed = |what| move |source| Stop::Failed(what, Error::io(what, source));
        let core = &self.core;
        let class =
            core.keys.class_or_new(&*core.disk, Class::Record, month).map_err(|error| match &error {
                Error::Io { source, .. } if is_no_space(source) => Stop::NoSpace,
                _ => Stop::Failed("make the month's key", error),
            })?;
        let mut header = SegmentHeader {
            segment: self.next_segment,
            first: self.position.index,
            bytes,
            epoch: self.position.epoch,
            month,
            time_us,
            previous: self.position.chain,
            wrapped: [0; crate::keys::WRAPPED_BYTES],
            origin: core.options.origin.clone(),
        };
        let (keys, wrapped) = SegmentKeys::create(&class, &header.key_aad());
        header.wrapped = wrapped;
        let name = segment_file(header.segment);
        let mut open = core.disk.open(&file).map_err(failed("open a segment"))?;
        open.write_at(0, &header.encode()).map_err(failed("write a segment's header"))?;
        open.sync().map_err(failed("sync a segment's header"))?;
        core.disk.rename(&file, &name).map_err(failed("name a segment"))?;
        core.disk.sync_dir("segments").map_err(failed("sync the folder of segments"))?;
        self.position.chain = header.chain();
        self.next_segment += 1;
        let offset = SEGMENT_HEADER_BYTES as u64;
        let (first, begun_us) = (header.first, header.time_us);
        self.active =
            Some(Active { file: open, segment: header.segment, month, keys, offset, bytes, first, begun_us });
        Ok(())
    }

    /// Takes the file made ahead; a record larger than a segment gets a file of its own, and with no space left
    /// what the reserve gave back is used.
    fn take_file(&self, needed: u64) -> Result<(String, u64), Stop> {
        let core = &self.core;
        if needed > core.options.segment_bytes {
            return self.make_file("segments/large", needed);
        }
        let mut spare = core.spare.lock();
        loop {
            match *spare {
                Spare::Ready { bytes } => {
                    *spare = Spare::Wanted;
                    core.spare_wake.notify_all();
                    // Renamed before the next is made: the committer owns the name until then.
                    let file = "segments/taken";
                    core.disk.rename(SPARE_FILE, file).map_err(|source| {
                        Stop::Failed("take a segment", Error::io("take a segment", source))
                    })?;
                    return Ok((file.to_owned(), bytes));
                }
                Spare::NoSpace if core.state() == State::Full => {
                    drop(spare);
                    return self.make_file("segments/small", needed.max(core.options.reserve_bytes / 4));
                }
                Spare::NoSpace => return Err(Stop::NoSpace),
                Spare::Wanted if core.stopping() => {
                    drop(spare);
                    return self.make_file("segments/last", needed);
                }
                Spare::Wanted => core.spare_wake.wait(&mut spare),
            }
        }
    }

    fn make_file(&self, file: &str, bytes: u64) -> Result<(String, u64), Stop> {
        match allocate(&self.core, file, bytes) {
            Ok(true) => Ok((file.to_owned(), bytes)),
            Ok(false) => Err(Stop::NoSpace),
            Err(error) => Err(Stop::Failed("make a segment", error)),
        }
    }
}

fn is_start(canonical: &[u8]) -> bool {
    kind_number(canonical) == Kind::NodeStarted as u8
}

fn measure(core: &Core, records: usize, bytes: usize, started: Instant) {
    metrics::counter!("trail_events_total").increment(records as u64);
    metrics::counter!("trail_commits_total").increment(1);
    metrics::counter!("trail_frame_bytes_total").increment(bytes as u64);
    metrics::histogram!("trail_sync_seconds").record(started.elapsed().as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("trail_queue_records").set(core.queue.depth() as f64);
}
