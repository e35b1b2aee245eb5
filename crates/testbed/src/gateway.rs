//! The `wardline` program under test: a folder with a generated `wardline.toml`, a server that can be killed and
//! started again on it, people with passwords, and the command line.
//!
//! Everything goes through the program, as a user has it. Settings that no method names go in as TOML text.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::demo::wardline::Wardline;
use crate::postgres::Cluster;
use crate::process::{Guarded, random_password, tail, wait_until};
use crate::tls::Authority;
use crate::{Conninfo, SslMode, free_port};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
const EXCEPTION: &str = "a test on one machine, decided by its author, until it ends";
/// The role that may do everything on every resource.
pub const ROLE_ALL: &str = "everything";

/// What clients meet at the listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listener {
    /// TLS with a certificate that `verify-full` accepts.
    #[default]
    Tls,
    /// TLS with the certificate that Wardline makes for itself.
    SelfSigned,
    /// No TLS, on the loopback address.
    Plaintext,
}

/// How Wardline is to be.
#[derive(Debug, Default)]
pub struct Builder {
    dir: Option<PathBuf>,
    listener: Listener,
    top: String,
    listener_fields: String,
    sections: String,
    credentials: Vec<(String, Conninfo)>,
    people: Vec<(String, Vec<String>, String)>,
    environment: Vec<(String, String)>,
    launcher: Vec<String>,
    log: Option<String>,
    unused: Option<anyhow::Error>,
}

impl Builder {
    /// Keeps the files in this folder instead of a temporary one; what is there is used again.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Builder {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Chooses what clients meet.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Builder {
        self.listener = listener;
        self
    }

    /// Sets a field of the listener, such as `("scram", "true")`; the value is TOML.
    #[must_use]
    pub fn listener_field(mut self, name: &str, value: &str) -> Builder {
        let _ = writeln!(self.listener_fields, "{name} = {value}");
        self
    }

    /// Sets a field at the top of the file, such as `("drain_timeout_ms", "1000")`; the value is TOML.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Builder {
        let _ = writeln!(self.top, "{name} = {value}");
        self
    }

    /// Adds sections, as TOML text.
    #[must_use]
    pub fn toml(mut self, text: &str) -> Builder {
        let _ = writeln!(self.sections, "{text}");
        self
    }

    /// Adds a resource: the database that `conninfo` names, with its user and password in the vault. TLS is as
    /// `conninfo` has it.
    #[must_use]
    pub fn resource(mut self, name: &str, conninfo: &Conninfo) -> Builder {
        let tls = match (conninfo.sslmode, &conninfo.root_cert) {
            (SslMode::VerifyFull, Some(ca)) => format!("{{ ca = {ca:?} }}"),
            (SslMode::VerifyFull, None) => "{ mode = \"verify-full\" }".to_owned(),
            (SslMode::Require, _) => format!("{{ mode = \"no-verify\", exception = \"{EXCEPTION}\" }}"),
            (SslMode::Disable, _) => format!("{{ mode = \"disable\", exception = \"{EXCEPTION}\" }}"),
        };
        let _ = writeln!(
            self.sections,
            "[resource.{name}]\nprotocol = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = {:?}\ntls = {tls}",
            conninfo.host, conninfo.port, conninfo.dbname
        );
        self.credentials.push((name.to_owned(), conninfo.clone()));
        self
    }

    /// Makes a role `wardline_app`, superuser or not, in the cluster, and adds the database as a resource with
    /// it.
    #[must_use]
    pub fn resource_of(self, name: &str, cluster: &Cluster, dbname: &str) -> Builder {
        let credential = random_password().and_then(|password| {
            let exists = cluster.psql("select count(*) from pg_roles where rolname = 'wardline_app'")?;
            let verb = if exists == "0" { "create" } else { "alter" };
            cluster.psql(&format!("{verb} role wardline_app login password '{password}'"))?;
            cluster.psql_in(dbname, &format!("grant all on database \"{dbname}\" to wardline_app"))?;
            cluster.psql_in(dbname, "grant all on schema public to wardline_app")?;
            cluster.psql_in(dbname, "grant all on all tables in schema public to wardline_app")?;
            cluster.psql_in(dbname, "grant all on all sequences in schema public to wardline_app")?;
            Ok(cluster.conninfo().with_dbname(dbname).with_user("wardline_app", &password))
        });
        match credential {
            Ok(conninfo) => self.resource(name, &conninfo),
            Err(error) => Builder { unused: Some(error), ..self },
        }
    }

    /// Adds a role by the fields of one `allow` rule, such as `read = ["public.*"]`.
    #[must_use]
    pub fn role(self, name: &str, resource: &str, fields: &str) -> Builder {
        self.toml(&format!("[[role.{name}.allow]]\nresource = \"{resource}\"\n{fields}"))
    }

    /// Adds the role [`ROLE_ALL`].
    #[must_use]
    pub fn role_all(self) -> Builder {
        let all = "read = [\"*\"]\nwrite = [\"*\"]\ndefine = [\"*\"]\nexecute = [\"*\"]\n\
            transfer = true\nadminister = true";
        self.role(ROLE_ALL, "*", all)
    }

    /// Adds a person with a password of its own.
    #[must_use]
    pub fn person(mut self, name: &str, roles: &[&str]) -> Builder {
        match random_password() {
            Ok(password) => {
                let roles = roles.iter().map(|role| (*role).to_owned()).collect();
                self.people.push((name.to_owned(), roles, password));
            }
            Err(error) => self.unused = Some(error),
        }
        self
    }

    /// Gives the server an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server through another program, such as `["prlimit", "--fsize=1000000"]`, which must exec it.
    #[must_use]
    pub fn launcher(mut self, words: &[&str]) -> Builder {
        self.launcher = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Chooses what the server logs, as `--log` takes it.
    #[must_use]
    pub fn log(mut self, filter: &str) -> Builder {
        self.log = Some(filter.to_owned());
        self
    }

    /// Writes the configuration, makes keys, credentials and people, and starts the server.
    ///
    /// # Errors
    /// There is no `wardline` program, it refuses something, or it does not start: then the error has the end
    /// of its log.
    pub fn start(self) -> Result<Gateway> {
        let mut gateway = self.prepare()?;
        gateway.serve()?;
        Ok(gateway)
    }

    /// Does the same without starting the server.
    ///
    /// # Errors
    /// There is no `wardline` program, or it refuses something.
    pub fn prepare(self) -> Result<Gateway> {
        if let Some(error) = self.unused {
            return Err(error);
        }
        let (folder, temporary) = match &self.dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                (dir.canonicalize()?, None)
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("wardline-gw-").tempdir()?;
                (temporary.path().canonicalize()?, Some(temporary))
            }
        };
        let port = free_port()?;
        let root_cert = self.certificate(&folder)?;
        let wardline = Wardline::new(&folder)?;
        wardline.configure("test", &self.text(port, &folder))?;
        for (resource, credential) in &self.credentials {
            wardline.set_credential(resource, &credential.user, &credential.password)?;
        }
        for (name, roles, password) in &self.people {
            let mut arguments = vec!["user", "add", name, "--password-stdin"];
            roles.iter().for_each(|role| arguments.extend(["--role", role]));
            wardline.done(&arguments, Some(password))?;
        }
        Ok(Gateway {
            wardline,
            folder,
            port,
            listener: self.listener,
            root_cert,
            people: self.people,
            environment: self.environment,
            launcher: self.launcher,
            filter: self.log,
            server: None,
            _temporary: temporary,
        })
    }

    fn certificate(&self, folder: &Path) -> Result<Option<PathBuf>> {
        if self.listener != Listener::Tls {
            return Ok(None);
        }
        let authority = Authority::new("Wardline testbed")?;
        let ca = folder.join("ca.crt");
        authority.write(&ca)?;
        authority.issue(&["localhost", "127.0.0.1"], folder, "listener")?;
        Ok(Some(ca))
    }

    fn text(&self, port: u16, folder: &Path) -> String {
        let tls = match self.listener {
            Listener::Tls => format!(
                "tls = {{ certificate = {:?}, key = {:?} }}",
                folder.join("listener.crt"),
                folder.join("listener.key")
            ),
            Listener::SelfSigned => "tls = \"self-signed\"".to_owned(),
            Listener::Plaintext => "plaintext = true".to_owned(),
        };
        format!(
            "node = \"test\"\n{}[listener.postgres]\naddress = \"127.0.0.1:{port}\"\n{tls}\n{}{}",
            self.top, self.listener_fields, self.sections
        )
    }
}

/// A configured Wardline, running or not. It ends when this value does.
#[derive(Debug)]
pub struct Gateway {
    wardline: Wardline,
    folder: PathBuf,
    port: u16,
    listener: Listener,
    root_cert: Option<PathBuf>,
    people: Vec<(String, Vec<String>, String)>,
    environment: Vec<(String, String)>,
    launcher: Vec<String>,
    filter: Option<String>,
    server: Option<Guarded>,
    _temporary: Option<TempDir>,
}

impl Gateway {
    /// Begins with TLS on a free port, no resource and nobody.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the server, also again after it ended, and waits until it takes connections.
    ///
    /// # Errors
    /// It runs already, or does not start: then the error has the end of its log.
    pub fn serve(&mut self) -> Result<()> {
        let mut server = self.spawn()?;
        let up = wait_until(START_TIMEOUT, || {
            Ok(server.ended()?.is_some() || TcpStream::connect(("127.0.0.1", self.port)).is_ok())
        })?;
        if let Some(status) = server.ended()? {
            server.wait(Duration::ZERO)?;
            bail!("`wardline serve` ended with {status}; the end of its log:\n{}", tail(&self.log(), 15));
        }
        if !up {
            server.kill()?;
            bail!("`wardline serve` takes no connections; the end of its log:\n{}", tail(&self.log(), 15));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Starts the server and kills it after a while, whether or not it takes connections by then.
    ///
    /// # Errors
    /// It runs already, or ended by itself.
    pub fn serve_and_kill9(&mut self, after: Duration) -> Result<()> {
        self.server = Some(self.spawn()?);
        std::thread::sleep(after);
        self.kill9()
    }

    fn spawn(&self) -> Result<Guarded> {
        ensure!(self.server.is_none(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.log())?;
        let program = program()?;
        let mut words = self.launcher.iter().map(AsRef::as_ref).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().context("a program")?);
        command.args(words).arg("--config").arg(self.config()).arg("serve");
        if let Some(filter) = &self.filter {
            command.args(["--log", filter]);
        }
        command.envs(self.environment.iter().map(|(n, v)| (n, v))).env("NO_COLOR", "1");
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Guarded::spawn(&mut command, "KILL")
    }

    /// Kills the server.
    ///
    /// # Errors
    /// It was not started, or has ended by itself.
    pub fn kill9(&mut self) -> Result<()> {
        let mut server = self.server.take().context("the server does not run")?;
        if let Some(status) = server.ended()? {
            server.wait(Duration::ZERO)?;
            bail!("the server had ended by itself with {status}:\n{}", tail(&self.log(), 15));
        }
        server.kill()?;
        Ok(())
    }

    /// Asks the server to drain (SIGTERM) and returns how it ended.
    ///
    /// # Errors
    /// It did not end in time and was killed.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(STOP_TIMEOUT)
    }

    /// Makes the server read its configuration again (SIGHUP).
    ///
    /// # Errors
    /// It does not run.
    pub fn reload(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Waits for the server's end.
    ///
    /// # Errors
    /// It did not end in time and was killed.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let mut server = self.server.take().context("the server does not run")?;
        if let Some(status) = server.wait(timeout)? {
            return Ok(status);
        }
        server.kill()?;
        bail!(
            "`wardline serve` did not end in {} s; the end of its log:\n{}",
            timeout.as_secs(),
            tail(&self.log(), 15)
        )
    }

    /// Returns whether the server runs.
    pub fn runs(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| matches!(server.ended(), Ok(None)))
    }

    /// Returns the server's process id.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Guarded::id)
    }

    /// Returns the listener's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns how a person reaches a resource with the password: with `verify-full` where the listener has a
    /// certificate of ours.
    ///
    /// # Errors
    /// Nobody of that name was added by the builder.
    pub fn conninfo(&self, person: &str, resource: &str) -> Result<Conninfo> {
        let found = self.people.iter().find(|(name, _, _)| name == person);
        let (name, _, password) = found.with_context(|| format!("nobody is called `{person}`"))?;
        Ok(Conninfo {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: name.clone(),
            password: password.clone(),
            dbname: resource.to_owned(),
            sslmode: match self.listener {
                Listener::Tls => SslMode::VerifyFull,
                Listener::SelfSigned => SslMode::Require,
                Listener::Plaintext => SslMode::Disable,
            },
            root_cert: self.root_cert.clone(),
        })
    }

    /// Returns the same with a token in the place of the password.
    ///
    /// # Errors
    /// Nobody of that name was added by the builder, or `wardline login` refuses.
    pub fn conninfo_token(&self, person: &str, resource: &str) -> Result<Conninfo> {
        let conninfo = self.conninfo(person, resource)?;
        let token = self.wardline.token(person, &conninfo.password)?;
        Ok(conninfo.with_user(person, &token))
    }

    /// Runs a command of the program on this configuration; its refusal is an error with what it said.
    ///
    /// # Errors
    /// It ended with anything but 0.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        self.wardline.done(arguments, None)
    }

    /// Does the same with a line for standard input, such as a password.
    ///
    /// # Errors
    /// It ended with anything but 0.
    pub fn cli_stdin(&self, arguments: &[&str], line: &str) -> Result<String> {
        self.wardline.done(arguments, Some(line))
    }

    /// Runs a command and returns how it ended and what it said.
    ///
    /// # Errors
    /// It does not start.
    pub fn cli_output(&self, arguments: &[&str]) -> Result<Output> {
        self.wardline.output(arguments, None)
    }

    /// Does the same with lines for standard input.
    ///
    /// # Errors
    /// It does not start.
    pub fn cli_output_stdin(&self, arguments: &[&str], lines: &str) -> Result<Output> {
        self.wardline.output(arguments, Some(lines))
    }

    /// Returns the lines of JSON that a command prints, such as `trail tail --json -n 1000`.
    ///
    /// # Errors
    /// It ended with anything but 0, or printed something else.
    pub fn cli_json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        self.wardline.json_lines(arguments)
    }

    /// Returns the folder that holds everything.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the data folder.
    pub fn data(&self) -> PathBuf {
        self.wardline.data()
    }

    /// Returns the configuration file; who changes it calls [`Gateway::reload`] or starts the server again.
    pub fn config(&self) -> PathBuf {
        self.wardline.file()
    }

    /// Returns the server's log.
    pub fn log(&self) -> PathBuf {
        self.wardline.log()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.server.as_ref().context("the server does not run")?.signal(signal)?;
        Ok(())
    }
}

// A test that fails half-way leaves no server behind.
impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take()
            && let Err(error) = server.kill()
        {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// Finds the program: `WARDLINE_BIN`, or beside our own, which for a test is one folder further down.
///
/// # Errors
/// It is in neither place.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("WARDLINE_BIN") {
        let named = PathBuf::from(named);
        ensure!(named.exists(), "WARDLINE_BIN names `{}`, which is not there", named.display());
        return Ok(named);
    }
    let own = std::env::current_exe().context("find our own program")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("wardline"))
        .find(|path| path.is_file())
        .context("no `wardline` program: set WARDLINE_BIN, or `cargo build -p wardline`")
}
