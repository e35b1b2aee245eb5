//! Who may administer: rights of accounts and of people, and the entries about those who tried.

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
