//! Integration tests of `phi`: through its public interface only.
#![allow(clippy::indexing_slicing)]

#[path = "it/corpus.rs"]
mod corpus;
#[path = "it/decoders.rs"]
mod decoders;
#[path = "it/properties.rs"]
mod properties;
#[path = "it/quality.rs"]
mod quality;
