//! Which reported events are in the trail already: the window within which a source may send an event again.

use std::collections::{HashSet, VecDeque};

use model::{Kind, Record};
use trail::Reader;

use crate::config::sha256;

/// Events that are remembered; the oldest are forgotten first.
const EVENTS_MAX: usize = 200_000;
/// Entries that are looked through at the start, from the end of the trail.
pub(crate) const ENTRIES_LOOKED_THROUGH: u64 = 500_000;

/// An event of a source, as it is remembered.
type Key = [u8; 16];

/// The events that are known.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    keys: HashSet<Key>,
    order: VecDeque<Key>,
}

impl Seen {
    /// Returns what the trail's last entries hold.
    pub(crate) fn of(reader: &Reader) -> Result<Seen, trail::Error> {
        let mut seen = Seen::default();
        for entry in reader.tail(ENTRIES_LOOKED_THROUGH)? {
            let Record { kind: Kind::Reported, source: Some(source), source_event: Some(event), .. } =
                entry?.record
            else {
                continue;
            };
            seen.insert(&source, &event);
        }
        Ok(seen)
    }

    /// Tells whether an event is known.
    pub(crate) fn contains(&self, source: &str, event: &str) -> bool {
        self.keys.contains(&key(source, event))
    }

    /// Remembers an event that is durable.
    pub(crate) fn insert(&mut self, source: &str, event: &str) {
        let key = key(source, event);
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > EVENTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

fn key(source: &str, event: &str) -> Key {
    let digest = sha256(format!("{source}\n{event}").as_bytes());
    digest.first_chunk().copied().expect("SHA-256 has more than 16 bytes")
}
