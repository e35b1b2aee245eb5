//! What is sent: an operation that has its permit goes out, and what it does to the session's names is noted until it is
//! known what came of it.

use std::sync::Arc;

use model::{Outcome, SqlState};

use super::super::codec::{HEADER, front_header};
use super::super::sql::{CopyDirection, Inspection, SessionEffect};
use super::super::track::{Expect, Portal, Statement};
use super::asked::{Bound, Then, malformed};
use super::masking::Results;
use super::purpose::query_of;
use super::{Relay, now};
use crate::control::Control;
use crate::error::Failure;
use crate::limits::NAMES_MAX;

impl<C: Control> Relay<C> {
    /// A stalled operation has its permit: its message, the first of the inbox, goes out.
    pub(super) fn proceed(&mut self, then: Then, permit: crate::gate::Permit) -> Result<(), Failure> {
        let length = self.stalled_length()?;
        let inbox = std::mem::take(&mut self.inbox);
        self.sent(then, permit, inbox.bytes().get(..length).unwrap_or_default());
        self.inbox = inbox;
        self.inbox.take(length);
        Ok(())
    }

    /// A stalled operation has its permit and is void: an error before it makes the resource drop all up to `Sync`.
    pub(super) fn drop_stalled(
        &mut self,
        state: SqlState,
        permit: crate::gate::Permit,
    ) -> Result<(), Failure> {
        let length = self.stalled_length()?;
        self.inbox.take(length);
        let number = self.open(permit, None);
        self.settle(number, Outcome::Failed(state), Some("skipped after an error"))
    }

    pub(super) fn stalled_length(&self) -> Result<usize, Failure> {
        let limit = self.shared.config.limits.message_bytes_max;
        let header = front_header(self.inbox.bytes(), limit).map_err(malformed)?;
        Ok(header.map_or(HEADER, |header| header.length))
    }

    /// Sends an admitted operation and notes what will answer it.
    pub(super) fn sent(&mut self, then: Then, permit: crate::gate::Permit, frame: &[u8]) {
        let inspection = then.inspection();
        let ours = match &then {
            Then::Query { inspection, masking: _ } => self.stand_in(inspection).map(|text| query_of(&text)),
            Then::Bind { .. } | Then::Execute { .. } | Then::Call => None,
        };
        self.upbox.operation(&permit, ours.as_deref().unwrap_or(frame));
        let changes = !permit.withholds();
        if let Some(inspection) = &inspection {
            self.forget(inspection);
            if inspection.changes_catalogue {
                self.redefined = true;
                self.catalogue.stale();
                self.refresh_tried = None;
            }
        }
        if self.redefined && self.change.is_none() {
            self.change = Some(self.catalogue.change());
        }
        self.wrote |= changes;
        let copies = reads_copy(inspection.as_deref());
        let number = self.open(permit, inspection.clone());
        self.mask(number, &then);
        let extended = matches!(then, Then::Execute { .. });
        let expect = match then {
            Then::Query { .. } => Expect::Query { operation: number },
            Then::Call => Expect::Call { operation: number },
            Then::Bind { portal, statement, bound: Bound { formats, masking: _, concerns } } => {
                let runs = self.runs_of(&statement);
                self.track.supersede_cursor(&portal);
                let made = Portal {
                    statement,
                    operation: number,
                    live: false,
                    formats,
                    concerns,
                    runs,
                    replaced: false,
                };
                let previous = self.track.portals.insert(portal.clone(), made);
                Expect::Bind { name: portal, previous, operation: number }
            }
            Then::Execute { portal, statement, masking: _ } => {
                if statement.is_some() {
                    self.reassign(&portal, number);
                }
                Expect::Execute { operation: number }
            }
        };
        let bound = matches!(expect, Expect::Bind { .. });
        self.track.expected.push_back(expect);
        if !bound {
            self.restate(number, inspection.as_deref(), extended);
            if let Some(running) = self.running.get_mut(&number) {
                running.executed = true;
                running.awaited = 1;
            }
            // One before it that failed is settled, and wants no data any more.
            if copies {
                self.copy_ahead = Some(number);
            }
        }
    }

    /// Notes how an operation's results are read and masked.
    pub(super) fn mask(&mut self, number: u64, then: &Then) {
        let (masking, formats, announced) = match then {
            Then::Query { inspection: _, masking } => (masking, Arc::default(), None),
            Then::Bind { portal: _, statement, bound } => {
                (&bound.masking, bound.formats.clone(), statement.announced.clone())
            }
            Then::Execute { portal, statement, masking } => {
                let formats = self.track.portals.get(portal).map(|portal| portal.formats.clone());
                let announced = statement.as_ref().and_then(|statement| statement.announced.clone());
                (masking, formats.unwrap_or_default(), announced)
            }
            Then::Call => return,
        };
        let results = masking.clone().map(|by| Box::new(Results::new(by, formats, announced)));
        if let Some(running) = self.running.get_mut(&number) {
            running.results = results;
        }
    }

    /// Makes a portal that of another operation. What it was bound for never ran, or ran to its end.
    pub(super) fn reassign(&mut self, name: &[u8], number: u64) {
        let Some(portal) = self.track.portals.get_mut(name) else { return };
        let before = std::mem::replace(&mut portal.operation, number);
        let unsettled = self.running.get(&before);
        if unsettled.is_some_and(|running| running.permit.withholds() && !running.executed) {
            self.running.remove(&before);
        }
        for expect in &mut self.track.expected {
            if let Expect::Bind { operation, .. } = expect
                && *operation == before
            {
                *operation = number;
            }
        }
    }

    /// Forgets the names that a text is about to change, until it is known what came of it.
    pub(super) fn forget(&mut self, inspection: &Inspection) {
        for effect in &inspection.session {
            match effect {
                SessionEffect::Prepare { name, .. } | SessionEffect::Deallocate(Some(name)) => {
                    self.track.forget_statement(Some(name));
                }
                SessionEffect::Deallocate(None) => self.track.forget_statement(None),
                SessionEffect::DiscardAll => {
                    self.track.forget_statement(None);
                    self.track.forget_cursor(None);
                }
                SessionEffect::Declare { name, .. } | SessionEffect::Close(Some(name)) => {
                    self.track.forget_cursor(Some(name));
                }
                SessionEffect::Close(None)
                | SessionEffect::Rollback { .. }
                | SessionEffect::RollbackTo(_)
                | SessionEffect::PrepareTransaction => self.track.forget_cursor(None),
                SessionEffect::Begin
                | SessionEffect::Commit { .. }
                | SessionEffect::Savepoint(_)
                | SessionEffect::Release(_)
                | SessionEffect::Execute { .. }
                | SessionEffect::Fetch { .. }
                | SessionEffect::DiscardOther
                | SessionEffect::Listen(_)
                | SessionEffect::Unlisten(_)
                | SessionEffect::SetRole
                | SessionEffect::Set { .. }
                | SessionEffect::Reset(_)
                | SessionEffect::Purpose(_) => {}
            }
        }
    }

    /// Takes up the names that a text made, once it succeeded.
    pub(super) fn applied(&mut self, inspection: Option<&Inspection>, succeeded: bool) {
        let Some(inspection) = inspection.filter(|_| succeeded) else { return };
        for (at, effect) in inspection.session.iter().enumerate() {
            // What a later statement of the same text may have undone stays unknown.
            let last = at + 1 == inspection.session.len();
            match effect {
                SessionEffect::Prepare { name, statement } if last => {
                    let made = Statement::named(statement.clone());
                    self.track.statements.insert(name.as_bytes().into(), made);
                }
                SessionEffect::Declare { name, query, .. }
                    if last && self.track.cursors.len() < NAMES_MAX =>
                {
                    self.track.cursors.insert(name.clone(), query.clone());
                }
                SessionEffect::Prepare { .. }
                | SessionEffect::Declare { .. }
                | SessionEffect::Begin
                | SessionEffect::Commit { .. }
                | SessionEffect::Rollback { .. }
                | SessionEffect::Savepoint(_)
                | SessionEffect::Release(_)
                | SessionEffect::RollbackTo(_)
                | SessionEffect::PrepareTransaction
                | SessionEffect::Execute { .. }
                | SessionEffect::Deallocate(_)
                | SessionEffect::Fetch { .. }
                | SessionEffect::Close(_)
                | SessionEffect::DiscardAll
                | SessionEffect::DiscardOther
                | SessionEffect::Listen(_)
                | SessionEffect::Unlisten(_)
                | SessionEffect::SetRole
                | SessionEffect::Set { .. }
                | SessionEffect::Reset(_)
                | SessionEffect::Purpose(_) => {}
            }
        }
    }

    /// Settles an operation as done.
    pub(super) fn completed(&mut self, number: u64) -> Result<(), Failure> {
        let failed = self.running.get(&number).and_then(|running| running.failed);
        self.settle(number, failed.map_or(Outcome::Completed, Outcome::Failed), None)
    }

    /// Records that more is about to leave, and withholds what follows until that is durable.
    pub(super) fn advance(&mut self, number: u64) -> Result<(), Failure> {
        let at = now(self);
        let window = self.shared.config.limits.hold_window_bytes as u64;
        let Some(running) = self.running.get_mut(&number) else { return Ok(()) };
        // Less than the window, or than half of all that was released, is not announced at any time.
        running.progress_at = running.bytes.saturating_add(running.bytes.max(window));
        let report = running.report();
        let pending = self.gate.progress(&mut running.permit, &report, at).map_err(Failure::Trail)?;
        self.outbox.gate(pending);
        Ok(())
    }
}

/// Tells whether the resource may read copied data for this text.
pub(super) fn reads_copy(inspection: Option<&Inspection>) -> bool {
    inspection.is_some_and(|inspection| match inspection.copy {
        Some(CopyDirection::In) => true,
        Some(CopyDirection::Out) => inspection.statements > 1,
        None => false,
    })
}
