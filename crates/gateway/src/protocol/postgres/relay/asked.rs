//! The client's side: what is asked, and whether it may be.

use std::sync::Arc;

use model::{Action, Micros, Need, Object, Verdict};
use tokio::time::Instant;

use super::super::buffers::Housekeeping;
use super::super::catalogues::Versioned;
use super::super::codec::{self, Front, Malformed, Target, front_header};
use super::super::mask::{Parameters, Refusal};
use super::super::sql::{Effect, Inspection, Known, SessionEffect, Unreadable};
use super::super::track::{Announced, Closed, Expect, Portal, Statement, is_plain};
use super::masking::{Concerns, Masking};
use super::purpose::parse_of;
use super::refused::FAILING_NAME;
use super::sent::reads_copy;
use super::{Goodbye, Plain, REFRESH_PAUSE, Relay, Stalled};
use crate::control::Control;
use crate::error::{Ending, Failure};
use crate::gate::{Admission, Operation, Subject};
use crate::limits::{
    HELD_PARAMETER_BYTES_MAX, NAMES_MAX, PARAMETER_BYTES_MAX, PIPELINE_MAX, UPSTREAM_BACKLOG_BYTES,
};

/// What is done once a stalled operation has its permit. Its message is still the first of the inbox.
#[derive(Debug)]
pub(super) enum Then {
    Query { inspection: Arc<Inspection>, masking: Option<Arc<Masking>> },
    Bind { portal: Box<[u8]>, statement: Statement, bound: Bound },
    Execute { portal: Box<[u8]>, statement: Option<Statement>, masking: Option<Arc<Masking>> },
    Call,
}

/// How the results of a portal are written, how they are masked, and whom they are about.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) formats: Arc<[i16]>,
    pub(super) masking: Option<Arc<Masking>>,
    pub(super) concerns: Concerns,
}

impl Then {
    pub(super) fn inspection(&self) -> Option<Arc<Inspection>> {
        match self {
            Then::Query { inspection, masking: _ } => Some(inspection.clone()),
            Then::Bind { statement, .. } => statement.inspection.clone(),
            Then::Execute { statement, .. } => statement.as_ref().and_then(|s| s.inspection.clone()),
            Then::Call => None,
        }
    }
}

/// What became of a message.
pub(super) enum Step {
    /// It is dealt with: take the next.
    Done,
    /// It stays the first of the inbox until something is ready.
    Waits,
    /// It stays the first of the inbox until the resource has answered more.
    WaitsForAnswers,
}

/// A text without parameters.
const NO_PARAMETERS: Parameters<'static> = Parameters { wire: &[], types: &[] };

pub(super) fn malformed(error: Malformed) -> Failure {
    Failure::ClientMalformed(error.to_string())
}

impl<C: Control> Relay<C> {
    /// Handles the messages that were read, up to one that must wait.
    pub(super) fn asked(&mut self, at: Micros) -> Result<bool, Failure> {
        let mut moved = false;
        self.names_ahead = false;
        while self.stalled.is_none()
            && self.refreshing.is_none()
            && self.goodbye.is_none()
            && !self.leaving
            && self.upbox.len() <= UPSTREAM_BACKLOG_BYTES
            && self.track.expected.len() <= PIPELINE_MAX
            && !self.awaits_copy()
        {
            if self.copy_passing > 0 {
                let count = self.copy_passing.min(self.inbox.bytes().len());
                if count == 0 {
                    break;
                }
                self.pass_copy(count);
                moved = true;
                continue;
            }
            let limit = self.shared.config.limits.message_bytes_max;
            let Some(header) = front_header(self.inbox.bytes(), limit).map_err(malformed)? else { break };
            if header.kind == Front::CopyData {
                self.copy_passing = header.length;
                continue;
            }
            if self.inbox.bytes().len() < header.length {
                self.inbox.reserve(header.length);
                break;
            }
            let inbox = std::mem::take(&mut self.inbox);
            let frame = inbox.bytes().get(..header.length).unwrap_or_default();
            let step = self.message(header.kind, frame, at);
            self.inbox = inbox;
            match step? {
                Step::Done => self.inbox.take(header.length),
                // What it waits for has not been polled yet: the caller goes round once more.
                Step::Waits => return Ok(true),
                Step::WaitsForAnswers => {
                    self.names_ahead = true;
                    return Ok(moved);
                }
            }
            moved = true;
        }
        Ok(moved)
    }

    /// Passes copied data on while the resource reads it; PostgreSQL ignores it otherwise, and so it is dropped.
    fn pass_copy(&mut self, count: usize) {
        if let Some(running) = self.copying.and_then(|number| self.running.get_mut(&number)) {
            let bytes = self.inbox.bytes().get(..count).unwrap_or_default();
            self.upbox.operation(&running.permit, bytes);
            running.bytes += count as u64;
        }
        self.copy_passing -= count;
        self.inbox.take(count);
        self.active = Instant::now();
    }

    fn message(&mut self, kind: Front, frame: &[u8], at: Micros) -> Result<Step, Failure> {
        if self.skipping && !matches!(kind, Front::Sync | Front::Terminate) {
            return Ok(Step::Done);
        }
        if self.copying.is_some() && !belongs_to_copy(kind) {
            return Err(Failure::ClientMalformed("a message that has no place in copied data".into()));
        }
        if self.awaits_purpose(kind) {
            return Ok(Step::WaitsForAnswers);
        }
        match kind {
            Front::Query => self.query(frame, at),
            Front::Parse => self.parse(frame, at),
            Front::Bind => self.bind(frame, at),
            Front::Execute => self.execute(frame, at),
            Front::FunctionCall => self.call(frame, at),
            Front::Describe => {
                let (Target::Statement(name) | Target::Portal(name)) =
                    codec::target(frame, "Describe").map_err(malformed)?;
                if !is_plain(name) {
                    return self.refuse_name(at);
                }
                self.upbox.housekeeping(Housekeeping::Describe, frame);
                self.track.expected.push_back(Expect::Describe);
                Ok(Step::Done)
            }
            Front::Close => self.close(frame, at),
            Front::Sync => {
                self.skipping = false;
                self.upbox.housekeeping(Housekeeping::Sync, frame);
                // While the resource reads copied data it ignores Sync.
                if self.copying.is_none() {
                    self.track.expected.push_back(Expect::Sync);
                }
                Ok(Step::Done)
            }
            Front::Flush => {
                self.upbox.housekeeping(Housekeeping::Flush, frame);
                Ok(Step::Done)
            }
            Front::CopyDone | Front::CopyFail => {
                if let Some(number) = self.copying.take() {
                    self.upbox.housekeeping(Housekeeping::CopyEnd, frame);
                    // A text of several statements may read more of it.
                    let inspection = self.running.get(&number).and_then(|r| r.inspection.as_ref());
                    if inspection.is_none_or(|inspection| inspection.statements == 1) {
                        self.copy_ahead = None;
                    }
                }
                Ok(Step::Done)
            }
            Front::Terminate if self.quiet() => {
                self.goodbye = Some(Goodbye { ending: Ending::ClientLeft, words: None });
                Ok(Step::Done)
            }
            Front::Terminate => {
                self.upbox.housekeeping(Housekeeping::Terminate, frame);
                self.leaving = true;
                Ok(Step::Done)
            }
            Front::CopyData | Front::Password => {
                Err(Failure::ClientMalformed("a message that has no place here".into()))
            }
        }
    }

    /// Returns what a text means, or `None` while the catalogue is being read.
    fn inspect(&mut self, text: &[u8]) -> Option<Result<Arc<Inspection>, Unreadable>> {
        // While the transaction holds its own changes back, reading would wait for the locks of this very session.
        if !self.redefined && !self.catalogue.is_fresh() && self.may_refresh() {
            self.refresh_catalogue();
            return None;
        }
        let Ok(text) = std::str::from_utf8(text) else {
            return Some(Err(Unreadable {
                message: "the statement is not valid UTF-8".into(),
                position: None,
                sqlstate: "22021",
                reason: super::super::sql::Reason::Syntax,
            }));
        };
        let lineage = self.target.protected.is_some();
        Some(self.shared.verdicts.inspect(&self.catalogue, &self.target.id, text, lineage))
    }

    /// Returns what the resource's objects stand over, as far as it is known: not what this transaction changed.
    pub(super) fn structure(&self) -> Arc<Versioned> {
        if self.redefined { self.catalogue.unknown() } else { self.catalogue.current() }
    }

    fn may_refresh(&self) -> bool {
        self.refresh_tried.is_none_or(|tried| tried.elapsed() > REFRESH_PAUSE)
    }

    /// Starts reading the catalogue again; messages wait for it.
    pub(super) fn refresh_catalogue(&mut self) {
        self.refresh_tried = Some(Instant::now());
        let shared = self.shared.clone();
        let target = self.target.clone();
        let slot = self.catalogue.clone();
        self.refreshing = Some(Box::pin(async move {
            crate::serve::refresh_catalogue(&shared, &slot, &target).await;
        }));
    }

    /// Decides how an inspected text counts in this transaction: a commit of nothing is no change, and nothing is
    /// proven once the transaction changed objects.
    fn changes(&self, inspection: &Inspection, effect: Effect) -> bool {
        let commits = || inspection.session.iter().any(|e| matches!(e, SessionEffect::Commit { .. }));
        match effect {
            Effect::Write => true,
            Effect::Read => self.redefined,
            Effect::Control => self.wrote && commits(),
        }
    }

    fn query(&mut self, frame: &[u8], at: Micros) -> Result<Step, Failure> {
        let text = codec::query(frame).map_err(malformed)?;
        let inspection = match self.inspect(text) {
            None => return Ok(Step::Waits),
            Some(Err(unreadable)) => return self.refuse_query_unreadable(&unreadable, at),
            Some(Ok(inspection)) => inspection,
        };
        if self.executes_uncertain(&inspection) {
            return Ok(Step::WaitsForAnswers);
        }
        if inspection.statements > 0 {
            self.stir(at);
        }
        if let Some((error, pending)) = self.refused_setting(&inspection, at)? {
            self.refuse_query(error, Some(pending));
            return Ok(Step::Done);
        }
        let concerns = self.concerns(Some(&inspection), None, NO_PARAMETERS);
        let mut about = self.about(&concerns);
        let masking = match self.masking_of_run(Some(&inspection), &concerns, at) {
            Ok(masking) => masking,
            Err(refusal) => {
                let pending = self.record_unshowable(inspection, about, at)?;
                self.refuse_query(self.refused(refusal), pending);
                return Ok(Step::Done);
            }
        };
        self.note(&mut about, Some(&inspection), masking.as_deref());
        let admission = {
            let resolved = inspection.resolve(|n| self.track.prepared(n), |n| self.track.cursor(n));
            let changes = self.changes(&inspection, resolved.effect);
            let subject = self.subject(&inspection);
            let operation = Operation { subject, parameters: Vec::new(), changes, about };
            let structure = self.structure();
            self.gate.admit(operation, &resolved.needs, &*structure, at).map_err(Failure::Trail)?
        };
        let then = Then::Query { inspection, masking };
        match admission {
            Admission::Now(permit) => self.sent(then, permit, frame),
            Admission::Recorded(admitting) => {
                self.stalled = Some(Stalled { admitting, then, void: None });
                return Ok(Step::Waits);
            }
            Admission::Refused(pending) => self.refuse_query(self.denied(), Some(pending)),
        }
        Ok(Step::Done)
    }

    /// Returns what the record says of a text: with the objects of what it runs by a name that was given before.
    fn subject(&self, inspection: &Arc<Inspection>) -> Arc<dyn Subject> {
        let run = inspection.session.iter().filter_map(|effect| self.run_by(effect));
        let mut objects: Vec<Box<str>> = run.flat_map(|known| known.objects.to_vec()).collect();
        if objects.is_empty() {
            return inspection.clone();
        }
        objects.extend(inspection.objects.iter().cloned());
        objects.sort_unstable();
        objects.dedup();
        Arc::new(RunsNamed { inspection: inspection.clone(), objects: objects.into() })
    }

    fn parse(&mut self, frame: &[u8], at: Micros) -> Result<Step, Failure> {
        let parsed = codec::parse(frame).map_err(malformed)?;
        let codec::Parse { name, text, user_types, .. } = parsed;
        if !is_plain(name) || name == FAILING_NAME {
            return self.refuse_name(at);
        }
        let inspection = match self.inspect(text) {
            None => return Ok(Step::Waits),
            Some(Ok(inspection)) => inspection,
            Some(Err(unreadable)) => {
                let (error, pending) = self.unreadable(&unreadable, at)?;
                return Ok(self.refuse_parse(name, error, Some(pending)));
            }
        };
        if self.track.statements.len() >= NAMES_MAX || !self.track.has_room(&inspection) {
            return self.refuse_unknown(b"53400", "too many prepared statements in this session", at);
        }
        if let Some((error, pending)) = self.refused_setting(&inspection, at)? {
            return Ok(self.refuse_parse(name, error, Some(pending)));
        }
        let mut resolved = inspection.resolve(|n| self.track.prepared(n), |n| self.track.cursor(n));
        if user_types && !self.catalogue.current().catalogue.all_types_plain() {
            // Checking a parameter of such a type may run code.
            let object = Object::Function { schema: "?".into(), name: "a parameter's type".into() };
            resolved.needs.to_mut().push(Need { action: Action::Execute, object });
        }
        let structure = self.structure();
        let Some(allowed) = self.gate.allows(&resolved.needs, &*structure, at) else {
            let about = self.about(&self.concerns(Some(&inspection), None, NO_PARAMETERS));
            let subject = inspection.clone();
            let operation = Operation { subject, parameters: Vec::new(), changes: true, about };
            let admission =
                self.gate.admit(operation, &resolved.needs, &*structure, at).map_err(Failure::Trail)?;
            return match admission {
                Admission::Refused(pending) => Ok(self.refuse_parse(name, self.denied(), Some(pending))),
                // A second passed between the two questions, and the answer with it: ask again.
                Admission::Now(_) | Admission::Recorded(_) => {
                    Ok(self.refuse_parse(name, self.denied(), None))
                }
            };
        };
        let followed = match &*inspection.lineage {
            [only] => Some(Arc::new(only.clone())),
            _ => None,
        };
        let known = Arc::new(Known {
            lineage: followed,
            needs: resolved.needs.into_owned().into(),
            effect: resolved.effect,
            command: "EXECUTE",
            objects: inspection.objects.clone(),
            changes_catalogue: resolved.changes_catalogue,
        });
        if let Err(refusal) = self.masking(Some(&inspection), &Concerns::default(), at) {
            let about = self.about(&self.concerns(Some(&inspection), None, NO_PARAMETERS));
            let pending = self.record_unshowable(inspection, about, at)?;
            return Ok(self.refuse_parse(name, self.refused(refusal), pending));
        }
        let announced = self.target.protected.as_ref().map(|_| Announced::default());
        let types = if announced.is_some() { parsed.types().collect() } else { Arc::default() };
        let ours = self.stand_in(&inspection).map(|text| parse_of(name, &text));
        let statement =
            Statement { inspection: Some(inspection), known, announced: announced.clone(), types };
        self.upbox.statement(&allowed, ours.as_deref().unwrap_or(frame));
        let previous = self.track.statements.insert(name.into(), statement);
        self.track.expected.push_back(Expect::Parse { name: name.into(), previous });
        if let Some(announced) = announced {
            self.ask_for(name, announced);
        }
        Ok(Step::Done)
    }

    /// Asks what the columns of a prepared statement are.
    fn ask_for(&mut self, name: &[u8], announced: Announced) {
        let mut bytes = Vec::new();
        codec::message(&mut bytes, b'D', |out| {
            out.push(b'S');
            codec::put_cstr(out, name);
        });
        self.upbox.housekeeping(Housekeeping::Describe, &bytes);
        self.track.expected.push_back(Expect::Announce { announced });
    }

    fn bind(&mut self, frame: &[u8], at: Micros) -> Result<Step, Failure> {
        let bind = codec::bind(frame).map_err(malformed)?;
        if !is_plain(bind.portal) || !is_plain(bind.statement) {
            return self.refuse_name(at);
        }
        if self.track.is_uncertain(bind.statement) {
            return Ok(Step::WaitsForAnswers);
        }
        let Some(statement) = self.track.statements.get(bind.statement).cloned() else {
            return self.refuse_missing(b"26000", "prepared statement", bind.statement, at);
        };
        if self.track.portals.len() >= NAMES_MAX {
            return self.refuse_unknown(b"53400", "too many portals in this session", at);
        }
        if statement.inspection.as_ref().is_some_and(|inspection| self.executes_uncertain(inspection)) {
            return Ok(Step::WaitsForAnswers);
        }
        if self.is_outdated(&statement) {
            return self.refuse_outdated(at);
        }
        if let Some(inspection) = &statement.inspection
            && let Some((error, pending)) = self.refused_setting(inspection, at)?
        {
            return Ok(self.refuse_extended(error, Some(pending)));
        }
        let asks = self.target.protected.is_some() || self.gate.asks_about_structure();
        if asks && !self.redefined && !self.catalogue.is_fresh() && self.may_refresh() {
            self.refresh_catalogue();
            return Ok(Step::Waits);
        }
        let given = Parameters { wire: bind.parameters, types: &statement.types };
        let concerns = self.concerns(statement.inspection.as_deref(), Some(&statement.known), given);
        let masking = match self.masking_of_run(statement.inspection.as_deref(), &concerns, at) {
            Ok(masking) => masking,
            Err(refusal) => return self.refuse_statement(&statement, refusal, &concerns, at),
        };
        let protects = self.target.protected.is_some();
        let formats = if protects { bind.results.codes().into() } else { Arc::default() };
        let portal = bind.portal.into();
        let parameters = kept_parameters(&statement, bind.parameter_count, bind.parameters);
        let admission = self.admit_statement(&statement, parameters, (&concerns, masking.as_deref()), at)?;
        let bound = Bound { formats, masking, concerns };
        self.admitted(admission, Then::Bind { portal, statement, bound }, frame)
    }

    /// Returns what a statement runs by names that were given before.
    pub(super) fn runs_of(&self, statement: &Statement) -> Box<[Arc<Known>]> {
        let effects = statement.inspection.iter().flat_map(|inspection| &inspection.session);
        effects.filter_map(|effect| self.run_by(effect)).collect()
    }

    /// Tells whether a portal runs by name what the names stood for when it was bound. The resource looks them up when it
    /// runs.
    fn runs_the_same(&self, portal: &Portal) -> bool {
        let now = self.runs_of(&portal.statement);
        now.len() == portal.runs.len()
            && now.iter().zip(&portal.runs).all(|(now, then)| Arc::ptr_eq(now, then))
    }

    /// Tells whether a text runs, by EXECUTE, a statement of which it is not known yet what it is.
    fn executes_uncertain(&self, inspection: &Inspection) -> bool {
        inspection.session.iter().any(|effect| {
            matches!(effect, SessionEffect::Execute { name, .. } if self.track.is_uncertain(name.as_bytes()))
        })
    }

    fn admit_statement(
        &mut self,
        statement: &Statement,
        parameters: Vec<u8>,
        (concerns, masking): (&Concerns, Option<&Masking>),
        at: Micros,
    ) -> Result<Admission, Failure> {
        self.stir(at);
        let large = parameters.len() > HELD_PARAMETER_BYTES_MAX;
        let Statement { inspection, known, .. } = statement;
        let mut about = self.about(concerns);
        self.note(&mut about, inspection.as_deref(), masking);
        let structure = self.structure();
        let admission = match inspection {
            Some(inspection) => {
                let resolved = inspection.resolve(|n| self.track.prepared(n), |n| self.track.cursor(n));
                let changes = large || self.changes(inspection, resolved.effect);
                let operation = Operation { subject: self.subject(inspection), parameters, changes, about };
                self.gate.admit(operation, &resolved.needs, &*structure, at)
            }
            None => {
                let changes = large || self.known_changes(known);
                let operation = Operation { subject: plain(known), parameters, changes, about };
                self.gate.admit(operation, &known.needs, &*structure, at)
            }
        };
        admission.map_err(Failure::Trail)
    }

    fn known_changes(&self, known: &Known) -> bool {
        match known.effect {
            Effect::Write => true,
            Effect::Read => self.redefined,
            Effect::Control => self.wrote,
        }
    }

    fn admitted(&mut self, admission: Admission, then: Then, frame: &[u8]) -> Result<Step, Failure> {
        match admission {
            Admission::Now(permit) => {
                self.sent(then, permit, frame);
                Ok(Step::Done)
            }
            Admission::Recorded(admitting) => {
                self.stalled = Some(Stalled { admitting, then, void: None });
                Ok(Step::Waits)
            }
            Admission::Refused(pending) => Ok(self.refuse_extended(self.denied(), Some(pending))),
        }
    }

    fn execute(&mut self, frame: &[u8], at: Micros) -> Result<Step, Failure> {
        let name = codec::execute(frame).map_err(malformed)?;
        if !is_plain(name) {
            return self.refuse_name(at);
        }
        if let Some(portal) = self.track.portals.get(name).filter(|portal| !portal.replaced) {
            let (number, statement) = (portal.operation, portal.statement.clone());
            if statement.inspection.as_ref().is_some_and(|inspection| self.executes_uncertain(inspection)) {
                return Ok(Step::WaitsForAnswers);
            }
            let (same, known) = (self.runs_the_same(portal), !portal.runs.is_empty());
            // What was not known when it was bound, the entry calls unknown; masked it was not let through.
            if !same && (known || self.masks(at).is_some()) {
                let words = "what the statement runs by its name was replaced since it was bound";
                return self.refuse_unknown(b"0A000", words, at);
            }
            return self.execute_portal(name, number, statement, frame, at);
        }
        let cursor = std::str::from_utf8(name).ok().and_then(|name| self.track.cursor(name));
        let Some(known) = cursor else {
            return self.refuse_missing(b"34000", "portal", name, at);
        };
        let statement = Statement::named(known);
        let concerns = self.concerns(None, Some(&statement.known), NO_PARAMETERS);
        let masking = match self.masking_of_run(None, &concerns, at) {
            Ok(masking) => masking,
            Err(refusal) => return self.refuse_statement(&statement, refusal, &concerns, at),
        };
        let admission = self.admit_statement(&statement, Vec::new(), (&concerns, masking.as_deref()), at)?;
        self.admitted(admission, Then::Execute { portal: name.into(), statement: None, masking }, frame)
    }

    /// Runs a portal. What was bound before is judged again: in between the policy may have changed, and the
    /// transaction may have written, so that its COMMIT is a write now, or changed objects, so that nothing is proven.
    fn execute_portal(
        &mut self,
        name: &[u8],
        number: u64,
        statement: Statement,
        frame: &[u8],
        at: Micros,
    ) -> Result<Step, Failure> {
        let changes = self.statement_changes(&statement);
        let Some(running) = self.running.get_mut(&number) else {
            // It ran to its end before: running it again is an operation of its own.
            return self.execute_again(name, statement, Vec::new(), frame, at);
        };
        let renewed = !self.gate.is_current(&running.permit);
        if renewed && (self.target.protected.is_some() || !self.still_allowed(&statement, at)) {
            return self.execute_again(name, statement, Vec::new(), frame, at);
        }
        let Some(running) = self.running.get_mut(&number) else { return Ok(Step::Done) };
        if changes && running.permit.withholds() {
            if running.executed {
                return self.refuse_unknown(b"0A000", "the portal's results are still under way", at);
            }
            let parameters = running.permit.take_parameters();
            return self.execute_again(name, statement, parameters, frame, at);
        }
        running.executed = true;
        running.awaited += 1;
        self.upbox.operation(&running.permit, frame);
        self.track.expected.push_back(Expect::Execute { operation: number });
        self.restate(number, statement.inspection.as_deref(), true);
        if reads_copy(statement.inspection.as_deref()) {
            self.copy_ahead = Some(number);
        }
        Ok(Step::Done)
    }

    fn execute_again(
        &mut self,
        name: &[u8],
        statement: Statement,
        parameters: Vec<u8>,
        frame: &[u8],
        at: Micros,
    ) -> Result<Step, Failure> {
        if self.is_outdated(&statement) {
            return self.refuse_outdated(at);
        }
        let concerns = self.track.portals.get(name).map(|portal| portal.concerns.clone()).unwrap_or_default();
        let masking = match self.masking_of_run(statement.inspection.as_deref(), &concerns, at) {
            Ok(masking) => masking,
            Err(refusal) => return self.refuse_statement(&statement, refusal, &concerns, at),
        };
        let admission = self.admit_statement(&statement, parameters, (&concerns, masking.as_deref()), at)?;
        let then = Then::Execute { portal: name.into(), statement: Some(statement), masking };
        self.admitted(admission, then, frame)
    }

    /// Tells whether a statement was followed under another catalogue than the one in force: what its columns mean may
    /// have changed.
    fn is_outdated(&self, statement: &Statement) -> bool {
        let inspection = statement.inspection.as_ref();
        let version = self.catalogue.current().version;
        self.target.protected.is_some()
            && inspection.is_some_and(|inspection| inspection.catalogue != version)
    }

    fn still_allowed(&mut self, statement: &Statement, at: Micros) -> bool {
        let Statement { inspection, known, .. } = statement;
        let structure = self.structure();
        let decision = match inspection {
            Some(inspection) => {
                let resolved = inspection.resolve(|n| self.track.prepared(n), |n| self.track.cursor(n));
                self.gate.decide(&resolved.needs, &*structure, at)
            }
            None => self.gate.decide(&known.needs, &*structure, at),
        };
        decision.verdict == Verdict::Allow
    }

    fn statement_changes(&self, statement: &Statement) -> bool {
        let Statement { inspection, known, .. } = statement;
        let Some(inspection) = inspection else { return self.known_changes(known) };
        let resolved = inspection.resolve(|n| self.track.prepared(n), |n| self.track.cursor(n));
        self.changes(inspection, resolved.effect)
    }

    fn call(&mut self, frame: &[u8], at: Micros) -> Result<Step, Failure> {
        let (oid, arguments) = codec::function_call(frame).map_err(malformed)?;
        self.stir(at);
        let masks = self.masks(at).is_some();
        let name = format!("oid {oid}");
        let needs = [Need {
            action: Action::Execute,
            object: Object::Function { schema: "?".into(), name: name.as_str().into() },
        }];
        let subject = Arc::new(Plain {
            action: Action::Execute,
            command: "FUNCTION CALL",
            statement: format!("call of function {name}"),
            objects: Box::new([format!("?.{name}()").into()]),
        });
        let parameters =
            arguments.get(..PARAMETER_BYTES_MAX.min(arguments.len())).unwrap_or_default().to_vec();
        let about = self.about(&Concerns::default());
        // Of a function that is called by its number nobody knows whether it is set_config.
        if masks || self.target.identity.is_told() {
            let pending = self.record_unshowable(subject, about, at)?;
            self.refuse_query(self.refused(Refusal::Kind("a function call by number")), pending);
            return Ok(Step::Done);
        }
        let operation = Operation { subject, parameters, changes: true, about };
        let structure = self.structure();
        match self.gate.admit(operation, &needs, &*structure, at).map_err(Failure::Trail)? {
            Admission::Now(permit) => self.sent(Then::Call, permit, frame),
            Admission::Recorded(admitting) => {
                self.stalled = Some(Stalled { admitting, then: Then::Call, void: None });
                return Ok(Step::Waits);
            }
            Admission::Refused(pending) => self.refuse_query(self.denied(), Some(pending)),
        }
        Ok(Step::Done)
    }

    fn close(&mut self, frame: &[u8], at: Micros) -> Result<Step, Failure> {
        let target = codec::target(frame, "Close").map_err(malformed)?;
        let (Target::Statement(name) | Target::Portal(name)) = target;
        if !is_plain(name) {
            return self.refuse_name(at);
        }
        let undo = match target {
            Target::Statement(name) => Closed::Statement(name.into(), self.track.statements.remove(name)),
            Target::Portal(name) => {
                self.track.supersede_cursor(name);
                Closed::Portal(name.into(), self.track.portals.remove(name))
            }
        };
        self.upbox.housekeeping(Housekeeping::Close, frame);
        self.track.expected.push_back(Expect::Close { undo });
        Ok(Step::Done)
    }
}

/// Messages that a client may send while the resource reads copied data.
fn belongs_to_copy(kind: Front) -> bool {
    match kind {
        Front::CopyData
        | Front::CopyDone
        | Front::CopyFail
        | Front::Flush
        | Front::Sync
        | Front::Terminate => true,
        Front::Bind
        | Front::Close
        | Front::Describe
        | Front::Execute
        | Front::FunctionCall
        | Front::Parse
        | Front::Password
        | Front::Query => false,
    }
}

/// A text that runs what was named before.
#[derive(Debug)]
struct RunsNamed {
    inspection: Arc<Inspection>,
    objects: Box<[Box<str>]>,
}

impl Subject for RunsNamed {
    fn action(&self) -> Action {
        self.inspection.action()
    }
    fn command(&self) -> &str {
        self.inspection.command()
    }
    fn statement(&self) -> &str {
        self.inspection.statement()
    }
    fn objects(&self) -> &[Box<str>] {
        &self.objects
    }
    fn literals(&self) -> &[u8] {
        self.inspection.literals()
    }
}

pub(super) fn plain(known: &Known) -> Arc<dyn Subject> {
    let action = known.needs.iter().map(|need| need.action).max().unwrap_or(Action::Connect);
    Arc::new(Plain {
        action,
        command: known.command,
        statement: String::new(),
        objects: known.objects.clone(),
    })
}

/// The parameters that go, sealed, into the entry: none where the statement carries a secret, and none over the limit.
fn kept_parameters(statement: &Statement, count: usize, parameters: &[u8]) -> Vec<u8> {
    let secret = statement.inspection.as_ref().is_none_or(|inspection| inspection.secret);
    if secret || count == 0 || parameters.len() > PARAMETER_BYTES_MAX {
        Vec::new()
    } else {
        parameters.to_vec()
    }
}
