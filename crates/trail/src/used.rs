//! Whether entries were written under the key of a month or year: asked before such a key is made, since a new one in the place of a
//! lost one would hide the loss.
//!
//! Deliberately absent: any use of it while the key is there, so that what it costs is paid once a month.

use model::{Patients, Record};

use crate::disk::Disk;
use crate::error::{DamageKind, Error};
use crate::keys::{Class, Keys, SegmentKeys, number_of_stamp, period_of};
use crate::record;
use crate::scan::{Scan, Step, segments};
use crate::seal::sealed_stamp;
use crate::segment::{FrameOpener, FramePlace, Records};

/// Returns an entry that was written under the key of this class and period, if there is one.
pub(crate) fn entry_under(
    keys: &Keys,
    disk: &dyn Disk,
    class: Class,
    period: u32,
) -> Result<Option<u64>, Error> {
    // The months of segments do not run backwards; with no space a segment goes on into the next month.
    let is_before = |begun: u32| match class {
        Class::Record | Class::Literal | Class::Checkpoint | Class::Hold => {
            period_of(begun) < period_of(period)
        }
        Class::Patient => period_of(begun) / 100 < period,
    };
    for number in segments(disk)?.into_iter().rev() {
        let mut scan = Scan::open(disk, number)?;
        let begun = scan.header.month;
        match class {
            Class::Record if begun == period => return Ok(Some(scan.header.first)),
            Class::Record | Class::Checkpoint | Class::Hold => {}
            Class::Literal => {
                if let Some(index) = first_in(keys, disk, &mut scan, |record| sealed_in(record, period))? {
                    return Ok(Some(index));
                }
            }
            Class::Patient => {
                if let Some(index) = first_in(keys, disk, &mut scan, |record| named_in(record, period))? {
                    return Ok(Some(index));
                }
            }
        }
        if is_before(begun) {
            break;
        }
    }
    Ok(None)
}

/// Returns the first entry of a segment that was written `under` the key.
fn first_in(
    keys: &Keys,
    disk: &dyn Disk,
    scan: &mut Scan,
    under: impl Fn(&Record<'_>) -> bool,
) -> Result<Option<u64>, Error> {
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
            if under(&record::decode(canonical)?) {
                return Ok(Some(index));
            }
        }
    }
    Ok(None)
}

/// Tells whether something of a record was sealed in this month.
fn sealed_in(record: &Record<'_>, month: u32) -> bool {
    let patients = record.patients.as_ref().map(Patients::sealed);
    let mut sealed = record.sealed.as_deref().into_iter().chain(patients);
    sealed.any(|sealed| sealed_stamp(sealed).map(number_of_stamp) == Some(month))
}

/// Tells whether a record names patients by tokens of this year.
fn named_in(record: &Record<'_>, year: u32) -> bool {
    record.patients.as_ref().is_some_and(|patients| u32::from(patients.year()) == year)
}
