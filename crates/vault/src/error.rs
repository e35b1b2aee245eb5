//! What can go wrong. No error holds a secret.

use std::io;
use std::path::PathBuf;

use model::ResourceId;
use thiserror::Error;

/// Why the vault could not be read or written.
#[derive(Debug, Error)]
pub enum Error {
    /// The file system said no.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a vault.
    #[error("`{}` is not a vault file", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The file is a vault of a version that this program does not know.
    #[error("`{}` has the format `{format}`, which this version does not read", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        format: String,
    },
    /// The key in the file does not open with this root key.
    #[error("`{}` was not written under this root key, or its `key` is damaged", path.display())]
    WrongRootKey {
        /// The file.
        path: PathBuf,
    },
    /// An entry does not decrypt: altered, or moved from another resource or user.
    #[error("the credential for `{resource}` is damaged: set it again")]
    Damaged {
        /// Whose credential.
        resource: ResourceId,
    },
    /// There is nothing to rotate, or no such account.
    #[error("there is no such credential for `{resource}`: set it first")]
    NoCredential {
        /// Whose credential.
        resource: ResourceId,
    },
    /// An account cannot take turns with itself.
    #[error("the second account for `{resource}` must be another one than the first")]
    SameAccount {
        /// Whose credential.
        resource: ResourceId,
    },
    /// A rotation was begun and not ended; what it left must be looked at first.
    #[error("a rotation for `{resource}` is under way")]
    RotationUnderWay {
        /// Whose credential.
        resource: ResourceId,
    },
    /// Nothing was begun that could be finished.
    #[error("no rotation for `{resource}` is under way")]
    NoRotation {
        /// Whose credential.
        resource: ResourceId,
    },
    /// The cryptographic library failed.
    #[error("encryption failed")]
    Crypto,
}

/// Why there is no root key.
#[derive(Debug, Error)]
pub enum RootKeyError {
    /// The file system said no.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is one already; everything encrypted under it would be lost.
    #[error("`{}` exists already and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may read or write it.
    #[error("`{0}` is open to others (mode {mode:04o}): run `chmod 600 {0}`", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a regular file.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It does not hold 64 hexadecimal digits.
    #[error("`{}` is not a root key: 64 hexadecimal digits expected", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes.
    #[error("the system's random source failed")]
    Random,
}
