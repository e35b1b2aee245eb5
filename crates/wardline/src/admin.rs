//! What an administrator can ask for, as values: what goes over the control socket and what comes back.
//!
//! How it is done is in `changes`; nothing here acts.

use std::fmt;
use std::net::IpAddr;

use model::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A password on its way to the server process: serialised for the socket, never shown.
#[derive(Clone, Debug)]
pub(crate) struct Sensitive(pub(crate) Secret);

impl Serialize for Sensitive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sensitive, D::Error> {
        String::deserialize(deserializer).map(|text| Sensitive(Secret::new(text)))
    }
}

/// One thing an administrator asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Add a person.
    UserAdd { name: String, display_name: String, roles: Vec<String>, password: Sensitive },
    /// Set a password and end a lock.
    UserPassword { name: String, password: Sensitive },
    /// Refuse a person from now on.
    UserDisable { name: String },
    /// Admit a disabled person again.
    UserEnable { name: String },
    /// Delete a person for ever.
    UserDelete { name: String },
    /// Replace a person's roles.
    UserRoles { name: String, roles: Vec<String> },
    /// List the people.
    UserList {},
    /// Exchange a password for a token.
    Login { name: String, password: Sensitive, life_s: Option<u64> },
    /// End one token.
    TokenRevoke { id: String },
    /// End all tokens of a person.
    TokensRevoke { name: String },
    /// Store a resource's credential.
    VaultSet { resource: String, user: String, password: Sensitive },
    /// Forget a resource's credential.
    VaultRemove { resource: String },
    /// List the resources that have a credential.
    VaultList {},
    /// Record that somebody is about to read the trail.
    TrailView {
        what: String,
        /// The patients that are looked for, and whose identifiers these may be.
        #[serde(default)]
        patients: Vec<Sensitive>,
        #[serde(default)]
        issuers: Vec<String>,
    },
    /// Record which files of the archive were written.
    ArchiveManifest { manifest: String },
    /// Record that an administrator is about to read a resource outside of any session.
    SurveyBegin { resource: String, what: String },
    /// Record what came of it.
    SurveyEnd { resource: String, what: String, rows: u64, failed: Option<String> },
    /// Say what would become of a statement that a person sends. The text may hold a patient's datum.
    Explain { resource: String, person: String, text: Sensitive, address: IpAddr },
    /// Decide, for every person, resource, action, relation and class of protected values.
    AccessMatrix {
        relations: Vec<String>,
        #[serde(default)]
        classes: Vec<String>,
        address: IpAddr,
    },
}

/// What came of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It was done.
    Done(Reply),
    /// It was not.
    Refused(Refusal),
}

/// What a request gave.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// Nothing but that it was done.
    Nothing {},
    /// The credential is stored; whether the resource is in the configuration in force.
    Stored { in_force: bool },
    /// The person as they are now.
    Person(PersonView),
    /// Everybody.
    People(Vec<PersonView>),
    /// A fresh token.
    Token(TokenView),
    /// How many tokens ended.
    Revoked { tokens: u64 },
    /// Names of resources.
    Resources(Vec<String>),
    /// Decisions.
    Matrix(Vec<CellView>),
    /// What would become of a statement.
    Explained(ExplainView),
}

/// A person, for humans and machines.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PersonView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) disabled: bool,
    /// Until when sign-in is locked, after failures.
    pub(crate) locked_until: Option<String>,
    pub(crate) created_at: String,
}

/// A token, in clear: the only time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenView {
    pub(crate) token: Sensitive,
    pub(crate) id: String,
    pub(crate) person: String,
    pub(crate) expires_at: String,
    /// Where clients connect, for hints.
    pub(crate) address: String,
}

/// One decision of the matrix.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CellView {
    pub(crate) person: String,
    pub(crate) resource: String,
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) allowed: bool,
    pub(crate) policies: Vec<String>,
}

/// What would become of a statement.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExplainView {
    pub(crate) person: String,
    pub(crate) resource: String,
    /// `sent`, `denied` by policy, `refused` for protected values, or `unreadable`.
    pub(crate) verdict: String,
    /// Why it cannot be read.
    pub(crate) unreadable: Option<String>,
    /// Why nothing is masked, where that is so.
    pub(crate) unmasked: Option<String>,
    pub(crate) needs: Vec<NeedView>,
    pub(crate) statements: Vec<StatementView>,
}

/// A right, and whether policy gives it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NeedView {
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) allowed: bool,
    pub(crate) policies: Vec<String>,
}

/// One statement of a text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatementView {
    /// Why it is refused; empty if it is not.
    pub(crate) refused: Vec<String>,
    /// `None` where their number is not known from the text.
    pub(crate) outputs: Option<Vec<OutputView>>,
}

/// One output of a statement.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OutputView {
    /// `plain`, `masked`, `null` or `refused`.
    pub(crate) fate: String,
    pub(crate) reason: String,
    pub(crate) columns: Vec<OriginView>,
}

/// A column beneath an output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OriginView {
    pub(crate) name: String,
    /// `protected`, `clean` or `unclassified`.
    pub(crate) held: String,
    pub(crate) class: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) usage: Option<String>,
    pub(crate) seen_by: Vec<String>,
}

/// Why something was not done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Refusal {
    /// Says why.
    pub(crate) fn new(message: impl Into<String>) -> Refusal {
        Refusal { message: message.into(), help: None }
    }

    /// Adds what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Refusal {
        self.help = Some(help.into());
        self
    }

    /// Tells an error with its causes.
    pub(crate) fn because(error: &dyn std::error::Error) -> Refusal {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Refusal::new(message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// What ends a command as refused: exit code 1, and not 2 as for what could not run.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Refusal);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

/// Who asks: an account of the operating system, as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) uid: u32,
    pub(crate) name: String,
}

impl Actor {
    /// Returns the account behind a uid.
    pub(crate) fn of_uid(uid: u32) -> Actor {
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?);
            (number.parse() == Ok(uid)).then(|| name.to_owned())
        });
        Actor { uid, name: name.unwrap_or_else(|| format!("uid-{uid}")) }
    }

    /// Returns the account this process runs for.
    pub(crate) fn ourselves() -> Actor {
        Actor::of_uid(rustix::process::getuid().as_raw())
    }

    /// Returns the name for the trail; the prefix cannot begin a person's login name.
    pub(crate) fn shown(&self) -> String {
        format!("os:{}", self.name)
    }
}
