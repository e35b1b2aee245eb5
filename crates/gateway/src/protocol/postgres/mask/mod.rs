//! Masking: what of a result leaves, and how.
//!
//! `plan` decides from where values come from and what is protected, before a statement is sent; `resolve` finds the
//! configuration's names in the resource's catalogue; `patients` finds whose rows they are; `rows` and `copies` rewrite what comes back; `diagnostic` keeps values out of
//! errors and notices.

mod copies;
mod diagnostic;
#[cfg(test)]
mod figures;
mod patients;
mod plan;
mod resolve;
mod rows;

pub(crate) use copies::{Copied, refusal as refused_copy, style as copy_style};
pub(crate) use diagnostic::canonical;
pub(crate) use patients::{Concern, Parameters, Reach};
pub(crate) use plan::{Noted, Plan, Protection, Refusal, Shown};
pub(crate) use rows::{Means, Rows, Unshowable};
