//! One submission to one witness.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tlog::NOTE_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tls;

/// From the connection to the end of the answer.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a witness takes submissions.
#[derive(Clone)]
pub(crate) struct Address {
    host: String,
    port: u16,
    path: String,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, self.path)
    }
}

/// What a witness answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Its signature lines.
    Lines(String),
    /// The size that it stands at.
    Stands(u64),
    /// It holds the checkpoint to contradict what it saw: 422.
    Inconsistent,
}

impl Address {
    /// Reads the submission prefix of a policy. Without TLS only this machine is reached.
    pub(crate) fn of(url: &str, ca: Option<&Path>) -> anyhow::Result<Address> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        let host = uri.host().with_context(|| format!("`{url}` names no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(tls::client(ca)?), 443),
            Some("http") => {
                let local =
                    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
                if !local {
                    bail!("`{url}`: a witness elsewhere is reached over https only");
                }
                (None, 80)
            }
            Some(_) | None => bail!("`{url}` is neither https nor http"),
        };
        let path = format!("{}/add-checkpoint", uri.path().trim_end_matches('/'));
        Ok(Address { port: uri.port_u16().unwrap_or(port), host, path, tls })
    }

    /// Sends a submission.
    pub(crate) async fn submit(&self, body: String) -> anyhow::Result<Answered> {
        timeout(SUBMIT_TIMEOUT, self.talk(body)).await.context("no answer in time")?
    }

    async fn talk(&self, body: String) -> anyhow::Result<Answered> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        match &self.tls {
            None => self.post(stream, body).await,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone())?;
                let connector = TlsConnector::from(Arc::clone(config));
                self.post(connector.connect(name, stream).await?, body).await
            }
        }
    }

    async fn post<S>(&self, stream: S, body: String) -> anyhow::Result<Answered>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driven = tokio::spawn(connection);
        let mut request = Request::post(&self.path).body(Full::new(Bytes::from(body)))?;
        let host = HeaderValue::from_str(&format!("{}:{}", self.host, self.port))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let answer = sender.send_request(request).await;
        let read = match answer {
            Ok(response) => {
                let status = response.status();
                let body = Limited::new(response.into_body(), NOTE_BYTES_MAX).collect().await;
                body.map(|body| (status, body.to_bytes()))
                    .map_err(|_| anyhow::anyhow!("the answer is too long"))
            }
            Err(error) => Err(error.into()),
        };
        drop(sender);
        driven.abort();
        let (status, body) = read?;
        let text = std::str::from_utf8(&body).context("the answer is not text")?;
        match status {
            StatusCode::OK => Ok(Answered::Lines(text.to_owned())),
            StatusCode::CONFLICT => {
                Ok(Answered::Stands(text.trim_end().parse().context("no size with 409")?))
            }
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Answered::Inconsistent),
            other => bail!("it answered {other}"),
        }
    }
}
