//! Row 35: who leaves is cut off. Sessions are open psql sessions, and the database itself says when they are gone.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::Conninfo;
use testbed::gateway::Gateway;
use testbed::postgres::Cluster;

use super::stage::{self, HOSPITAL, entries, of, psql, text};

/// What the row asks.
const CUT_WITHIN: Duration = Duration::from_secs(60);

/// A psql that asked something and stays. It ends when this value does.
struct Open(Child);

impl Open {
    /// Opens one and lets it run a statement, which may go on for as long as it likes.
    fn psql(conninfo: &Conninfo, statement: &str) -> Open {
        let mut command = Command::new("psql");
        conninfo.apply(&mut command);
        command.args(["-X", "-q", "-A", "-t"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("psql");
        let input = child.stdin.as_mut().expect("a pipe");
        input.write_all(format!("{statement};\n").as_bytes()).expect("psql reads");
        Open(child)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn backends(cluster: &Cluster) -> u32 {
    let sql = "select count(*) from pg_stat_activity where usename = 'wardline_app'";
    cluster.psql(sql).expect("psql").parse().expect("a number")
}

#[track_caller]
fn wait_for(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < CUT_WITHIN, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

fn report(gateway: &Gateway) -> Vec<Value> {
    let json = gateway.cli(&["report", "leavers", "--json"]).expect("a report");
    serde_json::from_str(&json).expect("JSON")
}

/// The details of the entries that say who was cut off.
fn cuts(gateway: &Gateway) -> Vec<String> {
    let all = entries(gateway);
    let of_command = |entry: &&&Value| text(entry, "command") == "cut-off";
    of(&all, "admin-change", "").iter().filter(of_command).map(|entry| text(entry, "detail")).collect()
}

#[test]
fn row_35_who_leaves_is_cut_off_within_a_minute_and_the_report_says_when() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .role("sleeper", HOSPITAL, "execute = [\"pg_catalog.pg_sleep\"]")
        .person("ann", &["nurse", "sleeper"])
        .person("ben", &["nurse"])
        .start()
        .expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let token = gateway.conninfo_token("ann", HOSPITAL).expect("a token");
    // One waits for its next statement, one is in the middle of a long one, one came with a token.
    let hers = [
        Open::psql(&ann, "select count(*) from patients"),
        Open::psql(&ann, "select pg_sleep(600)"),
        Open::psql(&token, "select count(*) from notes"),
    ];
    let his = Open::psql(&gateway.conninfo("ben", HOSPITAL).expect("a person"), "select 1");
    wait_for("four sessions", || backends(&cluster) == 4);
    let sleeping =
        "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'";
    wait_for("the long statement", || cluster.psql(sleeping).expect("psql") == "1");

    let ended = "2020-02-03T16:00:00Z";
    let said = gateway.cli(&["user", "disable", "ann", "--ended-at", ended, "--json"]).expect("disabled");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (&said["disabled"], &said["departure"]["tokens"]),
        (&Value::Bool(true), &Value::from(1)),
        "{said}"
    );
    wait_for("the end of her connections to the database", || backends(&cluster) == 1);
    for open in [&ann, &token] {
        assert!(!psql(open, "select 1").status.success(), "somebody who left got in");
    }
    wait_for("the entry", || !cuts(&gateway).is_empty());
    let cut = cuts(&gateway).join("\n");
    assert!(cut.contains("sessions ended 3, tokens ended 1") && cut.contains("which is late"), "{cut}");

    let shown = report(&gateway);
    let [line] = shown.as_slice() else { panic!("one left: {shown:#?}") };
    assert_eq!((text(line, "person").as_str(), text(line, "source").as_str()), ("ann", "command"));
    assert_eq!((&line["sessions"], &line["tokens"], &line["late"]), (&3.into(), &1.into(), &true.into()));
    assert_eq!(text(line, "ended_at"), "2020-02-03T16:00:00.000000Z");
    assert!(line["seconds_from_told"].as_u64().expect("seconds") <= CUT_WITHIN.as_secs(), "{line}");
    assert!(line["minutes_from_end"].as_u64().expect("minutes") > 60, "{line}");
    assert_eq!(text(line, "finding"), "more than 60 minutes after the end");

    // Somebody whose employment ended just now is not flagged; a token does not come to life again with its person.
    let now =
        cluster.psql("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS')").expect("psql");
    gateway.cli(&["user", "disable", "ben", "--ended-at", &now]).expect("disabled");
    wait_for("the end of his connection to the database", || backends(&cluster) == 0);
    wait_for("the entry", || cuts(&gateway).len() == 2);
    let shown = report(&gateway);
    assert_eq!((text(&shown[1], "person").as_str(), &shown[1]["late"]), ("ben", &false.into()), "{shown:#?}");
    assert_eq!(text(&shown[1], "finding"), "");
    gateway.cli(&["user", "enable", "ann"]).expect("enabled");
    assert!(!psql(&token, "select 1").status.success(), "an old token works again");
    assert!(psql(&ann, "select 1").status.success(), "she has come back");
    let later = gateway.cli(&["user", "disable", "ann", "--ended-at", "2999-01-01"]);
    assert!(later.expect_err("it has not come").to_string().contains("has not ended yet"));
    drop((hers, his));
}
