//! The root key in a file: 64 hexadecimal digits, for its owner's eyes only.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::rand;
use model::RootKey;
use zeroize::Zeroizing;

use crate::error::RootKeyError;
use crate::files;

const KEY_LENGTH: usize = 32;
const FILE_BYTES_MAX: u64 = 128;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Makes a root key and stores it with mode 0600. Refuses to overwrite one.
pub fn root_key_create(path: &Path) -> Result<RootKey, RootKeyError> {
    let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| RootKeyError::Random)?;
    files::create(path, &hex(&bytes)).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => RootKeyError::Exists { path: path.to_owned() },
        _ => RootKeyError::Io { doing: "create", path: path.to_owned(), source },
    })?;
    Ok(RootKey::new(*bytes))
}

/// Reads the root key. Refuses a file that anybody but its owner may touch.
pub fn root_key_load(path: &Path) -> Result<RootKey, RootKeyError> {
    let failed = |source| RootKeyError::Io { doing: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, not of the path, so that what is checked is what is read.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(RootKeyError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RootKeyError::OpenToOthers { path: path.to_owned(), mode });
    }
    let text = Zeroizing::new(files::read_bounded(file, FILE_BYTES_MAX).map_err(failed)?);
    let bytes = unhex(text.trim_ascii()).ok_or_else(|| RootKeyError::Format { path: path.to_owned() })?;
    Ok(RootKey::new(*bytes))
}

fn hex(bytes: &[u8; KEY_LENGTH]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_LENGTH * 2 + 1));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(*HEX.get(usize::from(digit)).expect("a nibble is below 16"));
        }
    }
    text.push(b'\n');
    text
}

fn unhex(text: &[u8]) -> Option<Zeroizing<[u8; KEY_LENGTH]>> {
    if text.len() != KEY_LENGTH * 2 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok())?;
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}
