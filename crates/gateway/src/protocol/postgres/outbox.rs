//! Bytes on their way to the client, withheld until the entries that account for them are durable.
//!
//! INVARIANT: bytes leave in order, and no byte past a gate whose entry is not durable, nor past the point where
//! an operation without an entry began.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use trail::Pending;

#[derive(Debug)]
struct Gated {
    from: u64,
    pending: Pending,
}

/// A queue of bytes with gates. Offsets count from the session's beginning.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How many of `bytes` were written.
    written: usize,
    /// The offset of `bytes[0]`.
    base: u64,
    gates: VecDeque<Gated>,
    held_from: Option<u64>,
}

impl Outbox {
    /// Returns how many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Appends bytes that may leave when everything before them has.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Withholds what is pushed from here on, until [`Outbox::gate`].
    pub(crate) fn hold(&mut self) {
        let end = self.end();
        self.held_from.get_or_insert(end);
    }

    /// Withholds what was pushed since [`Outbox::hold`], or what is pushed from here on, until the entry is durable.
    pub(crate) fn gate(&mut self, pending: Pending) {
        let from = self.held_from.take().unwrap_or_else(|| self.end());
        self.gates.push_back(Gated { from, pending });
    }

    /// Returns where what is withheld begins.
    pub(crate) fn held(&self) -> Option<u64> {
        self.held_from
    }

    /// Withholds from there on, until [`Outbox::gate`] or [`Outbox::unhold`].
    pub(crate) fn hold_from(&mut self, from: Option<u64>) {
        self.held_from = from;
    }

    /// Leaves the withholding to the gates.
    pub(crate) fn unhold(&mut self) {
        self.held_from = None;
    }

    /// Returns the bytes that may leave now, waking the task when more may.
    ///
    /// # Errors
    /// When an entry could not be made durable: nothing more may leave.
    pub(crate) fn releasable(&mut self, cx: &mut Context<'_>) -> Result<&[u8], trail::Error> {
        while let Some(gate) = self.gates.front_mut() {
            match Pin::new(&mut gate.pending).poll(cx) {
                Poll::Ready(Ok(_receipt)) => drop(self.gates.pop_front()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        let barrier = self.gates.front().map(|gate| gate.from).or(self.held_from);
        let until = barrier.unwrap_or_else(|| self.end());
        let until = usize::try_from(until.saturating_sub(self.base)).unwrap_or(usize::MAX);
        Ok(self.bytes.get(self.written..until).unwrap_or_default())
    }

    /// Notes that the first `count` of the releasable bytes were written.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written == self.bytes.len() {
            self.base += self.written as u64;
            self.written = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP_BYTES {
                self.bytes = Vec::new();
            }
        } else if self.written > COMPACT_BYTES {
            self.base += self.written as u64;
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Drops everything withheld, so that only a last message of ours goes out. What may leave already stays.
    pub(crate) fn cut(&mut self) {
        let barrier = self.gates.front().map(|gate| gate.from).or(self.held_from);
        if let Some(from) = barrier {
            let keep = usize::try_from(from.saturating_sub(self.base)).unwrap_or(usize::MAX);
            self.bytes.truncate(keep.max(self.written));
        }
        self.gates.clear();
        self.held_from = None;
    }

    /// Returns whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An empty buffer larger than this is given back to the allocator: idle sessions cost nothing.
const KEEP_BYTES: usize = 1 << 10;
/// Written bytes before the rest is moved to the front.
const COMPACT_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests;
