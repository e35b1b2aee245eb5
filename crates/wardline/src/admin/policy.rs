//! What is asked about policies, and answered.

use serde::{Deserialize, Serialize};

/// One thing that is asked about policies.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum PolicyAsk {
    /// What the policy of that digest was made from; without one, the policy in force.
    Sources { digest: Option<String> },
}

/// What a policy was made from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PolicyView {
    /// As `past` keeps it, in base64; `None` where it was not kept.
    pub(crate) sources: Option<String>,
    pub(crate) digest: String,
    /// Of the policy in force.
    pub(crate) version: Option<u64>,
    /// When it is asked.
    pub(crate) now_us: u64,
}
