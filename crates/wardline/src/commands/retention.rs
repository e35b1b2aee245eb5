//! `wardline retention …`, `wardline key …`, and what two people agree to.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::{Micros, Secret};

use crate::admin::{AgreementView, HoldView, KeyView, NewHold, Reply, Request, Sensitive};
use crate::cli::Json;
use crate::commands::administer::{ask, unexpected};
use crate::commands::escrow::{self, EscrowArguments};
use crate::output::{self, Paint};

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  wardline key list\n  wardline --as kim key rotate\n  wardline --as kim key rotate-checkpoint --overlap-days 30"
)]
pub(crate) enum Key {
    /// List the trail's keys by their ids; never the keys
    #[command(after_help = "Example:\n  wardline key list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Make further class keys of this month: what comes is under them, what was stays readable
    #[command(after_help = "\
Not supported: another root key. `wardline key escrow` seals the one there is.

Example:
  wardline --as kim key rotate")]
    Rotate {
        #[command(flatten)]
        output: Json,
    },
    /// Seal the root key in a file, for custodians and their passphrases
    Escrow(EscrowArguments),
    /// Let another key sign the log's checkpoints; for a while both do
    #[command(after_help = "\
The change is signed by both keys, lies in the log and beside its tree: whoever holds either key follows it. Give the new key
to witnesses and to the policy files that name the old one before the overlap ends.

Example:
  wardline --as kim key rotate-checkpoint --overlap-days 30")]
    RotateCheckpoint {
        /// For how many days the old key signs, too
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=366))]
        overlap_days: u32,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Nothing expires by itself. A month whose every entry is older than `retention.years` expires when two people agree:
its keys are destroyed, a tombstone says so, and what is held of it stays readable.

Examples:
  wardline retention plan
  wardline --as pia retention hold add --patient 4711 --reason 'lawsuit 26-113, legal department'
  wardline --as pia retention expire 202011 --reason 'six years are over, privacy office'
  wardline --as otto operator agree 1")]
pub(crate) enum Retention {
    /// Show the months of the trail, and which may expire
    #[command(after_help = "Example:\n  wardline retention plan --json")]
    Plan {
        #[command(flatten)]
        output: Json,
    },
    /// Propose that a month expires; another person agrees with `wardline operator agree`
    #[command(after_help = "\
Example:
  wardline --as pia retention expire 202011 --reason 'six years are over, privacy office'")]
    Expire {
        /// The month, as YYYYMM
        month: u32,
        /// Why; it is in the trail
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// Entries that must be kept beyond their time
    #[command(subcommand)]
    Hold(Hold),
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  wardline retention hold list")]
pub(crate) enum Hold {
    /// Keep entries: all that is said must fit; where nothing is said, everything
    #[command(after_help = "\
Examples:
  wardline --as pia retention hold add --patient 4711 --reason 'lawsuit 26-113, legal department'
  wardline --as pia retention hold add --person ann --from 2021-01-01 --reason 'inquiry of the privacy office'")]
    Add(HoldAdd),
    /// List the holds, also those that ended
    #[command(after_help = "Example:\n  wardline retention hold list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Propose that a hold ends; another person agrees with `wardline operator agree`
    #[command(after_help = "\
Example:
  wardline --as pia retention hold remove 1 --reason 'lawsuit 26-113 was settled'")]
    Remove {
        /// Number of the hold
        id: u64,
        /// Why; it is in the trail
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HoldAdd {
    /// Why; it is in the trail, so without anything of a patient
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Entries that name this patient, or rows of whom it is not known whose they are
    #[arg(long, value_name = "PATIENT")]
    patient: Option<String>,
    /// Entries of this login name, or id of a person
    #[arg(long, value_name = "PERSON")]
    person: Option<String>,
    /// Entries about this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Entries from this time on
    #[arg(long, value_name = "TIME", value_parser = output::parse_time)]
    from: Option<Micros>,
    /// Entries before this time
    #[arg(long, value_name = "TIME", value_parser = output::parse_time)]
    to: Option<Micros>,
    #[command(flatten)]
    output: Json,
}

/// Runs `wardline key …`.
pub(crate) fn key(file: &Path, command: &Key) -> anyhow::Result<ExitCode> {
    let (request, json) = match command {
        Key::List { output } => (Request::KeyList {}, output.json),
        Key::Rotate { output } => (Request::KeyRotate {}, output.json),
        Key::Escrow(arguments) => return escrow::run(file, arguments),
        Key::RotateCheckpoint { overlap_days, output } => {
            return rotate_checkpoint(file, *overlap_days, output.json);
        }
    };
    ask(file, request, |reply| {
        let Reply::Keys(keys) = reply else { return unexpected() };
        if json {
            return output::json(&keys);
        }
        show(&["CLASS", "PERIOD", "KEY OF IT", "ID", "IN FORCE"], keys.iter().map(key_row));
        Ok(())
    })
}

fn rotate_checkpoint(file: &Path, overlap_days: u32, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::KeyRotateCheckpoint { overlap_days }, |reply| {
        let Reply::KeyChanged(change) = reply else { return unexpected() };
        if json {
            return output::json(&change);
        }
        output::line(&format!("another key signs checkpoints; entry {} says so", change.entry));
        output::line(&format!("new key: {}", change.new));
        output::line(&format!("old key: {}, which signs until {}", change.old, change.both_until));
        output::line("give the new key to witnesses, and to whoever keeps a policy file, before that");
        Ok(())
    })
}

fn key_row(key: &KeyView) -> Vec<String> {
    let period = if key.period == 0 { String::new() } else { key.period.to_string() };
    let current = if key.current { "yes" } else { "" };
    vec![key.class.clone(), period, (key.generation + 1).to_string(), key.id.clone(), current.to_owned()]
}

/// Runs `wardline retention …`.
pub(crate) fn run(file: &Path, command: &Retention) -> anyhow::Result<ExitCode> {
    match command {
        Retention::Plan { output } => plan(file, output.json),
        Retention::Expire { month, reason, output } => {
            agreements(file, Request::ExpirePropose { month: *month, reason: reason.clone() }, output.json)
        }
        Retention::Hold(Hold::Add(add)) => {
            let hold = NewHold {
                reason: add.reason.clone(),
                patient: add.patient.clone().map(|patient| Sensitive(Secret::new(patient))),
                person: add.person.clone(),
                resource: add.resource.clone(),
                from_us: add.from.map(|from| from.0),
                to_us: add.to.map(|to| to.0),
            };
            holds(file, Request::HoldAdd { hold }, add.output.json)
        }
        Retention::Hold(Hold::List { output }) => holds(file, Request::HoldList {}, output.json),
        Retention::Hold(Hold::Remove { id, reason, output }) => {
            agreements(file, Request::HoldRemove { id: *id, reason: reason.clone() }, output.json)
        }
    }
}

fn plan(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::RetentionPlan {}, |reply| {
        let Reply::Months(months) = reply else { return unexpected() };
        if json {
            return output::json(&months);
        }
        let row = |month: &crate::admin::MonthView| {
            let state = match month.tombstone {
                Some(index) => format!("expired under tombstone #{index}, {} held", month.held),
                None => month.state.clone(),
            };
            vec![
                month.month.to_string(),
                month.first.to_string(),
                month.entries.to_string(),
                month.may_expire_in.to_string(),
                state,
            ]
        };
        show(&["MONTH", "FIRST", "ENTRIES", "MAY EXPIRE IN", "STATE"], months.iter().map(row));
        Ok(())
    })
}

fn holds(file: &Path, request: Request, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, request, |reply| {
        let Reply::Holds(holds) = reply else { return unexpected() };
        if json {
            return output::json(&holds);
        }
        show(&["HOLD", "OF", "ADDED BY", "ENDED", "REASON"], holds.iter().map(hold_row));
        Ok(())
    })
}

fn hold_row(hold: &HoldView) -> Vec<String> {
    let mut of = Vec::new();
    of.extend(hold.of_a_patient.then(|| "a patient".to_owned()));
    of.extend(hold.person.as_ref().map(|name| format!("person {name}")));
    of.extend(hold.resource.as_ref().map(|name| format!("resource {name}")));
    of.extend(hold.from.as_ref().map(|from| format!("from {from}")));
    of.extend(hold.to.as_ref().map(|to| format!("before {to}")));
    let of = if of.is_empty() { "everything".to_owned() } else { of.join(", ") };
    let ended = hold.removed_at.clone().unwrap_or_default();
    vec![hold.id.to_string(), output::printable(&of), hold.added_by.clone(), ended, hold.reason.clone()]
}

/// Asks for something that answers with agreements.
pub(crate) fn agreements(file: &Path, request: Request, json: bool) -> anyhow::Result<ExitCode> {
    let proposed = matches!(request, Request::ExpirePropose { .. } | Request::HoldRemove { .. });
    ask(file, request, |reply| {
        let Reply::Agreements(rows) = reply else { return unexpected() };
        if json {
            return output::json(&rows);
        }
        show(&["ID", "WHAT", "PROPOSED BY", "AGREED BY", "DONE", "REASON"], rows.iter().map(agreement_row));
        if let Some(row) = rows.first().filter(|_| proposed) {
            output::line(&format!(
                "another person agrees with: wardline --as NAME operator agree {}",
                row.id
            ));
        }
        Ok(())
    })
}

fn agreement_row(row: &AgreementView) -> Vec<String> {
    let or = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        row.id.to_string(),
        row.what.clone(),
        row.proposed_by.clone(),
        or(&row.agreed_by),
        or(&row.done_at),
        row.reason.clone(),
    ]
}

fn show(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let heading = heading.iter().map(|word| (*word).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
    output::line(output::table(&rows, Paint::stdout()).trim_end());
}
