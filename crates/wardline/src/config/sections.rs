//! One function per section of `wardline.toml`: what its fields mean and which values hold together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway::{Bounds, SecondDevice, UpstreamIdentity};
use phi::Class;
use policy::{CedarFile, Pattern, Place, Role, Rule};

use super::read::{At, Section, quoted};
use super::{
    Askable, Certificate, Config, Course, DEFAULT_ADDRESS, Directory, Emergency, Export, Inbound, Listener,
    OidcProvider, Resource, Scim, SecondFactor, SignIn, SignInBy, StorePlace, TrailStore, UpstreamTls, Web,
    Workload, access, emergency, evidence, factors, files, handover, home, keep, ldap, oidc, operators,
    problem, protection, purposes, scim, sha256, training, upstream, web, workload,
};
use crate::operators::Operators;

/// Longest name of a node, resource or role: the limit of a PostgreSQL identifier.
const NAME_BYTES_MAX: usize = 63;

/// Shortest exception that can say why, who and until when.
const EXCEPTION_CHARS_MIN: usize = 15;

const PROTOCOLS: [&str; 1] = ["postgres"];
const TLS_MODES: [&str; 3] = ["verify-full", "no-verify", "disable"];

/// What could be read, also when something required could not.
pub(super) struct Draft {
    pub(super) roles: Vec<Role>,
    pub(super) policies: Vec<CedarFile>,
    pub(super) purposes: Vec<Arc<str>>,
    pub(super) resources: BTreeMap<String, Resource>,
    node: Option<String>,
    listener: Option<Listener>,
    data: PathBuf,
    drain_timeout: Duration,
    sign_in: SignIn,
    metrics: Option<SocketAddr>,
    evidence: evidence::Evidence,
    exports: BTreeMap<String, Export>,
    inbound: Option<Inbound>,
    web: Option<Web>,
    registry: Option<PathBuf>,
    operators: Option<Operators>,
    retention_years: u32,
    access: BTreeMap<String, Askable>,
    emergency: Emergency,
    oidc: BTreeMap<String, OidcProvider>,
    ldap: Option<Directory>,
    scim: BTreeMap<String, Scim>,
    courses: BTreeMap<String, Course>,
    workloads: BTreeMap<String, Workload>,
    trail_store: TrailStore,
    backup: Option<StorePlace>,
}

impl Draft {
    /// Returns the configuration if nothing required is missing.
    pub(super) fn finish(self, file: &Path, text: &str) -> Option<Config> {
        Some(Config {
            file: file.to_owned(),
            digest: sha256(text.as_bytes()),
            node: self.node?,
            data: self.data,
            drain_timeout: self.drain_timeout,
            listener: self.listener?,
            sign_in: self.sign_in,
            metrics: self.metrics,
            exports: self.exports,
            inbound: self.inbound,
            web: self.web,
            registry: self.registry,
            resources: self.resources,
            roles: self.roles,
            policies: self.policies,
            purposes: self.purposes,
            witnessing: self.evidence.witnessing,
            clock: self.evidence.clock,
            archiving: self.evidence.archiving,
            operators: self.operators,
            retention_years: self.retention_years,
            access: self.access,
            emergency: self.emergency,
            oidc: self.oidc,
            ldap: self.ldap,
            scim: self.scim,
            courses: self.courses,
            workloads: self.workloads,
            trail_store: self.trail_store,
            backup: self.backup,
        })
    }
}

/// Reads the whole document, noting what is wrong.
pub(super) fn draft(top: &Section<'_, '_>, file: &Path) -> Draft {
    let base = file.parent().unwrap_or(Path::new(""));
    let node = top.required("node", "\"gw1\"");
    if let Some(node) = &node {
        check_name(top, "node", node);
    }
    let data = top.text("data", "\"./wardline-data\"").map_or("./wardline-data".to_owned(), |at| at.value);
    let drain_timeout = Duration::from_millis(top.number("drain_timeout_ms", 0..=3_600_000, 30_000));
    let listener = listener(top, base);
    let resources = resources(top, base);
    let policy = top.section("policy");
    let roles = roles(top, &resources, file);
    let second_factor = factors::second_factor(top, &roles);
    let oidc = oidc::providers(top, &roles, base);
    Draft {
        operators: operators::operators(top, &roles, base),
        retention_years: operators::retention_years(top),
        courses: training::courses(top, &roles),
        ldap: ldap::directory(top, &roles, listener.as_ref(), base),
        scim: scim::systems(top, &roles, &oidc),
        oidc,
        workloads: workload::workloads(top, &roles, listener.as_ref(), base),
        access: access::askable(top, &roles, &resources.keys().cloned().collect::<Vec<_>>()),
        emergency: emergency::emergency(top, &roles, &resources, base),
        roles,
        policies: policies(policy.as_ref(), base),
        purposes: purposes::purposes(policy.as_ref()),
        resources,
        evidence: evidence::evidence(top, node.as_ref().map(|at| at.value.as_str()), base),
        node: node.map(|at| at.value),
        listener,
        data: base.join(data),
        drain_timeout,
        sign_in: sign_in(top, second_factor, factors::sign_in_by(top)),
        metrics: metrics(top),
        trail_store: keep::trail_store(top, base),
        backup: keep::backup(top, base),
        exports: handover::exports(top, base),
        inbound: handover::inbound(top, base),
        web: web::web(top, base),
        registry: home::registry(top, base),
    }
}

fn listener(top: &Section<'_, '_>, base: &Path) -> Option<Listener> {
    let outer = top.section("listener");
    let section = outer.as_ref().and_then(|listeners| listeners.section("postgres"));
    let Some(section) = section else { return Some(Listener::default()) };
    let address = match section.text("address", "\"127.0.0.1:6432\"") {
        Some(text) => socket_address(&section, "address", &text),
        None => Some(DEFAULT_ADDRESS),
    };
    let certificate = certificate(&section, base);
    let plaintext = section.boolean("plaintext");
    let client_ca = client_ca(&section, plaintext.as_ref(), base);
    if let Some(flag) = plaintext.as_ref().filter(|flag| flag.value) {
        check_plaintext(&section, flag, address);
    }
    let milliseconds =
        |name: &str, default| Duration::from_millis(section.number(name, 100..=600_000, default));
    let listener = Listener {
        address: address?,
        certificate: certificate?,
        plaintext: plaintext.is_some_and(|at| at.value),
        scram: section.boolean("scram").is_some_and(|at| at.value),
        client_ca: client_ca?,
        sessions_max: narrow(section.number("sessions_max", 1..=100_000, 1_000)),
        sessions_per_person_max: narrow(section.number("sessions_per_person_max", 1..=100_000, 50)),
        handshakes_max: narrow(section.number("handshakes_max", 1..=100_000, 1_000)),
        handshakes_per_address_max: narrow(section.number("handshakes_per_address_max", 1..=100_000, 128)),
        handshake_timeout: milliseconds("handshake_timeout_ms", 30_000),
        dial_timeout: milliseconds("dial_timeout_ms", 10_000),
        idle_timeout: Duration::from_secs(section.number("idle_timeout_s", 1..=604_800, 900)),
        idle_warning: Duration::from_secs(section.number("idle_warning_s", 1..=3_600, 60)),
        session_lifetime_max: Duration::from_secs(section.number(
            "session_lifetime_s_max",
            60..=2_592_000,
            43_200,
        )),
        message_bytes_max: narrow(section.number("message_bytes_max", 65_536..=1 << 30, 16 << 20)),
        hold_window_bytes: narrow(section.number("hold_window_bytes", 4_096..=16 << 20, 64 << 10)),
    };
    Some(listener)
}

/// Returns who vouches for clients, where somebody does; `None` for what is there and wrong.
fn client_ca(
    section: &Section<'_, '_>,
    plaintext: Option<&At<bool>>,
    base: &Path,
) -> Option<Option<PathBuf>> {
    if section.value("client_ca").is_none() {
        return Some(None);
    }
    if let Some(flag) = plaintext.filter(|flag| flag.value) {
        let message = format!("`{}` needs TLS, which is off", section.child("client_ca"));
        section.reader().error(flag.offset, message, "remove `plaintext`");
        return None;
    }
    path(section, "client_ca", "\"clients-ca.pem\"", base, files::check_certificates).map(Some)
}

/// Refuses connections in clear wherever they could leave this machine.
fn check_plaintext(section: &Section<'_, '_>, flag: &At<bool>, address: Option<SocketAddr>) {
    if let Some(tls) = section.value("tls") {
        let message = format!("`{}` contradicts `{}`", section.child("tls"), section.child("plaintext"));
        section.reader().error(tls.span().start, message, "remove one of the two");
    }
    if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
        let field = section.child("plaintext");
        let message = format!("`{field}` would send passwords and health data in clear over a network");
        let help = format!("remove it, or listen on a loopback address instead of {address}");
        section.reader().error(flag.offset, message, help);
    }
}

pub(super) fn narrow<T: TryFrom<u64>>(number: u64) -> T {
    T::try_from(number).ok().expect("the field's bounds fit its type")
}

pub(super) fn certificate(section: &Section<'_, '_>, base: &Path) -> Option<Certificate> {
    let Some(value) = section.value("tls") else { return Some(Certificate::SelfSigned) };
    if value.get_ref().is_table() {
        let files = section.section("tls")?;
        let certificate = path(&files, "certificate", "\"tls/server.pem\"", base, files::check_certificates);
        let key = path(&files, "key", "\"tls/server.key\"", base, files::check_key);
        return Some(Certificate::Files { certificate: certificate?, key: key? });
    }
    if value.get_ref().as_str() == Some("self-signed") {
        return Some(Certificate::SelfSigned);
    }
    section.mistyped(
        "tls",
        value,
        "\"self-signed\" or { certificate = \"server.pem\", key = \"server.key\" }",
    );
    None
}

/// Returns a required path whose file passes a check.
pub(super) fn path(
    section: &Section<'_, '_>,
    name: &str,
    example: &str,
    base: &Path,
    check: fn(&Path) -> Result<(), String>,
) -> Option<PathBuf> {
    let at = section.required(name, example)?;
    let path = base.join(&at.value);
    if let Err(reason) = check(&path) {
        let message = format!("`{}`: {} {reason}", section.child(name), path.display());
        section.reader().error(at.offset, message, "name a PEM file that Wardline can read");
        return None;
    }
    Some(path)
}

fn sign_in(top: &Section<'_, '_>, second_factor: SecondFactor, by: SignInBy) -> SignIn {
    let section = top.section("sign_in");
    let number = |name: &str, bounds, default| match &section {
        Some(section) => section.number(name, bounds, default),
        None => default,
    };
    SignIn {
        failures_max: narrow(number("failures_max", 1..=1_000, 10)),
        failure_window: Duration::from_secs(number("failure_window_s", 1..=86_400, 900)),
        lockout: Duration::from_secs(number("lockout_s", 1..=86_400, 900)),
        token_lifetime_max: Duration::from_secs(number("token_lifetime_s_max", 60..=2_592_000, 28_800)),
        second_factor,
        by,
        approval_timeout: Duration::from_secs(number("approval_timeout_s", 10..=600, 120)),
        second_device: section.as_ref().map(second_device).unwrap_or_default(),
    }
}

fn second_device(section: &Section<'_, '_>) -> SecondDevice {
    let text = section.text("second_device", "\"incident\"");
    match text.and_then(|text| one_of(section, "second_device", &text, &["note", "incident", "refuse"])) {
        Some("incident") => SecondDevice::Incident,
        Some("refuse") => SecondDevice::Refused,
        Some(_) | None => SecondDevice::Noted,
    }
}

fn metrics(top: &Section<'_, '_>) -> Option<SocketAddr> {
    let section = top.section("metrics")?;
    let text = section.required("address", "\"127.0.0.1:9464\"")?;
    socket_address(&section, "address", &text)
}

fn resources(top: &Section<'_, '_>, base: &Path) -> BTreeMap<String, Resource> {
    let mut resources = BTreeMap::new();
    for (name, section) in top.section("resource").iter().flat_map(Section::named) {
        check_name(&section, "name of the resource", &name);
        if let Some(resource) = resource(&name.value, &section, base) {
            resources.insert(name.value, resource);
        } else {
            // A broken resource still has a name that roles may refer to.
            resources.entry(name.value).or_insert_with(placeholder);
        }
    }
    resources
}

/// Stands for a resource whose mistakes were noted; such a configuration is never returned.
fn placeholder() -> Resource {
    Resource {
        host: String::new(),
        port: 0,
        database: String::new(),
        tls: UpstreamTls::VerifyFull { ca: None },
        bounds: Bounds::default(),
        identity: UpstreamIdentity::None,
        rotation: None,
        protection: None,
    }
}

fn resource(name: &str, section: &Section<'_, '_>, base: &Path) -> Option<Resource> {
    let protocol = section.required("protocol", "\"postgres\"");
    if let Some(protocol) = &protocol {
        one_of(section, "protocol", protocol, &PROTOCOLS);
        check_protectable(section, protocol);
    }
    let host = section.required("host", "\"db.example.org\"");
    if let Some(host) = &host
        && (host.value.is_empty() || host.value.contains(|c: char| c.is_whitespace() || c == '/'))
    {
        let message = format!("`{}` is not a host: `{}`", section.child("host"), host.value);
        section.reader().error(host.offset, message, "write a name or an address without port");
    }
    let port = narrow(section.number("port", 1..=65_535, 5_432));
    let database = section.text("database", "\"hospital\"").map_or(name.to_owned(), |at| at.value);
    let tls = match section.value("tls") {
        None => Some(UpstreamTls::VerifyFull { ca: None }),
        Some(_) => section.section("tls").and_then(|tls| upstream_tls(&tls, base)),
    };
    let protection = protection::protection(section);
    let (identity, rotation) = (upstream::identity(section), upstream::rotation(section));
    let bounds = bounds(section);
    protocol?;
    Some(Resource {
        host: host?.value,
        port,
        database,
        tls: tls?,
        bounds,
        identity: identity?,
        rotation,
        protection,
    })
}

fn bounds(section: &Section<'_, '_>) -> Bounds {
    let seconds = |name: &str, longest: u64| {
        section.value(name).map(|_| Duration::from_secs(section.number(name, 1..=longest, 1)))
    };
    Bounds {
        idle_timeout: seconds("idle_timeout_s", 604_800),
        session_lifetime_max: seconds("session_lifetime_s_max", 2_592_000),
    }
}

/// Refuses a classification that nothing would apply.
fn check_protectable(section: &Section<'_, '_>, protocol: &At<String>) {
    if let Some(phi) = section.value("phi").filter(|_| protocol.value != "postgres") {
        let field = section.child("phi");
        let message = format!("`{field}` classifies columns of PostgreSQL, not of `{}`", protocol.value);
        section.reader().error(phi.span().start, message, "remove it, or correct the protocol");
    }
}

fn upstream_tls(section: &Section<'_, '_>, base: &Path) -> Option<UpstreamTls> {
    let mode = section.text("mode", "\"verify-full\"");
    let mode = match &mode {
        Some(mode) => one_of(section, "mode", mode, &TLS_MODES)?,
        None => "verify-full",
    };
    let exception = section.text("exception", "\"why, who decided, until when\"");
    if mode == "verify-full" {
        if let Some(exception) = exception {
            let message =
                format!("`{}` excuses nothing: the mode is verify-full", section.child("exception"));
            section.reader().warning(exception.offset, message, "remove it");
        }
        let ca = section.value("ca").is_some();
        let ca =
            if ca { Some(path(section, "ca", "\"ca.pem\"", base, files::check_certificates)?) } else { None };
        return Some(UpstreamTls::VerifyFull { ca });
    }
    let Some(exception) = exception else {
        let message =
            format!("`{}` is weaker than verify-full and has no exception on file", section.child("mode"));
        let help = "use \"verify-full\", or add exception = \"why, who decided, until when\"";
        section.reader().error(section.offset(), message, help);
        return None;
    };
    if exception.value.trim().chars().count() < EXCEPTION_CHARS_MIN {
        let message = format!("`{}` is too short to explain anything", section.child("exception"));
        section.reader().error(exception.offset, message, "say why, who decided it and until when");
        return None;
    }
    let exception = exception.value.trim().to_owned();
    Some(if mode == "disable" {
        UpstreamTls::Disable { exception }
    } else {
        UpstreamTls::NoVerify { exception }
    })
}

fn roles(top: &Section<'_, '_>, resources: &BTreeMap<String, Resource>, file: &Path) -> Vec<Role> {
    let mut roles = Vec::new();
    for (name, section) in top.section("role").iter().flat_map(Section::named) {
        if registry::role_fits(&name.value).is_err() {
            let message = format!("`{}` cannot be the name of a role", name.value);
            let help = "use up to 63 of `a-z 0-9 _ -`, a letter first";
            section.reader().error(name.offset, message, help);
        }
        let rules = section.list("allow").iter().filter_map(|allow| rule(allow, resources, file)).collect();
        let place = place(&section, name.offset, file);
        roles.push(Role { name: name.value, rules, place });
    }
    roles
}

fn place(section: &Section<'_, '_>, offset: usize, file: &Path) -> Place {
    Place { file: file.display().to_string(), line: section.reader().line(offset) }
}

fn rule(section: &Section<'_, '_>, resources: &BTreeMap<String, Resource>, file: &Path) -> Option<Rule> {
    let resource = section.required("resource", "\"*\"");
    if let Some(resource) = &resource
        && resource.value != "*"
        && !resources.contains_key(&resource.value)
    {
        let field = section.child("resource");
        let message = format!("`{field}` names no configured resource: `{}`", resource.value);
        let help = match problem::nearest(&resource.value, resources.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add `[resource.{}]`, or use \"*\" for every resource", resource.value),
        };
        section.reader().error(resource.offset, message, help);
    }
    Some(Rule {
        read: patterns(section, "read"),
        write: patterns(section, "write"),
        define: patterns(section, "define"),
        execute: patterns(section, "execute"),
        transfer: section.boolean("transfer").is_some_and(|at| at.value),
        administer: section.boolean("administer").is_some_and(|at| at.value),
        unmask: classes(section),
        purposes: section.texts("purposes", "[\"treatment\"]").into_iter().map(|at| at.value).collect(),
        until: purposes::until(section),
        step_up_s: factors::step_up_s(section),
        // The line of the resource, so that policy's own check of it is the same problem at the same place.
        place: place(section, resource.as_ref().map_or(section.offset(), |at| at.offset), file),
        resource: resource?.value,
    })
}

fn patterns(section: &Section<'_, '_>, name: &str) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for text in section.texts(name, "[\"public.patients\", \"public.*\"]") {
        match text.value.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                let message = format!("`{}`: {error}", section.child(name));
                section.reader().error(text.offset, message, "write `schema.name`, `schema.*` or `*`");
            }
        }
    }
    patterns
}

fn classes(section: &Section<'_, '_>) -> Vec<String> {
    let known: Vec<&'static str> = ["*"].into_iter().chain(Class::ALL.map(Class::name)).collect();
    let texts = section.texts("unmask", "[\"age\", \"date\"]");
    let classes = texts.iter().filter_map(|text| one_of(section, "unmask", text, &known));
    classes.map(str::to_owned).collect()
}

fn policies(section: Option<&Section<'_, '_>>, base: &Path) -> Vec<CedarFile> {
    let Some(section) = section else { return Vec::new() };
    let mut policies: Vec<CedarFile> = Vec::new();
    for at in section.texts("files", "[\"policies/*.cedar\"]") {
        let path = base.join(&at.value);
        let paths = match files::expand(&path) {
            Ok(paths) => paths,
            Err(error) => {
                let message = format!("`policy.files`: {}: {error}", path.display());
                section.reader().error(at.offset, message, "create the folder, or remove the path");
                continue;
            }
        };
        if paths.is_empty() {
            // A pattern that matches nothing may be a misspelt folder whose `forbid`s would silently be missing.
            let message = format!("`policy.files`: `{}` matches no file", at.value);
            section.reader().error(at.offset, message, "add a policy file, or remove the pattern");
        }
        for path in paths {
            let shown = path.display().to_string();
            if policies.iter().any(|known| known.path == shown) {
                continue;
            }
            match files::policy(&path) {
                Ok(text) => policies.push(CedarFile { path: shown, text }),
                Err(error) => {
                    let message = format!("`policy.files`: {}: {error}", path.display());
                    section.reader().error(at.offset, message, "make it readable, or remove it");
                }
            }
        }
    }
    policies
}

pub(super) fn socket_address(section: &Section<'_, '_>, name: &str, text: &At<String>) -> Option<SocketAddr> {
    if let Ok(address) = text.value.parse() {
        return Some(address);
    }
    let message = format!("`{}` is not an address with port: `{}`", section.child(name), text.value);
    section.reader().error(
        text.offset,
        message,
        "write an IP address and a port, such as \"127.0.0.1:6432\" or \"[::1]:6432\"",
    );
    None
}

/// Returns the known word that a text is; notes what could have been meant otherwise.
pub(super) fn one_of(
    section: &Section<'_, '_>,
    name: &str,
    text: &At<String>,
    known: &[&'static str],
) -> Option<&'static str> {
    let found = known.iter().find(|word| **word == text.value).copied();
    if found.is_none() {
        let message = format!("`{}` cannot be `{}`", section.child(name), text.value);
        let help = match problem::nearest(&text.value, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write one of {}", quoted(known)),
        };
        section.reader().error(text.offset, message, help);
    }
    found
}

pub(super) fn check_name(section: &Section<'_, '_>, what: &str, name: &At<String>) {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let first = name.value.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !first || name.value.len() > NAME_BYTES_MAX || !name.value.chars().all(letters) {
        let message = format!("{what}: `{}` is not a name", name.value);
        let help = "use up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit";
        section.reader().error(name.offset, message, help);
    }
}
