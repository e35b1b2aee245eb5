//! A client that sends what no client should, before and after its sign-in.

use testbed::gateway::{Gateway, Listener, ROLE_ALL};
use testbed::postgres::{Cluster, Options};
use testbed::wire::{self, Wire};

use super::*;

const RESOURCE: &str = "clinic";

fn stage(listener: Listener) -> (Cluster, Gateway) {
    let cluster = Cluster::start(Options::default()).expect("PostgreSQL");
    cluster.create_database(RESOURCE).expect("a database");
    let table = format!(
        "create table patients (id int primary key, name text); insert into patients values (1, '{DATUM}')"
    );
    cluster.psql_in(RESOURCE, &table).expect("a table");
    let gateway = Gateway::builder()
        .listener(listener)
        .resource_of(RESOURCE, &cluster, RESOURCE)
        .role_all()
        .person("ann", &[ROLE_ALL])
        .listener_field("handshake_timeout_ms", "10000")
        .environment("RUST_LOG", "debug")
        .start()
        .expect("it starts");
    (cluster, gateway)
}

/// Reads what comes until the gateway closes, which it does.
fn refused_before_sign_in(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut raw = Raw::connect(port);
    raw.send(bytes);
    let mut said = Vec::new();
    match raw.0.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "not closed: {bytes:?}");
        }
    }
    said
}

fn start_up(version: u32, words: &[u8]) -> Vec<u8> {
    let length = u32::try_from(words.len() + 8).expect("short");
    [&length.to_be_bytes()[..], &version.to_be_bytes(), words].concat()
}

#[test]
fn clients_that_never_sign_in() {
    let (_cluster, mut gateway) = stage(Listener::Tls);
    let port = gateway.port();
    let ann = gateway.conninfo("ann", RESOURCE).expect("a person");
    let honest = start_up(wire::PROTOCOL_3_0, b"user\0ann\0database\0clinic\0\0");
    // Silent ones hold nobody up; they are closed when their time is over.
    let mut silent: Vec<Raw> = (0..40).map(|_| Raw::connect(port)).collect();
    for (at, raw) in silent.iter_mut().enumerate() {
        raw.send(honest.get(..at % 9).unwrap_or_default());
    }
    let ssl = wire::SSL_REQUEST;
    let cases: &[Vec<u8>] = &[
        honest.clone(),
        [&ssl[..], &ssl].concat(),
        [&ssl[..], &honest].concat(),
        [&wire::GSS_REQUEST[..], &wire::GSS_REQUEST].concat(),
        [&ssl[..], &wire::GSS_REQUEST].concat(),
        vec![0; 8],
        [&[0xff; 4][..], &[0; 100]].concat(),
        [&[0x7f, 0xff, 0xff, 0xff][..], &[0; 100]].concat(),
        [&10_001u32.to_be_bytes()[..], &[b'x'; 9_997]].concat(),
        start_up(wire::PROTOCOL_3_0, b"user\0ann"),
        start_up(wire::PROTOCOL_3_0, b"user\0\xff\xfe\0\0"),
        start_up(2 << 16, b"ann\0"),
        start_up(80_877_102, b"\0\0\0\x01"),
        start_up(80_877_102, &[7; 400]),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        [&[0x16, 3, 1, 0x40, 0][..], &noise(9, 300)].concat(),
        [&ssl[..], &[0x16, 3, 1, 0xff, 0xff], &noise(10, 70_000)].concat(),
    ];
    for case in cases {
        let said = refused_before_sign_in(port, case);
        assert!(!said.contains(&b'R'), "no question for a password in clear: {said:?}");
    }
    for seed in 1..60 {
        refused_before_sign_in(port, &noise(seed, usize::try_from(seed * 97).expect("small")));
    }
    in_tls(&ann, &honest);
    // Whoever began all this honestly is served, also while others are silent.
    let mut wire = Wire::connect(&ann).expect("a session");
    assert_eq!(wire.query("select 1").expect("an answer").len(), 4);
    for mut raw in silent {
        let mut rest = Vec::new();
        let _ = raw.0.read_to_end(&mut rest);
    }
    unharmed(&mut gateway);
}

/// The same ill will within TLS, in the place of a start-up and of a password.
fn in_tls(ann: &Conninfo, honest: &[u8]) {
    let secured = || {
        let mut wire = Wire::plain(ann).expect("a connection");
        wire.send(&wire::SSL_REQUEST).expect("it takes bytes");
        assert_eq!(wire.byte().expect("an answer"), b'S');
        wire.secure(ann, None).expect("TLS");
        wire
    };
    let in_start_ups = [wire::SSL_REQUEST.to_vec(), wire::GSS_REQUEST.to_vec(), vec![0; 8], noise(70, 500)];
    let in_passwords = [
        message(b'Q', b"select 1\0"),
        message(b'p', b"no end"),
        message(b'p', &[b'x'; 5_000]),
        b"p\x7f\xff\xff\xff".to_vec(),
        b"p\xff\xff\xff\xff".to_vec(),
        b"p\0\0\0\0".to_vec(),
        message(b'p', b"\0"),
        message(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x"),
        noise(71, 500),
    ];
    for case in in_start_ups {
        let mut wire = secured();
        let _ = wire.send(&case);
        let said = wire.rest().unwrap_or_default();
        assert!(said.iter().all(|answer| answer.kind == b'E'), "{said:?}");
    }
    for case in in_passwords {
        let mut wire = secured();
        let _ = wire.send(&[honest, &case].concat());
        let said = wire.rest().unwrap_or_default();
        let kinds: Vec<u8> = said.iter().map(|answer| answer.kind).collect();
        assert!(kinds.iter().all(|kind| b"RE".contains(kind)) && !said.iter().any(let_in), "{said:?}");
    }
}

fn let_in(answer: &Message) -> bool {
    answer.kind == b'R' && answer.body == [0; 4]
}

/// One case: what is sent, and the codes of the errors that answer it, in order; `?` for any other number of them.
struct Case(&'static str, Vec<u8>, &'static [&'static str]);

fn cases() -> Vec<Case> {
    let literal = format!("select name from patients where name = '{DATUM}'");
    let bind = |counts: &[u8]| message(b'B', &[&b"\0s\0"[..], counts].concat());
    let prepared = front::parse("s", "select $1::text");
    let with = |rest: Vec<u8>| [prepared.clone(), rest, front::SYNC.to_vec()].concat();
    let broken: &[&str] = &["08P01"];
    let mut cases = vec![
        Case("noise", noise(3, 5_000), broken),
        Case("a giant text", b"Q\x7f\xff\xff\xffselect 1".to_vec(), broken),
        Case("a negative length", b"Q\xff\xff\xff\xff".to_vec(), broken),
        Case("a length of nothing", b"S\0\0\0\0".to_vec(), broken),
        Case("a text without its end", message(b'Q', b"select 1"), broken),
        Case("a text that ends twice", message(b'Q', b"select 1\0select 2\0"), broken),
        Case("a text that is not UTF-8", message(b'Q', b"select '\xff'\0"), &["22021"]),
        Case("half a message and another", message(b'Q', b"select 1\0")[..9].to_vec(), broken),
        Case("an unknown message", message(b'!', b""), broken),
        Case("a server's message", message(b'D', b"\0\x01\0\0\0\x01x"), broken),
        Case("a password", message(b'p', b"secret\0"), broken),
        Case("copied data out of place", [front::copy_data(b"1\n"), front::query("select 1")].concat(), &[]),
        Case("endless copied data out of place", b"d\x7f\xff\xff\xffxxxx".to_vec(), &[]),
        Case("the end of a copy that is none", [&front::COPY_DONE[..], &front::copy_fail("x")].concat(), &[]),
        Case(
            "a query within a copy",
            [front::query("copy patients from stdin"), front::query(&literal)].concat(),
            broken,
        ),
        Case("too few parameters", with(bind(b"\0\0\0\x05\0\0\0\x01x")), broken),
        Case("too many parameters", with(bind(b"\0\0\xff\xff\0\0\0\x01x\0\0")), broken),
        Case("a parameter of a negative length", with(bind(b"\0\0\0\x01\xff\xff\xff\xfe\0\0")), broken),
        Case("a parameter longer than its message", with(bind(b"\0\0\0\x01\x7f\xff\xff\xff\0\0")), broken),
        Case("formats that are not there", with(bind(b"\x7f\xff")), broken),
        Case("a format that is none", with(bind(b"\0\x01\0\x09\0\x01\0\0\0\x01x\0\0")), &["22023"]),
        Case("a statement that is not there", with(message(b'B', b"\0nobody\0\0\0\0\0\0\0")), &["26000"]),
        Case("a portal that is not there", with(front::execute("nobody", 0)), &["34000"]),
        Case("a long name", with(front::execute(&"n".repeat(1 << 20), 0)), &["42602"]),
        Case("a close of neither", with(message(b'C', b"Xs\0")), broken),
        Case("a call of nothing", message(b'F', b"\0\0"), broken),
        Case("a call of noise", message(b'F', &[&7u32.to_be_bytes()[..], &noise(5, 40)].concat()), &["?"]),
        Case(
            "goodbye in the middle",
            [prepared.clone(), front::TERMINATE.to_vec(), noise(6, 99)].concat(),
            &[],
        ),
        Case("syncs without end", front::SYNC.repeat(30_000), &[]),
        Case("flushes without end", front::FLUSH.repeat(30_000), &[]),
        Case("empty texts", front::query("").repeat(3_000), &[]),
    ];
    let deep = |open: &str, close: &str, count: usize| {
        front::query(&format!("select {}1{}", open.repeat(count), close.repeat(count)))
    };
    cases.extend([
        Case("deep parentheses", deep("(", ")", 200_000), &["54001"]),
        Case("deep sub-selects", deep("(select ", ")", 50_000), &["54001"]),
        Case("deep arrays", deep("array[", "]", 100_000), &["54001"]),
        Case("a deep case", deep("case when true then ", " end", 20_000), &["54001"]),
        Case("deep nots", deep("not ", "", 200_000), &["54001"]),
        Case("a text over the limit", front::query(&format!("select '{}'", "x".repeat(2 << 20))), &["54000"]),
        Case("a wide list", front::query(&format!("select 1 in ({}1)", "1,".repeat(100_000))), &["?"]),
        Case("many statements", front::query(&"select 1;".repeat(5_000)), &["?"]),
    ]);
    cases
}

#[test]
fn clients_that_signed_in() {
    let (_cluster, mut gateway) = stage(Listener::Plaintext);
    let ann = gateway.conninfo_token("ann", RESOURCE).expect("a token");
    let mut wrong = Vec::new();
    for Case(name, bytes, expected) in cases() {
        // Data without end swallow the last query too.
        let patience = if name.starts_with("endless") { PAUSE } else { PATIENCE };
        let answers = Raw::session(&ann).exchange_within(&bytes, patience);
        let codes = codes(&answers);
        let clear = !codes.iter().any(|code| code == "XX000" || code == "58030");
        if !clear || (expected != ["?"] && codes != expected) {
            wrong.push(format!("{name}: {codes:?} where {expected:?} belong"));
        }
        serves(&ann);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for seed in 100..120 {
        // A valid beginning, then noise with a plausible type byte before it.
        let mut bytes = front::query("select name from patients");
        for piece in noise(seed, 600).chunks(40) {
            bytes.extend(message(b"BCDEFHPQSdcf"[usize::from(piece[0]) % 12], piece));
        }
        Raw::session(&ann).exchange_within(&bytes, PAUSE);
    }
    serves(&ann);
    unharmed(&mut gateway);
}

/// Another session is served at once.
fn serves(ann: &Conninfo) {
    let answers = Raw::session(ann).ask("select name from patients");
    assert_eq!(answers.iter().map(|answer| answer.kind).collect::<Vec<_>>(), b"TDCZ", "{answers:?}");
}

#[test]
fn clients_that_hoard() {
    let (_cluster, mut gateway) = stage(Listener::Plaintext);
    let ann = gateway.conninfo_token("ann", RESOURCE).expect("a token");
    // More statements, and more portals, than a session may have; without a Sync, which would let answers out.
    let statements = (0..10_050).flat_map(|n| front::parse(&format!("s{n}"), "select 1"));
    let answers = Raw::session(&ann).exchange(&statements.chain(front::SYNC).collect::<Vec<u8>>());
    assert_eq!(codes(&answers), ["53400"]);
    let portals = (0..10_050).flat_map(|n| front::bind(&format!("p{n}"), "s", &[], 0));
    let asked = front::parse("s", "select 1").into_iter().chain(portals).chain(front::SYNC);
    let answers = Raw::session(&ann).exchange(&asked.collect::<Vec<u8>>());
    assert_eq!(codes(&answers), ["53400"]);
    // Whoever claims much and sends little, forty times at once.
    let claims: Vec<Raw> = (0..40)
        .map(|_| {
            let mut raw = Raw::session(&ann);
            raw.send(&[&b"Q"[..], &(15u32 << 20).to_be_bytes(), b"select 1"].concat());
            raw
        })
        .collect();
    serves(&ann);
    drop(claims);
    // Whoever asks and never listens: it is left to wait, and nobody else.
    let mut deaf = Raw::session(&ann);
    deaf.0.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    deaf.send(&front::query("select repeat('x', 1000000) from generate_series(1, 20)").repeat(200));
    serves(&ann);
    drop(deaf);
    serves(&ann);
    unharmed(&mut gateway);
}
