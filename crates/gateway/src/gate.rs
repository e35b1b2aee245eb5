//! The enforcement point of one session: decides, records, and only then permits.
//!
//! INVARIANT: [`Gate::admit`] is the only maker of a [`Permit`]. A permit for something that may change the
//! resource exists only once its entry is durable; a permit for a proven read is given at once, and its results
//! are withheld until [`Gate::settle`] or [`Gate::progress`] made its entry durable (`outbox`).

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use model::{
    Action, Decision, Kind, Micros, Need, OperationId, Outcome, Phase, Principal, ResourceId, Verdict,
};
use policy::Snapshot;
use trail::{Pending, Sealer, Trail};

use crate::about::About;
use crate::limits::{DECISIONS_MAX, PATIENTS_PER_ENTRY_MAX};
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
    /// Whom it is about, and what of protected columns it returns.
    pub(crate) about: About,
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
    /// What the session was for when it was decided.
    purpose: Purpose,
    /// The emergency access that its person had then.
    emergency: Option<u64>,
    /// An entry of this operation is on the trail already.
    recorded: bool,
}

/// What a session is for, one of the configured purposes; `None` where its person did not say.
pub(crate) type Purpose = Option<Arc<str>>;

impl Permit {
    /// Returns whether the results must be withheld until an entry is durable.
    pub(crate) fn withholds(&self) -> bool {
        !self.recorded
    }

    /// Returns whether it is about patients whom no entry names yet: what is theirs must be withheld as well.
    pub(crate) fn owes(&self) -> bool {
        !self.recorded || self.operation.about.unnamed() > 0
    }

    /// Returns whom the operation is about, to be added to.
    pub(crate) fn about(&mut self) -> &mut About {
        &mut self.operation.about
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

/// What the objects of a resource stand over: a view over the relations it reads, a table over its partitions.
pub(crate) trait Structure {
    /// A number that another structure does not have.
    fn version(&self) -> u64;
    /// Returns what is done to objects that are not named when the needs are met.
    fn beneath(&self, needs: &[Need]) -> Vec<Need>;
}

#[derive(Debug)]
struct Remembered {
    needs: Box<[Need]>,
    /// Of the structure; 0 as well where nothing depends on it.
    version: u64,
    decision: Arc<Decision>,
}

/// The enforcement point of one session. The only maker of a [`Permit`], and nothing outside of the gateway makes one
/// admit:
///
/// ```compile_fail,E0624
/// fn around(gate: &mut gateway::Gate) {
///     let _ = gate.admit(todo!(), &[], todo!(), model::Micros(0));
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
    /// The policy may forbid something of the resource's relations, also where they are not named.
    forbids: bool,
    decisions: Vec<Remembered>,
    /// The second in which `decisions` were made: policies may look at the time.
    second: u64,
    /// What protected values are seen, as decided in that second.
    sight: Option<Sight>,
    /// What the session is for now.
    purpose: Purpose,
    /// The last denial would have been none with a second factor shown now.
    fresh_factor_would_do: bool,
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
    /// Asks policy class by class, unless everything is seen.
    pub(crate) fn decided(everything: bool, decide: impl Fn(&[Need]) -> Verdict) -> Sight {
        let classes = phi::Class::ALL
            .into_iter()
            .filter(|class| everything || decide(&[unmask_of(*class)]) == Verdict::Allow);
        Sight { everything, classes: classes.fold(0, |classes, class| classes | 1 << class as u32) }
    }

    /// Tells whether values of the class are seen.
    pub(crate) fn sees(self, class: phi::Class) -> bool {
        self.everything || self.classes & (1 << class as u32) != 0
    }
}

/// Returns what seeing values of a class needs.
pub(crate) fn unmask_of(class: phi::Class) -> Need {
    Need { action: Action::Unmask, object: model::Object::Class(class.name().into()) }
}

impl Gate {
    pub(crate) fn new(session: Arc<Session>, trail: Trail, snapshot: Arc<Snapshot>) -> Gate {
        let sealer = trail.sealer();
        let forbids = snapshot.may_forbid(&session.resource);
        let purpose = session.purpose_first();
        Gate {
            session,
            trail,
            sealer,
            snapshot,
            forbids,
            decisions: Vec::new(),
            second: 0,
            sight: None,
            purpose,
            fresh_factor_would_do: false,
            operations: 0,
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Tells whether what was denied last would be allowed to whoever showed a second factor now.
    pub(crate) fn fresh_factor_would_do(&self) -> bool {
        self.fresh_factor_would_do
    }

    /// Finds that out, for a denial that was just made.
    fn note_denied(&mut self, needs: &[Need], at: Micros) {
        let session = &self.session;
        let fresh = model::Context { factor_at: Some(at), ..session.context(&self.purpose, at) };
        let decided = self.snapshot.decide(&session.principal, &session.resource, needs, &fresh);
        self.fresh_factor_would_do = decided.verdict == Verdict::Allow;
    }

    /// Takes a new policy; everything is decided again.
    pub(crate) fn renew(&mut self, snapshot: Arc<Snapshot>) {
        self.forbids = snapshot.may_forbid(&self.session.resource);
        self.snapshot = snapshot;
        self.decisions = Vec::new();
        self.sight = None;
    }

    /// Returns what the session is for.
    pub(crate) fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// Returns the purpose of that name; if it is not one that may be stated, which ones are, in words.
    pub(crate) fn purpose_named(&self, name: &str) -> Result<Arc<str>, String> {
        self.snapshot.purpose(name).ok_or_else(|| purposes_in_words(&self.snapshot))
    }

    /// Takes what the session is for from now on; everything is decided again.
    pub(crate) fn state(&mut self, purpose: Purpose) {
        self.session.state(purpose.clone());
        self.purpose = purpose;
        self.decisions = Vec::new();
        self.sight = None;
    }

    /// Tells whether the session's person may take emergency access to its resource.
    pub(crate) fn may_take_emergency(&self) -> bool {
        self.snapshot.may_take_emergency(self.session.principal.id, &self.session.resource)
    }

    fn emergency(&self, at: Micros) -> Option<u64> {
        self.snapshot.emergency(self.session.principal.id, &self.session.resource, at)
    }

    /// Decides what would be answered if the session were for another purpose.
    pub(crate) fn decide_for(&self, purpose: &Purpose, needs: &[Need], at: Micros) -> Decision {
        decide(&self.snapshot, &self.session, needs, purpose, at)
    }

    /// Tells whether decisions need to know what the resource's objects stand over.
    pub(crate) fn asks_about_structure(&self) -> bool {
        self.forbids
    }

    /// Tells whether a permit was given by the policy in force, for what the session is for now.
    pub(crate) fn is_current(&self, permit: &Permit) -> bool {
        permit.decision.policy_version == self.snapshot.version() && permit.purpose == self.purpose
    }

    /// Decides whether all needs are permitted now, and nothing beneath the objects that they name is forbidden.
    pub(crate) fn decide(&mut self, needs: &[Need], structure: &dyn Structure, at: Micros) -> Arc<Decision> {
        let version = if self.forbids { structure.version() } else { 0 };
        self.decision(needs, version, at, |gate| {
            let session = &gate.session;
            let context = session.context(&gate.purpose, at);
            let beneath = |needs: &[Need]| structure.beneath(needs);
            decide_over(&gate.snapshot, &session.principal, &session.resource, needs, &context, beneath)
        })
    }

    /// Decides whether a need that names no object of a structure is permitted now.
    pub(crate) fn decide_one(&mut self, need: Need, at: Micros) -> Arc<Decision> {
        let needs = [need];
        self.decision(&needs, 0, at, |gate| gate.decide_for(&gate.purpose, &needs, at))
    }

    fn decision(
        &mut self,
        needs: &[Need],
        version: u64,
        at: Micros,
        make: impl FnOnce(&Gate) -> Decision,
    ) -> Arc<Decision> {
        let second = at.0 / 1_000_000;
        if self.second != second {
            self.second = second;
            self.decisions.clear();
            self.sight = None;
        }
        if let Some(known) =
            self.decisions.iter().find(|known| known.version == version && *known.needs == *needs)
        {
            return known.decision.clone();
        }
        let decision = Arc::new(make(self));
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions.clear();
        }
        self.decisions.push(Remembered { needs: needs.into(), version, decision: decision.clone() });
        decision
    }

    /// Decides which protected values are seen as they are.
    pub(crate) fn sight(&mut self, at: Micros) -> Sight {
        let everything = Need { action: Action::Unmask, object: model::Object::Resource };
        let everything = self.decide_one(everything, at).verdict == Verdict::Allow;
        if let Some(sight) = self.sight {
            return sight;
        }
        let sight = Sight::decided(everything, |needs| self.decide_for(&self.purpose, needs, at).verdict);
        *self.sight.insert(sight)
    }

    /// Decides whether a statement may be prepared; nothing is executed by that, so nothing is recorded.
    pub(crate) fn allows(
        &mut self,
        needs: &[Need],
        structure: &dyn Structure,
        at: Micros,
    ) -> Option<Allowed> {
        match self.decide(needs, structure, at).verdict {
            Verdict::Allow => Some(Allowed(())),
            Verdict::Deny => {
                self.note_denied(needs, at);
                None
            }
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
        record.purpose = self.purpose.as_deref().map(Into::into);
        record.emergency = self.emergency(at);
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
        structure: &dyn Structure,
        at: Micros,
    ) -> Result<Admission, trail::Error> {
        let decision = self.decide(needs, structure, at);
        self.operations += 1;
        let id = OperationId(self.operations);
        let purpose = self.purpose.clone();
        let (since, emergency) = (Instant::now(), self.emergency(at));
        let mut permit = Permit { id, operation, decision, since, purpose, emergency, recorded: false };
        match permit.decision.verdict {
            Verdict::Deny => {
                self.note_denied(needs, at);
                let report = Report { outcome: Some(Outcome::Refused), ..Report::default() };
                let pending = self.append(&mut permit, Phase::Refused, &report, at)?;
                Ok(Admission::Refused(pending))
            }
            Verdict::Allow if permit.operation.changes => {
                let pending = self.append(&mut permit, Phase::Admitted, &Report::default(), at)?;
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
        report: &Report<'_>,
        at: Micros,
    ) -> Result<Pending, trail::Error> {
        loop {
            let pending = self.append(permit, Phase::Progress, report, at)?;
            permit.recorded = true;
            permit.take_parameters();
            // The last of these entries is durable after the others.
            if permit.operation.about.unnamed() == 0 {
                return Ok(pending);
            }
        }
    }

    /// Records what came of an operation. A read's results may leave when this resolves.
    ///
    /// # Errors
    /// When the trail cannot take the entry.
    pub(crate) fn settle(
        &mut self,
        mut permit: Permit,
        report: &Report<'_>,
        at: Micros,
    ) -> Result<Pending, trail::Error> {
        if permit.operation.about.unnamed() > PATIENTS_PER_ENTRY_MAX {
            // Followed by the entry that the caller waits for.
            let so_far = Report { outcome: None, detail: None, ..*report };
            let _before = self.progress(&mut permit, &so_far, at)?;
        }
        let phase = if permit.recorded { Phase::Settled } else { Phase::Complete };
        self.append(&mut permit, phase, report, at)
    }

    fn append(
        &self,
        permit: &mut Permit,
        phase: Phase,
        report: &Report<'_>,
        at: Micros,
    ) -> Result<Pending, trail::Error> {
        let of = (self.session.id.0, permit.id.0);
        let patients = permit.operation.about.take(&self.sealer, of);
        let Operation { subject, parameters, changes: _, about } = &permit.operation;
        let mut record = self.session.record(Kind::Operation, at);
        record.purpose = permit.purpose.as_deref().map(Into::into);
        record.emergency = permit.emergency;
        record.operation = Some(permit.id);
        record.phase = Some(phase);
        record.patients = patients;
        record.unresolved = report.unresolved.filter(|rows| *rows > 0);
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
        match phase {
            Phase::Refused => {
                record.detail = report.detail.map(Into::into);
                self.trail.record_urgent(&record)
            }
            Phase::Complete | Phase::Admitted | Phase::Progress | Phase::Settled => {
                about.note(&mut record);
                record.detail = detail(report.detail, about.partly);
                self.trail.record(&record)
            }
        }
    }
}

/// Returns what an entry says in words.
fn detail(detail: Option<&str>, partly: bool) -> Option<Cow<'_, str>> {
    const PARTLY: &str = "what else of protected columns was seen is not known";
    match (detail, partly) {
        (detail, false) => detail.map(Cow::Borrowed),
        (None, true) => Some(PARTLY.into()),
        (Some(detail), true) => Some(format!("{detail}; {PARTLY}").into()),
    }
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report<'a> {
    pub(crate) rows: Option<u64>,
    /// Of these, the ones that are about patients who cannot be told.
    pub(crate) unresolved: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) detail: Option<&'a str>,
}

/// Asks policy about needs, and about what stands beneath the objects that they name.
pub(crate) fn decide_over(
    snapshot: &Snapshot,
    principal: &Principal,
    resource: &ResourceId,
    needs: &[Need],
    context: &model::Context,
    beneath: impl Fn(&[Need]) -> Vec<Need>,
) -> Decision {
    let decision = snapshot.decide(principal, resource, needs, context);
    if decision.verdict == Verdict::Deny || !snapshot.may_forbid(resource) {
        return decision;
    }
    snapshot.forbids(principal, resource, &beneath(needs), context).unwrap_or(decision)
}

/// Asks policy directly, as at the opening of a session.
pub(crate) fn decide(
    snapshot: &Snapshot,
    session: &Session,
    needs: &[Need],
    purpose: &Purpose,
    at: Micros,
) -> Decision {
    snapshot.decide(&session.principal, &session.resource, needs, &session.context(purpose, at))
}

/// Returns which purposes may be stated, for people.
pub(crate) fn purposes_in_words(snapshot: &Snapshot) -> String {
    match snapshot.purposes() {
        [] => "No purposes are configured: leave it out.".to_owned(),
        purposes => {
            let names: Vec<String> = purposes.iter().map(|purpose| format!("`{purpose}`")).collect();
            format!("Purposes are: {}.", names.join(", "))
        }
    }
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
