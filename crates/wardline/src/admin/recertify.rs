//! What is asked about campaigns of recertification, and answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that is asked about campaigns.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "recertify", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum RecertifyAsk {
    /// Make the list of rights, and say who looks at each.
    Start {
        over: Over,
        due_us: u64,
        /// Who looks at all of it, instead of each person's manager or owner.
        reviewer: Option<String>,
        /// Who looks at what the reviewer may not, or where there is none.
        deputy: Option<String>,
        escalate_to: Option<String>,
        escalate_s: u64,
    },
    /// The campaigns.
    List {},
    /// The rights of one.
    Show { campaign: u64 },
    /// Decide about rights.
    Decide { campaign: u64, items: Vec<u64>, verdict: Answered, reason: String },
    /// Everything that was decided, signed with the key of the log.
    Report { campaign: u64 },
}

impl RecertifyAsk {
    /// Tells whether it changes something.
    pub(crate) fn changes(&self) -> bool {
        match self {
            RecertifyAsk::Start { .. } | RecertifyAsk::Decide { .. } => true,
            RecertifyAsk::List {} | RecertifyAsk::Show { .. } | RecertifyAsk::Report { .. } => false,
        }
    }

    /// Returns the command.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            RecertifyAsk::Start { .. } => "recertify start",
            RecertifyAsk::List {} => "recertify list",
            RecertifyAsk::Show { .. } => "recertify show",
            RecertifyAsk::Decide { verdict: Answered::Confirm, .. } => "recertify confirm",
            RecertifyAsk::Decide { verdict: Answered::ChangeTo(_), .. } => "recertify change",
            RecertifyAsk::Decide { verdict: Answered::Revoke, .. } => "recertify revoke",
            RecertifyAsk::Report { .. } => "recertify report",
        }
    }
}

/// What a campaign is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Over {
    /// Rights on a resource.
    Resource(String),
    /// Rights of the people of a manager.
    Manager(String),
}

/// What somebody decided about a right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answered {
    Confirm,
    ChangeTo(String),
    Revoke,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecertifyReply {
    Campaigns(Vec<CampaignView>),
    Campaign(Box<CampaignReport>),
    /// The report as bytes of JSON, and the signed text about them.
    Signed {
        json: String,
        note: String,
    },
}

/// A campaign.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CampaignView {
    pub(crate) number: u64,
    /// `resource` or `manager`.
    pub(crate) scope: String,
    pub(crate) name: String,
    pub(crate) due: String,
    /// Who is asked about what is not answered; `None` where it is revoked.
    pub(crate) escalate_to: Option<String>,
    pub(crate) started_by: String,
    pub(crate) started_at: String,
    pub(crate) closed_at: Option<String>,
    pub(crate) rights: usize,
    pub(crate) open: usize,
}

/// A campaign with its rights.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CampaignReport {
    pub(crate) format: String,
    pub(crate) node: String,
    pub(crate) at: String,
    pub(crate) campaign: CampaignView,
    pub(crate) rights: Vec<RightView>,
}

/// A right of a campaign.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RightView {
    pub(crate) item: u64,
    pub(crate) person: String,
    pub(crate) person_id: String,
    pub(crate) role: String,
    /// The request that granted it, where it is one for a time.
    pub(crate) request: Option<u64>,
    pub(crate) reviewer: String,
    pub(crate) due: String,
    pub(crate) escalated_at: Option<String>,
    /// `confirmed`, `changed`, `revoked`, `unanswered` (and taken away), or `gone`.
    pub(crate) decision: Option<String>,
    pub(crate) changed_to: Option<String>,
    pub(crate) decided_by: Option<String>,
    pub(crate) decided_at: Option<String>,
    pub(crate) reason: Option<String>,
}
