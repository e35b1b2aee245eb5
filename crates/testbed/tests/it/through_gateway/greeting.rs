//! How a session begins: versions of the protocol, encryption, what is refused at the door, deadlines and limits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use testbed::gateway::ROLE_ALL;
use testbed::postgres::{Cluster, Version};
use testbed::wire::{self, Message, PROTOCOL_3_2, Start, Wire, front};
use testbed::{Conninfo, SslMode, upstreams};

use super::stage::{self, PERSON, RESOURCE};

fn parameters(pairs: &[(&str, &str)]) -> Start {
    let parameters = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Start { parameters, ..Start::default() }
}

/// Begins a session that is refused before the sign-in, and returns why.
#[track_caller]
fn refusal(server: &Conninfo, start: &Start) -> Message {
    let mut wire = Wire::open(server, start).expect("a connection");
    wire.start_up(server, start).expect("a start-up message is taken");
    let said = wire.rest().expect("an end");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].kind, said[0].field(b'S').as_deref()), (b'E', Some("FATAL")), "{said:?}");
    said.into_iter().next().expect("one message")
}

fn answers(wire: &mut Wire) {
    let said = wire.query("select 6 * 7").expect("an answer");
    assert_eq!(said[1].body, b"\0\x01\0\0\0\x0242", "{said:?}");
}

#[test]
fn protocols_and_encryption() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    let server = stage::through(&gateway);
    versions(&server);
    options(&server);
    direct_tls(&server);
    negotiated_tls(&server);
    refused(&server);
    cancelled(&cluster, &server);
}

fn versions(server: &Conninfo) {
    let mut wire = Wire::connect(server).expect("3.0");
    assert_eq!(wire.key.len(), 4);
    assert!(wire.greeting.iter().all(|message| message.kind == b'S'), "{:?}", wire.greeting);
    answers(&mut wire);

    let mut wire = Wire::start(server, &Start { protocol: PROTOCOL_3_2, ..Start::default() }).expect("3.2");
    assert_eq!(wire.key.len(), 32);
    assert!(wire.greeting.iter().all(|message| message.kind == b'S'), "{:?}", wire.greeting);
    answers(&mut wire);

    // Newer than any: told what is spoken here, and served.
    let newest = Start { protocol: (3 << 16) | 9999, ..Start::default() };
    let mut wire = Wire::start(server, &newest).expect("3.9999");
    let told = &wire.greeting[0];
    assert_eq!((told.kind, &told.body[..]), (b'v', &b"\0\x03\0\x02\0\0\0\0"[..]));
    assert_eq!(wire.key.len(), 32);
    answers(&mut wire);

    for protocol in [2 << 16, 4 << 16] {
        let said = refusal(server, &Start { protocol, ..Start::default() });
        assert_eq!(said.field(b'C').as_deref(), Some("0A000"), "{said:?}");
    }
}

fn options(server: &Conninfo) {
    let unknown = parameters(&[("_pq_.one", "1"), ("application_name", "wire"), ("_pq_.two", "2")]);
    let mut wire = Wire::start(server, &unknown).expect("unknown options are no reason to refuse");
    let told = &wire.greeting[0];
    assert_eq!(
        (told.kind, &told.body[..]),
        (b'v', &b"\0\x03\0\0\0\0\0\x02_pq_.one\0_pq_.two\0"[..]),
        "{told:?}"
    );
    answers(&mut wire);

    let settings = parameters(&[
        ("options", "-c search_path=pg_temp --statement-timeout=7s -cdatestyle=German,\\ DMY"),
        ("TimeZone", "Asia/Tokyo"),
    ]);
    let mut wire = Wire::start(server, &settings).expect("settings that decide no rights");
    let asked = "select concat_ws('/', current_setting('timezone'), current_setting('search_path'),
        current_setting('statement_timeout'), current_setting('datestyle'))";
    let said = wire.query(asked).expect("an answer");
    assert!(said[1].body.ends_with(b"Asia/Tokyo/pg_temp/7s/German, DMY"), "{said:?}");
}

fn direct_tls(server: &Conninfo) {
    let mut wire = Wire::start(server, &Start { direct_tls: true, ..Start::default() }).expect("direct TLS");
    assert_eq!(wire.alpn().as_deref(), Some(&b"postgresql"[..]));
    answers(&mut wire);

    for alpn in [None, Some("http/1.1")] {
        let mut wire = Wire::plain(server).expect("a connection");
        // TLS refuses by its own alert, or we hang up: no session either way.
        let refused = wire.secure(server, alpn).is_err()
            || wire.start_up(server, &Start::default()).is_err()
            || wire.rest().is_ok_and(|said| said.is_empty());
        assert!(refused, "direct TLS with {alpn:?}");
    }

    // The same with the client of PostgreSQL 17, where it is there.
    match upstreams::programs(Version::V17) {
        Ok(bin) if bin.join("psql").exists() => {
            let mut command = Command::new(bin.join("psql"));
            server.apply(&mut command);
            command.env("PGSSLNEGOTIATION", "direct").env("PGCHANNELBINDING", "disable");
            let output = command.args(["-X", "-w", "-A", "-t", "-c", "select 6 * 7"]).output().expect("psql");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "42", "{said}");
        }
        Ok(_) => println!("SKIP direct TLS with psql 17: its wheel has no psql"),
        Err(reason) => println!("SKIP direct TLS with psql 17: {reason:#}"),
    }
}

fn negotiated_tls(server: &Conninfo) {
    // GSSAPI is refused as PostgreSQL refuses it, by one byte, and the client goes on with TLS.
    let mut wire = Wire::plain(server).expect("a connection");
    wire.send(&wire::GSS_REQUEST).expect("it is read");
    assert_eq!(wire.byte().expect("an answer"), b'N');
    wire.send(&wire::SSL_REQUEST).expect("it is read");
    assert_eq!(wire.byte().expect("an answer"), b'S');
    wire.secure(server, Some("postgresql")).expect("TLS");
    wire.start_up(server, &Start::default()).expect("it is read");
    wire.sign_in(server).expect("a session");
    answers(&mut wire);

    // Bytes behind the request, still in clear, are never taken for part of the session (CVE-2021-23214).
    let mut wire = Wire::plain(server).expect("a connection");
    wire.send(&[&wire::SSL_REQUEST[..], &front::query("select 'slipped in'")].concat()).expect("sent");
    assert_eq!(wire.byte().expect("an answer"), b'S');
    assert!(wire.secure(server, None).is_err());

    // Plaintext where TLS is required, also after GSSAPI was refused.
    let plain = Conninfo { sslmode: SslMode::Disable, ..server.clone() };
    let said = refusal(&plain, &Start::default());
    assert_eq!(said.field(b'C').as_deref(), Some("28000"), "{said:?}");
    assert_eq!(said.field(b'M').as_deref(), Some("TLS is required"), "{said:?}");
}

fn refused(server: &Conninfo) {
    for value in ["true", "database", "1", "on"] {
        let said = refusal(server, &parameters(&[("replication", value)]));
        assert_eq!(said.field(b'C').as_deref(), Some("0A000"), "{said:?}");
        assert_eq!(said.field(b'M').as_deref(), Some("not supported: replication"));
    }
    answers(&mut Wire::start(server, &parameters(&[("replication", "off")])).expect("no replication"));
    let nobody = server.clone().with_user("", "");
    assert_eq!(refusal(&nobody, &Start::default()).field(b'C').as_deref(), Some("28000"));
    // A setting that is not passed on is refused, not dropped.
    for setting in
        [("row_security", "off"), ("options", "-c session_authorization=postgres"), ("options", "-B 8")]
    {
        let error = Wire::start(server, &parameters(&[setting])).expect_err("not supported").to_string();
        assert!(error.contains("FATAL") && error.contains("0A000") && error.contains("start-up"), "{error}");
    }
}

fn cancelled(cluster: &Cluster, server: &Conninfo) {
    for protocol in [wire::PROTOCOL_3_0, PROTOCOL_3_2] {
        let start = Start { protocol, ..Start::default() };
        let mut mine = Wire::start(server, &start).expect("a session");
        let other = Wire::start(server, &start).expect("a session");
        mine.send(&front::query("select pg_sleep(60)")).expect("sent");
        // Until it sleeps, a cancel request has nothing to cancel.
        stage::until_run(cluster, "pg_sleep", 1);

        let mut wrong = mine.key.clone();
        wrong[0] ^= 1;
        wire::cancel(server, mine.process, &wrong).expect("silence");
        wire::cancel(server, mine.process, &other.key).expect("silence");
        wire::cancel(server, mine.process ^ 1, &mine.key).expect("silence");
        wire::cancel(server, other.process, &other.key).expect("silence");
        let long = vec![7; 256];
        wire::cancel(server, mine.process, &long).expect("silence");
        // The made-up ones did nothing: it still sleeps.
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(500));
        wire::cancel(server, mine.process, &mine.key).expect("silence");
        let said = mine.until(b'Z').expect("an answer");
        assert!(begun.elapsed() >= Duration::from_millis(500), "cancelled before its time");
        let error = said.iter().find(|message| message.kind == b'E').expect("an error");
        assert_eq!(error.field(b'C').as_deref(), Some("57014"), "{error:?}");
        answers(&mut mine);
    }
}

#[test]
fn limits_at_the_door() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    let gateway = stage::builder(&cluster)
        .person("bob", &[ROLE_ALL])
        .listener_field("sessions_max", "3")
        .listener_field("handshakes_per_address_max", "8")
        .listener_field("sessions_per_person_max", "2")
        .listener_field("handshake_timeout_ms", "2000")
        .listener_field("message_bytes_max", "100000")
        .start()
        .expect("Wardline");
    let ann = stage::through(&gateway);
    let bob = gateway.conninfo("bob", RESOURCE).expect("a person");
    per_person(&ann, &bob);
    silent_handshakes(&ann);
    in_all(&ann, &bob);
    oversized(&ann);
}

/// Waits until sessions that have ended are counted out: the client's end comes first.
fn again(server: &Conninfo) -> Wire {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match Wire::connect(server) {
            Ok(wire) => return wire,
            Err(error) if Instant::now() > deadline => panic!("{error:#}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn per_person(ann: &Conninfo, bob: &Conninfo) {
    let (mut first, mut second) = (Wire::connect(ann).expect("one"), Wire::connect(ann).expect("two"));
    let error = Wire::connect(ann).expect_err("one too many").to_string();
    assert!(error.contains("53300") && error.contains("too many sessions"), "{error}");
    answers(&mut Wire::connect(bob).expect("another person"));
    answers(&mut first);
    second.send(&front::TERMINATE).expect("sent");
    drop(second);
    answers(&mut again(ann));
    answers(&mut first);
}

/// Connections that say nothing, half a packet, or half a handshake are cut, and nobody waits for them.
fn silent_handshakes(ann: &Conninfo) {
    let beginnings: [&[u8]; 4] = [b"", &[0, 0], &wire::SSL_REQUEST, b"\x16\x03\x01\x02\x00\x01"];
    let begun = Instant::now();
    let silent: Vec<TcpStream> = beginnings
        .iter()
        .map(|bytes| {
            let mut socket = TcpStream::connect((ann.host.as_str(), ann.port)).expect("a connection");
            socket.write_all(bytes).expect("sent");
            socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
            socket
        })
        .collect();
    let mut unproven = Wire::open(ann, &Start::default()).expect("TLS");
    unproven.start_up(ann, &Start::default()).expect("sent");
    assert_eq!(unproven.receive().expect("a question").kind, b'R');
    answers(&mut again(ann));
    for mut socket in silent {
        let mut said = Vec::new();
        // Closed, or reset because of what was not read: an end either way, not silence.
        if let Err(error) = socket.read_to_end(&mut said) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    assert_eq!(unproven.rest().expect("an end"), []);
    assert!(begun.elapsed() >= Duration::from_secs(2), "cut before the deadline");
}

fn in_all(ann: &Conninfo, bob: &Conninfo) {
    let mut held = again(ann);
    // As many as may be that say nothing, all from one address.
    let silent: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect((bob.host.as_str(), bob.port)).expect("a connection")).collect();
    assert!(Wire::connect(bob).is_err(), "one too many got in");
    answers(&mut held);
    drop(silent);
    answers(&mut again(bob));
    // Three sessions, of whomever.
    let (mut other, mut third) = (again(ann), again(bob));
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        let error = Wire::connect(bob).expect_err("one session too many").to_string();
        if error.contains("53300") || Instant::now() > deadline {
            break error;
        }
    };
    assert!(error.contains("53300") && error.contains("too many sessions"), "{error}");
    [&mut held, &mut other, &mut third].into_iter().for_each(answers);
}

fn oversized(ann: &Conninfo) {
    let mut wire = again(ann);
    let fits = format!("select length('{}')", "x".repeat(90_000));
    assert_eq!(wire.query(&fits).expect("an answer")[1].body, b"\0\x01\0\0\0\x0590000");
    // Only its header is sent: what it announces is refused, not awaited.
    wire.send(&[b'Q', 0, 2, 0, 0]).expect("sent");
    let said = wire.rest().expect("an end");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].field(b'S').as_deref(), Some("FATAL"));
    assert_eq!(said[0].field(b'C').as_deref(), Some("08P01"), "{said:?}");
    // Copied data has no such limit.
    let mut wire = again(ann);
    wire.query("create temporary table t (body text)").expect("an answer");
    wire.send(&front::query("copy t from stdin")).expect("sent");
    wire.until(b'G').expect("a wish for data");
    wire.send(&front::copy_data(&[b"y".repeat(1_000_000), vec![b'\n']].concat())).expect("sent");
    wire.send(&front::COPY_DONE).expect("sent");
    wire.until(b'Z').expect("an answer");
    let said = wire.query("select length(body) from t").expect("an answer");
    assert_eq!(said[1].body, b"\0\x01\0\0\0\x071000000");
    answers(&mut again(ann));
}

#[test]
fn scram_binds_to_the_connection() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    let gateway = stage::builder(&cluster).listener_field("scram", "true").start().expect("Wardline");
    let token = gateway.conninfo_token(PERSON, RESOURCE).expect("a token");
    let mut wrong = stage::through(&gateway);
    wrong.password.push('x');
    let psql = |server: &Conninfo| {
        let mut command = Command::new("psql");
        server.apply(&mut command);
        // libpq refuses when the server does not prove that it has the same TLS connection.
        command.env("PGCHANNELBINDING", "require");
        command.args(["-X", "-w", "-A", "-t", "-c", "select 6 * 7"]).output().expect("psql")
    };
    for server in [stage::through(&gateway), token] {
        let output = psql(&server);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "42", "{said}");
        answers(&mut Wire::connect(&server).expect("without channel binding"));
    }
    let output = psql(&wrong);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("access refused"), "{said}");
}
