//! Crashes: `kill -9`, power cuts, full disks and broken ones. `testbed crash` runs the same for longer.

use testbed::crash::{Crash, Ending, Figures};

#[track_caller]
fn check(ending: Ending, rounds: u32) -> Figures {
    let crash = Crash { rounds, endings: vec![ending], ..Crash::default() };
    let figures = crash.rounds(|line| println!("{line}")).expect("nothing is missing");
    println!("{figures}");
    assert_eq!(figures.rounds, rounds);
    assert!(figures.acknowledged > 0 && figures.rows > 0 && figures.written > 0 && figures.refused > 0);
    figures
}

#[test]
fn kill_9_loses_nothing_that_a_client_was_told() {
    let figures = check(Ending::Kill, 50);
    assert!(figures.cut_with_rows > 0, "no result was cut off halfway");
    assert!(figures.starts_killed > 0);
}

#[test]
fn a_power_cut_loses_nothing_that_a_client_was_told() {
    assert!(check(Ending::Power, 8).cut_with_rows > 0);
}

/// Each kind of error once.
#[test]
fn a_write_or_sync_that_fails_ends_the_server_and_loses_nothing() {
    let figures = check(Ending::Error, 9);
    assert_eq!(figures.struck, 9);
    assert!(figures.turned_away > 0, "nobody was told why");
}

#[test]
fn short_and_interrupted_writes_are_no_errors() {
    let figures = check(Ending::Short, 2);
    assert!(figures.struck > 0);
    assert_eq!(figures.turned_away, 0);
}

#[test]
fn without_space_everybody_is_turned_away_until_there_is_some() {
    assert!(check(Ending::Full, 3).struck > 0);
}

#[test]
fn a_full_file_system_loses_nothing_and_service_returns() {
    check(Ending::Disk, 3);
}

/// The test is worth something only if it can fail: a disk that lies about syncs is found out every time, by the ledger
/// unless a checkpoint already covers what is missing; then by the start. What the ledger alone finds is in `judge`.
#[test]
fn a_disk_that_lies_is_found_out() {
    for seed in 1..4 {
        let lie = Crash { rounds: 1, endings: vec![Ending::Lie], keep: false, seed, ..Crash::default() };
        let error = lie.rounds(|_| ()).expect_err("entries are missing and nobody sees it");
        let words = format!("{error:#}");
        println!("{words}");
        // An entry that is missing, or one that says less than what was released.
        let by_ledger = words.contains("has no entry") || words.contains("more was released than recorded");
        assert!(by_ledger || words.contains("the trail does not open"), "{words}");
        if by_ledger {
            return;
        }
    }
}
