//! A resource that answers what no PostgreSQL would: while Wardline logs in, and within a session.

use std::net::TcpListener;
use std::sync::Arc;

use testbed::SslMode;
use testbed::gateway::{Gateway, Listener, ROLE_ALL};
use tokio::sync::watch;

use super::*;

/// What the false server does with a connection of a session.
type Scenario = Arc<dyn Fn(&mut Raw) + Send + Sync>;

/// Plays a scenario for every session; to Wardline's own questions it answers like an empty database.
struct FalseServer {
    port: u16,
    scenario: watch::Sender<Scenario>,
}

impl FalseServer {
    fn start() -> FalseServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (scenario, played) = watch::channel::<Scenario>(Arc::new(honest));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
                let scenario = played.borrow().clone();
                std::thread::spawn(move || play(Raw(stream), &scenario));
            }
        });
        FalseServer { port, scenario }
    }

    fn plays(&self, scenario: impl Fn(&mut Raw) + Send + Sync + 'static) {
        self.scenario.send_replace(Arc::new(scenario));
    }
}

fn play(mut raw: Raw, scenario: &Scenario) {
    let mut first = [0; 8];
    if raw.0.read_exact(&mut first).is_err() {
        return;
    }
    let length = u32::from_be_bytes([first[0], first[1], first[2], first[3]]);
    let mut rest = vec![0; usize::try_from(length).expect("it fits").saturating_sub(8)];
    if raw.0.read_exact(&mut rest).is_err() {
        return;
    }
    if String::from_utf8_lossy(&rest).contains("wardline catalogue") {
        raw.send(&let_in());
        while let Some(asked) = raw.receive() {
            match asked.kind {
                b'Q' => raw.send(&[message(b'C', b"DONE\0"), message(b'Z', b"I")].concat()),
                _ => return,
            }
        }
        return;
    }
    scenario(&mut raw);
}

fn setting(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

/// From the log-in to readiness, as a server that trusts everybody has it.
fn let_in() -> Vec<u8> {
    [
        message(b'R', &[0; 4]),
        setting("server_version", "15.1"),
        setting("server_encoding", "UTF8"),
        setting("client_encoding", "UTF8"),
        setting("standard_conforming_strings", "on"),
        message(b'K', &[0, 0, 0, 9, 1, 2, 3, 4]),
        message(b'Z', b"I"),
    ]
    .concat()
}

fn described() -> Vec<u8> {
    message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
}

fn row() -> Vec<u8> {
    let length = u32::try_from(DATUM.len()).expect("short").to_be_bytes();
    message(b'D', &[&[0, 1][..], &length, DATUM.as_bytes()].concat())
}

fn rows() -> Vec<u8> {
    [described(), row(), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat()
}

fn words(code: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{code}\0Mduplicate key: {DATUM}\0D{DATUM}\0\0").as_bytes())
}

/// Lets everybody in and answers every question with one row.
fn honest(raw: &mut Raw) {
    raw.send(&let_in());
    while let Some(asked) = raw.receive() {
        match asked.kind {
            b'Q' => raw.send(&rows()),
            _ => return,
        }
    }
}

/// Lets everybody in and answers the first question with these bytes; then it closes, or says nothing more.
fn answers(bytes: Vec<u8>, closes: bool) -> impl Fn(&mut Raw) + Send + Sync {
    move |raw| {
        raw.send(&let_in());
        if raw.receive().is_none() {
            return;
        }
        raw.send(&bytes);
        if closes {
            return;
        }
        while raw.receive().is_some() {}
    }
}

fn stage() -> (FalseServer, Gateway, Conninfo) {
    let server = FalseServer::start();
    let resource = |sslmode| Conninfo {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        user: "app".to_owned(),
        password: "app".to_owned(),
        dbname: "false".to_owned(),
        sslmode,
        root_cert: None,
    };
    let gateway = Gateway::builder()
        .listener(Listener::Plaintext)
        .resource("false", &resource(SslMode::Disable))
        .resource("secured", &resource(SslMode::Require))
        .role_all()
        .person("ann", &[ROLE_ALL])
        .listener_field("dial_timeout_ms", "8000")
        .environment("RUST_LOG", "debug")
        .start()
        .expect("it starts");
    let ann = gateway.conninfo_token("ann", "false").expect("a token");
    (server, gateway, ann)
}

/// An honest server is used again right after.
fn serves(server: &FalseServer, ann: &Conninfo) {
    server.plays(honest);
    let answers = Raw::session(ann).ask("select 1");
    assert_eq!(answers.iter().map(|answer| answer.kind).collect::<Vec<_>>(), b"TDCZ", "{answers:?}");
}

/// Log-ins that no server should offer: the client hears that the resource cannot be reached, and nothing of why.
#[test]
fn servers_that_cannot_be_logged_in_to() {
    let (server, mut gateway, ann) = stage();
    let ok = message(b'R', &[0; 4]);
    let many = |piece: Vec<u8>, count: usize| [ok.clone(), piece.repeat(count)].concat();
    let off = String::from_utf8_lossy(&let_in()).replace("strings\0on", "strings\0no").into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("noise", noise(1, 4_000)),
        ("a password in clear", message(b'R', &[0, 0, 0, 3])),
        ("MD5", message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4])),
        ("an unknown method", message(b'R', &[0x7f; 4])),
        ("no method", message(b'R', b"")),
        ("SASL of noise", message(b'R', &[&[0, 0, 0, 10][..], &noise(2, 50)].concat())),
        ("SASL without a mechanism", message(b'R', &[0, 0, 0, 10, 0])),
        ("the end of SASL first", message(b'R', b"\0\0\0\x0cv=AAAA")),
        ("a negative length", b"R\xff\xff\xff\xff".to_vec()),
        ("a giant length", b"R\x7f\xff\xff\xff".to_vec()),
        ("readiness first", message(b'Z', b"I")),
        ("rows first", row()),
        ("another protocol", message(b'v', &[0, 3, 0, 0, 0, 0, 0, 0])),
        ("settings without end", many(setting("a", "b"), 20_000)),
        ("notices without end", message(b'N', b"SNOTICE\0\0").repeat(20_000)),
        ("a huge setting", many(setting("a", &"b".repeat(100_000)), 1)),
        ("a short key", many(message(b'K', &[0, 0, 0, 9, 1]), 1)),
        ("a long key", many(message(b'K', &[7; 300]), 1)),
        ("a setting without a value", many(message(b'S', b"a\0"), 1)),
        ("a row within the log-in", many(row(), 1)),
        ("quotes that mean something else", off),
        ("readiness of no kind", many(message(b'Z', b"?"), 1)),
        ("an error with a datum", words("28000")),
        ("an error after the log-in", many(words("53300"), 1)),
        ("an error without its end", message(b'E', b"SFATAL\0C53300")),
    ];
    for (name, bytes) in cases {
        server.plays(move |raw| raw.send(&bytes));
        let (_, said) = Raw::sign_in(&ann);
        assert_eq!(codes(&said), ["57P03"], "{name}: {said:?}");
        assert!(!format!("{said:?}").contains(DATUM), "{name}");
    }
    server.plays(|raw| while raw.receive().is_some() {});
    assert_eq!(codes(&Raw::sign_in(&ann).1), ["57P03"], "a silent server");
    encryption(&server, &ann);
    serves(&server, &ann);
    unharmed(&mut gateway);
}

/// Answers to the request for TLS, and bytes in clear behind them.
fn encryption(server: &FalseServer, ann: &Conninfo) {
    let secured = ann.clone().with_dbname("secured");
    let answers: [Vec<u8>; 6] = [
        b"N".to_vec(),
        words("0A000"),
        b"X".to_vec(),
        [b"S".to_vec(), let_in()].concat(),
        [b"S".to_vec(), noise(4, 3_000)].concat(),
        [b"N".to_vec(), let_in()].concat(),
    ];
    for answer in answers {
        server.plays(move |raw| raw.send(&answer));
        let (_, said) = Raw::sign_in(&secured);
        assert_eq!(codes(&said), ["57P03"], "{said:?}");
    }
}

/// Answers that break the protocol end the session with one error; those that only are much pass.
#[test]
fn servers_that_answer_out_of_turn() {
    let (server, mut gateway, ann) = stage();
    let ready = message(b'Z', b"I");
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("noise", noise(11, 4_000)),
        ("a negative length", b"T\xff\xff\xff\xff".to_vec()),
        ("a length of nothing", b"Z\0\0\0\0".to_vec()),
        ("a giant notification", b"A\x7f\xff\xff\xff\0\0\0\0".to_vec()),
        ("a giant notice", b"N\x7f\xff\xff\xff".to_vec()),
        ("an unknown message", message(b'!', b"")),
        ("the log-in again", let_in()),
        ("another key", message(b'K', &[0, 0, 0, 9, 1, 2, 3, 4])),
        ("replication", message(b'W', &[0, 0, 0])),
        ("a parse that nobody asked for", message(b'1', b"")),
        ("a bind that nobody asked for", message(b'2', b"")),
        ("parameters that nobody asked for", message(b't', &[0, 0])),
        ("a portal that nobody asked for", message(b's', b"")),
        ("a function's result", message(b'V', &[0, 0, 0, 1, 7])),
        ("rows after readiness", [ready.clone(), row()].concat()),
        ("readiness twice", [ready.clone(), ready.clone()].concat()),
        ("readiness of no kind", message(b'Z', b"?")),
        ("a tag without its end", message(b'C', b"SELECT 1")),
        ("an error without its end", message(b'E', b"SERROR\0C22012")),
        ("a setting without a value", message(b'S', b"a\0")),
        ("quotes that mean something else", setting("standard_conforming_strings", "off")),
        ("an unsafe encoding", setting("client_encoding", "SJIS")),
    ];
    for (name, bytes) in broken {
        server.plays(answers(bytes, false));
        // It stays, so that the end is the gateway's and not its own.
        let mut raw = Raw::session(&ann);
        raw.send(&front::query("select 1"));
        let said: Vec<Message> = std::iter::from_fn(|| raw.receive()).collect();
        let codes = codes(&said);
        assert!(["08006", "0A000"].contains(&codes.last().map_or("", String::as_str)), "{name}: {said:?}");
        assert_eq!(codes.len(), 1, "{name}: {said:?}");
    }
    let cut: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("half a row", row()[..9].to_vec()),
        ("a description only", described()),
        (
            "a row that claims two gigabytes",
            [described(), b"D\x7f\xff\xff\xff\0\x01\x7f\xff\xff\xf0x".to_vec()].concat(),
        ),
    ];
    for (name, bytes) in cut {
        server.plays(answers(bytes, true));
        let mut raw = Raw::session(&ann);
        raw.send(&front::query("select 1"));
        let mut said = Vec::new();
        let _ = raw.0.read_to_end(&mut said);
        let told = said.windows(5).any(|code| code == b"08006");
        // Within a row there is no place for a message of ours: the connection just ends.
        assert!(told || name.contains("claims"), "{name}: {said:?}");
    }
    serves(&server, &ann);
    much(&server, &ann);
    silence(&server, &ann);
    serves(&server, &ann);
    unharmed(&mut gateway);
}

/// What is odd or plenty, and harmless: it passes, and costs no memory.
fn much(server: &FalseServer, ann: &Conninfo) {
    let end = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        ("a row without a description", [row(), end.clone()].concat(), 3),
        (
            "more columns than described",
            [described(), message(b'D', &[0x7f, 0xff, 1, 2, 3]), end.clone()].concat(),
            4,
        ),
        ("a large notification", [message(b'A', &[b'x'; 8 << 20]), rows()].concat(), 5),
        ("settings without end", [setting("a", "b").repeat(100_000), rows()].concat(), 100_004),
        ("an error with a datum", [words("23505"), message(b'Z', b"I")].concat(), 2),
        ("a large row", [described(), message(b'D', &vec![7; 40 << 20]), end].concat(), 4),
    ];
    for (name, bytes, messages) in cases {
        server.plays(answers(bytes, false));
        let mut raw = Raw::session(ann);
        raw.send(&front::query("select 1"));
        let mut said = 0;
        while let Some(answer) = raw.receive() {
            said += 1;
            if answer.kind == b'Z' {
                break;
            }
        }
        assert_eq!(said, messages, "{name}");
    }
}

/// A server that is asked and says nothing holds up its own client only, and that one may leave.
fn silence(server: &FalseServer, ann: &Conninfo) {
    server.plays(answers(Vec::new(), false));
    let mut waiting: Vec<Raw> = (0..10).map(|_| Raw::session(ann)).collect();
    waiting.iter_mut().for_each(|raw| raw.send(&front::query("select 1")));
    serves(server, ann);
    drop(waiting);
}
