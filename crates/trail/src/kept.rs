//! A trail whose older segments are only in a store, as one disk: readers and `verify` do not notice.
//!
//! What is local is read from here; a segment that is not, from the store, and believed only with the digest that was
//! recorded when it was sealed. The head alone, which is read to find a place, carries its own checksum.

use std::any::Any;
use std::io;
use std::sync::{Arc, OnceLock};

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::sealed::{Sealed, sealed_segments};
use crate::segment::{SEGMENT_HEADER_BYTES, segment_file, segment_number};
use crate::store::{Store, StoreError, sha256};

/// A trail's folder, and the store that has the segments it lacks.
#[derive(Debug)]
pub struct WithStore {
    local: Arc<dyn Disk>,
    store: Arc<dyn Store>,
}

impl WithStore {
    /// Puts both together.
    pub fn new(local: Arc<dyn Disk>, store: Arc<dyn Store>) -> WithStore {
        WithStore { local, store }
    }

    fn sealed(&self, path: &str) -> io::Result<Option<Sealed>> {
        let Some(number) = path.strip_prefix("segments/").and_then(segment_number) else { return Ok(None) };
        let mut known = sealed_segments(&*self.local).map_err(other)?;
        Ok(known.remove(&number))
    }
}

fn other(error: Error) -> io::Error {
    io::Error::other(error)
}

fn from_store(error: StoreError) -> io::Error {
    match error {
        StoreError::Absent(_) => io::Error::new(io::ErrorKind::NotFound, error),
        StoreError::Exists(_) | StoreError::Failed { .. } => io::Error::other(error),
    }
}

impl Disk for WithStore {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.local.lock()
    }

    fn allocate(&self, path: &str, bytes: u64) -> io::Result<()> {
        self.local.allocate(path, bytes)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.local.open(path)
    }

    fn open_read(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        match self.local.open_read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.sealed(path)? {
                Some(sealed) => {
                    let (store, whole) = (Arc::clone(&self.store), OnceLock::new());
                    Ok(Box::new(StoredFile { store, sealed, whole }))
                }
                None => Err(error),
            },
            opened => opened,
        }
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match self.local.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.sealed(path)? {
                Some(sealed) => fetch(&*self.store, &sealed),
                None => Err(error),
            },
            read => read,
        }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.local.write(path, bytes)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        self.local.sync(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.local.sync_dir(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.local.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.local.remove(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.local.remove_dir(path)
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.local.make_dir(path)
    }

    fn is_local(&self, path: &str) -> io::Result<bool> {
        self.local.is_local(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = self.local.list(path)?;
        if path == "segments" {
            for number in sealed_segments(&*self.local).map_err(other)?.into_keys() {
                let file = segment_file(number);
                let name = file.trim_start_matches("segments/").to_owned();
                if let Err(place) = names.binary_search(&name) {
                    names.insert(place, name);
                }
            }
        }
        Ok(names)
    }
}

fn fetch(store: &dyn Store, sealed: &Sealed) -> io::Result<Vec<u8>> {
    let bytes = store.read(&sealed.key, sealed.version.as_deref()).map_err(from_store)?;
    if sha256(&bytes) == sealed.sha256 {
        return Ok(bytes);
    }
    let what = format!("`{}` in {} is not what was sealed", sealed.key, store.place());
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// A segment in the store: the head by itself, the rest at once.
#[derive(Debug)]
struct StoredFile {
    store: Arc<dyn Store>,
    sealed: Sealed,
    whole: OnceLock<Vec<u8>>,
}

impl DiskFile for StoredFile {
    fn write_at(&mut self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem))
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let read = |from: &[u8], bytes: &mut [u8]| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(from.len());
            let rest = from.get(start..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            if let (Some(to), Some(part)) = (bytes.get_mut(..count), rest.get(..count)) {
                to.copy_from_slice(part);
            }
            count
        };
        if let Some(whole) = self.whole.get() {
            return Ok(read(whole, bytes));
        }
        if offset == 0 && bytes.len() <= SEGMENT_HEADER_BYTES {
            let (key, version) = (&self.sealed.key, self.sealed.version.as_deref());
            let head = self.store.read_head(key, version, bytes.len()).map_err(from_store)?;
            return Ok(read(&head, bytes));
        }
        let whole = fetch(&*self.store, &self.sealed)?;
        Ok(read(self.whole.get_or_init(|| whole), bytes))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.sealed.bytes)
    }

    fn forget(&self) -> io::Result<()> {
        Ok(())
    }
}
