//! One connection, start to end. Every branch of its life is on this page; what it calls are straight lines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::Reason;
use model::{
    Action, CertificateId, Kind, Need, Object, Outcome, Phase, Principal, Record, ResourceId, SessionId,
    Verdict,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::approve;
use crate::control::{Claim, Control, SecondDevice, Upstream};
use crate::error::{Denial, Ending, Failure};
use crate::gate::{Gate, decide};
use crate::lessons;
use crate::listen::{Shared, Waiting};
use crate::protocol::postgres::catalogues::Slot;
use crate::protocol::postgres::codec::{self, Severity, WireError};
use crate::protocol::postgres::dial::{self, Dialed};
use crate::protocol::postgres::greet::{self, Greeted, Greeting};
use crate::protocol::postgres::relay::Relay;
use crate::session::{CancelTarget, Elsewhere, Pulse, Session, Stated, random};
use crate::startup::{self, parameters};
use crate::stream::Stream;

/// A refused sign-in is answered this long after it began, so that the time says nothing about the reason.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);
/// The longest names that a client gives itself and that are recorded; PostgreSQL's own limit is 63 bytes.
const NAME_BYTES_MAX: usize = 256;

/// Serves one accepted connection to its end.
pub(crate) async fn connection<C: Control>(
    shared: Arc<Shared<C>>,
    socket: std::net::TcpStream,
    peer: SocketAddr,
    waiting: Waiting,
) {
    let ended = match TcpStream::from_std(socket) {
        Ok(socket) => serve(&shared, socket, peer, waiting).await,
        Err(error) => Err(Failure::Client(error)),
    };
    match ended {
        Ok(ending) => {
            metrics::counter!("gateway_sessions_ended_total", "ending" => ending.name()).increment(1);
            tracing::debug!(%peer, ending = ending.name(), "connection ended");
        }
        Err(failure) => {
            metrics::counter!("gateway_sessions_broken_total").increment(1);
            tracing::info!(%peer, error = %chain(&failure), "connection broke");
        }
    }
}

/// The life of a connection: greet, identify, open, dial, relay.
async fn serve<C: Control>(
    shared: &Arc<Shared<C>>,
    socket: TcpStream,
    peer: SocketAddr,
    waiting: Waiting,
) -> Result<Ending, Failure> {
    let limits = shared.config.limits;
    let began = Instant::now();
    let greeted = timeout(limits.handshake_timeout, greet::greet(socket, &shared.config)).await;
    let mut greeted = match greeted.map_err(|_| Failure::ClientSilent)?? {
        Greeting::Session(greeted) => greeted,
        Greeting::Cancel { mut stream, process, key } => {
            let ended = cancel(shared, process, &key).await;
            greet::part(&mut stream).await;
            return ended;
        }
        Greeting::Left => return Ok(Ending::ClientLeft),
    };
    let control = &*shared.control;
    let certificate = greet::certificate(&greeted, &shared.config, control.now());
    let certificate = certificate.as_ref();
    let claim = claim_of(&greeted, peer);
    // Who shows a certificate has no browser.
    let approval = if certificate.is_some() { None } else { control.approval(&claim).await };
    let answer = match approval {
        Some(Ok(approval)) => {
            greeted.told_ok = true;
            approve::wait(&mut greeted.stream, approval).await?
        }
        Some(Err(reason)) => Err(reason),
        None => {
            let left = limits.handshake_timeout.saturating_sub(began.elapsed());
            let asking = greet::authenticate(&mut greeted, control, shared.config.scram, certificate);
            timeout(left, asking).await.map_err(|_| Failure::ClientSilent)??
        }
    };
    let principal = match answer {
        Ok(principal) => principal,
        Err(reason) => {
            let shown = certificate.map(|certificate| certificate.id);
            return refuse_sign_in(shared, greeted, (peer, shown), reason, began).await;
        }
    };
    let Some(_seat) = shared.seats.enter(limits.sessions_max) else {
        tracing::warn!(%peer, limit = limits.sessions_max, "too many sessions");
        return refuse(&mut greeted.stream, &Denial::TooMany, began).await;
    };
    drop(waiting);
    let mut session = session_of(&greeted, principal, peer, control);
    session.certificate = certificate.map(|certificate| certificate.id);
    let session = Arc::new(session);
    let Some(devices) = shared.sessions.enter(&session, limits.sessions_per_person_max) else {
        return refuse(&mut greeted.stream, &Denial::TooMany, began).await;
    };
    let ended = open(shared, *greeted, &session, &devices, began).await;
    shared.sessions.leave(&session);
    ended
}

/// Opens the resource for a principal, if policy allows, and relays until the session ends.
async fn open<C: Control>(
    shared: &Arc<Shared<C>>,
    mut greeted: Greeted,
    session: &Arc<Session>,
    devices: &[Elsewhere],
    began: Instant,
) -> Result<Ending, Failure> {
    let control = &*shared.control;
    let (reference, target) = match announce(control, session, devices).await {
        Ok(announced) => announced,
        Err(failure) => {
            refuse(&mut greeted.stream, &Denial::TrailLost, began).await?;
            return Err(failure);
        }
    };
    let target = match target {
        Ok(target) => target,
        Err(None) => {
            let emergencies = control.snapshot().offers_emergencies();
            return refuse(&mut greeted.stream, &Denial::Refused { reference, emergencies }, began).await;
        }
        Err(Some(remedy)) => {
            return refuse(&mut greeted.stream, &Denial::Untrained { reference, remedy }, began).await;
        }
    };
    let asked = match parameters(&greeted, session, control) {
        Ok(asked) => asked,
        Err(denial) => {
            refuse(&mut greeted.stream, &denial, began).await?;
            closed(control, session, Ending::Unsupported, Duration::ZERO).await?;
            return Ok(Ending::Unsupported);
        }
    };
    let (ending, idle, failure) = match dial(shared, session, asked, &target).await {
        Ok(dialed) => relay(shared, greeted, session, target, dialed).await,
        Err(failure) => {
            tracing::error!(resource = %session.resource, error = %chain(&failure), "the resource cannot be reached");
            let denial = Denial::Unavailable(unreachable_because(&target, &failure));
            refuse(&mut greeted.stream, &denial, began).await?;
            (Ending::UpstreamLeft, Duration::ZERO, Some(failure))
        }
    };
    closed(control, session, ending, idle).await?;
    failure.map_or(Ok(ending), Err)
}

/// A resource that may be opened; or what the person can do about it that it may not.
type Opened = Result<Arc<Upstream>, Option<String>>;

/// Records the sign-in and the opening of the session. Returns the entry, and the resource if policy allows it.
async fn announce<C: Control>(
    control: &C,
    session: &Session,
    devices: &[Elsewhere],
) -> Result<(u64, Opened), Failure> {
    let target = control.resource(&session.resource.0);
    let needs = [Need { action: Action::Connect, object: Object::Resource }];
    let at = control.now();
    let snapshot = control.snapshot();
    let decision = decide(&snapshot, session, &needs, &session.purpose_first(), at);
    let alone = devices.is_empty() || control.second_device() != SecondDevice::Refused;
    let allowed = decision.verdict == Verdict::Allow && target.is_some() && alone;
    sign_in_record(control, session, session.principal.name.to_string(), None).await?;
    let mut record = session.record_stated(Kind::SessionOpened, at);
    record.emergency = snapshot.emergency(session.principal.id, &session.resource, at);
    record.action = Some(Action::Connect);
    record.verdict = Some(if allowed { Verdict::Allow } else { Verdict::Deny });
    record.policies = decision.reasons.iter().map(|p| (&*p.0).into()).collect();
    record.policy_version = Some(decision.policy_version);
    record.outcome = Some(if allowed { Outcome::Completed } else { Outcome::Refused });
    if !devices.is_empty() {
        let verb = if alone { "" } else { "refused: " };
        record.detail = Some(format!("{verb}also connected from {}", list(devices)).into());
    }
    let reference = durable(control, &record).await?;
    if allowed && !devices.is_empty() && control.second_device() == SecondDevice::Incident {
        let mut incident = session.record(Kind::Incident, at);
        let here = session.peer.ip();
        let what =
            format!("used from two devices at once: {here} (session {}) and {}", session.id, list(devices));
        incident.detail = Some(what.into());
        let pending = control.trail().record_urgent(&incident).map_err(Failure::Trail)?;
        pending.await.map(drop).map_err(Failure::Trail)?;
        metrics::counter!("gateway_second_devices_total").increment(1);
    }
    // Only where the resource is one: what is not there is not told apart from what is.
    let remedy = || lessons::remedy(&snapshot, session.principal.id, &decision, at);
    let opened = match target {
        Some(target) if allowed => Ok(target),
        Some(_) => Err(remedy()),
        None => Err(None),
    };
    Ok((reference, opened))
}

/// Returns addresses with their sessions, in words.
fn list(devices: &[Elsewhere]) -> String {
    let shown = devices.iter().map(|other| format!("{} (session {})", other.address, other.session));
    shown.collect::<Vec<_>>().join(", ")
}

async fn dial<C: Control>(
    shared: &Arc<Shared<C>>,
    session: &Session,
    mut parameters: Vec<(String, String)>,
    target: &Arc<Upstream>,
) -> Result<Dialed, Failure> {
    target.identity.announce(&session.principal, &mut parameters)?;
    let credential = shared.control.credential(&target.id).ok_or_else(|| {
        Failure::Ours(format!("no credential for `{}`: run `wardline vault set`", target.id))
    })?;
    let dialing = async {
        let keys = &shared.catalogues.keys;
        let dialed = dial::dial(target, &credential, &parameters, keys).await;
        let refused = dialed.as_ref().err().filter(|failure| failure.is_refused_login());
        match refused.and_then(|_| other_credential(&*shared.control, &target.id, &credential)) {
            Some(other) => dial::dial(target, &other, &parameters, keys).await,
            None => dialed,
        }
    };
    timeout(shared.config.limits.dial_timeout, dialing).await.map_err(|_| Failure::UpstreamSilent)?
}

/// Returns what to try where a credential was refused: it is being changed, or was while it was tried.
fn other_credential<C: Control>(
    control: &C,
    resource: &ResourceId,
    tried: &vault::Credential,
) -> Option<vault::Credential> {
    let now = control.credential(resource).filter(|now| now != tried);
    now.or_else(|| control.spare_credential(resource))
}

/// Returns what the client is told of a resource that did not let its session in.
fn unreachable_because(target: &Upstream, failure: &Failure) -> &'static str {
    if target.identity.acts_as_role() && failure.is_refused_setting() {
        "the resource has no role for you: ask its administrator for one"
    } else {
        "the resource cannot be reached now"
    }
}

async fn relay<C: Control>(
    shared: &Arc<Shared<C>>,
    mut greeted: Greeted,
    session: &Arc<Session>,
    target: Arc<Upstream>,
    dialed: Dialed,
) -> (Ending, Duration, Option<Failure>) {
    let Dialed { stream: upstream, parameters, process, key } = dialed;
    let cancel = CancelTarget { session: session.clone(), upstream: target.clone(), process, key };
    let key_bytes = if greeted.minor >= 2 { 32 } else { 4 };
    let (number, key) = shared.sessions.cancellable(cancel.clone(), key_bytes);
    let notices = lessons::notices(&shared.control.snapshot(), session.principal.id, shared.control.now());
    let ended = match welcome(&mut greeted, &parameters, &notices, (number, &key)).await {
        Ok(()) => {
            let control = &*shared.control;
            let gate = Gate::new(session.clone(), control.trail().clone(), control.snapshot());
            Relay::new(shared.clone(), gate, target, greeted.stream, upstream, cancel).run().await
        }
        Err(failure) => (Ending::ClientLeft, Duration::ZERO, Some(failure)),
    };
    shared.sessions.forget_cancel(number);
    ended
}

/// Tells the client that it is in: `AuthenticationOk`, the settings, what it should know, its cancel key, readiness.
async fn welcome(
    greeted: &mut Greeted,
    parameters: &[(String, String)],
    notices: &[WireError],
    (process, key): (u32, &[u8]),
) -> Result<(), Failure> {
    use tokio::io::AsyncWriteExt;
    let mut bytes = Vec::with_capacity(512);
    if !greeted.told_ok {
        codec::message(&mut bytes, b'R', |out| out.extend_from_slice(&0i32.to_be_bytes()));
    }
    for (name, value) in parameters {
        codec::message(&mut bytes, b'S', |out| {
            codec::put_cstr(out, name.as_bytes());
            codec::put_cstr(out, value.as_bytes());
        });
    }
    codec::message(&mut bytes, b'K', |out| {
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(key);
    });
    notices.iter().for_each(|notice| notice.encode(&mut bytes));
    codec::message(&mut bytes, b'Z', |out| out.push(b'I'));
    greeted.stream.write_all(&bytes).await.map_err(Failure::Client)?;
    greeted.stream.flush().await.map_err(Failure::Client)
}

/// Reads the resource's catalogue again; what fails is logged, and leaves everything unproven.
pub(crate) async fn refresh_catalogue<C: Control>(shared: &Shared<C>, slot: &Slot, target: &Upstream) {
    let Some(credential) = shared.control.credential(&target.id) else { return slot.stale() };
    let refreshing = async {
        let keys = &shared.catalogues.keys;
        let refreshed = shared.catalogues.refresh(slot, target, &credential, keys).await;
        let refused = refreshed.as_ref().err().filter(|failure| failure.is_refused_login());
        match refused.and_then(|_| other_credential(&*shared.control, &target.id, &credential)) {
            Some(other) => shared.catalogues.refresh(slot, target, &other, keys).await,
            None => refreshed,
        }
    };
    let failed = match timeout(shared.config.limits.dial_timeout, refreshing).await {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => chain(&failure),
        Err(_) => "no answer within the dial timeout".to_owned(),
    };
    slot.stale();
    tracing::warn!(resource = %target.id, error = %failed, "the catalogue cannot be read: nothing counts as a read");
}

async fn cancel<C: Control>(shared: &Arc<Shared<C>>, process: u32, key: &[u8]) -> Result<Ending, Failure> {
    let Some(target) = shared.sessions.cancel(process, key) else { return Ok(Ending::Cancel) };
    let control = &*shared.control;
    let mut record = target.session.record_stated(Kind::Operation, control.now());
    record.phase = Some(Phase::Admitted);
    record.command = Some("CANCEL".into());
    record.verdict = Some(Verdict::Allow);
    durable(control, &record).await?;
    let cancelling = dial::cancel(&target.upstream, target.process, &target.key);
    timeout(shared.config.limits.dial_timeout, cancelling).await.map_err(|_| Failure::UpstreamSilent)??;
    Ok(Ending::Cancel)
}

async fn refuse_sign_in<C: Control>(
    shared: &Arc<Shared<C>>,
    mut greeted: Box<Greeted>,
    (peer, certificate): (SocketAddr, Option<CertificateId>),
    reason: Reason,
    began: Instant,
) -> Result<Ending, Failure> {
    metrics::counter!("gateway_sign_ins_refused_total").increment(1);
    let shown = model::Shown::alone("");
    let nobody = Principal { id: model::PersonId(0), name: "".into(), roles: [].into(), agent: None, shown };
    let mut session = session_of(&greeted, nobody, peer, &*shared.control);
    session.certificate = certificate;
    let name = greeted_name(&greeted);
    match sign_in_record(&*shared.control, &session, name, Some(reason)).await {
        Ok(reference) => {
            let emergencies = shared.control.snapshot().offers_emergencies();
            refuse(&mut greeted.stream, &Denial::Refused { reference, emergencies }, began).await
        }
        Err(failure) => {
            refuse(&mut greeted.stream, &Denial::TrailLost, began).await?;
            Err(failure)
        }
    }
}

async fn sign_in_record<C: Control>(
    control: &C,
    session: &Session,
    name: String,
    refused: Option<Reason>,
) -> Result<u64, Failure> {
    let mut record = session.record(Kind::SignIn, control.now());
    // An agent signs in with a name of its own, for the person.
    if session.principal.agent.is_none() {
        record.person_name = Some(name.into());
    }
    record.outcome = Some(Outcome::Completed);
    record.sign_in = Some((&*session.principal.shown.how).into());
    if let Some(reason) = refused {
        record.sign_in = None;
        record.person = None;
        record.outcome = Some(Outcome::Refused);
        record.detail = Some(reason.name().into());
    }
    durable(control, &record).await
}

async fn closed<C: Control>(
    control: &C,
    session: &Session,
    ending: Ending,
    idle: Duration,
) -> Result<(), Failure> {
    let mut record = session.record_stated(Kind::SessionClosed, control.now());
    record.outcome = Some(Outcome::Completed);
    record.detail = Some(format!("{}; idle for {} s", ending.name(), idle.as_secs()).into());
    match control.trail().record_urgent(&record) {
        Ok(pending) => pending.await.map(drop).map_err(Failure::Trail),
        Err(error) => Err(Failure::Trail(error)),
    }
}

/// Records a fact and waits until it is durable. Returns the entry's index.
async fn durable<C: Control>(control: &C, record: &Record<'_>) -> Result<u64, Failure> {
    let refused = record.outcome == Some(Outcome::Refused);
    let trail = control.trail();
    let pending = if refused { trail.record_urgent(record) } else { trail.record(record) };
    let receipt = pending.map_err(Failure::Trail)?.await.map_err(Failure::Trail)?;
    Ok(receipt.index())
}

/// Says no: the same words and the same time for every reason.
async fn refuse(stream: &mut Stream, denial: &Denial, began: Instant) -> Result<Ending, Failure> {
    let error = match denial {
        Denial::Refused { reference, emergencies } => {
            let hint = "Check the name, the password or token, and the database; where a second factor is asked for, sign in \
                        with a token of `wardline login`. If you lack the right: `wardline access request`, or ask your \
                        administrator, with the reference.";
            // The same for everybody and every resource, or it would tell who may and what there is.
            let emergency = " Those who may take emergency access: `wardline break-glass begin --help`.";
            let hint = format!("{hint}{}", if *emergencies { emergency } else { "" });
            WireError::new(Severity::Fatal, b"28P01", format!("access refused (reference {reference})"))
                .hint(hint)
        }
        Denial::Untrained { reference, remedy } => {
            WireError::new(Severity::Fatal, b"28000", format!("access refused (reference {reference})"))
                .hint(remedy)
        }
        Denial::TrailLost => {
            WireError::new(Severity::Fatal, b"58030", "access is stopped: the trail cannot record")
        }
        Denial::TooMany => WireError::new(Severity::Fatal, b"53300", "too many sessions"),
        Denial::Unavailable(why) => WireError::new(Severity::Fatal, b"57P03", *why),
        Denial::Unsupported(what) => WireError::new(Severity::Fatal, b"0A000", what.as_str()),
    };
    sleep_until(began + REFUSAL_DELAY).await;
    greet::say(stream, &error).await;
    Ok(Ending::Refused)
}

/// Returns what the client says of itself, nothing of which is proven.
fn claim_of(greeted: &Greeted, peer: SocketAddr) -> Claim {
    let named = |name: &str| greet::parameter(&greeted.startup, name).filter(|value| !value.is_empty());
    Claim {
        name: greeted_name(greeted),
        resource: capped(named("database").or(named("user")).unwrap_or_default()),
        client: capped(named("application_name").unwrap_or_default()),
        peer,
        wanted: startup::sign_in(greeted),
    }
}

fn greeted_name(greeted: &Greeted) -> String {
    capped(greet::parameter(&greeted.startup, "user").unwrap_or_default())
}

fn session_of<C: Control>(greeted: &Greeted, principal: Principal, peer: SocketAddr, control: &C) -> Session {
    let named = |name: &str| greet::parameter(&greeted.startup, name).filter(|value| !value.is_empty());
    let resource = named("database").or(named("user")).unwrap_or_default();
    let since = control.now();
    let stated = startup::purpose(greeted).and_then(|name| control.snapshot().purpose(&name));
    // What an agent does is for what it was allowed to act for, until it says otherwise and is refused.
    let delegated = || principal.agent.as_ref().and_then(|agent| agent.purpose.clone());
    let purpose = Stated::first(stated.or_else(delegated));
    Session {
        id: SessionId(u128::from_be_bytes(random())),
        resource: ResourceId(capped(resource).into()),
        peer,
        client: capped(named("application_name").unwrap_or_default()),
        since,
        pulse: Pulse::since(since, principal.shown.factor_at),
        principal,
        certificate: None,
        purpose,
    }
}

fn capped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX / 4).collect()
}

/// An error with its causes, for the operator.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
