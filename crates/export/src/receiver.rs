//! Where events go: an address, how its certificate is checked, and what proves us there.

use std::fmt;
use std::io;
use std::sync::Arc;

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, NotTaken};
use crate::format::Format;
use crate::http::Http;
use crate::mail::{Mail, MailAddress};
use crate::notice::Topics;
use crate::syslog::Syslog;

/// The port of syslog over TLS (RFC 5425).
const SYSLOG_PORT: u16 = 6_514;
const HTTPS_PORT: u16 = 443;

/// How a receiver is reached, as it is configured.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// `https://host/path` or `tls://host:port`.
    pub url: String,
    /// Certificate authorities, PEM; the system's when left out.
    pub authorities: Option<Vec<u8>>,
    /// Our own certificate and key, PEM, for a receiver that asks for one.
    pub identity: Option<Identity>,
    /// What is sent as `Authorization: Bearer`.
    pub bearer: Option<Bearer>,
}

/// Our own certificate and key.
#[derive(Clone)]
pub struct Identity {
    /// The chain, PEM.
    pub certificate: Vec<u8>,
    /// The key, PEM.
    pub key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// A secret that proves us to a receiver.
#[derive(Clone)]
pub struct Bearer(pub String);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// One TLS connection's worth of address.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) host: String,
    pub(crate) port: u16,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({}:{})", self.host, self.port)
    }
}

impl Peer {
    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>, NotTaken> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(NotTaken::Unreachable)?;
        tcp.set_nodelay(true).map_err(NotTaken::Unreachable)?;
        self.connector.connect(self.name.clone(), tcp).await.map_err(NotTaken::Unreachable)
    }
}

/// Somebody who takes batches.
#[derive(Debug)]
pub enum Receiver {
    /// Over HTTPS.
    #[doc(hidden)]
    Http(Box<Http>),
    /// Syslog over TLS.
    #[doc(hidden)]
    Syslog(Syslog),
    /// By mail.
    #[doc(hidden)]
    Mail(Box<Mail>),
}

impl Receiver {
    /// Prepares the way to a receiver; nothing is connected yet.
    ///
    /// # Errors
    /// When the address does not suit the format, or a certificate or key is unreadable.
    pub fn new(format: Format, address: &Address) -> Result<Receiver, Error> {
        let wrong = |why: String| Error::Receiver(why);
        let uri: Uri = address.url.parse().map_err(|_| wrong(format!("`{}` is no address", address.url)))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let (wanted, port) = match format {
            Format::Atna => ("tls", SYSLOG_PORT),
            Format::Fhir | Format::Ocsf | Format::CloudEvents | Format::Notice(_) => ("https", HTTPS_PORT),
        };
        if scheme != wanted {
            let format = format.name();
            return Err(wrong(format!("`{format}` goes to `{wanted}://…`, not to `{}`", address.url)));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| wrong(format!("`{host}` cannot be the name of a certificate")))?;
        let connector = TlsConnector::from(Arc::new(client(address)?));
        let peer = Peer { name, connector, port: uri.port_u16().unwrap_or(port), host };
        match format {
            Format::Atna => Ok(Receiver::Syslog(Syslog::new(peer))),
            Format::Fhir | Format::Ocsf | Format::CloudEvents | Format::Notice(_) => {
                let bearer = address.bearer.as_ref().map(header).transpose()?;
                Ok(Receiver::Http(Box::new(Http::new(peer, &uri, format, bearer))))
            }
        }
    }

    /// Prepares the way to somebody who is told by HTTPS; each message is signed with the secret.
    ///
    /// # Errors
    /// As [`Receiver::new`].
    pub fn webhook(address: &Address, topics: Topics, secret: &Bearer) -> Result<Receiver, Error> {
        match Receiver::new(Format::Notice(topics), address)? {
            Receiver::Http(http) => Ok(Receiver::Http(Box::new(http.signed(secret)))),
            other @ (Receiver::Syslog(_) | Receiver::Mail(_)) => Ok(other),
        }
    }

    /// Prepares the way to somebody who is told by mail.
    ///
    /// # Errors
    /// When an address or a certificate cannot be used.
    pub fn mail(address: &MailAddress) -> Result<Receiver, Error> {
        Ok(Receiver::Mail(Box::new(Mail::new(address)?)))
    }

    /// Hands a batch over; returns when the receiver took it.
    pub(crate) async fn take(&mut self, lines: &[Line]) -> Result<(), NotTaken> {
        match self {
            Receiver::Http(http) => http.take(lines).await,
            Receiver::Syslog(syslog) => syslog.take(lines).await,
            Receiver::Mail(mail) => mail.take(lines).await,
        }
    }
}

/// One event, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The identifier in the form of a UUID.
    pub(crate) uuid: String,
    pub(crate) text: String,
}

fn header(bearer: &Bearer) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(&format!("Bearer {}", bearer.0));
    let mut value =
        value.map_err(|_| Error::Receiver("the bearer token is not one line of ASCII".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(address: &Address) -> Result<ClientConfig, Error> {
    let wrong = |what: &str, why: &dyn fmt::Display| Error::Receiver(format!("{what}: {why}"));
    let mut roots = RootCertStore::empty();
    match &address.authorities {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| wrong("the authorities", &error))?;
                roots.add(certificate).map_err(|error| wrong("the authorities", &error))?;
            }
        }
        None => {
            let (_, _unusable) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Error::Receiver("there is no certificate authority to trust".to_owned()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS", &error))?
        .with_root_certificates(roots);
    let Some(identity) = &address.identity else { return Ok(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.certificate).collect();
    let chain = chain.map_err(|error| wrong("the certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|error| wrong("the key", &error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong("the certificate and key", &error))
}

/// Returns an error of the connection.
pub(crate) fn broken(error: io::Error) -> NotTaken {
    NotTaken::Broken(error)
}
