//! Rows 7, 14 and 15: identities that are never used again, sessions that end by themselves. Also: sessions that an
//! administrator ends, and locks.

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::gateway::{Builder, Gateway};
use testbed::postgres::Cluster;

use super::stage::{self, HOSPITAL, Held, answer, entries, of, psql, text};

/// How long anything that must happen soon may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Begins a gateway whose sessions on the hospital are bound by these fields.
fn bound(cluster: &Cluster, bounds: &str) -> Builder {
    Gateway::builder()
        .resource_of(HOSPITAL, cluster, HOSPITAL)
        .toml(bounds)
        .role("nurse", HOSPITAL, "read = [\"public.*\"]")
        .person("ann", &["nurse"])
        .person("ben", &["nurse"])
}

/// Returns how many connections of Wardline's the database has.
fn backends(cluster: &Cluster) -> u32 {
    let sql = "select count(*) from pg_stat_activity where usename = 'wardline_app'";
    cluster.psql(sql).expect("psql").parse().expect("a number")
}

#[track_caller]
fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the end of a person's last session, as the trail has it.
fn ending(gateway: &Gateway, person: &str) -> String {
    let entries = entries(gateway);
    of(&entries, "session-closed", person).last().map(|entry| text(entry, "detail")).unwrap_or_default()
}

#[test]
fn row_7_an_identity_is_never_used_again() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster).person("ann", &["nurse"]).start().expect("it starts");
    let first = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&first, "select count(*) from patients"), "200");
    let before = entries(&gateway);
    let hers = of(&before, "operation", "ann");
    let old = text(hers.first().expect("her read"), "person");

    gateway.cli(&["user", "delete", "ann"]).expect("deleted");
    assert!(!psql(&first, "select 1").status.success(), "a deleted person got in");
    let password = "another long password";
    gateway
        .cli_stdin(&["user", "add", "ann", "--role", "nurse", "--password-stdin"], password)
        .expect("the name is free again");
    let second = first.clone().with_user("ann", password);
    assert_eq!(answer(&second, "select count(*) from patients"), "200");

    let after = entries(&gateway);
    assert_eq!(after.get(..before.len()), Some(&*before), "old entries are not what they were");
    let reads = of(&after, "operation", "ann");
    let new = text(reads.last().expect("the new person's read"), "person");
    assert_eq!(reads.len(), 2);
    assert!(!old.is_empty() && !new.is_empty() && old != new, "the id {old} was used again");
}

#[test]
fn row_14_an_idle_session_ends_with_its_connection_to_the_database() {
    const TIMEOUT_S: u64 = 8;
    let cluster = stage::hospital();
    let gateway = bound(&cluster, &format!("idle_timeout_s = {TIMEOUT_S}")).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let held = Held::open("127.0.0.1", &ann);
    held.ask("select count(*) from patients").expect("an answer");
    let asked = Instant::now();

    // Empty queries, as clients send them to keep a connection alive, are no use of it.
    let alive = Duration::from_secs(TIMEOUT_S - 5);
    while asked.elapsed() < alive {
        held.ask("").expect("an empty query is answered");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(backends(&cluster), 1, "it ended too early");
    wait_for("the end of the idle session", || backends(&cluster) == 0);
    let lasted = asked.elapsed();
    assert!(lasted >= Duration::from_secs(TIMEOUT_S), "it ended after {lasted:?}");
    assert!(lasted < Duration::from_secs(TIMEOUT_S + 5), "it ended only after {lasted:?}");
    assert!(held.ask("select 1").is_err(), "the client's side is open");
    wait_for("its entry", || !ending(&gateway, "ann").is_empty());
    let said = ending(&gateway, "ann");
    let idle_s: u64 = said
        .strip_prefix("idle; idle for ")
        .and_then(|rest| rest.strip_suffix(" s"))
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_else(|| panic!("the entry does not say for how long it was idle: {said}"));
    assert!((TIMEOUT_S..TIMEOUT_S + 5).contains(&idle_s), "{said}");

    // Whoever is warned can go on.
    let script = "select 1;\n\\! sleep 5\nselect 2;\n\\! sleep 5\nselect 3;\n";
    let output = stage::script(&gateway.conninfo("ben", HOSPITAL).expect("a person"), &[], script);
    assert_eq!(stage::out(&output), "1\n2\n3", "{}", stage::err(&output));
    let notice = "this session ends in 4 s unless something is asked";
    assert_eq!(stage::err(&output).matches(notice).count(), 2, "{}", stage::err(&output));
}

#[test]
fn row_15_a_session_has_a_greatest_age() {
    let cluster = stage::hospital();
    let gateway = bound(&cluster, "session_lifetime_s_max = 5").start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let held = Held::open("127.0.0.1", &ann);
    let began = Instant::now();
    let mut answered = 0;
    while held.ask("select count(*) from patients").is_ok() {
        answered += 1;
        assert!(began.elapsed() < PATIENCE, "it goes on for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    // The clock began within `open`.
    assert!(began.elapsed() >= Duration::from_secs(4), "it ended after {:?}", began.elapsed());
    assert!(answered > 1);
    wait_for("the end of the connection to the database", || backends(&cluster) == 0);
    wait_for("its entry", || !ending(&gateway, "ann").is_empty());
    assert!(ending(&gateway, "ann").starts_with("expired"), "{}", ending(&gateway, "ann"));
    let wrong = ann.clone().with_user("ann", "not the password");
    assert!(!psql(&wrong, "select 1").status.success(), "it goes on without signing in");
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");
}

#[test]
fn an_administrator_sees_sessions_and_ends_them() {
    let cluster = stage::hospital();
    let gateway = bound(&cluster, "").start().expect("it starts");
    let ann = Held::open("127.0.0.2", &gateway.conninfo("ann", HOSPITAL).expect("a person"));
    let ben = Held::open("127.0.0.3", &gateway.conninfo("ben", HOSPITAL).expect("a person"));
    ann.ask("select count(*) from patients").expect("an answer");
    ann.ask("").expect("an answer");
    let sessions = list(&gateway, &["session", "list", "--json"]);
    let shown: Vec<(String, String, String)> = sessions
        .iter()
        .map(|session| (text(session, "person"), text(session, "resource"), text(session, "asked")))
        .collect();
    let expected =
        [("ann", "2"), ("ben", "1")].map(|(name, asked)| (name.into(), HOSPITAL.into(), asked.into()));
    assert_eq!(shown, expected, "{sessions:#?}");
    assert!(text(&sessions[0], "address").starts_with("127.0.0.2:"), "{sessions:#?}");

    let none = gateway.cli(&["session", "kill", "--person", "nobody", "--reason", "a test"]);
    assert!(none.expect_err("nobody has a session").to_string().contains("session list"));
    gateway.cli(&["session", "kill", "--person", "ann", "--reason", "lost laptop"]).expect("ended");
    wait_for("the end of it", || backends(&cluster) == 1);
    assert!(ann.ask("select 1").is_err(), "it goes on");
    ben.ask("select 1").expect("somebody else's session ended");
    wait_for("its entry", || ending(&gateway, "ann").starts_with("killed"));
    let recorded = entries(&gateway);
    let why = of(&recorded, "admin-change", "").into_iter().map(|entry| text(entry, "detail"));
    assert!(why.clone().any(|detail| detail.contains("lost laptop")), "{:#?}", why.collect::<Vec<_>>());

    let id = text(&list(&gateway, &["session", "list", "--json"])[0], "id");
    gateway.cli(&["session", "kill", &id, "--reason", "a test"]).expect("ended");
    wait_for("the end of it", || backends(&cluster) == 0);
    drop(ben);
}

#[test]
fn a_lock_ends_what_is_open_and_keeps_out() {
    let cluster = stage::hospital();
    let gateway = bound(&cluster, "").start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let ben = gateway.conninfo("ben", HOSPITAL).expect("a person");
    let add = |what: [&str; 2]| {
        let words = ["lock", "add", what[0], what[1], "--reason", "case 12", "--json"];
        let answer: Value = serde_json::from_str(&gateway.cli(&words).expect("locked")).expect("JSON");
        answer["lock"].to_string()
    };
    let cases = [
        (["--person", "ann"], false, true),
        (["--role", "nurse"], false, false),
        (["--resource", HOSPITAL], false, false),
        (["--address", "127.0.0.2/32"], false, true),
    ];
    for (number, (what, ann_may, ben_may)) in (1..).zip(cases) {
        let hers = Held::open("127.0.0.2", &ann);
        let his = Held::open("127.0.0.3", &ben);
        let lock = add(what);
        assert_eq!(lock, number.to_string());
        for (session, conninfo, from, may) in
            [(hers, &ann, "127.0.0.2", ann_may), (his, &ben, "127.0.0.3", ben_may)]
        {
            if may {
                session
                    .ask("select 1")
                    .unwrap_or_else(|code| panic!("{what:?} hit {}: {code}", conninfo.user));
                continue;
            }
            wait_for("the end of the open session", || session.ask("select 1").is_err());
            assert!(Held::try_open(from, conninfo).is_none(), "{what:?} let {} in", conninfo.user);
        }
        let denied = entries(&gateway);
        let named =
            denied.iter().any(|entry| entry["policies"].to_string().contains(&format!("lock.{number}")));
        assert!(named, "no entry names {what:?} as the reason");
        gateway.cli(&["lock", "remove", &lock, "--reason", "solved"]).expect("lifted");
        Held::open("127.0.0.2", &ann).ask("select 1").expect("she may come back");
    }
    assert_eq!(list(&gateway, &["lock", "list", "--json"]), Vec::<Value>::new());
    for what in
        [["--person", "nobody"], ["--role", "nobody"], ["--resource", "none"], ["--address", "ward 7"]]
    {
        let words = ["lock", "add", what[0], what[1], "--reason", "a test"];
        assert!(gateway.cli(&words).is_err(), "{what:?} was locked");
    }
}

fn list(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let text = gateway.cli(arguments).expect("a list");
    serde_json::from_str(&text).expect("JSON")
}
