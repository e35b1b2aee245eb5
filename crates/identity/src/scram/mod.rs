//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both halves, without I/O.
//!
//! As PostgreSQL speaks it: SASLprep that falls back to the raw bytes, no authorization identity, the name inside the
//! client's message ignored (it travels in the startup packet), and channel binding by `tls-server-end-point` only.
//! The server half checks one proof against several verifiers that share salt and iterations, so that a password and
//! tokens are interchangeable.
//!
//! Deliberately absent: MD5 and cleartext log-ins, the hash of a certificate (RFC 5929 §4.1: whoever owns the TLS
//! connection knows it), framing into PostgreSQL messages.

mod client;
mod keys;
mod message;
mod prep;
mod server;

use thiserror::Error;

pub use client::{AwaitServer, Binding, Challenge, Client};
pub use keys::{ClientKeys, Parameters, Salts, UnreadableVerifier, Verifier};
pub use server::ServerFirst;

/// Iterations of new verifiers: PostgreSQL's default, and the least that RFC 7677 allows.
///
/// The client pays for them at each sign-in, some of them in Python; the secrets of people are kept by argon2id unless
/// the listener asks for SCRAM.
pub const ITERATIONS: u32 = 4096;

/// A server may ask us for at least this many iterations; fewer would let it guess the password cheaply.
pub const ITERATIONS_MIN: u32 = 4096;

/// A server may ask us for at most this many iterations: a quarter of a second of CPU, at worst.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// No message of either side is longer. PostgreSQL has the same limit.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// The server half does the work of this many verifiers even for fewer, so that time does not tell how many a person
/// has, or whether there is a person: the password and as many tokens as one person may hold.
pub const CANDIDATES_MIN: usize = 17;

/// The mechanisms, as SASL names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Without channel binding.
    ScramSha256,
    /// Bound to the TLS connection.
    ScramSha256Plus,
}

impl Mechanism {
    /// Returns what to offer to a client, best first: `-PLUS` only where there is TLS to bind to.
    pub fn offered(tls: bool) -> &'static [Mechanism] {
        if tls { &[Mechanism::ScramSha256Plus, Mechanism::ScramSha256] } else { &[Mechanism::ScramSha256] }
    }

    /// Returns the name used in SASL.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// Returns the mechanism of that name.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        [Mechanism::ScramSha256, Mechanism::ScramSha256Plus].into_iter().find(|it| it.name() == name)
    }
}

/// How an exchange failed. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A message is longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// A message does not follow the grammar.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The client wants to act as somebody else.
    #[error("an authorization identity is not supported")]
    AuthorizationIdentity,
    /// The peer insists on an extension; there are none.
    #[error("a mandatory extension is not supported")]
    MandatoryExtension,
    /// The client wants a channel binding other than `tls-server-end-point`.
    #[error("channel binding type is not supported; only `tls-server-end-point` is")]
    BindingType,
    /// The channel binding flag contradicts the chosen mechanism.
    #[error("the channel binding flag does not fit the mechanism")]
    BindingMechanism,
    /// The client believes that we offer no channel binding, but we do: somebody may have changed our offer.
    #[error("the client did not see our offer of channel binding")]
    BindingDowngrade,
    /// The client speaks to another TLS certificate than ours.
    #[error("channel binding does not match")]
    BindingMismatch,
    /// A nonce is not the one of this exchange.
    #[error("the nonce does not match")]
    Nonce,
    /// The server asks for too few or too many iterations.
    #[error("the server asks for {0} iterations; allowed are {ITERATIONS_MIN} to {ITERATIONS_MAX}")]
    Iterations(u32),
    /// The keys were derived for another salt or number of iterations.
    #[error("the cached keys belong to other parameters")]
    Parameters,
    /// The server did not accept the proof, and says why.
    #[error("the server refused: `{0}`")]
    Refused(String),
    /// The server does not know the password either.
    #[error("the server could not prove that it knows the password")]
    ServerSignature,
}

#[cfg(test)]
mod tests;
