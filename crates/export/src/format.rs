//! The formats, and what each makes of an event. Pure.

use serde_json::Value;

use crate::event::Event;
use crate::notice::{self, Topics};
use crate::{atna, cloud, fhir, ocsf};

/// A format that other systems take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// FHIR R4 AuditEvent, with the profiles of IHE BALP where one fits.
    Fhir,
    /// The DICOM audit message of IHE ATNA (ITI-20) in RFC 5424.
    Atna,
    /// OCSF.
    Ocsf,
    /// CloudEvents 1.0 in JSON, with OCSF inside.
    CloudEvents,
    /// Messages to people about what they must hear of at once; no format of other systems.
    Notice(Topics),
}

impl Format {
    /// All formats of other systems.
    pub const ALL: [Format; 4] = [Format::Fhir, Format::Atna, Format::Ocsf, Format::CloudEvents];

    /// Returns the word of the command line and the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Format::Fhir => "fhir",
            Format::Atna => "atna",
            Format::Ocsf => "ocsf",
            Format::CloudEvents => "cloudevents",
            Format::Notice(_) => "notice",
        }
    }

    /// Returns the format of a word.
    pub fn of(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Returns an event as one line of text, without its end.
    pub fn line(self, event: &Event<'_>) -> String {
        let json = |value: Value| value.to_string();
        match self {
            Format::Fhir => json(fhir::audit_event(event)),
            Format::Atna => atna::syslog(event),
            Format::Ocsf => json(ocsf::event(event)),
            Format::CloudEvents => json(cloud::event(event)),
            Format::Notice(_) => json(notice::message(event)),
        }
    }
}
