//! Masking: what of a result leaves, and how.
//!
//! Not wired into the relay yet: results pass as the resource sends them.

#![allow(dead_code, reason = "the relay does not ask for a plan yet")]

mod plan;
mod rows;
