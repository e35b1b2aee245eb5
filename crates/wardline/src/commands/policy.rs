//! `wardline policy …`: examples that a policy must answer rightly, and who may do what, now or on a day that is past.
//!
//! All of it is answered by the engine of the gateway, from the sources that the policy is or was made from; what was in
//! force when is the trail's word.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use model::{Action, Context, Kind, Micros, Object, Verdict};
use phi::Class;
use policy::{Cell, Snapshot};
use serde::Serialize;
use trail::Reader;

use super::administer::ask;
use super::place::Place;
use super::trail::{Looked, open};
use super::{no_such, policy_test};
use crate::admin::{PolicyAsk, PolicyView, Refused, Reply, Request};
use crate::cli::{Json, TrailPlace};
use crate::output::{self, Paint};
use crate::past::Kept;

/// How many entries before a moment are looked through first for the policy of then; then eight times as many, and so on.
const LOOK_BACK: u64 = 64_000;
const LOOK_BACK_GROWTH: u64 = 8;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  wardline policy test policy-tests.toml
  wardline policy who-can Read public.patients
  wardline policy what-can ann --at 2026-03-03")]
pub(crate) enum PolicyCommand {
    /// Check that the policy answers examples as they say
    #[command(after_help = "\
The file names people with their roles, and examples of what they would do. The configuration is read; no server, no
registry and no resource is asked. See docs/formats/policy.md.

Examples:
  wardline policy test policy-tests.toml
  wardline --config new.toml policy test policy-tests.toml --json

Exit codes: 0 every example holds, 1 some do not, 2 could not run.")]
    Test {
        /// The examples
        file: PathBuf,
        #[command(flatten)]
        output: Json,
    },
    /// Say who may do something, and because of which policies
    #[command(after_help = "\
Examples:
  wardline policy who-can Read public.patients
  wardline policy who-can Unmask 'class ssn' --resource hospital --at 2026-03-03T14:00")]
    WhoCan {
        /// `Connect`, `Read`, `Write`, `Define`, `Execute`, `Transfer`, `Administer` or `Unmask`
        action: String,
        /// `schema.name`, `schema.function()`, `class NAME`, or `*` for the resource
        #[arg(default_value = "*")]
        object: String,
        /// Only on this resource
        #[arg(long, value_name = "NAME")]
        resource: Option<String>,
        #[command(flatten)]
        when: When,
    },
    /// Say what somebody may do, of all that roles name
    #[command(after_help = "\
Examples:
  wardline policy what-can ann
  wardline policy what-can ann --relation public.patients --at 2026-03-03")]
    WhatCan {
        /// Login name, of then
        person: String,
        /// Also about this relation or function; may be given several times
        #[arg(long, value_name = "SCHEMA.NAME")]
        relation: Vec<String>,
        #[command(flatten)]
        when: When,
    },
}

#[derive(Debug, Args)]
pub(crate) struct When {
    /// As of this day or time, in UTC
    #[arg(long, value_name = "TIME", value_parser = output::parse_time)]
    at: Option<Micros>,
    /// Client address to assume
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Purpose to assume
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    #[command(flatten)]
    output: Json,
}

/// Runs `wardline policy …`.
pub(crate) fn run(file: &Path, command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Test { file: examples, output } => policy_test::run(file, examples, output.json),
        PolicyCommand::WhoCan { action, object, resource, when } => {
            let asked = Asked::at(file, when)?;
            let action = Action::ALL
                .into_iter()
                .find(|known| known.name().eq_ignore_ascii_case(action))
                .ok_or_else(|| Refused(no_such("action", action, Action::ALL.map(Action::name))))?;
            if let Some(name) = resource {
                known("resource", name, asked.kept.resources())?;
            }
            let objects = [parse_object(object)?];
            asked.show(&objects, when, |cell| {
                cell.action == action && resource.as_ref().is_none_or(|name| *cell.resource.0 == **name)
            })
        }
        PolicyCommand::WhatCan { person, relation, when } => {
            let asked = Asked::at(file, when)?;
            known("person", person, asked.kept.people())?;
            let mut objects = asked.kept.objects();
            for relation in relation {
                objects.push(parse_object(relation)?);
            }
            objects.sort();
            objects.dedup();
            asked.show(&objects, when, |cell| *cell.name == **person)
        }
    }
}

fn known<'c>(noun: &str, name: &str, known: impl Iterator<Item = &'c str>) -> anyhow::Result<()> {
    let known: Vec<&str> = known.collect();
    match known.contains(&name) {
        true => Ok(()),
        false => Err(Refused(no_such(noun, name, known)).into()),
    }
}

/// Reads `*`, `schema.name`, `schema.name()` or `class NAME`.
pub(crate) fn parse_object(text: &str) -> anyhow::Result<Object> {
    if text == "*" {
        return Ok(Object::Resource);
    }
    if let Some(class) = text.strip_prefix("class ") {
        let class: Class = class.trim().parse()?;
        return Ok(Object::Class(class.name().into()));
    }
    let (schema, name) =
        text.split_once('.').ok_or_else(|| anyhow!("`{text}` is no object: write `schema.name`"))?;
    let schema = Arc::from(schema);
    Ok(match name.strip_suffix("()") {
        Some(name) => Object::Function { schema, name: name.into() },
        None => Object::Relation { schema, name: name.into() },
    })
}

/// A policy, and the circumstances that are assumed.
struct Asked {
    kept: Kept,
    snapshot: Snapshot,
    context: Context,
}

#[derive(Serialize)]
struct Answer {
    at: String,
    policy_version: u64,
    policy_sha256: String,
    allowed: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    person: String,
    resource: String,
    action: String,
    object: String,
    policies: Vec<String>,
}

impl Asked {
    fn at(file: &Path, when: &When) -> anyhow::Result<Asked> {
        let (view, at) = match when.at {
            None => {
                let view = sources(file, None)?;
                let now = Micros(view.now_us);
                (view, now)
            }
            Some(at) => {
                let then = in_force(file, at)?;
                let view = sources(file, Some(then.digest.clone()))?;
                (PolicyView { version: Some(then.version), ..view }, at)
            }
        };
        let version = view.version.unwrap_or_default();
        let Some(sources) = &view.sources else {
            bail!(
                "not known: the policy of then (version {version}, sha256 {}) came into force before what policies are made \
                 from was kept, or in another registry",
                view.digest
            );
        };
        let kept = Kept::from_bytes(&STANDARD.decode(sources)?)?;
        let snapshot = kept.snapshot(version)?;
        if output::hex(&snapshot.digest()) != view.digest {
            bail!(
                "what is kept of the policy is not what its digest {} was made of: it was changed, or this version decides otherwise",
                view.digest
            );
        }
        let purpose = match &when.purpose {
            None => None,
            Some(name) => Some(snapshot.purpose(name).ok_or_else(|| {
                Refused(no_such("purpose", name, snapshot.purposes().iter().map(|purpose| &**purpose)))
            })?),
        };
        Ok(Asked {
            kept,
            snapshot,
            context: Context { address: when.address, at, purpose, factor_at: Some(at) },
        })
    }

    fn show(
        &self,
        objects: &[Object],
        when: &When,
        wanted: impl Fn(&Cell) -> bool,
    ) -> anyhow::Result<ExitCode> {
        let cells = self.snapshot.matrix(objects, &self.context);
        let allowed = cells.filter(|cell| cell.decision.verdict == Verdict::Allow && wanted(cell));
        let allowed = allowed.map(|cell| Line {
            person: cell.name.to_string(),
            resource: cell.resource.to_string(),
            action: cell.action.name().to_owned(),
            object: cell.object.to_string(),
            policies: cell.decision.reasons.iter().map(ToString::to_string).collect(),
        });
        let answer = Answer {
            at: output::time(self.context.at),
            policy_version: self.snapshot.version(),
            policy_sha256: output::hex(&self.snapshot.digest()),
            allowed: allowed.collect(),
        };
        if when.output.json {
            output::json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let heading = ["PERSON", "RESOURCE", "MAY", "OBJECT", "BECAUSE OF"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(answer.allowed.into_iter().map(|line| {
            vec![line.person, line.resource, line.action, line.object, line.policies.join(", ")]
        }));
        output::line(&output::table(&rows, Paint::stdout()));
        output::line(&format!(
            "as of {}, policy version {}",
            output::to_second(&answer.at),
            answer.policy_version
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn sources(file: &Path, digest: Option<String>) -> anyhow::Result<PolicyView> {
    let mut given = None;
    ask(file, Request::Policy(PolicyAsk::Sources { digest }), |reply| {
        let Reply::Policy(view) = reply else { return super::administer::unexpected() };
        given = Some(view);
        Ok(())
    })?;
    given.context("the server did not say what the policy is made from")
}

/// Which policy the trail says was in force.
struct Then {
    version: u64,
    digest: String,
}

fn in_force(file: &Path, at: Micros) -> anyhow::Result<Then> {
    let nowhere = TrailPlace { trail: None, root_key: None, node: None };
    let place = Place::of(file, &nowhere)?;
    let reader = open(&place, Looked::at(format!("policy in force at {}", output::time(at))))?;
    let end = first_after(&reader, at)?;
    let mut window = LOOK_BACK;
    loop {
        let from = end.saturating_sub(window);
        let mut found = None;
        for entry in reader.entries(from)? {
            let entry = entry?;
            if entry.index >= end {
                break;
            }
            let record = &entry.record;
            if record.kind == Kind::PolicyActivated
                && record.at <= at
                && let (Some(version), Some(detail)) = (record.policy_version, &record.detail)
                && let Some(digest) = detail.strip_prefix("sha256 ")
            {
                found = Some(Then { version, digest: digest.to_owned() });
            }
        }
        match found {
            Some(then) => return Ok(then),
            None if from == 0 => {
                bail!("not known: no policy was in force before {} in this trail", output::time(at))
            }
            None => window = window.saturating_mul(LOOK_BACK_GROWTH),
        }
    }
}

/// Returns the index of the first entry after a moment. Times of entries go up, but for steps of the clock.
fn first_after(reader: &Reader, at: Micros) -> anyhow::Result<u64> {
    let (mut low, mut high) = (0, reader.durable_at_least()?);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = reader.entries(middle)?.next().transpose()?;
        match entry {
            Some(entry) if entry.record.at <= at => low = middle + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}
