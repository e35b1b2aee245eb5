//! Wardline's own account at a resource: whether a credential logs in, and changing its password.
//!
//! The new password never leaves Wardline: the resource is given a SCRAM verifier made here, which is what it would store
//! itself. An account changes its own password, so that nobody needs a right over others. Deliberately absent: when, and
//! what is kept meanwhile (the caller's), and other ways to prove oneself than SCRAM-SHA-256.

use std::time::Duration;

use identity::scram::Verifier;
use tokio::time::timeout;

use super::dial::{self, LoginKeys};
use crate::control::Upstream;
use crate::error::Failure;
use crate::stream::Stream;

/// For connecting and logging in.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// For one statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// At the resource: a change of a role waits for nobody for long.
const LIMITS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '3s'";

/// A log-in at a resource, to look after the account itself.
pub struct OwnAccount {
    stream: Stream,
}

impl std::fmt::Debug for OwnAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnAccount").finish_non_exhaustive()
    }
}

impl OwnAccount {
    /// Logs in.
    ///
    /// # Errors
    /// When the resource cannot be reached, or refuses: [`Failure::is_refused_login`] tells which.
    pub async fn sign_in(upstream: &Upstream, credential: &vault::Credential) -> Result<OwnAccount, Failure> {
        let parameters = [("application_name", "wardline rotation"), ("client_encoding", "UTF8")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let keys = LoginKeys::new();
        let dialing = dial::dial(upstream, credential, &parameters, &keys);
        let dialed = timeout(DIAL_TIMEOUT, dialing).await.map_err(|_| Failure::UpstreamSilent)??;
        Ok(OwnAccount { stream: dialed.stream })
    }

    /// Gives the account another password, by what checks it. Durable at the resource when this returns.
    ///
    /// # Errors
    /// When the resource refuses or does not answer; in the second case nobody knows which password counts.
    pub async fn set_password(&mut self, verifier: &Verifier) -> Result<(), Failure> {
        self.answer(LIMITS).await?;
        // A commit that is not on the disk could be forgotten, and the new password with it.
        self.answer("SET synchronous_commit = on").await?;
        // INVARIANT: the text form has letters, digits and `$:+/=-` only, and CURRENT_USER needs no quotes.
        let sql = format!("ALTER ROLE CURRENT_USER PASSWORD '{}'", verifier.to_text());
        self.answer(&sql).await
    }

    /// Says goodbye.
    pub async fn leave(self) {
        let _in_time = timeout(ANSWER_TIMEOUT, dial::leave(self.stream)).await;
    }

    async fn answer(&mut self, sql: &str) -> Result<(), Failure> {
        let answering = dial::rows(&mut self.stream, sql);
        timeout(ANSWER_TIMEOUT, answering).await.map_err(|_| Failure::UpstreamSilent)?.map(drop)
    }
}
