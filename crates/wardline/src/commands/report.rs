//! `wardline report …`: what auditors ask for, from what is kept.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::account;
use super::administer::{ask, unexpected};
use crate::admin::{LeaverView, Reply, Request};
use crate::cli::{Json, Period};
use crate::output::{self, Paint};

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  wardline report leavers --from 2026-11-01")]
pub(crate) enum Report {
    /// Show who was barred, what ended by it, and how long that took
    #[command(after_help = "\
A line is flagged when the last session ended more than 60 minutes after the employment, or more than 60 seconds after
Wardline was told. When the employment ended is known where `user disable --ended-at` or the identity provider said so.

Examples:
  wardline report leavers
  wardline report leavers --from 2026-11-01 --to 2026-12-01 --json")]
    Leavers {
        #[command(flatten)]
        period: Period,
        #[command(flatten)]
        output: Json,
    },
    /// Show accounts that are not one person's, and what is wrong with any
    #[command(after_help = "\
Lists service and shared accounts, agents, and the accounts by which Wardline signs in at resources, each with who owns
and approved it and when it was last used; and every account with a finding: nobody owns it, its owner is gone, several
people use it, it was not used for 90 days, or it comes with a product. `wardline account describe` mends most of it.

Examples:
  wardline report accounts
  wardline report accounts --all --json")]
    Accounts {
        /// Also people without a finding
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline report …`.
pub(crate) fn run(file: &Path, command: &Report) -> anyhow::Result<ExitCode> {
    match command {
        Report::Leavers { period, output } => leavers(file, *period, output.json),
        Report::Accounts { all, output } => account::report(file, *all, output.json),
    }
}

fn leavers(file: &Path, period: Period, json: bool) -> anyhow::Result<ExitCode> {
    let from_us = period.from.map_or(0, |at| at.0);
    let to_us = period.to.map_or(u64::MAX, |at| at.0);
    ask(file, Request::ReportLeavers { from_us, to_us }, |reply| {
        let Reply::Leavers(leavers) = reply else { return unexpected() };
        if json {
            return output::json(&leavers);
        }
        let heading =
            ["PERSON", "ENDED", "TOLD", "BY", "CUT OFF", "MINUTES", "SESSIONS", "TOKENS", "FINDING"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(leavers.into_iter().map(line));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}

fn line(leaver: LeaverView) -> Vec<String> {
    let time = |at: Option<&String>, none: &str| at.map_or(none.to_owned(), |at| output::to_second(at));
    vec![
        leaver.person,
        time(leaver.ended_at.as_ref(), "not said"),
        output::to_second(&leaver.told_at),
        leaver.source,
        time(leaver.cut_at.as_ref(), "not yet"),
        leaver.minutes_from_end.map(|minutes| minutes.to_string()).unwrap_or_default(),
        leaver.sessions.to_string(),
        leaver.tokens.to_string(),
        leaver.finding,
    ]
}
