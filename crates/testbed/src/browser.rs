//! A real browser: Debian's Chromium, driven over Wardline's pages by a script, with a virtual authenticator for passkeys.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::clients::node_packages;
use crate::process::apt_install;

const CHROMIUM: &str = "/usr/bin/chromium";

/// What the script needs to know.
#[derive(Clone, Debug)]
pub struct Visit {
    /// How the pages name themselves, such as `https://localhost:8444`.
    pub origin: String,
    /// The server's certificate, to be trusted.
    pub certificate: PathBuf,
    /// For the pictures, and what the browser keeps.
    pub folder: PathBuf,
    /// Who signs in.
    pub name: String,
    /// With what.
    pub password: String,
    /// And a recovery code.
    pub recovery: String,
    /// The path of the session that waits.
    pub waiting: String,
    /// The code that its program shows.
    pub code: String,
}

/// Installs the browser and what drives it where they are missing.
///
/// # Errors
/// They cannot be had.
pub fn install(say: &mut impl FnMut(&str)) -> Result<PathBuf> {
    if !Path::new(CHROMIUM).exists() {
        apt_install(&["chromium"], say)?;
    }
    Ok(node_packages(&scripts(), |said| eprintln!("testbed: {said}"))?.join("node_modules"))
}

/// Goes through the pages; returns the steps that were made, the problems that were seen, and the names of the pictures.
///
/// # Errors
/// The browser cannot be had, or does not run.
pub fn visit(visit: &Visit) -> Result<Value> {
    let modules = install(&mut |said: &str| eprintln!("testbed: {said}"))?;
    let given = json!({
        "chromium": CHROMIUM,
        "origin": visit.origin,
        "certificate": visit.certificate,
        "folder": visit.folder,
        "name": visit.name,
        "password": visit.password,
        "recovery": visit.recovery,
        "waiting": visit.waiting,
        "code": visit.code,
    });
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).env("NODE_NO_WARNINGS", "1").arg(scripts().join("pages.js"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start node")?;
    child.stdin.take().context("a pipe")?.write_all(given.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the browser's script failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("what the script found")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}
