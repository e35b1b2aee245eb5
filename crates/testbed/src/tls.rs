//! A certificate authority for one test: makes server certificates that `verify-full` accepts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// Signs server certificates. Lives as long as the test.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key, readable by its owner only.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority with a key of its own.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new(name: &str) -> Result<Authority> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), pem })
    }

    /// Writes the authority's own certificate, for clients to trust.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.pem).with_context(|| format!("write `{}`", path.display()))
    }

    /// Issues a certificate for a client with this URI as its name, valid from one year to another, as `<stem>.crt` and
    /// `<stem>.key`.
    ///
    /// # Errors
    /// A URI that is none, or files that cannot be written.
    pub fn issue_client(&self, uri: &str, years: (i32, i32), folder: &Path, stem: &str) -> Result<Pair> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, stem);
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        self.write_pair(params, folder, stem)
    }

    /// Issues a server certificate for these names and addresses, as `<stem>.crt` and `<stem>.key`.
    ///
    /// # Errors
    /// A name that is none, or files that cannot be written.
    pub fn issue(&self, names: &[&str], folder: &Path, stem: &str) -> Result<Pair> {
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
        let common_name = names.first().copied().unwrap_or("localhost");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        self.write_pair(params, folder, stem)
    }

    fn write_pair(&self, params: CertificateParams, folder: &Path, stem: &str) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair =
            Pair { certificate: folder.join(format!("{stem}.crt")), key: folder.join(format!("{stem}.key")) };
        fs::write(&pair.certificate, certificate.pem())?;
        write_private(&pair.key, key.serialize_pem().as_bytes())?;
        Ok(pair)
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(|| format!("write `{}`", path.display()))?;
    file.write_all(bytes).with_context(|| format!("write `{}`", path.display()))
}
