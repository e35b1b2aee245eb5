//! Masking: what of a result leaves, and how.
//!
//! `plan` decides from where values come from and what is protected, before a statement is sent; `resolve` finds the
//! configuration's names in the resource's catalogue; `rows` rewrites what comes back; `diagnostic` keeps values out of
//! errors and notices.

mod diagnostic;
mod plan;
mod resolve;
mod rows;

pub(crate) use diagnostic::canonical;
pub(crate) use plan::{Plan, Protection, Refusal};
pub(crate) use rows::{Means, Rows, Unshowable};
