//! The commands of this repository, in the words that CI and the desk share.
//!
//! Deliberately absent: anything that takes long to build (this crate is built before the first word is
//! printed), and anything about health data or databases, which is `testbed`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod deny;
mod graph;
mod install;
mod run;
mod steps;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Wardline's repository commands

Usage: cargo xtask COMMAND [OPTIONS]

Try it
  demo [--tour] [--dir DIR] [--patients N]
                        a private PostgreSQL with a synthetic hospital, Wardline before it,
                        three people; --tour walks through it by itself and checks each step

Check it
  test                  everything: installs what is missing, then fmt, tidy, deny, lint, docs,
                        build, doc tests, all tests (this is what CI runs)
  fmt [--check]         formats (or only checks)
  lint                  clippy over everything, warnings are errors
  docs                  builds the documentation, warnings are errors
  tidy                  house rules: arrows between crates, module docs, links, ignored tests
  deny                  licences, duplicate versions, forbidden crates, sources
  fuzz-replay           feeds the committed corpora to every decoder
  crash [--rounds N] [--ending kill,power,error,short,full,disk] [--seed N]
                        Wardline dies at random moments under load: nothing that a client was
                        told may be missing from the trail
  conformance [--json FILE]
                        the 64 rows of the conformance matrix: passes, fails or absent

Measure it
  bench gateway [--quick] [--json FILE]
                        direct, pgbouncer and Wardline side by side on this machine
  bench trail [--quick] [--json FILE]
                        durable events per second and their latency
  bench two-worlds [--seed N] [--queries N] [--json FILE]
                        the leak battery, sqlsmith and random queries against two hospitals that
                        differ in protected values only: a masked person may not tell them apart
  bench revoke [--sessions N] [--json FILE]
                        how long a right that was taken away lasts in open sessions
  bench mask [--quick] [--large-gib N] [--json FILE]
                        detection, verdicts, masked rows beside plain and direct ones, memory
  bench trail-search [--events N] [--folder DIR]
                                questions to an archive of N entries, beside DuckDB over an unencrypted export and grep
  bench detect [--notes N] [--seed N] [--without-presidio] [--json FILE]
                        recall and precision of the detectors by class, with Presidio as baseline

Prepare it
  install               only installs what `test` needs (Debian packages, clients, upstreams)

Examples
  cargo xtask demo --tour
  cargo xtask test
  cargo xtask crash --rounds 1000
  cargo xtask bench gateway --quick --json gateway.json

Builds go to $CARGO_TARGET_DIR, by default ~/.cache/wardline/target.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    if rest.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    match command.as_str() {
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        "test" => none(rest).and_then(|()| steps::test()),
        "install" => none(rest).and_then(|()| steps::install()),
        "fmt" => steps::fmt(rest),
        "lint" => none(rest).and_then(|()| steps::lint()),
        "docs" => none(rest).and_then(|()| steps::docs()),
        "tidy" => none(rest).and_then(|()| tidy::run()),
        "deny" => none(rest).and_then(|()| deny::run()),
        "fuzz-replay" => none(rest).and_then(|()| steps::fuzz_replay()),
        "demo" => steps::demo(rest),
        "conformance" => steps::conformance(rest),
        "crash" => steps::crash(rest),
        "bench" => steps::bench(rest),
        other => bail!("unknown command `{other}`; `cargo xtask --help` lists them"),
    }
}

/// Refuses arguments that the command does not take.
fn none(rest: &[String]) -> Result<()> {
    match rest.first() {
        None => Ok(()),
        Some(extra) => bail!("unexpected argument `{extra}`; `cargo xtask --help` shows what there is"),
    }
}
