//! Sessions under way: refusals in their place, two sessions that hear each other, ends from every side, and memory.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testbed::Conninfo;
use testbed::gateway::Gateway;
use testbed::postgres::Version;
use testbed::wire::{self, Message, Wire, front};

use super::scripts::Step::{self, Await, Ready, Send};
use super::scripts::{self, Script};
use super::stage::{self, PERSON, RESOURCE};

/// What the refused statement is replaced by on the direct side: it fails as early, for a reason of its own.
const FAILING: &str = "select no_such_column";
const REFUSED: &str = "insert into visits values (9999)";

fn run(text: &str) -> Vec<u8> {
    [front::parse("", text), front::bind("", "", &[], 0), front::execute("", 0)].concat()
}

/// Sessions in which the text is refused, or fails, in every place where that matters.
fn refusals(text: &'static str) -> Vec<Script> {
    let q = front::query;
    let sync = || front::SYNC.to_vec();
    let play = |name, steps: Vec<Step>| Script { name, steps };
    vec![
        play(
            "in a transaction",
            ["begin", "select 1", text, "select 1", "rollback", "select 2"]
                .into_iter()
                .flat_map(|text| [Send(q(text)), Ready(1)])
                .collect(),
        ),
        play(
            "in a transaction with a savepoint",
            ["begin", "savepoint s", text, "rollback to s", "select 3", "commit", "commit"]
                .into_iter()
                .flat_map(|text| [Send(q(text)), Ready(1)])
                .collect(),
        ),
        play(
            "simple queries in one piece",
            vec![
                Send([q("begin"), q(text), q("select 1"), q("commit"), q(text), q("select 2")].concat()),
                Ready(6),
            ],
        ),
        play(
            "in a pipeline",
            vec![
                Send([run("select 1"), run(text), run("select 2"), sync(), run("select 3"), sync()].concat()),
                Ready(2),
            ],
        ),
        play(
            "in a pipeline within a transaction",
            vec![
                Send([q("begin"), run("select 1"), run(text), q("select 'skipped'"), sync()].concat()),
                Ready(2),
                Send([run("select 1"), sync(), q("rollback"), run("select 4"), sync()].concat()),
                Ready(3),
            ],
        ),
        play(
            "with Flush, and Sync later",
            vec![
                Send([run("select 1"), run(text), front::FLUSH.to_vec()].concat()),
                Await(b'E'),
                Send([run("select 2"), front::FLUSH.to_vec(), q("select 'skipped'"), sync()].concat()),
                Ready(1),
                Send(q("select 5")),
                Ready(1),
            ],
        ),
        play(
            "names of a skipped pipeline",
            vec![
                Send([front::parse("s", "select 'first'"), sync()].concat()),
                Ready(1),
                Send(
                    [run(text), front::close('S', "s"), front::parse("s", "select 'second'"), sync()]
                        .concat(),
                ),
                Ready(1),
                Send([front::bind("", "s", &[], 0), front::execute("", 0), sync()].concat()),
                Ready(1),
            ],
        ),
    ]
}

/// Takes the words out of the error that stands for the refusal.
fn without_words(mut heard: Vec<Message>) -> (usize, Vec<Message>) {
    let mut refused = 0;
    for message in &mut heard {
        let code = message.field(b'C').filter(|_| message.kind == b'E');
        if code.is_some_and(|code| code == "42501" || code == "42703") {
            message.body.clear();
            refused += 1;
        }
    }
    (refused, heard)
}

#[test]
fn a_refusal_leaves_the_session_as_an_error_would() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    cluster.psql_in(RESOURCE, super::book::TABLES).expect("tables");
    let gateway = stage::builder(&cluster)
        .role("reader", RESOURCE, "read = [\"public.visits\"]")
        .person("rita", &["reader"])
        .start()
        .expect("Wardline");
    let (direct, through) = (stage::direct(&cluster), gateway.conninfo("rita", RESOURCE).expect("a person"));
    for (plain, refused) in refusals(FAILING).iter().zip(&refusals(REFUSED)) {
        let (errors, plain) = without_words(scripts::play(&direct, plain).expect("it plays directly"));
        let (denials, heard) = without_words(scripts::play(&through, refused).expect("it plays through"));
        assert!(plain == heard, "{}", scripts::difference(refused.name, &plain, &heard));
        assert!(errors == denials && errors > 0, "{}: {errors} errors, {denials} refusals", refused.name);
    }
    assert_eq!(
        cluster.psql_in(RESOURCE, "select count(*) from visits where id = 9999").expect("a count"),
        "0"
    );
}

#[test]
fn two_sessions_hear_each_other() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    let heard = |server: &Conninfo| {
        let (mut ears, mut mouth) =
            (Wire::connect(server).expect("one"), Wire::connect(server).expect("two"));
        ears.query("listen news").expect("an answer");
        // It sits idle when the first comes, and in a transaction when the second does, which PostgreSQL then keeps.
        mouth.query("notify news, 'first'").expect("an answer");
        let mut heard = ears.until(b'A').expect("news");
        heard.extend(ears.query("begin").expect("an answer"));
        mouth.query("select pg_notify('news', repeat('x', 7000))").expect("an answer");
        heard.extend(ears.query("select 1").expect("an answer"));
        heard.extend(ears.query("commit").expect("an answer"));
        if heard.iter().filter(|message| message.kind == b'A').count() < 2 {
            heard.extend(ears.until(b'A').expect("news"));
        }
        heard.iter_mut().filter(|message| message.kind == b'A').for_each(|message| message.body[..4].fill(0));
        heard
    };
    assert_eq!(heard(&stage::direct(&cluster)), heard(&stage::through(&gateway)));
}

/// Returns the process of the session's server.
fn backend(wire: &mut Wire) -> u32 {
    let said = wire.query("select pg_backend_pid()").expect("an answer");
    std::str::from_utf8(&said[1].body[6..]).expect("digits").parse().expect("a number")
}

fn answers(server: &Conninfo) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let said = Wire::connect(server).and_then(|mut wire| wire.query("select 6 * 7"));
        match said {
            Ok(said) => return assert_eq!(said[1].body, b"\0\x01\0\0\0\x0242"),
            Err(error) if Instant::now() > deadline => panic!("{error:#}"),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[test]
fn the_end_of_the_resource_is_told() {
    let mut cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    let (direct, through) = (stage::direct(&cluster), stage::through(&gateway));

    // Ended by an administrator, at rest and at work: the resource's own words, and nothing behind them.
    for asked in [None, Some("select pg_sleep(60)")] {
        let ended = |server: &Conninfo| {
            let mut wire = Wire::connect(server).expect("a session");
            let process = backend(&mut wire);
            if let Some(asked) = asked {
                wire.send(&front::query(asked)).expect("sent");
                stage::until_run(&cluster, "pg_sleep", 1);
            }
            cluster.psql(&format!("select pg_terminate_backend({process})")).expect("a right");
            wire.rest().expect("an end")
        };
        let (plain, heard) = (ended(&direct), ended(&through));
        assert_eq!(plain.last().and_then(|m| m.field(b'C')).as_deref(), Some("57P01"), "{plain:?}");
        assert_eq!(plain, heard);
    }

    // In the middle of a result: what came before is kept.
    let mut wire = Wire::connect(&through).expect("a session");
    let process = backend(&mut wire);
    wire.send(&front::query("select n, pg_sleep(0.001) from generate_series(1, 100000) n")).expect("sent");
    wire.until(b'D').expect("a row");
    cluster.psql(&format!("select pg_terminate_backend({process})")).expect("a right");
    let heard = wire.rest().expect("an end");
    let (last, before) = heard.split_last().expect("the last words");
    assert_eq!(last.field(b'C').as_deref(), Some("57P01"), "{last:?}");
    assert!(before.iter().all(|message| message.kind == b'D'), "{before:?}");

    // Killed: nobody but Wardline is left to say so.
    let mut wire = Wire::connect(&through).expect("a session");
    let process = backend(&mut wire);
    wire.send(&front::query("select pg_sleep(60)")).expect("sent");
    stage::until_run(&cluster, "pg_sleep", 1);
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().expect("kill").success());
    let heard = wire.rest().expect("an end");
    let last = heard.last().expect("the last words");
    assert_eq!((last.kind, last.field(b'S').as_deref()), (b'E', Some("FATAL")), "{heard:?}");
    assert_eq!(last.field(b'C').as_deref(), Some("08006"), "{heard:?}");
    answers(&through);

    // Gone altogether, and back.
    let mut wire = Wire::connect(&through).expect("a session");
    wire.query("select 1").expect("an answer");
    cluster.kill9().expect("it runs");
    let last = wire.rest().expect("an end").pop().expect("the last words");
    assert_eq!((last.kind, last.field(b'S').as_deref()), (b'E', Some("FATAL")), "{last:?}");
    let error = Wire::connect(&through).expect_err("nothing is there").to_string();
    assert!(error.contains("57P03"), "{error}");
    cluster.restart().expect("it starts again");
    answers(&through);
}

/// Somebody's last statements do not outlive the right to run them: neither the one that runs nor the one behind it.
#[test]
fn what_a_disabled_person_runs_is_cancelled() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    cluster
        .psql_in(
            RESOURCE,
            "create table ledger (n int); insert into ledger values (0); grant all on ledger to app",
        )
        .expect("a table");
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    let mut wire = Wire::connect(&stage::through(&gateway)).expect("a session");
    let slow = |n: u32| front::query(&format!("update ledger set n = {n} from pg_sleep(3)"));
    wire.send(&[slow(1), slow(2)].concat()).expect("sent");
    stage::until_run(&cluster, "update ledger", 1);
    let begun = Instant::now();
    gateway.cli(&["user", "disable", PERSON]).expect("disabled");
    let said = wire.rest().expect("an end");
    assert_eq!(said.last().and_then(|m| m.field(b'C')).as_deref(), Some("57P01"), "{said:?}");
    stage::until_run(&cluster, "update ledger", 0);
    assert!(begun.elapsed() < Duration::from_secs(3), "the statement ran to its end");
    thread::sleep(Duration::from_secs(5));
    assert_eq!(cluster.psql_in(RESOURCE, "select n from ledger").expect("a row"), "0");
}

#[test]
fn a_drain_lets_operations_finish() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    let mut gateway = stage::builder(&cluster).field("drain_timeout_ms", "8000").start().expect("Wardline");
    let through = stage::through(&gateway);
    let session = || Wire::connect(&through).expect("a session");
    let (mut busy, mut piped, mut idle, mut within) = (session(), session(), session(), session());
    idle.query("select 1").expect("an answer");
    within.query("begin; select 1").expect("an answer");
    busy.send(&front::query("select pg_sleep(4), 'done'")).expect("sent");
    piped
        .send(&[run("select pg_sleep(2), 'piped'"), run("select 'behind it'"), front::SYNC.to_vec()].concat())
        .expect("sent");
    stage::until_run(&cluster, "pg_sleep", 2);

    let newcomer = {
        let through = through.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(1000));
            Wire::connect(&through).map(drop)
        })
    };
    let begun = Instant::now();
    let status = gateway.terminate().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "it did not wait for what ran");
    assert!(newcomer.join().expect("a thread").is_err(), "a session began during the drain");

    let ended = |wire: &mut Wire| {
        let heard = wire.rest().expect("an end");
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].field(b'S').as_deref(), Some("FATAL"));
        assert_eq!(heard[0].field(b'C').as_deref(), Some("57P01"), "{heard:?}");
    };
    let said = busy.until(b'Z').expect("what ran has an answer");
    assert!(said[1].body.ends_with(b"done"), "{said:?}");
    let said = piped.until(b'Z').expect("what ran has an answer");
    assert!(said.iter().any(|message| message.body.ends_with(b"behind it")), "{said:?}");
    // A transaction is waited for until the drain's end.
    [busy, piped, idle, within].iter_mut().for_each(ended);
}

/// Returns the most memory that the server had so far, in MiB.
fn peak_mib(gateway: &Gateway) -> u64 {
    let process = gateway.process_id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

#[test]
fn no_session_costs_memory_or_another_sessions_time() {
    const MORE_MIB_MAX: u64 = 24;
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    // A password costs memory of its own, on purpose.
    let through = gateway.conninfo_token(PERSON, RESOURCE).expect("a token");
    for _ in 0..8 {
        answers(&through);
    }
    let before = peak_mib(&gateway);
    let grown = |what: &str| {
        let more = peak_mib(&gateway) - before;
        assert!(more <= MORE_MIB_MAX, "{what}: {more} MiB more");
    };

    // Clients that ask for much and read nothing.
    let mut deaf = Vec::new();
    for text in ["select repeat('x', 1000) from generate_series(1, 300000)", "select repeat('x', 100000000)"]
    {
        for _ in 0..2 {
            let mut wire = Wire::connect(&through).expect("a session");
            wire.send(&front::query(text)).expect("sent");
            deaf.push(wire);
        }
    }
    thread::sleep(Duration::from_secs(1));
    grown("clients that do not read");
    // A client that sends much to a resource that takes its time.
    let (copier, process, key) = slow_copy(&through);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        answers(&through);
    }
    grown("clients that do not read, and a resource that does not");
    wire::cancel(&through, process, &key).expect("silence");
    let said = copier.join().expect("a thread");
    assert!(said.iter().any(|message| message.field(b'C').as_deref() == Some("57014")), "{said:?}");
    drop(deaf);

    // A client that reads a million rows.
    let mut wire = Wire::connect(&through).expect("a session");
    wire.send(&front::query("select n, 'row ' || n from generate_series(1, 1000000) n")).expect("sent");
    let mut rows = 0;
    loop {
        match wire.receive().expect("a message").kind {
            b'D' => rows += 1,
            b'Z' => break,
            _ => {}
        }
    }
    assert_eq!(rows, 1_000_000);
    grown("a million rows");
    // And what nobody read took nothing away from anybody.
    answers(&through);
}

/// Begins to copy 32 MiB into a table that takes a tenth of a second for each row.
fn slow_copy(server: &Conninfo) -> (thread::JoinHandle<Vec<Message>>, u32, Vec<u8>) {
    let mut wire = Wire::connect(server).expect("a session");
    wire.query(
        "create temporary table slow (body text);
         create function pg_temp.wait() returns trigger language plpgsql as
             $$ begin perform pg_sleep(0.1); return null; end $$;
         create trigger wait before insert on slow for each row execute function pg_temp.wait()",
    )
    .expect("an answer");
    wire.send(&front::query("copy slow from stdin")).expect("sent");
    wire.until(b'G').expect("a wish for data");
    let (process, key) = (wire.process, wire.key.clone());
    let copier = thread::spawn(move || {
        let data = front::copy_data(&[b"y".repeat(8191), vec![b'\n']].concat());
        for _ in 0..4096 {
            wire.send(&data).expect("sent");
        }
        wire.send(&front::COPY_DONE).expect("sent");
        wire.until(b'Z').expect("an answer")
    });
    (copier, process, key)
}

/// The resource skips the second statement of that name, and keeps the first: what runs is what is recorded.
#[test]
fn a_name_means_what_the_resource_has_under_it() {
    let cluster = stage::cluster(Version::V15).expect("PostgreSQL 15");
    cluster.psql_in(RESOURCE, super::book::TABLES).expect("tables");
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    let mut wire = Wire::connect(&stage::through(&gateway)).expect("a session");
    let sync = || front::SYNC.to_vec();
    wire.send(&[front::parse("s", "delete from visits where id = 1"), sync()].concat()).expect("sent");
    wire.until(b'Z').expect("an answer");
    let pieces = [
        run("select 1/0"),
        front::close('S', "s"),
        front::parse("s", "select 'harmless' as harmless"),
        sync(),
        front::bind("", "s", &[], 0),
        front::execute("", 0),
        sync(),
        front::query("execute s"),
    ];
    wire.send(&pieces.concat()).expect("sent");
    wire.until(b'Z').expect("the error");
    let said = wire.until(b'Z').expect("an answer");
    assert!(said.iter().any(|message| message.body == b"DELETE 1\0"), "{said:?}");
    let said = wire.until(b'Z').expect("an answer");
    assert!(said.iter().any(|message| message.body == b"DELETE 0\0"), "{said:?}");

    let entries = gateway.cli_json(&["trail", "tail", "-n", "1000", "--json"]).expect("the trail");
    let commands: Vec<&str> = entries
        .iter()
        .filter(|entry| entry["kind"] == "operation" && entry["phase"] == "admitted")
        .filter_map(|entry| entry["command"].as_str())
        .collect();
    // Both were writes, and recorded before they ran.
    assert_eq!(commands, ["DELETE", "EXECUTE"], "{entries:#?}");
    let harmless =
        entries.iter().filter(|entry| entry["statement"].as_str().is_some_and(|s| s.contains("harmless")));
    assert_eq!(harmless.count(), 0, "{entries:#?}");
}
