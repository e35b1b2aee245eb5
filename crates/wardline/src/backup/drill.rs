//! A restore that is tried: into a folder that is thrown away, up to a node that could serve, with a stopwatch.
//!
//! The node of a drill opens a log of its own, `NODE/drill`: the real one is never signed for. Deliberately absent:
//! listening, which takes no time, and the other machine that a real disaster asks for.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use model::{Micros, RootKey};
use serde::{Deserialize, Serialize};
use trail::{Folder, Store};

use super::bring::{Bringing, wanted};
use crate::admin::Actor;
use crate::config::{Config, Problem};
use crate::data::{DataFolder, create_private, write_new};
use crate::keep::Begin;
use crate::node::Node;
use crate::output::{self, hex};

const FORMAT: &str = "wardline/drill/v1";
/// First line of what is signed.
const NOTE_TITLE: &str = "wardline restore drill v1";
/// A drill is due once a year.
const AGE_MAX_US: u64 = 365 * 86_400 * 1_000_000;

/// What a drill showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drill {
    pub(crate) format: String,
    pub(crate) node: String,
    pub(crate) by: String,
    pub(crate) at: String,
    pub(crate) at_us: u64,
    pub(crate) from: String,
    pub(crate) backup: String,
    pub(crate) backup_made_at: String,
    pub(crate) backup_age_s: u64,
    pub(crate) manifest_sha256: String,
    pub(crate) log: String,
    pub(crate) entries: u64,
    pub(crate) root: String,
    pub(crate) records_decrypted: u64,
    pub(crate) restored_bytes: u64,
    /// Everything was fetched, put together and verified.
    pub(crate) restore_ms: u64,
    /// And a node was open that could serve.
    pub(crate) service_ms: u64,
}

/// Restores the newest backup into a folder inside `scratch`, which is removed again.
pub(crate) fn rehearse(
    store: &dyn Store,
    node: &str,
    root: &RootKey,
    scratch: &Path,
    mut say: impl FnMut(&str),
) -> anyhow::Result<Drill> {
    let begun = Instant::now();
    let at = crate::node::now();
    let found = wanted(store, Some(node), None, None)?;
    let bringing = Bringing::new(store, root, &found)?;
    let data = scratch.join("data");
    let brought = bringing.data(&data, None, &mut say)?;
    let config = scratch.join("wardline.toml");
    bringing.settings(&config, false)?;
    let restore_ms = millis(begun);
    say("open a node on it");
    open_node(&config, &data)?;
    let log = found.manifest.log()?;
    Ok(Drill {
        format: FORMAT.to_owned(),
        node: node.to_owned(),
        by: Actor::ourselves().shown(),
        at: output::time(at),
        at_us: at.0,
        from: store.place(),
        backup: found.name.clone(),
        backup_made_at: found.manifest.made_at.clone(),
        backup_age_s: at.0.saturating_sub(found.manifest.made_us) / 1_000_000,
        manifest_sha256: hex(&found.digest),
        log: log.origin.clone(),
        entries: brought.report.size,
        root: brought.report.root.to_string(),
        records_decrypted: brought.report.records,
        restored_bytes: found.manifest.bytes(),
        restore_ms,
        service_ms: millis(begun),
    })
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Opens registry, vault, policy and a log on what was restored, and closes them.
fn open_node(config: &Path, data: &Path) -> anyhow::Result<()> {
    let loaded = Config::load(config);
    let problems = loaded.problems;
    let mut config =
        loaded.config.with_context(|| format!("the restored configuration is not valid\n{problems}"))?;
    config.data = data.to_owned();
    config.trail_store.place = None;
    // Never the real one: the backup's copy.
    config.registry = None;
    let folder = DataFolder::at(data);
    // The restored log stays as it is beside the one of the drill.
    let aside = folder.closed_trail(folder.closed_count());
    std::fs::rename(folder.trail(), aside).context("putting the restored log aside")?;
    let lock = folder.lock()?.context("the scratch folder is in use")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = Node::open_as(config, lock, Begin::Rehearsal).await?;
        node.enter_service().await.context("the trail does not record")?;
        node.close().await
    })
}

impl Drill {
    /// Returns the report as people read it, and as it is signed.
    fn text(&self, json_sha256: &str) -> String {
        format!(
            "{NOTE_TITLE}\n\
             node: {}\nby: {}\nat: {}\nbackup: {} in {}\nbackup made: {}, {} before the drill\n\
             log: {}, {} entries, root {}\nverified: {} records decrypted and compared, nothing missing or altered\n\
             restored and verified within: {}\nready to serve within: {}\nreport sha256: {json_sha256}\n",
            self.node,
            self.by,
            self.at,
            self.backup,
            self.from,
            self.backup_made_at,
            seconds(self.backup_age_s.saturating_mul(1000)),
            self.log,
            self.entries,
            self.root,
            self.records_decrypted,
            seconds(self.restore_ms),
            seconds(self.service_ms),
        )
    }

    /// Writes the report, signed by the log's own key, and returns where.
    pub(crate) fn write(&self, folder: &DataFolder, root: &RootKey) -> anyhow::Result<(PathBuf, String)> {
        create_private(&folder.drills())?;
        let json = serde_json::to_vec_pretty(self)?;
        let text = self.text(&hex(&trail::sha256(&json)));
        let note = trail::sign_text(&Folder::open(&folder.trail())?, root, text)?;
        let name = format!("{:020}", self.at_us);
        let path = folder.drills().join(format!("{name}.txt"));
        write_new(&folder.drills().join(format!("{name}.json")), 0o600, &json)?;
        write_new(&path, 0o600, note.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
        Ok((path, note))
    }

    /// Returns what is recorded of it.
    pub(crate) fn shown(&self) -> String {
        format!(
            "drill: backup {} of {} entries restored and verified; ready to serve within {}; {} old",
            self.backup,
            self.entries,
            seconds(self.service_ms),
            seconds(self.backup_age_s.saturating_mul(1000))
        )
    }
}

fn seconds(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..=119 => format!("{s}.{} s", ms % 1000 / 100),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s @ 7_200..=172_799 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// Says that no restore was tried for a year; a report counts only with the signature of the log's key.
pub(crate) fn overdue(folder: &DataFolder, now: Micros) -> Option<Problem> {
    let since = |us: u64| now.0.saturating_sub(us);
    let help = "run `wardline backup` and `wardline drill`";
    match last(folder) {
        Some(at_us) if since(at_us) <= AGE_MAX_US => None,
        Some(at_us) => {
            let message = format!("the last restore drill is {} days old", since(at_us) / 86_400_000_000);
            Some(Problem::warning(folder.drills(), message).help(help))
        }
        None => {
            // The log is as old as its key.
            let begun = std::fs::metadata(folder.trail().join("verifier.txt"))
                .and_then(|file| file.modified())
                .ok()?;
            let begun_us = begun.duration_since(std::time::UNIX_EPOCH).ok()?.as_micros();
            let old = since(u64::try_from(begun_us).ok()?) > AGE_MAX_US;
            old.then(|| Problem::warning(folder.path(), "no restore drill in the last 12 months").help(help))
        }
    }
}

/// Returns when the last drill was, of those whose report holds.
fn last(folder: &DataFolder) -> Option<u64> {
    let entries = std::fs::read_dir(folder.drills()).ok()?;
    let mut times = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "json")
            && let Some(at_us) = signed_time(folder, &path)
        {
            times.push(at_us);
        }
    }
    times.into_iter().max()
}

fn signed_time(folder: &DataFolder, json: &Path) -> Option<u64> {
    let bytes = std::fs::read(json).ok()?;
    let note = std::fs::read(json.with_extension("txt")).ok()?;
    let drill: Drill = serde_json::from_slice(&bytes).ok()?;
    let expected = drill.text(&hex(&trail::sha256(&bytes)));
    let mut keys = vec![folder.trail()];
    keys.extend((0..folder.closed_count()).map(|number| folder.closed_trail(number)));
    keys.iter()
        .any(|log| {
            let key = std::fs::read_to_string(log.join("verifier.txt")).unwrap_or_default();
            trail::signed_text(&note, &key).is_some_and(|text| text == expected)
        })
        .then_some(drill.at_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(at_us: u64) -> Drill {
        Drill {
            format: FORMAT.to_owned(),
            node: "gw1".to_owned(),
            by: "os:root".to_owned(),
            at: output::time(Micros(at_us)),
            at_us,
            from: "/mnt/backup".to_owned(),
            backup: "b".to_owned(),
            backup_made_at: "t".to_owned(),
            backup_age_s: 7_300,
            manifest_sha256: "m".to_owned(),
            log: "gw1".to_owned(),
            entries: 8,
            root: "r".to_owned(),
            records_decrypted: 8,
            restored_bytes: 9,
            restore_ms: 1_234,
            service_ms: 61_000,
        }
    }

    #[test]
    fn a_drill_older_than_a_year_is_a_finding_and_an_unsigned_one_is_none() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path());
        let root = RootKey::new([7; 32]);
        trail::Trail::open(&folder.trail(), &root, trail::Options::new("gw1")).unwrap().close().unwrap();
        let now = crate::node::now();
        let later = Micros(now.0 + AGE_MAX_US + 1_000_000);
        assert!(overdue(&folder, now).is_none(), "a young log needs none yet");
        assert!(overdue(&folder, later).is_some());
        let (path, note) = drill(now.0).write(&folder, &root).unwrap();
        assert!(
            note.contains("ready to serve within: 61.0 s") && note.contains("2 h before the drill"),
            "{note}"
        );
        assert!(overdue(&folder, now).is_none());
        assert!(overdue(&folder, Micros(later.0 - 2_000_000)).is_none());
        assert!(overdue(&folder, later).is_some());
        drill(later.0).write(&folder, &root).unwrap();
        assert!(overdue(&folder, later).is_none());
        // Somebody wrote another date into an old report.
        std::fs::remove_dir_all(folder.drills()).unwrap();
        drill(now.0).write(&folder, &root).unwrap();
        let json = path.with_extension("json");
        let forged =
            std::fs::read_to_string(&json).unwrap().replace(&now.0.to_string(), &later.0.to_string());
        std::fs::write(&json, forged).unwrap();
        assert!(overdue(&folder, later).is_some());
    }
}
