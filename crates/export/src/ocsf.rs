//! OCSF 1.3: Datastore Activity, Authentication, Entity Management, Application Lifecycle. Pure.

use model::{Kind, Verdict};
use serde_json::{Map, Value, json};

use crate::event::{About, Deed, Event, Result};
use crate::text::plain;

/// The version of the schema.
pub(crate) const VERSION: &str = "1.3.0";

const AUTHENTICATION: (u64, &str) = (3_002, "Authentication");
const ENTITY_MANAGEMENT: (u64, &str) = (3_004, "Entity Management");
const APPLICATION_LIFECYCLE: (u64, &str) = (6_002, "Application Lifecycle");
const DATASTORE_ACTIVITY: (u64, &str) = (6_005, "Datastore Activity");

/// What an event is in OCSF: its class and activity.
struct Class {
    uid: u64,
    name: &'static str,
    activity: u64,
    activity_name: &'static str,
}

impl Class {
    fn new((uid, name): (u64, &'static str), activity: u64, activity_name: &'static str) -> Class {
        Class { uid, name, activity, activity_name }
    }

    fn of(event: &Event<'_>) -> Class {
        match event.about {
            About::Node if event.record().kind == Kind::NodeStopped => {
                Class::new(APPLICATION_LIFECYCLE, 4, "Stop")
            }
            About::Node => Class::new(APPLICATION_LIFECYCLE, 3, "Start"),
            About::Incident => Class::new(APPLICATION_LIFECYCLE, 99, "Incident"),
            About::SignIn => Class::new(AUTHENTICATION, 1, "Logon"),
            About::Session if event.record().kind == Kind::SessionClosed => {
                Class::new(AUTHENTICATION, 2, "Logoff")
            }
            About::Session => Class::new(DATASTORE_ACTIVITY, 3, "Connect"),
            About::Operation | About::Reported => match event.deed() {
                Deed::Create => Class::new(DATASTORE_ACTIVITY, 6, "Create"),
                Deed::Read => Class::new(DATASTORE_ACTIVITY, 1, "Read"),
                Deed::Update => Class::new(DATASTORE_ACTIVITY, 2, "Update"),
                Deed::Delete => Class::new(DATASTORE_ACTIVITY, 7, "Delete"),
                Deed::Execute => Class::new(DATASTORE_ACTIVITY, 99, "Execute"),
            },
            About::Trail => Class::new(ENTITY_MANAGEMENT, 2, "Read"),
            About::Settings => Class::new(ENTITY_MANAGEMENT, 3, "Update"),
            About::Administration => match event.deed() {
                Deed::Read => Class::new(ENTITY_MANAGEMENT, 2, "Read"),
                Deed::Create | Deed::Update | Deed::Delete | Deed::Execute => {
                    Class::new(ENTITY_MANAGEMENT, 3, "Update")
                }
            },
        }
    }
}

/// Returns an event as an object of OCSF.
pub(crate) fn event(event: &Event<'_>) -> Value {
    let class = Class::of(event);
    let record = event.record();
    let mut object = base(event, &class);
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    let user = user(event);
    match class.uid {
        3_002 => {
            put("user", user);
            put("service", json!({ "name": event.resource() }));
            if record.kind == Kind::SignIn {
                put("auth_protocol_id", json!(99));
                put("auth_protocol", json!("Wardline"));
            }
        }
        3_004 => {
            put("actor", json!({ "user": user }));
            put("entity", entity(event));
            if let Some(words) = event.words() {
                put("comment", json!(words));
            }
        }
        6_002 => put("app", product()),
        _ => {
            put("actor", json!({ "user": user }));
            put("type_id", json!(1));
            put("type", json!("Database"));
            put("database", json!({ "type_id": 1, "type": "Relational", "name": event.resource() }));
            if let Some(statement) = record.statement.as_deref().filter(|text| !text.is_empty()) {
                let name = record.command.as_deref().unwrap_or("statement");
                let mut query = json!({ "name": crate::text::shown(name), "query_string": plain(statement) });
                if let Some(fields) = query.as_object_mut() {
                    fields.extend(record.bytes.map(|bytes| ("bytes".to_owned(), json!(bytes))));
                }
                put("query_info", query);
            }
            if let [table] = record.objects.as_slice() {
                put("table", json!({ "name": plain(table) }));
            }
        }
    }
    // Every class but Application Lifecycle knows where somebody was; only sign-in and data have it as a field.
    if matches!(class.uid, 3_002 | 6_005) {
        put("src_endpoint", endpoint(event));
    }
    Value::Object(object)
}

fn base(event: &Event<'_>, class: &Class) -> Map<String, Value> {
    let record = event.record();
    let (status, status_name) = match event.result() {
        Result::Success => (1, "Success"),
        Result::Refused | Result::Failed => (2, "Failure"),
        Result::Pending | Result::Unknown => (0, "Unknown"),
    };
    let (severity, severity_name) = match event.about {
        About::Incident => (4, "High"),
        _ if event.result() == Result::Refused => (2, "Low"),
        _ => (1, "Informational"),
    };
    let category = class.uid / 1_000;
    let category_name = if category == 3 { "Identity & Access Management" } else { "Application Activity" };
    let mut metadata = json!({
        "version": VERSION,
        "product": product(),
        "uid": event.id(),
        "sequence": event.entry.index,
        "log_name": event.origin,
        "original_time": crate::text::time(record.at),
        "event_code": record.kind.name(),
    });
    if let Some(fields) = metadata.as_object_mut() {
        fields.extend(event.operation_id().map(|id| ("correlation_uid".to_owned(), json!(id))));
        // Entity Management has its actor by this profile.
        let profiles = (class.uid == ENTITY_MANAGEMENT.0).then(|| ("profiles".to_owned(), json!(["host"])));
        fields.extend(profiles);
    }
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("class_uid", json!(class.uid));
    put("class_name", json!(class.name));
    put("category_uid", json!(category));
    put("category_name", json!(category_name));
    put("activity_id", json!(class.activity));
    put("activity_name", json!(class.activity_name));
    put("type_uid", json!(class.uid * 100 + class.activity));
    put("type_name", json!(format!("{}: {}", class.name, class.activity_name)));
    put("time", json!(record.at.0 / 1_000));
    put("severity_id", json!(severity));
    put("severity", json!(severity_name));
    put("status_id", json!(status));
    put("status", json!(status_name));
    put("status_detail", json!(event.result().words()));
    put("metadata", metadata);
    if let Some(duration) = record.duration_us {
        put("duration", json!(duration / 1_000));
    }
    if let Some(words) = event.words() {
        put("message", json!(words));
    }
    put("unmapped", unmapped(event));
    object
}

fn product() -> Value {
    json!({ "name": "Wardline", "vendor_name": "Wardline", "version": env!("CARGO_PKG_VERSION") })
}

fn user(event: &Event<'_>) -> Value {
    let mut user = json!({ "name": event.person() });
    if let (Some(id), Some(fields)) = (event.record().person, user.as_object_mut()) {
        fields.insert("uid".to_owned(), json!(id.to_string()));
    }
    user
}

fn endpoint(event: &Event<'_>) -> Value {
    let record = event.record();
    let mut endpoint = Map::new();
    match record.address {
        Some(address) => {
            endpoint.insert("ip".to_owned(), json!(address.to_string()));
        }
        None => {
            endpoint.insert("name".to_owned(), json!(record.source.as_deref().unwrap_or(event.origin)));
        }
    }
    endpoint.extend(record.port.map(|port| ("port".to_owned(), json!(port))));
    endpoint.extend(record.client.as_deref().map(|client| ("svc_name".to_owned(), json!(plain(client)))));
    Value::Object(endpoint)
}

fn entity(event: &Event<'_>) -> Value {
    let record = event.record();
    let kind = match event.about {
        About::Trail => "trail",
        About::Settings => "configuration",
        About::Administration => "administration",
        About::Node
        | About::SignIn
        | About::Session
        | About::Operation
        | About::Incident
        | About::Reported => "node",
    };
    let name = record.command.as_deref().or(record.resource.as_deref()).unwrap_or(event.origin);
    json!({ "name": crate::text::shown(name), "type": kind })
}

/// What OCSF has no place for: the patient above all.
fn unmapped(event: &Event<'_>) -> Value {
    let record = event.record();
    let mut object = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    if let Some(patient) = event.patient {
        put("patient_token", Some(json!(patient.token.to_string())));
        put("patient_token_year", Some(json!(patient.year)));
        if let Some((issuer, identifier)) = &patient.identifier {
            put("patient_issuer", Some(json!(plain(issuer))));
            put("patient_identifier", Some(json!(plain(identifier))));
        }
    }
    let list = |items: &[std::borrow::Cow<'_, str>]| (!items.is_empty()).then(|| json!(items));
    put("phase", record.phase.map(|phase| json!(phase.name())));
    put(
        "verdict",
        record.verdict.map(|verdict| json!(if verdict == Verdict::Allow { "allow" } else { "deny" })),
    );
    put("command", record.command.as_ref().map(|command| json!(command)));
    put("objects", list(&record.objects));
    put("policies", list(&record.policies));
    put("policy_version", record.policy_version.map(|version| json!(version)));
    put("rows", record.rows.map(|rows| json!(rows)));
    put("rows_of_unknown_patients", record.unresolved.map(|rows| json!(rows)));
    put("masked", list(&record.masked));
    put("unmasked", list(&record.unmasked));
    put("agent", record.agent.as_ref().map(|agent| json!(agent)));
    put("purpose", record.purpose.as_ref().map(|purpose| json!(purpose)));
    put("source", record.source.as_ref().map(|source| json!(source)));
    put("source_event", record.source_event.as_ref().map(|event| json!(event)));
    put("sign_in", record.sign_in.as_ref().map(|how| json!(how)));
    put("emergency", record.emergency.map(|number| json!(number)));
    Value::Object(object)
}
