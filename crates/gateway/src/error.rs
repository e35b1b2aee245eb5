//! Two readers, two types: [`Denial`] is what a client may be told, [`Failure`] what the operator is told.
//! The auditor's facts are records of the trail. Deliberately absent: any text a client or a resource sent.

use std::io;

/// Why a session does not begin or go on, in the client's words. Carries a reference, never a cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Unknown person, wrong password, unknown resource or no right to it: the same answer for all.
    Refused {
        /// The entry of the trail that says why.
        reference: u64,
        /// Emergency access is configured, for whomever and whatever: the answer says how to ask.
        emergencies: bool,
    },
    /// Somebody who proved who they are has not learnt what they must.
    Untrained {
        /// The entry of the trail that says so.
        reference: u64,
        /// What to do about it, as configured.
        remedy: String,
    },
    /// The trail cannot record, so nobody gets in.
    TrailLost,
    /// More sessions than allowed.
    TooMany,
    /// Wardline or the resource cannot serve now.
    Unavailable(&'static str),
    /// The start-up message asks for what Wardline does not pass on; dropping it would change what statements mean.
    Unsupported(String),
}

/// What went wrong on a connection, and on whose side.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client's connection broke.
    #[error("client connection")]
    Client(#[source] io::Error),
    /// The client sent what the protocol does not allow.
    #[error("client sent bytes that are not PostgreSQL: {0}")]
    ClientMalformed(String),
    /// The client did not finish its greeting in time.
    #[error("client did not sign in within the handshake timeout")]
    ClientSilent,
    /// The resource cannot be reached, or its connection broke.
    #[error("connection to the resource")]
    Upstream(#[source] io::Error),
    /// The resource sent what the protocol does not allow.
    #[error("resource sent bytes that are not PostgreSQL: {0}")]
    UpstreamMalformed(String),
    /// The resource refused Wardline's own log-in.
    #[error("resource refused the log-in: {0}")]
    UpstreamLogin(String),
    /// The resource refused a question of Wardline's own, such as for its catalogue.
    #[error("resource refused a query of wardline's own: {0}")]
    UpstreamQuery(String),
    /// The resource did not answer in time.
    #[error("resource did not answer within the dial timeout")]
    UpstreamSilent,
    /// The trail cannot record.
    #[error("trail")]
    Trail(#[source] trail::Error),
    /// The session does what cannot be protected, and its client may be told what.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Wardline's own configuration does not allow the session.
    #[error("{0}")]
    Ours(String),
}

impl Failure {
    /// Tells whether the resource does not take the credential, rather than anything else being wrong.
    pub fn is_refused_login(&self) -> bool {
        matches!(self, Failure::UpstreamLogin(why) if ["SQLSTATE 28P01", "SQLSTATE 28000"].contains(&why.as_str()))
    }

    /// Tells whether the resource does not take a start-up setting: there is no such role, or no right to it.
    pub(crate) fn is_refused_setting(&self) -> bool {
        matches!(self, Failure::UpstreamLogin(why) if ["SQLSTATE 22023", "SQLSTATE 42501"].contains(&why.as_str()))
    }
}

/// How a session ended when nothing broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It never began: the answer was no.
    Refused,
    /// The client said goodbye or closed its connection.
    ClientLeft,
    /// The resource closed its connection.
    UpstreamLeft,
    /// A change of policy or people took the right away.
    Revoked,
    /// An administrator ended it.
    Killed,
    /// Nothing was asked for the idle timeout.
    Idle,
    /// The session reached its greatest age.
    Expired,
    /// Wardline is stopping.
    Drained,
    /// The trail cannot record: nothing more is released.
    TrailLost,
    /// The session asked for something Wardline cannot protect.
    Unsupported,
    /// It was a cancel request, which carries nothing else.
    Cancel,
}

impl Ending {
    /// Returns the word for the trail and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Refused => "refused",
            Ending::ClientLeft => "client-left",
            Ending::UpstreamLeft => "upstream-left",
            Ending::Revoked => "revoked",
            Ending::Killed => "killed",
            Ending::Idle => "idle",
            Ending::Expired => "expired",
            Ending::Drained => "drained",
            Ending::TrailLost => "trail-lost",
            Ending::Unsupported => "unsupported",
            Ending::Cancel => "cancel",
        }
    }
}
