//! Row 21: a statement is recorded with the patients whose rows it asked for or returned, and where they cannot be told
//! that is said.

use serde_json::Value;
use testbed::gateway::Gateway;
use testbed::wire::{Wire, front};

use super::stage::{self, HOSPITAL, answer, refused};

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.claims.billed\", \"public.notes.id\"]\n\
    patients = [\"public.patients.id\", \"public.notes.patient_id\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.id\" = { class = \"patient_id\", usage = \"equality\" }\n\
    \"public.patients.ssn\" = { class = \"ssn\", operator = \"redact\" }\n\
    \"public.patients.name\" = { class = \"name\", operator = \"redact\" }";

/// Returns what `who-saw` says of one patient.
fn who_saw(gateway: &Gateway, patient: &str) -> Value {
    let answers = gateway.cli_json(&["who-saw", patient, "--json"]).expect("who-saw");
    answers.into_iter().next().expect("an answer")
}

/// Returns person and rows of each access to a patient.
fn accesses(gateway: &Gateway, patient: &str) -> Vec<(String, String, u64)> {
    let found = who_saw(gateway, patient);
    let access = |access: &Value| {
        let rows = access["rows"].as_u64().unwrap_or(0);
        (stage::text(access, "person_name"), stage::text(access, "result"), rows)
    };
    found["accesses"].as_array().expect("a list").iter().map(access).collect()
}

fn did(person: &str, rows: u64) -> (String, String, u64) {
    (person.to_owned(), "completed".to_owned(), rows)
}

#[test]
fn row_21_a_statement_is_in_the_access_report_of_its_patients() {
    let cluster = stage::hospital();
    let all = "read = [\"public.*\"]\nwrite = [\"public.notes\"]\ntransfer = true";
    let gateway = stage::gateway(&cluster)
        .toml(PHI)
        .role("doctor", HOSPITAL, &format!("{all}\nunmask = [\"*\"]"))
        .role("analyst", HOSPITAL, "read = [\"public.patients\", \"public.notes\"]")
        .person("dora", &["doctor"])
        .person("ann", &["analyst"])
        .person("bert", &["billing"])
        .start()
        .expect("it starts");
    let as_person = |name: &str| gateway.conninfo(name, HOSPITAL).expect("a person");
    let (dora, ann, bert) = (as_person("dora"), as_person("ann"), as_person("bert"));

    // By the text, by the rows, by a parameter, by what is written; seen, masked and refused.
    answer(&dora, "select name from patients where id = 7");
    answer(&dora, "select id, name from patients where name in ('patient 7', 'patient 8')");
    let masked = answer(&ann, "select id, name from patients where id = 8");
    assert!(!masked.contains("patient 8"), "{masked}");
    refused(&bert, "select name from patients where id = 7");
    let mut wire = Wire::connect(&dora).expect("a session");
    let asked = [
        front::parse("", "select body from notes where patient_id = $1"),
        front::bind("", "", &[Some("9")], 1),
        front::execute("", 0),
        front::SYNC.to_vec(),
    ];
    wire.send(&asked.concat()).expect("sent");
    wire.until(b'Z').expect("an answer");
    answer(&dora, "update notes set body = 'seen' where patient_id = 9");
    let cursor = "begin;\ndeclare c cursor for select * from patients where id between 20 and 22;\nfetch 2 from c;\ncommit;\n";
    assert!(stage::script(&dora, &[], cursor).status.success());

    let of_bert = ("bert".to_owned(), "refused".to_owned(), 0);
    assert_eq!(accesses(&gateway, "7"), [did("dora", 1), did("dora", 2), of_bert]);
    assert_eq!(accesses(&gateway, "8"), [did("dora", 2), did("ann", 1)]);
    assert_eq!(accesses(&gateway, "0009"), [did("dora", 1), did("dora", 1)]);
    assert_eq!(accesses(&gateway, "20").len(), 1);
    assert_eq!(accesses(&gateway, "22"), []);
    let unresolved = gateway.cli_json(&["who-saw", "--unresolved", "--json"]).expect("who-saw");
    assert_eq!(unresolved[0]["accesses"], serde_json::json!([]));

    // What cannot be told is said, with the number of rows, and not laid to somebody.
    answer(&dora, "select name from patients where name < 'patient 2'");
    answer(&dora, "copy (select name from patients where id < 4) to stdout");
    answer(&dora, "select count(*) from patients");
    let unresolved = gateway.cli_json(&["who-saw", "--unresolved", "--json"]).expect("who-saw");
    let rows: Vec<u64> = unresolved[0]["accesses"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|access| access["unresolved"].as_u64().expect("a number"))
        .collect();
    assert_eq!(rows, [111, 3, 1]);
    assert_eq!(accesses(&gateway, "7").len(), 3);

    report_of_a_person(&gateway);
    nothing_in_clear(&gateway);
    assert_eq!(stage::verify(&gateway, None, &[]).0, Some(0));
}

fn report_of_a_person(gateway: &Gateway) {
    let saw = gateway.cli_json(&["saw", "dora", "--json"]).expect("saw");
    assert_eq!(saw[0]["patients"], 5);
    assert!(saw[0]["accesses"][0].get("identifiers").is_none());
    let saw = gateway.cli_json(&["saw", "ann", "--open-sealed", "--json"]).expect("saw");
    assert_eq!(saw[0]["accesses"][0]["identifiers"], serde_json::json!(["8"]));
    let nobody = gateway.cli_output(&["saw", "nobody"]).expect("saw");
    assert_eq!(nobody.status.code(), Some(1));
}

/// The searches are in the trail too, by the patient's token; no identifier is shown without being opened.
fn nothing_in_clear(gateway: &Gateway) {
    assert!(who_saw(gateway, "7")["searches"].as_u64().expect("a number") >= 2);
    let entries = stage::entries(gateway);
    let named = entries.iter().filter(|entry| entry.get("patients").is_some());
    assert!(named.clone().count() >= 10);
    assert!(named.clone().all(|entry| entry.get("identifiers").is_none()));
    let searches = stage::of(&entries, "trail-viewed", "");
    assert!(searches.iter().any(|entry| stage::text(entry, "detail") == "who-saw a patient"));
}
