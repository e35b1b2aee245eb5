//! How long a decision takes that no cache holds. Run with
//! `cargo test -p policy --release -- --ignored --nocapture speed`.

use std::time::Instant;

use model::{Action, Need, Verdict};
use policy::{Rule, Snapshot};

use crate::world::{World, context, need, patterns, principal, read, resource};

/// 50 roles, 20 written policies, 5,000 people with three roles each.
fn large() -> World {
    let mut world = World::new();
    for index in 0..50 {
        let names: Vec<String> = (0..8).map(|n| format!("public.t{n}_{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let first = Rule { write: patterns(&names), ..read("hospital", &["public.*"]) };
        world = world.role(&format!("r{index}"), &[first, read("lab", &names), read("*", &["shared.*"])]);
    }
    for index in 0..20 {
        world = world.cedar(&format!(
            r#"@id("p{index}") forbid (principal in Role::"r{index}", action, resource in Schema::"hospital/private") unless {{ context.hour > {index} }};"#
        ));
    }
    world = world.cedar(
        r#"@id("office") forbid (principal, action, resource) unless { context.address.isInRange(ip("10.0.0.0/8")) };
           @id("salaries") forbid (principal, action, resource == Relation::"hospital/public.salaries");"#,
    );
    for index in 0..5_000 {
        let roles: Vec<String> = [0, 7, 31].iter().map(|step| format!("r{}", (index + step) % 50)).collect();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        world = world.person(&format!("p{index}"), &roles);
    }
    world
}

/// Two roles, one resource, a few people: what a first installation has.
fn small() -> World {
    World::new()
        .role("nurse", &[Rule { write: patterns(&["public.*"]), ..read("hospital", &["public.*"]) }])
        .role("night", &[read("hospital", &["rota.*"])])
        .person("ann", &["nurse", "night"])
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    for (name, world) in [("small", small()), ("large", large())] {
        let start = Instant::now();
        let snapshot = world.snapshot();
        println!("{name}: compile {:?}", start.elapsed());
        let needs = [
            need(Action::Read, "public.patients"),
            need(Action::Read, "public.notes"),
            need(Action::Write, "public.t3_31"),
        ];
        for count in 0..=needs.len() {
            measure(&snapshot, &format!("{name}: {count} needs"), &needs[..count]);
        }
        measure(&snapshot, &format!("{name}: catalogue"), &[need(Action::Read, "pg_catalog.pg_class")]);
    }
}

/// Prints the least of many rounds: other work on the machine only ever adds.
fn measure(snapshot: &Snapshot, name: &str, needs: &[Need]) {
    const REPEATS: u32 = 100;
    let (hospital, now) = (resource("hospital"), context());
    let round = || {
        let start = Instant::now();
        for _ in 0..REPEATS {
            let decision = snapshot.decide(&principal(1), &hospital, needs, &now);
            assert_eq!(decision.verdict, Verdict::Allow);
        }
        start.elapsed() / REPEATS
    };
    let least = (0..100).map(|_| round()).min().unwrap();
    println!("{name}: {least:?} each");
}
