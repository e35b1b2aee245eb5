//! The clients: each talks until its connection ends, then comes again, and writes down what it was told.
//!
//! A line is in the ledger before its statement is sent, and grows with each row that arrives.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::join_all;
use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};

use super::ledger::{Act, End, FIRST_ID, Line, Stored, Visit};
use crate::Conninfo;
use crate::clients::Connector;
use crate::hospital::random::Random;

/// Longer than anything takes, also on a busy machine: a statement without an answer is a fault.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// Between two tries to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Rows in `crash_rows`: about 1.3 MB, which takes several release windows.
pub(super) const ROWS: u64 = 4_000;

/// Who comes.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) conninfo: Conninfo,
    /// May write, and copy.
    pub(super) writes: bool,
}

/// What all clients share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    ids: AtomicU64,
    visits: AtomicU64,
    pub(super) stop: AtomicBool,
    /// Statements acknowledged so far.
    pub(super) acknowledged: AtomicU64,
    /// Sessions that were told that the trail cannot record.
    pub(super) turned_away: AtomicU64,
}

impl Shared {
    fn id(&self) -> u64 {
        FIRST_ID + self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

/// Starts so many clients, who share the people out among themselves.
pub(super) fn start(
    count: u64,
    people: &[Person],
    shared: &Arc<Shared>,
    seed: u64,
) -> Result<Vec<JoinHandle<Result<Vec<Visit>>>>> {
    let mut tasks = Vec::new();
    for (number, person) in (0..count).zip(people.iter().cycle()) {
        let guest = Guest {
            connector: Connector::new(&person.conninfo)?,
            person: person.clone(),
            shared: Arc::clone(shared),
            random: Random::new(seed, 0xc7a5, number),
        };
        tasks.push(tokio::spawn(guest.stay()));
    }
    Ok(tasks)
}

/// One client over its sessions.
struct Guest {
    connector: Connector,
    person: Person,
    shared: Arc<Shared>,
    random: Random,
}

impl Guest {
    async fn stay(mut self) -> Result<Vec<Visit>> {
        let mut visits = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let name = format!("crash-{}", self.shared.visits.fetch_add(1, Ordering::Relaxed));
            let client = match self.connector.connect(&name).await {
                Ok(client) => client,
                Err(error) => {
                    self.count_refusal(&error);
                    sleep(RETRY_PAUSE).await;
                    continue;
                }
            };
            let visit = Visit::new(name, self.person.name.clone());
            let mut talk = Talk {
                client,
                visit,
                random: self.random.clone(),
                shared: Arc::clone(&self.shared),
                prepared: HashMap::new(),
                writes: self.person.writes,
            };
            let talked = talk.talk().await;
            self.random = talk.random;
            if let Err(Stop::Ended(error)) = &talked {
                talk.visit.last_words = error.code().map(|code| code.code().to_owned());
                self.count_refusal(error);
            }
            visits.push(talk.visit);
            if let Err(Stop::Silent) = talked {
                bail!("a statement of `{}` had no answer in {ANSWER_TIMEOUT:?}", self.person.name);
            }
        }
        Ok(visits)
    }

    fn count_refusal(&self, error: &Error) {
        if error.code().is_some_and(|code| code.code() == "58030") {
            self.shared.turned_away.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Why a session is over.
enum Stop {
    Ended(Error),
    Silent,
}

type Done = std::result::Result<(), Stop>;

/// One session.
struct Talk {
    client: Client,
    visit: Visit,
    random: Random,
    shared: Arc<Shared>,
    prepared: HashMap<&'static str, Statement>,
    writes: bool,
}

const READ: &str = "select $1::int8 as tag, n, body from crash_rows where n <= $2";
const INSERT: &str = "insert into crash_writes values ($1, $2)";
const RETURNING: &str = "insert into crash_writes values ($1, $2) returning id, note";

impl Talk {
    async fn talk(&mut self) -> Done {
        while !self.shared.stop.load(Ordering::Relaxed) && !self.random.chance(20) {
            let Ok(done) = timeout(ANSWER_TIMEOUT, self.say()).await else { return Err(Stop::Silent) };
            done.or_else(|error| {
                if self.client.is_closed() || ends(&error) { Err(Stop::Ended(error)) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    /// Says one thing. An error is a session's end, or a statement's that is in the ledger by then.
    async fn say(&mut self) -> std::result::Result<(), Error> {
        let some = 1 + self.random.below(20);
        let many = 100 + self.random.below(ROWS - 100);
        match self.random.below(100) {
            0..20 => self.read_simple(some).await,
            20..40 => self.read_extended(some).await,
            40..44 => self.read_simple(many).await,
            44..49 => self.read_extended(many).await,
            49..53 => self.read_portal(many).await,
            53..56 => self.copy_out(many).await,
            56..66 => self.insert_simple().await,
            66..76 => self.insert_prepared(INSERT).await,
            76..80 => self.insert_prepared(RETURNING).await,
            80..83 => self.copy_in().await,
            83..89 => self.transaction().await,
            89..94 => self.pipeline().await,
            94..97 => self.fail("0").await,
            _ => self.denied().await,
        }
    }

    fn begin(&mut self, act: Act) -> (usize, u64) {
        let id = self.shared.id();
        self.visit.lines.push(Line::new(id, act));
        (self.visit.lines.len() - 1, id)
    }

    fn line(&mut self, place: usize) -> &mut Line {
        self.visit.lines.get_mut(place).expect("a line that was begun")
    }

    /// Notes what a statement's end was; passes the error on where it is more than the statement's.
    fn end(
        &mut self,
        place: usize,
        ended: std::result::Result<u64, Error>,
    ) -> std::result::Result<(), Error> {
        let failed = ended.as_ref().err().map(|error| match error.code() {
            Some(code) => End::Failed(code.code().to_owned()),
            None => End::Cut,
        });
        let line = self.line(place);
        line.end = failed.unwrap_or(End::Acknowledged);
        match (&line.end, line.act) {
            (End::Acknowledged, Act::Write) => line.stored = Stored::Must,
            (End::Failed(code), Act::Write) if code == "42501" => line.stored = Stored::MustNot,
            _ => {}
        }
        if ended.is_ok() {
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        ended.map(drop)
    }

    async fn prepare(&mut self, sql: &'static str) -> std::result::Result<Statement, Error> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }

    async fn read_simple(&mut self, rows: u64) -> std::result::Result<(), Error> {
        let (place, id) = self.begin(Act::Read);
        let slow = self.random.chance(300);
        let ended = async {
            let sql = format!("select {id} as tag, n, body from crash_rows where n <= {rows}");
            let mut stream = std::pin::pin!(self.client.simple_query_raw(&sql).await?);
            while let Some(message) = stream.try_next().await? {
                let SimpleQueryMessage::Row(row) = message else { continue };
                let columns = (0..row.len()).map(|at| 4 + row.get(at).map_or(0, str::len) as u64);
                let bytes = 7 + columns.sum::<u64>();
                let line = self.visit.lines.get_mut(place).expect("a line that was begun");
                line.rows += 1;
                line.bytes += bytes;
                dawdle(slow, line.rows).await;
            }
            Ok(0)
        };
        let ended = ended.await;
        self.end(place, ended)
    }

    async fn read_extended(&mut self, rows: u64) -> std::result::Result<(), Error> {
        let statement = self.prepare(READ).await?;
        let (place, id) = self.begin(Act::Read);
        let slow = self.random.chance(300);
        let (id, rows) = (number(id), small(rows));
        let ended = async {
            let parameters: [&(dyn ToSql + Sync); 2] = [&id, &rows];
            let mut stream = std::pin::pin!(self.client.query_raw(&statement, parameters).await?);
            while let Some(row) = stream.try_next().await? {
                let line = self.visit.lines.get_mut(place).expect("a line that was begun");
                line.rows += 1;
                line.bytes += 7 + row.raw_size_bytes() as u64;
                dawdle(slow, line.rows).await;
            }
            Ok(0)
        };
        let ended = ended.await;
        self.end(place, ended)
    }

    /// Reads a portal in parts; one entry covers them all.
    async fn read_portal(&mut self, rows: u64) -> std::result::Result<(), Error> {
        let statement = self.prepare(READ).await?;
        let (place, id) = self.begin(Act::Read);
        let part = 1 + small(self.random.below(400));
        let (id, rows) = (number(id), small(rows));
        let ended = async {
            let transaction = self.client.transaction().await?;
            *self.visit.unnumbered.entry("BEGIN").or_default() += 1;
            let portal = transaction.bind(&statement, &[&id, &rows]).await?;
            loop {
                let mut stream = std::pin::pin!(transaction.query_portal_raw(&portal, part).await?);
                let before = self.visit.lines.get(place).map_or(0, |line| line.rows);
                while let Some(row) = stream.try_next().await? {
                    let line = self.visit.lines.get_mut(place).expect("a line that was begun");
                    line.rows += 1;
                    line.bytes += 7 + row.raw_size_bytes() as u64;
                }
                let after = self.visit.lines.get(place).map_or(0, |line| line.rows);
                if after - before < u64::try_from(part).unwrap_or(0) {
                    break;
                }
            }
            transaction.commit().await?;
            *self.visit.unnumbered.entry("COMMIT").or_default() += 1;
            Ok(0)
        };
        let ended = ended.await;
        self.end(place, ended)
    }

    async fn copy_out(&mut self, rows: u64) -> std::result::Result<(), Error> {
        if !self.writes {
            return self.read_extended(rows).await;
        }
        let (place, id) = self.begin(Act::CopyOut);
        let slow = self.random.chance(300);
        let ended = async {
            let sql = format!("copy (select {id}, n, body from crash_rows where n <= {rows}) to stdout");
            let mut stream = std::pin::pin!(self.client.copy_out(&sql).await?);
            while let Some(data) = stream.try_next().await? {
                let line = self.visit.lines.get_mut(place).expect("a line that was begun");
                line.rows += 1;
                line.bytes += 5 + data.len() as u64;
                dawdle(slow, line.rows).await;
            }
            Ok(0)
        };
        let ended = ended.await;
        self.end(place, ended)
    }

    async fn insert_simple(&mut self) -> std::result::Result<(), Error> {
        let (place, id) = self.begin(Act::Write);
        let sql = format!("insert into crash_writes values ({id}, 'simple')");
        let ended = self.client.batch_execute(&sql).await.map(|()| 1);
        self.line(place).rows = u64::from(ended.is_ok());
        self.end(place, ended)
    }

    async fn insert_prepared(&mut self, sql: &'static str) -> std::result::Result<(), Error> {
        if !self.writes {
            return self.denied().await;
        }
        let statement = self.prepare(sql).await?;
        let (place, id) = self.begin(Act::Write);
        let id = number(id);
        let ended = self.client.query(&statement, &[&id, &"prepared"]).await;
        let line = self.line(place);
        line.rows = u64::from(ended.is_ok());
        line.bytes =
            ended.as_ref().map_or(0, |rows| rows.iter().map(|row| 7 + row.raw_size_bytes() as u64).sum());
        self.end(place, ended.map(|_| 1))
    }

    async fn copy_in(&mut self) -> std::result::Result<(), Error> {
        if !self.writes {
            return self.denied().await;
        }
        let (place, id) = self.begin(Act::Write);
        let ended = async {
            let sql = format!("copy crash_writes from stdin with (null '{id}')");
            let mut sink = std::pin::pin!(self.client.copy_in::<_, Cursor<Vec<u8>>>(&sql).await?);
            sink.send(Cursor::new(format!("{id}\tcopied\n").into_bytes())).await?;
            sink.finish().await
        };
        let ended = ended.await;
        self.line(place).rows = u64::from(ended.is_ok());
        self.end(place, ended)
    }

    async fn transaction(&mut self) -> std::result::Result<(), Error> {
        if !self.writes {
            return self.denied().await;
        }
        self.unnumbered("BEGIN").await?;
        let (first, commits) = (self.visit.lines.len(), self.random.chance(700));
        let written = async {
            self.insert_simple().await?;
            self.read_extended(3).await?;
            self.insert_prepared(INSERT).await
        };
        let written = written.await;
        // Nothing can be there before it was asked to be.
        self.decide(first, Stored::MustNot);
        if commits && written.is_ok() {
            self.decide(first, Stored::May);
            self.unnumbered("COMMIT").await?;
            self.decide(first, Stored::Must);
            return Ok(());
        }
        self.unnumbered("ROLLBACK").await?;
        written
    }

    fn decide(&mut self, first: usize, stored: Stored) {
        let lines = self.visit.lines.iter_mut().skip(first);
        lines.filter(|line| line.act == Act::Write).for_each(|line| line.stored = stored);
    }

    async fn unnumbered(&mut self, command: &'static str) -> std::result::Result<(), Error> {
        self.client.batch_execute(command).await?;
        *self.visit.unnumbered.entry(command).or_default() += 1;
        Ok(())
    }

    /// Sends several statements without waiting for answers.
    async fn pipeline(&mut self) -> std::result::Result<(), Error> {
        let (read, insert) =
            (self.prepare(READ).await?, if self.writes { Some(self.prepare(INSERT).await?) } else { None });
        let mut sent = Vec::new();
        for at in 0..2 + self.random.below(7) {
            let writes = insert.is_some() && at % 2 == 1;
            let (place, id) = self.begin(if writes { Act::Write } else { Act::Read });
            sent.push((place, number(id), writes));
        }
        let answers = sent.iter().map(|(_, id, writes)| {
            let (client, read, insert) = (&self.client, &read, insert.as_ref());
            async move {
                match insert.filter(|_| *writes) {
                    Some(insert) => client.query(insert, &[id, &"pipelined"]).await,
                    None => client.query(read, &[id, &7_i32]).await,
                }
            }
        });
        let answers = join_all(answers).await;
        let mut last = Ok(());
        for ((place, _, writes), answer) in sent.into_iter().zip(answers) {
            let line = self.line(place);
            if let Ok(rows) = &answer {
                line.rows = if writes { 1 } else { rows.len() as u64 };
                line.bytes = rows.iter().map(|row| 7 + row.raw_size_bytes() as u64).sum();
            }
            last = self.end(place, answer.map(|_| 1)).and(last);
        }
        last
    }

    async fn fail(&mut self, zero: &str) -> std::result::Result<(), Error> {
        let (place, id) = self.begin(Act::Read);
        let ended = self.client.batch_execute(&format!("select {id} / {zero}")).await.map(|()| 1);
        self.end(place, ended)
    }

    async fn denied(&mut self) -> std::result::Result<(), Error> {
        let (place, id) = self.begin(Act::Read);
        let ended = self.client.batch_execute(&format!("select {id}, secret from crash_secrets")).await;
        self.end(place, ended.map(|()| 0))
    }
}

/// Takes its time, so that rows are still under way when something happens.
async fn dawdle(slow: bool, rows: u64) {
    if slow && rows.is_multiple_of(64) {
        sleep(Duration::from_millis(3)).await;
    }
}

/// Returns whether an error is the session's, not a statement's.
fn ends(error: &Error) -> bool {
    error.code().is_none_or(|code| ["58030", "57P01", "08006", "57P05"].contains(&code.code()))
}

fn number(id: u64) -> i64 {
    i64::try_from(id).expect("ids are small")
}

fn small(count: u64) -> i32 {
    i32::try_from(count).expect("a count of rows is small")
}
