//! Tests of the crate against the RFCs' vectors, other implementations, and hostile bytes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[path = "it/decoders.rs"]
mod decoders;
#[path = "it/docs.rs"]
mod docs;
#[path = "it/foreign.rs"]
mod foreign;
#[path = "it/note.rs"]
mod note;
#[path = "it/offline.rs"]
mod offline;
#[path = "it/path.rs"]
mod path;
#[path = "it/proof.rs"]
mod proof;
#[path = "it/replay.rs"]
mod replay;
#[path = "it/succession.rs"]
mod succession;
#[path = "it/support.rs"]
mod support;
#[path = "it/tree.rs"]
mod tree;
#[path = "it/witness.rs"]
mod witness;
