//! `wardline witness`: the HTTP of C2SP tlog-witness, for one memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tlog::SUBMISSION_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::memory::{Answer, Memory};
use super::tls;
use crate::output;

/// Connections at once; logs are few.
const CONNECTIONS_MAX: usize = 64;
/// For the handshake, for the headers, and for the body.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
/// After the accept failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How a connection is kept at most; nodes come every few seconds and connect anew.
const CONNECTION_LIFE_MAX: Duration = Duration::from_mins(5);

/// The path below any prefix.
const ADD_CHECKPOINT: &str = "/add-checkpoint";
/// What a 409 is, by the specification.
const SIZE_TYPE: HeaderValue = HeaderValue::from_static("text/x.tlog.size");
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Where a witness listens.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    /// Certificate and key; without them only a loopback address is listened on.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

/// Serves until a signal ends it. What was answered is durable, so nothing is left to finish.
pub(crate) async fn serve(memory: Memory, place: &Place) -> anyhow::Result<()> {
    let acceptor = match &place.tls {
        Some((certificate, key)) => Some(TlsAcceptor::from(tls::server(certificate, key)?)),
        None if place.address.ip().is_loopback() => None,
        None => bail!("{} can be reached from elsewhere: give --certificate and --key", place.address),
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(place.address).await;
    let listener = listener.with_context(|| format!("listening on {}", place.address))?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    output::line(&format!("wardline witness: {scheme}://{}", listener.local_addr()?));
    let memory = Arc::new(memory);
    tokio::select! {
        () = accept(listener, acceptor, memory) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, memory: Arc<Memory>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, memory) = (acceptor.clone(), Arc::clone(&memory));
        tokio::spawn(async move {
            let served = async {
                match acceptor {
                    None => converse(stream, memory).await,
                    Some(acceptor) => match timeout(TRANSFER_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => converse(stream, memory).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
                        Err(_) => tracing::debug!("no TLS in time"),
                    },
                }
            };
            let _ended_or_cut = timeout(CONNECTION_LIFE_MAX, served).await;
            drop(slot);
        });
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, memory: Arc<Memory>) {
    let service = service_fn(move |request| respond(request, Arc::clone(&memory)));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TRANSFER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond(
    request: Request<Incoming>,
    memory: Arc<Memory>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !request.uri().path().ends_with(ADD_CHECKPOINT) {
        return Ok(said(StatusCode::NOT_FOUND, "there is only POST /add-checkpoint\n"));
    }
    if request.method() != Method::POST {
        return Ok(said(StatusCode::METHOD_NOT_ALLOWED, "POST\n"));
    }
    let body = Limited::new(request.into_body(), SUBMISSION_BYTES_MAX).collect();
    let body = match timeout(TRANSFER_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Ok(said(StatusCode::PAYLOAD_TOO_LARGE, "not taken: too long, or cut\n")),
        Err(_) => return Ok(said(StatusCode::REQUEST_TIMEOUT, "too slow\n")),
    };
    let now_s = crate::node::now().0 / 1_000_000;
    let answer = tokio::task::spawn_blocking(move || memory.add(&body, now_s)).await;
    Ok(match answer {
        Ok(Ok(answer)) => {
            tracing::info!(answer = word(&answer), "checkpoint");
            response(answer)
        }
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "nothing was signed");
            said(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot remember\n")
        }
        Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, "the witness broke\n"),
    })
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Cosigned(_) => "cosigned",
        Answer::Malformed => "malformed",
        Answer::Unsigned => "not signed by the log",
        Answer::UnknownLog => "of an unknown log",
        Answer::Conflict(_) => "not from the last size",
        Answer::Inconsistent => "INCONSISTENT",
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    match answer {
        Answer::Cosigned(line) => said(StatusCode::OK, line),
        Answer::Malformed => said(StatusCode::BAD_REQUEST, "not a submission\n"),
        Answer::Unsigned => said(StatusCode::FORBIDDEN, "not signed by the log's key\n"),
        Answer::UnknownLog => said(StatusCode::NOT_FOUND, "not a log that is watched here\n"),
        Answer::Conflict(size) => {
            let mut response = said(StatusCode::CONFLICT, format!("{size}\n"));
            response.headers_mut().insert(CONTENT_TYPE, SIZE_TYPE);
            response
        }
        Answer::Inconsistent => said(StatusCode::UNPROCESSABLE_ENTITY, "the proof does not hold\n"),
    }
}

fn said(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT_TYPE);
    response
}
