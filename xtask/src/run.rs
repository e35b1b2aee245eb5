//! Running other programs: where they run, what is said about it, how long it took.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Returns the root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root of the repository")
}

/// Returns where cargo builds: outside of the clone unless the caller chose, so that a fresh clone builds warm.
pub(crate) fn target_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        return root().join(dir);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    cache.map_or_else(|| root().join("target"), |cache| cache.join("wardline").join("target"))
}

/// Returns a cargo command in the root, with the target folder set.
pub(crate) fn cargo<I>(args: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    // The cargo that runs us, so that a toolchain chosen on the command line holds all the way down.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).env("CARGO_TARGET_DIR", target_dir());
    command
}

/// Runs a command with our own standard streams; its failure is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", name(command));
    }
    Ok(())
}

/// Runs a command in silence, and returns its output; what it printed is shown only when it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", name(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({})\n{text}{errors}", name(command), output.status);
    }
    Ok(text)
}

/// Runs a command whose standard error is passed on as it comes, and returns the lines of it.
pub(crate) fn watched(command: &mut Command) -> Result<(bool, Vec<String>)> {
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start {}", name(command)))?;
    let stderr = child.stderr.take().context("no standard error")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stderr).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        eprintln!("{line}");
        lines.push(line);
    }
    Ok((child.wait()?.success(), lines))
}

fn name(command: &Command) -> String {
    let mut text = format!("`{}", Path::new(command.get_program()).file_name().unwrap_or_default().display());
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text.push('`');
    text
}

/// Says whether a program can be found.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The steps of a run with the time each took.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    took: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Announces a step, runs it and notes its time.
    pub(crate) fn step(&mut self, name: &'static str, body: impl FnOnce() -> Result<()>) -> Result<()> {
        announce(name);
        let begun = Instant::now();
        body().with_context(|| format!("step `{name}`"))?;
        self.took.push((name, begun.elapsed()));
        Ok(())
    }

    /// Prints what each step took so far.
    pub(crate) fn table(&self) {
        announce("time so far");
        for (name, took) in &self.took {
            eprintln!("  {:>7.1} s  {name}", took.as_secs_f64());
        }
        let sum: Duration = self.took.iter().map(|(_, took)| *took).sum();
        eprintln!("  {:>7.1} s  in all", sum.as_secs_f64());
    }
}

/// Says on standard error what begins now.
pub(crate) fn announce(what: &str) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (on, off) = if colour { ("\x1b[1;36m", "\x1b[0m") } else { ("", "") };
    // A closed standard error must not end a test run.
    let _ = writeln!(std::io::stderr(), "{on}==> {what}{off}");
}
