//! A server of our own starts, answers, dies and comes back; nothing of it is left behind.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use testbed::SslMode;
use testbed::postgres::{Cluster, Options, Version, psql};
use testbed::upstreams;

#[test]
fn a_server_starts_answers_and_goes() {
    let mut cluster =
        Cluster::start(Options { version: Some(Version::V15), tls: true, ..Options::default() }).unwrap();
    let folder = cluster.folder().to_path_buf();
    let tls = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(cluster.psql(tls).unwrap(), "t|TLSv1.3");
    assert_eq!(psql(&cluster.conninfo_socket(), "select 1").unwrap(), "1");
    assert_eq!(cluster.psql("show password_encryption").unwrap(), "scram-sha-256");

    let mut wrong = cluster.conninfo();
    wrong.password = "wrong".to_owned();
    let error = psql(&wrong, "select 1").unwrap_err().to_string();
    assert!(error.contains("password authentication failed"), "{error}");

    // The certificate is checked: another authority is not believed.
    let mut stranger = cluster.conninfo();
    let other = tempfile::tempdir().unwrap();
    testbed::tls::Authority::new("another").unwrap().write(&other.path().join("ca.crt")).unwrap();
    stranger.root_cert = Some(other.path().join("ca.crt"));
    assert_eq!(stranger.sslmode, SslMode::VerifyFull);
    assert!(psql(&stranger, "select 1").unwrap_err().to_string().contains("certificate verify failed"));

    let port = cluster.port();
    cluster.stop().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    drop(cluster);
    assert!(!folder.exists());
}

#[test]
fn a_killed_server_comes_back_with_what_was_committed() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    cluster.psql("create table t as select 42 as answer").unwrap();
    cluster.kill9().unwrap();
    assert!(cluster.psql("select 1").is_err());
    cluster.restart().unwrap();
    assert_eq!(cluster.psql("select answer from t").unwrap(), "42");
    cluster.stop_immediate().unwrap();
    cluster.restart().unwrap();
    assert_eq!(cluster.psql("select answer from t").unwrap(), "42");
}

#[test]
fn a_named_folder_is_used_again() {
    let parent = tempfile::Builder::new().prefix("wardline-named-").tempdir().unwrap();
    open(parent.path());
    let options = Options { dir: Some(parent.path().join("pg")), ..Options::default() };
    let mut first = Cluster::start(options.clone()).unwrap();
    first.psql("create table t as select 42 as answer").unwrap();
    first.stop().unwrap();
    drop(first);
    let second = Cluster::start(options).unwrap();
    assert_eq!(second.psql("select answer from t").unwrap(), "42");
}

#[test]
fn settings_are_heard_and_a_wrong_one_is_told() {
    let settings = vec![("work_mem".to_owned(), "7MB".to_owned())];
    let cluster = Cluster::start(Options { settings, ..Options::default() }).unwrap();
    assert_eq!(cluster.psql("show work_mem").unwrap(), "7MB");
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = Cluster::start(Options { settings, ..Options::default() }).unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[test]
fn every_version_that_is_installed_runs() {
    let mut ran = 0;
    for found in upstreams::survey(false) {
        match found.programs {
            Ok(_) => {
                let (version, tls) = (Some(found.version), upstreams::has_tls(found.version));
                let cluster = Cluster::start(Options { version, tls, ..Options::default() }).unwrap();
                let answer = cluster.psql("show server_version_num").unwrap();
                assert!(answer.starts_with(&found.version.number().to_string()), "{answer}");
                ran += 1;
            }
            Err(reason) => println!("SKIP PostgreSQL {}: {reason}", found.version.number()),
        }
    }
    assert!(ran > 0, "at least PostgreSQL 15 must be installed");
}

#[test]
fn the_server_goes_when_its_owner_is_killed() {
    // Who is killed removes no temporary folder, so it gets one of ours.
    let parent = tempfile::Builder::new().prefix("wardline-orphan-").tempdir().unwrap();
    open(parent.path());
    let mut owner = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["postgres", "--dir"])
        .arg(parent.path().join("pg"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut uri = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut uri).unwrap();
    let address = uri.split(['@', '/']).find(|part| part.starts_with("127.0.0.1:")).unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < deadline, "still there");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn pgaudit_witnesses_what_reached_the_server() {
    let version = Some(Version::V15);
    let cluster = match Cluster::start(Options { version, pgaudit: true, ..Options::default() }) {
        Ok(cluster) => cluster,
        Err(error) if error.to_string().contains("has no pgaudit") => {
            println!("SKIP pgaudit: {error}");
            return;
        }
        Err(error) => panic!("{error:#}"),
    };
    cluster.psql("create extension pgaudit; create table witnessed (id int)").unwrap();
    cluster.psql("select * from witnessed").unwrap();
    let log = std::fs::read_to_string(cluster.log()).unwrap();
    assert!(log.contains("AUDIT: SESSION") && log.contains("select * from witnessed"), "{log}");
}

fn open(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("our own folder");
}
