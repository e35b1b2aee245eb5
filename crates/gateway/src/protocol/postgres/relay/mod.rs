//! Carries one session: reads, admits, forwards, withholds, settles.
//!
//! One task, one poll function, both directions; an idle session owns no buffers. The client's side is in `asked`,
//! what is not sent in `refused`, what is in `sent`, the resource's side in `answered`.
//!
//! INVARIANT: an operation reaches `Upbox` only with a `Permit`; what came of it leaves `Outbox` only past its gate.
//! What stands between `answered` and the outbox for people who do not see everything is in `masking`.

mod acting;
mod answered;
mod asked;
mod masking;
mod purpose;
mod refused;
mod sent;

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::{Action, Micros, Outcome, SqlState};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::buffers::{Housekeeping, Inbox, Upbox};
use super::catalogues::{Change, Slot};
use super::codec::{Severity, Status, WireError};
use super::dial;
use super::outbox::Outbox;
use super::sql::Inspection;
use super::track::Track;
use crate::control::{Control, Upstream};
use crate::error::{Ending, Failure};
use crate::gate::{Admitting, Gate, Permit, Report, Subject};
use crate::lessons;
use crate::limits::{ABSENCE_NOTICES_MAX, PIPELINE_MAX, UPSTREAM_BACKLOG_BYTES};
use crate::listen::{Drain, Shared};
use crate::session::CancelTarget;
use crate::stream::Stream;

/// An operation that was sent, until it is settled.
#[derive(Debug)]
struct Running {
    permit: Permit,
    inspection: Option<Arc<Inspection>>,
    rows: u64,
    bytes: u64,
    /// Released result bytes beyond which the next entry is due.
    progress_at: u64,
    failed: Option<SqlState>,
    executed: bool,
    /// How often `Execute` was sent for it and not answered.
    awaited: u32,
    /// [`Track::renamed`] when it was sent.
    renamed: u64,
    /// How its results are read and masked; `None` where the resource protects nothing.
    results: Option<Box<masking::Results>>,
    /// Results of functions called by number, and errors in the resource's own words, which may be about anybody.
    untold: u64,
    /// Pieces of copied data that are not counted by a tag yet: each is a row, in text.
    copied: u64,
}

impl Running {
    /// Returns what its entry says of it now.
    fn report(&self) -> Report<'static> {
        let unresolved = self.results.as_ref().map_or(0, |results| results.unresolved()) + self.untold;
        Report {
            rows: Some(self.rows + self.copied),
            unresolved: Some(unresolved),
            bytes: Some(self.bytes),
            ..Report::default()
        }
    }
}

/// What a message waits for before it is looked at again.
#[derive(Debug)]
struct Stalled {
    admitting: Admitting,
    then: asked::Then,
    /// An error came meanwhile: the resource drops the message, and so do we.
    void: Option<SqlState>,
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a session ends: the word for the record, and what the client is told.
#[derive(Debug)]
struct Goodbye {
    ending: Ending,
    words: Option<WireError>,
}

/// A session between its sign-in and its end.
pub(crate) struct Relay<C: Control> {
    shared: Arc<Shared<C>>,
    gate: Gate,
    target: Arc<Upstream>,
    catalogue: Arc<Slot>,
    client: Stream,
    upstream: Stream,
    /// How the resource is told to stop what it does.
    cancel: CancelTarget,
    inbox: Inbox,
    answers: Inbox,
    outbox: Outbox,
    upbox: Upbox,
    track: Track,
    running: HashMap<u64, Running, foldhash::fast::RandomState>,
    operations: u64,
    stalled: Option<Stalled>,
    refreshing: Option<Waiting>,
    refresh_tried: Option<Instant>,
    status: Status,
    /// An extended query was refused or failed: messages are dropped until `Sync`, as the resource does.
    skipping: bool,
    /// The client's next message is about a name of which only the resource's answers tell whether it is there.
    names_ahead: bool,
    /// The resource reads copied data, for this operation.
    copying: Option<u64>,
    /// This operation may make the resource read copied data: nothing else is sent until it is known.
    copy_ahead: Option<u64>,
    /// Bytes of a row that still pass, and the operation they belong to.
    passing: (usize, Option<u64>),
    /// Bytes of copied data that still pass from the client.
    copy_passing: usize,
    /// The transaction changed something, or may have.
    wrote: bool,
    /// The transaction changed objects, so nothing is proven within it.
    redefined: bool,
    /// Something of such a transaction is under way.
    change: Option<Change>,
    /// When something was last asked.
    active: Instant,
    /// Which idleness the client was warned of: the `active` of then.
    warned: Option<Instant>,
    /// How many more notices the client gets of columns that are NULL whatever they are, and the columns of the last.
    absences: (usize, Vec<usize>),
    /// The client said goodbye and answers are under way: they go out until the resource, told too, closes.
    leaving: bool,
    /// The resource said why it ends the session.
    fatal: bool,
    goodbye: Option<Goodbye>,
    /// What the session is for is about to change.
    restating: Option<purpose::Restating>,
}

impl<C: Control> std::fmt::Debug for Relay<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("session", &self.gate.session().id).finish_non_exhaustive()
    }
}

/// How long the last words to a client may take.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the resource may take to stop what it does; below what a drain gives to sessions that were cut.
const HALT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a failed refresh of the catalogue keeps sessions from asking for another.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

impl<C: Control> Relay<C> {
    pub(crate) fn new(
        shared: Arc<Shared<C>>,
        gate: Gate,
        target: Arc<Upstream>,
        client: Stream,
        upstream: Stream,
        cancel: CancelTarget,
    ) -> Relay<C> {
        let catalogue = shared.catalogues.slot(&target);
        Relay {
            shared,
            gate,
            target,
            catalogue,
            client,
            upstream,
            cancel,
            inbox: Inbox::default(),
            answers: Inbox::default(),
            outbox: Outbox::default(),
            upbox: Upbox::default(),
            track: Track::default(),
            running: HashMap::default(),
            operations: 0,
            stalled: None,
            refreshing: None,
            refresh_tried: None,
            status: Status::Idle,
            skipping: false,
            names_ahead: false,
            copying: None,
            copy_ahead: None,
            passing: (0, None),
            copy_passing: 0,
            wrote: false,
            redefined: false,
            change: None,
            active: Instant::now(),
            warned: None,
            absences: (ABSENCE_NOTICES_MAX, Vec::new()),
            leaving: false,
            fatal: false,
            goodbye: None,
            restating: None,
        }
    }

    /// Carries the session to its end, and settles what is open.
    pub(crate) async fn run(mut self) -> (Ending, Duration, Option<Failure>) {
        let carried = self.carry().await;
        let idle = self.active.elapsed();
        let (ending, words, failure) = match carried {
            Ok(Goodbye { ending, words }) => (ending, words, None),
            Err(Failure::Upstream(_)) if self.leaving => (Ending::ClientLeft, None, None),
            Err(failure) => {
                let (ending, words) = last_words(&failure);
                (ending, words.filter(|_| !self.fatal), Some(failure))
            }
        };
        // A client that leaves leaves its last statement to the resource, as without Wardline; who is sent away may not.
        let sent_away = ending != Ending::ClientLeft && !matches!(failure, Some(Failure::Upstream(_)));
        let halt = sent_away && (!self.running.is_empty() || !self.track.expected.is_empty());
        let settled =
            self.settle_all(halt.then_some("the session was ended: the resource is told to cancel"));
        // What the resource said before its end is the client's, once its entries are durable.
        let ended_by_upstream = self.leaving || matches!(failure, Some(Failure::Upstream(_)));
        self.part(words, settled && ended_by_upstream, halt).await;
        (ending, idle, failure)
    }

    async fn carry(&mut self) -> Result<Goodbye, Failure> {
        let limits = self.shared.config.limits;
        let mut policy = self.shared.control.snapshot_changes();
        let mut drain = self.shared.drain.clone();
        // Something may have changed while the resource was dialled.
        self.renew();
        let began = Instant::now();
        let mut killed = self.gate.session().pulse.ended();
        // It may have been ended while the resource was dialled.
        killed.mark_changed();
        loop {
            // The bounds are those of the configuration in force now.
            let (idle_timeout, lifetime) = self.target.bounds.within(&limits);
            let expiry = began + lifetime;
            let due = expiry.min(self.idle_due(idle_timeout));
            // INVARIANT: what is asked after a right was taken away is decided without it, so the policy is looked at before
            // the client's next message, whichever came to this task first.
            tokio::select! {
                biased;
                _ = policy.changed() => self.renew(),
                goodbye = std::future::poll_fn(|cx| self.poll(cx)) => return goodbye,
                _ = drain.changed() => {}
                _ = killed.changed() => {}
                () = sleep_until(due) => {}
            }
            let cut = *killed.borrow_and_update();
            if let Some(cut) = cut {
                self.end(Ending::Killed, b"57P01", cut.words());
            } else if Instant::now() >= expiry {
                self.end(Ending::Expired, b"57P01", "the session reached its greatest age");
            } else {
                self.judge_idleness(idle_timeout);
            }
            let drain = *drain.borrow();
            if drain == Drain::Cut || (drain == Drain::Finish && self.at_rest()) {
                self.end(Ending::Drained, b"57P01", "wardline is stopping");
            }
            if let Some(goodbye) = self.goodbye.take() {
                return Ok(goodbye);
            }
        }
    }

    /// Something was asked.
    fn stir(&mut self, at: Micros) {
        self.active = Instant::now();
        self.gate.session().pulse.beat(at);
    }

    /// Returns when idleness is to be judged: when the client is to be warned, then when the session ends.
    fn idle_due(&self, idle_timeout: Duration) -> Instant {
        let end = self.active + idle_timeout;
        if self.warned == Some(self.active) { end } else { end - self.idle_warning(idle_timeout) }
    }

    fn idle_warning(&self, idle_timeout: Duration) -> Duration {
        self.shared.config.limits.idle_warning.min(idle_timeout / 2)
    }

    /// Warns a client that asks nothing, and ends its session when it still does not.
    fn judge_idleness(&mut self, idle_timeout: Duration) {
        if Instant::now() < self.idle_due(idle_timeout) {
            return;
        }
        if !self.quiet() {
            // Whoever waits for an answer is not idle.
            self.active = Instant::now();
        } else if self.active.elapsed() >= idle_timeout {
            self.end(Ending::Idle, b"57P05", "nothing was asked for the idle timeout");
        } else {
            let words = format!(
                "this session ends in {} s unless something is asked",
                self.idle_warning(idle_timeout).as_secs_f64().ceil()
            );
            let mut notice = Vec::new();
            WireError::new(Severity::Notice, b"57P05", words).encode(&mut notice);
            self.outbox.push(&notice);
            self.warned = Some(self.active);
        }
    }

    /// Decides again whether the session may be there at all.
    fn renew(&mut self) {
        self.gate.renew(self.shared.control.snapshot());
        // What is protected comes with the configuration, as the policy does. A resource that moved is another one.
        let configured = self.shared.control.resource(&self.target.id.0);
        if let Some(configured) = configured.filter(|configured| configured.is_at(&self.target)) {
            self.catalogue = self.shared.catalogues.slot(&configured);
            self.target = configured;
        }
        let need = model::Need { action: Action::Connect, object: model::Object::Resource };
        let at = self.shared.control.now();
        let decision = self.gate.decide_one(need, at);
        if decision.verdict == model::Verdict::Deny {
            let person = self.gate.session().principal.id;
            // Where a policy forbids it, that is why, whatever else is over.
            let parting =
                decision.reasons.is_empty().then(|| self.shared.control.parting(person, &self.target.id));
            let (words, hint) = match parting.flatten() {
                Some(parting) => (Cow::Owned(parting.words), Some(parting.hint)),
                None => {
                    let remedy = lessons::remedy(&self.shared.control.snapshot(), person, &decision, at);
                    (Cow::Borrowed("the right to this session was withdrawn"), remedy)
                }
            };
            self.end(Ending::Revoked, b"57P01", &words);
            if let (Some(hint), Some(Goodbye { words, .. })) = (hint, &mut self.goodbye) {
                *words = words.take().map(|words| words.hint(hint));
            }
        }
    }

    fn end(&mut self, ending: Ending, code: &[u8; 5], message: &str) {
        if self.goodbye.is_none() {
            let words = Some(WireError::new(Severity::Fatal, code, message));
            self.goodbye = Some(Goodbye { ending, words });
        }
    }

    /// Nothing is asked and not answered.
    fn quiet(&self) -> bool {
        self.track.expected.is_empty() && self.stalled.is_none() && self.outbox.is_empty()
    }

    fn at_rest(&self) -> bool {
        self.quiet() && self.status == Status::Idle
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Goodbye, Failure>> {
        loop {
            let mut moved = self.poll_stalled(cx)?;
            moved |= self.poll_refreshing(cx);
            moved |= self.poll_release(cx)?;
            moved |= self.asked(self.shared.control.now())?;
            moved |= self.poll_forward(cx)?;
            moved |= self.poll_answers(cx)?;
            moved |= self.poll_release(cx)?;
            moved |= self.poll_requests(cx)?;
            let finishing = *self.shared.drain.borrow() != Drain::No && self.at_rest();
            if finishing {
                self.end(Ending::Drained, b"57P01", "wardline is stopping");
            }
            if let Some(goodbye) = self.goodbye.take() {
                return Poll::Ready(Ok(goodbye));
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn poll_refreshing(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(refreshing) = self.refreshing.as_mut() else { return false };
        if refreshing.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.refreshing = None;
        if self.catalogue.is_fresh() {
            self.refresh_tried = None;
        }
        true
    }

    /// Writes to the client what may leave.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            let bytes = self.outbox.releasable(cx).map_err(Failure::Trail)?;
            if bytes.is_empty() {
                break;
            }
            match Pin::new(&mut self.client).poll_write(cx, bytes) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(Failure::Client(error)),
                Poll::Ready(Ok(0)) => return Err(Failure::Client(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.outbox.wrote(count);
                    moved = true;
                }
            }
        }
        match Pin::new(&mut self.client).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(Failure::Client(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(moved),
        }
    }

    /// Writes to the resource, unless a stalled message will follow at once. Room for more counts as movement: the
    /// client's next message may be here already.
    fn poll_forward(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let waits = self.upbox.len();
        if self.upbox.is_idle() || (self.stalled.is_some() && !self.awaits_answer()) {
            return Ok(false);
        }
        match self.upbox.poll_write(&mut self.upstream, cx) {
            Poll::Ready(Err(error)) => Err(Failure::Upstream(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(self.upbox.len() < waits),
        }
    }

    /// Returns whether something sent makes the resource answer without more.
    fn awaits_answer(&self) -> bool {
        use super::track::Expect;
        self.track.expected.iter().any(|e| {
            matches!(
                e,
                Expect::Query { .. } | Expect::RefusedQuery { .. } | Expect::Sync | Expect::Call { .. }
            )
        }) || self.upbox.len() > UPSTREAM_BACKLOG_BYTES
    }

    /// Returns whether the resource may be about to read copied data: then it would take anything else for a mistake
    /// and swallow it, and no answer would belong to its question any more.
    fn awaits_copy(&self) -> bool {
        self.copying.is_none() && self.copy_ahead.is_some_and(|number| self.running.contains_key(&number))
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let busy = self.stalled.is_some()
            || (self.awaits_copy() && self.inbox.bytes().len() > UPSTREAM_BACKLOG_BYTES)
            || self.refreshing.is_some()
            || self.leaving
            || self.names_ahead
            || self.upbox.len() > UPSTREAM_BACKLOG_BYTES
            || self.track.expected.len() > PIPELINE_MAX;
        if busy {
            return Ok(false);
        }
        match self.inbox.poll_fill(&mut self.client, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(Failure::Client(error)),
            Poll::Ready(Ok(0)) => {
                self.goodbye = Some(Goodbye { ending: Ending::ClientLeft, words: None });
                Ok(true)
            }
            Poll::Ready(Ok(_)) => Ok(true),
        }
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while self.outbox.len() < self.shared.config.limits.hold_window_bytes {
            match self.answers.poll_fill(&mut self.upstream, cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(Failure::Upstream(error)),
                Poll::Ready(Ok(0)) => {
                    return Err(Failure::Upstream(std::io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(_)) => {
                    self.answered()?;
                    moved = true;
                }
            }
        }
        Ok(moved)
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let Some(stalled) = self.stalled.as_mut() else { return Ok(false) };
        let Poll::Ready(permit) = Pin::new(&mut stalled.admitting).poll(cx) else { return Ok(false) };
        let permit = permit.map_err(Failure::Trail)?;
        let Some(stalled) = self.stalled.take() else { return Ok(false) };
        match stalled.void {
            None => self.proceed(stalled.then, permit)?,
            Some(state) => self.drop_stalled(state, permit)?,
        }
        Ok(true)
    }

    /// Takes an operation up, and returns the number by which its answers find it.
    fn open(&mut self, permit: Permit, inspection: Option<Arc<Inspection>>) -> u64 {
        self.operations += 1;
        let window = self.shared.config.limits.hold_window_bytes as u64;
        // A read has no entry until its first window is full.
        let progress_at = if permit.withholds() { u64::MAX } else { window };
        let running = Running {
            permit,
            inspection,
            rows: 0,
            bytes: 0,
            progress_at,
            failed: None,
            executed: false,
            awaited: 0,
            renamed: self.track.renamed,
            results: None,
            untold: 0,
            copied: 0,
        };
        self.running.insert(self.operations, running);
        self.operations
    }

    /// Records what came of an operation, and withholds its answers until that is durable.
    fn settle(&mut self, number: u64, outcome: Outcome, detail: Option<&'static str>) -> Result<(), Failure> {
        let Some(running) = self.running.remove(&number) else { return Ok(()) };
        let restated = self.restated(number, outcome == Outcome::Completed);
        let detail = restated.as_deref().or(detail);
        let mut report = Report { outcome: Some(outcome), detail, ..running.report() };
        // What is not followed may have told something without a row: in a notice, a setting, how long it took.
        let runs = running.executed && running.results.as_ref().is_some_and(|results| results.runs());
        report.unresolved = report.unresolved.map(|rows| rows.max(u64::from(runs)));
        let withheld = running.permit.owes();
        let now = self.shared.control.now();
        let pending = self.gate.settle(running.permit, &report, now).map_err(Failure::Trail)?;
        if withheld {
            self.outbox.gate(pending);
        }
        let latest = running.renamed == self.track.renamed;
        self.applied(running.inspection.as_deref(), latest && outcome == Outcome::Completed);
        Ok(())
    }

    /// Settles what never got an answer. A read that was sent and not answered is recorded too. Returns whether the
    /// entries are on their way.
    fn settle_all(&mut self, detail: Option<&'static str>) -> bool {
        let mut numbers: Vec<u64> = self.running.keys().copied().collect();
        numbers.sort_unstable();
        let withheld = self.running.values().any(|running| running.permit.owes());
        let held = self.outbox.held();
        for number in numbers {
            // What is withheld waits for all of these entries, whichever of them it belongs to.
            self.outbox.hold_from(held);
            if let Err(failure) = self.settle(number, Outcome::Unknown, detail) {
                tracing::warn!(%failure, "an operation could not be settled");
                return false;
            }
        }
        if withheld {
            self.outbox.unhold();
        }
        true
    }

    /// Says what is left to say, within a deadline, and closes both connections. What is withheld goes out only if it
    /// is `kept`, and when its entries are durable. With `halt` the resource is told to stop what it does.
    async fn part(mut self, words: Option<WireError>, kept: bool, halt: bool) {
        if !kept {
            self.outbox.cut();
        }
        if let Some(words) = words.filter(|_| self.passing.0 == 0) {
            let mut bytes = Vec::new();
            words.encode(&mut bytes);
            self.outbox.push(&bytes);
        }
        if halt {
            // First: what runs at the resource does not wait for a client that does not read.
            metrics::counter!("gateway_sessions_halted_total").increment(1);
            if timeout(HALT_TIMEOUT, dial::halt(&mut self.upstream, &self.cancel)).await.is_err() {
                let session = self.gate.session();
                tracing::warn!(resource = %session.resource, "the resource did not stop what an ended session ran");
            }
        } else {
            self.upbox.housekeeping(Housekeeping::Terminate, b"X\0\0\0\x04");
        }
        let farewell = async {
            let flushed = std::future::poll_fn(|cx| match self.poll_release(cx) {
                Ok(_) if self.outbox.is_empty() => Poll::Ready(()),
                Ok(_) => Poll::Pending,
                Err(_) => Poll::Ready(()),
            });
            flushed.await;
            let _ = self.client.shutdown().await;
            if !halt {
                let _ = std::future::poll_fn(|cx| self.upbox.poll_write(&mut self.upstream, cx)).await;
                let _ = self.upstream.shutdown().await;
            }
        };
        let _ = timeout(LAST_WORDS_TIMEOUT, farewell).await;
    }
}

/// What the client is told when a session breaks. Never a cause: only whose side.
fn last_words(failure: &Failure) -> (Ending, Option<WireError>) {
    let fatal = |code: &[u8; 5], text: &str| Some(WireError::new(Severity::Fatal, code, text));
    match failure {
        Failure::Client(_) => (Ending::ClientLeft, None),
        Failure::ClientMalformed(_) | Failure::ClientSilent => (
            Ending::Unsupported,
            fatal(b"08P01", "the message is not of the PostgreSQL protocol, or over a limit"),
        ),
        Failure::Upstream(_)
        | Failure::UpstreamMalformed(_)
        | Failure::UpstreamLogin(_)
        | Failure::UpstreamQuery(_)
        | Failure::UpstreamSilent => {
            (Ending::UpstreamLeft, fatal(b"08006", "the connection to the resource ended"))
        }
        Failure::Trail(_) => {
            (Ending::TrailLost, fatal(b"58030", "access is stopped: the trail cannot record"))
        }
        Failure::Unsupported(what) => (Ending::Unsupported, fatal(b"0A000", what)),
        Failure::Ours(_) => (Ending::Unsupported, fatal(b"0A000", "wardline cannot protect this session")),
    }
}

/// Something without a text of its own, such as a call by number or a fetch by portal.
#[derive(Debug)]
struct Plain {
    action: Action,
    command: &'static str,
    statement: String,
    objects: Box<[Box<str>]>,
}

impl Subject for Plain {
    fn action(&self) -> Action {
        self.action
    }
    fn command(&self) -> &str {
        self.command
    }
    fn statement(&self) -> &str {
        &self.statement
    }
    fn objects(&self) -> &[Box<str>] {
        &self.objects
    }
    fn literals(&self) -> &[u8] {
        &[]
    }
}

impl Subject for Inspection {
    fn action(&self) -> Action {
        self.action
    }
    fn command(&self) -> &str {
        &self.command
    }
    fn statement(&self) -> &str {
        &self.statement
    }
    fn objects(&self) -> &[Box<str>] {
        &self.objects
    }
    fn literals(&self) -> &[u8] {
        &self.literals
    }
}

/// Returns what a statement's text is when it could not be inspected: nothing that the record may hold.
fn state(text: &str) -> SqlState {
    SqlState(text.as_bytes().first_chunk::<5>().copied().unwrap_or(*b"XX000"))
}

/// The time of a record, as the session's control says it.
fn now<C: Control>(relay: &Relay<C>) -> Micros {
    relay.shared.control.now()
}

#[cfg(test)]
mod tests;
