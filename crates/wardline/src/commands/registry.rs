//! `wardline registry`: the registry as a whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::admin::{Reply, Request};
use crate::commands::administer::{ask, unexpected};
use crate::output;

/// Commands about the registry as a whole.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  wardline registry import wardline-data/registry.sqlite")]
pub(crate) enum RegistryCommand {
    /// Fill the configured registry, which must be empty, from a file: to move to PostgreSQL, or after a restore
    #[command(after_help = "\
The file is a registry in SQLite: of this or an earlier version, from a data folder or a backup. Nothing is overwritten:
a registry with anybody in it is refused.

Example:
  wardline registry import wardline-data/registry.sqlite")]
    Import(Import),
}

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Runs `wardline registry …`.
pub(crate) fn run(file: &Path, command: &RegistryCommand) -> anyhow::Result<ExitCode> {
    let RegistryCommand::Import(arguments) = command;
    let from = std::fs::canonicalize(&arguments.file)
        .with_context(|| format!("reading {}", arguments.file.display()))?;
    ask(file, Request::RegistryImport { file: from }, |reply| {
        let Reply::Imported { people } = reply else { return unexpected() };
        if arguments.json {
            return output::json(&json!({ "done": true, "people": people }));
        }
        output::line(&format!("the registry has {people} people"));
        Ok(())
    })
}
