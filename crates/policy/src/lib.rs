//! Decides: a [`Snapshot`] is compiled once from all that is configured, then answers, purely and
//! without ever failing, whether a person may do what an operation needs.
//!
//! Cedar is inside and does not show. What this crate adds to it: roles of `wardline.toml` become
//! policies; every policy is validated strictly, and all that is wrong is said at once; an evaluation
//! error is a denial, where Cedar would skip the policy; an object whose schema is not known is never
//! let past a policy that might have forbidden it.
//!
//! Deliberately absent: files, clock and sockets (text, time and addresses come in as arguments),
//! caching of decisions (a session's business), masking (`phi`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod catalogue;
mod cedar;
mod digest;
pub mod name;
mod pattern;
pub mod reason;
mod roles;
mod slices;
mod snapshot;
mod sources;
mod training;
mod vocabulary;

pub use pattern::{Pattern, PatternError};
pub use snapshot::{Cell, Snapshot};
pub use sources::{
    CedarFile, Course, Delegation, Diagnostic, Due, Emergencies, Emergency, FactorRule, Lock, Locked, Person,
    Place, Role, Rule, Sources,
};
pub use training::Lesson;
