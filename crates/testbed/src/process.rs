//! Child programs that end with us, also when we are killed.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

/// Names the folder for everything that is fetched or built once: other servers, drivers, test data.
const CACHE_VARIABLE: &str = "WARDLINE_TESTBED_CACHE";
const CACHE_DEFAULT: &str = "/var/tmp/wardline-testbed";
/// Below the range from which the kernel gives ports to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const POLL: Duration = Duration::from_millis(15);

/// Returns the folder for everything that is fetched once, and makes it where it is missing.
///
/// # Errors
/// The folder cannot be made.
pub fn cache_folder() -> Result<PathBuf> {
    let folder = std::env::var_os(CACHE_VARIABLE).map_or_else(|| PathBuf::from(CACHE_DEFAULT), PathBuf::from);
    fs::create_dir_all(&folder).with_context(|| format!("make the folder `{}`", folder.display()))?;
    Ok(folder)
}

/// Returns a port of 127.0.0.1 on which nothing listens.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    for _ in 0..200 {
        let offset = random_bytes::<2>().map(u16::from_le_bytes)? % (PORTS.end - PORTS.start);
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", PORTS.start, PORTS.end)
}

/// Returns bytes that nobody can guess.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(bytes)
}

/// Returns a password that nobody can guess.
pub(crate) fn random_password() -> Result<String> {
    Ok(random_bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Installs Debian's packages where we are root.
pub(crate) fn apt_install(packages: &[&str], say: &mut impl FnMut(&str)) -> Result<()> {
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !rustix::process::geteuid().is_root() {
        bail!("missing programs; as root: {line}");
    }
    say(&line);
    let mut command = Command::new("apt-get");
    command.args(["install", "-y", "--no-install-recommends"]).args(packages);
    let output = command.env("DEBIAN_FRONTEND", "noninteractive").output().context("start apt-get")?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A child in a process group of its own, with a small shell beside it that ends it if we end first.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    guard: Option<(Child, ChildStdin)>,
}

impl Guarded {
    /// Starts the command. If this process ends without [`Guarded::wait`], the child gets `signal`.
    pub(crate) fn spawn(command: &mut Command, signal: &str) -> Result<Guarded> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("start `{name}`"))?;
        // `read` fails at the end of the pipe, which comes when we end; a line means that all is well.
        let script = format!("read -r _ || kill -{signal} {}", child.id());
        let mut guard = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the guard of a child")?;
        let pipe = guard.stdin.take().context("a pipe to the guard")?;
        Ok(Guarded { child, guard: Some((guard, pipe)) })
    }

    /// Returns the child's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns how the child ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends the child a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let id =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        rustix::process::kill_process(id, signal).map_err(io::Error::from)
    }

    /// Waits for the child's end; `None` when it takes too long.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.dismiss();
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// Kills the child and waits for its end.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        let status = self.child.wait()?;
        self.dismiss();
        Ok(status)
    }

    fn dismiss(&mut self) {
        if let Some((mut guard, mut pipe)) = self.guard.take() {
            let _ = pipe.write_all(b"done\n");
            drop(pipe);
            let _ = guard.wait();
        }
    }
}

/// Returns the last lines of a log, for an error message.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).copied().collect::<Vec<_>>().join("\n")
}

/// Calls `ready` until it says yes.
pub(crate) fn wait_until(timeout: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + timeout;
    while !ready()? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(POLL);
    }
    Ok(true)
}
