//! What is not sent: the resource is given something that fails in the same place, and the client our words for it.

use std::sync::Arc;

use model::{Action, Micros, Need, Object, SqlState};
use trail::Pending;

use super::super::buffers::Housekeeping;
use super::super::codec::{self, Severity, WireError};
use super::super::mask::Refusal;
use super::super::sql::Unreadable;
use super::super::track::{Expect, Statement};
use super::asked::{Step, plain};
use super::masking::Concerns;
use super::{Relay, state};
use crate::about::About;
use crate::control::Control;
use crate::error::Failure;
use crate::gate::{Admission, Operation, Subject};

/// A text that PostgreSQL answers with a syntax error: the transaction fails as if the refused statement had.
const FAILING_TEXT: &str = "wardline: refused";
/// The same, where the error is at the end of the text: PostgreSQL raises that one on another line of its source.
const FAILING_TEXT_AT_END: &str = "(";
/// A `Describe` of a statement that does not exist: the extended query fails and is skipped up to `Sync`.
const FAILING_DESCRIBE: &[u8] = b"Swardline: refused\0";
/// The name of that statement.
pub(super) const FAILING_NAME: &[u8] = b"wardline: refused";

impl<C: Control> Relay<C> {
    /// Records that a statement could show what its person may not see.
    pub(super) fn record_unshowable(
        &mut self,
        subject: Arc<dyn Subject>,
        about: About,
        at: Micros,
    ) -> Result<Option<Pending>, Failure> {
        let needs = [Need { action: Action::Unmask, object: Object::Resource }];
        let operation = Operation { subject, parameters: Vec::new(), changes: true, about };
        let structure = self.structure();
        match self.gate.admit(operation, &needs, &*structure, at).map_err(Failure::Trail)? {
            Admission::Refused(pending) => Ok(Some(pending)),
            // The policy changed between the two questions: refused all the same, and asked again by the client.
            Admission::Now(_) | Admission::Recorded(_) => Ok(None),
        }
    }

    pub(super) fn refuse_query_unreadable(
        &mut self,
        unreadable: &Unreadable,
        at: Micros,
    ) -> Result<Step, Failure> {
        let (error, pending) = self.unreadable(unreadable, at)?;
        self.refuse_query(error, Some(pending));
        Ok(Step::Done)
    }

    pub(super) fn unreadable(
        &mut self,
        unreadable: &Unreadable,
        at: Micros,
    ) -> Result<(WireError, Pending), Failure> {
        let state = state(unreadable.sqlstate);
        let pending = self.gate.reject("", &unreadable.to_string(), state, at).map_err(Failure::Trail)?;
        let error = WireError::new(Severity::Error, &state.0, unreadable.message.clone())
            .position(unreadable.position);
        Ok((error, pending))
    }

    pub(super) fn refuse_query(&mut self, error: WireError, pending: Option<Pending>) {
        let mut bytes = Vec::new();
        codec::message(&mut bytes, b'Q', |out| codec::put_cstr(out, failing_text(&error).as_bytes()));
        self.upbox.housekeeping(Housekeeping::Failing, &bytes);
        self.track.expected.push_back(Expect::RefusedQuery { error, pending });
    }

    /// Refuses a message of an extended query: it fails at the resource, and the rest up to `Sync` is dropped.
    pub(super) fn refuse_extended(&mut self, error: WireError, pending: Option<Pending>) -> Step {
        let mut bytes = Vec::new();
        codec::message(&mut bytes, b'D', |out| out.extend_from_slice(FAILING_DESCRIBE));
        self.refuse_by(&bytes, error, pending)
    }

    /// Refuses a text that is to be prepared, by one that PostgreSQL cannot read: what was prepared without a name is
    /// gone then, as after any other failure.
    pub(super) fn refuse_parse(&mut self, name: &[u8], error: WireError, pending: Option<Pending>) -> Step {
        let mut bytes = Vec::new();
        codec::message(&mut bytes, b'P', |out| {
            codec::put_cstr(out, name);
            codec::put_cstr(out, failing_text(&error).as_bytes());
            out.extend_from_slice(&[0, 0]);
        });
        self.refuse_by(&bytes, error, pending)
    }

    pub(super) fn refuse_by(&mut self, failing: &[u8], error: WireError, pending: Option<Pending>) -> Step {
        self.upbox.housekeeping(Housekeeping::Failing, failing);
        self.track.expected.push_back(Expect::Refused { error, pending });
        self.skipping = true;
        Step::Done
    }

    pub(super) fn refuse_unknown(
        &mut self,
        code: &[u8; 5],
        what: &'static str,
        at: Micros,
    ) -> Result<Step, Failure> {
        let state = model::SqlState(*code);
        let pending = self.gate.reject("", what, state, at).map_err(Failure::Trail)?;
        Ok(self.refuse_extended(WireError::new(Severity::Error, code, what), Some(pending)))
    }

    pub(super) fn refuse_name(&mut self, at: Micros) -> Result<Step, Failure> {
        self.refuse_unknown(b"42602", "the name is longer than 63 bytes, not ASCII, or reserved", at)
    }

    /// Refuses a name that the resource does not have, in PostgreSQL's own words; the name is not recorded.
    pub(super) fn refuse_missing(
        &mut self,
        code: &[u8; 5],
        what: &'static str,
        name: &[u8],
        at: Micros,
    ) -> Result<Step, Failure> {
        let pending = self.gate.reject("", what, SqlState(*code), at).map_err(Failure::Trail)?;
        let words = match (what, name) {
            ("prepared statement", b"") => "unnamed prepared statement does not exist".to_owned(),
            (what, name) => format!("{what} \"{}\" does not exist", String::from_utf8_lossy(name)),
        };
        Ok(self.refuse_extended(WireError::new(Severity::Error, code, words), Some(pending)))
    }

    /// Refuses to run a statement that could show what its person may not see.
    pub(super) fn refuse_statement(
        &mut self,
        statement: &Statement,
        refusal: Refusal,
        concerns: &Concerns,
        at: Micros,
    ) -> Result<Step, Failure> {
        let subject: Arc<dyn Subject> = match &statement.inspection {
            Some(inspection) => inspection.clone(),
            None => plain(&statement.known),
        };
        let about = self.about(concerns);
        let pending = self.record_unshowable(subject, about, at)?;
        Ok(self.refuse_extended(self.refused(refusal), pending))
    }

    /// Returns the answer to what policy refuses. Whoever may take emergency access is told that there is such a thing.
    /// Where a fresh second factor would do, it says so.
    pub(super) fn denied(&self) -> WireError {
        if self.gate.fresh_factor_would_do() {
            return WireError::new(Severity::Error, b"42501", "refused by policy").hint(
                "This takes a second factor shown a short while ago: confirm this session on Wardline's page, or sign in again \
                 with one; then repeat it.",
            );
        }
        let asking =
            "Ask for a role with `wardline access request`; this session goes on with it once it is granted.";
        let hint = match self.gate.may_take_emergency() {
            true => format!(
                "{asking} In an emergency: `wardline --as NAME break-glass begin {} --reason-code … --reason …`.",
                self.gate.session().resource
            ),
            false => asking.to_owned(),
        };
        WireError::new(Severity::Error, b"42501", "refused by policy").hint(hint)
    }

    pub(super) fn refuse_outdated(&mut self, at: Micros) -> Result<Step, Failure> {
        self.refuse_unknown(b"0A000", "the resource's objects have changed: prepare the statement again", at)
    }
}

/// Returns a text that fails at the resource as the refused one would.
fn failing_text(error: &WireError) -> &'static str {
    if error.message.ends_with(" at end of input") { FAILING_TEXT_AT_END } else { FAILING_TEXT }
}
