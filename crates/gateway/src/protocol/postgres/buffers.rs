//! Byte buffers of a session: what was read and not yet understood, and what waits for the resource.
//!
//! Buffers come from a small pool per thread and go back when empty, so an idle session holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gate::{Allowed, Permit};
use crate::limits::READ_BYTES;
use crate::stream::Stream;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers kept per thread.
const POOL_MAX: usize = 64;

fn acquire() -> Vec<u8> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; READ_BYTES])
}

fn release(buffer: Vec<u8>) {
    if buffer.len() == READ_BYTES {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < POOL_MAX {
                pool.push(buffer);
            }
        });
    }
}

/// What was read from a peer and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// All of it initialised; `start..end` is what was read.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Returns what was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops the first `count` bytes.
    pub(crate) fn take(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            release(std::mem::take(&mut self.bytes));
        }
    }

    /// Makes room for a message of `length` bytes, as far as twice what of it is there: memory follows what arrives, not
    /// what a header claims.
    pub(crate) fn reserve(&mut self, length: usize) {
        let length = length.min((self.end - self.start).saturating_mul(2).max(READ_BYTES));
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < length {
            self.bytes.resize(length.max(READ_BYTES), 0);
        }
    }

    /// Reads what is there; `Ok(0)` at the end of the stream.
    pub(crate) fn poll_fill(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.bytes.is_empty() {
            self.bytes = acquire();
        }
        if self.end == self.bytes.len() {
            let wanted = if self.start > 0 { self.bytes.len() } else { self.bytes.len() * 2 };
            self.reserve(wanted);
        }
        let mut buffer = ReadBuf::new(self.bytes.get_mut(self.end..).unwrap_or_default());
        let polled = Pin::new(stream).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        if count == 0 && self.start == self.end {
            self.take(0);
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.end += count;
                Poll::Ready(Ok(count))
            }
        }
    }
}

/// Messages of the protocol itself that ask nothing of the resource's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Housekeeping {
    Sync,
    Flush,
    Describe,
    Close,
    CopyEnd,
    /// A message of ours that the resource answers with an error.
    Failing,
    Terminate,
}

/// What waits to be written to the resource.
///
/// INVARIANT: an operation gets in only with its [`Permit`], a statement's text only with an allowing decision.
#[derive(Debug, Default)]
pub(crate) struct Upbox {
    bytes: Vec<u8>,
    written: usize,
    /// TLS holds bytes that were written and not yet sent.
    unflushed: bool,
}

/// Written bytes before the rest is moved to the front: a resource that never quite keeps up costs no more.
const COMPACT_BYTES: usize = 32 << 10;

impl Upbox {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Returns whether there is nothing to write and nothing to flush.
    pub(crate) fn is_idle(&self) -> bool {
        self.len() == 0 && !self.unflushed
    }

    /// Sends an operation, or copied data that belongs to it.
    pub(crate) fn operation(&mut self, _: &Permit, bytes: &[u8]) {
        self.push(bytes);
    }

    /// Sends a statement to be prepared.
    pub(crate) fn statement(&mut self, _: &Allowed, bytes: &[u8]) {
        self.push(bytes);
    }

    /// Sends what asks nothing of the data.
    pub(crate) fn housekeeping(&mut self, _: Housekeeping, bytes: &[u8]) {
        self.push(bytes);
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.written > COMPACT_BYTES {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes what waits; ready when nothing is left, neither here nor in TLS.
    pub(crate) fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.unflushed = true;
                }
            }
        }
        if !self.bytes.is_empty() {
            self.written = 0;
            self.bytes = Vec::new();
        }
        let flushed = Pin::new(stream).poll_flush(cx);
        self.unflushed &= flushed.is_pending();
        flushed
    }
}
