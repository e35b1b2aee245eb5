//! How long it takes until a right that was taken away is gone from every open session, and from the database.
//!
//! Many sessions of one person are open and idle. Measured from the moment the command is given (for a grant: from the
//! end of its time) until the last client sees its session end, and until the database has no connection of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::Conninfo;
use crate::gateway::{Gateway, Listener, program};
use crate::postgres::{Cluster, Options};

const DATABASE: &str = "hospital";
/// So many sign in at once.
const BATCH: usize = 25;
const PATIENCE: Duration = Duration::from_secs(120);
/// Asking the database takes a process; asking all the time would be what is measured.
const POLL: Duration = Duration::from_millis(250);
const QUESTION: &str = "select name from wards";

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  testbed bench revoke\n  testbed bench revoke --sessions 500 --json revoke.json"
)]
pub struct Revoke {
    /// How many sessions are open
    #[arg(long, default_value_t = 500)]
    sessions: usize,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What one way of taking a right away gave.
#[derive(Clone, Copy, Debug)]
pub struct Revoked {
    /// Sessions that were open.
    pub sessions: usize,
    /// Until half of the clients saw the end.
    pub half: Duration,
    /// Until the last client saw it.
    pub last: Duration,
    /// Until the database had none of their connections.
    pub database: Duration,
}

impl Revoke {
    /// Measures, and shows what came of it.
    ///
    /// # Errors
    /// Anything that is missing, or a session that goes on.
    pub fn run(&self) -> Result<()> {
        let figures = measure(self.sessions)?;
        println!("{:<14} {:>8} {:>10} {:>10} {:>12}", "", "sessions", "half", "last", "database");
        for (what, figure) in &figures {
            let Revoked { sessions, half, last, database } = figure;
            println!("{what:<14} {sessions:>8} {half:>10.0?} {last:>10.0?} {database:>12.0?}");
        }
        if let Some(file) = &self.json {
            let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let json: BTreeMap<_, _> = figures
                .iter()
                .map(|(what, f)| {
                    let figure = serde_json::json!({
                        "sessions": f.sessions, "half_ms": ms(f.half), "last_ms": ms(f.last),
                        "database_ms": ms(f.database),
                    });
                    (*what, figure)
                })
                .collect();
            std::fs::write(file, serde_json::to_vec_pretty(&json)?)?;
        }
        Ok(())
    }
}

/// Takes a right away in three ways, each from so many sessions.
///
/// # Errors
/// Anything that is missing, or a session that goes on.
pub fn measure(sessions: usize) -> Result<Vec<(&'static str, Revoked)>> {
    let scene = Scene::start(sessions)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let lock = runtime.block_on(scene.cut("ann", sessions, || {
        scene.gateway.cli(&["lock", "add", "--person", "ann", "--reason", "measured"]).map(|_| Instant::now())
    }))?;
    runtime.block_on(scene.redecide("ben", sessions))?;
    let role = runtime.block_on(scene.cut("ben", sessions, || {
        scene.gateway.cli(&["user", "roles", "ben", "--none"]).map(|_| Instant::now())
    }))?;
    let number = scene.grant("cem", 5 + u64::try_from(sessions / 10)?)?;
    let grant = runtime.block_on(scene.cut("cem", sessions, || scene.until(&number)))?;
    Ok(vec![("lock", lock), ("role taken", role), ("grant over", grant)])
}

struct Scene {
    cluster: Cluster,
    gateway: Gateway,
}

impl Scene {
    fn start(sessions: usize) -> Result<Scene> {
        let most = (sessions + 50).to_string();
        let settings = [("fsync", "off"), ("max_connections", most.as_str())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let cluster = Cluster::start(Options { settings, ..Options::default() })?;
        cluster.create_database(DATABASE)?;
        cluster.psql_in(DATABASE, "create table wards (name text); insert into wards values ('north')")?;
        let mut builder =
            Gateway::builder().listener(Listener::Plaintext).resource_of(DATABASE, &cluster, DATABASE);
        for field in
            ["sessions_max", "sessions_per_person_max", "handshakes_max", "handshakes_per_address_max"]
        {
            builder = builder.listener_field(field, &most);
        }
        let gateway = builder
            .role("nurse", DATABASE, "read = [\"public.*\"]")
            .role("visitor", DATABASE, "read = [\"public.nothing\"]")
            .role("lead", DATABASE, "read = [\"public.*\"]")
            .toml(
                "[access.nurse]\nduration_s_max = 86400\n[operators.rights]\n\
                 \"os:root\" = [\"admin\", \"auditor\"]\nlead = [\"approver\"]",
            )
            .person("ann", &["nurse"])
            .person("ben", &["nurse"])
            .person("cem", &[])
            .person("lea", &["lead"])
            .start()?;
        Ok(Scene { cluster, gateway })
    }

    /// Opens the sessions, takes the right away, and waits for all of them to end. `act` returns since when it counts,
    /// if that is later than its beginning.
    async fn cut(
        &self,
        person: &str,
        sessions: usize,
        act: impl FnOnce() -> Result<Instant>,
    ) -> Result<Revoked> {
        let open = self.open(person, sessions).await?;
        ensure!(
            self.backends()? >= sessions,
            "the database has not as many connections as sessions are open"
        );
        let begun = Instant::now();
        let from = tokio::task::block_in_place(act)?;
        // A command counts from its beginning; the end of a grant is a moment of its own.
        let since = if person == "cem" { from } else { begun };
        let watching = async {
            let (clients, ended): (Vec<Client>, Vec<JoinHandle<Instant>>) = open.into_iter().unzip();
            let ends = try_join_all(ended).await;
            drop(clients);
            ends
        };
        let database = async {
            loop {
                if tokio::task::block_in_place(|| self.backends())? == 0 {
                    return anyhow::Ok(Instant::now());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let both = tokio::time::timeout(PATIENCE, async { tokio::join!(watching, database) }).await;
        let (ends, database) = both.context("sessions go on")?;
        let mut ends: Vec<Duration> =
            ends?.into_iter().map(|end| end.saturating_duration_since(since)).collect();
        ends.sort_unstable();
        let half = *ends.get(ends.len() / 2).context("no session")?;
        let last = *ends.last().context("no session")?;
        Ok(Revoked { sessions, half, last, database: database?.saturating_duration_since(since) })
    }

    /// Gives a person a role that may see less: no session of theirs is answered after the command has said that it is so.
    async fn redecide(&self, person: &str, sessions: usize) -> Result<()> {
        let open = self.open(person, sessions).await?;
        let change = ["user", "roles", person, "--role", "visitor"];
        tokio::task::block_in_place(|| self.gateway.cli(&change))?;
        let asked = open.iter().map(|(client, _)| client.simple_query(QUESTION));
        let answered = join_all(asked).await.into_iter().filter(Result::is_ok).count();
        ensure!(answered == 0, "{answered} of {sessions} sessions went on by the old role");
        drop(open);
        tokio::task::block_in_place(|| self.gateway.cli(&["user", "roles", person, "--role", "nurse"]))?;
        let begun = Instant::now();
        while tokio::task::block_in_place(|| self.backends())? > 0 {
            ensure!(begun.elapsed() < PATIENCE, "sessions that were left stay open");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn open(&self, person: &str, sessions: usize) -> Result<Vec<(Client, JoinHandle<Instant>)>> {
        let conninfo = self.gateway.conninfo_token(person, DATABASE)?;
        let mut open = Vec::with_capacity(sessions);
        while open.len() < sessions {
            let batch = (0..BATCH.min(sessions - open.len())).map(|_| session(&conninfo));
            open.extend(try_join_all(batch).await?);
        }
        Ok(open)
    }

    fn backends(&self) -> Result<usize> {
        let sql = "select count(*) from pg_stat_activity where usename = 'wardline_app'";
        Ok(self.cluster.psql(sql)?.trim().parse()?)
    }

    /// Gives somebody a role for a time, and returns the number of the grant.
    fn grant(&self, person: &str, seconds: u64) -> Result<String> {
        let seconds = seconds.to_string();
        let asked = self.acts(
            person,
            &[
                "access",
                "request",
                "nurse",
                DATABASE,
                "--purpose",
                "treatment",
                "--reason",
                "to be measured",
                "--for-s",
                &seconds,
                "--json",
            ],
        )?;
        let asked: serde_json::Value = serde_json::from_str(&asked)?;
        let number = asked.pointer("/0/number").context("a number")?.to_string();
        self.acts("lea", &["access", "approve", &number])?;
        Ok(number)
    }

    /// Waits for the end of a grant, and returns when that is.
    fn until(&self, number: &str) -> Result<Instant> {
        let listed = self.gateway.cli_json(&["access", "list", "--all", "--json"])?;
        let rows =
            listed.iter().flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]));
        let of = |row: &serde_json::Value, name: &str| row.get(name).cloned().unwrap_or_default();
        let row = rows
            .into_iter()
            .find(|row| of(row, "number").as_u64() == number.parse().ok())
            .context("the grant")?;
        let until = of(&row, "until").as_str().context("its end")?.to_owned();
        let output = Command::new("date").args(["-d", &until, "+%s.%N"]).output().context("date")?;
        let until: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("a time")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let ahead =
            Duration::from_secs_f64(until).checked_sub(now).context("it ended before all were open")?;
        Ok(Instant::now() + ahead)
    }

    fn acts(&self, person: &str, arguments: &[&str]) -> Result<String> {
        let token = self.gateway.conninfo_token(person, DATABASE)?.password;
        let mut command = Command::new(program()?);
        command.arg("--config").arg(self.gateway.config()).args(["--as", person]).args(arguments);
        let output = command.env("WARDLINE_TOKEN", token).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Opens a session that has asked something, and tells when it ends.
async fn session(conninfo: &Conninfo) -> Result<(Client, JoinHandle<Instant>)> {
    let mut config = tokio_postgres::Config::new();
    config.host(&conninfo.host).port(conninfo.port).dbname(&conninfo.dbname);
    config
        .user(&conninfo.user)
        .password(&conninfo.password)
        .ssl_mode(tokio_postgres::config::SslMode::Disable);
    let (client, connection) = config.connect(NoTls).await?;
    let ended = tokio::spawn(async move {
        let _how = connection.await;
        Instant::now()
    });
    client.simple_query(QUESTION).await?;
    Ok((client, ended))
}
