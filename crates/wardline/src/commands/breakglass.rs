//! `wardline break-glass …`: emergency access, from asking for it to its review.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use model::Secret;

use super::administer::{ask, unexpected};
use crate::EXIT_REFUSED;
use crate::admin::{Reply, Request, Sensitive};
use crate::changes::breakglass::{Act, EmergencyView, Finish, SheetView, TimelineView, Wish};
use crate::cli::Json;
use crate::data::write_new;
use crate::output::{self, Paint};
use crate::prompt;

/// Room for the page of a custodian, with the most codes that a sheet has.
const PAGE_BYTES_MAX: usize = 32 << 10;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
For emergencies that the usual rights do not fit. Who may is in [break_glass]; others are told at once, everything done is
marked in the trail, it ends by itself, and somebody else reviews it. Sign in with `wardline login` and say --as.

Examples:
  wardline --as ann break-glass begin hospital --reason-code treatment --reason \"unconscious patient, no one on call\"
  wardline --as ann break-glass end 7
  wardline --as pia break-glass show 7
  wardline --as pia break-glass review 7 --finding justified --note \"chart read for the admission, nothing else\"")]
pub(crate) enum BreakGlass {
    /// Take emergency access to a resource, for yourself and for a time
    #[command(after_help = "\
The reason is told to others: what looks like a patient's name or number in it is replaced. Name the patient with --patient
only; the review then shows whether records of others were seen.

Examples:
  wardline --as ann break-glass begin hospital --reason-code treatment --reason \"unconscious patient, no one on call\"
  wardline --as ann break-glass begin hospital --reason-code treatment --reason \"allergy before surgery\" --patient 4711 --for 30m
  wardline break-glass begin hospital --code ann --reason-code treatment --reason \"sign-in is down, unconscious patient\"")]
    Begin(Begin),
    /// Give your emergency access back before its time; your sessions on the resource are cut
    #[command(
        after_help = "Example:\n  wardline --as ann break-glass end 7 --reason \"the patient is on the ward now\""
    )]
    End {
        /// Its number, as `break-glass list` shows it
        number: u64,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// Take somebody's emergency access away, or refuse it; their sessions on the resource are cut
    #[command(
        after_help = "Example:\n  wardline --as pia break-glass revoke 7 --reason \"no emergency on that ward\""
    )]
    Revoke {
        /// Its number
        number: u64,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Json,
    },
    /// Approve what somebody else asks for, where `break_glass.approvals` asks for it
    #[command(after_help = "Example:\n  wardline --as lea break-glass approve 7")]
    Approve {
        /// Its number
        number: u64,
        #[command(flatten)]
        output: Json,
    },
    /// List emergency access that is open or not reviewed
    #[command(after_help = "\
Whoever holds no right to administer sees their own.

Examples:
  wardline break-glass list
  wardline break-glass list --all --json")]
    List {
        /// Also what is over and reviewed
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Json,
    },
    /// Rehearse it: take emergency access as an exercise, see who is told, give it back, and write a signed report
    #[command(after_help = "\
The rights are real for the few seconds that it takes; it is recorded, told to others (as DRILL) and reviewed as any other, and the
credential is changed after it. The report is kept in `drills/` of the data folder, under the signature of the log's key.

Example:
  wardline --as ann break-glass drill hospital

Exit codes: 0 passed, 1 refused, or it showed a fault, 2 could not run.")]
    Drill {
        /// The resource
        resource: String,
        #[command(flatten)]
        output: Json,
    },
    /// Sealed codes, for the day when nobody can sign in
    #[command(subcommand)]
    Codes(Codes),
    /// Show what was done under emergency access, for its review
    #[command(after_help = "\
Takes the right `privacy-officer` or `auditor`, and is itself recorded. Entries are durable for others within a second.

Example:
  wardline --as pia break-glass show 7")]
    Show {
        /// Its number
        number: u64,
        #[command(flatten)]
        output: Json,
    },
    /// Review somebody else's emergency access after its end
    #[command(after_help = "\
Takes the right `privacy-officer`. Nobody reviews their own, and nothing is reviewed twice. The note is sealed.

Example:
  wardline --as pia break-glass review 7 --finding justified --note \"chart read for the admission, nothing else\"")]
    Review {
        /// Its number
        number: u64,
        /// What was found
        #[arg(long, value_name = "FINDING")]
        finding: FindingName,
        /// What was looked at and why that is the finding, at least 15 characters; `-` reads it from standard input
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Each code has two halves; one custodian keeps the page with the first, another the one with the second. A code works once, with both
halves, also while the registry or the identity provider is down. Five wrong ones lock all for 15 minutes.

Example:
  wardline break-glass codes new --count 10 --pages /media/usb")]
pub(crate) enum Codes {
    /// Make a sheet of codes; those of an earlier sheet are of no use any more
    #[command(after_help = "\
Takes the right `key-admin`. The codes are shown once: print the two pages, seal them, and give them to two custodians.

Examples:
  wardline break-glass codes new --count 10 | lpr
  wardline break-glass codes new --count 10 --pages /media/usb")]
    New {
        /// How many
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        count: u64,
        /// Write the two pages into this folder, as new files that nobody else can read, and show neither
        #[arg(long, value_name = "DIR")]
        pages: Option<PathBuf>,
        #[command(flatten)]
        output: Json,
    },
    /// List the codes and which were used; never the codes themselves
    #[command(after_help = "Example:\n  wardline break-glass codes list")]
    List {
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Begin {
    /// The resource
    resource: String,
    /// Why: one of the configured codes
    #[arg(long, value_name = "CODE")]
    reason_code: String,
    /// Why, in at least 15 characters; whoever reviews it reads this
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The one patient whom it is about
    #[arg(long, value_name = "PATIENT")]
    patient: Option<String>,
    /// Act as this person by a sealed code, where nobody can sign in; its two halves are asked for, or read from two lines of
    /// standard input. Answers with a token to sign in with
    #[arg(long, value_name = "NAME")]
    code: Option<String>,
    /// For how long, such as `90s`, `30m` or `1h`; as long as it may be had when left out
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    duration: Option<u64>,
    #[command(flatten)]
    output: Json,
}

/// What a review finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingName {
    /// An emergency, and what was done belonged to it
    Justified,
    /// No emergency, or more was done than belonged to it
    NotJustified,
}

/// Reads a time such as `90s`, `30m` or `1h`.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time: write a number and `s`, `m` or `h`, such as `30m`");
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3_600),
        Some(_) | None => return Err(wrong()),
    };
    let number: u64 = number.and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// Runs `wardline break-glass …`.
pub(crate) fn run(file: &Path, command: &BreakGlass) -> anyhow::Result<ExitCode> {
    let (act, output) = match command {
        BreakGlass::Begin(begin) => match &begin.code {
            Some(name) => return by_code(file, name, begin),
            None => (Act::Begin { wish: wish(begin) }, begin.output),
        },
        BreakGlass::Codes(command) => return codes(file, command),
        BreakGlass::Drill { resource, output } => return drill(file, resource, output.json),
        BreakGlass::End { number, reason, output } => {
            (Act::Finish { number: *number, how: Finish::End, reason: sensitive(reason) }, *output)
        }
        BreakGlass::Revoke { number, reason, output } => {
            (Act::Finish { number: *number, how: Finish::Revoke, reason: sensitive(reason) }, *output)
        }
        BreakGlass::Approve { number, output } => (Act::Approve { number: *number }, *output),
        BreakGlass::List { all, output } => (Act::List { also_done: *all }, *output),
        BreakGlass::Show { number, output } => return show(file, *number, output.json),
        BreakGlass::Review { number, finding, note, output } => {
            let justified = *finding == FindingName::Justified;
            let note = if note == "-" { std::io::read_to_string(std::io::stdin())? } else { note.clone() };
            (Act::Review { number: *number, justified, note: sensitive(&note) }, *output)
        }
    };
    ask(file, Request::BreakGlass { act }, |reply| {
        let Reply::Emergencies(rows) = reply else { return unexpected() };
        if output.json {
            return output::json(&rows);
        }
        output::line(&table(&rows));
        Ok(())
    })
}

fn sensitive(text: &str) -> Sensitive {
    Sensitive(Secret::new(text.to_owned()))
}

fn wish(begin: &Begin) -> Wish {
    Wish {
        resource: begin.resource.clone(),
        reason_code: begin.reason_code.clone(),
        reason: sensitive(&begin.reason),
        patient: begin.patient.as_deref().map(sensitive),
        duration_s: begin.duration,
        drill: false,
    }
}

fn table(rows: &[EmergencyView]) -> String {
    let heading = ["NUMBER", "PERSON", "RESOURCE", "STATE", "UNTIL", "REVIEW", "REVIEW DUE", "REASON"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let state = match row.state.as_str() {
            "waiting" => format!("waiting ({} of {})", row.approved_by.len(), row.approvals),
            state => state.to_owned(),
        };
        let to_second = |time: &Option<String>| time.as_deref().map(output::to_second).unwrap_or_default();
        let drill = if row.drill { "DRILL " } else { "" };
        vec![
            row.number.to_string(),
            row.person.clone(),
            row.resource.clone(),
            state,
            to_second(&row.until),
            row.review.clone(),
            to_second(&row.review_due),
            format!("{drill}{}: {}", row.reason_code, output::printable(&row.reason)),
        ]
    }));
    output::table(&lines, Paint::stdout())
}

fn by_code(file: &Path, name: &str, begin: &Begin) -> anyhow::Result<ExitCode> {
    let halves = prompt::two_halves()?.map(Sensitive);
    let act = Act::ByCode { name: name.to_owned(), halves, wish: wish(begin) };
    ask(file, Request::BreakGlass { act }, |reply| {
        let Reply::ByCode(given) = reply else { return unexpected() };
        if begin.output.json {
            return output::json(&given);
        }
        output::line(&table(std::slice::from_ref(&given.emergency)));
        let (token, until) = (given.token.token.0.expose(), output::to_second(&given.token.expires_at));
        output::line(&format!(
            "sign in as {} with this token in place of the password, until {until}:",
            given.token.person
        ));
        output::line(token);
        Ok(())
    })
}

fn drill(file: &Path, resource: &str, json: bool) -> anyhow::Result<ExitCode> {
    let wish = Wish::rehearsal(resource.to_owned());
    let mut passed = false;
    let code = ask(file, Request::BreakGlass { act: Act::Drill { wish } }, |reply| {
        let Reply::Drilled(drilled) = reply else { return unexpected() };
        passed = drilled.report.passed;
        if json {
            return output::json(&drilled);
        }
        output::line(drilled.note.trim_end());
        output::line(&format!("kept in {}", drilled.path));
        Ok(())
    })?;
    Ok(if code == ExitCode::SUCCESS && !passed { ExitCode::from(EXIT_REFUSED) } else { code })
}

fn codes(file: &Path, command: &Codes) -> anyhow::Result<ExitCode> {
    let (act, pages, output) = match command {
        Codes::New { count, pages, output } => (Act::CodesNew { count: *count }, pages.as_deref(), *output),
        Codes::List { output } => (Act::CodesList {}, None, *output),
    };
    let fresh = matches!(act, Act::CodesNew { .. });
    // Codes are told once, and end those before: what would keep the pages from being written is found out first.
    let mut drafts = pages.map(Drafts::begin).transpose()?;
    let asked = ask(file, Request::BreakGlass { act }, |reply| {
        let Reply::Sheet(sheet) = reply else { return unexpected() };
        if let Some(drafts) = drafts.take() {
            return drafts.finish(&sheet);
        }
        if output.json {
            return output::json(&sheet);
        }
        if fresh {
            output::line(&format!("{}\u{c}\n{}", page(&sheet, 0, "first"), page(&sheet, 1, "second")));
            return Ok(());
        }
        show_codes(&sheet);
        Ok(())
    });
    drafts.iter().for_each(Drafts::remove);
    asked
}

/// The two pages of custodians while there is nothing on them but room: so that nothing is missing once there are codes.
struct Drafts {
    folder: PathBuf,
    pages: [(PathBuf, File); 2],
}

impl Drafts {
    /// Makes the files, with more in them than the pages will have.
    fn begin(folder: &Path) -> anyhow::Result<Drafts> {
        let draft = |which: &str| {
            let path = folder.join(format!("break-glass-draft-{}-{which}-half.txt", std::process::id()));
            let made = write_new(&path, 0o600, &vec![b' '; PAGE_BYTES_MAX]);
            let file = made.and_then(|()| File::options().write(true).open(&path));
            file.map(|file| (path.clone(), file)).with_context(|| {
                format!(
                    "{} cannot be written; no codes were made, and those before still work",
                    path.display()
                )
            })
        };
        let first = draft("first")?;
        let second = draft("second").inspect_err(|_| drop(fs::remove_file(&first.0)))?;
        Ok(Drafts { folder: folder.to_owned(), pages: [first, second] })
    }

    /// Takes them away again, where no codes were made.
    fn remove(&self) {
        self.pages.iter().for_each(|(path, _)| drop(fs::remove_file(path)));
    }

    /// Writes the pages. One that cannot be written after all is shown: there is no other.
    fn finish(self, sheet: &SheetView) -> anyhow::Result<()> {
        let mut failed = Ok(());
        for ((place, which), (draft, mut file)) in [(0, "first"), (1, "second")].into_iter().zip(self.pages) {
            let text = page(sheet, place, which);
            let path = self.folder.join(format!("break-glass-{}-{which}-half.txt", sheet.sheet));
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            let written = file
                .write_all(text.as_bytes())
                .and_then(|()| file.set_len(length))
                .and_then(|()| file.sync_all())
                .and_then(|()| fs::rename(&draft, &path))
                .and_then(|()| File::open(&self.folder)?.sync_all());
            match written {
                Ok(()) => output::line(&path.display().to_string()),
                Err(error) => {
                    output::line(&text);
                    failed =
                        Err(error).with_context(|| format!("writing {}; the page is above", path.display()));
                }
            }
        }
        failed
    }
}

/// Returns the page of one custodian.
fn page(sheet: &SheetView, place: usize, which: &str) -> String {
    let mut text = format!(
        "Wardline: sealed codes for emergency access, sheet {} of {}\n\
         This page has the {which} halves; another custodian keeps the other page. Keep it sealed.\n\
         To use one, both halves are typed in: wardline break-glass begin RESOURCE --code NAME …\n\n",
        sheet.sheet, sheet.made_at
    );
    for code in &sheet.codes {
        let half = code.halves.as_ref().and_then(|halves| halves.get(place)).map(|half| half.0.expose());
        text.push_str(&format!(
            "{:>8}   {}   used on: ____________ for: ____________\n",
            code.name,
            half.unwrap_or("-")
        ));
    }
    text
}

fn show_codes(sheet: &SheetView) {
    output::line(&format!(
        "sheet {} of {} by {}",
        sheet.sheet,
        output::to_second(&sheet.made_at),
        sheet.made_by
    ));
    if let Some(until) = &sheet.locked_until {
        output::line(&format!("locked after wrong codes until {until}"));
    }
    let mut lines = vec![["CODE", "USED", "FOR"].map(str::to_owned).to_vec()];
    lines.extend(sheet.codes.iter().map(|code| {
        let used = code.used_at.as_deref().map(output::to_second).unwrap_or_default();
        vec![code.name.clone(), used, code.used_by.clone().unwrap_or_default()]
    }));
    output::line(&output::table(&lines, Paint::stdout()));
}

fn show(file: &Path, number: u64, json: bool) -> anyhow::Result<ExitCode> {
    let act = Act::Timeline { number };
    ask(file, Request::BreakGlass { act }, |reply| {
        let Reply::Timeline(timeline) = reply else { return unexpected() };
        if json {
            return output::json(&timeline);
        }
        show_timeline(&timeline);
        Ok(())
    })
}

fn show_timeline(timeline: &TimelineView) {
    output::line(&table(std::slice::from_ref(&timeline.emergency)));
    let heading = ["ENTRY", "AT", "ACTION", "OUTCOME", "ROWS", "PATIENTS", "OTHERS", "STATEMENT"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    lines.extend(timeline.operations.iter().map(|one| {
        vec![
            one.index.to_string(),
            output::to_second(&one.at),
            one.action.clone(),
            one.outcome.clone(),
            one.rows.to_string(),
            one.patients.to_string(),
            one.other_patients.map(|others| others.to_string()).unwrap_or_default(),
            one.statement.clone(),
        ]
    }));
    output::line(&output::table(&lines, Paint::stdout()));
    if timeline.not_shown > 0 {
        output::line(&format!("and {} more operations", timeline.not_shown));
    }
    let (rows, patients) = (timeline.rows, timeline.patients);
    output::line(&format!("{} sessions, {rows} rows, {patients} patients", timeline.sessions));
    for finding in &timeline.findings {
        output::line(&format!("look at: {finding}"));
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_have_a_unit() {
        for (text, expected) in
            [("90s", Some(90)), ("30m", Some(1_800)), ("2h", Some(7_200)), ("0s", Some(0))]
        {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for text in ["", "s", "1", "1d", "-1s", "1.5h", "99999999999999999999h", "9999999999999999999h"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
