//! `wardline session …` and `wardline lock …`: who is connected, and keeping somebody or something out.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::administer::{ask, unexpected};
use crate::admin::{LockOn, OpenSession, Reply, Request, Which};
use crate::cli::Json;
use crate::output::{self, Paint};

/// How often the list of sessions is asked for while somebody watches it.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  wardline session list
  wardline session kill --person ann --reason \"left the ward\"")]
pub(crate) enum SessionCommand {
    /// List the open sessions, the oldest first
    #[command(after_help = "Examples:\n  wardline session list\n  wardline session list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// List them again and again, until interrupted
    #[command(after_help = "Example:\n  wardline session watch")]
    Watch {
        #[command(flatten)]
        output: Json,
    },
    /// End sessions at once, with their connections to the resource
    #[command(after_help = "\
Whoever is ended may come back; `wardline lock add` keeps them out.

Examples:
  wardline session kill 5b0c1f6ad3e24f4e9a52e0c7f1d3a9b8 --reason \"forgotten on a ward\"
  wardline session kill --person ann --reason \"lost laptop\"
  wardline session kill --resource hospital --reason maintenance")]
    Kill {
        #[command(flatten)]
        which: WhichSessions,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhichSessions {
    /// The session's id, as `session list` shows it
    #[arg(value_name = "SESSION")]
    id: Option<String>,
    /// All sessions of a person
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// All sessions on a resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
}

impl WhichSessions {
    fn meant(&self) -> Which {
        match (&self.id, &self.person, &self.resource) {
            (Some(id), _, _) => Which::Session(id.clone()),
            (None, Some(name), _) => Which::Person(name.clone()),
            (None, None, resource) => Which::Resource(resource.clone().unwrap_or_default()),
        }
    }
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
A lock holds whatever roles and policies allow. Open sessions that it touches end at once.

Examples:
  wardline lock add --person ann --reason \"account stolen\"
  wardline lock list
  wardline lock remove 3 --reason \"password changed\"")]
pub(crate) enum LockCommand {
    /// Keep something out from now on
    #[command(after_help = "\
Examples:
  wardline lock add --person ann --reason \"account stolen\"
  wardline lock add --role student --reason \"term is over\"
  wardline lock add --resource hospital --reason \"case 12 is looked into\"
  wardline lock add --address 10.4.7.0/24 --reason \"ward 7's computers are infected\"")]
    Add {
        #[command(flatten)]
        on: LockedThing,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// End a lock
    #[command(after_help = "Example:\n  wardline lock remove 3 --reason \"password changed\"")]
    Remove {
        /// Its number, as `lock list` shows it
        number: u64,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// List the locks in force
    #[command(after_help = "Examples:\n  wardline lock list\n  wardline lock list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct LockedThing {
    /// A person, by login name
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Everybody who holds a role
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// A resource, for everybody
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// A device's address, or a range
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

impl LockedThing {
    fn meant(&self) -> LockOn {
        match (&self.person, &self.role, &self.resource, &self.address) {
            (Some(name), _, _, _) => LockOn::Person(name.clone()),
            (None, Some(name), _, _) => LockOn::Role(name.clone()),
            (None, None, Some(name), _) => LockOn::Resource(name.clone()),
            (None, None, None, address) => LockOn::Address(address.clone().unwrap_or_default()),
        }
    }
}

/// Runs `wardline session …`.
pub(crate) fn session(file: &Path, command: &SessionCommand) -> anyhow::Result<ExitCode> {
    match command {
        SessionCommand::List { output } => list(file, output.json),
        SessionCommand::Watch { output } => loop {
            let code = list(file, output.json)?;
            if code != ExitCode::SUCCESS {
                return Ok(code);
            }
            if !output.json {
                output::line("");
            }
            sleep(WATCH_PAUSE);
        },
        SessionCommand::Kill { which, reason, output } => {
            let request = Request::SessionKill { which: which.meant(), reason: reason.clone() };
            ask(file, request, |reply| {
                let Reply::Ended { sessions } = reply else { return unexpected() };
                if output.json {
                    return output::json(&json!({ "ended": sessions }));
                }
                let noun = if sessions == 1 { "session" } else { "sessions" };
                output::line(&format!("ended {sessions} {noun}"));
                Ok(())
            })
        }
    }
}

fn list(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::SessionList {}, |reply| {
        let Reply::Sessions(sessions) = reply else { return unexpected() };
        if json {
            return output::json(&sessions);
        }
        let heading = ["SESSION", "PERSON", "RESOURCE", "ADDRESS", "CLIENT", "SINCE", "ASKED", "IDLE"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(sessions.into_iter().map(session_row));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}

fn session_row(session: OpenSession) -> Vec<String> {
    vec![
        session.id,
        match session.agent {
            Some(agent) => format!("{} (by {agent})", session.person),
            None => session.person,
        },
        session.resource,
        session.address,
        output::printable(&session.client),
        output::to_second(&session.since),
        session.asked.to_string(),
        format!("{} s", session.idle_s),
    ]
}

/// Runs `wardline lock …`.
pub(crate) fn lock(file: &Path, command: &LockCommand) -> anyhow::Result<ExitCode> {
    match command {
        LockCommand::Add { on, reason, output } => {
            let request = Request::LockPlace { on: on.meant(), reason: reason.clone() };
            ask(file, request, |reply| {
                let Reply::Locked { number } = reply else { return unexpected() };
                if output.json {
                    return output::json(&json!({ "lock": number }));
                }
                output::line(&format!("lock {number} is in force"));
                Ok(())
            })
        }
        LockCommand::Remove { number, reason, output } => {
            let request = Request::LockLift { number: *number, reason: reason.clone() };
            ask(file, request, |_| {
                if output.json {
                    return output::json(&json!({ "done": true }));
                }
                output::line(&format!("lock {number} is lifted"));
                Ok(())
            })
        }
        LockCommand::List { output } => ask(file, Request::LockList {}, |reply| {
            let Reply::Locks(locks) = reply else { return unexpected() };
            if output.json {
                return output::json(&locks);
            }
            let heading = ["LOCK", "ON", "NAME", "SINCE", "BY", "REASON"];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(locks.into_iter().map(|lock| {
                let since = output::to_second(&lock.placed_at);
                vec![
                    lock.number.to_string(),
                    lock.kind,
                    lock.name,
                    since,
                    lock.placed_by,
                    output::printable(&lock.reason),
                ]
            }));
            output::line(&output::table(&rows, Paint::stdout()));
            Ok(())
        }),
    }
}
