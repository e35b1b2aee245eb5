//! The command line from outside: every test runs the built binary on a folder of its own.
#![forbid(unsafe_code)]
// Helpers of tests fail like tests.
#![allow(clippy::panic, clippy::indexing_slicing)]

#[path = "it/check.rs"]
mod check;
#[path = "it/help.rs"]
mod help;
#[path = "it/keeping.rs"]
mod keeping;
#[path = "it/operators.rs"]
mod operators;
#[path = "it/pages.rs"]
mod pages;
#[path = "it/people.rs"]
mod people;
#[path = "it/place.rs"]
mod place;
#[path = "it/retention.rs"]
mod retention;
#[path = "it/server.rs"]
mod server;
#[path = "it/standing.rs"]
mod standing;
#[path = "it/trail.rs"]
mod trail;
