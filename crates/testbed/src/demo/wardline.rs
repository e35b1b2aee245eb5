//! The `wardline` program as a user runs it: a folder with `wardline.toml`, commands, a server.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Guarded, random_password, tail, wait_until};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// A configured Wardline, running or not.
#[derive(Debug)]
pub(crate) struct Wardline {
    program: PathBuf,
    folder: PathBuf,
    server: Option<Guarded>,
}

impl Wardline {
    /// Finds the program (`WARDLINE_BIN`, or beside our own) and takes the folder for its files.
    pub(crate) fn new(folder: &Path) -> Result<Wardline> {
        let program = crate::gateway::program()?;
        Ok(Wardline { program, folder: folder.to_owned(), server: None })
    }

    /// Writes `wardline.toml`, makes the data folder and its keys where they are missing, and checks all of it.
    pub(crate) fn configure(&self, node: &str, toml: &str) -> Result<()> {
        let first = !self.data().exists();
        if first {
            // `init` writes a first configuration too, which ours then replaces.
            let _ = std::fs::remove_file(self.file());
            self.done(&["init", "--node", node], None)?;
        }
        std::fs::write(self.file(), toml).context("cannot write wardline.toml")?;
        // It may start although a protection is switched off without an exception.
        let output = self.output(&["check"], None)?;
        if !matches!(output.status.code(), Some(0 | 4)) {
            let said = [output.stdout, output.stderr].concat();
            bail!("`wardline check` ended with {}: {}", output.status, String::from_utf8_lossy(&said));
        }
        Ok(())
    }

    /// Puts the credential of a resource into the vault.
    pub(crate) fn set_credential(&self, resource: &str, user: &str, password: &str) -> Result<()> {
        self.done(&["vault", "set", resource, "--user", user, "--password-stdin"], Some(password)).map(|_| ())
    }

    /// Adds a person, or gives one who is there a new password, and returns the password.
    pub(crate) fn person(&self, name: &str, role: &str) -> Result<String> {
        let password = random_password()?;
        let list = self.done(&["user", "list", "--json"], None)?;
        if list.contains(&format!("\"{name}\"")) {
            self.done(&["user", "passwd", name, "--password-stdin"], Some(&password))?;
        } else {
            self.done(&["user", "add", name, "--role", role, "--password-stdin"], Some(&password))?;
        }
        Ok(password)
    }

    /// Returns a token for a person.
    pub(crate) fn token(&self, name: &str, password: &str) -> Result<String> {
        let text = self.done(&["login", name, "--password-stdin", "--token-only"], Some(password))?;
        Ok(text.trim().to_owned())
    }

    /// Starts the server and waits until it takes connections.
    pub(crate) fn serve(&mut self, port: u16) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command(&["serve"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut server = Guarded::spawn(&mut command, "TERM")?;
        let up = wait_until(START_TIMEOUT, || {
            Ok(server.ended()?.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        if !up || server.ended()?.is_some() {
            bail!("`wardline serve` does not start; the end of its log:\n{}", self.last_words());
        }
        self.server = Some(server);
        Ok(())
    }

    /// Returns the server's process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Guarded::id)
    }

    /// Says whether the server runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| matches!(server.ended(), Ok(None)))
    }

    /// Lets the server drain and waits for its end.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server.signal(Signal::TERM)?;
        if server.wait(STOP_TIMEOUT)?.is_none() {
            server.kill()?;
            bail!("`wardline serve` did not drain in {} s and was killed", STOP_TIMEOUT.as_secs());
        }
        Ok(())
    }

    /// Runs a command; its refusal is an error with what it said.
    pub(crate) fn done(&self, args: &[&str], stdin: Option<&str>) -> Result<String> {
        let output = self.output(args, stdin)?;
        if !output.status.success() {
            bail!(
                "`wardline {}` ended with {}: {}{}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command and returns how it ended and what it said.
    pub(crate) fn output(&self, args: &[&str], stdin: Option<&str>) -> Result<Output> {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut pipe = child.stdin.take().context("no standard input")?;
        if let Some(text) = stdin {
            pipe.write_all(text.as_bytes())?;
            pipe.write_all(b"\n")?;
        }
        drop(pipe);
        Ok(child.wait_with_output()?)
    }

    /// Returns the lines of JSON that a command prints.
    pub(crate) fn json_lines(&self, args: &[&str]) -> Result<Vec<Value>> {
        let text = self.done(args, None)?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.file()).args(args).env("NO_COLOR", "1").current_dir(&self.folder);
        command
    }

    /// Returns the program with the configuration, as one would type it.
    pub(crate) fn command_line(&self) -> String {
        format!("{} --config {}", self.program.display(), self.file().display())
    }

    /// Returns the configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("wardline.toml")
    }

    /// Returns the data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("wardline-data")
    }

    /// Returns the certificate that the server makes for itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.data().join("tls/self-signed.pem")
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("wardline.log")
    }

    /// Returns the end of the server's log.
    pub(crate) fn last_words(&self) -> String {
        tail(&self.log(), 15)
    }
}

impl Drop for Wardline {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("testbed: {error:#}");
        }
    }
}
