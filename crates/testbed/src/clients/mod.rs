//! Real client programs and drivers, each running a fixed list of checks against a PostgreSQL and telling what
//! came back as a digest: the same checks directly and through the gateway must give the same digests.
//!
//! The drivers' scripts are in `clients/`; what they need is installed once into the cache folder.

mod install;
mod programs;
mod tokio;

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

pub use install::{Installed, install};
pub(crate) use install::{packages, s3_packages};
pub(crate) use tokio::Connector;

use crate::Conninfo;
use crate::process::{Guarded, tail};

/// How long one client may take for all its checks.
const TIMEOUT: Duration = Duration::from_secs(180);

/// A client program or driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// PostgreSQL's own `psql`.
    Psql,
    /// PostgreSQL's own `pgbench`; makes and drops its tables in the database.
    Pgbench,
    /// psycopg 3 over libpq, results as text.
    Psycopg,
    /// psycopg 3 over libpq, results in binary.
    PsycopgBinary,
    /// asyncpg, binary throughout.
    Asyncpg,
    /// node-postgres with its cursors and copy streams.
    Node,
    /// The JDBC driver.
    Jdbc,
    /// tokio-postgres over rustls.
    TokioPostgres,
}

impl Client {
    /// All clients.
    pub const ALL: [Client; 8] = [
        Client::Psql,
        Client::Pgbench,
        Client::Psycopg,
        Client::PsycopgBinary,
        Client::Asyncpg,
        Client::Node,
        Client::Jdbc,
        Client::TokioPostgres,
    ];

    /// Returns the name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Client::Psql => "psql",
            Client::Pgbench => "pgbench",
            Client::Psycopg => "psycopg",
            Client::PsycopgBinary => "psycopg-binary",
            Client::Asyncpg => "asyncpg",
            Client::Node => "node-postgres",
            Client::Jdbc => "jdbc",
            Client::TokioPostgres => "tokio-postgres",
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one check gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The digest of what came back, or what went wrong.
    pub outcome: Result<String, String>,
}

impl Check {
    fn new(name: &str, outcome: Result<impl AsRef<[u8]>>) -> Check {
        let outcome = outcome.map(|bytes| digest(bytes.as_ref())).map_err(|error| format!("{error:#}"));
        Check { name: name.to_owned(), outcome }
    }
}

/// Runs all checks of a client.
///
/// # Errors
/// The client is not installed, or does not run at all. A check that fails is no error here.
pub fn run(client: Client, conninfo: &Conninfo) -> Result<Vec<Check>> {
    let checks = match client {
        Client::Psql => programs::psql(conninfo)?,
        Client::Pgbench => programs::pgbench(conninfo)?,
        Client::Psycopg => script(install::python("psycopg_client.py")?, conninfo)?,
        Client::PsycopgBinary => {
            let mut command = install::python("psycopg_client.py")?;
            command.arg("binary");
            script(command, conninfo)?
        }
        Client::Asyncpg => script(install::python("asyncpg_client.py")?, conninfo)?,
        Client::Node => script(install::node()?, conninfo)?,
        Client::Jdbc => script(install::java()?, conninfo)?,
        Client::TokioPostgres => tokio::run(conninfo)?,
    };
    ensure!(!checks.is_empty(), "{client} ran no check");
    Ok(checks)
}

/// Names the file with the statements that the drivers' scripts decode.
const DECODE: &str = "WIRE_DECODE";

/// Has a driver decode the first column of each statement, given with its name. What it made of the values stands in the
/// place of the digest, as a list of texts in JSON. Drivers that can do both decode text and binary, the latter under the
/// name with ` in binary` after it.
///
/// # Errors
/// The client is not installed, does not run at all, or has no such way of working.
pub fn decode(client: Client, conninfo: &Conninfo, statements: &[(String, String)]) -> Result<Vec<Check>> {
    let mut file = tempfile::NamedTempFile::new()?;
    for (name, sql) in statements {
        writeln!(file, "{name}\t{sql}")?;
    }
    let mut command = match client {
        Client::Psycopg | Client::PsycopgBinary => install::python("psycopg_client.py")?,
        Client::Asyncpg => install::python("asyncpg_client.py")?,
        Client::Node => install::node()?,
        Client::Jdbc => install::java()?,
        Client::TokioPostgres => return tokio::decode(conninfo, statements),
        Client::Psql | Client::Pgbench => bail!("{client} decodes nothing"),
    };
    if client == Client::PsycopgBinary {
        command.arg("binary");
    }
    command.env(DECODE, file.path());
    script(command, conninfo)
}

/// Returns what is wrong: checks that failed on either side, are missing on one, or gave something else.
pub fn differences(direct: &[Check], through: &[Check]) -> Vec<String> {
    let mut found = Vec::new();
    for check in direct {
        let name = &check.name;
        match (&check.outcome, through.iter().find(|c| c.name == *name).map(|c| &c.outcome)) {
            (Err(error), _) => found.push(format!("{name}: fails also directly: {error}")),
            (Ok(_), None) => found.push(format!("{name}: did not run through the gateway")),
            (Ok(_), Some(Err(error))) => found.push(format!("{name}: {error}")),
            (Ok(a), Some(Ok(b))) if a != b => found.push(format!("{name}: another answer than directly")),
            (Ok(_), Some(Ok(_))) => {}
        }
    }
    found
}

fn script(mut command: Command, conninfo: &Conninfo) -> Result<Vec<Check>> {
    conninfo.apply(&mut command);
    let output = finish(command, TIMEOUT)?;
    let mut checks = Vec::new();
    for line in output.stdout.lines() {
        checks.push(parse(line).with_context(|| format!("read the line `{line}`"))?);
    }
    ensure!(output.success, "the client ended with an error: {}", output.stderr.trim());
    Ok(checks)
}

fn parse(line: &str) -> Result<Check> {
    let value: Value = serde_json::from_str(line)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let name = text("check").context("no `check`")?;
    let outcome = match value.get("ok").and_then(Value::as_bool).context("no `ok`")? {
        true => Ok(text("digest").context("no `digest`")?),
        false => Err(text("error").context("no `error`")?),
    };
    Ok(Check { name, outcome })
}

/// What a program said.
#[derive(Debug)]
struct Output {
    success: bool,
    stdout: String,
    stderr: String,
}

// Through files and not pipes, so that a program that hangs can be ended whatever it has started.
fn finish(mut command: Command, timeout: Duration) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let (stdout, stderr) = (folder.path().join("stdout"), folder.path().join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
    let mut program = Guarded::spawn(&mut command, "KILL")?;
    let Some(status) = program.wait(timeout)? else {
        program.kill()?;
        bail!(
            "no end after {} s; the last of what it said:\n{}\n{}",
            timeout.as_secs(),
            tail(&stdout, 3),
            tail(&stderr, 5)
        );
    };
    Ok(Output { success: status.success(), stdout: read(&stdout)?, stderr: read(&stderr)? })
}

fn read(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns where the scripts are. The testbed runs from its sources only.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}
