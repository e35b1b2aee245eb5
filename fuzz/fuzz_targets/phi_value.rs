//! Any bytes as a value of every type and format, through every operator of `phi`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses one of the functions")]
#[path = "../../crates/phi/tests/it/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| decoders::value(bytes));
