//! Any bytes as a text to search for identifiers, and as a cell of every type.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses one of the functions")]
#[path = "../../crates/phi/tests/it/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| decoders::detect(bytes));
