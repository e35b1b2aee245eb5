//! Who may administer: rights of accounts and of people, and the entries about those who tried.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::people::{CONFIG, PASSWORD};
use crate::place::{Place, Ran};
use crate::server::Server;

/// What the account that runs the tests may do, and two roles with rights.
pub(crate) fn place(account: &str) -> Place {
    configured(Place::ready(), account)
}

pub(crate) fn configured(place: Place, account: &str) -> Place {
    let me = place.run(&["operator", "rights", "--json"]).exits(0).json()["you"].clone();
    let me = me.as_str().expect("who").to_owned();
    place.write(
        "wardline.toml",
        &format!(
            "{CONFIG}\n[role.audit]\n[role.privacy]\n[role.keys]\n[operators.rights]\n\"{me}\" = {account}\n\
             audit = [\"auditor\"]\nprivacy = [\"auditor\", \"privacy-officer\"]\nkeys = [\"key-admin\"]\n"
        ),
    );
    place
}

impl Place {
    /// Adds a person and runs commands as them.
    pub(crate) fn token(&self, name: &str, role: &str) -> String {
        self.add(name, role).exits(0);
        self.login(name, PASSWORD).exits(0).json()["token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn run_as(&self, name: &str, token: &str, arguments: &[&str]) -> Ran {
        let words: Vec<&str> = ["--as", name].iter().chain(arguments).copied().collect();
        let output = self.command(&words).env("WARDLINE_TOKEN", token).output().expect("it runs");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

fn check_rights(place: &Place) {
    let token = place.token("ann", "audit");
    let refused = place.run(&["trail", "tail"]).exits(1);
    assert!(refused.stderr.contains("takes `auditor`"), "{refused:?}");
    assert_eq!(refused.stdout, "");
    place.run(&["trail", "show", "0"]).exits(1);
    place.run(&["saw", "ann"]).exits(1);
    // Whoever reads the log may not administer, and not open what is sealed.
    place.run_as("ann", &token, &["user", "disable", "ann"]).exits(1);
    place.run_as("ann", &token, &["trail", "tail", "--open-sealed"]).exits(1);
    place.run_as("ann", "wlt_nothing", &["trail", "tail"]).exits(1);
    place.run_as("ann", PASSWORD.trim(), &["trail", "tail"]).exits(1);
    let read = place.run_as("ann", &token, &["trail", "tail", "-n", "1000", "--json"]).exits(0);
    let entries: Vec<Value> =
        read.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let denied: Vec<&Value> = entries.iter().filter(|entry| entry["verdict"] == "deny").collect();
    let whats: Vec<&str> = denied.iter().map(|entry| entry["detail"].as_str().expect("a detail")).collect();
    assert_eq!(whats.len(), 5, "{whats:?}");
    assert!(whats[0].starts_with("tail: takes the right `auditor`"), "{whats:?}");
    assert_eq!(denied[3]["person_name"], "ann");
    assert!(denied[3]["person"].is_string() && whats[3].contains("user disable"), "{:?}", denied[3]);
    let failed = entries.iter().filter(|entry| entry["kind"] == "sign-in" && entry["outcome"] == "refused");
    assert_eq!(failed.count(), 2);
    assert!(!read.stdout.contains(&token));
    let privacy = place.token("pia", "privacy");
    place.run_as("pia", &privacy, &["trail", "tail", "--open-sealed"]).exits(0);
    let views = ["trail", "tail", "--kind", "trail-viewed", "--json"];
    let views = place.run_as("ann", &token, &views).exits(0).stdout;
    let shown = views.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    assert!(shown.filter(|view| view["person_name"] == "ann" && view["verdict"].is_null()).count() >= 1);
    // A person who was disabled is nobody, at once.
    place.run(&["user", "disable", "pia"]).exits(0);
    place.run_as("pia", &privacy, &["trail", "tail"]).exits(1);
}

#[test]
fn row_23_rights_hold_without_a_server() {
    check_rights(&place("[\"admin\"]"));
}

/// Row 23: an administrator who is no auditor cannot read the log, and each reading is an entry.
#[test]
fn row_23_rights_hold_before_a_server() {
    let place = place("[\"admin\"]");
    let server = Server::start(&place);
    check_rights(&place);
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
}

#[test]
fn an_account_without_rights_may_only_ask_what_it_may() {
    let place = place("[]");
    place.add("ann", "audit").exits(1);
    let rights = place.run(&["operator", "rights", "--json"]).exits(0).json();
    assert_eq!(rights["yours"], Value::Array(Vec::new()));
    assert_eq!(rights["holders"]["audit"][0], "auditor");
    let checked = place.run(&["check"]).exits(4);
    assert!(checked.stdout.contains("nobody holds the right `admin`"), "{checked:?}");
}

#[test]
fn what_is_wrong_with_rights_is_said() {
    let place = Place::ready();
    assert!(place.run(&["check"]).exits(0).stdout.contains("there is no [operators] section"));
    place.write(
        "wardline.toml",
        &format!("{CONFIG}\n[operators]\ngroup = \"x\"\n[operators.rights]\nnurs = [\"admin\"]\nnurse = [\"rot\"]\n"),
    );
    let checked = place.run(&["check"]).exits(1).stdout;
    for said in ["did you mean `nurse`", "cannot be `rot`", "of no use without a `socket`"] {
        assert!(checked.contains(said), "{said}: {checked}");
    }
}

/// Searches, answers with proofs and following take the right of the person who asks, and are recorded under their name, also
/// when they are refused.
#[test]
fn searches_take_the_right_of_who_asks() {
    let place = place("[\"admin\"]");
    let _server = Server::start(&place);
    let (otto, kim) = (place.token("otto", "audit"), place.token("kim", "keys"));
    let pia = place.token("pia", "privacy");
    let answer = place.path("answer").display().to_string();
    let search = ["trail", "search", "--kind", "node-started"];
    let prove = ["trail", "search", "--kind", "node-started", "--prove", &answer];
    let follow = ["trail", "tail", "-n", "1", "--follow"];
    for refused in [&search[..], &prove, &follow] {
        place.run(refused).exits(1);
        place.run_as("kim", &kim, refused).exits(1);
    }
    assert!(!place.path("answer").exists(), "a refused search wrote something");
    let found = place.run_as("otto", &otto, &[&search[..], &["--json"]].concat()).exits(0);
    let started = |line: &str| line.contains("\"node-started\"");
    assert!(!found.stdout.is_empty() && found.stdout.lines().all(started), "{found:?}");
    place.run_as("otto", &otto, &prove).exits(0);
    place.run(&["verify-answer", &answer]).exits(0);
    let opened = [&search[..], &["--open-sealed"]].concat();
    place.run_as("otto", &otto, &opened).exits(1);
    place.run_as("pia", &pia, &opened).exits(0);
    let mut command = place.command(&["--as", "otto", "trail", "tail", "-n", "1", "--follow", "--json"]);
    let mut child = command.env("WARDLINE_TOKEN", &otto).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an entry");
    assert!(line.contains("\"index\""), "{line}");
    child.kill().expect("killed");
    child.wait().expect("reaped");

    let views =
        place.run_as("otto", &otto, &["trail", "tail", "-n", "1000", "--kind", "trail-viewed", "--json"]);
    let views: Vec<Value> =
        views.exits(0).stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |name: &str, word: &str| {
        let said = |view: &&Value| {
            view["person_name"] == name && view["detail"].as_str().is_some_and(|said| said.contains(word))
        };
        views.iter().filter(said).count()
    };
    assert_eq!(
        (of("otto", "search"), of("otto", "with proofs"), of("otto", "sealed values opened")),
        (3, 1, 1)
    );
    assert_eq!((of("pia", "search"), of("pia", "sealed values opened")), (1, 1));
    assert_eq!((of("kim", "search"), of("kim", "with proofs")), (2, 1), "a refusal is recorded: {views:?}");
}

#[test]
fn a_token_is_kept_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place("[\"admin\"]");
    place.add("ann", "audit").exits(0);
    let home = place.path("home");
    let run = |words: &[&str], input: &str| {
        use std::io::Write as _;
        let mut command = place.command(words);
        command.env("HOME", &home).stdin(std::process::Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let _closed = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait().expect("it ends").code()
    };
    assert_eq!(run(&["--as", "ann", "trail", "tail"], ""), Some(2), "there is no token yet");
    assert_eq!(run(&["login", "ann", "--password-stdin", "--save"], PASSWORD), Some(0));
    let file = home.join(".config/wardline/token-ann");
    assert_eq!(std::fs::metadata(&file).expect("kept").permissions().mode() & 0o777, 0o600);
    assert_eq!(run(&["--as", "ann", "trail", "tail"], ""), Some(0));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("set");
    assert_eq!(run(&["--as", "ann", "trail", "tail"], ""), Some(2), "a token that others can read");
}
