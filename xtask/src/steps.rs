//! The steps of the commands, each a straight line of programs to run.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::run::{Steps, announce, cargo, root, run, target_dir, watched};
use crate::{deny, install, tidy};

/// The whole check. Ends with the test runner's own summary.
pub(crate) fn test() -> Result<()> {
    let mut steps = Steps::default();
    steps.step("install", install::for_tests)?;
    steps.step("fmt", || fmt(&["--check".to_owned()]))?;
    steps.step("tidy", tidy::run)?;
    steps.step("deny", deny::run)?;
    steps.step("lint", lint)?;
    steps.step("docs", docs)?;
    steps.step("build", build)?;
    steps.step("clients and upstreams", peers)?;
    steps.step("doc tests", || run(&mut cargo(["test", "--workspace", "--locked", "--quiet", "--doc"])))?;
    steps.step("build tests", || {
        run(&mut cargo(["nextest", "run", "--workspace", "--locked", "--cargo-quiet", "--no-run"]))
    })?;
    steps.table();
    announce("tests");
    let (passed, lines) = watched(nextest(&["--profile=ci"]).args(["--color", colour()]))?;
    let summary =
        lines.iter().rev().find(|line| line.contains("Summary [")).context("nextest gave no summary")?;
    if !passed {
        bail!("tests failed");
    }
    // A test that is left out would pass for one that holds.
    if !plain(summary).trim_end().ends_with(" 0 skipped") {
        bail!("tests were skipped: {}", plain(summary).trim());
    }
    // nextest keeps its reports below the workspace, wherever cargo builds.
    let report = root().join("target/nextest/ci/junit.xml");
    let report = std::fs::read_to_string(report).context("nextest's report")?;
    let left_out: Vec<&str> = report.lines().filter_map(left_out).collect();
    if left_out.is_empty() {
        return Ok(());
    }
    for line in &left_out {
        eprintln!("{line}");
    }
    // A registry may lack another version of the server, and some tests need root; all else is installed above.
    let excused = |line: &&str| line.starts_with("SKIP PostgreSQL 1") || line.contains("only root");
    if !left_out.iter().all(excused) {
        bail!("tests left something out");
    }
    eprintln!("{summary}");
    Ok(())
}

/// Returns what a test said about something that it left out, from a line of nextest's report.
fn left_out(line: &str) -> Option<&str> {
    let at = line.find("SKIP")?;
    let (before, said) = line.split_at_checked(at)?;
    (before.is_empty() || before.ends_with('>')).then_some(said)
}

/// Installs what `test` needs and nothing else.
pub(crate) fn install() -> Result<()> {
    install::for_tests()?;
    run(&mut cargo(["build", "--locked", "--quiet", "--package=testbed"]))?;
    peers()
}

/// Formats, or checks the format.
pub(crate) fn fmt(rest: &[String]) -> Result<()> {
    match rest {
        [] => run(&mut cargo(["fmt", "--all"])),
        [check] if check == "--check" => run(&mut cargo(["fmt", "--all", "--check"])),
        _ => bail!("`fmt` takes `--check` and nothing else"),
    }
}

/// Clippy over everything, warnings are errors.
pub(crate) fn lint() -> Result<()> {
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]))
}

/// The documentation, warnings are errors.
pub(crate) fn docs() -> Result<()> {
    let args = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked", "--quiet"];
    run(cargo(args).env("RUSTDOCFLAGS", "-D warnings --allow rustdoc::private_intra_doc_links"))
}

/// Replays the committed corpora: every decoder has a test named `corpus` that does so.
pub(crate) fn fuzz_replay() -> Result<()> {
    run(&mut nextest(&["-E", "test(/corpus/)"]))
}

/// The demonstration, from nothing.
pub(crate) fn demo(rest: &[String]) -> Result<()> {
    install::for_demo()?;
    announce("building wardline (the first time takes some minutes)");
    run(&mut cargo(["build", "--locked", "--profile=demo", "--package=wardline", "--package=testbed"]))?;
    exec("demo", "demo", rest)
}

/// The benchmarks, on the release build.
pub(crate) fn bench(rest: &[String]) -> Result<()> {
    match rest.split_first() {
        Some((what, rest)) if ["gateway", "two-worlds", "revoke"].contains(&what.as_str()) => {
            install::for_tests()?;
            announce("building wardline for release");
            run(&mut cargo(["build", "--locked", "--release", "--package=wardline", "--package=testbed"]))?;
            let mut args = vec![what.clone()];
            args.extend_from_slice(rest);
            exec("release", "bench", &args)
        }
        Some((what, rest)) if what == "trail-search" => {
            let mut command =
                cargo(["run", "--locked", "--release", "--package=lake", "--example=bench_lake", "--"]);
            run(command.args(absolute(rest)?).current_dir(root()))
        }
        Some((what, rest)) if what == "mask" => bench_mask(rest),
        Some((what, rest)) if what == "detect" => bench_detect(rest),
        Some((what, rest)) if what == "trail" => {
            install::for_demo()?;
            let mut command =
                cargo(["run", "--locked", "--release", "--package=trail", "--example=bench_trail", "--"]);
            run(command.args(absolute(rest)?).current_dir(root()))
        }
        _ => bail!("`bench` is one of gateway, trail, trail-search, mask, detect, two-worlds"),
    }
}

/// What masking costs: in the process first, then in the path of real rows.
fn bench_mask(rest: &[String]) -> Result<()> {
    install::for_tests()?;
    announce("building wardline for release");
    run(&mut cargo(["build", "--locked", "--release", "--package=wardline", "--package=testbed"]))?;
    let folder = target_dir().join("figures");
    std::fs::create_dir_all(&folder)?;
    let (detect, masking) = (folder.join("detect.json"), folder.join("masking.json"));
    announce("detection");
    let example =
        ["run", "--locked", "--release", "--quiet", "--package=phi", "--example=bench_detect", "--"];
    run(cargo(example).arg(&detect).current_dir(root()))?;
    announce("verdicts and rows, in the process");
    let figures =
        ["test", "--locked", "--release", "--quiet", "--package=gateway", "--lib", "what_masking_costs"];
    run(cargo(figures).env("WARDLINE_FIGURES", &masking).current_dir(root()))?;
    let mut args = vec!["mask".to_owned()];
    for file in [&detect, &masking] {
        args.extend(["--with".to_owned(), file.display().to_string()]);
    }
    args.extend_from_slice(rest);
    exec("release", "bench", &args)
}

/// What the detectors find, beside what another finder does.
fn bench_detect(rest: &[String]) -> Result<()> {
    install::for_tests()?;
    run(&mut cargo(["build", "--locked", "--quiet", "--package=testbed"]))?;
    run(&mut cargo(["build", "--locked", "--quiet", "--release", "--package=phi", "--example=find"]))?;
    let mut args = vec!["detect".to_owned()];
    for (flag, path) in [
        ("--finder", target_dir().join("release/examples/find")),
        ("--words", root().join("crates/phi/src/detect/words")),
    ] {
        args.extend([flag.to_owned(), path.display().to_string()]);
    }
    args.extend_from_slice(rest);
    exec("debug", "bench", &args)
}

/// The crash test, for as long as one likes.
pub(crate) fn crash(rest: &[String]) -> Result<()> {
    install::for_tests()?;
    run(&mut cargo(["build", "--locked", "--quiet", "--package=wardline", "--package=testbed"]))?;
    exec("debug", "crash", rest)
}

/// Runs the row tests and prints the matrix.
pub(crate) fn conformance(rest: &[String]) -> Result<()> {
    let file = match rest {
        [] => None,
        [flag, file] if flag == "--json" => Some(std::env::current_dir()?.join(file)),
        _ => bail!("`conformance` takes `--json FILE` and nothing else"),
    };
    install::for_tests()?;
    build()?;
    peers()?;
    let filter = "package(/^(testbed|phi|wardline)$/) & test(/(^|::)row_[0-9]+_/)";
    let (_, lines) = watched(&mut nextest(&["-E", filter, "--status-level=pass", "--color=never"]))?;
    let states = states(&lines);
    let matrix = std::fs::read_to_string(root().join("docs/conformance.md"))?;
    let rows = rows(&matrix);
    let of = |row: u32| states.get(&row).map_or("absent", |passed| if *passed { "passes" } else { "fails" });
    for (row, title) in &rows {
        println!("{row:>3}  {:<7} {title}", of(*row));
    }
    let count = |state: &str| rows.iter().filter(|(row, _)| of(*row) == state).count();
    println!("\n{} pass, {} fail, {} absent", count("passes"), count("fails"), count("absent"));
    if let Some(file) = file {
        let list: Vec<_> = rows.iter().map(|(row, _)| json!({ "row": row, "state": of(*row) })).collect();
        std::fs::write(&file, serde_json::to_string_pretty(&list)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if count("fails") > 0 { bail!("rows of the conformance matrix fail") } else { Ok(()) }
}

/// Returns the number and title of each row of the matrix.
fn rows(matrix: &str) -> Vec<(u32, String)> {
    matrix
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let row = cells.next()?.parse().ok()?;
            let (requirement, capability) = (cells.next()?, cells.next()?);
            Some((row, format!("{capability} ({requirement})")))
        })
        .collect()
}

/// Returns for each row whether all of its tests passed.
fn states(lines: &[String]) -> BTreeMap<u32, bool> {
    let mut states = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(verdict), Some(name)) = (words.first(), words.last()) else { continue };
        let Some(row) = row_of(name) else { continue };
        let passed = match *verdict {
            "PASS" => true,
            "FAIL" | "TIMEOUT" | "SIGABRT" | "SIGSEGV" | "SIGKILL" | "ABORT" => false,
            _ => continue,
        };
        states.entry(row).and_modify(|all| *all &= passed).or_insert(passed);
    }
    states
}

fn row_of(test: &str) -> Option<u32> {
    test.rsplit("::").next()?.strip_prefix("row_")?.split('_').next()?.parse().ok()
}

/// Builds what the tests start: the product and the testbed.
fn build() -> Result<()> {
    run(&mut cargo(["build", "--workspace", "--locked", "--quiet"]))
}

/// Fetches the client libraries and servers that the tests talk to.
fn peers() -> Result<()> {
    run(&mut testbed("debug", "clients", &["install".to_owned()]))?;
    run(&mut testbed("debug", "upstreams", &["install".to_owned()]))
}

fn nextest(args: &[&str]) -> Command {
    let mut command = cargo(["nextest", "run", "--workspace", "--locked", "--cargo-quiet"]);
    command.args(args).env("WARDLINE_BIN", binary("debug", "wardline"));
    command
}

fn testbed(profile: &str, command: &str, rest: &[String]) -> Command {
    let mut testbed = Command::new(binary(profile, "testbed"));
    testbed.arg(command).args(rest).env("WARDLINE_BIN", binary(profile, "wardline"));
    testbed
}

/// Becomes the testbed, so that Ctrl-C and the exit status are its own.
fn exec(profile: &str, command: &str, rest: &[String]) -> Result<()> {
    let error = testbed(profile, command, rest).exec();
    Err(error).context("cannot start testbed")
}

fn binary(profile: &str, name: &str) -> PathBuf {
    target_dir().join(profile).join(name)
}

/// Makes the file names among the arguments hold wherever the program runs.
fn absolute(rest: &[String]) -> Result<Vec<String>> {
    let here = std::env::current_dir()?;
    let mut previous = "";
    let mut args = Vec::new();
    for arg in rest {
        let path = ["--json", "--folder"].contains(&previous);
        args.push(if path { here.join(arg).display().to_string() } else { arg.clone() });
        previous = arg;
    }
    Ok(args)
}

fn colour() -> &'static str {
    use std::io::IsTerminal;
    let wanted = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { "always" } else { "never" }
}

/// Returns a line without terminal colours.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut escape = false;
    for c in line.chars() {
        match (escape, c) {
            (false, '\x1b') => escape = true,
            (false, c) => plain.push(c),
            (true, 'm') => escape = false,
            (true, _) => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_pass_only_when_all_their_tests_do() {
        let lines = [
            "        PASS [   0.310s] (1/4) testbed::it conformance::row_1_default_deny",
            "        PASS [   0.310s] (2/4) testbed::it conformance::row_25_flip",
            "        FAIL [   0.310s] (3/4) testbed::it conformance::row_25_swap",
            "     Summary [   0.4s] 3 tests run: 2 passed, 1 failed, 0 skipped",
        ]
        .map(str::to_owned);
        assert_eq!(states(&lines), BTreeMap::from([(1, true), (25, false)]));
    }

    #[test]
    fn the_matrix_has_64_rows() {
        let matrix = std::fs::read_to_string(root().join("docs/conformance.md")).expect("the matrix");
        let numbers: Vec<u32> = rows(&matrix).into_iter().map(|(row, _)| row).collect();
        assert_eq!(numbers, (1..=64).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_left_out_is_seen() {
        assert_eq!(left_out("SKIP pgaudit: not here"), Some("SKIP pgaudit: not here"));
        assert_eq!(left_out("        <system-err>SKIP: no setpriv"), Some("SKIP: no setpriv"));
        assert_eq!(left_out("select 1 for update SKIP LOCKED"), None);
    }

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(
            plain("\x1b[32;1m     Summary\x1b[0m [0.1s] 1 test run: 1 passed, 0 skipped"),
            "     Summary [0.1s] 1 test run: 1 passed, 0 skipped"
        );
    }
}
