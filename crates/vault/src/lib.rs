//! Credentials of upstream resources, encrypted at rest, and the root key that everything is encrypted under.
//!
//! [`Vault`] reads and [`VaultWriter`] writes: the gateway holds a type that cannot change a credential. A password is
//! decrypted when it is asked for and not before, and leaves only as a [`model::Secret`].
//!
//! Deliberately absent: other homes of secrets (KMS, HSM), rotation of the root key, and a lock between processes: one
//! writer at a time is the caller's promise. The format is described in `docs/formats/vault.md`. Removing an entry
//! from the file, or putting back an older file, is not noticed: the first closes a resource, the second brings back a
//! credential that the resource no longer takes.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod document;
mod error;
mod escrow;
mod files;
mod root_key;
mod seal;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Micros, ResourceId, RootKey, Secret};
use parking_lot::RwLock;

use document::Document;
use seal::{Key, key_of};

pub use error::{Error, RootKeyError};
pub use escrow::{CUSTODIANS_MAX, Escrow, EscrowError, PASSPHRASE_CHARS_MIN, root_key_id};
pub use root_key::{root_key_create, root_key_load};

/// How Wardline logs in at a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The user name there.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// One account at a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// How it logs in.
    pub credential: Credential,
    /// The password that a rotation was about to set. Until the rotation is finished, one of both is the account's.
    pub next: Option<Secret>,
}

/// The accounts of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// The one that sessions use.
    pub active: Account,
    /// The one that takes turns with it.
    pub standby: Option<Account>,
    /// When a rotation was last finished.
    pub rotated_at: Option<Micros>,
}

/// The reading half.
pub struct Vault {
    path: PathBuf,
    root: Key,
    opened: RwLock<Arc<Opened>>,
}

/// A document together with the key of its entries; nothing if there is no file yet.
type Opened = Option<(Document, Key)>;

impl Vault {
    /// Opens the credential store. A missing file is an empty vault.
    pub fn open(path: &Path, root: &RootKey) -> Result<Vault, Error> {
        let root = key_of(root)?;
        let opened = read(path, &root)?;
        Ok(Vault { path: path.to_owned(), root, opened: RwLock::new(Arc::new(opened)) })
    }

    /// Returns the credential for a resource, decrypted for this call.
    pub fn credential(&self, resource: &ResourceId) -> Result<Option<Credential>, Error> {
        let opened = Arc::clone(&self.opened.read());
        match opened.as_ref() {
            Some((document, key)) => document.credential(resource, key),
            None => Ok(None),
        }
    }

    /// Returns everything there is about a resource's accounts, decrypted for this call.
    pub fn accounts(&self, resource: &ResourceId) -> Result<Option<Accounts>, Error> {
        let opened = Arc::clone(&self.opened.read());
        match opened.as_ref() {
            Some((document, key)) => document.accounts(resource, key),
            None => Ok(None),
        }
    }

    /// Reads the file again. On an error, what was read before stays in force.
    pub fn reload(&self) -> Result<(), Error> {
        let opened = read(&self.path, &self.root)?;
        *self.opened.write() = Arc::new(opened);
        Ok(())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The writing half. One at a time.
///
/// Each change is read, made and written as a whole: it is on the disk when the call returns, or nothing has changed.
pub struct VaultWriter {
    path: PathBuf,
    root: Key,
}

impl VaultWriter {
    /// Opens the credential store for writing; creates nothing yet, but refuses a root key that does not fit.
    pub fn open(path: &Path, root: &RootKey) -> Result<VaultWriter, Error> {
        let root = key_of(root)?;
        read(path, &root)?;
        Ok(VaultWriter { path: path.to_owned(), root })
    }

    /// Stores the credential for a resource, in place of any that was there.
    pub fn set(&mut self, resource: &ResourceId, credential: &Credential) -> Result<(), Error> {
        let (mut document, key) = match read(&self.path, &self.root)? {
            Some(opened) => opened,
            None => Document::create(&self.root)?,
        };
        document.set(resource, credential, &key)?;
        self.write(&document)
    }

    /// Stores the account that takes turns with the one that is there.
    pub fn set_standby(&mut self, resource: &ResourceId, credential: &Credential) -> Result<(), Error> {
        self.change(resource, |document, key| document.set_standby(resource, credential, key))
    }

    /// Keeps the password that an account of the resource is about to get, beside the one it has.
    pub fn begin_rotation(
        &mut self,
        resource: &ResourceId,
        user: &str,
        password: &Secret,
    ) -> Result<(), Error> {
        self.change(resource, |document, key| document.begin_rotation(resource, user, password, key))
    }

    /// Puts the new password in place of the old one, and its account in use. To be called when it has logged in.
    pub fn finish_rotation(&mut self, resource: &ResourceId, user: &str, at: Micros) -> Result<(), Error> {
        self.change(resource, |document, key| document.finish_rotation(resource, user, at, key))
    }

    fn change(
        &mut self,
        resource: &ResourceId,
        change: impl FnOnce(&mut Document, &Key) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let opened = read(&self.path, &self.root)?;
        let (mut document, key) = opened.ok_or_else(|| Error::NoCredential { resource: resource.clone() })?;
        change(&mut document, &key)?;
        self.write(&document)
    }

    /// Removes the credential for a resource; tells whether there was one.
    pub fn remove(&mut self, resource: &ResourceId) -> Result<bool, Error> {
        let Some((mut document, _)) = read(&self.path, &self.root)? else { return Ok(false) };
        let removed = document.remove(resource);
        if removed {
            self.write(&document)?;
        }
        Ok(removed)
    }

    /// Returns the resources that have a credential, in order of their names.
    pub fn names(&self) -> Result<Vec<ResourceId>, Error> {
        Ok(read(&self.path, &self.root)?.map_or_else(Vec::new, |(document, _)| document.names()))
    }

    fn write(&self, document: &Document) -> Result<(), Error> {
        files::replace(&self.path, &document.to_bytes(&self.path)?).map_err(|source| Error::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }
}

impl fmt::Debug for VaultWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read(path: &Path, root: &Key) -> Result<Opened, Error> {
    let failed = |source| Error::Io { doing: "read", path: path.to_owned(), source };
    let Some(bytes) = files::read_if_there(path, document::BYTES_MAX).map_err(failed)? else {
        return Ok(None);
    };
    let document = Document::from_bytes(&bytes, path)?;
    let key = document.unlock(root, path)?;
    Ok(Some((document, key)))
}
