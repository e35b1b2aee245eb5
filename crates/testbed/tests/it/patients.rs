//! Who saw whom, held against the truth: a script of statements by fifty people, of which it is known whom each one is
//! about, and what `who-saw` answers for two hundred patients.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use serde_json::Value;
use testbed::gateway::Gateway;
use testbed::hospital::{self, Options as Size};
use testbed::postgres::{Cluster, Options};
use testbed::wire::{Message, Wire, front};

const HOSPITAL: &str = "hospital";
const PEOPLE: usize = 50;
const STATEMENTS_EACH: usize = 200;
const THREADS: usize = 5;
const PATIENTS: u64 = 1_000;
const ASKED: u64 = 200;

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.departments.*\", \"public.staff.*\"]\n\
    patients = [\"public.patients.id\", \"public.encounters.patient_id\", \"public.notes.patient_id\", \
    \"public.results.patient_id\", \"public.appointments.patient_id\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.id\" = { class = \"patient_id\", usage = \"result\" }\n\
    \"public.results.patient_id\" = { class = \"patient_id\", usage = \"result\" }\n\
    \"public.encounters.patient_id\" = { class = \"patient_id\", usage = \"result\" }\n\
    \"public.patients.last_name\" = { class = \"name\" }";

/// Numbers that follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn patient(&mut self) -> u64 {
        self.below(PATIENTS) + 1
    }
}

/// Whom a statement is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct About {
    /// The patients that its text or its rows name.
    them: BTreeSet<u64>,
    /// Rows of which the trail must say that it does not know for certain whom they are about.
    not_known: u64,
}

impl About {
    fn them(patients: impl IntoIterator<Item = u64>) -> About {
        About { them: patients.into_iter().collect(), not_known: 0 }
    }

    fn not_known(rows: u64) -> About {
        About { them: BTreeSet::new(), not_known: rows }
    }
}

/// The truth about the hospital, from the database itself.
struct Truth {
    /// The patients of each household.
    households: BTreeMap<u64, BTreeSet<u64>>,
    /// The number of notes and of encounters of each patient.
    notes: BTreeMap<u64, u64>,
    encounters: BTreeMap<u64, u64>,
}

impl Truth {
    fn read(cluster: &Cluster) -> Truth {
        let pairs = |sql: &str| -> Vec<(u64, u64)> {
            let answer = cluster.psql_in(HOSPITAL, sql).expect("an answer");
            let pair = |line: &str| {
                let (one, other) = line.split_once('|').expect("two columns");
                (one.parse().expect("a number"), other.parse().expect("a number"))
            };
            answer.lines().map(pair).collect()
        };
        let mut households: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (household, patient) in pairs("select household_id, id from patients") {
            households.entry(household).or_default().insert(patient);
        }
        let count = |table: &str| {
            pairs(&format!("select patient_id, count(*) from {table} group by 1")).into_iter().collect()
        };
        Truth { households, notes: count("notes"), encounters: count("encounters") }
    }

    /// Makes a statement, and says whom it is about.
    fn statement(&self, random: &mut Random) -> (Vec<u8>, About) {
        let (one, other) = (random.patient(), random.patient());
        let count = |counts: &BTreeMap<u64, u64>| counts.get(&one).copied().unwrap_or(0);
        match random.below(12) {
            0 => (
                front::query(&format!("select last_name from patients where id = {one}")),
                About::them([one]),
            ),
            1 => {
                let text = "select id, started_at from encounters where patient_id = $1";
                (extended(text, one), About::them([one]))
            }
            2 => {
                let (household, patients) =
                    self.households.range(random.below(200)..).next().expect("a household");
                let text = format!(
                    "select id, last_name, birth_date from patients where household_id = {household}"
                );
                (front::query(&text), About::them(patients.iter().copied()))
            }
            3 => {
                let text = format!(
                    "select p.last_name, r.name, r.value from patients p join results r on r.patient_id = p.id \
                     where p.id in ({one}, {other})"
                );
                (front::query(&text), About::them([one, other]))
            }
            4 => {
                let text = format!("update appointments set status = 'seen' where patient_id = {one}");
                (front::query(&text), About::them([one]))
            }
            5 => (front::query("select count(*) from encounters"), About::not_known(1)),
            6 => {
                let text = format!("select body from notes where patient_id + 0 = {one}");
                (front::query(&text), About::not_known(count(&self.notes)))
            }
            7 => (front::query("select role, count(*) from staff group by role"), About::default()),
            8 => {
                let text = format!(
                    "with seen as (select patient_id, count(*) as n from encounters where patient_id between {one} and \
                     {one} + 2 group by patient_id) select * from seen order by patient_id"
                );
                let seen = (one..=one + 2).filter(|patient| self.encounters.contains_key(patient));
                (front::query(&text), About::them(seen))
            }
            9 => {
                let text = format!(
                    "prepare q as select id from patients where id > {one} order by id limit 3; execute q; deallocate q"
                );
                // What a text names itself is not followed: its rows name patients, and it may be about others too.
                let rows = (PATIENTS - one).min(3);
                (front::query(&text), About { not_known: rows.max(1), ..About::them(one + 1..=one + rows) })
            }
            10 => {
                let text = "select p.id, e.type from patients p left join encounters e on e.patient_id = p.id where p.id = $1";
                (extended(text, one), About::them([one]))
            }
            _ => {
                let text = format!(
                    "begin; declare c cursor for select id, sex from patients where id >= {one} order by id; fetch 2 from c; rollback"
                );
                let rows = (PATIENTS + 1 - one).min(2);
                (front::query(&text), About { not_known: rows, ..About::them(one..one + rows) })
            }
        }
    }
}

fn extended(text: &str, patient: u64) -> Vec<u8> {
    let patient = patient.to_string();
    [
        front::parse("", text),
        front::bind("", "", &[Some(&patient)], 1),
        front::execute("", 0),
        front::SYNC.to_vec(),
    ]
    .concat()
}

#[track_caller]
fn succeeded(messages: &[Message], person: &str) {
    let error = messages.iter().find(|message| message.kind == b'E');
    assert!(error.is_none(), "{person}: {:?}", error.and_then(|error| error.field(b'M')));
}

/// Runs one person's part, and returns whom it was about.
fn part(gateway: &Gateway, truth: &Truth, number: usize) -> Vec<About> {
    let person = format!("person{number}");
    let conninfo = gateway.conninfo(&person, HOSPITAL).expect("a person");
    let mut wire = Wire::connect(&conninfo).expect("a session");
    let mut random = Random(number as u64);
    let one = |_| {
        let (bytes, about) = truth.statement(&mut random);
        wire.send(&bytes).expect("sent");
        succeeded(&wire.until(b'Z').expect("an answer"), &person);
        about
    };
    (0..STATEMENTS_EACH).map(one).collect()
}

#[test]
fn the_trail_knows_whom_ten_thousand_statements_were_about() {
    let cluster = Cluster::start(Options { tls: true, ..Options::default() }).expect("PostgreSQL");
    cluster.create_database(HOSPITAL).expect("a database");
    let size = Size { patients: PATIENTS, seed: 21 };
    hospital::load(size, &cluster.conninfo().with_dbname(HOSPITAL), |_| {}).expect("a hospital");
    let truth = Truth::read(&cluster);
    let mut builder = Gateway::builder().resource_of(HOSPITAL, &cluster, HOSPITAL).toml(PHI).role(
        "doctor",
        HOSPITAL,
        "read = [\"*\"]\nwrite = [\"*\"]\nunmask = [\"*\"]",
    );
    for number in 0..PEOPLE {
        builder = builder.person(&format!("person{number}"), &["doctor"]);
    }
    let gateway = builder.start().expect("it starts");

    let numbers: Vec<usize> = (0..PEOPLE).collect();
    let done: Vec<(usize, Vec<About>)> = thread::scope(|scope| {
        let parts = numbers.chunks(PEOPLE / THREADS).map(|numbers| {
            scope.spawn(|| numbers.iter().map(|n| (*n, part(&gateway, &truth, *n))).collect::<Vec<_>>())
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().expect("a part")).collect()
    });

    // How often each person had an access to each patient.
    let mut expected: BTreeMap<u64, BTreeMap<String, usize>> = BTreeMap::new();
    let (mut statements, mut not_known, mut rows) = (0, 0, 0);
    for (number, abouts) in &done {
        for about in abouts {
            statements += 1;
            for patient in &about.them {
                *expected.entry(*patient).or_default().entry(format!("person{number}")).or_default() += 1;
            }
            not_known += u64::from(about.not_known > 0);
            rows += about.not_known;
        }
    }
    assert_eq!(statements, PEOPLE * STATEMENTS_EACH);

    let asked: Vec<String> = (1..=ASKED).map(|n| (n * PATIENTS / ASKED).to_string()).collect();
    let mut arguments = vec!["who-saw", "--json"];
    arguments.extend(asked.iter().map(String::as_str));
    let found = gateway.cli_json(&arguments).expect("who-saw");
    assert_eq!(found.len(), asked.len());
    let mut accesses = 0;
    for (patient, found) in asked.iter().zip(&found) {
        let mut by: BTreeMap<String, usize> = BTreeMap::new();
        for access in found["accesses"].as_array().expect("a list") {
            *by.entry(access["person_name"].as_str().expect("a name").to_owned()).or_default() += 1;
            accesses += 1;
        }
        let patient: u64 = patient.parse().expect("a number");
        assert_eq!(by, expected.remove(&patient).unwrap_or_default(), "patient {patient}");
    }
    let unresolved: &Value = &found[0]["unresolved"];
    println!(
        "{statements} statements, {accesses} accesses to {ASKED} patients, {not_known} with {rows} rows not known"
    );
    assert_eq!((&unresolved["accesses"], &unresolved["rows"]), (&not_known.into(), &rows.into()));
}
