//! What other systems send, read and checked: FHIR AuditEvents or lines of JSON become reported events. Pure.
//!
//! A request is taken whole or not at all. What is wrong is told by the number of the event and the name of the field;
//! never with a value, which may be a patient's.

use std::fmt;
use std::net::IpAddr;

use model::{Action, Outcome, SqlState};
use serde_json::Value;

use crate::output::printable;

/// Longest identifier of an event, a patient or a person.
const NAME_BYTES_MAX: usize = 256;
/// Most patients of one event.
const PATIENTS_MAX: usize = 1_000;
/// Most things that an event was done to; more are not told.
const OBJECTS_MAX: usize = 32;
/// Longest event, as it is kept sealed.
const EVENT_BYTES_MAX: usize = 64 << 10;
/// That something failed there, without a code of ours.
const FAILED: SqlState = SqlState(*b"58000");

const FIELDS: [&str; 8] = ["id", "at", "person", "action", "patients", "outcome", "address", "objects"];

/// An access that another system tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    /// What that system calls the event.
    pub(crate) id: String,
    /// When it happened, as that system says: RFC 3339.
    pub(crate) happened: String,
    /// Who, as that system says.
    pub(crate) person: String,
    pub(crate) action: Action,
    pub(crate) command: &'static str,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) objects: Vec<String>,
    /// Identifiers, as that system writes them; each once.
    pub(crate) patients: Vec<String>,
    /// The event as it came, to be sealed.
    pub(crate) original: Vec<u8>,
}

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no event in it.
    Empty,
    /// It holds more events than one request may.
    TooMany { most: usize },
    /// An event cannot be read; the first is 1.
    Event { number: usize, why: String },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Empty => f.write_str("there is no event in the request"),
            Problem::TooMany { most } => write!(f, "a request takes at most {most} events"),
            Problem::Event { number, why } => write!(f, "event {number}: {why}"),
        }
    }
}

/// Reads a request: an AuditEvent, a Bundle of them, one event of our own form, or one of these a line.
pub(crate) fn events(body: &[u8], most: usize) -> Result<Vec<Reported>, Problem> {
    let values = values(body)?;
    match values.len() {
        0 => return Err(Problem::Empty),
        count if count > most => return Err(Problem::TooMany { most }),
        _ => {}
    }
    let mut events = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        events.push(event(value).map_err(|why| Problem::Event { number: at + 1, why })?);
    }
    Ok(events)
}

/// Takes a request apart; an entry of a Bundle that has no `id` goes by its `fullUrl`.
fn values(body: &[u8]) -> Result<Vec<Value>, Problem> {
    if let Ok(whole) = serde_json::from_slice::<Value>(body) {
        return of_bundle(whole);
    }
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let mut values = Vec::new();
    for (at, line) in lines.enumerate() {
        let value = serde_json::from_slice(line)
            .map_err(|_| Problem::Event { number: at + 1, why: "the line is not JSON".to_owned() })?;
        values.push(value);
    }
    Ok(values)
}

fn of_bundle(whole: Value) -> Result<Vec<Value>, Problem> {
    if part(&whole, "/resourceType") != "Bundle" {
        return Ok(vec![whole]);
    }
    let mut values = Vec::new();
    for (at, entry) in part(&whole, "/entry").as_array().into_iter().flatten().enumerate() {
        let mut resource = part(entry, "/resource").clone();
        let Some(fields) = resource.as_object_mut() else {
            return Err(Problem::Event { number: at + 1, why: "the entry has no resource".to_owned() });
        };
        if !fields.contains_key("id")
            && let Some(url) = part(entry, "/fullUrl").as_str()
        {
            fields.insert("id".to_owned(), Value::from(url));
        }
        values.push(resource);
    }
    Ok(values)
}

fn event(value: &Value) -> Result<Reported, String> {
    let original = value.to_string().into_bytes();
    if original.len() > EVENT_BYTES_MAX {
        return Err(format!("it is longer than {EVENT_BYTES_MAX} bytes"));
    }
    match part(value, "/resourceType").as_str() {
        Some("AuditEvent") => audit_event(value, original),
        Some(_) => Err("`resourceType` is not AuditEvent".to_owned()),
        None => own(value, original),
    }
}

/// Reads our own form, see `docs/formats/inbound.md`.
fn own(value: &Value, original: Vec<u8>) -> Result<Reported, String> {
    let Some(fields) = value.as_object() else { return Err("it is not a JSON object".to_owned()) };
    if fields.keys().any(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("it has a field that is not one of {}", FIELDS.join(", ")));
    }
    let text = |name: &str| name_of(value.get(name).and_then(Value::as_str), name);
    let (action, command) = match part(value, "/action").as_str() {
        Some("read") => deed("R"),
        Some("create") => deed("C"),
        Some("update") => deed("U"),
        Some("delete") => deed("D"),
        Some("execute") => deed("E"),
        Some(_) | None => return Err("`action` is not read, create, update, delete or execute".to_owned()),
    };
    let outcome = match part(value, "/outcome").as_str() {
        Some("success") => Some(Outcome::Completed),
        Some("failure") => Some(Outcome::Failed(FAILED)),
        None if part(value, "/outcome").is_null() => None,
        Some(_) | None => return Err("`outcome` is not success or failure".to_owned()),
    };
    Ok(Reported {
        id: text("id")?,
        happened: instant(part(value, "/at").as_str(), "at")?,
        person: text("person")?,
        action,
        command,
        outcome,
        address: address(part(value, "/address"))?,
        objects: objects(texts(part(value, "/objects"), "objects")?.into_iter()),
        patients: patients(texts(part(value, "/patients"), "patients")?)?,
        original,
    })
}

fn audit_event(value: &Value, original: Vec<u8>) -> Result<Reported, String> {
    let agents = part(value, "/agent").as_array().map(Vec::as_slice).unwrap_or_default();
    let requestor = agents.iter().find(|agent| part(agent, "/requestor") == true).or(agents.first());
    let Some(requestor) = requestor else { return Err("`agent` is missing".to_owned()) };
    let names =
        [part(requestor, "/who/identifier/value"), part(requestor, "/altId"), part(requestor, "/name")];
    let person =
        names.into_iter().chain([part(requestor, "/who/display"), part(requestor, "/who/reference")]);
    let person = name_of(person.filter_map(Value::as_str).next(), "agent.who")?;
    // Where it came from is said by the person's agent or by another one.
    let networks = std::iter::once(requestor).chain(agents).map(|agent| part(agent, "/network/address"));
    let address = networks.filter_map(Value::as_str).find_map(|text| text.parse().ok());
    let (action, command) = deed(part(value, "/action").as_str().unwrap_or("E"));
    let outcome = match part(value, "/outcome").as_str() {
        Some("0") => Some(Outcome::Completed),
        Some("4" | "8" | "12") => Some(Outcome::Failed(FAILED)),
        None if part(value, "/outcome").is_null() => None,
        Some(_) | None => return Err("`outcome` is not 0, 4, 8 or 12".to_owned()),
    };
    let entities = part(value, "/entity").as_array().map(Vec::as_slice).unwrap_or_default();
    let mut named = Vec::new();
    let mut touched = Vec::new();
    for entity in entities {
        match patient(entity)? {
            Some(patient) => named.push(patient),
            None => touched.extend(kind_of(entity)),
        }
    }
    Ok(Reported {
        id: name_of(part(value, "/id").as_str(), "id")?,
        happened: instant(part(value, "/recorded").as_str(), "recorded")?,
        person,
        action,
        command,
        outcome,
        address,
        objects: objects(touched.into_iter()),
        patients: patients(named)?,
        original,
    })
}

fn deed(letter: &str) -> (Action, &'static str) {
    match letter {
        "C" => (Action::Write, "CREATE"),
        "R" => (Action::Read, "READ"),
        "U" => (Action::Write, "UPDATE"),
        "D" => (Action::Write, "DELETE"),
        _ => (Action::Execute, "EXECUTE"),
    }
}

/// Returns the identifier, where an entity is a patient.
fn patient(entity: &Value) -> Result<Option<String>, String> {
    let what = part(entity, "/what");
    let reference = part(what, "/reference").as_str().unwrap_or_default();
    let segments: Vec<&str> = reference.split('/').collect();
    let referred = segments.iter().position(|part| *part == "Patient").and_then(|at| segments.get(at + 1));
    let is = part(entity, "/role/code") == "1" || part(what, "/type") == "Patient" || referred.is_some();
    if !is {
        return Ok(None);
    }
    let identifier = part(what, "/identifier/value").as_str().or(referred.copied());
    match identifier {
        Some(identifier) => Ok(Some(identifier.to_owned())),
        None => Err("`entity` is a patient without an identifier".to_owned()),
    }
}

/// Returns what kind of thing an entity is; not which one, because that may name a patient.
fn kind_of(entity: &Value) -> Option<String> {
    let what = part(entity, "/what");
    let reference = part(what, "/reference").as_str().unwrap_or_default();
    let kind = part(what, "/type").as_str().or(reference.rsplit('/').nth(1))?;
    kind.chars().all(|c| c.is_ascii_alphabetic()).then(|| kind.to_owned())
}

fn name_of(text: Option<&str>, field: &str) -> Result<String, String> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let Some(text) = text else { return Err(format!("`{field}` is missing")) };
    let text = printable(text);
    if text.len() > NAME_BYTES_MAX {
        return Err(format!("`{field}` is longer than {NAME_BYTES_MAX} bytes"));
    }
    Ok(text)
}

/// Returns what stands in a document there; null for what does not.
fn part<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Checks the form of a time; it is kept as it was said.
fn instant(text: Option<&str>, field: &str) -> Result<String, String> {
    let text = name_of(text, field)?;
    let zone = text.ends_with('Z') || text.get(19..).is_some_and(|rest| rest.contains(['+', '-']));
    let day = text.get(..10).is_some_and(|day| crate::output::parse_time(day).is_ok());
    let clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | '+' | '-' | 'Z');
    let rest =
        text.get(10..).and_then(|rest| rest.strip_prefix('T')).is_some_and(|rest| rest.chars().all(clock));
    if day && rest && zone {
        Ok(text)
    } else {
        Err(format!("`{field}` is not a time with its zone (RFC 3339)"))
    }
}

fn address(value: &Value) -> Result<Option<IpAddr>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => {
            text.parse().map(Some).map_err(|_| "`address` is not an IP address".to_owned())
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("`address` is not an IP address".to_owned())
        }
    }
}

fn texts(value: &Value, field: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{field}` is not a list of texts");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Err(wrong()),
    }
}

fn objects(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> =
        names.map(|name| crate::output::clipped(&printable(&name), NAME_BYTES_MAX)).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(OBJECTS_MAX);
    names
}

fn patients(mut identifiers: Vec<String>) -> Result<Vec<String>, String> {
    for identifier in &mut identifiers {
        *identifier = identifier.trim().to_owned();
        if identifier.is_empty() || identifier.len() > NAME_BYTES_MAX {
            return Err("a patient's identifier is empty or too long".to_owned());
        }
    }
    identifiers.sort_unstable();
    identifiers.dedup();
    if identifiers.len() > PATIENTS_MAX {
        return Err(format!("it names more than {PATIENTS_MAX} patients"));
    }
    Ok(identifiers)
}
