//! A disk in memory that forgets what was not synced, tears what was half written, fails on demand and fills up.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use trail::{Disk, DiskFile};

/// A small generator: the same seed gives the same faults.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }
}

#[derive(Clone, Debug)]
enum Write {
    At(usize, Vec<u8>),
    Truncate,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

fn apply(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::At(at, new) => {
            if bytes.len() < at + new.len() {
                bytes.resize(at + new.len(), 0);
            }
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        Write::Truncate => bytes.clear(),
    }
}

#[derive(Clone, Debug)]
enum Name {
    Set(String, usize),
    Removed(String),
}

/// What goes wrong, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Operations until everything fails, as if power were cut.
    pub(crate) power_cut_in: Option<u64>,
    /// Syncs of segment files until one fails.
    pub(crate) sync_fails_in: Option<u64>,
    /// Writes to segment files until one fails halfway.
    pub(crate) write_fails_in: Option<u64>,
    /// Bytes that all files together may take.
    pub(crate) space: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<Name>,
    faults: Faults,
    locked: bool,
}

fn broken() -> io::Error {
    io::Error::other("the disk broke")
}

fn absent() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Contents {
    /// Counts one operation; fails once power is cut.
    fn tick(&mut self) -> io::Result<()> {
        match &mut self.faults.power_cut_in {
            None => Ok(()),
            Some(0) => Err(broken()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn used(&self) -> usize {
        self.names.values().map(|inode| self.inodes[*inode].current.len()).sum()
    }

    fn make_room(&self, bytes: usize) -> io::Result<()> {
        match self.faults.space {
            Some(space) if self.used() + bytes > space => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => Ok(()),
        }
    }

    fn create(&mut self, path: &str) -> usize {
        if let Some(inode) = self.names.get(path) {
            return *inode;
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.names.insert(path.to_owned(), inode);
        self.pending_names.push(Name::Set(path.to_owned(), inode));
        inode
    }

    fn inode(&self, path: &str) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(absent)
    }

    fn write(&mut self, inode: usize, write: Write) {
        let inode = &mut self.inodes[inode];
        apply(&mut inode.current, &write);
        inode.pending.push(write);
    }

    fn sync(&mut self, inode: usize) {
        let inode = &mut self.inodes[inode];
        if !inode.pending.is_empty() {
            inode.durable.clone_from(&inode.current);
            inode.pending.clear();
        }
    }

    fn sync_names(&mut self) {
        for name in std::mem::take(&mut self.pending_names) {
            apply_name(&mut self.durable_names, name);
        }
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, name: Name) {
    match name {
        Name::Set(path, inode) => {
            // A file has one name here: setting a second one is a rename.
            names.retain(|_, known| *known != inode);
            names.insert(path, inode);
        }
        Name::Removed(path) => {
            names.remove(&path);
        }
    }
}

/// The disk. Clones share their contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<Contents>>);

impl MemoryDisk {
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// Returns what a machine finds after power was cut now: synced contents, and of the rest any part.
    pub(crate) fn after_power_cut(&self, random: &mut Random) -> MemoryDisk {
        let mut contents = self.0.lock().clone();
        let kept = random.below(contents.pending_names.len() + 1);
        contents.pending_names.truncate(kept);
        contents.sync_names();
        contents.names.clone_from(&contents.durable_names);
        for inode in &mut contents.inodes {
            for write in std::mem::take(&mut inode.pending) {
                if let Some(part) = part_of(write, random) {
                    apply(&mut inode.durable, &part);
                }
            }
            inode.current.clone_from(&inode.durable);
        }
        contents.faults = Faults::default();
        contents.locked = false;
        MemoryDisk(Arc::new(Mutex::new(contents)))
    }

    /// Returns an independent disk with the same contents.
    pub(crate) fn copy(&self) -> MemoryDisk {
        let mut contents = self.0.lock().clone();
        contents.locked = false;
        contents.faults = Faults::default();
        MemoryDisk(Arc::new(Mutex::new(contents)))
    }

    pub(crate) fn files(&self) -> Vec<String> {
        self.0.lock().names.keys().cloned().collect()
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        self.read(path).unwrap()
    }

    /// Changes a file's bytes behind everybody's back.
    pub(crate) fn alter(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut contents = self.0.lock();
        let inode = contents.inode(path).unwrap();
        // Files may share contents with a copied disk only by value.
        change(&mut contents.inodes[inode].current);
        contents.inodes[inode].durable = contents.inodes[inode].current.clone();
    }

    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        self.0.lock().create(path);
        self.alter(path, |old| *old = bytes);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.0.lock().names.remove(path).unwrap();
    }
}

/// What of a write reached the platter: nothing, all, a beginning, or any of its sectors.
fn part_of(write: Write, random: &mut Random) -> Option<Write> {
    let Write::At(at, mut bytes) = write else { return Some(write) };
    match random.below(4) {
        0 => return None,
        1 => {}
        2 => bytes.truncate(random.below(bytes.len() + 1)),
        _ => {
            for sector in bytes.chunks_mut(512) {
                if random.below(2) == 0 {
                    sector.fill(0);
                }
            }
        }
    }
    Some(Write::At(at, bytes))
}

struct Locked(MemoryDisk);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}

impl Disk for MemoryDisk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut contents = self.0.lock();
        if contents.locked {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        contents.locked = true;
        Ok(Box::new(Locked(self.clone())))
    }

    fn allocate(&self, path: &str, bytes: u64) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.tick()?;
        contents.make_room(bytes as usize)?;
        let inode = contents.create(path);
        contents.inodes[inode].current = vec![0; bytes as usize];
        contents.inodes[inode].pending.clear();
        contents.inodes[inode].durable = vec![0; bytes as usize];
        Ok(())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.0.lock().inode(path)?;
        let segment = path.starts_with("segments/");
        Ok(Box::new(MemoryFile { disk: self.clone(), inode, segment }))
    }

    fn open_read(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let contents = self.0.lock();
        let inode = contents.inode(path)?;
        Ok(contents.inodes[inode].current.clone())
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.tick()?;
        contents.make_room(bytes.len())?;
        let inode = contents.create(path);
        contents.write(inode, Write::Truncate);
        contents.write(inode, Write::At(0, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.tick()?;
        let inode = contents.inode(path)?;
        contents.sync(inode);
        Ok(())
    }

    fn sync_dir(&self, _path: &str) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.tick()?;
        contents.sync_names();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.tick()?;
        let inode = contents.names.remove(from).ok_or_else(absent)?;
        contents.names.insert(to.to_owned(), inode);
        contents.pending_names.push(Name::Set(to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.tick()?;
        contents.names.remove(path).ok_or_else(absent)?;
        contents.pending_names.push(Name::Removed(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, _path: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let contents = self.0.lock();
        if path.is_empty() {
            let first = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
            let mut names: Vec<String> = contents.names.keys().map(first).collect();
            names.dedup();
            return Ok(names);
        }
        let inside = |name: &String| name.strip_prefix(path)?.strip_prefix('/').map(str::to_owned);
        Ok(contents.names.keys().filter_map(inside).filter(|name| !name.contains('/')).collect())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
    segment: bool,
}

fn due(counter: &mut Option<u64>) -> bool {
    match counter {
        Some(0) => true,
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.disk.0.lock();
        contents.tick()?;
        if self.segment && due(&mut contents.faults.write_fails_in) {
            contents.write(self.inode, Write::At(offset as usize, bytes[..bytes.len() / 2].to_vec()));
            return Err(broken());
        }
        contents.write(self.inode, Write::At(offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut contents = self.disk.0.lock();
        contents.tick()?;
        if self.segment && due(&mut contents.faults.sync_fails_in) {
            return Err(broken());
        }
        contents.sync(self.inode);
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let contents = self.disk.0.lock();
        let from = contents.inodes[self.inode].current.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(bytes.len());
        bytes[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inodes[self.inode].current.len() as u64)
    }

    fn forget(&self) -> io::Result<()> {
        Ok(())
    }
}
