//! What reaches a client that may not see everything: never the canary, in whatever form the resource sends it.

use model::RootKey;
use phi::operator::KeyId;
use phi::{Class, Keys, Operator, Usage};

use super::super::super::sql::tests::catalogue_of_hospital;
use super::*;
use crate::protected::{CleanColumns, ColumnName, Rule};

const CANARY: &str = "900-12-3456";
const PATIENTS: u32 = 20001;
pub(super) const ID: (u32, i16) = (PATIENTS, 1);
const SSN: (u32, i16) = (PATIENTS, 3);
pub(super) const NAME: (u32, i16) = (PATIENTS, 4);

async fn scene() -> Scene {
    scene_with(Limits::default()).await
}

pub(super) async fn scene_with(limits: Limits) -> Scene {
    Scene::protecting(limits, Some(Arc::new(protected())), catalogue_of_hospital()).await
}

pub(super) fn protected() -> Protected {
    let rule = Rule { class: Class::Ssn, operator: Operator::Redact, usage: Usage::None };
    let name = ColumnName { schema: "public".into(), relation: "patients".into(), column: "ssn".into() };
    let clean =
        |relation: &str| CleanColumns::Relation { schema: "public".into(), relation: relation.into() };
    Protected {
        columns: vec![(name, rule)],
        clean: vec![clean("patients"), clean("encounters")],
        patients: vec![ColumnName {
            schema: "public".into(),
            relation: "patients".into(),
            column: "id".into(),
        }],
        issuer: "hospital".into(),
        detector: None,
        trusted: Vec::new(),
        trusted_views: Vec::new(),
        filters_per_hour: crate::FILTERS_PER_HOUR,
        keys: Keys::derive(&RootKey::new([7; 32]), KeyId::new(1).unwrap()),
    }
}

/// A `RowDescription` of text columns.
pub(super) fn description(columns: &[(u32, i16)]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (relation, number) in columns {
        body.extend_from_slice(b"x\0");
        body.extend_from_slice(&relation.to_be_bytes());
        body.extend_from_slice(&number.to_be_bytes());
        body.extend_from_slice(b"\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    }
    framed(b'T', &body)
}

pub(super) fn data(values: &[&str]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    framed(b'D', &body)
}

#[track_caller]
fn hides(messages: &[(u8, Vec<u8>)]) {
    for (kind, body) in messages {
        let text = String::from_utf8_lossy(body);
        assert!(!text.contains("900-12") && !text.contains("3456"), "{}: {text}", char::from(*kind));
    }
}

#[tokio::test]
async fn a_protected_column_is_masked_and_its_neighbour_is_not() {
    let mut scene = scene().await;
    let answer = [
        description(&[SSN, NAME]),
        data(&[CANARY, "Ann"]),
        data(&[CANARY, "Bo"]),
        done("SELECT 2"),
        ready(b'I'),
    ];
    let got = scene.query("SELECT ssn, name FROM patients", &answer.concat()).await;
    assert_eq!(kinds(&got), "TDDCZ");
    hides(&got);
    assert!(got[1].1.ends_with(b"Ann") && got[2].1.ends_with(b"Bo"));
    let long = "x".repeat(100_000);
    let answer = [description(&[SSN, NAME]), data(&[CANARY, &long]), done("SELECT 1"), ready(b'I')];
    let got = scene.query("SELECT ssn, name FROM patients", &answer.concat()).await;
    hides(&got);
    assert!(got[1].1.ends_with(long.as_bytes()), "a row larger than a read");
    scene.end().await;
}

#[tokio::test]
async fn it_is_said_once_that_a_column_is_null_whatever_it_is() {
    let mut scene = scene().await;
    let result = |rows: &[Vec<u8>]| {
        [description(&[(0, 0), NAME]), rows.concat(), done("SELECT 1"), ready(b'I')].concat()
    };
    let row = [data(&["900-12-3456", "Ann"])];
    let text = "SELECT upper(ssn), name FROM patients";
    assert_eq!(kinds(&scene.query(text, &result(&[])).await), "TCZ", "no row, nothing to explain");
    let got = scene.query(text, &result(&row)).await;
    assert_eq!(kinds(&got), "TDNCZ");
    hides(&got);
    let notice = String::from_utf8_lossy(&got[2].1).into_owned();
    assert!(notice.contains("column 1 of the result is NULL because it is computed"), "{notice}");
    assert_eq!(kinds(&scene.query(text, &result(&row)).await), "TDCZ", "said before");
    scene.end().await;
}

#[tokio::test]
async fn each_statement_of_a_text_has_its_own_plan() {
    let mut scene = scene().await;
    let first = [description(&[NAME]), data(&["Ann"]), done("SELECT 1")].concat();
    let second = [description(&[SSN]), data(&[CANARY]), done("SELECT 1"), ready(b'I')].concat();
    let text = "SELECT name FROM patients; SELECT ssn FROM patients";
    let got = scene.query(text, &[first, second].concat()).await;
    assert_eq!(kinds(&got), "TDCTDCZ");
    hides(&got);
    assert!(got[1].1.ends_with(b"Ann"));
    scene.end().await;
}

#[tokio::test]
async fn an_oracle_is_refused_and_never_sent() {
    let mut scene = scene().await;
    for text in [
        "SELECT 1 FROM patients WHERE ssn = '900-12-3456'",
        "SELECT ssn::int FROM patients",
        "COPY patients (ssn) TO STDOUT (ENCODING 'latin1')",
        "DO 'begin end'",
        "SELECT reveal(1)",
    ] {
        scene.client.send(&simple(text)).await;
        let sent = scene.server.expect("Q").await;
        assert!(!String::from_utf8_lossy(&sent[0]).contains("patients"), "{text}");
        scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
        let got = scene.client.expect("EZ").await;
        let words = String::from_utf8_lossy(&got[0]);
        assert!(words.contains("C42501"), "{text}");
        let named = text.starts_with("SELECT") && text.contains("ssn");
        assert_eq!(words.contains("`public.patients.ssn`, which is protected"), named, "{text}: {words}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_change_of_objects_beside_a_statement_ends_it_unseen() {
    // Sent before the change came to be seen, answered after.
    let mut scene = scene().await;
    scene.client.send(&simple("SELECT name FROM patients")).await;
    scene.server.expect("Q").await;
    scene.slot.change().end(true);
    scene.server.send(&[description(&[NAME]), data(&[CANARY]), done("SELECT 1"), ready(b'I')].concat()).await;
    hides(&scene.client.rest().await);

    // While one is under way, and the catalogue is as it was.
    let mut scene = self::scene().await;
    let change = scene.slot.change();
    scene.client.send(&simple("SELECT name FROM patients")).await;
    let sent = scene.server.expect("Q").await;
    assert!(!String::from_utf8_lossy(&sent[0]).contains("patients"));
    scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
    let got = scene.client.expect("EZ").await;
    assert!(String::from_utf8_lossy(&got[0]).contains("C40001"));
    change.end(false);
    let answer = [description(&[NAME]), data(&["Ann"]), done("SELECT 1"), ready(b'I')].concat();
    assert_eq!(kinds(&scene.query("SELECT name FROM patients", &answer).await), "TDCZ");
    scene.end().await;
}

#[tokio::test]
async fn a_setting_that_may_hold_any_text_is_not_told() {
    let mut scene = scene().await;
    let status = |name: &str| framed(b'S', format!("{name}\0{CANARY}\0").as_bytes());
    let answer = [status("application_name"), status("search_path"), done("UPDATE 1"), ready(b'I')];
    let got = scene.query("UPDATE encounters SET ward = 'a'", &answer.concat()).await;
    assert_eq!(kinds(&got), "CZ");
    let told = framed(b'S', b"application_name\0mine\0");
    let got = scene.query("SET application_name = 'mine'", &[told, done("SET"), ready(b'I')].concat()).await;
    assert_eq!(kinds(&got), "SCZ");
    scene.end().await;
}

/// The values of the rows among messages.
fn cells(messages: &[(u8, Vec<u8>)]) -> Vec<Vec<String>> {
    let rows = messages.iter().filter(|(kind, _)| *kind == b'D');
    let row = |(_, body): &(u8, Vec<u8>)| {
        let mut rest = &body[2..];
        let mut cells = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            if *length == [0xff; 4] {
                cells.push("NULL".to_owned());
                rest = after;
                continue;
            }
            let (cell, after) = after.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
            cells.push(String::from_utf8(cell.to_vec()).unwrap());
            rest = after;
        }
        cells
    };
    rows.map(row).collect()
}

#[tokio::test]
async fn dates_are_shifted_by_the_patient_of_the_row() {
    let name = |column: &str| ColumnName {
        schema: "public".into(),
        relation: "patients".into(),
        column: column.into(),
    };
    let operator: Operator = "date_shift".parse().unwrap();
    let rule = Rule { class: Class::Date, operator, usage: Usage::None };
    let protected = Protected {
        columns: vec![(name("born"), rule)],
        clean: vec![CleanColumns::Relation { schema: "public".into(), relation: "patients".into() }],
        patients: vec![name("id")],
        issuer: "hospital".into(),
        detector: None,
        trusted: Vec::new(),
        trusted_views: Vec::new(),
        filters_per_hour: crate::FILTERS_PER_HOUR,
        keys: Keys::derive(&RootKey::new([7; 32]), KeyId::new(1).unwrap()),
    };
    let protected = Some(Arc::new(protected));
    let mut scene = Scene::protecting(Limits::default(), protected, catalogue_of_hospital()).await;
    let mut announced = description(&[ID, (PATIENTS, 5)]);
    // The second column is a date.
    let ty = announced.len() - 12;
    announced[ty..ty + 4].copy_from_slice(&1082_u32.to_be_bytes());
    let rows = [["1", "1980-05-05"], ["1", "1980-05-06"], ["2", "1980-05-05"], ["3", "1980-05-05"]];
    let rows: Vec<u8> = rows.iter().flat_map(|row| data(row)).collect();
    let answer = [announced.clone(), rows, done("SELECT 4"), ready(b'I')].concat();
    let got = cells(&scene.query("SELECT id, born FROM patients", &answer).await);
    let days = |at: usize| -> i64 {
        let mut parts = got[at][1].split('-').map(|part| part.parse::<i64>().unwrap());
        let (year, month, day) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        year * 372 + month * 31 + day
    };
    assert!(days(1) > days(0), "one patient's dates keep their order: {got:?}");
    assert!(got.iter().all(|row| row[1] != "1980-05-05"), "{got:?}");
    assert!(got[0][1] != got[2][1] || got[2][1] != got[3][1], "others by another number of days: {got:?}");

    // By the text alone, too; and without a patient in reach nothing is shown.
    let one = |rows: &[&str]| {
        let mut announced = description(&[(PATIENTS, 5)]);
        let ty = announced.len() - 12;
        announced[ty..ty + 4].copy_from_slice(&1082_u32.to_be_bytes());
        let rows: Vec<u8> = rows.iter().flat_map(|row| data(&[row])).collect();
        [announced, rows, done("SELECT 1"), ready(b'I')].concat()
    };
    let named = cells(&scene.query("SELECT born FROM patients WHERE id = 1", &one(&["1980-05-05"])).await);
    assert_eq!(named[0][0], got[0][1]);
    let nobody = cells(&scene.query("SELECT born FROM patients", &one(&["1980-05-05"])).await);
    assert_eq!(nobody[0][0], "NULL");
    scene.end().await;
}

/// A `CopyOutResponse` of so many columns.
fn copies(binary: bool, columns: u8) -> Vec<u8> {
    let format = u8::from(binary);
    let mut body = vec![format, 0, columns];
    (0..columns).for_each(|_| body.extend_from_slice(&[0, format]));
    framed(b'H', &body)
}

fn copied(piece: &[u8]) -> Vec<u8> {
    framed(b'd', piece)
}

const COPY_DONE: &[u8] = b"c\0\0\0\x04";

#[tokio::test]
async fn copied_data_is_masked_however_it_is_cut() {
    let line = format!("{CANARY},Ann\n");
    let binary = [
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x0b".as_slice(),
        CANARY.as_bytes(),
        b"\0\0\0\x03Ann\xff\xff",
    ]
    .concat();
    for (options, data) in [("CSV", line.as_bytes()), ("BINARY", &binary)] {
        let mut scene = scene().await;
        for cut in 0..data.len() {
            let (one, other) = data.split_at(cut);
            let pieces = [copied(one), copied(other)].concat();
            let answer =
                [copies(options == "BINARY", 2), pieces, COPY_DONE.to_vec(), done("COPY 1"), ready(b'I')];
            let text = format!("COPY patients (ssn, name) TO STDOUT {options}");
            let got = scene.query(&text, &answer.concat()).await;
            hides(&got);
            let shown: Vec<u8> =
                got.iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body.clone()).collect();
            assert!(shown.windows(3).any(|part| part == b"Ann"), "{options} cut at {cut}");
            assert!(kinds(&got).starts_with('H') && kinds(&got).ends_with("cCZ"), "{}", kinds(&got));
        }
        scene.end().await;
    }
}

#[tokio::test]
async fn copied_data_that_is_not_what_was_planned_ends_the_session() {
    let text = "COPY patients (ssn, name) TO STDOUT";
    let line = copied(format!("{CANARY}\tAnn\n").as_bytes());
    for answer in [
        [copies(false, 3), line.clone()].concat(),
        [copies(true, 2), line.clone()].concat(),
        [copies(false, 2), copied(format!("{CANARY}\tAnn\t{CANARY}\n").as_bytes())].concat(),
        [copies(false, 2), copied(CANARY.as_bytes()), COPY_DONE.to_vec()].concat(),
        line.clone(),
    ] {
        let mut scene = scene().await;
        scene.client.send(&simple(text)).await;
        scene.server.expect("Q").await;
        scene.server.send(&[answer, done("COPY 1"), ready(b'I')].concat()).await;
        let got = scene.client.rest().await;
        hides(&got);
        assert!(got.iter().any(|(kind, body)| *kind == b'E' && body.windows(5).any(|part| part == b"0A000")));
    }
}

#[tokio::test]
async fn what_the_resource_announces_otherwise_ends_the_session() {
    for (announced, values) in [(vec![SSN], vec![CANARY]), (vec![NAME, NAME], vec![CANARY, CANARY])] {
        let mut scene = scene().await;
        scene.client.send(&simple("SELECT upper(name) FROM patients")).await;
        scene.server.expect("Q").await;
        scene
            .server
            .send(&[description(&announced), data(&values), done("SELECT 1"), ready(b'I')].concat())
            .await;
        let got = scene.client.rest().await;
        hides(&got);
        assert_eq!(kinds(&got), "E");
    }
}

#[tokio::test]
async fn a_prepared_statement_is_announced_to_us_first() {
    let mut scene = scene().await;
    let asked =
        [parse("s", "SELECT ssn, name FROM patients WHERE id = $1"), bind("", "s"), execute("", 0), sync()];
    scene.client.send(&asked.concat()).await;
    scene.server.expect("PDBES").await;
    let parameters = framed(b't', b"\0\x01\0\0\0\x17");
    let announced = [PARSED.to_vec(), parameters, description(&[SSN, NAME]), BOUND.to_vec()].concat();
    let answer = [announced, data(&[CANARY, "Ann"]), done("SELECT 1"), ready(b'I')].concat();
    scene.server.send(&answer).await;
    let got = scene.client.expect("12DCZ").await;
    let got: Vec<_> = got.into_iter().map(|body| (b'?', body)).collect();
    hides(&got);
    assert!(got[2].1.ends_with(b"Ann"));
    // Again, without another announcement, a row at a time.
    scene.client.send(&[bind("p", "s"), execute("p", 1), execute("p", 1), sync()].concat()).await;
    scene.server.expect("BEES").await;
    let one = [data(&[CANARY, "Bo"]), SUSPENDED.to_vec()].concat();
    scene.server.send(&[BOUND.to_vec(), one.clone(), one, ready(b'I')].concat()).await;
    let got = scene.client.expect("2DsDsZ").await;
    hides(&got.into_iter().map(|body| (b'?', body)).collect::<Vec<_>>());
    scene.end().await;
}

#[tokio::test]
async fn the_text_of_an_error_or_notice_is_withheld() {
    let mut scene = scene().await;
    let quoting = |kind, code: &str| {
        framed(kind, format!("SERROR\0VERROR\0C{code}\0M\"{CANARY}\" is bad\0D{CANARY}\0\0").as_bytes())
    };
    let answer = [quoting(b'N', "01000"), quoting(b'E', "22P02"), ready(b'I')].concat();
    let got = scene.query("SELECT name FROM patients", &answer).await;
    assert_eq!(kinds(&got), "NEZ");
    hides(&got);
    assert!(String::from_utf8_lossy(&got[1].1).contains("C22P02"));
    let payload = framed(b'A', format!("\0\0\0\x01channel\0{CANARY}\0").as_bytes());
    let got = scene.query("SELECT name FROM patients", &[payload, rows(1, b'I')].concat()).await;
    hides(&got);
    scene.end().await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_not_run() {
    let mut scene = scene().await;
    let call = framed(b'F', b"\0\0\0\x01\0\0\0\0\0\0");
    scene.client.send(&call).await;
    let sent = scene.server.expect("Q").await;
    assert!(!sent.is_empty());
    scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
    scene.client.expect("EZ").await;
    let answer = [done("DECLARE CURSOR"), ready(b'T')].concat();
    scene.query("DECLARE c CURSOR FOR SELECT ssn FROM patients", &answer).await;
    scene.client.send(&[execute("c", 0), sync()].concat()).await;
    scene.server.expect("DS").await;
    scene.server.send(&[error("26000"), ready(b'E')].concat()).await;
    scene.client.expect("EZ").await;
    for unknown in ["FETCH d", "EXECUTE q", "DECLARE e CURSOR FOR SELECT 1; FETCH e"] {
        scene.client.send(&simple(unknown)).await;
        let sent = scene.server.expect("Q").await;
        assert!(!sent[0].starts_with(unknown.as_bytes()), "{unknown}");
        scene.server.send(&[error("42601"), ready(b'E')].concat()).await;
        scene.client.expect("EZ").await;
    }
    scene.end().await;
}

#[tokio::test]
async fn what_a_cursor_or_a_prepared_statement_returns_is_masked_as_its_query_is() {
    let mut scene = scene().await;
    let made = |tag: &str| [done(tag), ready(b'T')].concat();
    scene.query("DECLARE c CURSOR FOR SELECT ssn, name FROM patients", &made("DECLARE CURSOR")).await;
    scene.query("PREPARE q AS SELECT ssn, name FROM patients", &made("PREPARE")).await;
    for asked in ["FETCH 2 FROM c", "EXECUTE q"] {
        let answer =
            [description(&[SSN, NAME]), data(&[CANARY, "Ann"]), done("FETCH 1"), ready(b'T')].concat();
        let got = scene.query(asked, &answer).await;
        assert_eq!(kinds(&got), "TDCZ");
        hides(&got);
        assert!(got[1].1.ends_with(b"Ann"));
    }
    scene.client.send(&simple("PREPARE oracle AS SELECT 1 FROM patients WHERE ssn = $1")).await;
    let sent = scene.server.expect("Q").await;
    assert!(!sent[0].starts_with(b"PREPARE"));
    scene.server.send(&[error("42601"), ready(b'E')].concat()).await;
    scene.client.expect("EZ").await;
    scene.end().await;
}
