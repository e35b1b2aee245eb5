//! Buckets that speak S3, as a [`trail::Store`], and what such a bucket really enforces.
//!
//! A small client of its own: objects are put with `If-None-Match: *` and a SHA-256 that the server checks, versions and
//! delete markers are listed, retention is asked for; nothing is ever deleted but by the self-test, which tries to.
//! Requests are signed (AWS Signature Version 4) and addressed by path, which every compatible server understands.
//! Deliberately absent: multipart uploads (an object is at most [`OBJECT_BYTES_MAX`]), anything that changes an object.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod date;
mod http;
mod probe;
mod s3;
mod sign;
mod xml;

pub use http::{Endpoint, EndpointError, OBJECT_BYTES_MAX};
pub use probe::{Enforced, Lock};
pub use s3::{Bucket, Credentials, CredentialsError, S3};
