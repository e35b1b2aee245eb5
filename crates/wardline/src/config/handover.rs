//! `[export.NAME]` and `[inbound]`: who is told of what is recorded, and who may report events to be recorded.
//!
//! Deliberately absent: the tokens of those who report, which `wardline inbound add` makes and stores.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use export::{Begin, Format, Shown};

use super::read::Section;
use super::sections::{certificate, check_name, narrow, one_of, path, socket_address};
use super::{Certificate, files};

const FORMATS: [&str; 4] = ["fhir", "atna", "ocsf", "cloudevents"];

/// One receiver of what is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    pub(crate) format: Format,
    pub(crate) url: String,
    pub(crate) ca: Option<PathBuf>,
    /// Our own certificate and key there.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) bearer: Option<PathBuf>,
    pub(crate) patients: Shown,
    pub(crate) begin: Begin,
    pub(crate) retry_pause_max: Duration,
    pub(crate) alarm_after: Duration,
    pub(crate) timeout: Duration,
}

impl Export {
    /// Returns where it goes, without anything that might be a secret.
    pub(crate) fn place(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }
}

/// Where other systems report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inbound {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Certificate,
    pub(crate) body_bytes_max: usize,
    pub(crate) events_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) requests_per_minute_max: u32,
    /// Who may report, and whose identifiers each reports.
    pub(crate) sources: BTreeMap<String, Source>,
}

/// A system that reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) issuer: String,
}

/// Returns the receivers.
pub(super) fn exports(top: &Section<'_, '_>, base: &Path) -> BTreeMap<String, Export> {
    let mut exports = BTreeMap::new();
    for (name, section) in top.section("export").iter().flat_map(Section::named) {
        check_name(&section, "name of the export", &name);
        if let Some(export) = export(&section, base) {
            exports.insert(name.value, export);
        }
    }
    exports
}

fn export(section: &Section<'_, '_>, base: &Path) -> Option<Export> {
    let format = section.required("format", "\"fhir\"");
    let format = format.and_then(|format| one_of(section, "format", &format, &FORMATS)).and_then(Format::of);
    let url = url(section, format);
    let present = |name: &str| section.value(name).is_some();
    let ca = present("ca").then(|| path(section, "ca", "\"siem-ca.pem\"", base, files::check_certificates));
    let identity = (present("certificate") || present("key")).then(|| {
        let certificate = path(section, "certificate", "\"gw1.pem\"", base, files::check_certificates);
        let key = path(section, "key", "\"gw1.key\"", base, files::check_key);
        certificate.zip(key)
    });
    let bearer = present("bearer_file")
        .then(|| path(section, "bearer_file", "\"siem.token\"", base, files::check_secret));
    let patients = match section.text("patients", "\"tokens\"") {
        Some(text) => one_of(section, "patients", &text, &["tokens", "identifiers"])?,
        None => Shown::default().name(),
    };
    let begin = match section.text("begin", "\"beginning\"") {
        Some(text) => one_of(section, "begin", &text, &["beginning", "now"])?,
        None => "beginning",
    };
    let milliseconds =
        |name: &str, most, default| Duration::from_millis(section.number(name, 100..=most, default));
    let retry_pause_max = milliseconds("retry_pause_ms_max", 3_600_000, 60_000);
    let timeout = milliseconds("timeout_ms", 600_000, 30_000);
    let alarm_after = Duration::from_secs(section.number("alarm_after_s", 1..=86_400, 600));
    Some(Export {
        format: format?,
        url: url?,
        ca: whole(ca)?,
        identity: whole(identity)?,
        bearer: whole(bearer)?,
        patients: if patients == "identifiers" { Shown::Identifiers } else { Shown::Tokens },
        begin: if begin == "now" { Begin::Now } else { Begin::Beginning },
        retry_pause_max,
        alarm_after,
        timeout,
    })
}

/// Returns `None` only for what is there and wrong.
fn whole<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
        None => Some(None),
    }
}

fn url(section: &Section<'_, '_>, format: Option<Format>) -> Option<String> {
    let url = section.required("url", "\"https://siem.example/audit\"")?;
    let wanted = match format? {
        Format::Atna => "tls://",
        Format::Fhir | Format::Ocsf | Format::CloudEvents | Format::Notice(_) => "https://",
    };
    let rest = url.value.strip_prefix(wanted);
    // What stands before an `@` is a password, and would be shown in the log.
    if rest.is_none_or(|rest| rest.is_empty() || rest.contains('@')) {
        let message = format!("`{}` is no address for this format: `{}`", section.child("url"), url.value);
        let help = format!("write `{wanted}host`, without a user; a token goes into `bearer_file`");
        section.reader().error(url.offset, message, help);
        return None;
    }
    Some(url.value)
}

/// Returns the way in, where there is one.
pub(super) fn inbound(top: &Section<'_, '_>, base: &Path) -> Option<Inbound> {
    let section = top.section("inbound")?;
    let address = section.required("address", "\"127.0.0.1:8443\"");
    let address = address.and_then(|text| socket_address(&section, "address", &text));
    let certificate = certificate(&section, base);
    let mut sources = BTreeMap::new();
    for (name, source) in section.section("source").iter().flat_map(Section::named) {
        check_name(&source, "name of the source", &name);
        if let Some(issuer) = source.required("issuer", "\"hospital\"") {
            sources.insert(name.value, Source { issuer: issuer.value });
        }
    }
    Some(Inbound {
        address: address?,
        certificate: certificate?,
        body_bytes_max: narrow(section.number("body_bytes_max", 1_024..=64 << 20, 4 << 20)),
        events_max: narrow(section.number("events_max", 1..=10_000, 1_000)),
        connections_max: narrow(section.number("connections_max", 1..=10_000, 64)),
        requests_per_minute_max: narrow(section.number("requests_per_minute_max", 1..=1_000_000, 600)),
        sources,
    })
}
