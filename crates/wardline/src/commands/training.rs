//! `wardline training …`: who must learn what, and did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::administer::{ask, unexpected};
use crate::admin::{Completed, LessonView, Reply, Request, Told, TrainingAsk, TrainingReply};
use crate::changes::COMPLETIONS_MAX;
use crate::cli::Json;
use crate::output::{self, Paint};

/// Longest file of completions.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Courses are in [training.NAME] of the configuration: whose people must learn them, and how often. Whoever is overdue is
refused, also in sessions that are open, and told what to do; before that they are warned when they connect.

Examples:
  wardline training complete ann privacy-basics --on 2026-11-23
  wardline training import completions.csv
  wardline training roster --diff")]
pub(crate) enum TrainingCommand {
    /// Enter that a person completed a course
    #[command(after_help = "\
Takes the right `trainer` or `admin`.

Example:
  wardline training complete ann privacy-basics --on 2026-11-23")]
    Complete {
        /// Login name
        person: String,
        /// Name of the course, as the configuration has it
        course: String,
        /// The day, in UTC
        #[arg(long, value_name = "DATE")]
        on: String,
        /// By what others know it, such as the number of a certificate
        #[arg(long, value_name = "WORD")]
        reference: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// Enter the completions of a file
    #[command(after_help = "\
The file is CSV in UTF-8 with the heading `person,course,completed_on` and, if there is one, `reference`. What is there
already is left as it is, so a file may be read again. A mistake in it refuses the file, or its part of 500 lines.

Example:
  wardline training import completions.csv")]
    Import {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        output: Json,
    },
    /// Take back a completion that was entered by mistake
    #[command(after_help = "Example:\n  wardline training withdraw 12 --reason \"was another Ann\"")]
    Withdraw {
        /// Its number, as `training list` shows it
        number: u64,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// List the completions that were entered
    #[command(after_help = "Example:\n  wardline training list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Show who must learn what, when they did, and when it is due
    #[command(after_help = "\
With --diff only what does not fit: roles that are held without the training they ask for, and training that no role
asks for.

Examples:
  wardline training roster
  wardline training roster --course privacy-basics --json
  wardline training roster --diff")]
    Roster {
        /// Only this course
        #[arg(long, value_name = "NAME")]
        course: Option<String>,
        /// Only this person
        #[arg(long, value_name = "NAME")]
        person: Option<String>,
        /// Compare with the roles that are held
        #[arg(long)]
        diff: bool,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline training …`.
pub(crate) fn run(file: &Path, command: &TrainingCommand) -> anyhow::Result<ExitCode> {
    match command {
        TrainingCommand::Complete { person, course, on, reference, output } => {
            let completed = Completed {
                person: person.clone(),
                course: course.clone(),
                on: on.clone(),
                reference: reference.clone(),
            };
            enter(file, vec![completed], Told::Command, output.json)
        }
        TrainingCommand::Import { file: csv, output } => enter(file, read(csv)?, Told::Csv, output.json),
        TrainingCommand::Withdraw { number, reason, output } => {
            let request = TrainingAsk::Withdraw { number: *number, reason: reason.clone() };
            ask(file, Request::Training(request), |_| {
                match output.json {
                    true => output::json(&json!({ "withdrawn": number }))?,
                    false => output::line(&format!("took back completion {number}")),
                }
                Ok(())
            })
        }
        TrainingCommand::List { output } => list(file, output.json),
        TrainingCommand::Roster { course, person, diff, output } => {
            let wanted = |lesson: &LessonView| {
                course.as_ref().is_none_or(|course| lesson.course == *course)
                    && person.as_ref().is_none_or(|person| lesson.person == *person)
            };
            ask(file, Request::Training(TrainingAsk::Roster {}), |reply| {
                let Reply::Training(TrainingReply::Roster(lessons)) = reply else { return unexpected() };
                let lessons: Vec<LessonView> = lessons.into_iter().filter(wanted).collect();
                if *diff { show_diff(lessons, output.json) } else { show_roster(&lessons, output.json) }
            })
        }
    }
}

fn enter(file: &Path, completions: Vec<Completed>, from: Told, json: bool) -> anyhow::Result<ExitCode> {
    let (mut entered, mut known_before) = (Vec::new(), 0);
    for some in completions.chunks(COMPLETIONS_MAX) {
        let request = TrainingAsk::Complete { completions: some.to_vec(), from };
        let code = ask(file, Request::Training(request), |reply| {
            let Reply::Training(TrainingReply::Entered { numbers, known }) = reply else {
                return unexpected();
            };
            entered.extend(numbers);
            known_before += known;
            Ok(())
        })?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    if json {
        output::json(&json!({ "entered": entered, "known": known_before }))?;
    } else {
        let numbers = match (entered.first(), entered.last()) {
            (Some(first), Some(last)) if first != last => format!(" (numbers {first} to {last})"),
            (Some(only), _) => format!(" (number {only})"),
            (None, _) => String::new(),
        };
        output::line(&format!(
            "entered {} completions{numbers}; {known_before} were there already",
            entered.len()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::Training(TrainingAsk::Completions {}), |reply| {
        let Reply::Training(TrainingReply::Completions(completions)) = reply else { return unexpected() };
        if json {
            return output::json(&completions);
        }
        let heading = ["NUMBER", "PERSON", "COURSE", "COMPLETED", "TOLD BY", "REFERENCE", "ENTERED BY"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(completions.into_iter().map(|completion| {
            vec![
                completion.number.to_string(),
                completion.person,
                completion.course,
                output::to_second(&completion.completed_at),
                completion.source,
                completion.reference.map(|word| output::printable(&word)).unwrap_or_default(),
                completion.recorded_by,
            ]
        }));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}

fn show_roster(lessons: &[LessonView], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&lessons);
    }
    let heading = ["PERSON", "COURSE", "STATE", "COMPLETED", "DUE", "ASKED FOR", "ACCESS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(lessons.iter().map(row));
    output::line(&output::table(&rows, Paint::stdout()));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for lesson in lessons {
        *counts.entry(&lesson.state).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    output::line(&counts.join(", "));
    Ok(())
}

fn row(lesson: &LessonView) -> Vec<String> {
    let day =
        |time: &Option<String>| time.as_ref().map(|time| time.chars().take(10).collect()).unwrap_or_default();
    let access = match (lesson.disabled, lesson.refused, lesson.state.as_str()) {
        (true, ..) => "disabled",
        (false, true, _) => "refused",
        (false, false, "overdue") => "open",
        (false, false, _) => "",
    };
    vec![
        lesson.person.clone(),
        lesson.course.clone(),
        lesson.state.clone(),
        day(&lesson.completed_at),
        day(&lesson.due),
        lesson.roles.join(", "),
        access.to_owned(),
    ]
}

#[derive(Debug, Serialize)]
struct Diff {
    /// Roles are held without the training that they ask for.
    access_without_training: Vec<LessonView>,
    /// No role asks for it.
    training_without_access: Vec<LessonView>,
}

fn show_diff(lessons: Vec<LessonView>, json: bool) -> anyhow::Result<()> {
    let diff = diff(lessons);
    if json {
        return output::json(&diff);
    }
    let parts = [
        ("roles held without the training that they ask for", &diff.access_without_training),
        ("training that no role asks for", &diff.training_without_access),
    ];
    for (title, lessons) in parts {
        output::line(&Paint::stdout().bold(&format!("{title}: {}", lessons.len())));
        for lesson in lessons {
            let access = match (lesson.disabled, lesson.refused) {
                (true, _) => "; may not sign in",
                (false, true) => "; refused",
                (false, false) => "",
            };
            let roles = if lesson.roles.is_empty() { "no role".to_owned() } else { lesson.roles.join(", ") };
            output::line(&format!("  {}: {} ({roles}{access})", lesson.person, lesson.course));
        }
    }
    Ok(())
}

fn diff(lessons: Vec<LessonView>) -> Diff {
    let (without_access, asked): (Vec<LessonView>, Vec<LessonView>) =
        lessons.into_iter().partition(|lesson| lesson.state == "not-needed");
    let without_training =
        asked.into_iter().filter(|lesson| matches!(lesson.state.as_str(), "overdue" | "new")).collect();
    Diff { access_without_training: without_training, training_without_access: without_access }
}

/// Reads a file of completions.
fn read(path: &Path) -> anyhow::Result<Vec<Completed>> {
    let size = std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
    if size > FILE_BYTES_MAX {
        bail!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    completions(&text).with_context(|| format!("reading {}", path.display()))
}

fn completions(text: &str) -> anyhow::Result<Vec<Completed>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let heading = lines.next().map(|(_, line)| fields(line)).context("it is empty")??;
    let column = |name: &str| heading.iter().position(|column| column.trim() == name);
    let required = |name: &str| column(name).with_context(|| format!("the heading has no column `{name}`"));
    let (person, course, on) = (required("person")?, required("course")?, required("completed_on")?);
    let reference = column("reference");
    let mut completions = Vec::new();
    for (at, line) in lines {
        let row = fields(line).with_context(|| format!("line {}", at + 1))?;
        let field = |column: usize| match row.get(column).map(|field| field.trim()) {
            Some(field) if !field.is_empty() => Ok(field.to_owned()),
            Some(_) | None => bail!("line {}: a field is missing", at + 1),
        };
        completions.push(Completed {
            person: field(person)?,
            course: field(course)?,
            on: field(on)?,
            reference: reference.and_then(|column| field(column).ok()),
        });
    }
    Ok(completions)
}

/// Takes a line of CSV apart (RFC 4180; no line breaks within fields).
fn fields(line: &str) -> anyhow::Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let (mut chars, mut quoted) = (line.chars().peekable(), false);
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is a field from the start");
        match (c, quoted) {
            ('"', true) if chars.next_if_eq(&'"').is_some() => field.push('"'),
            ('"', true) => quoted = false,
            ('"', false) if field.is_empty() => quoted = true,
            (',', false) => fields.push(String::new()),
            (c, _) => field.push(c),
        }
    }
    if quoted {
        bail!("a quote is not closed");
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_completions_is_read() {
        let text = "\u{feff}course,person,\"completed_on\",reference\r\n\
                    basics,ann,2026-11-01,\"cert \"\"7\"\", copy\"\r\n\r\n basics , ben ,2026-11-02,\r\n";
        let read = completions(text).unwrap();
        let completed = |person: &str, on: &str, reference: Option<&str>| Completed {
            person: person.to_owned(),
            course: "basics".to_owned(),
            on: on.to_owned(),
            reference: reference.map(str::to_owned),
        };
        let expected =
            [completed("ann", "2026-11-01", Some("cert \"7\", copy")), completed("ben", "2026-11-02", None)];
        assert_eq!(read, expected);
        for wrong in [
            "",
            "person,course\nann,basics",
            "person,course,completed_on\nann,,2026-11-01",
            "person,course,completed_on\n\"ann",
        ] {
            assert!(completions(wrong).is_err(), "{wrong:?}");
        }
    }
}
