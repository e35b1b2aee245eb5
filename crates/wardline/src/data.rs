//! The data folder: where things are, who may read them, and that one process at a time owns it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

/// The paths of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Names a folder without touching it.
    pub(crate) fn at(path: &Path) -> DataFolder {
        DataFolder { path: path.to_owned() }
    }

    /// Creates the folder, readable by its owner only.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        create_private(&self.path)
    }

    /// Refuses a folder that is missing or that others can look into.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let shown = self.path.display();
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("the data folder {shown} does not exist; run `wardline init`")
            }
            Err(error) => return Err(error).with_context(|| format!("the data folder {shown}")),
        };
        if !metadata.is_dir() {
            bail!("{shown} is not a folder; correct `data` in the configuration");
        }
        let us = rustix::process::geteuid().as_raw();
        if metadata.uid() != us {
            let owner = metadata.uid();
            bail!("the data folder {shown} belongs to uid {owner} and this is uid {us}; run as its owner");
        }
        if metadata.mode() & 0o077 != 0 {
            let mode = metadata.mode() & 0o777;
            bail!("others can look into the data folder {shown} (mode {mode:o}); run `chmod 700 {shown}`");
        }
        Ok(())
    }

    /// Takes the folder for this process; `None` when another process has it.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<Lock>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| format!("{}", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.path.join("root.key")
    }

    pub(crate) fn trail(&self) -> PathBuf {
        self.path.join("trail")
    }

    /// A log that was closed, beside the one that is written.
    pub(crate) fn closed_trail(&self, number: u64) -> PathBuf {
        self.path.join(format!("trail.{number}"))
    }

    /// How many logs were closed.
    pub(crate) fn closed_count(&self) -> u64 {
        (0..).find(|number| !self.closed_trail(*number).exists()).unwrap_or(u64::MAX)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// What is copied for a backup that is being made.
    pub(crate) fn staging(&self) -> PathBuf {
        self.path.join("staging")
    }

    /// Reports of restore drills.
    pub(crate) fn drills(&self) -> PathBuf {
        self.path.join("drills")
    }

    pub(crate) fn registry(&self) -> PathBuf {
        self.path.join("registry.sqlite")
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.path.join("vault.json")
    }

    /// Copies of the registry, and what stands for it while it is gone.
    pub(crate) fn emergency(&self) -> PathBuf {
        self.path.join("emergency")
    }

    /// Digests of the sealed codes of emergency access.
    pub(crate) fn codes(&self) -> PathBuf {
        self.path.join("break-glass.json")
    }

    /// Who may report events, with their tokens' digests.
    pub(crate) fn inbound(&self) -> PathBuf {
        self.path.join("inbound.json")
    }

    pub(crate) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Holds the data folder for this process; the kernel lets go when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Creates a folder and its parents; the folder itself with mode 0700.
pub(crate) fn create_private(path: &Path) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("creating {}", path.display())),
    }
}

/// Writes a new file and makes it durable; an existing one is never overwritten.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}
