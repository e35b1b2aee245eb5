//! Emergency access against a reference model: whatever is called in whatever order, a right is in force only if nobody's
//! approval is missing, until its time or somebody ends it; and nobody approves or reviews their own.

use std::time::Duration;

use model::{Micros, PersonId};
use proptest::prelude::*;
use registry::{Emergency, Error, Finding, Over, Registry, Review, TokenRow};

use super::support::{Opened, new_person, token};

const PEOPLE: u128 = 3;
const SECOND: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Take { person: u128, approvals: u32, seconds: u64 },
    Approve { number: u64, person: u128 },
    End { number: u64, over: Over },
    Review { number: u64, person: u128 },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let over =
        prop::sample::select(vec![Over::Ended, Over::Expired, Over::Revoked, Over::Withdrawn, Over::Denied]);
    prop_oneof![
        3 => (1..=PEOPLE, 0..=2u32, 1..=20u64)
            .prop_map(|(person, approvals, seconds)| Step::Take { person, approvals, seconds }),
        4 => (1..=6u64, 1..=PEOPLE).prop_map(|(number, person)| Step::Approve { number, person }),
        3 => (1..=6u64, over).prop_map(|(number, over)| Step::End { number, over }),
        3 => (1..=6u64, 1..=PEOPLE).prop_map(|(number, person)| Step::Review { number, person }),
        2 => (1..=15u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What must be true of one.
#[derive(Debug)]
struct Expected {
    person: u128,
    approvals: u32,
    seconds: u64,
    approved: Vec<u128>,
    began: Option<u64>,
    over: Option<Over>,
    reviewed: bool,
}

impl Expected {
    fn until(&self) -> Option<u64> {
        self.began.map(|from| from + self.seconds * SECOND)
    }

    fn open(&self, now: u64) -> bool {
        self.over.is_none() && self.until().is_none_or(|until| until > now)
    }

    fn approve(&mut self, person: u128, now: u64) -> bool {
        let may = self.over.is_none() && self.began.is_none() && person != self.person;
        if !may || self.approved.contains(&person) {
            return false;
        }
        self.approved.push(person);
        if self.approved.len() >= self.approvals as usize {
            self.began = Some(now);
        }
        true
    }

    fn end(&mut self, over: Over) -> bool {
        let fits = match over {
            Over::Withdrawn | Over::Denied => self.began.is_none(),
            Over::Ended | Over::Expired | Over::Revoked => self.began.is_some(),
        };
        let may = self.over.is_none() && fits;
        if may {
            self.over = Some(over);
        }
        may
    }

    fn review(&mut self, person: u128) -> bool {
        let may = person != self.person && self.began.is_some() && self.over.is_some() && !self.reviewed;
        self.reviewed |= may;
        may
    }
}

fn new(number: u64, person: u128, approvals: u32, seconds: u64, now: u64) -> Emergency {
    Emergency {
        number,
        person: PersonId(person),
        person_name: String::new(),
        role: "emergency-clinician".to_owned(),
        resource: "hospital".to_owned(),
        reason_code: "treatment".to_owned(),
        reason: "because".to_owned(),
        patient: Some(vec![1, 2, 3]),
        drill: false,
        code: None,
        duration: Duration::from_secs(seconds),
        approvals,
        approved_by: Vec::new(),
        asked_at: Micros(now),
        entry: 7,
        taken: None,
        over: None,
        review_due: None,
        overdue_at: None,
        review: None,
        rotation: None,
    }
}

async fn take(registry: &Registry, step: Step, model: &mut Vec<Expected>, now: &mut u64) {
    let at = Micros(*now);
    match step {
        Step::Take { person, approvals, seconds } => {
            let number = registry.next_emergency().await.unwrap();
            let done = registry.take_emergency(&new(number, person, approvals, seconds, *now)).await;
            let free = !model.iter().any(|one| one.person == person && one.open(*now));
            assert_eq!(done.is_ok(), free, "{step:?} at {now}: {done:?}");
            if free {
                let began = (approvals == 0).then_some(*now);
                let approved = Vec::new();
                model.push(Expected {
                    person,
                    approvals,
                    seconds,
                    approved,
                    began,
                    over: None,
                    reviewed: false,
                });
                assert_eq!(number, model.len() as u64);
            }
        }
        Step::Approve { number, person } => {
            let done = registry.approve_emergency(number, (PersonId(person), "somebody"), at).await;
            let expected = expected(model, number).is_some_and(|one| one.approve(person, *now));
            assert_eq!(done.is_ok(), expected, "{step:?} at {now}: {done:?}");
        }
        Step::End { number, over } => {
            let done =
                registry.end_emergency(number, over, "somebody", "because", at, Micros(*now + 5)).await;
            let expected = expected(model, number).is_some_and(|one| one.end(over));
            assert_eq!(done.is_ok(), expected, "{step:?} at {now}: {done:?}");
        }
        Step::Review { number, person } => {
            let (by, name) = (PersonId(person), "somebody".to_owned());
            let review = Review { by, name, at, finding: Finding::NotJustified, note: vec![9] };
            let done = registry.review_emergency(number, &review).await;
            let expected = expected(model, number).is_some_and(|one| one.review(person));
            assert_eq!(done.is_ok(), expected, "{step:?} at {now}: {done:?}");
        }
        Step::Wait { seconds } => *now += seconds * SECOND,
    }
}

fn expected(model: &mut [Expected], number: u64) -> Option<&mut Expected> {
    model.get_mut(usize::try_from(number).unwrap() - 1)
}

fn check(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = Opened::new().await;
        for person in 1..=PEOPLE {
            let new = new_person(person, &format!("person{person}"));
            opened.registry.add_person(&new, Micros(1)).await.unwrap();
        }
        let (mut model, mut now) = (Vec::new(), SECOND);
        for step in steps {
            take(&opened.registry, *step, &mut model, &mut now).await;
            let rows = opened.registry.emergencies(true).await.unwrap();
            assert_eq!(rows.len(), model.len());
            for (row, expected) in rows.iter().zip(&model) {
                let in_force = expected.over.is_none() && expected.until().is_some_and(|until| now < until);
                assert_eq!(row.is_in_force(Micros(now)), in_force, "{} after {step:?}", row.number);
                assert_eq!(row.over.as_ref().map(|(over, ..)| *over), expected.over);
                assert_eq!(row.review.is_some(), expected.reviewed);
                assert_eq!(row.review_due.is_some(), expected.over.is_some() && expected.began.is_some());
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_steps_leaves_emergency_access_without_its_reason(steps in prop::collection::vec(step(), 1..40)) {
        check(&steps);
    }
}

#[tokio::test]
async fn what_was_written_comes_back_and_the_deleted_take_nothing() {
    let opened = Opened::new().await;
    for (id, name) in [(1, "ann"), (2, "pia")] {
        opened.registry.add_person(&new_person(id, name), Micros(1)).await.unwrap();
    }
    let written = Emergency { code: Some("c3".to_owned()), drill: true, ..new(1, 1, 0, 60, 5) };
    let taken = opened.registry.take_emergency(&written).await.unwrap();
    let until = Micros(5 + 60 * SECOND);
    assert_eq!(
        taken,
        Emergency { person_name: "ann".to_owned(), taken: Some((Micros(5), until)), ..written }
    );
    for (id, how) in [(1, "password"), (2, registry::SEALED_CODE)] {
        let shown = model::Shown::alone(how);
        let token = TokenRow { person: PersonId(1), shown, ..token(id, 9_000_000) };
        opened.registry.issue_token(&token).await.unwrap();
    }
    opened.registry.end_emergency(1, Over::Ended, "ann", "awake", Micros(9), Micros(20)).await.unwrap();
    let left = opened.registry.tokens(PersonId(1), Micros(10)).await.unwrap();
    assert_eq!(
        left.iter().map(|token| token.id[0]).collect::<Vec<_>>(),
        [1],
        "that of the sealed code ended"
    );
    opened.registry.note_overdue(1, Micros(21)).await.unwrap();
    opened.registry.note_overdue(1, Micros(99)).await.unwrap();
    let review = Review {
        by: PersonId(2),
        name: "pia".to_owned(),
        at: Micros(30),
        finding: Finding::Justified,
        note: vec![4, 5],
    };
    let reviewed = opened.registry.review_emergency(1, &review).await.unwrap();
    assert_eq!(reviewed.over, Some((Over::Ended, "ann".to_owned(), Micros(9), "awake".to_owned())));
    assert_eq!((reviewed.review_due, reviewed.overdue_at), (Some(Micros(20)), Some(Micros(21))));
    assert_eq!(reviewed.review, Some(review));
    assert_eq!(opened.registry.emergencies(false).await.unwrap().len(), 1, "its credential is not changed");
    opened.registry.note_rotation(1, "changed").await.unwrap();
    opened.registry.note_rotation(1, "again").await.unwrap();
    assert_eq!(opened.registry.emergency(1).await.unwrap().rotation.as_deref(), Some("changed"));
    assert!(opened.registry.emergencies(false).await.unwrap().is_empty());
    let error = opened.registry.emergency(2).await.unwrap_err();
    assert!(matches!(error, Error::UnknownEmergency), "{error}");
    opened.registry.delete(PersonId(1), Micros(40)).await.unwrap();
    let error = opened.registry.take_emergency(&new(2, 1, 0, 60, 50)).await.unwrap_err();
    assert!(matches!(error, Error::UnknownPerson), "{error}");
}

#[tokio::test]
async fn what_was_done_at_another_registry_is_entered() {
    let (real, scratch) = (Opened::new().await, Opened::new().await);
    for opened in [&real, &scratch] {
        opened.registry.add_person(&new_person(1, "ann"), Micros(1)).await.unwrap();
        opened.registry.take_emergency(&new(1, 1, 0, 60, 5)).await.unwrap();
    }
    // A handle that somebody holds sees the other one from now on.
    let held = real.registry.clone();
    let before = real.registry.replace(&scratch.registry);
    held.end_emergency(1, Over::Ended, "ann", "", Micros(9), Micros(20)).await.unwrap();
    held.take_emergency(&new(2, 1, 0, 60, 10)).await.unwrap();
    let meanwhile = held.emergencies(true).await.unwrap();
    assert_eq!(before.emergencies(true).await.unwrap().len(), 1);
    before.adopt_emergencies(&meanwhile).await.unwrap();
    assert_eq!(before.emergencies(true).await.unwrap(), meanwhile);
    before.adopt_emergencies(&meanwhile).await.unwrap();
    assert_eq!(before.emergencies(true).await.unwrap(), meanwhile);
}
