//! The setting by which a person states a purpose. It is Wardline's own: the resource is never told.

use pg_raw_parse::nodes::VariableSetStmt;
use pg_raw_parse::raw::VariableSetKind;

use super::SessionEffect;

/// The setting's name.
pub(crate) const SETTING: &str = "wardline.purpose";
/// Everything under it is Wardline's own.
const PREFIX: &str = "wardline.";

/// What a statement does to the purpose of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stated {
    /// States one.
    Is(Box<str>),
    /// Goes back to the one that was stated at start-up.
    First,
    /// Something that cannot be done with it.
    Unsupported(&'static str),
}

/// Tells whether a setting is Wardline's own.
pub(super) fn is_ours(setting: &str) -> bool {
    setting.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Returns what `SET` or `RESET` of one of Wardline's own settings does; `value` is the first, where it is a string.
pub(super) fn set(setting: &str, value: Option<&str>, set: &VariableSetStmt) -> SessionEffect {
    let alone = set.args().len() == 1;
    SessionEffect::Purpose(if !setting.eq_ignore_ascii_case(SETTING) {
        Stated::Unsupported("a setting of Wardline other than `wardline.purpose`")
    } else if set.is_local {
        Stated::Unsupported("SET LOCAL of `wardline.purpose`: a purpose holds until another is stated")
    } else {
        match (set.kind, value) {
            (VariableSetKind::VAR_RESET | VariableSetKind::VAR_SET_DEFAULT, _) => Stated::First,
            (VariableSetKind::VAR_SET_VALUE, Some(value)) if alone => Stated::Is(value.into()),
            _ => Stated::Unsupported("a purpose that is not one text"),
        }
    })
}

/// Returns what `set_config` or `SHOW` of one of Wardline's own settings does.
pub(super) fn unsupported(what: &'static str) -> SessionEffect {
    SessionEffect::Purpose(Stated::Unsupported(what))
}
