//! The certificate shown to clients: from files, or made by Wardline at its first start.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use gateway::tls::ServerTls;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::config::{Certificate, Listener};
use crate::data::{DataFolder, create_private};
use crate::output::civil;

/// Clients pin the fingerprint, so an early end would only teach them to accept a new one.
const SELF_SIGNED_YEARS: i32 = 10;

pub(crate) const CERTIFICATE_FILE: &str = "self-signed.pem";
const KEY_FILE: &str = "self-signed.key";

/// Returns the listener's certificate and key, making the self-signed pair if it is not there.
pub(crate) fn server(folder: &DataFolder, listener: &Listener) -> anyhow::Result<ServerTls> {
    let (certificate, key) = files(folder, &listener.certificate, listener.address.ip())?;
    pair_for(&certificate, &key, listener.client_ca.as_deref())
}

/// Returns what an HTTPS listener needs, and the fingerprint of its certificate.
pub(crate) fn https(
    folder: &DataFolder,
    certificate: &Certificate,
    address: IpAddr,
) -> anyhow::Result<(Arc<ServerConfig>, String)> {
    let (certificate, key) = files(folder, certificate, address)?;
    let fingerprint = pair(&certificate, &key)?.fingerprint();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&certificate)?.collect();
    let key = PrivateKeyDer::from_pem_file(&key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), fingerprint))
}

/// Returns where certificate and key are, making the self-signed pair if it is not there.
fn files(
    folder: &DataFolder,
    certificate: &Certificate,
    address: IpAddr,
) -> anyhow::Result<(PathBuf, PathBuf)> {
    Ok(match certificate {
        Certificate::Files { certificate, key } => (certificate.clone(), key.clone()),
        Certificate::SelfSigned => {
            let folder = folder.tls();
            let pair = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
            if !(pair.0.exists() && pair.1.exists()) {
                create_private(&folder)?;
                make_self_signed(&pair.0, &pair.1, address)?;
            }
            pair
        }
    })
}

/// Reads a pair and refuses one whose halves do not belong together.
pub(crate) fn pair(certificate: &Path, key: &Path) -> anyhow::Result<ServerTls> {
    pair_for(certificate, key, None)
}

/// The same for a listener where clients may show certificates of these authorities.
fn pair_for(certificate: &Path, key: &Path, clients: Option<&Path>) -> anyhow::Result<ServerTls> {
    let clients = clients.map(|path| fs::read(path).with_context(|| format!("{}", path.display())));
    let clients = clients.transpose()?;
    let chain = fs::read(certificate).with_context(|| format!("{}", certificate.display()))?;
    let secret = Zeroizing::new(fs::read(key).with_context(|| format!("{}", key.display()))?);
    ServerTls::with_clients(&chain, &secret, clients.as_deref())
        .with_context(|| format!("{} with {}", certificate.display(), key.display()))
}

fn make_self_signed(certificate: &Path, key: &Path, address: IpAddr) -> anyhow::Result<()> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut names = vec!["localhost".to_owned()];
    let host = host.trim();
    if !host.is_empty() && host != "localhost" {
        names.push(host.to_owned());
    }
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    names.extend(["127.0.0.1", "::1"].map(str::to_owned));
    names.sort();
    names.dedup();
    let mut parameters = CertificateParams::new(names).context("the names of the certificate")?;
    parameters.distinguished_name.push(DnType::CommonName, "wardline self-signed");
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let year = i32::try_from(civil(crate::node::now().0 / 86_400_000_000).0).unwrap_or(2026);
    // From the year's first day, so that a clock that is a little behind accepts it too.
    parameters.not_before = date_time_ymd(year, 1, 1);
    parameters.not_after = date_time_ymd(year + SELF_SIGNED_YEARS, 1, 1);
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making a key")?;
    let made = parameters.self_signed(&pair).context("signing the certificate")?;
    let secret = Zeroizing::new(pair.serialize_pem());
    replace(key, 0o600, secret.as_bytes())?;
    replace(certificate, 0o644, made.pem().as_bytes())
}

/// Writes a file whole or not at all.
fn replace(path: &Path, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    written().with_context(|| format!("writing {}", path.display()))
}
