//! A store: objects that are put once and never changed, such as a folder on another disk or a bucket.
//!
//! Complete segments and checkpoints are kept in one, backups in another. Keys are `folder/name`. Deliberately absent:
//! any network (the crate `store`), deletion (nothing here deletes an object).

use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::disk::{self, Disk, Folder};

/// Where a store that is a folder makes its objects before it names them.
const MAKING_FOLDER: &str = "making";

/// Why a store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is an object of this name. It was not touched.
    #[error("the object `{0}` exists already")]
    Exists(String),
    /// There is no object of this name.
    #[error("there is no object `{0}`")]
    Absent(String),
    /// It cannot be reached, or refuses. Whether something was put is not known.
    #[error("cannot {what}: {why}")]
    Failed {
        /// What was tried.
        what: String,
        /// What it answered.
        why: String,
    },
}

impl StoreError {
    /// Says what failed, and why.
    pub fn failed(what: impl Into<String>, why: impl fmt::Display) -> StoreError {
        StoreError::Failed { what: what.into(), why: why.to_string() }
    }
}

/// One version of an object, or the marker that hides the versions before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The object.
    pub key: String,
    /// The version, where the store tells versions apart.
    pub id: Option<String>,
    /// Whether this is what is read without naming a version.
    pub latest: bool,
    /// Whether this is the marker of a deletion.
    pub deleted: bool,
    /// The object's length in bytes; 0 for a marker.
    pub bytes: u64,
}

/// Objects that are put once.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns where it is, for people.
    fn place(&self) -> String;
    /// Puts an object that must not exist, and returns its version where the store has versions. It is durable and
    /// whole on return.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one.
    fn put(&self, key: &str, bytes: &[u8]) -> Result<Option<String>, StoreError>;
    /// Reads an object, or one version of it.
    ///
    /// # Errors
    /// [`StoreError::Absent`] when there is none.
    fn read(&self, key: &str, version: Option<&str>) -> Result<Vec<u8>, StoreError>;
    /// Reads up to `bytes` bytes from the beginning of an object.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn read_head(&self, key: &str, version: Option<&str>, bytes: usize) -> Result<Vec<u8>, StoreError> {
        let mut whole = self.read(key, version)?;
        whole.truncate(bytes);
        Ok(whole)
    }
    /// Returns the names of the objects in a folder, in order. What is deleted is not among them.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError>;
    /// Returns every version in a folder, also deleted and hidden ones, in the order of the keys.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn versions(&self, folder: &str) -> Result<Vec<Version>, StoreError>;
}

/// Returns the SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A store that is a folder.
///
/// Nothing but the file system's rights keeps anybody from changing it: it is for a mount that somebody else guards,
/// or for a first step.
#[derive(Debug)]
pub struct FolderStore {
    disk: Arc<dyn Disk>,
    place: String,
}

impl FolderStore {
    /// Opens a folder, and makes it when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(folder: &std::path::Path) -> io::Result<FolderStore> {
        let place = folder.display().to_string();
        Ok(FolderStore { disk: Arc::new(Folder::create(folder)?), place })
    }

    /// Opens a folder that exists.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &std::path::Path) -> io::Result<FolderStore> {
        let place = folder.display().to_string();
        Ok(FolderStore { disk: Arc::new(Folder::open(folder)?), place })
    }

    /// As [`FolderStore::create`], on any disk.
    pub fn on(disk: Arc<dyn Disk>, place: impl Into<String>) -> FolderStore {
        FolderStore { disk, place: place.into() }
    }

    fn there(&self, key: &str) -> Result<bool, StoreError> {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        let names = self.disk.list(folder).map_err(|error| StoreError::failed("list a folder", error))?;
        Ok(names.iter().any(|known| known == name))
    }

    /// Under a name of its own first, so that no object is ever half there.
    fn write(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let making = format!("{MAKING_FOLDER}/{}", key.replace('/', "-"));
        self.disk.write(&making, bytes)?;
        self.disk.sync(&making)?;
        let folder = disk::parent(key);
        self.disk.make_dir(folder)?;
        self.disk.rename(&making, key)?;
        self.disk.sync_dir(folder)?;
        self.disk.sync_dir("")
    }
}

impl Store for FolderStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<Option<String>, StoreError> {
        if self.there(key)? {
            return Err(StoreError::Exists(key.to_owned()));
        }
        self.write(key, bytes).map_err(|error| StoreError::failed(format!("put `{key}`"), error))?;
        Ok(None)
    }

    fn read(&self, key: &str, _version: Option<&str>) -> Result<Vec<u8>, StoreError> {
        self.disk.read(key).map_err(|error| unread(key, &error))
    }

    fn read_head(&self, key: &str, _version: Option<&str>, bytes: usize) -> Result<Vec<u8>, StoreError> {
        let read = || {
            let mut head = vec![0; bytes];
            let read = self.disk.open_read(key)?.read_at(0, &mut head)?;
            head.truncate(read);
            Ok(head)
        };
        read().map_err(|error| unread(key, &error))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.disk.list(folder).map_err(|error| StoreError::failed(format!("list `{folder}`"), error))
    }

    fn versions(&self, folder: &str) -> Result<Vec<Version>, StoreError> {
        let mut versions = Vec::new();
        for name in self.list(folder)? {
            let key = format!("{folder}/{name}");
            let length = self.disk.open_read(&key).and_then(|file| file.length());
            let bytes = length.map_err(|error| unread(&key, &error))?;
            versions.push(Version { key, id: None, latest: true, deleted: false, bytes });
        }
        Ok(versions)
    }
}

fn unread(key: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Absent(key.to_owned()),
        _ => StoreError::failed(format!("read `{key}`"), error),
    }
}
