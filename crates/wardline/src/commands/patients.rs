//! `wardline who-saw` and `wardline saw`: whose records were reached, and by whom. One pass over the trail.
//!
//! A patient is looked for by the token that the trail's key makes of the identifier; the record of the search names the
//! patient in the same way. Deliberately absent: an index; what is not archived yet is read through.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::BufRead as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{Kind, Micros, Outcome, PatientToken, Record, Secret, Verdict};
use serde_json::{Value, json};
use trail::{Entry, Reader};

use crate::EXIT_REFUSED;
use crate::admin::Sensitive;
use crate::cli::{Period, Saw, WhoSaw};
use crate::commands::place::Place;
use crate::commands::trail::{Looked, open};
use crate::output::{self, Paint, printable, time};

/// How many patients one search takes.
const PATIENTS_MAX: usize = 1_000;
/// Entries between two movements of the progress bar.
const PROGRESS_STEP: u64 = 10_000;

/// What of one operation matters here, as its latest entry says it.
#[derive(Clone, Debug, Default)]
struct Access {
    /// The first of its entries.
    entry: u64,
    at: Micros,
    person: String,
    person_id: Option<String>,
    address: String,
    resource: String,
    purpose: Option<String>,
    /// The other system that told of it; nothing of it was seen here.
    source: Option<String>,
    command: String,
    objects: Vec<String>,
    rows: Option<u64>,
    unresolved: u64,
    unmasked: Vec<String>,
    result: &'static str,
    /// The patients named so far.
    patients: BTreeSet<PatientToken>,
    /// Their identifiers, where they were opened.
    identifiers: BTreeSet<String>,
}

impl Access {
    fn of(entry: &Entry) -> Access {
        let record = &entry.record;
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        Access {
            entry: entry.index,
            at: record.at,
            person: text(&record.person_name),
            person_id: record.person.map(|id| id.to_string()),
            address: record.address.map(|address| address.to_string()).unwrap_or_default(),
            resource: text(&record.resource),
            purpose: record.purpose.as_ref().map(ToString::to_string),
            source: record.source.as_ref().map(ToString::to_string),
            command: text(&record.command),
            objects: record.objects.iter().map(ToString::to_string).collect(),
            ..Access::default()
        }
    }

    /// Takes over what a later entry of the operation says.
    fn follow(&mut self, record: &Record<'_>) {
        self.rows = record.rows.or(self.rows);
        self.unresolved = record.unresolved.unwrap_or(self.unresolved);
        if !record.unmasked.is_empty() {
            self.unmasked = record.unmasked.iter().map(ToString::to_string).collect();
        }
        self.result = match (record.verdict, record.outcome) {
            (Some(Verdict::Deny), _) | (_, Some(Outcome::Refused)) => "refused",
            (_, Some(outcome)) => outcome.name(),
            (_, None) if self.source.is_some() => "not told",
            (_, None) => "under way, or not known",
        };
    }

    fn json(&self) -> Value {
        json!({
            "entry": self.entry,
            "at": time(self.at),
            "person": self.person_id,
            "person_name": self.person,
            "address": self.address,
            "resource": self.resource,
            "purpose": self.purpose,
            "source": self.source,
            "command": self.command,
            "objects": self.objects,
            "rows": self.rows,
            "unresolved": self.unresolved,
            "unmasked": self.unmasked,
            "result": self.result,
        })
    }

    fn row(&self) -> Vec<String> {
        let rows = self.rows.map(|rows| rows.to_string()).unwrap_or_default();
        let cell = |text: &str| printable(text);
        let place = match &self.source {
            Some(source) => format!("{} (reported)", cell(source)),
            None => cell(&self.resource),
        };
        vec![
            format!("#{}", self.entry),
            time(self.at),
            cell(&self.person),
            place,
            cell(&self.command),
            cell(&self.objects.join(", ")),
            cell(self.purpose.as_deref().unwrap_or_default()),
            rows,
            self.result.to_owned(),
        ]
    }
}

const HEADING: [&str; 9] = ["ENTRY", "WHEN", "WHO", "RESOURCE", "WHAT", "OF", "PURPOSE", "ROWS", "RESULT"];

/// Operations by session and number, in the order in which they began.
#[derive(Debug, Default)]
struct Accesses {
    places: HashMap<(u128, u64), usize>,
    all: Vec<Access>,
}

impl Accesses {
    /// Adds what another system told of: an access of one entry.
    fn add_reported(&mut self, entry: &Entry) {
        let mut access = Access::of(entry);
        access.follow(&entry.record);
        self.all.push(access);
    }

    /// Returns the operation of an entry; it begins with this entry where it is `new`.
    fn of(&mut self, entry: &Entry, new: bool) -> Option<&mut Access> {
        let record = &entry.record;
        let key = (record.session?.0, record.operation?.0);
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if !new => return None,
            None => {
                self.places.insert(key, self.all.len());
                self.all.push(Access::of(entry));
                self.all.len() - 1
            }
        };
        let access = self.all.get_mut(place)?;
        access.follow(record);
        Some(access)
    }
}

/// The years of tokens met, and what the patient is called in each.
struct Sought<'r> {
    reader: &'r Reader,
    issuers: &'r [String],
    /// The forms of each patient's identifier.
    patients: Vec<(&'r str, Vec<String>)>,
    tokens: HashMap<u16, HashMap<PatientToken, usize>>,
}

impl Sought<'_> {
    /// Returns which of the patients a record names.
    fn named_in(&mut self, record: &Record<'_>) -> anyhow::Result<Vec<usize>> {
        let Some(patients) = &record.patients else { return Ok(Vec::new()) };
        let year = patients.year();
        if !self.tokens.contains_key(&year) {
            let mut tokens = HashMap::new();
            for (at, (_, forms)) in self.patients.iter().enumerate() {
                for (issuer, form) in self.issuers.iter().flat_map(|i| forms.iter().map(move |f| (i, f))) {
                    tokens.insert(self.reader.patient_token(year, issuer, form.as_bytes())?, at);
                }
            }
            self.tokens.insert(year, tokens);
        }
        let known = self.tokens.get(&year).into_iter().flatten();
        let mut named: Vec<usize> =
            known.filter_map(|(token, at)| patients.names(*token).then_some(*at)).collect();
        named.sort_unstable();
        named.dedup();
        Ok(named)
    }
}

/// Returns the forms that an identifier may have in the trail: as it was written, and as the number or UUID it may be.
pub(crate) fn forms(identifier: &str) -> Vec<String> {
    let mut forms = vec![identifier.to_owned()];
    forms.extend(identifier.parse::<i64>().ok().map(|number| number.to_string()));
    let ty = phi::Type::Uuid;
    let mut uuid = Vec::new();
    if phi::pgtype::canonical(&ty, phi::Format::Text, identifier.as_bytes(), &mut uuid).is_some() {
        forms.extend(String::from_utf8(uuid));
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Runs `wardline who-saw`.
pub(crate) fn who_saw(file: &Path, asked: &WhoSaw) -> anyhow::Result<ExitCode> {
    let patients = identifiers(&asked.patients)?;
    check(asked.period)?;
    let place = Place::of(file, &asked.place)?;
    let issuers = issuers(&place, &asked.issuer)?;
    let what = match patients.len() {
        0 => "who-saw, patients not known".to_owned(),
        1 => "who-saw a patient".to_owned(),
        count => format!("who-saw {count} patients"),
    };
    let looked = Looked {
        what,
        patients: patients.iter().map(|patient| Sensitive(Secret::new(patient.clone()))).collect(),
        issuers: issuers.clone(),
        sealed: false,
    };
    let reader = open(&place, looked)?;
    let sought = patients.iter().map(|patient| (patient.as_str(), forms(patient))).collect();
    let mut sought = Sought { reader: &reader, issuers: &issuers, patients: sought, tokens: HashMap::new() };
    let mut accesses: Vec<Accesses> = patients.iter().map(|_| Accesses::default()).collect();
    let mut searches = vec![0_u64; patients.len()];
    let mut untold = Accesses::default();
    each(&reader, asked.period, |entry| {
        let named = sought.named_in(&entry.record)?;
        for (at, accesses) in accesses.iter_mut().enumerate() {
            match entry.record.kind {
                Kind::Operation => drop(accesses.of(entry, named.contains(&at))),
                Kind::Reported if named.contains(&at) => accesses.add_reported(entry),
                _ if named.contains(&at) => {
                    searches.get_mut(at).into_iter().for_each(|searches| *searches += 1);
                }
                _ => {}
            }
        }
        if entry.record.kind == Kind::Operation {
            untold.of(entry, entry.record.unresolved.is_some());
        }
        Ok(())
    })?;
    let untold = untold.all;
    for ((patient, accesses), searches) in patients.iter().zip(&accesses).zip(searches) {
        if asked.json {
            output::json(&found_json(patient, &accesses.all, searches, asked.period, &untold))?;
        } else {
            show_found(patient, &accesses.all, searches);
        }
    }
    if patients.is_empty() {
        show_untold(&untold, asked.json)?;
    } else if !asked.json {
        say_untold(&untold);
    }
    Ok(ExitCode::SUCCESS)
}

fn people(accesses: &[Access]) -> BTreeSet<&str> {
    accesses.iter().map(|access| access.person.as_str()).collect()
}

fn found_json(patient: &str, accesses: &[Access], searches: u64, period: Period, untold: &[Access]) -> Value {
    json!({
        "patient": patient,
        "from": period.from.map(time),
        "to": period.to.map(time),
        "people": people(accesses),
        "accesses": accesses.iter().map(Access::json).collect::<Vec<_>>(),
        "searches": searches,
        "unresolved": untold_json(untold),
    })
}

fn untold_json(untold: &[Access]) -> Value {
    json!({
        "accesses": untold.len(),
        "rows": untold.iter().map(|access| access.unresolved).sum::<u64>(),
        "people": people(untold),
    })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn show_found(patient: &str, accesses: &[Access], searches: u64) {
    let paint = Paint::stdout();
    let patient = paint.bold(&format!("patient {}", printable(patient)));
    if accesses.is_empty() {
        output::line(&format!("{patient}: nobody"));
    } else {
        let by = counted(people(accesses).len(), "person", "people");
        output::line(&format!("{patient}: {} by {by}", counted(accesses.len(), "access", "accesses")));
        show_accesses(accesses);
    }
    if searches > 0 {
        let searches = counted(usize::try_from(searches).unwrap_or(usize::MAX), "time", "times");
        output::line(&format!("the trail was searched for this patient {searches}"));
    }
}

fn show_accesses(accesses: &[Access]) {
    let heading = HEADING.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(accesses.iter().map(Access::row)).collect();
    output::line(output::table(&rows, Paint::stdout()).trim_end());
}

/// Says that there are accesses of which it is not known whom they were about.
fn say_untold(untold: &[Access]) {
    if untold.is_empty() {
        return;
    }
    let rows: u64 = untold.iter().map(|access| access.unresolved).sum();
    output::line(&format!(
        "besides, {} by {} had {rows} rows whose patient is not known: `wardline who-saw --unresolved` lists them",
        counted(untold.len(), "access", "accesses"),
        counted(people(untold).len(), "person", "people"),
    ));
}

fn show_untold(untold: &[Access], json: bool) -> anyhow::Result<()> {
    if json {
        let accesses: Vec<Value> = untold.iter().map(Access::json).collect();
        return output::json(&json!({ "unresolved": untold_json(untold), "accesses": accesses }));
    }
    if untold.is_empty() {
        output::line("every access in this period is known to be about its patients, or about nobody");
        return Ok(());
    }
    let heading: Vec<String> =
        HEADING.iter().map(|cell| (*cell).to_owned()).chain(["NOT KNOWN".into()]).collect();
    let row = |access: &Access| [access.row(), vec![access.unresolved.to_string()]].concat();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(untold.iter().map(row)).collect();
    output::line(output::table(&rows, Paint::stdout()).trim_end());
    Ok(())
}

/// Runs `wardline saw`.
pub(crate) fn saw(file: &Path, asked: &Saw) -> anyhow::Result<ExitCode> {
    check(asked.period)?;
    let place = Place::of(file, &asked.place)?;
    let opened = if asked.open_sealed { ", sealed values opened" } else { "" };
    let reader =
        open(&place, Looked::at(format!("saw person {}{opened}", asked.person)).sealed(asked.open_sealed))?;
    let mut accesses = Accesses::default();
    let mut patients: HashSet<PatientToken> = HashSet::new();
    each(&reader, asked.period, |entry| {
        let record = &entry.record;
        let is = record.person_name.as_deref() == Some(asked.person.as_str())
            || record.person.is_some_and(|id| id.to_string() == asked.person);
        if record.kind != Kind::Operation || !is {
            return Ok(());
        }
        let Some(access) = accesses.of(entry, true) else { return Ok(()) };
        if let Some(named) = &record.patients {
            access.patients.extend(named.tokens());
            patients.extend(named.tokens());
            if asked.open_sealed {
                let opened =
                    reader.open_patients(record).with_context(|| format!("entry {}", entry.index))?;
                let identifiers = opened.into_iter().flat_map(|opened| opened.identifiers);
                access.identifiers.extend(identifiers.map(|id| String::from_utf8_lossy(&id).into_owned()));
            }
        }
        Ok(())
    })?;
    let accesses = accesses.all;
    if asked.json {
        output::json(&saw_json(asked, &accesses, patients.len()))?;
    } else {
        show_saw(asked, &accesses, patients.len());
    }
    Ok(if accesses.is_empty() { ExitCode::from(EXIT_REFUSED) } else { ExitCode::SUCCESS })
}

fn saw_json(asked: &Saw, accesses: &[Access], patients: usize) -> Value {
    let access = |access: &Access| {
        let mut value = access.json();
        if let Value::Object(fields) = &mut value {
            fields.insert("patients".to_owned(), json!(access.patients.len()));
            let opened = asked.open_sealed.then(|| ("identifiers".to_owned(), json!(access.identifiers)));
            fields.extend(opened);
        }
        value
    };
    json!({
        "person": asked.person,
        "from": asked.period.from.map(time),
        "to": asked.period.to.map(time),
        "patients": patients,
        "unresolved": untold_json(&untold(accesses)),
        "accesses": accesses.iter().map(access).collect::<Vec<_>>(),
    })
}

fn untold(accesses: &[Access]) -> Vec<Access> {
    accesses.iter().filter(|access| access.unresolved > 0).cloned().collect()
}

fn show_saw(asked: &Saw, accesses: &[Access], patients: usize) {
    let person = printable(&asked.person);
    if accesses.is_empty() {
        eprintln!(
            "wardline: the trail has no access by `{person}` in this period; names are exact, as in `user list`"
        );
        return;
    }
    let mut heading: Vec<String> = HEADING.iter().map(|cell| (*cell).to_owned()).collect();
    heading.extend(["PATIENTS".to_owned(), "NOT KNOWN".to_owned()]);
    if asked.open_sealed {
        heading.push("WHOM".to_owned());
    }
    let row = |access: &Access| {
        let mut row = access.row();
        row.extend([access.patients.len().to_string(), access.unresolved.to_string()]);
        if asked.open_sealed {
            let identifiers: Vec<String> = access.identifiers.iter().map(|id| printable(id)).collect();
            row.push(identifiers.join(", "));
        }
        row
    };
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(accesses.iter().map(row)).collect();
    output::line(output::table(&rows, Paint::stdout()).trim_end());
    let of = counted(patients, "patient", "patients");
    output::line(&format!("{}, {of} in all", counted(accesses.len(), "access", "accesses")));
    say_untold(&untold(accesses));
}

/// Returns the identifiers that were asked for: as arguments, or one a line from standard input.
fn identifiers(arguments: &[String]) -> anyhow::Result<Vec<String>> {
    let mut identifiers = Vec::new();
    for argument in arguments {
        if argument != "-" {
            let identifier = argument.trim();
            if identifier.is_empty() {
                bail!("an empty identifier is nobody's");
            }
            identifiers.push(identifier.to_owned());
            continue;
        }
        for line in std::io::stdin().lock().lines() {
            let line = line.context("reading identifiers from standard input")?;
            identifiers.extend((!line.trim().is_empty()).then(|| line.trim().to_owned()));
            if identifiers.len() > PATIENTS_MAX {
                break;
            }
        }
    }
    if identifiers.len() > PATIENTS_MAX {
        bail!("one search takes at most {PATIENTS_MAX} patients; ask in several");
    }
    Ok(identifiers)
}

/// A period that ends before it begins would find nothing, and look like an all-clear.
fn check(period: Period) -> anyhow::Result<()> {
    match (period.from, period.to) {
        (Some(from), Some(to)) if from >= to => bail!("--from is not before --to"),
        _ => Ok(()),
    }
}

/// Returns whose identifiers may be meant: those asked for, or of all the resources that are configured.
fn issuers(place: &Place, asked: &[String]) -> anyhow::Result<Vec<String>> {
    let Some(config) = &place.own else {
        if asked.is_empty() {
            bail!("a copy does not say whose identifiers are meant; give --issuer");
        }
        return Ok(asked.to_vec());
    };
    let mut issuers: BTreeSet<String> = BTreeSet::new();
    for (name, resource) in &config.resources {
        let Some(protection) = resource.protection.as_ref() else { continue };
        issuers.insert(protection.issuer.clone().unwrap_or_else(|| name.clone()));
    }
    // Other systems report patients of theirs, or of the same issuers.
    let sources = config.inbound.iter().flat_map(|inbound| inbound.sources.values());
    issuers.extend(sources.map(|source| source.issuer.clone()));
    if let Some(unknown) = asked.iter().find(|issuer| !issuers.contains(*issuer)) {
        let known: Vec<String> = issuers.into_iter().collect();
        bail!(
            "no resource has patients of the issuer `{}`; the configuration has: {}",
            printable(unknown),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
    }
    if issuers.is_empty() {
        bail!(
            "no resource has a [resource.NAME.phi] section and nobody reports, so that no entry names patients"
        );
    }
    Ok(if asked.is_empty() { issuers.into_iter().collect() } else { asked.to_vec() })
}

/// Calls with every entry of a period, in order.
fn each(
    reader: &Reader,
    period: Period,
    mut entry: impl FnMut(&Entry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let bar = ProgressBar::with_draw_target(Some(reader.durable_at_least()?), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("reading the trail {bar:30} {percent} %");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for found in reader.entries(0)? {
        let found = found?;
        if found.index % PROGRESS_STEP == 0 {
            bar.set_position(found.index);
        }
        if period.from.is_some_and(|from| found.record.at < from) {
            continue;
        }
        if period.to.is_some_and(|to| found.record.at >= to) {
            continue;
        }
        entry(&found)?;
    }
    bar.finish_and_clear();
    Ok(())
}
