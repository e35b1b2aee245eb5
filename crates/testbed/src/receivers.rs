//! Those who take what Wardline hands over: rsyslog over TLS, and validators of the formats that others defined.
//!
//! The validators' scripts are in `receivers/`; what they need is installed once into the cache folder.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::clients::{node_packages, packages};
use crate::free_port;
use crate::process::{Guarded, apt_install, tail, wait_until};
use crate::tls::Authority;

const RSYSLOGD: &str = "/usr/sbin/rsyslogd";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// An rsyslog that takes messages over TLS and writes what it understood of each, a line a message.
#[derive(Debug)]
pub struct Rsyslog {
    folder: PathBuf,
    port: u16,
    process: Option<Guarded>,
}

/// A message as rsyslog understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The version of the protocol, `1` for RFC 5424.
    pub version: String,
    /// Facility and severity.
    pub priority: String,
    /// When, as it was sent.
    pub at: String,
    /// HOSTNAME.
    pub host: String,
    /// APP-NAME.
    pub program: String,
    /// MSGID.
    pub id: String,
    /// What it says.
    pub text: String,
}

impl Rsyslog {
    /// Prepares one in a folder, on a free port, with a certificate of the authority.
    ///
    /// # Errors
    /// It is not installed and cannot be.
    pub fn prepare(folder: &Path, authority: &Authority) -> Result<Rsyslog> {
        if !Path::new(RSYSLOGD).exists() {
            apt_install(&["rsyslog", "rsyslog-gnutls"], &mut |said: &str| eprintln!("{said}"))?;
        }
        let port = free_port()?;
        let ca = folder.join("syslog-ca.crt");
        authority.write(&ca)?;
        let pair = authority.issue(&["localhost", "127.0.0.1"], folder, "syslog")?;
        let shown = Path::display;
        let text = format!(
            "global(workDirectory=\"{0}\" maxMessageSize=\"1m\" defaultNetstreamDriver=\"gtls\"\n\
               defaultNetstreamDriverCAFile=\"{1}\" defaultNetstreamDriverCertFile=\"{2}\"\n\
               defaultNetstreamDriverKeyFile=\"{3}\")\n\
             module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
               streamDriver.authMode=\"anon\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             template(name=\"understood\" type=\"string\" string=\"%protocol-version%\\t%pri%\\t\
               %timereported:::date-rfc3339%\\t%hostname%\\t%app-name%\\t%msgid%\\t%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{0}/messages\" template=\"understood\")\n",
            shown(folder),
            shown(&ca),
            shown(&pair.certificate),
            shown(&pair.key),
        );
        std::fs::write(folder.join("rsyslog.conf"), text)?;
        Ok(Rsyslog { folder: folder.to_owned(), port, process: None })
    }

    /// Returns where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the authority's certificate, for clients.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("syslog-ca.crt")
    }

    /// Starts it, also again, and waits until it takes connections.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&mut self) -> Result<()> {
        let log = std::fs::File::create(self.folder.join("rsyslog.log"))?;
        let mut command = Command::new(RSYSLOGD);
        command.args(["-n", "-f"]).arg(self.folder.join("rsyslog.conf"));
        command.arg("-i").arg(self.folder.join("rsyslog.pid"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let _gone = std::fs::remove_file(self.folder.join("rsyslog.pid"));
        let mut process = Guarded::spawn(&mut command, "KILL")?;
        let port = self.port;
        let up = wait_until(START_TIMEOUT, || {
            Ok(process.ended()?.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        if !up || process.ended()?.is_some() {
            process.kill()?;
            bail!("rsyslog does not start: {}", tail(&self.folder.join("rsyslog.log"), 10));
        }
        self.process = Some(process);
        Ok(())
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill9(&mut self) -> Result<()> {
        let mut process = self.process.take().context("rsyslog runs")?;
        process.kill()?;
        Ok(())
    }

    /// Returns everything that it wrote so far.
    ///
    /// # Errors
    /// A line is not as it writes them.
    pub fn messages(&self) -> Result<Vec<Message>> {
        let bytes = std::fs::read(self.folder.join("messages")).unwrap_or_default();
        let text = String::from_utf8(bytes)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let message = |line: &str| {
            let mut parts = line.splitn(7, '\t').map(str::to_owned);
            let mut part = || parts.next().with_context(|| format!("not a message: {line}"));
            anyhow::Ok(Message {
                version: part()?,
                priority: part()?,
                at: part()?,
                host: part()?,
                program: part()?,
                id: part()?,
                text: part()?,
            })
        };
        whole.lines().filter(|line| !line.is_empty()).map(message).collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ended = process.kill();
        }
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers")
}

/// Returns the folder of the IHE BALP profiles; `None` where there is none.
pub fn balp_profiles() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/balp/profiles");
    let folder = std::env::var_os("BALP_PROFILES").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Validates AuditEvents, one a line, against base R4 and, where there are profiles, those that they claim.
///
/// # Errors
/// The validators cannot be had, or do not run.
pub fn validate_fhir(events: &Path, profiles: Option<&Path>) -> Result<Value> {
    let modules = node_packages(&scripts(), |said| eprintln!("{said}"))?.join("node_modules");
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).env("NODE_NO_WARNINGS", "1").arg(scripts().join("validate.js"));
    answer(command.arg(events).args(profiles))
}

/// Validates events of OCSF, one a line.
///
/// # Errors
/// The validator cannot be had, or does not run.
pub fn validate_ocsf(events: &Path) -> Result<Value> {
    let folder = packages(&scripts().join("requirements.txt"), |said| eprintln!("{said}"))?;
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1").arg(scripts().join("ocsf.py"));
    answer(command.arg(events))
}

/// Tells whether a text is well-formed XML, by Python's parser; the problem otherwise.
///
/// # Errors
/// Python does not run.
pub fn check_xml(documents: &[&str]) -> Result<Value> {
    const SCRIPT: &str = "import json, sys, xml.etree.ElementTree as tree\n\
        texts = json.load(sys.stdin)\n\
        print(json.dumps([tree.fromstring(text.encode()).tag for text in texts]))";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("a pipe")?;
    std::io::Write::write_all(&mut input, &serde_json::to_vec(documents)?)?;
    drop(input);
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "not well-formed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn answer(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Posts a body with a token, by Python's own client, and returns the status and the answer.
///
/// # Errors
/// Python does not run, or nobody answers.
pub fn post(url: &str, ca: &Path, token: &str, body: &str) -> Result<(u16, String)> {
    const SCRIPT: &str = "import json, ssl, sys, urllib.request, urllib.error\n\
        url, ca, token = sys.argv[1:]\n\
        request = urllib.request.Request(url, sys.stdin.buffer.read(), {'Authorization': 'Bearer ' + token})\n\
        try:\n    \
            answer = urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=ca))\n\
        except urllib.error.HTTPError as error:\n    answer = error\n\
        print(json.dumps([answer.status, answer.read().decode()]))";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT, url]).arg(ca).arg(token).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("a pipe")?;
    std::io::Write::write_all(&mut input, body.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "no answer from {url}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
