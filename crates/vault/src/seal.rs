//! AES-256-GCM with random nonces: `nonce ‖ ciphertext ‖ tag`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, rand};
use model::RootKey;
use zeroize::Zeroizing;

use crate::error::Error;

/// The bytes of a key.
pub(crate) const KEY_LENGTH: usize = 32;

const LABEL: &[u8] = b"wardline/vault/v1";

/// A key to seal and open with.
pub(crate) struct Key(RandomizedNonceKey);

impl Key {
    pub(crate) fn new(bytes: &[u8]) -> Result<Key, Error> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes).map(Key).map_err(|_| Error::Crypto)
    }

    /// Encrypts, bound to where it belongs.
    pub(crate) fn seal(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
        // Roomy enough not to move, and so leave a copy of the plaintext, when the tag is appended.
        let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(plain);
        let nonce =
            self.0.seal_in_place_append_tag(Aad::from(place), &mut sealed).map_err(|_| Error::Crypto)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts; nothing if it was altered, belongs elsewhere or was sealed under another key.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::from(nonce);
        let length = self.0.open_in_place(nonce, Aad::from(place), buffer.as_mut_slice()).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

/// Derives the vault's own key from the root key.
pub(crate) fn key_of(root: &RootKey) -> Result<Key, Error> {
    let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(root.expose())
        .expand(&[LABEL], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(bytes.as_mut_slice()))
        .map_err(|_| Error::Crypto)?;
    Key::new(bytes.as_slice())
}

/// Returns the bytes of a fresh key.
pub(crate) fn fresh_key() -> Result<Zeroizing<[u8; KEY_LENGTH]>, Error> {
    let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| Error::Crypto)?;
    Ok(bytes)
}
