//! `[break_glass]`: who may take emergency access, to what, for how long, and until when somebody else looks at it.
//! `[notify.NAME]`: who is told at once. `[emergency_mode]`: what goes on without a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use export::Topic;
use policy::Role;

use super::read::{At, Section};
use super::sections::{check_name, narrow, one_of, path};
use super::{Resource, files, problem};

/// The codes of reasons, unless the configuration has its own.
const REASON_CODES: [&str; 4] = ["treatment", "patient-safety", "system-recovery", "disaster"];

/// What an emergency is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Emergency {
    /// Emergency access, where there is such a thing.
    pub(crate) break_glass: Option<BreakGlass>,
    /// Who is told at once.
    pub(crate) notify: BTreeMap<String, Notify>,
    /// What goes on without a registry.
    pub(crate) mode: EmergencyMode,
}

/// What goes on without a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EmergencyMode {
    /// For how long; zero where nothing does.
    pub(crate) hours: Duration,
    /// People may sign in by what the last copy knows.
    pub(crate) sign_in: bool,
}

impl Default for EmergencyMode {
    fn default() -> EmergencyMode {
        EmergencyMode { hours: Duration::from_hours(8), sign_in: true }
    }
}

/// Somebody who is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notify {
    pub(crate) way: Way,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) retry_pause_max: Duration,
    pub(crate) alarm_after: Duration,
    pub(crate) timeout: Duration,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By HTTPS, signed with the secret in a file.
    Webhook { url: String, secret: PathBuf },
    /// By mail.
    Mail { url: String, login: Option<(String, PathBuf)>, from: String, to: Vec<String> },
}

impl Notify {
    /// Returns where messages go, without anything that might be a secret.
    pub(crate) fn place(&self) -> &str {
        match &self.way {
            Way::Webhook { url, .. } => url.split(['?', '#']).next().unwrap_or_default(),
            Way::Mail { url, .. } => url,
        }
    }
}

/// Emergency access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BreakGlass {
    /// The roles whose people may take it.
    pub(crate) initiators: Vec<String>,
    /// The role that it gives.
    pub(crate) role: String,
    /// The resources on which it may be taken; never empty.
    pub(crate) resources: Vec<String>,
    /// For how long unless less is asked for, and at most.
    pub(crate) duration_max: Duration,
    /// Why it may be taken.
    pub(crate) reason_codes: Vec<String>,
    /// How many others must approve first.
    pub(crate) approvals: u32,
    /// Within how many business days it must be reviewed.
    pub(crate) review_days: u32,
}

/// Reads the sections.
pub(super) fn emergency(
    top: &Section<'_, '_>,
    roles: &[Role],
    resources: &BTreeMap<String, Resource>,
    base: &Path,
) -> Emergency {
    Emergency {
        break_glass: top.section("break_glass").and_then(|section| break_glass(&section, roles, resources)),
        notify: notify(top, base),
        mode: top.section("emergency_mode").map(|section| mode(&section)).unwrap_or_default(),
    }
}

fn mode(section: &Section<'_, '_>) -> EmergencyMode {
    let usual = EmergencyMode::default();
    EmergencyMode {
        hours: Duration::from_hours(section.number("hours", 0..=168, 8)),
        sign_in: section.boolean("sign_in").map_or(usual.sign_in, |at| at.value),
    }
}

fn notify(top: &Section<'_, '_>, base: &Path) -> BTreeMap<String, Notify> {
    let mut all = BTreeMap::new();
    for (name, section) in top.section("notify").iter().flat_map(Section::named) {
        check_name(&section, "name of who is told", &name);
        if let Some(one) = one_notified(&section, base) {
            all.insert(name.value, one);
        }
    }
    all
}

fn one_notified(section: &Section<'_, '_>, base: &Path) -> Option<Notify> {
    let url = section.required("url", "\"https://alerts.example.org/wardline\"")?;
    let scheme = url.value.split("://").next().unwrap_or_default();
    let rest = url.value.split_once("://").map_or("", |(_, rest)| rest);
    // What stands before an `@` is a password, and would be shown in the log.
    if !matches!(scheme, "https" | "smtp" | "smtps") || rest.is_empty() || rest.contains('@') {
        let message = format!("`{}` is nobody who can be told: `{}`", section.child("url"), url.value);
        let help = "write `https://HOST/PATH`, `smtp://HOST` (STARTTLS) or `smtps://HOST`, without a user";
        section.reader().error(url.offset, message, help);
        return None;
    }
    let present = |name: &str| section.value(name).is_some();
    let ca = match present("ca") {
        true => Some(path(section, "ca", "\"ca.pem\"", base, files::check_certificates)?),
        false => None,
    };
    let way =
        if scheme == "https" { webhook(section, url.value, base)? } else { mail(section, url.value, base)? };
    let names = Topic::ALL.map(Topic::name);
    let topics = section.texts("topics", "[\"emergency\"]");
    let topics: Vec<&str> =
        topics.iter().filter_map(|text| one_of(section, "topics", text, &names)).collect();
    let topics = Topic::ALL.into_iter().filter(|topic| topics.is_empty() || topics.contains(&topic.name()));
    let milliseconds =
        |name: &str, most, default| Duration::from_millis(section.number(name, 100..=most, default));
    Some(Notify {
        way,
        ca,
        topics: topics.collect(),
        retry_pause_max: milliseconds("retry_pause_ms_max", 3_600_000, 5_000),
        alarm_after: Duration::from_secs(section.number("alarm_after_s", 1..=86_400, 60)),
        timeout: milliseconds("timeout_ms", 600_000, 10_000),
    })
}

fn webhook(section: &Section<'_, '_>, url: String, base: &Path) -> Option<Way> {
    let secret = path(section, "secret_file", "\"alerts.secret\"", base, files::check_secret)?;
    Some(Way::Webhook { url, secret })
}

fn mail(section: &Section<'_, '_>, url: String, base: &Path) -> Option<Way> {
    let from = section.required("from", "\"wardline@example.org\"");
    let to = section.texts("to", "[\"privacy@example.org\"]");
    if to.is_empty() {
        section.missing("to", "[\"privacy@example.org\"]");
        return None;
    }
    for address in from.iter().chain(&to).filter(|address| !export::is_mail_address(&address.value)) {
        let message = format!("`{}` is no address of mail", address.value);
        section.reader().error(address.offset, message, "write `name@example.org`");
    }
    let login = match section.text("user", "\"wardline\"") {
        Some(user) => {
            let file = path(section, "password_file", "\"mail.password\"", base, files::check_secret)?;
            Some((user.value, file))
        }
        None => None,
    };
    Some(Way::Mail { url, login, from: from?.value, to: to.into_iter().map(|at| at.value).collect() })
}

fn break_glass(
    section: &Section<'_, '_>,
    roles: &[Role],
    resources: &BTreeMap<String, Resource>,
) -> Option<BreakGlass> {
    let role_names = || roles.iter().map(|role| role.name.as_str());
    let initiators = section.texts("initiators", "[\"nurse\", \"physician\"]");
    if initiators.is_empty() {
        section.missing("initiators", "[\"nurse\", \"physician\"]");
    }
    for initiator in &initiators {
        known(section, "initiators", initiator, "role", role_names());
    }
    let role = section.required("role", "\"emergency-clinician\"")?;
    known(section, "role", &role, "role", role_names());
    let named = section.texts("resources", "[\"hospital\"]");
    for resource in &named {
        known(section, "resources", resource, "resource", resources.keys().map(String::as_str));
    }
    let codes = section.texts("reason_codes", "[\"treatment\"]");
    for code in &codes {
        check_name(section, "code of a reason", code);
    }
    let values = |texts: Vec<At<String>>| texts.into_iter().map(|at| at.value).collect::<Vec<_>>();
    let mut on = values(named);
    if on.is_empty() {
        let rules = roles.iter().filter(|known| known.name == role.value).flat_map(|role| &role.rules);
        let about: Vec<&str> = rules.map(|rule| rule.resource.as_str()).collect();
        let fits = |name: &&String| about.iter().any(|about| *about == "*" || about == *name);
        on = resources.keys().filter(fits).cloned().collect();
    }
    let mut reason_codes = values(codes);
    if reason_codes.is_empty() {
        reason_codes = REASON_CODES.map(str::to_owned).to_vec();
    }
    Some(BreakGlass {
        initiators: values(initiators),
        role: role.value,
        resources: on,
        duration_max: Duration::from_secs(section.number("duration_s_max", 1..=604_800, 3_600)),
        reason_codes,
        approvals: narrow(section.number("approvals", 0..=5, 0)),
        review_days: narrow(section.number("review_days", 1..=30, 1)),
    })
}

/// Notes a name that nothing has.
fn known<'k>(
    section: &Section<'_, '_>,
    field: &str,
    named: &At<String>,
    noun: &str,
    all: impl Iterator<Item = &'k str> + Clone,
) {
    if all.clone().any(|known| known == named.value) {
        return;
    }
    let message = format!("`{}` names `{}`, which is no {noun}", section.child(field), named.value);
    let help = match problem::nearest(&named.value, all) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("add the {noun}, or correct the name"),
    };
    section.reader().error(named.offset, message, help);
}
