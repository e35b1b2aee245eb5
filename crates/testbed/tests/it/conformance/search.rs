//! Row 23 for searches: who looks into the trail is in the trail, also when the archive answers. And what is found is the
//! same before and after entries are archived.

use serde_json::Value;
use testbed::gateway::Gateway;

use super::stage::{self, HOSPITAL, answer};

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.notes.id\"]\n\
    patients = [\"public.patients.id\", \"public.notes.patient_id\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.id\" = { class = \"patient_id\", usage = \"equality\" }\n\
    \"public.patients.name\" = { class = \"name\", operator = \"redact\" }";

/// Returns the accesses that a search finds, by their indexes. The searches themselves are left out: each is one more.
fn found(gateway: &Gateway, arguments: &[&str]) -> Vec<u64> {
    let all = [&["trail", "search", "--kind", "operation", "--json"], arguments].concat();
    let found = gateway.cli_json(&all).expect("a search");
    found.iter().map(|entry| entry["index"].as_u64().expect("an index")).collect()
}

#[test]
fn row_23_a_search_is_in_the_trail_and_sees_all_of_it() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .toml(PHI)
        .role("doctor", HOSPITAL, "read = [\"public.*\"]\nwrite = [\"public.notes\"]\nunmask = [\"*\"]")
        .person("dora", &["doctor"])
        .person("bert", &["billing"])
        .start()
        .expect("it starts");
    let dora = gateway.conninfo("dora", HOSPITAL).expect("a person");
    let bert = gateway.conninfo("bert", HOSPITAL).expect("a person");
    answer(&dora, "select name from patients where id = 7");
    answer(&dora, "select id, name from patients where id between 5 and 30");
    answer(&dora, "select body from notes where patient_id = 7");
    answer(&dora, "update notes set body = 'seen' where patient_id = 8");
    stage::refused(&bert, "select name from patients where id = 7");

    let questions: [&[&str]; 7] = [
        &["--patient", "7"],
        &["--patient", "7", "--patient", "8", "--person", "dora"],
        &["--relation", "public.notes"],
        &["--decision", "deny"],
        &["--action", "write"],
        &["--rows-min", "20", "--unmasked"],
        &["--person", "nobody"],
    ];
    let before = questions.map(|question| found(&gateway, question));
    // Three by the doctor and the one that was refused; of the two patients, the change is one more.
    assert_eq!(before.each_ref().map(Vec::len)[..2], [4, 4]);
    assert!(before[6].is_empty());

    // Archived in small files, then merged; the answers stay.
    gateway.cli(&["trail", "archive", "--all", "--entries-max", "10"]).expect("archived");
    let archived = questions.map(|question| found(&gateway, question));
    assert_eq!(archived, before);
    answer(&dora, "select name from patients where id = 7");
    let merged = gateway.cli_json(&["trail", "archive", "--all", "--compact", "--json"]).expect("archived");
    assert_eq!(merged[0]["files"], 1, "{merged:?}");
    assert_eq!(found(&gateway, &["--patient", "7"]).len(), before[0].len() + 1);
    assert_eq!(questions.map(|question| found(&gateway, question))[1..].len(), 6);
    let counted = gateway.cli_json(&[
        "trail",
        "sql",
        "SELECT count(*) AS n FROM events WHERE part = 0 AND kind = 'operation'",
        "--json",
    ]);
    let all = found(&gateway, &[]).len();
    assert_eq!(counted.expect("an answer")[0]["n"], all);

    searches_are_recorded(&gateway);
    an_answer_is_proven(&gateway);
    assert_eq!(stage::verify(&gateway, None, &[]).0, Some(0));
}

/// Each search is an entry that says what was asked, and names the patient as accesses do.
fn searches_are_recorded(gateway: &Gateway) {
    let searches =
        gateway.cli_json(&["trail", "search", "--kind", "trail-viewed", "--json"]).expect("a search");
    let said =
        |text: &str| searches.iter().filter(|entry| stage::text(entry, "detail").contains(text)).count();
    assert!(said("public.notes") >= 2);
    assert!(said("of a patient") >= 2);
    assert!(said("sql SELECT count(*)") == 1);
    assert!(searches.iter().all(|entry| stage::text(entry, "person_name").starts_with("os:")));
    let of_the_patient =
        gateway.cli_json(&["trail", "search", "--kind", "trail-viewed", "--patient", "7", "--json"]);
    assert!(of_the_patient.expect("a search").len() >= 4);
}

/// An answer holds on its own; one from which something was taken does not, where the trail is at hand.
fn an_answer_is_proven(gateway: &Gateway) {
    let folder = gateway.folder().join("answer");
    let shown = folder.display().to_string();
    gateway
        .cli(&["trail", "search", "--patient", "7", "--kind", "operation", "--prove", &shown])
        .expect("an answer");
    let verify = |more: &[&str]| {
        let arguments = [&["verify-answer", &shown, "--json"], more].concat();
        let output = gateway.cli_output(&arguments).expect("verify-answer");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let alone = verify(&[]);
    assert_eq!((&alone["holds"], &alone["complete"]), (&true.into(), &false.into()), "{alone}");
    let whole = verify(&["--own"]);
    assert_eq!((&whole["holds"], &whole["complete"]), (&true.into(), &true.into()), "{whole}");

    let file = folder.join("answer.json");
    let text = std::fs::read_to_string(&file).expect("the answer");
    let mut answer: Value = serde_json::from_str(&text).expect("JSON");
    let entries = answer["entries"].as_array_mut().expect("entries");
    let taken = entries.remove(1);
    std::fs::write(&file, answer.to_string()).expect("written");
    assert_eq!(verify(&[])["holds"], true, "without the trail nobody can tell");
    let found = verify(&["--own"]);
    assert_eq!(found["holds"], false);
    assert!(stage::text(&found, "problem").contains(&taken["index"].to_string()), "{found}");

    let altered = text.replacen("\"time_us\": 1", "\"time_us\": 2", 1);
    std::fs::write(&file, altered).expect("written");
    assert_eq!(verify(&[])["holds"], false);
}
