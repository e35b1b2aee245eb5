//! The testbed's own program: `testbed hospital …`, `testbed upstreams …`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use testbed::bench;
use testbed::clients::{self, Client};
use testbed::crash::Crash;
use testbed::demo::Demo;
use testbed::hospital::{self, Options, Size, Table};
use testbed::postgres::{Cluster, Version};
use testbed::{Conninfo, upstreams};

/// Real servers, real clients and a synthetic hospital for Wardline's tests.
#[derive(Parser)]
#[command(name = "testbed")]
enum Arguments {
    /// The synthetic hospital.
    #[command(subcommand)]
    Hospital(Hospital),
    /// Run a private PostgreSQL until standard input ends.
    Postgres {
        /// 15, 16, 17 or 18; any that is installed where not given.
        #[arg(long)]
        version: Option<u32>,
        /// Where its files are kept; a temporary folder where not given.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Offer TLS.
        #[arg(long)]
        tls: bool,
    },
    /// The real servers of other versions.
    #[command(subcommand)]
    Upstreams(Upstreams),
    /// A private hospital with Wardline before it; what `cargo xtask demo` runs.
    Demo(Demo),
    /// The real clients.
    #[command(subcommand)]
    Clients(Clients),
    /// Benchmarks.
    #[command(subcommand)]
    Bench(Bench),
    /// Wardline dies at random moments under load; nothing that a client was told may be missing from the trail.
    Crash(Crash),
}

#[derive(Subcommand)]
enum Clients {
    /// Get what they need.
    Install,
    /// Run the checks of one client, or of all, against a server named by PGHOST, PGPORT, PGUSER, ….
    Run {
        /// Which client; all where not given.
        client: Option<String>,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Direct, pgbouncer and Wardline side by side.
    Gateway(bench::Gateway),
    /// Two hospitals that differ in protected values only look the same to who may not see these.
    TwoWorlds(bench::TwoWorlds),
    /// How much of generated texts the detectors cover, and Presidio of the same.
    Detect(bench::Detect),
    /// What masking costs: rows, the first row, memory.
    Mask(bench::Mask),
    /// How long a right that was taken away lasts in open sessions.
    Revoke(bench::Revoke),
}

#[derive(Subcommand)]
enum Hospital {
    /// Make a hospital from a seed: into files or into a database.
    Generate {
        /// How many patients: 1000 to 1000000.
        #[arg(long, default_value_t = 1_000)]
        patients: u64,
        /// What everything else follows from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A folder for tables.sql, constraints.sql and one .tsv for each table.
        #[arg(long, value_name = "DIR", required_unless_present = "load", conflicts_with = "load")]
        out: Option<PathBuf>,
        /// An empty database, as psql's -d takes it; the password may come in PGPASSWORD.
        #[arg(long, value_name = "CONNINFO")]
        load: Option<String>,
    },
    /// Print the statements that make tables, keys and indexes.
    Ddl,
}

#[derive(Subcommand)]
enum Upstreams {
    /// Say which versions of PostgreSQL are here.
    List,
    /// Get those that are missing.
    Install,
}

fn main() -> ExitCode {
    let result = match Arguments::parse() {
        Arguments::Hospital(Hospital::Generate { patients, seed, out, load }) => {
            generate(Options { patients, seed }, out, load)
        }
        Arguments::Hospital(Hospital::Ddl) => {
            print!("{}\n{}", hospital::TABLES_SQL, hospital::CONSTRAINTS_SQL);
            Ok(())
        }
        Arguments::Postgres { version, dir, tls } => postgres(version, dir, tls),
        Arguments::Upstreams(Upstreams::List) => report(false),
        Arguments::Upstreams(Upstreams::Install) => report(true),
        Arguments::Demo(demo) => demo.run(),
        Arguments::Clients(Clients::Install) => install_clients(),
        Arguments::Clients(Clients::Run { client }) => run_clients(client.as_deref()),
        Arguments::Bench(Bench::Gateway(gateway)) => gateway.run(),
        Arguments::Bench(Bench::Detect(detect)) => detect.run(),
        Arguments::Bench(Bench::Mask(mask)) => mask.run(),
        Arguments::Bench(Bench::Revoke(revoke)) => revoke.run(),
        Arguments::Bench(Bench::TwoWorlds(worlds)) => worlds.run(),
        Arguments::Crash(crash) => crash.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn generate(options: Options, out: Option<PathBuf>, load: Option<String>) -> Result<()> {
    let began = Instant::now();
    let bar = ProgressBar::new(options.patients);
    let style = "{bar:40} {pos}/{len} patients, {elapsed} {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    let progress = |patients| {
        bar.set_position(patients);
        if patients == options.patients {
            bar.set_message("then keys and indexes");
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    };
    let size = match (out, load) {
        (Some(folder), _) => hospital::write_folder(options, &folder, progress)?,
        (None, Some(conninfo)) => {
            let connect = |command: &mut std::process::Command| {
                command.args(["-d", &conninfo]);
            };
            hospital::load_with(options, &connect, progress)?
        }
        (None, None) => bail!("either --out or --load"),
    };
    bar.finish_and_clear();
    print_size(&size, began.elapsed());
    Ok(())
}

fn print_size(size: &Size, elapsed: Duration) {
    for table in Table::ALL {
        println!("{:>14}  {:>10} rows", table.name(), size.of(table));
    }
    println!("{:>14}  {:>10} rows in {:.1} s", "all", size.total(), elapsed.as_secs_f64());
}

fn postgres(version: Option<u32>, dir: Option<PathBuf>, tls: bool) -> Result<()> {
    let find = |number| Version::ALL.into_iter().find(|v| v.number() == number);
    let version = match version {
        Some(number) => Some(find(number).with_context(|| format!("no PostgreSQL {number} is known"))?),
        None => None,
    };
    let options = testbed::postgres::Options { version, dir, tls, ..Default::default() };
    let mut cluster = Cluster::start(options)?;
    println!("{}", cluster.conninfo().uri());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    cluster.stop()
}

fn install_clients() -> Result<()> {
    let mut complete = true;
    for installed in clients::install(|line| println!("{line}")) {
        match installed.place {
            Ok(place) => println!("{}: {place}", installed.client),
            Err(reason) => {
                complete = false;
                println!("{}: missing: {reason}", installed.client);
            }
        }
    }
    if complete { Ok(()) } else { bail!("not all clients are here") }
}

fn run_clients(name: Option<&str>) -> Result<()> {
    let conninfo = Conninfo::from_env()?;
    let mut failures = 0;
    for client in Client::ALL.into_iter().filter(|client| name.is_none_or(|name| name == client.name())) {
        for check in clients::run(client, &conninfo)? {
            match check.outcome {
                Ok(digest) => println!("{client} {}: {digest}", check.name),
                Err(error) => {
                    failures += 1;
                    println!("{client} {}: FAILED: {error}", check.name);
                }
            }
        }
    }
    if failures == 0 { Ok(()) } else { bail!("{failures} checks failed") }
}

fn report(install: bool) -> Result<()> {
    if install && let Err(error) = upstreams::install_debian(|line| println!("{line}")) {
        println!("{error:#}");
    }
    let mut missing = Vec::new();
    for found in upstreams::survey(install) {
        match found.programs {
            Ok((bin, text)) => println!("postgres {}: {text}, {}", found.version.number(), bin.display()),
            Err(reason) => {
                println!("SKIP postgres {}: {reason}", found.version.number());
                missing.push(found.version);
            }
        }
    }
    if missing.contains(&Version::V15) {
        bail!("PostgreSQL 15 is required: apt-get install postgresql-15");
    }
    Ok(())
}
