//! What a caller holds between offering a record and knowing that it is durable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use crate::error::Error;

/// Proof that a record is durable. Only this crate makes one, and it cannot be copied.
///
/// ```compile_fail,E0451
/// let receipt = trail::Receipt { index: 7 };
/// ```
///
/// ```compile_fail,E0277
/// fn copied<T: Clone>(_: &T) {}
/// fn forge(of: &trail::Receipt) {
///     copied(of)
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn forge<T: Default>() -> T {
///     T::default()
/// }
/// let receipt: trail::Receipt = forge();
/// ```
///
/// A record that waits gives one only by waiting:
///
/// ```compile_fail,E0308
/// fn forge(pending: trail::Pending) -> trail::Receipt {
///     pending
/// }
/// ```
///
/// ```
/// fn waited(pending: trail::Pending) -> Result<u64, trail::Error> {
///     pending.wait().map(|receipt| receipt.index())
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Receipt {
    index: u64,
}

impl Receipt {
    /// Returns the record's place in the node's log.
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// What became of a batch of records.
pub(crate) enum Fate {
    /// All are durable, from this index on.
    Durable(u64),
    /// None is.
    Lost(Error),
    /// Those with an index are; there was no space for the others.
    Some(Vec<Option<u64>>),
}

/// What all records of one batch wait for. Resolved once; a waiter costs one slot, no allocation.
#[derive(Default)]
pub(crate) struct Shared {
    fate: OnceLock<Fate>,
    // INVARIANT: nobody adds a waker after `fate` was set: both happen under this lock.
    wakers: Mutex<Vec<Option<Waker>>>,
}

impl Shared {
    /// Settles the batch and wakes whoever waits, outside the lock.
    pub(crate) fn resolve(&self, fate: Fate) {
        let wakers = {
            let mut wakers = self.wakers.lock();
            let first = self.fate.set(fate).is_ok();
            assert!(first, "a batch has one fate");
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Settles the batch if nobody did.
    pub(crate) fn resolve_if_open(&self, fate: Fate) {
        if self.fate.get().is_none() {
            self.resolve(fate);
        }
    }

    fn outcome(&self, slot: u32) -> Option<Result<Receipt, Error>> {
        Some(match self.fate.get()? {
            Fate::Durable(first) => Ok(Receipt { index: first + u64::from(slot) }),
            Fate::Lost(error) => Err(error.clone()),
            Fate::Some(indexes) => {
                let index = usize::try_from(slot).ok().and_then(|slot| indexes.get(slot).copied().flatten());
                index.map(|index| Receipt { index }).ok_or(Error::Unavailable)
            }
        })
    }
}

/// A record that was taken but is not durable yet: a future, or [`Pending::wait`] for a thread.
///
/// Dropping it does not take the record back.
#[must_use = "nothing is recorded until this says so"]
pub struct Pending {
    shared: Arc<Shared>,
    slot: u32,
    waker: Option<usize>,
}

impl Pending {
    pub(crate) fn new(shared: Arc<Shared>, slot: u32) -> Pending {
        Pending { shared, slot, waker: None }
    }

    /// Blocks the thread until the record is durable. Not for a task of an asynchronous runtime.
    ///
    /// # Errors
    /// When it will not be durable.
    pub fn wait(mut self) -> Result<Receipt, Error> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = Pin::new(&mut self).poll(&mut context) {
                return result;
            }
            thread::park();
        }
    }

    /// Returns the receipt if the record is durable by now, without waiting.
    ///
    /// # Errors
    /// `Ok(Err(_))` when it will not be durable; `Err(self)` when it is not known yet.
    pub fn try_now(self) -> Result<Result<Receipt, Error>, Pending> {
        match self.shared.outcome(self.slot) {
            Some(outcome) => Ok(outcome),
            None => Err(self),
        }
    }

    /// Tells whether the answer is known.
    pub fn is_settled(&self) -> bool {
        self.shared.fate.get().is_some()
    }
}

impl Future for Pending {
    type Output = Result<Receipt, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(outcome) = this.shared.outcome(this.slot) {
            return Poll::Ready(outcome);
        }
        let mut wakers = this.shared.wakers.lock();
        if let Some(outcome) = this.shared.outcome(this.slot) {
            return Poll::Ready(outcome);
        }
        match this.waker.and_then(|place| wakers.get_mut(place)) {
            Some(Some(known)) => known.clone_from(context.waker()),
            Some(empty) => *empty = Some(context.waker().clone()),
            None => {
                this.waker = Some(wakers.len());
                wakers.push(Some(context.waker().clone()));
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("settled", &self.is_settled()).finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
