//! How often people may filter by columns that they do not see. Each such filter answers a guess; a limit keeps the
//! guesses from becoming a search.
//!
//! One allowance for each person and resource, over all their sessions, that refills evenly through the hour (the generic
//! cell rate algorithm of ITU-T I.371). It is kept in memory: a restart forgives what was spent. Deliberately absent:
//! which statements filter so, which their plans tell.

use std::collections::HashMap;

use model::{Micros, PersonId, ResourceId};
use parking_lot::Mutex;

/// How many filters a person has in an hour on a resource that does not say.
pub const FILTERS_PER_HOUR: u32 = 1_000;
/// Pairs of people and resources that are remembered.
const PAIRS_MAX: usize = 65_536;
const HOUR_US: u64 = 3_600_000_000;

/// What people have spent.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    /// When the whole allowance will be there again.
    whole_at: Mutex<HashMap<(PersonId, ResourceId), Micros>>,
}

impl Filters {
    /// Spends `count` filters of so many an hour; `false`, and nothing is spent, where fewer are left.
    pub(crate) fn spend(
        &self,
        (person, resource): (PersonId, &ResourceId),
        count: u64,
        per_hour: u32,
        at: Micros,
    ) -> bool {
        let mut whole_at = self.whole_at.lock();
        if whole_at.len() >= PAIRS_MAX {
            whole_at.retain(|_, whole| *whole > at);
        }
        let key = (person, resource.clone());
        let from = whole_at.get(&key).copied().map_or(at, |whole| whole.max(at));
        let each = HOUR_US / u64::from(per_hour.max(1));
        let whole = Micros(from.0.saturating_add(count.saturating_mul(each)));
        let fits = whole.0.saturating_sub(at.0) <= HOUR_US;
        let room = whole_at.len() < PAIRS_MAX || whole_at.contains_key(&key);
        if fits && room {
            whole_at.insert(key, whole);
        }
        fits && room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000;

    fn spend(filters: &Filters, person: u128, count: u64, after_us: u64) -> bool {
        let resource = ResourceId("hospital".into());
        filters.spend((PersonId(person), &resource), count, 60, Micros(START + after_us))
    }

    #[test]
    fn an_hour_has_its_filters_and_no_more() {
        let filters = Filters::default();
        assert!(spend(&filters, 1, 59, 0));
        assert!(!spend(&filters, 1, 2, 0), "one is left");
        assert!(spend(&filters, 1, 1, 0), "a refusal spends nothing");
        assert!(!spend(&filters, 1, 1, 59_999_999));
        assert!(spend(&filters, 1, 1, 60_000_000), "a minute later there is one again");
        assert!(spend(&filters, 2, 60, 0), "everybody has their own");
        assert!(!spend(&filters, 3, 61, 0), "never more at once than in an hour");
        assert!(spend(&filters, 1, 60, 2 * HOUR_US), "and not more than an hour's is saved up");
        assert!(!spend(&filters, 1, 1, 2 * HOUR_US));
    }
}
