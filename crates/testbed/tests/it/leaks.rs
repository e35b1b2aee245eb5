//! The leak battery: every way out that `cases.txt` knows, tried by somebody who may do everything and sees nothing
//! that is protected, in two hospitals that differ in nothing but protected values.
//!
//! A leak is a protected value, or any form that gives it back, in any byte to the client; or any difference between
//! the two hospitals. How each case is held is asserted too, so that "refuse everything" is seen as the change it is.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "leaks/wire.rs"]
mod wire;

use std::fmt::Write as _;
use std::thread;

use testbed::leaks::worlds::Worlds;
use testbed::leaks::{self, Answer, Canaries, Case, Held, Stage, WORLDS, generate};
use testbed::postgres::Version;
use testbed::upstreams;

/// Fewer cases would mean that some were lost.
const CASES_MIN: usize = 400;

#[test]
fn nothing_gets_out() {
    battery(Version::V15);
}

#[test]
fn nothing_gets_out_of_postgres_16() {
    battery(Version::V16);
}

#[test]
fn nothing_gets_out_of_postgres_17() {
    battery(Version::V17);
}

#[test]
fn nothing_gets_out_of_postgres_18() {
    battery(Version::V18);
}

fn battery(version: Version) {
    if let Err(reason) = upstreams::programs(version)
        && version != Version::V15
    {
        println!("SKIP PostgreSQL {}: {reason:#}", version.number());
        return;
    }
    let stage = Stage::start_on(version).expect("the stage");
    let cases = leaks::cases().expect("the battery");
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let canaries = leaks::canaries();
    // Without Wardline only what is expected to be masked runs: what is refused may do anything.
    let (one, other, direct) = thread::scope(|scope| {
        let worlds = WORLDS.map(|world| {
            let server = stage.masked(world).expect("a person");
            let cases = &cases;
            scope.spawn(move || leaks::answers(server, cases, false).expect("answers"))
        });
        let harmless: Vec<Case> = cases.iter().cloned().map(only_rows).collect();
        let direct = leaks::answers(stage.direct(), &harmless, true).expect("answers");
        let [one, other] = worlds.map(|world| world.join().expect("answers"));
        (one, other, direct)
    });
    let mut wrong = String::new();
    let mut counts = [0_usize; 4];
    let runs = cases.iter().flat_map(|case| {
        let modes = if case.is_one() { 3 } else { 1 };
        std::iter::repeat_n(case, modes)
    });
    for ((case, (mode, one)), ((_, other), (_, direct))) in runs.zip(&one).zip(other.iter().zip(&direct)) {
        let held = one.held(direct);
        counts[held as usize] += 1;
        if let Some(fault) = fault(case, &canaries, held, one, other) {
            let texts = case.texts.join(" ;; ");
            let _ = writeln!(wrong, "{} {} {mode:?}: {fault}: {texts}", case.line, case.group);
        }
    }
    let [masked, refused, nothing, ended] = counts;
    println!(
        "{} cases, {} runs in each of two worlds: {masked} masked, {refused} refused, {nothing} nothing, {ended} ended",
        cases.len(),
        one.len()
    );
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Statements of each generator; `cargo xtask bench two-worlds` sends more.
const GENERATED: usize = 400;
/// Fewer that run would mean that the generator no longer fits what a masked person may do.
const RUNNING_MIN: usize = GENERATED;

#[test]
fn two_worlds_look_the_same() {
    let stage = Stage::start().expect("the stage");
    let mut worlds = Worlds::new(&stage).expect("two worlds");
    let mut findings = Vec::new();
    let texts = worlds.sqlsmith(5, GENERATED, false).expect("sqlsmith");
    assert!(texts.len() > GENERATED / 2, "sqlsmith made {} statements", texts.len());
    let wild = worlds.compare(&texts, &mut findings).expect("answers");
    let texts: Vec<String> = (0..GENERATED as u64).map(|number| generate::statement(5, number)).collect();
    let own = worlds.compare(&texts, &mut findings).expect("answers");
    println!("sqlsmith: {}\nown: {}", wild.line(), own.line());
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(own.masked + own.plain + own.empty > RUNNING_MIN, "{own:?}");
    // The comparison sees what differs.
    let differ = "update departments set title = 'another' where id = 1";
    stage.cluster.psql_in(WORLDS[1], differ).expect("another title");
    let texts = ["select title from departments".to_owned()];
    assert_eq!(worlds.compare(&texts, &mut findings).expect("answers").findings, 3);
}

/// Empties the texts of a case that is not about rows.
fn only_rows(case: Case) -> Case {
    match case.held {
        Held::Masked | Held::Nothing => case,
        Held::Refused | Held::Ended => {
            let texts = if case.is_one() { vec!["select".to_owned()] } else { vec!["select;".to_owned()] };
            Case { texts, ..case }
        }
    }
}

fn fault(case: &Case, canaries: &Canaries, held: Held, one: &Answer, other: &Answer) -> Option<String> {
    let worlds = [one, other];
    if let Some(leak) = worlds.iter().find_map(|answer| canaries.found(&answer.bytes())) {
        return Some(format!("LEAK {leak}"));
    }
    if let Some([a, b]) = one.difference(other) {
        return Some(format!("DIFFERS {a:?} | {b:?}"));
    }
    if held != case.held {
        let last =
            one.messages.iter().filter(|message| !matches!(message.kind, b'Z' | b'T' | b't' | b'1' | b'2'));
        return Some(format!("HELD {held}, not {}: {:?}", case.held, last.collect::<Vec<_>>()));
    }
    None
}
