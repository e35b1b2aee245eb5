//! The register of accounts: what is wrong with one, and when each was last used.
//!
//! Uses are kept in memory and written together, so that a sign-in does not wait for the disk: after a crash the last
//! minute of them is not known, which is nothing beside the days that are counted.

use std::collections::HashMap;

use model::{Micros, PersonId};
use parking_lot::Mutex;
use registry::{AccountKind, Details, PersonRow};

/// Accounts that were not used for longer are findings.
pub(crate) const UNUSED_DAYS: u64 = 90;
const DAY_US: u64 = 86_400 * 1_000_000;

/// Names that come with a product, or name no person.
const DEFAULT_NAMES: &[&str] = &[
    "admin",
    "administrator",
    "app",
    "cloudsqlsuperuser",
    "dba",
    "demo",
    "guest",
    "mysql",
    "operator",
    "oracle",
    "postgres",
    "rdsadmin",
    "root",
    "sa",
    "service",
    "superuser",
    "sys",
    "system",
    "test",
    "user",
];

/// When accounts were last used, since it was last written down.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    people: HashMap<PersonId, Micros>,
    /// By resource and account there.
    upstream: HashMap<(String, String), Micros>,
}

/// What is to be written down: people, and accounts at resources.
pub(crate) type Written = (Vec<(PersonId, Micros)>, Vec<(String, String, Micros)>);

impl Uses {
    /// Notes that a person, or a program, signed in.
    pub(crate) fn note(&self, person: PersonId, at: Micros) {
        self.0.lock().people.insert(person, at);
    }

    /// Notes that Wardline signs in at a resource.
    pub(crate) fn note_upstream(&self, resource: &str, account: &str, at: Micros) {
        self.0.lock().upstream.insert((resource.to_owned(), account.to_owned()), at);
    }

    /// Takes out what is to be written down.
    pub(crate) fn take(&self) -> Written {
        let Noted { people, upstream } = std::mem::take(&mut *self.0.lock());
        let upstream = upstream.into_iter().map(|((resource, account), at)| (resource, account, at));
        (people.into_iter().collect(), upstream.collect())
    }

    /// Puts back what could not be written down; what was noted since is later.
    pub(crate) fn put_back(&self, (people, upstream): Written) {
        let mut noted = self.0.lock();
        for (person, at) in people {
            noted.people.entry(person).or_insert(at);
        }
        for (resource, account, at) in upstream {
            noted.upstream.entry((resource, account)).or_insert(at);
        }
    }
}

/// Says what is wrong with an account of a person, program or group.
pub(crate) fn findings(
    account: &PersonRow,
    details: &Details,
    people: &HashMap<PersonId, &PersonRow>,
    now: Micros,
) -> Vec<String> {
    let mut findings = Vec::new();
    match details.kind {
        AccountKind::Person if is_default(&account.name) => {
            findings.push("its name is nobody's: say what it is with `wardline account describe`".to_owned());
        }
        AccountKind::Person => {}
        AccountKind::Shared => {
            findings.push("several people use it: their acts are not told apart".to_owned());
            findings.extend(answerable(details.owner, details.approver, people));
        }
        AccountKind::Service | AccountKind::Agent => {
            findings.extend(answerable(details.owner, details.approver, people));
        }
    }
    if account.disabled_at.is_none() {
        findings.extend(unused(details.last_used_at, Some(account.created_at), now));
    }
    findings
}

/// Says what is wrong with an account by which Wardline signs in at a resource.
pub(crate) fn upstream_findings(
    account: &str,
    (owner, approver): (Option<PersonId>, Option<PersonId>),
    last_used_at: Option<Micros>,
    people: &HashMap<PersonId, &PersonRow>,
    now: Micros,
) -> Vec<String> {
    let mut findings = Vec::new();
    if is_default(account) {
        findings.push("it is an account that comes with the product: make one for Wardline".to_owned());
    }
    findings.extend(answerable(owner, approver, people));
    findings.extend(unused(last_used_at, None, now));
    findings
}

fn is_default(name: &str) -> bool {
    DEFAULT_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

fn answerable(
    owner: Option<PersonId>,
    approver: Option<PersonId>,
    people: &HashMap<PersonId, &PersonRow>,
) -> Vec<String> {
    let answers = |who: Option<PersonId>, nobody: &str, noun: &str| {
        let Some(who) = who else { return Some(nobody.to_owned()) };
        match people.get(&who) {
            None => Some(format!("its {noun} is gone")),
            Some(person) if person.disabled_at.is_some() => {
                Some(format!("its {noun} `{}` is disabled", person.name))
            }
            Some(_) => None,
        }
    };
    let owner = answers(owner, "nobody owns it", "owner");
    owner.into_iter().chain(answers(approver, "nobody approved it", "approver")).collect()
}

fn unused(last_used_at: Option<Micros>, created_at: Option<Micros>, now: Micros) -> Option<String> {
    let since = last_used_at.or(created_at)?;
    let days = now.0.saturating_sub(since.0) / DAY_US;
    let never = if last_used_at.is_none() { "never used, and " } else { "" };
    (days > UNUSED_DAYS).then(|| match never {
        "" => format!("not used for {days} days"),
        never => format!("{never}{days} days old"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(id: u128, name: &str, disabled: bool) -> PersonRow {
        PersonRow {
            id: PersonId(id),
            name: name.to_owned(),
            display_name: String::new(),
            roles: Vec::new(),
            disabled_at: disabled.then_some(Micros(1)),
            created_at: Micros(0),
        }
    }

    #[test]
    fn accounts_without_somebody_who_answers_for_them_are_findings() {
        let all = [
            person(1, "ann", false),
            person(2, "ben", true),
            person(3, "svc", false),
            person(4, "root", false),
        ];
        let people = all.iter().map(|person| (person.id, person)).collect();
        let now = Micros(100 * DAY_US);
        let service = Details { kind: AccountKind::Service, last_used_at: Some(now), ..Details::default() };
        let owned = Details { owner: Some(PersonId(1)), approver: Some(PersonId(1)), ..service };
        let cases: [(usize, Details, &[&str]); 7] = [
            (2, service, &["nobody owns it", "nobody approved it"]),
            (2, owned, &[]),
            (2, Details { owner: Some(PersonId(2)), ..owned }, &["its owner `ben` is disabled"]),
            (2, Details { approver: Some(PersonId(9)), ..owned }, &["its approver is gone"]),
            (2, Details { last_used_at: Some(Micros(9 * DAY_US)), ..owned }, &["not used for 91 days"]),
            (0, Details::default(), &["never used, and 100 days old"]),
            (
                3,
                Details { last_used_at: Some(now), ..Details::default() },
                &["its name is nobody's: say what it is with `wardline account describe`"],
            ),
        ];
        for (account, details, expected) in cases {
            assert_eq!(findings(&all[account], &details, &people, now), expected, "{account} {details:?}");
        }
        let upstream = upstream_findings("Postgres", (None, Some(PersonId(1))), None, &people, now);
        assert_eq!(upstream.len(), 2, "{upstream:?}");
    }

    #[test]
    fn what_could_not_be_written_down_is_kept_and_is_not_later_than_what_came_since() {
        let uses = Uses::default();
        uses.note(PersonId(1), Micros(1));
        uses.note_upstream("hospital", "app", Micros(1));
        let taken = uses.take();
        assert_eq!(uses.take(), (Vec::new(), Vec::new()));
        uses.note(PersonId(1), Micros(2));
        uses.put_back(taken);
        let (people, upstream) = uses.take();
        assert_eq!(people, [(PersonId(1), Micros(2))]);
        assert_eq!(upstream, [("hospital".to_owned(), "app".to_owned(), Micros(1))]);
    }
}
