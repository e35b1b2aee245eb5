//! `wardline access …`: what each person may do, as the policy in force decides it; and access for a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::admin::{CellView, Refused, Reply, Request};
use crate::cli::{Access, Closing};
use crate::commands::{administer, configuration, no_such};
use crate::config::Config;
use crate::output::{self, Paint};

#[derive(Serialize)]
struct Matrix<'a> {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'a str>,
    decisions: &'a [CellView],
}

/// Runs `wardline access …`.
pub(crate) fn run(file: &Path, command: &Access) -> anyhow::Result<ExitCode> {
    match command {
        Access::Matrix { person, resource, relation, class, address, purpose, output } => {
            let wanted = Wanted { person, resource, relation, class };
            matrix(file, &wanted, *address, purpose.as_deref(), output.json)
        }
        Access::Request { role, resource, purpose, reason, for_s, output } => {
            let request = Request::AccessAsk {
                role: role.clone(),
                resource: resource.clone(),
                purpose: purpose.clone(),
                reason: reason.clone(),
                duration_s: *for_s,
            };
            requests(file, request, output.json)
        }
        Access::Approve { number, output } => {
            requests(file, Request::AccessApprove { number: *number }, output.json)
        }
        Access::Deny(Closing { number, reason, output }) => {
            requests(file, Request::AccessDeny { number: *number, reason: reason.clone() }, output.json)
        }
        Access::Withdraw(Closing { number, reason, output }) => {
            requests(file, Request::AccessWithdraw { number: *number, reason: reason.clone() }, output.json)
        }
        Access::Revoke(Closing { number, reason, output }) => {
            requests(file, Request::AccessRevoke { number: *number, reason: reason.clone() }, output.json)
        }
        Access::List { all, output } => {
            requests(file, Request::AccessList { also_closed: *all }, output.json)
        }
    }
}

/// Asks, and shows the requests that are answered.
fn requests(file: &Path, request: Request, json: bool) -> anyhow::Result<ExitCode> {
    administer::ask(file, request, |reply| {
        let Reply::Requests(requests) = reply else { return administer::unexpected() };
        if json {
            return output::json(&requests);
        }
        let heading =
            ["REQUEST", "PERSON", "ROLE", "RESOURCE", "STATE", "UNTIL", "APPROVED BY", "PURPOSE", "REASON"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(requests.into_iter().map(|request| {
            let state = match request.state.as_str() {
                "waiting" => format!("waiting ({} of {})", request.approved_by.len(), request.approvals),
                _ => request.state,
            };
            vec![
                request.number.to_string(),
                request.person,
                request.role,
                request.resource,
                state,
                request.until.map(|until| output::to_second(&until)).unwrap_or_default(),
                request.approved_by.join(", "),
                output::printable(&request.purpose),
                output::printable(&request.reason),
            ]
        }));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}

/// What of the matrix is wanted; empty means all.
struct Wanted<'a> {
    person: &'a [String],
    resource: &'a [String],
    relation: &'a [String],
    class: &'a [String],
}

fn matrix(
    file: &Path,
    wanted: &Wanted<'_>,
    address: IpAddr,
    purpose: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let Wanted { person, resource, relation, class } = *wanted;
    let (relations, classes) = if relation.is_empty() && class.is_empty() {
        let config = configuration(file)?;
        (named_by_roles(&config), classes(&config))
    } else {
        (relation.to_vec(), class.to_vec())
    };
    let request = Request::AccessMatrix { relations, classes, address, purpose: purpose.map(str::to_owned) };
    administer::ask(file, request, |reply| {
        let Reply::Matrix(mut cells) = reply else { return administer::unexpected() };
        check_known("person", person, cells.iter().map(|cell| cell.person.as_str()))?;
        check_known("resource", resource, cells.iter().map(|cell| cell.resource.as_str()))?;
        cells.retain(|cell| {
            (person.is_empty() || person.contains(&cell.person))
                && (resource.is_empty() || resource.contains(&cell.resource))
        });
        if json {
            let address = address.to_string();
            return output::json(&Matrix { address, purpose, decisions: &cells });
        }
        output::line(&table(&cells));
        Ok(())
    })
}

/// Refuses a name that nothing has: an empty table would read as "may do nothing".
fn check_known<'c>(
    noun: &str,
    wanted: &[String],
    known: impl Iterator<Item = &'c str> + Clone,
) -> anyhow::Result<()> {
    match wanted.iter().find(|wanted| !known.clone().any(|known| known == wanted.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Refused(no_such(noun, unknown, known)).into()),
    }
}

/// Returns the relations and functions that roles name in full.
fn named_by_roles(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for rule in config.roles.iter().flat_map(|role| &role.rules) {
        let relations =
            [&rule.read, &rule.write, &rule.define].into_iter().flatten().map(ToString::to_string);
        let functions = rule.execute.iter().map(|pattern| format!("{pattern}()"));
        names.extend(relations.chain(functions).filter(|name| !name.contains(['*', '"'])));
    }
    names.sort();
    names.dedup();
    names
}

/// Returns the classes that resources protect or roles name.
fn classes(config: &Config) -> Vec<String> {
    let protections = config.resources.values().filter_map(|resource| resource.protection.as_ref());
    let protected = protections.flat_map(|protection| &protection.columns).map(|(_, rule)| rule.class.name());
    let rules = config.roles.iter().flat_map(|role| &role.rules);
    let named = rules.flat_map(|rule| &rule.unmask).map(String::as_str).filter(|class| *class != "*");
    let classes: BTreeSet<&str> = protected.chain(named).collect();
    classes.into_iter().map(str::to_owned).collect()
}

/// What one person may do to one object, and the policies that say so.
#[derive(Default)]
struct Line<'a> {
    actions: Vec<&'a str>,
    policies: BTreeSet<&'a str>,
}

/// Returns one line for each person, resource and object, with the actions that are allowed.
fn table(cells: &[CellView]) -> String {
    let mut lines: BTreeMap<[&str; 3], Line<'_>> = BTreeMap::new();
    for cell in cells {
        let key = [cell.person.as_str(), &cell.resource, &cell.object];
        let Line { actions, policies } = lines.entry(key).or_default();
        if cell.allowed {
            actions.push(&cell.action);
            policies.extend(cell.policies.iter().map(String::as_str));
        }
    }
    let heading = ["PERSON", "RESOURCE", "OBJECT", "MAY", "BECAUSE OF"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for ([person, resource, object], Line { actions, policies }) in lines {
        let may = if actions.is_empty() { "nothing".to_owned() } else { actions.join(", ") };
        let because = policies.into_iter().collect::<Vec<_>>().join(", ");
        rows.push(vec![person.to_owned(), resource.to_owned(), object.to_owned(), may, because]);
    }
    output::table(&rows, Paint::stdout())
}
