//! Entries of the trail for people and for machines. Pure: an entry in, text or JSON out.
//!
//! Everything that came from a client or a database is made printable. Literals are shown only when they were opened,
//! which the caller records first.

use std::fmt::Write as _;
use std::time::Duration;

use model::{Kind, Outcome, Phase, Record, Verdict};
use serde_json::{Map, Value, json};
use trail::{Entry, OpenedPatients};

use crate::output::{Paint, hex, printable, time};

/// What was sealed into an entry, opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The statement's literals as written; `None` for one that was withheld because it may be a password.
    pub(crate) literals: Vec<Option<String>>,
    /// The bound parameters: text, or hexadecimal behind `\x` where they were sent in binary; `None` for NULL.
    pub(crate) parameters: Vec<Option<String>>,
    /// The bytes are of a form that this version does not know.
    pub(crate) unreadable: Option<usize>,
    /// The patients that the entry names.
    pub(crate) patients: Option<OpenedPatients>,
}

impl Opened {
    /// Reads the plaintext: see `docs/formats/record.md`.
    pub(crate) fn read(plain: &[u8]) -> Opened {
        let read = || {
            let (length, rest) = plain.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (literals, parameters) = rest.split_at_checked(length)?;
            Some((literals_of(literals)?, parameters_of(parameters)?))
        };
        match read() {
            Some((literals, parameters)) => Opened { literals, parameters, ..Opened::default() },
            None => Opened { unreadable: Some(plain.len()), ..Opened::default() },
        }
    }
}

/// Reads LEB128 lengths, one more than the bytes that follow; 0 stands for a literal that was withheld.
fn literals_of(mut bytes: &[u8]) -> Option<Vec<Option<String>>> {
    let mut literals = Vec::new();
    while !bytes.is_empty() {
        let (mut length, mut shift) = (0_usize, 0_u32);
        loop {
            let (byte, rest) = bytes.split_first()?;
            bytes = rest;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some(length) = length.checked_sub(1) else {
            literals.push(None);
            continue;
        };
        let (literal, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        literals.push(Some(String::from_utf8_lossy(literal).into_owned()));
    }
    Some(literals)
}

/// Reads bound parameters as on the wire: format codes, count, values.
fn parameters_of(mut bytes: &[u8]) -> Option<Vec<Option<String>>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut number = || {
        let (value, rest) = bytes.split_first_chunk::<2>()?;
        bytes = rest;
        Some(i16::from_be_bytes(*value))
    };
    let formats: Vec<i16> = (0..number()?).map(|_| number()).collect::<Option<_>>()?;
    let count = usize::try_from(number()?).ok()?;
    let mut parameters = Vec::new();
    for index in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            bytes = rest;
            parameters.push(None);
            continue;
        }
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        bytes = rest;
        // One code stands for all; none means text.
        let format = formats.get(index).or(formats.first().filter(|_| formats.len() == 1)).copied();
        let binary = format.unwrap_or(0) != 0;
        let text =
            if binary { format!("\\x{}", hex(value)) } else { String::from_utf8_lossy(value).into_owned() };
        parameters.push(Some(text));
    }
    Some(parameters)
}

/// Returns an entry as one JSON object; absent fields are left out.
pub(crate) fn json(entry: &Entry, opened: Option<&Opened>) -> Value {
    let record = &entry.record;
    let mut object = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    put("index", Some(json!(entry.index)));
    put("kind", Some(json!(record.kind.name())));
    put("at", Some(json!(time(record.at))));
    put("at_us", Some(json!(record.at.0)));
    put("session", record.session.map(|id| json!(id.to_string())));
    put("operation", record.operation.map(|id| json!(id.0)));
    put("phase", record.phase.map(|phase| json!(phase.name())));
    put("person", record.person.map(|id| json!(id.to_string())));
    put("person_name", record.person_name.as_ref().map(|name| json!(name)));
    put("address", record.address.map(|address| json!(address.to_string())));
    put("port", record.port.map(|port| json!(port)));
    put("client", record.client.as_ref().map(|client| json!(client)));
    put("resource", record.resource.as_ref().map(|resource| json!(resource)));
    put("purpose", record.purpose.as_ref().map(|purpose| json!(purpose)));
    put("action", record.action.map(|action| json!(action.name())));
    put("command", record.command.as_ref().map(|command| json!(command)));
    put("statement", record.statement.as_ref().map(|statement| json!(statement)));
    put("objects", (!record.objects.is_empty()).then(|| json!(record.objects)));
    put("verdict", record.verdict.map(|verdict| json!(verdict_name(verdict))));
    put("policies", (!record.policies.is_empty()).then(|| json!(record.policies)));
    put("policy_version", record.policy_version.map(|version| json!(version)));
    put("rows", record.rows.map(|rows| json!(rows)));
    put("bytes", record.bytes.map(|bytes| json!(bytes)));
    put("duration_us", record.duration_us.map(|duration| json!(duration)));
    put("outcome", record.outcome.map(|outcome| json!(outcome.name())));
    if let Some(Outcome::Failed(state)) = record.outcome {
        put("sqlstate", Some(json!(state.text())));
    }
    put("detail", record.detail.as_ref().map(|detail| json!(detail)));
    put("masked", (!record.masked.is_empty()).then(|| json!(record.masked)));
    put("unmasked", (!record.unmasked.is_empty()).then(|| json!(record.unmasked)));
    put("unresolved", record.unresolved.map(|rows| json!(rows)));
    if let Some(patients) = &record.patients {
        let tokens: Vec<String> = patients.tokens().iter().map(ToString::to_string).collect();
        put("patients", Some(json!(tokens)));
        put("patients_year", Some(json!(patients.year())));
    }
    put("source", record.source.as_ref().map(|source| json!(source)));
    put("source_event", record.source_event.as_ref().map(|event| json!(event)));
    put("emergency", record.emergency.map(|number| json!(number)));
    put("agent", record.agent.as_ref().map(|agent| json!(agent)));
    put("sign_in", record.sign_in.as_ref().map(|how| json!(how)));
    put("certificate", record.certificate.map(|id| json!(id.to_string())));
    put("sealed_bytes", record.sealed.as_ref().map(|sealed| json!(sealed.len())));
    if let Some(opened) = opened {
        put("literals", Some(json!(opened.literals)));
        put("parameters", Some(json!(opened.parameters)));
        put("issuer", opened.patients.as_ref().map(|patients| json!(patients.issuer)));
        put("identifiers", opened.patients.as_ref().map(|patients| json!(identifiers(patients))));
    }
    Value::Object(object)
}

fn identifiers(patients: &OpenedPatients) -> Vec<String> {
    patients.identifiers.iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect()
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// Returns an entry as a few lines with a heading.
pub(crate) fn text(entry: &Entry, opened: Option<&Opened>, paint: Paint) -> String {
    let record = &entry.record;
    let mut lines = Vec::new();
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("  {} {value}", paint.dim(&format!("{label:<10}"))));
        }
    };
    line("source", record.source.as_ref().map(|source| source_of(source, record)));
    line("who", who(record));
    line("resource", resource(record));
    line("agent", record.agent.as_ref().map(|agent| printable(agent)));
    line("purpose", record.purpose.as_ref().map(|purpose| printable(purpose)));
    line("emergency", record.emergency.map(|number| number.to_string()));
    line("command", record.command.as_ref().map(|command| printable(command)));
    line("statement", record.statement.as_ref().map(|statement| printable(statement)));
    line("values", values(record, opened));
    line("touched", listed(&record.objects));
    line("patients", patients(record, opened));
    line("masked", listed(&record.masked));
    line("in clear", listed(&record.unmasked));
    line("decision", decision(record));
    line("result", result(record));
    line("signed in", record.sign_in.as_ref().map(|how| format!("by {}", printable(how))));
    line("detail", record.detail.as_ref().map(|detail| printable(detail)));
    let mut text = heading(entry, paint);
    for line in lines {
        text.push('\n');
        text.push_str(&line);
    }
    text
}

fn heading(entry: &Entry, paint: Paint) -> String {
    let record = &entry.record;
    let mut what = title(record.kind).to_owned();
    if record.kind == Kind::AdminChange && record.action == Some(model::Action::Read) {
        what = "access by an administrator".to_owned();
    }
    if let Some(phase) = record.phase {
        write!(what, ", {}", phase_words(phase)).expect("writing to a string succeeds");
    }
    let refused = record.verdict == Some(Verdict::Deny) || record.outcome == Some(Outcome::Refused);
    let what = match record.kind {
        Kind::Incident => paint.bad(&what),
        _ if refused => paint.bad(&format!("{what} REFUSED").replace(", refused REFUSED", " REFUSED")),
        Kind::Operation | Kind::SignIn => paint.good(&what),
        _ => what,
    };
    format!("{}  {}  {what}", paint.bold(&format!("#{}", entry.index)), time(record.at))
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::NodeStarted => "node started",
        Kind::NodeStopped => "node stopped",
        Kind::Heartbeat => "heartbeat",
        Kind::SegmentOpened => "segment opened",
        Kind::PolicyActivated => "policy in force",
        Kind::ConfigActivated => "configuration in force",
        Kind::EpochHead => "where the log stood at the start",
        Kind::KeyRotated => "the key that signs checkpoints changed",
        Kind::KeyDestroyed => "TOMBSTONE: keys destroyed",
        Kind::SignIn => "sign-in",
        Kind::SessionOpened => "session opened",
        Kind::SessionClosed => "session closed",
        Kind::SegmentSealed => "segment sealed",
        Kind::BackedUp => "backed up",
        Kind::Restored => "restored",
        Kind::ArchiveManifest => "archived",
        Kind::Operation => "access",
        Kind::AdminChange => "change by an administrator",
        Kind::Incident => "INCIDENT",
        Kind::TrailViewed => "trail read",
        Kind::EmergencyBegun => "EMERGENCY ACCESS",
        Kind::EmergencyEnded => "emergency access is over",
        Kind::EmergencyReviewed => "emergency access reviewed",
        Kind::Reported => "access, as another system reported it",
        Kind::Exported => "handed over",
    }
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Complete => "complete",
        Phase::Admitted => "about to be done",
        Phase::Progress => "under way",
        Phase::Settled => "settled",
        Phase::Refused => "refused",
    }
}

fn source_of(source: &str, record: &Record<'_>) -> String {
    let event = record.source_event.as_ref().map(|event| format!(" (event {})", printable(event)));
    format!("{}{}", printable(source), event.unwrap_or_default())
}

fn who(record: &Record<'_>) -> Option<String> {
    let mut text = record.person_name.as_ref().map(|name| printable(name)).unwrap_or_default();
    if let Some(id) = record.person {
        write!(text, " (id {id})").expect("writing to a string succeeds");
    }
    if let Some(address) = record.address {
        let port = record.port.map(|port| format!(" port {port}")).unwrap_or_default();
        write!(text, " from {address}{port}").expect("writing to a string succeeds");
    }
    if let Some(client) = record.client.as_ref().filter(|client| !client.is_empty()) {
        write!(text, " with {}", printable(client)).expect("writing to a string succeeds");
    }
    let text = text.trim_start().to_owned();
    (!text.is_empty()).then_some(text)
}

fn resource(record: &Record<'_>) -> Option<String> {
    let mut text = record.resource.as_ref().map(|resource| printable(resource)).unwrap_or_default();
    if let Some(session) = record.session {
        write!(text, "  session {session}").expect("writing to a string succeeds");
    }
    if let Some(operation) = record.operation {
        write!(text, "  operation {}", operation.0).expect("writing to a string succeeds");
    }
    let text = text.trim_start().to_owned();
    (!text.is_empty()).then_some(text)
}

fn values(record: &Record<'_>, opened: Option<&Opened>) -> Option<String> {
    let Some(opened) = opened.filter(|_| record.sealed.is_some()) else {
        return record.sealed.as_ref().map(|_| "sealed; --open-sealed shows them".to_owned());
    };
    if let Some(bytes) = opened.unreadable {
        return Some(format!("{bytes} bytes of a form that this version does not know"));
    }
    let literals = opened.literals.iter().map(|literal| match literal {
        Some(literal) => printable(literal),
        None => "(withheld: may be a password)".to_owned(),
    });
    let parameters = opened.parameters.iter().enumerate().map(|(index, value)| {
        let value = value.as_ref().map_or("NULL".to_owned(), |value| printable(value));
        format!("parameter {} = {value}", index + 1)
    });
    let all: Vec<String> = literals.chain(parameters).collect();
    Some(if all.is_empty() { "none".to_owned() } else { all.join(", ") })
}

fn patients(record: &Record<'_>, opened: Option<&Opened>) -> Option<String> {
    let named = record.patients.as_ref().map(|patients| match opened.and_then(|o| o.patients.as_ref()) {
        Some(opened) => {
            let identifiers: Vec<String> = identifiers(opened).iter().map(|id| printable(id)).collect();
            format!("{} of {}", identifiers.join(", "), printable(&opened.issuer))
        }
        None => format!("{} named; --open-sealed shows them", patients.tokens().len()),
    });
    let unresolved = record.unresolved.map(|rows| format!("{rows} rows of patients who are not known"));
    let parts: Vec<String> = named.into_iter().chain(unresolved).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn decision(record: &Record<'_>) -> Option<String> {
    let verdict = record.verdict?;
    let word = match verdict {
        Verdict::Allow => "allowed",
        Verdict::Deny => "denied",
    };
    let because = match listed(&record.policies) {
        Some(policies) => format!(" by {policies}"),
        None => ": no policy allows it".to_owned(),
    };
    let needed = record.action.map(|action| format!("{} ", action.name())).unwrap_or_default();
    let version =
        record.policy_version.map(|version| format!(" (policy version {version})")).unwrap_or_default();
    Some(format!("{needed}{word}{because}{version}"))
}

fn result(record: &Record<'_>) -> Option<String> {
    let mut parts = Vec::new();
    match record.outcome {
        Some(Outcome::Failed(state)) => parts.push(format!("failed with SQLSTATE {}", state.text())),
        Some(Outcome::Unknown) => parts.push("unknown: the session ended before an answer".to_owned()),
        Some(outcome) => parts.push(outcome.name().to_owned()),
        None => {}
    }
    parts.extend(record.rows.map(|rows| if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }));
    parts.extend(record.bytes.map(|bytes| format!("{bytes} bytes")));
    parts.extend(record.duration_us.map(|us| format!("{:?}", Duration::from_micros(us))));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn listed(items: &[std::borrow::Cow<'_, str>]) -> Option<String> {
    let shown: Vec<String> = items.iter().map(|item| printable(item)).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

#[cfg(test)]
mod tests {
    use model::{Action, Micros, OperationId, PersonId, SessionId, SqlState};

    use super::*;

    fn entry() -> Entry {
        let mut record = Record::new(Kind::Operation, Micros(1_795_426_816_000_042));
        record.session = Some(SessionId(7));
        record.operation = Some(OperationId(3));
        record.phase = Some(Phase::Complete);
        record.person = Some(PersonId(9));
        record.person_name = Some("ann".into());
        record.address = Some("10.0.0.7".parse().expect("an address"));
        record.port = Some(51_234);
        record.client = Some("psql\u{1b}[2J".into());
        record.resource = Some("hospital".into());
        record.action = Some(Action::Read);
        record.command = Some("SELECT".into());
        record.statement = Some("SELECT * FROM patients WHERE id = $1".into());
        record.sealed = Some(vec![1, 2, 3].into());
        record.objects = vec!["public.patients".into()];
        record.verdict = Some(Verdict::Allow);
        record.policies = vec!["role.nurse.1.read".into()];
        record.purpose = Some("treatment".into());
        record.policy_version = Some(5);
        record.rows = Some(1);
        record.bytes = Some(120);
        record.duration_us = Some(3_200);
        record.outcome = Some(Outcome::Completed);
        Entry { index: 1042, time_us: 0, segment: 0, offset: 0, record }
    }

    const PLAIN: &[u8] = b"\0\0\0\x0a\x08'12345'\0\0\0x";

    #[test]
    fn an_access_reads_like_a_sentence() {
        let paint = Paint::off();
        let expected = "#1042  2026-11-23T09:40:16.000042Z  access, complete
  who        ann (id 00000000000000000000000000000009) from 10.0.0.7 port 51234 with psql\\u{1b}[2J
  resource   hospital  session 00000000000000000000000000000007  operation 3
  purpose    treatment
  command    SELECT
  statement  SELECT * FROM patients WHERE id = $1
  values     sealed; --open-sealed shows them
  touched    public.patients
  decision   Read allowed by role.nurse.1.read (policy version 5)
  result     completed, 1 row, 120 bytes, 3.2ms";
        assert_eq!(text(&entry(), None, paint), expected);
        let mut refused = entry();
        refused.record.phase = Some(Phase::Refused);
        refused.record.verdict = Some(Verdict::Deny);
        refused.record.policies = Vec::new();
        refused.record.outcome = Some(Outcome::Refused);
        let shown = text(&refused, None, paint);
        assert!(shown.starts_with("#1042  2026-11-23T09:40:16.000042Z  access REFUSED\n"), "{shown}");
        assert!(shown.contains("Read denied: no policy allows it"), "{shown}");
    }

    #[test]
    fn json_has_the_facts_and_no_sealed_value() {
        let value = json(&entry(), None);
        assert_eq!(value["kind"], "operation");
        assert_eq!(value["verdict"], "allow");
        assert_eq!(value["purpose"], "treatment");
        assert_eq!(value["sealed_bytes"], 3);
        assert!(value.get("literals").is_none() && value.get("detail").is_none());
        let mut failed = entry();
        failed.record.outcome = Some(Outcome::Failed(SqlState(*b"42P01")));
        assert_eq!(json(&failed, None)["sqlstate"], "42P01");
    }

    #[test]
    fn sealed_values_are_read_back() {
        let literals = b"\x08'12345'\0".to_vec();
        let mut plain = u32::try_from(literals.len()).expect("short").to_be_bytes().to_vec();
        plain.extend(&literals);
        // Two formats (text, binary), three parameters would need three; one format stands for all.
        plain.extend(b"\0\x01\0\x01\0\x02\0\0\0\x02\xab\xcd\xff\xff\xff\xff");
        let opened = Opened::read(&plain);
        assert_eq!(opened.literals, [Some("'12345'".to_owned()), None]);
        assert_eq!(opened.parameters, [Some("\\xabcd".to_owned()), None]);
        let shown = text(&entry(), Some(&opened), Paint::off());
        assert!(shown.contains("'12345', (withheld: may be a password), parameter 1 = \\xabcd"), "{shown}");
    }

    #[test]
    fn no_prefix_of_sealed_values_is_misread() {
        assert!(Opened::read(PLAIN).unreadable.is_some());
        for end in 0..PLAIN.len() {
            let opened = Opened::read(&PLAIN[..end]);
            assert!(opened.unreadable.is_some() || opened.literals.len() == 3, "{opened:?}");
        }
        assert_eq!(Opened::read(b"\0\0\0\0"), Opened::default());
    }
}
