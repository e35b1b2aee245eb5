//! A listener for HTTPS: accepts within bounds, ends a connection that dawdles, and stops in order.
//!
//! What is answered is for whoever starts it. Deliberately absent: HTTP/2, and anything in clear.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::config::Certificate;
use crate::data::DataFolder;
use crate::tls;

/// From the connection to the end of its TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
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
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Where to listen.
pub(crate) struct Place<'a> {
    /// What it is for, in a word for the log.
    pub(crate) what: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: &'a Certificate,
    pub(crate) connections_max: usize,
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
        let Place { what, address, certificate, connections_max } = place;
        let (server, fingerprint) = tls::https(folder, certificate, address.ip())?;
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let gate = Gate { what, slots: Arc::new(Semaphore::new(connections_max)), stop: stopped };
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
    stop: watch::Receiver<bool>,
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
                    let (gate, tls, answers) = (self.clone(), tls.clone(), Arc::clone(&answers));
                    connections.spawn(async move {
                        gate.connection(stream, peer, tls, answers).await;
                        drop(slot);
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
        let service = service_fn(move |request| {
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
