//! The benchmarks. Of the gateway: direct, pgbouncer and Wardline side by side on one machine. Of masking: what it costs,
//! and that two worlds look the same.
//!
//! The sides take turns within each repetition, so that what else the machine does hits all of them alike; the
//! figures are medians over the repetitions. Deliberately absent: figures of other days or machines.

mod detect;
mod mask;
mod measure;
mod report;
pub mod revoke;
mod side;
mod two_worlds;
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::postgres::{Cluster, Options};
use crate::process::random_password;

use measure::Shape;
use report::Figures;
use side::{NAME, Side};

pub use detect::Detect;
pub use mask::Mask;
pub use revoke::Revoke;
pub use two_worlds::TwoWorlds;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  testbed bench gateway --quick
  testbed bench gateway --json gateway.json
  testbed bench gateway --sides direct,pgbouncer --measures load,bulk")]
pub struct Gateway {
    /// One short repetition: a minute or two, and figures to match
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Which sides take part
    #[arg(long, value_delimiter = ',', default_value = "direct,pgbouncer,wardline")]
    sides: Vec<String>,
    /// What is measured
    #[arg(long, value_delimiter = ',', default_value = "idle,load,tpcb,bulk,login")]
    measures: Vec<String>,
    /// pgbench's query modes
    #[arg(long, value_delimiter = ',', default_value = "simple,extended,prepared")]
    modes: Vec<String>,
    /// Concurrent clients of `load` and `tpcb`
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    clients: Vec<u32>,
    /// Where databases and trail are kept while it runs; on the disk whose speed counts
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    dir: PathBuf,
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
struct Pace {
    repetitions: u32,
    seconds: u32,
}

const FULL: Pace = Pace { repetitions: 3, seconds: 4 };
const QUICK: Pace = Pace { repetitions: 1, seconds: 2 };

const SIDES: [&str; 3] = ["direct", "pgbouncer", "wardline"];
const MEASURES: [&str; 5] = ["idle", "load", "tpcb", "bulk", "login"];
const MODES: [&str; 3] = ["simple", "extended", "prepared"];

/// pgbench's scale: 100,000 accounts each, so one million rows for the bulk results.
const SCALE: u32 = 10;
const ROWS: u64 = 1_000_000;

impl Gateway {
    /// Runs the benchmark, prints the table and writes the JSON.
    ///
    /// # Errors
    /// A server does not start or a client fails.
    pub fn run(&self) -> Result<()> {
        known(&self.sides, &SIDES, "side")?;
        known(&self.measures, &MEASURES, "measure")?;
        known(&self.modes, &MODES, "mode")?;
        let folder = tempfile::Builder::new().prefix("wardline-bench-").tempdir_in(&self.dir)?;
        // The servers run as another user when we are root.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let password = random_password()?;
        eprintln!("bench: starting PostgreSQL with pgbench at scale {SCALE}");
        let cluster = database(folder.path(), &password)?;
        let mut sides = Vec::new();
        for name in SIDES.iter().filter(|name| self.sides.iter().any(|side| side == *name)) {
            eprintln!("bench: starting {name}");
            sides.push(open(name, &cluster, &password, folder.path())?);
        }
        let pace = if self.quick { QUICK } else { FULL };
        let figures = self.measure(&sides, pace, folder.path())?;
        let names: Vec<&str> = sides.iter().map(|side| side.name).collect();
        println!("{}", conditions(&cluster, pace)?);
        print!("{}", figures.table(&names));
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&figures.json())? + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    fn measure(&self, sides: &[Side], pace: Pace, folder: &Path) -> Result<Figures> {
        let scratch = folder.join("scratch");
        std::fs::create_dir(&scratch)?;
        let mut figures = Figures::default();
        let wanted = |measure: &str| self.measures.iter().any(|name| name == measure);
        // First, while the processes are fresh: memory that a load left behind would count for idle sessions.
        if wanted("idle") {
            idle(sides, &scratch, &mut figures)?;
        }
        for repetition in 1..=pace.repetitions {
            eprintln!("bench: repetition {repetition} of {}", pace.repetitions);
            if wanted("load") {
                self.load(sides, pace, &scratch, &mut figures)?;
            }
            if wanted("tpcb") {
                self.tpcb(sides, pace, &scratch, &mut figures)?;
            }
            if wanted("bulk") {
                bulk(sides, &mut figures)?;
            }
            if wanted("login") {
                login(sides, pace, &mut figures)?;
            }
        }
        Ok(figures)
    }

    fn load(&self, sides: &[Side], pace: Pace, scratch: &Path, figures: &mut Figures) -> Result<()> {
        for mode in MODES.into_iter().filter(|mode| self.modes.iter().any(|wanted| wanted == mode)) {
            for &clients in &self.clients {
                let shape = Shape { mode, clients, select_only: true };
                each(sides, mode, shape, pace, scratch, figures)?;
            }
        }
        Ok(())
    }

    fn tpcb(&self, sides: &[Side], pace: Pace, scratch: &Path, figures: &mut Figures) -> Result<()> {
        for &clients in &self.clients {
            let shape = Shape { mode: "simple", clients, select_only: false };
            each(sides, "tpcb", shape, pace, scratch, figures)?;
        }
        Ok(())
    }
}

/// Runs one shape against each side in turn.
fn each(
    sides: &[Side],
    what: &str,
    shape: Shape,
    pace: Pace,
    scratch: &Path,
    figures: &mut Figures,
) -> Result<()> {
    let clients = shape.clients;
    for side in sides {
        let load = measure::load(side, shape, pace.seconds, scratch)?;
        eprintln!("bench: {:<9} {what:<8} x {clients:<2} {:>8.0} /s", side.name, load.tps);
        let name = |measure: &str| format!("{measure}.{}.{what}.{clients}", side.name);
        figures.add(name("tps"), load.tps, "1/s");
        figures.add(name("p50_ms"), load.p50_ms, "ms");
        figures.add(name("p99_ms"), load.p99_ms, "ms");
        // Without a process in the middle there is none to spend anything.
        figures.add(name("cpu_us_per_query"), load.cpu_us_per_query.unwrap_or(0.0), "us");
    }
    Ok(())
}

fn known(given: &[String], all: &[&str], what: &str) -> Result<()> {
    match given.iter().find(|name| !all.contains(&name.as_str())) {
        Some(unknown) => bail!("unknown {what} `{unknown}`: there are {}", all.join(", ")),
        None => Ok(()),
    }
}

fn idle(sides: &[Side], scratch: &Path, figures: &mut Figures) -> Result<()> {
    eprintln!("bench: idle sessions");
    for side in sides {
        if let Some(kib) = measure::idle_kib(side, scratch)? {
            figures.add(format!("kib_per_idle_session.{}", side.name), kib, "KiB");
        }
    }
    Ok(())
}

fn bulk(sides: &[Side], figures: &mut Figures) -> Result<()> {
    for (name, query) in
        [("select", "select * from pgbench_accounts"), ("copy", "copy pgbench_accounts to stdout")]
    {
        for side in sides {
            let rows = wire::Reader::connect(&side.conninfo)?.rows_per_second(query, ROWS)?;
            eprintln!("bench: {:<9} {name:<13} {rows:>8.0} rows/s", side.name);
            figures.add(format!("rows_per_s.{}.{name}", side.name), rows, "rows/s");
        }
    }
    Ok(())
}

fn login(sides: &[Side], pace: Pace, figures: &mut Figures) -> Result<()> {
    for side in sides {
        let logins = measure::logins(side, pace.seconds)?;
        eprintln!("bench: {:<9} connections   {:>8.0} /s", side.name, logins.per_second);
        figures.add(format!("connections_per_s.{}", side.name), logins.per_second, "1/s");
        let means = if side.name == "wardline" { "token" } else { "scram" };
        if let Some(cpu) = logins.cpu_ms {
            figures.add(format!("cpu_ms_per_login.{}.{means}", side.name), cpu, "ms");
        }
    }
    Ok(())
}

/// Starts the server with pgbench's tables; durable, as in production, and with room for all sessions.
fn database(folder: &Path, password: &str) -> Result<Cluster> {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let cluster = Cluster::start(Options {
        dir: Some(folder.join("postgres")),
        tls: true,
        settings: vec![
            setting("fsync", "on"),
            setting("max_connections", "1200"),
            setting("shared_buffers", "512MB"),
            setting("autovacuum", "off"),
            // A checkpoint in one side's turn would be counted against that side.
            setting("checkpoint_timeout", "1h"),
            setting("max_wal_size", "16GB"),
        ],
        ..Options::default()
    })?;
    cluster.create_database(NAME)?;
    cluster.psql(&format!("create role {NAME} login password '{password}'"))?;
    cluster.psql(&format!("alter database {NAME} owner to {NAME}"))?;
    let direct = side::direct(&cluster, password);
    let mut command = Command::new("pgbench");
    direct.environment(&mut command);
    let output = command
        .args(["--initialize", "--quiet", &format!("--scale={SCALE}")])
        .stdin(Stdio::null())
        .output()
        .context("cannot start pgbench")?;
    if !output.status.success() {
        bail!("pgbench --initialize failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(cluster)
}

fn open(name: &str, cluster: &Cluster, password: &str, folder: &Path) -> Result<Side> {
    let folder = folder.join(name);
    std::fs::create_dir(&folder)?;
    match name {
        "direct" => Ok(side::direct(cluster, password)),
        "pgbouncer" => side::pgbouncer(cluster, password, &folder),
        "wardline" => side::wardline(cluster, password, &folder),
        other => bail!("no side `{other}`"),
    }
}

/// Returns under what conditions the figures hold.
fn conditions(cluster: &Cluster, pace: Pace) -> Result<String> {
    let server = cluster.psql("show server_version")?;
    Ok(format!(
        "PostgreSQL {server}, TLS on every leg, fsync on; {} x {} s, medians; {}",
        pace.repetitions,
        pace.seconds,
        machine()?
    ))
}

/// Returns what the machine is, and what else it does.
fn machine() -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{cores} cores, {}; load average at the end {}",
        model.trim_start_matches(['\t', ' ', ':']).trim_end(),
        load.split(' ').next().unwrap_or_default(),
    ))
}
