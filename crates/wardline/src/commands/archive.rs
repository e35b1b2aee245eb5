//! `wardline trail archive`: brings entries into the archive, merges its files, and binds both to the log.
//!
//! A file counts once its manifest is in the trail; until then nothing is lost by a crash, because the entries are still
//! where they were, and the next run removes what was left behind.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use trail::{ArchiveIndex, Damage, DamageKind, Finding, Manifest, Reader};

use crate::admin::Request;
use crate::commands::configuration;
use crate::commands::lake::{Archive, Lake};
use crate::commands::place::Place;
use crate::{cli, control, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Each entry comes into one file, sorted by patient and encrypted; a record in the trail names the file and
its digest. Entries stay in the segments, too. What was not archived yet is found by `trail search` all the same.

Examples:
  wardline trail archive
  wardline trail archive --all --compact
  wardline trail archive --json")]
pub(crate) struct ArchiveArguments {
    /// Also what is fewer entries than a file is worth
    #[arg(long)]
    pub(crate) all: bool,
    /// Also merge the files of a month that is not over, however few
    #[arg(long)]
    pub(crate) compact: bool,
    /// The least number of entries that a file is made of
    #[arg(long, value_name = "COUNT", default_value_t = ENTRIES_MIN, conflicts_with = "all")]
    pub(crate) entries_min: u64,
    /// The most entries of a file before it is merged with others
    #[arg(long, value_name = "COUNT", default_value_t = ENTRIES_MAX, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) entries_max: u64,
    /// Folder of the archive; `archive` in the data folder when left out
    #[arg(long, value_name = "DIR")]
    pub(crate) archive: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs `wardline trail archive`.
pub(crate) fn run(file: &Path, arguments: &ArchiveArguments) -> anyhow::Result<ExitCode> {
    let config = configuration(file)?;
    let nowhere = cli::TrailPlace { trail: None, root_key: None, node: None };
    let place = Place::of(file, &nowhere)?;
    let wish = Wish {
        entries_min: if arguments.all { 1 } else { arguments.entries_min },
        entries_max: arguments.entries_max,
        compact: arguments.compact,
    };
    let record = |manifest: &Manifest| {
        let request = Request::ArchiveManifest { manifest: manifest.to_string() };
        control::ask(config.clone(), request)?.context("the files are not in the archive unrecorded")?;
        Ok(())
    };
    let Some(done) = write(&place, arguments.archive.as_deref(), &wish, &record)? else {
        bail!("the archive is being read or written by somebody else; try again when they are done");
    };
    if arguments.json {
        output::json(&done)?;
    } else {
        let Done { archived, merged, files, bytes, waiting, .. } = done;
        output::line(&format!(
            "archived {archived} entries, merged {merged} files; the archive has {files} files, {bytes} bytes; \
             {waiting} entries wait"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// The least number of entries that a file is made of.
    pub(crate) entries_min: u64,
    /// The most entries of a file before it is merged with others.
    pub(crate) entries_max: u64,
    /// Also merge the files of a month that is not over.
    pub(crate) compact: bool,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { entries_min: ENTRIES_MIN, entries_max: ENTRIES_MAX, compact: false }
    }
}

/// What was written, and what there is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Done {
    /// Entries that came into the archive.
    pub(crate) archived: u64,
    pub(crate) files_written: u64,
    pub(crate) rows_written: u64,
    /// Files that were merged away.
    pub(crate) merged: usize,
    /// Files of the archive.
    pub(crate) files: usize,
    /// Their length.
    pub(crate) bytes: u64,
    /// Entries that are not in the archive yet.
    pub(crate) waiting: u64,
}

/// Writes the archive, and records each manifest with `record`; `None` when somebody else has the archive. Blocks.
pub(crate) fn write(
    place: &Place,
    folder: Option<&Path>,
    wish: &Wish,
    record: &dyn Fn(&Manifest) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Done>> {
    let archive = Archive::of(place, folder)?;
    let Some(_held) = archive.hold(true)? else { return Ok(None) };
    let reader = Reader::open_on(Arc::clone(&place.disk), place.needed_key()?)?;
    let mut run = Run { record, archive, reader, files: 0, rows: 0 };
    run.tidy()?;
    let archived = run.write(wish)?;
    let merged = run.merge(wish.compact)?;
    run.tidy()?;
    let index = run.archive.index()?;
    let gaps = index.gaps(run.reader.durable_at_least()?);
    Ok(Some(Done {
        archived,
        files_written: run.files,
        rows_written: run.rows,
        merged,
        files: index.manifests.len(),
        bytes: run.bytes(&index)?,
        waiting: gaps.iter().map(|gap| gap.end - gap.start).sum(),
    }))
}

/// The fewest and the most entries of a file, unless somebody says otherwise.
const ENTRIES_MIN: u64 = 65_536;
const ENTRIES_MAX: u64 = 1 << 20;

struct Run<'a> {
    record: &'a dyn Fn(&Manifest) -> anyhow::Result<()>,
    archive: Archive,
    reader: Reader,
    files: u64,
    rows: u64,
}

impl Run<'_> {
    /// Removes the files that no manifest in the log names.
    fn tidy(&self) -> anyhow::Result<ArchiveIndex> {
        let index = self.archive.refresh(&self.reader)?;
        let manifests: Vec<&Manifest> = index.manifests.iter().map(|(_, manifest)| manifest).collect();
        let mut lake = self.archive.run(&manifests, json!({ "ask": "tidy" }))?;
        while lake.line()?.is_some() {}
        lake.end()?;
        Ok(index)
    }

    fn write(&mut self, wish: &Wish) -> anyhow::Result<u64> {
        let index = self.archive.index()?;
        let stones = self.reader.tombstones()?;
        let mut archived = 0;
        for gap in index.gaps(self.reader.durable_at_least()?) {
            // Of an expired month there is nothing to write; what follows begins behind it.
            let start = stones.iter().map(|stone| stone.end).filter(|end| gap.contains(end)).max();
            let gap = start.unwrap_or(gap.start)..gap.end;
            if stones.iter().any(|stone| stone.first <= gap.start && gap.end <= stone.end) {
                continue;
            }
            let what = json!({
                "ask": "archive", "from": gap.start, "end": gap.end, "entries_max": wish.entries_max,
                "entries_min": wish.entries_min,
            });
            let lake = self.archive.run(&[], what)?;
            archived += self.take(lake)?;
        }
        Ok(archived)
    }

    fn merge(&mut self, eager: bool) -> anyhow::Result<usize> {
        let mut index = self.archive.refresh(&self.reader)?;
        index.expire(&self.reader.tombstones()?);
        let manifests: Vec<&Manifest> = index.manifests.iter().map(|(_, manifest)| manifest).collect();
        let lake = self.archive.run(&manifests, json!({ "ask": "compact", "eager": eager }))?;
        let before = (self.files, self.archive.index()?.manifests.len());
        self.take(lake)?;
        let after = self.archive.refresh(&self.reader)?.manifests.len();
        let made = usize::try_from(self.files - before.0).unwrap_or(0);
        Ok((before.1 + made).saturating_sub(after))
    }

    /// Records the manifest of each file as it is written; returns how many entries are in them.
    fn take(&mut self, mut lake: Lake) -> anyhow::Result<u64> {
        let (mut entries, mut recorded) = (0, 0);
        let before = self.reader.durable_at_least()?;
        while let Some(line) = lake.line()? {
            let text = line.get("manifest").and_then(Value::as_str).unwrap_or_default();
            let manifest: Manifest = text.parse().context("the archive's program wrote no manifest")?;
            (self.record)(&manifest)?;
            recorded += 1;
            self.files += 1;
            self.rows += manifest.rows;
            entries += manifest.end - manifest.first;
            lake.tell("recorded")?;
        }
        lake.end()?;
        self.wait_for_checkpoint(before, recorded)?;
        Ok(entries)
    }

    /// A manifest is in the index once a checkpoint covers it; the server signs one every second. Nobody else records
    /// manifests while the archive is held.
    fn wait_for_checkpoint(&self, from: u64, recorded: usize) -> anyhow::Result<()> {
        for _ in 0..CHECKPOINT_TRIES {
            if self.reader.manifests(from..self.reader.durable_at_least()?)?.len() >= recorded {
                return Ok(());
            }
            std::thread::sleep(CHECKPOINT_PAUSE);
        }
        // The next run finds it.
        Ok(())
    }

    fn bytes(&self, index: &ArchiveIndex) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for (_, manifest) in &index.manifests {
            for file in &manifest.files {
                let path = self.archive.folder.join(manifest.file_name(&file.part));
                bytes += std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
            }
        }
        Ok(bytes)
    }
}

/// How often, and how long between, it is looked whether a checkpoint covers what was recorded.
const CHECKPOINT_TRIES: u32 = 200;
const CHECKPOINT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// What level 4 of `verify` found.
#[derive(Debug, Default)]
pub(crate) struct Level4 {
    pub(crate) findings: Vec<Finding>,
    /// Files and rows that were compared with the log.
    pub(crate) files: usize,
    pub(crate) rows: u64,
}

/// Compares the archive beside a trail with the manifests in its log, and each row with its leaf. A copy of a trail may
/// come without its archive; the node's own may not.
pub(crate) fn level_4(place: &Place) -> anyhow::Result<Level4> {
    let archive = Archive::of(place, None)?;
    if place.own.is_none() && !archive.folder.is_dir() {
        return Ok(Level4::default());
    }
    let _held = archive.hold(false)?;
    let reader = Reader::open_on(Arc::clone(&place.disk), place.needed_key()?)?;
    let mut index = ArchiveIndex::default();
    for (at, manifest) in reader.manifests(0..reader.durable_at_least()?)? {
        index.take(at, manifest);
    }
    index.expire(&reader.tombstones()?);
    let mut result = Level4 { files: index.manifests.len(), ..Level4::default() };
    if index.manifests.is_empty() {
        return Ok(result);
    }
    let finding = |file: &str, index: Option<u64>, kind| Finding {
        level: 4,
        damage: Damage { file: format!("archive/{file}"), offset: None, index, kind },
    };
    if index.overlaps() {
        result.findings.push(finding("index", None, DamageKind::Archive));
    }
    let manifests: Vec<&Manifest> = index.manifests.iter().map(|(_, manifest)| manifest).collect();
    let mut lake = archive.run(&manifests, json!({ "ask": "verify" }))?;
    while let Some(line) = lake.line()? {
        result.rows = line.get("rows").and_then(Value::as_u64).unwrap_or(result.rows);
        let Some(file) = line.get("file").and_then(Value::as_str) else { continue };
        let problem = line.get("problem").and_then(Value::as_str).unwrap_or_default();
        let kind = match problem {
            problem if problem.contains("not there") => DamageKind::Missing,
            problem if problem.contains("leaf") => DamageKind::Commitment,
            _ => DamageKind::Archive,
        };
        result.findings.push(finding(file, line.get("entry").and_then(Value::as_u64), kind));
    }
    lake.end()?;
    Ok(result)
}
