//! Whether entries were written under a month's key: asked before such a key is made, since a new one in the place of a
//! lost one would hide the loss.
//!
//! Deliberately absent: any use of it while the key is there, so that what it costs is paid once a month.

use model::Record;

use crate::disk::Disk;
use crate::error::{DamageKind, Error};
use crate::keys::{Class, Keys, SegmentKeys, month_of_day};
use crate::record;
use crate::scan::{Scan, Step, segments};
use crate::seal::sealed_day;
use crate::segment::{FrameOpener, FramePlace, Records};

/// Returns an entry that was written under the key of this class and month, if there is one.
pub(crate) fn entry_under(
    keys: &Keys,
    disk: &dyn Disk,
    class: Class,
    month: u32,
) -> Result<Option<u64>, Error> {
    for number in segments(disk)?.into_iter().rev() {
        let mut scan = Scan::open(disk, number)?;
        let begun = scan.header.month;
        match class {
            Class::Record if begun == month => return Ok(Some(scan.header.first)),
            Class::Record | Class::Checkpoint => {}
            Class::Literal => {
                if let Some(index) = sealed_in(keys, disk, &mut scan, month)? {
                    return Ok(Some(index));
                }
            }
        }
        // The months of segments do not run backwards; with no space a segment goes on into the next month.
        if begun < month {
            break;
        }
    }
    Ok(None)
}

/// Returns the first entry of a segment with literals that were sealed in this month.
fn sealed_in(keys: &Keys, disk: &dyn Disk, scan: &mut Scan, month: u32) -> Result<Option<u64>, Error> {
    let class = keys.class(disk, Class::Record, scan.header.month)?;
    let data = SegmentKeys::open(&class, &scan.header.key_aad(), &scan.header.wrapped)
        .ok_or_else(|| Error::Damaged(scan.damage(DamageKind::Key)))?;
    let mut opener = FrameOpener::new();
    let segment = scan.header.segment;
    // Where frames end, whether well or badly, recovery and `verify` judge.
    while let Step::Frame(header) = scan.step()? {
        let place = FramePlace { origin: keys.origin(), segment };
        let raw = opener.open(&header, &place, &data, scan.body());
        let raw = raw.ok_or_else(|| Error::Damaged(scan.damage(DamageKind::Sealing)))?;
        for (index, canonical) in (header.first..).zip(Records(raw)) {
            if sealed_month(&record::decode(canonical)?) == Some(month) {
                return Ok(Some(index));
            }
        }
    }
    Ok(None)
}

fn sealed_month(record: &Record<'_>) -> Option<u32> {
    record.sealed.as_deref().and_then(sealed_day).map(month_of_day)
}
