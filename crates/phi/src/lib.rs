//! Finds and transforms protected values. Pure: no file, socket, clock or runtime; bytes and keys come in as arguments.
//!
//! - [`Class`] says what kind of identifier a value is, [`Operator`] how it is masked, [`Mask`] is both compiled for one
//!   PostgreSQL type: it turns a value in text or binary format into a masked value of the same type and format.
//! - [`copy`] takes COPY streams apart into cells and puts them together again.
//! - [`detect`] finds identifiers in free text, the second net below the policy by column.
//! - [`propose`] proposes what of a database is protected, for a person to confirm.
//!
//! **Absent by design:** which columns are protected and who may see them (policy, catalogue, lineage), and the wire.
//! Everything fails closed: a value that does not decode is masked to NULL, never passed.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod class;
pub mod copy;
pub mod detect;
mod mask;
pub mod operator;
pub mod pgtype;
pub mod propose;

pub use class::{Class, Unknown, Usage};
pub use mask::{Format, Mask, Outcome, RowContext, Unsuitable};
pub use operator::{Keys, Operator};
pub use pgtype::Type;
