//! What each command does, one module for each.

mod access;
mod administer;
mod check;
mod init;
mod place;
mod trail;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::serve;

/// Runs the command that was asked for.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let file = &cli.config;
    match &cli.command {
        Command::Serve(arguments) => serve::run(file, arguments),
        Command::Check(arguments) => check::run(file, arguments),
        Command::Init(arguments) => init::run(file, arguments),
        Command::User(command) => administer::user(file, command),
        Command::Login(arguments) => administer::login(file, arguments),
        Command::Token(command) => administer::token(file, command),
        Command::Vault(command) => administer::vault(file, command),
        Command::Access(command) => access::run(file, command),
        Command::Trail(command) => trail::run(file, command),
        Command::Verify(arguments) => verify::run(file, arguments),
    }
}

/// Returns the configuration, or everything that is wrong with it.
pub(crate) fn configuration(file: &Path) -> anyhow::Result<Config> {
    let loaded = Config::load(file);
    match loaded.config {
        Some(config) => Ok(config),
        None => bail!("the configuration is not valid\n{}", loaded.problems),
    }
}
