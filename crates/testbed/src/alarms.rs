//! Those who are told at once: a webhook over HTTPS, and a mail server with STARTTLS and a log-in (aiosmtpd).

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::clients::packages;
use crate::free_port;
use crate::tls::Authority;

/// What both share with Wardline: the secret of the webhook, the password of the mail server.
const SECRET: &str = "a secret of both";
const PASSWORD: &str = "mail password";

/// Both of them, in one program.
#[derive(Debug)]
pub struct Alarms {
    folder: PathBuf,
    https: u16,
    smtp: u16,
    child: Child,
}

impl Alarms {
    /// Starts them with their files in a folder.
    ///
    /// # Errors
    /// What they need cannot be had, or they do not start.
    pub fn start(folder: &Path) -> Result<Alarms> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers");
        let installed = packages(&here.join("alarms-requirements.txt"), |said| eprintln!("testbed: {said}"))?;
        let authority = Authority::new("Wardline alarms")?;
        authority.write(&folder.join("alarms-ca.crt"))?;
        authority.issue(&["localhost", "127.0.0.1"], folder, "alarms")?;
        for (name, text) in [("alarms.secret", SECRET), ("alarms.password", PASSWORD)] {
            write_private(&folder.join(name), text)?;
        }
        let (https, smtp) = (free_port()?, free_port()?);
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", installed).env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(here.join("alarms.py")).arg(folder).args([https.to_string(), smtp.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(folder.join("alarms.log"))?);
        let mut child = command.spawn().context("start python3")?;
        let mut line = String::new();
        let output = child.stdout.take().context("a pipe")?;
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() != "ready" {
            let said = std::fs::read_to_string(folder.join("alarms.log")).unwrap_or_default();
            bail!("the receivers of messages do not start: {said}");
        }
        Ok(Alarms { folder: folder.to_owned(), https, smtp, child })
    }

    /// Returns the sections of `wardline.toml` that tell both.
    pub fn sections(&self) -> String {
        let file = |name: &str| self.folder.join(name);
        format!(
            "[notify.hook]\nurl = \"https://localhost:{}/wardline\"\nca = {ca:?}\nsecret_file = {:?}\nalarm_after_s = 2\n\
             [notify.office]\nurl = \"smtp://localhost:{}\"\nca = {ca:?}\nuser = \"wardline\"\npassword_file = {:?}\n\
             from = \"wardline@example.org\"\nto = [\"privacy@example.org\", \"duty@example.org\"]\ntopics = [\"emergency\"]\n",
            self.https,
            file("alarms.secret"),
            self.smtp,
            file("alarms.password"),
            ca = file("alarms-ca.crt"),
        )
    }

    /// Lets them take nothing, or take again.
    ///
    /// # Errors
    /// The file that says so cannot be written.
    pub fn deny(&self, denies: bool) -> Result<()> {
        let path = self.folder.join("deny");
        match denies {
            true => std::fs::write(path, "")?,
            false => std::fs::remove_file(path)?,
        }
        Ok(())
    }

    /// Returns what was taken so far, in order.
    ///
    /// # Errors
    /// It is not as they write it.
    pub fn taken(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.folder.join("taken")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Tells whether a webhook's signature is right, by Python's own HMAC.
    ///
    /// # Errors
    /// Python does not run.
    pub fn verifies(&self, signature: &str, body: &str) -> Result<bool> {
        const SCRIPT: &str = "import hmac, sys\n\
            secret, signature, body = sys.argv[1:]\n\
            t, v1 = (part.split('=')[1] for part in signature.split(','))\n\
            right = hmac.new(secret.encode(), f'{t}.{body}'.encode(), 'sha256').hexdigest()\n\
            sys.exit(0 if hmac.compare_digest(right, v1) else 1)";
        let status = Command::new("python3").args(["-c", SCRIPT, SECRET, signature, body]).status()?;
        Ok(status.success())
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _status = self.child.wait();
        }
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
