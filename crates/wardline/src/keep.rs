//! The trail and its store together: how a node opens its log, and the task that brings segments away while it serves.
//!
//! A log is signed for only if it contains what the store knows of it; a restored one only when somebody says so. What a
//! store is, and what is put there, is `trail`'s; what a bucket is, `store`'s.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use model::{Kind, Record, RootKey};
use store::{Credentials, Endpoint, Enforced, S3};
use tokio::task::JoinHandle;
use trail::{
    Disk, Folder, FolderStore, Options, SealError, Sealed, Store, Trail, WithStore, newest_checkpoint,
};

use crate::admin::Refusal;
use crate::config::{Config, StorePlace};
use crate::data::DataFolder;
use crate::node::Node;
use crate::output;

/// How often it is looked whether a segment is complete.
const PASS_PAUSE: Duration = Duration::from_secs(10);
/// After a pass that failed.
const FAILED_PAUSE: Duration = Duration::from_mins(1);
/// How often a checkpoint is put into the store while the node serves.
const CHECKPOINT_PAUSE: Duration = Duration::from_hours(1);
/// When failures have lasted so long, they are an incident.
const FAILING_MAX: Duration = Duration::from_hours(1);

/// How a log is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Begin {
    /// As it is; refused where that is not safe.
    #[default]
    Usual,
    /// As a restored one, of which this is the last checkpoint that anybody holds.
    Restored { last_checkpoint: Vec<u8> },
    /// With a new log beside the old one, for this reason.
    NextOrigin { reason: String },
    /// With a log that is thrown away.
    Rehearsal,
}

/// Opens a store. A folder is made; a bucket is not asked anything yet.
pub(crate) fn open_store(place: &StorePlace) -> anyhow::Result<Target> {
    match place {
        StorePlace::Folder(path) => {
            let store = FolderStore::create(path);
            Ok(Target::Folder(Arc::new(store.with_context(|| format!("the store {}", path.display()))?)))
        }
        StorePlace::Bucket { bucket, endpoint, credentials, ca } => {
            let endpoint = Endpoint::parse(endpoint, ca.as_deref())?;
            let credentials = Credentials::load(credentials)?;
            Ok(Target::Bucket(Arc::new(S3::new(endpoint, bucket.clone(), credentials))))
        }
    }
}

/// A store that was opened.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Folder(Arc<FolderStore>),
    Bucket(Arc<S3>),
}

impl Target {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Target::Folder(store) => Arc::clone(store) as Arc<dyn Store>,
            Target::Bucket(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// Finds out what the store enforces; `None` for a folder, which enforces nothing.
    pub(crate) fn probe(&self) -> Result<Option<Enforced>, trail::StoreError> {
        match self {
            Target::Folder(_) => Ok(None),
            Target::Bucket(bucket) => bucket.probe().map(Some),
        }
    }
}

/// Returns the configured store of the trail; the data folder's own when none is named.
pub(crate) fn place(config: &Config) -> StorePlace {
    let own = || StorePlace::Folder(DataFolder::at(&config.data).store());
    config.trail_store.place.clone().unwrap_or_else(own)
}

/// Returns the trail as readers see it: what is not local any more comes from the store.
pub(crate) fn disk(config: &Config) -> anyhow::Result<Arc<dyn Disk>> {
    let folder = DataFolder::at(&config.data).trail();
    let local = Folder::open(&folder).with_context(|| format!("{}", folder.display()))?;
    Ok(Arc::new(WithStore::new(Arc::new(local), open_store(&place(config))?.store())))
}

/// Returns the name of the log that is written now: the node's, and behind a slash how many logs were closed before it.
pub(crate) fn origin(folder: &DataFolder, node: &str) -> String {
    match folder.closed_count() {
        0 => node.to_owned(),
        closed => format!("{node}/{closed}"),
    }
}

/// What the node keeps of its store.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) target: Target,
    /// One thread at a time seals.
    sealing: parking_lot::Mutex<()>,
}

impl Kept {
    /// Seals every complete segment, and drops what need not stay: where the node writes an archive, what is not `archived`
    /// does. Blocks.
    pub(crate) fn pass(
        &self,
        trail: &Trail,
        local_segments: Option<usize>,
        archived: Option<u64>,
    ) -> Result<Vec<Sealed>, SealError> {
        let _alone = self.sealing.lock();
        let store = self.target.store();
        let mut sealed = Vec::new();
        while let Some(one) = trail.seal_next(&*store)? {
            tracing::info!(
                segment = one.segment,
                entries = one.count,
                bytes = one.bytes,
                "trail: segment sealed"
            );
            metrics::counter!("trail_segments_sealed_total").increment(1);
            sealed.push(one);
        }
        if !sealed.is_empty() {
            trail.keep_checkpoint(&*store)?;
        }
        if let Some(kept) = local_segments {
            let dropped = trail.drop_sealed_below(&*store, kept, archived.unwrap_or(u64::MAX))?;
            if dropped > 0 {
                tracing::info!(dropped, "trail: segments are in the store only from now on");
            }
        }
        Ok(sealed)
    }
}

/// Opens the node's log and its store. Blocks.
pub(crate) fn open_trail(config: &Config, root: &RootKey, begin: &Begin) -> anyhow::Result<(Trail, Kept)> {
    let folder = DataFolder::at(&config.data);
    let target = match begin {
        // A rehearsal leaves no trace in the store of the real log.
        Begin::Rehearsal => Target::Folder(Arc::new(FolderStore::create(&folder.store())?)),
        Begin::Usual | Begin::Restored { .. } | Begin::NextOrigin { .. } => open_store(&place(config))?,
    };
    let current = origin(&folder, &config.node);
    let opening = Opening { config, folder: &folder, root, store: target.store() };
    let opened = match begin {
        Begin::Usual => opening.log(&current, None, None),
        Begin::Rehearsal => opening.log(&format!("{}/drill", config.node), None, None),
        Begin::Restored { last_checkpoint } => opening.log(&current, Some(last_checkpoint), None),
        Begin::NextOrigin { reason } => match opening.log(&current, None, None) {
            Err(error) if must_not_go_on(&error) => {
                tracing::warn!(%error, "the log cannot go on");
                let said = close_log(&folder, &config.node, reason)?;
                opening.log(&origin(&folder, &config.node), None, Some(said))
            }
            opened => {
                if opened.is_ok() {
                    tracing::warn!("the log can go on and does; no other was begun");
                }
                opened
            }
        },
    };
    let trail = opened.map_err(|error| explained(error, &folder)).context("the trail does not open")?;
    Ok((trail, Kept { target, sealing: parking_lot::Mutex::new(()) }))
}

/// Tells whether only another log can take entries.
fn must_not_go_on(error: &trail::Error) -> bool {
    matches!(
        error,
        trail::Error::Restored { .. }
            | trail::Error::Rollback { .. }
            | trail::Error::Damaged(_)
            | trail::Error::KeyLost { .. }
    )
}

/// What a log is opened with.
struct Opening<'a> {
    config: &'a Config,
    folder: &'a DataFolder,
    root: &'a RootKey,
    store: Arc<dyn Store>,
}

impl Opening<'_> {
    fn log(
        &self,
        origin: &str,
        last_checkpoint: Option<&Vec<u8>>,
        begins_with: Option<String>,
    ) -> Result<Trail, trail::Error> {
        let mut options = Options::new(origin);
        options.segment_age_max = self.config.trail_store.seal_after;
        options.begins_with = begins_with;
        match newest_checkpoint(&*self.store, origin) {
            Ok(held) => options.held.extend(held),
            Err(error) => tracing::warn!(
                %error,
                "the store does not say which checkpoint it holds; a rollback is not noticed at this start"
            ),
        }
        if let Some(last) = last_checkpoint {
            options.held.push(last.clone());
            options.resume_restored = true;
        }
        let trail = self.folder.trail();
        let local = Folder::create(&trail).map_err(|source| trail::Error::Io {
            what: format!("make {}", trail.display()),
            source: Arc::new(source),
        })?;
        let disk = WithStore::new(Arc::new(local), Arc::clone(&self.store));
        Trail::open_on(Arc::new(disk), self.root, options)
    }
}

/// Adds what to do where the log may not be signed for.
fn explained(error: trail::Error, folder: &DataFolder) -> anyhow::Error {
    let help = match &error {
        trail::Error::Restored { .. } => {
            "it may go on only where nothing was signed after the backup: show the last checkpoint that anybody holds with \
             `wardline serve --last-checkpoint FILE`; otherwise begin the next log with `wardline serve --next-origin \
             \"reason\"`"
        }
        trail::Error::Damaged(damage) if damage.kind == trail::DamageKind::Inconsistent => {
            "the store, or who showed it, holds a checkpoint that this log does not contain: it is another log of this \
             name, or its history was rewritten. Bring the right folder back, or begin the next log with `wardline serve \
             --next-origin \"reason\"`"
        }
        trail::Error::Rollback { .. } => {
            "entries are missing that were signed for: bring the newer files back (`wardline restore` takes sealed segments \
             from the store), or begin the next log with `wardline serve --next-origin \"reason\"`"
        }
        _ => return error.into(),
    };
    anyhow::Error::from(Refusal::because(&error).help(help)).context(format!("{}", folder.trail().display()))
}

/// Puts the log aside, and returns what the next one begins with.
fn close_log(folder: &DataFolder, node: &str, reason: &str) -> anyhow::Result<String> {
    let old = origin(folder, node);
    let trail = folder.trail();
    let note = std::fs::read_to_string(trail.join("tree/checkpoint")).unwrap_or_default();
    let mut lines = note.lines();
    let (size, root) = (lines.nth(1).unwrap_or("an unknown number of"), lines.next().unwrap_or("unknown"));
    let why = output::clipped(&output::printable(reason), crate::node::DETAIL_BYTES_MAX / 2);
    let said =
        format!("goes on from the log `{old}`, which was closed at {size} entries (root {root}): {why}");
    let aside = folder.closed_trail(folder.closed_count());
    if trail.exists() {
        std::fs::rename(&trail, &aside).with_context(|| format!("moving {} aside", trail.display()))?;
    } else {
        crate::data::create_private(&aside)?;
    }
    sync_folder(folder.path())?;
    tracing::warn!(log = old, kept = %aside.display(), "the log was closed, the next one begins");
    Ok(said)
}

fn sync_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::File::open(path).and_then(|file| file.sync_all()).with_context(|| format!("{}", path.display()))
}

/// Begins the task that seals while the node serves.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        say_what_is_enforced(&node).await;
        let mut state =
            Passes { checkpoint_at: Instant::now(), failing: None, told: false, others: Vec::new() };
        loop {
            let passed = pass(&node, &mut state).await;
            tokio::time::sleep(if passed { PASS_PAUSE } else { FAILED_PAUSE }).await;
        }
    })
}

struct Passes {
    checkpoint_at: Instant,
    failing: Option<Instant>,
    told: bool,
    /// Objects that were not ours, and are recorded.
    others: Vec<String>,
}

async fn say_what_is_enforced(node: &Arc<Node>) {
    let target = node.kept.target.clone();
    let place = target.store().place();
    match tokio::task::spawn_blocking(move || target.probe()).await {
        Ok(Ok(Some(enforced))) if enforced.keeps() => {
            tracing::info!(place, %enforced, "trail: the store keeps what it has")
        }
        Ok(Ok(Some(enforced))) => {
            tracing::warn!(place, %enforced, "trail: the store enforces less than it could")
        }
        Ok(Ok(None)) => {
            tracing::info!(place, "trail: segments go to a folder, which only file rights protect")
        }
        Ok(Err(error)) => tracing::warn!(place, %error, "trail: the store cannot be tried"),
        Err(error) => tracing::warn!(place, %error, "trail: the store cannot be tried"),
    }
}

/// Seals what is complete; `false` when it should not be tried again at once.
async fn pass(node: &Arc<Node>, state: &mut Passes) -> bool {
    let checkpoint = state.checkpoint_at.elapsed() >= CHECKPOINT_PAUSE;
    let at_work = Arc::clone(node);
    let done = tokio::task::spawn_blocking(move || {
        let config = at_work.config.load();
        let local = config.trail_store.local_segments;
        let archived = archived(&at_work);
        at_work.kept.pass(&at_work.trail, local, archived)?;
        if checkpoint {
            at_work.trail.keep_checkpoint(&*at_work.kept.target.store())?;
        }
        Ok::<(), SealError>(())
    });
    let Ok(done) = done.await else { return false };
    match done {
        Ok(()) => {
            if checkpoint {
                state.checkpoint_at = Instant::now();
            }
            (state.failing, state.told) = (None, false);
            true
        }
        Err(error) => {
            metrics::counter!("trail_seal_failures_total").increment(1);
            tracing::warn!(%error, "trail: a segment is not sealed");
            tell(node, state, &error).await;
            false
        }
    }
}

/// Returns what may be dropped for the archive's sake, where the node writes one.
pub(crate) fn archived(node: &Node) -> Option<u64> {
    node.config.load().archiving.map(|_| archived_through(&node.folder))
}

/// Returns up to which entry the archive is without a gap, as its index says.
fn archived_through(folder: &DataFolder) -> u64 {
    let index = std::fs::read_to_string(folder.path().join("archive/index")).unwrap_or_default();
    // An archive that was never written has nothing, and one whose index is damaged lets nothing go.
    let index: trail::ArchiveIndex = index.parse().unwrap_or_default();
    index.gaps(index.seen).first().map_or(index.seen, |gap| gap.start)
}

/// Records what somebody must look at.
async fn tell(node: &Node, state: &mut Passes, error: &SealError) {
    let since = *state.failing.get_or_insert_with(Instant::now);
    let said = match error {
        SealError::Other { key, .. } if !state.others.contains(key) => {
            state.others.push(key.clone());
            error.to_string()
        }
        SealError::Other { .. } => return,
        SealError::Store(_) | SealError::Trail(_) if since.elapsed() >= FAILING_MAX && !state.told => {
            state.told = true;
            format!("segments could not be sealed for an hour: {error}")
        }
        SealError::Store(_) | SealError::Trail(_) => return,
    };
    let mut record = Record::new(Kind::Incident, node.now());
    record.detail = Some(output::clipped(&output::printable(&said), crate::node::DETAIL_BYTES_MAX).into());
    if let Err(error) = node.record_urgent(&record).await {
        tracing::error!(%error, "an incident could not be recorded");
    }
}

/// Puts the last checkpoint of a closed trail into the store, so that it can be told when less is brought back.
pub(crate) fn leave_checkpoint(trail: &Trail, target: &Target) {
    if let Err(error) = trail.keep_checkpoint(&*target.store()) {
        tracing::warn!(%error, "the last checkpoint is not in the store");
    }
}

/// Reads a checkpoint that somebody holds.
pub(crate) fn read_checkpoint(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading the checkpoint {}", path.display()))?;
    if bytes.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(bytes)
}
