//! How a trail is opened.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Micros;

use crate::error::Error;
use crate::queue::Limits;
use crate::segment::{ORIGIN_BYTES_MAX, SEGMENT_HEADER_BYTES};

/// The longest time between two entries of a running node that `verify` accepts without a finding.
pub const HEARTBEAT_GAP_MAX: Duration = Duration::from_secs(180);
/// The least that a segment may hold.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// Where time comes from.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// How a trail is opened.
#[derive(Clone)]
pub struct Options {
    /// The name of the log for ever, usually the node's: no spaces, no `+`.
    pub origin: String,
    /// The length of a segment file, made ahead of need.
    pub segment_bytes: u64,
    /// The most records of a segment, give or take a frame.
    pub segment_records_max: u64,
    /// The longest time that a segment is written to: then it is complete, and can be kept elsewhere.
    pub segment_age_max: Duration,
    /// Space kept aside, so that refusals and the alarm can be recorded when the disk is full.
    pub reserve_bytes: u64,
    /// How often a checkpoint is signed while the log grows.
    pub checkpoint_interval: Duration,
    /// How often a heartbeat is recorded; at most a third of [`HEARTBEAT_GAP_MAX`].
    pub heartbeat_interval: Duration,
    /// How often a full disk is tried again.
    pub space_interval: Duration,
    /// The most records that wait for the disk.
    pub queue_records_max: usize,
    /// The most bytes that wait for the disk.
    pub queue_bytes_max: usize,
    /// Where time comes from.
    pub clock: Clock,
    /// Signed checkpoints of this log that are held elsewhere: it does not open unless it contains them.
    pub held: Vec<Vec<u8>>,
    /// Says that a restored log may go on: `held` has its last checkpoint, as far as anybody knows.
    pub resume_restored: bool,
    /// What the first entry of a new log says, as an incident: which log it goes on from, and why.
    pub begins_with: Option<String>,
}

impl Options {
    /// Returns the defaults for a log of this name.
    pub fn new(origin: impl Into<String>) -> Options {
        Options {
            origin: origin.into(),
            segment_bytes: 64 << 20,
            segment_records_max: 1 << 20,
            segment_age_max: Duration::from_hours(24),
            reserve_bytes: 8 << 20,
            checkpoint_interval: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(60),
            space_interval: Duration::from_secs(1),
            queue_records_max: 65_536,
            queue_bytes_max: 64 << 20,
            clock: Arc::new(system_clock),
            held: Vec::new(),
            resume_restored: false,
            begins_with: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |name, problem| Err(Error::Option { name, problem });
        let origin_fits = (1..=ORIGIN_BYTES_MAX).contains(&self.origin.len());
        if !origin_fits || self.origin.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control()) {
            return bad("origin", "1 to 255 bytes without spaces or `+`");
        }
        if self.segment_bytes < SEGMENT_BYTES_MIN {
            return bad("segment_bytes", "at least 65536");
        }
        if self.segment_records_max == 0 || self.segment_age_max.is_zero() {
            return bad("segment_records_max", "at least 1, and an age of more than nothing");
        }
        if self.reserve_bytes < 4 * SEGMENT_HEADER_BYTES as u64 {
            return bad("reserve_bytes", "at least 16384");
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval > HEARTBEAT_GAP_MAX / 3 {
            return bad("heartbeat_interval", "more than nothing and at most 60 seconds");
        }
        if self.checkpoint_interval.is_zero() || self.space_interval.is_zero() {
            return bad("checkpoint_interval", "more than nothing");
        }
        if self.queue_records_max == 0 || self.queue_bytes_max == 0 {
            return bad("queue_records_max", "at least 1");
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new(self.queue_records_max, self.queue_bytes_max, self.segment_bytes)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("origin", &self.origin)
            .field("segment_bytes", &self.segment_bytes)
            .field("checkpoint_interval", &self.checkpoint_interval)
            .field("heartbeat_interval", &self.heartbeat_interval)
            .finish_non_exhaustive()
    }
}

fn system_clock() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
