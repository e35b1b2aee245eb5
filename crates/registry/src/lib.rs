//! The control database: people, how they sign in, the roles they hold. SQLite in one file of mode 0600.
//!
//! It stores and decides nothing: whether a secret is right, a token alive or an account locked is `identity`'s to
//! say, and [`Registry::attempt`] lets such a decision happen inside a transaction. Times come in as arguments.
//!
//! Writes go through one connection and are durable when the call returns; reads have connections of their own and
//! never wait for a write. A future that is dropped half way did all or nothing, and leaves no lock behind.
//!
//! Deliberately absent: plain secrets of any kind, the trail (whoever changes something here records it first), and
//! the PostgreSQL form for several nodes, for which the SQL is kept portable.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod agreements;
mod database;
mod departures;
mod error;
mod identities;
mod locks;
mod names;
mod people;
mod rows;
mod scim;
mod sign_in;
mod tokens;

use sqlx::SqlitePool;

pub use access::{Closed, NewRequest, REQUESTS_PER_PERSON_MAX, RequestRow};
pub use agreements::{AgreementRow, HoldRow, NoAgreement};
pub use departures::{DEPARTURES_SHOWN_MAX, DepartureRow, NewDeparture};
pub use error::Error;
pub use locks::{LOCKS_MAX, LockRow, LockedRow, NewLock};
pub use names::{NAME_BYTES_MAX, name_fits, role_fits};
pub use rows::{AccountRow, FailuresRow, NewPerson, PersonRow, SignIn, TokenRow, Verifiers, Wanted};
pub use scim::{ScimGroupRow, ScimTokenRow, ScimUser, ScimUserRow};

/// One person has at most this many tokens alive at once. SCRAM tries each of them at every sign-in, so the number is
/// also a bound on that work.
pub const TOKENS_PER_PERSON_MAX: usize = 16;

/// The control database, open. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    writer: SqlitePool,
    readers: SqlitePool,
    /// The change that writes through this handle are.
    change: Option<u64>,
}
