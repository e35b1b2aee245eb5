//! What every decoder must hold for any bytes: shared with the fuzz target, which finds the bytes.

use trail::{FrameHeader, Leaf, SegmentHeader, decode, encode};

/// The first byte chooses the decoder.
pub(crate) fn frame(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 4 {
        0 => {
            if let Ok(record) = decode(bytes) {
                let mut again = Vec::new();
                encode(&record, &mut again).expect("what was decoded is within the limits");
                assert_eq!(again, bytes, "one record, one encoding");
            }
        }
        1 => {
            if let Ok(header) = FrameHeader::decode(bytes) {
                assert!(header.frame_bytes() < 20 << 20, "a length that somebody else wrote is bounded");
                assert!(header.end() > header.first);
                let _checked = header.check(bytes);
            }
        }
        2 => {
            if let Some(header) = SegmentHeader::decode(bytes) {
                assert_eq!(header.encode(), bytes);
            }
        }
        _ => {
            if let Some(leaf) = Leaf::decode(bytes) {
                assert_eq!(leaf.encode().as_slice(), bytes);
            }
        }
    }
}
