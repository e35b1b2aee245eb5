//! `wardline trail …`: reading the trail. That somebody reads it is recorded in it first.

use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::Record;
use serde_json::json;
use trail::{Entries, Entry, Reader};

use crate::admin::{AskedEntries, Refusal, Refused, Reply, Request, Sensitive};
use crate::changes::entries::LOOKED_THROUGH_MAX;
use crate::cli::{Filter, Trail, TrailPlace, View};
use crate::commands::place::Place;
use crate::commands::{archive, configuration, no_such, search};
use crate::config::Config;
use crate::control;
use crate::data::DataFolder;
use crate::output::{self, Paint};
use crate::render::{self, Opened};

/// How often a followed trail is looked at.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);

/// With a filter, how many entries are looked at for each one wanted, at first; then eight times as many, and so on.
const LOOK_BACK: u64 = 8;

/// Runs `wardline trail …`.
pub(crate) fn run(file: &Path, command: &Trail) -> anyhow::Result<ExitCode> {
    match command {
        Trail::Tail { count, follow, filter, view, place } => {
            if let Some(config) = over_the_socket(file, place)? {
                if *follow {
                    bail!("not supported: following the trail over the operators' socket");
                }
                let count = u32::try_from(*count).unwrap_or(u32::MAX);
                return from_server(config, asked_of(None, count, filter, *view));
            }
            let at = Place::of(file, place)?;
            let looked = Looked::at(viewed("tail", filter, *view)).sealed(view.open_sealed);
            let reader = open(&at, looked)?;
            let asked = Tail { count: *count, follow: *follow, filter, view: *view };
            let known = || Names::of(file, place);
            tail(&reader, &asked, known)
        }
        Trail::Show { index, view, place } => {
            if let Some(config) = over_the_socket(file, place)? {
                return from_server(config, asked_of(Some(*index), 1, &Filter::default(), *view));
            }
            let what = format!("show {index}{}", sealed_too(*view));
            let place = Place::of(file, place)?;
            let reader = open(&place, Looked::at(what).sealed(view.open_sealed))?;
            show(&reader, *index, *view)
        }
        Trail::Search(asked) => search::search(file, asked),
        Trail::Sql(asked) => search::sql(file, asked),
        Trail::Archive(arguments) => archive::run(file, arguments),
        Trail::Prove(arguments) => super::prove::prove(file, arguments),
        Trail::Keep(command) => super::keep::trail(file, command),
        Trail::ExportTlog { directory, place, output } => export(file, directory, place, output.json),
    }
}

/// Returns the configuration, if this account reaches the node's trail over the operators' socket alone.
fn over_the_socket(file: &Path, place: &TrailPlace) -> anyhow::Result<Option<Config>> {
    if place.trail.is_some() {
        return Ok(None);
    }
    let config = configuration(file)?;
    let has_socket = config.operators.as_ref().is_some_and(|operators| operators.socket.is_some());
    let closed = DataFolder::at(&config.data).check().is_err();
    Ok(Some(config).filter(|_| has_socket && closed))
}

fn asked_of(index: Option<u64>, count: u32, filter: &Filter, view: View) -> AskedEntries {
    AskedEntries {
        index,
        count,
        person: filter.person.clone(),
        resource: filter.resource.clone(),
        kind: filter.kind.map(|kind| kind.kind().name().to_owned()),
        sealed: view.open_sealed,
        json: view.json,
    }
}

fn from_server(config: Config, asked: AskedEntries) -> anyhow::Result<ExitCode> {
    let reply = control::ask(config, Request::Entries { asked })?.map_err(Refused)?;
    let Reply::Entries { lines, more } = reply else {
        bail!("the server answered something else; use the `wardline` that it runs")
    };
    lines.iter().for_each(|line| output::line(line));
    if more {
        eprintln!("wardline: there may be more than an answer over the socket holds; ask for less at once");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the server is to read for somebody, and how much of it.
pub(crate) struct Wanted<'a> {
    pub(crate) asked: &'a AskedEntries,
    pub(crate) bytes_max: usize,
}

/// Reads entries for somebody else, as they are shown; and tells whether there may be more.
pub(crate) fn served(reader: &Reader, wanted: &Wanted<'_>) -> anyhow::Result<(Vec<String>, bool)> {
    let Wanted { asked, bytes_max } = wanted;
    let shown = |entry: &Entry| -> anyhow::Result<String> {
        let opened = if asked.sealed { opened(reader, entry)? } else { None };
        Ok(match asked.json {
            true => render::json(entry, opened.as_ref()).to_string(),
            false => render::text(entry, opened.as_ref(), Paint::off()),
        })
    };
    if let Some(index) = asked.index {
        let entry = reader.entries(index)?.next().transpose()?.filter(|entry| entry.index == index);
        let entry = entry.with_context(|| format!("there is no entry {index}"))?;
        return Ok((vec![shown(&entry)?], false));
    }
    let kind = match &asked.kind {
        None => None,
        Some(name) => {
            let known = model::Kind::ALL.into_iter().find(|kind| kind.name() == name);
            Some(known.with_context(|| format!("there is no kind `{}`", output::printable(name)))?)
        }
    };
    let filter = Wish { person: &asked.person, resource: &asked.resource, kind };
    let count = usize::try_from(asked.count)?;
    let filtered = asked.person.is_some() || asked.resource.is_some() || kind.is_some();
    let window = if filtered { LOOKED_THROUGH_MAX } else { asked.count.into() };
    let mut found = VecDeque::new();
    let mut first = None;
    for entry in reader.tail(window)? {
        let entry = entry?;
        first.get_or_insert(entry.index);
        if filter.fits(&entry.record) {
            found.push_back(entry);
            if found.len() > count {
                found.pop_front();
            }
        }
    }
    let mut more = filtered && found.len() < count && first.is_some_and(|first| first > 0);
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for entry in found.iter().rev() {
        let line = shown(entry)?;
        bytes += line.len();
        if bytes > *bytes_max && !lines.is_empty() {
            more = true;
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    Ok((lines, more))
}

/// What somebody is about to look at, for the record.
pub(crate) struct Looked {
    /// In words, without anything of a patient.
    pub(crate) what: String,
    /// The patients that are looked for; the record names them as accesses do.
    pub(crate) patients: Vec<Sensitive>,
    /// Whose identifiers these may be.
    pub(crate) issuers: Vec<String>,
    /// Sealed values are opened too, which takes another right.
    pub(crate) sealed: bool,
}

impl Looked {
    /// Something that is not about certain patients.
    pub(crate) fn at(what: impl Into<String>) -> Looked {
        Looked { what: what.into(), patients: Vec::new(), issuers: Vec::new(), sealed: false }
    }

    /// Says whether sealed values are opened.
    pub(crate) fn sealed(self, sealed: bool) -> Looked {
        Looked { sealed, ..self }
    }
}

/// Records that the trail is read, then opens it.
pub(crate) fn open(place: &Place, looked: Looked) -> anyhow::Result<Reader> {
    record_view(place, looked)?;
    let reader = Reader::open_on(Arc::clone(&place.disk), place.needed_key()?)?;
    if let Some(expected) = &place.origin
        && expected != reader.origin()
    {
        bail!("{} is the trail of `{}`, not of `{expected}`", place.folder.display(), reader.origin());
    }
    Ok(reader)
}

fn record_view(place: &Place, looked: Looked) -> anyhow::Result<()> {
    match &place.own {
        Some(config) => {
            let Looked { what, patients, issuers, sealed } = looked;
            let request = Request::TrailView { what, patients, issuers, sealed };
            control::ask(config.clone(), request)?.map(drop).map_err(|refusal| Refused(refusal).into())
        }
        None => {
            eprintln!("wardline: this is a copy; that it is read is recorded nowhere");
            Ok(())
        }
    }
}

fn viewed(verb: &str, filter: &Filter, view: View) -> String {
    let mut what = verb.to_owned();
    let kind = filter.kind.map(|kind| kind.kind().name().to_owned());
    let filters = [("person", &filter.person), ("resource", &filter.resource), ("kind", &kind)];
    for (name, value) in filters {
        if let Some(value) = value {
            what.push_str(&format!(" {name} {value}"));
        }
    }
    what.push_str(sealed_too(view));
    what
}

fn sealed_too(view: View) -> &'static str {
    if view.open_sealed { ", sealed values opened" } else { "" }
}

struct Tail<'a> {
    count: usize,
    follow: bool,
    filter: &'a Filter,
    view: View,
}

/// The names that a filter may mean, where the trail is the node's own.
struct Names {
    people: Vec<String>,
    resources: Vec<String>,
}

impl Names {
    fn of(file: &Path, place: &TrailPlace) -> anyhow::Result<Option<Names>> {
        if place.trail.is_some() {
            return Ok(None);
        }
        let config = configuration(file)?;
        let resources = config.resources.keys().cloned().collect();
        match control::ask(config, Request::UserList {})? {
            Ok(Reply::People(people)) => {
                Ok(Some(Names { people: people.into_iter().map(|person| person.name).collect(), resources }))
            }
            // A registry that cannot be asked says nothing of names.
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Refuses a name that neither the trail nor the node knows: silence would read as "did nothing".
    fn check(&self, filter: &Filter) -> anyhow::Result<()> {
        let filters =
            [("person", &filter.person, &self.people), ("resource", &filter.resource, &self.resources)];
        for (noun, wanted, known) in filters {
            if let Some(name) = wanted.as_ref().filter(|name| !known.contains(name)) {
                let refusal = no_such(noun, name, known.iter().map(String::as_str));
                let message = format!("{}, and the trail has no entry of one", refusal.message);
                return Err(Refused(Refusal { message, ..refusal }).into());
            }
        }
        Ok(())
    }
}

fn tail(
    reader: &Reader,
    asked: &Tail<'_>,
    names: impl FnOnce() -> anyhow::Result<Option<Names>>,
) -> anyhow::Result<ExitCode> {
    let (found, mut entries) = last(reader, asked)?;
    // The deleted are in the trail only, so a name is checked where nothing was found.
    if found.is_empty()
        && asked.count > 0
        && (asked.filter.person.is_some() || asked.filter.resource.is_some())
    {
        names()?.map_or(Ok(()), |names| names.check(asked.filter))?;
    }
    for entry in &found {
        print(reader, entry, asked.view)?;
    }
    if !asked.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        for entry in entries.by_ref() {
            let entry = entry?;
            if matches(&entry.record, asked.filter) {
                print(reader, &entry, asked.view)?;
            }
        }
        std::thread::sleep(FOLLOW_PAUSE);
    }
}

/// Returns the last entries that match, and the iterator behind them.
fn last<'r>(reader: &'r Reader, asked: &Tail<'_>) -> anyhow::Result<(VecDeque<Entry>, Entries<'r>)> {
    let wanted = asked.count;
    let filtered =
        asked.filter.person.is_some() || asked.filter.resource.is_some() || asked.filter.kind.is_some();
    let mut window = u64::try_from(wanted)?.saturating_mul(if filtered { LOOK_BACK } else { 1 });
    loop {
        let mut found = VecDeque::new();
        let mut first = None;
        let mut entries = reader.tail(window)?;
        for entry in entries.by_ref() {
            let entry = entry?;
            first.get_or_insert(entry.index);
            if matches(&entry.record, asked.filter) {
                found.push_back(entry);
                if found.len() > wanted {
                    found.pop_front();
                }
            }
        }
        if found.len() >= wanted || first.is_none_or(|first| first == 0) {
            return Ok((found, entries));
        }
        window = window.saturating_mul(LOOK_BACK);
    }
}

fn matches(record: &Record<'_>, filter: &Filter) -> bool {
    let kind = filter.kind.map(crate::cli::KindName::kind);
    Wish { person: &filter.person, resource: &filter.resource, kind }.fits(record)
}

/// What entries must be to be shown.
struct Wish<'a> {
    person: &'a Option<String>,
    resource: &'a Option<String>,
    kind: Option<model::Kind>,
}

impl Wish<'_> {
    fn fits(&self, record: &Record<'_>) -> bool {
        let is = |wanted: &Option<String>, value: &Option<std::borrow::Cow<'_, str>>| {
            wanted.as_ref().is_none_or(|wanted| value.as_ref().is_some_and(|value| value == wanted))
        };
        is(self.person, &record.person_name)
            && is(self.resource, &record.resource)
            && self.kind.is_none_or(|kind| kind == record.kind)
    }
}

fn show(reader: &Reader, index: u64, view: View) -> anyhow::Result<ExitCode> {
    match reader.entries(index)?.next().transpose()? {
        Some(entry) if entry.index == index => {
            print(reader, &entry, view)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(_) | None => {
            let refusal = Refusal::new(format!("there is no entry {index}"));
            Err(Refused(refusal.help("`wardline trail tail` shows the latest")).into())
        }
    }
}

pub(crate) fn opened(reader: &Reader, entry: &Entry) -> anyhow::Result<Option<Opened>> {
    let whose = || format!("entry {}", entry.index);
    let plain = reader.open_sealed(&entry.record).with_context(whose)?;
    let patients = reader.open_patients(&entry.record).with_context(whose)?;
    if plain.is_none() && patients.is_none() {
        return Ok(None);
    }
    let opened = plain.map(|plain| Opened::read(&plain)).unwrap_or_default();
    Ok(Some(Opened { patients, ..opened }))
}

fn print(reader: &Reader, entry: &Entry, view: View) -> anyhow::Result<()> {
    let opened = if view.open_sealed { opened(reader, entry)? } else { None };
    if view.json {
        return output::json(&render::json(entry, opened.as_ref()));
    }
    output::line(&render::text(entry, opened.as_ref(), Paint::stdout()));
    Ok(())
}

fn export(file: &Path, directory: &Path, arguments: &TrailPlace, json: bool) -> anyhow::Result<ExitCode> {
    let place = Place::of(file, arguments)?;
    let shown = directory.display();
    if directory.exists() && directory.read_dir().with_context(|| format!("{shown}"))?.next().is_some() {
        bail!("{shown} is not empty; name a new folder");
    }
    record_view(&place, Looked::at("export the tree (no records)"))?;
    let leaves = trail::export_tlog(&place.folder, directory)?;
    if json {
        output::json(&json!({ "leaves": leaves, "directory": directory }))?;
    } else {
        output::line(&format!(
            "wrote the tree of {leaves} leaves to {shown}: checkpoint, tile/, verifier.txt"
        ));
        output::line("any verifier of signed notes and tiled logs reads it; it holds no record");
    }
    Ok(ExitCode::SUCCESS)
}
