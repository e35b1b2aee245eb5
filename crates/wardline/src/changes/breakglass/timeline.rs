//! What was done under emergency access, read from the trail for whoever reviews it.
//!
//! Reading it is itself recorded. Statements come without their literals, patients as counts: who they were is for
//! `wardline saw`, which takes the right to open sealed values.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use model::{Kind, Micros, Outcome, PatientToken, Phase, Record};
use registry::Emergency;
use trail::{Entry, Reader};

use super::asked::{OperationView, TimelineView};
use super::{TRAINING_OVERDUE, issuer, quoted};
use crate::admin::{Actor, Refusal, Reply};
use crate::changes::detail;
use crate::commands::patient_forms;
use crate::keep;
use crate::node::{Node, load_root_key};
use crate::output;

/// Operations that are shown; what is more is counted.
const OPERATIONS_MAX: usize = 1_000;
/// An operation that was admitted before the end may be settled so long after it.
const SETTLING_US: u64 = 60_000_000;

impl Node {
    pub(super) async fn emergency_timeline(&self, actor: &Actor, number: u64) -> Result<Reply, Refusal> {
        let emergency = self.known_emergency(number).await?;
        let mut record = self.emergency_record(Kind::TrailViewed, &emergency);
        actor.sign(&mut record);
        let whose = quoted(&emergency.person_name);
        record.detail = Some(detail(&format!("timeline of emergency access {number} of {whose}")));
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        let patient = self.patient_of(&emergency).await?;
        let config = self.config.load_full();
        let root = self.folder.root_key();
        let view = self.emergency_view(&emergency);
        let read = tokio::task::spawn_blocking(move || {
            let reader = Reader::open_on(keep::disk(&config)?, &load_root_key(&root)?)?;
            let forms = patient.map(|patient| patient_forms(&patient));
            let scope = Scope { issuer: issuer(&config, &emergency.resource), forms };
            gather(&reader, &emergency, &scope).context("reading the trail")
        });
        let gathered = read.await.map_err(|error| Refusal::because(&error))?;
        let gathered = gathered.map_err(|error| Refusal::new(format!("{error:#}")))?;
        Ok(Reply::Timeline(Box::new(gathered.view(view))))
    }
}

/// The one patient whom it is about, where it is about one.
struct Scope {
    issuer: String,
    forms: Option<Vec<String>>,
}

impl Scope {
    /// Returns the tokens of the patient in a year; `None` where it is about no single one.
    fn tokens(&self, reader: &Reader, year: u16) -> anyhow::Result<Option<BTreeSet<PatientToken>>> {
        let Some(forms) = &self.forms else { return Ok(None) };
        let tokens = forms.iter().map(|form| reader.patient_token(year, &self.issuer, form.as_bytes()));
        Ok(Some(tokens.collect::<Result<_, _>>()?))
    }
}

/// What the entries of one operation say together.
#[derive(Default)]
struct Operation {
    index: u64,
    at: Micros,
    action: String,
    statement: String,
    outcome: Option<Outcome>,
    rows: u64,
    patients: BTreeSet<PatientToken>,
    others: BTreeSet<PatientToken>,
    unresolved: u64,
    policies: BTreeSet<String>,
}

impl Operation {
    fn take(&mut self, entry: &Entry, scope: Option<&BTreeSet<PatientToken>>) {
        let record = &entry.record;
        if self.policies.is_empty() && self.statement.is_empty() {
            self.index = entry.index;
            self.at = record.at;
            self.action = record.action.map(|action| action.name().to_owned()).unwrap_or_default();
            self.statement =
                record.statement.as_ref().map(|text| output::printable(text)).unwrap_or_default();
        }
        self.policies.extend(record.policies.iter().map(ToString::to_string));
        self.outcome = record.outcome.or(self.outcome);
        self.rows = record.rows.unwrap_or(0).max(self.rows);
        self.unresolved = record.unresolved.unwrap_or(0).max(self.unresolved);
        let named = record.patients.iter().flat_map(|patients| patients.tokens()).copied();
        for token in named {
            self.patients.insert(token);
            if scope.is_some_and(|scope| !scope.contains(&token)) {
                self.others.insert(token);
            }
        }
    }
}

/// All that was done.
struct Gathered {
    scoped: bool,
    sessions: BTreeSet<u128>,
    operations: BTreeMap<(u64, u128, u64), Operation>,
    refused: u64,
    /// The courses that were overdue to whoever took it.
    overdue: Option<String>,
}

fn gather(reader: &Reader, emergency: &Emergency, scope: &Scope) -> anyhow::Result<Gathered> {
    let mut gathered = Gathered {
        scoped: scope.forms.is_some(),
        sessions: BTreeSet::new(),
        operations: BTreeMap::new(),
        refused: 0,
        overdue: None,
    };
    let mut places: BTreeMap<(u128, u64), u64> = BTreeMap::new();
    let mut scopes: BTreeMap<u16, Option<BTreeSet<PatientToken>>> = BTreeMap::new();
    let end = emergency.over.as_ref().map(|(_, _, at, _)| at.0.saturating_add(SETTLING_US));
    for entry in reader.entries(emergency.entry)? {
        let entry = entry?;
        if end.is_some_and(|end| entry.record.at.0 > end) {
            break;
        }
        if entry.record.kind == Kind::EmergencyBegun && entry.record.emergency == Some(emergency.number) {
            gathered.overdue = entry.record.detail.as_deref().and_then(overdue);
        }
        let Some(key) = key(&entry.record, emergency.number) else { continue };
        let year = entry.record.patients.as_ref().map(|patients| patients.year());
        if let Some(year) = year
            && let std::collections::btree_map::Entry::Vacant(place) = scopes.entry(year)
        {
            place.insert(scope.tokens(reader, year)?);
        }
        let scope = year.and_then(|year| scopes.get(&year)).and_then(Option::as_ref);
        gathered.sessions.insert(key.0);
        if entry.record.phase == Some(Phase::Refused) {
            gathered.refused += 1;
        }
        let first = *places.entry(key).or_insert(entry.index);
        gathered.operations.entry((first, key.0, key.1)).or_default().take(&entry, scope);
    }
    Ok(gathered)
}

/// Returns the courses that the entry of its beginning calls overdue. They stand before the reason, which its person wrote.
fn overdue(detail: &str) -> Option<String> {
    let mut parts = detail.splitn(4, "; ").skip(2);
    parts.next()?.strip_prefix(TRAINING_OVERDUE).map(str::to_owned)
}

/// Returns the session and operation of an entry of this emergency access.
fn key(record: &Record<'_>, number: u64) -> Option<(u128, u64)> {
    let of_it = record.kind == Kind::Operation && record.emergency == Some(number);
    of_it.then_some(())?;
    Some((record.session?.0, record.operation?.0))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Gathered {
    fn view(self, emergency: super::EmergencyView) -> TimelineView {
        let all = || self.operations.values();
        let union = |of: fn(&Operation) -> &BTreeSet<PatientToken>| {
            count(all().flat_map(of).collect::<BTreeSet<_>>().len())
        };
        let (patients, others) = (union(|one| &one.patients), union(|one| &one.others));
        let unresolved = all().map(|one| one.unresolved).sum();
        let scoped = self.scoped;
        let shown = self.operations.iter().take(OPERATIONS_MAX).map(|((_, session, _), one)| OperationView {
            index: one.index,
            at: output::time(one.at),
            session: format!("{session:032x}"),
            action: one.action.clone(),
            statement: one.statement.clone(),
            outcome: one.outcome.map_or("under way", Outcome::name).to_owned(),
            rows: one.rows,
            patients: count(one.patients.len()),
            other_patients: scoped.then(|| count(one.others.len())),
            unresolved: one.unresolved,
            policies: one.policies.iter().cloned().collect(),
        });
        let mut timeline = TimelineView {
            emergency,
            operations: shown.collect(),
            not_shown: count(self.operations.len().saturating_sub(OPERATIONS_MAX)),
            sessions: count(self.sessions.len()),
            refused: self.refused,
            rows: all().map(|one| one.rows).sum(),
            patients,
            other_patients: scoped.then_some(others),
            unresolved,
            findings: Vec::new(),
        };
        timeline.findings = findings(&timeline);
        if let Some(courses) = self.overdue {
            timeline.findings.push(format!("training was overdue to whoever took it: {courses}"));
        }
        timeline
    }
}

/// Returns what a reviewer should look at.
fn findings(timeline: &TimelineView) -> Vec<String> {
    let mut findings = Vec::new();
    match timeline.other_patients {
        Some(others) if others > 0 => {
            findings.push(format!("{others} patients other than the one whom it was about"));
        }
        Some(_) => {}
        None if timeline.patients > 1 => {
            findings.push(format!("it was about no single patient; {} were seen", timeline.patients));
        }
        None => {}
    }
    if timeline.unresolved > 0 {
        findings.push(format!("{} rows about patients who are not known", timeline.unresolved));
    }
    if timeline.refused > 0 {
        findings.push(format!("{} operations were refused", timeline.refused));
    }
    if timeline.operations.is_empty() {
        findings.push("nothing was done under it".to_owned());
    }
    findings
}
