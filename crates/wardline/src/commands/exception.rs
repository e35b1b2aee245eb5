//! `wardline exception …`: protections that are switched off, and why that is allowed.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use model::Micros;

use super::administer::{ask, unexpected};
use crate::EXIT_RED;
use crate::admin::{Reply, Request};
use crate::changes::exceptions::{Act, ExceptionView};
use crate::cli::Json;
use crate::output::{self, Paint};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Each protection that the configuration switches off needs an exception: a reason, an end, and two people. One without is red:
`wardline check` ends with 4, and an incident says so at each start and daily. In force with [operators].

Examples:
  wardline exception list
  wardline --as ada exception add resource.lab.tls --reason \"the old analyser speaks no TLS; own network\" --until 2027-03-31
  wardline --as pia exception approve 3")]
pub(crate) enum ExceptionCommand {
    /// List what is switched off without an exception, and the exceptions
    #[command(after_help = "\
Examples:
  wardline exception list
  wardline exception list --json

Exit codes: 0 nothing is red, 2 could not run, 4 something is red.")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Ask for an exception; another person approves it
    #[command(after_help = "\
Example:
  wardline --as ada exception add resource.lab.tls --reason \"the old analyser speaks no TLS; own network\" --until 2027-03-31")]
    Add {
        /// The protection, as `exception list` calls it
        control: String,
        /// Why it must be so, and what protects instead; at least 15 characters
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Until when, within a year: a day, or a day and time in UTC
        #[arg(long, value_name = "TIME", value_parser = output::parse_time)]
        until: Micros,
        #[command(flatten)]
        output: Json,
    },
    /// Approve an exception that somebody else asked for
    #[command(after_help = "Example:\n  wardline --as pia exception approve 3")]
    Approve {
        /// Its number
        number: u64,
        #[command(flatten)]
        output: Json,
    },
    /// End an exception; what it excused is red again
    #[command(
        after_help = "Example:\n  wardline --as ada exception end 3 --reason \"the analyser was replaced\""
    )]
    End {
        /// Its number
        number: u64,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline exception …`.
pub(crate) fn run(file: &Path, command: &ExceptionCommand) -> anyhow::Result<ExitCode> {
    let (act, output, lists) = match command {
        ExceptionCommand::List { output } => (Act::List {}, *output, true),
        ExceptionCommand::Add { control, reason, until, output } => {
            let (control, reason) = (control.clone(), reason.clone());
            (Act::Add { control, reason, until_us: until.0 }, *output, false)
        }
        ExceptionCommand::Approve { number, output } => (Act::Approve { number: *number }, *output, false),
        ExceptionCommand::End { number, reason, output } => {
            (Act::End { number: *number, reason: reason.clone() }, *output, false)
        }
    };
    let mut is_red = false;
    let code = ask(file, Request::Exception { act }, |reply| {
        let Reply::Exceptions(rows) = reply else { return unexpected() };
        is_red = lists && rows.iter().any(|row| row.state == "red");
        if output.json {
            return output::json(&rows);
        }
        output::line(&table(&rows, Paint::stdout()));
        Ok(())
    })?;
    Ok(if is_red { ExitCode::from(EXIT_RED) } else { code })
}

fn table(rows: &[ExceptionView], paint: Paint) -> String {
    let heading = ["NUMBER", "PROTECTION", "STATE", "UNTIL", "ASKED BY", "APPROVED BY", "WHY"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let or = |value: &Option<String>| value.clone().unwrap_or_default();
        let state = if row.state == "red" { "RED".to_owned() } else { row.state.clone() };
        vec![
            row.number.map(|number| number.to_string()).unwrap_or_default(),
            row.control.clone(),
            state,
            row.until.as_deref().map(output::to_second).unwrap_or_default(),
            or(&row.asked_by),
            or(&row.approved_by),
            output::printable(&row.reason.clone().or(row.weakens.clone()).unwrap_or_default()),
        ]
    }));
    output::table(&lines, paint)
}
