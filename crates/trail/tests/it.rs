//! The trail's tests from outside: one binary.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[path = "it/canonical.rs"]
mod canonical;
#[path = "it/corpus.rs"]
mod corpus;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/custody.rs"]
mod custody;
#[path = "it/decoders.rs"]
mod decoders;
#[path = "it/epoch.rs"]
mod epoch;
#[path = "it/fault.rs"]
mod fault;
#[path = "it/keeping.rs"]
mod keeping;
#[path = "it/life.rs"]
mod life;
#[path = "it/memory.rs"]
mod memory;
#[path = "it/mutation.rs"]
mod mutation;
#[path = "it/reading.rs"]
mod reading;
#[path = "it/rotation.rs"]
mod rotation;
#[path = "it/support.rs"]
mod support;
