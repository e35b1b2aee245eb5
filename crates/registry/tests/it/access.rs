//! Requests and grants against a reference model: whatever is called in whatever order, a right is in force only if
//! enough people other than the one who asked approved it, and until its time or somebody ends it.

use std::time::Duration;

use model::{Micros, PersonId};
use proptest::prelude::*;
use registry::{Closed, Error, NewRequest, Registry};

use super::support::{Opened, cases, new_person};

const PEOPLE: u128 = 4;
const SECOND: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { person: u128, approvals: u32, seconds: u64 },
    Approve { number: u64, person: u128 },
    Close { number: u64, closed: Closed },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let closed =
        prop::sample::select(vec![Closed::Denied, Closed::Withdrawn, Closed::Revoked, Closed::Expired]);
    prop_oneof![
        2 => (1..=PEOPLE, 1..=2u32, 1..=20u64)
            .prop_map(|(person, approvals, seconds)| Step::Ask { person, approvals, seconds }),
        6 => (1..=6u64, 1..=PEOPLE).prop_map(|(number, person)| Step::Approve { number, person }),
        2 => (1..=6u64, closed).prop_map(|(number, closed)| Step::Close { number, closed }),
        2 => (1..=15u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What must be true of one request.
#[derive(Debug)]
struct Expected {
    person: u128,
    approvals: u32,
    seconds: u64,
    approved: Vec<u128>,
    granted: Option<u64>,
    closed: Option<Closed>,
}

impl Expected {
    fn until(&self) -> Option<u64> {
        self.granted.map(|from| from + self.seconds * SECOND)
    }

    fn approve(&mut self, person: u128, now: u64) -> bool {
        let may = self.closed.is_none() && self.granted.is_none() && person != self.person;
        if !may || self.approved.contains(&person) {
            return false;
        }
        self.approved.push(person);
        if self.approved.len() >= self.approvals as usize {
            self.granted = Some(now);
        }
        true
    }

    fn close(&mut self, closed: Closed, now: u64) -> bool {
        let over = self.until().is_some_and(|until| until <= now);
        let may = self.closed.is_none()
            && match closed {
                Closed::Denied | Closed::Withdrawn => self.granted.is_none(),
                Closed::Revoked => self.granted.is_some() && !over,
                Closed::Expired => over,
            };
        if may {
            self.closed = Some(closed);
        }
        may
    }

    fn in_force(&self, now: u64) -> bool {
        self.closed.is_none() && self.until().is_some_and(|until| now < until)
    }
}

async fn take(registry: &Registry, step: Step, model: &mut Vec<Expected>, now: &mut u64) {
    match step {
        Step::Ask { person, approvals, seconds } => {
            let new = NewRequest {
                person: PersonId(person),
                role: "nurse".to_owned(),
                resource: "hospital".to_owned(),
                purpose: "treatment".to_owned(),
                reason: "because".to_owned(),
                duration: Duration::from_secs(seconds),
                approvals,
            };
            let number = registry.ask_access(&new, Micros(*now)).await.unwrap();
            model.push(Expected {
                person,
                approvals,
                seconds,
                approved: Vec::new(),
                granted: None,
                closed: None,
            });
            assert_eq!(number, model.len() as u64);
        }
        Step::Approve { number, person } => {
            let done = registry.approve_access(number, (PersonId(person), "somebody"), Micros(*now)).await;
            let expected = expected(model, number).is_some_and(|request| request.approve(person, *now));
            assert_eq!(done.is_ok(), expected, "{step:?} at {now}: {done:?}");
        }
        Step::Close { number, closed } => {
            let done = registry.close_access(number, closed, "somebody", "because", Micros(*now)).await;
            let expected = expected(model, number).is_some_and(|request| request.close(closed, *now));
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
            let rows = opened.registry.access_requests(true).await.unwrap();
            assert_eq!(rows.len(), model.len());
            for (row, expected) in rows.iter().zip(&model) {
                let force = (row.number, row.is_in_force(Micros(now)), row.approved_by.len());
                assert_eq!(
                    force,
                    (row.number, expected.in_force(now), expected.approved.len()),
                    "after {step:?}"
                );
                assert_eq!(row.closed.as_ref().map(|(closed, ..)| *closed), expected.closed);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_steps_leaves_a_right_without_its_reason(steps in prop::collection::vec(step(), 1..40)) {
        check(&steps);
    }
}

#[tokio::test]
async fn requests_have_a_most_and_the_deleted_ask_nothing() {
    let opened = Opened::new().await;
    opened.registry.add_person(&new_person(1, "ann"), Micros(1)).await.unwrap();
    let new = NewRequest {
        person: PersonId(1),
        role: "nurse".to_owned(),
        resource: "hospital".to_owned(),
        purpose: "treatment".to_owned(),
        reason: "because".to_owned(),
        duration: Duration::from_secs(60),
        approvals: 1,
    };
    for _ in 0..registry::REQUESTS_PER_PERSON_MAX {
        opened.registry.ask_access(&new, Micros(2)).await.unwrap();
    }
    let error = opened.registry.ask_access(&new, Micros(2)).await.unwrap_err();
    assert!(matches!(error, Error::TooManyRequests { .. }), "{error}");
    opened.registry.delete(PersonId(1), Micros(3)).await.unwrap();
    let error = opened.registry.ask_access(&new, Micros(4)).await.unwrap_err();
    assert!(matches!(error, Error::UnknownPerson), "{error}");
}
