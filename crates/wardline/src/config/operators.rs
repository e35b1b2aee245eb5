//! `[operators]`: who may administer, and where they reach the server; `[retention]`: for how long entries are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use policy::Role;

use super::read::Section;
use super::sections::one_of;
use super::{YEARS_BY_LAW, problem};
use crate::operators::{ACCOUNT_PREFIX, Operators, Right, Rights};

/// Reads the section; `None` when it is left out.
pub(super) fn operators(top: &Section<'_, '_>, roles: &[Role], base: &Path) -> Option<Operators> {
    let section = top.section("operators")?;
    let socket = section.text("socket", "\"/run/wardline/control.sock\"").map(|at| base.join(at.value));
    let group = section.text("group", "\"wardline-operators\"");
    if let Some(group) = group.as_ref().filter(|_| socket.is_none()) {
        let message = format!("`{}` is of no use without a `socket`", section.child("group"));
        section.reader().error(group.offset, message, "add `socket = \"/run/wardline/control.sock\"`");
    }
    let rights = section.section("rights").map(|rights| holders(&rights, roles)).unwrap_or_default();
    if rights.values().flatten().all(|right| *right != Right::Admin) {
        let message = "nobody holds the right `admin`: nobody can add people or credentials";
        let help = "write `\"os:root\" = [\"admin\"]` or a role in [operators.rights]";
        section.reader().warning(section.offset(), message, help);
    }
    Some(Operators { socket, group: group.map(|at| at.value), rights })
}

fn holders(section: &Section<'_, '_>, roles: &[Role]) -> BTreeMap<String, Rights> {
    let known: Vec<&'static str> = Right::ALL.map(Right::name).to_vec();
    let mut holders = BTreeMap::new();
    for (holder, offset) in section.keys() {
        let mut rights = BTreeSet::new();
        for text in section.texts(&holder, "[\"admin\", \"auditor\"]") {
            rights.extend(one_of(section, &holder, &text, &known).and_then(Right::named));
        }
        let is_account = holder.strip_prefix(ACCOUNT_PREFIX).is_some_and(|name| !name.is_empty());
        if !is_account && !roles.iter().any(|role| role.name == holder) {
            let message = format!("`{}` is no role and no account", section.child(&holder));
            let names = roles.iter().map(|role| role.name.as_str());
            let help = match problem::nearest(&holder, names) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add `[role.{holder}]`, or write \"os:NAME\" for an account"),
            };
            section.reader().error(offset, message, help);
        }
        holders.insert(holder, rights);
    }
    holders
}

/// Reads `[retention]`.
pub(super) fn retention_years(top: &Section<'_, '_>) -> u32 {
    let years = |section: Section<'_, '_>| section.number("years", 1..=100, YEARS_BY_LAW.into());
    let years = top.section("retention").map_or(YEARS_BY_LAW.into(), years);
    u32::try_from(years).expect("the field's bounds fit")
}
