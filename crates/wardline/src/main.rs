//! The binary: arguments, configuration, wiring, shutdown.
//!
//! Nothing is decided, recorded or relayed here; that is `policy`, `trail` and `gateway`. This crate opens them,
//! connects them, and gives operators words for what they can do. `anyhow` is allowed here and in no library.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admin;
mod changes;
mod cli;
mod commands;
mod config;
mod control;
mod data;
mod gate;
mod hashing;
mod logging;
mod node;
mod output;
mod prompt;
mod reload;
mod render;
mod serve;
mod sign_in;
mod tls;
mod upstream;

use std::process::ExitCode;

use clap::Parser as _;

/// Refused, or damage was found.
const EXIT_REFUSED: u8 = 1;
/// Could not run: bad arguments, no configuration, no access.
const EXIT_CANNOT_RUN: u8 = 2;
/// The trail failed while serving: nothing may be done that cannot be recorded.
const EXIT_TRAIL_FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wardline: {error:#}");
            ExitCode::from(EXIT_CANNOT_RUN)
        }
    }
}
