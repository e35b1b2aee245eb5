//! What a session is for, with a real server and psql: rights by purpose and date, and what the trail and the commands say.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::Value;
use testbed::gateway::Gateway;
use testbed::postgres::{Cluster, Options};

use crate::conformance::stage::{self, HOSPITAL, err, out, psql, script};

const PHI: &str = "[policy]\npurposes = [\"treatment\", \"research\"]\n\
    [resource.hospital.phi]\n\
    clean = [\"public.patients.id\"]\n\
    patients = [\"public.patients.id\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.ssn\" = { class = \"ssn\", operator = \"redact\" }";
const ASKS: &str = "select id, ssn from patients where id = 7";

fn gateway(cluster: &Cluster) -> Gateway {
    Gateway::builder()
        .resource_of(HOSPITAL, cluster, HOSPITAL)
        .toml(PHI)
        .role("nurse", HOSPITAL, "read = [\"public.patients\"]")
        .role("treats", HOSPITAL, "unmask = [\"ssn\"]\npurposes = [\"treatment\"]\nuntil = \"2999-12-31\"")
        .role("treated", HOSPITAL, "unmask = [\"ssn\"]\npurposes = [\"treatment\"]\nuntil = \"2020-12-31\"")
        .person("ann", &["nurse", "treats"])
        .person("bob", &["nurse", "treated"])
        .start()
        .expect("it starts")
}

/// A purpose decides what is seen, within one session and from its start, and every entry says it.
#[test]
fn a_purpose_decides_what_is_seen_and_is_in_every_entry() {
    let cluster = Cluster::start(Options { tls: true, ..Options::default() }).expect("PostgreSQL");
    cluster.create_database(HOSPITAL).expect("a database");
    let tables = "create table patients (id int primary key, ssn text);
        insert into patients select n, '000-00-' || n from generate_series(1, 20) n";
    cluster.psql_in(HOSPITAL, tables).expect("a table");
    let gateway = gateway(&cluster);
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let bob = gateway.conninfo("bob", HOSPITAL).expect("a person");

    let session = format!(
        "{ASKS};\nset wardline.purpose = 'treatment';\n{ASKS};\nset wardline.purpose to research;\n{ASKS};\n\
         begin;\nset wardline.purpose = treatment;\nrollback;\n{ASKS};\nselect 1/0;\nreset all;\n{ASKS};\n"
    );
    let shown = out(&script(&ann, &[], &session));
    let seen: Vec<bool> = shown.lines().map(|line| line == "7|000-00-7").collect();
    assert_eq!(seen, [false, true, false, true, false], "{shown}");
    assert!(shown.lines().all(|line| line.starts_with("7|")), "{shown}");
    // A right that has ended, and a purpose that is none.
    let late = out(&script(&bob, &[], &format!("set wardline.purpose = 'treatment';\n{ASKS};")));
    assert!(late.starts_with("7|") && !late.contains("000-00"), "{late}");
    let unknown = psql(&ann, "set wardline.purpose = 'marketing'");
    let words = err(&unknown);
    assert!(!unknown.status.success() && words.contains("22023"), "{words}");
    assert!(words.contains("`treatment`, `research`") && !words.contains("marketing"), "{words}");
    at_start_up(&gateway);
    said(&gateway);
}

fn at_start_up(gateway: &Gateway) {
    let stated = |purpose: &str| {
        let conninfo = gateway.conninfo("ann", HOSPITAL).expect("a person");
        let mut command = std::process::Command::new("psql");
        conninfo.apply(&mut command);
        command.args(["-X", "-q", "-A", "-t", "-c", ASKS]);
        command.env("PGOPTIONS", format!("-c wardline.purpose={purpose}")).output().expect("psql")
    };
    assert_eq!(out(&stated("treatment")), "7|000-00-7");
    let refused = stated("marketing");
    assert!(!refused.status.success() && err(&refused).contains("not one that is configured"), "{refused:?}");
}

/// What the commands say of it.
fn said(gateway: &Gateway) {
    let entries = stage::entries(gateway);
    let purposes: Vec<(String, String)> = stage::of(&entries, "operation", "ann")
        .into_iter()
        .filter(|entry| entry["command"] == "SELECT" && entry["outcome"] == "completed")
        .map(|entry| (stage::text(entry, "purpose"), stage::text(entry, "unmasked")))
        .collect();
    let expected = [
        ("", false),
        ("treatment", true),
        ("research", false),
        ("treatment", true),
        ("", false),
        ("treatment", true),
    ];
    let got: Vec<(&str, bool)> =
        purposes.iter().map(|(p, unmasked)| (p.as_str(), !unmasked.is_empty())).collect();
    assert_eq!(got, expected);
    let details: Vec<String> = entries.iter().map(|entry| stage::text(entry, "detail")).collect();
    assert!(details.iter().any(|detail| detail == "the purpose is `research` from here on"), "{details:?}");
    let all = serde_json::to_string(&entries).expect("JSON");
    assert!(!all.contains("marketing"), "what is no purpose is not recorded");
    let opened = stage::of(&entries, "session-opened", "ann");
    assert!(opened.iter().any(|entry| entry["purpose"] == "treatment"), "{opened:?}");

    let research = entries.iter().filter(|entry| entry["purpose"] == "research").count();
    let found = gateway.cli_json(&["trail", "search", "--purpose", "research", "--json"]).expect("a search");
    assert!(research > 0 && found.len() == research, "{research} {found:?}");
    let sql = "SELECT count(*) AS n FROM events WHERE part = 0 AND purpose = 'research'";
    assert_eq!(gateway.cli_json(&["trail", "sql", sql, "--json"]).expect("SQL")[0]["n"], research);

    let saw = gateway.cli(&["who-saw", "7"]).expect("words");
    assert!(saw.contains("PURPOSE") && saw.contains("treatment") && saw.contains("research"), "{saw}");
    let saw = gateway.cli(&["saw", "ann", "--json"]).expect("words");
    let saw: Value = serde_json::from_str(&saw).expect("JSON");
    assert!(saw["accesses"].as_array().expect("a list").iter().any(|access| access["purpose"] == "research"));

    let matrix = |purpose: &[&str]| {
        let arguments = [&["access", "matrix", "--person", "ann", "--class", "ssn"], purpose].concat();
        gateway.cli(&arguments).expect("a table")
    };
    assert!(!matrix(&[]).contains("Unmask"));
    assert!(matrix(&["--purpose", "treatment"]).contains("role.treats.1.unmask"));
    let wrong = gateway.cli_output(&["access", "matrix", "--purpose", "treatmnt"]).expect("it runs");
    assert!(err(&wrong).contains("did you mean `treatment`?"), "{wrong:?}");
    let explained = |purpose: &str| {
        let arguments = ["phi", "explain", HOSPITAL, ASKS, "--as", "ann", "--purpose", purpose];
        gateway.cli(&arguments).expect("words")
    };
    assert!(explained("treatment").contains("seen by role.treats.1.unmask"), "{}", explained("treatment"));
    assert!(!explained("research").contains("seen by"));
}
