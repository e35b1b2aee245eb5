//! What clients meet when Wardline stands between them and PostgreSQL: the same as without it, or a PostgreSQL
//! error that says why not.
//!
//! Deliberately absent: what is recorded and what is refused by policy (`conformance`), crashes, hostile peers.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "through_gateway/book.rs"]
mod book;
#[path = "through_gateway/clients.rs"]
mod clients;
#[path = "through_gateway/greeting.rs"]
mod greeting;
#[path = "through_gateway/random.rs"]
mod random;
#[path = "through_gateway/scripts.rs"]
mod scripts;
#[path = "through_gateway/sessions.rs"]
mod sessions;
#[path = "through_gateway/stage.rs"]
mod stage;
