//! Write errors, full disks and power cuts beneath the trail of a running `wardline serve`.
//!
//! A small library in C (`shims/faults.c`), compiled when a test needs it and preloaded into the server, stands between
//! Rust's standard library and the kernel for the files of the trail's folder only. Preloading was chosen over a FUSE
//! file system, which needs a kernel module that containers lack, and over ptrace, which stops every thread at every
//! call and so hides the races that the test is for. A C compiler is needed to build Wardline anyway.
//!
//! Deliberately absent: faults of names (create, rename, remove); `trail`'s own tests have a disk in memory that tears
//! those at every operation.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::gateway::Builder;
use crate::process::wait_until;

const SOURCE: &str = include_str!("../shims/faults.c");
/// The trail's files have this in their path.
const BELOW: &str = "/trail/";
const FOR_EVER: u32 = u32::MAX;

/// What is done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails with `EIO`; nothing of it reaches the disk.
    WriteError,
    /// A write fails with `EIO`; some of it reaches the disk.
    TornWrite,
    /// A write fails with `ENOSPC`.
    NoSpace,
    /// A write takes less than it was given, or is interrupted. No error.
    ShortWrite,
    /// A sync fails with `EIO`, and what waited for it is lost; the next one succeeds.
    SyncError,
    /// The same with `ENOSPC`, as file systems that allocate late do.
    SyncNoSpace,
    /// A sync says that all is well and does nothing: no program can withstand it. It shows that a test would see.
    LyingSync,
    /// A read fails with `EIO`.
    ReadError,
}

impl Fault {
    fn number(self) -> u32 {
        match self {
            Fault::WriteError => 1,
            Fault::TornWrite => 2,
            Fault::NoSpace => 3,
            Fault::ShortWrite => 4,
            Fault::SyncError => 5,
            Fault::SyncNoSpace => 6,
            Fault::LyingSync => 7,
            Fault::ReadError => 8,
        }
    }
}

/// Whose calls are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Any file of the trail.
    Any,
    /// Segments in use: where entries become durable.
    Segments,
    /// The tree: tiles, bundles, checkpoints.
    Tree,
    /// All files but segments in use: what needs new space.
    New,
}

impl Files {
    fn number(self) -> u32 {
        match self {
            Files::Any => 0,
            Files::Segments => 1,
            Files::Tree => 2,
            Files::New => 3,
        }
    }
}

// The fields of the control file, in order; each a number of four bytes.
const FAULT: u64 = 0;
const FILES: u64 = 1;
const AFTER: u64 = 2;
const TIMES: u64 = 3;
const STRUCK: u64 = 4;
const CACHE: u64 = 5;
const CONTROL_BYTES: usize = 6 * 4;

/// The faults of one server.
#[derive(Debug)]
pub struct Faults {
    library: PathBuf,
    path: PathBuf,
    below: &'static str,
    control: File,
}

impl Faults {
    /// Compiles the library into a folder and makes the control file there: no fault yet. Writes wait for their sync,
    /// so that killing the server is a power cut for the trail's files.
    ///
    /// # Errors
    /// There is no C compiler.
    pub fn new(folder: &Path) -> Result<Faults> {
        let (source, library) = (folder.join("faults.c"), folder.join("faults.so"));
        std::fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
        let output = compiler.arg(&library).arg(&source).output().context("start the C compiler `cc`")?;
        if !output.status.success() {
            bail!("`cc` does not compile faults.c: {}", String::from_utf8_lossy(&output.stderr));
        }
        let path = folder.join("faults.control");
        std::fs::write(&path, [0; CONTROL_BYTES])?;
        let control = File::options().read(true).write(true).open(&path)?;
        let faults = Faults { library, path, below: BELOW, control };
        faults.put(CACHE, 1)?;
        Ok(faults)
    }

    /// Means the files with this in their path, instead of the trail's.
    #[must_use]
    pub fn below(self, path: &'static str) -> Faults {
        Faults { below: path, ..self }
    }

    /// Puts the server under these faults, and what it starts.
    #[must_use]
    pub fn beneath(&self, builder: Builder, seed: u64) -> Builder {
        self.environment(seed)
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.environment(name, &value))
    }

    /// Puts a command under these faults.
    pub fn beneath_command(&self, command: &mut Command) {
        command.envs(self.environment(1));
    }

    fn environment(&self, seed: u64) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("WARDLINE_FAULTS", self.path.display().to_string()),
            ("WARDLINE_FAULTS_BELOW", self.below.to_owned()),
            ("WARDLINE_FAULTS_SEED", seed.to_string()),
        ]
    }

    /// Strikes once, after so many calls of the kind passed.
    ///
    /// # Errors
    /// The control file cannot be written.
    pub fn strike(&self, fault: Fault, files: Files, after: u32) -> Result<()> {
        self.set(fault, files, after, 1)
    }

    /// Strikes at every call from now on.
    ///
    /// # Errors
    /// The control file cannot be written.
    pub fn keep_striking(&self, fault: Fault, files: Files) -> Result<()> {
        self.set(fault, files, 0, FOR_EVER)
    }

    /// Ends the faults.
    ///
    /// # Errors
    /// The control file cannot be written.
    pub fn end(&self) -> Result<()> {
        self.put(FAULT, 0)
    }

    /// Returns how many calls were struck since the fault was set.
    ///
    /// # Errors
    /// The control file cannot be read.
    pub fn struck(&self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.control.read_exact_at(&mut bytes, STRUCK * 4)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    /// Waits until a call was struck; false when none was.
    ///
    /// # Errors
    /// The control file cannot be read.
    pub fn wait_struck(&self, timeout: Duration) -> Result<bool> {
        wait_until(timeout, || Ok(self.struck()? > 0))
    }

    fn set(&self, fault: Fault, files: Files, after: u32, times: u32) -> Result<()> {
        self.put(FAULT, 0)?;
        for (field, value) in [(FILES, files.number()), (AFTER, after), (TIMES, times), (STRUCK, 0)] {
            self.put(field, value)?;
        }
        self.put(FAULT, fault.number())
    }

    fn put(&self, field: u64, value: u32) -> Result<()> {
        Ok(self.control.write_all_at(&value.to_ne_bytes(), field * 4)?)
    }
}
