//! Where a second factor is asked for: `sign_in.second_factor`, and how fresh it must be for a rule of a role.

use policy::{FactorRule, Role};

use super::read::Section;
use super::sections::one_of;
use super::{Config, problem};

/// Of whom a second factor is asked, for what has protected columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecondFactor {
    /// Of everybody.
    pub(crate) required: bool,
    /// Otherwise of whoever holds one of these roles.
    pub(crate) roles: Vec<String>,
}

/// How clients of PostgreSQL sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SignInBy {
    /// By a password or token.
    #[default]
    Password,
    /// By approval in the browser, where the client asks for that.
    Either,
    /// By approval in the browser, unless the client asks for a password.
    Browser,
}

impl Config {
    /// Returns which resources are not opened without a second factor. `renamed` are roles that go by another name where
    /// somebody holds them for a time.
    pub(crate) fn factor_rules(&self, renamed: &[(&str, String)]) -> Vec<FactorRule> {
        let SecondFactor { required, roles } = &self.sign_in.second_factor;
        let others = renamed.iter().filter(|(role, _)| roles.iter().any(|asked| asked == role));
        let names = roles.iter().chain(others.map(|(_, name)| name));
        let mut asked: Vec<Option<String>> = names.map(|name| Some(name.clone())).collect();
        if *required {
            asked = vec![None];
        }
        let protected = self.resources.iter().filter(|(_, resource)| resource.protection.is_some());
        protected
            .flat_map(|(name, _)| {
                asked.iter().map(|role| FactorRule { resource: name.clone(), role: role.clone() })
            })
            .collect()
    }
}

/// Reads the fields of `[sign_in]`.
pub(super) fn second_factor(top: &Section<'_, '_>, roles: &[Role]) -> SecondFactor {
    let Some(section) = top.section("sign_in") else { return SecondFactor::default() };
    let word = section.text("second_factor", "\"required\"");
    let word = word.and_then(|text| one_of(&section, "second_factor", &text, &["optional", "required"]));
    let required = word == Some("required");
    let named = section.texts("second_factor_roles", "[\"clinician\"]");
    for role in named.iter().filter(|role| !roles.iter().any(|known| known.name == role.value)) {
        let message =
            format!("`{}` names `{}`, which is no role", section.child("second_factor_roles"), role.value);
        let help = match problem::nearest(&role.value, roles.iter().map(|role| role.name.as_str())) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add [[role.{}.allow]]", role.value),
        };
        section.reader().error(role.offset, message, help);
    }
    if let Some(first) = named.first().filter(|_| required) {
        let message = format!("`{}` adds nothing: everybody is asked", section.child("second_factor_roles"));
        section.reader().warning(first.offset, message, "remove it, or write second_factor = \"optional\"");
    }
    SecondFactor { required, roles: named.into_iter().map(|at| at.value).collect() }
}

/// Reads how clients of PostgreSQL sign in.
pub(super) fn sign_in_by(top: &Section<'_, '_>) -> SignInBy {
    let Some(section) = top.section("sign_in") else { return SignInBy::Password };
    let Some(text) = section.text("approval", "\"browser\"") else { return SignInBy::Password };
    let word = one_of(&section, "approval", &text, &["off", "offered", "browser"]);
    let by = match word {
        Some("offered") => SignInBy::Either,
        Some("browser") => SignInBy::Browser,
        Some(_) | None => SignInBy::Password,
    };
    if by != SignInBy::Password && top.value("web").is_none() {
        let message = format!("`{}` needs pages to approve on", section.child("approval"));
        section.reader().error(text.offset, message, "add `[web]` with an `address`");
    }
    by
}

/// Reads how fresh a second factor must be for a rule.
pub(super) fn step_up_s(section: &Section<'_, '_>) -> Option<u64> {
    section.value("step_up_s").map(|_| section.number("step_up_s", 30..=86_400, 900))
}
