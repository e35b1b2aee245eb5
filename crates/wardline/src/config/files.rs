//! The files a configuration names: reading them within limits, and what can be wrong with them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Longest PEM or Cedar file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Returns a file's text, unless it is longer than the limit.
pub(super) fn text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > bytes_max) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {bytes_max} bytes")));
    }
    Ok(text)
}

/// Returns a policy file's text.
pub(super) fn policy(path: &Path) -> io::Result<String> {
    text(path, FILE_BYTES_MAX)
}

/// Checks that a file holds at least one certificate; returns what is wrong otherwise.
pub(super) fn check_certificates(path: &Path) -> Result<(), String> {
    let text = policy(path).map_err(|error| error.to_string())?;
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        certificate.map_err(|error| format!("not PEM: {error:?}"))?;
        count += 1;
    }
    if count == 0 { Err("holds no PEM certificate".to_owned()) } else { Ok(()) }
}

/// Checks that a file holds a private key that only its owner can read.
pub(super) fn check_key(path: &Path) -> Result<(), String> {
    let text = zeroize::Zeroizing::new(policy(path).map_err(|error| error.to_string())?);
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| "holds no PEM private key".to_owned())?;
    check_private(path)
}

/// Checks that a file holds one line that only its owner can read.
pub(super) fn check_secret(path: &Path) -> Result<(), String> {
    let text = zeroize::Zeroizing::new(policy(path).map_err(|error| error.to_string())?);
    if text.trim().is_empty() || text.trim().contains('\n') {
        return Err("does not hold one line".to_owned());
    }
    check_private(path)
}

/// Checks that a file holds the public keys of an issuer.
pub(super) fn check_keys(path: &Path) -> Result<(), String> {
    let text = policy(path).map_err(|error| error.to_string())?;
    match crate::oidc::token::keys(text.as_bytes()) {
        Some(keys) if !keys.keys().is_empty() => Ok(()),
        Some(_) | None => Err("holds no public keys (JWKS)".to_owned()),
    }
}

fn check_private(path: &Path) -> Result<(), String> {
    let mode = path.metadata().map_err(|error| error.to_string())?.mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o777;
        return Err(format!("may be read by others than its owner (mode {mode:o}); run `chmod 600` on it"));
    }
    Ok(())
}

/// Returns the files a path stands for, in order; `*` in its last part matches any text.
pub(super) fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![path.to_owned()]) };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let found = entry.file_name();
        let Some(found) = found.to_str() else { continue };
        let long_enough = found.len() >= before.len() + after.len();
        if long_enough && found.starts_with(before) && found.ends_with(after) && !found.starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
