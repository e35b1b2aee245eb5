//! `inet` and `cidr`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Format;

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;
/// What the IP operator keeps.
const KEPT_BITS_V4: u8 = 24;
const KEPT_BITS_V6: u8 = 48;

/// An address with the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
}

impl Network {
    fn bits_max(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    /// Returns the network of the first 24 (IPv6: 48) bits.
    pub(crate) fn shortened(self) -> Network {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX << (32 - KEPT_BITS_V4);
                let address = Ipv4Addr::from(u32::from(address) & mask);
                Network { address: address.into(), bits: self.bits.min(KEPT_BITS_V4) }
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - KEPT_BITS_V6);
                let address = Ipv6Addr::from(u128::from(address) & mask);
                Network { address: address.into(), bits: self.bits.min(KEPT_BITS_V6) }
            }
        }
    }

    /// Appends the text; `inet` leaves a full prefix away, `cidr` does not.
    pub(crate) fn write_text(self, cidr: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(self.address.to_string().as_bytes());
        if cidr || self.bits < Network::bits_max(self.address) {
            out.push(b'/');
            super::number::write_decimal(i64::from(self.bits), out);
        }
    }

    /// Appends the binary form.
    pub(crate) fn write_binary(self, cidr: bool, out: &mut Vec<u8>) {
        let family = if self.address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
        out.extend_from_slice(&[family, self.bits, u8::from(cidr), Network::bits_max(self.address) / 8]);
        match self.address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        }
    }
}

/// Decodes an `inet` or `cidr`.
pub(crate) fn decode(format: Format, value: &[u8]) -> Option<Network> {
    if format == Format::Text {
        let text = std::str::from_utf8(value).ok()?;
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let most = Network::bits_max(address);
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        return Some(Network { address, bits });
    }
    let (head, address) = value.split_first_chunk::<4>()?;
    let [family, bits, _, length] = *head;
    let address: IpAddr = match family {
        FAMILY_V4 => <[u8; 4]>::try_from(address).ok()?.into(),
        FAMILY_V6 => <[u8; 16]>::try_from(address).ok()?.into(),
        _ => return None,
    };
    let most = Network::bits_max(address);
    (length == most / 8 && bits <= most).then_some(Network { address, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shortened: &str) {
        let network = decode(Format::Text, text.as_bytes()).expect("an address");
        let mut binary = Vec::new();
        network.write_binary(false, &mut binary);
        assert_eq!(decode(Format::Binary, &binary), Some(network));
        let mut out = Vec::new();
        network.shortened().write_text(false, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), shortened);
    }

    #[test]
    fn networks_are_shortened() {
        check("192.0.2.77", "192.0.2.0/24");
        check("192.0.2.77/30", "192.0.2.0/24");
        check("10.9.8.7/8", "10.9.8.0/8");
        check("2001:db8:1:2::7", "2001:db8:1::/48");
        assert_eq!(decode(Format::Text, b"192.0.2.77/33"), None);
        assert_eq!(decode(Format::Binary, &[2, 32, 0, 4, 1, 2, 3]), None);
    }
}
