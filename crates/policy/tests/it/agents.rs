//! Agents: what one may do for a person is what both may, while the delegation holds, and never more.

use std::sync::Arc;

use model::{Action, Agent, Context, Micros, Need, PersonId, Principal, Verdict};
use policy::{Delegation, Snapshot};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::world::{MONDAY, World, context, need, patterns, principal, read, resource, rule, shown, unmask};

const NOW: i64 = 1_795_426_200;

fn acting(person: u128, agent: u128, delegation: u64) -> Principal {
    let agent = Agent { id: PersonId(agent), name: "scribe".into(), delegation, purpose: None };
    Principal { agent: Some(Arc::new(agent)), ..principal(person) }
}

fn delegation(number: u64, purpose: Option<&str>) -> Delegation {
    Delegation {
        number,
        agent: PersonId(2),
        person: PersonId(1),
        purpose: purpose.map(Into::into),
        until: NOW + 60,
    }
}

fn world() -> World {
    let mut world = World::new()
        .role("nurse", &[read("hospital", &["public.*"]), unmask("hospital", &["ssn", "age"])])
        .role("robot", &[read("hospital", &["public.notes"]), unmask("hospital", &["age", "date"])])
        .person("ann", &["nurse"])
        .person("scribe", &["robot"])
        .person("ben", &["nurse"]);
    world.delegations = vec![delegation(1, None), delegation(2, Some("treatment"))];
    world
}

fn answer(snapshot: &Snapshot, who: &Principal, need: Need, context: &Context) -> String {
    shown(&snapshot.decide(who, &resource("hospital"), &[need], context))
}

#[test]
fn both_must_be_allowed_and_both_are_the_reason() {
    let snapshot = world().snapshot();
    let now = context();
    let ask = |action, on: &str| answer(&snapshot, &acting(1, 2, 1), need(action, on), &now);
    assert_eq!(ask(Action::Read, "public.notes"), "allow role.nurse.1.read, role.robot.1.read");
    assert_eq!(ask(Action::Read, "public.patients"), "deny");
    assert_eq!(ask(Action::Unmask, "class age"), "allow role.nurse.2.unmask, role.robot.2.unmask");
    assert_eq!(ask(Action::Unmask, "class ssn"), "deny", "the person's right to see is not inherited");
    assert_eq!(ask(Action::Unmask, "class date"), "deny", "nor is the agent's lent to the person");
}

#[test]
fn without_a_delegation_that_holds_nothing_is_allowed() {
    let snapshot = world().snapshot();
    let ask = |who: &Principal, context: &Context| {
        answer(&snapshot, who, need(Action::Read, "public.notes"), context)
    };
    let ended = "deny wardline.delegation-ended";
    let allowed = "allow role.nurse.1.read, role.robot.1.read";
    let mut late = context();
    late.at = Micros(MONDAY.0 + 60_000_000);
    assert_eq!(ask(&acting(1, 2, 1), &late), ended);
    // Another number, another person, another agent.
    for who in [acting(1, 2, 3), acting(3, 2, 1), acting(1, 3, 1)] {
        assert_eq!(ask(&who, &context()), ended);
        let forbidden = snapshot.forbids(&who, &resource("hospital"), &[], &context());
        assert_eq!(forbidden.map(|decision| shown(&decision)), Some(ended.to_owned()));
    }
    let stating = |purpose: &str| Context { purpose: Some(purpose.into()), ..context() };
    assert_eq!(ask(&acting(1, 2, 2), &stating("treatment")), allowed);
    assert_eq!(ask(&acting(1, 2, 2), &stating("research")), "deny wardline.delegation-purpose");
    assert!(snapshot.turns(MONDAY, late.at), "its end turns decisions");
    let mut disabled = world();
    disabled.people[1].disabled = true;
    assert_eq!(
        answer(&disabled.snapshot(), &acting(1, 2, 1), need(Action::Read, "public.notes"), &context()),
        "deny wardline.disabled"
    );
}

fn some_rule() -> impl Strategy<Value = policy::Rule> {
    let objects = subsequence(vec!["*", "public.*", "public.notes", "s.t"], 0..3);
    let classes = subsequence(vec!["*", "age", "ssn"], 0..2);
    (select(&["hospital", "lab", "*"][..]), objects.clone(), objects, classes).prop_map(
        |(resource, reads, writes, classes)| policy::Rule {
            read: patterns(&reads),
            write: patterns(&writes),
            unmask: classes.into_iter().map(str::to_owned).collect(),
            // A rule allows something.
            administer: true,
            ..rule(resource)
        },
    )
}

fn some_policy() -> impl Strategy<Value = String> {
    let effect = select(&["permit", "forbid"][..]);
    let principal = select(
        &[
            "principal",
            "principal in Role::\"a\"",
            "principal == Person::\"00000000000000000000000000000002\"",
        ][..],
    );
    let action = select(&["action", "action == Action::\"Read\"", "action == Action::\"Unmask\""][..]);
    let on = select(&["resource", "resource in Resource::\"hospital\"", "resource is Class"][..]);
    (effect, principal, action, on)
        .prop_map(|(effect, principal, action, on)| format!("{effect} ({principal}, {action}, {on});"))
        // Classes are seen, and nothing else.
        .prop_filter("would never apply", |text| !(text.contains("is Class") && text.contains("\"Read\"")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_agent_for_a_person_may_what_both_may_and_no_more(
        rules in proptest::array::uniform3(some_rule()),
        policies in proptest::collection::vec(some_policy(), 0..4),
        persons in subsequence(vec!["a", "b", "c"], 0..3),
        agents in subsequence(vec!["a", "b", "c"], 0..3),
    ) {
        let mut world = World::new();
        for (name, rule) in ["a", "b", "c"].into_iter().zip(&rules) {
            world = world.role(name, std::slice::from_ref(rule));
        }
        world = policies.iter().fold(world, |world, text| world.cedar(text));
        world = world.person("ann", &persons).person("scribe", &agents);
        world.delegations = vec![delegation(1, None)];
        let snapshot = world.snapshot();
        for on in ["hospital", "lab"].map(resource) {
            for object in ["*", "public.notes", "s.t", "?.t", "class age", "class ssn"] {
                for action in [Action::Connect, Action::Read, Action::Write, Action::Unmask, Action::Administer] {
                    let needs = [need(action, object)];
                    let may = |who: &Principal| {
                        let decided = snapshot.decide(who, &on, &needs, &context()).verdict == Verdict::Allow;
                        let forbidden = snapshot.forbids(who, &on, &needs, &context()).is_some();
                        (decided, forbidden)
                    };
                    let (person, agent) = (may(&principal(1)), may(&principal(2)));
                    let expected = (person.0 && agent.0, person.1 || agent.1);
                    prop_assert_eq!(may(&acting(1, 2, 1)), expected, "{:?} {} on {:?}", action, object, on);
                }
            }
        }
    }
}
