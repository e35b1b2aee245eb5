//! Walks the frames of segment files and says where they end or break. Used by recovery, readers and `verify`.
//!
//! Needs no key: checksum, chain, numbering, epochs and time of frames are checked, not their content.

use std::io;

use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, DamageKind, Error};
use crate::segment::{
    Chain, FRAME_HEADER_BYTES, FrameError, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, segment_file,
    segment_number,
};

/// Read ahead this much at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// Returns the numbers of the segments in the folder, which must follow each other.
pub(crate) fn segments(disk: &dyn Disk) -> Result<Vec<u64>, Error> {
    let names = disk.list("segments").map_err(|source| Error::io("list the segments", source))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    for (expected, number) in (numbers.first().copied().unwrap_or(0)..).zip(&numbers) {
        if expected != *number {
            return Err(Error::Damaged(damage(segment_file(expected), None, None, DamageKind::Missing)));
        }
    }
    Ok(numbers)
}

pub(crate) fn damage(file: String, offset: Option<u64>, index: Option<u64>, kind: DamageKind) -> Damage {
    Damage { file, offset, index, kind }
}

/// What comes next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A frame that checks and follows from the one before; its body is in [`Scan::body`].
    Frame(FrameHeader),
    /// Nothing more was written.
    End,
    /// Something that is no frame, or not the one that must come here.
    Bad(DamageKind),
}

/// Where a walk stands: what the next frame must follow from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) index: u64,
    pub(crate) epoch: u32,
    pub(crate) time_us: u64,
    pub(crate) chain: Chain,
}

/// A walk over one segment.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Box<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    /// What the next frame must follow from.
    pub(crate) position: Position,
    /// Where it begins.
    pub(crate) offset: u64,
    length: u64,
    window: Vec<u8>,
    window_at: u64,
    frame_length: usize,
}

impl Scan {
    /// Opens a segment and reads its header.
    pub(crate) fn open(disk: &dyn Disk, segment: u64) -> Result<Scan, Error> {
        let name = segment_file(segment);
        let io = |source| Error::io(format!("read `{name}`"), source);
        let file = match disk.open_read(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Damaged(damage(name, None, None, DamageKind::Missing)));
            }
            Err(error) => return Err(io(error)),
        };
        let mut page = vec![0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(0, &mut page).map_err(io)?;
        page.truncate(read);
        let length = file.length().map_err(io)?;
        let header = SegmentHeader::decode(&page).filter(|header| header.segment == segment);
        let Some(header) = header else {
            return Err(Error::Damaged(damage(name, Some(0), None, DamageKind::SegmentHeader)));
        };
        let position = Position {
            index: header.first,
            epoch: header.epoch,
            time_us: header.time_us,
            chain: header.chain(),
        };
        Ok(Scan {
            file,
            name,
            header,
            position,
            offset: SEGMENT_HEADER_BYTES as u64,
            length,
            window: Vec::new(),
            window_at: 0,
            frame_length: 0,
        })
    }

    /// Checks that the segment follows from the end of the one before.
    pub(crate) fn follows(&mut self, previous: &Position) -> bool {
        let header = &self.header;
        let fits = header.previous == previous.chain
            && header.first == previous.index
            && header.epoch >= previous.epoch
            && header.time_us >= previous.time_us;
        self.position.time_us = self.position.time_us.max(previous.time_us);
        fits
    }

    /// Returns the damage at the place where the walk stands.
    pub(crate) fn damage(&self, kind: DamageKind) -> Damage {
        damage(self.name.clone(), Some(self.offset), Some(self.position.index), kind)
    }

    fn io(&self, source: io::Error) -> Error {
        Error::io(format!("read `{}`", self.name), source)
    }

    /// Makes `[at, at + length)` available; shorter only at the file's end.
    fn fill(&mut self, at: u64, length: usize) -> Result<&[u8], Error> {
        let end = at + length as u64;
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            self.window.resize(length.max(WINDOW_BYTES).min(left), 0);
            let read = self.file.read_at(at, &mut self.window).map_err(|source| {
                let name = &self.name;
                Error::io(format!("read `{name}`"), source)
            })?;
            self.window.truncate(read);
            self.window_at = at;
        }
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let to = from.saturating_add(length).min(self.window.len());
        Ok(self.window.get(from..to).unwrap_or_default())
    }

    /// Reads and checks the next frame.
    pub(crate) fn step(&mut self) -> Result<Step, Error> {
        let at = self.offset;
        let header = match FrameHeader::decode(self.fill(at, FRAME_HEADER_BYTES)?) {
            Ok(header) => header,
            Err(FrameError::Empty) => return Ok(Step::End),
            Err(FrameError::Truncated) => {
                let rest = self.fill(at, FRAME_HEADER_BYTES)?;
                let clean = rest.iter().all(|byte| *byte == 0);
                return Ok(if clean { Step::End } else { Step::Bad(DamageKind::Frame) });
            }
            Err(FrameError::Header | FrameError::Checksum) => return Ok(Step::Bad(DamageKind::Frame)),
        };
        let length = usize::try_from(header.frame_bytes()).unwrap_or(usize::MAX);
        let previous = self.position;
        let frame = self.fill(at, length)?;
        if header.check(frame).is_err() {
            return Ok(Step::Bad(DamageKind::Frame));
        }
        let follows = header.first == previous.index
            && header.epoch >= previous.epoch
            && header.time_us >= previous.time_us
            && header.chain == FrameHeader::chain_behind(&previous.chain, frame);
        if !follows {
            return Ok(Step::Bad(DamageKind::Chain));
        }
        self.frame_length = length;
        self.offset += header.frame_bytes();
        self.position = Position {
            index: header.end(),
            epoch: header.epoch,
            time_us: header.time_us,
            chain: header.chain,
        };
        Ok(Step::Frame(header))
    }

    /// Returns the sealed body of the frame that was just read.
    pub(crate) fn body(&mut self) -> &mut [u8] {
        let end = usize::try_from(self.offset - self.window_at).unwrap_or(0);
        let start = end.saturating_sub(self.frame_length) + FRAME_HEADER_BYTES;
        self.window.get_mut(start..end).unwrap_or_default()
    }

    /// Stands behind a frame that was checked before, and reads its body again.
    pub(crate) fn resume_at(&mut self, header: &FrameHeader) -> Result<(), Error> {
        let length = usize::try_from(header.frame_bytes()).unwrap_or(usize::MAX);
        self.fill(self.offset, length)?;
        self.frame_length = length;
        self.offset += header.frame_bytes();
        let (index, epoch, time_us) = (header.end(), header.epoch, header.time_us);
        self.position = Position { index, epoch, time_us, chain: header.chain };
        Ok(())
    }

    /// Drops what was read ahead: the file may have grown frames since.
    pub(crate) fn refresh(&mut self) {
        self.window.clear();
        self.window_at = 0;
    }

    /// Looks at everything behind the place where the walk stands: how far there is anything but zeros, and
    /// whether there is a whole frame of this log among it.
    pub(crate) fn remains(&mut self) -> Result<Remains, Error> {
        let start = self.offset;
        let mut rest = vec![0; usize::try_from(self.length.saturating_sub(start)).unwrap_or(0)];
        let read = self.file.read_at(start, &mut rest).map_err(|source| self.io(source))?;
        rest.truncate(read);
        let dirty = written_bytes(&rest);
        rest.truncate(dirty);
        let frame = (1..rest.len().saturating_sub(FRAME_HEADER_BYTES)).any(|at| {
            let candidate = rest.get(at..).unwrap_or_default();
            FrameHeader::decode(candidate).is_ok_and(|header| {
                let length = usize::try_from(header.frame_bytes()).unwrap_or(usize::MAX);
                header.first >= self.header.first
                    && candidate.get(..length).is_some_and(|frame| header.check(frame).is_ok())
            })
        });
        Ok(Remains { dirty_bytes: dirty as u64, frame })
    }
}

/// Returns the length up to the last byte that is not zero. Nearly all of a segment's rest is zeros, so whole pages are
/// compared at once.
fn written_bytes(rest: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut pages = rest.chunks(ZEROS.len());
    let dirty = pages.rposition(|page| ZEROS.get(..page.len()).is_none_or(|zeros| zeros != page));
    let Some(at) = dirty.map(|page| page * ZEROS.len()) else { return 0 };
    let page = rest.get(at..).unwrap_or_default().iter().take(ZEROS.len());
    page.zip(at + 1..).filter(|(byte, _)| **byte != 0).map(|(_, end)| end).last().unwrap_or(0)
}

/// What lies behind the last good frame of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remains {
    /// Up to the last byte that is not zero.
    pub(crate) dirty_bytes: u64,
    /// A frame that checks: what comes before it was not the tail.
    pub(crate) frame: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_written_byte_is_found() {
        assert_eq!(written_bytes(&[]), 0);
        assert_eq!(written_bytes(&[0; 9000]), 0);
        for place in [0, 1, 4095, 4096, 8191, 8192, 8999] {
            let mut rest = vec![0; 9000];
            rest[0] = 1;
            rest[place] = 1;
            assert_eq!(written_bytes(&rest), place + 1);
        }
    }
}
