//! A small seeded generator (xoshiro256++), so that the same seed gives the same hospital in every release.
//! Not for secrets.

/// A stream of numbers, wholly determined by its seed.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl Random {
    /// Returns the stream for one thing: `salt` says which kind, `number` which one.
    pub(crate) fn new(seed: u64, salt: u64, number: u64) -> Random {
        let mut state = mix(mix(mix(seed).wrapping_add(salt)).wrapping_add(number));
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        };
        Random { a: next(), b: next(), c: next(), d: next() }
    }

    fn next(&mut self) -> u64 {
        let out = self.a.wrapping_add(self.d).rotate_left(23).wrapping_add(self.a);
        let t = self.b << 17;
        self.c ^= self.a;
        self.d ^= self.b;
        self.b ^= self.c;
        self.a ^= self.d;
        self.c ^= t;
        self.d = self.d.rotate_left(45);
        out
    }

    /// Returns a number in `0..bound`; 0 for an empty range.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("a product of two 64-bit numbers, shifted by 64")
    }

    /// Returns a number from `low` to `high`, both included; `low` for an empty range.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high.saturating_sub(low).saturating_add(1)).unwrap_or(0);
        low + i64::try_from(self.below(width)).expect("below a width that fits")
    }

    /// Returns true so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Returns one of the items.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        items.get(index(self.below(items.len() as u64))).expect("picked from a list that is not empty")
    }
}

/// Items with frequencies.
#[derive(Clone, Debug)]
pub(crate) struct Weighted<T> {
    up_to: Vec<u64>,
    items: Vec<T>,
}

impl<T> Weighted<T> {
    /// Takes the items with their weights.
    pub(crate) fn new(weighted: impl IntoIterator<Item = (u64, T)>) -> Weighted<T> {
        let mut up_to = Vec::new();
        let mut items = Vec::new();
        let mut sum = 0;
        for (weight, item) in weighted {
            sum += weight;
            up_to.push(sum);
            items.push(item);
        }
        Weighted { up_to, items }
    }

    /// Returns one of the items, each as often as its weight says.
    pub(crate) fn pick(&self, random: &mut Random) -> &T {
        let at = random.below(self.up_to.last().copied().unwrap_or(0));
        let place = self.up_to.partition_point(|up_to| *up_to <= at);
        self.items.get(place).expect("picked from a list that is not empty")
    }
}

/// Returns the number as an index.
pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).expect("a 64-bit machine")
}

// The finalizer of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
