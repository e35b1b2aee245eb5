//! Puts a backup together again: in a folder beside its place first, which gets its name when everything was checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use model::RootKey;
use trail::{Assembling, Folder, Report, Store, VerifyOptions, refill, verify_on};

use super::{Cipher, Found, Log, Manifest, backups, find, read_part};
use crate::data::{create_private, write_new};
use crate::output::{self, hex};

/// What is restored, and what with.
pub(crate) struct Bringing<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) root: &'a RootKey,
    pub(crate) found: &'a Found,
    cipher: Cipher,
}

impl std::fmt::Debug for Bringing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bringing").field("found", &self.found.name).finish_non_exhaustive()
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Brought {
    /// The report of `verify` over the log that was written, with the root key.
    pub(crate) report: Report,
    /// Segments that the trail's store had beyond the backup.
    pub(crate) refilled: u64,
}

/// Finds the backup that is meant: the newest, or the one of this name.
pub(crate) fn wanted(
    store: &dyn Store,
    node: Option<&str>,
    name: Option<&str>,
    verifier_key: Option<&str>,
) -> anyhow::Result<Found> {
    let all = backups(store, node)?;
    let place = store.place();
    let name = match name {
        Some(name) => all
            .iter()
            .find(|known| *known == name)
            .with_context(|| format!("there is no backup `{name}` in {place}")),
        None => all.last().with_context(|| format!("there is no whole backup in {place}")),
    };
    find(store, name?, verifier_key)
}

impl<'a> Bringing<'a> {
    /// Begins; refused where the backup is under another root key.
    pub(crate) fn new(
        store: &'a dyn Store,
        root: &'a RootKey,
        found: &'a Found,
    ) -> anyhow::Result<Bringing<'a>> {
        let cipher = Cipher::new(root, &found.manifest.node);
        if found.manifest.key_id != cipher.id() {
            bail!("the backup {} is under another root key than the one that was given", found.name);
        }
        Ok(Bringing { store, root, found, cipher })
    }

    fn manifest(&self) -> &'a Manifest {
        &self.found.manifest
    }

    /// Reads one part.
    pub(crate) fn part(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let part = self.manifest().part(name).with_context(|| format!("the backup has no `{name}`"))?;
        read_part(self.store, &self.cipher, part)
    }

    /// Fills an empty data folder, and checks it. `kept` is where the trail's segments were kept besides.
    pub(crate) fn data(
        &self,
        folder: &Path,
        kept: Option<&dyn Store>,
        say: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Brought> {
        create_private(folder)?;
        for part in &self.manifest().parts {
            let beside = ["registry.sqlite", "vault.json", "inbound.json"].contains(&part.name.as_str())
                || ["tls/", "export/"].iter().any(|folder| part.name.starts_with(folder));
            if beside {
                let path = folder.join(plain_path(&part.name)?);
                let bytes = read_part(self.store, &self.cipher, part)?;
                create_private(path.parent().unwrap_or(folder))?;
                write_new(&path, 0o600, &bytes).with_context(|| format!("writing {}", path.display()))?;
            }
        }
        for log in &self.manifest().logs {
            say(&format!("log {} of {} entries", log.origin, log.entries));
            self.log(folder, log)?;
        }
        let log = self.manifest().log()?;
        let trail = Folder::open(&folder.join(&log.folder))?;
        let refilled = match kept {
            Some(kept) => refill(&trail, kept).context("taking newer segments from the trail's store")?,
            None => 0,
        };
        write_new(&folder.join("root.key"), 0o600, format!("{}\n", hex(self.root.expose())).as_bytes())?;
        say("verify");
        let options = VerifyOptions {
            verifier_key: Some(log.verifier_key.clone()),
            checkpoint: Some(log.checkpoint.clone().into_bytes()),
            root_key: Some(self.root),
            ..VerifyOptions::default()
        };
        let report = verify_on(&trail, options)?;
        if let Some(first) = report.findings.first() {
            bail!("what was restored is damaged: {}", first.damage);
        }
        Ok(Brought { report, refilled })
    }

    fn log(&self, folder: &Path, log: &Log) -> anyhow::Result<()> {
        let path = folder.join(plain_path(&log.folder)?);
        create_private(&path)?;
        let what = format!(
            "restored from the backup of {}, {} entries, manifest sha256 {}",
            self.manifest().made_at,
            log.entries,
            hex(&self.found.digest)
        );
        let disk = Arc::new(Folder::open(&path)?);
        let mut assembling = Assembling::begin(disk, &log.verifier_key, log.checkpoint.as_bytes(), &what)?;
        let named = |kind: &str| {
            let prefix = format!("{}/{kind}/", log.folder);
            self.manifest()
                .parts
                .iter()
                .filter_map(move |part| Some((part, part.name.strip_prefix(&prefix)?.to_owned())))
        };
        for (part, file) in named("file") {
            assembling.file(
                &plain_path(&file)?.display().to_string(),
                &read_part(self.store, &self.cipher, part)?,
            )?;
        }
        let mut segments = Vec::new();
        for (part, number) in named("segment") {
            let number: u64 = number.parse().with_context(|| format!("`{}` of the manifest", part.name))?;
            segments.push((number, part));
        }
        let last = segments.iter().map(|(number, _)| *number).max();
        for (number, part) in segments {
            let bytes = read_part(self.store, &self.cipher, part)?;
            assembling.segment(number, &bytes, last == Some(number))?;
        }
        // Leaves are put in the order of their numbers, whatever the manifest's.
        for number in 0..log.entries.div_ceil(trail::LEAVES_PER_PART) {
            assembling.leaves(&self.part(&format!("{}/leaves/{number}", log.folder))?)?;
        }
        assembling.finish()?;
        Ok(())
    }

    /// Writes the configuration and the files it names, also those `outside` of its folder; what is there already must be
    /// the same.
    pub(crate) fn settings(&self, config: &Path, outside: bool) -> anyhow::Result<()> {
        let base = config.parent().unwrap_or(Path::new(""));
        for part in &self.manifest().parts {
            let path = match (part.name.strip_prefix("config/"), part.name.strip_prefix("outside/")) {
                (Some("wardline.toml"), _) => config.to_owned(),
                (Some(inside), _) => base.join(plain_path(inside)?),
                (None, Some(name)) if outside && name.starts_with('/') => PathBuf::from(name),
                (None, Some(name)) if outside => base.join(name),
                (None, Some(_) | None) => continue,
            };
            let bytes = read_part(self.store, &self.cipher, part)?;
            if path.exists() {
                if std::fs::read(&path).with_context(|| format!("reading {}", path.display()))? == bytes {
                    continue;
                }
                bail!("{} is there already, and is not what the backup has", path.display());
            }
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
            }
            // Keys of certificates are among them.
            write_new(&path, 0o600, &bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Returns where the configuration of a backup has the data folder, seen from where the file goes.
pub(crate) fn data_folder(toml: &[u8], config: &Path) -> anyhow::Result<PathBuf> {
    let text = std::str::from_utf8(toml).context("the configuration of the backup")?;
    let table: toml::Table = text.parse().context("the configuration of the backup")?;
    let data = table.get("data").and_then(toml::Value::as_str).unwrap_or("./wardline-data");
    Ok(config.parent().unwrap_or(Path::new("")).join(data))
}

/// Refuses a name that leads out of the folder. Manifests are signed; this is for the day when the key is not.
fn plain_path(name: &str) -> anyhow::Result<PathBuf> {
    let plain = !name.is_empty()
        && !name.starts_with('/')
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !name.contains('\0');
    if plain { Ok(PathBuf::from(name)) } else { bail!("`{}` is no name of a file", output::printable(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        assert!(plain_path("tls/server.pem").is_ok());
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a"] {
            assert!(plain_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_data_folder_is_found_from_the_file() {
        let config = Path::new("/etc/wardline/wardline.toml");
        let folder = |toml: &str| data_folder(toml.as_bytes(), config).unwrap();
        assert_eq!(folder("node = 'a'"), Path::new("/etc/wardline/./wardline-data"));
        assert_eq!(folder("data = '/var/lib/wardline'"), Path::new("/var/lib/wardline"));
    }
}
