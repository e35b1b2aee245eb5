//! An authenticator app, by an implementation that is not ours.

use std::time::SystemTime;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::gateway::Gateway;

/// The phone of a person: shows the code of the moment.
pub struct Phone(totp_rs::Totp);

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phone(..)")
    }
}

impl Phone {
    /// Gives a person an authenticator by `wardline user totp`.
    ///
    /// # Errors
    /// It is refused.
    pub fn of(gateway: &Gateway, name: &str) -> Result<Phone> {
        let reply: Value = serde_json::from_str(&gateway.cli(&["user", "totp", name, "--json"])?)?;
        Phone::with(reply.get("secret").and_then(Value::as_str).context("a secret")?)
    }

    /// Takes the secret that a person types into the app.
    ///
    /// # Errors
    /// It is not base32.
    pub fn with(secret: &str) -> Result<Phone> {
        let secret = totp_rs::Secret::try_from_base32(secret).map_err(|_| anyhow::anyhow!("not base32"))?;
        Ok(Phone(totp_rs::Builder::new().with_secret(secret).build_noncompliant()))
    }

    /// Shows the code of now. It is also taken a step later, so a test may cross one.
    #[must_use]
    pub fn code(&self) -> String {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.0.generate(since.as_secs()).to_string()
    }

    /// Shows the code of the step that is to come, which is taken as well: for a second sign-in within a step.
    #[must_use]
    pub fn next_code(&self) -> String {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.0.generate(since.as_secs() + 30).to_string()
    }
}
