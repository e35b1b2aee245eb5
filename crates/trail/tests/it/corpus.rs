//! The committed fuzzing corpus, replayed.

use crate::decoders;

#[test]
fn the_corpus_does_no_harm() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/trail_frame");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        decoders::frame(&std::fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files >= 5, "{files} files");
}
