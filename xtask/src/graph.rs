//! What cargo knows: our crates and the arrows between them, and every crate that is built for Linux.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run::{cargo, quiet};

/// From a crate of ours to the crates of ours it depends on.
pub(crate) type Arrows = BTreeMap<String, BTreeSet<String>>;

/// One crate of the built graph, ours or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: String,
    pub(crate) ours: bool,
}

/// Returns the arrows as built, development dependencies under `NAME (tests)`.
pub(crate) fn arrows() -> Result<Arrows> {
    let text = quiet(&mut cargo(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let name = |package: &Value| package.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let mut arrows = Arrows::new();
    for package in packages {
        arrows.entry(name(package)).or_default();
        for dependency in package.get("dependencies").and_then(Value::as_array).into_iter().flatten() {
            let to = dependency.get("name").and_then(Value::as_str).unwrap_or_default();
            if !ours.contains(to) {
                continue;
            }
            let from = match dependency.get("kind").and_then(Value::as_str) {
                Some("dev") => format!("{} (tests)", name(package)),
                _ => name(package),
            };
            arrows.entry(from).or_default().insert(to.to_owned());
        }
    }
    Ok(arrows)
}

/// Returns every crate that a build of the workspace and its tests for Linux compiles.
pub(crate) fn built() -> Result<BTreeSet<Built>> {
    let text = quiet(&mut cargo([
        "tree",
        "--workspace",
        "--locked",
        "--edges=normal,build,dev",
        "--target=x86_64-unknown-linux-gnu",
        "--prefix=none",
        "--format={p}|{l}",
    ]))?;
    Ok(text.lines().filter_map(built_line).collect())
}

fn built_line(line: &str) -> Option<Built> {
    // What the tree holds in several places is written out once; without that, a graph of this size takes minutes.
    let (package, license) = line.trim_end_matches(" (*)").split_once('|')?;
    let mut words = package.split(' ');
    let name = words.next()?.to_owned();
    let version = words.next()?.trim_start_matches('v').to_owned();
    Some(Built { name, version, license: license.to_owned(), ours: package.contains("(/") })
}

/// Returns the sources that the lockfile names, none of which may be anything but the registry.
pub(crate) fn sources(lockfile: &str) -> BTreeSet<String> {
    lockfile
        .lines()
        .filter_map(|line| line.strip_prefix("source = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .collect()
}
