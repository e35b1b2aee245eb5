//! The records that wait for the committer: one open batch that callers append to, and full ones before it.
//!
//! A record costs its caller one short lock and a copy. Bounded: reaching a limit is [`Error::Overloaded`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::Error;
use crate::pending::{Fate, Pending, Shared};
use crate::segment::{FRAME_RECORDS_MAX, push_record};

/// A batch is closed when it holds this much, so that a frame stays small enough to write and to read at once.
const BATCH_BYTES_TARGET: usize = 256 << 10;
/// Memory of finished batches that is kept for the next ones.
const BATCH_BYTES_KEPT_MAX: usize = 1 << 20;

/// [`Waiting::wake_at`] while the committer works.
const AWAKE: usize = usize::MAX;
/// From so many records in one batch on, the next batch is waited for.
const GATHER_FROM: usize = 4;
/// The longest that a record is kept waiting for others: docs/decisions/0011.
const GATHER_MAX: Duration = Duration::from_micros(500);

/// One record within a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Where its canonical bytes begin in the batch's bytes.
    pub(crate) start: usize,
    /// Where they end.
    pub(crate) end: usize,
    /// Whether it is recorded also when there is no space for ordinary records.
    pub(crate) urgent: bool,
}

/// Records that become durable together.
pub(crate) struct Batch {
    /// The records, each behind its length.
    pub(crate) raw: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    pub(crate) shared: Arc<Shared>,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch { raw: Vec::new(), spans: Vec::new(), shared: Arc::default() }
    }

    pub(crate) fn push(&mut self, canonical: &[u8], urgent: bool) {
        push_record(&mut self.raw, canonical);
        let end = self.raw.len();
        self.spans.push(Span { start: end - canonical.len(), end, urgent });
    }

    pub(crate) fn canonical(&self, span: Span) -> &[u8] {
        self.raw.get(span.start..span.end).expect("a span lies within its batch")
    }

    fn takes(&self, bytes: usize, target: usize) -> bool {
        self.spans.is_empty() || (self.spans.len() < FRAME_RECORDS_MAX && self.raw.len() + bytes <= target)
    }

    fn reset(&mut self) {
        self.raw.clear();
        self.raw.shrink_to(BATCH_BYTES_KEPT_MAX);
        self.spans.clear();
        self.shared = Arc::default();
    }
}

/// A batch that goes away without a fate was lost with its thread: whoever waits for it must know.
impl Drop for Batch {
    fn drop(&mut self) {
        if !self.spans.is_empty() {
            self.shared.resolve_if_open(Fate::Lost(Error::Failed));
        }
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) batch_bytes: usize,
}

impl Limits {
    pub(crate) fn new(records_max: usize, bytes_max: usize, segment_bytes: u64) -> Limits {
        // A quarter of a segment at most, so that little of its end stays unused.
        let quarter = usize::try_from(segment_bytes / 4).unwrap_or(usize::MAX);
        Limits { records_max, bytes_max, batch_bytes: BATCH_BYTES_TARGET.min(quarter) }
    }
}

struct Waiting {
    open: Batch,
    full: VecDeque<Batch>,
    spare: Vec<Batch>,
    records: usize,
    bytes: usize,
    /// Why nothing more is taken.
    refusing: Option<Error>,
    /// The committer ends once nothing waits.
    closing: bool,
    /// How many records must wait before the sleeping committer is woken; nobody wakes it while it works.
    wake_at: usize,
    /// Records of the batch taken last: about as many are soon to come.
    previous: usize,
}

/// The way from callers to the committer.
pub(crate) struct Queue {
    limits: Limits,
    waiting: Mutex<Waiting>,
    work: Condvar,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Queue {
        let waiting = Waiting {
            open: Batch::new(),
            full: VecDeque::new(),
            spare: Vec::new(),
            records: 0,
            bytes: 0,
            refusing: None,
            closing: false,
            wake_at: AWAKE,
            previous: 0,
        };
        Queue { limits, waiting: Mutex::new(waiting), work: Condvar::new() }
    }

    /// Appends one record. Urgent ones may exceed the limits: they are few, and what they tell is why the
    /// others are refused.
    pub(crate) fn push(&self, canonical: &[u8], urgent: bool) -> Result<Pending, Error> {
        self.push_with(canonical, urgent, false)
    }

    /// Appends the last record of all: whatever comes later is refused.
    pub(crate) fn push_last(&self, canonical: &[u8]) -> Result<Pending, Error> {
        self.push_with(canonical, true, true)
    }

    fn push_with(&self, canonical: &[u8], urgent: bool, last: bool) -> Result<Pending, Error> {
        let mut waiting = self.waiting.lock();
        if let Some(error) = &waiting.refusing {
            return Err(error.clone());
        }
        let (records, bytes) = (waiting.records + 1, waiting.bytes + canonical.len());
        // A single record of any size is taken when nothing else waits.
        let over =
            records > self.limits.records_max || (bytes > self.limits.bytes_max && waiting.records > 0);
        if over && !urgent {
            return Err(Error::Overloaded);
        }
        if !waiting.open.takes(canonical.len() + 8, self.limits.batch_bytes) {
            let next = waiting.spare.pop().unwrap_or_else(Batch::new);
            let full = std::mem::replace(&mut waiting.open, next);
            waiting.full.push_back(full);
        }
        (waiting.records, waiting.bytes) = (records, bytes);
        let slot = u32::try_from(waiting.open.spans.len()).expect("a batch has few records");
        waiting.open.push(canonical, urgent);
        let pending = Pending::new(Arc::clone(&waiting.open.shared), slot);
        if last {
            waiting.refusing = Some(Error::Closed);
            waiting.closing = true;
        }
        let wake = waiting.wake_at != AWAKE && (urgent || waiting.records >= waiting.wake_at);
        if wake {
            waiting.wake_at = AWAKE;
        }
        drop(waiting);
        if wake {
            self.work.notify_one();
        }
        Ok(pending)
    }

    /// Waits for records and takes the oldest batch; `None` when the queue was closed and is empty.
    ///
    /// When the batch before was shared by many, it is expected that they come again: their records are waited for,
    /// at most [`GATHER_MAX`], so that one sync serves them all.
    pub(crate) fn next(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock();
        self.gather(&mut waiting);
        loop {
            let batch = match waiting.full.pop_front() {
                Some(full) => full,
                None if waiting.open.spans.is_empty() => {
                    if waiting.closing {
                        return None;
                    }
                    waiting.wake_at = 1;
                    self.work.wait(&mut waiting);
                    continue;
                }
                None => {
                    let next = waiting.spare.pop().unwrap_or_else(Batch::new);
                    std::mem::replace(&mut waiting.open, next)
                }
            };
            waiting.wake_at = AWAKE;
            waiting.previous = batch.spans.len();
            waiting.records -= batch.spans.len();
            waiting.bytes -= batch.spans.iter().map(|span| span.end - span.start).sum::<usize>();
            return Some(batch);
        }
    }

    /// Waits a little for as many records as the batch before had.
    fn gather(&self, waiting: &mut MutexGuard<'_, Waiting>) {
        let wanted = waiting.previous.min(FRAME_RECORDS_MAX);
        if wanted < GATHER_FROM {
            return;
        }
        if waiting.records < wanted && waiting.full.is_empty() && !waiting.closing {
            waiting.wake_at = wanted;
            self.work.wait_for(waiting, GATHER_MAX);
        }
    }

    /// Takes a finished batch's memory back.
    pub(crate) fn recycle(&self, mut batch: Batch) {
        batch.reset();
        let mut waiting = self.waiting.lock();
        if waiting.spare.len() < 4 {
            waiting.spare.push(batch);
        }
    }

    /// Refuses everything from now on, and returns what waits.
    pub(crate) fn refuse(&self, error: Error) -> Vec<Batch> {
        let mut waiting = self.waiting.lock();
        waiting.refusing = Some(error);
        waiting.closing = true;
        (waiting.records, waiting.bytes) = (0, 0);
        let mut batches: Vec<Batch> = waiting.full.drain(..).collect();
        batches.push(std::mem::replace(&mut waiting.open, Batch::new()));
        drop(waiting);
        self.work.notify_one();
        batches
    }

    /// Returns how many records wait.
    pub(crate) fn depth(&self) -> usize {
        self.waiting.lock().records
    }
}
