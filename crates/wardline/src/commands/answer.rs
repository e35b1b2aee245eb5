//! Answers that somebody else can check: `wardline trail search --prove DIR` writes one, `wardline verify-answer DIR` checks
//! it, on a machine that has nothing of ours.
//!
//! `docs/formats/answer.md` says what an answer is and what it proves. Deliberately absent: any trust in the folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use model::Kind;
use serde::{Deserialize, Serialize};
use serde_json::json;
use trail::{
    ArchiveIndex, Entry, Found, Leaf, Manifest, Proven, Question, Reader, VerifyOptions, commitment,
};

use crate::EXIT_REFUSED;
use crate::commands::place::Place;
use crate::commands::trail::{Looked, open};
use crate::output::{self, Paint, hex, printable};
use crate::{cli, render};

const ANSWER_FILE: &str = "answer.json";
const CHECKPOINT_FILE: &str = "checkpoint";
const PROOFS_FOLDER: &str = "proofs";
const VERSION: u32 = 1;
/// The longest file of an answer that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What was asked, and what was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    version: u32,
    /// The log's name.
    origin: String,
    /// The log's verifier key, as the answering side says; an auditor holds their own.
    verifier_key: String,
    /// How the log's key changed, each a note that both keys signed: an auditor may hold an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    key_changes: Vec<String>,
    /// The answer is about the entries before this one.
    size: u64,
    question: Question,
    /// The entries that were found.
    entries: Vec<Opening>,
    /// The manifests that were in force, which say where the archive has the entries.
    manifests: Vec<Opening>,
    /// The ranges that were read from the segments instead.
    from_segments: Vec<(u64, u64)>,
}

/// An entry, opened: who has this can make its leaf.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    index: u64,
    time_us: u64,
    /// In hexadecimal.
    salt: String,
    /// The canonical record, in hexadecimal.
    record: String,
}

/// Writes an answer into a new folder.
pub(crate) fn write(
    folder: &Path,
    reader: &Reader,
    index: &ArchiveIndex,
    question: &Question,
    found: &[Found],
) -> anyhow::Result<ExitCode> {
    let shown = folder.display();
    if folder.exists() && folder.read_dir().with_context(|| shown.to_string())?.next().is_some() {
        bail!("{shown} is not empty; name a new folder");
    }
    let proofs = folder.join(PROOFS_FOLDER);
    fs::create_dir_all(&proofs).with_context(|| shown.to_string())?;
    let (note, checkpoint) = reader.checkpoint()?;
    let size = checkpoint.size();
    let salts = reader.salts()?;
    let open = |index: u64, time_us: u64, record: &model::Record<'_>| -> anyhow::Result<Opening> {
        let mut canonical = Vec::new();
        trail::encode(record, &mut canonical)?;
        let salt = salts.of(index).with_context(|| format!("the segment of entry {index} is not there"))?;
        Ok(Opening { index, time_us, salt: hex(&salt), record: hex(&canonical) })
    };
    let prove = |index: u64| -> anyhow::Result<()> {
        let path = proofs.join(format!("{index}.tlog-proof"));
        let proof = reader.prove(index, &note, size)?;
        fs::write(&path, proof.to_string()).with_context(|| path.display().to_string())
    };
    // What came after the checkpoint is not proven yet; the search is asked again in a second.
    let found: Vec<&Found> = found.iter().filter(|found| found.index < size).collect();
    let mut entries = Vec::with_capacity(found.len());
    for found in &found {
        entries.push(open(found.index, found.time_us, &found.record)?);
        prove(found.index)?;
    }
    let mut manifests = Vec::new();
    for (at, _) in index.manifests.iter().filter(|(at, _)| *at < size) {
        let entry = reader.entries(*at)?.next().transpose()?.filter(|entry| entry.index == *at);
        let entry = entry.with_context(|| format!("there is no entry {at}"))?;
        manifests.push(open(*at, entry.time_us, &entry.record)?);
        prove(*at)?;
    }
    let answer = Answer {
        version: VERSION,
        origin: reader.origin().to_owned(),
        verifier_key: reader.verifier_key(),
        key_changes: reader.key_changes()?,
        size,
        question: question.clone(),
        entries,
        manifests,
        from_segments: index.gaps(size).into_iter().map(|gap| (gap.start, gap.end)).collect(),
    };
    let put = |name: &str, text: &str| {
        fs::write(folder.join(name), text).with_context(|| folder.join(name).display().to_string())
    };
    put(CHECKPOINT_FILE, &note.to_string())?;
    put(ANSWER_FILE, &serde_json::to_string_pretty(&answer)?)?;
    output::line(&format!(
        "wrote {} entries with their proofs to {shown}, as of entry {size}; `wardline verify-answer {shown}` checks them",
        answer.entries.len()
    ));
    output::line("the folder holds these records in clear, without their sealed values");
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without a trail: that each entry shown is in the log, at its place, as it was recorded, and answers the question; and
that the manifests shown are, too. Not that no entry was left out: records are encrypted, and nobody without the
keys can tell what is in them.
With a copy of the trail and its key: that the copy is whole, contains the answer's checkpoint, and has no other entry
that answers the question, up to that checkpoint.

Examples:
  wardline verify-answer answer/ --verifier-key 'gw1+1234abcd+...'
  wardline verify-answer answer/ --trail /mnt/copy/trail --root-key root.key --node gw1
  wardline verify-answer answer/ --json

Exit codes: 0 it holds, 1 it does not, 2 could not run.")]
pub(crate) struct VerifyAnswer {
    /// Folder that `trail search --prove` wrote
    #[arg(value_name = "DIR")]
    pub(crate) answer: PathBuf,
    /// Public key that the checkpoint must be signed with (`name+hash+key`)
    #[arg(long, value_name = "KEY")]
    pub(crate) verifier_key: Option<String>,
    #[command(flatten)]
    pub(crate) place: cli::TrailPlace,
    /// Ask the configured node's own trail for what was left out
    #[arg(long, conflicts_with_all = ["trail", "root_key", "node"])]
    pub(crate) own: bool,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is wrong with an answer, if anything.
struct Outcome {
    answer: Answer,
    pinned: bool,
    problem: Option<String>,
    complete: bool,
}

/// Runs `wardline verify-answer`.
pub(crate) fn verify(file: &Path, arguments: &VerifyAnswer) -> anyhow::Result<ExitCode> {
    let read = |name: &str| -> anyhow::Result<Vec<u8>> {
        let path = arguments.answer.join(name);
        let length = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        if length > FILE_BYTES_MAX {
            bail!("{} is larger than an answer may be", path.display());
        }
        fs::read(&path).with_context(|| path.display().to_string())
    };
    let bytes = read(ANSWER_FILE)?;
    let answer: Answer =
        serde_json::from_slice(&bytes).context("the answer is none that this version reads")?;
    if answer.version != VERSION {
        bail!("not supported: an answer of version {}", answer.version);
    }
    let checkpoint = read(CHECKPOINT_FILE)?;
    let mut outcome =
        Outcome { answer, pinned: arguments.verifier_key.is_some(), problem: None, complete: false };
    let key = arguments.verifier_key.clone().unwrap_or_else(|| outcome.answer.verifier_key.clone());
    outcome.problem =
        structure(&outcome.answer, &key, &checkpoint, &read).err().map(|error| format!("{error:#}"));
    if outcome.problem.is_none() && (arguments.own || arguments.place.trail.is_some()) {
        let place = Place::of(file, &arguments.place)?;
        let problem = left_out(&outcome.answer, &place, key, checkpoint)?;
        outcome.complete = problem.is_none();
        outcome.problem = problem;
    }
    outcome.show(arguments.json)?;
    Ok(if outcome.problem.is_none() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

/// Checks what can be checked without keys.
fn structure(
    answer: &Answer,
    key: &str,
    checkpoint: &[u8],
    read: &dyn Fn(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
    let proven =
        Proven::open(checkpoint, &answer.origin, key, &answer.key_changes).context("the checkpoint")?;
    if proven.size() != answer.size {
        bail!("the checkpoint covers {} entries, and the answer says {}", proven.size(), answer.size);
    }
    let mut before = None;
    for opening in &answer.entries {
        if before.is_some_and(|before| before >= opening.index) {
            bail!("entry {} is not in the order of the log", opening.index);
        }
        before = Some(opening.index);
        let record = checked(&proven, opening, read)?;
        if !answer.question.answers(&record) {
            bail!("entry {} does not answer the question", opening.index);
        }
    }
    let mut index = ArchiveIndex::default();
    let mut seen = BTreeSet::new();
    for opening in &answer.manifests {
        let record = checked(&proven, opening, read)?;
        let manifest = record.detail.as_deref().filter(|_| record.kind == Kind::ArchiveManifest);
        let manifest = manifest.and_then(|text| text.parse::<Manifest>().ok());
        let manifest = manifest.with_context(|| format!("entry {} is no manifest", opening.index))?;
        if manifest.end > answer.size || !seen.insert(opening.index) {
            bail!("the manifest of entry {} is not of this answer", opening.index);
        }
        index.take(opening.index, manifest);
    }
    if index.overlaps() || index.manifests.len() != answer.manifests.len() {
        bail!("two manifests hold the same entries");
    }
    let gaps: Vec<(u64, u64)> = index.gaps(answer.size).into_iter().map(|gap| (gap.start, gap.end)).collect();
    if gaps != answer.from_segments {
        bail!(
            "the manifests and what was read from the segments do not make up the entries before {}",
            answer.size
        );
    }
    Ok(())
}

/// Returns the record of an opening whose leaf is in the log.
fn checked(
    proven: &Proven,
    opening: &Opening,
    read: &dyn Fn(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<model::Record<'static>> {
    let at = opening.index;
    let whose = || format!("entry {at}");
    let salt = unhex(&opening.salt).and_then(|salt| <[u8; 32]>::try_from(salt).ok());
    let (salt, canonical) =
        salt.zip(unhex(&opening.record)).with_context(|| format!("{} is not hexadecimal", whose()))?;
    let record = trail::decode(&canonical).with_context(whose)?;
    let commitment = commitment(&salt, &canonical);
    let leaf = Leaf { kind: record.kind as u8, sequence: at, time_us: opening.time_us, commitment };
    let proof = read(&format!("{PROOFS_FOLDER}/{at}.tlog-proof"))?;
    proven
        .contains(&leaf, &proof)
        .with_context(|| format!("{} is not proven to be in the log as it is shown", whose()))?;
    Ok(record)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.0.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if pairs.1.is_empty() { bytes.collect() } else { None }
}

/// Checks a copy of the trail with its key, and asks it the question again. Returns what the answer is wrong about.
fn left_out(
    answer: &Answer,
    place: &Place,
    key: String,
    checkpoint: Vec<u8>,
) -> anyhow::Result<Option<String>> {
    let options = VerifyOptions {
        verifier_key: Some(key),
        checkpoint: Some(checkpoint),
        root_key: Some(place.needed_key()?),
        ..VerifyOptions::default()
    };
    let report = trail::verify_on(&*place.disk, options)?;
    if let Some(finding) = report.findings.first() {
        return Ok(Some(format!("the trail is damaged: {}", finding.damage)));
    }
    let looked = format!(
        "verify-answer {}",
        serde_json::to_string(&Question { patients: None, ..answer.question.clone() })?
    );
    let reader = open(place, Looked::at(looked))?;
    let bar = ProgressBar::with_draw_target(Some(answer.size), ProgressDrawTarget::stderr());
    let mut shown = answer.entries.iter().map(|opening| opening.index).peekable();
    for entry in reader.entries(0)? {
        let Entry { index, record, .. } = entry?;
        if index >= answer.size {
            break;
        }
        bar.set_position(index);
        let is_shown = shown.next_if_eq(&index).is_some();
        if answer.question.answers(&record) != is_shown {
            bar.finish_and_clear();
            return Ok(Some(format!("entry {index} answers the question and is not in the answer")));
        }
    }
    bar.finish_and_clear();
    Ok(None)
}

impl Outcome {
    fn show(&self, as_json: bool) -> anyhow::Result<()> {
        let answer = &self.answer;
        if as_json {
            return output::json(&json!({
                "holds": self.problem.is_none(), "problem": self.problem, "complete": self.complete,
                "node": answer.origin, "size": answer.size, "entries": answer.entries.len(),
                "manifests": answer.manifests.len(), "key_pinned": self.pinned,
            }));
        }
        let paint = Paint::stdout();
        if let Some(problem) = &self.problem {
            output::line(&paint.bad(&format!("NOT PROVEN: {}", printable(problem))));
            return Ok(());
        }
        let pinned = if self.pinned {
            ""
        } else {
            " (signed with the key in the answer; --verifier-key compares with yours)"
        };
        output::line(&format!(
            "{} entries of `{}` are in the log as of entry {}{pinned}",
            answer.entries.len(),
            printable(&answer.origin),
            answer.size
        ));
        let said = if self.complete {
            paint.good("complete: no other entry up to there answers the question")
        } else {
            "not checked: whether entries were left out; that takes a copy of the trail and its key"
                .to_owned()
        };
        output::line(&said);
        for opening in &answer.entries {
            let record = unhex(&opening.record).and_then(|record| trail::decode(&record).ok());
            let Some(record) = record else { continue };
            let entry =
                Entry { index: opening.index, time_us: opening.time_us, segment: 0, offset: 0, record };
            output::line(&render::text(&entry, None, paint));
        }
        Ok(())
    }
}
