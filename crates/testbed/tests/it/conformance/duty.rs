//! What staff owe and is owed by those who look after accounts: training.

use std::path::Path;
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

/// Returns the day after this one, as `YYYY-MM-DD`: a campaign is due in a day at the earliest.
fn tomorrow() -> String {
    let output = Command::new("date").args(["-u", "-d", "tomorrow", "+%F"]).output();
    stage::out(&output.expect("date"))
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

/// Checks the roster, and what the trail says, when Ann is overdue.
fn told_of(gateway: &Gateway) {
    let roster = json(&done(gateway, "tess", &["training", "roster", "--json"]));
    let states: Vec<(String, String)> = roster
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| (text(line, "person"), text(line, "state")))
        .collect();
    let expected = [("ann", "overdue"), ("ben", "valid"), ("cat", "not-needed")];
    assert_eq!(states, expected.map(|(person, state)| (person.to_owned(), state.to_owned())));
    let diff = json(&done(gateway, "tess", &["training", "roster", "--diff", "--json"]));
    assert_eq!(text(&diff["access_without_training"][0], "person"), "ann");
    assert_eq!(text(&diff["access_without_training"][0], "refused"), "true");
    assert_eq!(text(&diff["training_without_access"][0], "person"), "cat");

    let trail = entries(gateway);
    let refused = of(&trail, "session-opened", "ann");
    assert!(refused.iter().any(|entry| entry["policies"] == serde_json::json!(["training.privacy-basics"])));
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

    told_of(&gateway);
}

const REVIEWED: &str = r#"
[operators.rights]
"os:root" = ["admin", "auditor"]
lead = ["approver", "admin"]
"#;

fn roles(gateway: &Gateway, person: &str) -> String {
    let people = gateway.cli_json(&["user", "list", "--json"]).expect("people");
    let people = people.first().and_then(Value::as_array).expect("a list").clone();
    let found = people.iter().find(|known| text(known, "name") == person).expect("the person");
    found["roles"].to_string()
}

fn decisions(campaign: &Value) -> Vec<(String, String, String)> {
    let rights = campaign["rights"].as_array().expect("a list");
    rights.iter().map(|right| (text(right, "person"), text(right, "role"), text(right, "decision"))).collect()
}

/// Lets the reviewers, and others, decide about some rights.
fn decide(gateway: &Gateway) {
    // 1: ann nurse, 2: ben billing, 3: ben clerk, 4: cat billing, 5: lea lead.
    let because = ["--reason", "looked at the rota", "--json"];
    let decide = |who: &str, what: &[&str], why: Option<&str>| {
        let arguments = [&["recertify"], what, &because[..]].concat();
        match why {
            Some(why) => not_done(gateway, who, &arguments, why),
            None => drop(done(gateway, who, &arguments)),
        }
    };
    decide("ben", &["confirm", "1", "2"], Some("is for `lea` to look at"));
    decide("lea", &["confirm", "1", "5"], Some("is for `kim` to look at"));
    decide("lea", &["confirm", "1", "1"], None);
    decide("lea", &["revoke", "1", "1"], Some("decided before"));
    decide("lea", &["change", "1", "2", "--to", "nobody"], Some("no role"));
    decide("lea", &["change", "1", "2", "--to", "lead"], Some("a review gives nobody a role with rights"));
    decide("kim", &["change", "1", "5", "--to", "nurse"], Some("takes the right `admin`"));
    decide("lea", &["change", "1", "2", "--to", "nurse"], None);
}

/// Checks the report and the trail of a campaign that is over.
fn reported(gateway: &Gateway, folder: &Path, expected: &[(String, String, String)]) {
    let report = folder.join("report").display().to_string();
    gateway.cli(&["recertify", "report", "1", "--output", &report]).expect("a report");
    let (written, note) =
        (std::fs::read_to_string(format!("{report}.json")), std::fs::read_to_string(format!("{report}.txt")));
    assert_eq!(decisions(&json(&written.expect("a file"))), *expected);
    let note = note.expect("a file");
    assert!(note.contains("unanswered by os:wardline") && note.contains("\u{2014} test "), "{note}");
    for (command, by) in [
        ("recertify start", "lea"),
        ("recertify change", "lea"),
        ("recertify lapse", "os:wardline"),
        ("recertify close", "os:wardline"),
    ] {
        // That it was done is recorded after it is, unless the server was killed in between.
        wait_for(command, || {
            entries(gateway).iter().any(|entry| {
                text(entry, "command") == command
                    && text(entry, "person_name") == by
                    && (text(entry, "phase") == "settled" || by == "os:wardline")
            })
        });
    }
}

// About 20 s: what is not answered is taken away when the clock is set on; and a kill in between.
#[test]
fn row_37_rights_that_nobody_answers_for_are_taken_away() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let mut gateway = clock
        .of(stage::gateway(&cluster))
        .role("lead", HOSPITAL, "read = [\"public.claims\"]")
        .toml(REVIEWED)
        .person("ann", &["nurse"])
        .person("ben", &["billing", "clerk"])
        .person("cat", &["billing"])
        .person("lea", &["lead"])
        .person("kim", &[])
        .start()
        .expect("it starts");
    let due = tomorrow();
    let start = ["recertify", "start", "--resource", HOSPITAL, "--due", &due, "--json"];
    let output = acts(&gateway, "lea", &start);
    assert!(stage::err(&output).contains("nobody would look at the rights of"), "{}", stage::err(&output));
    not_done(&gateway, "ann", &start, "takes `admin`");
    gateway.cli(&["account", "describe", "ben", "--manager", "kim"]).expect("described");
    let start = [&start[..], &["--reviewer", "lea", "--deputy", "kim"]].concat();
    let campaign = json(&done(&gateway, "lea", &start));
    let reviewers: Vec<(String, String)> = campaign["rights"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|right| (text(right, "person"), text(right, "reviewer")))
        .collect();
    let expected = [("ann", "lea"), ("ben", "lea"), ("ben", "lea"), ("cat", "lea"), ("lea", "kim")];
    assert_eq!(
        reviewers,
        expected.map(|(person, by)| (person.to_owned(), by.to_owned())),
        "not about oneself"
    );

    decide(&gateway);
    assert_eq!(roles(&gateway, "ben"), "[\"clerk\",\"nurse\"]");
    let held = Held::open("127.0.0.1", &gateway.conninfo("cat", HOSPITAL).expect("a person"));
    held.ask("select count(*) from claims").expect("an answer");

    // The day is over: whatever is left is taken away, also when the server dies meanwhile.
    clock.set(2 * DAY_MS).expect("the clock");
    wait_for("the end of the session", || held.ask("select count(*) from claims").is_err());
    gateway.kill9().expect("killed");
    gateway.serve().expect("it starts again");
    let show = || json(&gateway.cli(&["recertify", "show", "1", "--json"]).expect("a campaign"));
    wait_for("the end of the campaign", || !text(&show()["campaign"], "closed_at").is_empty());
    let named = |(person, role, decision): (&str, &str, &str)| {
        (person.to_owned(), role.to_owned(), decision.to_owned())
    };
    let expected = [
        ("ann", "nurse", "confirmed"),
        ("ben", "billing", "changed"),
        ("ben", "clerk", "unanswered"),
        ("cat", "billing", "unanswered"),
        ("lea", "lead", "unanswered"),
    ];
    assert_eq!(decisions(&show()), expected.map(named));
    assert_eq!((roles(&gateway, "ben"), roles(&gateway, "cat")), ("[\"nurse\"]".to_owned(), "[]".to_owned()));
    stage::answer(&gateway.conninfo("ann", HOSPITAL).expect("a person"), "select count(*) from patients");

    reported(&gateway, folder.path(), &expected.map(named));
}

#[test]
fn row_37_what_is_not_answered_can_be_asked_of_somebody_else_first() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let gateway = clock
        .of(stage::gateway(&cluster))
        .toml(REVIEWED)
        .role("lead", HOSPITAL, "read = [\"public.claims\"]")
        .person("ann", &["nurse"])
        .person("ben", &["billing"])
        .person("lea", &["lead"])
        .person("kim", &[])
        .start()
        .expect("it starts");
    for person in ["ann", "ben"] {
        gateway.cli(&["account", "describe", person, "--manager", "lea"]).expect("described");
    }
    let due = tomorrow();
    let start = ["recertify", "start", "--manager", "lea", "--due", &due, "--escalate-to", "kim", "--json"];
    done(&gateway, "lea", &start);
    clock.set(2 * DAY_MS).expect("the clock");
    let show = || json(&gateway.cli(&["recertify", "show", "1", "--json"]).expect("a campaign"));
    wait_for("the escalation", || {
        show()["rights"].as_array().expect("a list").iter().all(|right| text(right, "reviewer") == "kim")
    });
    assert_eq!(roles(&gateway, "ann"), "[\"nurse\"]", "it is asked first");
    not_done(&gateway, "lea", &["recertify", "confirm", "1", "1", "--reason", "too late"], "is for `kim`");
    done(&gateway, "kim", &["recertify", "confirm", "1", "1", "--reason", "asked the ward"]);
    clock.set(10 * DAY_MS).expect("the clock");
    wait_for("the end of the campaign", || !text(&show()["campaign"], "closed_at").is_empty());
    assert_eq!((roles(&gateway, "ann"), roles(&gateway, "ben")), ("[\"nurse\"]".to_owned(), "[]".to_owned()));
}

fn account<'a>(report: &'a Value, name: &str) -> &'a Value {
    let accounts = report.as_array().expect("a list");
    accounts.iter().find(|account| text(account, "account") == name).unwrap_or(&Value::Null)
}

#[test]
fn row_8_accounts_that_are_nobodys_are_in_the_register() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let gateway = clock
        .of(stage::gateway(&cluster))
        .toml(REVIEWED)
        .role("lead", HOSPITAL, "read = [\"public.claims\"]")
        .person("ann", &["nurse"])
        .person("lea", &["lead"])
        .person("nightly", &["billing"])
        .person("ward3", &["nurse"])
        .person("guest", &[])
        .start()
        .expect("it starts");
    let report = |all: bool| {
        let all = if all { &["--all"][..] } else { &[] };
        json(&gateway.cli(&[&["report", "accounts", "--json"], all].concat()).expect("a report"))
    };
    let describe = |arguments: &[&str]| {
        gateway.cli_output(&[&["account", "describe"], arguments].concat()).expect("it runs")
    };
    assert!(describe(&["nightly", "--kind", "service"]).status.success());
    assert!(describe(&["ward3", "--kind", "shared", "--owner", "ann"]).status.success());
    let own = describe(&["nightly", "--owner", "lea", "--approver", "lea"]);
    assert!(stage::err(&own).contains("nobody approves what they own"), "{}", stage::err(&own));
    let program = describe(&["ward3", "--approver", "nightly"]);
    assert!(stage::err(&program).contains("cannot answer for anything"), "{}", stage::err(&program));

    let before = report(false);
    let findings = |report: &Value, name: &str| account(report, name)["findings"].to_string();
    assert_eq!(findings(&before, "nightly"), "[\"nobody owns it\",\"nobody approved it\"]");
    assert!(findings(&before, "ward3").contains("several people use it"), "{before}");
    assert!(findings(&before, "guest").contains("nobody's"), "{before}");
    assert_eq!(text(account(&before, "wardline_app"), "resource"), HOSPITAL);
    assert!(findings(&before, "wardline_app").contains("nobody owns it"), "{before}");
    assert!(account(&before, "ann").is_null(), "a person without a finding");
    let check = stage::out(&gateway.cli_output(&["check"]).expect("it runs"));
    assert!(check.contains("service account `nightly`: nobody owns it"), "{check}");
    assert!(
        check.contains("upstream account `wardline_app` at resource `hospital`: nobody owns it"),
        "{check}"
    );

    assert!(describe(&["nightly", "--owner", "lea", "--approver", "ann"]).status.success());
    assert!(describe(&["--upstream", HOSPITAL, "--owner", "lea", "--approver", "ann"]).status.success());
    stage::answer(&gateway.conninfo("nightly", HOSPITAL).expect("a person"), "select count(*) from claims");
    let owned = report(false);
    assert_eq!(
        (findings(&owned, "nightly"), findings(&owned, "wardline_app")),
        ("[]".to_owned(), "[]".to_owned())
    );
    let used = |name: &str| text(account(&owned, name), "last_used_at");
    assert!(!used("nightly").is_empty() && !used("wardline_app").is_empty(), "{owned}");
    assert_eq!(
        (text(account(&owned, "nightly"), "owner"), text(account(&owned, "nightly"), "approver")),
        ("lea".to_owned(), "ann".to_owned())
    );

    gateway.cli(&["user", "disable", "lea"]).expect("disabled");
    clock.set(100 * DAY_MS).expect("the clock");
    let later = findings(&report(false), "nightly");
    assert!(
        later.contains("its owner `lea` is disabled") && later.contains("not used for 100 days"),
        "{later}"
    );
    assert!(text(account(&report(false), "ann"), "findings").contains("never used, and 100 days old"));
}

/// Returns a conninfo for an agent that acts for a person, and the number of the delegation.
fn delegated(gateway: &Gateway, person: &str, more: &[&str]) -> (testbed::Conninfo, String) {
    let arguments = [&["agent", "delegate", "scribe", "--json"], more].concat();
    let answer = json(&done(gateway, person, &arguments));
    let conninfo = gateway.conninfo(person, HOSPITAL).expect("a person");
    (conninfo.with_user("scribe", &text(&answer, "token")), text(&answer["delegation"], "number"))
}

/// Ends a delegation, the person, and the agent, while sessions are open.
fn ends_with_either(gateway: &Gateway, ann: &testbed::Conninfo, (ben, number): (&testbed::Conninfo, &str)) {
    // Whatever ends of the two, ends the session.
    let first = Held::open("127.0.0.1", ann);
    let second = Held::open("127.0.0.1", ben);
    let sessions = gateway.cli(&["session", "list", "--json"]).expect("a list");
    assert!(sessions.contains("\"agent\":\"scribe\""), "{sessions}");
    done(gateway, "ben", &["agent", "end", number, "--reason", "it is done"]);
    wait_for("the end of ben's session", || second.ask("").is_err());
    first.ask("select count(*) from patients").expect("ann's goes on");
    assert!(!psql(ben, "select 1").status.success(), "an ended delegation lets in");
    gateway.cli(&["user", "disable", "ann"]).expect("disabled");
    wait_for("the end of ann's session", || first.ask("").is_err());
    assert!(!psql(ann, "select 1").status.success());
    gateway.cli(&["user", "enable", "ann"]).expect("enabled");
    let third = Held::open("127.0.0.1", ann);
    gateway.cli(&["user", "disable", "scribe"]).expect("disabled");
    wait_for("the end of the agent's session", || third.ask("").is_err());
}

#[test]
fn row_3_an_agent_may_do_what_both_may_and_is_recorded_with_its_person() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .role("robot", HOSPITAL, "read = [\"public.patients\", \"public.claims\"]")
        .toml("[policy]\npurposes = [\"treatment\", \"research\"]\n[operators.rights]\n\"os:root\" = [\"admin\", \"auditor\"]\nrobot = [\"admin\"]\n")
        .person("ann", &["nurse"])
        .person("ben", &["clerk"])
        .start()
        .expect("it starts");
    gateway.cli(&["agent", "add", "scribe", "--role", "robot", "--owner", "ben"]).expect("added");
    let (ann, _) = delegated(&gateway, "ann", &["--purpose", "treatment"]);
    // The nurse reads patients and notes, the agent patients and claims.
    assert_eq!(stage::answer(&ann, "select count(*) from patients"), "200");
    stage::refused(&ann, "select count(*) from notes");
    stage::refused(&ann, "select count(*) from claims");
    stage::refused(&ann, "insert into notes (body) values ('x')");
    let other =
        stage::script(&ann, &[], "set wardline.purpose = 'research';\nselect count(*) from patients;\n");
    assert!(
        stage::err(&other).contains("42501"),
        "another purpose: {} {}",
        stage::out(&other),
        stage::err(&other)
    );

    // Nobody else's token, no password, no further delegation, and nothing of Wardline itself.
    let (ben, number) = delegated(&gateway, "ben", &[]);
    assert!(!psql(&ben.clone().with_user("ann", &ben.password), "select 1").status.success());
    assert!(!psql(&ben.clone().with_user("scribe", "a password of somebody"), "select 1").status.success());
    let mut acting = Command::new(program().expect("the program"));
    acting.arg("--config").arg(gateway.config()).args(["--as", "scribe", "user", "disable", "ann"]);
    let acting = acting.env("WARDLINE_TOKEN", &ben.password).output().expect("it runs");
    assert!(
        !acting.status.success() && stage::err(&acting).contains("was not proven"),
        "{}",
        stage::err(&acting)
    );
    let account = gateway.cli_output(&["agent", "delegate", "scribe"]).expect("it runs");
    assert!(stage::err(&account).contains("takes a person"), "{}", stage::err(&account));
    not_done(&gateway, "ann", &["agent", "end", &number, "--reason", "not mine"], "somebody else's");
    not_done(&gateway, "ann", &["agent", "delegate", "ben"], "no agent");

    let trail = entries(&gateway);
    let reads: Vec<&Value> =
        of(&trail, "operation", "ann").into_iter().filter(|entry| !text(entry, "agent").is_empty()).collect();
    let read = reads.iter().find(|entry| text(entry, "outcome") == "completed").expect("a read for her");
    let parts: Vec<String> = text(read, "agent").split(':').map(str::to_owned).collect();
    assert_eq!((parts[0].len(), parts[1].as_str(), parts[2].as_str()), (32, "scribe", "1"), "{read}");
    assert!(
        text(read, "person").len() == 32
            && text(read, "person") != parts[0]
            && text(read, "purpose") == "treatment",
        "{read}"
    );
    let policies = read["policies"].to_string();
    assert!(policies.contains("role.nurse.1.read") && policies.contains("role.robot.1.read"), "{policies}");

    ends_with_either(&gateway, &ann, (&ben, &number));
}

/// Opens two sessions of a person at once from two addresses; the second may be refused.
fn from_two(second_device: &str) -> (Gateway, Option<Held>, Held, Cluster) {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .toml(&format!("[sign_in]\nsecond_device = \"{second_device}\""))
        .person("ann", &["nurse"])
        .start()
        .expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let first = Held::open("127.0.0.2", &ann);
    (gateway, Held::try_open("127.0.0.3", &ann), first, cluster)
}

#[test]
fn row_6_two_devices_at_once_can_be_an_incident_or_refused() {
    let (gateway, second, first, _cluster) = from_two("incident");
    second.expect("it is let in").ask("select count(*) from patients").expect("an answer");
    drop(first);
    let trail = entries(&gateway);
    let sessions: Vec<String> =
        of(&trail, "session-opened", "ann").iter().map(|entry| text(entry, "session")).collect();
    let incidents = of(&trail, "incident", "ann");
    let said: Vec<String> = incidents.iter().map(|entry| text(entry, "detail")).collect();
    let expected = format!(
        "used from two devices at once: 127.0.0.3 (session {}) and 127.0.0.2 (session {})",
        sessions[1], sessions[0]
    );
    assert_eq!(said, [expected]);

    let (gateway, second, first, _cluster) = from_two("refuse");
    assert!(second.is_none(), "the second device was let in");
    first.ask("select count(*) from patients").expect("the first goes on");
    drop(first);
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    wait_for("room for another device", || Held::try_open("127.0.0.3", &ann).is_some());
    let trail = entries(&gateway);
    let refused = of(&trail, "session-opened", "ann").iter().any(|entry| {
        text(entry, "detail").starts_with("refused: also connected from 127.0.0.2 (session ")
            && text(entry, "outcome") == "refused"
    });
    assert!(refused, "the refusal does not say why");
}

const EXAMPLES: &str = r#"
[people.ann]
roles = ["nurse"]
[people.ben]
roles = ["billing"]
disabled = true
[people.scribe]
roles = ["clerk"]

[[example]]
name = "nurses read notes"
who = "ann"
resource = "hospital"
action = "Read"
object = "public.notes"
expect = "allow"
because = ["role.nurse.1.read"]

[[example]]
name = "who left reads nothing"
who = "ben"
resource = "hospital"
action = "Read"
object = "public.claims"
expect = "deny"
because = ["wardline.disabled"]

[[example]]
name = "names are masked for nurses"
who = "ann"
resource = "hospital"
column = "public.patients.ssn"
expect = "mask"

[[example]]
name = "an agent may not what its person may not"
who = "ann"
agent = "scribe"
resource = "hospital"
action = "Read"
object = "public.claims"
expect = "deny"
"#;

#[test]
fn row_2_examples_and_past_days_are_answered_by_the_engine_of_the_gateway() {
    let cluster = stage::hospital();
    let phi = "[resource.hospital.phi]\nclean = [\"public.notes.*\", \"public.claims.*\", \"public.patients.id\", \"public.patients.name\"]\n[resource.hospital.phi.columns]\n\"public.patients.ssn\" = { class = \"ssn\" }\n";
    let gateway = stage::gateway(&cluster)
        .toml(phi)
        .person("ann", &["nurse"])
        .person("ben", &["billing"])
        .start()
        .expect("it starts");
    let folder = tempfile::tempdir().expect("a folder");
    let examples = folder.path().join("examples.toml");
    let judge = |text: &str| {
        std::fs::write(&examples, text).expect("a file");
        gateway.cli_output(&["policy", "test", &examples.display().to_string()]).expect("it runs")
    };
    let holds = judge(EXAMPLES);
    assert!(holds.status.success(), "{} {}", stage::out(&holds), stage::err(&holds));
    assert!(stage::out(&holds).contains("4 examples, 0 do not hold"), "{}", stage::out(&holds));
    let wrong = judge(&EXAMPLES.replace("expect = \"mask\"", "expect = \"allow\""));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        stage::out(&wrong).contains("WRONG names are masked for nurses: expected allow, got mask"),
        "{}",
        stage::out(&wrong)
    );

    let who_can = |more: &[&str]| {
        let arguments = [&["policy", "who-can", "read", "public.patients", "--json"], more].concat();
        let answer = json(&gateway.cli(&arguments).expect("an answer"));
        let allowed = answer["allowed"].as_array().expect("a list").clone();
        allowed.iter().map(|line| text(line, "person")).collect::<Vec<_>>()
    };
    assert_eq!(who_can(&[]), ["ann"]);
    let activated = |trail: &[Value]| {
        of(trail, "policy-activated", "").last().map(|entry| text(entry, "at")).expect("a policy")
    };
    let then = activated(&entries(&gateway));
    gateway.cli(&["user", "roles", "ben", "--role", "nurse"]).expect("changed");
    gateway.cli(&["user", "delete", "ann"]).expect("deleted");
    let now = activated(&entries(&gateway));
    assert_eq!(who_can(&[]), ["ben"]);
    assert_eq!(who_can(&["--at", &then]), ["ann"], "as of {then}");
    assert_eq!(who_can(&["--at", &now]), ["ben"], "as of {now}");
    let unknown = gateway.cli_output(&["policy", "who-can", "Read", "--at", "2020-01-01"]).expect("it runs");
    assert!(
        stage::err(&unknown).contains("not known: no policy was in force before"),
        "{}",
        stage::err(&unknown)
    );
    let what =
        json(&gateway.cli(&["policy", "what-can", "ann", "--at", &then, "--json"]).expect("an answer"));
    assert!(what.to_string().contains("\"object\":\"public.notes\""), "{what}");
    // The answer is that of `access matrix`, and of what is decided.
    let matrix = json(
        &gateway.cli(&["access", "matrix", "--relation", "public.patients", "--json"]).expect("a matrix"),
    );
    let may = matrix["decisions"].as_array().expect("a list").iter().filter(|cell| {
        text(cell, "action") == "Read"
            && text(cell, "object") == "public.patients"
            && text(cell, "allowed") == "true"
    });
    assert_eq!(may.map(|cell| text(cell, "person")).collect::<Vec<_>>(), ["ben"]);
}

/// Sends a statement of xAPI, with a name and a token; returns the status.
fn tell(port: u16, name: &str, token: &str, statement: &str) -> String {
    const SCRIPT: &str = r#"
import base64, ssl, sys, urllib.error, urllib.request
port, name, token, body = sys.argv[1:]
basic = base64.b64encode(f"{name}:{token}".encode()).decode()
headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json", "X-Experience-API-Version": "1.0.3"}
request = urllib.request.Request(f"https://127.0.0.1:{port}/xapi/statements", body.encode(), headers, method="POST")
context = ssl._create_unverified_context()
try:
    print(urllib.request.urlopen(request, context=context).status)
except urllib.error.HTTPError as error:
    print(error.code)
"#;
    let port = port.to_string();
    let output = Command::new("python3").args(["-c", SCRIPT, &port, name, token, statement]).output();
    let output = output.expect("python3");
    assert!(output.status.success(), "{}", stage::err(&output));
    stage::out(&output)
}

#[test]
fn row_38_a_learning_system_tells_of_completions() {
    let cluster = stage::hospital();
    let port = testbed::free_port().expect("a port");
    let training = TRAINING.replace(
        "title = \"Privacy basics\"",
        "title = \"Privacy basics\"\nactivity = \"https://learn.example/basics\"",
    );
    let gateway = stage::gateway(&cluster)
        .role("teacher", HOSPITAL, "read = [\"public.claims\"]")
        .toml(&format!("{training}\n[web]\naddress = \"127.0.0.1:{port}\""))
        .person("ann", &["nurse"])
        .person("cat", &["billing"])
        .person("lms", &["teacher"])
        .start()
        .expect("it starts");
    gateway.cli(&["account", "describe", "lms", "--kind", "service", "--owner", "cat"]).expect("described");
    let token = |name: &str| gateway.conninfo_token(name, HOSPITAL).expect("a token").password;
    let (lms, cat) = (token("lms"), token("cat"));
    let statement = |verb: &str, person: &str| {
        format!(
            r#"{{"id": "0c2a7e0e-6b7b-4a55-9d6c-000000000001",
            "actor": {{"account": {{"homePage": "https://hr.example", "name": "{person}"}}}},
            "verb": {{"id": "http://adlnet.gov/expapi/verbs/{verb}"}},
            "object": {{"id": "https://learn.example/basics"}}}}"#
        )
    };
    untrained(&gateway, "ann");
    assert_eq!(tell(port, "lms", "not a token", &statement("completed", "ann")), "401");
    assert_eq!(tell(port, "ann", &lms, &statement("completed", "ann")), "401", "a token of somebody else");
    assert_eq!(tell(port, "cat", &cat, &statement("completed", "ann")), "403");
    assert_eq!(tell(port, "lms", &lms, &statement("completed", "nobody")), "422");
    assert_eq!(tell(port, "lms", &lms, "{}"), "400");
    assert_eq!(tell(port, "lms", &lms, &statement("attempted", "ann")), "200");
    untrained(&gateway, "ann");
    assert_eq!(tell(port, "lms", &lms, &statement("completed", "ann")), "200");
    stage::answer(&gateway.conninfo("ann", HOSPITAL).expect("a person"), "select count(*) from patients");
    let entered = json(&gateway.cli(&["training", "list", "--json"]).expect("a list"));
    assert_eq!(
        (text(&entered[0], "person"), text(&entered[0], "source"), text(&entered[0], "recorded_by")),
        ("ann".to_owned(), "xapi".to_owned(), "lms".to_owned())
    );
}
