//! Rows 9 to 13, 51 and 54: emergency access is for those who may, with a reason; others are told; it ends by itself with its
//! sessions; somebody else reviews it, or an alarm says that nobody did. And protections that are switched off.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::alarms::Alarms;
use testbed::clock::TimeOfDay;
use testbed::gateway::{Builder, Gateway, program};
use testbed::postgres::Cluster;

use super::stage::{self, HOSPITAL, Held, answer, entries, of, psql, refused, text};

const PATIENCE: Duration = Duration::from_secs(60);
const TAKEN_S: u64 = 10;
const REASON: &str = "unconscious patient, nobody on call";

const GLASS: &str = "[break_glass]\ninitiators = [\"nurse\"]\nrole = \"emergency-clinician\"\n";

const RIGHTS: &str = "[operators.rights]\n\"os:root\" = [\"admin\", \"auditor\"]\nprivacy = [\"privacy-officer\", \"auditor\"]\n\
    lead = [\"approver\"]\n";

/// A hospital whose patients are known, with nurses who may take emergency access.
fn builder(cluster: &Cluster, glass: &str) -> Builder {
    Gateway::builder()
        .resource_of(HOSPITAL, cluster, HOSPITAL)
        .toml(
            "[resource.hospital.phi]\nclean = [\"public.*\"]\ndetect = false\n\
             patients = [\"public.patients.id\", \"public.notes.patient_id\", \"public.claims.patient_id\"]",
        )
        .role("nurse", HOSPITAL, "read = [\"public.notes\"]")
        .role("privacy", HOSPITAL, "read = [\"public.claims\"]")
        .role("lead", HOSPITAL, "read = [\"public.claims\"]")
        .role("emergency-clinician", HOSPITAL, "read = [\"public.*\"]\nunmask = [\"*\"]")
        .toml(glass)
        .toml(RIGHTS)
        .person("ann", &["nurse"])
        .person("ben", &["lead"])
        .person("pia", &["privacy"])
        .person("petra", &["privacy", "nurse"])
}

/// Runs a command as a person with a token.
fn acts(gateway: &Gateway, person: &str, arguments: &[&str]) -> Output {
    let token = gateway.conninfo_token(person, HOSPITAL).expect("a token").password;
    let mut command = Command::new(program().expect("the program"));
    command.arg("--config").arg(gateway.config()).args(["--as", person]).args(arguments);
    command.env("WARDLINE_TOKEN", token).output().expect("it runs")
}

#[track_caller]
fn done(gateway: &Gateway, person: &str, arguments: &[&str]) -> Value {
    let output = acts(gateway, person, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{person} {arguments:?}: {}", stage::err(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    if answer.is_array() { answer[0].clone() } else { answer }
}

#[track_caller]
fn not_done(gateway: &Gateway, person: &str, arguments: &[&str], why: &str) {
    let output = acts(gateway, person, arguments);
    assert_eq!(output.status.code(), Some(1), "{person} {arguments:?}: {}", stage::out(&output));
    assert!(stage::err(&output).contains(why), "{person} {arguments:?}: {}", stage::err(&output));
}

fn begin<'a>(reason: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["break-glass", "begin", HOSPITAL, "--reason-code", "treatment", "--reason", reason];
    [&words, more].concat()
}

#[track_caller]
fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns how many connections of Wardline's the database has.
fn backends(cluster: &Cluster) -> u32 {
    let sql = "select count(*) from pg_stat_activity where usename = 'wardline_app'";
    cluster.psql(sql).expect("psql").parse().expect("a number")
}

#[test]
fn row_9_who_may_takes_it_with_a_reason_and_others_are_refused() {
    let cluster = stage::hospital();
    let gateway = builder(&cluster, GLASS).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let ben = gateway.conninfo("ben", HOSPITAL).expect("a person");
    // Who may is told how to ask; who may not is not.
    let told = |output: &Output| stage::err(output).contains("break-glass begin");
    refused(&ann, "select count(*) from patients");
    assert!(told(&psql(&ann, "select count(*) from patients")));
    assert!(!told(&psql(&ben, "select count(*) from patients")));

    not_done(&gateway, "ben", &begin(REASON, &[]), "may not take emergency access");
    not_done(&gateway, "ann", &begin("fourteen chars", &[]), "15 to 500 characters");
    not_done(&gateway, "ann", &begin("   short  padded   ", &["--for", "0s"]), "15 to 500 characters");
    not_done(&gateway, "ann", &begin(REASON, &["--for", "2h"]), "for so long");
    let other = ["break-glass", "begin", HOSPITAL, "--reason-code", "curiosity", "--reason", REASON];
    not_done(&gateway, "ann", &other, "no code of a reason");
    let other = ["break-glass", "begin", "elsewhere", "--reason-code", "treatment", "--reason", REASON];
    not_done(&gateway, "ann", &other, "no resource with emergency access");
    let account = gateway.cli_output(&begin(REASON, &[])).expect("it runs");
    assert!(stage::err(&account).contains("takes a person"), "an account took it: {}", stage::err(&account));
    refused(&ann, "select count(*) from patients");
    let before = entries(&gateway);
    let attempts = before.iter().filter(|entry| text(entry, "command") == "break-glass begin");
    assert!(attempts.clone().all(|entry| text(entry, "phase") == "refused"), "something was begun");
    assert_eq!(attempts.count(), 7, "each refusal is recorded");

    let taken = done(&gateway, "ann", &begin(REASON, &["--for", "10m"]));
    assert_eq!((text(&taken, "number"), text(&taken, "state")), ("1".into(), "in-force".into()), "{taken:#}");
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");
    refused(&ben, "select count(*) from patients");
    not_done(&gateway, "ann", &begin(REASON, &[]), "already");

    // Everything under it carries its number.
    let after = entries(&gateway);
    let begun = of(&after, "emergency-begun", "ann");
    assert_eq!(begun.len(), 1, "{begun:#?}");
    assert!(text(begun[0], "detail").contains(REASON) && text(begun[0], "emergency") == "1", "{begun:#?}");
    let read = of(&after, "operation", "ann").into_iter().rfind(|entry| text(entry, "verdict") == "allow");
    let read = read.expect("her read");
    assert_eq!(text(read, "emergency"), "1");
    assert!(read["policies"].to_string().contains("role.emergency.1.1.read"), "{read:#}");
    assert!(of(&after, "operation", "ben").iter().all(|entry| text(entry, "emergency").is_empty()));
    let search = ["trail", "search", "--emergency", "--json"];
    let marked = after.iter().filter(|entry| !text(entry, "emergency").is_empty()).count();
    assert_eq!(gateway.cli_json(&search).expect("a search").len(), marked);

    // Given back: the rights are the usual ones again.
    not_done(&gateway, "petra", &["break-glass", "end", "1"], "somebody else's");
    let held = Held::open("127.0.0.1", &ann);
    done(&gateway, "ann", &["break-glass", "end", "1", "--reason", "the patient is awake"]);
    wait_for("the end of her session", || held.ask("select 1").is_err());
    refused(&ann, "select count(*) from patients");
    assert_eq!(answer(&ann, "select count(*) from notes"), "200");
}

#[test]
fn row_9_two_people_where_that_is_asked_for() {
    let cluster = stage::hospital();
    let gateway = builder(&cluster, &format!("{GLASS}approvals = 1\n")).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let asked = done(&gateway, "ann", &begin(REASON, &[]));
    assert_eq!(text(&asked, "state"), "waiting");
    refused(&ann, "select count(*) from patients");
    assert!(of(&entries(&gateway), "emergency-begun", "").is_empty(), "nothing has begun");
    not_done(&gateway, "ann", &["break-glass", "approve", "1"], "approver");
    assert_eq!(text(&done(&gateway, "ben", &["break-glass", "approve", "1"]), "state"), "in-force");
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");
    assert_eq!(of(&entries(&gateway), "emergency-begun", "ann").len(), 1);
    done(&gateway, "pia", &["break-glass", "revoke", "1", "--reason", "no emergency on that ward"]);
    refused(&ann, "select count(*) from patients");
}

#[test]
fn row_9_an_emergency_goes_before_training_and_the_reviewer_is_told() {
    let cluster = stage::hospital();
    let course = "[training.basics]\ntitle = \"Basics\"\nroles = [\"nurse\"]\ninstructions = \"Learn.\"\n";
    let gateway = builder(&cluster, GLASS).toml(course).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    wait_for("her course to be overdue", || {
        stage::err(&psql(&ann, "select 1")).contains("Training \"Basics\" is overdue")
    });
    done(&gateway, "ann", &begin(REASON, &[]));
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");
    let trail = entries(&gateway);
    let begun = of(&trail, "emergency-begun", "ann");
    assert!(text(begun[0], "detail").contains("; training is overdue: basics; "), "{begun:#?}");
    let held = Held::open("127.0.0.1", &ann);
    done(&gateway, "ann", &["break-glass", "end", "1", "--reason", "the patient is awake"]);
    wait_for("the end of her session", || held.ask("select 1").is_err());
    let shown = done(&gateway, "pia", &["break-glass", "show", "1"]);
    assert!(
        shown["findings"].to_string().contains("training was overdue to whoever took it: basics"),
        "{shown:#}"
    );
    // Everything else waits until she has learnt it.
    assert!(stage::err(&psql(&ann, "select 1")).contains("is overdue"));
}

#[test]
fn row_10_others_are_told_at_once_who_what_why_and_until_when() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let alarms = Alarms::start(folder.path()).expect("receivers");
    let mut gateway = builder(&cluster, GLASS).toml(&alarms.sections()).start().expect("it starts");
    let told = |event: &str, way: &str, number: &str| {
        let taken = alarms.taken().expect("what was taken");
        let fits = |message: &&Value| {
            text(message, "way") == way
                && match way {
                    "mail" => text(message, "subject").contains(event),
                    _ => {
                        let body: Value = serde_json::from_str(&text(message, "body")).expect("JSON");
                        text(&body, "event") == event && text(&body, "emergency") == number
                    }
                }
        };
        taken.iter().find(fits).cloned()
    };
    let began = Instant::now();
    done(&gateway, "ann", &begin(REASON, &["--for", "10m", "--patient", "4711"]));
    wait_for("the webhook", || told("emergency-begun", "webhook", "1").is_some());
    wait_for("the mail", || told("EMERGENCY ACCESS 1", "mail", "1").is_some());
    assert!(began.elapsed() < PATIENCE, "told only after {:?}", began.elapsed());

    let hook = told("emergency-begun", "webhook", "1").expect("taken");
    let (signature, body) = (text(&hook, "signature"), text(&hook, "body"));
    assert!(alarms.verifies(&signature, &body).expect("python"), "{signature} of {body}");
    assert!(!alarms.verifies(&signature, &body.replace("ann", "bob")).expect("python"));
    let message: Value = serde_json::from_str(&body).expect("JSON");
    let listed: Value =
        serde_json::from_str(&gateway.cli(&["break-glass", "list", "--json"]).expect("a list"))
            .expect("JSON");
    assert_eq!((text(&message, "who"), text(&message, "resource")), ("ann".into(), HOSPITAL.into()));
    assert!(
        text(&message, "why").contains(REASON) && text(&message, "why").contains("treatment"),
        "{message:#}"
    );
    let seconds = |time: &str| time.get(..18).map(str::to_owned);
    assert_eq!(seconds(&text(&message, "until")), seconds(&text(&listed[0], "until")), "{message:#}");
    let mail = told("EMERGENCY ACCESS 1", "mail", "1").expect("taken");
    assert_eq!(mail["to"], serde_json::json!(["privacy@example.org", "duty@example.org"]));
    for part in ["ann", HOSPITAL, REASON, "Until: 20"] {
        assert!(text(&mail, "text").contains(part), "no `{part}` in {mail:#}");
    }
    let all = alarms.taken().expect("what was taken").iter().map(Value::to_string).collect::<String>();
    assert!(!all.contains("4711"), "the patient was told: {all}");

    // Nobody takes anything, and the server dies: the message is not lost, and that it was late is an incident.
    alarms.deny(true).expect("a file");
    done(&gateway, "ann", &["break-glass", "end", "1"]);
    done(&gateway, "petra", &begin(REASON, &[]));
    gateway.kill9().expect("it runs");
    gateway.serve().expect("it starts again");
    let stuck = |gateway: &Gateway| {
        let entries = entries(gateway);
        of(&entries, "incident", "").iter().any(|entry| text(entry, "detail").contains("messages to `hook`"))
    };
    wait_for("the incident", || stuck(&gateway));
    assert!(told("emergency-begun", "webhook", "2").is_none());
    alarms.deny(false).expect("a file");
    wait_for("the webhook", || told("emergency-begun", "webhook", "2").is_some());
    wait_for("the mail", || told("EMERGENCY ACCESS 2", "mail", "2").is_some());
    assert!(told("emergency-ended", "webhook", "1").is_some(), "what came before it is told before it");
    wait_for("the mail about the end", || told("access 1", "mail", "1").is_some());
}

#[test]
fn row_11_at_its_end_sessions_are_cut_and_rights_are_as_before() {
    let cluster = stage::hospital();
    let gateway = builder(&cluster, GLASS).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let stored =
        || cluster.psql("select rolpassword from pg_authid where rolname = 'wardline_app'").expect("psql");
    let credential = stored();
    // One session from before it, one from under it.
    let before = Held::open("127.0.0.1", &ann);
    assert_eq!(before.ask("select count(*) from patients"), Err("42501".to_owned()));
    done(&gateway, "ann", &begin(REASON, &["--for", &format!("{TAKEN_S}s")]));
    let began = Instant::now();
    let under = Held::open("127.0.0.1", &ann);
    before.ask("select count(*) from patients").expect("open sessions have the right at once");
    under.ask("select count(*) from patients").expect("she has the right");
    assert_eq!(backends(&cluster), 2);
    wait_for("the end of both connections to the database", || backends(&cluster) == 0);
    let lasted = began.elapsed();
    // It began somewhat before the command that took it had ended.
    let shortest = Duration::from_secs(TAKEN_S) - Duration::from_secs(5);
    assert!((shortest..=Duration::from_secs(TAKEN_S + 5)).contains(&lasted), "cut after {lasted:?}");
    assert!(before.ask("select 1").is_err() && under.ask("select 1").is_err(), "the clients' sides are open");
    refused(&ann, "select count(*) from patients");
    assert_eq!(answer(&ann, "select count(*) from notes"), "200");

    let trail = entries(&gateway);
    let over = of(&trail, "emergency-ended", "ann");
    assert_eq!(over.len(), 1, "{over:#?}");
    assert!(text(over[0], "detail").starts_with("expired by os:wardline"), "{over:#?}");
    let late = of(&trail, "operation", "ann").into_iter().rfind(|entry| text(entry, "verdict") == "allow");
    assert_eq!(text(late.expect("her last read"), "emergency"), "", "it is marked beyond its end");
    // What she may have learnt of the resource's credential is of no use any more.
    let list = || -> Value {
        let list = gateway.cli(&["break-glass", "list", "--json"]).expect("a list");
        serde_json::from_str(&list).expect("JSON")
    };
    wait_for("the other credential", || text(&list()[0], "credential") == "changed");
    assert!(stored() != credential, "the credential is the one of before");
    assert_eq!(answer(&ann, "select count(*) from notes"), "200");
    let list = list();
    assert_eq!((text(&list[0], "state"), text(&list[0], "review")), ("expired".into(), "due".into()));
}

#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
#[test]
fn row_13_somebody_else_reviews_it_or_an_alarm_is_given() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let gateway = clock.of(builder(&cluster, GLASS)).start().expect("it starts");
    let petra = gateway.conninfo("petra", HOSPITAL).expect("a person");
    let reason = "chart of John Smith, SSN 123-45-6789, patient 7 is unconscious";
    done(&gateway, "petra", &begin(reason, &["--patient", "7"]));
    answer(&petra, "select name from patients where id = 7");
    answer(&petra, "select id, name from patients where id between 7 and 9");
    let justified = ["break-glass", "review", "1", "--finding", "justified", "--note", "read what was done"];
    not_done(&gateway, "pia", &justified, "not over yet");
    let over = done(&gateway, "petra", &["break-glass", "end", "1"]);

    // Nobody reviews their own, nobody without the right, nobody without a note.
    not_done(&gateway, "petra", &justified, "nobody reviews their own");
    not_done(&gateway, "ben", &justified, "privacy-officer");
    let short = ["break-glass", "review", "1", "--finding", "justified", "--note", "fine"];
    not_done(&gateway, "pia", &short, "a note of 15");

    // What the reviewer sees: what was done, and that it was more than the one patient. No identifier, no literal.
    wait_for("the entries", || {
        done(&gateway, "pia", &["break-glass", "show", "1"])["operations"][1].is_object()
    });
    let timeline = done(&gateway, "pia", &["break-glass", "show", "1"]);
    assert_eq!(
        (&timeline["rows"], &timeline["patients"], &timeline["other_patients"]),
        (&4.into(), &3.into(), &2.into()),
        "{timeline:#}"
    );
    assert!(
        timeline["findings"][0].as_str().is_some_and(|said| said.starts_with("2 patients other")),
        "{timeline:#}"
    );
    assert!(!timeline.to_string().contains("between 7"), "{timeline:#}");
    let shown = text(&over, "reason");
    assert!(!shown.contains("Smith") && !shown.contains("6789") && !shown.contains('7'), "{shown}");

    // One business day: nothing before, an alarm after.
    let overdue = || {
        let entries = entries(&gateway);
        of(&entries, "incident", "")
            .iter()
            .filter(|entry| text(entry, "command") == "break-glass overdue")
            .count()
    };
    let due = text(&over, "review_due");
    let now = text(&over, "over_at");
    let between = format!("extract(epoch from timestamptz '{due}' - timestamptz '{now}')");
    let ahead_ms = cluster.psql(&format!("select ({between} * 1000)::bigint")).expect("psql");
    let ahead_ms: i64 = ahead_ms.parse().expect("a number");
    assert!((86_400_000..=3 * 86_400_000).contains(&ahead_ms), "{now} {due}");
    clock.set(ahead_ms - 3_600_000).expect("a step");
    let looked = Instant::now();
    while looked.elapsed() < Duration::from_secs(4) {
        assert_eq!(overdue(), 0, "an alarm before its time");
        std::thread::sleep(Duration::from_millis(500));
    }
    clock.set(ahead_ms + 60_000).expect("a step");
    wait_for("the alarm", || overdue() == 1);

    // Done late is done; and done once.
    let reviewed = done(&gateway, "pia", &justified);
    assert_eq!(
        (text(&reviewed, "review"), text(&reviewed, "reviewed_by")),
        ("justified".into(), "pia".into())
    );
    not_done(&gateway, "pia", &justified, "reviewed before");
    assert_eq!(overdue(), 1);
    let trail = entries(&gateway);
    let found = of(&trail, "emergency-reviewed", "pia");
    assert_eq!(found.len(), 1);
    assert_eq!((text(found[0], "detail"), text(found[0], "emergency")), ("justified".into(), "1".into()));
    assert!(
        !trail.iter().any(|entry| entry.to_string().contains("read what was done")),
        "the note is not sealed"
    );
    let opened = gateway.cli(&[
        "trail",
        "tail",
        "-n",
        "1000",
        "--kind",
        "emergency-reviewed",
        "--open-sealed",
        "--json",
    ]);
    assert!(opened.is_err() || opened.expect("entries").contains("read what was done"));
}

#[test]
fn row_54_a_protection_that_is_switched_off_needs_an_exception() {
    const CONTROLS: [&str; 2] = ["resource.hospital.phi.detect", "trail.witness"];
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let alarms = Alarms::start(folder.path()).expect("receivers");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let gateway = clock.of(builder(&cluster, &alarms.sections())).start().expect("it starts");
    let check = || gateway.cli_output(&["check"]).expect("it runs");
    let red = || -> Vec<String> {
        let output = gateway.cli_output(&["exception", "list", "--json"]).expect("it runs");
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        let red = rows.iter().filter(|row| text(row, "state") == "red").map(|row| text(row, "control"));
        let red: Vec<String> = red.collect();
        assert_eq!(output.status.code(), Some(if red.is_empty() { 0 } else { 4 }), "{rows:#?}");
        red
    };
    let told = || {
        let entries = entries(&gateway);
        of(&entries, "incident", "").iter().filter(|entry| text(entry, "command") == "exception").count()
    };
    assert_eq!(red(), CONTROLS);
    let output = check();
    assert_eq!(output.status.code(), Some(4), "{}", stage::out(&output));
    for control in CONTROLS {
        assert!(stage::out(&output).contains(&format!("RED: `{control}`")), "{}", stage::out(&output));
    }
    wait_for("the incident", || told() == 1);
    wait_for("the message", || {
        alarms.taken().expect("what was taken").iter().any(|message| {
            let body = text(message, "body");
            body.contains("without an exception") && body.contains(CONTROLS[0]) && body.contains(CONTROLS[1])
        })
    });

    // Two people, a reason, an end within a year.
    let day = |days: u32| {
        let sql =
            format!("select to_char((now() at time zone 'utc') + interval '{days} days', 'YYYY-MM-DD')");
        cluster.psql(&sql).expect("psql")
    };
    let add = |control: &'static str, reason: &'static str, until: String| {
        ["exception", "add", control, "--reason", reason, "--until", &until].map(str::to_owned)
    };
    let words = |words: &[String]| words.iter().map(String::as_str).collect::<Vec<_>>().join("\u{1f}");
    let asked = |person: &str, list: [String; 7], why: &str| {
        let list = words(&list);
        not_done(&gateway, person, &list.split('\u{1f}').collect::<Vec<_>>(), why);
    };
    const WHY: &str = "decided by the privacy office, case 12";
    asked("pia", add("listener.plaintext", WHY, day(2)), "no protection that is switched off");
    asked("pia", add(CONTROLS[0], "because", day(2)), "15 to 500 characters");
    asked("pia", add(CONTROLS[0], WHY, day(400)), "within a year");
    asked("ann", add(CONTROLS[0], WHY, day(2)), "right");
    for (number, control) in ["1", "2"].into_iter().zip(CONTROLS) {
        let list = words(&add(control, WHY, day(2)));
        done(&gateway, "pia", &list.split('\u{1f}').collect::<Vec<_>>());
        not_done(&gateway, "pia", &["exception", "approve", number], "asked for themselves");
        assert!(red().iter().any(|red| red == control), "asking is not having");
        assert_eq!(text(&done(&gateway, "ben", &["exception", "approve", number]), "state"), "excused");
    }
    assert_eq!(red(), Vec::<String>::new());
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{}", stage::out(&output));
    assert_eq!(told(), 1, "nothing is red");

    // Its time is over, or somebody ends it: red again, and told again.
    gateway.cli(&["exception", "end", "2", "--reason", "a witness is there"]).expect("ended");
    assert_eq!(red(), [CONTROLS[1]]);
    wait_for("the incident", || told() == 2);
    clock.set(3 * 86_400_000).expect("a step");
    assert_eq!(red(), CONTROLS);
    wait_for("the incident", || told() == 3);
    clock.set(4 * 86_400_000 + 60_000).expect("a step");
    wait_for("the incident of the next day", || told() == 4);
}

/// Runs a command with lines for its standard input, as nobody in particular.
pub(crate) fn with_lines(gateway: &Gateway, arguments: &[&str], lines: &str) -> Output {
    let mut command = Command::new(program().expect("the program"));
    command.arg("--config").arg(gateway.config()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Makes a sheet of codes; returns the two halves of each, as a custodian would type them.
pub(crate) fn codes(gateway: &Gateway) -> Vec<String> {
    let folder = gateway.folder().join("pages");
    std::fs::create_dir(&folder).expect("a folder");
    let pages = folder.display().to_string();
    gateway.cli(&["break-glass", "codes", "new", "--count", "3", "--pages", &pages]).expect("codes");
    let mut halves = [Vec::new(), Vec::new()];
    for page in stage::files(&folder) {
        let text = std::fs::read_to_string(&page).expect("a page");
        let place = usize::from(page.to_string_lossy().contains("second"));
        let lines = text.lines().filter(|line| line.contains("used on"));
        halves[place] =
            lines.map(|line| line.split_whitespace().nth(1).expect("a half").to_owned()).collect();
    }
    halves[0].iter().zip(&halves[1]).map(|(first, second)| format!("{first}\n{second}\n")).collect()
}

const KEYS: &str = "[operators.rights]\n\"os:root\" = [\"admin\", \"auditor\", \"key-admin\"]\n\
    privacy = [\"privacy-officer\", \"auditor\"]\n";

/// The hospital with somebody who may make codes.
fn with_codes(cluster: &Cluster) -> Builder {
    Gateway::builder()
        .resource_of(HOSPITAL, cluster, HOSPITAL)
        .role("nurse", HOSPITAL, "read = [\"public.notes\"]")
        .role("privacy", HOSPITAL, "read = [\"public.claims\"]")
        .role("emergency-clinician", HOSPITAL, "read = [\"public.*\"]")
        .toml(GLASS)
        .toml(KEYS)
        .person("ann", &["nurse"])
        .person("ben", &[])
        .person("pia", &["privacy"])
}

/// Puts the registry's files into another folder, or back.
fn move_registry(from: &Path, to: &Path) {
    for file in ["registry.sqlite", "registry.sqlite-wal", "registry.sqlite-shm"] {
        if from.join(file).exists() {
            std::fs::rename(from.join(file), to.join(file)).expect("moved");
        }
    }
}

/// Returns the newest signed copy of the registry.
fn copied(gateway: &Gateway) -> Option<PathBuf> {
    let folder = gateway.data().join("emergency");
    let notes = folder.exists().then(|| stage::files(&folder))?;
    let newest = notes.into_iter().rfind(|file| file.extension().is_some_and(|end| end == "note"))?;
    Some(newest.with_extension("sqlite"))
}

fn mode(gateway: &Gateway, said: &str) -> bool {
    let entries = entries(gateway);
    of(&entries, "incident", "")
        .iter()
        .any(|entry| text(entry, "command") == "emergency mode" && text(entry, "detail").contains(said))
}

#[test]
fn row_12_a_sealed_code_works_when_nobody_can_sign_in() {
    let cluster = stage::hospital();
    let gateway = with_codes(&cluster).toml("[emergency_mode]\nsign_in = false").start().expect("it starts");
    let codes = codes(&gateway);
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select count(*) from notes"), "200");
    let take = |person: &str, lines: &str| {
        let words = ["break-glass", "begin", HOSPITAL, "--code", person, "--reason-code", "disaster"];
        with_lines(&gateway, &[&words[..], &["--reason", REASON, "--json"]].concat(), lines)
    };

    // The registry is gone: whoever would sign in as usual cannot.
    let away = gateway.folder().join("away");
    std::fs::create_dir(&away).expect("a folder");
    wait_for("a copy of the registry", || copied(&gateway).is_some());
    move_registry(&gateway.data(), &away);
    wait_for("emergency mode", || mode(&gateway, "EMERGENCY MODE has begun"));
    assert!(!psql(&ann, "select 1").status.success(), "she signed in as usual");

    // One half is not enough, nor two of different codes; who holds no code learns nothing of people.
    let (first, second) =
        (codes[0].lines().next().expect("a half"), codes[1].lines().nth(1).expect("a half"));
    let wrong = take("ann", &format!("{first}\n{second}\n"));
    let nobody = take("nobody", &format!("{first}\n{first}\n"));
    assert_eq!(stage::err(&wrong), stage::err(&nobody));
    assert!(stage::err(&wrong).contains("no sealed code"), "{}", stage::err(&wrong));
    // Who may not take emergency access may not by a code either, and the code is not used up by that.
    assert!(stage::err(&take("ben", &codes[0])).contains("may not take emergency access"));
    let given = take("ann", &codes[0]);
    assert!(given.status.success(), "{}", stage::err(&given));
    let given: Value = serde_json::from_slice(&given.stdout).expect("JSON");
    assert_eq!(
        (text(&given["emergency"], "person"), text(&given["emergency"], "state")),
        ("ann".into(), "in-force".into())
    );
    let by_code = ann.clone().with_user("ann", &text(&given["token"], "token"));
    assert_eq!(answer(&by_code, "select count(*) from patients"), "200");
    assert!(!psql(&ann, "select 1").status.success(), "her password works");
    assert!(stage::err(&take("ann", &codes[0])).contains("no sealed code"), "a code works twice");

    // The registry is back: what was done meanwhile is entered, and nothing is missing from the trail.
    let meanwhile = entries(&gateway);
    move_registry(&away, &gateway.data());
    wait_for("the end of emergency mode", || mode(&gateway, "EMERGENCY MODE is over"));
    let list: Value =
        serde_json::from_str(&gateway.cli(&["break-glass", "list", "--all", "--json"]).expect("a list"))
            .expect("JSON");
    assert_eq!((text(&list[0], "number"), text(&list[0], "person")), ("1".into(), "ann".into()), "{list:#}");
    assert_eq!(text(&list[0], "code"), text(&given["emergency"], "code"));
    assert_eq!(answer(&ann, "select count(*) from patients"), "200", "it is in force in the registry, too");
    done(&gateway, "ann", &["break-glass", "end", "1"]);
    let trail = entries(&gateway);
    assert_eq!(trail.get(..meanwhile.len()), Some(&*meanwhile), "entries are not what they were");
    let indexes: Vec<u64> = trail.iter().map(|entry| entry["index"].as_u64().expect("an index")).collect();
    assert!(indexes.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap");
    let begun = of(&trail, "emergency-begun", "ann");
    assert!(text(begun[0], "detail").contains("by the sealed code"), "{begun:#?}");
    let (code, words) = stage::verify(&gateway, None, &[]);
    assert_eq!(code, Some(0), "{words}");
    for code in &codes {
        for half in code.lines() {
            let found = stage::files(&gateway.data()).into_iter().find(|file| {
                stage::content(file)
                    .is_ok_and(|bytes| bytes.windows(half.len()).any(|part| part == half.as_bytes()))
            });
            assert_eq!(found, None, "a half is in the data folder");
        }
    }
}

#[test]
fn row_51_access_goes_on_without_a_registry_for_some_hours_and_no_longer() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let mut gateway =
        clock.of(with_codes(&cluster).toml("[emergency_mode]\nhours = 2")).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let held = Held::open("127.0.0.1", &ann);
    wait_for("a copy of the registry", || copied(&gateway).is_some());

    // Under load: sessions ask all the time while the registry is spoilt.
    let stop = AtomicBool::new(false);
    let sessions: Vec<Held> = (0..4).map(|_| Held::open("127.0.0.1", &ann)).collect();
    let asked = std::thread::scope(|scope| {
        let stop = &stop;
        let load: Vec<_> = sessions
            .into_iter()
            .map(|session| {
                scope.spawn(move || {
                    let (began, mut asked) = (Instant::now(), 0_u64);
                    while !stop.load(Ordering::Relaxed) && began.elapsed() < 3 * PATIENCE {
                        session.ask("select count(*) from notes").expect("it goes on");
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        std::fs::copy(copied(&gateway).expect("a copy"), gateway.folder().join("whole.sqlite"))
            .expect("a copy");
        for file in ["registry.sqlite", "registry.sqlite-wal"] {
            let spoilt = gateway.data().join(file);
            let length = std::fs::metadata(&spoilt).map_or(0, |found| found.len());
            std::fs::write(&spoilt, vec![0x5a; usize::try_from(length).expect("short")]).expect("spoilt");
        }
        wait_for("emergency mode", || mode(&gateway, "EMERGENCY MODE has begun"));
        // Nothing that changes people or rights, everything that was there before.
        let added = gateway.cli_stdin(&["user", "add", "eve", "--password-stdin"], "a long enough password");
        assert!(added.expect_err("nobody is added").to_string().contains("emergency mode"));
        let taken = acts_in_vain(&gateway, "ann");
        assert!(taken.contains("emergency mode") || taken.contains("token"), "{taken}");
        assert_eq!(answer(&ann, "select count(*) from notes"), "200", "who is known signs in");
        refused(&ann, "select count(*) from patients");
        let wrong = ann.clone().with_user("ann", "not the password");
        assert!(!psql(&wrong, "select 1").status.success(), "a wrong password");
        stop.store(true, Ordering::Relaxed);
        load.into_iter().map(|load| load.join().expect("it ends")).sum::<u64>()
    });
    assert!(asked > 100, "hardly anything was asked: {asked}");
    held.ask("select count(*) from notes").expect("the open session goes on");

    // Also after a restart.
    gateway.kill9().expect("it runs");
    gateway.serve().expect("it starts without a registry");
    assert!(mode(&gateway, "goes on after a restart"));
    assert_eq!(answer(&ann, "select count(*) from notes"), "200");
    let held = Held::open("127.0.0.1", &ann);
    held.ask("select 1").expect("an answer");

    // The hours are over: nobody is let in, and nobody stays.
    clock.set(2 * 3_600_000 + 60_000).expect("a step");
    wait_for("the end of the open session", || held.ask("select 1").is_err());
    assert!(!psql(&ann, "select 1").status.success(), "somebody got in");
    assert!(mode(&gateway, "everything is refused"));

    // The registry is back.
    for file in ["registry.sqlite", "registry.sqlite-wal", "registry.sqlite-shm"] {
        let _gone = std::fs::remove_file(gateway.data().join(file));
    }
    std::fs::copy(gateway.folder().join("whole.sqlite"), gateway.data().join("registry.sqlite"))
        .expect("back");
    wait_for("the end of emergency mode", || mode(&gateway, "EMERGENCY MODE is over"));
    assert_eq!(answer(&ann, "select count(*) from notes"), "200");
    assert!(gateway.terminate().expect("it ends").success());
    gateway.serve().expect("the registry is the one that the trail knows");
    let (code, words) = stage::verify(&gateway, None, &[]);
    assert_eq!(code, Some(0), "{words}");
}

/// Tries to take emergency access as usual, and returns why that is refused.
fn acts_in_vain(gateway: &Gateway, person: &str) -> String {
    let mut command = Command::new(program().expect("the program"));
    command.arg("--config").arg(gateway.config()).args(["--as", person]).args(begin(REASON, &[]));
    let output = command.env("WARDLINE_TOKEN", "none").output().expect("it runs");
    assert!(!output.status.success(), "{}", stage::out(&output));
    stage::err(&output)
}

#[test]
fn row_9_a_drill_shows_that_it_would_work() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let alarms = Alarms::start(folder.path()).expect("receivers");
    let gateway = with_codes(&cluster).toml(&alarms.sections()).start().expect("it starts");
    // Nothing is sealed yet, which is a finding.
    let failed = acts(&gateway, "ann", &["break-glass", "drill", HOSPITAL, "--json"]);
    assert_eq!(failed.status.code(), Some(1), "{}", stage::err(&failed));
    let drilled: Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    assert_eq!(drilled["report"]["findings"], serde_json::json!(["no sealed codes are left"]), "{drilled:#}");
    codes(&gateway);
    not_done(&gateway, "ben", &["break-glass", "drill", HOSPITAL], "may not take emergency access");
    let drilled = done(&gateway, "ann", &["break-glass", "drill", HOSPITAL]);
    let report = &drilled["report"];
    assert_eq!(
        (&report["had"], &report["gone"], &report["passed"]),
        (&true.into(), &true.into(), &true.into()),
        "{report:#}"
    );
    assert_eq!(report["told_ms"].as_array().map(Vec::len), Some(2), "{report:#}");
    assert!(report["told_ms"].as_array().expect("told").iter().all(|one| one[1].is_u64()), "{report:#}");
    let note = std::fs::read_to_string(text(&drilled, "path")).expect("the report");
    assert!(note.starts_with("wardline break-glass drill v1\n") && note.contains("result: passed"), "{note}");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    refused(&ann, "select count(*) from patients");
    let listed: Value =
        serde_json::from_str(&gateway.cli(&["break-glass", "list", "--json"]).expect("a list"))
            .expect("JSON");
    assert_eq!((&listed[1]["drill"], text(&listed[1], "review")), (&true.into(), "due".into()), "{listed:#}");
    let told = alarms.taken().expect("what was taken").iter().map(Value::to_string).collect::<String>();
    assert!(told.contains("DRILL"), "nobody was told that it is an exercise");
}
