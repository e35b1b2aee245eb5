//! A real PostgreSQL of our own: in a temporary or named folder, on a free port of 127.0.0.1 and a Unix socket,
//! with passwords by SCRAM-SHA-256 and, where the server was built for it, TLS from a fresh authority.
//!
//! INVARIANT: the system's own cluster is never touched; nothing outside the folder is written. As root the
//! server runs as the user `postgres`, because it refuses root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Guarded, free_port, random_password, tail, wait_until};
use crate::tls::{Authority, write_private};
use crate::{Conninfo, SslMode, upstreams};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a port is tried; then another one, in case somebody else has it.
const PORT_ATTEMPTS_MAX: u32 = 3;
/// The kernel's limit of a Unix socket's path is 107 bytes; `/.s.PGSQL.12345` takes 15 of them.
const SOCKET_FOLDER_BYTES_MAX: usize = 90;

/// Which PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Version {
    V15,
    V16,
    V17,
    V18,
}

impl Version {
    /// All versions that the testbed knows how to get.
    pub const ALL: [Version; 4] = [Version::V15, Version::V16, Version::V17, Version::V18];

    /// Returns the major version.
    pub fn number(self) -> u32 {
        match self {
            Version::V15 => 15,
            Version::V16 => 16,
            Version::V17 => 17,
            Version::V18 => 18,
        }
    }
}

/// How the server is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which version; any that is installed where it says `None`.
    pub version: Option<Version>,
    /// Where its files are kept; a temporary folder where it says `None`. A folder that already holds such a
    /// server is used again.
    pub dir: Option<PathBuf>,
    /// TLS, for clients that ask for it.
    pub tls: bool,
    /// Load pgaudit: an independent witness of what reached the database, in the server's log.
    pub pgaudit: bool,
    /// Further settings; they win over ours.
    pub settings: Vec<(String, String)>,
}

/// A running server. It ends when this value does.
#[derive(Debug)]
pub struct Cluster {
    version: Version,
    bin: PathBuf,
    folder: Folder,
    port: u16,
    password: String,
    tls: bool,
    settings: Vec<(String, String)>,
    server: Option<Guarded>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    // Removed when dropped.
    _temporary: Option<TempDir>,
}

impl Cluster {
    /// Makes (or finds) the server's folder and starts the server.
    ///
    /// # Errors
    /// The version is not installed, the folder cannot be used, or the server does not start: then the error
    /// has the end of its log.
    pub fn start(options: Options) -> Result<Cluster> {
        let (version, bin) = find(options.version)?;
        ensure!(
            !options.tls || upstreams::has_tls(version),
            "the PostgreSQL {} that can be had here was built without TLS",
            version.number()
        );
        let folder = Folder::open(options.dir.as_deref())?;
        let (owner, root) = (Owner::current()?, folder.path.clone());
        if !root.join("data/PG_VERSION").exists() {
            initialise(&bin, &root, owner)?;
        }
        let password =
            fs::read_to_string(root.join("password")).context("read the password of the cluster")?;
        let on = fs::read_to_string(root.join("data/PG_VERSION")).context("read PG_VERSION")?;
        ensure!(
            on.trim() == version.number().to_string(),
            "`{}` holds a PostgreSQL {}, not {}",
            root.display(),
            on.trim(),
            version.number()
        );
        if options.tls && !root.join("server.key").exists() {
            make_certificates(&root, owner)?;
        }
        let settings = all_settings(&options, &root, &bin)?;
        let mut cluster =
            Cluster { version, bin, folder, port: 0, password, tls: options.tls, settings, server: None };
        cluster.launch()?;
        Ok(cluster)
    }

    /// Starts the server again after [`Cluster::stop`], [`Cluster::stop_immediate`] or [`Cluster::kill9`], on
    /// the same port where it is still free.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the server still runs");
        self.launch()
    }

    /// Ends all sessions and the server ("fast"); the files stay where the folder was named.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::INT)
    }

    /// Ends the server without a checkpoint ("immediate"), as a crash of the server would.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn stop_immediate(&mut self) -> Result<()> {
        self.end(Signal::QUIT)
    }

    /// Kills the server's first process; its sessions end by themselves.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill9(&mut self) -> Result<()> {
        let mut server = self.server.take().context("the server does not run")?;
        server.kill()?;
        Ok(())
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder that holds everything.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Returns the folder with `psql`, `pgbench` and the like of this version.
    pub fn programs(&self) -> &Path {
        &self.bin
    }

    /// Returns the certificate to trust, where the server has TLS.
    pub fn root_cert(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.path.join("ca.crt"))
    }

    /// Returns the server's log.
    pub fn log(&self) -> PathBuf {
        self.folder.path.join("server.log")
    }

    /// Returns the process id of the server's first process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Guarded::id)
    }

    /// Returns how the superuser reaches the database `postgres`: over TCP, with `verify-full` where there is
    /// TLS.
    pub fn conninfo(&self) -> Conninfo {
        Conninfo {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: "postgres".to_owned(),
            password: self.password.clone(),
            dbname: "postgres".to_owned(),
            sslmode: if self.tls { SslMode::VerifyFull } else { SslMode::Disable },
            root_cert: self.root_cert(),
        }
    }

    /// Returns the same over the Unix socket.
    pub fn conninfo_socket(&self) -> Conninfo {
        let host = socket_folder(&self.folder.path).display().to_string();
        Conninfo { host, sslmode: SslMode::Disable, root_cert: None, ..self.conninfo() }
    }

    /// Runs SQL as the superuser in the database `postgres` and returns the rows, unaligned, without header.
    ///
    /// # Errors
    /// What psql says.
    pub fn psql(&self, sql: &str) -> Result<String> {
        psql(&self.conninfo(), sql)
    }

    /// Runs SQL in another database.
    ///
    /// # Errors
    /// What psql says.
    pub fn psql_in(&self, dbname: &str, sql: &str) -> Result<String> {
        psql(&self.conninfo().with_dbname(dbname), sql)
    }

    /// Makes a database (UTF-8).
    ///
    /// # Errors
    /// What psql says.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.psql(&format!("create database \"{name}\" template template0 encoding 'UTF8'")).map(|_| ())
    }

    fn launch(&mut self) -> Result<()> {
        let same = (self.port != 0).then_some(self.port);
        let deadline = Instant::now() + START_TIMEOUT;
        for attempt in 0.. {
            self.port = match same {
                Some(port) if attempt != PORT_ATTEMPTS_MAX => port,
                _ => free_port()?,
            };
            if self.launch_once()? {
                return Ok(());
            }
            // The sessions of a killed server take a moment to see that it is gone.
            let still_used = tail(&self.log(), 4).contains("is still in use");
            if (attempt >= PORT_ATTEMPTS_MAX && !still_used) || Instant::now() > deadline {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("PostgreSQL does not start; the end of its log:\n{}", tail(&self.log(), 12))
    }

    // Returns false when the server ended, as it does when somebody was faster to take the port.
    fn launch_once(&mut self) -> Result<bool> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let owner = Owner::current()?;
        let mut command = owner.command(self.bin.join("postgres"));
        command.arg("-D").arg(self.folder.path.join("data"));
        command.arg("-c").arg(format!("port={}", self.port));
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.current_dir(self.folder.path.join("data"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut server = Guarded::spawn(&mut command, "QUIT")?;
        let id = server.id();
        let ready = wait_until(START_TIMEOUT, || Ok(server.ended()?.is_some() || self.is_ready(id)))?;
        if server.ended()?.is_some() {
            server.wait(Duration::ZERO)?;
            return Ok(false);
        }
        if !ready {
            server.kill()?;
            bail!("PostgreSQL is not ready in time; the end of its log:\n{}", tail(&self.log(), 12));
        }
        self.server = Some(server);
        Ok(true)
    }

    // postmaster.pid has the process id first (an older one's when the last server was killed) and says "ready"
    // (with spaces) in the eighth line once it accepts connections.
    fn is_ready(&self, server: u32) -> bool {
        fs::read_to_string(self.folder.path.join("data/postmaster.pid")).is_ok_and(|text| {
            let mut lines = text.lines();
            lines.next() == Some(&server.to_string()) && lines.nth(6).is_some_and(|l| l.trim() == "ready")
        })
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server.signal(signal)?;
        if server.wait(STOP_TIMEOUT)?.is_none() {
            server.kill()?;
            bail!("PostgreSQL did not stop in {} s and was killed", STOP_TIMEOUT.as_secs());
        }
        Ok(())
    }
}

// A test that fails half-way leaves no server behind.
impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.end(Signal::INT) {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// Runs SQL through psql and returns the rows, unaligned, without header.
///
/// # Errors
/// What psql says.
pub fn psql(conninfo: &Conninfo, sql: &str) -> Result<String> {
    let mut command = Command::new("psql");
    conninfo.apply(&mut command);
    let output = command
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .stdin(Stdio::null())
        .output()
        .context("start psql")?;
    if !output.status.success() {
        bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout).context("psql answers in UTF-8")?.trim_end().to_owned())
}

fn find(version: Option<Version>) -> Result<(Version, PathBuf)> {
    match version {
        Some(version) => Ok((version, upstreams::programs(version)?)),
        None => Version::ALL
            .into_iter()
            .find_map(|version| upstreams::programs(version).ok().map(|bin| (version, bin)))
            .context("no PostgreSQL is installed: apt-get install postgresql-15"),
    }
}

/// As whom the server runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    Ourselves,
    Other { uid: u32, gid: u32 },
}

impl Owner {
    pub(crate) fn current() -> Result<Owner> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Owner::Ourselves);
        }
        let accounts = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let found = accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (name == "postgres").then_some(Owner::Other { uid, gid })
        });
        found.context(
            "PostgreSQL refuses to run as root, and there is no user `postgres`: install postgresql-15",
        )
    }

    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars() {
            if name.starts_with("PG") || name.starts_with("LC_") {
                command.env_remove(name);
            }
        }
        command.env("LANG", "C.UTF-8");
        if let Owner::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    pub(crate) fn give(self, path: &Path) -> Result<()> {
        match self {
            Owner::Ourselves => Ok(()),
            Owner::Other { uid, gid } => chown(path, Some(uid), Some(gid))
                .with_context(|| format!("give `{}` to the user `postgres`", path.display())),
        }
    }
}

impl Folder {
    fn open(named: Option<&Path>) -> Result<Folder> {
        let owner = Owner::current()?;
        let (path, temporary) = match named {
            Some(path) => {
                fs::create_dir_all(path).with_context(|| format!("make the folder `{}`", path.display()))?;
                (path.canonicalize()?, None)
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("wardline-pg-").tempdir()?;
                (temporary.path().canonicalize()?, Some(temporary))
            }
        };
        ensure_reachable(&path, owner)?;
        owner.give(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Folder { path, _temporary: temporary })
    }
}

fn ensure_reachable(path: &Path, owner: Owner) -> Result<()> {
    if matches!(owner, Owner::Ourselves) {
        return Ok(());
    }
    for ancestor in path.ancestors().skip(1) {
        let mode = fs::metadata(ancestor)?.permissions().mode();
        ensure!(
            mode & 0o001 != 0,
            "the user `postgres`, as whom the server runs, cannot pass through `{}`: choose another folder or chmod a+x it",
            ancestor.display()
        );
    }
    Ok(())
}

fn initialise(bin: &Path, root: &Path, owner: Owner) -> Result<()> {
    let password_file = root.join("password");
    write_private(&password_file, random_password()?.as_bytes())?;
    owner.give(&password_file)?;
    let output = owner
        .command(bin.join("initdb"))
        .arg("-D")
        .arg(root.join("data"))
        .args(["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "--no-sync"])
        .arg("--pwfile")
        .arg(&password_file)
        .current_dir(root)
        .output()
        .context("start initdb")?;
    if !output.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn make_certificates(root: &Path, owner: Owner) -> Result<()> {
    let authority = Authority::new("Wardline testbed")?;
    authority.write(&root.join("ca.crt"))?;
    let pair = authority.issue(&["localhost", "127.0.0.1"], root, "server")?;
    owner.give(&pair.key)
}

fn socket_folder(root: &Path) -> PathBuf {
    root.join("socket")
}

fn all_settings(options: &Options, root: &Path, bin: &Path) -> Result<Vec<(String, String)>> {
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
    set("listen_addresses", "127.0.0.1");
    set("max_connections", "300");
    // A test's server survives the death of the server, not of the machine. Benchmarks set fsync=on.
    set("fsync", "off");
    set("shared_buffers", "256MB");
    set("max_wal_size", "2GB");
    // COPY into a table made in the same transaction then needs no log.
    set("wal_level", "minimal");
    set("max_wal_senders", "0");
    set("password_encryption", "scram-sha-256");
    set("timezone", "UTC");
    set("logging_collector", "off");
    let socket = socket_folder(root);
    if socket.as_os_str().len() <= SOCKET_FOLDER_BYTES_MAX {
        fs::create_dir_all(&socket)?;
        Owner::current()?.give(&socket)?;
        set("unix_socket_directories", &socket.display().to_string());
    } else {
        set("unix_socket_directories", "");
    }
    if options.tls {
        set("ssl", "on");
        set("ssl_cert_file", &root.join("server.crt").display().to_string());
        set("ssl_key_file", &root.join("server.key").display().to_string());
    }
    if options.pgaudit {
        ensure!(has_pgaudit(bin), "this PostgreSQL has no pgaudit: apt-get install postgresql-15-pgaudit");
        set("shared_preload_libraries", "pgaudit");
        set("pgaudit.log", "all");
        set("pgaudit.log_parameter", "on");
    }
    settings.extend(options.settings.iter().cloned());
    Ok(settings)
}

/// Returns whether pgaudit is installed for the PostgreSQL with these programs.
pub fn has_pgaudit(bin: &Path) -> bool {
    bin.parent().is_some_and(|prefix| prefix.join("lib/pgaudit.so").exists())
}
