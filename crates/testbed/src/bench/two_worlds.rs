//! `bench two-worlds`: the battery, sqlsmith's statements and our own against two hospitals that differ in nothing but
//! protected values, as a person who may do everything and sees nothing that is protected.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::leaks::worlds::{Finding, Tally, Worlds};
use crate::leaks::{Stage, WORLDS, answers, canaries, cases, generate};

/// How many findings are printed.
const SHOWN_MAX: usize = 20;

/// What to send.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  testbed bench two-worlds --seed 1 --queries 5000
  testbed bench two-worlds --seed 7 --queries 200 --json worlds.json")]
pub struct TwoWorlds {
    /// What the statements follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many statements of each generator
    #[arg(long, default_value_t = 5000)]
    queries: usize,
    /// Write the counts as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl TwoWorlds {
    /// Sends everything and prints what became of it.
    ///
    /// # Errors
    /// Something differs, or something does not start.
    pub fn run(&self) -> Result<()> {
        let stage = Stage::start()?;
        let mut findings = Vec::new();
        let mut report = vec![("battery", battery(&stage, &mut findings)?)];
        let mut worlds = Worlds::new(&stage)?;
        let half = self.queries / 2;
        for (name, texts) in [
            ("sqlsmith", worlds.sqlsmith(self.seed, self.queries - half, false)?),
            ("sqlsmith, catalogue too", worlds.sqlsmith(self.seed, half, true)?),
            ("own", (0..self.queries as u64).map(|number| generate::statement(self.seed, number)).collect()),
        ] {
            eprintln!("bench: {name}");
            report.push((name, worlds.compare(&texts, &mut findings)?));
        }
        for (name, tally) in &report {
            println!("{name}: {}", tally.line());
        }
        if let Some(file) = &self.json {
            let counts: Vec<_> = report.iter().map(|(name, tally)| json(name, tally)).collect();
            std::fs::write(file, serde_json::to_string_pretty(&counts)? + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        for Finding { text, mode, what } in findings.iter().take(SHOWN_MAX) {
            println!("\n{mode:?}: {text}\n  {what:.1000}");
        }
        if findings.is_empty() { Ok(()) } else { bail!("{} runs tell the worlds apart", findings.len()) }
    }
}

/// Sends the battery, as the tests do.
fn battery(stage: &Stage, findings: &mut Vec<Finding>) -> Result<Tally> {
    let cases = cases()?;
    let canaries = canaries();
    let [one, other] = WORLDS;
    let one = answers(stage.masked(one)?, &cases, false)?;
    let other = answers(stage.masked(other)?, &cases, false)?;
    let mut tally = Tally { statements: cases.len(), runs: one.len(), ..Tally::default() };
    let mut runs = one.iter().zip(&other);
    for case in &cases {
        for ((mode, one), (_, other)) in runs.by_ref().take(if case.is_one() { 3 } else { 1 }) {
            let leak = [one, other].iter().find_map(|answer| canaries.found(&answer.bytes()));
            let leak = leak.map(|leak| format!("a protected value: {leak}"));
            let differs = one.difference(other).map(|[a, b]| format!("the worlds differ: {a:?} | {b:?}"));
            if let Some(what) = leak.or(differs) {
                tally.findings += 1;
                findings.push(Finding { text: case.texts.join(" ;; "), mode: *mode, what });
            }
            let count = if one.ended {
                &mut tally.ended
            } else if one.is_refused() {
                &mut tally.refused
            } else if one.errors().next().is_some() {
                &mut tally.failed
            } else if one.rows().next().is_none() {
                &mut tally.empty
            } else {
                &mut tally.masked
            };
            *count += 1;
        }
    }
    Ok(tally)
}

fn json(name: &str, tally: &Tally) -> serde_json::Value {
    json!({
        "source": name, "statements": tally.statements, "runs": tally.runs, "masked": tally.masked,
        "plain": tally.plain, "empty": tally.empty, "refused": tally.refused, "failed": tally.failed,
        "timed_out": tally.timed_out, "ended": tally.ended, "volatile": tally.volatile,
        "findings": tally.findings,
    })
}
