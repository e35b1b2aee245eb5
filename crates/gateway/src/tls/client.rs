//! Certificates that clients show: whose they are, and whether they may be believed.
//!
//! The handshake proves that the client holds the key, and nothing more: chain and time are judged afterwards, so that a
//! wrong certificate is answered and recorded as any other refusal, with its id. Deliberately absent: which program a
//! certificate stands for (`Control`), and revocation lists.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use identity::{Reason, WrongCertificate};
use model::{CertificateId, Micros};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{Error, provider};

/// A certificate has at most so many names that are looked at.
const NAMES_MAX: usize = 64;

/// Whom a listener trusts to say who its clients are.
#[derive(Clone)]
pub(crate) struct Authorities(Arc<dyn ClientCertVerifier>);

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorities").finish()
    }
}

impl Authorities {
    pub(crate) fn new(roots: RootCertStore) -> Result<Authorities, Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|_| Error::NoCertificate)?;
        Ok(Authorities(verifier))
    }

    /// Returns what the handshake asks.
    pub(crate) fn asking(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Later(Arc::clone(&self.0)))
    }

    /// Judges the chain that a client showed, leaf first.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>], at: Micros) -> ClientCertificate {
        let Some((leaf, others)) = chain.split_first() else {
            let wrong = Err(WrongCertificate::Unusable);
            return ClientCertificate { id: CertificateId([0; 32]), names: wrong };
        };
        let mut id = [0; 32];
        id.copy_from_slice(digest::digest(&digest::SHA256, leaf).as_ref());
        let now = UnixTime::since_unix_epoch(Duration::from_micros(at.0));
        let judged = self.0.verify_client_cert(leaf, others, now).map_err(|error| wrong(&error));
        ClientCertificate { id: CertificateId(id), names: judged.and_then(|_| names(leaf)) }
    }
}

/// What a client's certificate is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its SHA-256.
    pub id: CertificateId,
    /// Whose it is, where it may be believed.
    pub(crate) names: Result<CertificateNames, WrongCertificate>,
}

impl ClientCertificate {
    /// Returns whose it is, or why it is not believed.
    ///
    /// # Errors
    /// When no trusted authority vouches for it now.
    pub fn names(&self) -> Result<&CertificateNames, Reason> {
        self.names.as_ref().map_err(|wrong| Reason::Certificate(*wrong))
    }
}

/// Whose a certificate is, in the words of its authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The URIs among its alternative names, such as `spiffe://hospital/billing`.
    pub uris: Vec<String>,
    /// The DNS names among its alternative names.
    pub dns: Vec<String>,
    /// Its subject, as RFC 4514 writes it, such as `CN=billing,O=Hospital`.
    pub subject: String,
}

fn wrong(error: &rustls::Error) -> WrongCertificate {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => WrongCertificate::Expired,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => WrongCertificate::NotYet,
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => WrongCertificate::Foreign,
        _ => WrongCertificate::Unusable,
    }
}

fn names(leaf: &CertificateDer<'_>) -> Result<CertificateNames, WrongCertificate> {
    let certificate = Certificate::from_der(leaf).map_err(|_| WrongCertificate::Unusable)?;
    let mut names = CertificateNames {
        subject: certificate.tbs_certificate.subject.to_string(),
        ..CertificateNames::default()
    };
    let alternative =
        certificate.tbs_certificate.get::<SubjectAltName>().map_err(|_| WrongCertificate::Unusable)?;
    for name in alternative.iter().flat_map(|(_, names)| &names.0).take(NAMES_MAX) {
        match name {
            GeneralName::UniformResourceIdentifier(uri) => names.uris.push(uri.as_str().to_owned()),
            GeneralName::DnsName(name) => names.dns.push(name.as_str().to_owned()),
            GeneralName::OtherName(_)
            | GeneralName::Rfc822Name(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::IpAddress(_)
            | GeneralName::RegisteredId(_) => {}
        }
    }
    Ok(names)
}

/// Lets every chain through the handshake, where it could only be cut off; the key must be the certificate's.
struct Later(Arc<dyn ClientCertVerifier>);

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Later").finish()
    }
}

impl ClientCertVerifier for Later {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    };

    use super::*;

    /// 2026-11-23, in the life of the certificates below.
    const NOW: Micros = Micros(1_795_426_200_000_000);

    struct House {
        issuer: Issuer<'static, KeyPair>,
        certificate: CertificateDer<'static>,
    }

    fn house(name: &str) -> House {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        House { issuer: Issuer::new(params, key), certificate }
    }

    fn issued(house: &House, from: i32, to: i32, usage: ExtendedKeyUsagePurpose) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["billing.hospital.test".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://hospital/billing".try_into().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "billing");
        params.extended_key_usages = vec![usage];
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        params.signed_by(&KeyPair::generate().unwrap(), &house.issuer).unwrap().der().clone()
    }

    #[test]
    fn only_a_chain_of_the_authority_is_believed_and_only_in_its_time() {
        let (ours, theirs) = (house("ours"), house("theirs"));
        let mut roots = RootCertStore::empty();
        roots.add(ours.certificate.clone()).unwrap();
        let authorities = Authorities::new(roots).unwrap();
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        let good = issued(&ours, 2026, 2028, client.clone());
        let judged = authorities.judge(std::slice::from_ref(&good), NOW);
        let names = judged.names.clone().unwrap();
        assert_eq!(names.uris, ["spiffe://hospital/billing"]);
        assert_eq!(names.dns, ["billing.hospital.test"]);
        assert!(names.subject.contains("CN=billing"), "{}", names.subject);
        assert_eq!(judged.id.0, digest::digest(&digest::SHA256, &good).as_ref());
        let cases = [
            (issued(&ours, 2024, 2026, client.clone()), WrongCertificate::Expired),
            (issued(&ours, 2027, 2028, client.clone()), WrongCertificate::NotYet),
            (issued(&theirs, 2026, 2028, client), WrongCertificate::Foreign),
            (issued(&ours, 2026, 2028, ExtendedKeyUsagePurpose::ServerAuth), WrongCertificate::Unusable),
            (CertificateDer::from(b"no certificate".to_vec()), WrongCertificate::Unusable),
        ];
        for (certificate, wrong) in cases {
            assert_eq!(authorities.judge(&[certificate], NOW).names, Err(wrong));
        }
        assert_eq!(authorities.judge(&[], NOW).names, Err(WrongCertificate::Unusable));
    }
}
