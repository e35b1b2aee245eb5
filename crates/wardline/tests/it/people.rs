//! People, tokens and credentials by the command line alone, without a server.

use crate::place::{Place, Ran};

/// A node with one resource and two roles.
pub(crate) const CONFIG: &str = r#"node = "gw1"
data = "data"

[listener.postgres]
address = "127.0.0.1:0"

[sign_in]
failures_max = 3

[resource.hospital]
protocol = "postgres"
host = "127.0.0.1"
tls = { mode = "disable", exception = "test on one machine, nobody, never" }

[[role.nurse.allow]]
resource = "hospital"
read = ["public.patients"]
write = ["public.notes"]

[[role.analyst.allow]]
resource = "*"
read = ["public.claims"]
"#;

pub(crate) const PASSWORD: &str = "correct horse battery\n";

impl Place {
    /// Returns a folder with a configuration and keys.
    pub(crate) fn ready() -> Place {
        let place = Place::new();
        place.run(&["--config", "first.toml", "init", "--node", "gw1"]).exits(0);
        std::fs::rename(place.path("wardline-data"), place.path("data")).expect("moved");
        place.write("wardline.toml", CONFIG);
        place
    }

    pub(crate) fn add(&self, name: &str, role: &str) -> Ran {
        let arguments = ["user", "add", name, "--role", role, "--password-stdin", "--json"];
        self.run_with_input(&arguments, PASSWORD)
    }

    pub(crate) fn login(&self, name: &str, password: &str) -> Ran {
        self.run_with_input(&["login", name, "--password-stdin", "--json"], password)
    }
}

#[test]
fn init_never_overwrites() {
    let place = Place::new();
    place.run(&["init", "--node", "gw1"]).exits(0);
    place.run(&["check"]).exits(0);
    let key = std::fs::read(place.path("wardline-data/root.key")).expect("a key");
    let again = place.run(&["init", "--node", "gw2"]).exits(2);
    assert!(again.stderr.contains("left alone"), "{again:?}");
    std::fs::remove_file(place.path("wardline.toml")).expect("removed");
    place.run(&["init", "--node", "gw1"]).exits(0);
    assert_eq!(std::fs::read(place.path("wardline-data/root.key")).expect("a key"), key);
}

#[test]
fn init_refuses_a_name_that_no_node_can_have() {
    let place = Place::new();
    let ran = place.run(&["init", "--node", "a b"]).exits(2);
    assert!(ran.stderr.contains("--node"), "{ran:?}");
    assert!(!place.path("wardline.toml").exists());
}

#[test]
fn a_person_is_added_listed_and_logs_in() {
    let place = Place::ready();
    let added = place.add("ann", "nurse").exits(0).json();
    assert_eq!(added["roles"][0], "nurse");
    assert!(added["password"].is_null(), "a password that was given is not repeated");
    let people = place.run(&["user", "list", "--json"]).exits(0).json();
    assert_eq!(people[0]["id"], added["id"]);
    let token = place.login("ann", PASSWORD).exits(0).json();
    let secret = token["token"].as_str().expect("a token");
    assert!(secret.starts_with("wlt_"), "{secret}");
    // A token must not beget tokens.
    place.login("ann", &format!("{secret}\n")).exits(1);
    let id = token["id"].as_str().expect("an id");
    assert_eq!(place.run(&["token", "revoke", id, "--json"]).exits(0).json()["revoked"], 1);
    assert_eq!(place.run(&["token", "revoke", id, "--json"]).exits(0).json()["revoked"], 0);
    place.run(&["token", "revoke", "00"]).exits(1);
}

#[test]
fn names_are_taken_once_and_ids_never_again() {
    let place = Place::ready();
    let first = place.add("ann", "nurse").exits(0).json();
    let twice = place.add("ann", "nurse").exits(1);
    assert!(twice.stderr.contains("already a person named `ann`"), "{twice:?}");
    place.run(&["user", "delete", "ann"]).exits(0);
    place.run(&["user", "delete", "ann"]).exits(1);
    let second = place.add("ann", "nurse").exits(0).json();
    assert_ne!(first["id"], second["id"]);
}

#[test]
fn what_cannot_be_is_refused_with_a_way_out() {
    let place = Place::ready();
    let role = place.add("ann", "nurze").exits(1);
    assert!(role.stderr.contains("analyst, nurse"), "{role:?}");
    let name = place.add("Ann", "nurse").exits(1);
    assert!(name.stderr.contains("login name"), "{name:?}");
    let arguments = ["user", "add", "ann", "--role", "nurse", "--password-stdin"];
    let short = place.run_with_input(&arguments, "short\n").exits(1);
    assert!(short.stderr.contains("12"), "{short:?}");
    let empty = place.run_with_input(&arguments, "\n").exits(2);
    assert!(empty.stderr.contains("no password"), "{empty:?}");
    let no_terminal = place.run(&["user", "add", "ann", "--role", "nurse"]).exits(2);
    assert!(no_terminal.stderr.contains("--password-stdin"), "{no_terminal:?}");
    assert_eq!(place.run(&["user", "list", "--json"]).exits(0).json(), serde_json::json!([]));
}

#[test]
fn three_failures_lock_and_a_new_password_opens() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    for _ in 0..3 {
        let failed = place.login("ann", "wrong password!\n").exits(1);
        assert_eq!(failed.stderr, "{\"error\":\"sign-in failed\",\"help\":null}\n");
    }
    let listed = place.run(&["user", "list"]).exits(0).stdout;
    assert!(listed.contains("locked until 20"), "{listed}");
    let people = place.run(&["user", "list", "--json"]).exits(0).json();
    assert!(people[0]["locked_until"].as_str().expect("a time").ends_with('Z'), "{people}");
    let locked = place.login("ann", PASSWORD).exits(1);
    assert_eq!(locked.stderr, "{\"error\":\"sign-in failed\",\"help\":null}\n", "a lock is not told apart");
    place.run_with_input(&["user", "passwd", "ann", "--password-stdin"], PASSWORD).exits(0);
    place.login("ann", PASSWORD).exits(0);
    let people = place.run(&["user", "list", "--json"]).exits(0).json();
    assert_eq!(people[0]["locked_until"], serde_json::Value::Null);
}

#[test]
fn the_disabled_do_not_log_in() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let disabled = place.run(&["user", "disable", "ann", "--json"]).exits(0).json();
    assert_eq!(disabled["disabled"], true);
    place.login("ann", PASSWORD).exits(1);
    place.run(&["user", "enable", "ann"]).exits(0);
    place.login("ann", PASSWORD).exits(0);
    place.login("nobody", PASSWORD).exits(1);
}

#[test]
fn generated_passwords_work_and_are_all_different() {
    let place = Place::ready();
    let generate = |name: &str| {
        let arguments = ["user", "add", name, "--role", "nurse", "--generate-password", "--json"];
        place.run(&arguments).exits(0).json()["password"].as_str().expect("a password").to_owned()
    };
    let (first, second) = (generate("ann"), generate("bob"));
    assert_ne!(first, second);
    place.login("ann", &first).exits(0);
    place.login("ann", &second).exits(1);
}

#[test]
fn a_token_lives_no_longer_than_allowed() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let arguments = ["login", "ann", "--password-stdin", "--life-s", "28801"];
    let refused = place.run_with_input(&arguments, PASSWORD).exits(1);
    assert!(refused.stderr.contains("28800"), "{refused:?}");
    let pgpass = place.run_with_input(&["login", "ann", "--password-stdin", "--pgpass"], PASSWORD).exits(0);
    assert!(pgpass.stdout.starts_with("127.0.0.1:0:*:ann:wlt_"), "{pgpass:?}");
}

#[test]
fn credentials_are_stored_listed_and_forgotten() {
    let place = Place::ready();
    let set = ["vault", "set", "hospital", "--user", "app", "--password-stdin"];
    assert!(place.run(&["check"]).exits(0).stdout.contains("vault set hospital"));
    place.run_with_input(&set, "upstream-canary\n").exits(0);
    assert!(!place.run(&["check"]).exits(0).stdout.contains("vault set hospital"));
    assert_eq!(place.run(&["vault", "list"]).exits(0).stdout, "hospital\n");
    place.run(&["vault", "remove", "hospital"]).exits(0);
    place.run(&["vault", "remove", "hospital"]).exits(1);
    let elsewhere = ["vault", "set", "hospitl", "--user", "app", "--password-stdin"];
    let refused = place.run_with_input(&elsewhere, "x\n").exits(1);
    assert!(refused.stderr.contains("defines: hospital"), "{refused:?}");
}

#[test]
fn no_secret_is_in_the_data_folder() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let set = ["vault", "set", "hospital", "--user", "app", "--password-stdin"];
    place.run_with_input(&set, "upstream-canary\n").exits(0);
    let token = place.login("ann", PASSWORD).exits(0).json();
    let token = token["token"].as_str().expect("a token").to_owned();
    for file in files_under(&place.path("data")) {
        let bytes = std::fs::read(&file).expect("readable");
        for canary in ["upstream-canary", PASSWORD.trim(), token.as_str()] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds a secret", file.display());
        }
    }
}

/// Returns all files below a folder.
pub(crate) fn files_under(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

#[test]
fn another_root_key_opens_nothing() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    std::fs::remove_file(place.path("data/root.key")).expect("removed");
    let gone = place.run(&["user", "list"]).exits(2);
    assert!(gone.stderr.contains("no root key"), "{gone:?}");
    place.write("data/root.key", &format!("{}\n", "ab".repeat(32)));
    let open = place.run(&["user", "list"]).exits(2);
    assert!(open.stderr.contains("chmod 600"), "{open:?}");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(place.path("data/root.key"), std::fs::Permissions::from_mode(0o600))
        .expect("set");
    let other = place.run(&["user", "list"]).exits(2);
    assert!(other.stderr.contains("root key"), "{other:?}");
    let serve = place.run(&["serve"]).exits(2);
    assert!(serve.stderr.contains("root key"), "{serve:?}");
}

#[test]
fn a_folder_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::ready();
    std::fs::set_permissions(place.path("data"), std::fs::Permissions::from_mode(0o755)).expect("set");
    let refused = place.run(&["user", "list"]).exits(2);
    assert!(refused.stderr.contains("chmod 700"), "{refused:?}");
}

#[test]
fn the_matrix_says_what_policy_decides() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    place.add("bob", "analyst").exits(0);
    let matrix = place.run(&["access", "matrix", "--json"]).exits(0).json();
    let allowed = |person: &str, action: &str, object: &str| {
        let cells = matrix["decisions"].as_array().expect("decisions");
        let cell = cells
            .iter()
            .find(|cell| cell["person"] == person && cell["action"] == action && cell["object"] == object);
        cell.unwrap_or_else(|| panic!("no cell for {person} {action} {object}"))["allowed"] == true
    };
    assert!(allowed("ann", "Connect", "*"));
    assert!(allowed("ann", "Read", "public.patients"));
    assert!(allowed("ann", "Write", "public.notes"));
    assert!(!allowed("ann", "Write", "public.patients"));
    assert!(!allowed("ann", "Read", "public.claims"));
    assert!(allowed("bob", "Read", "public.claims"));
    assert!(!allowed("bob", "Read", "public.patients"));
    let text =
        place.run(&["access", "matrix", "--person", "ann", "--relation", "public.notes"]).exits(0).stdout;
    assert!(text.contains("role.nurse.1.write"), "{text}");
    assert!(!text.contains("bob"), "{text}");
}

#[test]
fn the_matrix_shows_who_sees_which_class() {
    let place = Place::ready();
    let classified = "[resource.hospital.phi.columns]\n\"public.patients.ssn\" = { class = \"ssn\" }\n[[role.nurse.allow]]";
    let config = CONFIG.replace("[[role.nurse.allow]]", classified);
    place.write("wardline.toml", &config.replace("read = [\"public.claims\"]", "unmask = [\"age\"]"));
    place.add("ann", "nurse").exits(0);
    place.add("bob", "analyst").exits(0);
    let line = |text: &str, person: &str, object: &str| {
        let words = [person, "hospital", object].join(" ");
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let found = lines.iter().find_map(|line| line.strip_prefix(&format!("{words} ")));
        found.unwrap_or_else(|| panic!("no line of {words}:\n{text}")).to_owned()
    };
    let text = place.run(&["access", "matrix"]).exits(0).stdout;
    assert_eq!(line(&text, "bob", "class age"), "Unmask role.analyst.1.unmask");
    assert_eq!(line(&text, "bob", "class ssn"), "nothing");
    assert_eq!(line(&text, "ann", "class age"), "nothing");
    let one = place.run(&["access", "matrix", "--class", "age", "--person", "bob"]).exits(0).stdout;
    assert_eq!(line(&one, "bob", "class age"), "Unmask role.analyst.1.unmask");
    assert!(!one.contains("class ssn") && !one.contains("public.patients"), "{one}");
    let unknown = place.run(&["access", "matrix", "--class", "snn"]).exits(1);
    assert!(unknown.stderr.contains("unknown class `snn`; known are name,"), "{unknown:?}");
}

#[test]
fn with_json_a_failure_is_json_too() {
    let place = Place::ready();
    let failed = |arguments: &[&str], code: i32| -> serde_json::Value {
        let ran = place.run(arguments).exits(code);
        assert_eq!(ran.stdout, "", "{ran:?}");
        serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    };
    let unknown = failed(&["user", "disable", "nosuch", "--json"], 1);
    assert_eq!(unknown["error"], "there is no person named `nosuch`");
    assert_eq!(unknown["help"], "`wardline user list` shows everybody");
    let misused = failed(&["user", "list", "--json", "--wrong"], 2);
    assert_eq!(misused["error"], "unexpected argument '--wrong' found");
    let elsewhere = failed(&["--config", "nowhere.toml", "user", "list", "--json"], 2);
    assert!(elsewhere["error"].as_str().expect("a text").contains("nowhere.toml"), "{elsewhere}");
    assert_eq!(elsewhere["help"], serde_json::Value::Null);
    // Without it, words; and what was asked for is no failure.
    assert!(
        place.run(&["user", "disable", "nosuch"]).exits(1).stderr.starts_with("wardline: there is no person")
    );
    assert!(place.run(&["user", "list", "--json", "--help"]).exits(0).stdout.contains("Usage"));
}

#[test]
fn a_name_that_nothing_has_is_told_and_not_shown_as_nothing() {
    let place = Place::ready();
    place.add("ann.nurse", "nurse").exits(0);
    place.run(&["access", "matrix", "--person", "ann.nurse"]).exits(0);
    let unknown = [
        (&["access", "matrix", "--person", "ann.nurze"][..], "did you mean `ann.nurse`?"),
        (&["access", "matrix", "--resource", "hospitl"], "did you mean `hospital`?"),
        (&["trail", "tail", "--person", "ann.nurze"], "did you mean `ann.nurse`?"),
        (&["trail", "tail", "--resource", "hospitl"], "did you mean `hospital`?"),
    ];
    for (arguments, help) in unknown {
        let ran = place.run(arguments).exits(1);
        assert!(ran.stderr.contains("there is no") && ran.stderr.contains(help), "{arguments:?} {ran:?}");
    }
    // Somebody who did nothing yet is known, and so are the deleted by what they did.
    place.run(&["trail", "tail", "--person", "ann.nurse"]).exits(0);
    place.login("ann.nurse", PASSWORD).exits(0);
    place.run(&["user", "delete", "ann.nurse"]).exits(0);
    place.run(&["trail", "tail", "--person", "ann.nurse"]).exits(0);
}
