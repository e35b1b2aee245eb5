//! What is read of a request, and what is refused.

use model::{Action, Outcome};
use serde_json::json;

use super::read::{Problem, Reported, events};

fn read(body: &str) -> Result<Vec<Reported>, Problem> {
    events(body.as_bytes(), 3)
}

const LINE: &str = r#"{"id":"e1","at":"2026-11-23T09:40:16+01:00","person":"dr.who","action":"read","patients":["4711"," 4711"]}"#;

#[test]
fn lines_of_our_own_form() {
    let found = read(&format!("{LINE}\n\n{}\n", LINE.replace("e1", "e2"))).expect("read");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].patients, ["4711"]);
    assert_eq!((found[0].action, found[0].command), (Action::Read, "READ"));
    assert_eq!(found[1].id, "e2");
    assert_eq!(read(LINE).expect("read").len(), 1);
}

#[test]
fn audit_events_alone_and_in_bundles() {
    let event = json!({
        "resourceType": "AuditEvent", "id": "a1", "recorded": "2026-11-23T09:40:16Z", "action": "U", "outcome": "0",
        "agent": [
            { "requestor": false, "network": { "address": "192.0.2.7" } },
            { "requestor": true, "who": { "identifier": { "value": "dr.who" } } },
        ],
        "entity": [
            { "what": { "reference": "https://ehr.example/fhir/Patient/4711/_history/2" } },
            { "what": { "reference": "Observation/77" } },
        ],
    });
    let found = read(&event.to_string()).expect("read");
    assert_eq!(found[0].person, "dr.who");
    assert_eq!(found[0].patients, ["4711"]);
    assert_eq!(found[0].objects, ["Observation"]);
    assert_eq!(found[0].outcome, Some(Outcome::Completed));
    assert_eq!(found[0].address, Some("192.0.2.7".parse().expect("an address")));
    let mut unnamed = event.clone();
    unnamed.as_object_mut().expect("an object").remove("id");
    let bundle = json!({
        "resourceType": "Bundle", "type": "batch",
        "entry": [{ "resource": event }, { "fullUrl": "urn:uuid:7", "resource": unnamed }],
    });
    let found = read(&bundle.to_string()).expect("read");
    assert_eq!(found[1].id, "urn:uuid:7");
}

#[test]
fn what_is_wrong_is_told_without_values() {
    let check = |body: &str, expected: &str| {
        assert_eq!(read(body).expect_err("refused").to_string(), expected);
    };
    check("", "there is no event in the request");
    check(&[LINE; 4].join("\n"), "a request takes at most 3 events");
    check(&format!("{LINE}\nnonsense"), "event 2: the line is not JSON");
    check(&LINE.replace("e1", " "), "event 1: `id` is missing");
    check(&LINE.replace("+01:00", ""), "event 1: `at` is not a time with its zone (RFC 3339)");
    check(
        &LINE.replace("\"read\"", "\"look\""),
        "event 1: `action` is not read, create, update, delete or execute",
    );
    check(&LINE.replace("\"4711\",", "4711,"), "event 1: `patients` is not a list of texts");
    let unknown = LINE.replace("\"person\"", "\"notes\":\"x\",\"person\"");
    let known = "id, at, person, action, patients, outcome, address, objects";
    check(&unknown, &format!("event 1: it has a field that is not one of {known}"));
    check(r#"{"resourceType":"Patient"}"#, "event 1: `resourceType` is not AuditEvent");
    check("[1]", "event 1: it is not a JSON object");
}
