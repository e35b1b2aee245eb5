//! What can go wrong. No error holds a secret or a bound value, apart from names of people and roles.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::TOKENS_PER_PERSON_MAX;
use crate::factors::PASSKEYS_PER_PERSON_MAX;
use crate::names::NAME_BYTES_MAX;

/// Why the registry did not do what it was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// A living person has that name.
    #[error("there is already a person named `{name}`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The name cannot be a login name.
    #[error(
        "`{name}` cannot be a login name: 1 to {NAME_BYTES_MAX} of `a-z 0-9 . _ @ -`, a letter or digit first"
    )]
    NameUnfit {
        /// The name.
        name: String,
    },
    /// The role's name cannot be one.
    #[error("`{role}` cannot be the name of a role: 1 to {NAME_BYTES_MAX} of `a-z 0-9 _ -`, a letter first")]
    RoleUnfit {
        /// The name.
        role: String,
    },
    /// There is no living person with that id.
    #[error("there is no such person")]
    UnknownPerson,
    /// The person has as many tokens as one may have.
    #[error("the person has {TOKENS_PER_PERSON_MAX} active tokens already: revoke one first")]
    TokensMax,
    /// The code was used by somebody else at the same time.
    #[error("the code was used before")]
    FactorUsed,
    /// The person has as many passkeys as one may have.
    #[error("the person has {PASSKEYS_PER_PERSON_MAX} passkeys already: remove one first")]
    PasskeysMax,
    /// So many locks are in force as may be.
    #[error("{max} locks are in force already: lift some first")]
    TooManyLocks {
        /// How many may be.
        max: usize,
    },
    /// There is no request of that number.
    #[error("there is no such request")]
    UnknownRequest,
    /// The request was decided, or the grant has ended.
    #[error("it is not open any more, or not in a state for that")]
    RequestNotOpen,
    /// Nobody approves for themselves.
    #[error("nobody approves their own request")]
    OwnRequest,
    /// One person is one approval.
    #[error("the same person approved it before")]
    ApprovedBefore,
    /// The person has as many requests open as one may have.
    #[error("the person has {max} requests and grants open already")]
    TooManyRequests {
        /// How many may be.
        max: usize,
    },
    /// There is no emergency access of that number.
    #[error("there is no such emergency access")]
    UnknownEmergency,
    /// Emergency access is not in a state for that.
    #[error("emergency access {number} is not in a state for that")]
    EmergencyState {
        /// Its number.
        number: u64,
    },
    /// The person has it already.
    #[error("the person has emergency access to this resource already")]
    EmergencyTaken,
    /// Nobody reviews their own.
    #[error("nobody reviews their own emergency access")]
    OwnEmergency,
    /// There is no exception of that number.
    #[error("there is no such exception")]
    UnknownException,
    /// The subject of the provider is another person.
    #[error("it is bound to another person already")]
    IdentityTaken,
    /// There is no right of that number in the campaign.
    #[error("there is no such right in the campaign")]
    UnknownRight,
    /// Somebody decided about the right before.
    #[error("it was decided before")]
    DecidedBefore,
    /// A grant is for what was asked, and approved.
    #[error("a grant for a time cannot be changed to another role: revoke it, and let another be asked for")]
    GrantNotChanged,
    /// The agent acts for as many people as one may.
    #[error("the agent has {max} delegations in force already")]
    TooManyDelegations {
        /// How many may be.
        max: usize,
    },
    /// A row does not hold what this program writes there.
    #[error("the registry is damaged: column `{column}` is not readable")]
    Damaged {
        /// The column.
        column: &'static str,
    },
    /// The file could not be made or its permissions not set.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another program has it.
    #[error("another Wardline uses this registry; one at a time can")]
    InUse,
    /// What is to be filled has something in it.
    #[error("there is something in the registry already, and it is not overwritten")]
    NotEmpty,
    /// The tables could not be brought to this version.
    #[error("cannot bring the registry up to date")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    /// The database failed.
    #[error("the registry's database failed")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        Error::Database(error)
    }
}
