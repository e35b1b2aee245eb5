//! Integration tests of `phi`: through its public interface only.

#[path = "it/quality.rs"]
mod quality;
