//! `[scim.NAME]`: systems that manage people by SCIM, and what their groups mean here.

use std::collections::BTreeMap;

use policy::Role;

use super::oidc::{OidcProvider, given};
use super::read::Section;
use super::sections::check_name;

/// One system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scim {
    /// Which roles a group there gives here.
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    /// At which provider its people sign in, with their `externalId` as the subject.
    pub(crate) oidc: Option<String>,
}

/// Reads the sections.
pub(super) fn systems(
    top: &Section<'_, '_>,
    roles: &[Role],
    oidc: &BTreeMap<String, OidcProvider>,
) -> BTreeMap<String, Scim> {
    let mut systems = BTreeMap::new();
    for (name, section) in top.section("scim").iter().flat_map(Section::named) {
        check_name(&section, "name of the system", &name);
        let provider = section.text("oidc", "\"hospital\"");
        if let Some(provider) = provider.as_ref().filter(|provider| !oidc.contains_key(&provider.value)) {
            let message =
                format!("`{}` names `{}`, which is no provider", section.child("oidc"), provider.value);
            section.reader().error(provider.offset, message, format!("add [oidc.{}]", provider.value));
        }
        let groups = section.section("groups").map(|groups| given(&groups, roles)).unwrap_or_default();
        systems.insert(name.value, Scim { groups, oidc: provider.map(|at| at.value) });
    }
    if let Some(section) = top.section("scim").filter(|_| top.value("web").is_none()) {
        let help = "add `[web]` with an address";
        section.reader().error(
            section.offset(),
            "[scim] is served by the listener of the API, which is off",
            help,
        );
    }
    systems
}
