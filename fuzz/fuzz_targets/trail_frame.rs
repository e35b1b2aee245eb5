//! Records, frames, segment headers and leaves of `trail`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/trail/tests/it/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| decoders::frame(bytes));
