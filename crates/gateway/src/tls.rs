//! TLS towards clients and towards resources: 1.2 and later, with aws-lc-rs, and the hash SCRAM binds to.
//!
//! Source for the hash: RFC 5929, section 4.1 (`tls-server-end-point`). Deliberately absent: reading files,
//! making certificates and renewing them (`wardline`). Client certificates are judged in `client`.

mod client;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, ContextSpecific};
use x509_cert::der::{Decode, Encode, SliceReader, TagNumber};
use x509_cert::spki::AlgorithmIdentifierOwned;

pub(crate) use client::Authorities;
pub use client::{CertificateNames, ClientCertificate};

/// The protocol's name in ALPN; required where TLS starts without an `SSLRequest`.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate file is not PEM.
    #[error("the certificate is not readable PEM")]
    CertificatePem(#[source] rustls::pki_types::pem::Error),
    /// The certificate file holds none.
    #[error("no certificate found")]
    NoCertificate,
    /// The key file is not PEM or holds no key.
    #[error("the private key is not readable PEM")]
    KeyPem(#[source] rustls::pki_types::pem::Error),
    /// The pair does not fit together, or its kind is not supported.
    #[error("certificate and key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// A certificate cannot be trusted as an authority.
    #[error("certificate of the authority cannot be used")]
    Authority(#[source] rustls::Error),
    /// The operating system trusts no authority.
    #[error("the system has no trusted authorities: name one")]
    NoSystemRoots,
}

/// Certificate and key of a listener.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    fingerprint: Arc<str>,
    binding: Option<Arc<[u8]>>,
    /// Who vouches for clients that show a certificate.
    clients: Option<Authorities>,
}

impl ServerTls {
    /// Reads a certificate chain, leaf first, and its key.
    ///
    /// # Errors
    /// When either is unreadable or they do not belong together.
    pub fn from_pem(certificate_chain: &[u8], key: &[u8]) -> Result<ServerTls, Error> {
        ServerTls::with_clients(certificate_chain, key, None)
    }

    /// The same for a listener where clients may show a certificate that one of these authorities issued.
    ///
    /// # Errors
    /// When either is unreadable, they do not belong together, or an authority is none.
    pub fn with_clients(
        certificate_chain: &[u8],
        key: &[u8],
        client_ca_pem: Option<&[u8]>,
    ) -> Result<ServerTls, Error> {
        let clients = client_ca_pem.map(|pem| Authorities::new(given_roots(pem)?)).transpose()?;
        let chain = certificates(certificate_chain)?;
        let leaf = chain.first().ok_or(Error::NoCertificate)?.clone();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(Error::KeyPem)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::Unusable)?;
        let mut config = match &clients {
            Some(clients) => config.with_client_cert_verifier(clients.asking()),
            None => config.with_no_client_auth(),
        }
        .with_single_cert(chain, key)
        .map_err(Error::Unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(Error::Unusable)?;
        Ok(ServerTls {
            config: Arc::new(config),
            fingerprint: colons(digest::digest(&digest::SHA256, &leaf).as_ref()).into(),
            binding: end_point_hash(&leaf).map(Arc::from),
            clients,
        })
    }

    /// Returns the SHA-256 of the leaf certificate, as `AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.to_string()
    }

    /// Returns who vouches for clients.
    pub(crate) fn clients(&self) -> Option<&Authorities> {
        self.clients.as_ref()
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Returns the `tls-server-end-point` hash; `None` when the certificate's signature defines none, and
    /// then SCRAM is offered without `-PLUS`.
    pub(crate) fn binding(&self) -> Option<&[u8]> {
        self.binding.as_deref()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// How the connection to a resource is protected.
#[derive(Debug, Clone)]
pub enum UpstreamTls {
    /// TLS; a resource that does not speak it is not reached.
    Required(ClientTls),
    /// None.
    Disabled {
        /// Why, who decided it, until when.
        exception: String,
    },
}

/// TLS towards a resource.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    exception: Option<Arc<str>>,
}

impl ClientTls {
    /// Checks the resource's chain and name against `ca_pem`, or against the system's authorities.
    ///
    /// # Errors
    /// When an authority is unreadable, or there is none.
    pub fn verify_full(ca_pem: Option<&[u8]>) -> Result<ClientTls, Error> {
        let roots = match ca_pem {
            Some(pem) => given_roots(pem)?,
            None => system_roots()?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::Unusable)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(ClientTls::with(config, None))
    }

    /// Encrypts, and does not check who answers. `exception` says why, who decided it, until when.
    pub fn no_verify(exception: String) -> ClientTls {
        let provider = provider();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
            .with_no_client_auth();
        ClientTls::with(config, Some(exception.into()))
    }

    fn with(mut config: ClientConfig, exception: Option<Arc<str>>) -> ClientTls {
        config.alpn_protocols = vec![ALPN.to_vec()];
        ClientTls { config: Arc::new(config), exception }
    }

    /// Returns why the resource's certificate is not checked; `None` when it is.
    pub fn exception(&self) -> Option<&str> {
        self.exception.as_deref()
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("exception", &self.exception).finish_non_exhaustive()
    }
}

/// Accepts every chain and name; still checks that the peer holds the key it shows.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(Error::CertificatePem)
}

fn given_roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(Error::Authority)?;
    }
    if roots.is_empty() { Err(Error::NoCertificate) } else { Ok(roots) }
}

fn system_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "system authority not readable");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err(Error::NoSystemRoots) } else { Ok(roots) }
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Hashes a certificate as `tls-server-end-point` wants it: with the hash of its signature, SHA-256 in place
/// of MD5 and SHA-1. `None` when the certificate is unreadable or its signature names no single hash
/// (Ed25519): RFC 5929 leaves the binding undefined then, and implementations differ.
pub(crate) fn end_point_hash(certificate_der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate_der).ok()?;
    let hash = signature_hash(&certificate.signature_algorithm)?;
    Some(digest::digest(hash, certificate_der).as_ref().to_vec())
}

fn signature_hash(signature: &AlgorithmIdentifierOwned) -> Option<&'static digest::Algorithm> {
    match signature.oid.to_string().as_str() {
        // md5, sha1 and sha256WithRSAEncryption; ecdsa-with-SHA1 and -SHA256
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Some(&digest::SHA256),
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(&digest::SHA256),
        // sha384WithRSAEncryption, ecdsa-with-SHA384
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&digest::SHA384),
        // sha512WithRSAEncryption, ecdsa-with-SHA512
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&digest::SHA512),
        // RSASSA-PSS names its hash in the parameters
        "1.2.840.113549.1.1.10" => pss_hash(signature),
        _ => None,
    }
}

/// Reads `hashAlgorithm [0]` of `RSASSA-PSS-params` (RFC 4055, section 3.1); absent means SHA-1.
fn pss_hash(signature: &AlgorithmIdentifierOwned) -> Option<&'static digest::Algorithm> {
    let parameters = signature.parameters.as_ref()?.to_der().ok()?;
    let sequence = AnyRef::from_der(&parameters).ok()?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let hash =
        ContextSpecific::<AlgorithmIdentifierOwned>::decode_explicit(&mut reader, TagNumber::N0).ok()?;
    let Some(hash) = hash else { return Some(&digest::SHA256) };
    match hash.value.oid.to_string().as_str() {
        "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Some(&digest::SHA256),
        "2.16.840.1.101.3.4.2.2" => Some(&digest::SHA384),
        "2.16.840.1.101.3.4.2.3" => Some(&digest::SHA512),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (rcgen::Certificate, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (parameters.self_signed(&key).unwrap(), key)
    }

    /// A listener's TLS and the PEM of its certificate.
    pub(crate) fn localhost() -> (ServerTls, String) {
        let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let pem = certificate.pem();
        (ServerTls::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap(), pem)
    }

    #[test]
    fn end_point_hash_follows_the_signature() {
        let (p256, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (p384, _) = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
        let (ed25519, _) = pair(&rcgen::PKCS_ED25519);
        let sha256 = digest::digest(&digest::SHA256, p256.der()).as_ref().to_vec();
        let sha384 = digest::digest(&digest::SHA384, p384.der()).as_ref().to_vec();
        assert_eq!(end_point_hash(p256.der()), Some(sha256));
        assert_eq!(end_point_hash(p384.der()), Some(sha384));
        assert_eq!(end_point_hash(ed25519.der()), None);
        assert_eq!(end_point_hash(b"not a certificate"), None);
    }

    #[test]
    fn fingerprint_is_the_leafs_sha256() {
        let (tls, pem) = localhost();
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let hash = digest::digest(&digest::SHA256, &leaf);
        assert_eq!(tls.fingerprint(), colons(hash.as_ref()));
        assert_eq!(tls.fingerprint().len(), 95);
        assert_eq!(tls.binding(), Some(hash.as_ref()));
    }

    #[test]
    fn unreadable_or_unmatched_pairs_are_refused() {
        let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (_, other) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (pem, key) = (certificate.pem(), key.serialize_pem());
        let from = |chain: &str, key: &str| ServerTls::from_pem(chain.as_bytes(), key.as_bytes());
        assert!(matches!(from("", &key), Err(Error::NoCertificate)));
        assert!(matches!(from(&pem, ""), Err(Error::KeyPem(_))));
        assert!(matches!(from(&pem, &other.serialize_pem()), Err(Error::Unusable(_))));
        assert!(matches!(ClientTls::verify_full(Some(b"")), Err(Error::NoCertificate)));
    }

    #[test]
    fn debug_shows_no_key_and_the_exception() {
        let (tls, _) = localhost();
        assert!(!format!("{tls:?}").contains("PRIVATE"));
        assert!(format!("{:?}", ClientTls::no_verify("lab, until May".into())).contains("lab, until May"));
    }
}
