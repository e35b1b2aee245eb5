//! What goes wrong while entries are handed over.

use std::io;
use std::path::PathBuf;

/// Why entries are not handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The trail cannot be read.
    #[error("the trail cannot be read")]
    Trail(#[from] trail::Error),
    /// The position is not one of this trail and receiver.
    #[error("the position {path} cannot be used: {why}", path = .path.display())]
    Position {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} {path}", path = .path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The receiver's address or certificates cannot be used.
    #[error("{0}")]
    Receiver(String),
}

/// Why a receiver did not take a batch. It is tried again, whatever it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("it is not reached")]
    Unreachable(#[source] io::Error),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the exchange failed")]
    Http(#[source] hyper::Error),
    #[error("it answered {0}")]
    Status(u16),
    #[error("it answered something that is no answer to a batch")]
    Answer,
    #[error("it refused event {number} of the batch with {status}")]
    Event { number: usize, status: String },
    #[error("the mail server did not take it")]
    Mail(#[source] Box<lettre::transport::smtp::Error>),
    #[error("it did not answer in time")]
    Late,
}
