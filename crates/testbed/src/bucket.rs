//! A real S3 server with Object Lock: SeaweedFS on free ports, in a temporary folder, with a credential of its own.
//!
//! What is done to a bucket beside the program under test goes through boto3, which is somebody else's client.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::clients;
use crate::process::{Guarded, free_port, random_password, tail, wait_until};

/// The machine may be busy with other tests.
const START_TIMEOUT: Duration = Duration::from_mins(2);
const ID: &str = "wardline-test";

/// A running server.
#[derive(Debug)]
pub struct BucketServer {
    dir: TempDir,
    packages: PathBuf,
    port: u16,
    secret: String,
    server: Guarded,
}

impl BucketServer {
    /// Starts a server without buckets. Installs it from PyPI where it is missing.
    ///
    /// # Errors
    /// It cannot be had, or does not start.
    pub fn start() -> Result<BucketServer> {
        let packages = clients::s3_packages()?;
        let dir = tempfile::Builder::new().prefix("wardline-s3-").tempdir()?;
        let secret = random_password()?;
        let identities = format!(
            "{{\"identities\": [{{\"name\": \"test\", \"credentials\": [{{\"accessKey\": \"{ID}\", \"secretKey\": \"{secret}\"}}], \
             \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"]}}]}}"
        );
        std::fs::write(dir.path().join("s3.json"), identities)?;
        let [master, volume, filer, port] = ports()?;
        let log = File::create(dir.path().join("log"))?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        let mut command = Command::new(packages.join("bin/weed"));
        command.arg("server").args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-volume.max=20",
            "-filer",
            "-s3",
        ]);
        command.args(["-master.volumeSizeLimitMB=64", "-master.telemetry=false"]);
        // Servers that are not needed, on ports that two tests would both want.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.arg(format!("-dir={}", data.display())).arg(format!("-master.port={master}"));
        command.arg(format!("-volume.port={volume}")).arg(format!("-filer.port={filer}"));
        command
            .arg(format!("-s3.port={port}"))
            .arg(format!("-s3.config={}", dir.path().join("s3.json").display()));
        command.current_dir(dir.path()).env("HOME", dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let server = Guarded::spawn(&mut command, "KILL")?;
        let mut started = BucketServer { dir, packages, port, secret, server };
        started.wait()?;
        Ok(started)
    }

    /// Waits until a bucket can be made and written to.
    fn wait(&mut self) -> Result<()> {
        let up = wait_until(START_TIMEOUT, || {
            if let Some(status) = self.server.ended()? {
                bail!("the S3 server ended with {status}:\n{}", tail(&self.dir.path().join("log"), 15));
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
                return Ok(false);
            }
            let made = self.bucket(&["create", "warm"])?;
            Ok((made.status.success() || String::from_utf8_lossy(&made.stdout).contains("AlreadyOwned"))
                && self.bucket(&["overwrite", "warm", "up"])?.status.success())
        })?;
        if !up {
            bail!("the S3 server is not up:\n{}", tail(&self.dir.path().join("log"), 15));
        }
        Ok(())
    }

    /// Returns the URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Writes a file with the credential, as Wardline reads it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn credentials(&self, path: &Path) -> Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        write!(file, "[default]\naws_access_key_id = {ID}\naws_secret_access_key = {}\n", self.secret)?;
        Ok(())
    }

    /// Does something to a bucket with boto3: `create`, `create-locked`, `keys`, `versions`, `overwrite`, `hide`, `delete`,
    /// then the bucket, the key, the version.
    ///
    /// # Errors
    /// Python does not start. A refusal is no error: its code is printed.
    pub fn bucket(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &self.packages).env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/bucket.py"));
        command.args([&self.endpoint(), ID, &self.secret]).args(arguments);
        command.output().context("start python3")
    }

    /// The same where it must succeed; returns the lines it printed.
    ///
    /// # Errors
    /// It was refused.
    pub fn done(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let output = self.bucket(arguments)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{}: {out}{err}", arguments.join(" "));
        }
        Ok(out.lines().map(str::to_owned).collect())
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        if let Err(error) = self.server.kill() {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// SeaweedFS listens on each port and on the one 10,000 above it.
fn ports() -> Result<[u16; 4]> {
    let mut ports = [0; 4];
    for place in 0..ports.len() {
        let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok();
        let port =
            (0..200).find_map(|_| free_port().ok().filter(|port| free(*port) && !ports.contains(port)));
        if let Some(slot) = ports.get_mut(place) {
            *slot = port.context("no pair of free ports")?;
        }
    }
    Ok(ports)
}
