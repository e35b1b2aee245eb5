//! The trail handed over to receivers that fail, die and lie, and to files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "it/events.rs"]
mod events;
#[path = "it/files.rs"]
mod files;
#[path = "it/follow.rs"]
mod follow;
#[path = "it/support.rs"]
mod support;
