//! The decoders on the committed corpora of their fuzz targets, and on arbitrary bytes.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::decoders;

/// Replays a target's corpus; an empty one would prove nothing.
fn replay(target: &str, decode: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 8, "{} has only {} files", corpus.display(), files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        decode(&bytes);
        // Every cut, and a flip in every byte, of small files.
        for at in 0..bytes.len().min(600) {
            decode(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            decode(&changed);
        }
    }
}

#[test]
fn corpus_of_notes() {
    replay("tlog_note", decoders::note);
}

#[test]
fn corpus_of_tiles() {
    replay("tlog_tile", decoders::tile);
}

proptest! {
    #[test]
    fn no_bytes_bring_a_decoder_down(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        decoders::note(&bytes);
        decoders::tile(&bytes);
    }

    #[test]
    fn no_text_brings_a_decoder_down(text in "(c2sp\\.org/tlog-proof@v1\n(extra [A-Za-z=]{0,8}\n)?index [0-9]{0,3}\n)?([a-z0-9.+/]{0,9}\n){0,4}\n?(— [a-z]{1,3} [A-Za-z0-9]{8}\n){0,3}") {
        decoders::note(text.as_bytes());
        decoders::tile(text.as_bytes());
    }
}
