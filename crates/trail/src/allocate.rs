//! Makes the next segment's file ahead of need, and finds out when the disk is full and when it no longer is.

use std::io;
use std::sync::Arc;

use crate::core::{Core, PROBE_FILE, RESERVE_FILE, SPARE_FILE, Spare, State};
use crate::error::Error;

/// Tells whether an error means that there is no space, rather than that the disk is broken.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The thread's life: makes a spare whenever one is wanted; while the trail is full, tries for space.
pub(crate) fn run(core: &Arc<Core>) {
    while !core.stopping() {
        let wanted = *core.spare.lock() != (Spare::Ready { bytes: core.options.segment_bytes });
        if (wanted || core.state() == State::Full)
            && let Err(error) = prepare(core)
        {
            core.fail("make a segment ahead", &error);
            return;
        }
        let mut spare = core.spare.lock();
        if core.stopping() {
            return;
        }
        let ready = matches!(*spare, Spare::Ready { .. });
        if core.state() == State::Full || *spare == Spare::NoSpace {
            core.spare_wake.wait_for(&mut spare, core.options.space_interval);
        } else if ready {
            core.spare_wake.wait(&mut spare);
        }
    }
}

/// Makes the spare, and the reserve if it was given back. Only errors other than a lack of space are errors.
fn prepare(core: &Core) -> Result<(), Error> {
    let mut enough = true;
    if !matches!(*core.spare.lock(), Spare::Ready { .. }) {
        enough = allocate(core, SPARE_FILE, core.options.segment_bytes)?;
        let mut spare = core.spare.lock();
        *spare = if enough { Spare::Ready { bytes: core.options.segment_bytes } } else { Spare::NoSpace };
        core.spare_wake.notify_all();
    }
    if !enough {
        core.enter_full();
    } else if core.state() == State::Full && restore_reserve(core)? {
        core.leave_full();
    }
    Ok(())
}

/// Makes the reserve again if there is space for more than it; `false` when there is not. The space that the reserve
/// itself gave back is no reason to go on: taking it again would only fill the disk anew.
fn restore_reserve(core: &Core) -> Result<bool, Error> {
    let bytes = core.options.reserve_bytes;
    if !allocate(core, PROBE_FILE, bytes.saturating_add(bytes / 2))? {
        return Ok(false);
    }
    core.disk.remove(PROBE_FILE).map_err(|source| Error::io(format!("remove `{PROBE_FILE}`"), source))?;
    allocate(core, RESERVE_FILE, bytes)
}

/// Makes a file of zeros; `false` when there is no space for it.
pub(crate) fn allocate(core: &Core, file: &str, bytes: u64) -> Result<bool, Error> {
    let made = core.disk.allocate(file, bytes).and_then(|()| core.disk.sync_dir(crate::disk::parent(file)));
    match made {
        Ok(()) => Ok(true),
        Err(error) if is_no_space(&error) => {
            let _may_be_absent = core.disk.remove(file);
            Ok(false)
        }
        Err(source) => Err(Error::io(format!("make `{file}`"), source)),
    }
}
