//! The binary: arguments, configuration, wiring, shutdown.
//!
//! Nothing is decided, recorded or relayed here; that is `policy`, `trail` and `gateway`. This crate opens them,
//! connects them, and gives operators words for what they can do. `anyhow` is allowed here and in no library.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accounts;
mod admin;
mod archiving;
mod backup;
mod changes;
mod cli;
mod clock;
mod codes;
mod commands;
mod config;
mod control;
mod data;
mod emergency;
mod exceptions;
mod exports;
mod gate;
mod guards;
mod hashing;
mod https;
mod inbound;
mod keep;
mod ldap;
mod leavers;
mod logging;
mod node;
mod notify;
mod oidc;
mod operators;
mod output;
mod parting;
mod past;
mod prompt;
mod reload;
mod render;
mod retention;
mod rotation;
mod scim;
mod serve;
mod sign_in;
mod standing;
mod tls;
mod training;
mod upstream;
mod web;
mod witness;
mod workloads;

use std::process::ExitCode;

use clap::Parser as _;

use crate::admin::{Refusal, Refused};

/// Refused, or damage was found.
const EXIT_REFUSED: u8 = 1;
/// Could not run: bad arguments, no configuration, no access.
const EXIT_CANNOT_RUN: u8 = 2;
/// The trail failed while serving: nothing may be done that cannot be recorded.
const EXIT_TRAIL_FAILED: u8 = 3;
/// It would start, or was shown; but a protection is switched off without an exception.
const EXIT_RED: u8 = 4;

fn main() -> ExitCode {
    // Asked of the words themselves, because what cannot be parsed is to be told in the same form.
    let json = std::env::args_os().any(|argument| argument == "--json");
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if json && error.use_stderr() => return misused(&error),
        Err(error) => error.exit(),
    };
    if let Err(error) = cli.operator.claim() {
        return failed(&error, json);
    }
    match commands::run(&cli) {
        Ok(code) => code,
        Err(error) => failed(&error, json),
    }
}

/// Tells why a command failed, in words or as one JSON object.
fn failed(error: &anyhow::Error, json: bool) -> ExitCode {
    if json {
        let refusals = error.chain().filter_map(|cause| match cause.downcast_ref::<Refused>() {
            Some(refused) => Some(&refused.0),
            None => cause.downcast_ref::<Refusal>(),
        });
        let help = refusals.filter_map(|refusal| refusal.help.clone()).next();
        let causes: Vec<String> = error.chain().map(alone).collect();
        output::json_error(&causes.join(": "), help.as_deref());
    } else {
        eprintln!("wardline: {error:#}");
    }
    ExitCode::from(if error.is::<Refused>() { EXIT_REFUSED } else { EXIT_CANNOT_RUN })
}

/// Returns an error without its causes, and without the help that is told apart.
fn alone(error: &(dyn std::error::Error + 'static)) -> String {
    let refused = error.downcast_ref::<Refused>().map(|refused| &refused.0);
    let refusal = refused.or_else(|| error.downcast_ref::<Refusal>());
    refusal.map_or_else(|| error.to_string(), |refusal| refusal.message.clone())
}

/// Tells what is wrong with the words of a command, as one JSON object.
fn misused(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let (message, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let help = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    output::json_error(message, Some(help.as_str()).filter(|help| !help.is_empty()));
    ExitCode::from(EXIT_CANNOT_RUN)
}
