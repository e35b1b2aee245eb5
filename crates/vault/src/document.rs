//! `vault.json`: the format of `docs/formats/vault.md`, versions 1 and 2.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Micros, ResourceId, Secret};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::seal::{Key, fresh_key};
use crate::{Account, Accounts, Credential};

/// The file may not be larger: some tens of thousands of resources.
pub(crate) const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What is written as long as nothing needs the second version, so that an older program goes on reading it.
const FORMAT: &str = "wardline/vault/v1";
/// With rotation: passwords to come, standby accounts, times.
const FORMAT_ROTATING: &str = "wardline/vault/v2";
const PLACE_OF_KEY: &[u8] = b"wardline/vault/v1/key";
const PLACE_OF_ENTRY: &[u8] = b"wardline/vault/v1/credential";
const PLACE_OF_NEXT: &[u8] = b"wardline/vault/v2/next";

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
    /// The password that a rotation is about to set, sealed for another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standby: Option<Standby>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated_at_us: Option<u64>,
}

/// The second account, which takes turns with the first.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standby {
    user: String,
    password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Entry {
    fn rotates(&self) -> bool {
        self.next.is_some() || self.standby.is_some() || self.rotated_at_us.is_some()
    }
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
        if ![FORMAT, FORMAT_ROTATING].contains(&document.format.as_str()) {
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
        let password = opened(resource, PLACE_OF_ENTRY, &entry.user, &entry.password, key)?;
        Ok(Some(Credential { user: entry.user.clone(), password }))
    }

    pub(crate) fn accounts(&self, resource: &ResourceId, key: &Key) -> Result<Option<Accounts>, Error> {
        let Some(entry) = self.credentials.get(&*resource.0) else { return Ok(None) };
        let account = |user: &String, password: &str, next: Option<&String>| {
            let next = next.map(|next| opened(resource, PLACE_OF_NEXT, user, next, key)).transpose()?;
            let password = opened(resource, PLACE_OF_ENTRY, user, password, key)?;
            Ok(Account { credential: Credential { user: user.clone(), password }, next })
        };
        let standby = entry.standby.as_ref();
        let standby = standby.map(|held| account(&held.user, &held.password, held.next.as_ref()));
        Ok(Some(Accounts {
            active: account(&entry.user, &entry.password, entry.next.as_ref())?,
            standby: standby.transpose()?,
            rotated_at: entry.rotated_at_us.map(Micros),
        }))
    }

    /// Puts the active account in place of any that was there; a standby account of another name stays.
    pub(crate) fn set(
        &mut self,
        resource: &ResourceId,
        credential: &Credential,
        key: &Key,
    ) -> Result<(), Error> {
        let password = sealed(resource, PLACE_OF_ENTRY, &credential.user, &credential.password, key)?;
        let before = self.credentials.remove(&*resource.0);
        let standby = before.and_then(|entry| entry.standby).filter(|held| held.user != credential.user);
        let user = credential.user.clone();
        let entry = Entry { user, password, next: None, standby, rotated_at_us: None };
        self.credentials.insert(resource.0.to_string(), entry);
        self.choose_format();
        Ok(())
    }

    pub(crate) fn set_standby(
        &mut self,
        resource: &ResourceId,
        credential: &Credential,
        key: &Key,
    ) -> Result<(), Error> {
        let password = sealed(resource, PLACE_OF_ENTRY, &credential.user, &credential.password, key)?;
        let entry = self.entry(resource)?;
        if entry.user == credential.user {
            return Err(Error::SameAccount { resource: resource.clone() });
        }
        entry.standby = Some(Standby { user: credential.user.clone(), password, next: None });
        self.choose_format();
        Ok(())
    }

    pub(crate) fn begin_rotation(
        &mut self,
        resource: &ResourceId,
        user: &str,
        password: &Secret,
        key: &Key,
    ) -> Result<(), Error> {
        let sealed = sealed(resource, PLACE_OF_NEXT, user, password, key)?;
        let next = self.next_of(resource, user)?;
        if next.is_some() {
            return Err(Error::RotationUnderWay { resource: resource.clone() });
        }
        *next = Some(sealed);
        self.choose_format();
        Ok(())
    }

    /// The password to come is the one in force, and its account the active one.
    pub(crate) fn finish_rotation(
        &mut self,
        resource: &ResourceId,
        user: &str,
        at: Micros,
        key: &Key,
    ) -> Result<(), Error> {
        let none = || Error::NoRotation { resource: resource.clone() };
        let next = self.next_of(resource, user)?.take().ok_or_else(none)?;
        let password = opened(resource, PLACE_OF_NEXT, user, &next, key)?;
        let password = sealed(resource, PLACE_OF_ENTRY, user, &password, key)?;
        let entry = self.entry(resource)?;
        entry.rotated_at_us = Some(at.0);
        if entry.user == user {
            entry.password = password;
        } else if let Some(standby) = &mut entry.standby {
            standby.password = password;
            std::mem::swap(&mut standby.user, &mut entry.user);
            std::mem::swap(&mut standby.password, &mut entry.password);
            std::mem::swap(&mut standby.next, &mut entry.next);
        }
        self.choose_format();
        Ok(())
    }

    fn entry(&mut self, resource: &ResourceId) -> Result<&mut Entry, Error> {
        let entry = self.credentials.get_mut(&*resource.0);
        entry.ok_or_else(|| Error::NoCredential { resource: resource.clone() })
    }

    /// Returns where the password to come of an account is.
    fn next_of(&mut self, resource: &ResourceId, user: &str) -> Result<&mut Option<String>, Error> {
        let entry = self.entry(resource)?;
        if entry.user == user {
            return Ok(&mut entry.next);
        }
        let standby = entry.standby.as_mut().filter(|standby| standby.user == user);
        let next = standby.map(|standby| &mut standby.next);
        next.ok_or_else(|| Error::NoCredential { resource: resource.clone() })
    }

    fn choose_format(&mut self) {
        let rotates = self.credentials.values().any(Entry::rotates);
        if rotates { FORMAT_ROTATING } else { FORMAT }.clone_into(&mut self.format);
    }

    pub(crate) fn remove(&mut self, resource: &ResourceId) -> bool {
        self.credentials.remove(&*resource.0).is_some()
    }

    pub(crate) fn names(&self) -> Vec<ResourceId> {
        self.credentials.keys().map(|name| ResourceId(Arc::from(name.as_str()))).collect()
    }
}

fn sealed(
    resource: &ResourceId,
    label: &[u8],
    user: &str,
    password: &Secret,
    key: &Key,
) -> Result<String, Error> {
    Ok(STANDARD.encode(key.seal(&place(label, resource, user), password.expose().as_bytes())?))
}

fn opened(resource: &ResourceId, label: &[u8], user: &str, sealed: &str, key: &Key) -> Result<Secret, Error> {
    let sealed = STANDARD.decode(sealed).ok();
    let opened = sealed.and_then(|sealed| key.open(&place(label, resource, user), &sealed));
    let password = opened.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    password.map(Secret::new).ok_or_else(|| Error::Damaged { resource: resource.clone() })
}

/// Where an entry belongs: label, then resource and user, each behind its length so that they cannot run together.
fn place(label: &[u8], resource: &ResourceId, user: &str) -> Vec<u8> {
    let mut place = label.to_vec();
    for part in [&*resource.0, user] {
        place.extend((part.len() as u64).to_be_bytes());
        place.extend(part.as_bytes());
    }
    place
}
