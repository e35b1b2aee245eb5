//! The node's side: each checkpoint in its turn is sent to the witnesses of the policy, and what a quorum signed is
//! published beside the tree. A quorum that is missing for too long is an incident, and so is a witness that saw another
//! history. No session ever waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use model::{Kind, Record};
use tlog::{CosignatureVerifier, Policy, Signature, SignedNote, Submission};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use trail::{Published, SignedCheckpoint};

use super::client::{Address, Answered};
use crate::config::Config;
use crate::data::DataFolder;
use crate::node::Node;
use crate::output;

/// A witness that stands elsewhere says where; the second submission starts from there.
const TRIES_MAX: usize = 3;
/// How often it is looked whether a policy has been configured since.
const IDLE_PAUSE: Duration = Duration::from_secs(10);

/// `[trail.witness]`: whom to ask, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Witnessing {
    pub(crate) policy: Policy,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) interval: Duration,
    pub(crate) alarm_after: Duration,
}

/// Starts the task of `serve`.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut asking = Asking::default();
        loop {
            let Some(witnessing) = node.config.load_full().witnessing.clone() else {
                tokio::time::sleep(IDLE_PAUSE).await;
                continue;
            };
            let round = asking.round(&node, &witnessing).await;
            asking.judge(&node, &witnessing, round).await;
            tokio::time::sleep(witnessing.interval).await;
        }
    })
}

/// Says what is wrong with the witnessed checkpoint of a node, if anything is.
pub(crate) fn standing(config: &Config) -> Option<String> {
    let witnessing = config.witnessing.as_ref()?;
    let place = DataFolder::at(&config.data).trail();
    if !place.exists() {
        return None;
    }
    let witnessed = match Published::open(&place).and_then(|published| published.witnessed()) {
        Ok(Some(witnessed)) => witnessed,
        Ok(None) => return Some("no quorum of witnesses has signed a checkpoint yet".to_owned()),
        Err(error) => return Some(format!("the witnessed checkpoint: {error}")),
    };
    if !witnessing.policy.is_witnessed(&witnessed.note) {
        return Some("the last witnessed checkpoint has no quorum under this policy".to_owned());
    }
    let seen = witnessing.policy.witnesses().iter().filter_map(|witness| witness.key.seen(&witnessed.note));
    let now_s = crate::node::now().0 / 1_000_000;
    let age_s = now_s.saturating_sub(seen.max().unwrap_or(0));
    (age_s > witnessing.alarm_after.as_secs())
        .then(|| format!("the last checkpoint that a quorum of witnesses signed is {age_s} s old"))
}

/// What one round gave.
struct Round {
    reached: bool,
    signed: Vec<String>,
    failed: Vec<String>,
    contradicted: Vec<(String, String)>,
}

/// What one witness gave.
enum Told {
    Signed(Signature),
    /// It saw a history that this log is no continuation of.
    Contradicts(String),
}

/// What is remembered between rounds.
#[derive(Default)]
struct Asking {
    /// The size at which each witness stands, as far as is known.
    stands: BTreeMap<String, u64>,
    /// When a quorum was last there; at first, when the first round began.
    reached_at: Option<Instant>,
    alarmed: bool,
    accused: BTreeSet<String>,
}

impl Asking {
    async fn round(&mut self, node: &Node, witnessing: &Witnessing) -> anyhow::Result<Round> {
        let began = Instant::now();
        self.reached_at.get_or_insert(began);
        let place = node.folder.trail();
        let (published, head) = spawn_blocking(move || -> anyhow::Result<_> {
            let published = Published::open(&place)?;
            let head = published.checkpoint()?;
            Ok((published, head))
        })
        .await??;
        let size = head.checkpoint.size();
        let mut asked = JoinSet::new();
        for witness in witnessing.policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            let address = Address::of(url, witnessing.ca.as_deref());
            let old = self.stands.get(&witness.name).copied().unwrap_or(0).min(size);
            let (name, key) = (witness.name.clone(), witness.key.clone());
            let (published, head) = (published.clone(), head.clone());
            asked.spawn(async move {
                let told = match address {
                    Ok(address) => ask(&address, &key, old, published, &head).await,
                    Err(error) => Err(error),
                };
                (name, told)
            });
        }
        let mut round = Round { reached: false, signed: vec![], failed: vec![], contradicted: vec![] };
        let mut note = head.note;
        while let Some(joined) = asked.join_next().await {
            let (name, told) = joined?;
            match told {
                Ok(Told::Signed(signature)) => {
                    note = note.with_signature(signature)?;
                    self.stands.insert(name.clone(), size);
                    round.signed.push(name);
                }
                Ok(Told::Contradicts(what)) => round.contradicted.push((name, what)),
                Err(error) => round.failed.push(format!("{name}: {error:#}")),
            }
        }
        round.reached = witnessing.policy.is_witnessed(&note);
        if round.reached {
            store(published, note).await?;
            metrics::gauge!("wardline_witnessed_entries").set(precise(size));
        }
        Ok(round)
    }

    /// Tells what has changed, to the operator and to the trail.
    async fn judge(&mut self, node: &Node, witnessing: &Witnessing, round: anyhow::Result<Round>) {
        let round = round.unwrap_or_else(|error| Round {
            reached: false,
            signed: Vec::new(),
            failed: vec![format!("{error:#}")],
            contradicted: Vec::new(),
        });
        metrics::gauge!("wardline_witness_quorum").set(if round.reached { 1.0 } else { 0.0 });
        for name in &round.signed {
            self.accused.remove(name);
        }
        for (name, what) in &round.contradicted {
            if self.accused.insert(name.clone()) {
                metrics::counter!("wardline_witness_contradictions_total").increment(1);
                tracing::error!(witness = name, what, "a witness saw another history of this log");
                incident(node, &format!("the witness `{name}` saw another history of this log: {what}"))
                    .await;
            }
        }
        if round.reached {
            self.reached_at = Some(Instant::now());
            if std::mem::take(&mut self.alarmed) {
                tracing::warn!("the quorum of witnesses is reached again");
                incident(node, "the quorum of witnesses is reached again").await;
            }
            return;
        }
        let missing = self.reached_at.map_or(Duration::ZERO, |at| at.elapsed());
        let (signed, failed) = (round.signed.join(", "), round.failed.join("; "));
        tracing::warn!(signed, failed, "no quorum of witnesses signed the checkpoint");
        if missing >= witnessing.alarm_after && !self.alarmed {
            self.alarmed = true;
            let seconds = missing.as_secs();
            metrics::counter!("wardline_witness_alarms_total").increment(1);
            tracing::error!(
                seconds,
                signed,
                failed,
                "NO QUORUM OF WITNESSES: a rewritten trail might go unnoticed"
            );
            incident(node, &format!("no quorum of witnesses for {seconds} s")).await;
        }
    }
}

/// Asks one witness, from where it stands.
async fn ask(
    address: &Address,
    key: &CosignatureVerifier,
    mut old: u64,
    published: Published,
    head: &SignedCheckpoint,
) -> anyhow::Result<Told> {
    let size = head.checkpoint.size();
    for _ in 0..TRIES_MAX {
        let prover = published.clone();
        let proof = spawn_blocking(move || prover.prove_consistency(old, size)).await??;
        let submission = Submission { old, proof, checkpoint: head.note.clone() };
        match address.submit(submission.to_string()).await? {
            Answered::Lines(lines) => {
                let signed = lines.lines().filter_map(Signature::parse);
                let own = signed.rev().find(|line| key.verify(head.note.text(), line).is_some());
                return own.map(Told::Signed).context("it answered without a right signature of its key");
            }
            Answered::Stands(stands) if stands > size => {
                return Ok(Told::Contradicts(format!(
                    "it has seen {stands} entries, and the log has {size}: entries are missing, or two logs have one name"
                )));
            }
            Answered::Stands(stands) if stands == old && stands == size => {
                return Ok(Told::Contradicts(format!("it has seen another root at {size} entries")));
            }
            Answered::Stands(stands) => old = stands,
            Answered::Inconsistent => {
                return Ok(Told::Contradicts(format!(
                    "the first {old} entries are not those that it has seen"
                )));
            }
        }
    }
    bail!("it stands somewhere else each time")
}

async fn store(published: Published, note: SignedNote) -> anyhow::Result<()> {
    Ok(spawn_blocking(move || published.store_witnessed(&note)).await??)
}

/// A gauge is a floating-point number; a log of 2^53 entries is not to be expected.
fn precise(size: u64) -> f64 {
    u32::try_from(size >> 32).map_or(f64::MAX, |high| f64::from(high) * 4_294_967_296.0)
        + u32::try_from(size & 0xffff_ffff).map_or(0.0, f64::from)
}

async fn incident(node: &Node, what: &str) {
    let mut record = Record::new(Kind::Incident, node.now());
    record.detail = Some(output::clipped(what, crate::node::DETAIL_BYTES_MAX).into());
    if let Err(error) = node.record_urgent(&record).await {
        tracing::error!(%error, "an incident could not be recorded");
    }
}
