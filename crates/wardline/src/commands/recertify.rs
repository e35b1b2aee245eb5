//! `wardline recertify …`: named people look at the rights that others hold.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::administer::{ask, unexpected};
use crate::admin::{Answered, CampaignReport, Over, RecertifyAsk, RecertifyReply, Reply, Request};
use crate::cli::Json;
use crate::output::{self, Paint};

/// The length of a day alone, which includes its day.
const DAY_CHARS: usize = 10;
const DAY_US: u64 = 86_400 * 1_000_000;
const DAY_S: u64 = 86_400;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
A campaign lists the rights that are held when it starts, each with one person who looks at it, never the one who holds
it. What nobody answers until the day it is due is taken away, or first asked of somebody else.

Examples:
  wardline recertify start --resource hospital --due 2026-12-31
  wardline --as lea recertify show 1
  wardline --as lea recertify confirm 1 3 4 --reason \"still on ward 3\"
  wardline recertify report 1 --output q4")]
pub(crate) enum RecertifyCommand {
    /// List the rights there are, and say who looks at each
    #[command(after_help = "\
Who looks at a right is --reviewer, or else the manager of its holder, or else their owner (`wardline account
describe`); where that is the holder, --deputy. A campaign of --manager is looked at by that manager.

Examples:
  wardline recertify start --resource hospital --due 2026-12-31
  wardline recertify start --resource hospital --reviewer lea --deputy kim --due 2026-12-31
  wardline recertify start --manager lea --due 2026-12-31 --escalate-to kim --escalate-days 7")]
    Start(Start),
    /// List the campaigns
    #[command(after_help = "Example:\n  wardline recertify list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Show the rights of a campaign, and what was decided
    #[command(
        after_help = "Examples:\n  wardline recertify show 1\n  wardline recertify show 1 --reviewer lea --open"
    )]
    Show {
        /// Its number
        campaign: u64,
        /// Only what this person looks at
        #[arg(long, value_name = "NAME")]
        reviewer: Option<String>,
        /// Only what is not decided
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        output: Json,
    },
    /// Let rights stay
    #[command(
        after_help = "Example:\n  wardline --as lea recertify confirm 1 3 4 --reason \"still on ward 3\""
    )]
    Confirm(Decision),
    /// Give another role in the place of one
    #[command(
        after_help = "Example:\n  wardline --as lea recertify change 1 3 --to clerk --reason \"moved to billing\""
    )]
    Change {
        #[command(flatten)]
        decision: Decision,
        /// The role to hold instead
        #[arg(long, value_name = "ROLE")]
        to: String,
    },
    /// Take rights away; open sessions lose them at once
    #[command(after_help = "Example:\n  wardline --as lea recertify revoke 1 5 --reason \"left the ward\"")]
    Revoke(Decision),
    /// Write everything that was decided, signed with the key of the log
    #[command(after_help = "\
Writes NAME.json, and NAME.txt, a signed note about it.

Example:
  wardline recertify report 1 --output q4")]
    Report {
        /// Its number
        campaign: u64,
        /// Where to; without it the text is shown
        #[arg(long, value_name = "NAME")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Rights on this resource
    #[arg(long, value_name = "NAME", required_unless_present = "manager", conflicts_with = "manager")]
    resource: Option<String>,
    /// Rights of the people of this manager
    #[arg(long, value_name = "NAME")]
    manager: Option<String>,
    /// The last day, or the time, for answers, in UTC
    #[arg(long, value_name = "DATE")]
    due: String,
    /// Who looks at all of it
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
    /// Who looks at the reviewer's own rights
    #[arg(long, value_name = "NAME")]
    deputy: Option<String>,
    /// Who is asked about what was not answered, before it is taken away
    #[arg(long, value_name = "NAME")]
    escalate_to: Option<String>,
    /// How long they have
    #[arg(long, value_name = "DAYS", default_value_t = 7, requires = "escalate_to", value_parser = clap::value_parser!(u64).range(1..=90))]
    escalate_days: u64,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The campaign
    campaign: u64,
    /// The rights, by their numbers
    #[arg(required = true)]
    items: Vec<u64>,
    /// Why; it is recorded and reported
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    output: Json,
}

/// Runs `wardline recertify …`.
pub(crate) fn run(file: &Path, command: &RecertifyCommand) -> anyhow::Result<ExitCode> {
    match command {
        RecertifyCommand::Start(arguments) => start(file, arguments),
        RecertifyCommand::List { output } => list(file, output.json),
        RecertifyCommand::Show { campaign, reviewer, open, output } => {
            let request = Request::Recertify(RecertifyAsk::Show { campaign: *campaign });
            ask(file, request, |reply| {
                let Reply::Recertify(RecertifyReply::Campaign(mut report)) = reply else {
                    return unexpected();
                };
                report.rights.retain(|right| {
                    reviewer.as_ref().is_none_or(|reviewer| right.reviewer == *reviewer)
                        && !(*open && right.decision.is_some())
                });
                show(&report, output.json)
            })
        }
        RecertifyCommand::Confirm(decision) => decide(file, decision, Answered::Confirm),
        RecertifyCommand::Change { decision, to } => decide(file, decision, Answered::ChangeTo(to.clone())),
        RecertifyCommand::Revoke(decision) => decide(file, decision, Answered::Revoke),
        RecertifyCommand::Report { campaign, output } => write(file, *campaign, output.as_deref()),
    }
}

fn start(file: &Path, arguments: &Start) -> anyhow::Result<ExitCode> {
    let due = output::parse_time(&arguments.due).map_err(anyhow::Error::msg).context("--due")?;
    let day = if arguments.due.trim().len() == DAY_CHARS { DAY_US } else { 0 };
    let over = match (&arguments.resource, &arguments.manager) {
        (Some(resource), _) => Over::Resource(resource.clone()),
        (None, manager) => Over::Manager(manager.clone().unwrap_or_default()),
    };
    let request = RecertifyAsk::Start {
        over,
        due_us: due.0 + day,
        reviewer: arguments.reviewer.clone(),
        deputy: arguments.deputy.clone(),
        escalate_to: arguments.escalate_to.clone(),
        escalate_s: arguments.escalate_days * DAY_S,
    };
    ask(file, Request::Recertify(request), |reply| shown(reply, arguments.output.json))
}

fn decide(file: &Path, decision: &Decision, verdict: Answered) -> anyhow::Result<ExitCode> {
    let request = RecertifyAsk::Decide {
        campaign: decision.campaign,
        items: decision.items.clone(),
        verdict,
        reason: decision.reason.clone(),
    };
    ask(file, Request::Recertify(request), |reply| shown(reply, decision.output.json))
}

fn shown(reply: Reply, json: bool) -> anyhow::Result<()> {
    let Reply::Recertify(RecertifyReply::Campaign(report)) = reply else { return unexpected() };
    show(&report, json)
}

fn show(report: &CampaignReport, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(report);
    }
    let campaign = &report.campaign;
    output::line(&format!(
        "campaign {} over {} {}, due {}: {} rights, {} open",
        campaign.number,
        campaign.scope,
        output::printable(&campaign.name),
        output::to_second(&campaign.due),
        campaign.rights,
        campaign.open
    ));
    let heading = ["RIGHT", "PERSON", "ROLE", "REVIEWER", "DUE", "DECISION", "BY", "REASON"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(report.rights.iter().map(|right| {
        let role = match right.request {
            Some(request) => format!("{} (request {request})", right.role),
            None => right.role.clone(),
        };
        let decision = match (&right.decision, &right.changed_to) {
            (Some(decision), Some(role)) => format!("{decision} to {role}"),
            (Some(decision), None) => decision.clone(),
            (None, _) => "open".to_owned(),
        };
        vec![
            right.item.to_string(),
            right.person.clone(),
            role,
            right.reviewer.clone(),
            output::to_second(&right.due),
            decision,
            right.decided_by.clone().unwrap_or_default(),
            output::printable(right.reason.as_deref().unwrap_or_default()),
        ]
    }));
    output::line(&output::table(&rows, Paint::stdout()));
    Ok(())
}

fn list(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::Recertify(RecertifyAsk::List {}), |reply| {
        let Reply::Recertify(RecertifyReply::Campaigns(campaigns)) = reply else { return unexpected() };
        if json {
            return output::json(&campaigns);
        }
        let heading = ["CAMPAIGN", "OVER", "DUE", "RIGHTS", "OPEN", "STARTED BY", "CLOSED"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(campaigns.into_iter().map(|campaign| {
            vec![
                campaign.number.to_string(),
                format!("{} {}", campaign.scope, output::printable(&campaign.name)),
                output::to_second(&campaign.due),
                campaign.rights.to_string(),
                campaign.open.to_string(),
                campaign.started_by,
                campaign.closed_at.map(|at| output::to_second(&at)).unwrap_or_default(),
            ]
        }));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}

fn write(file: &Path, campaign: u64, to: Option<&Path>) -> anyhow::Result<ExitCode> {
    ask(file, Request::Recertify(RecertifyAsk::Report { campaign }), |reply| {
        let Reply::Recertify(RecertifyReply::Signed { json, note }) = reply else { return unexpected() };
        let Some(to) = to else {
            output::line(note.trim_end());
            return Ok(());
        };
        let name = |ending: &str| {
            let mut name = to.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        for (path, content) in [(name(".json"), &json), (name(".txt"), &note)] {
            std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        let written = [name(".json"), name(".txt")].map(|path| path.display().to_string());
        output::json(&json!({ "written": written }))
    })
}
