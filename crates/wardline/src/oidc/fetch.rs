//! Small HTTPS exchanges with an identity provider: one connection for each, bounded in time and length, no redirects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use openidconnect::url::Url;
use openidconnect::url::form_urlencoded::Serializer;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::witness::tls;

/// From the connection to the end of the answer.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read: a set of keys with their certificates.
const ANSWER_BYTES_MAX: usize = 512 << 10;

/// A way to a provider.
#[derive(Clone)]
pub(crate) struct Fetch(Arc<ClientConfig>);

/// What a provider answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Fetch {
    /// Trusts these authorities, or the system's.
    pub(crate) fn new(ca: Option<&Path>) -> anyhow::Result<Fetch> {
        tls::client(ca).map(Fetch)
    }

    /// Asks for a document of JSON.
    pub(crate) async fn get(&self, url: &str) -> anyhow::Result<Bytes> {
        let answer = self.exchange(Method::GET, url, Bytes::new(), None).await?;
        if answer.status != 200 {
            bail!("{} answered {}", place(url), answer.status);
        }
        Ok(answer.body)
    }

    /// Sends a form.
    pub(crate) async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<HeaderValue>,
    ) -> anyhow::Result<Answer> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        self.exchange(Method::POST, url, Bytes::from(body), basic).await
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        basic: Option<HeaderValue>,
    ) -> anyhow::Result<Answer> {
        let exchange = self.exchange_now(method, url, body, basic);
        timeout(EXCHANGE_TIMEOUT, exchange)
            .await
            .with_context(|| format!("{} did not answer in time", place(url)))?
    }

    async fn exchange_now(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        basic: Option<HeaderValue>,
    ) -> anyhow::Result<Answer> {
        let parsed = Url::parse(url).with_context(|| format!("{} is no address", place(url)))?;
        if parsed.scheme() != "https" {
            bail!("{} is not https", place(url));
        }
        let host =
            parsed.host_str().context("the address names no host")?.trim_matches(['[', ']']).to_owned();
        let port = parsed.port().unwrap_or(443);
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .with_context(|| format!("reaching {}", place(url)))?;
        let name = ServerName::try_from(host)?;
        let stream = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await;
        let stream = stream.with_context(|| format!("TLS with {}", place(url)))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driven = tokio::spawn(connection);
        let answer = sender.send_request(request(method, &parsed, body, basic)?).await;
        let read = match answer {
            Ok(response) => {
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
                body.map(|body| Answer { status, body: body.to_bytes() })
                    .map_err(|_| anyhow::anyhow!("the answer of {} is too long or broke off", place(url)))
            }
            Err(error) => Err(error).with_context(|| format!("asking {}", place(url))),
        };
        drop(sender);
        driven.abort();
        read
    }
}

fn request(
    method: Method,
    url: &Url,
    body: Bytes,
    basic: Option<HeaderValue>,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let is_post = method == Method::POST;
    let mut request = Request::builder().method(method).uri(target).body(Full::new(body))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&host)?);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("wardline/", env!("CARGO_PKG_VERSION"))));
    if is_post {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    if let Some(basic) = basic {
        headers.insert(AUTHORIZATION, basic);
    }
    Ok(request)
}

/// Returns an address for the log: without a query, which may hold a secret.
fn place(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
