//! The trail's tests from outside: one binary.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[path = "it/life.rs"]
mod life;
#[path = "it/support.rs"]
mod support;
