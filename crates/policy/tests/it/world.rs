//! A small world to ask about: two resources, a few people, sources built from short texts.

use std::sync::Arc;

use model::{
    Action, Context, Decision, Micros, Need, Object, PersonId, Principal, ResourceId, Shown, Verdict,
};
use policy::{
    CedarFile, Course, Delegation, Diagnostic, Due, Emergencies, FactorRule, Lock, Locked, Pattern, Person,
    Place, Role, Rule, Snapshot, Sources,
};

/// The classes of protected values that there are.
pub(crate) const CLASSES: &[&str] = &["age", "date", "ssn"];

/// The purposes that may be stated.
pub(crate) const PURPOSES: [&str; 2] = ["treatment", "research"];

/// Monday 2026-11-23 09:30 UTC.
pub(crate) const MONDAY: Micros = Micros(1_795_426_200_000_000);

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) roles: Vec<Role>,
    pub(crate) cedar: Vec<CedarFile>,
    pub(crate) people: Vec<Person>,
    pub(crate) locks: Vec<Lock>,
    pub(crate) factors: Vec<FactorRule>,
    pub(crate) resources: Vec<ResourceId>,
    pub(crate) emergencies: Emergencies,
    pub(crate) courses: Vec<Course>,
    pub(crate) dues: Vec<Due>,
    pub(crate) delegations: Vec<Delegation>,
}

impl World {
    /// Two resources, nobody, nothing allowed.
    pub(crate) fn new() -> World {
        let resources = ["hospital", "lab"].map(|id| ResourceId(Arc::from(id))).to_vec();
        World {
            roles: Vec::new(),
            cedar: Vec::new(),
            people: Vec::new(),
            locks: Vec::new(),
            factors: Vec::new(),
            resources,
            emergencies: Emergencies::default(),
            courses: Vec::new(),
            dues: Vec::new(),
            delegations: Vec::new(),
        }
    }

    pub(crate) fn role(mut self, name: &str, rules: &[Rule]) -> World {
        let line = self.roles.len() * 10 + 1;
        let mut rules = rules.to_vec();
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.place = Place { file: "wardline.toml".to_owned(), line: line + index + 1 };
        }
        let place = Place { file: "wardline.toml".to_owned(), line };
        self.roles.push(Role { name: name.to_owned(), rules, place });
        self
    }

    /// Adds a person whose id is their number, from 1.
    pub(crate) fn person(mut self, name: &str, roles: &[&str]) -> World {
        let id = PersonId(self.people.len() as u128 + 1);
        let roles = roles.iter().map(|role| Arc::from(*role)).collect();
        self.people.push(Person { id, name: Arc::from(name), roles, disabled: false, program: false });
        self
    }

    pub(crate) fn cedar(mut self, text: &str) -> World {
        let path = format!("policies/{}.cedar", self.cedar.len() + 1);
        self.cedar.push(CedarFile { path, text: text.to_owned() });
        self
    }

    pub(crate) fn lock(mut self, what: Locked) -> World {
        self.locks.push(Lock { number: self.locks.len() as u64 + 1, what });
        self
    }

    pub(crate) fn factor(mut self, resource: &str, role: Option<&str>) -> World {
        self.factors.push(FactorRule { resource: resource.to_owned(), role: role.map(str::to_owned) });
        self
    }

    pub(crate) fn compile(&self) -> Result<Snapshot, Vec<Diagnostic>> {
        let sources = Sources {
            roles: &self.roles,
            cedar: &self.cedar,
            people: &self.people,
            locks: &self.locks,
            factors: &self.factors,
            resources: &self.resources,
            classes: CLASSES,
            purposes: &PURPOSES.map(Arc::from),
            emergencies: &self.emergencies,
            courses: &self.courses,
            dues: &self.dues,
            delegations: &self.delegations,
        };
        Snapshot::compile(&sources, 7)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.compile().unwrap_or_else(|faults| panic!("{}", lines(&faults)))
    }
}

pub(crate) fn lines(faults: &[Diagnostic]) -> String {
    faults.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

pub(crate) fn rule(resource: &str) -> Rule {
    Rule {
        resource: resource.to_owned(),
        read: Vec::new(),
        write: Vec::new(),
        define: Vec::new(),
        execute: Vec::new(),
        transfer: false,
        administer: false,
        unmask: Vec::new(),
        purposes: Vec::new(),
        until: None,
        step_up_s: None,
        place: Place::default(),
    }
}

pub(crate) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn read(resource: &str, texts: &[&str]) -> Rule {
    Rule { read: patterns(texts), ..rule(resource) }
}

pub(crate) fn unmask(resource: &str, classes: &[&str]) -> Rule {
    Rule { unmask: classes.iter().map(|class| (*class).to_owned()).collect(), ..rule(resource) }
}

pub(crate) fn principal(id: u128) -> Principal {
    // Name and roles as at sign-in, which must not count.
    Principal {
        id: PersonId(id),
        name: Arc::from("?"),
        roles: Arc::from([Arc::from("root")]),
        agent: None,
        shown: Shown::alone("test"),
    }
}

pub(crate) fn resource(id: &str) -> ResourceId {
    ResourceId(Arc::from(id))
}

pub(crate) fn context() -> Context {
    Context { address: "10.1.2.3".parse().unwrap(), at: MONDAY, purpose: None, factor_at: None }
}

/// Reads `*`, `schema.name`, `schema.name()` or `class name`.
pub(crate) fn object(text: &str) -> Object {
    if let Some(class) = text.strip_prefix("class ") {
        return Object::Class(Arc::from(class));
    }
    let Some((schema, name)) = text.split_once('.') else { return Object::Resource };
    match name.strip_suffix("()") {
        Some(name) => Object::Function { schema: Arc::from(schema), name: Arc::from(name) },
        None => Object::Relation { schema: Arc::from(schema), name: Arc::from(name) },
    }
}

pub(crate) fn need(action: Action, on: &str) -> Need {
    Need { action, object: object(on) }
}

/// Returns the verdict and its reasons as one line: `allow a, b`.
pub(crate) fn shown(decision: &Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    };
    let reasons: Vec<&str> = decision.reasons.iter().map(|id| &*id.0).collect();
    format!("{verdict} {}", reasons.join(", ")).trim_end().to_owned()
}

/// Checks what the person with an id is answered on `hospital`, as `Action object` for each need.
#[track_caller]
pub(crate) fn check(snapshot: &Snapshot, person: u128, needs: &str, expected: &str) {
    check_at(snapshot, person, "hospital", needs, &context(), expected);
}

#[track_caller]
pub(crate) fn check_at(
    snapshot: &Snapshot,
    person: u128,
    on: &str,
    needs: &str,
    context: &Context,
    expected: &str,
) {
    let list: Vec<Need> = needs
        .split(", ")
        .filter(|need| !need.is_empty())
        .map(|text| {
            let (action, on) = text.split_once(' ').unwrap();
            let action = Action::ALL.into_iter().find(|known| known.name() == action).unwrap();
            need(action, on)
        })
        .collect();
    let decision = snapshot.decide(&principal(person), &resource(on), &list, context);
    assert_eq!(decision.policy_version, 7);
    assert_eq!(shown(&decision), expected, "person {person}, {needs}");
}
