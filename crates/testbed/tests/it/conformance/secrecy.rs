//! Rows 16 and 30: nothing in clear at rest, nothing in clear on the wire.

use std::process::{Command, Stdio};

use testbed::gateway::{Gateway, Listener};
use testbed::postgres::{Cluster, Options};
use testbed::{Conninfo, SslMode};

use super::stage::{self, HOSPITAL, answer, err, psql};

/// Words that occur nowhere but where a test plants them.
const CANARIES: [&str; 5] =
    ["canaryliteral7f3a", "canaryparameter7f3a", "canaryinsert7f3a", "canaryresult7f3a", "canarycopied7f3a"];

#[test]
fn row_16_encryption_at_rest() {
    let cluster = stage::hospital();
    cluster.psql_in(HOSPITAL, "insert into patients values (1000, 'canaryresult7f3a', null)").expect("a row");
    let mut gateway =
        stage::gateway(&cluster).role_all().person("ann", &["everything"]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select count(*) from patients where name = 'canaryliteral7f3a'"), "0");
    assert_eq!(answer(&ann, "select name from patients where id = 1000"), "canaryresult7f3a");
    assert_eq!(answer(&ann, "insert into notes (body) values ('canaryinsert7f3a')"), "");
    let bound = "insert into notes (body) values ($1) \\bind canaryparameter7f3a \\g\n";
    let bound = stage::script(&ann, &["-v", "ON_ERROR_STOP=1"], bound);
    // psql has \bind from version 16 on; before that, PREPARE carries a parameter as well.
    if !bound.status.success() {
        answer(
            &ann,
            "prepare p (text) as insert into notes (body) values ($1); execute p ('canaryparameter7f3a')",
        );
    }
    let copied = "copy notes (body) from stdin;\ncanarycopied7f3a\n\\.\n";
    let copied = stage::script(&ann, &["-v", "ON_ERROR_STOP=1"], copied);
    assert!(copied.status.success(), "{}", err(&copied));
    let there = answer(&ann, "select count(*) from notes where body like 'canary%7f3a'");
    assert_eq!(there, "3", "the canaries reached the database");

    let secrets = [
        ann.password.clone(),
        gateway.conninfo_token("ann", HOSPITAL).expect("a token").password,
        std::fs::read_to_string(gateway.config()).map(|_| "canary".to_owned()).expect("a configuration"),
    ];
    let needles: Vec<&str> = CANARIES.iter().copied().chain(secrets.iter().map(String::as_str)).collect();
    search(&gateway, &needles);
    assert!(gateway.terminate().expect("it ends").success());
    search(&gateway, &needles);

    // With another key nothing opens: it refuses to start, and says so.
    let key = gateway.data().join("root.key");
    let right = std::fs::read(&key).expect("the key");
    std::fs::write(&key, "0123456789abcdef".repeat(4)).expect("another key");
    let error = gateway.serve().expect_err("it started with a wrong key").to_string();
    assert!(error.contains("key"), "the reason does not name the key: {error}");
    std::fs::write(&key, right).expect("the key");
    gateway.serve().expect("it starts with the right key");
}

/// Looks for words in every file of the data folder, in its log and in what it prints of the trail.
#[track_caller]
fn search(gateway: &Gateway, needles: &[&str]) {
    let mut places = stage::files(&gateway.data());
    assert!(places.len() > 3, "the data folder holds little: {places:?}");
    places.push(gateway.log());
    for file in places {
        let Ok(bytes) = stage::content(&file) else { continue };
        for needle in needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "`{needle}` lies in clear in {}", file.display());
        }
    }
}

#[test]
fn row_30_tls_on_both_legs() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster).person("ann", &["nurse"]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");

    let plain = psql(&Conninfo { sslmode: SslMode::Disable, ..ann.clone() }, "select 1");
    assert!(!plain.status.success(), "plaintext was accepted");
    assert!(err(&plain).to_lowercase().contains("tls") || err(&plain).contains("SSL"), "{}", err(&plain));

    check_tls(gateway.port(), "-tls1", false);
    check_tls(gateway.port(), "-tls1_1", false);
    check_tls(gateway.port(), "-tls1_2", true);
    check_tls(gateway.port(), "-tls1_3", true);

    let used = cluster.psql("select distinct version from pg_stat_ssl where ssl").expect("psql");
    assert!(used.contains("TLSv1.3"), "the leg to the resource: {used}");
    upstream_without_tls();
    plaintext_listener(&cluster);
}

/// Tries one version of TLS with OpenSSL, whose own objections to old versions are turned off.
#[track_caller]
fn check_tls(port: u16, version: &str, expected: bool) {
    let output = Command::new("openssl")
        .args(["s_client", "-starttls", "postgres", version, "-cipher", "ALL:@SECLEVEL=0"])
        .args(["-connect", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    let text = String::from_utf8_lossy(&output.stdout);
    let agreed = text.contains("Server certificate\n") && !text.contains("Cipher is (NONE)");
    assert_eq!(agreed, expected, "{version}: {text}{}", err(&output));
}

/// A resource that offers no TLS is not used, unless an exception says so.
fn upstream_without_tls() {
    let cluster = Cluster::start(Options::default()).expect("PostgreSQL without TLS");
    cluster.create_database(HOSPITAL).expect("a database");
    let plain = cluster.conninfo().with_dbname(HOSPITAL);
    let strict = Conninfo { sslmode: SslMode::VerifyFull, ..plain.clone() };
    let gateway = Gateway::builder()
        .resource(HOSPITAL, &strict)
        .role_all()
        .person("ann", &["everything"])
        .start()
        .expect("it starts");
    let output = psql(&gateway.conninfo("ann", HOSPITAL).expect("a person"), "select 1");
    assert!(!output.status.success(), "a resource without TLS was used");
    assert_eq!(stage::out(&output), "");

    let weak = std::fs::read_to_string(gateway.config()).expect("the configuration");
    let weak = weak.replace("{ mode = \"verify-full\" }", "{ mode = \"disable\" }");
    assert!(weak.contains("disable"), "{weak}");
    std::fs::write(gateway.config(), weak).expect("a configuration");
    let refused = gateway.cli_output(&["check"]).expect("wardline check");
    assert_eq!(refused.status.code(), Some(1));
    assert!(format!("{}{}", stage::out(&refused), err(&refused)).contains("exception"));
    drop(gateway);

    let excepted = Gateway::builder()
        .resource(HOSPITAL, &plain)
        .role_all()
        .person("ann", &["everything"])
        .start()
        .expect("it starts");
    assert_eq!(answer(&excepted.conninfo("ann", HOSPITAL).expect("a person"), "select 1"), "1");
    let log = std::fs::read_to_string(excepted.log()).expect("the log");
    assert!(log.contains("exception"), "the exception is not shown at the start: {log}");
}

/// Plaintext towards clients is for the loopback address, and only where it is written.
fn plaintext_listener(cluster: &Cluster) {
    let gateway = stage::gateway(cluster).listener(Listener::Plaintext).prepare().expect("a configuration");
    let open = std::fs::read_to_string(gateway.config())
        .expect("the configuration")
        .replace("address = \"127.0.0.1:", "address = \"0.0.0.0:");
    std::fs::write(gateway.config(), open).expect("a configuration");
    let refused = gateway.cli_output(&["check"]).expect("wardline check");
    assert_eq!(refused.status.code(), Some(1), "plaintext on every address was accepted");
}
