//! `wardline serve`: opens everything, listens, obeys signals, and ends in order.
//!
//! SIGHUP reads the configuration again; SIGTERM and SIGINT drain; a failed trail ends the process with a code of its
//! own, because nothing may be done that cannot be recorded.

use std::future::pending;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gateway::{Limits, Listener, ListenerConfig, ListenerTls, Workers};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::admin::{Actor, Refusal};
use crate::archiving;
use crate::changes::older_registry;
use crate::cli::Serve;
use crate::commands::configuration;
use crate::config::Config;
use crate::control::ControlSocket;
use crate::data::DataFolder;
use crate::exports::Exports;
use crate::inbound::Inbound;
use crate::keep::{self, Begin};
use crate::node::Node;
use crate::standing::Standing;
use crate::web::Web;
use crate::{
    EXIT_TRAIL_FAILED, clock, emergency, exceptions, ldap, leavers, logging, notify, output, reload,
    rotation, tls, witness,
};

/// Sessions get their error within this, after the trail failed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What drains may exceed its deadline by before the process ends anyway.
const DRAIN_SLACK: Duration = Duration::from_secs(5);

/// How often it is looked whether the registry's last change is to be repeated.
const REPEAT_CHECK_PAUSE: Duration = Duration::from_secs(10);

/// Grants are looked at no later than this, as clocks may be set.
const EXPIRY_CHECK_PAUSE_MAX: Duration = Duration::from_secs(10);

/// It is looked no later than this whether time made decisions others, as clocks may be set.
const TURN_CHECK_PAUSE_MAX: Duration = Duration::from_millis(500);

/// How often it is looked whether more is asked of people.
const DUTY_CHECK_PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked for rights that nobody answered for in time.
const CAMPAIGN_CHECK_PAUSE: Duration = Duration::from_secs(2);
/// How often it is written down when accounts were last used.
const USES_WRITTEN_PAUSE: Duration = Duration::from_secs(60);

/// After a grant that is over could not be ended.
const EXPIRY_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Threads of the runtime that serves the control socket, metrics and signals; sessions have their own.
const CONTROL_THREADS: usize = 1;

/// Why the server ends.
enum End {
    Signal(&'static str),
    TrailFailed,
}

/// Serves until told to stop.
pub(crate) fn run(file: &Path, arguments: &Serve) -> anyhow::Result<ExitCode> {
    logging::start(&arguments.log, arguments.log_json)?;
    let config = configuration(file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()?;
    let begin = begin(arguments)?;
    let code = runtime.block_on(serve(file, config, begin, arguments.accept_older_registry.as_deref()));
    runtime.shutdown_timeout(LAST_WORDS);
    code
}

/// Returns how the log is to be opened.
fn begin(arguments: &Serve) -> anyhow::Result<Begin> {
    Ok(match (&arguments.last_checkpoint, &arguments.next_origin) {
        (Some(path), _) => Begin::Restored { last_checkpoint: keep::read_checkpoint(path)? },
        (None, Some(reason)) => Begin::NextOrigin { reason: reason.clone() },
        (None, None) => Begin::Usual,
    })
}

async fn serve(
    file: &Path,
    config: Config,
    begin: Begin,
    accepted: Option<&str>,
) -> anyhow::Result<ExitCode> {
    for exception in config.exceptions() {
        tracing::warn!(exception, "protection is weakened by configuration");
    }
    for finding in config.findings() {
        tracing::warn!(finding, "a finding about the configuration");
    }
    let folder = DataFolder::at(&config.data);
    folder.check()?;
    let Some(lock) = folder.lock()? else {
        bail!("another process holds {}; one server or command at a time", folder.path().display());
    };
    let mut signals = Signals::new()?;
    start_metrics(&config)?;
    let node = Arc::new(Node::open_as(config, lock, begin).await?);
    let served = match check_registry(&node, accepted).await {
        Ok(()) => serve_node(file, &node, &mut signals).await,
        Err(error) => Err(error),
    };
    // Also a start that fails ends in order, or `verify` would count a crash.
    if served.is_err()
        && let Err(error) = node.close().await
    {
        tracing::error!(error = format!("{error:#}"), "the trail was not closed in order");
    }
    served
}

/// Refuses a registry that is older than the trail, unless somebody takes it upon them.
async fn check_registry(node: &Node, accepted: Option<&str>) -> anyhow::Result<()> {
    match (node.standing(), accepted) {
        (Standing::Current, None) => Ok(()),
        (Standing::Current, Some(_)) => {
            tracing::warn!("the registry is not older than the trail; there was nothing to accept");
            Ok(())
        }
        (Standing::Newer { registry, trail }, _) => Ok(node.note_newer_registry(registry, trail).await?),
        (Standing::Older { .. }, Some(reason)) => {
            node.accept_older_registry(&Actor::ourselves(), reason).await
        }
        (Standing::Older { registry, trail }, None) => {
            Err(older_registry(&node.registry.home(), registry, trail).into())
        }
    }
}

async fn serve_node(file: &Path, node: &Arc<Node>, signals: &mut Signals) -> anyhow::Result<ExitCode> {
    node.enter_service().await.context("the trail does not record")?;
    if let Err(error) = node.finish_agreed().await {
        tracing::error!(%error, "what two people agreed to could not be done; the next start tries again");
    }
    let config = node.config.load_full();
    warn_of_missing_credentials(node, &config);
    let exports = Exports::start(node, &config)?;
    let notices = notify::start(node, &config)?;
    let inbound = Inbound::start(node, &config).await?;
    let web = Web::start(node, &config).await?;
    let workers = Workers::start(std::thread::available_parallelism().map_or(1, Into::into))?;
    let listener = listen(node, &config, &workers).await?;
    let control = Arc::new(ControlSocket::bind(&node.folder, config.operators.as_ref())?);
    let answers = answer_requests(&control, node);
    let repeats = repeat_changes(node);
    let watches = [
        expire_access(node),
        emergency::start(node),
        emergency::mode::start(node),
        exceptions::start(node),
        ldap::start(node),
        turn_with_time(node),
        keep_time(node),
        rotation::start(node),
        leavers::start(node),
        witness::submit::start(node),
        clock::start(node),
        keep::start(node),
        archiving::start(node, file),
    ];
    let end = signals.obey(node, file).await;
    if let Some(inbound) = inbound {
        inbound.stop().await;
    }
    if let Some(web) = web {
        web.stop().await;
    }
    repeats.abort();
    answers.abort();
    watches.iter().for_each(JoinHandle::abort);
    let _aborted = (answers.await, repeats.await, futures_util::future::join_all(watches).await);
    control.close();
    let code = finish(end, node, listener, config.drain_timeout).await;
    exports.stop().await;
    notices.stop().await;
    tokio::task::spawn_blocking(move || workers.stop()).await?;
    code
}

async fn listen(node: &Arc<Node>, config: &Config, workers: &Workers) -> anyhow::Result<Listener> {
    let wanted = &config.listener;
    let (tls, shown) = if wanted.plaintext {
        (ListenerTls::PlaintextOnLoopback, "no TLS".to_owned())
    } else {
        let tls = tls::server(&node.folder, wanted)?;
        let fingerprint = tls.fingerprint();
        (ListenerTls::Tls(tls), format!("certificate SHA-256 {fingerprint}"))
    };
    let limits = Limits {
        sessions_max: wanted.sessions_max,
        sessions_per_person_max: wanted.sessions_per_person_max,
        handshakes_max: wanted.handshakes_max,
        handshakes_per_address_max: wanted.handshakes_per_address_max,
        handshake_timeout: wanted.handshake_timeout,
        dial_timeout: wanted.dial_timeout,
        idle_timeout: wanted.idle_timeout,
        idle_warning: wanted.idle_warning,
        session_lifetime_max: wanted.session_lifetime_max,
        drain_timeout: config.drain_timeout,
        message_bytes_max: wanted.message_bytes_max,
        hold_window_bytes: wanted.hold_window_bytes,
    };
    let asked = ListenerConfig { address: wanted.address, tls, scram: wanted.scram, limits };
    let bound = Listener::bind(asked, Arc::clone(node), Arc::clone(&node.sessions), workers).await;
    let listener = bound.with_context(|| format!("listening on {}", wanted.address))?;
    let address = listener.address();
    tracing::info!(%address, tls = shown, node = config.node, "serving PostgreSQL clients");
    output::line(&format!("wardline: PostgreSQL on {address}, {shown}"));
    Ok(listener)
}

fn answer_requests(control: &Arc<ControlSocket>, node: &Arc<Node>) -> JoinHandle<()> {
    let (control, node) = (Arc::clone(control), Arc::clone(node));
    tokio::spawn(async move { control.serve(node).await })
}

/// Repeats the registry's last change in the trail, whenever much was recorded since.
fn repeat_changes(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(REPEAT_CHECK_PAUSE).await;
            if node.change_is_far_back() {
                let _turn = node.turn.lock().await;
                if let Err(error) = node.repeat_change().await {
                    tracing::error!(%error, "the registry's last change could not be repeated in the trail");
                }
            }
        }
    })
}

/// Ends grants when their time is over.
fn expire_access(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut changes = node.snapshot_changes();
        loop {
            let wait = match node.expire_access().await {
                Ok(None) => EXPIRY_CHECK_PAUSE_MAX,
                Ok(Some(until)) => Duration::from_micros(until.saturating_sub(node.now().0)),
                Err(refusal) => {
                    tracing::error!(%refusal, "grants that are over could not be ended");
                    EXPIRY_RETRY_PAUSE
                }
            };
            // A new grant makes a new policy.
            tokio::select! {
                () = tokio::time::sleep(wait.min(EXPIRY_CHECK_PAUSE_MAX)) => {}
                _ = changes.changed() => {}
            }
        }
    })
}

/// Lets sessions decide anew at the moment from which time alone makes decisions others, such as the end of a grant.
///
/// It waits for nobody: neither the registry nor the trail nor the turn of changes is needed for it.
fn turn_with_time(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut seen = node.now();
        loop {
            let (snapshot, now) = (node.snapshot(), node.now());
            if snapshot.turns(seen, now) {
                node.turn_decisions();
            }
            seen = now;
            let next = snapshot.next_turn(now).map(|at| Duration::from_micros(at.0.saturating_sub(now.0)));
            // A new policy makes its sessions decide anew by itself; what it turns at is found within the pause.
            tokio::time::sleep(next.unwrap_or(TURN_CHECK_PAUSE_MAX).min(TURN_CHECK_PAUSE_MAX)).await;
        }
    })
}

/// Follows what is asked of people as they come and change.
fn keep_time(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut changes = node.snapshot_changes();
        let mut assigned = false;
        let (mut judged, mut written) = (Instant::now(), Instant::now());
        loop {
            if !assigned || changes.has_changed().unwrap_or(false) {
                changes.mark_unchanged();
                assigned = told(node.assign_training().await, "training could not be assigned");
            }
            if judged.elapsed() >= CAMPAIGN_CHECK_PAUSE {
                told(node.judge_campaigns().await, "what nobody answered could not be taken away");
                judged = Instant::now();
            }
            if written.elapsed() >= USES_WRITTEN_PAUSE {
                told(node.write_uses().await, "when accounts were last used could not be written down");
                written = Instant::now();
            }
            tokio::time::sleep(DUTY_CHECK_PAUSE).await;
        }
    })
}

/// Tells the operator of what failed; it is tried again.
fn told(done: Result<(), Refusal>, what: &str) -> bool {
    done.inspect_err(|refusal| tracing::error!(%refusal, "{what}")).is_ok()
}

fn warn_of_missing_credentials(node: &Node, config: &Config) {
    for resource in config.resource_ids() {
        if !matches!(node.vault.credential(&resource), Ok(Some(_))) {
            tracing::warn!(%resource, "no readable credential; run `wardline vault set`");
        }
    }
}

fn start_metrics(config: &Config) -> anyhow::Result<()> {
    let Some(address) = config.metrics else { return Ok(()) };
    let builder = PrometheusBuilder::new().with_http_listener(address);
    builder.install().with_context(|| format!("serving metrics on {address}"))?;
    tracing::info!(%address, "serving metrics");
    Ok(())
}

/// The signals the server obeys; taken before anything is opened, so that none is missed.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Obeys until the server has to end.
    async fn obey(&mut self, node: &Node, file: &Path) -> End {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload::reload(node, file).await,
                _ = self.terminate.recv() => return End::Signal("SIGTERM"),
                _ = self.interrupt.recv() => return End::Signal("SIGINT"),
                _ = node.trail.failed() => return End::TrailFailed,
            }
        }
    }
}

async fn finish(
    end: End,
    node: &Node,
    listener: Listener,
    drain_timeout: Duration,
) -> anyhow::Result<ExitCode> {
    match end {
        End::Signal(signal) => {
            tracing::info!(signal, sessions = listener.sessions(), "draining");
            let drained = tokio::select! {
                drained = timeout(drain_timeout + DRAIN_SLACK, listener.drain()) => drained.is_ok(),
                () = failed(node) => return Ok(give_up(node).await),
            };
            if !drained {
                tracing::warn!("sessions were cut at the drain deadline");
            }
            node.close().await?;
            tracing::info!("ended");
            Ok(ExitCode::SUCCESS)
        }
        End::TrailFailed => {
            tracing::error!("the trail failed: no access is possible, ending");
            let _all_told = timeout(LAST_WORDS, listener.drain()).await;
            Ok(give_up(node).await)
        }
    }
}

async fn failed(node: &Node) {
    node.trail.failed().await;
    if node.trail.state() != trail::State::Failed {
        pending::<()>().await;
    }
}

async fn give_up(node: &Node) -> ExitCode {
    node.trail.abandon();
    node.registry.close().await;
    ExitCode::from(EXIT_TRAIL_FAILED)
}
