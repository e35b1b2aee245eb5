//! What is asked about training, and answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that is asked about training.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "training", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum TrainingAsk {
    /// Enter that people completed courses.
    Complete { completions: Vec<Completed>, from: Told },
    /// Take back what was entered by mistake.
    Withdraw { number: u64, reason: String },
    /// Who must learn what, and did.
    Roster {},
    /// What was entered.
    Completions {},
}

impl TrainingAsk {
    /// Tells whether it changes something.
    pub(crate) fn changes(&self) -> bool {
        match self {
            TrainingAsk::Complete { .. } | TrainingAsk::Withdraw { .. } => true,
            TrainingAsk::Roster {} | TrainingAsk::Completions {} => false,
        }
    }

    /// Returns the command.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            TrainingAsk::Complete { from: Told::Csv, .. } => "training import",
            TrainingAsk::Complete { .. } => "training complete",
            TrainingAsk::Withdraw { .. } => "training withdraw",
            TrainingAsk::Roster {} => "training roster",
            TrainingAsk::Completions {} => "training list",
        }
    }
}

/// How it became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Told {
    Command,
    Csv,
    Xapi,
}

/// A person and the course that they completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Completed {
    /// The login name.
    pub(crate) person: String,
    pub(crate) course: String,
    /// The day, or the time.
    pub(crate) on: String,
    /// By what the source knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TrainingReply {
    /// The numbers of what was entered, and how many completions were there already.
    Entered {
        numbers: Vec<u64>,
        known: usize,
    },
    /// It was taken back.
    Withdrawn {},
    Roster(Vec<LessonView>),
    Completions(Vec<CompletionView>),
}

/// A person and a course that they must learn, or did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LessonView {
    pub(crate) person: String,
    pub(crate) person_id: String,
    pub(crate) course: String,
    pub(crate) title: String,
    /// The roles for which it is asked.
    pub(crate) roles: Vec<String>,
    /// `valid`, `due-soon`, `new` (has time left to learn it first), `overdue`, or `not-needed`.
    pub(crate) state: String,
    pub(crate) completed_at: Option<String>,
    pub(crate) due: Option<String>,
    /// Whether everything is refused to the person for it.
    pub(crate) refused: bool,
    /// Whether the person may not sign in anyway.
    pub(crate) disabled: bool,
}

/// A completion.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CompletionView {
    pub(crate) number: u64,
    pub(crate) person: String,
    pub(crate) course: String,
    pub(crate) completed_at: String,
    pub(crate) source: String,
    pub(crate) reference: Option<String>,
    pub(crate) recorded_by: String,
}
