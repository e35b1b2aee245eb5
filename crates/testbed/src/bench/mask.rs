//! `bench mask`: what masking costs on the way: rows and processor time, the first row's latency, memory at a large
//! result. The same table is read directly, through Wardline by somebody who sees everything, and by somebody who sees
//! six of its twelve columns masked; the three take turns.
//!
//! Deliberately absent: what masking costs without a connection, which examples and tests of `phi` and `gateway`
//! measure; their figures come in as files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::measure::{cpu_of, resident_kib};
use super::report::Figures;
use super::wire::Reader;
use crate::Conninfo;
use crate::gateway::{Gateway, ROLE_ALL};
use crate::postgres::{Cluster, Options};
use crate::wire::{Wire, front};

const DATABASE: &str = "hospital";
const ROWS: u64 = 1_000_000;
/// Looks at one row, of each side.
const LOOKS: u32 = 3_000;
const LOOKS_QUICK: u32 = 300;
const REPETITIONS: u32 = 3;
/// Samples of the memory while a large result passes.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

const TABLE: &str = "create table wide (id int primary key, name text, ward text, ssn text, beds int, mrn text, \
    floor int, born date, note text, zip text, score numeric, mail text);
insert into wide select n, 'Zofia Nowak ' || n, 'ward ' || n % 50, \
    lpad((n % 900)::text, 3, '1') || '-45-' || lpad((n % 10000)::text, 4, '0'), n % 30, 'MRN' || 1000000 + n, n % 9, \
    date '1930-01-01' + n % 30000, 'a short note', lpad((n % 99999)::text, 5, '0'), n / 7.0, \
    'zofia' || n || '@mail.example.org' from generate_series(1, 1000000) n;
vacuum analyze wide";

const PHI: &str = "[resource.hospital.phi]
clean = [\"public.wide.id\", \"public.wide.ward\", \"public.wide.beds\", \"public.wide.floor\", \"public.wide.note\", \
    \"public.wide.score\"]
[resource.hospital.phi.columns]
\"public.wide.name\" = { class = \"name\", operator = \"redact\" }
\"public.wide.ssn\" = { class = \"ssn\", operator = \"partial(last=4)\" }
\"public.wide.mrn\" = { class = \"mrn\", operator = \"token\" }
\"public.wide.born\" = { class = \"date\", operator = \"year\" }
\"public.wide.zip\" = { class = \"geographic\", operator = \"zip3\" }
\"public.wide.mail\" = { class = \"email\", operator = \"email_domain\" }";

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  testbed bench mask --quick
  testbed bench mask --large-gib 10 --json mask.json")]
pub struct Mask {
    /// One short repetition
    #[arg(long)]
    quick: bool,
    /// The size of the large result
    #[arg(long, value_name = "N", default_value_t = 2)]
    large_gib: u64,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Figures measured elsewhere, to be shown with these
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// Where databases and trail are kept while it runs
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    dir: PathBuf,
}

/// The ways to the table.
struct Ways {
    gateway: Gateway,
    sides: [(&'static str, Conninfo); 3],
    _cluster: Cluster,
}

impl Ways {
    fn open(folder: &Path) -> Result<Ways> {
        let cluster = Cluster::start(Options {
            dir: Some(folder.join("postgres")),
            tls: true,
            settings: vec![("autovacuum".to_owned(), "off".to_owned())],
            ..Options::default()
        })?;
        cluster.create_database(DATABASE)?;
        for text in TABLE.split(';') {
            cluster.psql_in(DATABASE, text)?;
        }
        let direct = cluster.conninfo().with_dbname(DATABASE);
        let gateway = Gateway::builder()
            .dir(&folder.join("wardline"))
            .resource(DATABASE, &direct)
            .toml(PHI)
            .role_all()
            .role("seer", DATABASE, "read = [\"*\"]\nunmask = [\"*\"]")
            .person("sam", &["seer"])
            .person("mia", &[ROLE_ALL])
            .start()?;
        let (plain, masked) = (gateway.conninfo("sam", DATABASE)?, gateway.conninfo("mia", DATABASE)?);
        Ok(Ways {
            gateway,
            sides: [("direct", direct), ("plain", plain), ("masked", masked)],
            _cluster: cluster,
        })
    }

    fn pid(&self) -> Result<u32> {
        self.gateway.process_id().context("Wardline runs")
    }
}

impl Mask {
    /// Measures, prints the figures and writes the JSON.
    ///
    /// # Errors
    /// A server does not start, or a statement is refused.
    pub fn run(&self) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("wardline-bench-").tempdir_in(&self.dir)?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        eprintln!("bench: starting PostgreSQL with {ROWS} rows, and Wardline");
        let ways = Ways::open(folder.path())?;
        let mut figures = Figures::default();
        for file in &self.with {
            figures.read(file)?;
        }
        for repetition in 1..=if self.quick { 1 } else { REPETITIONS } {
            eprintln!("bench: repetition {repetition}");
            rows(&ways, &mut figures)?;
            first_row(&ways, if self.quick { LOOKS_QUICK } else { LOOKS }, &mut figures)?;
        }
        eprintln!("bench: a result of {} GiB", self.large_gib);
        memory(&ways, self.large_gib, &mut figures)?;
        println!("{}", super::machine()?);
        print!("{}", figures.list());
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&figures.json())? + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

/// Reads the whole table, and what Wardline's process spends on it.
fn rows(ways: &Ways, figures: &mut Figures) -> Result<()> {
    for (name, conninfo) in &ways.sides {
        let mut reader = Reader::connect(conninfo)?;
        let before = cpu_of(ways.pid()?)?;
        let rate = reader.rows_per_second("select * from wide", ROWS)?;
        let spent = cpu_of(ways.pid()?)? - before;
        figures.add(format!("rows_per_s.{name}"), rate, "rows/s");
        if *name != "direct" {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 rows")]
            let per_core = ROWS as f64 / spent.as_secs_f64();
            figures.add(format!("rows_per_cpu_s.{name}"), per_core, "rows/s");
        }
    }
    // What masking itself adds, beside relaying.
    if let (Some(plain), Some(masked)) =
        (figures.median("rows_per_cpu_s.plain"), figures.median("rows_per_cpu_s.masked"))
    {
        let added = 1e6 / masked - 1e6 / plain;
        figures.add("mask_cpu_s_per_million_rows".to_owned(), added, "s");
    }
    Ok(())
}

/// The time from a statement to its first row, the sides in turn.
fn first_row(ways: &Ways, looks: u32, figures: &mut Figures) -> Result<()> {
    let mut wires = Vec::new();
    for (name, conninfo) in &ways.sides {
        wires.push((*name, Wire::connect(conninfo)?, Vec::new()));
    }
    for look in 0..looks {
        let text = front::query(&format!("select * from wide where id = {}", 1 + look % 1000));
        // Each begins as often as the others: the first of a turn finds everything asleep.
        wires.rotate_left(1);
        for (name, wire, times) in &mut wires {
            let begun = Instant::now();
            wire.send(&text)?;
            let mut first = None;
            for message in wire.until(b'Z')? {
                match message.kind {
                    b'D' => first = Some(begun.elapsed()),
                    b'E' => bail!("{name}: {message:?}"),
                    _ => {}
                }
            }
            times.push(first.context("no row")?.as_secs_f64() * 1e3);
        }
    }
    for (name, _, times) in &mut wires {
        times.sort_by(f64::total_cmp);
        for percent in [50, 99] {
            let at = times.len().saturating_sub(1) * percent / 100;
            let time = times.get(at).copied().context("no look")?;
            figures.add(format!("first_row_ms_p{percent}.{name}"), time, "ms");
        }
    }
    for percent in [50, 99] {
        let of = |side: &str| figures.last(&format!("first_row_ms_p{percent}.{side}"));
        if let (Some(direct), Some(plain), Some(masked)) = (of("direct"), of("plain"), of("masked")) {
            figures.add(format!("first_row_added_ms_p{percent}.to_direct"), masked - direct, "ms");
            figures.add(format!("first_row_added_ms_p{percent}.to_plain"), masked - plain, "ms");
        }
    }
    Ok(())
}

/// Passes a large masked result, and watches the memory of Wardline's process.
fn memory(ways: &Ways, gib: u64, figures: &mut Figures) -> Result<()> {
    let (_, masked) = &ways.sides[2];
    let pid = ways.pid()?;
    let mut reader = Reader::connect(masked)?;
    reader.rows_per_second("select * from wide", ROWS)?;
    let bytes = reader.received();
    let times = (gib << 30).div_ceil(bytes.max(1));
    let before = resident_kib(pid)?;
    let done = AtomicBool::new(false);
    let (most, read) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = before;
            while !done.load(Ordering::Relaxed) {
                most = resident_kib(pid).map_or(most, |now| most.max(now));
                std::thread::sleep(SAMPLE_EVERY);
            }
            most
        });
        let text = format!("select w.* from wide w cross join generate_series(1, {times}) n");
        let read = reader.rows_per_second(&text, ROWS * times);
        done.store(true, Ordering::Relaxed);
        (watch.join(), read)
    });
    let most = most.map_err(|_| anyhow::anyhow!("the watch panicked"))?;
    figures.add("rows_per_s.large".to_owned(), read?, "rows/s");
    #[expect(clippy::cast_precision_loss, reason = "a size in GiB")]
    figures.add("large_gib".to_owned(), (reader.received() - bytes) as f64 / (1u64 << 30) as f64, "GiB");
    figures.add("memory_mib.before".to_owned(), before / 1024.0, "MiB");
    figures.add("memory_mib.most".to_owned(), most / 1024.0, "MiB");
    figures.add("memory_grown_mib".to_owned(), (most - before) / 1024.0, "MiB");
    Ok(())
}
