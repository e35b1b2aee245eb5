//! The checks of `deny.toml` that need no database: licences, duplicates, forbidden crates, sources.
//!
//! cargo-deny reads the same file and is run after this where it is installed. Advisories are its part alone:
//! they need a database that is fetched from elsewhere, which a build machine may not reach.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::graph::{self, Built};
use crate::run::{self, cargo, on_path, root};

/// The lockfile's budget: more crates than this need a better reason than convenience. The query engine of `lake` and what
/// it stands on are about 100 of them (decision 0027), signing in by
/// other people's standards, mail and the API another 95 (decision 0053).
const CRATES_LOCKED_MAX: usize = 680;

/// Checks, and says what is wrong, all of it at once.
pub(crate) fn run() -> Result<()> {
    let faults = check()?;
    if !faults.is_empty() {
        bail!("deny.toml is not kept:\n  {}", faults.join("\n  "));
    }
    if on_path("cargo-deny") {
        return cargo_deny();
    }
    eprintln!(
        "deny: licences, duplicates, bans and sources hold; advisories not checked (cargo-deny is not installed)"
    );
    Ok(())
}

fn cargo_deny() -> Result<()> {
    let offline = ["deny", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    run::run(&mut cargo(offline))?;
    // The database of advisories is fetched; where it cannot be had, the rest still counts.
    if run::run(&mut cargo(["deny", "check", "advisories"])).is_err() {
        eprintln!("deny: advisories failed or could not be fetched: see above");
    }
    Ok(())
}

/// Returns every fault of the graph as it is built.
pub(crate) fn check() -> Result<Vec<String>> {
    let policy: Table = std::fs::read_to_string(root().join("deny.toml"))
        .context("cannot read deny.toml")?
        .parse()
        .context("deny.toml")?;
    let lockfile = std::fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let built = graph::built()?;
    let mut faults = licences(&policy, &built);
    faults.extend(duplicates(&policy, &built));
    faults.extend(banned(&policy, &built));
    let allowed = words(&policy, "sources", "allow-registry", None);
    for source in graph::sources(&lockfile) {
        if !allowed.iter().any(|registry| source == format!("registry+{registry}")) {
            faults.push(format!("source `{source}` is not allowed"));
        }
    }
    let locked = lockfile.lines().filter(|line| *line == "[[package]]").count();
    if locked > CRATES_LOCKED_MAX {
        faults.push(format!("{locked} crates are locked, the budget is {CRATES_LOCKED_MAX}"));
    }
    Ok(faults)
}

fn licences(policy: &Table, built: &BTreeSet<Built>) -> Vec<String> {
    let allowed = words(policy, "licenses", "allow", None);
    built
        .iter()
        .filter(|package| !package.ours && !permitted(&package.license, &allowed))
        .map(|package| format!("licence of {} {}: `{}`", package.name, package.version, package.license))
        .collect()
}

fn duplicates(policy: &Table, built: &BTreeSet<Built>) -> Vec<String> {
    let mut skip = words(policy, "bans", "skip", Some("crate"));
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in built {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    let mut faults = Vec::new();
    for (name, versions) in versions {
        let counted: Vec<&&str> =
            versions.iter().filter(|version| !skip.contains(&format!("{name}@{version}"))).collect();
        if versions.len() > 1 && counted.len() > 1 {
            faults.push(format!("{name} is built in {} versions: {}", versions.len(), versions.join(", ")));
        }
        if versions.len() > 1 {
            skip.retain(|entry| !versions.iter().any(|version| *entry == format!("{name}@{version}")));
        }
    }
    faults.extend(skip.into_iter().map(|entry| format!("skip of `{entry}` is no longer needed: delete it")));
    faults
}

fn banned(policy: &Table, built: &BTreeSet<Built>) -> Vec<String> {
    let banned = words(policy, "bans", "deny", Some("crate"));
    built
        .iter()
        .filter(|package| !package.ours && banned.contains(&package.name))
        .map(|package| format!("{} {} is forbidden", package.name, package.version))
        .collect()
}

/// Returns the strings of an array, or one field of its tables.
fn words(policy: &Table, section: &str, key: &str, field: Option<&str>) -> Vec<String> {
    let array = policy.get(section).and_then(|section| section.get(key)).and_then(Value::as_array);
    array
        .into_iter()
        .flatten()
        .filter_map(|entry| match field {
            None => entry.as_str(),
            Some(field) => entry.get(field).and_then(Value::as_str),
        })
        .map(str::to_owned)
        .collect()
}

/// Says whether an SPDX expression can be fulfilled with the allowed licences.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    either(&mut rest, allowed) && rest.is_empty()
}

fn either(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut verdict = both(rest, allowed);
    while let Some((&"OR", tail)) = rest.split_first() {
        *rest = tail;
        verdict |= both(rest, allowed);
    }
    verdict
}

fn both(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut verdict = one(rest, allowed);
    while let Some((&"AND", tail)) = rest.split_first() {
        *rest = tail;
        verdict &= one(rest, allowed);
    }
    verdict
}

fn one(rest: &mut &[&str], allowed: &[String]) -> bool {
    let Some((&first, tail)) = rest.split_first() else { return false };
    *rest = tail;
    if first == "(" {
        let verdict = either(rest, allowed);
        let Some((&")", tail)) = rest.split_first() else { return false };
        *rest = tail;
        return verdict;
    }
    if let [with, exception, tail @ ..] = *rest
        && *with == "WITH"
    {
        *rest = tail;
        return allowed.contains(&format!("{first} WITH {exception}"));
    }
    allowed.iter().any(|license| license == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_license(expression: &str, expected: bool) {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        assert_eq!(permitted(expression, &allowed), expected, "{expression}");
    }

    #[test]
    fn licence_expressions() {
        check_license("MIT", true);
        check_license("GPL-3.0", false);
        check_license("GPL-3.0 OR MIT", true);
        check_license("GPL-3.0 AND MIT", false);
        check_license("MIT/Apache-2.0", true);
        check_license("Apache-2.0 WITH LLVM-exception", true);
        check_license("Apache-2.0 WITH Classpath-exception", false);
        check_license("(MIT OR GPL-3.0) AND Apache-2.0", true);
        check_license("(MIT OR GPL-3.0) AND BUSL-1.1", false);
        check_license("MIT AND (GPL-3.0 OR Apache-2.0) AND MIT", true);
        check_license("", false);
        check_license("(MIT", false);
        check_license("MIT )", false);
    }

    #[track_caller]
    fn check_duplicates(skip: &str, versions: &[&str], expected: &[&str]) {
        let policy: Table = format!("[bans]\nskip = [{skip}]").parse().expect("a policy");
        let built = versions
            .iter()
            .map(|version| Built {
                name: "a".into(),
                version: (*version).into(),
                license: "MIT".into(),
                ours: false,
            })
            .collect();
        assert_eq!(duplicates(&policy, &built), expected);
    }

    #[test]
    fn duplicate_versions() {
        check_duplicates("", &["1.0.0"], &[]);
        check_duplicates("", &["1.0.0", "2.0.0"], &["a is built in 2 versions: 1.0.0, 2.0.0"]);
        check_duplicates(r#"{ crate = "a@1.0.0" }"#, &["1.0.0", "2.0.0"], &[]);
        check_duplicates(
            r#"{ crate = "a@1.0.0" }"#,
            &["1.0.0", "2.0.0", "3.0.0"],
            &["a is built in 3 versions: 1.0.0, 2.0.0, 3.0.0"],
        );
        check_duplicates(
            r#"{ crate = "a@1.0.0" }"#,
            &["2.0.0"],
            &["skip of `a@1.0.0` is no longer needed: delete it"],
        );
    }

    #[test]
    fn the_graph_keeps_deny_toml() {
        assert_eq!(check().expect("cargo tree"), Vec::<String>::new());
    }
}
