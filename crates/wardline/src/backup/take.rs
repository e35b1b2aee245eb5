//! Makes a backup: what the last one has and cannot have changed is taken over, the rest is read and put.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use trail::{Copying, Disk, Folder, Store, WithStore, sha256};

use super::{Cipher, FORMAT, Found, Log, Manifest, Part, backups, find, publish, put_part};
use crate::admin::{Refused, Reply, Request};
use crate::config::{Certificate, Config, UpstreamTls};
use crate::data::DataFolder;
use crate::node::load_root_key;
use crate::output::{self, hex};
use crate::{control, exports, keep};

/// What was made.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) found: Found,
    /// Bytes that were put, encrypted parts counted by what is in them.
    pub(crate) new_bytes: u64,
    /// How many parts the backup before had already.
    pub(crate) reused: usize,
}

/// Makes a backup of the configured node, whether or not its server runs.
pub(crate) fn take(config: &Config, store: &dyn Store, mut say: impl FnMut(&str)) -> anyhow::Result<Taken> {
    let folder = DataFolder::at(&config.data);
    let root = load_root_key(&folder.root_key())?;
    // Before the checkpoint: what was handed over by now is in it.
    let positions = positions(&folder)?;
    let request = Request::BackupBegin { to: store.place() };
    let reply = control::ask(config.clone(), request)?.map_err(Refused)?;
    let Reply::Snapshot { registry, checkpoint, change } = reply else {
        bail!("the server answered something else; use the `wardline` that it runs")
    };
    let previous = match backups(store, Some(&config.node))?.last() {
        Some(name) => Some(find(store, name, None)?.manifest),
        None => None,
    };
    let cipher = Cipher::new(&root, &config.node);
    // What is under an earlier root key is put anew.
    let previous = previous.filter(|manifest| manifest.key_id == cipher.id());
    let mut taking = Taking::new(store, cipher, previous.as_ref());
    // What stands beside the trail first: it is small, and what it was at the beginning.
    taking.file("registry.sqlite", &registry)?;
    taking.settings(config, &folder)?;
    for (name, bytes) in positions {
        taking.bytes(&name, &bytes, false)?;
    }
    let logs = taking.logs(config, &folder, checkpoint.into_bytes(), &mut say)?;
    let made = crate::node::now();
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        node: config.node.clone(),
        made_at: output::time(made),
        made_us: made.0,
        key_id: taking.cipher.id().to_owned(),
        registry_change: change,
        logs,
        parts: taking.parts,
    };
    let trail = Folder::open(&folder.trail())?;
    let (name, digest) = publish(store, &manifest, |text| Ok(trail::sign_text(&trail, &root, text)?))?;
    // Only a copy for this backup: what stays does no harm, and goes away with the next.
    let _stays = std::fs::remove_dir_all(folder.staging());
    let (new_bytes, reused) = (taking.new_bytes, taking.reused);
    let taken = Taken { found: Found { manifest, digest, name }, new_bytes, reused };
    let what = taken.shown(store)?;
    control::ask(config.clone(), Request::BackupEnd { what })?.map_err(Refused)?;
    Ok(taken)
}

impl Taken {
    /// Returns what is recorded of it.
    fn shown(&self, store: &dyn Store) -> anyhow::Result<String> {
        let log = self.found.manifest.log()?;
        Ok(format!(
            "backup {} of {} entries of {}, manifest sha256 {}, to {}",
            self.found.name,
            log.entries,
            log.origin,
            hex(&self.found.digest),
            store.place()
        ))
    }
}

struct Taking<'a> {
    store: &'a dyn Store,
    cipher: Cipher,
    previous: BTreeMap<&'a str, &'a Part>,
    parts: Vec<Part>,
    new_bytes: u64,
    reused: usize,
}

impl<'a> Taking<'a> {
    fn new(store: &'a dyn Store, cipher: Cipher, previous: Option<&'a Manifest>) -> Taking<'a> {
        let parts = previous.iter().flat_map(|manifest| &manifest.parts);
        let previous = parts.map(|part| (part.name.as_str(), part)).collect();
        Taking { store, cipher, previous, parts: Vec::new(), new_bytes: 0, reused: 0 }
    }

    /// Takes a part over from the backup before, if it was complete then.
    fn known(&mut self, name: &str) -> bool {
        let Some(part) = self.previous.get(name).filter(|part| part.complete) else { return false };
        self.parts.push((*part).clone());
        self.reused += 1;
        true
    }

    fn bytes(&mut self, name: &str, plain: &[u8], complete: bool) -> anyhow::Result<()> {
        let digest = hex(&sha256(plain));
        if let Some(part) = self.previous.get(name).filter(|part| part.sha256 == digest) {
            self.parts.push(Part { complete, ..(*part).clone() });
            self.reused += 1;
            return Ok(());
        }
        self.new_bytes += plain.len() as u64;
        self.parts.push(put_part(self.store, &self.cipher, name, plain, complete)?);
        Ok(())
    }

    fn file(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        let plain = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        self.bytes(name, &plain, false)
    }

    /// Vault, certificates, and what the configuration is made of; not the root key, and no credentials of buckets.
    fn settings(&mut self, config: &Config, folder: &DataFolder) -> anyhow::Result<()> {
        if folder.vault().exists() {
            self.file("vault.json", &folder.vault())?;
        }
        if folder.inbound().exists() {
            self.file("inbound.json", &folder.inbound())?;
        }
        for path in files_in(&folder.tls())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.file(&format!("tls/{name}"), &path)?;
        }
        let base = config.file.parent().unwrap_or(Path::new(""));
        self.file("config/wardline.toml", &config.file)?;
        for path in named_files(config) {
            let name = match path.strip_prefix(base) {
                Ok(inside) => format!("config/{}", inside.display()),
                Err(_) => format!("outside/{}", path.display()),
            };
            self.file(&name, &path)?;
        }
        Ok(())
    }

    /// The closed logs and the one that is written.
    fn logs(
        &mut self,
        config: &Config,
        folder: &DataFolder,
        checkpoint: Vec<u8>,
        say: &mut impl FnMut(&str),
    ) -> anyhow::Result<Vec<Log>> {
        let store = keep::open_store(&keep::place(config))?.store();
        let disk = |path: &Path| -> anyhow::Result<Arc<dyn Disk>> {
            let local = Folder::open(path).with_context(|| format!("{}", path.display()))?;
            Ok(Arc::new(WithStore::new(Arc::new(local), Arc::clone(&store))))
        };
        let mut logs = Vec::new();
        for number in 0.. {
            let path = folder.closed_trail(number);
            if !path.exists() {
                break;
            }
            if path.join("verifier.txt").exists() {
                logs.push(self.log(&format!("trail.{number}"), &Copying::begin(disk(&path)?)?, say)?);
            }
        }
        let current = Copying::at(disk(&folder.trail())?, checkpoint)?;
        logs.push(self.log("trail", &current, say)?);
        Ok(logs)
    }

    fn log(&mut self, folder: &str, copying: &Copying, say: &mut impl FnMut(&str)) -> anyhow::Result<Log> {
        let segments = copying.segments()?;
        for (place, part) in segments.iter().enumerate() {
            let name = format!("{folder}/segment/{}", part.number);
            if !self.known(&name) {
                say(&format!("segment {} of {}", place + 1, segments.len()));
                self.bytes(&name, &copying.segment(part.number)?, part.complete)?;
            }
        }
        for number in 0..copying.leaf_parts() {
            let name = format!("{folder}/leaves/{number}");
            if !self.known(&name) {
                let leaves = copying.leaves(number)?;
                let complete = (number + 1) * trail::LEAVES_PER_PART <= copying.size();
                self.bytes(&name, &leaves, complete)?;
            }
        }
        // After the segments: a key is there before what is under it.
        for (file, bytes) in copying.files()? {
            self.bytes(&format!("{folder}/file/{file}"), &bytes, false)?;
        }
        Ok(Log {
            folder: folder.to_owned(),
            origin: copying.origin().to_owned(),
            verifier_key: copying.verifier_key(),
            entries: copying.size(),
            checkpoint: String::from_utf8(copying.checkpoint().to_owned())?,
        })
    }
}

/// Reads how far the receivers of exports are. Restored, they get again what came after, and miss nothing.
fn positions(folder: &DataFolder) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut positions = Vec::new();
    for path in files_in(&exports::positions(folder.path()))? {
        if path.extension().is_some_and(|extension| extension == "position") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            positions.push((format!("export/{name}"), bytes));
        }
    }
    Ok(positions)
}

fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the files that the configuration names: policies, certificates, authorities.
fn named_files(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = config.policies.iter().map(|policy| PathBuf::from(&policy.path)).collect();
    if let Certificate::Files { certificate, key } = &config.listener.certificate {
        files.extend([certificate.clone(), key.clone()]);
    }
    for resource in config.resources.values() {
        if let UpstreamTls::VerifyFull { ca: Some(ca) } = &resource.tls {
            files.push(ca.clone());
        }
    }
    files.sort();
    files.dedup();
    files
}
