//! Opening a trail: lock, keys, recovery, threads, and the record that says so.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use model::{Kind, RootKey};
use tlog::{Checkpoint, NoteVerifier};

use crate::allocate;
use crate::commit::Committer;
use crate::core::{Core, PROBE_FILE, Parts, RESERVE_FILE, SPARE_FILE};
use crate::custody;
use crate::disk::{Disk, Folder};
use crate::epoch::EpochHead;
use crate::error::{DamageKind, Error};
use crate::held::{RESTORED_FILE, check_restored, check_signed, held};
use crate::keeper::Keeper;
use crate::keys::{
    CHECKPOINT_KEY_FILE, Class, Keys, VERIFIER_FILE, day_of, month_of, month_of_day, period_of, year_of_day,
};
use crate::options::Options;
use crate::recover::recover;
use crate::scan::{Scan, damage, segments};
use crate::seal::LiteralKeys;
use crate::signers::{self, LogKeys, Signers, is_signing_key};
use crate::tree::{Tree, read_checkpoint};

/// Files of a run that ended before it could name them.
const UNNAMED_FILES: [&str; 6] =
    [SPARE_FILE, PROBE_FILE, "segments/taken", "segments/large", "segments/small", "segments/last"];

/// The threads of an open trail.
#[derive(Debug)]
pub(crate) struct Threads {
    pub(crate) committer: JoinHandle<()>,
    pub(crate) allocator: JoinHandle<()>,
    pub(crate) keeper: JoinHandle<()>,
}

/// Opens the trail in a folder, or begins one in an empty folder.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    root: &RootKey,
    options: Options,
) -> Result<(Arc<Core>, Threads), Error> {
    options.check()?;
    let lock = disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked,
        _ => Error::io("lock the trail", error),
    })?;
    let keys = Keys::new(root, &options.origin);
    custody::settle(&*disk, &keys)?;
    let Identity { log, signers, checkpoint } = identity(&disk, &keys, &options.origin)?;
    for file in UNNAMED_FILES {
        let _mostly_absent = disk.remove(file);
    }
    let restored = check_restored(&*disk, &options)?;
    let held = held(&*disk, &options, &log)?;
    let new_tree = || Tree::new(Arc::clone(&disk), Arc::clone(&signers), &options.origin);
    check_signed(&*disk, &held, &checkpoint)?;
    let recovered = recover(&disk, &keys, &options.origin, &checkpoint, &held, new_tree)?;
    let now = (options.clock)();
    let literals = LiteralKeys::open(&keys, &*disk, day_of(now))?;
    let mut position = recovered.position;
    position.epoch = position.epoch.saturating_add(1);
    let durable = position.index;
    let head = EpochHead { epoch: position.epoch, size: recovered.tree.size(), root: recovered.tree.root() };
    let verifier = log.succession().current().to_string();
    tracing::info!(origin = options.origin, entries = durable, verifier, "trail: open");
    let month = recovered.active.as_ref().map_or(0, |active| period_of(active.month)).max(month_of(now));
    let newest_record_key = keys.newest(&*disk, Class::Record, month)?;
    let parts = Parts { disk, options, keys, literals, newest_record_key, durable, log, signers, lock };
    let core = Arc::new(Core::new(parts));
    prepare_reserve(&core)?;
    let committer = Committer::new(Arc::clone(&core), recovered.active, position, recovered.next_segment);
    let keeper = Keeper::new(Arc::clone(&core), recovered.tree);
    let threads = start(&core, committer, keeper)?;
    let announced = announce(&core, &head, recovered.cut_bytes, restored);
    announced.and_then(|()| signers::settle(&core)).inspect_err(|_| core.abandon())?;
    Ok((core, threads))
}

/// Looks whether the keys that [`crate::Trail::open`] needs are there, and changes nothing. Also beside a process that
/// writes.
///
/// # Errors
/// When opening would be refused for a key that is missing or another one.
pub fn check_keys(folder: &Path, root: &RootKey, options: &Options) -> Result<(), Error> {
    let disk = Folder::open(folder).map_err(|source| Error::io("open the trail's folder", source))?;
    check_keys_on(&disk, root, options)
}

/// As [`check_keys`], on any disk.
///
/// # Errors
/// As [`check_keys`].
pub fn check_keys_on(disk: &dyn Disk, root: &RootKey, options: &Options) -> Result<(), Error> {
    let keys = Keys::new(root, &options.origin);
    let numbers = segments(disk)?;
    if !log_begun(disk, &options.origin, !numbers.is_empty())?.has_key {
        return Ok(());
    }
    let verifier = keys.checkpoint_signer(disk)?.verifier();
    read_checkpoint(disk, &LogKeys::believing(disk, verifier)?)?;
    if let Some(last) = numbers.last() {
        keys.class_or_lost(disk, Class::Record, Scan::open(disk, *last)?.header.month)?;
    }
    let today = day_of((options.clock)());
    let literal = keys.newest(disk, Class::Literal, month_of_day(today))?;
    keys.class_or_lost(disk, Class::Literal, literal)?;
    keys.class_or_lost(disk, Class::Patient, year_of_day(today).into()).map(drop)
}

/// Which parts of a log are in the folder.
struct Begun {
    has_key: bool,
    has_checkpoint: bool,
}

/// Refuses the log of another origin, and one whose signing key is missing.
fn log_begun(disk: &dyn Disk, origin: &str, has_segments: bool) -> Result<Begun, Error> {
    let list = |path| disk.list(path).map_err(|source| Error::io("list the trail's files", source));
    let has_key = list("keys")?.iter().any(|name| is_signing_key(name));
    let has_checkpoint = list("tree")?.iter().any(|name| name == "checkpoint");
    if has_key {
        check_origin(disk, origin)?;
    } else if has_checkpoint || has_segments {
        let file = CHECKPOINT_KEY_FILE.to_owned();
        return Err(Error::Damaged(damage(file, None, None, DamageKind::Missing)));
    }
    Ok(Begun { has_key, has_checkpoint })
}

/// Who a log is: its keys, and what it signed last.
struct Identity {
    log: LogKeys,
    signers: Arc<Signers>,
    checkpoint: Checkpoint,
}

/// Reads the log's signing keys and last checkpoint, or makes both for a new log.
fn identity(disk: &Arc<dyn Disk>, keys: &Keys, origin: &str) -> Result<Identity, Error> {
    let has_segments = !segments(&**disk)?.is_empty();
    let Begun { has_key, has_checkpoint } = log_begun(&**disk, origin, has_segments)?;
    let (log, signers) = if has_key {
        let signs = keys.checkpoint_signer(&**disk)?.verifier();
        let log = LogKeys::believing(&**disk, signs)?;
        let signers = Signers::open(&**disk, keys, &log)?;
        (log, signers)
    } else {
        let signer = keys.create_checkpoint_signer(&**disk)?;
        (LogKeys::only(signer.verifier()), Signers::new(signer))
    };
    let signers = Arc::new(signers);
    if !has_checkpoint && !has_segments {
        // Signed before the first record: from here on a missing checkpoint is damage.
        let mut tree = Tree::new(Arc::clone(disk), Arc::clone(&signers), origin);
        tree.publish().map_err(|source| Error::io("write the tree", source))?;
        disk.sync_dir("").map_err(|source| Error::io("sync the trail's folder", source))?;
    }
    let checkpoint = read_checkpoint(&**disk, &log)?;
    Ok(Identity { log, signers, checkpoint })
}

fn check_origin(disk: &dyn Disk, origin: &str) -> Result<(), Error> {
    let bytes = disk.read(VERIFIER_FILE).map_err(|source| Error::io("read `verifier.txt`", source))?;
    let text = String::from_utf8_lossy(&bytes);
    let Ok(verifier) = text.trim_end().parse::<NoteVerifier>() else {
        return Err(Error::Damaged(damage(VERIFIER_FILE.to_owned(), None, None, DamageKind::Key)));
    };
    if verifier.name() == origin {
        return Ok(());
    }
    Err(Error::Origin { expected: origin.to_owned(), found: verifier.name().to_owned() })
}

fn prepare_reserve(core: &Core) -> Result<(), Error> {
    let length = core.disk.open_read(RESERVE_FILE).and_then(|file| file.length()).unwrap_or(0);
    if length != core.options.reserve_bytes
        && !allocate::allocate(core, RESERVE_FILE, core.options.reserve_bytes)?
    {
        core.enter_full();
    }
    Ok(())
}

fn start(core: &Arc<Core>, committer: Committer, keeper: Keeper) -> Result<Threads, Error> {
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let io = |source| Error::io("start a thread", source);
    let (ahead, commits, keeps) = (Arc::clone(core), Arc::clone(core), Arc::clone(core));
    Ok(Threads {
        allocator: named("trail-allocate")
            .spawn(move || guard(&ahead, || allocate::run(&ahead)))
            .map_err(io)?,
        committer: named("trail-commit").spawn(move || guard(&commits, || committer.run())).map_err(io)?,
        keeper: named("trail-keep").spawn(move || guard(&keeps, || keeper.run())).map_err(io)?,
    })
}

/// A broken invariant in one thread ends the trail, loudly, instead of leaving callers waiting.
fn guard(core: &Core, run: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
        core.leaves.lock().aborted = true;
        core.fail("an invariant is broken", &Error::Failed);
    }
}

/// Records that the node started, where the log stood, and what recovery cut off.
fn announce(core: &Core, head: &EpochHead, cut_bytes: u64, restored: Option<String>) -> Result<(), Error> {
    let mut canonical = Vec::new();
    if let Some(why) =
        core.options.begins_with.as_deref().filter(|_| core.durable.load(Ordering::Acquire) == 0)
    {
        crate::record::encode(&core.own_record(Kind::Incident, Some(why)), &mut canonical)?;
        let _goes_before = core.take(&canonical, true)?;
        canonical.clear();
    }
    crate::record::encode(&core.own_record(Kind::NodeStarted, None), &mut canonical)?;
    let started = core.take(&canonical, true)?;
    canonical.clear();
    crate::record::encode(&core.own_record(Kind::EpochHead, Some(&head.to_string())), &mut canonical)?;
    let stands = core.take(&canonical, true)?;
    if cut_bytes > 0 {
        let detail = format!("recovery cut off {cut_bytes} bytes of a frame that was never acknowledged");
        tracing::warn!(cut_bytes, "trail: recovery cut off an unfinished frame");
        core.note(Kind::Incident, Some(&detail));
    }
    let _receipts = (started.wait()?, stands.wait()?);
    match restored {
        Some(what) => resume(core, &what),
        None => Ok(()),
    }
}

/// Records that a restored log goes on, and only then forgets that it was restored.
fn resume(core: &Core, what: &str) -> Result<(), Error> {
    let held = held(&*core.disk, &core.options, &core.log)?;
    let size = held.last().map_or(0, Checkpoint::size);
    let detail = format!(
        "{what}; goes on, because it contains the checkpoint of {size} entries that was shown as its last"
    );
    let mut canonical = Vec::new();
    crate::record::encode(&core.own_record(Kind::Restored, Some(&detail)), &mut canonical)?;
    let _receipt = core.take(&canonical, true)?.wait()?;
    let removed = core.disk.remove(RESTORED_FILE).and_then(|()| core.disk.sync_dir(""));
    removed.map_err(|source| Error::io(format!("remove `{RESTORED_FILE}`"), source))
}
