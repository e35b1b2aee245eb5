//! Transparency-log mathematics: Merkle trees, tiles, checkpoints, signed notes, proofs.
//!
//! The formats are public ones, so that anybody's verifier reads what this crate writes: RFC 6962 tree hashes,
//! C2SP `tlog-tiles`, `signed-note`, `tlog-checkpoint`, `tlog-proof`, `tlog-cosignature`, `tlog-witness` (the text of a
//! submission) and `tlog-policy`. See `docs/formats/checkpoint.md`.
//!
//! Everything here is pure: bytes and numbers come in as arguments, values go out.
//!
//! Architecture invariant: no files, sockets, clock, threads or randomness, and no knowledge of what a leaf means.
//! Deliberately absent: how leaves are made and stored (`trail`), how witnesses are reached (`wardline`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod builder;
mod bundle;
mod checkpoint;
mod cosignature;
mod frontier;
mod hash;
mod note;
mod offline;
mod policy;
mod proof;
mod submission;
mod succession;
mod tile;

pub use builder::TileBuilder;
pub use bundle::{BundleError, ENTRY_BYTES_MAX, EntryTooLong, decode_bundle, encode_entry};
pub use checkpoint::{Checkpoint, CheckpointError, OpenError};
pub use cosignature::{CosignatureVerifier, Cosigner};
pub use frontier::{Frontier, FrontierError};
pub use hash::{EMPTY_ROOT, HASH_BYTES, Hash, HashParseError, leaf_hash, node_hash};
pub use note::{
    KeyError, KeyId, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, NoteError, NoteSigner, NoteVerifier, Signature,
    SignatureType, SignedNote,
};
pub use offline::{OfflineProof, OfflineProofError, PROOF_BYTES_MAX, PROOF_EXTRA_BYTES_MAX};
pub use policy::{
    POLICY_BYTES_MAX, POLICY_ITEMS_MAX, Policy, PolicyError, PolicyLog, PolicyParseError, PolicyWitness,
};
pub use proof::{
    HashReader, PROOF_HASHES_MAX, ProofError, ReadError, prove_consistency, prove_inclusion, root_from_tiles,
    verify_consistency, verify_inclusion,
};
pub use submission::{SUBMISSION_BYTES_MAX, SUBMISSION_HASHES_MAX, Submission, SubmissionError};
pub use succession::{KEY_CHANGES_MAX, KeyChange, KeyChangeError, Succession};
pub use tile::{
    Bundle, LEAVES_MAX, PathError, TILE_HASHES_MAX, TILE_LEVEL_MAX, Tile, TreeFile, bundles_between,
    tiles_between, tiles_of,
};
