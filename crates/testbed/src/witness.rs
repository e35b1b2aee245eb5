//! A running `wardline witness`.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::gateway::program;
use crate::process::{Guarded, free_port, wait_until};
use crate::tls::Pair;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// A witness with its folder and key. It ends when this value does.
#[derive(Debug)]
pub struct Witness {
    folder: PathBuf,
    port: u16,
    key: String,
    pair: Option<Pair>,
    process: Option<Guarded>,
}

impl Witness {
    /// Makes the key of a witness in a new folder; it does not run yet.
    ///
    /// # Errors
    /// There is no `wardline` program, or it refuses.
    pub fn new(folder: &Path, name: &str) -> Result<Witness> {
        let output = Command::new(program()?)
            .arg("witness")
            .arg(folder)
            .args(["--name", name, "--print-key"])
            .output()?;
        if !output.status.success() {
            bail!("`wardline witness` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let key = String::from_utf8(output.stdout)?.trim_end().to_owned();
        Ok(Witness { folder: folder.to_owned(), port: free_port()?, key, pair: None, process: None })
    }

    /// Has it speak TLS, with this certificate for `127.0.0.1`.
    #[must_use]
    pub fn over_tls(mut self, pair: Pair) -> Witness {
        self.pair = Some(pair);
        self
    }

    /// Returns the line that names the witness in a policy.
    pub fn policy_line(&self, name: &str) -> String {
        let scheme = if self.pair.is_some() { "https" } else { "http" };
        format!("witness {name} {} {scheme}://127.0.0.1:{}\n", self.key, self.port)
    }

    /// Starts it for a log, given the log's key, also again after it ended.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve(&mut self, log: &str) -> Result<()> {
        let words = File::options().create(true).append(true).open(self.folder.with_extension("log"))?;
        let mut command = Command::new(program()?);
        command.arg("witness").arg(&self.folder).args(["--log", log.trim()]);
        command.args(["--address", &format!("127.0.0.1:{}", self.port)]);
        if let Some(pair) = &self.pair {
            command.arg("--certificate").arg(&pair.certificate).arg("--key").arg(&pair.key);
        }
        command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words).env("NO_COLOR", "1");
        let mut process = Guarded::spawn(&mut command, "KILL")?;
        let port = self.port;
        let up = wait_until(START_TIMEOUT, || {
            Ok(process.ended()?.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        if !up || process.ended()?.is_some() {
            bail!("`wardline witness` does not start; see {}", self.folder.with_extension("log").display());
        }
        self.process = Some(process);
        Ok(())
    }

    /// Kills it.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.take().context("the witness does not run")?.kill()?;
        Ok(())
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn terminate(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the witness does not run")?;
        process.signal(Signal::TERM)?;
        process.wait(END_TIMEOUT)?;
        Ok(())
    }

    /// Returns the checkpoint that it signed last, as its own file has it.
    ///
    /// # Errors
    /// It signed none.
    pub fn remembered(&self) -> Result<PathBuf> {
        let files = std::fs::read_dir(self.folder.join("logs"))?;
        let file = files.flatten().map(|entry| entry.path()).find(|path| path.extension().is_none());
        file.context("the witness has signed nothing")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take()
            && let Err(error) = process.kill()
        {
            eprintln!("testbed: {error:#}");
        }
    }
}
