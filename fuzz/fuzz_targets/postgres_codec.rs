//! Any bytes as a stream of a PostgreSQL client, of a server, and as a first packet. The codec is private to the
//! gateway and pure, so it is taken in as it is.
#![no_main]
#![allow(dead_code, reason = "the gateway uses more of the codec than its decoders")]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/gateway/src/protocol/postgres/codec.rs"]
mod codec;
#[path = "../../crates/gateway/src/protocol/postgres/codec/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| decoders::decode(bytes));
