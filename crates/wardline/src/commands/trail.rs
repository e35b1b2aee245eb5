//! `wardline trail …`: reading the trail. That somebody reads it is recorded in it first.

use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::Record;
use serde_json::json;
use trail::{Entries, Entry, Reader};

use crate::EXIT_REFUSED;
use crate::admin::Request;
use crate::cli::{Filter, Trail, TrailPlace, View};
use crate::commands::place::Place;
use crate::control;
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
            let reader = open(file, place, &viewed("tail", filter, *view))?;
            tail(&reader, &Tail { count: *count, follow: *follow, filter, view: *view })
        }
        Trail::Show { index, view, place } => {
            let what = format!("show {index}{}", sealed_too(*view));
            let reader = open(file, place, &what)?;
            show(&reader, *index, *view)
        }
        Trail::ExportTlog { directory, place, output } => export(file, directory, place, output.json),
    }
}

/// Records that the trail is read, then opens it.
fn open(file: &Path, arguments: &TrailPlace, what: &str) -> anyhow::Result<Reader> {
    let place = Place::of(file, arguments)?;
    record_view(&place, what)?;
    let reader = Reader::open(&place.folder, place.needed_key()?)?;
    if let Some(expected) = &place.origin
        && expected != reader.origin()
    {
        bail!("{} is the trail of `{}`, not of `{expected}`", place.folder.display(), reader.origin());
    }
    Ok(reader)
}

fn record_view(place: &Place, what: &str) -> anyhow::Result<()> {
    match &place.own {
        Some(config) => {
            let request = Request::TrailView { what: what.to_owned() };
            control::ask(config.clone(), request)?.map(drop).context("the trail is not shown unrecorded")
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

fn tail(reader: &Reader, asked: &Tail<'_>) -> anyhow::Result<ExitCode> {
    let (found, mut entries) = last(reader, asked)?;
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
    let is = |wanted: &Option<String>, value: &Option<std::borrow::Cow<'_, str>>| {
        wanted.as_ref().is_none_or(|wanted| value.as_ref().is_some_and(|value| value == wanted))
    };
    is(&filter.person, &record.person_name)
        && is(&filter.resource, &record.resource)
        && filter.kind.is_none_or(|kind| kind.kind() == record.kind)
}

fn show(reader: &Reader, index: u64, view: View) -> anyhow::Result<ExitCode> {
    match reader.entries(index)?.next().transpose()? {
        Some(entry) if entry.index == index => {
            print(reader, &entry, view)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(_) | None => {
            eprintln!("wardline: there is no entry {index}; `wardline trail tail` shows the latest");
            Ok(ExitCode::from(EXIT_REFUSED))
        }
    }
}

fn print(reader: &Reader, entry: &Entry, view: View) -> anyhow::Result<()> {
    let opened = if view.open_sealed {
        let plain = reader.open_sealed(&entry.record);
        plain.with_context(|| format!("entry {}", entry.index))?.map(|plain| Opened::read(&plain))
    } else {
        None
    };
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
    record_view(&place, "export the tree (no records)")?;
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
