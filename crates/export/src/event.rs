//! What of an entry other systems are told: one event for each patient that it names, or one. Pure.
//!
//! An entry always gives the same events with the same identifiers, so that a receiver can drop what it has already.
//! One thing is remembered: whom an operation named when it was admitted, because the entry that settles it says what
//! came of it and does not name them again.

use std::collections::HashMap;

use model::{Action, Kind, Outcome, PatientToken, Phase, Record, Verdict};
use trail::{Entry, OpenedPatients};

use crate::notice::Topics;

/// Patients of operations under way that are remembered. Beyond, the event that settles an operation names nobody; the
/// one before it, of the same operation, did.
const REMEMBERED_PATIENTS_MAX: usize = 65_536;

/// How patients are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// By the tokens of the trail.
    #[default]
    Tokens,
    /// By their identifiers, in clear.
    Identifiers,
}

impl Shown {
    /// Returns the word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Shown::Tokens => "tokens",
            Shown::Identifiers => "identifiers",
        }
    }
}

/// One patient of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patient {
    /// The pseudonym.
    pub token: PatientToken,
    /// The year of its key.
    pub year: u16,
    /// Issuer and identifier in clear, where they are to be shown.
    pub identifier: Option<(String, String)>,
}

/// What an entry is about, as other systems classify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The node began or ended its work.
    Node,
    /// Policy or configuration came into force.
    Settings,
    /// Somebody signed in, or failed to.
    SignIn,
    /// A session on a resource began or ended.
    Session,
    /// An operation on a resource.
    Operation,
    /// An administrator changed something, or read a resource.
    Administration,
    /// Something that must not happen did.
    Incident,
    /// Somebody read the trail, or it was handed over, copied or restored.
    Trail,
    /// Another system told of an access there.
    Reported,
}

impl About {
    /// Returns what a kind of entry is about; `None` for what concerns the trail's files only and is not handed over.
    pub fn of(kind: Kind) -> Option<About> {
        match kind {
            Kind::Heartbeat
            | Kind::SegmentOpened
            | Kind::SegmentSealed
            | Kind::EpochHead
            | Kind::ArchiveManifest => None,
            Kind::NodeStarted | Kind::NodeStopped => Some(About::Node),
            Kind::PolicyActivated | Kind::ConfigActivated | Kind::KeyRotated | Kind::KeyDestroyed => {
                Some(About::Settings)
            }
            Kind::SignIn => Some(About::SignIn),
            Kind::SessionOpened | Kind::SessionClosed => Some(About::Session),
            Kind::Operation => Some(About::Operation),
            Kind::AdminChange | Kind::EmergencyBegun | Kind::EmergencyEnded | Kind::EmergencyReviewed => {
                Some(About::Administration)
            }
            Kind::Incident => Some(About::Incident),
            Kind::TrailViewed | Kind::Exported | Kind::BackedUp | Kind::Restored => Some(About::Trail),
            Kind::Reported => Some(About::Reported),
        }
    }
}

/// What was done, in the five words of RFC 3881.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Made something.
    Create,
    /// Looked at something.
    Read,
    /// Changed something.
    Update,
    /// Removed something.
    Delete,
    /// Did something else.
    Execute,
}

impl Deed {
    fn of(record: &Record<'_>) -> Deed {
        let command = record.command.as_deref().unwrap_or_default();
        let verb = command.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        match record.action {
            Some(Action::Read | Action::Transfer | Action::Unmask | Action::Review) => Deed::Read,
            Some(Action::Write) => match verb.as_str() {
                "INSERT" | "COPY" | "CREATE" => Deed::Create,
                "DELETE" | "TRUNCATE" => Deed::Delete,
                _ => Deed::Update,
            },
            Some(
                Action::Connect | Action::Define | Action::Execute | Action::Administer | Action::Approve,
            ) => Deed::Execute,
            None if matches!(record.kind, Kind::TrailViewed) => Deed::Read,
            None => Deed::Execute,
        }
    }

    /// Returns the letter of RFC 3881.
    pub fn letter(self) -> &'static str {
        match self {
            Deed::Create => "C",
            Deed::Read => "R",
            Deed::Update => "U",
            Deed::Delete => "D",
            Deed::Execute => "E",
        }
    }
}

/// How it came out, as far as the entry knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// It was done.
    Success,
    /// It was not allowed.
    Refused,
    /// It failed.
    Failed,
    /// It is about to be done: a later event of the same operation says what came of it.
    Pending,
    /// Nobody saw an answer.
    Unknown,
}

impl Result {
    fn of(record: &Record<'_>) -> Result {
        match (record.verdict, record.outcome) {
            (Some(Verdict::Deny), _) | (_, Some(Outcome::Refused)) => Result::Refused,
            (_, Some(Outcome::Completed)) => Result::Success,
            (_, Some(Outcome::Failed(_))) => Result::Failed,
            (_, Some(Outcome::Unknown)) => Result::Unknown,
            (_, None) if record.phase == Some(Phase::Admitted) => Result::Pending,
            (_, None) => Result::Success,
        }
    }

    /// Says it in a word or a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Result::Success => "done",
            Result::Refused => "refused",
            Result::Failed => "failed",
            Result::Pending => {
                "admitted, and about to be done: a later event of the operation says what came of it"
            }
            Result::Unknown => "unknown: the session ended before an answer was seen",
        }
    }
}

/// One event: an entry, as it is about one patient or nobody in particular.
#[derive(Clone, Copy, Debug)]
pub struct Event<'e> {
    /// The name of the log.
    pub origin: &'e str,
    /// The entry.
    pub entry: &'e Entry,
    /// What it is about.
    pub about: About,
    /// Whom it is about.
    pub patient: Option<&'e Patient>,
}

impl Event<'_> {
    /// Returns the record.
    pub fn record(&self) -> &Record<'static> {
        &self.entry.record
    }

    /// Returns the identifier: the same each time that the entry is mapped.
    pub fn id(&self) -> String {
        let entry = self.entry_id();
        match self.patient {
            Some(patient) => format!("{entry}/{}", patient.token),
            None => entry,
        }
    }

    /// Returns the identifier in the form of a UUID.
    pub(crate) fn uuid(&self) -> String {
        crate::text::uuid(&self.id())
    }

    /// Returns the name of the entry.
    pub(crate) fn entry_id(&self) -> String {
        format!("{}/{}", self.origin, self.entry.index)
    }

    /// Returns what all events of one operation have in common.
    pub(crate) fn operation_id(&self) -> Option<String> {
        let record = self.record();
        let session = record.session?;
        let operation = record.operation.map(|id| format!("/{}", id.0));
        Some(format!("{}/{session}{}", self.origin, operation.unwrap_or_default()))
    }

    /// Returns what was done.
    pub fn deed(&self) -> Deed {
        Deed::of(self.record())
    }

    /// Returns how it came out.
    pub fn result(&self) -> Result {
        Result::of(self.record())
    }

    /// Tells whether it took data out in bulk.
    pub(crate) fn is_transfer(&self) -> bool {
        self.record().action == Some(Action::Transfer)
    }

    /// Returns the name of who did it; also when it is only what somebody claimed, or another system said.
    pub(crate) fn person(&self) -> String {
        crate::text::shown(self.record().person_name.as_deref().unwrap_or("(nobody named)"))
    }

    /// Returns what it was done to.
    pub(crate) fn resource(&self) -> String {
        crate::text::shown(self.record().resource.as_deref().unwrap_or(self.origin))
    }

    /// Says in words what happened.
    pub(crate) fn words(&self) -> Option<String> {
        self.record().detail.as_deref().map(crate::text::shown)
    }
}

/// Whom an entry is about: the patients of its events, each once.
#[derive(Clone, Debug)]
pub struct Subjects {
    about: About,
    patients: Vec<Patient>,
}

impl Subjects {
    /// Returns how many events the entry gives: one for each patient, at least one.
    pub fn count(&self) -> usize {
        self.patients.len().max(1)
    }

    /// Returns one of the events.
    pub fn event<'e>(&'e self, origin: &'e str, entry: &'e Entry, number: usize) -> Event<'e> {
        Event { origin, entry, about: self.about, patient: self.patients.get(number) }
    }

    /// Returns all events.
    pub fn events<'e>(&'e self, origin: &'e str, entry: &'e Entry) -> impl Iterator<Item = Event<'e>> {
        (0..self.count()).map(move |number| self.event(origin, entry, number))
    }
}

impl Subjects {
    /// Returns the one event of an entry that people are told of, about no patient; `None` when they are not.
    pub(crate) fn of_notice(record: &Record<'_>, topics: Topics) -> Option<Subjects> {
        let about = About::of(record.kind).filter(|_| topics.concern(record))?;
        Some(Subjects { about, patients: Vec::new() })
    }
}

/// From entries, in the order of the log, to events.
#[derive(Debug, Default)]
pub struct Mapper {
    /// Whom operations named that were admitted and not settled.
    under_way: HashMap<(u128, u64), Vec<Patient>>,
    remembered: usize,
}

impl Mapper {
    /// Returns whom the events of an entry are about; `None` when the entry is not handed over. Identifiers in clear are
    /// those that were opened.
    pub fn subjects(&mut self, entry: &Entry, opened: Option<&OpenedPatients>) -> Option<Subjects> {
        let record = &entry.record;
        let about = About::of(record.kind)?;
        let mut patients = named(record, opened);
        if record.kind == Kind::NodeStarted {
            self.under_way.clear();
            self.remembered = 0;
        }
        if let (Kind::Operation, Some(session), Some(operation)) =
            (record.kind, record.session, record.operation)
        {
            let key = (session.0, operation.0);
            match record.phase {
                Some(Phase::Admitted) => self.remember(key, &patients),
                Some(Phase::Settled) => self.recall(key, &mut patients),
                Some(Phase::Complete | Phase::Progress | Phase::Refused) | None => {}
            }
        }
        Some(Subjects { about, patients })
    }

    fn remember(&mut self, key: (u128, u64), patients: &[Patient]) {
        if !patients.is_empty() && self.remembered + patients.len() <= REMEMBERED_PATIENTS_MAX {
            self.remembered += patients.len();
            let before = self.under_way.insert(key, patients.to_vec());
            self.remembered -= before.map_or(0, |before| before.len());
        }
    }

    fn recall(&mut self, key: (u128, u64), patients: &mut Vec<Patient>) {
        let Some(admitted) = self.under_way.remove(&key) else { return };
        self.remembered -= admitted.len();
        patients.extend(admitted);
        patients.sort_by_key(|patient| patient.token);
        patients.dedup_by_key(|patient| patient.token);
    }
}

fn named(record: &Record<'_>, opened: Option<&OpenedPatients>) -> Vec<Patient> {
    let Some(patients) = &record.patients else { return Vec::new() };
    let year = patients.year();
    let identifier = |number: usize| {
        let opened = opened?;
        let identifier = opened.identifiers.get(number)?;
        Some((opened.issuer.clone(), String::from_utf8_lossy(identifier).into_owned()))
    };
    let tokens = patients.tokens().iter().enumerate();
    tokens.map(|(number, token)| Patient { token: *token, year, identifier: identifier(number) }).collect()
}
