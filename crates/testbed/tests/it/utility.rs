//! The utility set: ordinary work, and what tools ask. With Wardline between it comes byte for byte as without, for who
//! sees everything, and for who sees nothing that is protected, where no protected column is involved.
//!
//! What is refused to the masked person is named here, with the reason; anything else that differs is a fault.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use testbed::Conninfo;
use testbed::leaks::{Stage, WORLDS};
use testbed::wire::{Message, Wire};

use super::conformance::stage::{err, out, script};

const STATEMENTS: &str = include_str!("utility/statements.txt");
const COMMANDS: &str = include_str!("utility/commands.txt");
/// Fewer would mean that some were lost.
const STATEMENTS_MIN: usize = 250;

/// What the masked person is refused, by the beginning of the statement: one in a hundred at most.
const REFUSED: [(&str, &str); 1] =
    [("SELECT nosuch", "a name that is no known column may be anything, so the typo is told as a refusal")];

/// Returns what came for each statement, in one session.
fn answers(server: &Conninfo, statements: &[&str]) -> Vec<Vec<Message>> {
    let mut wire = Wire::connect(server).expect("a session");
    let answer = |text: &&str| {
        wire.query(text).unwrap_or_else(|_| {
            wire = Wire::connect(server).expect("a session");
            Vec::new()
        })
    };
    statements.iter().map(answer).map(comparable).collect()
}

/// Leaves out where in its source PostgreSQL raised an error, and the words that are withheld.
fn comparable(messages: Vec<Message>) -> Vec<Message> {
    let strip = |message: Message| match message.kind {
        b'E' | b'N' => {
            let code = message.field(b'C').unwrap_or_default();
            Message { kind: message.kind, body: code.into_bytes() }
        }
        _ => message,
    };
    messages.into_iter().map(strip).collect()
}

/// Returns what psql shows for each command, in one session.
fn shown(server: &Conninfo, commands: &[&str]) -> Vec<String> {
    const MARK: &str = "=====";
    let words: Vec<String> = commands.iter().map(|command| format!("{command}\n\\echo {MARK}\n")).collect();
    let output = script(server, &["-v", "ON_ERROR_STOP=0"], &words.concat());
    let shown = out(&output) + MARK + &err(&output);
    shown.split(MARK).map(str::to_owned).collect()
}

#[test]
fn ordinary_work_comes_byte_for_byte() {
    let stage = Stage::start().expect("the stage");
    let direct = stage.cluster.conninfo().with_dbname(WORLDS[0]);
    let statements: Vec<&str> =
        STATEMENTS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let commands: Vec<&str> = COMMANDS.lines().collect();
    let total = statements.len() + commands.len();
    assert!(total >= STATEMENTS_MIN, "{total} statements");
    let plain = (answers(&direct, &statements), shown(&direct, &commands));
    let (mut wrong, mut refused) = (String::new(), 0);
    for (who, server) in [
        ("seeing", stage.seeing().expect("a person")),
        ("masked", stage.masked(WORLDS[0]).expect("a person")),
    ] {
        let (rows, words) = (answers(&server, &statements), shown(&server, &commands));
        for ((text, got), expected) in statements.iter().zip(&rows).zip(&plain.0) {
            if got == expected {
                continue;
            }
            if who == "masked" && REFUSED.iter().any(|(known, _)| text.starts_with(known)) {
                refused += 1;
            } else {
                let _ = writeln!(wrong, "{who}: {text}\n    {}\n    {}", brief(got), brief(expected));
            }
        }
        for ((command, got), expected) in commands.iter().zip(&words).zip(&plain.1) {
            if got != expected {
                let _ = writeln!(wrong, "{who}: {command}\n    {got:.200}\n    {expected:.200}");
            }
        }
    }
    println!("{total} statements and commands, {refused} refused to the masked person");
    assert!(wrong.is_empty(), "\n{wrong}");
    assert_eq!(refused, REFUSED.len(), "what passes now need not be named");
    assert!(refused * 100 <= total, "{refused} of {total}");
}

fn brief(messages: &[Message]) -> String {
    format!("{messages:?}").chars().take(300).collect()
}
