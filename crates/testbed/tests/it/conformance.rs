//! The rows of docs/conformance.md, from outside: the real program, a real PostgreSQL, real clients.
//!
//! A test is named after its row; `cargo xtask conformance` counts by these names. What a row asks of protocols that
//! do not exist yet is not asked here.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "conformance/access.rs"]
mod access;
#[path = "conformance/duty.rs"]
mod duty;
#[path = "conformance/emergency.rs"]
pub(crate) mod emergency;
#[path = "conformance/factors.rs"]
mod factors;
#[path = "conformance/handover.rs"]
mod handover;
#[path = "conformance/identifiers.rs"]
mod identifiers;
#[path = "conformance/integrity.rs"]
mod integrity;
#[path = "conformance/leavers.rs"]
mod leavers;
#[path = "conformance/masking.rs"]
mod masking;
#[path = "conformance/minimisation.rs"]
mod minimisation;
#[path = "conformance/patients.rs"]
mod patients;
#[path = "conformance/programs.rs"]
mod programs;
#[path = "conformance/recording.rs"]
mod recording;
#[path = "conformance/requests.rs"]
mod requests;
#[path = "conformance/search.rs"]
mod search;
#[path = "conformance/secrecy.rs"]
mod secrecy;
#[path = "conformance/sessions.rs"]
mod sessions;
#[path = "conformance/setup.rs"]
mod setup;
#[path = "conformance/stage.rs"]
pub(crate) mod stage;
#[path = "conformance/store.rs"]
mod store;
#[path = "conformance/vault.rs"]
mod vault;
#[path = "conformance/witness.rs"]
mod witness;
#[path = "conformance/years.rs"]
mod years;
