//! What a snapshot is compiled from, and how its faults are told.

use std::fmt;
use std::sync::Arc;

use model::{Micros, PersonId, ResourceId};

use crate::Pattern;

/// Everything that a snapshot is compiled from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The roles of `wardline.toml`.
    pub roles: &'a [Role],
    /// The files of policies.
    pub cedar: &'a [CedarFile],
    /// Everybody with an account, also the disabled.
    pub people: &'a [Person],
    /// What administrators have locked.
    pub locks: &'a [Lock],
    /// Where a second factor is asked for.
    pub factors: &'a [FactorRule],
    /// The names of the configured resources.
    pub resources: &'a [ResourceId],
    /// The names of the classes of protected values that there are.
    pub classes: &'a [&'a str],
    /// The purposes that people may state.
    pub purposes: &'a [Arc<str>],
    /// Who has emergency access, and who may take it.
    pub emergencies: &'a Emergencies,
    /// What people must have learnt.
    pub courses: &'a [Course],
    /// Until when who has learnt what they must.
    pub dues: &'a [Due],
    /// By whose leave agents act.
    pub delegations: &'a [Delegation],
}

/// Emergency access: who may take it, and who has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emergencies {
    /// The roles whose people may take it.
    pub initiators: Vec<String>,
    /// The resources on which it may be taken.
    pub resources: Vec<String>,
    /// What was taken and is not over.
    pub taken: Vec<Emergency>,
}

/// Emergency access that a person has to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// Its number.
    pub number: u64,
    /// Whose it is.
    pub person: PersonId,
    /// To what.
    pub resource: String,
    /// When it ends.
    pub until: Micros,
}

/// Something that must be learnt, and again from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Its name; denials name it as `training.NAME`.
    pub name: Arc<str>,
    /// What people call it.
    pub title: Arc<str>,
    /// Whether everything is refused to whom it is overdue; where it is not, policies may ask about it.
    pub refuse: bool,
    /// For how long before it is due people are told, in seconds.
    pub warn_before_s: i64,
    /// What people are told to do.
    pub text: Arc<str>,
}

/// Until when a person has learnt what they must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Who.
    pub person: PersonId,
    /// The name of the course.
    pub course: Arc<str>,
    /// From when on it is overdue, in seconds since 1970.
    pub at: i64,
}

/// A person's leave for an agent to act on their behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Its number.
    pub number: u64,
    /// Who acts.
    pub agent: PersonId,
    /// For whom.
    pub person: PersonId,
    /// The only purpose that it is for.
    pub purpose: Option<Arc<str>>,
    /// When it ends, in seconds since 1970.
    pub until: i64,
}

/// A role: rules that add up.
#[derive(Clone, Debug)]
pub struct Role {
    /// The name: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// What it allows.
    pub rules: Vec<Rule>,
    /// Where it is written.
    pub place: Place,
}

/// What a role allows on one resource, or on all. Any right implies Connect, whatever the purpose: it is stated within
/// the session.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The resource's name, or `*` for every resource.
    pub resource: String,
    /// Objects that may be read.
    pub read: Vec<Pattern>,
    /// Objects whose rows may be changed.
    pub write: Vec<Pattern>,
    /// Objects whose shape may be changed.
    pub define: Vec<Pattern>,
    /// Functions that may be executed.
    pub execute: Vec<Pattern>,
    /// Whether streams and files may be moved.
    pub transfer: bool,
    /// Whether the resource may be administered.
    pub administer: bool,
    /// Classes of protected values that are seen in clear; `*` for all, and for what nobody classified.
    pub unmask: Vec<String>,
    /// The purposes for which it holds; every purpose, and none, where it names none.
    pub purposes: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub until: Option<i64>,
    /// It holds only for so many seconds after a second factor was shown.
    pub step_up_s: Option<u64>,
    /// Where it is written.
    pub place: Place,
}

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it should be shown.
    pub file: String,
    /// The line, from 1; 0 where it is not known.
    pub line: usize,
}

/// A file of Cedar policies.
#[derive(Clone, Debug)]
pub struct CedarFile {
    /// The path, as it should be shown.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// A person, or a program that signs in by itself, as policy sees them.
#[derive(Clone, Debug)]
pub struct Person {
    /// The identity for ever.
    pub id: PersonId,
    /// The login name.
    pub name: Arc<str>,
    /// The names of the roles held now.
    pub roles: Vec<Arc<str>>,
    /// Whether everything is refused to them.
    pub disabled: bool,
    /// Whether it is a program that signs in by itself: `Workload` in policies, and not `Person`.
    pub program: bool,
}

/// Everything is refused to, or of, what is locked, whatever else allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its number; denials name it as `lock.N`.
    pub number: u64,
    /// What is locked.
    pub what: Locked,
}

/// A resource is not opened to whoever showed no second factor; denials name it as `factor.RESOURCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRule {
    /// The resource's name.
    pub resource: String,
    /// The role that it is asked of; of everybody where there is none.
    pub role: Option<String>,
}

/// What can be locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// A person.
    Person(PersonId),
    /// Everybody who holds a role.
    Role(String),
    /// A resource, for everybody.
    Resource(String),
    /// A device or network: an address such as `10.1.2.3` or a range such as `10.1.2.0/24`.
    Address(String),
}

/// One fault in the sources, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file; `people` for faults in the directory of people.
    pub file: String,
    /// The line, from 1; 0 where there is none.
    pub line: usize,
    /// The column, from 1, in characters; 0 where there is none.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn at(place: &Place, message: impl Into<String>) -> Diagnostic {
        let column = usize::from(place.line > 0);
        Diagnostic { file: place.file.clone(), line: place.line, column, message: message.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for Diagnostic {}
