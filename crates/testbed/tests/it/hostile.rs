//! Peers that mean ill or are broken: a client that sends what no client should, and a resource that answers what no
//! PostgreSQL would. After each of them the process lives, serves the next session, holds little memory, and its log
//! has neither a panic nor a patient's datum.
//!
//! Deliberately absent: what a session's bytes mean in the wrong state, which the gateway's own tests play out message
//! by message (`relay/tests`).
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "hostile/client.rs"]
mod client;
#[path = "hostile/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use testbed::Conninfo;
use testbed::gateway::Gateway;
use testbed::wire::{Message, front};

/// Stands in rows, literals and a server's words; it must not stand in the log.
const DATUM: &str = "Zebulon-Quux-7731";
/// Nothing here waits that long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what may have no answer at all.
const PAUSE: Duration = Duration::from_secs(2);
/// The most memory that the process may have held by the end, in MiB: a debug build, and every limit tried.
const PEAK_MIB_MAX: u64 = 700;

/// A client without manners.
struct Raw(TcpStream);

impl Raw {
    /// Connects, and says nothing.
    fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Raw(stream)
    }

    /// Signs in with a password in clear; returns what was answered up to readiness, or to the end.
    fn sign_in(server: &Conninfo) -> (Raw, Vec<Message>) {
        let mut raw = Raw::connect(server.port);
        let mut packet = 196_608u32.to_be_bytes().to_vec();
        for word in ["user", &server.user, "database", &server.dbname, ""] {
            packet.extend_from_slice(word.as_bytes());
            packet.push(0);
        }
        raw.send(&[&u32::try_from(packet.len() + 4).expect("short").to_be_bytes()[..], &packet].concat());
        raw.send(&message(b'p', format!("{}\0", server.password).as_bytes()));
        let mut answers = Vec::new();
        while let Some(answer) = raw.receive() {
            let last = answer.kind == b'Z';
            answers.push(answer);
            if last {
                break;
            }
        }
        (raw, answers)
    }

    /// Signs in, and must get in.
    fn session(server: &Conninfo) -> Raw {
        let (raw, answers) = Raw::sign_in(server);
        assert_eq!(answers.last().map(|answer| answer.kind), Some(b'Z'), "{answers:?}");
        raw
    }

    /// Sends as much as the other side takes.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Reads a message; `None` at the end, however it comes.
    fn receive(&mut self) -> Option<Message> {
        let mut header = [0; 5];
        self.0.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        assert!((4..64 << 20).contains(&length), "the client got a broken message: {header:?}");
        let mut body = vec![0; usize::try_from(length - 4).expect("it fits")];
        self.0.read_exact(&mut body).ok()?;
        Some(Message { kind: header[0], body })
    }

    /// Asks a query and returns what answers it, up to readiness or to the end.
    fn ask(&mut self, text: &str) -> Vec<Message> {
        self.send(&front::query(text));
        let mut answers = Vec::new();
        while let Some(answer) = self.receive() {
            let last = answer.kind == b'Z';
            answers.push(answer);
            if last {
                break;
            }
        }
        answers
    }

    /// The same for what is answered, however slowly.
    fn exchange(self, bytes: &[u8]) -> Vec<Message> {
        self.exchange_within(bytes, PATIENCE)
    }

    /// Sends while it reads, then a last query, and returns all that was answered up to that one's answer, to the end,
    /// or until nothing comes for so long.
    fn exchange_within(mut self, bytes: &[u8], patience: Duration) -> Vec<Message> {
        const LAST: &str = "the last of it";
        let mut writer = Raw(self.0.try_clone().expect("a second handle"));
        self.0.set_read_timeout(Some(patience)).expect("a timeout");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                writer.send(bytes);
                writer.send(&front::query(&format!("select '{LAST}'")));
            });
            let mut answers = Vec::new();
            while let Some(answer) = self.receive() {
                let last = answer.kind == b'D' && answer.body.ends_with(LAST.as_bytes());
                answers.push(answer);
                if last {
                    break;
                }
            }
            // The writer may still be at it where nobody reads any more.
            let _ = self.0.shutdown(Shutdown::Both);
            answers
        })
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// The codes of the errors among the answers.
fn codes(answers: &[Message]) -> Vec<String> {
    answers.iter().filter(|answer| answer.kind == b'E').filter_map(|answer| answer.field(b'C')).collect()
}

/// Bytes without a pattern, the same in every run.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

/// What must hold after anything that a peer did.
fn unharmed(gateway: &mut Gateway) {
    assert!(gateway.runs(), "the process ended; the end of its log:\n{}", log(gateway));
    let log = log(gateway);
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains(DATUM), "a datum in the log: {log}");
    let process = gateway.process_id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak / 1024 < PEAK_MIB_MAX, "{} MiB", peak / 1024);
}

fn log(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.log()).unwrap_or_default()
}
