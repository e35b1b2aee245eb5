//! What drivers make of masked values: every type that can be masked, by every operator that suits it, decodes in every
//! driver as its own type, in text and in binary.
//!
//! The same column is decoded directly first: what a driver cannot decode by itself says nothing about masking.
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use testbed::Conninfo;
use testbed::clients::{self, Check, Client};
use testbed::gateway::Gateway;
use testbed::postgres::{Cluster, Options, Version};

const DATABASE: &str = "hospital";

/// What a masked value is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Another value of the type.
    Other,
    /// The same constant for all values.
    Constant,
    /// NULL.
    Null,
}

use Expected::{Constant, Null, Other};

/// A type, two values of it, the class and operator, and what comes.
#[rustfmt::skip]
const COLUMNS: [(&str, &str, &str, &str, &str, Expected); 92] = [
    ("bool", "true", "false", "unique_code", "redact", Constant),
    ("int2", "17", "-4", "unique_code", "redact", Constant),
    ("int4", "17", "-40000", "unique_code", "redact", Constant),
    ("int8", "17", "-4000000000", "unique_code", "redact", Constant),
    ("oid", "17", "18", "unique_code", "redact", Constant),
    ("float4", "1.5", "-2.25", "unique_code", "redact", Constant),
    ("float8", "1.5", "NaN", "unique_code", "redact", Constant),
    ("numeric", "17.25", "-1e30", "unique_code", "redact", Constant),
    ("numeric(10,2)", "17.25", "-3.10", "unique_code", "redact", Constant),
    ("text", "Zofia", "a", "name", "redact", Constant),
    ("varchar(20)", "Zofia", "a", "name", "redact", Constant),
    ("varchar(3)", "Zo", "a", "name", "redact", Constant),
    ("char(10)", "Zofia", "a", "name", "redact", Constant),
    ("name", "Zofia", "a", "name", "redact", Constant),
    ("\"char\"", "Z", "a", "name", "redact", Constant),
    ("bytea", "\\x00ff", "\\x01", "photo", "redact", Constant),
    ("date", "1980-03-15", "2001-12-31", "date", "redact", Constant),
    ("time", "10:20:30", "11:00:00.5", "unique_code", "redact", Constant),
    ("timetz", "10:20:30+02", "11:00:00+00", "unique_code", "redact", Constant),
    ("timestamp", "1980-03-15 10:20:30", "2001-12-31 01:02:03.456", "date", "redact", Constant),
    ("timestamptz", "1980-03-15 10:20:30+02", "2001-12-31 01:02:03.456+00", "date", "redact", Constant),
    ("interval", "1 day 2 hours", "3 years", "unique_code", "redact", Constant),
    ("uuid", "6f1c2a34-0000-4000-8000-000000000001", "7f1c2a34-0000-4000-8000-000000000002", "unique_code", "redact", Constant),
    ("inet", "192.0.2.17", "2001:db8::7", "ip", "redact", Constant),
    ("cidr", "192.0.2.0/24", "2001:db8::/32", "ip", "redact", Constant),
    ("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:04", "device", "redact", Constant),
    ("macaddr8", "08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06", "device", "redact", Constant),
    ("json", "{\"a\": [1, true, \"x\"]}", "[]", "free_text", "redact", Constant),
    ("jsonb", "{\"a\": [1, true, \"x\"]}", "[]", "free_text", "redact", Constant),
    ("xml", "<a>Zofia</a>", "<b/>", "free_text", "redact", Constant),
    ("bit(8)", "10101010", "00000001", "unique_code", "redact", Constant),
    ("varbit", "101", "00000001", "unique_code", "redact", Constant),
    ("urgency", "low", "high", "unique_code", "redact", Null),
    ("contact", "(1,x)", "(2,y)", "phone", "redact", Null),
    ("social", "111-22-3333", "111-22-3334", "ssn", "redact", Constant),
    ("point", "(1,2)", "(3,4)", "geographic", "redact", Null),
    ("money", "12.50", "13.50", "account", "redact", Null),
    ("tsvector", "a b", "c", "free_text", "redact", Null),
    ("bool[]", "{t,f}", "{t}", "unique_code", "redact", Constant),
    ("int4[]", "{1,NULL,3}", "{4}", "unique_code", "redact", Constant),
    ("text[]", "{Zofia,NULL}", "{a}", "name", "redact", Constant),
    ("numeric[]", "{1.5}", "{2,3}", "unique_code", "redact", Constant),
    ("date[]", "{1980-03-15}", "{2001-12-31,1980-03-15}", "date", "redact", Constant),
    ("uuid[]", "{6f1c2a34-0000-4000-8000-000000000001}", "{7f1c2a34-0000-4000-8000-000000000001}", "unique_code", "redact", Constant),
    ("jsonb[]", "{\"[]\"}", "{\"{}\"}", "free_text", "redact", Constant),
    ("int4range", "[1,5)", "[7,9)", "unique_code", "redact", Constant),
    ("int8range", "[1,5)", "[7,9)", "unique_code", "redact", Constant),
    ("numrange", "[1.5,5)", "(7,9]", "unique_code", "redact", Constant),
    ("daterange", "[1980-03-15,1981-01-01)", "[2001-12-31,2002-01-01)", "date", "redact", Constant),
    ("tsrange", "[1980-03-15 10:00,1981-01-01)", "[2001-12-31,2002-01-01)", "date", "redact", Constant),
    ("tstzrange", "[1980-03-15 10:00+00,1981-01-01)", "[2001-12-31,2002-01-01)", "date", "redact", Constant),
    ("int4multirange", "{[1,5),[7,9)}", "{[2,3)}", "unique_code", "redact", Constant),
    ("datemultirange", "{[1980-03-15,1981-01-01)}", "{[2001-12-31,2002-01-01)}", "date", "redact", Constant),
    ("text", "MRN-4711", "MRN-4712", "mrn", "token", Other),
    ("varchar(30)", "MRN-4711", "MRN-4712", "mrn", "token", Other),
    ("char(16)", "MRN-4711", "MRN-4712", "mrn", "token", Other),
    ("int8", "4711", "4712", "patient_id", "token", Other),
    ("uuid", "6f1c2a34-0000-4000-8000-000000000001", "7f1c2a34-0000-4000-8000-000000000002", "patient_id", "token", Other),
    ("bytea", "\\x00ff", "\\x01", "mrn", "token", Other),
    ("json", "{\"a\": [1, true, \"x\"]}", "{\"b\": 1}", "mrn", "token", Other),
    ("jsonb", "{\"a\": [1, true, \"x\"]}", "{\"b\": 1}", "mrn", "token", Other),
    ("text[]", "{MRN-4711,NULL}", "{MRN-4712}", "mrn", "token", Other),
    ("int8[]", "{4711,NULL}", "{4712}", "patient_id", "token", Other),
    ("text", "MRN-4711", "MRN-4712", "mrn", "hash", Other),
    ("bytea", "\\x00ff", "\\x01", "mrn", "hash", Other),
    ("text", "111-22-3333", "111-22-4444", "ssn", "partial(last=4)", Other),
    ("varchar(11)", "111-22-3333", "111-22-4444", "ssn", "partial(last=2)", Other),
    ("text", "111-22-3333", "111-22-4444", "ssn", "format_preserving(alphabet=digits, min=9)", Other),
    ("int4", "4711223", "4711224", "patient_id", "format_preserving", Other),
    ("int8", "4711223", "-4711224", "patient_id", "format_preserving", Other),
    ("date", "1980-03-15", "2001-12-31", "date", "date_shift", Other),
    ("timestamp", "1980-03-15 10:20:30", "2001-12-31 01:02:03.456", "date", "date_shift", Other),
    ("timestamptz", "1980-03-15 10:20:30+02", "2001-12-31 01:02:03.456+00", "date", "date_shift", Other),
    ("date", "1980-03-15", "2001-12-31", "date", "year", Other),
    ("timestamp", "1980-03-15 10:20:30", "2001-12-31 01:02:03.456", "date", "year", Other),
    ("timestamptz", "1980-03-15 10:20:30+02", "2001-12-31 01:02:03.456+00", "date", "year", Other),
    ("text", "1980-03-15", "2001-12-31", "date", "year", Other),
    ("daterange", "[1980-03-15,1982-05-01)", "[2001-12-31,2003-04-01)", "date", "year", Other),
    ("date[]", "{1980-03-15,NULL}", "{2001-12-31}", "date", "year", Other),
    ("text", "02139-1234", "60614", "geographic", "zip3", Other),
    ("int4", "93", "104", "age", "age", Other),
    ("numeric", "93.5", "104", "age", "age", Other),
    ("text", "93", "104", "age", "age", Other),
    ("int4", "47", "112", "age", "bucket(size=10)", Other),
    ("numeric(6,2)", "47.50", "112.75", "age", "bucket(size=10)", Other),
    ("int4range", "[41,59)", "[72,93)", "age", "bucket(size=10)", Other),
    ("text", "zofia@example.org", "a@example.net", "email", "email_domain", Other),
    ("inet", "192.0.2.17", "2001:db8:1:2::7", "ip", "ip_prefix", Other),
    ("inet[]", "{192.0.2.17}", "{198.51.100.9,NULL}", "ip", "ip_prefix", Other),
    ("text", "192.0.2.17", "2001:db8:1:2::7", "ip", "ip_prefix", Other),
    ("text", "Zofia", "a", "name", "null", Null),
    ("int4", "17", "18", "unique_code", "null", Null),
];

/// Returns the name of a column, which a check is named after.
fn name(at: usize) -> String {
    let (ty, _, _, _, operator, _) = COLUMNS[at];
    let letters = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("c{at}_{}_{}", letters(ty), letters(operator.split('(').next().expect("a name")))
}

fn cluster() -> Cluster {
    let options = Options { version: Some(Version::V15), tls: true, ..Options::default() };
    let cluster = Cluster::start(options).expect("PostgreSQL 15");
    cluster.create_database(DATABASE).expect("a database");
    let types = "create type urgency as enum ('low', 'high'); create type contact as (number int, kind text);
        create domain social as text check (value ~ '^[0-9-]*$')";
    let mut columns = String::from("id int primary key");
    let mut values = [String::from("1"), String::from("2"), String::from("3")];
    for (at, (ty, one, other, _, _, _)) in COLUMNS.iter().enumerate() {
        let _ = write!(columns, ", {} {ty}", name(at));
        let quoted = |value: &str| format!(", '{}'", value.replace('\'', "''"));
        values[0] += &quoted(one);
        values[1] += &quoted(other);
        values[2] += ", null";
    }
    let rows = values.map(|row| format!("({row})")).join(", ");
    let table = format!("{types}; create table typed ({columns}); insert into typed values {rows}");
    cluster.psql_in(DATABASE, &table).expect("a table");
    cluster
}

fn gateway(cluster: &Cluster) -> Gateway {
    let mut phi = String::from("[resource.hospital.phi]\nclean = [\"public.typed.id\"]\n");
    phi += "patients = [\"public.typed.id\"]\n";
    phi += "[resource.hospital.phi.columns]\n";
    for (at, (_, _, _, class, operator, _)) in COLUMNS.iter().enumerate() {
        let rule = format!("{{ class = \"{class}\", operator = \"{operator}\" }}");
        let _ = writeln!(phi, "\"public.typed.{}\" = {rule}", name(at));
    }
    let gateway = Gateway::builder().resource_of(DATABASE, cluster, DATABASE).toml(&phi);
    // asyncpg turns `jit` off and on again around its questions about types, with a parameter.
    let analyst = "read = [\"public.typed\"]\nexecute = [\"pg_catalog.set_config\"]";
    gateway.role("analyst", DATABASE, analyst).person("mia", &["analyst"]).start().expect("it starts")
}

/// Returns what is wrong with what a driver made of a masked column.
fn fault(direct: &Check, masked: &Check, expected: Expected) -> Option<String> {
    let values = |check: &Check| -> Result<Vec<Option<String>>, String> {
        let text = check.outcome.clone()?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    };
    // What the driver does not decode directly either says nothing.
    let plain = values(direct).ok()?;
    let got = match values(masked) {
        Ok(got) => got,
        Err(error) => return Some(error),
    };
    let held = match (expected, got.as_slice()) {
        (Null, [None, None, None]) => true,
        (Constant, [Some(one), Some(other), None]) => one == other,
        (Other, [Some(one), Some(other), None]) => {
            let [Some(first), Some(second), None] = plain.as_slice() else {
                return Some(format!("{plain:?}"));
            };
            one != first && other != second
        }
        _ => false,
    };
    (!held).then(|| format!("{got:?}, directly {plain:?}"))
}

fn check(client: Client) {
    let installed = clients::install(|line| println!("{line}"));
    let mine = installed.iter().find(|i| i.client == client).expect("every client is surveyed");
    assert!(mine.place.is_ok(), "{client}: {:?}", mine.place);
    let cluster = cluster();
    let gateway = gateway(&cluster);
    let statements: Vec<(String, String)> = (0..COLUMNS.len())
        .map(|at| {
            // Beside its patient, without whom it is not shown.
            let beside = if COLUMNS[at].4 == "date_shift" { ", id" } else { "" };
            (name(at), format!("select {}{beside} from typed order by id", name(at)))
        })
        .collect();
    let decode = |server: &Conninfo| clients::decode(client, server, &statements).expect("it runs");
    let direct = decode(&cluster.conninfo().with_dbname(DATABASE));
    let masked = decode(&gateway.conninfo("mia", DATABASE).expect("a person"));
    assert_eq!(direct.len(), masked.len());
    assert!(direct.len() >= COLUMNS.len());
    let mut faults = String::new();
    let mut decoded = 0;
    for (direct, masked) in direct.iter().zip(&masked) {
        let at =
            direct.name.trim_start_matches('c').split('_').next().and_then(|at| at.parse::<usize>().ok());
        let expected = COLUMNS[at.expect("a column's number")].5;
        decoded += usize::from(direct.outcome.is_ok());
        if let Some(fault) = fault(direct, masked, expected) {
            let _ = writeln!(faults, "{}: {fault}", direct.name);
        }
    }
    println!("{client}: {decoded} of {} decode directly", direct.len());
    assert!(faults.is_empty(), "{client}:\n{faults}");
    // Nearly all of them do, or the comparison says little.
    assert!(decoded * 10 >= direct.len() * 9, "{client} decodes {decoded} of {} directly", direct.len());
}

#[test]
fn psycopg_decodes_masked_text() {
    check(Client::Psycopg);
}

#[test]
fn psycopg_decodes_masked_binary() {
    check(Client::PsycopgBinary);
}

#[test]
fn asyncpg_decodes_masked_values() {
    check(Client::Asyncpg);
}

#[test]
fn jdbc_decodes_masked_values() {
    check(Client::Jdbc);
}

#[test]
fn node_postgres_decodes_masked_values() {
    check(Client::Node);
}

#[test]
fn tokio_postgres_decodes_masked_values() {
    check(Client::TokioPostgres);
}
