//! The leak battery: every way out that `cases.txt` knows, tried by somebody who may do everything and sees nothing
//! that is protected, in two hospitals that differ in nothing but protected values.
//!
//! A leak is a protected value, or any form that gives it back, in any byte to the client; or any difference between
//! the two hospitals. How each case is held is asserted too, so that "refuse everything" is seen as the change it is.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "leaks/canary.rs"]
mod canary;
#[path = "leaks/stage.rs"]
pub(crate) mod stage;
#[path = "leaks/wire.rs"]
mod wire;

use std::fmt::{self, Write as _};
use std::thread;

use testbed::Conninfo;
use testbed::wire::{Message, Wire, front};

use canary::Canaries;
use stage::{PATIENTS, Stage, WORLDS};

const CASES: &str = include_str!("leaks/cases.txt");
/// Fewer cases would mean that some were lost.
const CASES_MIN: usize = 400;

/// How a case is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Masked,
    Refused,
    Nothing,
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
struct Case {
    held: Held,
    group: &'static str,
    line: usize,
    texts: Vec<String>,
}

impl Case {
    /// Tells whether it can be sent as one prepared statement.
    fn is_one(&self) -> bool {
        self.texts.len() == 1 && !self.texts[0].contains(';')
    }
}

fn cases() -> Vec<Case> {
    let mut group = "";
    let mut cases = Vec::new();
    for (at, line) in CASES.lines().enumerate() {
        if let Some(name) = line.strip_prefix("## ") {
            group = name;
        } else if !line.starts_with('#') && !line.is_empty() {
            let (held, texts) = line.split_once(' ').expect("how, and what");
            let held = match held {
                "masked" => Held::Masked,
                "refused" => Held::Refused,
                "nothing" => Held::Nothing,
                "ended" => Held::Ended,
                other => panic!("line {}: `{other}`", at + 1),
            };
            let ssn = PATIENTS[0][0].ssn;
            let texts = texts.split(";;").map(|text| {
                let text = text.trim().replace("{ssn}", ssn).replace("{half}", &ssn[..5]);
                text.replace("{digits}", &ssn.replace('-', ""))
            });
            cases.push(Case { held, group, line: at + 1, texts: texts.collect() });
        }
    }
    cases
}

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Simple,
    Text,
    Binary,
}

/// What came for a case.
#[derive(Default)]
struct Answer {
    messages: Vec<Message>,
    ended: bool,
}

impl Answer {
    /// Returns every byte that came, and the cells of the rows put together by row and by column: what is handed out
    /// in pieces is found as well.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in &self.messages {
            bytes.extend_from_slice(&message.body);
            bytes.push(b'\n');
        }
        let rows: Vec<Vec<Vec<u8>>> = self.rows().map(cells).collect();
        bytes.extend(rows.iter().flatten().flatten());
        bytes.push(b'\n');
        for column in 0..rows.iter().map(Vec::len).max().unwrap_or(0) {
            bytes.extend(rows.iter().filter_map(|row| row.get(column)).flatten());
            bytes.push(b'\n');
        }
        bytes
    }

    fn rows(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| matches!(message.kind, b'D' | b'd'))
    }

    fn held(&self, direct: &Answer) -> Held {
        // PostgreSQL says where in its source an error was raised.
        let ours = |message: &&Message| message.kind == b'E' && message.field(b'R').is_none();
        if self.ended {
            Held::Ended
        } else if self.messages.iter().any(|message| ours(&message)) {
            Held::Refused
        } else if self.rows().next().is_some() && self.rows().ne(direct.rows()) {
            Held::Masked
        } else {
            Held::Nothing
        }
    }
}

/// Returns the cells of a row; copied data is one cell.
fn cells(row: &Message) -> Vec<Vec<u8>> {
    if row.kind != b'D' {
        return vec![row.body.clone()];
    }
    let mut cells = Vec::new();
    let mut rest = &row.body[2..];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        cells.push(after[..length].to_vec());
        rest = &after[length..];
    }
    cells
}

/// A session that is opened again when it was ended or is no longer as it was.
struct Session {
    server: Conninfo,
    wire: Option<Wire>,
}

impl Session {
    fn new(server: Conninfo) -> Session {
        Session { server, wire: None }
    }

    fn wire(&mut self) -> &mut Wire {
        self.wire.get_or_insert_with(|| Wire::connect(&self.server).expect("a session"))
    }

    fn run(&mut self, case: &Case, mode: Mode) -> Answer {
        let mut answer = Answer::default();
        for text in &case.texts {
            let bytes = match mode {
                Mode::Simple => front::query(text),
                Mode::Text => extended(text, 0),
                Mode::Binary => extended(text, 1),
            };
            self.exchange(&bytes, mode, &mut answer);
        }
        let idle = answer.messages.last().is_some_and(|last| last.kind == b'Z' && last.body == b"I");
        if case.texts.len() > 1 || case.texts[0].contains(';') || !idle {
            self.wire = None;
        }
        answer
    }

    fn exchange(&mut self, bytes: &[u8], mode: Mode, answer: &mut Answer) {
        let wire = self.wire();
        if answer.ended || wire.send(bytes).is_err() {
            answer.ended = true;
            return;
        }
        loop {
            match wire.receive_or_end() {
                Ok(Some(message)) => {
                    let kind = message.kind;
                    answer.messages.push(message);
                    match kind {
                        b'Z' => return,
                        b'G' => {
                            let mut end = front::copy_fail("enough");
                            if mode != Mode::Simple {
                                end.extend_from_slice(&front::SYNC);
                            }
                            wire.send(&end).expect("a session");
                        }
                        _ => {}
                    }
                }
                Ok(None) | Err(_) => {
                    answer.ended = true;
                    self.wire = None;
                    return;
                }
            }
        }
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

/// What one way of asking answered to all cases, in their order.
fn answers(server: Conninfo, cases: &[Case], rolls_back: bool) -> Vec<(Mode, Answer)> {
    let mut session = Session::new(server);
    let mut answers = Vec::new();
    for case in cases {
        for mode in [Mode::Simple, Mode::Text, Mode::Binary] {
            if mode != Mode::Simple && !case.is_one() {
                continue;
            }
            if rolls_back && case.is_one() {
                session.wire().query("begin").expect("an answer");
            }
            answers.push((mode, session.run(case, mode)));
        }
    }
    answers
}

#[test]
fn nothing_gets_out() {
    let stage = Stage::start();
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let canaries = stage::canaries();
    // Without Wardline only what is expected to be masked runs: what is refused may do anything.
    let (one, other, direct) = thread::scope(|scope| {
        let worlds = WORLDS.map(|world| {
            let server = stage.masked(world);
            let cases = &cases;
            scope.spawn(move || answers(server, cases, false))
        });
        let harmless: Vec<Case> = self::cases().into_iter().map(only_rows).collect();
        let direct = answers(stage.direct(), &harmless, true);
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
    if let Some((a, b)) = one.messages.iter().zip(&other.messages).find(|(a, b)| a != b) {
        return Some(format!("DIFFERS {a:?} | {b:?}"));
    }
    if one.messages.len() != other.messages.len() {
        return Some(format!("DIFFERS {:?} | {:?}", one.messages, other.messages));
    }
    if held != case.held {
        let last =
            one.messages.iter().filter(|message| !matches!(message.kind, b'Z' | b'T' | b't' | b'1' | b'2'));
        return Some(format!("HELD {held}, not {}: {:?}", case.held, last.collect::<Vec<_>>()));
    }
    None
}
