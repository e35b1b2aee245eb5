//! What somebody is told whose session ends with a grant or with emergency access: that it is over, and how to ask again.
//!
//! In memory: what people have for a time now, and what they had a moment ago. It decides nothing; that is policy's.

use std::time::Duration;

use gateway::Parting;
use model::{Micros, PersonId, ResourceId};
use parking_lot::Mutex;
use registry::{Emergency, RequestRow};

use crate::output;

/// Sessions are told of what ended within this; they end within seconds.
const TOLD_WITHIN: Duration = Duration::from_mins(1);

/// What people have for a time, and had a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Partings(Mutex<Vec<Had>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Had {
    what: What,
    person: PersonId,
    resource: String,
    until: Micros,
    /// When it was first seen that it is not in force any more.
    gone_at: Option<Micros>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Grant { number: u64, role: String, purpose: String },
    Emergency { number: u64 },
}

impl Had {
    fn by_grant(row: &RequestRow) -> Option<Had> {
        let (_, until) = row.granted?;
        let what = What::Grant { number: row.number, role: row.role.clone(), purpose: row.purpose.clone() };
        Some(Had { what, person: row.person, resource: row.resource.clone(), until, gone_at: None })
    }

    fn by_emergency(row: &Emergency) -> Option<Had> {
        let (_, until) = row.taken?;
        let what = What::Emergency { number: row.number };
        Some(Had { what, person: row.person, resource: row.resource.clone(), until, gone_at: None })
    }

    /// Returns since when it is over.
    fn over_since(&self, now: Micros) -> Option<Micros> {
        let by_time = (self.until <= now).then_some(self.until);
        self.gone_at.into_iter().chain(by_time).min()
    }

    fn words(&self) -> Parting {
        let how = match self.gone_at {
            Some(gone) if gone < self.until => "was ended before its time",
            Some(_) | None => "is over: its time has ended",
        };
        let resource = output::printable(&self.resource);
        match &self.what {
            What::Grant { number, role, purpose } => Parting {
                words: format!("the grant of role \"{}\" (request {number}) {how}", output::printable(role)),
                hint: format!(
                    "Ask again with: wardline --as NAME access request {} {resource} --purpose {} --reason WHY --for-s SECONDS",
                    output::printable(role),
                    output::printable(purpose)
                ),
            },
            What::Emergency { number } => Parting {
                words: format!("emergency access {number} {how}"),
                hint: format!(
                    "If the emergency goes on: wardline --as NAME break-glass begin {resource}, or ask for access with: \
                     wardline --as NAME access request"
                ),
            },
        }
    }
}

impl Partings {
    /// Takes what is in force from now on; what is not any more is remembered for a while.
    pub(crate) fn put(&self, grants: &[RequestRow], emergencies: &[Emergency], now: Micros) {
        let grants = grants.iter().filter_map(Had::by_grant);
        let mut fresh: Vec<Had> = grants.chain(emergencies.iter().filter_map(Had::by_emergency)).collect();
        let mut had = self.0.lock();
        let told_within = u64::try_from(TOLD_WITHIN.as_micros()).unwrap_or(u64::MAX);
        for mut old in had.drain(..) {
            if fresh.iter().any(|one| one.what == old.what) {
                continue;
            }
            let gone_at = *old.gone_at.get_or_insert(now);
            if now.0.saturating_sub(gone_at.0) <= told_within {
                fresh.push(old);
            }
        }
        *had = fresh;
    }

    /// Returns what a person is told whose right to a resource is gone, where they had it for a time until a moment ago.
    pub(crate) fn words(&self, person: PersonId, resource: &ResourceId, now: Micros) -> Option<Parting> {
        let had = self.0.lock();
        let theirs = had.iter().filter(|one| one.person == person && one.resource == *resource.0);
        let over = theirs.filter_map(|one| Some((one.over_since(now)?, one)));
        over.max_by_key(|(since, _)| *since).map(|(_, one)| one.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: u64 = 100_000_000;

    fn grant() -> RequestRow {
        RequestRow {
            number: 7,
            person: PersonId(1),
            person_name: "ann".to_owned(),
            role: "nurse".to_owned(),
            resource: "hospital".to_owned(),
            purpose: "treatment".to_owned(),
            reason: "because".to_owned(),
            duration: Duration::from_secs(90),
            approvals: 1,
            approved_by: vec!["lea".to_owned()],
            asked_at: Micros(0),
            granted: Some((Micros(10_000_000), Micros(UNTIL))),
            closed: None,
        }
    }

    fn said(partings: &Partings, person: u128, resource: &str, now: u64) -> Option<String> {
        partings
            .words(PersonId(person), &ResourceId(resource.into()), Micros(now))
            .map(|parting| parting.words)
    }

    #[test]
    fn a_grant_that_is_over_is_told_to_whom_it_was_given_and_for_a_while() {
        let partings = Partings::default();
        partings.put(&[grant()], &[], Micros(20_000_000));
        assert_eq!(said(&partings, 1, "hospital", UNTIL - 1), None, "it is in force");
        let over = said(&partings, 1, "hospital", UNTIL).expect("it is over");
        assert_eq!(over, "the grant of role \"nurse\" (request 7) is over: its time has ended");
        assert_eq!(said(&partings, 2, "hospital", UNTIL), None, "it was somebody else's");
        assert_eq!(said(&partings, 1, "other", UNTIL), None, "it was for another resource");
        partings.put(&[], &[], Micros(UNTIL + 1));
        assert_eq!(said(&partings, 1, "hospital", UNTIL + 2), Some(over));
        partings.put(&[], &[], Micros(UNTIL + 100_000_000));
        assert_eq!(said(&partings, 1, "hospital", UNTIL + 100_000_001), None, "that was long ago");
    }

    #[test]
    fn a_grant_that_was_taken_away_was_ended_before_its_time() {
        let partings = Partings::default();
        partings.put(&[grant()], &[], Micros(20_000_000));
        partings.put(&[], &[], Micros(30_000_000));
        let told = said(&partings, 1, "hospital", 30_000_001).expect("it is gone");
        assert_eq!(told, "the grant of role \"nurse\" (request 7) was ended before its time");
    }
}
