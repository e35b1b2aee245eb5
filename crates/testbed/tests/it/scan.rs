//! `wardline phi scan` on real databases: every identifier of the hospital is found, nothing that identifies is called
//! clean, whatever its column is called, and no value is told.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use testbed::gateway::{Builder, Gateway, Listener, ROLE_ALL};
use testbed::hospital;
use testbed::postgres::{Cluster, Options};

/// The columns of the hospital that identify a patient or somebody around one by themselves, and as what.
const DIRECT: [(&str, &str); 32] = [
    ("patients.id", "patient_id"),
    ("patients.mrn", "mrn"),
    ("patients.ssn", "ssn"),
    ("patients.first_name", "name"),
    ("patients.last_name", "name"),
    ("patients.birth_date", "date"),
    ("patients.deceased_on", "date"),
    ("patients.phone", "phone"),
    ("patients.email", "email"),
    ("households.street", "geographic"),
    ("households.unit", "geographic"),
    ("households.city", "geographic"),
    ("households.zip", "geographic"),
    ("households.phone", "phone"),
    ("staff.first_name", "name"),
    ("staff.last_name", "name"),
    ("staff.email", "email"),
    ("staff.phone", "phone"),
    ("staff.login", "unique_code"),
    ("notes.body", "free_text"),
    ("prescriptions.directions", "free_text"),
    ("appointments.reason", "free_text"),
    ("admissions.reason", "free_text"),
    ("claims.member_id", "health_plan"),
    ("admissions.admitted_at", "date"),
    ("admissions.discharged_at", "date"),
    ("appointments.starts_at", "date"),
    ("encounters.started_at", "date"),
    ("notes.written_at", "date"),
    ("results.taken_at", "date"),
    ("prescriptions.written_on", "date"),
    ("claims.submitted_on", "date"),
];
/// Those that name the patient of a row.
const PATIENTS: [&str; 9] = [
    "admissions.patient_id",
    "appointments.patient_id",
    "care_teams.patient_id",
    "claims.patient_id",
    "encounters.patient_id",
    "notes.patient_id",
    "patients.id",
    "prescriptions.patient_id",
    "results.patient_id",
];

/// What a scan proposes for each column.
fn proposals(gateway: &Gateway, arguments: &[&str]) -> BTreeMap<String, Value> {
    let arguments = [&["phi", "scan", "hospital", "--json"], arguments].concat();
    let found = gateway.cli_json(&arguments).expect("a scan").remove(0);
    let mut columns = BTreeMap::new();
    for relation in found["relations"].as_array().expect("relations") {
        for column in relation["columns"].as_array().expect("columns") {
            let name = |of: &Value| of["name"].as_str().expect("a name").to_owned();
            columns.insert(format!("{}.{}", name(relation), name(column)), column.clone());
        }
    }
    columns
}

fn hospital() -> Cluster {
    let cluster = Cluster::start(Options::default()).expect("PostgreSQL");
    cluster.create_database("hospital").expect("a database");
    let options = hospital::Options { patients: 1_000, seed: 7 };
    hospital::load(options, &cluster.conninfo().with_dbname("hospital"), |_| ()).expect("a hospital");
    cluster
}

fn gateway(cluster: &Cluster) -> Builder {
    Gateway::builder()
        .listener(Listener::Plaintext)
        .resource_of("hospital", cluster, "hospital")
        .role_all()
        .person("mia", &[ROLE_ALL])
}

#[test]
fn the_hospital_is_found() {
    let cluster = hospital();
    let mut gateway = gateway(&cluster).prepare().expect("Wardline");
    for arguments in [&[][..], &["--no-samples"]] {
        let proposed = proposals(&gateway, arguments);
        for (column, class) in DIRECT {
            assert_eq!(proposed[column]["class"], class, "{column}: {}", proposed[column]);
        }
        let patients: Vec<&String> =
            proposed.iter().filter(|(_, column)| column["patient"] == true).map(|(name, _)| name).collect();
        assert_eq!(patients, PATIENTS);
        for column in PATIENTS {
            assert_eq!(proposed[column]["usage"], "join", "{column}");
        }
        // Some are nothing but numbers and codes: a scan that calls nothing clean would be of little use.
        for column in ["patients.sex", "departments.floor", "claims.billed", "appointments.minutes"] {
            assert_eq!(proposed[column]["proposal"], "clean", "{column}");
        }
        // Numbers of people and households, and what refers to them.
        for column in ["staff.id", "households.id", "patients.household_id", "encounters.staff_id"] {
            assert_eq!(proposed[column]["proposal"], "undecided", "{column}");
        }
        let clean = proposed.values().filter(|column| column["proposal"] == "clean").count();
        println!("{} columns, {clean} clean", proposed.len());
    }
    the_fragment_is_a_configuration(&mut gateway);
    nothing_was_told(&cluster, &gateway);
    it_was_recorded(&gateway);
}

/// Puts what was proposed into the configuration: it is valid, agrees with the resource, and masks.
fn the_fragment_is_a_configuration(gateway: &mut Gateway) {
    let fragment = gateway.folder().join("proposed.toml");
    let path = fragment.to_str().expect("a path");
    let shown = gateway.cli(&["phi", "scan", "hospital", "--output", path]).expect("a scan");
    assert!(shown.contains("public.patients"), "{shown}");
    let again = gateway.cli_output(&["phi", "scan", "hospital", "--output", path]).expect("it runs");
    assert_eq!(again.status.code(), Some(1), "never overwrites");
    let before = std::fs::read_to_string(gateway.config()).expect("a configuration");
    let proposed = std::fs::read_to_string(&fragment).expect("a fragment");
    std::fs::write(gateway.config(), format!("{before}\n{proposed}")).expect("written");
    gateway.cli(&["check"]).expect("a valid configuration");
    let compared = gateway.cli_output(&["phi", "scan", "hospital", "--check", "--json"]).expect("it runs");
    assert_eq!(compared.status.code(), Some(1), "what is undecided is unclassified");
    let compared: Value = serde_json::from_slice(&compared.stdout).expect("JSON");
    assert_eq!(compared["missing"], Value::Array(Vec::new()));
    let unclassified = compared["unclassified"].as_array().expect("names").len();
    assert_eq!(
        unclassified,
        proposed.lines().filter(|line| line.starts_with("#   public.") && line.contains(" (")).count()
    );
    gateway.serve().expect("it starts");
    let mia = gateway.conninfo("mia", "hospital").expect("a person");
    let mut wire = testbed::wire::Wire::connect(&mia).expect("a session");
    let answer = wire.query("select first_name, ssn from patients limit 1").expect("an answer");
    let row = answer.iter().find(|message| message.kind == b'D').expect("a row");
    let text = String::from_utf8_lossy(&row.body).into_owned();
    assert!(text.contains("[NAME]") && text.contains("[SSN]"), "{text}");
    // The same beside a server.
    gateway.cli(&["phi", "scan", "hospital", "--schema", "public"]).expect("a scan");
}

/// Nothing of the rows stands in what was printed, logged or kept.
fn nothing_was_told(cluster: &Cluster, gateway: &Gateway) {
    let sql = "select ssn from patients where ssn is not null union all select mrn from patients \
        union all select email from patients where email is not null union all select street from households";
    let values = cluster.psql_in("hospital", sql).expect("values");
    let values: Vec<&str> = values.lines().collect();
    assert!(values.len() > 1_000);
    // Each is looked for in megabytes: a part of them will do.
    let values: Vec<&str> = values.iter().step_by(values.len() / 60).copied().collect();
    let mut texts = vec![gateway.cli(&["phi", "scan", "hospital"]).expect("a scan")];
    texts.push(gateway.cli(&["trail", "tail", "-n", "1000", "--open-sealed"]).expect("a trail"));
    let mut folders = vec![gateway.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if is_plain(&path) => {
                    // Segments are allocated ahead.
                    let mut bytes = std::fs::read(&path).expect("a file");
                    bytes.retain(|byte| *byte != 0);
                    texts.push(String::from_utf8_lossy(&bytes).into_owned());
                }
                false => {}
            }
        }
    }
    for value in values {
        assert!(!texts.iter().any(|text| text.contains(value)), "a value was told");
    }
}

/// Sockets cannot be read.
fn is_plain(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn it_was_recorded(gateway: &Gateway) {
    let entries = gateway.cli_json(&["trail", "tail", "-n", "1000", "--kind", "admin-change", "--json"]);
    let scans: Vec<Value> =
        entries.expect("entries").into_iter().filter(|entry| entry["command"] == "phi scan").collect();
    assert!(scans.len() >= 8 && scans.len().is_multiple_of(2), "{}", scans.len());
    for pair in scans.chunks(2) {
        let [begun, ended] = pair else { panic!("not in pairs") };
        assert_eq!((begun["phase"].as_str(), ended["phase"].as_str()), (Some("admitted"), Some("settled")));
        assert_eq!(begun["resource"], "hospital");
        assert_eq!(begun["action"], "Read");
        assert_eq!(ended["outcome"], "completed");
        let sampled = begun["detail"].as_str().expect("a detail").contains("200 rows");
        assert_eq!(ended["rows"].as_u64().expect("a number") > 100, sampled, "{ended}");
    }
}

/// Columns that hold what their names do not say, and what must not be proposed for any of them.
const MISLEADING: &str = "
    create table lookups (code text, status text, kind varchar(40), label text, quantity bigint, flag char(1));
    insert into lookups select format('%s-%s-%s', 401 + n, 10 + n % 80, 1000 + n), format('p%s.miller@example.org', n),
        format('(614) 293-%s', 1000 + n), (array['Mary Johnson', 'James Smith', 'Linda Garcia'])[1 + n % 3],
        412000000 + n * 7919, 'x' from generate_series(1, 300) n;
    create table registry (id bigint primary key, total bigint, rank int);
    insert into registry select 501230000 + n * 31, 6142930000 + n, n from generate_series(1, 300) n;
    create table departments (id int primary key, name text, code int);
    insert into departments select n, 'Department of surgery ' || n, n from generate_series(1, 30) n;
    create domain ssn_type as text;
    create table \"Odd.Table\" (\"A b\" ssn_type, \"x\"\"y\" text, active boolean);
    insert into \"Odd.Table\" values ('401-11-1001', 'z', true);
    create table events (at date, who text, secret text) partition by range (at);
    create table events_1 partition of events for values from ('2020-01-01') to ('2030-01-01');
    insert into events select date '2021-01-01' + n, 'Mary Johnson', '401-11-1001' from generate_series(1, 50) n;
    create view listing as select * from lookups;
    create materialized view kept as select * from lookups;
    create table locked_away (id int primary key, ssn text, x text);
    insert into locked_away values (1, '401-11-1001', '401-11-1001');
    create table empty_one (id int primary key, status text, amount int);
    analyze";

#[test]
fn misleading_names_are_not_believed() {
    let cluster = Cluster::start(Options::default()).expect("PostgreSQL");
    cluster.create_database("hospital").expect("a database");
    cluster.psql_in("hospital", MISLEADING).expect("tables");
    let gateway = gateway(&cluster).prepare().expect("Wardline");
    cluster.psql_in("hospital", "revoke all on locked_away from wardline_app").expect("revoked");
    let proposed = proposals(&gateway, &[]);
    let class = |column: &str| proposed[column]["class"].as_str().unwrap_or_default().to_owned();
    for (column, expected) in [
        ("lookups.code", "ssn"),
        ("lookups.status", "email"),
        ("lookups.kind", "phone"),
        ("lookups.label", "name"),
        ("events.secret", "ssn"),
        ("Odd.Table.A b", "ssn"),
        ("locked_away.ssn", "ssn"),
    ] {
        assert_eq!(class(column), expected, "{column}: {}", proposed[column]);
    }
    let identifying = [
        "lookups.code",
        "lookups.status",
        "lookups.kind",
        "lookups.label",
        "lookups.quantity",
        "registry.id",
        "registry.total",
        "departments.name",
        "departments.code",
        "Odd.Table.A b",
        "Odd.Table.x\"y",
        "events.at",
        "events.who",
        "events.secret",
        "locked_away.id",
        "locked_away.ssn",
        "locked_away.x",
        "empty_one.id",
        "empty_one.status",
    ];
    for column in identifying {
        assert_ne!(proposed[column]["proposal"], "clean", "{column}: {}", proposed[column]);
    }
    for column in ["lookups.flag", "registry.rank", "departments.id", "Odd.Table.active", "empty_one.amount"]
    {
        assert_eq!(proposed[column]["proposal"], "clean", "{column}: {}", proposed[column]);
    }
    for column in ["listing.code", "kept.code", "events_1.secret"] {
        assert_eq!(proposed[column]["proposal"], "follows", "{column}");
    }
    let shown = gateway.cli(&["phi", "scan", "hospital"]).expect("a scan");
    assert!(shown.contains("refused: SQLSTATE 42501") || shown.contains("refused: "), "{shown}");
    let config = std::fs::read_to_string(gateway.config()).expect("a configuration");
    std::fs::write(gateway.config(), format!("{config}\n{shown}")).expect("written");
    gateway.cli(&["check"]).expect("names of any form are written so that they can be read");
    let gone = gateway.cli_output(&["phi", "scan", "hospitl"]).expect("it runs");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("did you mean `hospital`?"), "{gone:?}");
    let schema = gateway.cli_output(&["phi", "scan", "hospital", "--schema", "publc"]).expect("it runs");
    assert!(String::from_utf8_lossy(&schema.stderr).contains("did you mean `public`?"), "{schema:?}");
}
