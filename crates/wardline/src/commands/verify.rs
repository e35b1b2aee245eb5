//! `wardline verify`: is the trail whole? Says the first bad entry and the kind of damage.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tlog::Policy;
use trail::{Damage, DamageKind, Error, Finding, Report, SealError, VerifyOptions};

use crate::EXIT_REFUSED;
use crate::cli::Verify;
use crate::commands::archive;
use crate::commands::place::Place;
use crate::commands::prove::read_policy;
use crate::config::Config;
use crate::keep;
use crate::output::{self, Paint, printable};

/// The level from which the key is needed: the archive is compared with the log.
const LEVEL_ARCHIVE: u8 = 4;
/// The level at which records are decrypted.
const LEVEL_RECORDS: u8 = 5;

/// Checks, and reports.
pub(crate) fn run(file: &Path, arguments: &Verify) -> anyhow::Result<ExitCode> {
    let place = Place::of(file, &arguments.place)?;
    let deep = !arguments.tree_only && arguments.level.is_none_or(|level| level >= LEVEL_ARCHIVE);
    if arguments.level.is_some_and(|level| level >= LEVEL_ARCHIVE) {
        place.needed_key()?;
    }
    let root_key = place.root_key.as_ref().filter(|_| deep);
    let held = arguments.checkpoint.as_deref().map(|path| {
        std::fs::read(path).with_context(|| format!("reading the checkpoint {}", path.display()))
    });
    let policy = arguments.policy.as_deref().map(read_policy).transpose()?;
    let bar = progress(arguments.json);
    let mut show = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let options = VerifyOptions {
        verifier_key: arguments.verifier_key.clone().or_else(|| policy_key(policy.as_ref(), &place)),
        checkpoint: held.transpose()?,
        policy: policy.as_ref(),
        root_key,
        tree_only: arguments.tree_only,
        progress: Some(&mut show),
        ..VerifyOptions::default()
    };
    let verified = trail::verify_on(&*place.disk, options);
    bar.finish_and_clear();
    let mut result = match verified {
        Ok(report) => Checked {
            level: level(arguments, root_key.is_some()),
            report: Some(report),
            damage: Vec::new(),
            expected_origin: None,
            archived: None,
        },
        Err(error) => Checked {
            level: 1,
            report: None,
            damage: vec![damage_or_fail(error, &place)?],
            expected_origin: None,
            archived: None,
        },
    };
    result.compare_origin(&place);
    if let Some(config) = &place.own {
        result.damage.extend(store_findings(config, &place)?);
    }
    if root_key.is_some() && result.whole() {
        let archive = archive::level_4(&place).context("the archive (level 4)")?;
        result.damage.extend(archive.findings);
        result.archived = Some((archive.files, archive.rows));
    }
    if arguments.json {
        output::json(&result.json())?
    } else {
        result.print()
    }
    Ok(if result.whole() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

/// A policy that names this log pins its key; where the log's name is not known from elsewhere, only a policy of one log.
fn policy_key(policy: Option<&Policy>, place: &Place) -> Option<String> {
    let logs = policy?.logs();
    let own = match &place.origin {
        Some(origin) => logs.iter().find(|log| log.key.name() == origin),
        None => logs.first().filter(|_| logs.len() == 1),
    };
    own.map(|log| log.key.to_string())
}

/// Compares the store with what was sealed. One that cannot be reached is told; it is no damage.
fn store_findings(config: &Config, place: &Place) -> anyhow::Result<Vec<Finding>> {
    let target = keep::open_store(&keep::place(config))?;
    match trail::check_store(&*place.disk, &*target.store(), false) {
        Ok(findings) => Ok(findings),
        Err(error @ (SealError::Store(_) | SealError::Other { .. })) => {
            eprintln!("wardline: the store was not looked at: {error}");
            Ok(Vec::new())
        }
        Err(SealError::Trail(Error::Damaged(damage))) => Ok(vec![Finding { level: 3, damage }]),
        Err(SealError::Trail(error)) => Err(error.into()),
    }
}

fn level(arguments: &Verify, with_key: bool) -> u8 {
    let structural = arguments.level.unwrap_or(3).min(3);
    if with_key { LEVEL_RECORDS } else { structural.max(3) }
}

fn progress(json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "verifying {bar:40} {human_pos}/{human_len} entries, {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// Tells damage that keeps the checks from being made apart from reasons that are not the trail's.
fn damage_or_fail(error: Error, place: &Place) -> anyhow::Result<Finding> {
    let has_rest = place.folder.join("segments").is_dir() || place.folder.join("tree").is_dir();
    let lacks_key = !place.folder.join("verifier.txt").exists();
    let damage = match error {
        Error::Damaged(damage) => damage,
        _ if has_rest && lacks_key => {
            Damage { file: "verifier.txt".to_owned(), offset: None, index: None, kind: DamageKind::Missing }
        }
        Error::RootKey { .. } | Error::KeyLost { .. } | Error::Option { .. } | Error::Io { .. } => {
            return Err(error.into());
        }
        error => bail!("the trail cannot be checked: {error}"),
    };
    Ok(Finding { level: 1, damage })
}

/// What came out, whether or not the checks could be made to the end.
struct Checked {
    level: u8,
    report: Option<Report>,
    damage: Vec<Finding>,
    /// The node whose trail it should be, when it is not.
    expected_origin: Option<String>,
    /// Files and rows of the archive that were compared with the log.
    archived: Option<(usize, u64)>,
}

impl Checked {
    /// A trail of another node is not the one that was asked about, however whole it is.
    fn compare_origin(&mut self, place: &Place) {
        if let (Some(expected), Some(report)) = (&place.origin, &self.report)
            && *expected != report.origin
        {
            self.expected_origin = Some(expected.clone());
        }
    }

    fn findings(&self) -> Vec<&Finding> {
        self.report.iter().flat_map(|report| &report.findings).chain(&self.damage).collect()
    }

    fn whole(&self) -> bool {
        self.report.is_some() && self.expected_origin.is_none() && self.findings().is_empty()
    }

    fn json(&self) -> serde_json::Value {
        let findings = self.findings();
        let shown: Vec<_> = findings
            .iter()
            .map(|Finding { level, damage }| {
                json!({
                    "level": level, "kind": damage.kind.name(), "file": damage.file,
                    "offset": damage.offset, "entry": damage.index,
                })
            })
            .collect();
        let mut value = json!({
            "whole": self.whole(), "level": self.level, "expected_node": self.expected_origin,
            "first_bad_entry": findings.iter().find_map(|finding| finding.damage.index),
            "findings": shown,
            "archive_files": self.archived.map(|(files, _)| files),
            "archive_rows": self.archived.map(|(_, rows)| rows),
        });
        if let (Some(report), Some(object)) = (&self.report, value.as_object_mut()) {
            object.insert("node".to_owned(), json!(report.origin));
            object.insert("verifier_key".to_owned(), json!(report.verifier_key));
            object.insert("key_pinned".to_owned(), json!(report.key_pinned));
            object.insert("key_changes".to_owned(), json!(report.key_changes));
            object.insert("entries".to_owned(), json!(report.size));
            object.insert("root".to_owned(), json!(report.root.to_string()));
            object.insert("witnessed_entries".to_owned(), json!(report.witnessed));
            object.insert("frames".to_owned(), json!(report.frames));
            object.insert("records_decrypted".to_owned(), json!(report.records));
            object.insert("node_starts".to_owned(), json!(report.starts));
            object.insert("starts_without_stop".to_owned(), json!(report.crashes));
            object.insert("explained_silences".to_owned(), json!(report.explained_silences));
            object.insert("records_after_checkpoint".to_owned(), json!(report.tail.records));
            object.insert("expired".to_owned(), json!(report.expired));
            object.insert("expired_and_held".to_owned(), json!(report.held));
            let stones = report.tombstones.iter().map(|stone| {
                json!({"tombstone": stone.index, "month": stone.month, "first": stone.first, "end": stone.end})
            });
            object.insert("tombstones".to_owned(), stones.collect());
            object.insert("torn_bytes".to_owned(), json!(report.tail.torn_bytes));
        }
        value
    }

    fn print(&self) {
        let paint = Paint::stdout();
        if let Some(report) = &self.report {
            print_report(report, self.level, paint);
        }
        if let Some((files @ 1.., rows)) = self.archived {
            output::line(&format!(
                "{} {files} parts with {rows} rows compared with the log",
                paint.dim(&format!("{:<10}", "archive"))
            ));
        }
        if let Some(expected) = &self.expected_origin {
            output::line(&paint.bad(&format!("DAMAGED: this is not the trail of `{expected}`")));
        }
        let findings = self.findings();
        if self.whole() {
            output::line(
                &paint.good("whole: nothing below the checkpoint was altered, dropped, reordered or cut off"),
            );
        }
        let Some(first) = findings.first() else { return };
        output::line(&paint.bad(&format!("DAMAGED: {}", printable(&first.damage.to_string()))));
        for finding in findings.iter().skip(1) {
            output::line(&format!(
                "  also: {} (level {})",
                printable(&finding.damage.to_string()),
                finding.level
            ));
        }
        output::line("keep the folder as it is, and compare it with a copy or a checkpoint held elsewhere");
    }
}

fn print_report(report: &Report, level: u8, paint: Paint) {
    let pinned = if report.key_pinned {
        "given by you"
    } else {
        "the folder's own; --verifier-key compares with one held elsewhere"
    };
    let rows = [
        ("trail of", printable(&report.origin)),
        ("key", format!("{} ({pinned}){}", printable(&report.verifier_key), changes(report))),
        ("checkpoint", format!("{} entries, root {}", report.size, report.root)),
        ("checked", checked(report, level)),
        ("starts", starts(report)),
        ("after it", after(report)),
    ];
    let stones = report.tombstones.iter().map(|stone| {
        let (first, last) = (stone.first, stone.end - 1);
        (
            "expired",
            format!(
                "{}: entries {first} to {last}, under tombstone {}, {} held",
                stone.month, stone.index, stone.held
            ),
        )
    });
    for (label, value) in rows.into_iter().chain(stones) {
        output::line(&format!("{} {value}", paint.dim(&format!("{label:<10}"))));
    }
}

fn changes(report: &Report) -> String {
    match report.key_changes {
        0 => String::new(),
        1 => ", one change of key followed".to_owned(),
        more => format!(", {more} changes of key followed"),
    }
}

fn checked(report: &Report, level: u8) -> String {
    let base =
        format!("signature, {} leaves against the root, {} frames in a chain", report.leaves, report.frames);
    match level {
        LEVEL_RECORDS => {
            format!("{base}, {} records decrypted and compared with their leaves", report.records)
        }
        _ => format!("{base} (records not decrypted)"),
    }
}

fn starts(report: &Report) -> String {
    match report.crashes {
        0 => format!("{}, each after an orderly stop", report.starts),
        crashes => format!("{}, {crashes} of them without a stop before: a crash or a kill", report.starts),
    }
}

fn after(report: &Report) -> String {
    let torn = report.tail.torn_bytes;
    let records = report.tail.records;
    match (records, torn) {
        (0, 0) => "nothing".to_owned(),
        (records, 0) => format!("{records} records, durable but not signed for yet"),
        (records, torn) => {
            format!("{records} records not signed for yet, {torn} bytes of an unfinished frame")
        }
    }
}
