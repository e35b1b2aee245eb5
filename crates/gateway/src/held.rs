//! A real trail on a disk that syncs when it is told to: what must wait for an entry can be seen waiting.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Kind, Micros, PatientToken, Record, RootKey};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;
use trail::{Disk, DiskFile, Folder, Options, Pending, Reader, Trail};

/// Far longer than a commit takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    Done,
    Held,
    Fails,
}

#[derive(Debug)]
struct Brake {
    sync: Mutex<Sync>,
    changed: Condvar,
}

/// The trail and its brake.
#[derive(Debug)]
pub(crate) struct HeldTrail {
    pub(crate) trail: Trail,
    brake: Arc<Brake>,
    folder: TempDir,
}

impl HeldTrail {
    /// Opens a trail that commits.
    pub(crate) fn open() -> HeldTrail {
        let folder = tempfile::tempdir().unwrap();
        let brake = Arc::new(Brake { sync: Mutex::new(Sync::Done), changed: Condvar::new() });
        let inner = Folder::create(folder.path()).unwrap();
        let disk = HeldDisk { inner, brake: Arc::clone(&brake) };
        let mut options = Options::new("gw.test");
        options.segment_bytes = 1 << 20;
        options.reserve_bytes = 64 << 10;
        let trail = Trail::open_on(Arc::new(disk), &RootKey::new([7; 32]), options).unwrap();
        HeldTrail { trail, brake, folder }
    }

    /// From here on nothing becomes durable.
    pub(crate) fn hold(&self) {
        self.set(Sync::Held);
    }

    /// What was held becomes durable.
    pub(crate) fn release(&self) {
        self.set(Sync::Done);
    }

    /// What was held, and all after it, is lost.
    pub(crate) fn fail(&self) {
        self.set(Sync::Fails);
    }

    fn set(&self, sync: Sync) {
        *self.brake.sync.lock() = sync;
        self.brake.changed.notify_all();
    }

    /// Offers a record.
    pub(crate) fn entry(&self) -> Pending {
        self.trail.record(&Record::new(Kind::Operation, Micros(1))).unwrap()
    }

    /// Returns the operations recorded so far, once all that was offered is durable.
    pub(crate) fn operations(&self) -> Vec<Record<'static>> {
        self.settle();
        // What stands last is shown once it is followed.
        self.settle();
        let reader = Reader::open(self.folder.path(), &RootKey::new([7; 32])).unwrap();
        let records = reader.entries(0).unwrap().map(|entry| entry.unwrap().record);
        records.filter(|record| record.session.is_some() && record.operation.is_some()).collect()
    }

    /// Returns the token of a patient.
    pub(crate) fn token(&self, year: u16, issuer: &str, identifier: &str) -> PatientToken {
        let reader = Reader::open(self.folder.path(), &RootKey::new([7; 32])).unwrap();
        reader.patient_token(year, issuer, identifier.as_bytes()).unwrap()
    }

    /// Waits until all that was offered is durable.
    pub(crate) fn settle(&self) {
        self.release();
        let _receipt = self.entry().wait().unwrap();
    }
}

impl Drop for HeldTrail {
    fn drop(&mut self) {
        self.release();
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[derive(Debug)]
struct HeldDisk {
    inner: Folder,
    brake: Arc<Brake>,
}

impl Disk for HeldDisk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + std::marker::Sync>> {
        self.inner.lock()
    }
    fn allocate(&self, path: &str, bytes: u64) -> io::Result<()> {
        self.inner.allocate(path, bytes)
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.inner.open(path)?;
        Ok(Box::new(HeldFile { inner, brake: Arc::clone(&self.brake) }))
    }
    fn open_read(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.open_read(path)
    }
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.inner.read(path)
    }
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.inner.write(path, bytes)
    }
    fn sync(&self, path: &str) -> io::Result<()> {
        self.inner.sync(path)
    }
    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.inner.sync_dir(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.inner.remove_dir(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }
}

#[derive(Debug)]
struct HeldFile {
    inner: Box<dyn DiskFile>,
    brake: Arc<Brake>,
}

impl DiskFile for HeldFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut sync = self.brake.sync.lock();
        self.brake.changed.wait_while(&mut sync, |sync| *sync == Sync::Held);
        match *sync {
            // Whether the machine's own disk has it does not matter here.
            Sync::Done | Sync::Held => Ok(()),
            Sync::Fails => Err(io::Error::other("the disk is broken")),
        }
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, bytes)
    }
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
    fn forget(&self) -> io::Result<()> {
        self.inner.forget()
    }
}
