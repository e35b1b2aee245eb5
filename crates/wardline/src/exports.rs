//! Hands what is recorded over to others while the server runs: one thread for each `[export.NAME]`.
//!
//! The threads read the trail's files, as any reader does; nothing that accesses data waits for them. That a stream
//! began, that a receiver took nothing for too long, and that it goes on, are records.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use export::{Address, Bearer, Follower, Identity, Notice, Plan, Receiver};
use model::{Kind, Record};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::admin::{Actor, Refusal, Reply};
use crate::config::{Config, Export};
use crate::keep;
use crate::node::{DETAIL_BYTES_MAX, Node, load_root_key};
use crate::output::{clipped, printable};

/// The threads that hand over.
pub(crate) struct Exports {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Exports {
    /// Takes followers that run already.
    pub(crate) fn of(stop: watch::Sender<bool>, threads: Vec<JoinHandle<()>>) -> Exports {
        Exports { stop, threads }
    }

    /// Starts to hand over to every receiver of the configuration.
    pub(crate) fn start(node: &Arc<Node>, config: &Config) -> anyhow::Result<Exports> {
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::new();
        for (name, export) in &config.exports {
            let follower =
                follower(node, name, export, &stopped).with_context(|| format!("export `{name}`"))?;
            tracing::info!(
                export = name,
                format = export.format.name(),
                to = export.place(),
                patients = export.patients.name(),
                "handing over what is recorded"
            );
            let thread = std::thread::Builder::new().name(format!("export-{name}"));
            threads.push(thread.spawn(move || follower.run())?);
        }
        Ok(Exports { stop, threads })
    }

    /// Ends the threads. What a receiver did not take yet it gets after the next start.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let joined = tokio::task::spawn_blocking(move || {
            self.threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        if !matches!(joined.await, Ok(0)) {
            tracing::error!("a thread that hands entries over had panicked");
        }
    }
}

/// Returns the folder of the files that say how far receivers are.
pub(crate) fn positions(data: &Path) -> PathBuf {
    data.join("export")
}

/// Returns the file that says how far a receiver is in a log. One that followed another under the same node begins anew.
pub(crate) fn position(data: &Path, name: &str, origin: &str) -> PathBuf {
    let log = origin.rsplit_once('/').map_or(String::new(), |(_, number)| format!(".{number}"));
    positions(data).join(format!("{name}{log}.position"))
}

fn follower(
    node: &Arc<Node>,
    name: &str,
    export: &Export,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<Follower> {
    let receiver = Receiver::new(export.format, &address(export)?)?;
    let root = load_root_key(&node.folder.root_key())?;
    let reader = trail::Reader::open_on(keep::disk(&node.config.load())?, &root)?;
    let plan = Plan {
        name: name.to_owned(),
        format: export.format,
        patients: export.patients,
        begin: export.begin,
        position: position(node.folder.path(), name, reader.origin()),
        retry_pause_max: export.retry_pause_max,
        alarm_after: export.alarm_after,
        timeout: export.timeout,
    };
    let (node, handle, export, name) = (Arc::clone(node), Handle::current(), export.clone(), name.to_owned());
    let notice = move |notice| {
        let record = record_of(&node, &name, &export, &notice);
        let node = Arc::clone(&node);
        drop(handle.spawn(async move {
            if let Err(error) = node.record_urgent(&record).await {
                tracing::error!(%error, "how an export stands could not be recorded");
            }
        }));
    };
    Ok(Follower::new(plan, reader, receiver, stop.clone(), Box::new(notice)))
}

fn address(export: &Export) -> anyhow::Result<Address> {
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("{}", path.display()));
    let identity = export
        .identity
        .as_ref()
        .map(|(certificate, key)| anyhow::Ok(Identity { certificate: read(certificate)?, key: read(key)? }));
    let bearer = export.bearer.as_ref().map(|path| {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        anyhow::Ok(Bearer(text.trim().to_owned()))
    });
    Ok(Address {
        url: export.url.clone(),
        authorities: export.ca.as_ref().map(read).transpose()?,
        identity: identity.transpose()?,
        bearer: bearer.transpose()?,
    })
}

fn record_of(node: &Node, name: &str, export: &Export, notice: &Notice) -> Record<'static> {
    let (kind, words) = match notice {
        Notice::Began(entry) => (
            Kind::Exported,
            format!(
                "stream `{name}` to {} as {}, patients by their {}, from entry {entry}",
                printable(export.place()),
                export.format.name(),
                export.patients.name()
            ),
        ),
        Notice::Stuck(why) => (Kind::Incident, format!("export `{name}`: {why}")),
        Notice::GoesOn(what) => (Kind::Incident, format!("export `{name}` goes on: {what}")),
        Notice::Ended(why) => (Kind::Incident, format!("export `{name}` ended: {why}")),
    };
    let mut record = Record::new(kind, node.now());
    record.command = Some("export stream".into());
    record.detail = Some(clipped(&printable(&words), DETAIL_BYTES_MAX).into());
    record
}

impl Node {
    /// Records that entries are about to be written into a file for others.
    pub(crate) async fn export_file(&self, actor: &Actor, what: &str) -> Result<Reply, Refusal> {
        let mut record = Record::new(Kind::Exported, self.now());
        record.person_name = Some(actor.shown().into());
        record.command = Some("export file".into());
        record.detail = Some(clipped(&printable(what), DETAIL_BYTES_MAX).into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Nothing {})
    }
}
