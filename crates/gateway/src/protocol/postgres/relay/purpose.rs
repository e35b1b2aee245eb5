//! What a session is for: `SET wardline.purpose = 'treatment'`, stated to Wardline and not to the resource.
//!
//! The resource is sent a text in its place that says nothing and answers alike, so that a statement of purpose stands in
//! its place among all others: in a transaction that failed, or behind an error of the same pipeline, it fails as any
//! `SET` does. It holds from its answer on; until then nothing else is taken up, so that everything is decided, and
//! recorded, under one purpose. It is not undone by a rollback: what was said to Wardline was said.

use std::sync::Arc;

use model::{Action, Micros, Need, Object, SqlState, Verdict};
use trail::Pending;

use super::super::buffers::Housekeeping;
use super::super::codec::{self, Front, Severity, WireError};
use super::super::sql::purpose::Stated;
use super::super::sql::{Inspection, SessionEffect};
use super::Relay;
use crate::control::Control;
use crate::error::{Ending, Failure};
use crate::gate::Purpose;
use crate::startup::{ENCODING_CHARS_MAX, is_readable};

/// Sent in the place of a statement of purpose: answered by `SET`, or by the error that any `SET` gets here.
const STAND_IN: &str = "SET wardline.purpose TO DEFAULT";
/// The same for `RESET`.
const STAND_IN_RESET: &str = "RESET wardline.purpose";
/// Makes the resource answer what it was asked so far.
const FLUSH: &[u8] = b"H\0\0\0\x04";

/// A change of purpose that is under way.
#[derive(Debug)]
pub(super) struct Restating {
    operation: u64,
    to: Purpose,
}

/// Returns the text that the resource is sent in the place of one that states a purpose.
pub(super) fn stand_in(inspection: &Inspection) -> Option<&'static str> {
    let states = inspection.session.iter().any(|effect| matches!(effect, SessionEffect::Purpose(_)));
    let text = if &*inspection.command == "RESET" { STAND_IN_RESET } else { STAND_IN };
    states.then_some(text)
}

/// Returns a simple query of the text.
pub(super) fn query_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::message(&mut bytes, b'Q', |out| codec::put_cstr(out, text.as_bytes()));
    bytes
}

/// Returns a message that prepares the text, which has no parameters.
pub(super) fn parse_of(name: &[u8], text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::message(&mut bytes, b'P', |out| {
        codec::put_cstr(out, name);
        codec::put_cstr(out, text.as_bytes());
        out.extend_from_slice(&[0, 0]);
    });
    bytes
}

/// Tells whether the answer to a message depends on what the session is for.
fn is_decided(kind: Front) -> bool {
    match kind {
        Front::Query | Front::Parse | Front::Bind | Front::Execute | Front::FunctionCall => true,
        Front::Describe
        | Front::Close
        | Front::Sync
        | Front::Flush
        | Front::CopyData
        | Front::CopyDone
        | Front::CopyFail
        | Front::Password
        | Front::Terminate => false,
    }
}

impl<C: Control> Relay<C> {
    /// Tells whether a message must wait until it is known what the session is for.
    pub(super) fn awaits_purpose(&self, kind: Front) -> bool {
        self.restating.is_some() && is_decided(kind)
    }

    /// Refuses a text that sets what cannot be set here: an encoding in which the resource would read another text than
    /// is inspected, or a purpose.
    pub(super) fn refused_setting(
        &mut self,
        inspection: &Inspection,
        at: Micros,
    ) -> Result<Option<(WireError, Pending)>, Failure> {
        if let Some(refused) = self.refused_identity(inspection, at)? {
            return Ok(Some(refused));
        }
        let mut encodings = inspection.session.iter().filter_map(|effect| match effect {
            SessionEffect::Set { name, value: Some(value), .. }
                if name.eq_ignore_ascii_case("client_encoding") && !is_readable(value) =>
            {
                Some(value)
            }
            _ => None,
        });
        let Some(encoding) = encodings.next() else { return self.refused_purpose(inspection, at) };
        let shown: String =
            encoding.chars().filter(char::is_ascii_graphic).take(ENCODING_CHARS_MAX).collect();
        let state = SqlState(*b"0A000");
        let words = "the client encoding is not supported";
        let pending = self.gate.reject(&inspection.command, words, state, at).map_err(Failure::Trail)?;
        let message = format!("client encoding `{shown}` is not supported");
        let error = WireError::new(Severity::Error, &state.0, message).hint(
            "Stay with UTF8: `SET client_encoding = 'UTF8'`, or PGCLIENTENCODING=UTF8 in the environment.",
        );
        Ok(Some((error, pending)))
    }

    /// Refuses a text that states a purpose which cannot be stated, or not in this way.
    fn refused_purpose(
        &mut self,
        inspection: &Inspection,
        at: Micros,
    ) -> Result<Option<(WireError, Pending)>, Failure> {
        let mut stated = inspection.session.iter().filter_map(|effect| match effect {
            SessionEffect::Purpose(stated) => Some(stated),
            _ => None,
        });
        let Some(stated) = stated.next() else { return Ok(None) };
        let (code, message, hint) = match stated {
            _ if inspection.statements != 1 => (
                b"0A000",
                "not supported: a purpose stated beside other statements".to_owned(),
                "Send `SET wardline.purpose = '…'` alone.".to_owned(),
            ),
            Stated::Unsupported(what) => {
                (b"0A000", format!("not supported: {what}"), "Use `SET wardline.purpose = '…'`.".to_owned())
            }
            Stated::First => return Ok(None),
            Stated::Is(name) => match self.gate.purpose_named(name) {
                Err(configured) => {
                    (b"22023", "the purpose is not one that is configured".to_owned(), configured)
                }
                Ok(purpose) if self.may_be_for(&purpose, at) => return Ok(None),
                Ok(_) => (
                    b"42501",
                    "refused by policy: a session on this resource is not open to that purpose".to_owned(),
                    "`wardline access matrix --purpose` shows what each purpose allows.".to_owned(),
                ),
            },
        };
        let pending =
            self.gate.reject(&inspection.command, &message, SqlState(*code), at).map_err(Failure::Trail)?;
        Ok(Some((WireError::new(Severity::Error, code, message).hint(hint), pending)))
    }

    fn may_be_for(&self, purpose: &Arc<str>, at: Micros) -> bool {
        let needs = [Need { action: Action::Connect, object: Object::Resource }];
        self.gate.decide_for(&Some(purpose.clone()), &needs, at).verdict == Verdict::Allow
    }

    /// Notes that an operation which was just sent changes what the session is for, if it does. `extended` ones are not
    /// answered by themselves.
    pub(super) fn restate(&mut self, operation: u64, inspection: Option<&Inspection>, extended: bool) {
        let Some(inspection) = inspection else { return };
        let mut to: Option<Purpose> = None;
        for effect in &inspection.session {
            match effect {
                SessionEffect::Purpose(Stated::Is(name)) => to = self.gate.purpose_named(name).ok().map(Some),
                SessionEffect::Purpose(Stated::First)
                | SessionEffect::Reset(None)
                | SessionEffect::DiscardAll => to = Some(self.gate.session().purpose_first()),
                _ => {}
            }
        }
        let Some(to) = to.filter(|to| to != self.gate.purpose()) else { return };
        self.restating = Some(Restating { operation, to });
        if extended {
            self.upbox.housekeeping(Housekeeping::Flush, FLUSH);
        }
    }

    /// An operation is answered: if it changed what the session is for, that holds from now on, and everything is decided
    /// again. Returns the words for its entry.
    pub(super) fn restated(&mut self, operation: u64, succeeded: bool) -> Option<String> {
        let Restating { to, .. } = self.restating.take_if(|restating| restating.operation == operation)?;
        if !succeeded {
            return None;
        }
        let words = match &to {
            Some(purpose) => format!("the purpose is `{purpose}` from here on"),
            None => "no purpose from here on".to_owned(),
        };
        self.gate.state(to);
        let need = Need { action: Action::Connect, object: Object::Resource };
        let decision = self.gate.decide_one(need, self.shared.control.now());
        if decision.verdict == Verdict::Deny {
            self.end(Ending::Revoked, b"57P01", "the right to this session does not hold for this purpose");
        }
        Some(words)
    }
}
