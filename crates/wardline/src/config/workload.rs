//! `[workload.NAME]`: programs that sign in without a person, whose they are, and how they prove it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gateway::tls::CertificateNames;
use policy::Role;

use super::read::{At, Section};
use super::sections::{check_name, path};
use super::{Listener, files, problem};

/// A program that signs in by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    /// The login name of the person who answers for it.
    pub(crate) owner: String,
    pub(crate) roles: Vec<String>,
    /// What its certificate says.
    pub(crate) certificate: Option<CertificateName>,
    /// What its token says.
    pub(crate) token: Option<WorkloadToken>,
}

/// A token that another system makes for a program, such as that of a Kubernetes service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkloadToken {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) subject: String,
    /// The issuer's public keys, a JWKS.
    pub(crate) keys: PathBuf,
}

/// One name that an authority vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateName {
    /// A URI among the alternative names.
    Uri(String),
    /// A DNS name among the alternative names.
    Dns(String),
    /// The whole subject.
    Subject(String),
}

impl CertificateName {
    /// Tells whether a certificate with these names is meant.
    pub(crate) fn is_in(&self, names: &CertificateNames) -> bool {
        match self {
            CertificateName::Uri(uri) => names.uris.contains(uri),
            CertificateName::Dns(dns) => names.dns.iter().any(|name| name.eq_ignore_ascii_case(dns)),
            CertificateName::Subject(subject) => names.subject == *subject,
        }
    }
}

/// Reads the sections.
pub(super) fn workloads(
    top: &Section<'_, '_>,
    roles: &[Role],
    listener: Option<&Listener>,
    base: &Path,
) -> BTreeMap<String, Workload> {
    let mut workloads = BTreeMap::new();
    for (name, section) in top.section("workload").iter().flat_map(Section::named) {
        check_name(&section, "name of the workload", &name);
        let owner = section.required("owner", "\"ann\"");
        let held = section.texts("roles", "[\"billing\"]");
        held.iter().for_each(|role| check_role(&section, role, roles));
        let certificate = section.section("certificate").and_then(|names| certificate(&names));
        let token = section.section("token").map(|token| self::token(&token, base));
        check_means(&section, certificate.is_some(), listener);
        // What is there and wrong was noted.
        let token = token.flatten();
        if let Some(owner) = owner {
            let roles = held.into_iter().map(|role| role.value).collect();
            workloads.insert(name.value, Workload { owner: owner.value, roles, certificate, token });
        }
    }
    workloads
}

fn check_role(section: &Section<'_, '_>, role: &At<String>, roles: &[Role]) {
    if roles.iter().any(|known| known.name == role.value) {
        return;
    }
    let message = format!("`{}` names `{}`, which is no role", section.child("roles"), role.value);
    let help = match problem::nearest(&role.value, roles.iter().map(|role| role.name.as_str())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("add [[role.{}.allow]]", role.value),
    };
    section.reader().error(role.offset, message, help);
}

/// Refuses a program that could not sign in.
fn check_means(section: &Section<'_, '_>, by_certificate: bool, listener: Option<&Listener>) {
    let path = section.child("certificate");
    let by_token = section.value("token");
    if let Some(token) = by_token.filter(|_| listener.is_some_and(|listener| listener.scram)) {
        let message =
            format!("`{}` needs the token itself, which SCRAM does not send", section.child("token"));
        section.reader().error(
            token.span().start,
            message,
            "use a certificate, or remove `listener.postgres.scram`",
        );
    }
    if section.value("certificate").is_none() && by_token.is_none() {
        let help = "add `certificate = { uri = \"spiffe://hospital/billing\" }`, or a `token`";
        section.reader().error(section.offset(), "the workload has no way to sign in", help);
    }
    if by_certificate && listener.is_some_and(|listener| listener.client_ca.is_none()) {
        let message = format!("`{path}` is of no use: the listener trusts no authority for clients");
        section.reader().error(section.offset(), message, "name one in `listener.postgres.client_ca`");
    }
}

/// Returns a token's description; `None` for what is there and wrong.
fn token(section: &Section<'_, '_>, base: &Path) -> Option<WorkloadToken> {
    let issuer = section.required("issuer", "\"https://kubernetes.default.svc\"");
    let audience = section.required("audience", "\"wardline\"");
    let subject = section.required("subject", "\"system:serviceaccount:billing:export\"");
    let keys = path(section, "keys", "\"k8s-jwks.json\"", base, files::check_keys);
    Some(WorkloadToken {
        issuer: issuer?.value,
        audience: audience?.value,
        subject: subject?.value,
        keys: keys?,
    })
}

fn certificate(section: &Section<'_, '_>) -> Option<CertificateName> {
    let uri = section.text("uri", "\"spiffe://hospital/billing\"").map(|at| CertificateName::Uri(at.value));
    let dns = section.text("dns", "\"billing.example.org\"").map(|at| CertificateName::Dns(at.value));
    let subject =
        section.text("subject", "\"CN=billing,O=Hospital\"").map(|at| CertificateName::Subject(at.value));
    let mut named = [uri, dns, subject].into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(name), None) => Some(name),
        (Some(_), Some(_)) | (None, _) => {
            let message = "a certificate is known by one name: `uri`, `dns` or `subject`";
            section.reader().error(section.offset(), message, "write exactly one of them");
            None
        }
    }
}
