//! Entries for an account that cannot look into the data folder: read by the server, after the right was checked and the
//! view recorded, and handed over the operators' socket.
//!
//! Bounded in entries, in what is looked through, and in bytes; whatever is more is told, not cut in silence. Deliberately
//! absent: following, and searches of the archive, which run under the server's own account.

use crate::admin::{Actor, AskedEntries, Refusal, Reply};
use crate::commands::trail::{Wanted, served};
use crate::keep;
use crate::node::{Node, load_root_key};

/// The most entries of one answer.
pub(crate) const ENTRIES_MAX: u32 = 10_000;
/// The most bytes of one answer; a single entry may exceed them.
const BYTES_MAX: usize = 32 << 20;
/// The most entries that are looked through for those that are wanted.
pub(crate) const LOOKED_THROUGH_MAX: u64 = 1_000_000;
/// Answers that are read from the trail at once; each opens it anew.
const AT_ONCE_MAX: usize = 2;

static AT_ONCE: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(AT_ONCE_MAX);

impl Node {
    pub(crate) async fn entries(&self, actor: &Actor, asked: AskedEntries) -> Result<Reply, Refusal> {
        if asked.count > ENTRIES_MAX {
            return Err(Refusal::new(format!("an answer over the socket has at most {ENTRIES_MAX} entries")));
        }
        let Ok(_slot) = AT_ONCE.try_acquire() else {
            return Err(Refusal::new("others are reading the trail over the socket; try again in a moment"));
        };
        // The record is durable before anything is read.
        self.trail_view(actor, asked.words(), Vec::new(), &[]).await?;
        let failed = |error: anyhow::Error| Refusal::new(format!("{error:#}"));
        let root = load_root_key(&self.folder.root_key()).map_err(failed)?;
        let disk = keep::disk(&self.config.load()).map_err(failed)?;
        let read = tokio::task::spawn_blocking(move || {
            let reader = trail::Reader::open_on(disk, &root)?;
            served(&reader, &Wanted { asked: &asked, bytes_max: BYTES_MAX })
        });
        let (lines, more) = read.await.map_err(|error| Refusal::because(&error))?.map_err(failed)?;
        Ok(Reply::Entries { lines, more })
    }
}
