//! `wardline policy test`: examples of what people would do, and what the policy must say to each.
//!
//! Decided by the engine of the gateway, over the configuration and the people of the file alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use gateway::CleanColumns;
use model::{
    Action, Agent, Context, Decision, Micros, Need, Object, PersonId, Principal, ResourceId, Shown, Verdict,
};
use policy::{Delegation, Due, Snapshot};
use registry::PersonRow;
use serde::{Deserialize, Serialize};

use super::policy::parse_object;
use super::{configuration, no_such};
use crate::EXIT_REFUSED;
use crate::admin::Refused;
use crate::config::Config;
use crate::node::{Granted, Terms, compile_with, now};
use crate::output::{self, Paint};

/// Longest file of examples.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    #[serde(default)]
    people: BTreeMap<String, Who>,
    example: Vec<Example>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    #[serde(default)]
    roles: Vec<String>,
    /// Courses that are overdue.
    #[serde(default)]
    overdue: Vec<String>,
    #[serde(default)]
    disabled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// What it is about, for whoever reads that it does not hold.
    name: Option<String>,
    who: String,
    /// The agent that acts for them.
    agent: Option<String>,
    resource: String,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    object: Option<String>,
    /// `schema.relation.column`, in the place of action and object: whether its values are read, and as they are.
    column: Option<String>,
    at: Option<String>,
    from: Option<IpAddr>,
    purpose: Option<String>,
    expect: Expected,
    /// Policies that must be among the reasons.
    #[serde(default)]
    because: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
    Mask,
}

impl Expected {
    fn name(self) -> &'static str {
        match self {
            Expected::Allow => "allow",
            Expected::Deny => "deny",
            Expected::Mask => "mask",
        }
    }
}

#[derive(Debug, Serialize)]
struct Judged {
    example: String,
    expected: Expected,
    got: Expected,
    policies: Vec<String>,
    holds: bool,
}

/// Judges a file of examples.
pub(crate) fn run(file: &Path, examples: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let config = configuration(file)?;
    let size = std::fs::metadata(examples).with_context(|| format!("reading {}", examples.display()))?.len();
    if size > FILE_BYTES_MAX {
        bail!("{} is larger than {FILE_BYTES_MAX} bytes", examples.display());
    }
    let text =
        std::fs::read_to_string(examples).with_context(|| format!("reading {}", examples.display()))?;
    let judged = judge(&config, &text).with_context(|| examples.display().to_string())?;
    let failed = judged.iter().filter(|one| !one.holds).count();
    if json {
        output::json(&judged)?;
    } else {
        judged.iter().for_each(show);
        output::line(&format!("{} examples, {failed} do not hold", judged.len()));
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

fn show(judged: &Judged) {
    let because = match judged.policies.as_slice() {
        [] => "nothing allows it".to_owned(),
        policies => policies.join(", "),
    };
    let (got, expected) = (judged.got.name(), judged.expected.name());
    output::line(&match (judged.holds, got == expected) {
        (true, _) => format!("ok    {}: {got} ({because})", judged.example),
        (false, false) => Paint::stdout()
            .bold(&format!("WRONG {}: expected {expected}, got {got} ({because})", judged.example)),
        (false, true) => Paint::stdout()
            .bold(&format!("WRONG {}: {got} as expected, but because of: {because}", judged.example)),
    });
}

fn judge(config: &Config, text: &str) -> anyhow::Result<Vec<Judged>> {
    let examples: Examples = toml::from_str(text)?;
    let world = World::of(config, &examples)?;
    examples.example.iter().enumerate().map(|(at, example)| world.judge(at + 1, example)).collect()
}

/// The people of the file under the policy of the configuration.
struct World<'a> {
    config: &'a Config,
    names: Vec<&'a str>,
    snapshot: Snapshot,
    now: Micros,
}

impl<'a> World<'a> {
    fn of(config: &'a Config, examples: &'a Examples) -> anyhow::Result<World<'a>> {
        let now = now();
        let names: Vec<&str> = examples.people.keys().map(String::as_str).collect();
        let mut terms = Terms::default();
        let mut people = Vec::new();
        for (name, who) in &examples.people {
            if let Some(unknown) =
                who.roles.iter().find(|role| !config.roles.iter().any(|known| known.name == **role))
            {
                return Err(Refused(no_such(
                    "role",
                    unknown,
                    config.roles.iter().map(|role| role.name.as_str()),
                ))
                .into());
            }
            let id = id(&names, name)?;
            terms.dues.extend(who.overdue.iter().map(|course| Due {
                person: id,
                course: course.as_str().into(),
                at: 0,
            }));
            people.push(PersonRow {
                id,
                name: name.clone(),
                display_name: String::new(),
                roles: who.roles.clone(),
                disabled_at: who.disabled.then_some(Micros(0)),
                created_at: Micros(0),
            });
        }
        for (number, example) in (1..).zip(&examples.example) {
            if let Some(agent) = &example.agent {
                let (agent, person) = (id(&names, agent)?, id(&names, &example.who)?);
                terms.delegations.push(Delegation { number, agent, person, purpose: None, until: i64::MAX });
            }
        }
        let snapshot = compile_with(config, &people, Granted::default(), &[], &terms, 0)?;
        Ok(World { config, names, snapshot, now })
    }

    fn judge(&self, number: usize, example: &Example) -> anyhow::Result<Judged> {
        let shown = example.name.clone().unwrap_or_else(|| format!("example {number}"));
        let (got, decision) = self.decide(number, example).with_context(|| format!("`{shown}`"))?;
        let policies: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        let holds = got == example.expect && example.because.iter().all(|policy| policies.contains(policy));
        Ok(Judged { example: output::printable(&shown), expected: example.expect, got, policies, holds })
    }

    fn decide(&self, number: usize, example: &Example) -> anyhow::Result<(Expected, Decision)> {
        let resources = self.config.resources.keys().map(String::as_str);
        if !self.config.resources.contains_key(&example.resource) {
            return Err(Refused(no_such("resource", &example.resource, resources)).into());
        }
        let purpose = match &example.purpose {
            None => None,
            Some(name) => {
                Some(self.snapshot.purpose(name).with_context(|| format!("there is no purpose `{name}`"))?)
            }
        };
        let at = match &example.at {
            Some(text) => output::parse_time(text).map_err(anyhow::Error::msg)?,
            None => self.now,
        };
        let context = Context {
            address: example.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            at,
            purpose,
            // As if a second factor had just been shown: examples are about rights.
            factor_at: Some(at),
        };
        let principal = self.principal(number, example)?;
        let resource = ResourceId(example.resource.as_str().into());
        let ask = |need: Need| self.snapshot.decide(&principal, &resource, &[need], &context);
        let Some(column) = &example.column else {
            let action = example.action.as_deref().context("write `action`, or `column`")?;
            let action = Action::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(action));
            let action = action.context("there is no such action")?;
            let object = parse_object(example.object.as_deref().unwrap_or("*"))?;
            let decision = ask(Need { action, object });
            return Ok((verdict(&decision), decision));
        };
        if example.action.is_some() || example.object.is_some() {
            bail!("write `column`, or `action` and `object`");
        }
        let parts: Vec<&str> = column.split('.').collect();
        let [schema, relation, _] = *parts.as_slice() else {
            bail!("a column is written `schema.relation.column`")
        };
        let read = ask(Need {
            action: Action::Read,
            object: Object::Relation { schema: schema.into(), name: relation.into() },
        });
        if read.verdict == Verdict::Deny {
            return Ok((Expected::Deny, read));
        }
        let Some(seen) = self.protected(&example.resource, column) else {
            return Ok((Expected::Allow, read));
        };
        let sight = ask(Need { action: Action::Unmask, object: seen });
        Ok(match sight.verdict {
            Verdict::Allow => (Expected::Allow, sight),
            Verdict::Deny => (Expected::Mask, sight),
        })
    }

    /// Returns what must be seen in clear for a column to be; `None` where anybody may who reads it.
    fn protected(&self, resource: &str, column: &str) -> Option<Object> {
        let protection = self.config.resources.get(resource)?.protection.as_ref()?;
        let listed = protection
            .columns
            .iter()
            .find(|(name, _)| format!("{}.{}.{}", name.schema, name.relation, name.column) == column);
        if let Some((_, rule)) = listed {
            return Some(Object::Class(rule.class.name().into()));
        }
        let is_clean = |clean: &CleanColumns| match clean {
            CleanColumns::Column(name) => {
                format!("{}.{}.{}", name.schema, name.relation, name.column) == column
            }
            CleanColumns::Relation { schema, relation } => {
                column.starts_with(&format!("{schema}.{relation}."))
            }
            CleanColumns::Schema { schema } => column.starts_with(&format!("{schema}.")),
        };
        (!protection.clean.iter().any(is_clean)).then_some(Object::Resource)
    }

    fn principal(&self, number: usize, example: &Example) -> anyhow::Result<Principal> {
        let agent = match &example.agent {
            None => None,
            Some(name) => Some(Arc::new(Agent {
                id: id(&self.names, name)?,
                name: name.as_str().into(),
                delegation: u64::try_from(number)?,
                purpose: None,
            })),
        };
        Ok(Principal {
            id: id(&self.names, &example.who)?,
            name: example.who.as_str().into(),
            roles: [].into(),
            agent,
            shown: Shown::alone("example"),
        })
    }
}

fn verdict(decision: &Decision) -> Expected {
    match decision.verdict {
        Verdict::Allow => Expected::Allow,
        Verdict::Deny => Expected::Deny,
    }
}

/// Returns an id that stands for the name within the file: its place among them. Policies that name a person by id mean
/// none of these.
fn id(names: &[&str], name: &str) -> anyhow::Result<PersonId> {
    let place = names.iter().position(|known| *known == name);
    let place = place.ok_or_else(|| Refused(no_such("person of the file", name, names.iter().copied())))?;
    Ok(PersonId(u128::try_from(place)? + 1))
}
