//! `wardline workload …`: programs that sign in by themselves.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::administer::{ask, unexpected};
use crate::admin::{Reply, Request};
use crate::cli::Json;
use crate::output::{self, Paint};

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  wardline workload list")]
pub(crate) enum WorkloadCommand {
    /// List the programs of the configuration, with their owners
    #[command(after_help = "\
Programs are written into the configuration, [workload.NAME]; taking the section out and sending SIGHUP ends their sessions.

Examples:
  wardline workload list
  wardline workload list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline workload …`.
pub(crate) fn run(file: &Path, command: &WorkloadCommand) -> anyhow::Result<ExitCode> {
    let WorkloadCommand::List { output } = command;
    ask(file, Request::WorkloadList {}, |reply| {
        let Reply::Workloads(workloads) = reply else { return unexpected() };
        if output.json {
            return output::json(&workloads);
        }
        let mut rows = vec![["NAME", "OWNER", "ROLES", "SIGNS IN BY", "FINDING"].map(str::to_owned).to_vec()];
        rows.extend(workloads.into_iter().map(|one| {
            let means = output::printable(&one.means.join("; "));
            vec![one.name, one.owner, one.roles.join(","), means, one.finding]
        }));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}
