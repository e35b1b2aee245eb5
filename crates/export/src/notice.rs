//! Messages to people: which entries somebody must hear of at once, and what they are told. Pure.
//!
//! Who, what, why and until when; never a patient, neither by identifier nor by token. `docs/formats/notice.md` has the
//! fields.

use model::{Kind, Outcome, Phase, Record};
use serde_json::{Value, json};

use crate::event::Event;
use crate::text::{plain, time};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Emergency access: begun, over, reviewed, not reviewed in time.
    Emergency,
    /// Something that must not happen did.
    Incident,
    /// Somebody or something was locked out, or let in again.
    Lock,
}

impl Topic {
    /// All topics.
    pub const ALL: [Topic; 3] = [Topic::Emergency, Topic::Incident, Topic::Lock];

    /// Returns the word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Emergency => "emergency",
            Topic::Incident => "incident",
            Topic::Lock => "lock",
        }
    }

    /// Returns the topic of a record; `None` for what nobody is told at once.
    pub(crate) fn of(record: &Record<'_>) -> Option<Topic> {
        let done = record.phase == Some(Phase::Settled) && record.outcome == Some(Outcome::Completed);
        match record.kind {
            Kind::EmergencyBegun | Kind::EmergencyEnded | Kind::EmergencyReviewed => Some(Topic::Emergency),
            Kind::Incident if record.emergency.is_some() => Some(Topic::Emergency),
            Kind::Incident => Some(Topic::Incident),
            Kind::AdminChange
                if done && matches!(record.command.as_deref(), Some("lock add" | "lock remove")) =>
            {
                Some(Topic::Lock)
            }
            _ => None,
        }
    }
}

/// The topics that somebody wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topics(u8);

impl Topics {
    /// Returns a set of topics.
    pub fn of(topics: impl IntoIterator<Item = Topic>) -> Topics {
        Topics(topics.into_iter().fold(0, |all, topic| all | 1 << topic as u8))
    }

    /// Tells whether a record is about one of them.
    pub(crate) fn concern(self, record: &Record<'_>) -> bool {
        Topic::of(record).is_some_and(|topic| self.0 & (1 << topic as u8) != 0)
    }
}

/// What an event is called in a message.
fn name(record: &Record<'_>) -> &'static str {
    match (record.kind, record.command.as_deref()) {
        (Kind::Incident, Some("break-glass overdue")) => "emergency-review-overdue",
        (Kind::AdminChange, Some("lock add")) => "locked",
        (Kind::AdminChange, Some("lock remove")) => "unlocked",
        (kind, _) => kind.name(),
    }
}

/// Returns the message of an event.
pub(crate) fn message(event: &Event<'_>) -> Value {
    let record = event.record();
    let detail = plain(record.detail.as_deref().unwrap_or_default());
    let (until, why) = match (record.kind, detail.strip_prefix("until ")) {
        (Kind::EmergencyBegun, Some(rest)) => match rest.split_once("; ") {
            Some((until, why)) => (Some(until.to_owned()), why.to_owned()),
            None => (None, detail.clone()),
        },
        (_, _) => (None, detail.clone()),
    };
    let who = record.person_name.as_deref().map(plain);
    let resource = record.resource.as_deref().map(plain);
    let what = what(record, resource.as_deref());
    let subject = match &who {
        Some(who) => format!("{}: {who}: {what}", event.origin),
        None => format!("{}: {what}", event.origin),
    };
    let mut text = format!("What: {what}\n");
    for (label, value) in [("Who", &who), ("Until", &until)] {
        if let Some(value) = value {
            text.push_str(&format!("{label}: {value}\n"));
        }
    }
    text.push_str(&format!("Why: {why}\nWhen: {}\nEntry: {}\n", time(record.at), event.entry_id()));
    json!({
        "format": "wardline/notice/v1",
        "id": event.uuid(),
        "node": event.origin,
        "entry": event.entry.index,
        "at": time(record.at),
        "topic": Topic::of(record).map(Topic::name),
        "event": name(record),
        "emergency": record.emergency,
        "who": who,
        "what": what,
        "resource": resource,
        "why": why,
        "until": until,
        "subject": subject,
        "text": text,
    })
}

fn what(record: &Record<'_>, resource: Option<&str>) -> String {
    let number = record.emergency.map(|number| format!(" {number}")).unwrap_or_default();
    let to = resource.map(|resource| format!(" to `{resource}`")).unwrap_or_default();
    match name(record) {
        "emergency-begun" => format!("EMERGENCY ACCESS{number}{to} has begun"),
        "emergency-ended" => format!("emergency access{number}{to} is over"),
        "emergency-reviewed" => format!("emergency access{number}{to} was reviewed"),
        "emergency-review-overdue" => format!("REVIEW OVERDUE of emergency access{number}{to}"),
        "locked" => "a lock was placed".to_owned(),
        "unlocked" => "a lock was lifted".to_owned(),
        _ => "INCIDENT".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use model::{Micros, PatientToken, Patients};
    use trail::Entry;

    use super::*;
    use crate::event::About;

    fn told(record: Record<'static>) -> Value {
        let entry = Entry { index: 7, time_us: 0, segment: 0, offset: 0, record };
        message(&Event { origin: "gw1", entry: &entry, about: About::Incident, patient: None })
    }

    #[test]
    fn an_emergency_is_told_with_who_what_why_and_until_and_without_its_patient() {
        let mut record = Record::new(Kind::EmergencyBegun, Micros(1_795_426_816_000_042));
        record.person_name = Some("ann".into());
        record.resource = Some("hospital".into());
        record.emergency = Some(3);
        record.detail =
            Some("until 2026-11-23T10:40:16.000042Z; role `e`; `treatment`: unconscious\u{1b}[2J".into());
        record.patients = Patients::new(2026, vec![PatientToken([0xab; 16])], vec![1].into());
        assert!(Topics::of([Topic::Emergency]).concern(&record));
        assert!(!Topics::of([Topic::Incident, Topic::Lock]).concern(&record));
        let told = told(record);
        assert_eq!(
            (&told["event"], &told["who"], &told["emergency"]),
            (&"emergency-begun".into(), &"ann".into(), &3.into())
        );
        assert_eq!(told["until"], "2026-11-23T10:40:16.000042Z");
        assert_eq!(told["why"], "role `e`; `treatment`: unconscious\\u{1b}[2J");
        assert_eq!(told["subject"], "gw1: ann: EMERGENCY ACCESS 3 to `hospital` has begun");
        assert!(!told.to_string().contains("abab"), "{told}");
    }

    #[test]
    fn what_nobody_must_hear_of_at_once_is_not_told() {
        let all = Topics::of(Topic::ALL);
        let record = |kind| Record::new(kind, Micros(0));
        for kind in [Kind::Operation, Kind::AdminChange, Kind::SignIn, Kind::Exported] {
            assert!(!all.concern(&record(kind)), "{kind:?}");
        }
        let mut lock = record(Kind::AdminChange);
        (lock.command, lock.phase) = (Some("lock add".into()), Some(Phase::Admitted));
        assert!(!all.concern(&lock), "it is not placed yet");
        (lock.phase, lock.outcome) = (Some(Phase::Settled), Some(Outcome::Completed));
        assert!(all.concern(&lock));
        let mut overdue = record(Kind::Incident);
        assert_eq!(Topic::of(&overdue), Some(Topic::Incident));
        (overdue.emergency, overdue.command) = (Some(1), Some("break-glass overdue".into()));
        assert_eq!(Topic::of(&overdue), Some(Topic::Emergency));
        assert_eq!(told(overdue)["event"], "emergency-review-overdue");
    }
}
