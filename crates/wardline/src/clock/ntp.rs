//! Is the time of day the time of others? One server of the configuration is asked by SNTP (RFC 4330), and nothing is set.
//!
//! The clock is for the machine's own NTP client to keep. Here it is only compared: entries are evidence, and a clock that
//! runs alone, or away, is an incident. The answer is not authenticated; a liar on the way can raise an alarm or hide a
//! difference, and change no time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{Kind, Record};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::node::Node;

/// How long an answer may take; a slower one says too little about the time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const PACKET_BYTES: usize = 48;
/// Leap indicator 0, version 4, client.
const FIRST_BYTE: u8 = 4 << 3 | 3;
const MODE_SERVER: u8 = 4;
/// A server that is itself not synchronised.
const LEAP_UNKNOWN: u8 = 3;
const STRATUM_MAX: u8 = 15;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX_S: i128 = 2_208_988_800;
/// The era of NTP's seconds that began in 2036.
const ERA_S: i128 = 1 << 32;
const US_PER_S: i128 = 1_000_000;

/// `[trail.clock]`: with whom the time of day is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `HOST:PORT`.
    pub(crate) server: String,
    pub(crate) every: Duration,
    /// A greater difference is an incident.
    pub(crate) offset_max: Duration,
    /// No usable answer for so long is one, too.
    pub(crate) alarm_after: Duration,
}

/// How the clock stands, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Synchronised,
    Off,
    Alone,
}

/// Asks for ever.
pub(super) async fn watch(node: Arc<Node>) {
    let (mut standing, mut answered) = (Standing::Synchronised, Instant::now());
    loop {
        let Some(reference) = node.config.load().clock.reference.clone() else {
            tokio::time::sleep(Duration::from_secs(60)).await;
            answered = Instant::now();
            continue;
        };
        let (now, said) = match offset_us(&reference.server).await {
            Ok(offset_us) => {
                answered = Instant::now();
                #[expect(clippy::cast_precision_loss, reason = "a gauge")]
                metrics::gauge!("wardline_clock_offset_seconds").set(offset_us as f64 / 1e6);
                let ms = offset_us / 1_000;
                let off = offset_us.unsigned_abs() > reference.offset_max.as_micros();
                let said = format!("{ms} ms from the time of {}", reference.server);
                (if off { Standing::Off } else { Standing::Synchronised }, said)
            }
            Err(why) => {
                tracing::warn!(server = reference.server, why, "the time of day could not be compared");
                let said = format!("{} gave no usable time: {why}", reference.server);
                let alone = answered.elapsed() >= reference.alarm_after;
                (if alone { Standing::Alone } else { standing }, said)
            }
        };
        if now != standing {
            tell(&node, now, &said).await;
            standing = now;
        }
        tokio::time::sleep(reference.every).await;
    }
}

async fn tell(node: &Node, standing: Standing, said: &str) {
    let detail = match standing {
        Standing::Synchronised => format!("the clock is synchronised again, {said}"),
        Standing::Off => format!("THE CLOCK IS NOT SYNCHRONISED: {said}"),
        Standing::Alone => format!("the clock runs alone: {said}"),
    };
    tracing::error!(detail, "the time of day, against its reference");
    let mut record = Record::new(Kind::Incident, node.now());
    record.detail = Some(crate::output::clipped(&detail, crate::node::DETAIL_BYTES_MAX).into());
    if let Err(error) = node.record_urgent(&record).await {
        tracing::error!(%error, "how the clock stands could not be recorded");
    }
}

/// Returns by how much the server's clock is ahead of this one, in microseconds.
async fn offset_us(server: &str) -> Result<i128, String> {
    let asked = async {
        let address = lookup_host(server).await.map_err(|error| error.to_string())?.next();
        let address = address.ok_or("the name has no address")?;
        let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(|error| error.to_string())?;
        // Only this server's packets are received.
        socket.connect(address).await.map_err(|error| error.to_string())?;
        let sent = now_us();
        socket.send(&question(sent)).await.map_err(|error| error.to_string())?;
        let mut answer = [0; PACKET_BYTES];
        let length = socket.recv(&mut answer).await.map_err(|error| error.to_string())?;
        let received = now_us();
        if length < PACKET_BYTES {
            return Err("the answer is too short".to_owned());
        }
        offset_of(&answer, sent, received).map_err(str::to_owned)
    };
    timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn now_us() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_micros()).unwrap_or(i128::MAX)
}

fn question(sent_us: i128) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    let [first, _, _, _, .., s0, s1, s2, s3, f0, f1, f2, f3] = &mut packet;
    *first = FIRST_BYTE;
    // The transmit time; the server gives it back as the originate time, so that answers to other questions are known.
    [*s0, *s1, *s2, *s3, *f0, *f1, *f2, *f3] = stamp(sent_us).to_be_bytes();
    packet
}

/// A time as NTP writes it: seconds since 1900 and their fraction, 32 bits each.
fn stamp(us: i128) -> u64 {
    let seconds = (us.div_euclid(US_PER_S) + NTP_TO_UNIX_S).rem_euclid(ERA_S);
    let fraction = us.rem_euclid(US_PER_S) * ERA_S / US_PER_S;
    u64::try_from(seconds * ERA_S + fraction).unwrap_or_default()
}

/// Reads NTP's time as microseconds since 1970, in the era that is nearest to `near_us`.
fn unstamp(stamp: u64, near_us: i128) -> i128 {
    let (seconds, fraction) = (i128::from(stamp >> 32), i128::from(stamp & 0xffff_ffff));
    let us = (seconds - NTP_TO_UNIX_S) * US_PER_S + fraction * US_PER_S / ERA_S;
    let era_us = ERA_S * US_PER_S;
    let eras = (near_us - us + era_us / 2).div_euclid(era_us);
    us + eras * era_us
}

/// Reads an answer: half the sum of what the two ways seem to differ by.
fn offset_of(answer: &[u8; PACKET_BYTES], sent_us: i128, received_us: i128) -> Result<i128, &'static str> {
    let [first, stratum, ..] = answer;
    let at = |place: usize| -> Option<u64> {
        answer.get(place..place + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
    };
    let (Some(originate), Some(receive), Some(transmit)) = (at(24), at(32), at(40)) else {
        return Err("the answer is too short");
    };
    if first & 7 != MODE_SERVER || originate != stamp(sent_us) || transmit == 0 {
        return Err("it is no answer to the question");
    }
    if first >> 6 == LEAP_UNKNOWN || *stratum == 0 || *stratum > STRATUM_MAX {
        return Err("the server is not synchronised itself");
    }
    let (there, back) = (unstamp(receive, sent_us), unstamp(transmit, sent_us));
    Ok(((there - sent_us) + (back - received_us)) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server whose clock is ahead by so much, one way taking `way_us`.
    fn answer(sent: i128, ahead: i128, way_us: i128) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        (packet[0], packet[1]) = (4 << 3 | MODE_SERVER, 2);
        packet[24..32].copy_from_slice(&stamp(sent).to_be_bytes());
        packet[32..40].copy_from_slice(&stamp(sent + way_us + ahead).to_be_bytes());
        packet[40..48].copy_from_slice(&stamp(sent + way_us + 50 + ahead).to_be_bytes());
        packet
    }

    #[test]
    fn the_difference_is_read_from_an_answer() {
        // 2026, and on both sides of the end of NTP's first era in 2036.
        for sent in [1_795_428_000_123_456, 2_085_978_495_999_999, 2_085_978_496_000_001] {
            for ahead in [0, 1_500_000, -250_000, 86_400_000_000] {
                let found = offset_of(&answer(sent, ahead, 400), sent, sent + 850).expect("an answer");
                assert!((found - ahead).abs() <= 2, "{found} for {ahead}");
            }
        }
    }

    #[test]
    fn what_is_no_good_answer_is_refused() {
        let sent = 1_795_428_000_000_000;
        let check = |change: &dyn Fn(&mut [u8; PACKET_BYTES]), why: &str| {
            let mut packet = answer(sent, 0, 400);
            change(&mut packet);
            assert_eq!(offset_of(&packet, sent, sent + 850), Err(why));
        };
        check(&|packet| packet[0] = FIRST_BYTE, "it is no answer to the question");
        check(&|packet| packet[31] ^= 1, "it is no answer to the question");
        check(&|packet| packet[40..48].fill(0), "it is no answer to the question");
        check(&|packet| packet[0] |= 0xc0, "the server is not synchronised itself");
        check(&|packet| packet[1] = 0, "the server is not synchronised itself");
        check(&|packet| packet[1] = 16, "the server is not synchronised itself");
    }

    #[tokio::test]
    async fn a_server_is_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address").to_string();
        let serve = async {
            let mut asked = [0; PACKET_BYTES];
            let (_, from) = server.recv_from(&mut asked).await.expect("a question");
            let sent = unstamp(u64::from_be_bytes(asked[40..48].try_into().expect("eight bytes")), now_us());
            let mut packet = answer(sent, 3_600_000_000, 0);
            packet[24..32].copy_from_slice(&asked[40..48]);
            server.send_to(&packet, from).await.expect("sent");
        };
        let (found, ()) = tokio::join!(offset_us(&address), serve);
        let found = found.expect("an answer");
        // The way back counts as half of a difference, and a busy machine is slow.
        assert!((3_595_000_000..=3_600_000_100).contains(&found), "{found}");
    }
}
