//! Tests of the public API.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "it/agents.rs"]
mod agents;
#[path = "it/decide.rs"]
mod decide;
#[path = "it/diagnostics.rs"]
mod diagnostics;
#[path = "it/examples.rs"]
mod examples;
#[path = "it/reference.rs"]
mod reference;
#[path = "it/training.rs"]
mod training;
#[path = "it/world.rs"]
mod world;
