//! Row 36: access is asked for, approved by somebody else, and ends by itself.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::gateway::{Gateway, program};
use testbed::postgres::Cluster;

use super::stage::{self, HOSPITAL, Held, entries, psql, text};

const PATIENCE: Duration = Duration::from_secs(60);
const GRANTED_S: u64 = 12;

fn start(cluster: &Cluster) -> Gateway {
    stage::gateway(cluster)
        .role("lead", HOSPITAL, "read = [\"public.claims\"]")
        .toml(
            "[access.nurse]\nduration_s_max = 3600\n\
             [access.clerk]\nresources = [\"hospital\"]\napprovals = 2\n\
             [operators.rights]\n\"os:root\" = [\"admin\", \"auditor\"]\nlead = [\"approver\"]\n",
        )
        .person("ann", &[])
        .person("amy", &["lead"])
        .person("lea", &["lead"])
        .person("lou", &["lead"])
        .person("ben", &["billing"])
        .start()
        .expect("it starts")
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
    let output = acts(gateway, person, arguments);
    assert!(output.status.success(), "{person} {arguments:?}: {}", stage::err(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    answer[0].clone()
}

#[track_caller]
fn not_done(gateway: &Gateway, person: &str, arguments: &[&str], why: &str) {
    let output = acts(gateway, person, arguments);
    assert_eq!(output.status.code(), Some(1), "{person} {arguments:?}: {}", stage::out(&output));
    assert!(stage::err(&output).contains(why), "{person} {arguments:?}: {}", stage::err(&output));
}

fn ask<'a>(role: &'a str, seconds: &'a str) -> [&'a str; 11] {
    [
        "access",
        "request",
        role,
        HOSPITAL,
        "--purpose",
        "treatment",
        "--reason",
        "night shift on ward 3",
        "--for-s",
        seconds,
        "--json",
    ]
}

#[test]
fn row_36_access_is_asked_for_approved_by_others_and_ends_by_itself() {
    let cluster = stage::hospital();
    let gateway = start(&cluster);
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert!(!psql(&ann, "select 1").status.success(), "she has no right yet");

    let seconds = GRANTED_S.to_string();
    let asked = done(&gateway, "ann", &ask("nurse", &seconds));
    assert_eq!((text(&asked, "number"), text(&asked, "state")), ("1".to_owned(), "waiting".to_owned()));
    assert!(!psql(&ann, "select 1").status.success(), "asking is not having");
    not_done(&gateway, "ben", &["access", "approve", "1"], "approver");
    assert!(!psql(&ann, "select 1").status.success(), "somebody without the right approved it");

    let granted = done(&gateway, "lea", &["access", "approve", "1", "--json"]);
    let began = Instant::now();
    assert_eq!(text(&granted, "state"), "granted");
    let held = Held::open("127.0.0.1", &ann);
    held.ask("select count(*) from patients").expect("she has the right now");
    let waiting = ann.clone();
    // A client that looks at its session after its end.
    let told = std::thread::spawn(move || {
        let until_after = format!("\\! sleep {}\nselect 1;\n", GRANTED_S + 2);
        stage::err(&stage::script(&waiting, &[], &until_after))
    });
    assert_eq!(held.ask("select count(*) from claims"), Err("42501".to_owned()), "it is more than the role");
    while held.ask("select count(*) from patients").is_ok() {
        assert!(began.elapsed() < PATIENCE, "the grant does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    let lasted = began.elapsed();
    // The approval's own command ended somewhat after the grant began.
    let shortest = Duration::from_secs(GRANTED_S) - Duration::from_secs(5);
    assert!((shortest..Duration::from_secs(GRANTED_S + 5)).contains(&lasted), "it lasted {lasted:?}");
    assert!(!psql(&ann, "select 1").status.success(), "the grant is over");
    let told = told.join().expect("psql ended");
    assert!(told.contains("the grant of role \"nurse\" (request 1) is over: its time has ended"), "{told}");
    assert!(told.contains("access request nurse hospital --purpose treatment"), "{told}");

    // What happened, from the trail and as a list that can be handed over.
    let trail = entries(&gateway);
    for (command, person) in
        [("access request", "ann"), ("access approve", "lea"), ("access expire", "os:wardline")]
    {
        let done = trail.iter().any(|entry| {
            text(entry, "command") == command
                && text(entry, "person_name") == person
                && text(entry, "phase") == "settled"
        });
        assert!(done, "the trail has no `{command}` by {person}");
    }
    let reads = trail.iter().any(|entry| entry["policies"].to_string().contains("role.grant.1."));
    assert!(reads, "no entry names the grant as the reason");
    let list: Value =
        serde_json::from_str(&gateway.cli(&["access", "list", "--all", "--json"]).expect("a list"))
            .expect("JSON");
    assert_eq!(
        (text(&list[0], "state"), text(&list[0], "approved_by")),
        ("expired".to_owned(), "[\"lea\"]".to_owned())
    );
}

#[test]
fn row_36_a_grant_holds_for_its_purpose_alone() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .role("lead", HOSPITAL, "read = [\"public.claims\"]")
        .toml(
            "[policy]\npurposes = [\"treatment\", \"research\"]\n[access.nurse]\n\
             [operators.rights]\n\"os:root\" = [\"admin\"]\nlead = [\"approver\"]\n",
        )
        .person("ann", &[])
        .person("lea", &["lead"])
        .start()
        .expect("it starts");
    let mut other = ask("nurse", "3600");
    other[5] = "curiosity";
    not_done(&gateway, "ann", &other, "no purpose named");
    done(&gateway, "ann", &ask("nurse", "3600"));
    done(&gateway, "lea", &["access", "approve", "1", "--json"]);
    let held = Held::open("127.0.0.1", &gateway.conninfo("ann", HOSPITAL).expect("a person"));
    let asked = "select count(*) from patients";
    assert_eq!(held.ask(asked), Err("42501".to_owned()), "no purpose was stated");
    held.ask("set wardline.purpose = 'research'").expect("one of the list");
    assert_eq!(held.ask(asked), Err("42501".to_owned()), "it was granted for another purpose");
    held.ask("set wardline.purpose = 'treatment'").expect("one of the list");
    held.ask(asked).expect("it was granted for this");
}

#[test]
fn row_36_nobody_approves_for_themselves_or_twice() {
    let cluster = stage::hospital();
    let gateway = start(&cluster);
    let amy = gateway.conninfo("amy", HOSPITAL).expect("a person");
    let asked = done(&gateway, "amy", &ask("clerk", "3600"));
    assert_eq!(text(&asked, "approvals"), "2");
    not_done(&gateway, "amy", &["access", "approve", "1"], "nobody approves their own request");
    assert_eq!(text(&done(&gateway, "lea", &["access", "approve", "1", "--json"]), "state"), "waiting");
    not_done(&gateway, "lea", &["access", "approve", "1"], "approved it before");
    stage::refused(&amy, "select count(*) from patients");
    assert_eq!(text(&done(&gateway, "lou", &["access", "approve", "1", "--json"]), "state"), "granted");
    assert_eq!(stage::answer(&amy, "select count(*) from patients"), "200");
    // A lock on the role is on whoever has it by a grant, too.
    gateway.cli(&["lock", "add", "--role", "clerk", "--reason", "case 12"]).expect("locked");
    stage::refused(&amy, "select count(*) from patients");
    gateway.cli(&["lock", "remove", "1", "--reason", "solved"]).expect("lifted");
    assert_eq!(stage::answer(&amy, "select count(*) from patients"), "200");
    gateway.cli(&["access", "revoke", "1", "--reason", "left the ward"]).expect("revoked");
    stage::refused(&amy, "select count(*) from patients");

    let output = gateway.cli_output(&ask("nurse", "60")).expect("it runs");
    assert!(stage::err(&output).contains("takes a person"), "an account asked: {}", stage::err(&output));
    not_done(&gateway, "ann", &ask("nurse", "3601"), "for so long");
    not_done(&gateway, "ann", &ask("billing", "60"), "no role that may be asked for");
    done(&gateway, "ann", &ask("nurse", "60"));
    not_done(&gateway, "ben", &["access", "withdraw", "2", "--reason", "not mine"], "somebody else's");
    assert_eq!(
        text(
            &done(&gateway, "ann", &["access", "withdraw", "2", "--reason", "shift swapped", "--json"]),
            "state"
        ),
        "withdrawn"
    );
    not_done(&gateway, "lea", &["access", "approve", "2"], "not open any more");
    done(&gateway, "ann", &ask("nurse", "60"));
    not_done(&gateway, "lea", &["access", "deny", "3", "--reason", "no"], "a reason is needed");
    let denied = done(&gateway, "lea", &["access", "deny", "3", "--reason", "not on this ward", "--json"]);
    assert_eq!(text(&denied, "state"), "denied");

    let refused = entries(&gateway)
        .into_iter()
        .filter(|entry| text(entry, "command").starts_with("access ") && text(entry, "phase") == "refused");
    assert!(refused.count() >= 7, "refusals are not recorded");
}
