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
