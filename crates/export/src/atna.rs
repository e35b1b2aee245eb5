//! The audit message of DICOM PS3.15 A.5, as IHE ATNA (ITI-20) sends it: XML in a syslog message of RFC 5424. Pure.

use std::fmt::Write as _;

use model::Kind;

use crate::event::{About, Deed, Event, Result};
use crate::text::{shown, time};

/// Facility 10 (security), severity 5 (notice).
const PRIORITY: &str = "85";
/// The longest HOSTNAME of RFC 5424.
const HOSTNAME_CHARS_MAX: usize = 255;

/// Returns an event as a syslog message.
pub(crate) fn syslog(event: &Event<'_>) -> String {
    let host: String = event.origin.chars().filter(char::is_ascii_graphic).take(HOSTNAME_CHARS_MAX).collect();
    let host = if host.is_empty() { "-" } else { &host };
    let at = time(event.record().at);
    format!("<{PRIORITY}>1 {at} {host} wardline - DICOM+RFC3881 - \u{feff}{}", message(event))
}

/// A code of DICOM's own scheme.
#[derive(Clone, Copy)]
struct Code(&'static str, &'static str);

const APPLICATION: Code = Code("110150", "Application");
const DESTINATION: Code = Code("110152", "Destination Role ID");
const SOURCE: Code = Code("110153", "Source Role ID");

/// Returns an event as an audit message, in one line.
pub(crate) fn message(event: &Event<'_>) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><AuditMessage>");
    identification(event, &mut xml);
    participants(event, &mut xml);
    write!(
        xml,
        "<AuditSourceIdentification AuditSourceID=\"{}\"><AuditSourceTypeCode csd-code=\"4\" \
         codeSystemName=\"DCM\" originalText=\"Application Server\"/></AuditSourceIdentification>",
        escaped(event.origin)
    )
    .expect("writing to a string succeeds");
    objects(event, &mut xml);
    xml.push_str("</AuditMessage>");
    xml
}

fn identification(event: &Event<'_>, xml: &mut String) {
    let (id, kind) = codes(event);
    let outcome = match event.result() {
        // The format has no word for what is not known yet; the description says it.
        Result::Success | Result::Pending => "0",
        Result::Refused => "4",
        Result::Failed => "8",
        Result::Unknown => "12",
    };
    let mut words = event.result().words().to_owned();
    if let Some(detail) = event.words() {
        words = format!("{words}; {detail}");
    }
    write!(
        xml,
        "<EventIdentification EventActionCode=\"{}\" EventDateTime=\"{}\" EventOutcomeIndicator=\"{outcome}\">",
        event.deed().letter(),
        time(event.record().at)
    )
    .expect("writing to a string succeeds");
    coded(xml, "EventID", id);
    if let Some(kind) = kind {
        coded(xml, "EventTypeCode", kind);
    }
    write!(
        xml,
        "<EventOutcomeDescription>{}</EventOutcomeDescription></EventIdentification>",
        escaped(&words)
    )
    .expect("writing to a string succeeds");
}

fn codes(event: &Event<'_>) -> (Code, Option<Code>) {
    let authentication = Code("110114", "User Authentication");
    let alert = Code("110113", "Security Alert");
    match event.about {
        About::Node if event.record().kind == Kind::NodeStopped => {
            (Code("110100", "Application Activity"), Some(Code("110121", "Application Stop")))
        }
        About::Node => (Code("110100", "Application Activity"), Some(Code("110120", "Application Start"))),
        About::Settings => (alert, Some(Code("110129", "Security Configuration"))),
        About::SignIn => (authentication, Some(Code("110122", "Login"))),
        About::Session if event.record().kind == Kind::SessionClosed => {
            (authentication, Some(Code("110123", "Logout")))
        }
        About::Session => (authentication, Some(Code("110122", "Login"))),
        About::Operation if event.is_transfer() => (Code("110106", "Export"), None),
        About::Operation if event.patient.is_some() => (Code("110110", "Patient Record"), None),
        About::Operation => match event.deed() {
            Deed::Read => (Code("110112", "Query"), None),
            Deed::Create | Deed::Update | Deed::Delete | Deed::Execute => {
                (Code("110110", "Patient Record"), None)
            }
        },
        About::Administration => (alert, Some(Code("110137", "User Security Attributes Changed"))),
        About::Incident => (alert, Some(Code("110135", "Object Security Attributes Changed"))),
        About::Trail => (Code("110101", "Audit Log Used"), None),
        About::Reported => (Code("110110", "Patient Record"), None),
    }
}

fn coded(xml: &mut String, element: &str, Code(code, words): Code) {
    write!(xml, "<{element} csd-code=\"{code}\" codeSystemName=\"DCM\" originalText=\"{words}\"/>")
        .expect("writing to a string succeeds");
}

fn participants(event: &Event<'_>, xml: &mut String) {
    let record = event.record();
    let user = record.person.map_or_else(|| event.person(), |id| id.to_string());
    write!(
        xml,
        "<ActiveParticipant UserID=\"{}\" UserName=\"{}\" UserIsRequestor=\"true\"",
        escaped(&user),
        escaped(&event.person())
    )
    .expect("writing to a string succeeds");
    if let Some(address) = record.address {
        write!(xml, " NetworkAccessPointID=\"{address}\" NetworkAccessPointTypeCode=\"2\"")
            .expect("writing to a string succeeds");
    }
    xml.push('>');
    coded(xml, "RoleIDCode", if event.deed() == Deed::Read { DESTINATION } else { SOURCE });
    xml.push_str("</ActiveParticipant>");
    if let Some(program) = record.client.as_deref() {
        participant(xml, program, APPLICATION);
    }
    let role = if event.deed() == Deed::Read { SOURCE } else { DESTINATION };
    participant(xml, &event.resource(), role);
}

fn participant(xml: &mut String, name: &str, role: Code) {
    write!(xml, "<ActiveParticipant UserID=\"{}\" UserIsRequestor=\"false\">", escaped(name))
        .expect("writing to a string succeeds");
    coded(xml, "RoleIDCode", role);
    xml.push_str("</ActiveParticipant>");
}

fn objects(event: &Event<'_>, xml: &mut String) {
    let record = event.record();
    if let Some(patient) = event.patient {
        let id = match &patient.identifier {
            // As an HL7 CX: the identifier, and whose it is.
            Some((issuer, identifier)) => format!("{identifier}^^^{issuer}"),
            None => patient.token.to_string(),
        };
        object(xml, &id, "1", "1", "2", "Patient Number", &[]);
    }
    let entry = event.entry_id();
    let mut details = vec![("entry", entry), ("id", event.id()), ("kind", record.kind.name().to_owned())];
    let statement = record.statement.as_ref().map(ToString::to_string);
    let facts = [
        ("phase", record.phase.map(|phase| phase.name().to_owned())),
        ("command", record.command.as_ref().map(ToString::to_string)),
        ("statement", statement.filter(|statement| !statement.is_empty())),
        ("rows", record.rows.map(|rows| rows.to_string())),
        ("rows-of-unknown-patients", record.unresolved.map(|rows| rows.to_string())),
        ("operation", event.operation_id()),
        ("source", record.source.as_ref().map(ToString::to_string)),
        ("agent", record.agent.as_ref().map(ToString::to_string)),
        ("source-event", record.source_event.as_ref().map(ToString::to_string)),
        ("sign-in", record.sign_in.as_ref().map(ToString::to_string)),
        ("emergency", record.emergency.map(|number| number.to_string())),
    ];
    details.extend(facts.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let named: Vec<&str> = record.objects.iter().map(AsRef::as_ref).collect();
    let what = if named.is_empty() { event.resource() } else { named.join(", ") };
    object(xml, &what, "2", if event.patient.is_some() { "3" } else { "13" }, "12", "URI", &details);
}

fn object(
    xml: &mut String,
    id: &str,
    kind: &str,
    role: &str,
    code: &str,
    words: &str,
    details: &[(&str, String)],
) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    write!(
        xml,
        "<ParticipantObjectIdentification ParticipantObjectID=\"{}\" ParticipantObjectTypeCode=\"{kind}\" \
         ParticipantObjectTypeCodeRole=\"{role}\"><ParticipantObjectIDTypeCode csd-code=\"{code}\" \
         codeSystemName=\"RFC-3881\" originalText=\"{words}\"/>",
        escaped(id)
    )
    .expect("writing to a string succeeds");
    for (name, value) in details {
        let value = STANDARD.encode(shown(value));
        write!(xml, "<ParticipantObjectDetail type=\"{name}\" value=\"{value}\"/>")
            .expect("writing to a string succeeds");
    }
    xml.push_str("</ParticipantObjectIdentification>");
}

/// Returns text for an attribute or the content of an element.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
