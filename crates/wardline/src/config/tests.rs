//! The list of fields against the documentation, and readings that need no process.

use std::fmt::Write as _;
use std::path::Path;

use gateway::{CleanColumns, ColumnName, Rule};
use phi::{Class, Operator, Usage};

use super::{Certificate, Config, fields};

const DOCUMENT: &str = include_str!("../../../../docs/formats/config.md");

/// Returns the table as the documentation must hold it.
fn table() -> String {
    let mut table = String::from("| field | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for field in fields::FIELDS {
        writeln!(table, "| `{}` | {} | {} | {} |", field.path, field.form, field.default, field.about)
            .expect("writing to a string succeeds");
    }
    table
}

#[test]
fn every_field_is_documented_and_nothing_else() {
    let documented: String =
        DOCUMENT.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    if std::env::var_os("BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/config.md");
        std::fs::write(path, DOCUMENT.replace(&documented, &table())).expect("written");
        return;
    }
    assert_eq!(documented, table(), "docs/formats/config.md differs; `BLESS=1` writes its table anew");
}

fn loaded(text: &str) -> super::Loaded {
    Config::parse(Path::new("wardline.toml"), text)
}

#[test]
fn a_node_name_is_enough() {
    let config = loaded("node = \"gw1\"").config.expect("valid");
    assert_eq!(config.listener.address.to_string(), "127.0.0.1:6432");
    assert_eq!(config.listener.certificate, Certificate::SelfSigned);
    assert!(config.exceptions().is_empty());
}

#[test]
fn an_empty_section_has_the_same_defaults_as_none() {
    let without = loaded("node = \"gw1\"").config.expect("valid");
    let empty = loaded("node = \"gw1\"\n[listener.postgres]\n[sign_in]\n").config.expect("valid");
    assert_eq!(without.listener, empty.listener);
    assert_eq!(without.sign_in, empty.sign_in);
}

#[test]
fn weak_connections_are_told_at_each_start() {
    let config = loaded(
        "node = \"gw1\"\n[listener.postgres]\nplaintext = true\n\
         [resource.a]\nprotocol = \"postgres\"\nhost = \"h\"\n\
         tls = { mode = \"disable\", exception = \"same machine, it@example.org, until 2027\" }\n",
    )
    .config
    .expect("valid");
    assert_eq!(config.exceptions().len(), 2);
    assert!(config.exceptions()[1].contains("until 2027"));
}

const PROTECTED: &str = r#"node = "gw1"
[resource.hospital]
protocol = "postgres"
host = "h"
[resource.hospital.phi]
clean = ["public.encounters.id", "public.departments.*", "reference.*", 'a."b.c"."*"']
patients = ["public.patients.id"]
issuer = "clinic"
[resource.hospital.phi.columns]
"public.patients.ssn" = { class = "ssn", operator = "token", usage = "equality" }
"public.patients.born" = { class = "date" }
'public."Old.Patients".name' = { class = "name" }
[resource.hospital.phi.columns."public.patients.phone"]
class = "phone"
operator = "partial(last=2)"
[resource.open]
protocol = "postgres"
host = "h"
[resource.closed]
protocol = "postgres"
host = "h"
phi = {}
[[role.analyst.allow]]
resource = "hospital"
unmask = ["age", "date"]
"#;

fn column(schema: &str, relation: &str, column: &str) -> ColumnName {
    ColumnName { schema: schema.into(), relation: relation.into(), column: column.into() }
}

#[test]
fn protection_reads_as_it_is_written() {
    let config = loaded(PROTECTED).config.expect("valid");
    let protection = config.resources["hospital"].protection.as_ref().expect("protected");
    let rule = |class, operator, usage| Rule { class, operator, usage };
    let partial = Operator::Partial { first: 0, last: 2, min: 6 };
    assert_eq!(
        protection.columns,
        [
            (column("public", "Old.Patients", "name"), rule(Class::Name, Operator::Redact, Usage::None)),
            (column("public", "patients", "born"), rule(Class::Date, Operator::Year, Usage::None)),
            (column("public", "patients", "phone"), rule(Class::Phone, partial, Usage::None)),
            (column("public", "patients", "ssn"), rule(Class::Ssn, Operator::Token, Usage::Equality)),
        ]
    );
    assert_eq!(
        protection.clean,
        [
            CleanColumns::Column(column("public", "encounters", "id")),
            CleanColumns::Relation { schema: "public".into(), relation: "departments".into() },
            CleanColumns::Schema { schema: "reference".into() },
            CleanColumns::Column(column("a", "b.c", "*")),
        ]
    );
    assert_eq!(protection.patients, [column("public", "patients", "id")]);
    assert_eq!(protection.issuer.as_deref(), Some("clinic"));
    assert_eq!(config.roles[0].rules[0].unmask, ["age", "date"]);
}

#[test]
fn without_a_section_nothing_is_protected_and_with_an_empty_one_everything() {
    let config = loaded(PROTECTED).config.expect("valid");
    assert_eq!(config.resources["open"].protection, None);
    assert_eq!(config.resources["closed"].protection, Some(super::Protection::default()));
}

#[test]
fn a_patient_column_that_is_clean_is_worth_a_warning() {
    let text = PROTECTED.replace("\"reference.*\"", "\"public.patients.id\"");
    let problems = loaded(&text).problems.to_string();
    assert!(problems.contains("wardline.toml:7:13: warning:"), "{problems}");
    assert!(problems.contains("`public.patients.id` names patients and is clean"), "{problems}");
}

#[test]
fn the_documented_defaults_are_those_in_force() {
    let text = fields::FIELDS.iter().find(|field| field.path.ends_with(".operator")).expect("listed").default;
    for class in Class::ALL {
        let usual = Operator::usual(class).name();
        let told = text.contains(&format!("`{class}` `\"{usual}\"`"));
        assert_eq!(told, usual != "redact", "{class}");
    }
}

/// Returns the TOML blocks of the documentation.
fn examples() -> impl Iterator<Item = &'static str> {
    DOCUMENT.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

#[test]
fn the_documented_examples_are_valid() {
    let without_files = |text: &str| {
        let kept = |line: &&str| !line.starts_with("tls = ") && !line.starts_with("files = ");
        text.lines().filter(kept).map(|line| format!("{line}\n")).collect::<String>()
    };
    let resource = "node = \"gw1\"\n[resource.hospital]\nprotocol = \"postgres\"\nhost = \"h\"\n";
    let texts: Vec<String> = examples()
        .map(|text| if text.starts_with("node") { without_files(text) } else { format!("{resource}{text}") })
        .collect();
    assert_eq!(texts.len(), 2);
    for text in texts {
        let loaded = loaded(&text);
        assert!(loaded.problems.0.is_empty(), "{}\n{text}", loaded.problems);
        let protection = loaded.config.expect("valid").resources["hospital"].protection.clone();
        assert!(!protection.expect("protected").columns.is_empty());
    }
}

#[test]
fn places_of_copies_read_as_they_are_written() {
    let config = loaded("node = \"gw1\"\n[trail.store]\n[backup]\nto = \"shelf\"\n").config.expect("valid");
    assert_eq!(config.trail_store, super::TrailStore::default());
    assert_eq!(config.backup, Some(super::StorePlace::Folder("shelf".into())));
    let bucket =
        "node = \"gw1\"\n[trail.store]\nto = \"s3://trail/gw1\"\ncredentials = \"s3\"\nlocal_segments = 3\n";
    let config = loaded(bucket).config.expect("valid");
    assert_eq!(config.trail_store.local_segments, Some(3));
    let Some(super::StorePlace::Bucket { bucket, endpoint, .. }) = config.trail_store.place else {
        panic!("a bucket")
    };
    assert_eq!((bucket.name.as_str(), bucket.prefix.as_str()), ("trail", "gw1/"));
    assert_eq!(endpoint, "https://s3.us-east-1.amazonaws.com");
    for (text, said) in [
        ("[trail.store]\nto = \"s3://trail\"\n", "`trail.store.credentials` is missing"),
        ("[trail.store]\nto = \"shelf\"\nendpoint = \"https://h\"\n", "is for a bucket"),
        ("[backup]\nregion = \"x\"\n", "`backup.to` is missing"),
        (
            "[backup]\nto = \"s3://trail\"\ncredentials = \"s3\"\nendpoint = \"http://h\"\n",
            "in clear over a network",
        ),
        ("[backup]\nto = \"s3://Trail\"\ncredentials = \"s3\"\n", "is not `s3://BUCKET/PREFIX`"),
    ] {
        let problems = loaded(&format!("node = \"gw1\"\n{text}")).problems.to_string();
        assert!(problems.contains(said), "{text}: {problems}");
    }
}
