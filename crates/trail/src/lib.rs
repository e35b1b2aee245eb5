//! The trail: the append-only, encrypted, provable record of every access.
//!
//! [`Trail::record`] takes a record; the [`Pending`] that it returns becomes a [`Receipt`] once the record is
//! durable. Only then may anything that the record is about be released.
//!
//! ```text
//! record ─▶ canonical bytes ─▶ queue ─▶ frame: zstd ▸ AES-256-GCM ─▶ one write, one fdatasync ─▶ Receipt
//!                                 └─▶ leaf (52 bytes, no content) ─▶ tlog-tiles tree ─▶ signed checkpoint
//! ```
//!
//! Formats are in `docs/formats/`: `record.md` and `segment.md` are this crate's, `checkpoint.md` is `tlog`'s.
//!
//! Architecture invariant: nothing is acknowledged before it is durable; nothing durable is ever overwritten;
//! no two roots are signed for one size. Deliberately absent: what a record means, and any network.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod allocate;
mod archive;
mod commit;
mod copying;
mod core;
mod custody;
mod disk;
mod epoch;
mod error;
mod expire;
mod found;
mod held;
mod keeper;
mod kept;
mod keys;
mod leaf;
mod open;
mod options;
mod pending;
mod published;
mod question;
mod queue;
mod read;
mod record;
mod recover;
mod scan;
mod seal;
mod sealed;
mod segment;
mod signers;
mod statement;
mod store;
mod tree;
mod used;
mod verify;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Kind, Record, RootKey};
use parking_lot::Mutex;

use crate::core::Core;
use crate::open::Threads;

pub use crate::core::{Failed, State};
pub use archive::{
    ARCHIVE_FORM, ArchiveIndex, Digest, FILE_KEY_BYTES, FILE_SEAL_BYTES, FileKey, Manifest, ManifestFile,
    NoManifest, NotProven, Proven, Salts,
};
pub use copying::{Assembling, Copying, LEAVES_PER_PART, SegmentPart, sign_text, signed_text};
pub use custody::KeyRow;
pub use disk::{Disk, DiskFile, Folder};
pub use error::{Damage, DamageKind, Error};
pub use expire::{Month, Tombstone, month_of, unless_destroyed};
pub use found::Found;
pub use kept::WithStore;
pub use leaf::{LEAF_BYTES, LEAF_VERSION, Leaf, commitment};
pub use open::{check_keys, check_keys_on};
pub use options::{Clock, HEARTBEAT_GAP_MAX, Options, SEGMENT_BYTES_MIN};
pub use pending::{Pending, Receipt};
pub use published::{Published, SignedCheckpoint};
pub use question::{Question, Sought, names_agent};
pub use read::{Entries, Entry, Reader};
pub use record::{
    DETAIL_BYTES_MAX, DecodeError, LIST_ITEMS_MAX, NAME_BYTES_MAX, RECORD_BYTES_MAX, TooLarge, decode, encode,
};
pub use seal::{OpenedPatients, Sealer};
pub use sealed::{
    CHECKPOINTS_FOLDER, SEGMENTS_FOLDER, SealError, Sealed, check_store, checkpoint_key, newest_checkpoint,
    refill, sealed_of,
};
pub use segment::{FrameError, FrameHeader, SegmentHeader};
pub use signers::KeyRotation;
pub use statement::open_export;
pub use store::{FolderStore, Store, StoreError, Version, sha256};
pub use verify::{Finding, Report, Tail, VerifyOptions, export_tlog, verify, verify_on};

/// Memory for encoding that a thread keeps between records.
const ENCODE_BYTES_KEPT_MAX: usize = 1 << 20;

thread_local! {
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An open trail. Cheap to clone; all clones are the same trail.
#[derive(Clone, Debug)]
pub struct Trail {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
    threads: Mutex<Option<Threads>>,
}

/// Lets the threads end; without the closing records, which only [`Trail::close`] writes.
impl Drop for Handle {
    fn drop(&mut self) {
        self.core.abandon();
    }
}

impl Trail {
    /// Opens the trail in a folder, or begins one in an empty or absent folder, and records that the node
    /// started. After a crash this is where recovery happens. Blocks until the record is durable.
    ///
    /// # Errors
    /// When another process has it open, the key is another one, or anything on disk is not as it was left.
    pub fn open(folder: &Path, root: &RootKey, options: Options) -> Result<Trail, Error> {
        let disk = Folder::create(folder).map_err(|source| Error::io("make the trail's folder", source))?;
        Trail::open_on(Arc::new(disk), root, options)
    }

    /// As [`Trail::open`], on any disk.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub fn open_on(disk: Arc<dyn Disk>, root: &RootKey, options: Options) -> Result<Trail, Error> {
        let (core, threads) = open::open(disk, root, options)?;
        Ok(Trail { handle: Arc::new(Handle { core, threads: Mutex::new(Some(threads)) }) })
    }

    /// Takes a record, without waiting for the disk. Records of one caller get increasing indexes in the order
    /// of the calls.
    ///
    /// # Errors
    /// When the record is not taken, and so will never be durable.
    pub fn record(&self, record: &Record<'_>) -> Result<Pending, Error> {
        self.take(record, false)
    }

    /// As [`Trail::record`], also when there is no space for ordinary records: for refusals and incidents, which
    /// say why nothing else is recorded.
    ///
    /// # Errors
    /// As [`Trail::record`]; [`Error::Unavailable`] only when the reserve is used up too.
    pub fn record_urgent(&self, record: &Record<'_>) -> Result<Pending, Error> {
        self.take(record, true)
    }

    fn take(&self, record: &Record<'_>, urgent: bool) -> Result<Pending, Error> {
        ENCODED.with_borrow_mut(|encoded| {
            encoded.clear();
            encode(record, encoded)?;
            let pending = self.handle.core.take(encoded, urgent);
            encoded.shrink_to(ENCODE_BYTES_KEPT_MAX);
            pending
        })
    }

    /// Returns what seals literals and parameters for [`Record::sealed`], and names patients for [`Record::patients`].
    pub fn sealer(&self) -> Sealer {
        Sealer(Arc::clone(&self.handle.core))
    }

    /// Returns whether the trail can record. One atomic read.
    pub fn state(&self) -> State {
        self.handle.core.state()
    }

    /// Completes when the disk failed: the process should then end itself.
    pub fn failed(&self) -> Failed {
        Failed(Arc::clone(&self.handle.core))
    }

    /// Returns the number of durable records. One atomic read.
    pub fn durable(&self) -> u64 {
        self.handle.core.durable.load(Ordering::Acquire)
    }

    /// Returns how many records wait for the disk.
    pub fn queued(&self) -> usize {
        self.handle.core.queue.depth()
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        &self.handle.core.options.origin
    }

    /// Brings everything that was taken to disk, records that the node stopped, signs the last checkpoint and
    /// gives the folder free. Later records are refused. Blocks; a second call does nothing.
    ///
    /// # Errors
    /// When the end could not be recorded. What was acknowledged before is durable all the same.
    pub fn close(&self) -> Result<(), Error> {
        let Some(threads) = self.handle.threads.lock().take() else { return Ok(()) };
        let core = &self.handle.core;
        let mut canonical = Vec::new();
        let stopped = encode(&core.own_record(Kind::NodeStopped, None), &mut canonical)
            .map_err(Error::from)
            .and_then(|()| core.queue.push_last(&canonical));
        let result = match stopped {
            Ok(pending) => pending.wait().map(|_receipt| ()),
            Err(error) => Err(error),
        };
        let ended = join(core, threads);
        core.closed();
        let failed = core.state() == State::Failed;
        *core.lock.lock() = None;
        result.and(if ended && !failed { Ok(()) } else { Err(Error::Failed) })
    }

    /// Ends at once, as a crash would: what waits is lost, nothing more is written, no end is recorded. For a
    /// process that is about to end because the trail failed.
    pub fn abandon(&self) {
        let Some(threads) = self.handle.threads.lock().take() else { return };
        self.handle.core.abandon();
        let _ended = join(&self.handle.core, threads);
        *self.handle.core.lock.lock() = None;
    }
}

/// Waits for the threads: the committer first, which the others serve. `false` when one of them panicked.
fn join(core: &Core, threads: Threads) -> bool {
    let committer = threads.committer.join();
    core.stop();
    let allocator = threads.allocator.join();
    let keeper = threads.keeper.join();
    committer.is_ok() && allocator.is_ok() && keeper.is_ok()
}
