//! The list of fields against the documentation, and readings that need no process.

use std::fmt::Write as _;
use std::path::Path;

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
