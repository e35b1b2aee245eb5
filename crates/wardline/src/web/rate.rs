//! How many requests one address may send: what is above is refused for a while, before it is looked at.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The period in which requests are counted.
const PERIOD: Duration = Duration::from_mins(1);
/// Addresses that are kept in mind; when there are more, counting begins anew.
const ADDRESSES_MAX: usize = 20_000;

/// Requests of the current period, by where they come from.
#[derive(Debug)]
pub(crate) struct Rates {
    max: u32,
    counted: Mutex<(Instant, HashMap<IpAddr, u32>)>,
}

impl Rates {
    /// Allows so many requests a minute from one address.
    pub(crate) fn new(max: u32, now: Instant) -> Rates {
        Rates { max, counted: Mutex::new((now, HashMap::new())) }
    }

    /// Counts a request; tells whether it may be answered.
    pub(crate) fn allows(&self, from: IpAddr, now: Instant) -> bool {
        let mut counted = self.counted.lock();
        let (since, addresses) = &mut *counted;
        if now.saturating_duration_since(*since) >= PERIOD || addresses.len() >= ADDRESSES_MAX {
            (*since, *addresses) = (now, HashMap::new());
        }
        let count = addresses.entry(network(from)).or_default();
        *count = count.saturating_add(1);
        *count <= self.max
    }
}

/// Returns what counts as one address: whoever has an address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_of_each_minute() {
        let began = Instant::now();
        let rates = Rates::new(2, began);
        let check = |from: &str, second, expected| {
            let allowed = rates.allows(from.parse().unwrap(), began + Duration::from_secs(second));
            assert_eq!(allowed, expected, "{from} in second {second}");
        };
        check("192.0.2.1", 0, true);
        check("192.0.2.1", 1, true);
        check("192.0.2.1", 2, false);
        check("::ffff:192.0.2.1", 2, false);
        check("192.0.2.2", 2, true);
        check("2001:db8::1", 3, true);
        check("2001:db8::2", 3, true);
        check("2001:db8::3", 3, false);
        check("192.0.2.1", 60, true);
    }
}
