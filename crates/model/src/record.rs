//! One fact of the trail. Flat, so that it maps to a row, to a search filter and to canonical bytes alike.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::{Action, CertificateId, Micros, OperationId, PersonId, SessionId, Verdict};

/// What a record is about. The number is part of the canonical format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A node opened its log.
    NodeStarted = 1,
    /// A node closed its log in order.
    NodeStopped = 2,
    /// The log was open and is still; also when idle.
    Heartbeat = 3,
    /// A segment file, with its own data key, was begun.
    SegmentOpened = 4,
    /// A policy snapshot came into force; `detail` is its digest.
    PolicyActivated = 5,
    /// A configuration came into force; `detail` is its digest.
    ConfigActivated = 6,
    /// Another key signs checkpoints, and `detail` is the change that both keys signed; or an old key signs no more.
    KeyRotated = 7,
    /// The keys of a month were destroyed: its entries can be read no more, and that is no damage.
    KeyDestroyed = 8,
    /// A node that started says where the log stood: `detail` is the epoch, the number of entries and their root.
    EpochHead = 9,
    /// Somebody signed in, or failed to.
    SignIn = 10,
    /// A session on a resource began.
    SessionOpened = 11,
    /// A session on a resource ended.
    SessionClosed = 12,
    /// A complete segment is in a store; `detail` says which, with its digest.
    SegmentSealed = 13,
    /// A backup was made; `detail` names it.
    BackedUp = 14,
    /// A backup was restored, to go on or to try it.
    Restored = 15,
    /// Files of the archive were written; `detail` is their manifest.
    ArchiveManifest = 16,
    /// An operation within a session; see [`Phase`].
    Operation = 20,
    /// People, credentials or settings were changed by an administrator.
    AdminChange = 30,
    /// The trail lost or regained the power to record, or found damage.
    Incident = 40,
    /// Somebody read the trail.
    TrailViewed = 41,
    /// Emergency access is about to be taken: who, what of, why, until when.
    EmergencyBegun = 42,
    /// Emergency access is over; `detail` says how.
    EmergencyEnded = 43,
    /// Somebody else looked at what was done under emergency access; `detail` is the finding.
    EmergencyReviewed = 44,
    /// Another system told of an access there; nothing of it was seen here.
    Reported = 50,
    /// Entries are handed over to another system, or were written to a file for one.
    Exported = 51,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 25] = [
        Kind::NodeStarted,
        Kind::NodeStopped,
        Kind::Heartbeat,
        Kind::SegmentOpened,
        Kind::PolicyActivated,
        Kind::ConfigActivated,
        Kind::KeyRotated,
        Kind::KeyDestroyed,
        Kind::EpochHead,
        Kind::SignIn,
        Kind::SessionOpened,
        Kind::SessionClosed,
        Kind::SegmentSealed,
        Kind::BackedUp,
        Kind::Restored,
        Kind::ArchiveManifest,
        Kind::Operation,
        Kind::AdminChange,
        Kind::Incident,
        Kind::TrailViewed,
        Kind::EmergencyBegun,
        Kind::EmergencyEnded,
        Kind::EmergencyReviewed,
        Kind::Reported,
        Kind::Exported,
    ];

    /// Returns the name used on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::NodeStarted => "node-started",
            Kind::NodeStopped => "node-stopped",
            Kind::Heartbeat => "heartbeat",
            Kind::SegmentOpened => "segment-opened",
            Kind::PolicyActivated => "policy-activated",
            Kind::ConfigActivated => "config-activated",
            Kind::KeyRotated => "key-rotated",
            Kind::KeyDestroyed => "key-destroyed",
            Kind::EpochHead => "epoch-head",
            Kind::SignIn => "sign-in",
            Kind::SessionOpened => "session-opened",
            Kind::SessionClosed => "session-closed",
            Kind::SegmentSealed => "segment-sealed",
            Kind::BackedUp => "backed-up",
            Kind::Restored => "restored",
            Kind::ArchiveManifest => "archive-manifest",
            Kind::Operation => "operation",
            Kind::AdminChange => "admin-change",
            Kind::Incident => "incident",
            Kind::TrailViewed => "trail-viewed",
            Kind::EmergencyBegun => "emergency-begun",
            Kind::EmergencyEnded => "emergency-ended",
            Kind::EmergencyReviewed => "emergency-reviewed",
            Kind::Reported => "reported",
            Kind::Exported => "exported",
        }
    }
}

/// Where in its life an operation stood when the record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// A read, decided and done: the only record of its operation.
    Complete = 1,
    /// May change something: recorded before it was sent to the resource.
    Admitted = 2,
    /// A large result: recorded before more of it was released.
    Progress = 3,
    /// What came of an operation that was `Admitted` or in `Progress`.
    Settled = 4,
    /// Not allowed, and not sent to the resource.
    Refused = 5,
}

impl Phase {
    /// All phases, in the order of their numbers.
    pub const ALL: [Phase; 5] =
        [Phase::Complete, Phase::Admitted, Phase::Progress, Phase::Settled, Phase::Refused];

    /// Returns the name used on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Complete => "complete",
            Phase::Admitted => "admitted",
            Phase::Progress => "progress",
            Phase::Settled => "settled",
            Phase::Refused => "refused",
        }
    }
}

/// The five characters of an SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// Returns the state as text; characters outside ASCII letters and digits become `?`.
    pub fn text(self) -> String {
        self.0.iter().map(|b| if b.is_ascii_alphanumeric() { char::from(*b) } else { '?' }).collect()
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done.
    Completed,
    /// The resource, or Wardline on its behalf, answered with an error.
    Failed(SqlState),
    /// Policy or identification said no.
    Refused,
    /// The session ended before an answer was seen: it may or may not have taken effect.
    Unknown,
}

impl Outcome {
    /// Returns the word used on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Failed(_) => "failed",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
        }
    }
}

/// The pseudonym of a patient: 16 bytes that nobody can compute or undo without the trail's key of that year.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatientToken(pub [u8; 16]);

impl fmt::Display for PatientToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PatientToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The patients that a record names: by pseudonyms, and sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patients<'a> {
    year: u16,
    tokens: Vec<PatientToken>,
    sealed: Cow<'a, [u8]>,
}

impl<'a> Patients<'a> {
    /// Takes at least one token, in ascending order, each once; `None` for anything else.
    pub fn new(year: u16, tokens: Vec<PatientToken>, sealed: Cow<'a, [u8]>) -> Option<Patients<'a>> {
        let proper = !tokens.is_empty() && tokens.is_sorted_by(|one, next| one < next);
        proper.then_some(Patients { year, tokens, sealed })
    }

    /// Returns the year, in UTC, under whose key the tokens were made.
    pub fn year(&self) -> u16 {
        self.year
    }

    /// Returns the pseudonyms in ascending order.
    pub fn tokens(&self) -> &[PatientToken] {
        &self.tokens
    }

    /// Returns the issuer and its identifiers, in the order of the tokens, encrypted apart from the record.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Tells whether this patient is named.
    pub fn names(&self, token: PatientToken) -> bool {
        self.tokens.binary_search(&token).is_ok()
    }
}

/// One fact. Borrowed on the way in, owned (`Record<'static>`) when read back.
///
/// The node is the origin of the log that holds the record, so it is not repeated here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is about.
    pub kind: Kind,
    /// When it was captured.
    pub at: Micros,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The operation within the session.
    pub operation: Option<OperationId>,
    /// Where the operation stood.
    pub phase: Option<Phase>,
    /// Who, for ever.
    pub person: Option<PersonId>,
    /// Who, as they signed in; for a failed sign-in what was claimed.
    pub person_name: Option<Cow<'a, str>>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's port.
    pub port: Option<u16>,
    /// What the client program calls itself.
    pub client: Option<Cow<'a, str>>,
    /// The resource.
    pub resource: Option<Cow<'a, str>>,
    /// The strongest action the operation needed.
    pub action: Option<Action>,
    /// The statement's command word or words, such as `SELECT` or `COPY FROM`.
    pub command: Option<Cow<'a, str>>,
    /// The statement without its literals.
    pub statement: Option<Cow<'a, str>>,
    /// Literals and bound parameters, encrypted apart from the record.
    pub sealed: Option<Cow<'a, [u8]>>,
    /// The relations and functions it named, `schema.name`.
    pub objects: Vec<Cow<'a, str>>,
    /// What policy said.
    pub verdict: Option<Verdict>,
    /// The policies that determined it.
    pub policies: Vec<Cow<'a, str>>,
    /// The version of the policy snapshot.
    pub policy_version: Option<u64>,
    /// Rows returned or affected.
    pub rows: Option<u64>,
    /// Bytes of result data released to the client, or of copied data sent.
    pub bytes: Option<u64>,
    /// From the operation's arrival to its end, in microseconds.
    pub duration_us: Option<u64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Facts of other kinds, in words; never a secret, a literal or a patient's datum.
    pub detail: Option<Cow<'a, str>>,
    /// The patients asked for by their identifier or returned, who were not named in an earlier record of the operation.
    pub patients: Option<Patients<'a>>,
    /// Of `rows`, those that are about patients who could not be told.
    pub unresolved: Option<u64>,
    /// The protected columns returned masked, `schema.relation.column`.
    pub masked: Vec<Cow<'a, str>>,
    /// The protected columns returned as they are.
    pub unmasked: Vec<Cow<'a, str>>,
    /// What the person said that it was for.
    pub purpose: Option<Cow<'a, str>>,
    /// The other system that told of this. Then `person_name` is a name there, and nobody of ours.
    pub source: Option<Cow<'a, str>>,
    /// What that system calls the event.
    pub source_event: Option<Cow<'a, str>>,
    /// How the person showed who they are, such as `password+totp`.
    pub sign_in: Option<Cow<'a, str>>,
    /// The number of the emergency access that it is about, or that its person had on the resource.
    pub emergency: Option<u64>,
    /// The program that acted on the person's behalf, and by which delegation of theirs: `ID:NAME:DELEGATION`.
    pub agent: Option<Cow<'a, str>>,
    /// The certificate by which a program signed in, or tried to.
    pub certificate: Option<CertificateId>,
}

impl Record<'_> {
    /// Returns a record with nothing but a kind and a time.
    pub fn new(kind: Kind, at: Micros) -> Self {
        Record {
            kind,
            at,
            session: None,
            operation: None,
            phase: None,
            person: None,
            person_name: None,
            address: None,
            port: None,
            client: None,
            resource: None,
            action: None,
            command: None,
            statement: None,
            sealed: None,
            objects: Vec::new(),
            verdict: None,
            policies: Vec::new(),
            policy_version: None,
            rows: None,
            bytes: None,
            duration_us: None,
            outcome: None,
            detail: None,
            patients: None,
            unresolved: None,
            masked: Vec::new(),
            unmasked: Vec::new(),
            purpose: None,
            source: None,
            source_event: None,
            sign_in: None,
            emergency: None,
            agent: None,
            certificate: None,
        }
    }
}
