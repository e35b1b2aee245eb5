//! Emergency mode: the registry is gone, and access goes on for some hours by its last signed copy.
//!
//! ```text
//! registry answers ──gone──▶ copy, opened as a scratch registry ──back──▶ what was done meanwhile is entered, go on
//!        ▲                          │ after the hours
//!        └──────────────────────────┴──▶ everything is refused
//! ```
//!
//! The copy is read as the registry was: sessions, sign-ins and policy go on by the same code. What changes people, rights and
//! settings is refused; what remains is emergency access by a sealed code, which is written to the scratch registry and to
//! the trail. That the mode began, and that it is over, are incidents; when it began outlives a restart.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::{Kind, Micros, Record};
use registry::{Home, Registry};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::copy;
use crate::admin::{Actor, Refusal};
use crate::changes::{Change, detail};
use crate::config::Config;
use crate::data::{DataFolder, write_new};
use crate::node::{Node, load_root_key};

/// How often it is looked whether the registry answers.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// So many times in a row it must not answer: a file that is put in its place is no outage.
const MISSED_MAX: u32 = 2;
/// A copy is made when something has changed, and at least so often: tokens are no numbered changes.
const COPY_AGE_MAX_US: u64 = 60 * 1_000_000;

/// Since when, written where a restart finds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    since_us: u64,
    /// The last change that the registry was known to hold.
    change: u64,
}

/// Whether the node is in emergency mode.
#[derive(Debug, Default)]
pub(crate) struct Mode {
    /// In microseconds; 0 where it is not.
    since: AtomicU64,
    /// The last change that the registry was known to hold then.
    change: AtomicU64,
    /// Its hours are over.
    over: AtomicBool,
}

impl Mode {
    fn of(since: Option<&Since>) -> Mode {
        let mode = Mode::default();
        if let Some(since) = since {
            mode.begin(since);
        }
        mode
    }

    fn begin(&self, since: &Since) {
        self.change.store(since.change, Ordering::Release);
        self.since.store(since.since_us.max(1), Ordering::Release);
    }

    /// Tells whether it is in force.
    pub(crate) fn is_in_force(&self) -> bool {
        self.since.load(Ordering::Acquire) > 0
    }

    /// Returns when it began, where it is in force.
    pub(crate) fn since(&self) -> Option<Micros> {
        Some(Micros(self.since.load(Ordering::Acquire))).filter(|since| since.0 > 0)
    }

    /// Tells whether its hours are over: then everything is refused.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Opens the registry, or, where it is gone, what stands for it.
pub(crate) async fn open(config: &Config, home: &Home) -> anyhow::Result<(Registry, Mode)> {
    let folder = DataFolder::at(&config.data);
    let since = read_since(&folder)?;
    let opened = match home {
        // One that is not there is made, which is right at the very first start only.
        Home::File(path) if !path.exists() && copy::newest(&folder, &config.node).is_some() => {
            Err(anyhow::anyhow!("{} is not there", path.display()))
        }
        Home::File(_) | Home::Postgres(_) => Registry::open_at(home).await.map_err(anyhow::Error::from),
    };
    let error = match (opened, &since) {
        (Ok(registry), None) => return Ok((registry, Mode::default())),
        (Ok(registry), Some(since)) => {
            // It is back. What was done meanwhile is entered by the watch, which finds it as after any outage.
            registry.close().await;
            let scratch = scratch(&folder, &config.node).await?;
            return Ok((scratch, Mode::of(Some(since))));
        }
        (Err(error), _) => error,
    };
    if config.emergency.mode.hours.is_zero() {
        return Err(error.context("the registry"));
    }
    tracing::error!(error = format!("{error:#}"), "the registry cannot be opened; looking for its last copy");
    let scratch = scratch(&folder, &config.node).await.context(error)?;
    let since = match since {
        Some(since) => since,
        None => {
            let since = Since { since_us: crate::node::now().0, change: scratch.change().await? };
            write_since(&folder, &since)?;
            since
        }
    };
    Ok((scratch, Mode::of(Some(&since))))
}

/// Opens the scratch registry, or makes it from the newest copy.
async fn scratch(folder: &DataFolder, node: &str) -> anyhow::Result<Registry> {
    let path = scratch_path(folder);
    if path.exists() {
        match Registry::open(&path).await {
            Ok(registry) => return Ok(registry),
            Err(error) => {
                tracing::error!(%error, "the scratch registry is damaged; made again from the copy")
            }
        }
    }
    let Some(copy) = copy::newest(folder, node) else { bail!("there is no signed copy of the registry") };
    for ending in ["sqlite", "sqlite-wal", "sqlite-shm"] {
        copy::remove(&path.with_extension(ending))?;
    }
    fs::copy(&copy.path, &path).with_context(|| format!("{}", path.display()))?;
    Ok(Registry::open(&path).await?)
}

fn scratch_path(folder: &DataFolder) -> PathBuf {
    folder.emergency().join("scratch.sqlite")
}

fn since_path(folder: &DataFolder) -> PathBuf {
    folder.emergency().join("since.json")
}

fn read_since(folder: &DataFolder) -> anyhow::Result<Option<Since>> {
    let path = since_path(folder);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{}", path.display())),
    }
}

fn write_since(folder: &DataFolder, since: &Since) -> anyhow::Result<()> {
    let path = since_path(folder);
    copy::remove(&path)?;
    write_new(&path, 0o600, &serde_json::to_vec(since)?).with_context(|| format!("{}", path.display()))
}

/// Starts the task of `serve`.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    let home = node.home.clone();
    let mut watch = Watch { inode: inode(&home), home, missed: 0, copied: None, told: None };
    tokio::spawn(async move {
        if node.emergency_mode.is_in_force() {
            node.tell_emergency_mode("EMERGENCY MODE goes on after a restart").await;
        }
        loop {
            watch.look(&node).await;
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    })
}

fn inode(home: &Home) -> Option<u64> {
    match home {
        Home::File(path) => fs::metadata(path).ok().map(|found| found.ino()),
        Home::Postgres(_) => None,
    }
}

/// What the watch remembers.
struct Watch {
    home: Home,
    /// Of the file that is open: another one in its place is another registry.
    inode: Option<u64>,
    missed: u32,
    /// The change that was last copied, and when.
    copied: Option<(u64, u64)>,
    /// Why the registry that came back was not taken, once.
    told: Option<String>,
}

impl Watch {
    async fn look(&mut self, node: &Arc<Node>) {
        let hours = node.config.load().emergency.mode.hours;
        if node.emergency_mode.is_in_force() {
            node.judge_hours(hours).await;
            if let Err(error) = self.try_back(node).await {
                let why = format!("{error:#}");
                if self.told.as_ref() != Some(&why) {
                    tracing::warn!(why, "emergency mode goes on");
                    self.told = Some(why);
                }
            }
            return;
        }
        match timeout(ANSWER_MAX, self.answers(node)).await.unwrap_or_else(|_| bail_late()) {
            Ok(change) => {
                self.missed = 0;
                if let Err(error) = self.copy(node, change).await {
                    tracing::error!(error = format!("{error:#}"), "no copy of the registry could be made");
                }
            }
            Err(error) => {
                self.missed += 1;
                tracing::error!(
                    error = format!("{error:#}"),
                    missed = self.missed,
                    "the registry does not answer"
                );
                if self.missed >= MISSED_MAX && !hours.is_zero() {
                    self.enter(node, &format!("{error:#}")).await;
                }
            }
        }
    }

    /// Returns the registry's last change, as somebody finds it who comes new.
    async fn answers(&self, node: &Node) -> anyhow::Result<u64> {
        if let Home::File(path) = &self.home {
            if inode(&self.home) != self.inode {
                bail!("{} is not there, or is another file", path.display());
            }
            // First: a change that is made while the file is read is in neither, or in the file alone.
            let held = node.held_change.load(Ordering::Relaxed);
            let found = registry::peek_change(path).await.context("reading it anew")?;
            if found < held {
                bail!("{} is at change {found}, and was at {held}", path.display());
            }
        }
        Ok(node.registry.change().await?)
    }

    async fn copy(&mut self, node: &Node, change: u64) -> anyhow::Result<()> {
        let now = node.now();
        let fresh =
            self.copied.is_some_and(|(copied, at)| copied == change && now.0.abs_diff(at) < COPY_AGE_MAX_US);
        if fresh || node.config.load().emergency.mode.hours.is_zero() {
            return Ok(());
        }
        // Nobody changes anything meanwhile, so the number is that of the copy.
        let _turn = node.turn.lock().await;
        let root = load_root_key(&node.folder.root_key())?;
        copy::keep(&node.registry, &node.folder, &root, &node.config.load().node, now).await?;
        self.copied = Some((change, now.0));
        Ok(())
    }

    async fn enter(&mut self, node: &Arc<Node>, why: &str) {
        let _turn = node.turn.lock().await;
        let name = node.config.load().node.clone();
        // What an earlier outage left is not what was last known.
        let leftover = copy::remove(&scratch_path(&node.folder)).map_err(anyhow::Error::from);
        let scratch = match leftover {
            Ok(()) => scratch(&node.folder, &name).await,
            Err(error) => Err(error),
        };
        let scratch = match scratch {
            Ok(scratch) => scratch,
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "emergency mode cannot begin: nobody can sign in"
                );
                return;
            }
        };
        let change = node.held_change.load(Ordering::Relaxed);
        let since = Since { since_us: node.now().0, change };
        if let Err(error) = write_since(&node.folder, &since) {
            tracing::error!(error = format!("{error:#}"), "when emergency mode began cannot be kept");
        }
        node.registry.replace(&scratch).close().await;
        node.emergency_mode.begin(&since);
        (self.missed, self.told) = (0, None);
        metrics::gauge!("wardline_emergency_mode").set(1.0);
        node.tell_emergency_mode(&format!("EMERGENCY MODE has begun: the registry does not answer ({why})"))
            .await;
    }

    /// Takes the registry up again, if it is back and is the one that was lost.
    async fn try_back(&mut self, node: &Arc<Node>) -> anyhow::Result<()> {
        let lost = node.emergency_mode.change.load(Ordering::Acquire);
        if let Home::File(path) = &self.home {
            if !path.exists() {
                bail!("{} is not there", path.display());
            }
            let found = registry::peek_change(path).await.context("the registry does not answer")?;
            if found < lost {
                bail!("the registry that is there is at change {found}, and was at {lost}: an older one");
            }
        }
        let real =
            timeout(ANSWER_MAX, Registry::open_at(&self.home)).await.context("no answer in time")??;
        let held = real.change().await?;
        if held < lost {
            real.close().await;
            bail!("the registry that is there is at change {held}, and was at {lost}: an older one");
        }
        let _turn = node.turn.lock().await;
        node.enter_meanwhile(&real).await?;
        node.registry.replace(&real).close().await;
        self.inode = inode(&self.home);
        self.copied = None;
        copy::remove(&since_path(&node.folder))?;
        for ending in ["sqlite", "sqlite-wal", "sqlite-shm"] {
            copy::remove(&scratch_path(&node.folder).with_extension(ending))?;
        }
        node.emergency_mode.since.store(0, Ordering::Release);
        node.emergency_mode.over.store(false, Ordering::Release);
        metrics::gauge!("wardline_emergency_mode").set(0.0);
        node.publish(&node.config.load_full()).await?;
        node.tell_emergency_mode("EMERGENCY MODE is over: the registry answers again").await;
        Ok(())
    }
}

fn bail_late() -> anyhow::Result<u64> {
    bail!("it did not answer in time")
}

impl Node {
    /// Refuses everything when the hours are over.
    async fn judge_hours(&self, hours: Duration) {
        let since = self.emergency_mode.since.load(Ordering::Acquire);
        let end = since.saturating_add(u64::try_from(hours.as_micros()).unwrap_or(u64::MAX));
        if self.now().0 < end || self.emergency_mode.is_over() {
            return;
        }
        let _turn = self.turn.lock().await;
        self.emergency_mode.over.store(true, Ordering::Release);
        if let Err(refusal) = self.publish(&self.config.load_full()).await {
            tracing::error!(%refusal, "what is refused from now on could not be put into force; trying again");
            self.emergency_mode.over.store(false, Ordering::Release);
            return;
        }
        let hours = hours.as_secs() / 3_600;
        self.tell_emergency_mode(&format!(
            "EMERGENCY MODE has lasted {hours} h: everything is refused from now on"
        ))
        .await;
    }

    /// Enters into the registry what was done while it was gone.
    async fn enter_meanwhile(&self, real: &Registry) -> anyhow::Result<()> {
        let meanwhile = self.registry.emergencies(true).await?;
        let known = real.emergencies(true).await?;
        let changed: Vec<_> = meanwhile.into_iter().filter(|row| !known.contains(row)).collect();
        if changed.is_empty() {
            // The number of the last change is entered all the same.
            let last = self.last_change.load(Ordering::Relaxed);
            return Ok(real.as_change(last).mark().await?);
        }
        let numbers: Vec<String> = changed.iter().map(|row| row.number.to_string()).collect();
        let actor = Actor::time();
        let what = format!("enter emergency access {} of the time without a registry", numbers.join(", "));
        let (change, _scratch) = self.admitted_numbered(Change::new(&actor, "emergency mode", what)).await?;
        let number = change.number.unwrap_or_default();
        self.done(&change, real.as_change(number).adopt_emergencies(&changed).await).await?;
        Ok(())
    }

    async fn tell_emergency_mode(&self, said: &str) {
        tracing::error!("{said}");
        let mut record = Record::new(Kind::Incident, self.now());
        record.command = Some("emergency mode".into());
        record.detail = Some(detail(said));
        if let Err(error) = self.record_urgent(&record).await {
            tracing::error!(%error, "an incident could not be recorded");
        }
    }

    /// Refuses what depends on a registry that is gone.
    pub(crate) fn refused_in_emergency_mode(&self) -> Refusal {
        Refusal::new("emergency mode: the registry does not answer, and nothing that changes it is done")
            .help("bring the registry back; until then: `wardline break-glass begin … --code NAME`, `session kill`, the trail")
    }
}
