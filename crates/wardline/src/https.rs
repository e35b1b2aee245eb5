//! A listener for HTTPS: accepts within bounds, ends a connection that dawdles, and stops in order.
//!
//! What is answered is for whoever starts it. Deliberately absent: HTTP/2, and anything in clear.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::config::Certificate;
use crate::data::DataFolder;
use crate::tls;

/// From the connection to the end of its TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Of all places, one address has at most one in so many: whoever holds theirs does not keep others out.
const ADDRESS_SHARE: usize = 4;
/// Longest head of a request, and its most lines.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 64;
/// A connection ends after this long, whatever it does.
const CONNECTION_LIFETIME_MAX: Duration = Duration::from_mins(10);
/// How long requests may finish when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answers requests. It bounds their bodies itself.
pub(crate) trait Answers: Send + Sync + 'static {
    /// What it answers with.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send;

    /// Answers one request.
    fn answer(
        &self,
        request: Request<InTime>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The body of a request, which breaks when it is not there in time.
pub(crate) struct InTime {
    body: Incoming,
    until: Pin<Box<Sleep>>,
}

impl InTime {
    fn new(body: Incoming, within: Duration) -> InTime {
        InTime { body, until: Box::pin(tokio::time::sleep(within)) }
    }
}

impl Body for InTime {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                self.until.as_mut().poll(context).map(|()| Some(Err("the body took too long".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where to listen.
pub(crate) struct Place<'a> {
    /// What it is for, in a word for the log.
    pub(crate) what: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: &'a Certificate,
    pub(crate) connections_max: usize,
    /// From the head of a request to the end of its body.
    pub(crate) body_timeout: Duration,
}

/// A listener and its task.
#[derive(Debug)]
pub(crate) struct Https {
    what: &'static str,
    address: SocketAddr,
    fingerprint: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Https {
    /// Starts to listen.
    pub(crate) async fn start(
        folder: &DataFolder,
        place: Place<'_>,
        answers: Arc<impl Answers>,
    ) -> anyhow::Result<Https> {
        let Place { what, address, certificate, connections_max, body_timeout } = place;
        let (server, fingerprint) = tls::https(folder, certificate, address.ip())?;
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let guests = Guests { open: Arc::default(), max: connections_max.div_ceil(ADDRESS_SHARE) };
        let slots = Arc::new(Semaphore::new(connections_max));
        let gate = Gate { what, slots, guests, body_timeout, stop: stopped };
        let task = tokio::spawn(gate.accept(listener, TlsAcceptor::from(server), answers));
        Ok(Https { what, address, fingerprint, stop, task })
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the fingerprint of the certificate it shows.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Takes nothing new, and lets requests finish for a moment.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(what = self.what, %error, "an HTTPS listener ended by itself");
        }
    }
}

#[derive(Clone)]
struct Gate {
    what: &'static str,
    slots: Arc<Semaphore>,
    guests: Guests,
    body_timeout: Duration,
    stop: watch::Receiver<bool>,
}

/// How many connections each address has.
#[derive(Clone)]
struct Guests {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max: usize,
}

impl Guests {
    /// Counts one more of an address, unless it has its share.
    fn enter(&self, address: IpAddr) -> Option<Seat> {
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Seat { guests: self.clone(), address })
    }
}

/// A place of an address, given back when it is dropped.
struct Seat {
    guests: Guests,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.guests.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

impl Gate {
    async fn accept(mut self, listener: TcpListener, tls: TlsAcceptor, answers: Arc<impl Answers>) {
        let mut connections = JoinSet::new();
        loop {
            let slots = Arc::clone(&self.slots);
            let slot = tokio::select! {
                slot = slots.acquire_owned() => slot,
                () = stopped(&mut self.stop) => break,
            };
            let Ok(slot) = slot else { break };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut self.stop) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer)) => {
                    let Some(seat) = self.guests.enter(peer.ip()) else {
                        metrics::counter!("wardline_https_refused_total", "what" => self.what).increment(1);
                        tracing::warn!(what = self.what, %peer, "too many connections of one address; one was closed");
                        continue;
                    };
                    let (gate, tls, answers) = (self.clone(), tls.clone(), Arc::clone(&answers));
                    connections.spawn(async move {
                        gate.connection(stream, peer, tls, answers).await;
                        drop((seat, slot));
                    });
                }
                Err(error) => {
                    tracing::warn!(what = self.what, %error, "an HTTPS listener does not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let _finished =
            timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    }

    async fn connection(
        mut self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: TlsAcceptor,
        answers: Arc<impl Answers>,
    ) {
        let what = self.what;
        let stream = match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(what, %peer, %error, "no TLS"),
            Err(_) => return tracing::debug!(what, %peer, "no TLS in time"),
        };
        let within = self.body_timeout;
        let service = service_fn(move |request: Request<Incoming>| {
            let request = request.map(|body| InTime::new(body, within));
            let answers = Arc::clone(&answers);
            async move { Ok::<_, Infallible>(answers.answer(request, peer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = timeout(CONNECTION_LIFETIME_MAX, connection.as_mut()) => ended.unwrap_or(Ok(())),
            () = stopped(&mut self.stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(what, %peer, %error, "a connection broke");
        }
    }
}

/// Completes when it is time to end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;

    struct Echo;

    impl Answers for Echo {
        type Body = Full<Bytes>;

        async fn answer(&self, request: Request<InTime>, _: SocketAddr) -> Response<Full<Bytes>> {
            match request.into_body().collect().await {
                Ok(body) => Response::new(Full::new(body.to_bytes())),
                Err(error) => Response::new(Full::new(error.to_string().into())),
            }
        }
    }

    async fn listening(folder: &std::path::Path, connections_max: usize, body_timeout: Duration) -> Https {
        let data = DataFolder::at(&folder.join("data"));
        data.create().expect("created");
        let place = Place {
            what: "test",
            address: "127.0.0.1:0".parse().expect("an address"),
            certificate: &Certificate::SelfSigned,
            connections_max,
            body_timeout,
        };
        Https::start(&data, place, Arc::new(Echo)).await.expect("listens")
    }

    async fn connect(
        https: &Https,
        folder: &std::path::Path,
        from: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(format!("{from}:0").parse().expect("an address"))?;
        let stream = socket.connect(https.address()).await?;
        let mut roots = RootCertStore::empty();
        let file = DataFolder::at(&folder.join("data")).tls().join(tls::CERTIFICATE_FILE);
        roots.add(CertificateDer::from_pem_file(file).expect("a certificate")).expect("it is trusted");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().expect("a name"), stream).await
    }

    const SLOW: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{";
    const WHOLE: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

    #[tokio::test]
    async fn an_address_that_dawdles_keeps_nobody_else_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let https = listening(folder.path(), 8, Duration::from_mins(1)).await;
        let mut slow = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(&https, folder.path(), "127.0.0.1").await.expect("within its share");
            stream.write_all(SLOW).await.expect("sent");
            slow.push(stream);
        }
        for _ in 0..16 {
            connect(&https, folder.path(), "127.0.0.1").await.expect_err("beyond its share");
        }
        let mut other = connect(&https, folder.path(), "127.0.0.2").await.expect("somebody else");
        other.write_all(WHOLE).await.expect("sent");
        let mut answer = String::new();
        other.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        drop(slow);
        https.stop().await;
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_ends_its_connection() {
        let folder = tempfile::tempdir().expect("a folder");
        let https = listening(folder.path(), 8, Duration::from_millis(200)).await;
        let mut stream = connect(&https, folder.path(), "127.0.0.1").await.expect("connected");
        stream.write_all(SLOW).await.expect("sent");
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        let _broken = ended.expect("it ends");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("the body took too long"), "{answer}");
        https.stop().await;
    }
}
