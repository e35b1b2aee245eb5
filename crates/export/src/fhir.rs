//! FHIR R4 AuditEvent, with the profiles of IHE Basic Audit Log Patterns (BALP) where one fits. Pure.
//!
//! A profile is claimed for what succeeded: they fix the outcome. What failed, what is about to be done and what no
//! pattern describes is AuditEvent of base R4. A statement to a database is told in the words of the pattern that comes
//! nearest: a read as `read`, an `INSERT` as `create`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Kind;
use serde_json::{Value, json};

use crate::event::{About, Deed, Event, Result};
use crate::text::{shown, time};

const AUDIT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ENTITY_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const PROVENANCE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

/// The pattern of BALP that an event follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    Create,
    Read,
    Update,
    Delete,
    Disclosure,
}

impl Pattern {
    /// Returns the nearest pattern of an operation.
    fn of(event: &Event<'_>) -> Option<Pattern> {
        if !matches!(event.about, About::Operation) {
            return None;
        }
        if event.is_transfer() && event.patient.is_some() {
            return Some(Pattern::Disclosure);
        }
        match event.deed() {
            Deed::Create => Some(Pattern::Create),
            Deed::Read => Some(Pattern::Read),
            Deed::Update => Some(Pattern::Update),
            Deed::Delete => Some(Pattern::Delete),
            Deed::Execute => None,
        }
    }

    /// Returns the profile, which a success may claim.
    fn profile(self, patient: bool) -> String {
        let of = if patient { "Patient" } else { "" };
        match self {
            Pattern::Create => format!("{BALP}{of}Create"),
            Pattern::Read => format!("{BALP}{of}Read"),
            Pattern::Update => format!("{BALP}{of}Update"),
            Pattern::Delete => format!("{BALP}{of}Delete"),
            Pattern::Disclosure => format!("{BALP}PrivacyDisclosure.Source"),
        }
    }

    /// Returns the roles of the client and of the resource.
    fn roles(self) -> (Value, Value) {
        let (source, destination) =
            (coding(DCM, "110153", "Source Role ID"), coding(DCM, "110152", "Destination Role ID"));
        match self {
            Pattern::Create | Pattern::Update => (source, destination),
            Pattern::Read | Pattern::Disclosure => (destination, source),
            Pattern::Delete => {
                (coding(DCM, "110150", "Application"), coding(PROVENANCE, "custodian", "Custodian"))
            }
        }
    }
}

/// Returns an event as an AuditEvent.
pub(crate) fn audit_event(event: &Event<'_>) -> Value {
    let record = event.record();
    let pattern = Pattern::of(event);
    let (kind, subtypes) = types(event, pattern);
    let mut resource = json!({
        "resourceType": "AuditEvent",
        "id": event.uuid(),
        "type": kind,
        "action": event.deed().letter(),
        "recorded": time(record.at),
        "outcomeDesc": outcome_words(event),
        "agent": agents(event, pattern),
        "source": {
            "site": event.origin,
            "observer": { "display": format!("wardline {}", event.origin) },
            "type": [coding(SOURCE_TYPE, "4", "Application Server")],
        },
        "entity": entities(event),
    });
    let Some(fields) = resource.as_object_mut() else { return resource };
    if let Some(outcome) = outcome(event.result()) {
        fields.insert("outcome".to_owned(), json!(outcome));
    }
    if !subtypes.is_empty() {
        fields.insert("subtype".to_owned(), Value::Array(subtypes));
    }
    let profile = pattern.filter(|_| event.result() == Result::Success && complete(event));
    if let Some(pattern) = profile {
        let profile = pattern.profile(event.patient.is_some());
        fields.insert("meta".to_owned(), json!({ "profile": [profile] }));
    }
    resource
}

/// The patterns want to know from where.
fn complete(event: &Event<'_>) -> bool {
    event.record().address.is_some()
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

fn outcome(result: Result) -> Option<&'static str> {
    match result {
        Result::Success => Some("0"),
        Result::Refused => Some("4"),
        Result::Failed => Some("8"),
        Result::Pending | Result::Unknown => None,
    }
}

fn outcome_words(event: &Event<'_>) -> String {
    let words = match (event.result(), event.record().outcome) {
        (Result::Failed, Some(model::Outcome::Failed(state))) => {
            format!("failed with SQLSTATE {}", state.text())
        }
        (result, _) => result.words().to_owned(),
    };
    match event.words() {
        Some(detail) => format!("{words}; {detail}"),
        None => words,
    }
}

fn types(event: &Event<'_>, pattern: Option<Pattern>) -> (Value, Vec<Value>) {
    let rest = || coding(AUDIT_TYPE, "rest", "RESTful Operation");
    let of = |code, display| vec![coding(INTERACTION, code, display)];
    match pattern {
        Some(Pattern::Create) => return (rest(), of("create", "create")),
        Some(Pattern::Read) => return (rest(), of("read", "read")),
        Some(Pattern::Update) => return (rest(), of("update", "update")),
        Some(Pattern::Delete) => return (rest(), of("delete", "delete")),
        Some(Pattern::Disclosure) => {
            let disclose = coding(LIFECYCLE, "disclose", "Disclose/Release Record Lifecycle Event");
            return (coding(DCM, "110106", "Export"), vec![disclose]);
        }
        None => {}
    }
    let dcm = |code, display| coding(DCM, code, display);
    match event.about {
        About::Node => {
            let subtype = match event.record().kind {
                Kind::NodeStopped => dcm("110121", "Application Stop"),
                _ => dcm("110120", "Application Start"),
            };
            (dcm("110100", "Application Activity"), vec![subtype])
        }
        About::Settings => (dcm("110113", "Security Alert"), vec![dcm("110129", "Security Configuration")]),
        About::SignIn => (dcm("110114", "User Authentication"), vec![dcm("110122", "Login")]),
        About::Session => {
            let subtype = match event.record().kind {
                Kind::SessionClosed => dcm("110123", "Logout"),
                _ => dcm("110122", "Login"),
            };
            (dcm("110114", "User Authentication"), vec![subtype])
        }
        About::Operation => (coding(AUDIT_TYPE, "object", "Object"), Vec::new()),
        About::Administration => {
            (dcm("110113", "Security Alert"), vec![dcm("110137", "User Security Attributes Changed")])
        }
        About::Incident => {
            (dcm("110113", "Security Alert"), vec![dcm("110135", "Object Security Attributes Changed")])
        }
        About::Trail => (dcm("110101", "Audit Log Used"), Vec::new()),
        About::Reported => (dcm("110110", "Patient Record"), Vec::new()),
    }
}

fn agents(event: &Event<'_>, pattern: Option<Pattern>) -> Value {
    let record = event.record();
    let mut user = json!({
        "type": { "coding": [coding(PARTICIPATION, "IRCP", "information recipient")] },
        "who": { "display": event.person() },
        "requestor": true,
        "name": event.person(),
    });
    if let (Some(id), Some(fields)) = (record.person, user.as_object_mut()) {
        let system = format!("urn:wardline:person:{}", event.origin);
        let who = json!({
            "identifier": { "system": system, "value": id.to_string() }, "display": event.person(),
        });
        fields.insert("who".to_owned(), who);
        if !record.policies.is_empty() {
            // `policy` is a list of URIs.
            let policies = record.policies.iter().map(|id| format!("urn:wardline:policy:{}", uri_part(id)));
            fields.insert("policy".to_owned(), policies.collect());
        }
    }
    let Some(address) = record.address else { return json!([user]) };
    let (client, server) = match pattern {
        Some(pattern) => pattern.roles(),
        None => (coding(DCM, "110153", "Source Role ID"), coding(DCM, "110152", "Destination Role ID")),
    };
    let program = record.client.as_deref().unwrap_or("a client that does not say what it is");
    json!([
        {
            "type": { "coding": [client] },
            "who": { "display": shown(program) },
            "requestor": false,
            "network": { "address": address.to_string(), "type": "2" },
        },
        {
            "type": { "coding": [server] },
            "who": { "display": event.resource() },
            "requestor": false,
            // As the resource is reached: through this node.
            "network": { "address": event.origin, "type": "1" },
        },
        user,
    ])
}

/// Returns a text as a part of a URI.
fn uri_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

fn entities(event: &Event<'_>) -> Value {
    let record = event.record();
    let mut entities = Vec::new();
    if let Some(patient) = event.patient {
        entities.push(json!({
            "what": { "type": "Patient", "identifier": identifier(event, patient) },
            "type": coding(ENTITY_TYPE, "1", "Person"),
            "role": coding(ENTITY_ROLE, "1", "Patient"),
        }));
    }
    let named: Vec<&str> = record.objects.iter().map(AsRef::as_ref).collect();
    let what = if named.is_empty() { event.resource() } else { shown(&named.join(", ")) };
    let role = match event.about {
        About::Operation | About::Reported | About::SignIn | About::Session => {
            coding(ENTITY_ROLE, "4", "Domain Resource")
        }
        About::Trail | About::Node | About::Settings | About::Administration | About::Incident => {
            coding(ENTITY_ROLE, "13", "Security Resource")
        }
    };
    entities.push(json!({
        "what": { "identifier": { "value": what }, "display": what },
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": role,
        "detail": details(event),
    }));
    if let Some(operation) = event.operation_id() {
        entities.push(json!({
            "what": { "identifier": { "value": operation } },
            "type": coding(BALP_ENTITY, "XrequestId", "X-Request-Id"),
        }));
    }
    Value::Array(entities)
}

fn identifier(event: &Event<'_>, patient: &crate::event::Patient) -> Value {
    match &patient.identifier {
        Some((issuer, identifier)) => json!({
            "system": format!("urn:wardline:issuer:{}", uri_part(issuer)),
            "value": shown(identifier),
        }),
        None => json!({
            "system": format!("urn:wardline:patient:{}:{}", uri_part(event.origin), patient.year),
            "value": patient.token.to_string(),
        }),
    }
}

/// The facts that AuditEvent has no place for.
fn details(event: &Event<'_>) -> Value {
    let record = event.record();
    let mut details = vec![text("entry", &event.entry_id()), text("kind", record.kind.name())];
    let listed = |items: &[std::borrow::Cow<'_, str>]| {
        let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
        (!items.is_empty()).then(|| items.join(", "))
    };
    let facts = [
        ("phase", record.phase.map(|phase| phase.name().to_owned())),
        ("resource", record.resource.as_ref().map(ToString::to_string)),
        ("command", record.command.as_ref().map(ToString::to_string)),
        ("rows", record.rows.map(|rows| rows.to_string())),
        ("rows-of-unknown-patients", record.unresolved.map(|rows| rows.to_string())),
        ("bytes", record.bytes.map(|bytes| bytes.to_string())),
        ("duration-us", record.duration_us.map(|duration| duration.to_string())),
        ("policy-version", record.policy_version.map(|version| version.to_string())),
        ("masked", listed(&record.masked)),
        ("unmasked", listed(&record.unmasked)),
        ("agent", record.agent.as_ref().map(ToString::to_string)),
        ("purpose", record.purpose.as_ref().map(ToString::to_string)),
        ("source", record.source.as_ref().map(ToString::to_string)),
        ("source-event", record.source_event.as_ref().map(ToString::to_string)),
        ("sign-in", record.sign_in.as_ref().map(ToString::to_string)),
        ("emergency", record.emergency.map(|number| number.to_string())),
    ];
    details.extend(facts.into_iter().filter_map(|(name, value)| Some(text(name, &value?))));
    if let Some(statement) = record.statement.as_deref().filter(|statement| !statement.is_empty()) {
        details.push(json!({ "type": "statement", "valueBase64Binary": STANDARD.encode(statement) }));
    }
    Value::Array(details)
}

fn text(name: &str, value: &str) -> Value {
    json!({ "type": name, "valueString": shown(value) })
}
