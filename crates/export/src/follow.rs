//! Follows the trail for one receiver: reads what is durable, in order, hands it over, and only then moves on.
//!
//! At least once: after a crash, or an answer that was lost, the last batch comes again with the same identifiers. A
//! receiver that does not take a batch is asked again with growing pauses, for ever; nothing is skipped. Memory is
//! bounded by one batch and one entry. Runs on a thread of its own; who accesses data never waits for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use trail::{Entries, Entry, Reader};

use crate::error::{Error, NotTaken};
use crate::event::{Mapper, Shown, Subjects};
use crate::format::Format;
use crate::position::{Mark, PositionFile};
use crate::receiver::{Line, Receiver};

/// A batch is full with so many events: few enough that sending them again costs little.
const BATCH_EVENTS_MAX: usize = 256;
/// Or with so much text.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How often it is looked for new entries.
const POLL_PAUSE: Duration = Duration::from_millis(250);
/// The first pause after a failure; each next one is twice as long.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);
/// Entries that are not handed over are passed; so many of them move the position too.
const PASSED_MAX: u64 = 10_000;

/// Where a receiver begins that has no position yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// At the first entry of the trail.
    #[default]
    Beginning,
    /// At what is recorded from now on.
    Now,
}

/// What is handed over, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The receiver's name in the configuration.
    pub name: String,
    /// The format.
    pub format: Format,
    /// How patients are named.
    pub patients: Shown,
    /// Where to begin.
    pub begin: Begin,
    /// The file of the position.
    pub position: PathBuf,
    /// The longest pause between two attempts.
    pub retry_pause_max: Duration,
    /// How long a receiver may take nothing before somebody is told.
    pub alarm_after: Duration,
    /// How long a batch may take.
    pub timeout: Duration,
}

/// What is worth a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Handing over began, from this entry on.
    Began(u64),
    /// Nothing was taken for longer than the limit.
    Stuck(String),
    /// It goes on after such a time.
    GoesOn(String),
    /// It cannot go on without somebody's help.
    Ended(String),
}

/// Follows for one receiver.
pub struct Follower {
    plan: Plan,
    reader: Arc<Reader>,
    receiver: Receiver,
    stop: watch::Receiver<bool>,
    notice: Box<dyn Fn(Notice) + Send>,
    outage: Option<Outage>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("plan", &self.plan).finish_non_exhaustive()
    }
}

struct Outage {
    since: Instant,
    told: bool,
}

/// The entry at hand, and how many of its events are in a batch.
struct AtHand {
    entry: Entry,
    subjects: Subjects,
    sent: usize,
}

/// What is read next.
struct Source<'r> {
    entries: Entries<'r>,
    mapper: Mapper,
    at_hand: Option<AtHand>,
    /// The last entry of which everything was put into a batch.
    done: Option<Mark>,
}

impl Follower {
    /// Prepares to follow. `notice` is called from the follower's thread and must not block.
    pub fn new(
        plan: Plan,
        reader: Reader,
        receiver: Receiver,
        stop: watch::Receiver<bool>,
        notice: Box<dyn Fn(Notice) + Send>,
    ) -> Follower {
        Follower { plan, reader: Arc::new(reader), receiver, stop, notice, outage: None }
    }

    /// Follows until it is told to stop. Blocks.
    pub fn run(mut self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.ended(&format!("no runtime: {error}")),
        };
        let mut pause = RETRY_PAUSE_MIN;
        while !self.stopping() {
            match runtime.block_on(self.follow()) {
                Ok(()) => return,
                Err(Error::Trail(error)) => {
                    let why = format!("the trail cannot be read: {}", causes(&error));
                    self.failed(&why);
                    runtime.block_on(self.pause(pause));
                    pause = (pause * 2).min(self.plan.retry_pause_max);
                }
                Err(error) => return self.ended(&causes(&error)),
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Error> {
        let file = PositionFile::new(&self.plan.position, self.reader.origin(), self.plan.format);
        let reader = Arc::clone(&self.reader);
        let mark = match file.load(&reader)? {
            Some(mark) => Some(mark),
            None => self.first(&file)?,
        };
        let from = mark.as_ref().map_or(0, Mark::next);
        (self.notice)(Notice::Began(from));
        let mut source =
            Source { entries: reader.entries(from)?, mapper: Mapper::default(), at_hand: None, done: mark };
        let mut saved = from;
        while !self.stopping() {
            let batch = self.fill(&reader, &mut source)?;
            let next = source.done.as_ref().map_or(from, Mark::next);
            self.show_lag(if batch.is_empty() { next } else { saved })?;
            if !batch.is_empty() && !self.hand_over(&batch).await {
                return Ok(());
            }
            let passed = next.saturating_sub(saved) > PASSED_MAX;
            if let Some(mark) = source.done.as_ref().filter(|_| passed || (!batch.is_empty() && next > saved))
            {
                file.save(mark)?;
                saved = next;
            }
            if batch.is_empty() {
                self.pause(POLL_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Returns the entry before the first one, for a receiver that has taken none. Durable, so that a restart does not
    /// begin later.
    fn first(&self, file: &PositionFile) -> Result<Option<Mark>, Error> {
        let before = match self.plan.begin {
            Begin::Beginning => return Ok(None),
            Begin::Now => self.reader.durable_at_least()?.checked_sub(1),
        };
        let Some(before) = before else { return Ok(None) };
        let Some(entry) = self.reader.entries(before)?.next().transpose()? else { return Ok(None) };
        let mark = Mark::of(&entry)?;
        file.save(&mark)?;
        Ok(Some(mark))
    }

    /// Puts events into a batch, until it is full or there are no more entries now.
    fn fill(&self, reader: &Reader, source: &mut Source<'_>) -> Result<Vec<Line>, Error> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let events_max = match self.plan.format {
            // One message that is sent twice is better than a batch of them.
            Format::Notice(_) => 1,
            Format::Fhir | Format::Atna | Format::Ocsf | Format::CloudEvents => BATCH_EVENTS_MAX,
        };
        while batch.len() < events_max && bytes < BATCH_BYTES_MAX {
            if let Some(at_hand) = &mut source.at_hand {
                let AtHand { entry, subjects, sent } = at_hand;
                let event = subjects.event(self.reader.origin(), entry, *sent);
                let line = Line { uuid: event.uuid(), text: self.plan.format.line(&event) };
                bytes += line.text.len();
                batch.push(line);
                *sent += 1;
                if *sent == subjects.count() {
                    source.done = Some(Mark::of(entry)?);
                    source.at_hand = None;
                }
                continue;
            }
            let Some(entry) = source.entries.next().transpose()? else { break };
            let opened = match self.plan.patients {
                Shown::Tokens => None,
                Shown::Identifiers => reader.open_patients(&entry.record)?,
            };
            let subjects = match self.plan.format {
                Format::Notice(topics) => Subjects::of_notice(&entry.record, topics),
                Format::Fhir | Format::Atna | Format::Ocsf | Format::CloudEvents => {
                    source.mapper.subjects(&entry, opened.as_ref())
                }
            };
            match subjects {
                Some(subjects) => source.at_hand = Some(AtHand { entry, subjects, sent: 0 }),
                None => source.done = Some(Mark::of(&entry)?),
            }
        }
        Ok(batch)
    }

    /// Asks until the batch is taken; `false` when it is time to stop.
    async fn hand_over(&mut self, batch: &[Line]) -> bool {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let mut stop = self.stop.clone();
            let taken = tokio::select! {
                taken = timeout(self.plan.timeout, self.receiver.take(batch)) => taken.unwrap_or(Err(NotTaken::Late)),
                _ = stop.wait_for(|stop| *stop) => return false,
            };
            match taken {
                Ok(()) => {
                    self.taken(batch.len());
                    return true;
                }
                Err(error) => self.failed(&causes(&error)),
            }
            self.pause(pause).await;
            if self.stopping() {
                return false;
            }
            pause = (pause * 2).min(self.plan.retry_pause_max);
        }
    }

    fn taken(&mut self, events: usize) {
        let name = self.plan.name.clone();
        metrics::counter!("export_events_total", "export" => name)
            .increment(u64::try_from(events).unwrap_or(u64::MAX));
        let Some(outage) = self.outage.take() else { return };
        let seconds = outage.since.elapsed().as_secs();
        tracing::info!(export = self.plan.name, seconds, "the receiver takes events again");
        if outage.told {
            (self.notice)(Notice::GoesOn(format!(
                "it took nothing for {seconds} s; everything since comes now"
            )));
        }
    }

    fn failed(&mut self, why: &str) {
        metrics::counter!("export_failures_total", "export" => self.plan.name.clone()).increment(1);
        let outage = self.outage.get_or_insert_with(|| Outage { since: Instant::now(), told: false });
        let seconds = outage.since.elapsed().as_secs();
        tracing::warn!(export = self.plan.name, why, seconds, "events are not handed over; trying again");
        if outage.told || outage.since.elapsed() < self.plan.alarm_after {
            return;
        }
        outage.told = true;
        tracing::error!(export = self.plan.name, why, seconds, "the receiver takes nothing for too long");
        (self.notice)(Notice::Stuck(format!("nothing was taken for {seconds} s: {why}")));
    }

    fn ended(&self, why: &str) {
        tracing::error!(export = self.plan.name, why, "events are no longer handed over");
        (self.notice)(Notice::Ended(why.to_owned()));
    }

    fn show_lag(&self, next: u64) -> Result<(), Error> {
        let lag = self.reader.durable_at_least()?.saturating_sub(next);
        let lag = u32::try_from(lag).map_or(f64::MAX, f64::from);
        metrics::gauge!("export_lag_entries", "export" => self.plan.name.clone()).set(lag);
        Ok(())
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    async fn pause(&self, pause: Duration) {
        let mut stop = self.stop.clone();
        let _stopped = timeout(pause, stop.wait_for(|stop| *stop)).await;
    }
}

/// Returns an error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
