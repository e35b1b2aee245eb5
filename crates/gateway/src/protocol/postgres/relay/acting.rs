//! Whom the resource takes the session for stays what Wardline told it.
//!
//! A client that names itself anew is given its name behind the person's. Where sessions act as a role of the person's
//! own, nothing passes that could lead to another role: `SET ROLE`, `RESET ROLE`, `SET SESSION AUTHORIZATION`, `DISCARD
//! ALL` (which resets it), `DO`, and `set_config` with anything but a constant, harmless setting. Deliberately absent:
//! functions of the database that change the role themselves; a changed name is noticed, a changed role is not.

use std::borrow::Cow;

use model::{Action, Micros, Object, SqlState};
use trail::Pending;

use super::super::codec::{Severity, WireError};
use super::super::sql::{Inspection, SessionEffect};
use super::Relay;
use super::purpose;
use crate::acting::application_name;
use crate::control::Control;
use crate::error::Failure;

impl<C: Control> Relay<C> {
    /// Returns the text that the resource is sent in the place of one that says something about the session.
    pub(super) fn stand_in(&self, inspection: &Inspection) -> Option<Cow<'static, str>> {
        if let Some(purpose) = purpose::stand_in(inspection) {
            return Some(Cow::Borrowed(purpose));
        }
        let (own, local) = self.names_itself(inspection)?;
        let name = application_name(&self.gate.session().principal, own);
        let scope = if local { "LOCAL" } else { "SESSION" };
        // INVARIANT: the name is of printable ASCII, and quotes are doubled.
        Some(Cow::Owned(format!("SET {scope} application_name TO '{}'", name.replace('\'', "''"))))
    }

    /// Refuses a text after which the resource could take the session for somebody else's.
    pub(super) fn refused_identity(
        &mut self,
        inspection: &Inspection,
        at: Micros,
    ) -> Result<Option<(WireError, Pending)>, Failure> {
        let identity = &self.target.identity;
        if !identity.is_told() {
            return Ok(None);
        }
        let renames = inspection.session.iter().any(is_name);
        let what = if identity.acts_as_role() && changes_role(inspection) {
            "a change of the role: every session acts as its person's own"
        } else if calls(inspection, "set_config") {
            "set_config with anything but a constant and harmless setting"
        } else if renames && self.names_itself(inspection).is_none() {
            "application_name set beside other statements, or by set_config"
        } else {
            return Ok(None);
        };
        let state = SqlState(*b"0A000");
        let words = format!("not supported: {what}");
        let pending = self.gate.reject(&inspection.command, &words, state, at).map_err(Failure::Trail)?;
        let error = WireError::new(Severity::Error, &state.0, words).hint(
            "`RESET ALL` and `DISCARD TEMP` reset a session; `SET application_name = '…'` stands alone.",
        );
        Ok(Some((error, pending)))
    }

    /// Returns what the client calls itself in a text that says nothing else, and whether for the transaction only.
    fn names_itself<'i>(&self, inspection: &'i Inspection) -> Option<(&'i str, bool)> {
        let alone = inspection.statements == 1 && &*inspection.command == "SET";
        if !alone || !self.target.identity.is_told() {
            return None;
        }
        inspection.session.iter().find_map(|effect| match effect {
            SessionEffect::Set { name, value: Some(value), local } if is_application_name(name) => {
                Some((&**value, *local))
            }
            _ => None,
        })
    }
}

fn is_application_name(setting: &str) -> bool {
    setting.eq_ignore_ascii_case("application_name")
}

/// Gives itself a name: back to the default is back to what Wardline said.
fn is_name(effect: &SessionEffect) -> bool {
    matches!(effect, SessionEffect::Set { name, value: Some(_), .. } if is_application_name(name))
}

fn changes_role(inspection: &Inspection) -> bool {
    let sets = |effect: &SessionEffect| match effect {
        SessionEffect::SetRole | SessionEffect::DiscardAll => true,
        SessionEffect::Set { name, .. } => {
            name.eq_ignore_ascii_case("role") || name.eq_ignore_ascii_case("session_authorization")
        }
        _ => false,
    };
    calls(inspection, "do") || inspection.session.iter().any(sets)
}

/// Tells whether a text needs the right to execute something of that name; `DO` needs it for `do`.
fn calls(inspection: &Inspection, wanted: &str) -> bool {
    inspection.needs.iter().any(|need| {
        need.action == Action::Execute
            && matches!(&need.object, Object::Function { name, .. } if &**name == wanted)
    })
}
