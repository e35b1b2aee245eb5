//! What each command does, one module for each.

mod access;
mod administer;
mod check;
pub(crate) mod export;
pub(crate) mod inbound;
mod init;
pub(crate) mod operator;
mod patients;
mod phi;
mod place;
pub(crate) mod prove;
pub(crate) mod retention;
pub(crate) mod sessions;
mod trail;
mod verify;
pub(crate) mod witness;

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

pub(crate) use patients::forms as patient_forms;

use crate::admin::Refusal;
use crate::cli::{Cli, Command};
use crate::config::{self, Config};
use crate::{output, serve};

/// More names than these are no help.
const NAMES_SHOWN_MAX: usize = 20;

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
        Command::Operator(command) => operator::run(file, command),
        Command::Key(command) => retention::key(file, command),
        Command::Retention(command) => retention::run(file, command),
        Command::Vault(command) => administer::vault(file, command),
        Command::Access(command) => access::run(file, command),
        Command::Phi(command) => phi::run(file, command),
        Command::Session(command) => sessions::session(file, command),
        Command::Lock(command) => sessions::lock(file, command),
        Command::Trail(command) => trail::run(file, command),
        Command::WhoSaw(arguments) => patients::who_saw(file, arguments),
        Command::Saw(arguments) => patients::saw(file, arguments),
        Command::Export(command) => export::run(file, command),
        Command::Inbound(command) => inbound::run(file, command),
        Command::Verify(arguments) => verify::run(file, arguments),
        Command::VerifyProof(arguments) => prove::verify(arguments),
        Command::Witness(arguments) => witness::run(arguments),
    }
}

/// Says that nothing is called so, and what was probably meant.
pub(crate) fn no_such<'c>(noun: &str, name: &str, known: impl IntoIterator<Item = &'c str>) -> Refusal {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let refusal = Refusal::new(format!("there is no {noun} named `{}`", output::printable(name)));
    match (config::nearest(name, known.iter().copied()), known.is_empty()) {
        (Some(meant), _) => refusal.help(format!("did you mean `{}`?", output::printable(meant))),
        (None, true) => refusal,
        (None, false) if known.len() > NAMES_SHOWN_MAX => refusal,
        (None, false) => refusal.help(format!("there are: {}", output::printable(&known.join(", ")))),
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
