//! Many statements sent to both hospitals: what differs, and what protected value stands in an answer.
//!
//! A statement whose answer is not the same either when the first hospital is asked again, or its twin with the same
//! values, is volatile: of such only the kinds of messages are held against each other, not what is in them.
//! Deliberately absent: time. How long an answer takes is not looked at.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::stage::canaries_of_each;
use super::{Answer, Canaries, Mode, Session, Stage, TWIN, WORLDS};
use crate::Conninfo;
use crate::wire::Message;

/// A statement that takes longer is given up; whether that happens is time, which is not looked at.
const STATEMENT_TIMEOUT_MS: u32 = 1000;
/// Statements that both worlds work on at once.
const BATCH: usize = 100;
/// How often a statement that differs is asked again.
const REPETITIONS: usize = 4;

/// What became of the statements of one source. A run is a statement sent in one way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Statements.
    pub statements: usize,
    /// Runs in each world.
    pub runs: usize,
    /// Rows came, others than without Wardline.
    pub masked: usize,
    /// Rows came as without Wardline.
    pub plain: usize,
    /// It ran, and no rows came.
    pub empty: usize,
    /// Wardline said no.
    pub refused: usize,
    /// PostgreSQL said no.
    pub failed: usize,
    /// It took too long, in one world at least.
    pub timed_out: usize,
    /// Wardline ended the session.
    pub ended: usize,
    /// Volatile: only the kinds of messages were held against each other.
    pub volatile: usize,
    /// What should not be.
    pub findings: usize,
}

/// What should not be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The statement.
    pub text: String,
    /// How it was sent.
    pub mode: Mode,
    /// What was seen.
    pub what: String,
}

/// The two worlds, and the sessions to them.
#[derive(Debug)]
pub struct Worlds<'a> {
    worlds: [Session; 2],
    twin: Session,
    direct: Session,
    stage: &'a Stage,
    canaries: [Canaries; 2],
}

impl<'a> Worlds<'a> {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// The server does not take a setting.
    pub fn new(stage: &'a Stage) -> Result<Worlds<'a>> {
        for database in [WORLDS[0], WORLDS[1], super::PLAIN] {
            let set = format!("alter database {database} set statement_timeout = {STATEMENT_TIMEOUT_MS}");
            stage.cluster.psql(&set)?;
        }
        let [one, other] = WORLDS;
        Ok(Worlds {
            worlds: [Session::new(stage.masked(one)?), Session::new(stage.masked(other)?)],
            twin: Session::new(stage.masked(TWIN)?),
            direct: Session::new(stage.direct()),
            stage,
            canaries: canaries_of_each(),
        })
    }

    /// Sends the statements, each alone in a transaction that is rolled back, in every way.
    ///
    /// # Errors
    /// There are no sessions to be had.
    pub fn compare(&mut self, texts: &[String], findings: &mut Vec<Finding>) -> Result<Tally> {
        let mut tally = Tally { statements: texts.len(), ..Tally::default() };
        for batch in texts.chunks(BATCH) {
            let [one, other] = self.worlds.each_mut().map(|session| (session, batch));
            let (one, other) = thread::scope(|scope| {
                let other = scope.spawn(|| run_all(other.0, other.1));
                let one = run_all(one.0, one.1);
                (one, other.join())
            });
            let other = other.map_err(|_| anyhow::anyhow!("a world's thread panicked"))??;
            let runs = batch.iter().flat_map(|text| Mode::ALL.map(|mode| (text, mode)));
            for ((text, mode), (one, other)) in runs.zip(one?.iter().zip(&other)) {
                tally.runs += 1;
                let found = self.judge(text, mode, one, other, &mut tally)?;
                tally.findings += usize::from(found.is_some());
                findings.extend(found.map(|what| Finding { text: text.clone(), mode, what }));
            }
        }
        Ok(tally)
    }

    fn judge(
        &mut self,
        text: &str,
        mode: Mode,
        one: &Answer,
        other: &Answer,
        tally: &mut Tally,
    ) -> Result<Option<String>> {
        self.count(text, mode, one, other, tally)?;
        // No protected value is the same in both worlds, so what is the same tells of none.
        let Some([a, b]) = one.difference(other) else { return Ok(None) };
        if let Some(leak) = self.leak(text, mode, [one, other])? {
            return Ok(Some(format!("a protected value: {leak}")));
        }
        if one.is_timed_out() || other.is_timed_out() {
            return Ok(None);
        }
        let difference = format!("the worlds differ: {a:?} | {b:?}");
        if self.is_steady(text, mode, one, other, Answer::clone)? {
            return Ok(Some(difference));
        }
        tally.volatile += 1;
        let shapes = [Answer::shape(one), Answer::shape(other)];
        let differs = shapes[0].difference(&shapes[1]).is_some();
        let steady = differs && self.is_steady(text, mode, one, other, Answer::shape)?;
        Ok(steady.then(|| format!("volatile, but its shape differs: {difference}")))
    }

    /// Returns what of its own values a world gave away that the other does not have, and gives away again.
    fn leak(&mut self, text: &str, mode: Mode, answers: [&Answer; 2]) -> Result<Option<String>> {
        // What the client says itself may come back.
        if self.canaries.iter().any(|canaries| canaries.found(text.as_bytes()).is_some()) {
            return Ok(None);
        }
        let bytes = answers.map(Answer::bytes);
        let [one, other] = [&bytes[0], &bytes[1]];
        let sides = [(one, other), (other, one)];
        for ((session, canaries), (own, innocent)) in self.worlds.iter_mut().zip(&self.canaries).zip(sides) {
            let Some(leak) = canaries.found_only(own, innocent) else { continue };
            if canaries.found_only(&session.run_and_undo(text, mode)?.bytes(), innocent).is_some() {
                return Ok(Some(leak));
            }
        }
        Ok(None)
    }

    /// Tells whether each world, and the twin of the first, gives the same answer again.
    fn is_steady(
        &mut self,
        text: &str,
        mode: Mode,
        one: &Answer,
        other: &Answer,
        seen: fn(&Answer) -> Answer,
    ) -> Result<bool> {
        let (one, other) = (seen(one), seen(other));
        for _ in 0..REPETITIONS {
            let [first, second] = self.worlds.each_mut().map(|session| session.run_and_undo(text, mode));
            let twin = self.twin.run_and_undo(text, mode)?;
            let same = |again: &Answer, before: &Answer| seen(again).difference(before).is_none();
            if !same(&first?, &one) || !same(&second?, &other) || !same(&twin, &one) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn count(
        &mut self,
        text: &str,
        mode: Mode,
        one: &Answer,
        other: &Answer,
        tally: &mut Tally,
    ) -> Result<()> {
        let count = if one.ended {
            &mut tally.ended
        } else if one.is_timed_out() || other.is_timed_out() {
            &mut tally.timed_out
        } else if one.is_refused() {
            &mut tally.refused
        } else if one.errors().next().is_some() {
            &mut tally.failed
        } else if one.rows().next().is_none() {
            &mut tally.empty
        } else if self.direct.run_and_undo(text, mode)?.rows().eq(one.rows()) {
            &mut tally.plain
        } else {
            &mut tally.masked
        };
        *count += 1;
        Ok(())
    }

    /// Has sqlsmith make statements for the first world.
    ///
    /// # Errors
    /// It is not installed, or it fails.
    pub fn sqlsmith(&self, seed: u64, count: usize, catalogue: bool) -> Result<Vec<String>> {
        sqlsmith(&self.stage.cluster.conninfo().with_dbname(WORLDS[0]), seed, count, catalogue)
    }
}

impl Answer {
    fn is_timed_out(&self) -> bool {
        self.errors().any(|error| error.field(b'C').is_some_and(|code| code == "57014"))
    }

    /// Returns the kinds of messages, with the codes of errors, and nothing else.
    fn shape(&self) -> Answer {
        let messages = self.messages.iter().map(|message| {
            let body =
                if message.kind == b'E' { message.field(b'C').unwrap_or_default() } else { String::new() };
            Message { kind: message.kind, body: body.into_bytes() }
        });
        Answer { messages: messages.collect(), ended: self.ended }
    }
}

impl Tally {
    /// Returns a line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{} statements, {} runs in each world:", self.statements, self.runs);
        for (count, what) in [
            (self.masked, "masked"),
            (self.plain, "plain"),
            (self.empty, "without rows"),
            (self.refused, "refused"),
            (self.failed, "failed"),
            (self.timed_out, "timed out"),
            (self.ended, "ended"),
            (self.volatile, "volatile"),
        ] {
            let _ = write!(line, " {count} {what},");
        }
        let _ = write!(line, " {} findings", self.findings);
        line
    }
}

fn run_all(session: &mut Session, texts: &[String]) -> Result<Vec<Answer>> {
    let runs = texts.iter().flat_map(|text| Mode::ALL.map(|mode| (text, mode)));
    runs.map(|(text, mode)| session.run_and_undo(text, mode)).collect()
}

/// Returns what sqlsmith makes from the catalogue of a database, which it reads and leaves as it is.
fn sqlsmith(server: &Conninfo, seed: u64, count: usize, catalogue: bool) -> Result<Vec<String>> {
    let mut command = Command::new("sqlsmith");
    command.arg(format!("--target={}", server.uri())).arg(format!("--seed={}", seed % (1 << 31)));
    command.arg(format!("--max-queries={count}")).arg("--dry-run");
    if !catalogue {
        command.arg("--exclude-catalog");
    }
    let output =
        command.stdin(Stdio::null()).output().context("cannot start sqlsmith: apt-get install sqlsmith")?;
    if !output.status.success() {
        bail!("sqlsmith failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let texts = String::from_utf8(output.stdout).context("sqlsmith printed what is no UTF-8")?;
    Ok(texts.split(";\n").map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect())
}
