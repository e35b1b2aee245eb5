//! What the threads and handles of one open trail share.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use model::{Kind, Micros, Record};
use parking_lot::{Condvar, Mutex};

use crate::disk::Disk;
use crate::error::Error;
use crate::keys::{Keys, period_of};
use crate::leaf::LEAF_BYTES;
use crate::options::Options;
use crate::pending::Pending;
use crate::queue::Queue;
use crate::record;
use crate::seal::LiteralKeys;
use crate::signers::{LogKeys, Signers};

/// Leaves that are durable in frames but not in the tree yet. Far more than a second's worth: reaching it means
/// that the tree's files cannot be written.
const LEAF_BACKLOG_MAX: usize = 1 << 20;

/// Whether the trail can record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It records.
    Open = 0,
    /// There is no space: only urgent records are taken.
    Full = 1,
    /// The disk failed: the process must end.
    Failed = 2,
    /// It was closed.
    Closed = 3,
}

impl State {
    fn from_number(number: u8) -> State {
        match number {
            0 => State::Open,
            1 => State::Full,
            3 => State::Closed,
            _ => State::Failed,
        }
    }
}

/// The file made ahead of need, which becomes the next segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Spare {
    Wanted,
    Ready { bytes: u64 },
    NoSpace,
}

/// Leaves on their way to the tree.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    pub(crate) bytes: Vec<u8>,
    /// No more will come.
    pub(crate) closed: bool,
    /// The keeper shall end without writing anything more.
    pub(crate) aborted: bool,
}

pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) keys: Keys,
    pub(crate) literals: LiteralKeys,
    /// The number of the newest class key of records.
    newest_record_key: AtomicU32,
    pub(crate) queue: Queue,
    state: AtomicU8,
    /// The index behind the last durable record.
    pub(crate) durable: AtomicU64,
    pub(crate) leaf_backlog: AtomicUsize,
    pub(crate) leaves: Mutex<Leaves>,
    pub(crate) leaves_wake: Condvar,
    pub(crate) spare: Mutex<Spare>,
    pub(crate) spare_wake: Condvar,
    /// Threads that only prepare things shall end.
    pub(crate) stopping: AtomicBool,
    /// The segment that is written to shall end with the next commit.
    pub(crate) roll_wanted: AtomicBool,
    /// The log's own keys.
    pub(crate) log: LogKeys,
    /// Who signs.
    pub(crate) signers: Arc<Signers>,
    /// Ordinary records refused since the state became full.
    pub(crate) refused: AtomicU64,
    failure: Mutex<Vec<Waker>>,
    pub(crate) lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("state", &self.state()).finish_non_exhaustive()
    }
}

pub(crate) struct Parts {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) keys: Keys,
    pub(crate) literals: LiteralKeys,
    pub(crate) newest_record_key: u32,
    pub(crate) durable: u64,
    pub(crate) log: LogKeys,
    pub(crate) signers: Arc<Signers>,
    pub(crate) lock: Box<dyn Any + Send + Sync>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Core {
        Core {
            queue: Queue::new(parts.options.limits()),
            disk: parts.disk,
            options: parts.options,
            keys: parts.keys,
            literals: parts.literals,
            newest_record_key: AtomicU32::new(parts.newest_record_key),
            state: AtomicU8::new(State::Open as u8),
            durable: AtomicU64::new(parts.durable),
            leaf_backlog: AtomicUsize::new(0),
            leaves: Mutex::default(),
            leaves_wake: Condvar::new(),
            spare: Mutex::new(Spare::Wanted),
            spare_wake: Condvar::new(),
            stopping: AtomicBool::new(false),
            roll_wanted: AtomicBool::new(false),
            log: parts.log,
            signers: parts.signers,
            refused: AtomicU64::new(0),
            failure: Mutex::default(),
            lock: Mutex::new(Some(parts.lock)),
        }
    }

    pub(crate) fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire))
    }

    pub(crate) fn now(&self) -> Micros {
        (self.options.clock)()
    }

    /// Returns the number of the class key for records of a month.
    pub(crate) fn record_key(&self, month: u32) -> u32 {
        let newest = self.newest_record_key.load(Ordering::Acquire);
        if period_of(newest) == month { newest } else { month }
    }

    /// Lets the next commit begin a segment under a further key.
    pub(crate) fn renew_record_key(&self, number: u32) {
        self.newest_record_key.store(number, Ordering::Release);
    }

    /// Takes an encoded record.
    pub(crate) fn take(&self, canonical: &[u8], urgent: bool) -> Result<Pending, Error> {
        match self.state() {
            State::Open => {}
            State::Full if urgent => {}
            State::Full => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Error::Unavailable);
            }
            State::Failed => return Err(Error::Failed),
            State::Closed => return Err(Error::Closed),
        }
        if self.leaf_backlog.load(Ordering::Relaxed) > LEAF_BACKLOG_MAX && !urgent {
            return Err(Error::Overloaded);
        }
        self.queue.push(canonical, urgent)
    }

    /// Writes a record of the trail's own. Nobody waits for it: if the log cannot take it, that is known already.
    pub(crate) fn note(&self, kind: Kind, detail: Option<&str>) {
        let mut canonical = Vec::new();
        if record::encode(&self.own_record(kind, detail), &mut canonical).is_ok() {
            let _unwaited = self.take(&canonical, true);
        }
    }

    pub(crate) fn own_record<'a>(&self, kind: Kind, detail: Option<&'a str>) -> Record<'a> {
        let mut record = Record::new(kind, self.now());
        record.detail = detail.map(Into::into);
        record
    }

    fn change(&self, from: State, to: State) -> bool {
        let changed = self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
        metrics::gauge!("trail_state").set(f64::from(self.state.load(Ordering::Relaxed)));
        changed.is_ok()
    }

    /// The disk is full: takes urgent records only, and frees the reserve for them.
    pub(crate) fn enter_full(&self) {
        if !self.change(State::Open, State::Full) {
            return;
        }
        tracing::error!("trail: no space left, refusing");
        self.refused.store(0, Ordering::Relaxed);
        if self.disk.remove(RESERVE_FILE).is_ok() {
            let _durable_soon = self.disk.sync_dir("");
        }
        self.note(Kind::Incident, Some("no space left to record; ordinary records are refused"));
        self.spare_wake.notify_all();
    }

    /// There is space again.
    pub(crate) fn leave_full(&self) {
        if !self.change(State::Full, State::Open) {
            return;
        }
        let refused = self.refused.swap(0, Ordering::Relaxed);
        tracing::warn!(refused, "trail: space returned, recording again");
        self.note(Kind::Incident, Some(&format!("space to record returned; {refused} records were refused")));
    }

    /// The disk failed: nothing more is acknowledged, ever.
    pub(crate) fn fail(&self, what: &str, error: &Error) {
        let previous = State::from_number(self.state.swap(State::Failed as u8, Ordering::AcqRel));
        for batch in self.queue.refuse(Error::Failed) {
            batch.shared.resolve(crate::pending::Fate::Lost(Error::Failed));
        }
        self.stop();
        let wakers = std::mem::take(&mut *self.failure.lock());
        wakers.into_iter().for_each(Waker::wake);
        // Last: whoever must end does, whatever becomes of the words about it.
        if previous != State::Failed {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            metrics::gauge!("trail_state").set(f64::from(State::Failed as u8));
            tracing::error!(what, %error, cause, "trail: failed, the process must end");
        }
    }

    /// Ends the trail as it is: what waits is lost, nothing more is written.
    pub(crate) fn abandon(&self) {
        for batch in self.queue.refuse(Error::Closed) {
            batch.shared.resolve(crate::pending::Fate::Lost(Error::Closed));
        }
        let _was_open = self.change(State::Open, State::Closed) || self.change(State::Full, State::Closed);
        self.leaves.lock().aborted = true;
        self.stop();
    }

    pub(crate) fn closed(&self) {
        let _was_open = self.change(State::Open, State::Closed) || self.change(State::Full, State::Closed);
    }

    /// Ends the threads that only prepare things, and lets the keeper see that something changed.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Under the locks, so that no thread misses it between looking and sleeping.
        drop(self.spare.lock());
        self.spare_wake.notify_all();
        drop(self.leaves.lock());
        self.leaves_wake.notify_all();
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Hands durable leaves to the keeper.
    pub(crate) fn offer_leaves(&self, leaves: &[u8]) {
        self.leaf_backlog.fetch_add(leaves.len() / LEAF_BYTES, Ordering::Relaxed);
        self.leaves.lock().bytes.extend_from_slice(leaves);
    }

    fn poll_failed(&self, context: &Context<'_>) -> Poll<()> {
        if self.state() == State::Failed {
            return Poll::Ready(());
        }
        self.failure.lock().push(context.waker().clone());
        // It may have failed between looking and pushing.
        if self.state() == State::Failed { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Space that is given back to the file system when there is none left.
pub(crate) const RESERVE_FILE: &str = "reserve";
/// A file that is made to see whether there is space, and removed.
pub(crate) const PROBE_FILE: &str = "segments/probe";
/// The file that becomes the next segment.
pub(crate) const SPARE_FILE: &str = "segments/spare";

/// Completes when the disk failed. The process should then end itself: opening again runs recovery.
#[derive(Debug)]
pub struct Failed(pub(crate) Arc<Core>);

impl Future for Failed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_failed(context)
    }
}
