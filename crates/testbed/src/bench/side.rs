//! The three ways to the same database: direct, through pgbouncer, through Wardline.
//!
//! All of them speak TLS with a P-256 certificate on every leg and check the resource's; the proxies sign in at the
//! resource with SCRAM. pgbouncer pools sessions, which is what Wardline does: one upstream session for each client.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::demo::wardline::Wardline;
use crate::postgres::{Cluster, psql};
use crate::process::{Guarded, tail, wait_until};
use crate::tls::Authority;
use crate::{Conninfo, SslMode, free_port};

/// The database and the user that all sides use.
pub(crate) const NAME: &str = "bench";
/// More clients than any measurement opens.
const CLIENTS_MAX: u32 = 1000;
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// One way to the database.
#[derive(Debug)]
pub(crate) struct Side {
    /// `direct`, `pgbouncer` or `wardline`.
    pub(crate) name: &'static str,
    /// How clients reach it.
    pub(crate) conninfo: Conninfo,
    /// The process in the middle, where there is one.
    pub(crate) pid: Option<u32>,
    // Ends with the side.
    _process: Process,
}

/// What runs in the middle, until it is dropped.
#[derive(Debug)]
enum Process {
    None,
    Pgbouncer(Guarded),
    Wardline(Wardline),
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = match self {
            Process::None => Ok(()),
            Process::Pgbouncer(process) => process.kill().map(|_| ()).map_err(anyhow::Error::from),
            Process::Wardline(wardline) => wardline.stop(),
        };
        if let Err(error) = ended {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// Returns the way without anything between.
pub(crate) fn direct(cluster: &Cluster, password: &str) -> Side {
    let conninfo = cluster.conninfo().with_user(NAME, password).with_dbname(NAME);
    Side { name: "direct", conninfo, pid: None, _process: Process::None }
}

/// Starts pgbouncer in the folder and returns the way through it.
pub(crate) fn pgbouncer(cluster: &Cluster, password: &str, folder: &Path) -> Result<Side> {
    let authority = Authority::new("Wardline bench")?;
    let ca = folder.join("ca.crt");
    authority.write(&ca)?;
    let pair = authority.issue(&["localhost", "127.0.0.1"], folder, "pgbouncer")?;
    let port = free_port()?;
    let upstream_ca = cluster.root_cert().context("the benchmark's server has TLS")?;
    let mut ini = String::from("[databases]\n");
    writeln!(ini, "{NAME} = host=127.0.0.1 port={} dbname={NAME}", cluster.port())?;
    writeln!(ini, "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =")?;
    writeln!(ini, "auth_type = scram-sha-256\nauth_file = {}", folder.join("users.txt").display())?;
    writeln!(ini, "pool_mode = session\nmax_client_conn = {CLIENTS_MAX}\ndefault_pool_size = {CLIENTS_MAX}")?;
    writeln!(
        ini,
        "ignore_startup_parameters = extra_float_digits\nlog_connections = 0\nlog_disconnections = 0"
    )?;
    writeln!(ini, "client_tls_sslmode = require\nclient_tls_cert_file = {}", pair.certificate.display())?;
    writeln!(ini, "client_tls_key_file = {}", pair.key.display())?;
    writeln!(ini, "server_tls_sslmode = verify-full\nserver_tls_ca_file = {}", upstream_ca.display())?;
    std::fs::write(folder.join("pgbouncer.ini"), ini)?;
    std::fs::write(folder.join("users.txt"), format!("\"{NAME}\" \"{password}\"\n"))?;
    let owner = crate::postgres::Owner::current()?;
    for path in [folder, &pair.key, &folder.join("users.txt")] {
        owner.give(path)?;
    }
    let log = folder.join("pgbouncer.log");
    let mut command = owner.command(program("pgbouncer")?);
    command.arg(folder.join("pgbouncer.ini")).stdin(Stdio::null());
    command.stdout(std::fs::File::create(&log)?).stderr(std::fs::File::options().append(true).open(&log)?);
    let mut process = Guarded::spawn(&mut command, "INT").context("pgbouncer")?;
    let conninfo = Conninfo {
        host: "127.0.0.1".to_owned(),
        port,
        user: NAME.to_owned(),
        password: password.to_owned(),
        dbname: NAME.to_owned(),
        sslmode: SslMode::VerifyFull,
        root_cert: Some(ca),
    };
    let up =
        wait_until(START_TIMEOUT, || Ok(process.ended()?.is_some() || psql(&conninfo, "select 1").is_ok()))?;
    if !up || process.ended()?.is_some() {
        bail!("pgbouncer does not serve; the end of its log:\n{}", tail(&log, 15));
    }
    let pid = Some(process.id());
    Ok(Side { name: "pgbouncer", conninfo, pid, _process: Process::Pgbouncer(process) })
}

/// Starts Wardline in the folder, recording to its disk, and returns the way through it with a token.
pub(crate) fn wardline(cluster: &Cluster, password: &str, folder: &Path) -> Result<Side> {
    let authority = Authority::new("Wardline bench")?;
    let ca = folder.join("ca.crt");
    authority.write(&ca)?;
    let pair = authority.issue(&["localhost", "127.0.0.1"], folder, "wardline")?;
    let port = free_port()?;
    let upstream_ca = cluster.root_cert().context("the benchmark's server has TLS")?;
    let mut toml = String::from("node = \"bench\"\n\n[listener.postgres]\n");
    writeln!(toml, "address = \"127.0.0.1:{port}\"\nsessions_max = {CLIENTS_MAX}")?;
    writeln!(toml, "sessions_per_person_max = {CLIENTS_MAX}")?;
    // All of its clients connect from one address, and at the same moment.
    writeln!(toml, "handshakes_per_address_max = {CLIENTS_MAX}")?;
    writeln!(toml, "tls = {{ certificate = {:?}, key = {:?} }}", pair.certificate, pair.key)?;
    writeln!(
        toml,
        "[resource.{NAME}]\nprotocol = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}",
        cluster.port()
    )?;
    writeln!(toml, "tls = {{ ca = {upstream_ca:?} }}\n[[role.{NAME}.allow]]\nresource = \"{NAME}\"")?;
    writeln!(toml, "read = [\"public.*\"]\nwrite = [\"public.*\"]\ntransfer = true")?;
    let mut wardline = Wardline::new(folder)?;
    wardline.configure(NAME, &toml)?;
    wardline.set_credential(NAME, NAME, password)?;
    let own = wardline.person(NAME, NAME)?;
    wardline.serve(port)?;
    let conninfo = Conninfo {
        host: "127.0.0.1".to_owned(),
        port,
        user: NAME.to_owned(),
        password: wardline.token(NAME, &own)?,
        dbname: NAME.to_owned(),
        sslmode: SslMode::VerifyFull,
        root_cert: Some(ca),
    };
    psql(&conninfo, "select 1").with_context(|| format!("the end of its log:\n{}", wardline.last_words()))?;
    Ok(Side { name: "wardline", conninfo, pid: wardline.pid(), _process: Process::Wardline(wardline) })
}

/// Returns a server program that Debian keeps out of the usual path.
fn program(name: &str) -> Result<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .into_iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .with_context(|| format!("`{name}` is not installed: apt-get install {name}"))
}

impl Side {
    /// Gives a client program the way to this side.
    pub(crate) fn environment(&self, command: &mut Command) {
        self.conninfo.apply(command);
    }
}
