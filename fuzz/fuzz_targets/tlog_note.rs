//! Notes, checkpoints, proof files and verifier keys of `tlog`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses one of the functions")]
#[path = "../../crates/tlog/tests/it/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| decoders::note(bytes));
