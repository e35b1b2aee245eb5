//! `[oidc.NAME]`: identity providers that people sign in at, and what their groups mean here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use policy::Role;

use super::read::{At, Section};
use super::sections::{check_name, path};
use super::{files, problem};

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OidcProvider {
    /// Exactly as its tokens say it.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// Without one Wardline is a public client.
    pub(crate) secret: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) scopes: Vec<String>,
    pub(crate) groups_claim: String,
    pub(crate) name_claim: String,
    /// Which roles a group there gives here.
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    /// Whether somebody who signs in for the first time becomes a person.
    pub(crate) provision: bool,
    /// What the provider says where a second factor was shown.
    pub(crate) factor_acr: Vec<String>,
    pub(crate) factor_amr: Vec<String>,
}

impl OidcProvider {
    /// Returns the roles of somebody in these groups, in order.
    pub(crate) fn roles_of(&self, groups: &[&str]) -> Vec<String> {
        let mut roles: Vec<String> =
            groups.iter().filter_map(|group| self.groups.get(*group)).flatten().cloned().collect();
        roles.sort();
        roles.dedup();
        roles
    }

    /// Tells whether the provider decides over a role.
    pub(crate) fn gives(&self, role: &str) -> bool {
        self.groups.values().flatten().any(|given| given == role)
    }
}

/// Reads the sections.
pub(super) fn providers(
    top: &Section<'_, '_>,
    roles: &[Role],
    base: &Path,
) -> BTreeMap<String, OidcProvider> {
    let mut providers = BTreeMap::new();
    for (name, section) in top.section("oidc").iter().flat_map(Section::named) {
        check_name(&section, "name of the provider", &name);
        if let Some(provider) = provider(&section, roles, base) {
            providers.insert(name.value, provider);
        }
    }
    providers
}

fn provider(section: &Section<'_, '_>, roles: &[Role], base: &Path) -> Option<OidcProvider> {
    let issuer = section.required("issuer", "\"https://login.example.org\"");
    let issuer = issuer.filter(|issuer| is_address(section, issuer));
    let client_id = section.required("client_id", "\"wardline\"");
    let present = |name: &str| section.value(name).is_some();
    let secret = present("client_secret_file")
        .then(|| path(section, "client_secret_file", "\"oidc.secret\"", base, files::check_secret));
    let ca = present("ca").then(|| path(section, "ca", "\"login-ca.pem\"", base, files::check_certificates));
    let claim = |name: &str, usual: &str| {
        section.text(name, &format!("\"{usual}\"")).map_or(usual.to_owned(), |at| at.value)
    };
    let texts = |name: &str, example: &str| -> Vec<String> {
        section.texts(name, example).into_iter().map(|at| at.value).collect()
    };
    let mut scopes = texts("scopes", "[\"profile\", \"groups\"]");
    scopes.insert(0, "openid".to_owned());
    scopes.dedup();
    let (secret, ca) = (whole(secret)?, whole(ca)?);
    Some(OidcProvider {
        issuer: issuer?.value,
        client_id: client_id?.value,
        secret,
        ca,
        scopes,
        groups_claim: claim("groups_claim", "groups"),
        name_claim: claim("name_claim", "preferred_username"),
        groups: section.section("groups").map(|groups| given(&groups, roles)).unwrap_or_default(),
        provision: section.boolean("provision").is_some_and(|at| at.value),
        factor_acr: texts("factor_acr", "[\"urn:example:two-factors\"]"),
        factor_amr: texts("factor_amr", "[\"mfa\"]"),
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

fn is_address(section: &Section<'_, '_>, issuer: &At<String>) -> bool {
    let rest = issuer.value.strip_prefix("https://").unwrap_or_default();
    let fits = !rest.is_empty() && !rest.contains(['?', '#', '@']) && !rest.contains(char::is_whitespace);
    if !fits {
        let message =
            format!("`{}` is no address of a provider: `{}`", section.child("issuer"), issuer.value);
        section.reader().error(
            issuer.offset,
            message,
            "write `https://HOST/PATH`, exactly as its tokens say it",
        );
    }
    fits
}

/// Reads which roles the groups of a provider give.
pub(super) fn given(section: &Section<'_, '_>, roles: &[Role]) -> BTreeMap<String, Vec<String>> {
    let mut given = BTreeMap::new();
    for (group, _) in section.keys() {
        let named = section.texts(&group, "[\"nurse\"]");
        for role in named.iter().filter(|role| !roles.iter().any(|known| known.name == role.value)) {
            let message = format!("`{}` names `{}`, which is no role", section.child(&group), role.value);
            let help = match problem::nearest(&role.value, roles.iter().map(|role| role.name.as_str())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add [[role.{}.allow]]", role.value),
            };
            section.reader().error(role.offset, message, help);
        }
        given.insert(group, named.into_iter().map(|role| role.value).collect());
    }
    given
}
