//! From what a crash left to where the committer goes on.
//!
//! The frames are the truth; the tree is made from them. Cut off is only what cannot have been acknowledged:
//! bytes behind the last whole frame, with no whole frame behind them, beyond every checkpoint. Anything else
//! that does not check is damage, and the trail does not open.

use std::sync::Arc;

use tlog::Checkpoint;

use crate::commit::Active;
use crate::disk::Disk;
use crate::error::{Damage, DamageKind, Error};
use crate::held::{Known, check_reached};
use crate::keys::{Class, Keys, SegmentKeys};
use crate::leaf::{LEAF_BYTES, Leaf, commitment};
use crate::record::kind_number;
use crate::scan::{Position, Scan, Step, damage, segments};
use crate::segment::{FrameHeader, FrameOpener, FramePlace, Records, chain_origin, segment_file};
use crate::tree::Tree;

/// Where the committer goes on.
pub(crate) struct Recovered {
    pub(crate) active: Option<Active>,
    pub(crate) position: Position,
    pub(crate) next_segment: u64,
    /// The tree with the leaves of all frames.
    pub(crate) tree: Tree,
    /// Bytes that were cut off at the end, and never acknowledged.
    pub(crate) cut_bytes: u64,
}

struct Recovery<'a> {
    disk: &'a Arc<dyn Disk>,
    keys: &'a Keys,
    origin: &'a str,
    checkpoint: &'a Checkpoint,
    known: Known,
    tree: Tree,
    opener: FrameOpener,
    leaves: Vec<u8>,
    cut_bytes: u64,
}

/// Finds the end of the log, brings the tree up to it and checks both against the last checkpoint.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    keys: &Keys,
    origin: &str,
    checkpoint: &Checkpoint,
    held: &[Checkpoint],
    new_tree: impl Fn() -> Tree,
) -> Result<Recovered, Error> {
    let numbers = segments(&**disk)?;
    // If the tree's files are not what the checkpoint says, they are made again, and must then give its root.
    let tree = new_tree().load(checkpoint).unwrap_or_else(new_tree);
    let (opener, leaves) = (FrameOpener::new(), Vec::new());
    let known = Known::new(checkpoint, held);
    let mut recovery = Recovery { disk, keys, origin, checkpoint, known, tree, opener, leaves, cut_bytes: 0 };
    let start = recovery.start(&numbers)?;
    let mut end = None;
    for number in numbers.iter().skip(start) {
        let last = numbers.last() == Some(number);
        end = Some(recovery.segment(*number, end.map(|(position, _)| position), last)?);
    }
    let nothing = Position { index: 0, epoch: 0, time_us: 0, chain: chain_origin(origin) };
    let (position, active) = end.unwrap_or((nothing, None));
    if position.index < checkpoint.size() {
        return Err(Error::Rollback { checkpoint: checkpoint.size(), found: position.index });
    }
    check_reached(held, position.index)?;
    let next_segment = numbers.last().map_or(0, |last| last + 1);
    let (tree, cut_bytes) = (recovery.tree, recovery.cut_bytes);
    Ok(Recovered { active, position, next_segment, tree, cut_bytes })
}

impl Recovery<'_> {
    /// Returns the place, in the list of segments, of the one that holds the first leaf the tree lacks.
    fn start(&self, numbers: &[u64]) -> Result<usize, Error> {
        for (place, number) in numbers.iter().enumerate().rev() {
            if Scan::open(&**self.disk, *number)?.header.first <= self.tree.size() {
                return Ok(place);
            }
        }
        match numbers.first() {
            None => Ok(0),
            Some(first) => {
                let file = segment_file(first.saturating_sub(1));
                Err(Error::Damaged(damage(file, None, Some(self.tree.size()), DamageKind::Missing)))
            }
        }
    }

    fn segment(
        &mut self,
        number: u64,
        previous: Option<Position>,
        last: bool,
    ) -> Result<(Position, Option<Active>), Error> {
        if last {
            self.settle_cache(number)?;
        }
        let mut scan = Scan::open(&**self.disk, number)?;
        let begins = match previous {
            Some(previous) => scan.follows(&previous),
            None => number > 0 || scan.header.previous == chain_origin(self.origin),
        };
        if !begins || scan.header.origin != self.origin {
            return Err(Error::Damaged(damage(
                scan.name,
                Some(0),
                Some(scan.header.first),
                DamageKind::Chain,
            )));
        }
        let class =
            self.keys.class(&**self.disk, Class::Record, scan.header.month).map_err(|error| match error {
                Error::Damaged(Damage { file, kind: DamageKind::Missing, .. }) => {
                    Error::KeyLost { file, index: scan.header.first }
                }
                error => error,
            })?;
        let keys = SegmentKeys::open(&class, &scan.header.key_aad(), &scan.header.wrapped);
        let Some(keys) = keys else {
            return Err(Error::Damaged(damage(scan.name, Some(0), Some(scan.header.first), DamageKind::Key)));
        };
        loop {
            match scan.step()? {
                Step::Frame(header) => self.frame(&header, &mut scan, &keys)?,
                Step::End => break self.end(&mut scan, None, last)?,
                Step::Bad(kind) => break self.end(&mut scan, Some(kind), last)?,
            }
        }
        self.tree.flush().map_err(|source| Error::io("write the tree", source))?;
        if !last {
            return Ok((scan.position, None));
        }
        let file = self.disk.open(&scan.name).map_err(|source| Error::io("open a segment", source))?;
        let (month, offset, bytes) = (scan.header.month, scan.offset, scan.header.bytes);
        let (first, begun_us) = (scan.header.first, scan.header.time_us);
        Ok((
            scan.position,
            Some(Active { file, segment: number, month, keys, offset, bytes, first, begun_us }),
        ))
    }

    /// Makes what is in memory of the last segment durable, or forgets it, before it is believed: a crash of
    /// the process leaves unwritten pages, a failed sync leaves pages that the disk does not have.
    fn settle_cache(&self, number: u64) -> Result<(), Error> {
        let name = segment_file(number);
        let mut file = self.disk.open(&name).map_err(|source| Error::io(format!("open `{name}`"), source))?;
        file.sync().and_then(|()| file.forget()).map_err(|source| Error::io(format!("sync `{name}`"), source))
    }

    fn frame(&mut self, header: &FrameHeader, scan: &mut Scan, keys: &SegmentKeys) -> Result<(), Error> {
        if header.end() <= self.tree.size() {
            return Ok(());
        }
        let at = scan.offset - header.frame_bytes();
        let file = scan.name.clone();
        let bad = |index, kind| Error::Damaged(damage(file.clone(), Some(at), Some(index), kind));
        let place = FramePlace { origin: self.origin, segment: scan.header.segment };
        let raw = self.opener.open(header, &place, keys, scan.body());
        let raw = raw.ok_or_else(|| bad(header.first, DamageKind::Sealing))?;
        self.leaves.clear();
        let mut records = Records(raw);
        let mut sequence = header.first;
        for canonical in records.by_ref() {
            if sequence >= self.tree.size() {
                let commitment = commitment(&keys.salt(sequence), canonical);
                let kind = kind_number(canonical);
                let leaf = Leaf { kind, sequence, time_us: header.time_us, commitment };
                self.leaves.extend_from_slice(&leaf.encode());
            }
            sequence += 1;
        }
        if !records.0.is_empty() || sequence != header.end() {
            return Err(bad(header.first, DamageKind::Record));
        }
        self.append()
    }

    /// Appends leaves, and compares the root where one is known.
    fn append(&mut self) -> Result<(), Error> {
        let mut rest = self.leaves.as_slice();
        while !rest.is_empty() {
            let wanted = self.known.next(self.tree.size()).map_or(u64::MAX, |next| next - self.tree.size());
            let bytes = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_mul(LEAF_BYTES);
            let (part, behind) = rest.split_at(bytes.min(rest.len()));
            self.tree.append(part);
            self.known.check(self.tree.size(), self.tree.root())?;
            rest = behind;
        }
        Ok(())
    }

    /// Decides whether what stands behind the last whole frame is the rest of an unfinished write.
    fn end(&mut self, scan: &mut Scan, bad: Option<DamageKind>, last: bool) -> Result<(), Error> {
        let remains = scan.remains()?;
        if remains.dirty_bytes == 0 {
            return Ok(());
        }
        let unfinished = last
            && !remains.frame
            && matches!(bad, None | Some(DamageKind::Frame))
            && scan.position.index >= self.checkpoint.size();
        if !unfinished {
            return Err(Error::Damaged(scan.damage(bad.unwrap_or(DamageKind::Frame))));
        }
        let io = |source| Error::io("cut off an unfinished frame", source);
        let zeros = vec![0; usize::try_from(remains.dirty_bytes).unwrap_or(0)];
        let mut file = self.disk.open(&scan.name).map_err(io)?;
        file.write_at(scan.offset, &zeros).map_err(io)?;
        file.sync().map_err(io)?;
        self.cut_bytes = remains.dirty_bytes;
        Ok(())
    }
}
