//! The clock watch: does the time of day go on as the machine's own clock does?
//!
//! Entries carry UTC in microseconds, and their order never depends on it. But an entry's time is evidence, so a step of
//! the time of day, forwards or backwards, is an incident in the trail, an error in the log, and a metric. A machine that
//! was asleep looks the same, and is told the same. Slow corrections, such as NTP makes, are no steps.

mod ntp;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::{Kind, Record};
use tokio::task::JoinHandle;

use crate::node::Node;

pub(crate) use ntp::Reference;

/// How often the two clocks are compared.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Both clocks are read within this, or again: between the two readings a busy machine may do other things.
const READING_MAX: Duration = Duration::from_millis(20);
const READINGS_MAX: u32 = 100;

/// `[trail.clock]`: which difference is a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClockWatch {
    pub(crate) step_max: Duration,
    /// With whom the time of day is compared, if with anybody.
    pub(crate) reference: Option<Reference>,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    day: SystemTime,
    machine: Instant,
}

impl Reading {
    fn now() -> Reading {
        let mut reading = Reading { day: SystemTime::now(), machine: Instant::now() };
        for _ in 0..READINGS_MAX {
            let before = Instant::now();
            reading = Reading { day: SystemTime::now(), machine: before };
            if before.elapsed() <= READING_MAX {
                break;
            }
        }
        reading
    }

    /// Returns by how much the time of day went on more than the machine's clock since an earlier reading, in ms.
    fn step_ms(self, earlier: Reading) -> i64 {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let machine = ms(self.machine.saturating_duration_since(earlier.machine));
        let day = match self.day.duration_since(earlier.day) {
            Ok(forwards) => ms(forwards),
            Err(backwards) => -ms(backwards.duration()),
        };
        day.saturating_sub(machine)
    }
}

/// Starts the task of `serve`.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        // Ends with this task.
        let _against_others = AbortOnDrop(tokio::spawn(ntp::watch(Arc::clone(&node))));
        let mut last = Reading::now();
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            let now = Reading::now();
            let step_ms = now.step_ms(last);
            last = now;
            if u128::from(step_ms.unsigned_abs()) > node.config.load().clock.step_max.as_millis() {
                tell(&node, step_ms).await;
            }
        }
    })
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tell(node: &Node, step_ms: i64) {
    tracing::error!(step_ms, "THE CLOCK STEPPED: times of entries before and after do not compare");
    metrics::counter!("wardline_clock_steps_total").increment(1);
    let mut record = Record::new(Kind::Incident, node.now());
    let detail =
        format!("clock step of {step_ms} ms against the machine's own clock, or the machine was asleep");
    record.detail = Some(detail.into());
    if let Err(error) = node.record_urgent(&record).await {
        tracing::error!(%error, "the step of the clock could not be recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_what_the_clocks_differ_by() {
        let (day, machine) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000), Instant::now());
        let at = |day_ms: i64, machine_ms: u64| {
            let far = Duration::from_millis(day_ms.unsigned_abs());
            let day = if day_ms < 0 { day - far } else { day + far };
            Reading { day, machine: machine + Duration::from_millis(machine_ms) }
        };
        for (day_ms, machine_ms, step_ms) in [
            (0, 0, 0),
            (1_000, 1_000, 0),
            (301_000, 1_000, 300_000),
            (-299_000, 1_000, -300_000),
            (0, 5_000, -5_000),
        ] {
            assert_eq!(at(day_ms, machine_ms).step_ms(at(0, 0)), step_ms, "{day_ms} {machine_ms}");
        }
    }
}
