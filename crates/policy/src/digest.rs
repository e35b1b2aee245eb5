//! The digest of all that a snapshot is made from, so that "who could see what on 3 March" has an answer.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};

use crate::pattern::Pattern;
use crate::sources::{
    Course, Delegation, Emergencies, Emergency, FactorRule, Lock, Locked, Person, Rule, Sources,
};
use crate::vocabulary::{BUILTIN_TEXT, SCHEMA_TEXT};

/// Says what the bytes below mean; changes when they do.
const FORMAT: &str = "wardline policy sources v4";

/// Returns the SHA-256 of the sources. The order of roles, files, people and resources does not count, the
/// order of a role's rules does, because their ids tell it. Places do not count, except that a
/// file's path and text do. Which classes there are does not: it only says what is refused.
pub(crate) fn of(sources: &Sources<'_>) -> [u8; 32] {
    let mut hash = Hash(Context::new(&SHA256));
    for text in [FORMAT, SCHEMA_TEXT, BUILTIN_TEXT] {
        hash.text(text);
    }
    hash.roles(sources);
    hash.files(sources);
    hash.people(sources.people);
    hash.locks(sources.locks);
    hash.factors(sources.factors);
    let mut resources: Vec<&str> = sources.resources.iter().map(|resource| &*resource.0).collect();
    resources.sort_unstable();
    resources.dedup();
    hash.texts(resources.into_iter());
    hash.names(sources.purposes.iter().map(|purpose| &**purpose));
    hash.emergencies(sources.emergencies);
    hash.training(sources);
    hash.delegations(sources.delegations);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.0.finish().as_ref());
    bytes
}

/// Each text and list goes in with its length before it, so that different sources never give the same bytes.
struct Hash(Context);

impl Hash {
    fn count(&mut self, count: usize) {
        let count = u64::try_from(count).expect("usize has at most 64 bits");
        self.0.update(&count.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    fn roles(&mut self, sources: &Sources<'_>) {
        let mut roles: Vec<_> = sources.roles.iter().collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        self.count(roles.len());
        for role in roles {
            self.text(&role.name);
            self.count(role.rules.len());
            for rule in &role.rules {
                self.rule(rule);
            }
        }
    }

    fn locks(&mut self, locks: &[Lock]) {
        let mut locks: Vec<_> = locks.iter().collect();
        locks.sort_by_key(|lock| lock.number);
        self.count(locks.len());
        for Lock { number, what } in locks {
            self.0.update(&number.to_be_bytes());
            let (kind, name) = match what {
                Locked::Person(id) => ("person", id.to_string()),
                Locked::Role(name) => ("role", name.clone()),
                Locked::Resource(name) => ("resource", name.clone()),
                Locked::Address(range) => ("address", range.clone()),
            };
            self.text(kind);
            self.text(&name);
        }
    }

    fn factors(&mut self, factors: &[FactorRule]) {
        let mut factors: Vec<_> =
            factors.iter().map(|rule| (rule.resource.as_str(), rule.role.as_deref())).collect();
        factors.sort_unstable();
        self.count(factors.len());
        for (resource, role) in factors {
            self.text(resource);
            self.count(usize::from(role.is_some()));
            self.text(role.unwrap_or_default());
        }
    }

    fn emergencies(&mut self, emergencies: &Emergencies) {
        self.names(emergencies.initiators.iter().map(String::as_str));
        self.names(emergencies.resources.iter().map(String::as_str));
        let mut taken: Vec<_> = emergencies.taken.iter().collect();
        taken.sort_by_key(|emergency| emergency.number);
        self.count(taken.len());
        for Emergency { number, person, resource, until } in taken {
            self.0.update(&number.to_be_bytes());
            self.0.update(&person.0.to_be_bytes());
            self.text(resource);
            self.0.update(&until.0.to_be_bytes());
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.text(&rule.resource);
        for list in [&rule.read, &rule.write, &rule.define, &rule.execute] {
            let mut patterns: Vec<String> = list.iter().map(Pattern::to_string).collect();
            patterns.sort_unstable();
            patterns.dedup();
            self.texts(patterns.iter().map(String::as_str));
        }
        self.0.update(&[u8::from(rule.transfer), u8::from(rule.administer)]);
        let mut classes: Vec<&str> = rule.unmask.iter().map(String::as_str).collect();
        classes.sort_unstable();
        classes.dedup();
        self.texts(classes.into_iter());
        self.names(rule.purposes.iter().map(String::as_str));
        self.0.update(&rule.until.unwrap_or(i64::MAX).to_be_bytes());
        self.0.update(&rule.step_up_s.unwrap_or(u64::MAX).to_be_bytes());
    }

    /// Takes names whose order does not count.
    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let names: BTreeSet<&str> = names.collect();
        self.texts(names.into_iter());
    }

    fn training(&mut self, sources: &Sources<'_>) {
        let mut courses: Vec<_> = sources.courses.iter().collect();
        courses.sort_by(|a, b| a.name.cmp(&b.name));
        self.count(courses.len());
        for Course { name, title, refuse, warn_before_s, text } in courses {
            self.text(name);
            self.text(title);
            self.0.update(&[u8::from(*refuse)]);
            self.0.update(&warn_before_s.to_be_bytes());
            self.text(text);
        }
        let mut dues: Vec<_> = sources.dues.iter().map(|due| (due.person, &due.course, due.at)).collect();
        dues.sort_unstable();
        self.count(dues.len());
        for (person, course, at) in dues {
            self.0.update(&person.0.to_be_bytes());
            self.text(course);
            self.0.update(&at.to_be_bytes());
        }
    }

    fn delegations(&mut self, delegations: &[Delegation]) {
        let mut delegations: Vec<_> = delegations.iter().collect();
        delegations.sort_by_key(|delegation| delegation.number);
        self.count(delegations.len());
        for Delegation { number, agent, person, purpose, until } in delegations {
            self.0.update(&number.to_be_bytes());
            self.0.update(&agent.0.to_be_bytes());
            self.0.update(&person.0.to_be_bytes());
            self.texts(purpose.iter().map(|purpose| &**purpose).collect::<Vec<_>>().into_iter());
            self.0.update(&until.to_be_bytes());
        }
    }

    fn files(&mut self, sources: &Sources<'_>) {
        let mut files: Vec<_> = sources.cedar.iter().map(|file| (&file.path, &file.text)).collect();
        files.sort_unstable();
        self.count(files.len());
        for (path, text) in files {
            self.text(path);
            self.text(text);
        }
    }

    fn people(&mut self, people: &[Person]) {
        let mut people: Vec<_> = people.iter().collect();
        people.sort_by_key(|person| person.id);
        self.count(people.len());
        for person in people {
            self.0.update(&person.id.0.to_be_bytes());
            self.text(&person.name);
            let mut roles: Vec<&str> = person.roles.iter().map(|role| &**role).collect();
            roles.sort_unstable();
            roles.dedup();
            self.texts(roles.into_iter());
            self.0.update(&[u8::from(person.disabled)]);
        }
    }
}
