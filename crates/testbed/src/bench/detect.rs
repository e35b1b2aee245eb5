//! `bench detect`: how much of generated texts the detectors cover, class by class, and how much Presidio covers of the
//! same texts.
//!
//! The texts, Presidio and the comparison are Python (`detect.py`), with packages of fixed versions in the cache folder. The detectors come in as a program, because nothing here depends on the product.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::clients::packages;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench detect --notes 3000 --json detect.json
  cargo xtask bench detect --notes 500 --without-presidio")]
pub struct Detect {
    /// What the texts follow from
    #[arg(long, default_value_t = 2026)]
    seed: u64,
    /// How many texts
    #[arg(long, default_value_t = 3000)]
    notes: u32,
    /// Leave the other finder out: it takes minutes
    #[arg(long)]
    without_presidio: bool,
    /// The program that prints what the detectors find
    #[arg(long, value_name = "PROGRAM")]
    finder: PathBuf,
    /// The folder with the detectors' own lists of names
    #[arg(long, value_name = "DIR")]
    words: PathBuf,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Detect {
    /// Makes the texts, lets both look, and prints what each covered.
    ///
    /// # Errors
    /// A package cannot be had, or a program fails.
    pub fn run(&self) -> Result<()> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("detect");
        let packages = packages(&here.join("requirements.txt"), |line| eprintln!("bench: {line}"))?;
        let folder = tempfile::Builder::new().prefix("wardline-detect-").tempdir()?;
        let run = |arguments: &[&str]| {
            let mut command = Command::new("python3");
            command.env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1");
            output(command.arg(here.join("detect.py")).args(arguments).stdin(Stdio::null()))
        };
        let texts = folder.path().display().to_string();
        eprintln!("bench: {} texts", self.notes);
        run(&["generate", &self.seed.to_string(), &self.notes.to_string(), &texts])?;
        let mut finder = Command::new(&self.finder);
        finder.stdin(File::open(folder.path().join("texts.txt"))?);
        std::fs::write(folder.path().join("ours.tsv"), output(&mut finder)?)?;
        if !self.without_presidio {
            eprintln!("bench: Presidio");
            run(&["presidio", &texts])?;
        }
        let list = |name: &str| self.words.join(name).display().to_string();
        let report = run(&["score", &texts, &list("given.txt"), &list("family.txt")])?;
        let report: Value = serde_json::from_slice(&report).context("the comparison's report")?;
        print!("{}", table(&report));
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.output().with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Returns the report for people: a line for each class, a column for each finder.
fn table(report: &Value) -> String {
    let mut text = format!("{:<18}{:>12}{:>10}{:>10}\n", "recall", "identifiers", "ours", "Presidio");
    let finder = |name: &str| report.get(name);
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let classes = finder("ours").and_then(|ours| ours.get("classes")).and_then(Value::as_object);
    for (class, row) in classes.into_iter().flatten() {
        let other = finder("presidio").and_then(|other| other.pointer(&format!("/classes/{class}/recall")));
        let (ours, other) = (shown(number(row.get("recall"))), shown(number(other)));
        let count = number(row.get("identifiers")).unwrap_or(0.0);
        let _ = writeln!(text, "{class:<18}{count:>12}{ours:>10}{other:>10}");
    }
    for measure in ["recall", "precision", "f2"] {
        let of = |name| number(finder(name).and_then(|finder| finder.pointer(&format!("/all/{measure}"))));
        let name = format!("all, {measure}");
        let _ = writeln!(text, "{name:<18}{:>12}{:>10}{:>10}", "", shown(of("ours")), shown(of("presidio")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_and_finders_stand_side_by_side() {
        let side = |recall: f64| {
            json!({
                "all": {"identifiers": 2, "recall": recall, "precision": 0.5, "f2": 0.5},
                "classes": {"name, listed": {"identifiers": 2, "recall": recall}},
            })
        };
        let text = table(&json!({"notes": 1, "ours": side(1.0), "presidio": side(0.5)}));
        assert!(text.contains("name, listed                 2     1.000     0.500"), "{text}");
        assert!(table(&json!({"notes": 1, "ours": side(1.0)})).contains("1.000         -"));
    }
}
