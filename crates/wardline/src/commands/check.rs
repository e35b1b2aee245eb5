//! `wardline check`: would it start?

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::EXIT_REFUSED;
use crate::cli::Check;
use crate::config::{Config, Problem, Problems, Severity};
use crate::output;

#[derive(Debug, Serialize)]
struct Report<'a> {
    valid: bool,
    errors: usize,
    warnings: usize,
    problems: &'a [Problem],
}

/// Tells every problem; the exit code says whether one of them stands in the way.
pub(crate) fn run(file: &Path, arguments: &Check) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(file);
    let problems = loaded.problems;
    report(&problems, arguments.json)?;
    Ok(if problems.fatal() { ExitCode::from(EXIT_REFUSED) } else { ExitCode::SUCCESS })
}

fn report(problems: &Problems, json: bool) -> anyhow::Result<()> {
    let (errors, warnings) = (problems.count(Severity::Error), problems.count(Severity::Warning));
    if json {
        return output::json(&Report { valid: errors == 0, errors, warnings, problems: &problems.0 });
    }
    if !problems.0.is_empty() {
        output::line(&problems.to_string());
    }
    output::line(&match (errors, warnings) {
        (0, 0) => "the configuration is valid".to_owned(),
        (0, warnings) => format!("the configuration is valid, with {}", counted(warnings, "warning")),
        (errors, warnings) => format!("{} and {}", counted(errors, "error"), counted(warnings, "warning")),
    });
    Ok(())
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
