//! `vault.json`: the format of `docs/formats/vault.md`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{ResourceId, Secret};
use serde::{Deserialize, Serialize};

use crate::Credential;
use crate::error::Error;
use crate::seal::{Key, fresh_key};

/// The file may not be larger: some tens of thousands of resources.
pub(crate) const BYTES_MAX: u64 = 16 * 1024 * 1024;

const FORMAT: &str = "wardline/vault/v1";
const PLACE_OF_KEY: &[u8] = b"wardline/vault/v1/key";
const PLACE_OF_ENTRY: &[u8] = b"wardline/vault/v1/credential";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    format: String,
    /// The key of the entries, sealed under the vault's key.
    key: String,
    credentials: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    user: String,
    /// Sealed under the key of the entries.
    password: String,
}

impl Document {
    /// Makes an empty one with a fresh key.
    pub(crate) fn create(root: &Key) -> Result<(Document, Key), Error> {
        let bytes = fresh_key()?;
        let key = STANDARD.encode(root.seal(PLACE_OF_KEY, bytes.as_slice())?);
        let document = Document { format: FORMAT.to_owned(), key, credentials: BTreeMap::new() };
        Ok((document, Key::new(bytes.as_slice())?))
    }

    pub(crate) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Document, Error> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|source| Error::Format { path: path.to_owned(), source })?;
        if document.format != FORMAT {
            return Err(Error::Version { path: path.to_owned(), format: document.format });
        }
        Ok(document)
    }

    pub(crate) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Format { path: path.to_owned(), source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Opens the key of the entries.
    pub(crate) fn unlock(&self, root: &Key, path: &Path) -> Result<Key, Error> {
        let sealed = STANDARD.decode(&self.key).ok();
        let opened = sealed.and_then(|sealed| root.open(PLACE_OF_KEY, &sealed));
        opened
            .and_then(|bytes| Key::new(bytes.as_slice()).ok())
            .ok_or_else(|| Error::WrongRootKey { path: path.to_owned() })
    }

    pub(crate) fn credential(&self, resource: &ResourceId, key: &Key) -> Result<Option<Credential>, Error> {
        let Some(entry) = self.credentials.get(&*resource.0) else { return Ok(None) };
        let sealed = STANDARD.decode(&entry.password).ok();
        let opened = sealed.and_then(|sealed| key.open(&place(resource, &entry.user), &sealed));
        let password = opened.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        match password {
            Some(password) => {
                Ok(Some(Credential { user: entry.user.clone(), password: Secret::new(password) }))
            }
            None => Err(Error::Damaged { resource: resource.clone() }),
        }
    }

    pub(crate) fn set(
        &mut self,
        resource: &ResourceId,
        credential: &Credential,
        key: &Key,
    ) -> Result<(), Error> {
        let place = place(resource, &credential.user);
        let password = STANDARD.encode(key.seal(&place, credential.password.expose().as_bytes())?);
        let entry = Entry { user: credential.user.clone(), password };
        self.credentials.insert(resource.0.to_string(), entry);
        Ok(())
    }

    pub(crate) fn remove(&mut self, resource: &ResourceId) -> bool {
        self.credentials.remove(&*resource.0).is_some()
    }

    pub(crate) fn names(&self) -> Vec<ResourceId> {
        self.credentials.keys().map(|name| ResourceId(Arc::from(name.as_str()))).collect()
    }
}

/// Where an entry belongs: label, then resource and user, each behind its length so that they cannot run together.
fn place(resource: &ResourceId, user: &str) -> Vec<u8> {
    let mut place = PLACE_OF_ENTRY.to_vec();
    for part in [&*resource.0, user] {
        place.extend((part.len() as u64).to_be_bytes());
        place.extend(part.as_bytes());
    }
    place
}
