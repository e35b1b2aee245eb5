//! The keeper: one thread that follows the durable leaves into the tree, signs, beats and turns the keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use model::Kind;

use crate::allocate::is_no_space;
use crate::core::{Core, State};
use crate::error::Error;
use crate::keys::day_of;
use crate::leaf::LEAF_BYTES;
use crate::signers;
use crate::tree::Tree;

pub(crate) struct Keeper {
    core: Arc<Core>,
    tree: Tree,
    leaves: Vec<u8>,
    beat_at: Instant,
}

impl Keeper {
    pub(crate) fn new(core: Arc<Core>, tree: Tree) -> Keeper {
        Keeper { core, tree, leaves: Vec::new(), beat_at: Instant::now() }
    }

    /// The thread's life.
    pub(crate) fn run(mut self) {
        let mut next_checkpoint = Instant::now() + self.core.options.checkpoint_interval;
        loop {
            let closed = {
                let mut leaves = self.core.leaves.lock();
                while !leaves.closed && !leaves.aborted && Instant::now() < next_checkpoint {
                    self.core.leaves_wake.wait_until(&mut leaves, next_checkpoint);
                }
                if leaves.aborted {
                    return;
                }
                std::mem::swap(&mut self.leaves, &mut leaves.bytes);
                leaves.closed
            };
            next_checkpoint = Instant::now() + self.core.options.checkpoint_interval;
            let followed = self.follow();
            if let Err(error) = followed
                && self.give_up(error, closed)
            {
                return;
            }
            if closed {
                self.tree.tidy();
                return;
            }
            self.beat();
            self.turn_keys();
        }
    }

    fn follow(&mut self) -> io::Result<()> {
        let started = Instant::now();
        let count = self.leaves.len() / LEAF_BYTES;
        self.tree.append(&self.leaves);
        self.leaves.clear();
        self.core.leaf_backlog.fetch_sub(count, Ordering::Relaxed);
        self.tree.publish()?;
        if count > 0 {
            metrics::histogram!("trail_checkpoint_seconds").record(started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Tells whether the thread must end.
    fn give_up(&mut self, error: io::Error, closed: bool) -> bool {
        if is_no_space(&error) && !closed {
            self.core.enter_full();
            return false;
        }
        self.core.fail("write the tree", &Error::io("write the tree", error));
        true
    }

    fn beat(&mut self) {
        let state = self.core.state();
        if self.beat_at.elapsed() >= self.core.options.heartbeat_interval
            && matches!(state, State::Open | State::Full)
        {
            self.core.note(Kind::Heartbeat, None);
            self.beat_at = Instant::now();
        }
    }

    fn turn_keys(&self) {
        let core = &self.core;
        signers::retire(core);
        // Yesterday's key goes on sealing if there is no space for the file of a new month's.
        if let Err(error) = core.literals.turn(&core.keys, &*core.disk, day_of(core.now())) {
            tracing::warn!(%error, "trail: cannot change to the day's key");
        }
    }
}
