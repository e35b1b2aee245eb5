//! The snapshot against a model of roles that knows nothing of Cedar, and the matrix against decisions.

use std::sync::Arc;

use model::{Action, Object, PersonId, ResourceId, Verdict};
use policy::{Person, Rule};
use proptest::prelude::*;

use crate::world::{CLASSES, World, context, object, patterns, principal, resource, rule};

const OBJECTS: &[&str] = &[
    "*",
    "a.t",
    "a.u",
    "b.t",
    "b.f()",
    "a.t()",
    "?.t",
    "?.f()",
    "?.pg_stats",
    "pg_catalog.pg_class",
    "pg_catalog.pg_stats",
    "pg_catalog.pg_read_file()",
    "information_schema.tables",
    "a.pg_stat_statements",
    "A.t",
    "class age",
    "class ssn",
    "class none",
];
const PATTERNS: &[&str] = &[
    "*",
    "a.*",
    "b.*",
    "a.t",
    "b.t",
    "b.f",
    "A.t",
    "pg_catalog.*",
    "pg_catalog.pg_stats",
    "pg_catalog.pg_read_file",
];
const REVEALING: &[&str] =
    &["?.pg_stats", "pg_catalog.pg_stats", "pg_catalog.pg_read_file()", "a.pg_stat_statements"];

/// What the documentation says, over texts.
fn model_allows(world: &World, person: &Person, on: &str, action: Action, asked: &str) -> bool {
    if person.disabled {
        return false;
    }
    let rules: Vec<&Rule> = world
        .roles
        .iter()
        .filter(|role| person.roles.iter().any(|held| **held == *role.name))
        .flat_map(|role| &role.rules)
        .filter(|rule| rule.resource == "*" || rule.resource == on)
        .collect();
    let matches = |pattern: &str| {
        let plain = asked.trim_end_matches("()");
        let wide = pattern == "*"
            || pattern.strip_suffix('*').is_some_and(|start| asked != "*" && plain.starts_with(start));
        (wide && !REVEALING.contains(&asked)) || (pattern == plain && !pattern.contains('*'))
    };
    let listed = |list: fn(&Rule) -> &Vec<policy::Pattern>| {
        rules.iter().any(|rule| list(rule).iter().any(|pattern| matches(&pattern.to_string())))
    };
    let connect = !rules.is_empty();
    let class = asked.strip_prefix("class ");
    if class.is_some() && action != Action::Unmask {
        return false;
    }
    match action {
        Action::Connect => connect && asked == "*",
        Action::Read => {
            let open = ["pg_catalog.pg_class", "information_schema.tables"].contains(&asked);
            listed(|rule| &rule.read) || (connect && open)
        }
        Action::Write => listed(|rule| &rule.write),
        Action::Define => listed(|rule| &rule.define),
        Action::Execute => listed(|rule| &rule.execute),
        Action::Transfer => rules.iter().any(|rule| rule.transfer),
        Action::Administer => rules.iter().any(|rule| rule.administer),
        Action::Unmask => {
            let seen = |wanted: &str| rules.iter().any(|rule| rule.unmask.iter().any(|one| one == wanted));
            match class {
                Some(class) => seen("*") || seen(class),
                None => asked == "*" && seen("*"),
            }
        }
        Action::Approve | Action::Review => false,
    }
}

fn some_patterns() -> impl Strategy<Value = Vec<policy::Pattern>> {
    proptest::collection::vec(proptest::sample::select(PATTERNS), 0..3).prop_map(|texts| patterns(&texts))
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let lists = (some_patterns(), some_patterns(), some_patterns(), some_patterns());
    let resource = proptest::sample::select(&["hospital", "lab", "*"][..]);
    let classes = proptest::sample::select([&["*"], CLASSES].concat());
    let unmask = proptest::collection::vec(classes.prop_map(str::to_owned), 0..2);
    (resource, lists, proptest::bool::weighted(0.3), proptest::bool::weighted(0.2), unmask).prop_map(
        |(on, (read, write, define, execute), transfer, administer, unmask)| {
            let nothing =
                unmask.is_empty() && [&read, &write, &define, &execute].iter().all(|list| list.is_empty());
            Rule {
                read,
                write,
                define,
                execute,
                transfer: transfer || (nothing && !administer),
                administer,
                unmask,
                ..rule(on)
            }
        },
    )
}

fn some_world() -> impl Strategy<Value = World> {
    let roles = proptest::collection::vec(proptest::collection::vec(some_rule(), 0..3), 4);
    let held = proptest::collection::vec(
        (proptest::sample::subsequence(vec!["r0", "r1", "r2", "r3"], 0..3), any::<bool>()),
        3,
    );
    (roles, held).prop_map(|(roles, held)| {
        let mut world = World::new();
        for (index, rules) in roles.into_iter().enumerate() {
            world = world.role(&format!("r{index}"), &rules);
        }
        for (roles, sometimes) in held {
            world = world.person("p", &roles);
            let person = world.people.last_mut().unwrap();
            person.disabled = sometimes && person.id == PersonId(3);
        }
        world
    })
}

proptest! {
    // 16 worlds of 3 people × 2 resources × 10 actions × 18 objects: 17,280 questions.
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn roles_mean_what_the_model_says(world in some_world()) {
        let snapshot = world.snapshot();
        for person in &world.people {
            for on in ["hospital", "lab"] {
                for action in Action::ALL {
                    for asked in OBJECTS {
                        let needs = [model::Need { action, object: object(asked) }];
                        let decision = snapshot.decide(&principal(person.id.0), &resource(on), &needs, &context());
                        let expected = model_allows(&world, person, on, action, asked);
                        prop_assert_eq!(decision.verdict == Verdict::Allow, expected, "{} {:?} {} {}", on, action, asked, person.id);
                    }
                }
            }
        }
    }

    #[test]
    fn several_needs_are_their_conjunction(world in some_world(), picks in proptest::collection::vec((0..10_usize, 0..OBJECTS.len()), 1..4)) {
        let snapshot = world.snapshot();
        let needs: Vec<_> =
            picks.iter().map(|(a, o)| model::Need { action: Action::ALL[*a], object: object(OBJECTS[*o]) }).collect();
        for person in &world.people {
            let ask = |needs: &[model::Need]| snapshot.decide(&principal(person.id.0), &resource("lab"), needs, &context());
            let whole = ask(&needs);
            let parts: Vec<_> = needs.iter().map(|need| ask(std::slice::from_ref(need))).collect();
            let denied = parts.iter().find(|part| part.verdict == Verdict::Deny);
            prop_assert_eq!(whole.verdict, denied.map_or(Verdict::Allow, |part| part.verdict));
            let mut reasons: Vec<_> = match denied {
                Some(part) => part.reasons.clone(),
                None => parts.iter().flat_map(|part| part.reasons.clone()).collect(),
            };
            reasons.sort();
            reasons.dedup();
            prop_assert_eq!(whole.reasons, reasons);
        }
    }

    #[test]
    fn the_matrix_is_the_decisions(world in some_world()) {
        let snapshot = world.snapshot();
        let objects: Vec<Object> = OBJECTS.iter().map(|text| object(text)).collect();
        let now = context();
        let mut count = 0;
        for cell in snapshot.matrix(&objects, &now) {
            let needs = [model::Need { action: cell.action, object: cell.object.clone() }];
            let decision = snapshot.decide(&principal(cell.person.0), &cell.resource, &needs, &now);
            prop_assert_eq!(decision, cell.decision);
            count += 1;
        }
        // Of 18 objects one is the resource and 3 are classes: 6 actions ask all but classes, 3 the resource, and
        // Unmask the resource and the classes.
        prop_assert_eq!(count, 3 * 2 * (6 * 15 + 3 + 4));
    }
}

#[test]
fn the_matrix_is_ordered_and_complete() {
    let mut world = World::new().person("ann", &[]).person("bob", &[]);
    world.people[1].disabled = true;
    let snapshot = world.snapshot();
    let (objects, now) = ([object("*")], context());
    let cells: Vec<_> = snapshot.matrix(&objects, &now).collect();
    assert_eq!(cells.len(), 2 * 2 * 10);
    let order: Vec<_> = cells.iter().map(|cell| (cell.person, cell.resource.clone(), cell.action)).collect();
    assert!(order.is_sorted());
    assert_eq!((&*cells[39].name, &cells[39].resource), ("bob", &ResourceId(Arc::from("lab"))));
    assert!(cells.iter().all(|cell| cell.decision.verdict == Verdict::Deny));
}
