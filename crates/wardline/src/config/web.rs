//! `[web]`: where the API is served, and by which address people reach it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::Certificate;
use super::read::Section;
use super::sections::{certificate, narrow, socket_address};

/// Where the API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    /// What browsers are told: `https://`, a name, perhaps a port, nothing behind.
    pub(crate) url: String,
    pub(crate) certificate: Certificate,
    pub(crate) connections_max: usize,
    /// From one address.
    pub(crate) requests_per_minute_max: u32,
    /// Of a session in a browser.
    pub(crate) idle_timeout: Duration,
    pub(crate) session_lifetime_max: Duration,
}

/// Returns where the API is served, where it is.
pub(super) fn web(top: &Section<'_, '_>, base: &Path) -> Option<Web> {
    let section = top.section("web")?;
    let address = section.required("address", "\"127.0.0.1:8444\"");
    let address = address.and_then(|text| socket_address(&section, "address", &text));
    let certificate = certificate(&section, base);
    let url = match section.text("url", "\"https://wardline.example.org\"") {
        Some(url) => {
            let name = url.value.strip_prefix("https://").unwrap_or_default();
            let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
            if name.is_empty() || name.contains(odd) {
                let message = format!("`{}` is no such address: `{}`", section.child("url"), url.value);
                let help = "write `https://NAME` or `https://NAME:PORT`, with nothing behind";
                section.reader().error(url.offset, message, help);
                return None;
            }
            url.value
        }
        None => format!("https://{}", address?),
    };
    Some(Web {
        address: address?,
        url,
        certificate: certificate?,
        connections_max: narrow(section.number("connections_max", 1..=10_000, 256)),
        requests_per_minute_max: narrow(section.number("requests_per_minute_max", 10..=1_000_000, 600)),
        idle_timeout: Duration::from_secs(section.number("idle_timeout_s", 60..=86_400, 900)),
        session_lifetime_max: Duration::from_secs(section.number(
            "session_lifetime_s_max",
            300..=604_800,
            43_200,
        )),
    })
}
