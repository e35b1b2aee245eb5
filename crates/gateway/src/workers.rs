//! The threads sessions run on: each has its own single-threaded runtime, so a session never moves.
//!
//! Deliberately absent: what runs there (`serve`), and moving work between threads. A new session goes to the
//! worker with the fewest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Worker threads; they end when the last clone is dropped or on [`Workers::stop`].
#[derive(Debug, Clone)]
pub struct Workers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    workers: Vec<Worker>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Dropping it stops the threads as well.
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    sessions: Arc<AtomicUsize>,
}

/// One session's weight on its worker, until dropped.
#[derive(Debug)]
pub(crate) struct Load {
    sessions: Arc<AtomicUsize>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(count: usize) -> io::Result<Workers> {
        let (stop, stopped) = watch::channel(false);
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        for number in 0..count.max(1) {
            let (handle, thread) = spawn(number, stopped.clone())?;
            workers.push(Worker { handle, sessions: Arc::default() });
            threads.push(thread);
        }
        Ok(Workers { inner: Arc::new(Inner { workers, threads: Mutex::new(threads), stop }) })
    }

    /// Stops all threads and waits for them; sessions still running are dropped. Blocks: not for a runtime's
    /// own threads.
    pub fn stop(&self) {
        self.inner.stop.send_replace(true);
        let threads = std::mem::take(&mut *self.inner.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("worker thread panicked");
            }
        }
    }

    /// Returns the runtime with the fewest sessions, and counts one more there while `Load` lives.
    pub(crate) fn pick(&self) -> (Handle, Load) {
        let workers = self.inner.workers.iter();
        let least = workers
            .min_by_key(|worker| worker.sessions.load(Ordering::Relaxed))
            .expect("start makes at least one worker");
        least.sessions.fetch_add(1, Ordering::Relaxed);
        (least.handle.clone(), Load { sessions: Arc::clone(&least.sessions) })
    }
}

/// Starts one thread; its runtime is made and dropped on it.
fn spawn(number: usize, mut stopped: watch::Receiver<bool>) -> io::Result<(Handle, JoinHandle<()>)> {
    let (send, receive) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                if send.send(Ok(runtime.handle().clone())).is_ok() {
                    // An error means that every `Workers` is gone, which stops the thread too.
                    let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
                }
            }
            Err(error) => {
                // Nobody waits any more only when starting was given up.
                let _ = send.send(Err(error));
            }
        }
    })?;
    let handle = receive.recv().map_err(|_| io::Error::other("worker thread ended at its start"))??;
    Ok((handle, thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_spread_and_loads_are_given_back() {
        let workers = Workers::start(2).unwrap();
        let count = |n: usize| workers.inner.workers[n].sessions.load(Ordering::Relaxed);
        let (first, second) = (workers.pick(), workers.pick());
        assert_eq!((count(0), count(1)), (1, 1));
        drop(first);
        let _third = workers.pick();
        assert_eq!((count(0), count(1)), (1, 1));
        drop(second);
        assert_eq!((count(0), count(1)), (1, 0));
    }

    #[test]
    fn tasks_run_on_worker_threads_until_stopped() {
        let workers = Workers::start(0).unwrap();
        let (send, receive) = mpsc::channel();
        let (handle, load) = workers.pick();
        handle.spawn(async move {
            let _load = load;
            send.send(std::thread::current().name().map(str::to_owned)).unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(receive.recv().unwrap().as_deref(), Some("worker-0"));
        workers.stop();
        assert_eq!(workers.inner.workers[0].sessions.load(Ordering::Relaxed), 0);
    }
}
