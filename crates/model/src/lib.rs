//! The nouns of Wardline: who acts, on what, what was decided, what happened.
//!
//! No behaviour beyond construction and display, no I/O, no clock: time comes in as [`Micros`].
//! Deliberately absent: how a record becomes bytes (`trail`), how a decision is reached (`policy`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod record;
mod secret;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use record::{Kind, Outcome, PatientToken, Patients, Phase, Record, SqlState};
pub use secret::{RootKey, Secret};

/// Microseconds since 1970-01-01T00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

/// One principal on one resource, from greeting to end. 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One thing asked within a session, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// The identity of a person for ever: never reused, also when the login name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub u128);

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The SHA-256 of a certificate, by which entries name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId(pub [u8; 32]);

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The configured name of a protected resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub Arc<str>);

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of one policy, as its `@id` annotation or its place in the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub Arc<str>);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who acts, once proven: a person, or an agent for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The identity for ever.
    pub id: PersonId,
    /// The login name at sign-in.
    pub name: Arc<str>,
    /// The names of the roles held at sign-in; policy asks the directory for the current ones.
    pub roles: Arc<[Arc<str>]>,
    /// The program that acts on the person's behalf, where it is not the person.
    pub agent: Option<Arc<Agent>>,
    /// How it was proven.
    pub shown: Shown,
}

/// A program that acts on behalf of a person, by leave of that person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its identity for ever.
    pub id: PersonId,
    /// Its login name.
    pub name: Arc<str>,
    /// The number of the person's delegation.
    pub delegation: u64,
    /// The only purpose that the delegation is for.
    pub purpose: Option<Arc<str>>,
}

/// As records name it: the id, the login name and the number of the delegation. Where an agent acts for an agent, each
/// stands behind the one that it acts for; that is not there yet.
impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.id, self.name, self.delegation)
    }
}

/// How somebody showed who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// In the words of the trail, such as `password` or `password+totp`.
    pub how: Arc<str>,
    /// When a second factor was last shown; `None` where there was none.
    pub factor_at: Option<Micros>,
}

impl Shown {
    /// Shown by one thing alone, which no second factor went with.
    pub fn alone(how: &str) -> Shown {
        Shown { how: how.into(), factor_at: None }
    }

    /// Shown with a second factor, or by something that is two in one, such as a passkey.
    pub fn with_factor(how: &str, at: Micros) -> Shown {
        Shown { how: how.into(), factor_at: Some(at) }
    }
}

/// What a principal wants to do, as policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Action {
    /// Open a session on a resource.
    Connect = 1,
    /// Read rows of a relation, proven to change nothing.
    Read = 2,
    /// Change rows of a relation.
    Write = 3,
    /// Change the shape of a relation or another object (DDL).
    Define = 4,
    /// Run code that is not known to be read-only.
    Execute = 5,
    /// Move a file or a stream past the database's own rows.
    Transfer = 6,
    /// Change roles, rights, settings of the server, or reach its files.
    Administer = 7,
    /// See protected values in clear.
    Unmask = 8,
    /// Decide on somebody else's request.
    Approve = 9,
    /// Examine the trail.
    Review = 10,
}

impl Action {
    /// All actions, in the order of their numbers.
    pub const ALL: [Action; 10] = [
        Action::Connect,
        Action::Read,
        Action::Write,
        Action::Define,
        Action::Execute,
        Action::Transfer,
        Action::Administer,
        Action::Unmask,
        Action::Approve,
        Action::Review,
    ];

    /// Returns the name used in policies, configuration and records.
    pub fn name(self) -> &'static str {
        match self {
            Action::Connect => "Connect",
            Action::Read => "Read",
            Action::Write => "Write",
            Action::Define => "Define",
            Action::Execute => "Execute",
            Action::Transfer => "Transfer",
            Action::Administer => "Administer",
            Action::Unmask => "Unmask",
            Action::Approve => "Approve",
            Action::Review => "Review",
        }
    }
}

/// What a right is asked of, as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// The resource as a whole.
    Resource,
    /// A table, view, sequence or the like: schema (`?` where it is not known) and name.
    Relation {
        /// The schema.
        schema: Arc<str>,
        /// The name.
        name: Arc<str>,
    },
    /// A function or procedure: schema (`?` where it is not known) and name.
    Function {
        /// The schema.
        schema: Arc<str>,
        /// The name.
        name: Arc<str>,
    },
    /// A class of protected values, by its name, such as `ssn`.
    Class(Arc<str>),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Resource => f.write_str("*"),
            Object::Relation { schema, name } => write!(f, "{schema}.{name}"),
            Object::Function { schema, name } => write!(f, "{schema}.{name}()"),
            Object::Class(name) => write!(f, "class {name}"),
        }
    }
}

/// One right that an operation needs. An operation is allowed only when all its needs are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// What is to be done.
    pub action: Action,
    /// To what.
    pub object: Object,
}

/// The circumstances of a request.
#[derive(Clone, Debug)]
pub struct Context {
    /// The client's network address.
    pub address: IpAddr,
    /// When it is asked.
    pub at: Micros,
    /// What the person says that it is for; one of the configured purposes.
    pub purpose: Option<Arc<str>>,
    /// When the person last showed a second factor.
    pub factor_at: Option<Micros>,
}

/// A verdict with the reasons for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// The policies that determined it; empty when nothing allowed it (deny by default).
    pub reasons: Vec<PolicyId>,
    /// The version of the snapshot that decided.
    pub policy_version: u64,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Every need is permitted.
    Allow = 1,
    /// At least one need is not.
    Deny = 2,
}
