//! The measurements: what a run did, and what the process in the middle spent on it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::side::Side;

/// What one run of pgbench showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Transactions per second, the connection time left out.
    pub(crate) tps: f64,
    /// Median latency.
    pub(crate) p50_ms: f64,
    /// 99th percentile of the latency.
    pub(crate) p99_ms: f64,
    /// CPU of the process in the middle per query; nothing where there is none.
    pub(crate) cpu_us_per_query: Option<f64>,
}

/// How pgbench is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// pgbench's query mode: `simple`, `extended` or `prepared`.
    pub(crate) mode: &'static str,
    /// Concurrent clients.
    pub(crate) clients: u32,
    /// Select-only, or TPC-B-like.
    pub(crate) select_only: bool,
}

impl Shape {
    /// SQL commands in one transaction of the script.
    fn queries_per_transaction(self) -> f64 {
        // The TPC-B-like script is BEGIN, three UPDATEs, SELECT, INSERT, END.
        if self.select_only { 1.0 } else { 7.0 }
    }
}

/// Latencies are logged for one transaction in this many, where there are enough of them: the log costs the client.
const SAMPLED: u32 = 10;

/// Runs pgbench against a side for some seconds.
pub(crate) fn load(side: &Side, shape: Shape, seconds: u32, scratch: &Path) -> Result<Load> {
    let prefix = scratch.join("latency");
    let mut command = pgbench(side);
    command
        .args(["--no-vacuum", "--jobs=2", "--log", "--protocol", shape.mode])
        .arg(format!("--log-prefix={}", prefix.display()))
        .arg(format!("--client={}", shape.clients))
        .arg(format!("--time={seconds}"));
    if shape.clients > 1 {
        command.arg(format!("--sampling-rate={}", 1.0 / f64::from(SAMPLED)));
    }
    if shape.select_only {
        command.arg("--select-only");
    }
    let before = cpu(side)?;
    let output = text(&mut command)?;
    let spent = cpu(side)?.zip(before).map(|(after, before)| after - before);
    let transactions = number_after(&output, "number of transactions actually processed: ")?;
    let mut latencies = latencies(scratch)?;
    let queries = transactions * shape.queries_per_transaction();
    Ok(Load {
        tps: number_after(&output, "tps = ")?,
        p50_ms: percentile(&mut latencies, 50)?,
        p99_ms: percentile(&mut latencies, 99)?,
        cpu_us_per_query: spent.map(|spent| spent.as_secs_f64() * 1e6 / queries),
    })
}

/// What opening connections showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logins {
    /// Connections opened, used for one query and closed, per second.
    pub(crate) per_second: f64,
    /// CPU of the process in the middle for each, both TLS handshakes and the query included.
    pub(crate) cpu_ms: Option<f64>,
}

/// Opens a connection for each query.
pub(crate) fn logins(side: &Side, seconds: u32) -> Result<Logins> {
    let before = cpu(side)?;
    let output = text(
        pgbench(side)
            .args(["--no-vacuum", "--select-only", "--connect", "--jobs=2"])
            .args(["--client=8", &format!("--time={seconds}")]),
    )?;
    let spent = cpu(side)?.zip(before).map(|(after, before)| after - before);
    let connections = number_after(&output, "number of transactions actually processed: ")?;
    Ok(Logins {
        per_second: number_after(&output, "tps = ")?,
        cpu_ms: spent.map(|spent| spent.as_secs_f64() * 1e3 / connections),
    })
}

/// Sessions of the idle measurement.
pub(crate) const IDLE_SESSIONS: u32 = 500;

/// Returns the KiB that each of many idle sessions costs the process in the middle. The process should be fresh.
pub(crate) fn idle_kib(side: &Side, scratch: &Path) -> Result<Option<f64>> {
    let Some(pid) = side.pid else { return Ok(None) };
    let script = scratch.join("idle.sql");
    // One query first, so that the session has done what any session does; then idle on the client's side.
    std::fs::write(&script, "SELECT abalance FROM pgbench_accounts WHERE aid = 1;\n\\sleep 600 s\n")?;
    text(pgbench(side).args(["--no-vacuum", "--select-only", "--client=2", "--transactions=10"]))?;
    let before = resident_kib(pid)?;
    let mut idle = pgbench(side)
        .args(["--no-vacuum", "--jobs=2", "--transactions=1", "--file"])
        .arg(&script)
        .arg(format!("--client={IDLE_SESSIONS}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let settled = settle(pid);
    let ended = idle.try_wait()?;
    // Killed, not asked: the sleeping script does not look at anything.
    idle.kill()?;
    idle.wait()?;
    if let Some(status) = ended {
        bail!("the idle sessions of {} ended by themselves ({status})", side.name);
    }
    let after = settled?;
    Ok(Some((after - before) / f64::from(IDLE_SESSIONS)))
}

/// Waits until the process neither grows nor works any more, and returns its memory.
fn settle(pid: u32) -> Result<f64> {
    let begun = Instant::now();
    let mut last = (0.0, Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_secs(3));
        let now = (resident_kib(pid)?, cpu_of(pid)?);
        let grown = (now.0 - last.0).abs() > 64.0;
        let worked = now.1.saturating_sub(last.1) > Duration::from_millis(100);
        if !grown && !worked {
            return Ok(now.0);
        }
        last = now;
    }
    bail!("process {pid} did not come to rest within a minute")
}

/// Returns pgbench with the connection of a side.
fn pgbench(side: &Side) -> Command {
    let mut command = Command::new("pgbench");
    side.environment(&mut command);
    command
}

/// Runs a client program and returns what it printed; its complaint is the error.
fn text(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("cannot start pgbench")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("pgbench failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(printed)
}

/// Returns the number that follows a marker in a text.
fn number_after(text: &str, marker: &str) -> Result<f64> {
    let rest = text.split(marker).nth(1).with_context(|| format!("no `{marker}` in {text}"))?;
    let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    digits.parse().with_context(|| format!("no number after `{marker}`"))
}

/// Reads and deletes pgbench's latency logs: `client transaction time_us script epoch epoch_us`.
fn latencies(scratch: &Path) -> Result<Vec<u32>> {
    let mut times = Vec::new();
    for entry in std::fs::read_dir(scratch)? {
        let path = entry?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("latency.")) {
            continue;
        }
        let log = std::fs::read_to_string(&path)?;
        times.extend(log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u32>().ok()));
        std::fs::remove_file(&path)?;
    }
    Ok(times)
}

fn percentile(times_us: &mut [u32], percent: usize) -> Result<f64> {
    times_us.sort_unstable();
    let at = times_us.len().saturating_sub(1) * percent / 100;
    times_us.get(at).map(|us| f64::from(*us) / 1e3).context("no latency was logged")
}

/// Returns the CPU time that the process in the middle has used so far.
fn cpu(side: &Side) -> Result<Option<Duration>> {
    side.pid.map(cpu_of).transpose()
}

/// Returns user and system time of all threads of a process, those that ended included.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    ticks(&stat).map(|ticks| Duration::from_millis(ticks * 10)).context("an unexpected /proc/PID/stat")
}

/// Returns fields 14 and 15 of a stat line, counted after the name, which may hold anything. A tick is 10 ms (`USER_HZ`).
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Returns the proportional memory of a process.
pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    let rollup =
        std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the process is gone")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    line.trim().trim_end_matches(" kB").parse().context("an unexpected smaps_rollup")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_ticks_of_a_process_with_an_odd_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn percentiles_of_few_and_many() {
        assert_eq!(percentile(&mut [7000], 99).expect("one"), 7.0);
        let mut many: Vec<u32> = (0..=100).rev().map(|ms| ms * 1000).collect();
        assert_eq!(percentile(&mut many, 50).expect("many"), 50.0);
        assert_eq!(percentile(&mut many, 99).expect("many"), 99.0);
        assert!(percentile(&mut [], 50).is_err());
    }

    #[test]
    fn the_numbers_of_pgbench() {
        let text =
            "number of transactions actually processed: 1234\ntps = 98.5 (without initial connection time)\n";
        assert_eq!(number_after(text, "tps = ").expect("tps"), 98.5);
        assert_eq!(number_after(text, "number of transactions actually processed: ").expect("count"), 1234.0);
        assert!(number_after(text, "latency = ").is_err());
    }
}
