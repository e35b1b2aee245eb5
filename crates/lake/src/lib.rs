//! The archive: entries as Parquet, sorted by patient, encrypted, bound to the log, and asked with DataFusion.
//!
//! ```text
//! entries ─▶ rows, one for each patient ─▶ sorted ─▶ Parquet ─▶ sealed frames ─▶ files ─▶ manifest in the log
//!                                                    files of a month ─▶ compacted into few, large ones ─▲
//! ```
//!
//! A leaf crate with a binary of its own, `wardline-lake`, which `wardline` runs: nothing of the gateway waits for its
//! build. `docs/formats/archive.md` has the formats. Deliberately absent: who may ask, and the record that they asked;
//! that is `wardline`'s.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod archive;
mod check;
mod engine;
mod error;
mod rows;
mod sealed;
mod unit;

pub use archive::{COMPACT_ROWS_MAX, FRESH_ENTRIES_MAX, Wanted, archive, compact, compactions};
pub use check::{Finding, check_digests, check_rows};
pub use engine::{Engine, Limits};
pub use error::Error;
pub use rows::{Batch, SCHEMA, batches};
pub use sealed::{SealedStore, SealingWriter};
pub use unit::{Folder, PATIENT_DAYS, PERSON_DAYS, events_properties, folder, write_sorted};
