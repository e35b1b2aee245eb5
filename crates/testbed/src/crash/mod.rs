//! The crash test: many clients against Wardline, which dies at random moments, and a ledger of all they were told.
//!
//! After each recovery the trail must be whole (`wardline verify`), each line of the ledger must have its entry with the
//! right person and decision, no row may have been released that was not announced, and no row may be in the database
//! whose writing was not recorded before. What ends a round is an [`Ending`]; a fresh trail is begun every few rounds, so
//! that a thousand of them do not verify ever longer trails.
//!
//! Deliberately absent: the death of PostgreSQL, and names that a power cut forgets (see `faults`).

mod judge;
mod ledger;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::SmallDisk;
use crate::faults::{Fault, Faults, Files};
use crate::gateway::{Gateway, Listener};
use crate::hospital::random::Random;
use crate::postgres::{Cluster, Options};
use crate::process::wait_until;
use judge::Entry;
use ledger::{End, Visit};
use load::{Person, Shared};

const DATABASE: &str = "crash";
/// Rounds on one trail.
const GENERATION_ROUNDS: u32 = 16;
/// What `wardline serve` ends with when the trail failed.
const EXIT_TRAIL_FAILED: i32 = 3;
/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// Syncs that must have been lied about before a lying disk is cut off.
const LIES_MIN: u32 = 8;
/// Answers after them, more than there are sessions, so that some rest on the lies alone.
const LIES_ANSWERED_MIN: u64 = 16;
/// Most faults that are told; one lost frame makes hundreds.
const FAULTS_SHOWN_MAX: usize = 12;

/// What ends a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ending {
    /// `kill -9`; the files are as the kernel has them.
    Kill,
    /// The same, and what was not synced is lost or torn.
    Power,
    /// A write or a sync beneath the trail fails: the server ends itself.
    Error,
    /// Writes beneath the trail are short and interrupted, which is no error; then as `Power`.
    Short,
    /// Files beneath the trail meet `ENOSPC` for a while; service returns by itself; then as `Power`.
    Full,
    /// A small file system is filled for real and freed again; then `kill -9`.
    Disk,
    /// Syncs do nothing for a while, then as `Power`. No program withstands that: the test must see it.
    #[value(skip)]
    Lie,
}

impl Ending {
    fn injects(self) -> bool {
        !matches!(self, Ending::Kill | Ending::Disk)
    }
}

/// How much, and of what.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  testbed crash --rounds 1000
  testbed crash --rounds 100 --ending power,error --seed 7
  testbed crash --rounds 20 --dir /dev/shm")]
pub struct Crash {
    /// How often Wardline dies
    #[arg(long, default_value_t = 50)]
    pub rounds: u32,
    /// What the moments, statements and faults follow from; the threads' timing does not
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Sessions at once
    #[arg(long, default_value_t = 24)]
    pub clients: u64,
    /// What ends a round; several take turns
    #[arg(long = "ending", value_enum, value_delimiter = ',', default_value = "kill")]
    pub endings: Vec<Ending>,
    /// Where the trails are kept while it runs
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub dir: PathBuf,
    /// Keep the trail and the log of a round that failed.
    #[arg(skip = true)]
    pub keep: bool,
}

impl Default for Crash {
    fn default() -> Crash {
        let dir = PathBuf::from("/var/tmp");
        Crash { rounds: 50, seed: 1, clients: 24, endings: vec![Ending::Kill], dir, keep: true }
    }
}

/// What goes wrong in the rounds of [`Ending::Error`], in turn.
const ERRORS: [(Fault, Files); 9] = [
    (Fault::SyncError, Files::Segments),
    (Fault::WriteError, Files::Segments),
    (Fault::TornWrite, Files::Segments),
    (Fault::SyncNoSpace, Files::Segments),
    // Segments are made ahead, so this is no full disk but a broken one.
    (Fault::NoSpace, Files::Segments),
    (Fault::SyncError, Files::Tree),
    (Fault::WriteError, Files::Tree),
    (Fault::TornWrite, Files::Tree),
    (Fault::SyncNoSpace, Files::Tree),
];

/// What was done and found to be right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Rounds.
    pub rounds: u32,
    /// Starts that were killed before they were ready.
    pub starts_killed: u32,
    /// Sessions.
    pub sessions: u64,
    /// Statements that were told to be complete.
    pub acknowledged: u64,
    /// Statements that policy refused.
    pub refused: u64,
    /// Statements that a session's end cut off.
    pub cut: u64,
    /// Of those, the ones of which rows had arrived.
    pub cut_with_rows: u64,
    /// Rows that arrived.
    pub rows: u64,
    /// Rows in the database.
    pub written: u64,
    /// Entries that were read back.
    pub entries: u64,
    /// Bytes of unfinished frames that recoveries cut off.
    pub torn_starts: u64,
    /// Calls beneath the trail that were struck.
    pub struck: u64,
    /// Sessions and connections that were told that the trail cannot record.
    pub turned_away: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { rounds, starts_killed, sessions, acknowledged, refused, cut, cut_with_rows, .. } = self;
        let Figures { rows, written, entries, torn_starts, struck, turned_away, .. } = self;
        write!(
            f,
            "{rounds} rounds and {starts_killed} starts killed; {sessions} sessions, {acknowledged} statements \
             acknowledged, {refused} refused, {cut} cut off ({cut_with_rows} with rows); {rows} rows received, {written} \
             written; {entries} entries, {torn_starts} torn frames cut off, {struck} faults injected, {turned_away} \
             sessions turned away"
        )
    }
}

impl Crash {
    /// Runs from the command line.
    ///
    /// # Errors
    /// Something is wrong with the trail; the error says what, and where it is kept.
    pub fn run(&self) -> Result<()> {
        let began = Instant::now();
        let figures = self.rounds(|line| println!("{line}"))?;
        println!("crash: {figures}; {:.0} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Runs the rounds, saying how each went.
    ///
    /// # Errors
    /// As [`Crash::run`].
    pub fn rounds(&self, mut say: impl FnMut(&str)) -> Result<Figures> {
        ensure!(!self.endings.is_empty(), "no ending is named");
        let cluster = database()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut figures = Figures::default();
        let mut number = 0;
        for ending in self.endings.iter().cycle() {
            if number >= self.rounds {
                break;
            }
            let rounds = GENERATION_ROUNDS.min(self.rounds - number);
            let mut generation = Generation::begin(self, *ending, &cluster, number)?;
            let done = generation.rounds(&runtime, number..number + rounds, &mut figures, &mut say);
            done.map_err(|error| generation.preserve(error))?;
            number += rounds;
        }
        Ok(figures)
    }
}

fn database() -> Result<Cluster> {
    let cluster = Cluster::start(Options { tls: true, ..Options::default() })?;
    cluster.create_database(DATABASE)?;
    cluster.psql_in(
        DATABASE,
        &format!(
            "create table crash_rows (n int primary key, body text);
             insert into crash_rows select n, repeat(md5(n::text), 9) from generate_series(1, {}) n;
             create table crash_writes (id bigint primary key, note text);
             create table crash_secrets (secret text);
             analyze;",
            load::ROWS
        ),
    )?;
    Ok(cluster)
}

/// One trail, over several rounds.
struct Generation<'a> {
    crash: &'a Crash,
    ending: Ending,
    cluster: &'a Cluster,
    gateway: Gateway,
    faults: Option<Faults>,
    people: Vec<Person>,
    random: Random,
    /// The round.
    number: usize,
    shared: Arc<Shared>,
    visits: Vec<Visit>,
    entries: BTreeMap<u64, Entry>,
    metrics: u16,
    // Last, so that the server is gone before its folder is.
    disk: Option<SmallDisk>,
    folder: Option<TempDir>,
}

impl<'a> Generation<'a> {
    fn begin(crash: &'a Crash, ending: Ending, cluster: &'a Cluster, number: u32) -> Result<Generation<'a>> {
        cluster.psql_in(DATABASE, "truncate crash_writes")?;
        let folder = tempfile::Builder::new().prefix("wardline-crash-").tempdir_in(&crash.dir)?;
        // Two segments, the reserve and room for the tree; then a bit.
        let disk = if ending == Ending::Disk { Some(SmallDisk::mount(320)?) } else { None };
        let faults = if ending.injects() { Some(Faults::new(folder.path())?) } else { None };
        let at = folder.path().join("gateway");
        let metrics = crate::free_port()?;
        let mut builder = Gateway::builder()
            .dir(&at)
            .listener(Listener::Tls)
            .resource_of(DATABASE, cluster, DATABASE)
            .role("clerk", DATABASE, CLERK)
            .role("reader", DATABASE, "read = [\"public.crash_rows\"]")
            .toml(&format!("[metrics]\naddress = \"127.0.0.1:{metrics}\""))
            .person("ann", &["clerk"])
            .person("ben", &["clerk"])
            .person("cleo", &["reader"]);
        if let Some(faults) = &faults {
            builder = faults.beneath(builder, crash.seed.wrapping_add(u64::from(number)));
        }
        let gateway = builder.prepare()?;
        if let Some(disk) = &disk {
            move_to(disk, &gateway.data())?;
        }
        let mut people = Vec::new();
        for (name, writes) in [("ann", true), ("ben", true), ("cleo", false)] {
            let conninfo = gateway.conninfo_token(name, DATABASE)?;
            people.push(Person { name: name.to_owned(), conninfo, writes });
        }
        Ok(Generation {
            crash,
            ending,
            cluster,
            gateway,
            faults,
            people,
            random: Random::new(crash.seed, 0xdead, u64::from(number)),
            number: 0,
            shared: Arc::default(),
            visits: Vec::new(),
            entries: BTreeMap::new(),
            metrics,
            disk,
            folder: Some(folder),
        })
    }

    fn rounds(
        &mut self,
        runtime: &Runtime,
        numbers: std::ops::Range<u32>,
        figures: &mut Figures,
        say: &mut impl FnMut(&str),
    ) -> Result<()> {
        self.gateway.serve()?;
        for number in numbers {
            self.number = usize::try_from(number)?;
            let began = Instant::now();
            let before = self.shared.acknowledged.load(Ordering::Relaxed);
            self.round(runtime, figures).with_context(|| format!("round {number}, {:?}", self.ending))?;
            self.recover(figures).with_context(|| format!("after round {number}, {:?}", self.ending))?;
            figures.rounds += 1;
            let acknowledged = self.shared.acknowledged.load(Ordering::Relaxed) - before;
            let (ending, entries) = (self.ending, self.entries.len());
            let took = began.elapsed().as_secs_f64();
            say(&format!(
                "round {number}: {ending:?}, {acknowledged} acknowledged, {entries} entries, {took:.1} s"
            ));
        }
        // Once more from the first entry on: what was there after one crash is there after all of them.
        self.entries.clear();
        self.examine()?;
        self.gateway.terminate()?;
        self.count(figures);
        Ok(())
    }

    /// Load, and what ends it: the server runs before and does not after.
    fn round(&mut self, runtime: &Runtime, figures: &mut Figures) -> Result<()> {
        let seed = self.random.below(u64::MAX);
        self.shared.stop.store(false, Ordering::Relaxed);
        let guests = {
            let _entered = runtime.enter();
            load::start(self.crash.clients, &self.people, &self.shared, seed)?
        };
        let ended = self.meanwhile(figures);
        self.shared.stop.store(true, Ordering::Relaxed);
        let visits = runtime.block_on(leave(guests));
        self.visits.extend(visits.context("the load")?);
        ended
    }

    fn meanwhile(&mut self, figures: &mut Figures) -> Result<()> {
        self.wait_for_answers("the first answer", 1)?;
        self.pause(50, 600);
        match self.ending {
            Ending::Kill | Ending::Power => self.gateway.kill9(),
            Ending::Error => self.fail(figures),
            Ending::Short => {
                self.faults()?.keep_striking(Fault::ShortWrite, Files::Any)?;
                self.pause(100, 900);
                self.wait_for_answers("answers in spite of short writes", 10)?;
                figures.struck += u64::from(self.faults()?.struck()?);
                self.faults()?.end()?;
                self.gateway.kill9()
            }
            Ending::Full => {
                // Without space nothing new can be made; what was made ahead can be written.
                self.faults()?.keep_striking(Fault::NoSpace, Files::New)?;
                self.without_space()?;
                figures.struck += u64::from(self.faults()?.struck()?);
                self.faults()?.end()?;
                self.with_space_again()
            }
            Ending::Lie => {
                self.faults()?.keep_striking(Fault::LyingSync, Files::Segments)?;
                // The first answers may rest on syncs from before, and a small write may reach the disk by itself:
                // so many lies, each followed by answers, are not all lucky.
                let lied = wait_until(PATIENCE, || Ok(self.faults()?.struck()? >= LIES_MIN))?;
                ensure!(lied, "only {} syncs were lied about", self.faults()?.struck()?);
                self.wait_for_answers("answers over a lie", self.crash.clients + LIES_ANSWERED_MIN)?;
                self.gateway.kill9()?;
                self.faults()?.end()
            }
            Ending::Disk => {
                let ballast = self.disk.as_ref().context("a small disk")?.fill()?;
                self.without_space()?;
                std::fs::remove_file(ballast)?;
                self.with_space_again()
            }
        }
    }

    /// Lets a write or a sync fail and waits for the server to end itself.
    fn fail(&mut self, figures: &mut Figures) -> Result<()> {
        let (fault, files) = *ERRORS.iter().cycle().nth(self.number).context("a fault")?;
        let after = u32::try_from(self.random.below(20))?;
        self.faults()?.strike(fault, files, after)?;
        let what = format!("{fault:?} of {files:?}");
        let status = self.gateway.wait(PATIENCE).with_context(|| what.clone())?;
        ensure!(status.code() == Some(EXIT_TRAIL_FAILED), "{what}: the server ended with {status}");
        ensure!(self.faults()?.struck()? == 1, "{what}: it was tried again");
        figures.struck += 1;
        self.faults()?.end()?;
        let log = std::fs::read_to_string(self.gateway.log())?;
        ensure!(log.contains("trail: failed, the process must end"), "{what}: the log does not say so");
        Ok(())
    }

    /// Waits until everybody is turned away.
    fn without_space(&mut self) -> Result<()> {
        let before = self.shared.turned_away.load(Ordering::Relaxed);
        let turned_away =
            wait_until(PATIENCE, || Ok(self.shared.turned_away.load(Ordering::Relaxed) >= before + 10))?;
        ensure!(turned_away, "nobody was turned away although there is no space");
        ensure!(self.metric("trail_state")? == Some(1.0), "the metric `trail_state` does not say `full`");
        let log = std::fs::read_to_string(self.gateway.log())?;
        ensure!(
            log.contains("trail: no space left, refusing"),
            "the log does not say that there is no space"
        );
        self.pause(0, 400);
        Ok(())
    }

    /// Service returns, and then the server is killed.
    fn with_space_again(&mut self) -> Result<()> {
        self.wait_for_answers("service again with the space", 50)?;
        ensure!(self.metric("trail_state")? == Some(0.0), "the metric `trail_state` does not say `open`");
        self.pause(0, 400);
        self.gateway.kill9()
    }

    /// Starts again, now and then after a start that is killed, and examines what is there.
    fn recover(&mut self, figures: &mut Figures) -> Result<()> {
        while self.random.chance(250) {
            let after = Duration::from_millis(self.random.below(400));
            self.gateway.serve_and_kill9(after).context("a start")?;
            figures.starts_killed += 1;
        }
        self.gateway.serve().context("the start after it")?;
        self.examine()
    }

    /// Verifies the trail, reads the entries that are new, and judges.
    fn examine(&mut self) -> Result<()> {
        let size = self.verify()?;
        let known = self.entries.keys().next_back().map_or(0, |last| last + 1);
        // A few more: that it is looked at is itself recorded, once in a while after a heartbeat.
        let count = (size.saturating_sub(known) + 8).to_string();
        let tail = self.gateway.cli_json(&["trail", "tail", "--json", "--open-sealed", "-n", &count])?;
        self.entries.extend(tail.iter().map(Entry::read).map(|entry| (entry.index, entry)));
        let gap = self.entries.keys().zip(0..).find(|(index, expected)| **index != *expected);
        ensure!(gap.is_none(), "the entries have a gap: {gap:?}");
        let stored = self.cluster.psql_in(DATABASE, "select id from crash_writes")?;
        let stored: BTreeSet<u64> = stored.lines().map(str::parse).collect::<Result<_, _>>()?;
        let entries: Vec<Entry> = self.entries.values().cloned().collect();
        let faults = judge::judge(&self.visits, &entries, &stored);
        if faults.is_empty() {
            return Ok(());
        }
        let shown = faults.iter().take(FAULTS_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join("\n  ");
        bail!("{} faults:\n  {shown}", faults.len())
    }

    /// Returns the size of the log.
    fn verify(&self) -> Result<u64> {
        let output = self.gateway.cli_output(&["verify", "--json"])?;
        let words = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`wardline verify` ended with {}: {words}{errors}", output.status);
        let report: serde_json::Value = serde_json::from_str(&words).context("the report of `verify`")?;
        let number = |name: &str| report.get(name).and_then(serde_json::Value::as_u64).context("a size");
        Ok(number("entries")? + number("records_after_checkpoint")?)
    }

    fn wait_for_answers(&mut self, what: &str, count: u64) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let before = shared.acknowledged.load(Ordering::Relaxed);
        let gateway = &mut self.gateway;
        let came = wait_until(PATIENCE, || {
            ensure!(gateway.runs(), "the server ended by itself");
            Ok(shared.acknowledged.load(Ordering::Relaxed) >= before + count)
        })?;
        ensure!(came, "waited in vain for {what}");
        Ok(())
    }

    fn pause(&mut self, low_ms: u64, high_ms: u64) {
        std::thread::sleep(Duration::from_millis(low_ms + self.random.below(high_ms - low_ms)));
    }

    fn faults(&self) -> Result<&Faults> {
        self.faults.as_ref().context("faults beneath this server")
    }

    fn metric(&self, name: &str) -> Result<Option<f64>> {
        metric(self.metrics, name)
    }

    fn count(&self, figures: &mut Figures) {
        figures.sessions += self.visits.len() as u64;
        figures.entries += self.entries.len() as u64;
        figures.turned_away += self.shared.turned_away.load(Ordering::Relaxed);
        figures.torn_starts += self.entries.values().filter(|entry| entry.is_cut()).count() as u64;
        for line in self.visits.iter().flat_map(|visit| &visit.lines) {
            figures.rows += line.rows;
            match &line.end {
                End::Acknowledged => figures.acknowledged += 1,
                End::Failed(code) if code == "42501" => figures.refused += 1,
                End::Failed(_) => {}
                End::Cut => {
                    figures.cut += 1;
                    figures.cut_with_rows += u64::from(line.rows > 0);
                }
            }
        }
        let written = self.visits.iter().flat_map(|visit| &visit.lines);
        figures.written += written.filter(|line| line.stored == ledger::Stored::Must).count() as u64;
    }

    /// Keeps the files for whoever looks into it.
    fn preserve(&mut self, error: anyhow::Error) -> anyhow::Error {
        drop(self.gateway.kill9());
        let Some(folder) = self.folder.take().filter(|_| self.crash.keep) else { return error };
        let kept = folder.keep();
        if let Some(disk) = &self.disk {
            copy(disk.path(), &kept);
        }
        error.context(format!("the trail and the log are kept in {}", kept.display()))
    }
}

const CLERK: &str = "read = [\"public.crash_rows\", \"public.crash_writes\"]\nwrite = [\"public.crash_writes\"]\n\
    transfer = true";

async fn leave(guests: Vec<JoinHandle<Result<Vec<Visit>>>>) -> Result<Vec<Visit>> {
    let mut visits = Vec::new();
    for guest in guests {
        visits.extend(guest.await.context("a client")??);
    }
    Ok(visits)
}

/// Returns a gauge of the server, where it has it.
fn metric(port: u16, name: &str) -> Result<Option<f64>> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).context("the metrics")?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(values.next().and_then(|value| value.parse().ok()))
}

/// Puts a folder on the small disk and leaves a link in its place.
fn move_to(disk: &SmallDisk, folder: &Path) -> Result<()> {
    let target = disk.path().join("data");
    let moved = std::process::Command::new("cp").arg("-a").arg(folder).arg(&target).status()?;
    ensure!(moved.success(), "`{}` could not be copied", folder.display());
    std::fs::remove_dir_all(folder)?;
    Ok(std::os::unix::fs::symlink(&target, folder)?)
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    if !copied.is_ok_and(|status| status.success()) {
        eprintln!("testbed: `{}` could not be copied", from.display());
    }
}
