//! Whether the registry is the one that the trail knows: one from a backup is older than its trail, and would let in
//! whom a later change has barred.
//!
//! Each change has a number. It is in the trail before the change is made (admitted) and after it (settled), and in the
//! registry in the same transaction as the change. So a crash leaves the registry at or after the last settled change;
//! behind it is only a registry of another time. A policy that comes into force repeats the number, so that nobody has
//! to look far back.

use std::sync::Arc;

use model::{Kind, Outcome, Phase, Record, RootKey};
use trail::{Disk, Reader};

/// How many entries are looked at first; then eight times as many, and so on. Finding the place costs more than reading
/// from it: of half a million entries the last thousand took 1.5 s, all of them 1.2 s (release, measured while the machine
/// was busy).
const LOOK_BACK: u64 = 64_000;
const LOOK_BACK_GROWTH: u64 = 8;

/// How a registry and a trail stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The registry has what the trail says was done.
    Current,
    /// The registry is missing changes.
    Older {
        /// The registry's last change.
        registry: u64,
        /// The last change that the trail says was done.
        trail: u64,
    },
    /// The registry has a change that the trail does not know: entries are missing from it.
    Newer {
        /// The registry's last change.
        registry: u64,
        /// The last change that the trail knows of.
        trail: u64,
    },
}

/// What the trail knows of the registry's changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The last one that was to be made.
    pub(crate) admitted: u64,
    /// The last one that was made.
    pub(crate) settled: u64,
}

impl Known {
    /// Reads the end of a trail.
    pub(crate) fn of(disk: Arc<dyn Disk>, root: &RootKey) -> Result<Known, trail::Error> {
        let reader = Reader::open_on(disk, root)?;
        let mut window = LOOK_BACK;
        loop {
            let mut known = Known::default();
            let mut first = None;
            for entry in reader.tail(window)? {
                let entry = entry?;
                first.get_or_insert(entry.index);
                known.take(&entry.record);
            }
            if known.settled > 0 || first.is_none_or(|first| first == 0) {
                return Ok(known);
            }
            window = window.saturating_mul(LOOK_BACK_GROWTH);
        }
    }

    fn take(&mut self, record: &Record<'_>) {
        let Some(number) = record.operation.map(|number| number.0) else { return };
        let made = match record.kind {
            Kind::PolicyActivated => true,
            Kind::AdminChange => {
                record.phase == Some(Phase::Settled) && record.outcome == Some(Outcome::Completed)
            }
            _ => return,
        };
        self.admitted = self.admitted.max(number);
        if made {
            self.settled = self.settled.max(number);
        }
    }

    /// Compares with the last change of a registry.
    pub(crate) fn standing(self, registry: u64) -> Standing {
        if registry < self.settled {
            Standing::Older { registry, trail: self.settled }
        } else if registry > self.admitted {
            Standing::Newer { registry, trail: self.admitted }
        } else {
            Standing::Current
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Micros, OperationId, SqlState};

    use super::*;

    fn record(kind: Kind, number: u64, phase: Option<Phase>, outcome: Option<Outcome>) -> Record<'static> {
        let mut record = Record::new(kind, Micros(0));
        record.operation = Some(OperationId(number));
        (record.phase, record.outcome) = (phase, outcome);
        record
    }

    fn known(records: &[Record<'_>]) -> Known {
        let mut known = Known::default();
        records.iter().for_each(|record| known.take(record));
        known
    }

    #[test]
    fn what_was_settled_must_be_there_and_what_was_admitted_may() {
        let admitted = |number| record(Kind::AdminChange, number, Some(Phase::Admitted), None);
        let settled =
            |number, outcome| record(Kind::AdminChange, number, Some(Phase::Settled), Some(outcome));
        let failed = Outcome::Failed(SqlState(*b"58000"));
        // A crash before the third was settled: it may be in the registry or not.
        let crashed = known(&[
            admitted(1),
            settled(1, Outcome::Completed),
            admitted(2),
            settled(2, failed),
            admitted(3),
        ]);
        assert_eq!(crashed, Known { admitted: 3, settled: 1 });
        for registry in 1..=3 {
            assert_eq!(crashed.standing(registry), Standing::Current, "{registry}");
        }
        assert_eq!(crashed.standing(0), Standing::Older { registry: 0, trail: 1 });
        assert_eq!(crashed.standing(4), Standing::Newer { registry: 4, trail: 3 });
        // A policy in force says up to which change.
        let policy = known(&[record(Kind::PolicyActivated, 7, None, None)]);
        assert_eq!(policy.standing(6), Standing::Older { registry: 6, trail: 7 });
        // Operations of sessions have numbers of their own.
        let session = known(&[record(Kind::Operation, 99, Some(Phase::Settled), Some(Outcome::Completed))]);
        assert_eq!(session.standing(0), Standing::Current);
    }
}
