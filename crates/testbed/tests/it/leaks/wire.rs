//! Ways out that no statement alone takes: how and when messages of the protocol are sent.

use std::thread::sleep;
use std::time::Duration;

use testbed::Conninfo;
use testbed::leaks::{self, Answer, Held, PATIENTS, Stage, WORLDS};
use testbed::wire::{Message, Start, Wire, front, message};

const SSN: &str = "SELECT ssn FROM patients";
const CLEAN: &str = "SELECT title FROM departments";

/// What is sent in turn; each piece is answered up to readiness before the next.
type Script = Vec<Vec<u8>>;

/// `Bind` with format codes for the results, as they come.
fn bind_formats(portal: &str, statement: &str, formats: &[i16]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0", &[0; 4]].concat();
    body.extend_from_slice(&i16::try_from(formats.len()).expect("few").to_be_bytes());
    formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
    message(Some(b'B'), &body)
}

/// A name is given to something else between the decision and the resource's looking it up.
#[allow(clippy::too_many_lines, reason = "a flat list of cases")]
fn replaced() -> Vec<(&'static str, Held, Script)> {
    const HIDDEN: &str = "SELECT ssn || '' AS a FROM patients";
    const OPEN: &str = "SELECT 'x' || '' AS a";
    let sync = || front::SYNC.to_vec();
    let begin = || front::query("BEGIN");
    let query = |text: String| front::query(&text);
    let bound = |text: &str, portal: &str, statement: &str| {
        [front::parse(statement, text), front::bind(portal, statement, &[], 0)].concat()
    };
    let executes = [bound("EXECUTE s", "p", "e"), sync()].concat();
    let run = [front::execute("p", 0), sync()].concat();
    let fetch = || query("FETCH ALL FROM c".to_owned());
    vec![
        (
            "EXECUTE bound, its statement replaced by commands",
            Held::Refused,
            vec![
                begin(),
                query(format!("PREPARE s AS {OPEN}")),
                executes,
                query("DEALLOCATE s".to_owned()),
                query(format!("PREPARE s AS {HIDDEN}")),
                run,
            ],
        ),
        (
            "EXECUTE bound, its statement replaced in the same pipeline",
            Held::Refused,
            vec![
                [front::parse("s", OPEN), sync()].concat(),
                [
                    bound("EXECUTE s", "p", "e"),
                    front::close('S', "s"),
                    front::parse("s", HIDDEN),
                    front::execute("p", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
        (
            "FETCH bound, its cursor replaced by a portal",
            Held::Refused,
            vec![
                begin(),
                query(format!("DECLARE c CURSOR FOR {OPEN}")),
                [
                    bound("FETCH ALL FROM c", "p", "f"),
                    front::close('P', "c"),
                    bound(HIDDEN, "c", "h"),
                    front::execute("p", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
        (
            "a cursor closed by the protocol, its name bound",
            Held::Masked,
            vec![
                begin(),
                query(format!("DECLARE c CURSOR FOR {OPEN}")),
                [front::close('P', "c"), bound(HIDDEN, "c", "h"), sync()].concat(),
                fetch(),
            ],
        ),
        (
            "a cursor of a transaction before, its name bound",
            Held::Masked,
            vec![
                begin(),
                query(format!("DECLARE c CURSOR FOR {OPEN}")),
                query("COMMIT".to_owned()),
                begin(),
                [bound(HIDDEN, "c", "h"), sync()].concat(),
                fetch(),
            ],
        ),
        (
            "a portal closed by a command, its name declared",
            Held::Refused,
            vec![
                begin(),
                [bound(OPEN, "c", "o"), sync()].concat(),
                query(format!("CLOSE c; DECLARE c CURSOR FOR {HIDDEN}; SELECT 1")),
                [front::execute("c", 0), sync()].concat(),
            ],
        ),
        (
            "a portal closed by a command, its name declared and fetched from",
            Held::Masked,
            vec![
                begin(),
                [bound(OPEN, "c", "o"), sync()].concat(),
                query(format!("CLOSE c; DECLARE c CURSOR FOR {HIDDEN}; SELECT 1")),
                fetch(),
            ],
        ),
        (
            "a portal closed and declared by commands of their own",
            Held::Refused,
            vec![
                begin(),
                [bound(OPEN, "c", "o"), sync()].concat(),
                query("CLOSE c".to_owned()),
                query(format!("DECLARE c CURSOR FOR {HIDDEN}")),
                [front::execute("c", 0), sync()].concat(),
            ],
        ),
    ]
}

#[allow(clippy::too_many_lines, reason = "a flat list of cases")]
fn scripts() -> Vec<(&'static str, Held, Script)> {
    let sync = || front::SYNC.to_vec();
    let run = |text: &str, formats: &[i16]| {
        [front::parse("", text), bind_formats("", "", formats), front::execute("", 0), sync()].concat()
    };
    let two = "SELECT ssn, name, urgency FROM patients";
    let named = [front::parse("s", SSN), sync()].concat();
    let ssn = PATIENTS[0][0].ssn;
    let bound = |text: &str| {
        let bind = front::bind("", "", &[Some(ssn)], 0);
        vec![[front::parse("", text), bind, front::execute("", 0), sync()].concat()]
    };
    vec![
        ("execute without describe", Held::Masked, vec![run(SSN, &[])]),
        ("no format codes", Held::Masked, vec![run(two, &[])]),
        ("one format code", Held::Masked, vec![run(two, &[1])]),
        ("a format code per column", Held::Masked, vec![run(two, &[0, 1, 0])]),
        ("another per column", Held::Masked, vec![run(two, &[1, 0, 1])]),
        ("too many format codes", Held::Nothing, vec![run(SSN, &[0, 1])]),
        ("an unknown format code", Held::Nothing, vec![run(SSN, &[2])]),
        (
            "describe before sync, execute after",
            Held::Masked,
            vec![
                [front::parse("s", SSN), front::describe('S', "s"), sync()].concat(),
                [front::bind("", "s", &[], 0), front::execute("", 0), sync()].concat(),
            ],
        ),
        (
            "executed again after sync",
            Held::Masked,
            vec![
                named.clone(),
                [front::bind("", "s", &[], 0), front::execute("", 0), sync()].concat(),
                [front::bind("", "s", &[], 1), front::execute("", 0), sync()].concat(),
            ],
        ),
        (
            "the same name for another text",
            Held::Masked,
            vec![
                [front::parse("s", CLEAN), front::describe('S', "s"), sync()].concat(),
                [front::close('S', "s"), front::parse("s", SSN), sync()].concat(),
                [front::bind("", "s", &[], 0), front::execute("", 0), sync()].concat(),
            ],
        ),
        (
            "the unnamed statement replaced after it was bound",
            Held::Masked,
            vec![
                [
                    front::parse("", SSN),
                    front::bind("p", "", &[], 0),
                    front::parse("", CLEAN),
                    front::bind("", "", &[], 0),
                    front::execute("p", 0),
                    front::execute("", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
        (
            "a pipeline of clean and protected",
            Held::Masked,
            vec![[run(CLEAN, &[]), run(SSN, &[1]), run(CLEAN, &[1])].concat()],
        ),
        (
            "row by row from a suspended portal",
            Held::Masked,
            vec![
                [
                    front::parse("", SSN),
                    front::bind("", "", &[], 0),
                    front::execute("", 1),
                    front::execute("", 1),
                    front::execute("", 1),
                    sync(),
                ]
                .concat(),
            ],
        ),
        (
            "a portal kept over sync",
            Held::Masked,
            vec![
                front::query("BEGIN"),
                [front::parse("", SSN), front::bind("p", "", &[], 1), front::execute("p", 1), sync()]
                    .concat(),
                [front::execute("p", 0), sync()].concat(),
            ],
        ),
        (
            "a cursor run as a portal",
            Held::Refused,
            vec![
                front::query("BEGIN"),
                front::query("DECLARE c CURSOR FOR SELECT ssn FROM patients"),
                [front::describe('P', "c"), front::execute("c", 0), sync()].concat(),
            ],
        ),
        (
            "a statement of PREPARE bound",
            Held::Refused,
            vec![
                front::query("PREPARE s AS SELECT ssn FROM patients"),
                [front::bind("", "s", &[], 0), front::execute("", 0), sync()].concat(),
            ],
        ),
        ("a call by number", Held::Refused, vec![front::call(1318, &[Some("x")])]),
        ("a parameter compared", Held::Refused, bound("SELECT active FROM patients WHERE ssn = $1")),
        (
            "a parameter among many",
            Held::Refused,
            bound("SELECT active FROM patients WHERE ssn = ANY (ARRAY[$1])"),
        ),
        ("a parameter in a CASE", Held::Masked, bound("SELECT CASE WHEN ssn = $1 THEN 1 END FROM patients")),
        ("a parameter written", Held::Refused, bound("UPDATE patients SET ssn = $1")),
        ("a cell of 5 MB", Held::Masked, vec![front::query("SELECT body FROM notes")]),
        ("an unknown message", Held::Ended, vec![[message(Some(b'@'), b""), front::query(SSN)].concat()]),
        ("a length below four", Held::Ended, vec![[&[b'Q', 0, 0, 0, 1][..], SSN.as_bytes(), &[0]].concat()]),
    ]
}

fn play(server: &Conninfo, script: &Script, split: bool) -> Answer {
    let mut wire = Wire::connect(server).expect("a session");
    let mut answer = Answer { messages: wire.greeting.clone(), ended: false };
    for piece in script {
        let syncs = piece.windows(5).filter(|window| *window == front::SYNC).count().max(1);
        let sent = if split {
            piece.iter().all(|byte| wire.send(&[*byte]).is_ok())
        } else {
            wire.send(piece).is_ok()
        };
        let mut ready = 0;
        while sent && ready < syncs {
            match wire.receive_or_end() {
                Ok(Some(message)) => {
                    ready += usize::from(message.kind == b'Z');
                    answer.messages.push(message);
                }
                Ok(None) | Err(_) => break,
            }
        }
        answer.ended |= ready < syncs;
    }
    answer
}

#[test]
fn no_order_of_messages_lets_anything_out() {
    let stage = Stage::start().expect("the stage");
    let canaries = leaks::canaries();
    for database in [WORLDS[0], WORLDS[1], &stage.direct().dbname] {
        let long = "update notes set body = repeat(body, 200000) where id = 1";
        stage.cluster.psql_in(database, long).expect("a long note");
    }
    for (name, held, script) in scripts().into_iter().chain(replaced()) {
        for split in [false, true] {
            let [one, other] =
                WORLDS.map(|world| play(&stage.masked(world).expect("a person"), &script, split));
            let direct = match held {
                Held::Masked | Held::Nothing => play(&stage.direct(), &script, false),
                Held::Refused | Held::Ended => Answer::default(),
            };
            for answer in [&one, &other] {
                assert_eq!(canaries.found(&answer.bytes()), None, "{name}");
            }
            let rows = |answer: &Answer| {
                answer.messages.iter().filter(|m| m.kind != b'S').cloned().collect::<Vec<Message>>()
            };
            let (mut ours, mut others) = (rows(&one), rows(&other));
            if held == Held::Ended {
                // What was said last may be lost with a connection that is closed while more is sent.
                let common = ours.len().min(others.len());
                ours.truncate(common);
                others.truncate(common);
            }
            assert!(ours == others, "{name}: the worlds differ");
            assert_eq!(one.held(&direct), held, "{name}: {:.600}", format!("{:?}", rows(&one)));
        }
    }
    start_up(&stage);
    policy(&stage);
}

/// What is asked for before a session begins.
fn start_up(stage: &Stage) {
    let server = stage.masked(WORLDS[0]).expect("a person");
    for (name, value) in [
        ("replication", "true"),
        ("replication", "database"),
        ("options", "-c standard_conforming_strings=off"),
        ("client_encoding", "SJIS"),
    ] {
        let parameters = vec![(name.to_owned(), value.to_owned())];
        let start = Start { parameters, ..Start::default() };
        let Ok(mut wire) = Wire::start(&server, &start) else { continue };
        let answer = Answer { messages: wire.query(SSN).unwrap_or_default(), ended: false };
        assert_eq!(leaks::canaries().found(&answer.bytes()), None, "{name}={value}");
    }
}

/// What changes while a session is open.
fn policy(stage: &Stage) {
    let canaries = leaks::canaries();
    let mut wire = Wire::connect(&stage.masked(WORLDS[0]).expect("a person")).expect("a session");
    let check = |messages: Vec<Message>, what: &str| {
        let answer = Answer { messages, ended: false };
        assert_eq!(canaries.found(&answer.bytes()), None, "{what}");
    };
    wire.send(&[front::parse("s", CLEAN), front::parse("t", SSN), front::SYNC.to_vec()].concat())
        .expect("sent");
    wire.until(b'Z').expect("prepared");
    let swap = "alter table departments rename column title to other; \
        alter table patients rename column urgency to ssn2; alter table patients rename column ssn to urgency";
    stage.cluster.psql_in(WORLDS[0], swap).expect("names change places");
    for name in ["s", "t"] {
        let run = [front::bind("", name, &[], 0), front::execute("", 0), front::SYNC.to_vec()].concat();
        wire.send(&run).expect("sent");
        check(wire.until(b'Z').unwrap_or_default(), "a plan cached over DDL");
    }
    sleep(Duration::from_millis(200));
    // The catalogue as last read knows a clean column of that name; what the resource announces has the second vote.
    let mut other = Wire::connect(&stage.masked(WORLDS[0]).expect("a person")).expect("a session");
    check(
        other.query("SELECT urgency, active FROM patients").unwrap_or_default(),
        "a column renamed elsewhere",
    );
}
