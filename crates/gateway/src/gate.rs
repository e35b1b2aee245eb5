//! The enforcement point of one session: decides, records, and only then permits.
//!
//! INVARIANT: [`Gate::admit`] is the only maker of a [`Permit`]. A permit for something that may change the
//! resource exists only once its entry is durable; a permit for a proven read is given at once, and its results
//! are withheld until [`Gate::settle`] or [`Gate::progress`] made its entry durable (`outbox`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use model::{Action, Decision, Kind, Micros, Need, OperationId, Outcome, Phase, Principal, Verdict};
use policy::Snapshot;
use trail::{Pending, Sealer, Trail};

use crate::limits::DECISIONS_MAX;
use crate::session::Session;

/// What an operation is about, as the record says it.
pub(crate) trait Subject: Send + Sync + std::fmt::Debug {
    fn action(&self) -> Action;
    fn command(&self) -> &str;
    /// Without literals.
    fn statement(&self) -> &str;
    fn objects(&self) -> &[Box<str>];
    /// The literals; sealed before they are recorded.
    fn literals(&self) -> &[u8];
}

/// One thing asked of the resource.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) subject: Arc<dyn Subject>,
    /// Bound parameters as on the wire; sealed before they are recorded.
    pub(crate) parameters: Vec<u8>,
    /// It may change something: recorded before it is sent.
    pub(crate) changes: bool,
}

/// Proof that an operation is allowed and, if it may change something, durably recorded. Spent by settling.
///
/// Only [`Gate::admit`] makes one. Nobody can write it down:
///
/// ```compile_fail,E0451
/// fn forge(of: gateway::Permit) -> gateway::Permit {
///     gateway::Permit { recorded: true, ..of }
/// }
/// ```
///
/// copy it:
///
/// ```compile_fail,E0277
/// fn copied<T: Clone>(_: &T) {}
/// fn forge(of: &gateway::Permit) {
///     copied(of)
/// }
/// ```
///
/// or get it for nothing, from a default or from another value:
///
/// ```compile_fail,E0277
/// fn forge<T: Default>() -> T {
///     T::default()
/// }
/// let permit: gateway::Permit = forge();
/// ```
///
/// ```compile_fail,E0277
/// fn forge(receipt: trail::Receipt) -> gateway::Permit {
///     receipt.into()
/// }
/// ```
///
/// What is around these lines does compile, so it is the forging that does not:
///
/// ```
/// fn passed_on(permit: gateway::Permit, _gate: &gateway::Gate, _receipt: trail::Receipt) -> gateway::Permit {
///     permit
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Permit {
    id: OperationId,
    operation: Operation,
    decision: Arc<Decision>,
    since: Instant,
    /// An entry of this operation is on the trail already.
    recorded: bool,
}

impl Permit {
    /// Returns whether the results must be withheld until an entry is durable.
    pub(crate) fn withholds(&self) -> bool {
        !self.recorded
    }

    /// Takes the bound parameters out: they are recorded, or for another operation in the place of this one.
    pub(crate) fn take_parameters(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.operation.parameters)
    }
}

/// Proof that policy allows a statement. Only [`Gate::allows`] makes one.
#[derive(Debug)]
pub(crate) struct Allowed(());

/// What [`Gate::admit`] answers.
#[derive(Debug)]
pub(crate) enum Admission {
    /// A proven read: forward it now, record it before its results leave.
    Now(Permit),
    /// May change something: forward it when this resolves.
    Recorded(Admitting),
    /// Not allowed; the refusal's entry is on its way.
    Refused(Pending),
}

/// An operation whose entry is on its way to the disk.
#[derive(Debug)]
pub(crate) struct Admitting {
    pending: Pending,
    permit: Option<Permit>,
}

impl Future for Admitting {
    type Output = Result<Permit, trail::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.pending).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(_receipt)) => {
                let mut permit = self.permit.take().expect("a future is not polled after it was ready");
                permit.recorded = true;
                permit.take_parameters();
                Poll::Ready(Ok(permit))
            }
        }
    }
}

#[derive(Debug)]
struct Remembered {
    needs: Box<[Need]>,
    decision: Arc<Decision>,
}

/// The enforcement point of one session. The only maker of a [`Permit`], and nothing outside of the gateway makes one
/// admit:
///
/// ```compile_fail,E0624
/// fn around(gate: &mut gateway::Gate) {
///     let _ = gate.admit(todo!(), &[], model::Micros(0));
/// }
/// ```
///
/// ```compile_fail,E0624
/// let _ = gateway::Gate::new(todo!(), todo!(), todo!());
/// ```
#[derive(Debug)]
pub struct Gate {
    session: Arc<Session>,
    trail: Trail,
    sealer: Sealer,
    snapshot: Arc<Snapshot>,
    decisions: Vec<Remembered>,
    /// The second in which `decisions` were made: policies may look at the time.
    second: u64,
    /// What protected values are seen, as decided in that second.
    sight: Option<Sight>,
    operations: u64,
}

/// Which protected values of a resource somebody sees as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Everything, also what nobody classified.
    pub(crate) everything: bool,
    /// A bit for each class.
    classes: u32,
}

impl Sight {
    /// Tells whether values of the class are seen.
    pub(crate) fn sees(self, class: phi::Class) -> bool {
        self.everything || self.classes & (1 << class as u32) != 0
    }
}

impl Gate {
    pub(crate) fn new(session: Arc<Session>, trail: Trail, snapshot: Arc<Snapshot>) -> Gate {
        let sealer = trail.sealer();
        Gate {
            session,
            trail,
            sealer,
            snapshot,
            decisions: Vec::new(),
            second: 0,
            sight: None,
            operations: 0,
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Takes a new policy; everything is decided again.
    pub(crate) fn renew(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshot = snapshot;
        self.decisions = Vec::new();
        self.sight = None;
    }

    /// Tells whether a permit was given by the policy in force.
    pub(crate) fn is_current(&self, permit: &Permit) -> bool {
        permit.decision.policy_version == self.snapshot.version()
    }

    /// Decides whether all needs are permitted now.
    pub(crate) fn decide(&mut self, needs: &[Need], at: Micros) -> Arc<Decision> {
        let second = at.0 / 1_000_000;
        if self.second != second {
            self.second = second;
            self.decisions.clear();
            self.sight = None;
        }
        if let Some(known) = self.decisions.iter().find(|known| *known.needs == *needs) {
            return known.decision.clone();
        }
        let session = &self.session;
        let decision = Arc::new(decide(&self.snapshot, session, &session.principal, needs, at));
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions.clear();
        }
        self.decisions.push(Remembered { needs: needs.into(), decision: decision.clone() });
        decision
    }

    /// Decides which protected values are seen as they are.
    pub(crate) fn sight(&mut self, at: Micros) -> Sight {
        let everything = [Need { action: Action::Unmask, object: model::Object::Resource }];
        let everything = self.decide(&everything, at).verdict == Verdict::Allow;
        if let Some(sight) = self.sight {
            return sight;
        }
        let classes = phi::Class::ALL.into_iter().filter(|class| {
            if everything {
                return true;
            }
            let object = model::Object::Class(class.name().into());
            let needs = [Need { action: Action::Unmask, object }];
            let session = &self.session;
            decide(&self.snapshot, session, &session.principal, &needs, at).verdict == Verdict::Allow
        });
        let classes = classes.fold(0, |classes, class| classes | 1 << class as u32);
        *self.sight.insert(Sight { everything, classes })
    }

    /// Decides whether a statement may be prepared; nothing is executed by that, so nothing is recorded.
    pub(crate) fn allows(&mut self, needs: &[Need], at: Micros) -> Option<Allowed> {
        match self.decide(needs, at).verdict {
            Verdict::Allow => Some(Allowed(())),
            Verdict::Deny => None,
        }
    }

    /// Records a statement that is refused for what it is, not for a policy: it cannot be read, or has no name.
    ///
    /// # Errors
    /// When the trail cannot take the entry.
    pub(crate) fn reject(
        &mut self,
        command: &str,
        reason: &str,
        state: model::SqlState,
        at: Micros,
    ) -> Result<Pending, trail::Error> {
        self.operations += 1;
        let mut record = self.session.record(Kind::Operation, at);
        record.operation = Some(OperationId(self.operations));
        record.phase = Some(Phase::Refused);
        record.command = Some(command.into());
        record.outcome = Some(Outcome::Failed(state));
        record.detail = Some(reason.into());
        self.trail.record_urgent(&record)
    }

    /// Decides, records what must be recorded first, and permits.
    ///
    /// # Errors
    /// When the trail cannot take the entry: the operation must not be sent.
    pub(crate) fn admit(
        &mut self,
        operation: Operation,
        needs: &[Need],
        at: Micros,
    ) -> Result<Admission, trail::Error> {
        let decision = self.decide(needs, at);
        self.operations += 1;
        let id = OperationId(self.operations);
        let permit = Permit { id, operation, decision, since: Instant::now(), recorded: false };
        match permit.decision.verdict {
            Verdict::Deny => {
                let report = Report { outcome: Some(Outcome::Refused), ..Report::default() };
                let pending = self.append(&permit, Phase::Refused, &report, at)?;
                Ok(Admission::Refused(pending))
            }
            Verdict::Allow if permit.operation.changes => {
                let pending = self.append(&permit, Phase::Admitted, &Report::default(), at)?;
                Ok(Admission::Recorded(Admitting { pending, permit: Some(permit) }))
            }
            Verdict::Allow => Ok(Admission::Now(permit)),
        }
    }

    /// Records that more of a read is about to be released; nothing may leave until this resolves.
    ///
    /// # Errors
    /// When the trail cannot take the entry: nothing more may be released.
    pub(crate) fn progress(
        &mut self,
        permit: &mut Permit,
        rows: u64,
        bytes: u64,
        at: Micros,
    ) -> Result<Pending, trail::Error> {
        let report = Report { rows: Some(rows), bytes: Some(bytes), ..Report::default() };
        let pending = self.append(permit, Phase::Progress, &report, at)?;
        permit.recorded = true;
        permit.take_parameters();
        Ok(pending)
    }

    /// Records what came of an operation. A read's results may leave when this resolves.
    ///
    /// # Errors
    /// When the trail cannot take the entry.
    pub(crate) fn settle(
        &mut self,
        permit: Permit,
        report: &Report<'_>,
        at: Micros,
    ) -> Result<Pending, trail::Error> {
        let phase = if permit.recorded { Phase::Settled } else { Phase::Complete };
        self.append(&permit, phase, report, at)
    }

    fn append(
        &self,
        permit: &Permit,
        phase: Phase,
        report: &Report<'_>,
        at: Micros,
    ) -> Result<Pending, trail::Error> {
        let Operation { subject, parameters, changes: _ } = &permit.operation;
        let mut record = self.session.record(Kind::Operation, at);
        record.operation = Some(permit.id);
        record.phase = Some(phase);
        record.action = Some(subject.action());
        record.command = Some(subject.command().into());
        record.statement = Some(subject.statement().into());
        record.objects = subject.objects().iter().map(|o| (&**o).into()).collect();
        let first = !permit.recorded;
        if first && !(subject.literals().is_empty() && parameters.is_empty()) {
            let plain = sealed_plaintext(subject.literals(), parameters);
            record.sealed = Some(self.sealer.seal(self.session.id.0, permit.id.0, &plain).into());
        }
        record.verdict = Some(permit.decision.verdict);
        record.policies = permit.decision.reasons.iter().map(|p| (&*p.0).into()).collect();
        record.policy_version = Some(permit.decision.policy_version);
        record.rows = report.rows;
        record.bytes = report.bytes;
        record.outcome = report.outcome;
        if report.outcome.is_some() {
            let elapsed = permit.since.elapsed().as_micros();
            record.duration_us = Some(u64::try_from(elapsed).unwrap_or(u64::MAX));
        }
        record.detail = report.detail.map(Into::into);
        match phase {
            Phase::Refused => self.trail.record_urgent(&record),
            Phase::Complete | Phase::Admitted | Phase::Progress | Phase::Settled => {
                self.trail.record(&record)
            }
        }
    }
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report<'a> {
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) detail: Option<&'a str>,
}

/// Asks policy directly, as at the opening of a session.
pub(crate) fn decide(
    snapshot: &Snapshot,
    session: &Session,
    principal: &Principal,
    needs: &[Need],
    at: Micros,
) -> Decision {
    let context = model::Context { address: session.peer.ip(), at };
    snapshot.decide(principal, &session.resource, needs, &context)
}

/// Lays out what is sealed: the length of the literals (u32, big-endian), the literals as `sql::normalise` encodes
/// them, then the bound parameters as on the wire (format codes, count, values). See docs/formats/record.md.
fn sealed_plaintext(literals: &[u8], parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(literals.len()).expect("a statement is far below 4 GiB");
    let mut plain = Vec::with_capacity(4 + literals.len() + parameters.len());
    plain.extend_from_slice(&length.to_be_bytes());
    plain.extend_from_slice(literals);
    plain.extend_from_slice(parameters);
    plain
}
