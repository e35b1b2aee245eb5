//! Whose rows each kind of statement is found to be about.

use super::super::plan::Protection;
use super::*;
use crate::protocol::postgres::sql::inspect;
use crate::protocol::postgres::sql::lineage::tests::FOLLOWING;
use crate::protocol::postgres::sql::tests::catalogue_of_hospital;

const INT4: (u32, i32) = (23, -1);

/// Patients are known by `patients.id` and `encounters.patient_id`; `public.settings` holds something of them without
/// saying of whom.
fn protection() -> Protection {
    let mut protection = Protection::default();
    for column in [Column { relation: 20001, number: 1 }, Column { relation: 20002, number: 2 }] {
        protection.patients.columns.insert(column);
        protection.types.insert(column, INT4);
        protection.patients.naming.insert(column.relation);
    }
    protection.patients.bearing.extend([20001, 20002, 20004]);
    protection
}

fn concern_with(text: &str, parameters: Parameters<'_>) -> Concern {
    let inspection = inspect(text, &catalogue_of_hospital(), &FOLLOWING).unwrap();
    let [lineage] = &*inspection.lineage else { panic!("not one statement: {text}") };
    protection().concern(lineage, parameters)
}

fn concern(text: &str) -> (Reach, Vec<String>) {
    let Concern { reach, named, outputs: _, runs: _, shifts: _ } =
        concern_with(text, Parameters { wire: &[], types: &[] });
    (reach, named.iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect())
}

#[track_caller]
fn check(cases: &[(&str, Reach, &[&str])]) {
    for (text, reach, named) in cases {
        let named = named.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(concern(text), (*reach, named), "{text}");
    }
}

#[test]
fn the_text_names_a_patient_for_every_row() {
    check(&[
        ("SELECT name FROM patients WHERE id = 17", Reach::Text, &["17"]),
        ("SELECT name::int FROM patients WHERE id = 17", Reach::Text, &["17"]),
        ("SELECT name FROM patients WHERE '17' = id AND born > now()", Reach::Text, &["17"]),
        ("SELECT name FROM patients WHERE id = 17::bigint", Reach::Text, &["17"]),
        ("SELECT name FROM patients WHERE id IN (17, 4)", Reach::Text, &["17", "4"]),
        ("SELECT name FROM patients WHERE id = ANY (ARRAY[17, 4])", Reach::Text, &["17", "4"]),
        ("SELECT name FROM patients WHERE id = ANY ('{4,17,NULL}')", Reach::Text, &["17", "4"]),
        ("SELECT name FROM patients WHERE id = ANY ('{4}'::bigint[])", Reach::Text, &["4"]),
        ("SELECT name FROM patients WHERE id = ANY ('{}')", Reach::Text, &[]),
        ("SELECT name FROM patients WHERE id = '17'::\"char\"", Reach::Unknown, &[]),
        ("SELECT name FROM patients WHERE id = ANY ('{10}'::bit[])", Reach::Unknown, &[]),
        ("SELECT name FROM patients WHERE id::text = '17'", Reach::Text, &["17"]),
        ("SELECT name FROM patients WHERE '17'::text = id::varchar", Reach::Text, &["17"]),
        ("SELECT count(*) FROM encounters WHERE patient_id = 17", Reach::Text, &["17"]),
        ("SELECT note FROM (SELECT * FROM encounters WHERE patient_id = 17) e", Reach::Text, &["17"]),
        (
            "WITH e AS (SELECT * FROM encounters WHERE patient_id = 17) SELECT note FROM e",
            Reach::Text,
            &["17"],
        ),
        (
            "SELECT p.name, e.note FROM patients p JOIN encounters e ON e.patient_id = p.id WHERE p.id = 17",
            Reach::Text,
            &["17"],
        ),
        (
            "SELECT p.name, e.note FROM patients p LEFT JOIN encounters e ON e.patient_id = p.id WHERE p.id = 17",
            Reach::Text,
            &["17"],
        ),
        (
            "SELECT name FROM patients p WHERE id = 17 AND EXISTS (SELECT FROM encounters e WHERE e.patient_id = p.id)",
            Reach::Text,
            &["17"],
        ),
        ("UPDATE patients SET name = 'x' WHERE id = 17", Reach::Text, &["17"]),
        ("DELETE FROM encounters WHERE patient_id = 17", Reach::Text, &["17"]),
        ("INSERT INTO encounters (patient_id, ward) VALUES (17, 'a'), (18, 'b')", Reach::Text, &["17", "18"]),
        (
            "SELECT note FROM encounters, public.settings WHERE patient_id = 17 AND label = ward",
            Reach::Text,
            &["17"],
        ),
    ]);
}

#[test]
fn each_row_names_its_own() {
    check(&[
        ("SELECT * FROM patients", Reach::Rows, &[]),
        ("SELECT patient_id, count(*) FROM encounters GROUP BY patient_id", Reach::Rows, &[]),
        ("SELECT who FROM people", Reach::Unknown, &[]),
        ("SELECT id, who FROM people", Reach::Rows, &[]),
        (
            "SELECT p.id, e.note FROM patients p LEFT JOIN encounters e ON e.patient_id = p.id",
            Reach::Rows,
            &[],
        ),
        ("SELECT id FROM patients WHERE id = 17 OR name = 'x'", Reach::Rows, &[]),
        ("UPDATE patients SET name = 'x' RETURNING id", Reach::Rows, &[]),
        ("COPY patients TO STDOUT", Reach::Rows, &[]),
        ("COPY (SELECT note, patient_id FROM encounters) TO STDOUT (FORMAT csv)", Reach::Rows, &[]),
    ]);
    let found = concern_with("SELECT 1, id, name FROM patients", Parameters { wire: &[], types: &[] });
    assert_eq!(*found.outputs, [1]);
}

#[test]
fn what_is_not_tied_to_a_patient_is_not_known() {
    for text in [
        "SELECT count(*) FROM patients",
        "SELECT name FROM patients WHERE id > 17",
        "SELECT name FROM patients WHERE NOT id = 17",
        "SELECT name FROM patients WHERE id <> ANY ('{17}')",
        "SELECT name FROM patients WHERE id = ALL ('{17}')",
        "SELECT name FROM patients WHERE id = ANY (ARRAY[17, length(name)])",
        "SELECT name FROM patients WHERE id = ANY (SELECT patient_id FROM encounters)",
        // No row is written so, but nobody is named for a row that is not there.
        "SELECT name FROM patients WHERE id::text = '017'",
        "SELECT name FROM patients WHERE id::text = '17' OR name = 'x'",
        "SELECT name FROM patients WHERE id::varchar(1) = '1'",
        "SELECT name FROM patients WHERE (id + 1)::text = '17'",
        "SELECT name FROM patients WHERE id = 17 OR name = 'x'",
        "SELECT id::text || name FROM patients",
        "SELECT reveal(1)",
        "DO 'begin end'",
        "COPY patients (name) TO STDOUT",
        "COPY patients TO STDOUT (ENCODING 'latin1')",
        "COPY encounters FROM STDIN",
        "SELECT label FROM public.settings",
        // One beside the patient that is named.
        "SELECT a.id, b.name FROM patients a, patients b",
        "SELECT b.name FROM patients a, patients b WHERE a.id = 17",
        "SELECT e.note FROM patients p, encounters e WHERE p.id = 17",
        "SELECT note FROM encounters WHERE patient_id = 17 UNION ALL SELECT note FROM encounters",
        "WITH p AS (SELECT * FROM patients) SELECT b.name FROM p a, p b WHERE a.id = 17",
        "SELECT note FROM encounters WHERE ward IN (SELECT ward FROM encounters WHERE patient_id = 17)",
        // The condition is one on other rows than those shown.
        "SELECT (SELECT 1 WHERE p.id = 17), name FROM patients p",
        "SELECT p.name FROM patients p LEFT JOIN encounters e ON p.id = 17",
        "SELECT p.name FROM patients p LEFT JOIN encounters e ON e.patient_id = p.id AND e.patient_id = 17",
        "SELECT p.name FROM patients p FULL JOIN encounters e ON e.patient_id = p.id WHERE e.ward = 'a'",
        "SELECT p.name, x.* FROM patients p LEFT JOIN LATERAL (SELECT 1 WHERE p.id = 17) x ON true",
        "INSERT INTO patients (name) VALUES ('x')",
        // A row shows what is in others, or what was another's.
        "SELECT id, string_agg(name, ',') OVER () FROM patients",
        "SELECT * FROM (SELECT id, lag(name) OVER w FROM patients WINDOW w AS (ORDER BY born)) x WHERE id = 17",
        "UPDATE encounters SET patient_id = 18 RETURNING patient_id, note",
        "INSERT INTO encounters VALUES (1, 17, 'a', 'b') ON CONFLICT (id) DO UPDATE SET ward = 'c' RETURNING note",
        "EXPLAIN ANALYZE SELECT 1 FROM patients WHERE name = 'x'",
        "INSERT INTO encounters (patient_id) SELECT id FROM patients",
        "UPDATE encounters SET patient_id = 18 WHERE ward = 'a'",
    ] {
        assert_eq!(concern(text).0, Reach::Unknown, "{text}");
    }
}

#[test]
fn nobody_is_meant_where_nothing_of_patients_is_read() {
    for text in [
        "SELECT 1",
        "SELECT relname FROM pg_class",
        "SET a.b = 'c'",
        "EXPLAIN SELECT * FROM patients",
        "BEGIN",
    ] {
        assert_eq!(concern(text), (Reach::Nobody, Vec::new()), "{text}");
    }
}

#[test]
fn a_row_of_several_patients_is_known_when_all_of_them_are() {
    let concern = |text: &str| {
        let inspection = inspect(text, &catalogue_of_hospital(), &FOLLOWING).unwrap();
        let mut protection = protection();
        // As if each encounter had a donor, too.
        let donor = Column { relation: 20002, number: 1 };
        protection.patients.columns.insert(donor);
        protection.types.insert(donor, INT4);
        protection.concern(&inspection.lineage[0], Parameters { wire: &[], types: &[] }).reach
    };
    assert_eq!(concern("SELECT note FROM encounters WHERE patient_id = 17"), Reach::Unknown);
    assert_eq!(concern("SELECT patient_id, note FROM encounters"), Reach::Unknown);
    assert_eq!(concern("SELECT id, note FROM encounters WHERE patient_id = 17"), Reach::Rows);
    assert_eq!(concern("SELECT note FROM encounters WHERE patient_id = 17 AND id = 4"), Reach::Text);
}

#[test]
fn what_is_not_followed_is_told_apart_from_what_is_not_known() {
    let runs = |text: &str| concern_with(text, Parameters { wire: &[], types: &[] }).runs;
    for text in
        ["SELECT reveal(1)", "DO 'begin end'", "CALL x()", "EXPLAIN ANALYZE SELECT name FROM patients"]
    {
        assert!(runs(text), "{text}");
    }
    for text in ["SELECT name FROM patients", "EXPLAIN SELECT name FROM patients", "CREATE TABLE x (a int)"] {
        assert!(!runs(text), "{text}");
    }
}

#[test]
fn who_a_value_is_written_to_is_named_as_well() {
    assert_eq!(concern("UPDATE encounters SET patient_id = 18 WHERE patient_id = 17").1, ["17", "18"]);
}

#[test]
fn an_identifier_has_one_form() {
    assert_eq!(concern("SELECT name FROM patients WHERE id = '0017'").1, ["17"]);
    // What has none is not known, and does not count.
    assert_eq!(concern("SELECT name FROM patients WHERE id = 17.5"), (Reach::Unknown, Vec::new()));
    assert_eq!(
        concern("SELECT name FROM patients WHERE id IN (17, 17.5)"),
        (Reach::Unknown, vec!["17".to_owned()])
    );
    assert_eq!(
        concern("SELECT name FROM patients WHERE id = ANY ('{17,x}')"),
        (Reach::Unknown, vec!["17".to_owned()])
    );
}

#[test]
fn parameters_are_read_in_both_formats() {
    let text = "SELECT name FROM patients WHERE id = $2";
    let one = |formats: &[u8], values: &[u8]| [formats, &[0, 2], values].concat();
    let text_format = one(&[0, 0], b"\0\0\0\x01x\0\0\0\x0217");
    let binary = one(&[0, 1, 0, 1], b"\0\0\0\x01x\0\0\0\x04\0\0\0\x11");
    let long = one(&[0, 2, 0, 0, 0, 1], b"\0\0\0\x01x\0\0\0\x08\0\0\0\0\0\0\0\x11");
    let null = one(&[0, 0], b"\0\0\0\x01x\xff\xff\xff\xff");
    for (wire, types, named) in [
        (&text_format, &[][..], Some("17")),
        (&binary, &[], Some("17")),
        (&binary, &[25, 23], Some("17")),
        (&text_format, &[25, 25], Some("17")),
        // A bit string or a "char" that is written 17 is another number.
        (&text_format, &[25, 1560], None),
        (&text_format, &[25, 18], None),
        (&long, &[0, 20], Some("17")),
        // Eight bytes where four are due, and no word of why.
        (&long, &[], None),
        (&null, &[], None),
        (&Vec::new(), &[], None),
    ] {
        let Concern { reach, named: found, outputs: _, runs: _, shifts: _ } =
            concern_with(text, Parameters { wire, types });
        let expected = if named.is_some() { Reach::Text } else { Reach::Unknown };
        assert_eq!(reach, expected, "{wire:?} {types:?}");
        let found: Vec<_> = found.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(found, Vec::from_iter(named), "{wire:?} {types:?}");
    }
}

#[test]
fn arrays_of_parameters_are_read_in_both_formats() {
    let text = "SELECT name FROM patients WHERE id = ANY ($1)";
    let one = |format: u8, value: &[u8]| {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        [&[0, 1, 0, format, 0, 1], &length[..], value].concat()
    };
    // One dimension, no NULL, of int8: 17 and 4.
    let elements = b"\0\0\0\x08\0\0\0\0\0\0\0\x11\0\0\0\x08\0\0\0\0\0\0\0\x04";
    let binary = [b"\0\0\0\x01\0\0\0\0\0\0\0\x14\0\0\0\x02\0\0\0\x01", &elements[..]].concat();
    let floats = [b"\0\0\0\x01\0\0\0\0\0\0\x02\xbd\0\0\0\x02\0\0\0\x01", &elements[..]].concat();
    for (wire, named) in [
        (one(0, b"{17,4}"), &["17", "4"][..]),
        (one(1, &binary), &["17", "4"]),
        // Of float8, whose form is not one.
        (one(1, &floats), &[]),
        (one(0, b"{17"), &[]),
    ] {
        let Concern { reach, named: found, .. } = concern_with(text, Parameters { wire: &wire, types: &[] });
        let known = if named.is_empty() { Reach::Unknown } else { Reach::Text };
        assert_eq!(reach, known, "{wire:?}");
        let found: Vec<_> = found.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(found, named, "{wire:?}");
    }
}

#[test]
fn dates_are_shifted_only_where_everything_in_a_row_is_of_one_patient() {
    for (text, shifts) in [
        ("SELECT born, id FROM patients", true),
        ("SELECT p.born, e.patient_id FROM patients p JOIN encounters e ON e.patient_id = p.id", true),
        ("SELECT born FROM patients WHERE id = 17", true),
        // Another's identifier beside the date.
        ("SELECT p.born, q.id FROM patients p, patients q WHERE p.id = 17", false),
        ("SELECT p.born, e.patient_id FROM patients p, encounters e", false),
        ("SELECT p.born, p.id, e.patient_id FROM patients p, encounters e", false),
        ("SELECT (SELECT born FROM patients WHERE id = 17), id FROM patients", false),
        ("WITH p AS (SELECT id, born FROM patients) SELECT a.born, b.id FROM p a, p b", false),
        ("SELECT born, (SELECT 17) AS id FROM patients", false),
        ("SELECT born FROM patients WHERE id IN (17, 18)", false),
        ("SELECT born FROM patients", false),
        // A date that is given, or known because it is given now.
        ("INSERT INTO encounters (patient_id) VALUES (17) RETURNING id", false),
        ("UPDATE encounters SET ward = 'x' WHERE patient_id = 17 RETURNING patient_id", false),
    ] {
        let concern = concern_with(text, Parameters { wire: &[], types: &[] });
        assert_eq!(concern.shifts, shifts, "{text}");
    }
}
