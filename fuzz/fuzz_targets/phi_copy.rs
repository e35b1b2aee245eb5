//! Any bytes as a COPY stream of each style, split anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses one of the functions")]
#[path = "../../crates/phi/tests/it/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| decoders::copy(bytes));
