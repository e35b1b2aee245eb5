//! `wardline check`: every mistake of a configuration at once, each with its place and its cure.

use crate::place::{Place, golden};

const MANY_MISTAKES: &str = r#"nod = "gw1"
data = 7
drain_timeout_ms = -1

[listener.postgres]
adress = "127.0.0.1:6432"
address = "localhost"
tls = "self signed"
sessions_max = 0

[metrics]

[resource.hospital]
protocol = "postgre"
host = "db.example.org:5432 "
tls = { mode = "no-verify" }

[resource.claims]
protocol = "postgres"
host = "db.example.org"
tls = { mode = "disable", exception = "because" }

[resource."a b"]
protocol = "postgres"
host = "h"
tls = { ca = "no-such-file.pem" }

[[role.nurse.allow]]
resource = "hospitl"
read = ["patients", "public.*", 3]
write = "public.notes"

[role.doctor]
alow = []

[policy]
files = ["policies/*.cedar"]
"#;

#[test]
fn all_mistakes_are_told_at_once() {
    let place = Place::new();
    place.write("wardline.toml", MANY_MISTAKES);
    golden("check-many-mistakes.txt", &place.run(&["check"]).exits(1).stdout);
    let json = place.run(&["check", "--json"]).exits(1).json();
    assert_eq!(json["valid"], false);
    assert_eq!(json["errors"].as_u64(), json["problems"].as_array().map(|p| p.len() as u64));
    assert!(json["problems"].as_array().expect("array").iter().all(|p| p["line"].is_u64()));
}

#[test]
fn broken_grammar_does_not_hide_the_rest() {
    let place = Place::new();
    place.write("wardline.toml", "node = \n[resource.hospital]\nprotocol = \"postgres\"\nprot = 5432\n");
    golden("check-broken-grammar.txt", &place.run(&["check"]).exits(1).stdout);
}

const MISTAKES_IN_PROTECTION: &str = r#"node = "gw1"
[resource.hospital]
protocol = "postgres"
host = "h"
[resource.hospital.phi]
clean = ["*", "public.departments", "public.pat*.x", "public.patients.mrn", "public.notes.*", 7]
patients = ["public.patients.*", "patients.id", "public.notes.patient_id"]
clear = []
[resource.hospital.phi.columns]
"public.patients.ssn" = { class = "snn", operator = "tokn", usage = "any" }
"public.patients.phone" = { class = "phone", operator = "year" }
"public.patients.mrn" = { class = "mrn", operator = "partial(last=9)" }
'public."patients".mrn' = { class = "mrn" }
"public.patients.born" = { class = "date", operator = "bucket(size=10)", usage = "result" }
"public.patients.name" = { operator = "redact" }
"public.patients.zip" = "geographic"
"patients.city" = { class = "geographic" }
public.patients.fax = { class = "fax" }

[resource.claims]
protocol = "mysql"
host = "h"
phi = { clean = ["claims.*"] }

[resource.lab]
protocol = "postgres"
host = "h"
[resource.lab.phi.columns]
"public.results.at" = { class = "date", operator = "date_shift" }

[[role.analyst.allow]]
resource = "hospital"
read = ["public.*"]
unmask = ["age", "dates", "ssn ", "public.*", 1]
[[role.analyst.allow]]
resource = "*"
unmask = "*"
"#;

#[test]
fn mistakes_in_protection_are_told_at_once() {
    let place = Place::new();
    place.write("wardline.toml", MISTAKES_IN_PROTECTION);
    golden("check-protection.txt", &place.run(&["check"]).exits(1).stdout);
}

#[test]
fn plaintext_is_for_loopback_only() {
    let place = Place::new();
    let listening = |address: &str| {
        place.write(
            "wardline.toml",
            &format!("node = \"gw1\"\n[listener.postgres]\naddress = \"{address}\"\nplaintext = true\n"),
        );
        place.run(&["check"])
    };
    let refused = listening("0.0.0.0:6432").exits(1);
    assert!(
        refused.stdout.contains("wardline.toml:4:13: error: `listener.postgres.plaintext`"),
        "{refused:?}"
    );
    assert!(!listening("127.0.0.1:6432").stdout.contains("error:"));
}

#[test]
fn a_missing_configuration_names_the_way_to_one() {
    let ran = Place::new().run(&["check"]).exits(1);
    assert!(ran.stdout.contains("wardline init"), "{ran:?}");
}

#[test]
fn policies_and_configuration_are_judged_together() {
    let place = Place::new();
    place.write(
        "wardline.toml",
        "node = \"gw1\"\nnonsense = 1\n[resource.hospital]\nprotocol = \"postgres\"\nhost = \"h\"\n\
         [[role.nurse.allow]]\nresource = \"hospital\"\n[policy]\nfiles = [\"policies/*.cedar\"]\n",
    );
    place.write("policies/a.cedar", "permit (principal, action == Action::\"Raed\", resource);\n");
    place.write("policies/b.cedar", "\n\nforbid (principal, action, resource) when { context.nowhere };\n");
    place.write("policies/notes.txt", "not a policy");
    golden("check-policies.txt", &place.run(&["check"]).exits(1).stdout);
    place.write("policies/a.cedar", "permit (principal, action, resource\n");
    place.write("policies/b.cedar", "");
    let syntax = place.run(&["check"]).exits(1).stdout;
    assert!(syntax.contains("policies/a.cedar:"), "{syntax}");
}

#[test]
fn a_certificate_needs_its_own_private_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let (certificate, key) = pair("a");
    let (_, other_key) = pair("b");
    place.write("server.pem", &certificate);
    place.write(
        "wardline.toml",
        "node = \"gw1\"\n[listener.postgres]\ntls = { certificate = \"server.pem\", key = \"server.key\" }\n",
    );
    let with = |key: &str, mode: u32| {
        place.write("server.key", key);
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path("server.key"), permissions).expect("set");
        place.run(&["check"])
    };
    with(&key, 0o600).exits(0);
    let open = with(&key, 0o644).exits(1);
    assert!(open.stdout.contains("wardline.toml:3:") && open.stdout.contains("chmod 600"), "{open:?}");
    assert!(with("nonsense", 0o600).exits(1).stdout.contains("no PEM private key"));
    let other = with(&other_key, 0o600).exits(1);
    assert!(other.stdout.contains("listener.postgres.tls"), "{other:?}");
}

#[test]
fn all_options_can_be_listed() {
    let place = Place::new();
    assert!(place.run(&["check", "--fields"]).exits(0).stdout.contains("listener.postgres.sessions_max"));
    let fields = place.run(&["check", "--fields", "--json"]).exits(0).json();
    assert!(fields.as_array().expect("fields").len() > 30);
}

#[test]
fn what_init_writes_in_comments_is_valid_too() {
    let place = Place::new();
    place.run(&["init", "--node", "gw1"]).exits(0);
    let text = std::fs::read_to_string(place.path("wardline.toml")).expect("written");
    let is_field = |text: &&str| {
        let name = text.split(" = ").next().unwrap_or_default();
        let letters = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '.' | '"');
        text.starts_with('[') || (text.contains(" = ") && name.chars().all(letters))
    };
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix("# ").filter(is_field).unwrap_or(line))
        .filter(|line| !line.starts_with("tls = ") && !line.starts_with("files = "))
        .collect();
    assert!(uncommented.contains(&"[resource.hospital.phi.columns]"), "{uncommented:?}");
    place.write("wardline.toml", &uncommented.join("\n"));
    let ran = place.run(&["check"]).exits(0);
    assert!(!ran.stdout.contains("error:"), "{ran:?}");
}

#[test]
fn the_data_folder_must_be_of_this_node() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    place.write("wardline.toml", &crate::people::CONFIG.replace("gw1", "gw2"));
    let ran = place.run(&["check"]).exits(1);
    assert!(
        ran.stdout.contains("gw1") && ran.stdout.contains("gw2") && ran.stdout.contains("`node`"),
        "{ran:?}"
    );
}

#[test]
fn a_lost_root_key_is_not_made_anew() {
    let place = Place::ready();
    std::fs::remove_file(place.path("data/root.key")).expect("removed");
    assert!(place.run(&["check"]).exits(1).stdout.contains("wardline init"));
    place.write("data/trail/verifier.txt", "");
    for arguments in [&["check"][..], &["user", "list"]] {
        let ran = place.run(arguments);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("from its backup") && !said.contains("init"), "{ran:?}");
    }
    std::fs::rename(place.path("data"), place.path("wardline-data")).expect("moved");
    let init = place.run(&["--config", "second.toml", "init", "--node", "gw1"]).exits(2);
    assert!(init.stderr.contains("from its backup"), "{init:?}");
    assert!(!place.path("wardline-data/root.key").exists() && !place.path("second.toml").exists());
}
