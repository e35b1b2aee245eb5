//! Steps of the time of day, for one running `wardline serve`: a small library in C (`shims/clock.c`), compiled when a test
//! needs it and preloaded. The machine's own clock goes on, as it does when an administrator or NTP sets the time.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::gateway::Builder;

const SOURCE: &str = include_str!("../shims/clock.c");

/// The time of day of one server.
#[derive(Debug)]
pub struct TimeOfDay {
    library: PathBuf,
    path: PathBuf,
    control: File,
}

impl TimeOfDay {
    /// Compiles the library into a folder; no step yet.
    ///
    /// # Errors
    /// There is no C compiler.
    pub fn new(folder: &Path) -> Result<TimeOfDay> {
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        std::fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]);
        let output = compiler.arg(&library).arg(&source).output().context("start the C compiler `cc`")?;
        if !output.status.success() {
            bail!("`cc` does not compile clock.c: {}", String::from_utf8_lossy(&output.stderr));
        }
        let path = folder.join("clock.control");
        std::fs::write(&path, 0_i64.to_ne_bytes())?;
        let control = File::options().write(true).open(&path)?;
        Ok(TimeOfDay { library, path, control })
    }

    /// Puts the server under this time.
    #[must_use]
    pub fn of(&self, builder: Builder) -> Builder {
        builder
            .environment("LD_PRELOAD", &self.library.display().to_string())
            .environment("WARDLINE_CLOCK", &self.path.display().to_string())
    }

    /// Sets the time of day to be so far from the true one.
    ///
    /// # Errors
    /// The control file cannot be written.
    pub fn set(&self, offset_ms: i64) -> Result<()> {
        Ok(self.control.write_all_at(&offset_ms.to_ne_bytes(), 0)?)
    }
}
