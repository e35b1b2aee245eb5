//! Witnesses: machines of somebody else that sign which checkpoints they saw, so that no second history can be shown.
//!
//! `memory` decides and remembers, `server` speaks HTTP for it (`wardline witness`); `submit` is the node's side, a
//! background task of `serve` that asks the witnesses of a policy, over `client`. The data path never waits for any of it.
//! Formats: C2SP tlog-witness, tlog-cosignature, tlog-policy; see `docs/formats/checkpoint.md`.

pub(crate) mod client;
pub(crate) mod memory;
pub(crate) mod server;
pub(crate) mod submit;
pub(crate) mod tls;
