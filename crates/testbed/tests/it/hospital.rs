//! The same options give the same bytes, and the bytes make a sound database.

use testbed::hospital::{self, Options, Size, Table};
use testbed::postgres::{self, Cluster};

/// SHA-256 of all tables' rows, one table after another, for 1,000 patients of seed 1. It changes only when the
/// generator is meant to.
const DIGEST: &str = "e89170079d6fa36ae211d3aad724673d04018dd3061158b15b2498d429e588ae";

fn rows(options: Options) -> (Size, Vec<Vec<u8>>) {
    hospital::generate(options, vec![Vec::new(); Table::ALL.len()], |_| ()).expect("a size in range")
}

fn digest(tables: &[Vec<u8>]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    tables.iter().for_each(|table| context.update(table));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (_, tables) = rows(Options { patients: 1_000, seed: 1 });
    assert_eq!(digest(&tables), DIGEST);
    let (_, other) = rows(Options { patients: 1_000, seed: 2 });
    assert_ne!(digest(&other), DIGEST);
}

#[test]
fn a_loaded_hospital_is_sound() {
    let cluster = Cluster::start(postgres::Options::default()).unwrap();
    cluster.create_database("hospital").unwrap();
    let size = hospital::load(
        Options { patients: 2_000, seed: 7 },
        &cluster.conninfo().with_dbname("hospital"),
        |_| (),
    )
    .unwrap();
    for table in Table::ALL {
        let count = cluster.psql_in("hospital", &format!("select count(*) from {}", table.name())).unwrap();
        assert_eq!(count, size.of(table).to_string(), "{}", table.name());
        assert!(size.of(table) > 20, "{} has too few rows to try anything on", table.name());
    }
    let keys = "select contype, count(*) from pg_constraint where connamespace = 'public'::regnamespace group by 1 order by 1";
    assert_eq!(cluster.psql_in("hospital", keys).unwrap(), "f|26\np|12");
    // What keys do not say.
    for (what, sql) in UNSOUND {
        let count = cluster.psql_in("hospital", &format!("select count(*) from {sql}")).unwrap();
        assert_eq!(count, "0", "{what}");
    }
    for (what, sql) in PRESENT {
        let count = cluster.psql_in("hospital", &format!("select exists (select from {sql})")).unwrap();
        assert_eq!(count, "t", "{what}");
    }
}

const UNSOUND: [(&str, &str); 9] = [
    (
        "care before birth",
        "encounters e join patients p on p.id = patient_id where started_at::date < birth_date",
    ),
    (
        "care after death",
        "encounters e join patients p on p.id = patient_id where started_at::date > deceased_on",
    ),
    ("discharge before admission", "admissions where discharged_at < admitted_at"),
    ("end before start", "encounters where ended_at < started_at"),
    (
        "somebody else's admission",
        "encounters e join admissions a on a.id = admission_id where a.patient_id <> e.patient_id",
    ),
    (
        "somebody else's note",
        "notes n join encounters e on e.id = encounter_id where n.patient_id <> e.patient_id",
    ),
    (
        "a doctor of another department",
        "encounters e join staff s on s.id = staff_id where s.department_id <> e.department_id",
    ),
    (
        "a doctor outside the care team",
        "encounters e where not exists (select from care_teams c where c.patient_id = e.patient_id and c.staff_id = e.staff_id)",
    ),
    ("a blank left in a note", "notes where body ~ '[{][a-z_]+[}]'"),
];

const PRESENT: [(&str, &str); 6] = [
    (
        "employees among the patients",
        "patients p join staff s on s.id = employee_staff_id and s.last_name = p.last_name",
    ),
    ("families", "patients group by household_id having count(*) > 3"),
    (
        "notes that name the patient",
        "notes n join patients p on p.id = patient_id where body like '%' || last_name || '%'",
    ),
    (
        "notes with the patient's number",
        "notes n join patients p on p.id = patient_id where body like '%' || mrn || '%'",
    ),
    (
        "notes that name a relative",
        "notes n join patients p on p.id = n.patient_id join patients r on r.household_id = p.household_id and r.id <> p.id where body like '%' || r.first_name || '%'",
    ),
    ("people who died", "patients where deceased_on is not null"),
];
