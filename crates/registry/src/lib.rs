//! The control database: people, how they sign in, the roles they hold. SQLite in one file of mode 0600, or PostgreSQL.
//!
//! It stores and decides nothing: whether a secret is right, a token alive or an account locked is `identity`'s to
//! say, and [`Registry::attempt`] lets such a decision happen inside a transaction. Times come in as arguments.
//!
//! Writes go through one connection and are durable when the call returns; reads have connections of their own and
//! never wait for a write. A future that is dropped half way did all or nothing, and leaves no lock behind.
//!
//! Both databases run the same statements through `sqlx::Any`, which carries whole numbers, texts and bytes and nothing
//! else: `BIGINT`, `TEXT` and `BLOB` are the only types of columns.
//!
//! Deliberately absent: plain secrets of any kind, the trail (whoever changes something here records it first), and
//! several programs at one registry: the second is refused.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod accounts;
mod agreements;
mod campaigns;
mod copy;
mod database;
mod delegations;
mod departures;
mod emergencies;
mod error;
mod exceptions;
mod factors;
mod identities;
mod locks;
mod migrations;
mod names;
mod people;
mod policies;
mod rows;
mod scim;
mod server;
mod sign_in;
mod tokens;
mod training;

use std::sync::{Arc, RwLock};

use sqlx::AnyPool;

pub use access::{Closed, NewRequest, REQUESTS_PER_PERSON_MAX, RequestRow};
pub use accounts::{AccountKind, Details, UpstreamAccountRow};
pub use agreements::{AgreementRow, HoldRow, NoAgreement};
pub use campaigns::{
    CampaignRow, Decided, NewCampaign, NewRight, RIGHTS_PER_CAMPAIGN_MAX, RightRow, Scope, Verdict,
};
pub use database::Home;
pub use delegations::{DELEGATIONS_PER_AGENT_MAX, DelegationRow, NewDelegation};
pub use departures::{DEPARTURES_SHOWN_MAX, DepartureRow, NewDeparture};
pub use emergencies::{Emergency, Finding, Over, Review, SEALED_CODE};
pub use error::Error;
pub use exceptions::{Exception, NewException, peek_change, peek_exceptions};
pub use factors::{FactorUsed, FactorsRow, PASSKEYS_PER_PERSON_MAX, PasskeyRow};
pub use locks::{LOCKS_MAX, LockRow, LockedRow, NewLock};
pub use names::{NAME_BYTES_MAX, name_fits, role_fits};
pub use rows::{AccountRow, FailuresRow, NewPerson, PersonRow, SignIn, TokenRow, Verifiers, Wanted};
pub use scim::{ScimGroupRow, ScimTokenRow, ScimUser, ScimUserRow};
pub use server::{Server, ServerError};
pub use training::{CompletionRow, NewCompletion, Source, Training};

/// One person has at most this many tokens alive at once. SCRAM tries each of them at every sign-in, so the number is
/// also a bound on that work.
pub const TOKENS_PER_PERSON_MAX: usize = 16;

/// The connections to one database.
#[derive(Clone, Debug)]
struct Pools {
    writer: AnyPool,
    readers: AnyPool,
    home: Home,
}

/// The control database, open. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Shared by all clones, and replaced for all of them together.
    pools: Arc<RwLock<Pools>>,
    /// The change that writes through this handle are.
    change: Option<u64>,
}
