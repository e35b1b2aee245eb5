//! `[trail.archive]`: the archive is written while the node serves, by `wardline-lake` in a process of its own.
//!
//! The gateway's process reads no entry for it: it starts the program, records the manifest of each file that the program
//! wrote, and says when that fails for too long. Whatever ends half way counts for nothing, and is done again: see
//! `commands/archive.rs`. Deliberately absent: the query engine (docs/decisions/0027).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Kind, Record};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::admin::Actor;
use crate::cli::TrailPlace;
use crate::commands::archive::{self, Done, Wish};
use crate::commands::place::Place;
use crate::node::{DETAIL_BYTES_MAX, Node};
use crate::output::{clipped, printable};

/// How often it is looked whether archiving has been configured since.
const LOOK_PAUSE: Duration = Duration::from_secs(60);
/// After a failure it is tried again soon, however long the usual pause is.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// When the archive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Archiving {
    /// How often.
    pub(crate) every: Duration,
    /// The fewest entries that a file is made of, unless they waited for as long as `lag`.
    pub(crate) entries_min: u64,
    /// How long entries wait at most.
    pub(crate) lag: Duration,
    /// A failure for so long is an incident.
    pub(crate) alarm_after: Duration,
}

/// What is remembered between two runs.
struct Runs {
    /// When nothing waited last.
    complete_at: Instant,
    failing: Option<Instant>,
    told: bool,
}

/// Starts the task of `serve`.
pub(crate) fn start(node: &Arc<Node>, file: &Path) -> JoinHandle<()> {
    let (node, file) = (Arc::clone(node), file.to_owned());
    tokio::spawn(async move {
        let mut runs = Runs { complete_at: Instant::now(), failing: None, told: false };
        loop {
            let Some(plan) = node.config.load().archiving else {
                tokio::time::sleep(LOOK_PAUSE).await;
                continue;
            };
            let done = run(&node, &file, &plan, &runs).await;
            let pause = match done {
                Ok(done) => {
                    runs.succeeded(&done);
                    plan.every
                }
                Err(error) => {
                    runs.failed(&node, &plan, &format!("{error:#}")).await;
                    plan.every.min(RETRY_PAUSE)
                }
            };
            tokio::time::sleep(pause).await;
        }
    })
}

/// Writes the archive once. Blocks a thread that may wait.
async fn run(node: &Arc<Node>, file: &Path, plan: &Archiving, runs: &Runs) -> anyhow::Result<Done> {
    let late = runs.complete_at.elapsed() + plan.every >= plan.lag;
    let wish = Wish { entries_min: if late { 1 } else { plan.entries_min }, ..Wish::default() };
    let (node, file, handle): (_, PathBuf, _) = (Arc::clone(node), file.to_owned(), Handle::current());
    let written = tokio::task::spawn_blocking(move || {
        let nowhere = TrailPlace { trail: None, root_key: None, node: None };
        let place = Place::of(&file, &nowhere)?;
        let record = |manifest: &trail::Manifest| {
            let (ourselves, manifest) = (Actor::ourselves(), manifest.to_string());
            let recorded = node.archive_manifest(&ourselves, &manifest);
            handle.block_on(recorded).map(drop).map_err(|refusal| anyhow::anyhow!("{refusal}"))
        };
        archive::write(&place, None, &wish, &record)
    });
    // Somebody who archives or asks by hand has the archive now: that is no failure.
    Ok(written.await??.unwrap_or_default())
}

impl Runs {
    fn succeeded(&mut self, done: &Done) {
        if self.failing.take().is_some() {
            tracing::info!("the archive is written again");
        }
        self.told = false;
        if done.waiting == 0 || done.archived > 0 {
            self.complete_at = Instant::now();
        }
        metrics::counter!("archive_entries_total").increment(done.archived);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("archive_waiting_entries").set(done.waiting as f64);
        tracing::debug!(archived = done.archived, waiting = done.waiting, "the archive was written");
    }

    async fn failed(&mut self, node: &Node, plan: &Archiving, why: &str) {
        metrics::counter!("archive_failures_total").increment(1);
        tracing::warn!(why, "the archive could not be written; it is tried again");
        let since = *self.failing.get_or_insert_with(Instant::now);
        if self.told || since.elapsed() < plan.alarm_after {
            return;
        }
        self.told = true;
        let seconds = since.elapsed().as_secs();
        tracing::error!(why, seconds, "the archive is not written for too long");
        let mut record = Record::new(Kind::Incident, node.now());
        let said = format!("the archive could not be written for {seconds} s: {why}");
        record.detail = Some(clipped(&printable(&said), DETAIL_BYTES_MAX).into());
        if let Err(error) = node.record_urgent(&record).await {
            tracing::error!(%error, "an incident could not be recorded");
        }
    }
}
