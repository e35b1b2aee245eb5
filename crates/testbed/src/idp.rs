//! Identity providers: a real one (`oidc-provider`), one that forges (`oauth2-mock-server`), a browser that signs in there, a
//! checker of SCIM servers (`scim2-tester`), and a directory (OpenLDAP). Their scripts are in `idp/`; what they need is installed once into the cache folder.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::clients::{node_packages, packages};
use crate::process::{Guarded, apt_install, tail, wait_until};
use crate::tls::Pair;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// An identity provider that runs until this value is dropped.
#[derive(Debug)]
pub struct Provider {
    port: u16,
    process: Guarded,
}

impl Provider {
    /// Starts a real one. `claims` is an object: what it says of whom. Browsers are sent back to `redirect`.
    ///
    /// # Errors
    /// It cannot be installed, or does not start.
    pub fn start(folder: &Path, port: u16, pair: &Pair, redirect: &str, claims: &Value) -> Result<Provider> {
        let mut command = node("provider.mjs", folder, port, pair)?;
        command.arg(redirect).env("CLAIMS", claims.to_string());
        Provider::run(command, folder, port)
    }

    /// Starts one that says what it is told.
    ///
    /// # Errors
    /// It cannot be installed, or does not start.
    pub fn forger(folder: &Path, port: u16, pair: &Pair) -> Result<Provider> {
        Provider::run(node("forger.mjs", folder, port, pair)?, folder, port)
    }

    fn run(mut command: Command, folder: &Path, port: u16) -> Result<Provider> {
        let log = folder.join(format!("provider-{port}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut process = Guarded::spawn(&mut command, "KILL")?;
        let up = wait_until(START_TIMEOUT, || {
            let mut said = String::new();
            File::open(&log)?.read_to_string(&mut said)?;
            Ok(said.lines().any(|line| line == "ready") || process.ended()?.is_some())
        })?;
        if process.ended()?.is_some() || !up {
            bail!("the identity provider does not start; the end of its log:\n{}", tail(&log, 15));
        }
        Ok(Provider { port, process })
    }

    /// Returns what it calls itself.
    pub fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Ends it.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn stop(mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill() {
            eprintln!("testbed: {error:#}");
        }
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("idp")
}

/// Returns a script of node with its packages beside it, as modules look for them.
fn node(script: &str, folder: &Path, port: u16, pair: &Pair) -> Result<Command> {
    let modules = node_packages(&scripts(), |said| eprintln!("{said}"))?.join("node_modules");
    let link = folder.join("node_modules");
    if !link.exists() {
        std::os::unix::fs::symlink(modules, &link)?;
    }
    let copy = folder.join(script);
    std::fs::copy(scripts().join(script), &copy)?;
    let mut command = Command::new("node");
    command
        .arg(copy)
        .arg(port.to_string())
        .arg(&pair.certificate)
        .arg(&pair.key)
        .env("NODE_NO_WARNINGS", "1");
    Ok(command)
}

/// Goes to an address as a browser does, signs in as `user` where it is asked, and returns the last page: `status`, `url`,
/// `body`, `cookies`. With `stop` it ends before an address that begins so.
///
/// # Errors
/// It cannot be run.
pub fn browse(start: &str, ca: &Path, user: &str, stop: Option<&str>) -> Result<Value> {
    let mut command = Command::new("python3");
    command.arg(scripts().join("browser.py")).args([start.as_ref(), ca.as_os_str(), user.as_ref()]);
    let output = command.args(stop).stdin(Stdio::null()).output().context("python3")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Checks a SCIM server; returns the lines about what failed, and at the end how many checks there were.
///
/// # Errors
/// It cannot be installed or run.
pub fn check_scim(url: &str, ca: &Path, token: &str) -> Result<Vec<Value>> {
    let folder = packages(&scripts().join("requirements.txt"), |said| eprintln!("{said}"))?;
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(scripts().join("scim_check.py"));
    let output = command.arg(url).arg(ca).arg(token).stdin(Stdio::null()).output().context("python3")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Sends a request; returns the status and the body.
///
/// # Errors
/// It cannot be run, or nobody answers.
pub fn ask(
    method: &str,
    url: &str,
    ca: &Path,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<(u16, String)> {
    let mut command = Command::new("python3");
    command.arg(scripts().join("ask.py")).args([method, url]).arg(ca).arg(token.unwrap_or_default());
    command.arg(body.map(Value::to_string).unwrap_or_default());
    let output = command.stdin(Stdio::null()).output().context("python3")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (status, body) = text.split_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

const SLAPD: &str = "/usr/sbin/slapd";
/// The password of everybody who is not given one, and of the directory's own administrator.
pub const DIRECTORY_PASSWORD: &str = "a directory password";
const ADMINISTRATOR: &str = "cn=admin,dc=test";

/// An OpenLDAP with people and groups, over TLS. It ends when this value does.
#[derive(Debug)]
pub struct Slapd {
    port: u16,
    ca: PathBuf,
    process: Guarded,
}

impl Slapd {
    /// Starts one for `dc=test`, with `ou=people` and `ou=groups`, both empty.
    ///
    /// # Errors
    /// It is not installed and cannot be, or does not start.
    pub fn start(folder: &Path, port: u16, ca: &Path, pair: &Pair) -> Result<Slapd> {
        if !Path::new(SLAPD).exists() {
            apt_install(&["slapd", "ldap-utils"], &mut |said: &str| eprintln!("{said}"))?;
        }
        let data = folder.join("slapd");
        std::fs::create_dir(&data)?;
        let schemas = ["core", "cosine", "inetorgperson"]
            .map(|name| format!("include /etc/ldap/schema/{name}.schema\n"));
        let text = format!(
            "{}modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\n\
             TLSCACertificateFile {}\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\n\
             database mdb\nsuffix \"dc=test\"\nrootdn \"{ADMINISTRATOR}\"\nrootpw \"{DIRECTORY_PASSWORD}\"\n\
             directory {}\noverlay memberof\n",
            schemas.concat(),
            ca.display(),
            pair.certificate.display(),
            pair.key.display(),
            data.display(),
        );
        let config = folder.join("slapd.conf");
        std::fs::write(&config, text)?;
        let log = folder.join("slapd.log");
        let file = File::create(&log)?;
        let mut command = Command::new(SLAPD);
        command.arg("-f").arg(&config).args(["-d", "0", "-h", &format!("ldaps://127.0.0.1:{port}")]);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut process = Guarded::spawn(&mut command, "KILL")?;
        let up = wait_until(START_TIMEOUT, || {
            Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() || process.ended()?.is_some())
        })?;
        if process.ended()?.is_some() || !up {
            bail!("slapd does not start; the end of its log:\n{}", tail(&log, 15));
        }
        let slapd = Slapd { port, ca: ca.to_owned(), process };
        slapd.change(
            "dn: dc=test\nchangetype: add\nobjectClass: domain\ndc: test\n\n\
             dn: ou=people,dc=test\nchangetype: add\nobjectClass: organizationalUnit\nou: people\n\n\
             dn: ou=groups,dc=test\nchangetype: add\nobjectClass: organizationalUnit\nou: groups\n",
        )?;
        Ok(slapd)
    }

    /// Returns where it answers.
    pub fn url(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.port)
    }

    /// Adds somebody with [`DIRECTORY_PASSWORD`].
    ///
    /// # Errors
    /// The directory refuses.
    pub fn person(&self, name: &str) -> Result<()> {
        self.change(&format!(
            "dn: uid={name},ou=people,dc=test\nchangetype: add\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\n\
             sn: {name}\nuserPassword: {DIRECTORY_PASSWORD}\n"
        ))
    }

    /// Makes a group of these people.
    ///
    /// # Errors
    /// The directory refuses.
    pub fn group(&self, name: &str, members: &[&str]) -> Result<()> {
        let members: Vec<String> =
            members.iter().map(|member| format!("member: uid={member},ou=people,dc=test\n")).collect();
        self.change(&format!(
            "dn: cn={name},ou=groups,dc=test\nchangetype: add\nobjectClass: groupOfNames\ncn: {name}\n{}",
            members.concat()
        ))
    }

    /// Makes changes that are written as LDIF.
    ///
    /// # Errors
    /// The directory refuses.
    pub fn change(&self, ldif: &str) -> Result<()> {
        let mut command = Command::new("ldapmodify");
        command.args(["-x", "-H", &self.url(), "-D", ADMINISTRATOR, "-w", DIRECTORY_PASSWORD]);
        command
            .env("LDAPTLS_CACERT", &self.ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("ldapmodify")?;
        child.stdin.take().context("a pipe")?.write_all(ldif.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn stop(mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill() {
            eprintln!("testbed: {error:#}");
        }
    }
}
