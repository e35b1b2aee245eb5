//! Password hashing off the threads that relay: few at once, few waiting, the rest refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// Hashes that run at once. Each is some 25 ms of one core and 19 MiB; more would starve open sessions.
const RUNNING_MAX: usize = 2;

/// Log-ins that may wait for a hash: at 25 ms each on two threads, the last waits under a second.
const WAITING_MAX: usize = 64;

/// The hash queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// The bounded place where passwords are hashed.
#[derive(Debug)]
pub(crate) struct Hashing {
    running: Semaphore,
    waiting: AtomicUsize,
}

/// Counts one waiting call, however it ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hashing {
    pub(crate) fn new() -> Hashing {
        Hashing { running: Semaphore::new(RUNNING_MAX), waiting: AtomicUsize::new(0) }
    }

    /// Runs work on a thread that may block, when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= RUNNING_MAX + WAITING_MAX {
            return Err(Overloaded);
        }
        let _permit = self.running.acquire().await.map_err(|_| Overloaded)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_storm_is_refused_at_the_bound() {
        let hashing = Arc::new(Hashing::new());
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(parking_lot::Mutex::new(held));
        let mut calls = Vec::new();
        for _ in 0..RUNNING_MAX + WAITING_MAX {
            let (hashing, held) = (Arc::clone(&hashing), Arc::clone(&held));
            calls.push(tokio::spawn(async move { hashing.run(move || held.lock().recv().is_ok()).await }));
        }
        while hashing.waiting.load(Ordering::Acquire) < RUNNING_MAX + WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashing.run(|| ()).await, Err(Overloaded));
        for _ in &calls {
            release.send(()).expect("received");
        }
        for call in calls {
            assert_eq!(call.await.expect("ends"), Ok(true));
        }
        assert_eq!(hashing.run(|| 7).await, Ok(7));
    }
}
