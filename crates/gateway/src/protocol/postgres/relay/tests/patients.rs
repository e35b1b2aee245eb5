//! Whom an entry names, and that no row of a patient leaves before an entry names them.

use std::collections::BTreeSet;

use model::{PatientToken, Phase, Record};

use super::super::super::sql::tests::catalogue_of_hospital;
use super::masking::{ID, NAME, data, description, protected, scene_with};
use super::*;
use crate::limits::PATIENTS_PER_ENTRY_MAX;

/// The rows of patients with these numbers.
fn patients(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| data(&[&number.to_string(), "Ann"])).collect()
}

fn named(records: &[Record<'_>]) -> BTreeSet<PatientToken> {
    let patients = records.iter().filter_map(|record| record.patients.as_ref());
    patients.flat_map(|patients| patients.tokens().iter().copied()).collect()
}

fn is_named(scene: &Scene, records: &[Record<'_>], identifier: &str) -> bool {
    let year = records.iter().find_map(|record| Some(record.patients.as_ref()?.year()));
    year.is_some_and(|year| named(records).contains(&scene.world.held.token(year, "hospital", identifier)))
}

#[tokio::test]
async fn rows_of_somebody_new_wait_for_the_entry_that_names_them() {
    let mut scene = scene_with(Limits { hold_window_bytes: 8 << 10, ..Limits::default() }).await;
    scene.client.send(&simple("SELECT id, name FROM patients")).await;
    scene.server.expect("Q").await;
    // Many windows: by now the operation has entries, and one without new patients would not wait any more.
    scene.server.send(&[description(&[ID, NAME]), patients(0..4_000)].concat()).await;
    while timeout(QUIET, scene.client.more()).await.is_ok() {}
    assert!(scene.client.arrived.len() > 16 << 10, "the first windows are out");
    scene.client.arrived.clear();
    scene.hold();
    scene.server.send(&[patients(4_000..4_100), done("SELECT 4100"), ready(b'I')].concat()).await;
    scene.client.quiet().await;
    scene.release();
    while !scene.client.arrived.ends_with(&ready(b'I')) {
        scene.client.more().await;
    }
    let records = scene.world.held.operations();
    assert_eq!(named(&records).len(), 4_100);
    for identifier in ["0", "3999", "4099"] {
        assert!(is_named(&scene, &records, identifier), "{identifier}");
    }
    assert!(!is_named(&scene, &records, "4100"));
    scene.end().await;
}

#[tokio::test]
async fn nobody_is_left_out_where_one_entry_cannot_name_them_all() {
    const ALL: usize = 3 * PATIENTS_PER_ENTRY_MAX + 1;
    // A window that takes the whole result.
    let mut scene = scene_with(Limits { hold_window_bytes: 64 << 20, ..Limits::default() }).await;
    scene.client.send(&simple("SELECT id, name FROM patients")).await;
    scene.server.expect("Q").await;
    let again = patients(0..100);
    let sent = [description(&[ID, NAME]), patients(0..ALL), again, done("SELECT 0"), ready(b'I')].concat();
    let (server, client) = (&mut scene.server, &mut scene.client);
    let reading = async {
        while !client.arrived.ends_with(&ready(b'I')) {
            client.more().await;
        }
    };
    tokio::join!(server.send(&sent), reading);
    let records = scene.world.held.operations();
    assert_eq!(named(&records).len(), ALL);
    let listed: Vec<usize> =
        records.iter().filter_map(|record| Some(record.patients.as_ref()?.tokens().len())).collect();
    assert!(listed.iter().all(|count| *count <= PATIENTS_PER_ENTRY_MAX), "{listed:?}");
    assert_eq!(listed.iter().sum::<usize>(), ALL, "each once");
    let last = records.last().expect("records");
    assert_eq!((last.phase, last.rows), (Some(Phase::Settled), Some(u64::try_from(ALL).unwrap() + 100)));
    scene.end().await;
}

#[tokio::test]
async fn a_change_names_whom_it_is_about_before_it_is_sent() {
    let mut scene = scene_with(Limits::default()).await;
    scene.client.send(&simple("DELETE FROM patients WHERE id = 17")).await;
    scene.server.expect("Q").await;
    let records = scene.world.held.operations();
    assert_eq!(records.last().expect("a record").phase, Some(Phase::Admitted));
    assert!(is_named(&scene, &records, "17"));
    scene.server.send(&[done("DELETE 1"), ready(b'I')].concat()).await;
    scene.client.expect("CZ").await;
    let records = scene.world.held.operations();
    assert_eq!(records.last().expect("a record").unresolved, None);
    scene.end().await;
}

#[tokio::test]
async fn a_refused_statement_names_whom_it_asked_for() {
    let mut scene = scene_with(Limits::default()).await;
    scene.client.send(&simple("SELECT 1 FROM patients WHERE id = 17 AND ssn = '1'")).await;
    scene.server.expect("Q").await;
    scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
    scene.client.expect("EZ").await;
    let records = scene.world.held.operations();
    assert_eq!(records.last().expect("a record").phase, Some(Phase::Refused));
    assert!(is_named(&scene, &records, "17"));
    scene.end().await;
}

#[tokio::test]
async fn rows_of_whom_nobody_knows_are_counted() {
    let mut scene = scene_with(Limits::default()).await;
    let nothing =
        [description(&[NAME]), data(&["Ann"]), data(&["Bo"]), done("SELECT 2"), ready(b'I')].concat();
    scene.query("SELECT name FROM patients", &nothing).await;
    scene.query("UPDATE encounters SET ward = 'a'", &[done("UPDATE 7"), ready(b'I')].concat()).await;
    let records = scene.world.held.operations();
    let unresolved: Vec<Option<u64>> =
        records.iter().filter(|record| record.outcome.is_some()).map(|record| record.unresolved).collect();
    assert_eq!(unresolved, [Some(2), None]);
    scene.end().await;
}

#[tokio::test]
async fn who_sees_everything_is_not_followed_everywhere_and_it_says_so() {
    let all = policy_of(1, true, false, true, &[]);
    let protected = Some(Arc::new(protected()));
    let mut scene = Scene::under(all, Limits::default(), protected, catalogue_of_hospital()).await;
    // An error in the resource's own words.
    let failed = [description(&[(0, 0)]), error("22P02"), ready(b'I')].concat();
    scene.query("SELECT string_agg(name, ',')::int FROM patients", &failed).await;
    scene.query("SELECT name::int FROM patients WHERE id = 17", &failed).await;
    // Copied data without an end.
    let rows: Vec<u8> = (0..3).flat_map(|_| framed(b'd', b"Ann\n")).collect();
    let failed = [framed(b'H', b"\0\0\x01\0\0"), rows, error("57014"), ready(b'I')].concat();
    scene.query("COPY patients (name) TO STDOUT", &failed).await;
    assert_eq!(scene.world.held.operations().last().expect("a record").rows, Some(3));
    // After code was run the catalogue is not known here.
    let plan = [description(&[(0, 0)]), data(&["Delete on patients"]), done("EXPLAIN"), ready(b'I')].concat();
    scene.query("EXPLAIN DELETE FROM patients", &plan).await;
    scene.query("EXPLAIN ANALYZE DELETE FROM patients", &plan).await;
    let one = [description(&[(0, 0)]), data(&["900-12-3456"]), done("SELECT 1"), ready(b'I')].concat();
    scene.query("SELECT reveal(1)", &one).await;
    scene.client.send(&framed(b'F', b"\0\0\0\x07\0\0\0\0\0\0")).await;
    scene.server.expect("F").await;
    scene.server.send(&[framed(b'V', b"\0\0\0\x01x"), ready(b'I')].concat()).await;
    scene.client.expect("VZ").await;
    let records = scene.world.held.operations();
    let settled = records.iter().filter(|record| record.outcome.is_some());
    let unresolved: Vec<Option<u64>> = settled.map(|record| record.unresolved).collect();
    assert_eq!(unresolved, [Some(1), None, Some(4), None, Some(1), Some(1), Some(1)]);
    scene.end().await;
}
