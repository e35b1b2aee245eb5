//! What policies were made from, as it is kept: enough to make the same policy again, which its digest proves.
//!
//! Kept in the registry whenever a policy comes into force, compressed. Which one was in force when is said by the trail,
//! which names the digest. Without a configuration's other sections: they decide nothing.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use model::{Micros, Object, PersonId, ResourceId};
use phi::Class;
use policy::{
    CedarFile, Course, Delegation, Due, Emergencies, Emergency, FactorRule, Lock, Locked, Person, Place,
    Role, Rule, Snapshot, Sources,
};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "wardline/policy-sources/v1";
const LEVEL: i32 = 3;
/// More than any house's policy; a damaged row must not fill the memory.
const SOURCES_BYTES_MAX: usize = 512 << 20;

/// The sources of a policy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    format: String,
    roles: Vec<KeptRole>,
    cedar: Vec<(String, String)>,
    people: Vec<KeptPerson>,
    locks: Vec<(u64, KeptLock)>,
    resources: Vec<String>,
    /// Where a second factor is asked for, and of which role.
    #[serde(default)]
    factors: Vec<(String, Option<String>)>,
    purposes: Vec<String>,
    courses: Vec<KeptCourse>,
    dues: Vec<(String, String, i64)>,
    delegations: Vec<KeptDelegation>,
    #[serde(default)]
    emergencies: KeptEmergencies,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct KeptEmergencies {
    initiators: Vec<String>,
    resources: Vec<String>,
    /// Number, person, resource, end.
    taken: Vec<(u64, String, String, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptRole {
    name: String,
    place: (String, usize),
    rules: Vec<KeptRule>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptRule {
    resource: String,
    read: Vec<String>,
    write: Vec<String>,
    define: Vec<String>,
    execute: Vec<String>,
    transfer: bool,
    administer: bool,
    unmask: Vec<String>,
    purposes: Vec<String>,
    until: Option<i64>,
    #[serde(default)]
    step_up_s: Option<u64>,
    place: (String, usize),
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptPerson {
    id: String,
    name: String,
    roles: Vec<String>,
    disabled: bool,
    program: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeptLock {
    Person(String),
    Role(String),
    Resource(String),
    Address(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptCourse {
    name: String,
    title: String,
    refuse: bool,
    warn_before_s: i64,
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptDelegation {
    number: u64,
    agent: String,
    person: String,
    purpose: Option<String>,
    until: i64,
}

fn kept_emergencies(emergencies: &Emergencies) -> KeptEmergencies {
    let taken = emergencies.taken.iter();
    KeptEmergencies {
        initiators: emergencies.initiators.clone(),
        resources: emergencies.resources.clone(),
        taken: taken
            .map(|one| (one.number, one.person.to_string(), one.resource.clone(), one.until.0))
            .collect(),
    }
}

fn emergencies(kept: &KeptEmergencies) -> anyhow::Result<Emergencies> {
    let taken = kept.taken.iter().map(|(number, person, resource, until)| {
        let (number, until, resource) = (*number, Micros(*until), resource.clone());
        anyhow::Ok(Emergency { number, person: id(person)?, resource, until })
    });
    Ok(Emergencies {
        initiators: kept.initiators.clone(),
        resources: kept.resources.clone(),
        taken: taken.collect::<Result<_, _>>()?,
    })
}

impl Kept {
    /// Takes down what a policy is made from.
    pub(crate) fn of(sources: &Sources<'_>) -> Kept {
        let texts = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
        Kept {
            format: FORMAT.to_owned(),
            roles: sources.roles.iter().map(kept_role).collect(),
            cedar: sources.cedar.iter().map(|file| (file.path.clone(), file.text.clone())).collect(),
            people: sources
                .people
                .iter()
                .map(|person| KeptPerson {
                    id: person.id.to_string(),
                    name: person.name.to_string(),
                    roles: texts(&person.roles),
                    disabled: person.disabled,
                    program: person.program,
                })
                .collect(),
            locks: sources.locks.iter().map(|lock| (lock.number, kept_lock(&lock.what))).collect(),
            resources: sources.resources.iter().map(ToString::to_string).collect(),
            factors: sources.factors.iter().map(|rule| (rule.resource.clone(), rule.role.clone())).collect(),
            purposes: texts(sources.purposes),
            courses: sources
                .courses
                .iter()
                .map(|course| KeptCourse {
                    name: course.name.to_string(),
                    title: course.title.to_string(),
                    refuse: course.refuse,
                    warn_before_s: course.warn_before_s,
                    text: course.text.to_string(),
                })
                .collect(),
            dues: sources
                .dues
                .iter()
                .map(|due| (due.person.to_string(), due.course.to_string(), due.at))
                .collect(),
            delegations: sources
                .delegations
                .iter()
                .map(|one| KeptDelegation {
                    number: one.number,
                    agent: one.agent.to_string(),
                    person: one.person.to_string(),
                    purpose: one.purpose.as_ref().map(ToString::to_string),
                    until: one.until,
                })
                .collect(),
            emergencies: kept_emergencies(sources.emergencies),
        }
    }

    /// Returns it as bytes.
    pub(crate) fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        Ok(zstd::bulk::compress(&serde_json::to_vec(self)?, LEVEL)?)
    }

    /// Reads it back.
    pub(crate) fn from_bytes(bytes: &[u8]) -> anyhow::Result<Kept> {
        let mut json = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(bytes)?;
        let mut bounded = std::io::Read::take(decoder, SOURCES_BYTES_MAX as u64);
        std::io::Read::read_to_end(&mut bounded, &mut json)?;
        let kept: Kept =
            serde_json::from_slice(&json).context("what a policy was made from is not readable")?;
        if kept.format != FORMAT {
            bail!("what the policy was made from is kept as `{}`, which is not known", kept.format);
        }
        Ok(kept)
    }

    /// Makes the policy again.
    pub(crate) fn snapshot(&self, version: u64) -> anyhow::Result<Snapshot> {
        let text = |text: &String| -> Arc<str> { text.as_str().into() };
        let roles: Vec<Role> = self.roles.iter().map(role).collect::<Result<_, _>>()?;
        let cedar =
            self.cedar.iter().map(|(path, text)| CedarFile { path: path.clone(), text: text.clone() });
        let people = self.people.iter().map(|person| {
            anyhow::Ok(Person {
                id: id(&person.id)?,
                name: text(&person.name),
                roles: person.roles.iter().map(text).collect(),
                disabled: person.disabled,
                program: person.program,
            })
        });
        let locks =
            self.locks.iter().map(|(number, what)| anyhow::Ok(Lock { number: *number, what: locked(what)? }));
        let courses = self.courses.iter().map(|course| Course {
            name: text(&course.name),
            title: text(&course.title),
            refuse: course.refuse,
            warn_before_s: course.warn_before_s,
            text: text(&course.text),
        });
        let dues = self.dues.iter().map(|(person, course, at)| {
            anyhow::Ok(Due { person: id(person)?, course: text(course), at: *at })
        });
        let delegations = self.delegations.iter().map(|one| {
            anyhow::Ok(Delegation {
                number: one.number,
                agent: id(&one.agent)?,
                person: id(&one.person)?,
                purpose: one.purpose.as_ref().map(text),
                until: one.until,
            })
        });
        let purposes: Vec<Arc<str>> = self.purposes.iter().map(text).collect();
        let resources: Vec<ResourceId> = self.resources.iter().map(|name| ResourceId(text(name))).collect();
        let factors: Vec<FactorRule> = self
            .factors
            .iter()
            .map(|(resource, role)| FactorRule { resource: resource.clone(), role: role.clone() })
            .collect();
        let sources = Sources {
            factors: &factors,
            roles: &roles,
            cedar: &cedar.collect::<Vec<_>>(),
            people: &people.collect::<Result<Vec<_>, _>>()?,
            locks: &locks.collect::<Result<Vec<_>, _>>()?,
            resources: &resources,
            classes: &Class::ALL.map(Class::name),
            purposes: &purposes,
            courses: &courses.collect::<Vec<_>>(),
            dues: &dues.collect::<Result<Vec<_>, _>>()?,
            delegations: &delegations.collect::<Result<Vec<_>, _>>()?,
            emergencies: &emergencies(&self.emergencies)?,
        };
        Snapshot::compile(&sources, version).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("this version does not take the policy of then:\n{}", lines.join("\n"))
        })
    }

    /// Returns what roles name in full, the classes that they unmask, and the resource as a whole.
    pub(crate) fn objects(&self) -> Vec<Object> {
        let mut objects = vec![Object::Resource];
        for rule in self.roles.iter().flat_map(|role| &role.rules) {
            let relations = [&rule.read, &rule.write, &rule.define].into_iter().flatten();
            objects.extend(
                relations
                    .filter_map(|text| named(text))
                    .map(|(schema, name)| Object::Relation { schema, name }),
            );
            objects.extend(
                rule.execute
                    .iter()
                    .filter_map(|text| named(text))
                    .map(|(schema, name)| Object::Function { schema, name }),
            );
            let classes = rule.unmask.iter().filter(|class| *class != "*");
            objects.extend(classes.map(|class| Object::Class(class.as_str().into())));
        }
        objects
    }

    /// Returns the login names of then.
    pub(crate) fn people(&self) -> impl Iterator<Item = &str> {
        self.people.iter().map(|person| person.name.as_str())
    }

    /// Returns the names of the resources of then.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(String::as_str)
    }
}

/// Returns schema and name of a pattern that names one object plainly.
fn named(pattern: &str) -> Option<(Arc<str>, Arc<str>)> {
    let (schema, name) = pattern.split_once('.').filter(|_| !pattern.contains(['*', '"']))?;
    Some((schema.into(), name.into()))
}

fn kept_role(role: &Role) -> KeptRole {
    let patterns = |list: &[policy::Pattern]| list.iter().map(ToString::to_string).collect();
    let rules = role.rules.iter().map(|rule| KeptRule {
        resource: rule.resource.clone(),
        read: patterns(&rule.read),
        write: patterns(&rule.write),
        define: patterns(&rule.define),
        execute: patterns(&rule.execute),
        transfer: rule.transfer,
        administer: rule.administer,
        unmask: rule.unmask.clone(),
        purposes: rule.purposes.clone(),
        until: rule.until,
        step_up_s: rule.step_up_s,
        place: (rule.place.file.clone(), rule.place.line),
    });
    KeptRole {
        name: role.name.clone(),
        place: (role.place.file.clone(), role.place.line),
        rules: rules.collect(),
    }
}

fn role(kept: &KeptRole) -> anyhow::Result<Role> {
    let patterns = |list: &[String]| list.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
    let place = |(file, line): &(String, usize)| Place { file: file.clone(), line: *line };
    let rules = kept.rules.iter().map(|rule| {
        anyhow::Ok(Rule {
            resource: rule.resource.clone(),
            read: patterns(&rule.read)?,
            write: patterns(&rule.write)?,
            define: patterns(&rule.define)?,
            execute: patterns(&rule.execute)?,
            transfer: rule.transfer,
            administer: rule.administer,
            unmask: rule.unmask.clone(),
            purposes: rule.purposes.clone(),
            until: rule.until,
            step_up_s: rule.step_up_s,
            place: place(&rule.place),
        })
    });
    Ok(Role { name: kept.name.clone(), rules: rules.collect::<Result<_, _>>()?, place: place(&kept.place) })
}

fn kept_lock(locked: &Locked) -> KeptLock {
    match locked {
        Locked::Person(id) => KeptLock::Person(id.to_string()),
        Locked::Role(name) => KeptLock::Role(name.clone()),
        Locked::Resource(name) => KeptLock::Resource(name.clone()),
        Locked::Address(range) => KeptLock::Address(range.clone()),
    }
}

fn locked(kept: &KeptLock) -> anyhow::Result<Locked> {
    Ok(match kept {
        KeptLock::Person(person) => Locked::Person(id(person)?),
        KeptLock::Role(name) => Locked::Role(name.clone()),
        KeptLock::Resource(name) => Locked::Resource(name.clone()),
        KeptLock::Address(range) => Locked::Address(range.clone()),
    })
}

fn id(text: &str) -> anyhow::Result<PersonId> {
    u128::from_str_radix(text, 16).map(PersonId).context("an id is not readable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_makes_the_same_policy_again() {
        let place = || Place { file: "wardline.toml".to_owned(), line: 7 };
        let rule = Rule {
            resource: "hospital".to_owned(),
            read: vec!["public.*".parse().unwrap(), "public.\"odd.name\"".parse().unwrap()],
            write: vec!["*".parse().unwrap()],
            define: Vec::new(),
            execute: Vec::new(),
            transfer: true,
            administer: false,
            unmask: vec!["ssn".to_owned()],
            purposes: vec!["research".to_owned()],
            until: Some(9),
            step_up_s: Some(600),
            place: place(),
        };
        let person = |id: u128, name: &str, program: bool| Person {
            id: PersonId(id),
            name: name.into(),
            roles: vec!["nurse".into()],
            disabled: id == 2,
            program,
        };
        let sources = Sources {
            factors: &[FactorRule { resource: "hospital".to_owned(), role: Some("nurse".to_owned()) }],
            roles: &[Role { name: "nurse".to_owned(), rules: vec![rule], place: place() }],
            cedar: &[CedarFile {
                path: "a.cedar".to_owned(),
                text: "forbid (principal, action, resource);".to_owned(),
            }],
            people: &[person(1, "ann", false), person(2, "workload:x", true)],
            locks: &[
                Lock { number: 1, what: Locked::Person(PersonId(1)) },
                Lock { number: 2, what: Locked::Role("nurse".to_owned()) },
                Lock { number: 3, what: Locked::Resource("hospital".to_owned()) },
                Lock { number: 4, what: Locked::Address("10.0.0.0/8".to_owned()) },
            ],
            resources: &[ResourceId("hospital".into())],
            emergencies: &Emergencies {
                initiators: vec!["nurse".to_owned()],
                resources: vec!["hospital".to_owned()],
                taken: vec![Emergency {
                    number: 3,
                    person: PersonId(1),
                    resource: "hospital".to_owned(),
                    until: Micros(9),
                }],
            },
            classes: &Class::ALL.map(Class::name),
            purposes: &["research".into()],
            courses: &[Course {
                name: "basics".into(),
                title: "B".into(),
                refuse: true,
                warn_before_s: 5,
                text: "t".into(),
            }],
            dues: &[Due { person: PersonId(1), course: "basics".into(), at: 77 }],
            delegations: &[Delegation {
                number: 4,
                agent: PersonId(2),
                person: PersonId(1),
                purpose: Some("research".into()),
                until: 88,
            }],
        };
        let kept = Kept::from_bytes(&Kept::of(&sources).to_bytes().unwrap()).unwrap();
        let made = kept.snapshot(1).unwrap();
        assert_eq!(made.digest(), Snapshot::compile(&sources, 2).unwrap().digest());
        assert_eq!(kept.people().collect::<Vec<_>>(), ["ann", "workload:x"]);
        assert!(Kept::from_bytes(b"no").is_err());
    }
}
