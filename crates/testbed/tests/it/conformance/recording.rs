//! Rows 18 and 20: one event for each interaction, and no interaction without one.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;
use testbed::{Conninfo, SmallDisk};

use super::stage::{self, HOSPITAL, answer, entries, err, of, psql, text};

#[test]
fn row_18_a_hundred_actions_a_hundred_events() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster).person("cleo", &["clerk"]).start().expect("it starts");
    let before = entries(&gateway).len();
    let cleo = gateway.conninfo("cleo", HOSPITAL).expect("a person");
    for n in 0..10 {
        gateway
            .cli_stdin(&["user", "add", &format!("new{n}"), "--password-stdin"], "a long enough password")
            .expect("added");
    }
    // Nine, because the tenth failure would lock the account.
    for _ in 0..9 {
        assert!(!psql(&cleo.clone().with_user("cleo", "wrong"), "select 1").status.success());
    }
    assert!(!psql(&cleo.clone().with_user("nobody", "wrong"), "select 1").status.success());
    for n in 0..10 {
        session(&cleo, n);
    }
    let all = entries(&gateway);
    let new = &all[before..];
    let changes = of(new, "admin-change", "");
    let sign_ins = of(new, "sign-in", "");
    let failed = sign_ins.iter().filter(|entry| text(entry, "outcome") == "refused").count();
    let operations: Vec<&Value> = of(new, "operation", "cleo");
    let distinct: BTreeSet<(String, String)> =
        operations.iter().map(|entry| (text(entry, "session"), text(entry, "operation"))).collect();
    // As an operation of a session that changes something, one of an administrator has two entries.
    let changed: BTreeSet<String> = changes.iter().map(|entry| text(entry, "operation")).collect();
    assert_eq!(changes.len(), 2 * changed.len());
    assert_eq!((changed.len(), failed, sign_ins.len() - failed, distinct.len()), (10, 10, 10, 70));
    assert_eq!(changed.len() + sign_ins.len() + distinct.len(), 100);
    for entry in changes {
        filled(entry, &["at", "kind", "detail"]);
    }
    for entry in sign_ins {
        filled(entry, &["at", "kind", "person_name", "address", "outcome"]);
    }
    complete(&operations);
}

/// Seven actions: three reads, an export, a write, two that are refused.
fn session(cleo: &Conninfo, n: u32) {
    let text = format!(
        "select count(*) from claims;\nselect name from patients where id = {n};\nselect * from notes where id = {n};\n\
         copy claims to stdout;\nupdate claims set billed = billed + 1 where id = {n};\n\
         delete from patients where id = {n};\ndrop table notes;\n"
    );
    let output = stage::script(cleo, &["-v", "ON_ERROR_STOP=0"], &text);
    assert_eq!(err(&output).matches("42501").count(), 2, "{}", err(&output));
}

#[track_caller]
fn filled(entry: &Value, fields: &[&str]) {
    for field in fields {
        assert!(!text(entry, field).is_empty(), "`{field}` is empty: {entry:#?}");
    }
}

/// Every operation says who, when, what, where and how it ended; those of a kind are as many as were done.
fn complete(operations: &[&Value]) {
    let count = |command: &str, phase: &str| {
        operations
            .iter()
            .filter(|entry| text(entry, "command") == command && text(entry, "phase") == phase)
            .count()
    };
    assert_eq!(count("SELECT", "complete"), 30);
    assert_eq!(count("UPDATE", "admitted"), 10);
    assert_eq!(count("UPDATE", "settled"), 10);
    assert_eq!(count("DELETE", "refused"), 10);
    assert_eq!(count("DROP", "refused"), 10);
    for entry in operations {
        filled(entry, &["at", "person", "person_name", "address", "session", "resource", "command"]);
        filled(entry, &["action", "statement", "verdict", "policy_version"]);
        let phase = text(entry, "phase");
        if phase == "complete" || phase == "settled" {
            filled(entry, &["outcome", "rows", "duration_us"]);
        }
    }
}

#[test]
fn row_20_fail_closed_when_the_trail_cannot_be_written() {
    let cluster = stage::hospital();
    cluster.psql_in(HOSPITAL, "create table ledger (n int primary key)").expect("a table");
    let disk = SmallDisk::mount(320).expect("a small disk");
    let gateway = stage::gateway(&cluster)
        .role_all()
        .person("ann", &["everything"])
        .dir(disk.path())
        .start()
        .expect("it starts");
    let ann = gateway.conninfo_token("ann", HOSPITAL).expect("a token");
    answer(&ann, "insert into ledger values (0)");
    let ballast = disk.fill().expect("ballast");
    let (acknowledged, told) = until_refused(&ann);
    // At sign-in psql shows the words only, within a session the code as well.
    assert!(told.contains("58030") || told.contains("the trail cannot record"), "{told}");
    // A read gives nothing either, unless the trail found room for its entry.
    let mut released = 0;
    for _ in 0..3 {
        let read = psql(&ann, "select ssn from patients");
        if read.status.success() {
            released += 1;
        } else {
            assert_eq!(stage::out(&read), "", "a value was released although its entry was refused");
        }
    }
    std::fs::remove_file(ballast).expect("space");
    let back = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        psql(&ann, "select 1").status.success()
    });
    assert!(back, "service did not return with the space: {}", err(&psql(&ann, "select 1")));

    // What took effect has an entry that was there before it did; what was acknowledged took effect.
    let all = entries(&gateway);
    let inserts = of(&all, "operation", "ann").into_iter().filter(|entry| text(entry, "command") == "INSERT");
    let admitted = inserts.filter(|entry| text(entry, "phase") == "admitted").count();
    let reads = of(&all, "operation", "ann")
        .into_iter()
        .filter(|entry| text(entry, "command") == "SELECT" && text(entry, "statement").contains("ssn"));
    let reads = reads.filter(|entry| text(entry, "phase") == "complete").count();
    assert!(reads >= released, "{released} reads were released, the trail has {reads}");
    let held = cluster.psql_in(HOSPITAL, "select count(*) from ledger").expect("psql");
    let held: usize = held.parse().expect("a number");
    assert!(acknowledged <= held, "{acknowledged} inserts were acknowledged, the database has {held}");
    assert!(held <= admitted, "the database has {held} inserts, the trail {admitted}");
    assert!(!of(&all, "incident", "").is_empty(), "the trail does not say that it could not be written");
    let (code, words) = stage::verify(&gateway, None, &[]);
    assert_eq!(code, Some(0), "{words}");
}

/// Writes and reads until the trail takes no more. Returns how many inserts were acknowledged, the first included,
/// and what the client was told. Long literals fill what is left of the space that the trail had taken ahead.
fn until_refused(ann: &Conninfo) -> (usize, String) {
    let mut acknowledged = 1;
    for round in 1..1_000u32 {
        let output = psql(ann, &format!("insert into ledger values ({round})"));
        if !output.status.success() {
            return (acknowledged, err(&output));
        }
        acknowledged += 1;
        let long = format!("select length('{}');", noise(round, 1_000_000));
        let output = stage::script(ann, &["-v", "ON_ERROR_STOP=1"], &long);
        if !output.status.success() {
            return (acknowledged, err(&output));
        }
    }
    panic!("the trail was never full");
}

/// Returns hex digits that do not compress well.
fn noise(seed: u32, length: usize) -> String {
    let mut state = u64::from(seed) + 1;
    let mut text = String::with_capacity(length);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(text, "{:016x}", state ^ (state >> 29));
    }
    text
}
