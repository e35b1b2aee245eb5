//! `wardline trail search` and `wardline trail sql`: questions to everything up to now, archived or not.
//!
//! That somebody asks, and what, is recorded before anything is read. What the archive does not hold is read from the
//! segments, so that an answer never depends on when the archive was written.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{Micros, Patients, Secret};
use serde_json::json;
use trail::{ArchiveIndex, Entry, Found, Manifest, Question, Reader, Sought};

use crate::admin::Sensitive;
use crate::cli::{KindName, Period, TrailPlace};
use crate::commands::answer;
use crate::commands::lake::{Archive, Lake};
use crate::commands::patients::{check, forms, identifiers, issuers};
use crate::commands::place::Place;
use crate::commands::trail::{Looked, open, opened};
use crate::output::{self, Paint, printable, time};
use crate::render;

/// Entries between two movements of the progress bar.
const PROGRESS_STEP: u64 = 10_000;

#[derive(Debug, Args)]
#[command(after_help = "\
All conditions must be met. Everything up to now is searched: the archive, and what is not in it yet.
That you ask, and what, is itself in the trail; patients are named there as accesses name them.

Examples:
  wardline trail search --patient 4711
  wardline trail search --person ann --relation public.patients --from 2026-11-01 --json
  wardline trail search --decision deny --action write -n 50
  wardline trail search --unmasked --rows-min 1000 --csv > large.csv
  wardline trail search --emergency --from 2026-11-01
  wardline trail search --purpose research --person ann
  wardline trail search --patient 4711 --prove answer/")]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) filter: SearchFilter,
    #[command(flatten)]
    pub(crate) period: Period,
    /// Only the latest so many
    #[arg(short = 'n', value_name = "COUNT")]
    pub(crate) latest: Option<usize>,
    /// Also show literals, parameters and the identifiers of patients
    #[arg(long)]
    pub(crate) open_sealed: bool,
    /// Write JSON, one entry a line
    #[arg(long, group = "form")]
    pub(crate) json: bool,
    /// Write CSV with a heading
    #[arg(long, group = "form")]
    pub(crate) csv: bool,
    /// Write a new Parquet file; it is not encrypted
    #[arg(long, value_name = "FILE", group = "form", conflicts_with = "open_sealed")]
    pub(crate) parquet: Option<PathBuf>,
    /// Write the answer with its proofs into a new folder, for `wardline verify-answer`
    #[arg(long, value_name = "DIR", group = "form", conflicts_with_all = ["latest", "open_sealed"])]
    pub(crate) prove: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limits: AskLimits,
    #[command(flatten)]
    pub(crate) place: TrailPlace,
}

#[derive(Debug, Args)]
pub(crate) struct SearchFilter {
    /// Entries that name this patient, by the identifier; several, or `-` for one a line from standard input
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Vec<String>,
    /// Whose identifier it is; those of all resources when left out
    #[arg(long, value_name = "NAME", requires = "patient")]
    pub(crate) issuer: Vec<String>,
    /// Entries of this login name, or of the id that a name never shares with another
    #[arg(long, value_name = "NAME")]
    pub(crate) person: Option<String>,
    /// Entries about this resource
    #[arg(long, value_name = "NAME")]
    pub(crate) resource: Option<String>,
    /// Entries about this relation or function
    #[arg(long, value_name = "SCHEMA.NAME")]
    pub(crate) relation: Option<String>,
    /// Entries of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<KindName>,
    /// Statements of this class, by the strongest right they needed
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Option<ActionName>,
    /// Statements with this command, such as `SELECT` or `COPY TO`
    #[arg(long, value_name = "WORDS")]
    pub(crate) command: Option<String>,
    /// What policy said
    #[arg(long, value_name = "WORD")]
    pub(crate) decision: Option<Decision>,
    /// At least so many rows
    #[arg(long, value_name = "COUNT")]
    pub(crate) rows_min: Option<u64>,
    /// Only what showed protected columns as they are
    #[arg(long)]
    pub(crate) unmasked: bool,
    /// Only what had rows of patients who could not be told
    #[arg(long)]
    pub(crate) unresolved: bool,
    /// Only what was done under emergency access, or is about one
    #[arg(long)]
    pub(crate) emergency: bool,
    /// Entries that were decided for this purpose
    #[arg(long, value_name = "WORD")]
    pub(crate) purpose: Option<String>,
    /// What this agent did for people, by its login name or id
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
}

/// The classes of statements, as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActionName {
    Connect,
    Read,
    Write,
    Define,
    Execute,
    Transfer,
    Administer,
    Unmask,
    Approve,
    Review,
}

/// What policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decision {
    Allow,
    Deny,
}

/// What a question may take.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct AskLimits {
    /// The most seconds that the archive may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout_s: u64,
    /// The most memory for sorting and grouping, in MiB; nothing is put on disk
    #[arg(long, value_name = "MIB", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(16..))]
    pub(crate) memory_mib: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Tables: events (one row for each patient of an entry; `part = 0` is one for each entry), person_days,
patient_days (both of what is archived). docs/formats/archive.md lists the columns. Only queries are understood;
`has(objects, 'public.patients')` looks into a list.

Examples:
  wardline trail sql \"SELECT person_name, sum(operations) FROM person_days GROUP BY 1 ORDER BY 2 DESC\"
  wardline trail sql \"SELECT decision, count(*) FROM events WHERE part = 0 GROUP BY 1\" --json")]
pub(crate) struct Sql {
    /// The query
    #[arg(value_name = "SELECT")]
    pub(crate) query: String,
    /// Write JSON, one row a line
    #[arg(long, group = "form")]
    pub(crate) json: bool,
    /// Write CSV with a heading
    #[arg(long, group = "form")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) limits: AskLimits,
    #[command(flatten)]
    pub(crate) place: TrailPlace,
}

/// Returns a value's name on the command line.
fn named(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Returns the question, without the patients, whose tokens need the trail's key.
fn question(asked: &Search) -> Question {
    let filter = &asked.filter;
    Question {
        patients: None,
        person: filter.person.clone(),
        resource: filter.resource.clone(),
        relation: filter.relation.clone(),
        kind: filter.kind.map(|kind| kind.kind().name().to_owned()),
        action: filter.action.as_ref().map(named),
        command: filter.command.clone(),
        decision: filter.decision.as_ref().map(named),
        rows_min: filter.rows_min,
        from_us: asked.period.from.map(|at| at.0),
        to_us: asked.period.to.map(|at| at.0),
        unmasked: filter.unmasked,
        unresolved: filter.unresolved,
        emergency: filter.emergency,
        purpose: filter.purpose.clone(),
        agent: filter.agent.clone(),
    }
}

/// Says what is asked, for the record: everything but who the patients are, whom it names by tokens.
fn what(question: &Question, patients: usize, asked: &Search) -> anyhow::Result<String> {
    let mut what = format!("search {}", serde_json::to_string(question)?);
    match patients {
        0 => {}
        1 => what.push_str(" of a patient"),
        count => what.push_str(&format!(" of {count} patients")),
    }
    if asked.open_sealed {
        what.push_str(", sealed values opened");
    }
    if asked.prove.is_some() {
        what.push_str(", with proofs");
    }
    if asked.parquet.is_some() {
        what.push_str(", into a Parquet file");
    }
    Ok(what)
}

/// Runs `wardline trail search`.
pub(crate) fn search(file: &Path, asked: &Search) -> anyhow::Result<ExitCode> {
    check(asked.period)?;
    let patients = identifiers(&asked.filter.patient)?;
    let place = Place::of(file, &asked.place)?;
    let issuers = if patients.is_empty() { Vec::new() } else { issuers(&place, &asked.filter.issuer)? };
    let mut question = question(asked);
    let looked = Looked {
        what: what(&question, patients.len(), asked)?,
        patients: patients.iter().map(|patient| Sensitive(Secret::new(patient.clone()))).collect(),
        issuers: issuers.clone(),
        sealed: asked.open_sealed,
    };
    let reader = open(&place, looked)?;
    if !patients.is_empty() {
        question.patients = Some(sought(&reader, &patients, &issuers)?);
    }
    let archive = Archive::of(&place, None)?;
    let _held = archive.hold(false)?;
    let mut index = archive.index()?;
    index.expire(&reader.tombstones()?);
    let index = there(&archive, index);
    if let Some(folder) = &asked.prove {
        let mut all = Vec::new();
        each(&reader, &archive, &index, &question, asked, |found| {
            all.push(whole(&reader, found)?);
            Ok(())
        })?;
        return answer::write(folder, &reader, &index, &question, &all);
    }
    if let Some(file) = &asked.parquet {
        return parquet(&reader, &archive, &index, &question, asked, file);
    }
    if asked.csv {
        output::line(&CSV_HEADING.join(","));
    }
    let mut count = 0_u64;
    each(&reader, &archive, &index, &question, asked, |found| {
        count += 1;
        print(&reader, found, asked)
    })?;
    if !asked.json && !asked.csv {
        output::line(&format!("{count} entries"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what the patients are called in each year.
fn sought(reader: &Reader, patients: &[String], issuers: &[String]) -> anyhow::Result<Vec<Sought>> {
    let mut all = BTreeSet::new();
    for year in reader.patient_years()? {
        for patient in patients {
            for form in forms(patient) {
                for issuer in issuers {
                    all.insert(Sought { year, token: reader.patient_token(year, issuer, form.as_bytes())? });
                }
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// Leaves out the files that are not there: their entries are read from the segments, and `verify` tells of them.
fn there(archive: &Archive, mut index: ArchiveIndex) -> ArchiveIndex {
    index.manifests.retain(|(_, manifest)| {
        let missing = manifest
            .files
            .iter()
            .map(|file| manifest.file_name(&file.part))
            .find(|name| !archive.folder.join(name).is_file());
        if let Some(name) = &missing {
            eprintln!(
                "wardline: the archive lacks `{name}`, which a manifest names; reading the segments instead"
            );
        }
        missing.is_none()
    });
    index
}

/// Calls with each entry that answers, in the order of the log.
fn each(
    reader: &Reader,
    archive: &Archive,
    index: &ArchiveIndex,
    question: &Question,
    asked: &Search,
    mut found: impl FnMut(Found) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut both = Both::begin(reader, archive, index, question, asked)?;
    let Some(latest) = asked.latest else {
        while let Some(next) = both.next()? {
            found(next)?;
        }
        return both.end();
    };
    let mut last = std::collections::VecDeque::new();
    while let Some(next) = both.next()? {
        last.push_back(next);
        if last.len() > latest {
            last.pop_front();
        }
    }
    both.end()?;
    last.into_iter().try_for_each(found)
}

/// The archive's entries and the others, one behind the other by their indexes.
struct Both<'r> {
    lake: Option<Lake>,
    archived: Option<Found>,
    segments: Segments<'r>,
    behind: Option<Found>,
}

impl<'r> Both<'r> {
    fn begin(
        reader: &'r Reader,
        archive: &Archive,
        index: &ArchiveIndex,
        question: &'r Question,
        asked: &Search,
    ) -> anyhow::Result<Both<'r>> {
        let manifests: Vec<&Manifest> = index.manifests.iter().map(|(_, manifest)| manifest).collect();
        let ask = json!({
            "ask": "search", "question": question, "latest": asked.latest,
            "timeout_s": asked.limits.timeout_s, "memory_mib": asked.limits.memory_mib,
        });
        let lake = if manifests.is_empty() { None } else { Some(archive.run(&manifests, ask)?) };
        let segments = Segments::new(reader, question, index.gaps(u64::MAX))?;
        let mut both = Both { lake, archived: None, segments, behind: None };
        both.archived = both.lake.as_mut().map(Lake::found).transpose()?.flatten();
        both.behind = both.segments.next()?;
        Ok(both)
    }

    fn next(&mut self) -> anyhow::Result<Option<Found>> {
        let first = match (&self.archived, &self.behind) {
            (Some(archived), Some(behind)) => archived.index < behind.index,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if first {
            let next = self.lake.as_mut().map(Lake::found).transpose()?.flatten();
            return Ok(std::mem::replace(&mut self.archived, next));
        }
        let next = if self.behind.is_some() { self.segments.next()? } else { None };
        Ok(std::mem::replace(&mut self.behind, next))
    }

    fn end(self) -> anyhow::Result<()> {
        self.segments.bar.finish_and_clear();
        self.lake.map_or(Ok(()), Lake::end)
    }
}

/// What answers in the ranges that the archive does not hold.
struct Segments<'r> {
    reader: &'r Reader,
    question: &'r Question,
    gaps: std::vec::IntoIter<Range<u64>>,
    gap: Option<(trail::Entries<'r>, u64)>,
    bar: ProgressBar,
}

impl<'r> Segments<'r> {
    fn new(
        reader: &'r Reader,
        question: &'r Question,
        gaps: Vec<Range<u64>>,
    ) -> anyhow::Result<Segments<'r>> {
        let bar =
            ProgressBar::with_draw_target(Some(reader.durable_at_least()?), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("searching what is not archived {bar:30} {percent} %");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Segments { reader, question, gaps: gaps.into_iter(), gap: None, bar })
    }

    fn next(&mut self) -> anyhow::Result<Option<Found>> {
        loop {
            if let Some((entries, end)) = &mut self.gap {
                for entry in entries.by_ref() {
                    let entry = entry?;
                    if entry.index >= *end {
                        break;
                    }
                    if entry.index.is_multiple_of(PROGRESS_STEP) {
                        self.bar.set_position(entry.index);
                    }
                    if self.question.answers(&entry.record) {
                        return Ok(Some(Found::whole(entry)));
                    }
                }
            }
            let Some(gap) = self.gaps.next() else { return Ok(None) };
            self.gap = Some((self.reader.entries(gap.start)?, gap.end));
        }
    }
}

/// Returns all of an entry, of which the archive may have shown a part.
fn whole(reader: &Reader, found: Found) -> anyhow::Result<Found> {
    if found.whole {
        return Ok(found);
    }
    match reader.entries(found.index)?.next().transpose()? {
        Some(entry) if entry.index == found.index => Ok(Found::whole(entry)),
        Some(_) | None => bail!("entry {} is in the archive and not in the segments", found.index),
    }
}

fn print(reader: &Reader, found: Found, asked: &Search) -> anyhow::Result<()> {
    if asked.csv {
        output::line(&csv(&found));
        return Ok(());
    }
    let found = if asked.open_sealed { whole(reader, found)? } else { found };
    let (patients, all) = (found.patients, found.whole);
    let Found { index, time_us, record, .. } = found;
    let entry = Entry { index, time_us, segment: 0, offset: 0, record };
    let opened = if asked.open_sealed { opened(reader, &entry)? } else { None };
    if asked.json {
        let mut value = render::json(&entry, opened.as_ref());
        if let Some(value) = value.as_object_mut().filter(|_| patients > 0) {
            value.insert("patients_count".to_owned(), json!(patients));
        }
        return output::json(&value);
    }
    let mut text = render::text(&entry, opened.as_ref(), Paint::stdout());
    if !all {
        let others = Patients::tokens;
        let shown = entry.record.patients.as_ref().map_or(0, |patients| others(patients).len());
        let more = usize::try_from(patients).unwrap_or(usize::MAX).saturating_sub(shown);
        text.push_str(&format!("\n  and {more} other patients, whom `wardline trail show {index}` names"));
    }
    output::line(&text);
    Ok(())
}

const CSV_HEADING: [&str; 19] = [
    "entry",
    "at",
    "kind",
    "person",
    "person_name",
    "address",
    "resource",
    "action",
    "command",
    "objects",
    "decision",
    "rows",
    "unresolved",
    "patients",
    "result",
    "purpose",
    "agent",
    "sign_in",
    "emergency",
];

fn csv(found: &Found) -> String {
    let record = &found.record;
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let decision = record.verdict.map(|verdict| match verdict {
        model::Verdict::Allow => "allow",
        model::Verdict::Deny => "deny",
    });
    let cells = [
        found.index.to_string(),
        time(Micros(record.at.0)),
        record.kind.name().to_owned(),
        record.person.map(|id| id.to_string()).unwrap_or_default(),
        text(&record.person_name),
        record.address.map(|address| address.to_string()).unwrap_or_default(),
        text(&record.resource),
        record.action.map(|action| action.name().to_owned()).unwrap_or_default(),
        text(&record.command),
        record.objects.join(" "),
        decision.unwrap_or_default().to_owned(),
        number(record.rows),
        number(record.unresolved),
        found.patients.to_string(),
        record.outcome.map(|outcome| outcome.name().to_owned()).unwrap_or_default(),
        text(&record.purpose),
        text(&record.agent),
        text(&record.sign_in),
        number(record.emergency),
    ];
    cells.map(|cell| quoted(&printable(&cell))).join(",")
}

/// Quotes a cell where it has to be; one that a spreadsheet would take for a formula becomes a text.
fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

fn parquet(
    reader: &Reader,
    archive: &Archive,
    index: &ArchiveIndex,
    question: &Question,
    asked: &Search,
    file: &Path,
) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    each(reader, archive, index, question, asked, |found| {
        all.push(whole(reader, found)?);
        Ok(())
    })?;
    let mut lake = archive.run(&[], json!({ "ask": "parquet", "file": std::path::absolute(file)? }))?;
    lake.hand_over(&all)?;
    while lake.line()?.is_some() {}
    lake.end().with_context(|| file.display().to_string())?;
    output::line(&format!("wrote {} entries to {}, not encrypted", all.len(), file.display()));
    Ok(ExitCode::SUCCESS)
}

/// Runs `wardline trail sql`.
pub(crate) fn sql(file: &Path, asked: &Sql) -> anyhow::Result<ExitCode> {
    let place = Place::of(file, &asked.place)?;
    // A query may hold a patient's token, and no identifier; the record holds it as it is.
    let reader = open(&place, Looked::at(format!("sql {}", asked.query)))?;
    let archive = Archive::of(&place, None)?;
    let _held = archive.hold(false)?;
    let mut index = archive.index()?;
    if index.overlaps() {
        bail!("two files of the archive hold the same entries; `wardline verify` says more");
    }
    index.expire(&reader.tombstones()?);
    let index = there(&archive, index);
    let gaps: Vec<(u64, u64)> = index.gaps(u64::MAX).into_iter().map(|gap| (gap.start, gap.end)).collect();
    let (form, manifests): (_, Vec<&Manifest>) = (
        match (asked.json, asked.csv) {
            (true, _) => "json",
            (false, true) => "csv",
            (false, false) => "text",
        },
        index.manifests.iter().map(|(_, manifest)| manifest).collect(),
    );
    let ask = json!({
        "ask": "sql", "query": asked.query, "gaps": gaps, "form": form,
        "timeout_s": asked.limits.timeout_s, "memory_mib": asked.limits.memory_mib,
    });
    let mut lake = archive.run(&manifests, ask)?;
    lake.show()?;
    lake.end()?;
    Ok(ExitCode::SUCCESS)
}
