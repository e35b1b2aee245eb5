//! What an entry says to others.

use export::{Deed, Format, Mapper, Result};
use model::{Action, Kind, Outcome, PatientToken, Patients, Phase, Record, SqlState, Verdict};
use serde_json::Value;
use trail::{Entry, OpenedPatients};

use crate::support::read;

fn entry(record: Record<'static>) -> Entry {
    Entry { index: 7, time_us: 0, segment: 0, offset: 0, record }
}

fn with_patients(count: u8) -> Record<'static> {
    let tokens = (1..=count).map(|number| PatientToken([number; 16])).collect();
    Record { patients: Patients::new(2026, tokens, vec![1].into()), ..read(1) }
}

fn lines(mapper: &mut Mapper, format: Format, record: Record<'static>) -> Vec<Value> {
    let entry = entry(record);
    let Some(subjects) = mapper.subjects(&entry, None) else { return Vec::new() };
    let line = |event| serde_json::from_str(&format.line(&event)).unwrap();
    subjects.events("node", &entry).map(line).collect()
}

#[test]
fn one_event_a_patient_with_identifiers_of_their_own() {
    let events = lines(&mut Mapper::default(), Format::CloudEvents, with_patients(3));
    let ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    let token = |number: u8| format!("node/7/{}", format!("{number:02x}").repeat(16));
    assert_eq!(ids, [token(1), token(2), token(3)]);
    assert_eq!(lines(&mut Mapper::default(), Format::CloudEvents, read(1))[0]["id"], "node/7");
    assert!(
        lines(&mut Mapper::default(), Format::Fhir, Record::new(Kind::Heartbeat, model::Micros(0)))
            .is_empty()
    );
}

#[test]
fn what_settles_an_operation_names_whom_it_was_admitted_for() {
    let mut mapper = Mapper::default();
    let admitted = Record {
        phase: Some(Phase::Admitted),
        outcome: None,
        action: Some(Action::Write),
        ..with_patients(2)
    };
    let settled = Record {
        phase: Some(Phase::Settled),
        action: Some(Action::Write),
        outcome: Some(Outcome::Failed(SqlState(*b"23505"))),
        ..read(1)
    };
    let events = lines(&mut mapper, Format::Fhir, admitted);
    assert_eq!(events.len(), 2);
    assert!(events[0].get("outcome").is_none() && events[0].get("meta").is_none());
    let events = lines(&mut mapper, Format::Fhir, settled.clone());
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["outcome"], "8");
    assert!(events[0]["outcomeDesc"].as_str().unwrap().contains("23505"));
    // Once.
    assert_eq!(lines(&mut mapper, Format::Fhir, settled).len(), 1);
}

#[test]
fn commands_become_deeds_and_outcomes_results() {
    let deed = |action, command: &'static str, deed| {
        let record = Record { action: Some(action), command: Some(command.into()), ..read(1) };
        let entry = entry(record);
        let subjects = Mapper::default().subjects(&entry, None).unwrap();
        assert_eq!(subjects.event("node", &entry, 0).deed(), deed, "{command}");
    };
    deed(Action::Read, "SELECT", Deed::Read);
    deed(Action::Write, "INSERT", Deed::Create);
    deed(Action::Write, "COPY FROM", Deed::Create);
    deed(Action::Write, "MERGE", Deed::Update);
    deed(Action::Write, "DELETE", Deed::Delete);
    deed(Action::Define, "CREATE TABLE", Deed::Execute);
    let result = |verdict, outcome, result| {
        let entry = entry(Record { verdict, outcome, ..read(1) });
        let subjects = Mapper::default().subjects(&entry, None).unwrap();
        assert_eq!(subjects.event("node", &entry, 0).result(), result);
    };
    result(Some(Verdict::Deny), None, Result::Refused);
    result(Some(Verdict::Allow), Some(Outcome::Unknown), Result::Unknown);
    result(Some(Verdict::Allow), Some(Outcome::Completed), Result::Success);
}

#[test]
fn identifiers_appear_only_where_they_were_opened() {
    let opened = OpenedPatients { issuer: "hospital".to_owned(), identifiers: vec![b"4711".to_vec()] };
    let entry = entry(with_patients(1));
    for format in Format::ALL {
        let shown = |opened| {
            let subjects = Mapper::default().subjects(&entry, opened).unwrap();
            format.line(&subjects.event("node", &entry, 0))
        };
        assert!(!shown(None).contains("4711"), "{}", format.name());
        assert!(shown(Some(&opened)).contains("4711"), "{}", format.name());
    }
}

#[test]
fn nothing_breaks_out_of_a_line_or_a_document() {
    let nasty = "x\"><a b='\u{0}\u{1b}\n&amp;]]>\u{fffe}\u{202e}";
    let record = Record {
        person_name: Some(nasty.into()),
        client: Some(nasty.into()),
        resource: Some(nasty.into()),
        objects: vec![nasty.into()],
        statement: Some(nasty.into()),
        detail: Some(nasty.into()),
        ..with_patients(1)
    };
    for format in Format::ALL {
        let entry = entry(record.clone());
        let subjects = Mapper::default().subjects(&entry, None).unwrap();
        let line = format.line(&subjects.event("no\"de", &entry, 0));
        assert!(!line.contains(['\n', '\u{0}', '\u{1b}']), "{line}");
        if format == Format::Atna {
            let xml = line.split_once('\u{feff}').unwrap().1;
            assert!(!xml.contains("<a b") && !xml.contains('\u{fffe}'), "{xml}");
            assert_eq!(xml.matches('<').count(), xml.matches('>').count());
        } else {
            let _json: Value = serde_json::from_str(&line).unwrap();
        }
    }
}
