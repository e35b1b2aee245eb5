//! One request and its answer over HTTP/1.1, in clear only to this machine.
//!
//! A connection serves one request: requests are few and large, and none can then be answered for another.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The largest object. A segment is 64 MiB and one record more, parts of a backup are no larger.
pub const OBJECT_BYTES_MAX: usize = 256 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request and its answer: the largest object over some megabytes a second.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// Where a bucket is served.
#[derive(Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.shown())
    }
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is not a URL of scheme, host and port.
    #[error("`{0}` is not of the form `https://HOST` or `https://HOST:PORT`")]
    Form(String),
    /// It is in clear and not on this machine.
    #[error("`{0}` is in clear over a network: use `https://`")]
    Clear(String),
    /// The certificate authorities cannot be read.
    #[error("cannot read certificate authorities: {0}")]
    Authorities(String),
}

impl Endpoint {
    /// Tells whether a URL could be used, without reading authorities.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub fn check(url: &str) -> Result<(), EndpointError> {
        parts(url).map(drop)
    }

    /// Reads a URL. `ca` names the authorities to trust; the system's when it is left out.
    ///
    /// # Errors
    /// When it is none, or in clear and not on the loopback address.
    pub fn parse(url: &str, ca: Option<&Path>) -> Result<Endpoint, EndpointError> {
        let Parts { host, port, secure } = parts(url)?;
        let tls = if secure { Some(client_config(ca)?) } else { None };
        Ok(Endpoint { host, port, tls })
    }

    /// Returns the host and, where it is not the usual one, the port.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.port, self.tls.is_some()) {
            (443, true) | (80, false) => host,
            (port, _) => format!("{host}:{port}"),
        }
    }

    /// Returns the URL.
    pub(crate) fn shown(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Sends a request and returns its answer, whole. Blocks.
    pub(crate) fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        // A runtime cannot be waited for from within another: then this is done beside it.
        if tokio::runtime::Handle::try_current().is_err() {
            return self.send_here(request);
        }
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| self.send_here(request)).join();
            sent.unwrap_or_else(|_| Err("the request was not made".to_owned()))
        })
    }

    fn send_here(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        // Of this call alone: one that was kept could be dropped where a runtime must not be.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(async {
            match timeout(REQUEST_TIMEOUT, self.exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())),
            }
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect((self.host.as_str(), self.port)));
        let stream = connecting.await.map_err(|_| "no connection in time".to_owned())?;
        let stream = stream.map_err(|error| format!("connect to {}: {error}", self.authority()))?;
        match &self.tls {
            None => exchange_over(stream, request).await,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
                let connector = TlsConnector::from(Arc::clone(config));
                let connecting = timeout(CONNECT_TIMEOUT, connector.connect(name, stream));
                let stream = connecting.await.map_err(|_| "no TLS in time".to_owned())?;
                exchange_over(stream.map_err(|error| format!("TLS: {error}"))?, request).await
            }
        }
    }
}

/// What a URL says.
struct Parts {
    host: String,
    port: u16,
    secure: bool,
}

fn parts(url: &str) -> Result<Parts, EndpointError> {
    let form = || EndpointError::Form(url.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(form)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(form()),
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| form())?),
        Some(_) | None => (rest, default),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() || bare.contains(['/', '@', '?', '#']) || bare.contains(char::is_whitespace) {
        return Err(form());
    }
    let local = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let secure = scheme == "https";
    if !secure && !local {
        return Err(EndpointError::Clear(url.to_owned()));
    }
    Ok(Parts { host: bare.to_owned(), port, secure })
}

async fn exchange_over<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| format!("HTTP: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the runtime of this request.
    let _driven = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(failed)?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, OBJECT_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("the answer's body: {error}"))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, EndpointError> {
    let failed = |why: String| EndpointError::Authorities(why);
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let named = |error| failed(format!("{}: {error}", path.display()));
            let certificates = CertificateDer::pem_file_iter(path).map_err(named)?;
            for certificate in certificates {
                let certificate = certificate.map_err(named)?;
                roots.add(certificate).map_err(|error| failed(format!("{}: {error}", path.display())))?;
            }
        }
        None => {
            let (_added, _ignored) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(failed("there are none".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_in_clear() {
        let shown = |url| Endpoint::parse(url, None).map(|endpoint| endpoint.shown()).ok();
        assert_eq!(shown("http://127.0.0.1:8333").as_deref(), Some("http://127.0.0.1:8333"));
        assert_eq!(shown("http://[::1]:8333/").as_deref(), Some("http://[::1]:8333"));
        assert_eq!(shown("http://localhost").as_deref(), Some("http://localhost"));
        for bad in [
            "http://s3.example.org",
            "ftp://127.0.0.1",
            "127.0.0.1",
            "http://127.0.0.1/bucket",
            "http://a@127.0.0.1",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
