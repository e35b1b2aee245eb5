//! Scripts of raw messages, directly and through Wardline: the same messages come back, byte for byte.
//!
//! What differs by nature is masked: the process that notifies. Each script has a session of its own.

use anyhow::Result;
use testbed::Conninfo;
use testbed::postgres::Version;
use testbed::wire::{Message, Wire};

use super::{book, stage};

/// One thing that a client does.
pub(super) enum Step {
    /// Sends messages in one piece.
    Send(Vec<u8>),
    /// Reads up to so many `ReadyForQuery`.
    Ready(usize),
    /// Reads up to a message of this type.
    Await(u8),
    /// Reads up to the end of the connection.
    End,
}

use Step::{Await, End, Ready, Send};

pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) steps: Vec<Step>,
}

pub(super) fn play(server: &Conninfo, script: &Script) -> Result<Vec<Message>> {
    let mut wire = Wire::connect(server)?;
    let mut heard = Vec::new();
    for step in &script.steps {
        match step {
            Send(bytes) => wire.send(bytes)?,
            Ready(count) => {
                for _ in 0..*count {
                    heard.extend(wire.until(b'Z')?);
                }
            }
            Await(kind) => heard.extend(wire.until(*kind)?),
            End => heard.extend(wire.rest()?),
        }
    }
    heard.iter_mut().filter(|message| message.kind == b'A').for_each(|message| message.body[..4].fill(0));
    Ok(heard)
}

/// Plays all scripts both ways and fails with every difference.
fn check(version: Version) {
    let Some(cluster) = stage::cluster(version) else { return };
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    let (direct, through) = (stage::direct(&cluster), stage::through(&gateway));
    cluster.psql_in(stage::RESOURCE, book::TABLES).expect("tables");
    let mut found = String::new();
    for script in book::scripts() {
        let plain = play(&direct, &script).expect("it plays directly");
        assert!(!plain.is_empty(), "`{}` hears nothing", script.name);
        match play(&through, &script) {
            Ok(heard) if heard == plain => {}
            Ok(heard) => found.push_str(&difference(script.name, &plain, &heard)),
            Err(error) => found.push_str(&format!("{}: {error:#}\n", script.name)),
        }
    }
    assert!(found.is_empty(), "PostgreSQL {}:\n{found}", version.number());
}

pub(super) fn difference(name: &str, plain: &[Message], heard: &[Message]) -> String {
    let at = plain.iter().zip(heard).position(|(a, b)| a != b).unwrap_or(plain.len().min(heard.len()));
    format!(
        "{name}: from message {at}\n  directly {:?}\n  through  {:?}\n",
        &plain[at..plain.len().min(at + 4)],
        &heard[at..heard.len().min(at + 4)]
    )
}

#[test]
fn scripts_of_postgresql_15() {
    check(Version::V15);
}

#[test]
fn scripts_of_postgresql_16() {
    check(Version::V16);
}

#[test]
fn scripts_of_postgresql_17() {
    check(Version::V17);
}

#[test]
fn scripts_of_postgresql_18() {
    check(Version::V18);
}
