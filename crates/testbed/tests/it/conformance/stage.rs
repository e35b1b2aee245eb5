//! What the rows share: a small hospital behind Wardline, psql, and the entries of the trail.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use testbed::Conninfo;
use testbed::gateway::{Builder, Gateway};
use testbed::postgres::{Cluster, Options};

pub(crate) const HOSPITAL: &str = "hospital";

/// Starts a server with a hospital of a few rows.
pub(crate) fn hospital() -> Cluster {
    let cluster = Cluster::start(Options { tls: true, ..Options::default() }).expect("PostgreSQL");
    cluster.create_database(HOSPITAL).expect("a database");
    cluster
        .psql_in(
            HOSPITAL,
            "create table patients (id int primary key, name text, ssn text);
             create table notes (id serial primary key, patient_id int, body text);
             create table claims (id int primary key, patient_id int, billed numeric);
             insert into patients select n, 'patient ' || n, '000-00-' || n from generate_series(1, 200) n;
             insert into notes (patient_id, body) select n, 'note ' || n from generate_series(1, 200) n;
             insert into claims select n, n, n * 10 from generate_series(1, 200) n;",
        )
        .expect("tables");
    cluster
}

/// Begins a gateway before it, with the roles of the rows.
pub(crate) fn gateway(cluster: &Cluster) -> Builder {
    Gateway::builder()
        .resource_of(HOSPITAL, cluster, HOSPITAL)
        .role("billing", HOSPITAL, "read = [\"public.claims\"]")
        .role("nurse", HOSPITAL, "read = [\"public.patients\", \"public.notes\"]\nwrite = [\"public.notes\"]\nexecute = [\"pg_catalog.nextval\"]")
        .role("clerk", HOSPITAL, "read = [\"public.*\"]\nwrite = [\"public.claims\"]\ntransfer = true")
}

/// Runs one statement text through psql.
pub(crate) fn psql(conninfo: &Conninfo, sql: &str) -> Output {
    script(conninfo, &["-c", sql], "")
}

/// Runs psql with a script on its standard input.
pub(crate) fn script(conninfo: &Conninfo, arguments: &[&str], script: &str) -> Output {
    let mut command = Command::new("psql");
    conninfo.apply(&mut command);
    command.args(["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("psql");
    // psql that was not let in ends without reading; its complaint is in the output.
    let _ = child.stdin.take().expect("a pipe").write_all(script.as_bytes());
    child.wait_with_output().expect("psql ends")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// Returns what the statement returned, which must have succeeded.
#[track_caller]
pub(crate) fn answer(conninfo: &Conninfo, sql: &str) -> String {
    let output = psql(conninfo, sql);
    assert!(output.status.success(), "`{sql}`: {}", err(&output));
    out(&output)
}

/// Checks that a statement was refused for want of a right, and returned nothing.
#[track_caller]
pub(crate) fn refused(conninfo: &Conninfo, sql: &str) {
    let output = psql(conninfo, sql);
    assert!(!output.status.success(), "`{sql}` was not refused: {}", out(&output));
    assert_eq!(out(&output), "", "a refused statement returned something");
    assert!(err(&output).contains("42501"), "`{sql}`: {}", err(&output));
}

/// Returns all entries of the trail.
pub(crate) fn entries(gateway: &Gateway) -> Vec<Value> {
    gateway.cli_json(&["trail", "tail", "-n", "1000000", "--json"]).expect("the trail can be read")
}

/// Returns a field of an entry as text.
pub(crate) fn text(entry: &Value, field: &str) -> String {
    match entry.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Returns the entries of one kind and person.
pub(crate) fn of<'a>(entries: &'a [Value], kind: &str, person: &str) -> Vec<&'a Value> {
    let of = |entry: &&Value| {
        text(entry, "kind") == kind && (person.is_empty() || text(entry, "person_name") == person)
    };
    entries.iter().filter(of).collect()
}

/// A session that stays open, from a chosen loopback address.
pub(crate) struct Held {
    // Both end the session when they are dropped.
    client: tokio_postgres::Client,
    runtime: tokio::runtime::Runtime,
}

impl Held {
    pub(crate) fn open(address: &str, conninfo: &Conninfo) -> Held {
        Held::try_open(address, conninfo).expect("a session")
    }

    /// The same; `None` where it is refused.
    pub(crate) fn try_open(address: &str, conninfo: &Conninfo) -> Option<Held> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let client = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind(format!("{address}:0").parse().expect("an address")).expect("a loopback address");
            let server = format!("{}:{}", conninfo.host, conninfo.port);
            let stream = socket.connect(server.parse().expect("an address")).await.expect("the listener");
            let mut config = tokio_postgres::Config::new();
            config.user(&conninfo.user).password(&conninfo.password).dbname(&conninfo.dbname);
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let (client, connection) = config.connect_raw(stream, connector(conninfo)).await.ok()?;
            tokio::spawn(connection);
            client.simple_query("select 1").await.expect("an answer");
            Some(client)
        })?;
        Some(Held { client, runtime })
    }

    /// Runs a text in simple mode; returns the SQLSTATE, empty where the connection is gone.
    pub(crate) fn ask(&self, sql: &str) -> Result<(), String> {
        let result = self.runtime.block_on(self.client.simple_query(sql));
        let state = |error: tokio_postgres::Error| {
            error.code().map_or_else(String::new, |code| code.code().to_owned())
        };
        result.map(drop).map_err(state)
    }

    /// Prepares a statement.
    pub(crate) fn prepare(&self, sql: &str) -> tokio_postgres::Statement {
        self.runtime.block_on(self.client.prepare(sql)).expect("it is prepared")
    }

    /// Runs a prepared statement and returns how many rows came, or the SQLSTATE.
    pub(crate) fn run(&self, statement: &tokio_postgres::Statement) -> Result<usize, String> {
        let result = self.runtime.block_on(self.client.query(statement, &[]));
        let state = |error: tokio_postgres::Error| {
            error.code().map_or_else(String::new, |code| code.code().to_owned())
        };
        result.map(|rows| rows.len()).map_err(state)
    }
}

fn connector(
    conninfo: &Conninfo,
) -> impl tokio_postgres::tls::TlsConnect<tokio::net::TcpStream, Stream: Send + Unpin + 'static> + use<> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = conninfo.root_cert.as_ref().expect("an authority");
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut make = tokio_postgres_rustls::MakeRustlsConnect::new(config);
    <tokio_postgres_rustls::MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio::net::TcpStream>>::make_tls_connect(
        &mut make,
        &conninfo.host,
    )
    .expect("a connector")
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        std::fs::copy(&file, &target).expect("a copy");
    }
}

/// Reads a file without the zeros at its end: segments are made ahead of need, and searching those takes minutes.
pub(crate) fn content(file: &Path) -> std::io::Result<Vec<u8>> {
    const PAGE: usize = 4096;
    let mut bytes = std::fs::read(file)?;
    let kept =
        bytes.chunks(PAGE).rposition(|page| *page != [0; PAGE][..page.len()]).map_or(0, |last| last + 1);
    bytes.truncate(kept * PAGE);
    Ok(bytes)
}

/// Returns the files below a folder. A file that goes away meanwhile is left out.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Returns the exit code and words of `wardline verify`, of the configured trail or of a copy.
pub(crate) fn verify(gateway: &Gateway, trail: Option<&Path>, more: &[&str]) -> (Option<i32>, String) {
    let key = gateway.data().join("root.key").display().to_string();
    let trail = trail.map(|trail| trail.display().to_string());
    let mut arguments = vec!["verify"];
    if let Some(trail) = &trail {
        arguments.extend(["--trail", trail, "--root-key", &key, "--node", "test"]);
    }
    arguments.extend(more);
    let output = gateway.cli_output(&arguments).expect("wardline verify");
    (output.status.code(), format!("{}{}", out(&output), err(&output)))
}
