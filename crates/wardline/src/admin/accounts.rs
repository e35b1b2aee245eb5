//! What is asked about accounts and agents, and answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Sensitive;

/// One thing that is asked about accounts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "account", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum AccountAsk {
    /// Say what an account is and who answers for it; what is left out stays, an empty name is nobody.
    Describe {
        name: String,
        kind: Option<String>,
        owner: Option<String>,
        approver: Option<String>,
        manager: Option<String>,
    },
    /// Say who answers for the account by which Wardline signs in at a resource.
    DescribeUpstream { resource: String, owner: Option<String>, approver: Option<String> },
    /// Every account that is not one person's, and what is wrong with accounts.
    Report { all: bool },
}

impl AccountAsk {
    /// Tells whether it changes something.
    pub(crate) fn changes(&self) -> bool {
        match self {
            AccountAsk::Describe { .. } | AccountAsk::DescribeUpstream { .. } => true,
            AccountAsk::Report { .. } => false,
        }
    }

    /// Returns the command.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            AccountAsk::Describe { .. } | AccountAsk::DescribeUpstream { .. } => "account describe",
            AccountAsk::Report { .. } => "report accounts",
        }
    }
}

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AccountView {
    pub(crate) account: String,
    /// The resource, for an account by which Wardline signs in there.
    pub(crate) resource: Option<String>,
    /// `person`, `service`, `shared`, `agent` or `upstream`.
    pub(crate) kind: String,
    pub(crate) owner: Option<String>,
    pub(crate) approver: Option<String>,
    pub(crate) manager: Option<String>,
    pub(crate) last_used_at: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) disabled: bool,
    pub(crate) findings: Vec<String>,
}

/// One thing that is asked about agents.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "agents", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum AgentAsk {
    /// Add a program that acts for people.
    Add { name: String, display_name: String, roles: Vec<String>, owner: String },
    /// Let an agent act on one's own behalf.
    Delegate { agent: String, life_s: u64, purpose: Option<String> },
    /// End a delegation.
    End { number: u64, reason: String },
    /// The delegations.
    List { also_ended: bool },
}

impl AgentAsk {
    /// Tells whether it changes something.
    pub(crate) fn changes(&self) -> bool {
        match self {
            AgentAsk::Add { .. } | AgentAsk::Delegate { .. } | AgentAsk::End { .. } => true,
            AgentAsk::List { .. } => false,
        }
    }

    /// Returns the command.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            AgentAsk::Add { .. } => "agent add",
            AgentAsk::Delegate { .. } => "agent delegate",
            AgentAsk::End { .. } => "agent end",
            AgentAsk::List { .. } => "agent list",
        }
    }
}

/// What is answered about agents.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AgentReply {
    /// The delegation, with the agent's token in clear: the only time.
    Delegated {
        delegation: DelegationView,
        token: Sensitive,
        address: String,
    },
    Delegations(Vec<DelegationView>),
}

/// A delegation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DelegationView {
    pub(crate) number: u64,
    pub(crate) agent: String,
    pub(crate) person: String,
    pub(crate) purpose: Option<String>,
    pub(crate) given_at: String,
    pub(crate) until: String,
    /// `in-force`, `expired` or `ended`.
    pub(crate) state: String,
    pub(crate) ended_by: Option<String>,
}
