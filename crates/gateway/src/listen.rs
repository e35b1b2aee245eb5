//! Accepts connections, bounds how many there are, and hands each to a worker. Ends them when drained.
//!
//! Deliberately absent: what happens on a connection (`serve`), and plaintext beyond the loopback interface:
//! there is no option for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::control::Control;
use crate::filters::Filters;
use crate::limits::Limits;
use crate::protocol::postgres::catalogues::Catalogues;
use crate::protocol::postgres::codec::{FirstPacket, Severity, WireError};
use crate::protocol::postgres::greet;
use crate::protocol::postgres::verdicts::Verdicts;
use crate::session::Sessions;
use crate::tls::ServerTls;
use crate::workers::{Load, Workers};

/// After a failed accept (such as no file descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For reading the first packet of a connection that is one too many.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that are being told so at once; more are closed without a word.
const REFUSALS_MAX: usize = 64;
/// Refusals are logged this often, with their number; each is counted.
const REFUSALS_LOG_PAUSE: Duration = Duration::from_secs(1);
/// For sessions to end after they were cut.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a listener's connections are protected.
#[derive(Debug, Clone)]
pub enum ListenerTls {
    /// TLS is required.
    Tls(ServerTls),
    /// None; only on a loopback address.
    PlaintextOnLoopback,
}

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// How connections are protected.
    pub tls: ListenerTls,
    /// Sign-in by SCRAM-SHA-256 in place of the password field.
    pub scram: bool,
    /// The bounds.
    pub limits: Limits,
}

/// Why a listener does not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Passwords and patients' data would cross a network in clear.
    #[error("`{0}` is not a loopback address: plaintext is allowed on loopback only, configure TLS")]
    PlaintextBeyondLoopback(SocketAddr),
    /// The system does not give the address.
    #[error("cannot listen on `{address}`")]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How far the end of the listener has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// It serves.
    No,
    /// Sessions finish what they do and end.
    Finish,
    /// Sessions end now.
    Cut,
}

/// What all connections of one listener share.
pub(crate) struct Shared<C> {
    pub(crate) config: ListenerConfig,
    pub(crate) control: Arc<C>,
    pub(crate) sessions: Arc<Sessions>,
    /// Sessions that are signed in.
    pub(crate) seats: Arc<Open>,
    pub(crate) catalogues: Catalogues,
    pub(crate) verdicts: Verdicts,
    pub(crate) filters: Filters,
    pub(crate) drain: watch::Receiver<Drain>,
}

/// Connections of one kind, counted: all that are open, those still in their handshake included, or all that are signed in.
#[derive(Debug, Default)]
pub(crate) struct Open {
    count: AtomicUsize,
    /// Told when the count reaches zero.
    none: Notify,
}

impl Open {
    /// Counts one more; `None` when `max` are open.
    pub(crate) fn enter(self: &Arc<Open>, max: usize) -> Option<Entered> {
        let next = |count: usize| (count < max).then_some(count + 1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(Entered { open: Arc::clone(self) })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    async fn emptied(&self) {
        loop {
            let notified = self.none.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// One open connection, until dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    open: Arc<Open>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.open.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.none.notify_waiters();
        }
    }
}

/// Connections that have not signed in, by where they come from.
#[derive(Debug, Default)]
struct Anteroom {
    /// All of them, and by address.
    waiting: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

impl Anteroom {
    /// Counts one more from an address; where there are too many, returns the bound that says so.
    fn enter(self: &Arc<Anteroom>, from: IpAddr, limits: &Limits) -> Result<Waiting, usize> {
        let from = network(from);
        let mut waiting = self.waiting.lock();
        let (all, places) = &mut *waiting;
        if *all >= limits.handshakes_max {
            return Err(limits.handshakes_max);
        }
        let here = places.get(&from).copied().unwrap_or_default();
        if here >= limits.handshakes_per_address_max {
            return Err(limits.handshakes_per_address_max);
        }
        places.insert(from, here + 1);
        *all += 1;
        Ok(Waiting { anteroom: Arc::clone(self), from })
    }
}

/// Returns what counts as one address: whoever has an address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// One connection that has not signed in, until dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    anteroom: Arc<Anteroom>,
    from: IpAddr,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.anteroom.waiting.lock();
        let (all, places) = &mut *waiting;
        *all -= 1;
        match places.get(&self.from) {
            Some(1) | None => drop(places.remove(&self.from)),
            Some(here) => drop(places.insert(self.from, here - 1)),
        }
    }
}

/// What a connection's task gives back when it ends, however it ends.
struct Occupied {
    _entered: Entered,
    _load: Load,
}

impl Occupied {
    fn new(entered: Entered, load: Load) -> Occupied {
        metrics::gauge!("gateway_connections").increment(1.0);
        Occupied { _entered: entered, _load: load }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        metrics::gauge!("gateway_connections").decrement(1.0);
    }
}

/// A bound socket that accepts connections until drained or dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    drain_timeout: Duration,
    open: Arc<Open>,
    /// Dropping it ends the accept loop as well.
    drain: watch::Sender<Drain>,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Binds the address and starts accepting; connections run on `workers`.
    ///
    /// # Errors
    /// When the address cannot be had, or would carry plaintext beyond the loopback interface.
    pub async fn bind<C: Control>(
        config: ListenerConfig,
        control: Arc<C>,
        sessions: Arc<Sessions>,
        workers: &Workers,
    ) -> Result<Listener, BindError> {
        let address = config.address;
        if matches!(config.tls, ListenerTls::PlaintextOnLoopback)
            && !address.ip().to_canonical().is_loopback()
        {
            return Err(BindError::PlaintextBeyondLoopback(address));
        }
        let failed = |source| BindError::Socket { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let (drain, draining) = watch::channel(Drain::No);
        let open = Arc::<Open>::default();
        let drain_timeout = config.limits.drain_timeout;
        let shared = Shared {
            config,
            control,
            sessions,
            seats: Arc::default(),
            catalogues: Catalogues::new(),
            verdicts: Verdicts::new(),
            filters: Filters::default(),
            drain: draining,
        };
        let door = Door {
            shared: Arc::new(shared),
            workers: workers.clone(),
            open: Arc::clone(&open),
            anteroom: Arc::default(),
            refusing: Arc::default(),
            refused: Mutex::new((Instant::now(), 0)),
        };
        let accepting = tokio::spawn(door.accept(socket));
        Ok(Listener { address, drain_timeout, open, drain, accepting })
    }

    /// Returns the bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many connections are open, those still in their handshake included.
    pub fn sessions(&self) -> usize {
        self.open.count()
    }

    /// Stops accepting, lets sessions finish what they do for `drain_timeout`, then cuts them.
    pub async fn drain(self) {
        self.drain.send_replace(Drain::Finish);
        if self.accepting.await.is_err() {
            tracing::error!("accept loop ended by a panic");
        }
        if tokio::time::timeout(self.drain_timeout, self.open.emptied()).await.is_ok() {
            return;
        }
        tracing::warn!(sessions = self.open.count(), "drain timeout: cutting sessions");
        self.drain.send_replace(Drain::Cut);
        if tokio::time::timeout(CUT_TIMEOUT, self.open.emptied()).await.is_err() {
            tracing::error!(sessions = self.open.count(), "sessions did not end after the cut");
        }
    }
}

/// The accept loop's belongings.
struct Door<C> {
    shared: Arc<Shared<C>>,
    workers: Workers,
    open: Arc<Open>,
    /// Connections being told that they are one too many.
    refusing: Arc<Open>,
    anteroom: Arc<Anteroom>,
    /// When refusals may be logged again, and how many were not.
    refused: Mutex<(Instant, u64)>,
}

impl<C: Control> Door<C> {
    async fn accept(self, listener: TcpListener) {
        let mut drain = self.shared.drain.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                // Also when the `Listener` was dropped.
                _ = drain.changed() => return,
                accepted = listener.accept() => accepted,
            };
            let placed = match accepted {
                Ok((socket, peer)) => self.place(socket, peer),
                Err(error) => Err(error),
            };
            if let Err(error) = placed {
                tracing::warn!(%error, "accepting a connection failed");
                metrics::counter!("gateway_accept_errors_total").increment(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Hands the connection to a worker, or refuses it.
    fn place(&self, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
        if let Err(error) = socket.set_nodelay(true) {
            // The peer is gone already; that is no trouble of ours.
            tracing::debug!(%error, "accepted connection is closed");
            return Ok(());
        }
        let waiting = match self.anteroom.enter(peer.ip(), &self.shared.config.limits) {
            Ok(waiting) => waiting,
            Err(limit) => {
                self.refuse(socket, peer, limit);
                return Ok(());
            }
        };
        // Bounded by those who wait and those who have a seat.
        let Some(entered) = self.open.enter(usize::MAX) else { return Ok(()) };
        let socket = socket.into_std()?;
        let (handle, load) = self.workers.pick();
        let occupied = Occupied::new(entered, load);
        let shared = Arc::clone(&self.shared);
        handle.spawn(async move {
            let _occupied = occupied;
            crate::serve::connection(shared, socket, peer, waiting).await;
        });
        Ok(())
    }

    /// A flood is not one of log lines too.
    fn log_refusal(&self, peer: SocketAddr, limit: usize) {
        let mut refused = self.refused.lock();
        let (due, unsaid) = &mut *refused;
        let now = Instant::now();
        if now < *due {
            *unsaid += 1;
            return;
        }
        tracing::warn!(%peer, limit, unsaid = *unsaid, "too many connections that have not signed in");
        (*due, *unsaid) = (now + REFUSALS_LOG_PAUSE, 0);
    }

    fn refuse(&self, mut socket: TcpStream, peer: SocketAddr, limit: usize) {
        metrics::counter!("gateway_connections_refused_total").increment(1);
        self.log_refusal(peer, limit);
        let Some(entered) = self.refusing.enter(REFUSALS_MAX) else { return };
        tokio::spawn(async move {
            let _entered = entered;
            let first = tokio::time::timeout(REFUSAL_TIMEOUT, greet::first_packet(&mut socket)).await;
            // Over TLS it is just closed: a handshake for nothing is what too many connections must not cost.
            if let Ok(Ok(Some(FirstPacket::Startup(_)))) = first {
                let error = WireError::new(Severity::Fatal, b"53300", "too many connections");
                greet::say(&mut socket, &error).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::protocol::postgres::codec;
    use crate::protocol::postgres::greet::tests::OnePerson;

    fn plaintext(address: &str, limits: Limits) -> ListenerConfig {
        let address = address.parse().unwrap();
        ListenerConfig { address, tls: ListenerTls::PlaintextOnLoopback, scram: false, limits }
    }

    #[tokio::test]
    async fn plaintext_is_bound_on_loopback_only() {
        let workers = Workers::start(1).unwrap();
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let config = plaintext(address, Limits::default());
            let bound = Listener::bind(config, Arc::new(OnePerson), Arc::default(), &workers).await;
            assert!(matches!(bound, Err(BindError::PlaintextBeyondLoopback(_))), "{address}");
        }
    }

    /// What a client is told that connects from `from` and asks for a session.
    async fn greeted(listener: SocketAddr, from: &str) -> Vec<u8> {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        let mut client = socket.connect(listener).await.unwrap();
        let mut startup = Vec::new();
        codec::put_startup(&mut startup, [("user", "nora"), ("database", "hospital")].into_iter());
        client.write_all(&startup).await.unwrap();
        let mut told = vec![0; 256];
        let count = client.read(&mut told).await.unwrap();
        told.truncate(count);
        told
    }

    #[tokio::test]
    async fn one_too_many_is_told_so_and_drain_waits_for_the_rest() {
        let workers = Workers::start(1).unwrap();
        let limits =
            Limits { handshakes_per_address_max: 3, handshakes_max: 4, sessions_max: 1, ..Limits::default() };
        let config = plaintext("127.0.0.1:0", limits);
        let listener = Listener::bind(config, Arc::new(OnePerson), Arc::default(), &workers).await.unwrap();
        let address = listener.address();
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        while listener.sessions() < 3 {
            tokio::task::yield_now().await;
        }
        let told = greeted(address, "127.0.0.1").await;
        assert_eq!(codec::error_field(&told, b'C').unwrap(), Some(&b"53300"[..]));
        assert_eq!(listener.sessions(), 3);
        // Whoever comes from elsewhere is asked for the password.
        assert_eq!(greeted(address, "127.0.0.2").await[..1], *b"R");
        silent.pop();
        while listener.sessions() > 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(greeted(address, "127.0.0.1").await[..1], *b"R");
        drop(silent);
        listener.drain().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn the_anteroom_counts_by_address_and_in_all() {
        let anteroom = Arc::<Anteroom>::default();
        let limits = Limits { handshakes_max: 3, handshakes_per_address_max: 2, ..Limits::default() };
        let enter = |from: &str| anteroom.enter(from.parse().unwrap(), &limits);
        let first = enter("2001:db8::1").unwrap();
        let _second = enter("2001:db8::ffff:1").unwrap();
        assert_eq!(enter("2001:db8::2").unwrap_err(), 2, "one network of 64 bits is one address");
        let _third = enter("2001:db8:0:1::1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), 3);
        drop(first);
        let mapped = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), 3);
        drop((mapped, _second, _third));
        assert_eq!(*anteroom.waiting.lock(), (0, HashMap::new()));
        let _four = enter("::ffff:192.0.2.1").unwrap();
        let _mapped = enter("192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), 2);
    }

    #[tokio::test]
    async fn open_is_bounded_and_tells_when_empty() {
        let open = Arc::<Open>::default();
        let first = open.enter(2).unwrap();
        let second = open.enter(2).unwrap();
        assert!(open.enter(2).is_none());
        drop(first);
        assert_eq!(open.count(), 1);
        let waiting = {
            let open = Arc::clone(&open);
            tokio::spawn(async move { open.emptied().await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        open.emptied().await;
    }

    #[test]
    fn bind_error_names_the_address_and_the_remedy() {
        let error = BindError::PlaintextBeyondLoopback("10.0.0.1:6432".parse().unwrap());
        assert!(error.to_string().contains("`10.0.0.1:6432`"));
        assert!(error.to_string().contains("TLS"));
    }
}
