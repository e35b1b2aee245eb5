//! `[access.ROLE]`: which roles may be asked for, for how long, and how many people must approve.

use std::collections::BTreeMap;
use std::time::Duration;

use policy::Role;

use super::problem;
use super::read::Section;

/// What may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Askable {
    /// The resources; empty for every one that the role has rights on.
    pub(crate) resources: Vec<String>,
    /// How many people must approve.
    pub(crate) approvals: u32,
    /// For how long at most.
    pub(crate) duration_max: Duration,
}

/// Reads the sections, by the names of their roles.
pub(super) fn askable(
    top: &Section<'_, '_>,
    roles: &[Role],
    resources: &[String],
) -> BTreeMap<String, Askable> {
    let mut askable = BTreeMap::new();
    for (role, section) in top.section("access").iter().flat_map(Section::named) {
        if !roles.iter().any(|known| known.name == role.value) {
            let message = format!("[access.{}] is about a role that is not defined", role.value);
            let names = roles.iter().map(|role| role.name.as_str());
            let help = match problem::nearest(&role.value, names) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add [[role.{}.allow]]", role.value),
            };
            section.reader().error(role.offset, message, help);
        }
        let named = section.texts("resources", "[\"hospital\"]");
        for resource in named.iter().filter(|named| !resources.contains(&named.value)) {
            let message =
                format!("`{}` names `{}`, which is no resource", section.child("resources"), resource.value);
            let help = match problem::nearest(&resource.value, resources.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "leave it out for all resources that the role is about".to_owned(),
            };
            section.reader().error(resource.offset, message, help);
        }
        let approvals = u32::try_from(section.number("approvals", 1..=5, 1)).unwrap_or(1);
        let duration_max = Duration::from_secs(section.number("duration_s_max", 1..=2_592_000, 28_800));
        let resources = named.into_iter().map(|named| named.value).collect();
        askable.insert(role.value, Askable { resources, approvals, duration_max });
    }
    askable
}
