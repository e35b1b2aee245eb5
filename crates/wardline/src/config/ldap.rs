//! `[ldap]`: a directory that says who there is, and checks their passwords.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use policy::Role;

use super::oidc::given;
use super::read::{At, Section};
use super::sections::{narrow, path};
use super::{Listener, files};

/// The directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) url: String,
    pub(crate) starttls: bool,
    pub(crate) ca: Option<PathBuf>,
    /// As whom people are looked for.
    pub(crate) bind_dn: String,
    pub(crate) bind_password: PathBuf,
    pub(crate) base: String,
    /// Who counts as a person who may be here.
    pub(crate) filter: String,
    pub(crate) name_attribute: String,
    pub(crate) id_attribute: String,
    pub(crate) groups_attribute: String,
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    pub(crate) sync_interval: Duration,
    /// More people than this do not leave at once: then something else is wrong.
    pub(crate) departures_max: usize,
}

impl Directory {
    /// Returns the roles of somebody in these groups, in order.
    pub(crate) fn roles_of(&self, groups: &[String]) -> Vec<String> {
        let given = groups.iter().filter_map(|group| {
            self.groups.iter().find(|(name, _)| name.eq_ignore_ascii_case(group)).map(|(_, roles)| roles)
        });
        let mut roles: Vec<String> = given.flatten().cloned().collect();
        roles.sort();
        roles.dedup();
        roles
    }

    /// Tells whether the directory decides over a role.
    pub(crate) fn gives(&self, role: &str) -> bool {
        self.groups.values().flatten().any(|given| given == role)
    }
}

/// Reads the section; `None` when it is left out or wrong.
pub(super) fn directory(
    top: &Section<'_, '_>,
    roles: &[Role],
    listener: Option<&Listener>,
    base: &Path,
) -> Option<Directory> {
    let section = top.section("ldap")?;
    let url = section.required("url", "\"ldaps://ldap.example.org\"");
    let starttls = section.boolean("starttls").is_some_and(|at| at.value);
    let plaintext = section.boolean("plaintext").is_some_and(|at| at.value);
    let url = url.filter(|url| is_protected(&section, url, starttls, plaintext));
    if listener.is_some_and(|listener| listener.scram) {
        let message = "[ldap] needs the password itself, which SCRAM does not send";
        section.reader().error(section.offset(), message, "remove `listener.postgres.scram`");
    }
    let ca = section.value("ca").is_some();
    let ca = ca.then(|| path(&section, "ca", "\"ldap-ca.pem\"", base, files::check_certificates));
    let bind_dn = section.required("bind_dn", "\"cn=wardline,dc=example,dc=org\"");
    let bind_password = path(&section, "bind_password_file", "\"ldap.secret\"", base, files::check_secret);
    let within = section.required("base", "\"ou=people,dc=example,dc=org\"");
    let attribute = |name: &str, usual: &str| {
        section.text(name, &format!("\"{usual}\"")).map_or(usual.to_owned(), |at| at.value)
    };
    let seconds = section.number("sync_interval_s", 5..=3_600, 30);
    Some(Directory {
        starttls,
        ca: match ca {
            Some(ca) => Some(ca?),
            None => None,
        },
        bind_dn: bind_dn?.value,
        bind_password: bind_password?,
        base: within?.value,
        filter: attribute("filter", "(objectClass=person)"),
        name_attribute: attribute("name_attribute", "uid"),
        id_attribute: attribute("id_attribute", "entryUUID"),
        groups_attribute: attribute("groups_attribute", "memberOf"),
        groups: section.section("groups").map(|groups| given(&groups, roles)).unwrap_or_default(),
        sync_interval: Duration::from_secs(seconds),
        departures_max: narrow(section.number("departures_max", 1..=100_000, 10)),
        url: url?.value,
    })
}

/// Refuses passwords in clear wherever they could leave this machine, and here too unless it is said.
fn is_protected(section: &Section<'_, '_>, url: &At<String>, starttls: bool, plaintext: bool) -> bool {
    if url.value.starts_with("ldaps://") {
        return true;
    }
    let Some(rest) = url.value.strip_prefix("ldap://") else {
        let message = format!("`{}` is no address of a directory: `{}`", section.child("url"), url.value);
        section.reader().error(
            url.offset,
            message,
            "write `ldaps://HOST`, or `ldap://HOST` with `starttls = true`",
        );
        return false;
    };
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if starttls || (plaintext && local) {
        return true;
    }
    let message = format!("`{}` would send passwords in clear", section.child("url"));
    let help =
        "write `ldaps://HOST`, or add `starttls = true`; `plaintext = true` is for a loopback address alone";
    section.reader().error(url.offset, message, help);
    false
}
