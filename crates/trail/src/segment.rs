//! The bytes of a segment file: a header, then frames, as `docs/formats/segment.md` describes them.
//!
//! Pure: bytes in, bytes out. Deliberately absent: files (`disk`), when to write (`commit`).

use aws_lc_rs::digest;

use crate::keys::{NONCE_BYTES, SegmentKeys, TAG_BYTES, WRAPPED_BYTES, open_in, seal_behind};
use crate::record::{Input, RECORD_BYTES_MAX, varint};

/// The header takes one page, so that the first frame shares no block with it.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;
/// The header of a frame.
pub(crate) const FRAME_HEADER_BYTES: usize = 80;
/// The most records in one frame.
pub(crate) const FRAME_RECORDS_MAX: usize = 4096;
/// The most bytes of records in one frame: one record of any size, or many small ones.
pub(crate) const FRAME_RAW_BYTES_MAX: usize = RECORD_BYTES_MAX + (1 << 20);
/// The longest origin.
pub(crate) const ORIGIN_BYTES_MAX: usize = 255;

const SEGMENT_MAGIC: [u8; 8] = *b"WLSEG\0\0\x01";
const FRAME_MAGIC: [u8; 4] = *b"WLF\x01";
/// zstd never makes more of its input than this: 1/256 and 64 bytes, as `ZSTD_compressBound` says for large
/// inputs, and up to 512 more for small ones.
const fn compress_bound(raw: usize) -> usize {
    raw + (raw >> 8) + 576
}

/// The most bytes that a frame of `raw` bytes of records takes.
pub(crate) const fn frame_bound(raw: usize) -> usize {
    FRAME_HEADER_BYTES + NONCE_BYTES + compress_bound(raw) + TAG_BYTES
}

/// A hash that covers all frames up to here.
pub(crate) type Chain = [u8; 32];

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Returns the chain before the first segment of a log.
pub(crate) fn chain_origin(origin: &str) -> Chain {
    sha256(&[b"wardline/chain/v1", origin.as_bytes()])
}

/// Writes numbers one behind the other; reading is [`Fields`].
struct Place<'a>(&'a mut [u8]);

impl Place<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (to, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        to.copy_from_slice(bytes);
        self.0 = rest;
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// The head of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number, from 0.
    pub segment: u64,
    /// The index of its first record.
    pub first: u64,
    /// The length of the file.
    pub bytes: u64,
    /// The run of the node that made it.
    pub epoch: u32,
    /// The month of the class key that wraps the data key, `YYYYMM`.
    pub month: u32,
    /// When it was made, in microseconds since 1970.
    pub time_us: u64,
    /// The chain at the end of the segment before.
    pub previous: Chain,
    /// The data key, wrapped.
    pub wrapped: [u8; WRAPPED_BYTES],
    /// The log.
    pub origin: String,
}

impl SegmentHeader {
    /// Returns the header's page.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; SEGMENT_HEADER_BYTES];
        let (head, body) = page.split_at_mut(12);
        let mut place = Place(body);
        place.put(&u32::try_from(SEGMENT_HEADER_BYTES).expect("4096").to_le_bytes());
        place.put(&self.segment.to_le_bytes());
        place.put(&self.first.to_le_bytes());
        place.put(&self.bytes.to_le_bytes());
        place.put(&self.epoch.to_le_bytes());
        place.put(&self.month.to_le_bytes());
        place.put(&self.time_us.to_le_bytes());
        place.put(&self.previous);
        place.put(&self.wrapped);
        // Room for a second wrap, under an escrow key.
        place.put(&[0; WRAPPED_BYTES]);
        let length = u16::try_from(self.origin.len()).expect("an origin is at most 255 bytes");
        place.put(&length.to_le_bytes());
        place.put(self.origin.as_bytes());
        let crc = crc32c::crc32c(body);
        let mut place = Place(head);
        place.put(&SEGMENT_MAGIC);
        place.put(&crc.to_le_bytes());
        page
    }

    /// Reads a header; `None` when it is not exactly what [`SegmentHeader::encode`] writes.
    pub fn decode(page: &[u8]) -> Option<SegmentHeader> {
        if page.len() != SEGMENT_HEADER_BYTES {
            return None;
        }
        let mut fields = Fields(page);
        if fields.array::<8>()? != SEGMENT_MAGIC || fields.u32()? != crc32c::crc32c(page.get(12..)?) {
            return None;
        }
        if usize::try_from(fields.u32()?).ok()? != SEGMENT_HEADER_BYTES {
            return None;
        }
        let header = SegmentHeader {
            segment: fields.u64()?,
            first: fields.u64()?,
            bytes: fields.u64()?,
            epoch: fields.u32()?,
            month: fields.u32()?,
            time_us: fields.u64()?,
            previous: fields.array()?,
            wrapped: fields.array()?,
            origin: {
                if fields.array()? != [0; WRAPPED_BYTES] {
                    return None;
                }
                let length = usize::from(u16::from_le_bytes(fields.array()?));
                if length > ORIGIN_BYTES_MAX {
                    return None;
                }
                std::str::from_utf8(fields.take(length)?).ok()?.to_owned()
            },
        };
        fields.0.iter().all(|byte| *byte == 0).then_some(header)
    }

    /// Returns what the wrapped data key is bound to.
    pub(crate) fn key_aad(&self) -> Vec<u8> {
        let mut aad = b"wardline/segment-key/v1".to_vec();
        for number in [self.segment, self.first, u64::from(self.month)] {
            aad.extend_from_slice(&number.to_le_bytes());
        }
        aad.extend_from_slice(self.origin.as_bytes());
        aad
    }

    /// Returns the chain before the segment's first frame: it covers the header and all before it.
    pub(crate) fn chain(&self) -> Chain {
        sha256(&[b"wardline/segment/v1", &self.encode()])
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The checksum of all that follows it.
    pub crc: u32,
    /// The length of the sealed body that follows the header.
    pub length: u32,
    /// The length of the records in it, before compression.
    pub raw_length: u32,
    /// The run of the node that wrote it.
    pub epoch: u32,
    /// How many records it holds.
    pub count: u32,
    /// The index of its first record.
    pub first: u64,
    /// When it was committed, in microseconds since 1970.
    pub time_us: u64,
    /// Zero.
    pub flags: u32,
    /// The chain up to and with this frame.
    pub chain: Chain,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// There is nothing but zeros where the header would be.
    Empty,
    /// The bytes end before the frame does.
    Truncated,
    /// The header's fields cannot be.
    Header,
    /// The checksum does not fit.
    Checksum,
}

impl FrameHeader {
    fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let mut place = Place(&mut bytes);
        place.put(&FRAME_MAGIC);
        for number in [self.crc, self.length, self.raw_length, self.epoch, self.count] {
            place.put(&number.to_le_bytes());
        }
        place.put(&self.first.to_le_bytes());
        place.put(&self.time_us.to_le_bytes());
        place.put(&self.flags.to_le_bytes());
        place.put(&[0; 4]);
        place.put(&self.chain);
        bytes
    }

    /// Reads a frame's header. It is believed only once the frame's checksum was compared.
    ///
    /// # Errors
    /// When there is none, or it cannot be one.
    pub fn decode(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
        let bytes = bytes.first_chunk::<FRAME_HEADER_BYTES>().ok_or(FrameError::Truncated)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(FrameError::Empty);
        }
        FrameHeader::fields(bytes).ok_or(FrameError::Header)
    }

    fn fields(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<FrameHeader> {
        let mut fields = Fields(bytes);
        if fields.array()? != FRAME_MAGIC {
            return None;
        }
        let (crc, length, raw_length) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (epoch, count, first, time_us) = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u64()?);
        let (flags, reserved, chain) = (fields.u32()?, fields.u32()?, fields.array()?);
        let header = FrameHeader { crc, length, raw_length, epoch, count, first, time_us, flags, chain };
        let raw = usize::try_from(raw_length).ok()?;
        let body = usize::try_from(length).ok()?;
        let fits = flags == 0
            && reserved == 0
            && raw <= FRAME_RAW_BYTES_MAX
            && (NONCE_BYTES + TAG_BYTES..=frame_bound(raw)).contains(&body)
            && (1..=FRAME_RECORDS_MAX + 1).contains(&usize::try_from(count).ok()?)
            && first.checked_add(u64::from(count)).is_some();
        fits.then_some(header)
    }

    /// Returns the length of header and body.
    pub fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.length)
    }

    /// Returns the index behind the frame's last record.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Tells whether the checksum in the header fits the frame's bytes.
    ///
    /// # Errors
    /// When it does not, or the frame is not of the length that its header says.
    pub fn check(&self, frame: &[u8]) -> Result<(), FrameError> {
        if frame.len() as u64 != self.frame_bytes() {
            return Err(FrameError::Truncated);
        }
        let covered = frame.get(8..).ok_or(FrameError::Truncated)?;
        if crc32c::crc32c(covered) == self.crc { Ok(()) } else { Err(FrameError::Checksum) }
    }

    /// Returns the chain that a frame must carry behind `previous`.
    pub(crate) fn chain_behind(previous: &Chain, frame: &[u8]) -> Chain {
        let header = frame.get(8..48).unwrap_or_default();
        let body = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        sha256(&[b"wardline/frame/v1", previous, header, body])
    }

    fn aad(&self, place: &FramePlace<'_>) -> Vec<u8> {
        let mut aad = Vec::with_capacity(64 + place.origin.len());
        aad.extend_from_slice(&(place.origin.len() as u64).to_le_bytes());
        aad.extend_from_slice(place.origin.as_bytes());
        for number in [place.segment, self.first, self.time_us] {
            aad.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.raw_length, self.epoch, self.count, self.flags] {
            aad.extend_from_slice(&number.to_le_bytes());
        }
        aad
    }
}

/// Where a frame belongs: it does not decrypt anywhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePlace<'a> {
    pub(crate) origin: &'a str,
    pub(crate) segment: u64,
}

/// What a frame is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameInput<'a> {
    pub(crate) epoch: u32,
    pub(crate) count: u32,
    pub(crate) first: u64,
    pub(crate) time_us: u64,
    pub(crate) previous: Chain,
    /// Records, each behind its length.
    pub(crate) raw: &'a [u8],
}

/// Makes frames; keeps the compressor's memory between them.
pub(crate) struct FrameWriter {
    compressor: zstd::bulk::Compressor<'static>,
}

/// Compression of frames. Level 1: two to three times the speed of level 3 for a tenth of the size.
const COMPRESSION_LEVEL: i32 = 1;

impl FrameWriter {
    pub(crate) fn new() -> FrameWriter {
        let compressor =
            zstd::bulk::Compressor::new(COMPRESSION_LEVEL).expect("zstd has memory for its context");
        FrameWriter { compressor }
    }

    /// Writes one frame into `out`, replacing what was there, and returns the chain behind it.
    pub(crate) fn write(
        &mut self,
        input: &FrameInput<'_>,
        place: &FramePlace<'_>,
        keys: &SegmentKeys,
        out: &mut Vec<u8>,
    ) -> Chain {
        let body = FRAME_HEADER_BYTES + NONCE_BYTES;
        out.clear();
        out.resize(body + compress_bound(input.raw.len()), 0);
        let room = out.get_mut(body..).expect("the buffer was made this long");
        let written =
            self.compressor.compress_to_buffer(input.raw, room).expect("the room is zstd's own bound");
        out.truncate(body + written);
        let fits = "a frame's lengths are below 2^32";
        let mut header = FrameHeader {
            crc: 0,
            length: u32::try_from(NONCE_BYTES + written + TAG_BYTES).expect(fits),
            raw_length: u32::try_from(input.raw.len()).expect(fits),
            epoch: input.epoch,
            count: input.count,
            first: input.first,
            time_us: input.time_us,
            flags: 0,
            chain: [0; 32],
        };
        seal_behind(&keys.frames, &header.aad(place), out, FRAME_HEADER_BYTES);
        put_header(out, &header);
        header.chain = FrameHeader::chain_behind(&input.previous, out);
        put_header(out, &header);
        header.crc = crc32c::crc32c(out.get(8..).expect("a frame is longer than its checksum"));
        put_header(out, &header);
        header.chain
    }
}

fn put_header(out: &mut [u8], header: &FrameHeader) {
    out.first_chunk_mut::<FRAME_HEADER_BYTES>()
        .expect("the buffer begins with a header")
        .copy_from_slice(&header.encode());
}

/// Reads frames; keeps the decompressor's memory between them.
pub(crate) struct FrameOpener {
    decompressor: zstd::bulk::Decompressor<'static>,
    raw: Vec<u8>,
}

impl FrameOpener {
    pub(crate) fn new() -> FrameOpener {
        let decompressor = zstd::bulk::Decompressor::new().expect("zstd has memory for its context");
        FrameOpener { decompressor, raw: Vec::new() }
    }

    /// Decrypts a frame's body in place and returns the records in it, each behind its length; `None` when the
    /// frame is not what was sealed at this place.
    pub(crate) fn open(
        &mut self,
        header: &FrameHeader,
        place: &FramePlace<'_>,
        keys: &SegmentKeys,
        body: &mut [u8],
    ) -> Option<&[u8]> {
        let compressed = open_in(&keys.frames, &header.aad(place), body)?;
        let length = usize::try_from(header.raw_length).ok()?;
        self.raw.clear();
        self.raw.resize(length, 0);
        let written = self.decompressor.decompress_to_buffer(compressed, &mut self.raw).ok()?;
        (written == length).then_some(&self.raw)
    }
}

/// Appends one record's bytes behind their length.
pub(crate) fn push_record(raw: &mut Vec<u8>, canonical: &[u8]) {
    varint(raw, canonical.len() as u64);
    raw.extend_from_slice(canonical);
}

/// The records within a frame. Ends early, with `None` and bytes left, when they are malformed.
pub(crate) struct Records<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut input = Input { bytes: self.0 };
        let record = input.bytes(0, RECORD_BYTES_MAX).ok()?;
        self.0 = input.bytes;
        Some(record)
    }
}

/// Returns the name of a segment's file.
pub(crate) fn segment_file(segment: u64) -> String {
    format!("segments/{segment:010}.seg")
}

/// Returns the number in a segment's file name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() >= 10 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::{Leaf, commitment};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The vectors of `docs/formats/segment.md`: hexadecimal bytes behind a name, in one block.
    fn vector(name: &str) -> String {
        include_str!("../../../docs/formats/segment.md")
            .split("```vectors\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .and_then(|block| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")))
            .unwrap_or_default()
            .to_owned()
    }

    const PLACE: FramePlace<'static> = FramePlace { origin: "gw1.example", segment: 3 };

    fn header() -> SegmentHeader {
        SegmentHeader {
            segment: 3,
            first: 1000,
            bytes: 65_536,
            epoch: 2,
            month: 202_611,
            time_us: 1_795_428_000_000_000,
            previous: [0x11; 32],
            wrapped: [0x22; WRAPPED_BYTES],
            origin: PLACE.origin.to_owned(),
        }
    }

    fn records() -> Vec<u8> {
        let mut raw = Vec::new();
        push_record(&mut raw, &[1, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        raw
    }

    fn input(raw: &[u8]) -> FrameInput<'_> {
        let previous = header().chain();
        FrameInput { epoch: 2, count: 1, first: 1000, time_us: 1_795_428_000_000_001, previous, raw }
    }

    #[test]
    fn the_documented_vectors_hold() {
        let keys = SegmentKeys::of_data_key([0x33; 32]);
        assert_eq!(hex(&chain_origin(PLACE.origin)), vector("chain of `gw1.example`"));
        let page = header().encode();
        assert_eq!(hex(page.get(..240).unwrap()), vector("segment header, first 240 bytes"));
        assert_eq!(hex(&header().chain()), vector("chain before its first frame"));
        let salt = keys.salt(1000);
        assert_eq!(hex(&salt), vector("salt of entry 1000"));
        let commitment = commitment(&salt, records().get(1..).unwrap());
        let leaf = Leaf { kind: 3, sequence: 1000, time_us: 1_795_428_000_000_001, commitment };
        assert_eq!(hex(&leaf.encode()), vector("leaf of entry 1000"));

        let mut frame = unhex(&vector("frame"));
        let header = FrameHeader::decode(&frame).unwrap();
        header.check(&frame).unwrap();
        assert_eq!(header.chain, FrameHeader::chain_behind(&self::header().chain(), &frame));
        let body = frame.get_mut(FRAME_HEADER_BYTES..).unwrap();
        assert_eq!(FrameOpener::new().open(&header, &PLACE, &keys, body).unwrap(), records());
    }

    /// Prints a fresh frame for the document when its format changes: nonces are random.
    #[test]
    fn a_frame_opens_only_at_its_place() {
        let keys = SegmentKeys::of_data_key([0x33; 32]);
        let mut frame = Vec::new();
        let raw = records();
        let chain = FrameWriter::new().write(&input(&raw), &PLACE, &keys, &mut frame);
        println!("frame: {}", hex(&frame));
        let header = FrameHeader::decode(&frame).unwrap();
        assert_eq!((header.check(&frame), header.chain), (Ok(()), chain));
        let open = |header: &FrameHeader, place: &FramePlace<'_>, keys: &SegmentKeys| {
            let mut body = frame.get(FRAME_HEADER_BYTES..).unwrap().to_vec();
            FrameOpener::new().open(header, place, keys, &mut body).map(<[u8]>::to_vec)
        };
        assert_eq!(open(&header, &PLACE, &keys), Some(raw));
        assert_eq!(open(&header, &FramePlace { segment: 4, ..PLACE }, &keys), None);
        assert_eq!(open(&header, &FramePlace { origin: "gw2", ..PLACE }, &keys), None);
        assert_eq!(open(&FrameHeader { first: 1001, ..header }, &PLACE, &keys), None);
        assert_eq!(open(&FrameHeader { time_us: 0, ..header }, &PLACE, &keys), None);
        assert_eq!(open(&header, &PLACE, &SegmentKeys::of_data_key([0x34; 32])), None);
    }

    #[test]
    fn every_bit_of_a_header_counts() {
        let page = header().encode();
        assert_eq!(SegmentHeader::decode(&page), Some(header()));
        for byte in 0..page.len() {
            let mut bad = page.clone();
            *bad.get_mut(byte).unwrap() ^= 1;
            assert_eq!(SegmentHeader::decode(&bad), None, "byte {byte}");
        }
    }

    #[test]
    fn the_bound_of_compression_is_zstds() {
        for raw in [0, 1, 100, 4096, 100_000, 1 << 20, FRAME_RAW_BYTES_MAX] {
            assert!(compress_bound(raw) >= zstd::zstd_safe::compress_bound(raw), "{raw}");
        }
    }
}
