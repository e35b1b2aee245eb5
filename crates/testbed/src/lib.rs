//! What the tests, the demo and the benchmarks stand on: a synthetic hospital, private real servers,
//! real client programs, and a harness for the `wardline` binary. Never shipped.
//!
//! Deliberately absent: anything the product itself needs (nothing depends on this crate but tests and
//! `xtask`), and stand-ins where the real program can be had.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod alarms;
pub mod bench;
pub mod browser;
pub mod bucket;
pub mod clients;
pub mod clock;
mod conninfo;
pub mod crash;
pub mod demo;
pub mod faults;
pub mod gateway;
pub mod holding;
pub mod hospital;
pub mod https;
pub mod idp;
pub mod leaks;
pub mod phone;
pub mod postgres;
mod process;
pub mod receivers;
mod small_disk;
pub mod tls;
pub mod upstreams;
pub mod wire;
pub mod witness;

pub use conninfo::{Conninfo, SslMode};
pub use process::{cache_folder, free_port};
pub use small_disk::SmallDisk;
