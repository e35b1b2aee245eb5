//! Tells people at once: one thread for each `[notify.NAME]`, which follows the trail as an export does.
//!
//! What is told comes from durable entries, and how far each receiver is, is durable as well: a crash between an emergency
//! and its message loses none, and may send one twice. A receiver that takes nothing for too long is an incident.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use export::{Address, Bearer, Begin, Follower, Format, MailAddress, Notice, Plan, Receiver, Shown, Topics};
use model::{Kind, Record};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::{Config, Notify, Way};
use crate::exports::Exports;
use crate::keep;
use crate::node::{DETAIL_BYTES_MAX, Node, load_root_key};
use crate::output::{clipped, printable};

/// Starts to tell everybody of the configuration.
pub(crate) fn start(node: &Arc<Node>, config: &Config) -> anyhow::Result<Exports> {
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    for (name, notify) in &config.emergency.notify {
        let follower = follower(node, name, notify, &stopped).with_context(|| format!("notify `{name}`"))?;
        tracing::info!(notify = name, to = notify.place(), "messages are sent at once");
        let thread = std::thread::Builder::new().name(format!("notify-{name}"));
        threads.push(thread.spawn(move || follower.run())?);
    }
    Ok(Exports::of(stop, threads))
}

/// Returns the file that says how far somebody was told.
pub(crate) fn position(data: &Path, name: &str) -> PathBuf {
    data.join("notify").join(format!("{name}.position"))
}

fn follower(
    node: &Arc<Node>,
    name: &str,
    notify: &Notify,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<Follower> {
    let topics = Topics::of(notify.topics.iter().copied());
    let receiver = receiver(notify, topics)?;
    let root = load_root_key(&node.folder.root_key())?;
    let reader = trail::Reader::open_on(keep::disk(&node.config.load())?, &root)?;
    let plan = Plan {
        name: format!("notify/{name}"),
        format: Format::Notice(topics),
        patients: Shown::Tokens,
        begin: Begin::Now,
        position: position(node.folder.path(), name),
        retry_pause_max: notify.retry_pause_max,
        alarm_after: notify.alarm_after,
        timeout: notify.timeout,
    };
    let (node, handle) = (Arc::clone(node), Handle::current());
    let (name, place) = (name.to_owned(), notify.place().to_owned());
    let notice = move |notice| {
        let record = record_of(&node, &name, &place, &notice);
        let node = Arc::clone(&node);
        drop(handle.spawn(async move {
            if let Err(error) = node.record_urgent(&record).await {
                tracing::error!(%error, "how messages are sent could not be recorded");
            }
        }));
    };
    Ok(Follower::new(plan, reader, receiver, stop.clone(), Box::new(notice)))
}

fn receiver(notify: &Notify, topics: Topics) -> anyhow::Result<Receiver> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("{}", path.display()));
    let line = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        anyhow::Ok(Bearer(text.trim().to_owned()))
    };
    let authorities = notify.ca.as_ref().map(read).transpose()?;
    Ok(match &notify.way {
        Way::Webhook { url, secret } => {
            let address = Address { url: url.clone(), authorities, identity: None, bearer: None };
            Receiver::webhook(&address, topics, &line(secret)?)?
        }
        Way::Mail { url, login, from, to } => {
            let login = login.as_ref().map(|(user, file)| anyhow::Ok((user.clone(), line(file)?)));
            Receiver::mail(&MailAddress {
                url: url.clone(),
                authorities,
                login: login.transpose()?,
                from: from.clone(),
                to: to.clone(),
                timeout: notify.timeout,
            })?
        }
    })
}

fn record_of(node: &Node, name: &str, place: &str, notice: &Notice) -> Record<'static> {
    let (kind, words) = match notice {
        Notice::Began(entry) => (
            Kind::Exported,
            format!("messages to `{name}` ({}) about what is recorded from entry {entry}", printable(place)),
        ),
        Notice::Stuck(why) => (Kind::Incident, format!("messages to `{name}`: {why}")),
        Notice::GoesOn(what) => (Kind::Incident, format!("messages to `{name}` go on: {what}")),
        Notice::Ended(why) => (Kind::Incident, format!("messages to `{name}` ended: {why}")),
    };
    let mut record = Record::new(kind, node.now());
    record.command = Some("notify".into());
    record.detail = Some(clipped(&printable(&words), DETAIL_BYTES_MAX).into());
    record
}
