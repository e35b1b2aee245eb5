//! The ways out that are known: what must not get out, two hospitals that differ in nothing else, and how a statement
//! is sent to both.
//!
//! `cases.txt` is the battery; the tests assert how each case is held, `bench two-worlds` sends generated statements
//! besides (`generate`, and sqlsmith). Deliberately absent: what is right. An answer is what came, byte by byte.

mod canary;
pub mod generate;
mod stage;
pub mod worlds;

use std::fmt;

use anyhow::{Context as _, Result, bail};

use crate::Conninfo;
use crate::wire::{Message, Wire, front};

pub use canary::Canaries;
pub use stage::{MASKED, PATIENTS, PLAIN, Patient, Stage, TWIN, WORLDS, canaries};

const CASES: &str = include_str!("cases.txt");

/// How a case is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Rows come, with other values.
    Masked,
    /// Wardline says no.
    Refused,
    /// What comes holds no protected value, as it came from the server or as its withheld error.
    Nothing,
    /// The session is ended.
    Ended,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Held::Masked => "masked",
            Held::Refused => "refused",
            Held::Nothing => "nothing",
            Held::Ended => "ended",
        })
    }
}

/// One way out.
#[derive(Clone, Debug)]
pub struct Case {
    /// How it is to be held.
    pub held: Held,
    /// The group of ways that it belongs to.
    pub group: &'static str,
    /// Its line in `cases.txt`.
    pub line: usize,
    /// What is sent, in turn.
    pub texts: Vec<String>,
}

impl Case {
    /// Tells whether it can be sent as one prepared statement.
    pub fn is_one(&self) -> bool {
        matches!(self.texts.as_slice(), [only] if !only.contains(';'))
    }
}

/// Reads the battery.
///
/// # Errors
/// A line cannot be read.
pub fn cases() -> Result<Vec<Case>> {
    let mut group = "";
    let mut cases = Vec::new();
    for (at, line) in CASES.lines().enumerate() {
        if let Some(name) = line.strip_prefix("## ") {
            group = name;
        } else if !line.starts_with('#') && !line.is_empty() {
            let (held, texts) = line.split_once(' ').with_context(|| format!("line {}", at + 1))?;
            let held = match held {
                "masked" => Held::Masked,
                "refused" => Held::Refused,
                "nothing" => Held::Nothing,
                "ended" => Held::Ended,
                other => bail!("line {}: `{other}`", at + 1),
            };
            let texts = texts.split(";;").map(stage::filled).collect();
            cases.push(Case { held, group, line: at + 1, texts });
        }
    }
    Ok(cases)
}

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `Query`.
    Simple,
    /// `Parse`, `Bind`, `Execute` with results as text.
    Text,
    /// The same with results in binary.
    Binary,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 3] = [Mode::Simple, Mode::Text, Mode::Binary];
}

/// What came for a case.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The messages, in their order.
    pub messages: Vec<Message>,
    /// The session was ended.
    pub ended: bool,
}

impl Answer {
    /// Returns every byte that came, and the cells of the rows put together by row and by column: what is handed out
    /// in pieces is found as well.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in &self.messages {
            bytes.extend_from_slice(&message.body);
            bytes.push(b'\n');
        }
        let rows: Vec<Vec<&[u8]>> = self.rows().map(cells).collect();
        bytes.extend(rows.iter().flatten().copied().flatten());
        bytes.push(b'\n');
        for column in 0..rows.iter().map(Vec::len).max().unwrap_or(0) {
            bytes.extend(rows.iter().filter_map(|row| row.get(column).copied()).flatten());
            bytes.push(b'\n');
        }
        bytes
    }

    /// Returns the rows, also those of copied data.
    pub fn rows(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| matches!(message.kind, b'D' | b'd'))
    }

    /// Returns the errors.
    pub fn errors(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| message.kind == b'E')
    }

    /// Tells whether Wardline refused: PostgreSQL says where in its source an error was raised.
    pub fn is_refused(&self) -> bool {
        self.errors().any(|error| error.field(b'R').is_none())
    }

    /// Returns how it was held, where `direct` is what comes without Wardline.
    pub fn held(&self, direct: &Answer) -> Held {
        if self.ended {
            Held::Ended
        } else if self.is_refused() {
            Held::Refused
        } else if self.rows().next().is_some() && self.rows().ne(direct.rows()) {
            Held::Masked
        } else {
            Held::Nothing
        }
    }

    /// Returns the first message that is not the same in the other answer.
    pub fn difference<'a>(&'a self, other: &'a Answer) -> Option<[Option<&'a Message>; 2]> {
        let length = self.messages.len().max(other.messages.len());
        let pairs = (0..length).map(|at| [self.messages.get(at), other.messages.get(at)]);
        pairs.into_iter().find(|[one, other]| one != other)
    }
}

/// Returns the cells of a row; copied data is one cell.
fn cells(row: &Message) -> Vec<&[u8]> {
    if row.kind != b'D' {
        return vec![&row.body];
    }
    let mut cells = Vec::new();
    let mut rest = row.body.get(2..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (cell, after) = after.split_at_checked(length).unwrap_or((after, &[]));
        cells.push(cell);
        rest = after;
    }
    cells
}

/// A session that is opened again when it was ended or is no longer as it was.
#[derive(Debug)]
pub struct Session {
    server: Conninfo,
    wire: Option<Wire>,
}

impl Session {
    /// Returns one that is not open yet.
    pub fn new(server: Conninfo) -> Session {
        Session { server, wire: None }
    }

    /// Returns the connection.
    ///
    /// # Errors
    /// None is to be had.
    pub fn wire(&mut self) -> Result<&mut Wire> {
        if self.wire.is_none() {
            self.wire = Some(Wire::connect(&self.server)?);
        }
        self.wire.as_mut().context("a session")
    }

    /// Sends a case's texts one after the other and returns what came.
    ///
    /// # Errors
    /// There is no session to be had.
    pub fn run(&mut self, case: &Case, mode: Mode) -> Result<Answer> {
        let mut answer = Answer::default();
        for text in &case.texts {
            self.exchange(&asked(text, mode), 1, mode, &mut answer)?;
        }
        let idle = answer.messages.last().is_some_and(|last| last.kind == b'Z' && last.body == b"I");
        if !case.is_one() || !idle {
            self.wire = None;
        }
        Ok(answer)
    }

    /// Sends a text within a transaction that is rolled back.
    ///
    /// # Errors
    /// There is no session to be had.
    pub fn run_and_undo(&mut self, text: &str, mode: Mode) -> Result<Answer> {
        let mut answer = Answer::default();
        let bytes = [front::query("begin"), asked(text, mode), front::query("rollback")].concat();
        self.exchange(&bytes, 3, mode, &mut answer)?;
        Ok(answer)
    }

    /// Sends, and reads up to so many readinesses.
    fn exchange(&mut self, bytes: &[u8], readies: usize, mode: Mode, answer: &mut Answer) -> Result<()> {
        let wire = self.wire()?;
        if answer.ended || wire.send(bytes).is_err() {
            answer.ended = true;
            return Ok(());
        }
        let mut ready = 0;
        loop {
            match wire.receive_or_end() {
                Ok(Some(message)) => {
                    let kind = message.kind;
                    answer.messages.push(message);
                    match kind {
                        b'Z' => {
                            ready += 1;
                            if ready == readies {
                                return Ok(());
                            }
                        }
                        b'G' => {
                            let mut end = front::copy_fail("enough");
                            if mode != Mode::Simple {
                                end.extend_from_slice(&front::SYNC);
                            }
                            wire.send(&end)?;
                        }
                        _ => {}
                    }
                }
                Ok(None) | Err(_) => {
                    answer.ended = true;
                    self.wire = None;
                    return Ok(());
                }
            }
        }
    }
}

fn asked(text: &str, mode: Mode) -> Vec<u8> {
    match mode {
        Mode::Simple => front::query(text),
        Mode::Text => extended(text, 0),
        Mode::Binary => extended(text, 1),
    }
}

fn extended(text: &str, format: u8) -> Vec<u8> {
    [
        front::parse("", text),
        front::describe('S', ""),
        front::bind("", "", &[], format),
        front::describe('P', ""),
        front::execute("", 0),
        front::SYNC.to_vec(),
    ]
    .concat()
}

/// Returns what each way of asking answered to all cases, in their order.
///
/// # Errors
/// There is no session to be had.
pub fn answers(server: Conninfo, cases: &[Case], rolls_back: bool) -> Result<Vec<(Mode, Answer)>> {
    let mut session = Session::new(server);
    let mut answers = Vec::new();
    for case in cases {
        for mode in Mode::ALL {
            if mode != Mode::Simple && !case.is_one() {
                continue;
            }
            if rolls_back && case.is_one() {
                session.wire()?.query("begin")?;
            }
            answers.push((mode, session.run(case, mode)?));
        }
    }
    Ok(answers)
}
