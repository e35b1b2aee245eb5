//! House rules that no compiler checks: arrows between crates, crate attributes, module docs, ignored tests, links.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::graph::{self, Arrows};
use crate::run::root;

/// Checks, and says what is wrong, all of it at once.
pub(crate) fn run() -> Result<()> {
    let faults = check()?;
    if !faults.is_empty() {
        bail!("{} house rules are not kept:\n  {}", faults.len(), faults.join("\n  "));
    }
    Ok(())
}

/// Returns every fault of the tree.
fn check() -> Result<Vec<String>> {
    let drawn =
        std::fs::read_to_string(root().join("docs/crates.txt")).context("cannot read docs/crates.txt")?;
    let mut faults = compare(&parse_arrows(&drawn), &graph::arrows()?);
    faults.extend(corpora(&root().join("fuzz")));
    let mut schemas = Vec::new();
    for path in files(root())? {
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => {
                faults.extend(source(&shown, &text));
                schemas.extend(schema_names(&text));
            }
            Some("md") => faults.extend(links(&path, &shown, &text)),
            _ => {}
        }
    }
    faults.extend(twice(schemas).map(|name| {
        format!(
            "two types named `{name}` derive ToSchema: docs/api/openapi.json would show one of them for both"
        )
    }));
    Ok(faults)
}

/// Returns the names of the types that stand in the API's document by their bare name.
fn schema_names(text: &str) -> Vec<String> {
    let mut lines = text.lines().map(str::trim_start);
    let mut names = Vec::new();
    while let Some(line) = lines.next() {
        if !(line.starts_with("#[derive(") && line.contains("ToSchema")) {
            continue;
        }
        let declared = lines.find_map(|line| {
            let mut words = line.split([' ', '<', '{', '(', ';']);
            words.find(|word| ["struct", "enum"].contains(word)).and_then(|_| words.next())
        });
        names.extend(declared.map(str::to_owned));
    }
    names
}

/// Returns what stands more than once.
fn twice(names: Vec<String>) -> impl Iterator<Item = String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(move |name| !seen.insert(name.clone()))
}

fn parse_arrows(text: &str) -> Arrows {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once("->"))
        .map(|(from, to)| (from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

/// Returns how the arrows as drawn differ from the arrows as built.
fn compare(drawn: &Arrows, built: &Arrows) -> Vec<String> {
    let mut faults = Vec::new();
    for (from, to) in built {
        let Some(allowed) = drawn.get(from) else {
            faults.push(format!("docs/crates.txt lacks `{from}`"));
            continue;
        };
        faults.extend(
            to.difference(allowed).map(|to| format!("docs/crates.txt does not allow `{from}` -> `{to}`")),
        );
        faults.extend(
            allowed
                .difference(to)
                .map(|to| format!("docs/crates.txt draws `{from}` -> `{to}`, which is not built")),
        );
    }
    let gone = drawn.keys().filter(|from| !built.contains_key(*from));
    faults.extend(gone.map(|from| format!("docs/crates.txt draws `{from}`, which does not exist")));
    faults
}

/// Returns the faults of one source file.
fn source(shown: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let root_file = shown.ends_with("src/lib.rs") || shown.ends_with("src/main.rs");
    let in_fuzz = shown.starts_with("fuzz/");
    if root_file && !in_fuzz {
        for attribute in ["#![forbid(unsafe_code)]", "#![warn(missing_docs)]"] {
            if !text.lines().any(|line| line == attribute) {
                faults.push(format!("{shown}: lacks `{attribute}`"));
            }
        }
    }
    if shown.contains("src/") && !text.trim_start().starts_with("//!") {
        faults.push(format!("{shown}: does not begin with `//!` docs that say what it is for"));
    }
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        // Put together here, so that this file does not accuse itself.
        let ignored = concat!("#[", "ignore");
        if line.starts_with(ignored) {
            faults
                .push(format!("{shown}:{}: an ignored test proves nothing: run it or delete it", number + 1));
        }
    }
    faults
}

/// Returns the fuzz targets whose corpus is missing: without one, nothing of them is replayed in the test run.
fn corpora(fuzz: &Path) -> Vec<String> {
    let targets = std::fs::read_dir(fuzz.join("fuzz_targets")).into_iter().flatten().flatten();
    targets
        .filter_map(|target| Some(target.path().file_stem()?.to_string_lossy().into_owned()))
        .filter(|target| {
            let corpus = std::fs::read_dir(fuzz.join("corpus").join(target));
            corpus.map_or(true, |mut files| files.next().is_none())
        })
        .map(|target| format!("fuzz/corpus/{target} is missing or empty"))
        .collect()
}

/// Returns the links of a markdown file that lead nowhere within the repository.
fn links(path: &Path, shown: &str, text: &str) -> Vec<String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    targets(text)
        .into_iter()
        .filter(|target| {
            !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:")
        })
        .filter(|target| {
            let file = target.split('#').next().unwrap_or_default();
            !folder.join(file).exists()
        })
        .map(|target| format!("{shown}: link to `{target}` leads nowhere"))
        .collect()
}

/// Returns what the inline links of a markdown text point to, leaving out fenced code.
fn targets(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for piece in line.split("](").skip(1) {
            if let Some((target, _)) = piece.split_once(')') {
                found.push(target.split(' ').next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

/// Returns the files of the repository, without what is built or fetched.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || ["target", "node_modules", "corpus", "artifacts"].contains(&name.as_str())
        {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        assert_eq!(check().expect("the tree"), Vec::<String>::new());
    }

    #[track_caller]
    fn check_arrows(drawn: &str, built: &str, expected: &[&str]) {
        assert_eq!(compare(&parse_arrows(drawn), &parse_arrows(built)), expected);
    }

    #[test]
    fn arrows_are_compared_both_ways() {
        check_arrows("# c\na -> b\nb ->", "a -> b\nb ->", &[]);
        check_arrows("a ->\nb ->", "a -> b\nb ->", &["docs/crates.txt does not allow `a` -> `b`"]);
        check_arrows("a -> b\nb ->", "a ->\nb ->", &["docs/crates.txt draws `a` -> `b`, which is not built"]);
        check_arrows("a ->", "a ->\nb ->", &["docs/crates.txt lacks `b`"]);
        check_arrows("a ->\nb ->", "a ->", &["docs/crates.txt draws `b`, which does not exist"]);
    }

    #[test]
    fn schemas_have_names_of_their_own() {
        let derive = concat!("#[derive(Debug, ", "ToSchema)]\n");
        let text = format!(
            "{derive}/// One enum.\npub(crate) struct Over {{\n{derive}#[serde(tag)]\nenum Act<T> {{\nstruct Bare;"
        );
        assert_eq!(schema_names(&text), ["Over", "Act"]);
        let names = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(twice(names.to_vec()).collect::<Vec<_>>(), ["b"]);
    }

    #[track_caller]
    fn check_source(name: &str, text: &str, expected: usize) {
        assert_eq!(source(name, text).len(), expected, "{text}");
    }

    #[test]
    fn sources_say_what_they_are_for() {
        let head = "//! A room.\n#![forbid(unsafe_code)]\n#![warn(missing_docs)]\n";
        check_source("crates/a/src/lib.rs", head, 0);
        check_source("crates/a/src/lib.rs", "//! A room.\n", 2);
        check_source("crates/a/src/part.rs", "//! A part.\n", 0);
        check_source("crates/a/src/part.rs", "use std::fmt;\n", 1);
        check_source(
            "crates/a/src/part.rs",
            &format!("//! A part.\n{}\nfn f() {{}}\n", concat!("#[", "ignore]")),
            1,
        );
    }

    #[test]
    fn links_are_found_outside_of_fences() {
        let text = "see [a](b.md#c) and [d](e.md \"title\")\n```\n[x](y.md)\n```\n";
        assert_eq!(targets(text), ["b.md#c", "e.md"]);
    }
}
