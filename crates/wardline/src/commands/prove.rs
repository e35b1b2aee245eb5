//! `wardline trail prove` and `wardline verify-proof`: one entry, shown to somebody who has nothing else of the trail.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tlog::{KeyChange, NoteVerifier, OfflineProof, Policy, Succession, leaf_hash};
use trail::{Leaf, Published};

use crate::admin::{Refusal, Refused};
use crate::cli::{Json, TrailPlace};
use crate::commands::place::Place;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "\
The proof holds the entry's leaf (kind, time, blinded commitment), the hashes up to the root, and a signed checkpoint:
the newest that witnesses signed where there is one. It holds nothing of the record's content.

Examples:
  wardline trail prove 1042 --output 1042.tlog-proof
  wardline verify-proof 1042.tlog-proof --policy witnesses.policy")]
pub(crate) struct Prove {
    /// Index of the entry in the log
    index: u64,
    /// Write the proof to a new file instead of standard output; never overwrites
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: TrailPlace,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Reads the proof and nothing else: no trail, no network. Whom to believe comes from you, and not from the proof.

Examples:
  wardline verify-proof 1042.tlog-proof --verifier-key gw1+0f3a1b2c+AQOhB7...
  wardline verify-proof 1042.tlog-proof --policy witnesses.policy --json

Exit codes: 0 proven, 1 not proven, 2 could not run.")]
pub(crate) struct VerifyProof {
    /// File that `wardline trail prove` wrote (C2SP tlog-proof)
    file: PathBuf,
    /// Public key of the log (`name+hash+key`)
    #[arg(long, value_name = "KEY", required_unless_present = "policy")]
    verifier_key: Option<NoteVerifier>,
    /// Folder with the changes of the log's key (`tree/keys` of its trail): for a key that another one followed
    #[arg(long, value_name = "DIR")]
    key_changes: Option<PathBuf>,
    /// Policy file (C2SP tlog-policy): keys of logs, witnesses, and how many of these must have signed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    output: Json,
}

/// Runs `wardline trail prove`.
pub(crate) fn prove(file: &Path, arguments: &Prove) -> anyhow::Result<ExitCode> {
    let place = Place::of(file, &arguments.place)?;
    let published = Published::open(&place.folder)?;
    if let Some(expected) = place.origin.as_ref().filter(|expected| *expected != published.origin()) {
        bail!("{} is the trail of `{}`, not of `{expected}`", place.folder.display(), published.origin());
    }
    let proof = published.prove(arguments.index)?.to_string();
    match &arguments.output {
        None => output::line(proof.trim_end()),
        Some(path) => {
            crate::data::write_new(path, 0o644, proof.as_bytes())
                .with_context(|| format!("{}", path.display()))?;
            output::line(&format!("wrote {}", path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `wardline verify-proof`.
pub(crate) fn verify(arguments: &VerifyProof) -> anyhow::Result<ExitCode> {
    let shown = arguments.file.display();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("{shown}"))?;
    let policy = arguments.policy.as_deref().map(read_policy).transpose()?;
    let changes = arguments.key_changes.as_deref().map_or(Ok(Vec::new()), read_changes)?;
    let (leaf, index, origin, size) =
        judge(&bytes, policy.as_ref(), arguments.verifier_key.as_ref(), &changes)
            .map_err(|reason| Refused(Refusal::new(format!("NOT PROVEN: {reason}"))))?;
    let time = output::time(model::Micros(leaf.time_us));
    let kind = model::Kind::ALL.into_iter().find(|kind| *kind as u8 == leaf.kind).map(model::Kind::name);
    if arguments.output.json {
        output::json(&json!({
            "proven": true, "node": origin, "entry": index, "entries": size, "kind": kind,
            "committed_at": time, "commitment": output::hex(&leaf.commitment),
        }))?;
    } else {
        let kind = kind.unwrap_or("a kind that is not known here");
        output::line(&format!(
            "proven: entry {index} of `{origin}` ({kind}, {time}) is among its first {size}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the changes of a log's key, in order.
fn read_changes(folder: &Path) -> anyhow::Result<Vec<KeyChange>> {
    let mut changes = Vec::new();
    for number in 1.. {
        let path = folder.join(format!("{number:04}"));
        if !path.exists() {
            break;
        }
        let bytes = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
        changes.push(KeyChange::open(&bytes).with_context(|| format!("{}", path.display()))?);
    }
    if changes.is_empty() {
        bail!("{} holds no change of a key", folder.display());
    }
    Ok(changes)
}

/// Reads a policy file.
pub(crate) fn read_policy(path: &Path) -> anyhow::Result<Policy> {
    let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    Policy::parse(&bytes).with_context(|| format!("{}", path.display()))
}

/// Returns the proven leaf, its place, its log and the size of the tree; or why it is not proven.
fn judge(
    bytes: &[u8],
    policy: Option<&Policy>,
    key: Option<&NoteVerifier>,
    changes: &[KeyChange],
) -> Result<(Leaf, u64, String, u64), String> {
    let told = |error: &dyn std::error::Error| Refusal::because(error).message;
    let proof = OfflineProof::parse(bytes).map_err(|error| told(&error))?;
    let leaf = proof.extra.as_deref().ok_or("the proof does not bring its leaf")?;
    let hash = leaf_hash(leaf);
    let leaf = Leaf::decode(leaf).ok_or("the leaf is not one of Wardline's")?;
    let mut known: Vec<NoteVerifier> = key.into_iter().cloned().collect();
    known.extend(policy.iter().flat_map(|policy| policy.logs()).map(|log| log.key.clone()));
    // The origin is that of a known key: what the proof says of itself is not asked.
    let mut reason = "no key of a log is known".to_owned();
    for key in known {
        let log = Succession::new(key.clone(), changes.to_vec()).unwrap_or(Succession::of(key));
        let believed = match policy {
            Some(policy) => policy.open_of(&proof.checkpoint, &log).map_err(|error| told(&error)),
            None => log.from_note(&proof.checkpoint).map_err(|error| told(&error)),
        };
        let proven = believed
            .and_then(|_| proof.verify(&hash, log.origin(), log.keys()).map_err(|error| told(&error)));
        match proven {
            Ok(checkpoint) if leaf.sequence == proof.index => {
                return Ok((leaf, proof.index, log.origin().to_owned(), checkpoint.size()));
            }
            Ok(_) => reason = "the leaf says another place than it has".to_owned(),
            Err(why) => reason = why,
        }
    }
    Err(reason)
}
