//! What staff owe and is owed by those who look after accounts: training.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::clock::TimeOfDay;
use testbed::gateway::{Gateway, program};
use testbed::postgres::Cluster;

use super::stage::{self, HOSPITAL, Held, entries, of, psql, text};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;

/// Runs a command as a person with a token.
fn acts(gateway: &Gateway, person: &str, arguments: &[&str]) -> Output {
    let token = gateway.conninfo_token(person, HOSPITAL).expect("a token").password;
    let mut command = Command::new(program().expect("the program"));
    command.arg("--config").arg(gateway.config()).args(["--as", person]).args(arguments);
    command.env("WARDLINE_TOKEN", token).output().expect("it runs")
}

#[track_caller]
fn done(gateway: &Gateway, person: &str, arguments: &[&str]) -> String {
    let output = acts(gateway, person, arguments);
    assert!(output.status.success(), "{person} {arguments:?}: {}", stage::err(&output));
    stage::out(&output)
}

#[track_caller]
fn not_done(gateway: &Gateway, person: &str, arguments: &[&str], why: &str) {
    let output = acts(gateway, person, arguments);
    assert_eq!(output.status.code(), Some(1), "{person} {arguments:?}: {}", stage::out(&output));
    assert!(stage::err(&output).contains(why), "{person} {arguments:?}: {}", stage::err(&output));
}

#[track_caller]
fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns a day so many days ago, as `YYYY-MM-DD`.
fn days_ago(days: u64) -> String {
    let output = Command::new("date").args(["-u", "-d", &format!("{days} days ago"), "+%F"]).output();
    stage::out(&output.expect("date"))
}

const TRAINING: &str = r#"
[training.privacy-basics]
title = "Privacy basics"
roles = ["nurse", "clerk"]
instructions = "Take it at https://learn.example/basics, or call 1234."
[operators.rights]
"os:root" = ["admin", "auditor"]
teacher = ["trainer"]
"#;

fn trained(cluster: &Cluster, clock: &TimeOfDay) -> Gateway {
    clock
        .of(stage::gateway(cluster))
        .role("teacher", HOSPITAL, "read = [\"public.claims\"]")
        .toml(TRAINING)
        .person("ann", &["nurse"])
        .person("ben", &["clerk"])
        .person("cat", &["billing"])
        .person("tess", &["teacher"])
        .start()
        .expect("it starts")
}

/// Asserts that a person is refused, and told what to do.
#[track_caller]
fn untrained(gateway: &Gateway, person: &str) {
    let output = psql(&gateway.conninfo(person, HOSPITAL).expect("a person"), "select 1");
    let said = stage::err(&output);
    assert!(!output.status.success(), "{person} got in");
    let told =
        said.contains("Training \"Privacy basics\" is overdue. Take it at https://learn.example/basics");
    assert!(told && said.contains("access refused (reference"), "{said}");
}

// About 15 s: two sign-ins by password for each step, and one end of a session.
#[test]
fn row_38_whoever_has_not_learnt_is_warned_then_refused() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let gateway = trained(&cluster, &clock);
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    untrained(&gateway, "ann");
    stage::answer(&gateway.conninfo("cat", HOSPITAL).expect("a person"), "select count(*) from claims");
    // A wrong password is told nothing of it.
    let wrong = psql(&ann.clone().with_user("ann", "not the password"), "select 1");
    assert!(!stage::err(&wrong).contains("Training"), "{}", stage::err(&wrong));

    let on = days_ago(340);
    let complete = ["training", "complete", "ann", "privacy-basics", "--on", &on];
    not_done(&gateway, "cat", &complete, "takes `trainer` or `admin`");
    not_done(&gateway, "tess", &["training", "complete", "ann", "privacy", "--on", &on], "privacy-basics");
    not_done(
        &gateway,
        "tess",
        &["training", "complete", "ann", "privacy-basics", "--on", "2199-01-01"],
        "future",
    );
    done(&gateway, "tess", &complete);
    let output = psql(&ann, "select count(*) from patients");
    assert_eq!(stage::out(&output), "200", "{}", stage::err(&output));
    let notice = stage::err(&output);
    let warned =
        notice.contains("NOTICE") && notice.contains("Training \"Privacy basics\" is due in 24 days.");
    assert!(warned, "not warned: {notice}");

    // A file, read twice.
    let csv = folder.path().join("done.csv");
    std::fs::write(
        &csv,
        format!("person,course,completed_on\nben,privacy-basics,{}\ncat,privacy-basics,{on}\n", days_ago(10)),
    )
    .expect("a file");
    let csv = csv.display().to_string();
    assert_eq!(json(&done(&gateway, "tess", &["training", "import", &csv, "--json"]))["known"], 0);
    assert_eq!(json(&done(&gateway, "tess", &["training", "import", &csv, "--json"]))["known"], 2);

    let held = Held::open("127.0.0.1", &ann);
    held.ask("select count(*) from patients").expect("an answer");
    let other = Held::open("127.0.0.1", &gateway.conninfo("ben", HOSPITAL).expect("a person"));
    clock.set(26 * DAY_MS).expect("the clock");
    let turned = Instant::now();
    wait_for("the end of the session", || held.ask("").is_err());
    println!("the session ended {} ms after its training was overdue", turned.elapsed().as_millis());
    other.ask("select count(*) from patients").expect("somebody else's session goes on");
    untrained(&gateway, "ann");

    let roster = json(&done(&gateway, "tess", &["training", "roster", "--json"]));
    let states: Vec<(String, String)> = roster
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| (text(line, "person"), text(line, "state")))
        .collect();
    let expected = [("ann", "overdue"), ("ben", "valid"), ("cat", "not-needed")];
    assert_eq!(states, expected.map(|(person, state)| (person.to_owned(), state.to_owned())));
    let diff = json(&done(&gateway, "tess", &["training", "roster", "--diff", "--json"]));
    assert_eq!(text(&diff["access_without_training"][0], "person"), "ann");
    assert_eq!(text(&diff["access_without_training"][0], "refused"), "true");
    assert_eq!(text(&diff["training_without_access"][0], "person"), "cat");

    let trail = entries(&gateway);
    let refused = of(&trail, "session-opened", "ann");
    assert!(refused.iter().any(|entry| entry["policies"].to_string() == "[\"training.privacy-basics\"]"));
    let entered = trail.iter().any(|entry| {
        text(entry, "command") == "training complete"
            && text(entry, "person_name") == "tess"
            && text(entry, "phase") == "settled"
    });
    assert!(entered, "the completion is not in the trail");
    let asked =
        trail.iter().any(|entry| text(entry, "detail") == "training `privacy-basics` is asked of ann, ben");
    assert!(asked, "that it was asked of them is not in the trail");
}
