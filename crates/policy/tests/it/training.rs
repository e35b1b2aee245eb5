//! Training: overdue means refused, whatever roles allow; policies may ask about it; time alone makes it so.

use model::{Context, Micros};
use policy::{Course, Due, Emergency};

use super::world::{MONDAY, World, check, check_at, context, lines, principal, read, resource, shown};

const NOW: i64 = 1_795_426_200;

fn course(name: &str, refuse: bool) -> Course {
    Course {
        name: name.into(),
        title: format!("The {name}").into(),
        refuse,
        warn_before_s: 100,
        text: "See the intranet.".into(),
    }
}

fn world(dues: &[(u128, &str, i64)]) -> World {
    let mut world = World::new()
        .role("nurse", &[read("hospital", &["public.*"])])
        .person("ann", &["nurse"])
        .person("ben", &["nurse"]);
    world.courses = vec![course("basics", true), course("advanced", false)];
    world.dues = dues
        .iter()
        .map(|(person, name, at)| Due { person: model::PersonId(*person), course: (*name).into(), at: *at })
        .collect();
    world
}

#[test]
fn what_is_overdue_refuses_everything_to_whom_it_is() {
    let snapshot = world(&[(1, "basics", NOW), (2, "basics", NOW + 1)]).snapshot();
    check(&snapshot, 1, "", "deny training.basics");
    check(&snapshot, 1, "Read public.notes", "deny training.basics");
    check(&snapshot, 2, "", "allow role.nurse.1.connect");
    let mut later = context();
    later.at = Micros(MONDAY.0 + 1_000_000);
    check_at(&snapshot, 2, "hospital", "", &later, "deny training.basics");
    let forbidden = snapshot.forbids(&principal(1), &resource("hospital"), &[], &context());
    assert_eq!(forbidden.map(|decision| shown(&decision)), Some("deny training.basics".to_owned()));
}

#[test]
fn an_emergency_goes_before_training_and_gives_no_more_than_itself() {
    let mut world = world(&[(1, "basics", NOW), (3, "basics", NOW)])
        .role("emergency.7", &[read("hospital", &["public.notes"])])
        .person("eve", &["nurse", "emergency.7"]);
    world.emergencies.taken.push(Emergency {
        number: 7,
        person: model::PersonId(3),
        resource: "hospital".to_owned(),
        until: Micros(MONDAY.0 + 5_000_000),
    });
    let snapshot = world.snapshot();
    check(&snapshot, 1, "Read public.notes", "deny training.basics");
    check(&snapshot, 3, "Read public.notes", "allow role.emergency.7.1.read, role.nurse.1.read");
    check(&snapshot, 3, "", "allow role.emergency.7.1.connect, role.nurse.1.connect");
    // What she may as a nurse waits until she has learnt it.
    check(&snapshot, 3, "Read public.patients", "deny training.basics");
    check_at(&snapshot, 3, "lab", "", &context(), "deny training.basics");
    let over = Context { at: Micros(MONDAY.0 + 5_000_000), ..context() };
    check_at(&snapshot, 3, "hospital", "Read public.notes", &over, "deny training.basics");
    // What a policy forbids is forbidden in an emergency, too.
    let world = world.cedar(r#"@id("never") forbid (principal, action == Action::"Read", resource);"#);
    check(&world.snapshot(), 3, "Read public.notes", "deny never");
}

#[test]
fn policies_may_ask_about_it() {
    let mut world = world(&[(1, "advanced", NOW)]).cedar(
        r#"@id("trained") forbid (principal, action == Action::"Read", resource) when { !context.training_valid };"#,
    );
    let snapshot = world.snapshot();
    check(&snapshot, 1, "", "allow role.nurse.1.connect");
    check(&snapshot, 1, "Read public.notes", "deny trained");
    check(&snapshot, 2, "Read public.notes", "allow role.nurse.1.read");
    world.cedar.clear();
    let named = world.cedar(
        r#"@id("one") forbid (principal, action, resource) when { context.training_missing.contains("advanced") };"#,
    );
    check(&named.snapshot(), 1, "", "deny one");
}

#[test]
fn people_are_told_before_and_time_turns_decisions() {
    let snapshot =
        world(&[(1, "basics", NOW + 100), (2, "basics", NOW + 101), (1, "advanced", NOW)]).snapshot();
    let told = |person: u128, at: u64| -> Vec<String> {
        let lessons = snapshot.lessons(model::PersonId(person), Micros(at * 1_000_000));
        lessons.iter().map(|lesson| lesson.course.name.to_string()).collect()
    };
    let now = u64::try_from(NOW).unwrap();
    assert_eq!(told(1, now), ["advanced", "basics"]);
    assert_eq!(told(2, now), [""; 0]);
    assert_eq!(told(2, now + 1), ["basics"]);
    assert_eq!(told(3, now), [""; 0]);
    let at = |seconds: u64| Micros((now + seconds) * 1_000_000);
    assert!(!snapshot.turns(at(0), at(99)));
    assert!(snapshot.turns(at(99), at(100)));
    assert!(!snapshot.turns(at(100), at(100)));
    assert!(snapshot.turns(at(100), at(200)));
    assert!(!snapshot.turns(at(101), at(0)), "a clock that goes back turns nothing");
    assert_eq!([snapshot.next_turn(at(0)), snapshot.next_turn(at(100))], [Some(at(100)), Some(at(101))]);
    assert_eq!(snapshot.next_turn(at(101)), None);
}

#[test]
fn what_is_given_for_a_time_ends_by_itself() {
    let ends = policy::Rule { until: Some(NOW + 7), ..read("hospital", &["*"]) };
    let given = World::new().role("grant.1", &[ends]).person("ann", &["grant.1"]).snapshot();
    let at = |seconds: i64| Micros(u64::try_from(NOW + seconds).unwrap() * 1_000_000);
    assert_eq!(given.next_turn(at(0)), Some(at(7)));
    assert!(given.turns(at(6), at(7)) && !given.turns(at(5), at(6)));
    check_at(&given, 1, "hospital", "", &Context { at: at(6), ..context() }, "allow role.grant.1.1.connect");
    check_at(&given, 1, "hospital", "", &Context { at: at(7), ..context() }, "deny");
}

#[test]
fn what_is_not_defined_is_a_fault_and_all_of_it_is_in_the_digest() {
    let faults = world(&[(1, "basic", NOW)]).compile().unwrap_err();
    assert_eq!(lines(&faults), "people: a person must have learnt `basic`, which is not defined");
    let digest = |dues: &[(u128, &str, i64)]| world(dues).snapshot().digest();
    assert_ne!(digest(&[]), digest(&[(1, "basics", NOW)]));
    assert_ne!(digest(&[(1, "basics", NOW + 1)]), digest(&[(1, "basics", NOW)]));
    assert_eq!(
        digest(&[(1, "basics", NOW), (2, "basics", NOW)]),
        digest(&[(2, "basics", NOW), (1, "basics", NOW)])
    );
    let reserved = World::new().cedar(r#"@id("training.x") permit (principal, action, resource);"#);
    assert!(lines(&reserved.compile().unwrap_err()).contains("`training.x` is reserved"));
}
