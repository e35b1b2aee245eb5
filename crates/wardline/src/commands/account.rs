//! `wardline account …`, `wardline agent …` and `wardline report accounts`: accounts, who answers for them, and programs
//! that act for people.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::administer::{ask, unexpected};
use crate::admin::{AccountAsk, AccountView, AgentAsk, AgentReply, DelegationView, Reply, Request};
use crate::cli::Json;
use crate::output::{self, Paint};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  wardline account describe backup --kind service --owner ann --approver lea
  wardline account describe ann --manager lea
  wardline report accounts")]
pub(crate) enum AccountCommand {
    /// Say what an account is, and who answers for it
    #[command(after_help = "\
An account is a person's unless it is said to be a service's, shared or an agent's. Who owns one and who approved it are
two people. With --upstream it is the account by which Wardline signs in at a resource. An empty name is nobody.

Examples:
  wardline account describe backup --kind service --owner ann --approver lea
  wardline account describe --upstream hospital --owner ann --approver lea
  wardline account describe ann --manager lea
  wardline account describe backup --owner ''")]
    Describe(Describe),
}

#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Login name
    #[arg(required_unless_present = "upstream", conflicts_with = "upstream")]
    name: Option<String>,
    /// The account by which Wardline signs in at this resource
    #[arg(long, value_name = "RESOURCE", conflicts_with_all = ["kind", "manager"])]
    upstream: Option<String>,
    /// `person`, `service`, `shared` or `agent`
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Who agreed that it is there
    #[arg(long, value_name = "NAME")]
    approver: Option<String>,
    /// Who reviews what the person may do
    #[arg(long, value_name = "NAME")]
    manager: Option<String>,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
An agent is a program that acts on behalf of people. It has roles of its own and no password. A person lets it act for a
time; what it then may do is what both may, and nothing is shown to it in clear that either of them may not see.

Examples:
  wardline agent add scribe --role nurse --owner ann
  wardline --as ann agent delegate scribe --for-s 28800 --purpose treatment
  wardline agent list")]
pub(crate) enum AgentCommand {
    /// Add an agent
    #[command(after_help = "Example:\n  wardline agent add scribe --role nurse --owner ann")]
    Add {
        /// Login name
        name: String,
        /// Role from wardline.toml; may be given several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// The person who answers for it
        #[arg(long, value_name = "NAME")]
        owner: String,
        /// Name for humans
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// Let an agent act on your behalf; prints the token that it signs in with, once
    #[command(after_help = "\
The agent signs in with its own name and this token as the password. Every entry names you and the agent.

Examples:
  wardline --as ann agent delegate scribe --for-s 3600
  wardline --as ann agent delegate scribe --for-s 28800 --purpose treatment --json")]
    Delegate {
        /// The agent
        agent: String,
        /// For how many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
        for_s: u64,
        /// The only purpose it may state, one of `policy.purposes`
        #[arg(long, value_name = "PURPOSE")]
        purpose: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// End a delegation; the agent's sessions end at once
    #[command(after_help = "Example:\n  wardline --as ann agent end 7 --reason \"it is done\"")]
    End {
        /// Its number, as `agent list` shows it
        number: u64,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// List the delegations in force
    #[command(after_help = "Examples:\n  wardline agent list\n  wardline agent list --all --json")]
    List {
        /// Also what is over
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline account …`.
pub(crate) fn account(file: &Path, command: &AccountCommand) -> anyhow::Result<ExitCode> {
    let AccountCommand::Describe(Describe { name, upstream, kind, owner, approver, manager, output }) =
        command;
    let (owner, approver) = (owner.clone(), approver.clone());
    let request = match (upstream, name) {
        (Some(resource), _) => AccountAsk::DescribeUpstream { resource: resource.clone(), owner, approver },
        (None, name) => AccountAsk::Describe {
            name: name.clone().unwrap_or_default(),
            kind: kind.clone(),
            owner,
            approver,
            manager: manager.clone(),
        },
    };
    accounts(file, request, output.json)
}

/// Runs `wardline report accounts`.
pub(crate) fn report(file: &Path, all: bool, json: bool) -> anyhow::Result<ExitCode> {
    accounts(file, AccountAsk::Report { all }, json)
}

fn accounts(file: &Path, request: AccountAsk, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::Account(request), |reply| {
        let Reply::Accounts(accounts) = reply else { return unexpected() };
        if json {
            return output::json(&accounts);
        }
        output::line(&table(&accounts));
        let findings: usize = accounts.iter().map(|account| account.findings.len()).sum();
        output::line(&format!("{} accounts, {findings} findings", accounts.len()));
        Ok(())
    })
}

fn table(accounts: &[AccountView]) -> String {
    let heading = ["ACCOUNT", "KIND", "AT", "OWNER", "APPROVED BY", "LAST USED", "FINDINGS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(accounts.iter().map(|account| {
        let day = |time: &str| time.chars().take(DAY_CHARS).collect::<String>();
        vec![
            output::printable(&account.account),
            account.kind.clone(),
            account.resource.clone().unwrap_or_else(|| "wardline".to_owned()),
            account.owner.clone().unwrap_or_default(),
            account.approver.clone().unwrap_or_default(),
            account.last_used_at.as_deref().map_or_else(|| "never".to_owned(), day),
            account.findings.join("; "),
        ]
    }));
    output::table(&rows, Paint::stdout())
}

/// The length of a day alone.
const DAY_CHARS: usize = 10;

/// Runs `wardline agent …`.
pub(crate) fn agent(file: &Path, command: &AgentCommand) -> anyhow::Result<ExitCode> {
    match command {
        AgentCommand::Add { name, roles, owner, display_name, output } => {
            let request = AgentAsk::Add {
                name: name.clone(),
                display_name: display_name.clone().unwrap_or_default(),
                roles: roles.clone(),
                owner: owner.clone(),
            };
            ask(file, Request::Agent(request), |reply| {
                let Reply::Person(agent) = reply else { return unexpected() };
                match output.json {
                    true => output::json(&agent)?,
                    false => output::line(&format!("added agent {} (id {})", agent.name, agent.id)),
                }
                Ok(())
            })
        }
        AgentCommand::Delegate { agent, for_s, purpose, output } => {
            let request =
                AgentAsk::Delegate { agent: agent.clone(), life_s: *for_s, purpose: purpose.clone() };
            ask(file, Request::Agent(request), |reply| {
                let Reply::Agent(AgentReply::Delegated { delegation, token, address }) = reply else {
                    return unexpected();
                };
                if output.json {
                    return output::json(
                        &json!({ "delegation": delegation, "token": token.0.expose(), "address": address }),
                    );
                }
                output::line(token.0.expose());
                eprintln!(
                    "{} acts for {} until {} (delegation {}); it signs in at {address} with its own name and this token",
                    delegation.agent,
                    delegation.person,
                    output::to_second(&delegation.until),
                    delegation.number
                );
                Ok(())
            })
        }
        AgentCommand::End { number, reason, output } => {
            delegations(file, AgentAsk::End { number: *number, reason: reason.clone() }, output.json)
        }
        AgentCommand::List { all, output } => {
            delegations(file, AgentAsk::List { also_ended: *all }, output.json)
        }
    }
}

fn delegations(file: &Path, request: AgentAsk, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::Agent(request), |reply| {
        let Reply::Agent(AgentReply::Delegations(delegations)) = reply else { return unexpected() };
        if json {
            return output::json(&delegations);
        }
        let heading = ["DELEGATION", "AGENT", "FOR", "PURPOSE", "STATE", "UNTIL", "ENDED BY"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(delegations.into_iter().map(row));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}

fn row(delegation: DelegationView) -> Vec<String> {
    vec![
        delegation.number.to_string(),
        delegation.agent,
        delegation.person,
        delegation.purpose.unwrap_or_default(),
        delegation.state,
        output::to_second(&delegation.until),
        delegation.ended_by.unwrap_or_default(),
    ]
}
