//! Reasons that are not the id of a written policy. Ids that begin with `wardline.` are reserved for them.

/// The person is not in the snapshot.
pub const NOT_A_MEMBER: &str = "wardline.not-a-member";
/// The person is disabled.
pub const DISABLED: &str = "wardline.disabled";
/// The resource is not in the snapshot.
pub const UNKNOWN_RESOURCE: &str = "wardline.unknown-resource";
/// The action cannot be asked of this kind of object, such as Connect of a relation.
pub const NOT_APPLICABLE: &str = "wardline.not-applicable";
/// The delegation by which an agent acts is not in force.
pub const DELEGATION_ENDED: &str = "wardline.delegation-ended";
/// The delegation by which an agent acts is for another purpose.
pub const DELEGATION_PURPOSE: &str = "wardline.delegation-purpose";
/// The object's schema is not known, and a `forbid` exists that might mean this object.
pub const UNRESOLVED_OBJECT: &str = "wardline.unresolved-object";
/// A policy could not be evaluated; its id stands beside this one.
pub const EVALUATION_ERROR: &str = "wardline.evaluation-error";
/// The built-in policy: a catalogue relation that reveals nothing is readable by whoever may Connect.
pub const CATALOGUE: &str = "wardline.catalogue";

/// Returns what the reasons of permits by an emergency access begin with: its own role's.
pub(crate) fn of_emergency(number: u64) -> String {
    format!("role.emergency.{number}.")
}
