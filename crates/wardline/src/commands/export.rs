//! `wardline export …`: entries into a file for another system, and whether such a file is as it was written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use export::{Checked, Format, Outgoing, Shown, Written};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use trail::Reader;

use crate::EXIT_REFUSED;
use crate::admin::Request;
use crate::cli::{Period, TrailPlace};
use crate::commands::place::Place;
use crate::control;
use crate::output::{self, Paint, printable};

/// Entries between two movements of the progress bar.
const PROGRESS_STEP: u64 = 10_000;

/// What can be asked for.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Each file has a digest beside it, FILE.digest, signed with the node's checkpoint key. Streams to a
receiver are configured: [export.NAME] in wardline.toml. That a file is written is itself recorded.

Examples:
  wardline export fhir --from 2026-11-01 --to 2026-12-01 --out november.ndjson
  wardline export atna --out audit.log
  wardline export verify november.ndjson")]
pub(crate) enum Export {
    /// FHIR R4 AuditEvent with the profiles of IHE BALP, one a line
    #[command(after_help = "Example:\n  wardline export fhir --from 2026-11-01 --out november.ndjson")]
    Fhir(ToFile),
    /// The DICOM audit message of IHE ATNA in syslog messages (RFC 5424), one a line
    #[command(after_help = "Example:\n  wardline export atna --from 2026-11-01 --out november.log")]
    Atna(ToFile),
    /// OCSF, one event a line
    #[command(after_help = "Example:\n  wardline export ocsf --from 2026-11-01 --out november.json")]
    Ocsf(ToFile),
    /// CloudEvents 1.0 in JSON, one a line
    #[command(after_help = "Example:\n  wardline export cloudevents --from 2026-11-01 --out november.json")]
    Cloudevents(ToFile),
    /// Tell whether a file is as it was written
    #[command(after_help = "\
Examples:
  wardline export verify november.ndjson
  wardline export verify november.ndjson --verifier-key \"$(cat gw1-verifier.txt)\"

Exit codes: 0 it is, 1 it is not, 2 could not run.")]
    Verify(Verify),
}

/// Which entries, and where to.
#[derive(Debug, Args)]
pub(crate) struct ToFile {
    /// File to write; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    period: Period,
    /// Name patients by their identifiers, in clear, instead of by tokens
    #[arg(long)]
    identifiers: bool,
    /// Write JSON about what was written
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: TrailPlace,
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The file; its digest is expected beside it
    file: PathBuf,
    /// Verifier key of the node, as in its `verifier.txt`; the configured node's own when left out
    #[arg(long, value_name = "KEY")]
    verifier_key: Option<String>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Runs `wardline export …`.
pub(crate) fn run(file: &Path, command: &Export) -> anyhow::Result<ExitCode> {
    match command {
        Export::Fhir(asked) => to_file(file, Format::Fhir, asked),
        Export::Atna(asked) => to_file(file, Format::Atna, asked),
        Export::Ocsf(asked) => to_file(file, Format::Ocsf, asked),
        Export::Cloudevents(asked) => to_file(file, Format::CloudEvents, asked),
        Export::Verify(asked) => verify(file, asked),
    }
}

fn to_file(file: &Path, format: Format, asked: &ToFile) -> anyhow::Result<ExitCode> {
    if let (Some(from), Some(to)) = (asked.period.from, asked.period.to)
        && from >= to
    {
        bail!("--from is not before --to");
    }
    let patients = if asked.identifiers { Shown::Identifiers } else { Shown::Tokens };
    let place = Place::of(file, &asked.place)?;
    let reader = Reader::open_on(Arc::clone(&place.disk), place.needed_key()?)?;
    if let Some(expected) = &place.origin
        && expected != reader.origin()
    {
        bail!("{} is the trail of `{}`, not of `{expected}`", place.folder.display(), reader.origin());
    }
    let mut outgoing = Outgoing::begin(&asked.out, format, patients)?;
    let written =
        record(&place, format, asked, patients).and_then(|()| fill(&reader, asked.period, &mut outgoing));
    if let Err(error) = written {
        outgoing.discard();
        return Err(error);
    }
    let written = outgoing.finish(&reader)?;
    if asked.json {
        output::json(&described(&asked.out, &written))?;
    } else {
        let path = asked.out.display();
        output::line(&format!("{path}: {} events of {} entries", written.events, written.entries));
        output::line(&format!("SHA-256 {}, signed in {path}.digest", written.sha256));
    }
    Ok(ExitCode::SUCCESS)
}

/// Records that entries leave. Nothing is written that is not recorded before.
fn record(place: &Place, format: Format, asked: &ToFile, patients: Shown) -> anyhow::Result<()> {
    let Some(config) = &place.own else {
        eprintln!("wardline: this is a copy; that it is read is recorded nowhere");
        return Ok(());
    };
    let time = |at: Option<model::Micros>, otherwise: &str| at.map_or(otherwise.to_owned(), output::time);
    let what = format!(
        "file {} as {}, patients by their {}, from {} to {}",
        asked.out.file_name().unwrap_or_default().to_string_lossy(),
        format.name(),
        patients.name(),
        time(asked.period.from, "the beginning"),
        time(asked.period.to, "now"),
    );
    control::ask(config.clone(), Request::ExportFile { what, identifiers: asked.identifiers })?
        .map(drop)
        .context("nothing is handed over unrecorded")
}

fn fill(reader: &Reader, period: Period, outgoing: &mut Outgoing) -> anyhow::Result<()> {
    let bar = ProgressBar::with_draw_target(Some(reader.durable_at_least()?), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("reading the trail {bar:30} {percent} %");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for entry in reader.entries(0)? {
        let entry = entry?;
        if entry.index % PROGRESS_STEP == 0 {
            bar.set_position(entry.index);
        }
        let at = entry.record.at;
        if period.from.is_some_and(|from| at < from) || period.to.is_some_and(|to| at >= to) {
            continue;
        }
        outgoing.add(reader, &entry).with_context(|| format!("entry {}", entry.index))?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn described(path: &Path, written: &Written) -> Value {
    json!({
        "file": path.display().to_string(),
        "events": written.events,
        "entries": written.entries,
        "first": written.first,
        "last": written.last,
        "bytes": written.bytes,
        "sha256": written.sha256,
    })
}

fn verify(file: &Path, asked: &Verify) -> anyhow::Result<ExitCode> {
    let keys = match &asked.verifier_key {
        Some(key) => vec![key.clone()],
        None => own_keys(file)?,
    };
    // A file was signed by the key of its time.
    let mut checked = Checked::NotSigned;
    for key in keys.iter().rev() {
        checked = export::check(&asked.file, key)?;
        if !matches!(checked, Checked::NotSigned) {
            break;
        }
    }
    let (whole, words) = match checked {
        Checked::Whole(facts) => (true, facts.trim_end().replace('\n', ", ")),
        Checked::Altered { expected, found } => {
            (false, format!("it is not the file that was written: expected {expected}; found {found}"))
        }
        Checked::NotSigned => (false, "the digest is not signed by the node's key".to_owned()),
    };
    if asked.json {
        let file = asked.file.display().to_string();
        output::json(&json!({ "file": file, "whole": whole, "words": words }))?;
    } else {
        let paint = Paint::stdout();
        let words = printable(&words);
        output::line(&if whole {
            paint.good(&format!("whole: {words}"))
        } else {
            paint.bad(&format!("ALTERED: {words}"))
        });
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

/// Returns the keys of the node's log, from its first to the one that signs now.
fn own_keys(file: &Path) -> anyhow::Result<Vec<String>> {
    let nowhere = TrailPlace { trail: None, root_key: None, node: None };
    let place = Place::of(file, &nowhere).context("the node's key is not at hand; give --verifier-key")?;
    let published = trail::Published::open(&place.folder)?;
    Ok(published.keys().keys().iter().map(ToString::to_string).collect())
}
