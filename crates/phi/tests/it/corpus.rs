//! The committed fuzzing corpora, replayed.

use crate::decoders;

#[track_caller]
fn replay(target: &str, decoder: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        decoder(&std::fs::read(entry.expect("an entry").path()).expect("a file"));
        files += 1;
    }
    assert!(files >= 8, "{target}: {files} files");
}

#[test]
fn values_do_no_harm() {
    replay("phi_value", decoders::value);
}

#[test]
fn copy_streams_do_no_harm() {
    replay("phi_copy", decoders::copy);
}

#[test]
fn texts_do_no_harm() {
    replay("phi_detect", decoders::detect);
}
