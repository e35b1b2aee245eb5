//! What each command does, one module for each.

mod check;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// Runs the command that was asked for.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Check(arguments) => check::run(&cli.config, arguments),
        _ => anyhow::bail!("this build has the command line only"),
    }
}
