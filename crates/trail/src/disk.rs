//! The disk, as little of it as the trail needs, behind a trait: so that tests can tear and fail it.
//!
//! Paths are relative to the trail's folder. Nothing here knows what is in the files.

use std::any::Any;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder of files. A method returns when the operating system has taken the call; what is durable then is
/// said by each.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Takes the exclusive lock of the folder, held until the returned value is dropped.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;
    /// Makes a file of `bytes` zeros in a new file, replacing an old one. Contents and size are durable on
    /// return, the name is not.
    fn allocate(&self, path: &str, bytes: u64) -> io::Result<()>;
    /// Opens an existing file for reading and overwriting in place.
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading.
    fn open_read(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Reads a whole file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// Writes a whole file, replacing an old one, and makes the folders it needs. Not durable.
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's contents durable.
    fn sync(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a folder durable, for `""` in the trail's folder itself.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Renames a file, replacing an old one. Not durable.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Not durable.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes an empty folder. Not durable.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// Makes a folder and those above it, if they are not there. Not durable.
    fn make_dir(&self, _path: &str) -> io::Result<()> {
        Ok(())
    }
    /// Tells whether a file that can be read is here, and not in a store behind this disk.
    fn is_local(&self, path: &str) -> io::Result<bool> {
        match self.open_read(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
    /// Lists the names in a folder, in order; none when there is no such folder.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
}

/// An open file.
pub trait DiskFile: fmt::Debug + Send {
    /// Writes all bytes at an offset. Not durable.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written to this file durable. After an error nothing is known about what was written.
    fn sync(&mut self) -> io::Result<()>;
    /// Reads up to the length of `bytes` at an offset; less only at the file's end.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// Returns the file's length.
    fn length(&self) -> io::Result<u64>;
    /// Forgets what memory holds of this file, so that the next read shows what the disk has. Before a recovery:
    /// after a failed sync the cache may show pages that never reached the disk.
    fn forget(&self) -> io::Result<()>;
}

/// Writes a whole file so that after a crash either the old or the new one is there, and returns when the new
/// one is durable. A sync that fails for lack of space is no lack of space to the caller, who would try again: after a
/// failed sync nothing is known.
pub(crate) fn replace(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{path}.new");
    disk.write(&temporary, bytes)?;
    disk.sync(&temporary).map_err(io::Error::other)?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent(path)).map_err(io::Error::other)
}

/// Returns the folder part of a relative path.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Zeros are written this much at a time.
const ALLOCATE_CHUNK_BYTES: usize = 1 << 20;
/// While zeros are written ahead, each this many bytes are brought to disk, so that the commits of another
/// thread never wait for the whole of it.
const ALLOCATE_SYNC_BYTES: u64 = 4 << 20;

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Opens a folder, and makes it when it is not there.
    pub fn create(root: &Path) -> io::Result<Folder> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        Folder::open(root)
    }

    /// Opens an existing folder.
    pub fn open(root: &Path) -> io::Result<Folder> {
        if !fs::metadata(root)?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Folder { root: root.to_owned() })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn make(&self, path: &str) -> io::Result<File> {
        let options = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options
        };
        let full = self.path(path);
        match options().open(&full) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(self.path(parent(path)))?;
                options().open(&full)
            }
            other => other,
        }
    }
}

impl Disk for Folder {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = self.make("lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn allocate(&self, path: &str, bytes: u64) -> io::Result<()> {
        let mut file = self.make(path)?;
        // Asks for the space first: a full disk then answers at once, and is not filled to the brim to find out.
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = vec![0; ALLOCATE_CHUNK_BYTES];
        let (mut left, mut unsynced) = (bytes, 0);
        while left > 0 {
            let chunk = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            file.write_all(zeros.get(..chunk).expect("chunk is at most the length"))?;
            left -= chunk as u64;
            unsynced += chunk as u64;
            if unsynced >= ALLOCATE_SYNC_BYTES {
                file.sync_data()?;
                unsynced = 0;
            }
        }
        file.sync_all()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path(path))?))
    }

    fn open_read(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.path(path))?))
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(path))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.make(path)?.write_all(bytes)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.path(path))
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.path(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn forget(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed)?)
    }
}
