//! The command line from outside: every test runs the built binary on a folder of its own.
#![forbid(unsafe_code)]

#[path = "it/check.rs"]
mod check;
#[path = "it/help.rs"]
mod help;
#[path = "it/place.rs"]
mod place;
