//! What each command does, one module for each.

mod access;
pub(crate) mod account;
mod administer;
pub(crate) mod answer;
pub(crate) mod archive;
pub(crate) mod breakglass;
mod check;
mod device;
pub(crate) mod escrow;
pub(crate) mod exception;
pub(crate) mod export;
pub(crate) mod factors;
pub(crate) mod inbound;
mod init;
pub(crate) mod keep;
mod lake;
pub(crate) mod operator;
mod patients;
mod phi;
pub(crate) mod place;
pub(crate) mod policy;
mod policy_test;
pub(crate) mod prove;
pub(crate) mod recertify;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod retention;
pub(crate) mod scim;
pub(crate) mod search;
pub(crate) mod sessions;
pub(crate) mod trail;
pub(crate) mod training;
mod verify;
pub(crate) mod witness;
pub(crate) mod workload;

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
        Command::Registry(command) => registry::run(file, command),
        Command::Vault(command) => administer::vault(file, command),
        Command::Access(command) => access::run(file, command),
        Command::BreakGlass(command) => breakglass::run(file, command),
        Command::Exception(command) => exception::run(file, command),
        Command::Workload(command) => workload::run(file, command),
        Command::Scim(command) => scim::run(file, command),
        Command::Report(command) => report::run(file, command),
        Command::Phi(command) => phi::run(file, command),
        Command::Session(command) => sessions::session(file, command),
        Command::Training(command) => training::run(file, command),
        Command::Policy(command) => policy::run(file, command),
        Command::Recertify(command) => recertify::run(file, command),
        Command::Account(command) => account::account(file, command),
        Command::Agent(command) => account::agent(file, command),
        Command::Lock(command) => sessions::lock(file, command),
        Command::Keep(command) => keep::run(file, command),
        Command::Trail(command) => trail::run(file, command),
        Command::WhoSaw(arguments) => patients::who_saw(file, arguments),
        Command::Saw(arguments) => patients::saw(file, arguments),
        Command::Export(command) => export::run(file, command),
        Command::Inbound(command) => inbound::run(file, command),
        Command::VerifyAnswer(arguments) => answer::verify(file, arguments),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::cli::Cli;

    /// Every command, by what it does to what is recorded. None alters, drops or reorders an entry: there is no list for
    /// that. A new command belongs into one of these before it passes.
    const READ_ONLY: &[&str] = &[
        "check",
        "user list",
        "user factors",
        "vault list",
        "trail tail",
        "trail show",
        "trail export-tlog",
        "who-saw",
        "saw",
        "verify",
        "access matrix",
        "phi scan",
        "phi explain",
        "operator rights",
        "operator agreements",
        "key list",
        "retention plan",
        "retention hold list",
        "trail prove",
        "trail store",
        "trail search",
        "trail sql",
        "verify-answer",
        "export fhir",
        "export atna",
        "export ocsf",
        "export cloudevents",
        "export verify",
        "inbound list",
        "verify-proof",
        "witness",
        "drill",
        "session list",
        "session watch",
        "lock list",
        "access list",
        "break-glass list",
        "break-glass show",
        "break-glass codes list",
        "exception list",
        "training list",
        "training roster",
        "recertify list",
        "recertify show",
        "recertify report",
        "report accounts",
        "agent list",
        "policy test",
        "policy who-can",
        "policy what-can",
        "report leavers",
        "workload list",
    ];
    /// These change people, credentials and keys, and add entries that say so.
    const ADD_ENTRIES: &[&str] = &[
        "serve",
        "init",
        "user add",
        "user passwd",
        "user disable",
        "user enable",
        "user delete",
        "user roles",
        "user bind",
        "scim token",
        "scim revoke",
        "user totp",
        "user recovery-codes",
        "user remove-factors",
        "login",
        "token revoke",
        "vault set",
        "vault remove",
        "vault rotate",
        "registry import",
        "key rotate",
        "key rotate-checkpoint",
        "key escrow",
        "retention expire",
        "retention hold add",
        "retention hold remove",
        "trail seal",
        "trail archive",
        "inbound add",
        "inbound remove",
        "backup",
        "restore",
        "session kill",
        "lock add",
        "lock remove",
        "access request",
        "access approve",
        "access deny",
        "access withdraw",
        "access revoke",
        "break-glass begin",
        "break-glass end",
        "break-glass revoke",
        "break-glass approve",
        "break-glass review",
        "break-glass codes new",
        "break-glass drill",
        "exception add",
        "exception approve",
        "exception end",
        "training complete",
        "training import",
        "training withdraw",
        "recertify start",
        "recertify confirm",
        "recertify change",
        "recertify revoke",
        "account describe",
        "agent add",
        "agent delegate",
        "agent end",
    ];
    /// What two people agreed to: entries whose time is over can be read no more. Their leaves and proofs stay.
    const DESTROY_KEYS: &[&str] = &["operator agree"];

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let mut below = command.get_subcommands().peekable();
        if below.peek().is_none() {
            found.push(path.trim_start().to_owned());
        }
        below.for_each(|command| leaves(command, &format!("{path} {}", command.get_name()), found));
    }

    #[test]
    fn row_24_every_command_is_known_for_what_it_does_to_the_trail() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        let known: Vec<&str> = [READ_ONLY, ADD_ENTRIES, DESTROY_KEYS].concat();
        let unknown: Vec<&String> = found.iter().filter(|name| !known.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "say what these do to the trail: {unknown:?}");
        let gone: Vec<&&str> =
            known.iter().filter(|name| !found.iter().any(|found| found == *name)).collect();
        assert!(gone.is_empty(), "there are no such commands: {gone:?}");
    }
}
