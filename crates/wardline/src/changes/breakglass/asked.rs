//! What can be asked about emergency access and what is answered, as values; and which rights it takes.

use model::{Action, Kind, Micros, Secret};
use registry::Emergency;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::LOOKERS;
use crate::admin::{Request, Sensitive};
use crate::operators::Right;
use crate::output;

/// One thing asked about emergency access.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Act {
    /// Take it.
    Begin { wish: Wish },
    /// Take it as a person who cannot sign in, by both halves of a sealed code.
    ByCode { name: String, halves: [Sensitive; 2], wish: Wish },
    /// Rehearse it: take it, see that others are told, give it back, and report.
    Drill { wish: Wish },
    /// Make a sheet of sealed codes; an earlier one is of no use any more.
    CodesNew { count: u64 },
    /// Say which codes are left.
    CodesList {},
    /// Approve what somebody else asks for.
    Approve { number: u64 },
    /// End it before its time.
    Finish { number: u64, how: Finish, reason: Sensitive },
    /// List it: what is open or unreviewed, or all.
    List { also_done: bool },
    /// Show what was done under it.
    Timeline { number: u64 },
    /// Say what was found in it.
    Review { number: u64, justified: bool, note: Sensitive },
}

/// What somebody wants in an emergency. The reason and the patient may name one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    pub(crate) resource: String,
    pub(crate) reason_code: String,
    pub(crate) reason: Sensitive,
    #[serde(default)]
    pub(crate) patient: Option<Sensitive>,
    /// As long as it may be had, where it is left out.
    #[serde(default)]
    pub(crate) duration_s: Option<u64>,
    /// An exercise.
    #[serde(default)]
    pub(crate) drill: bool,
}

/// For how long a drill has it at most.
const DRILL_S: u64 = 120;

impl Wish {
    /// Returns what a drill wishes for.
    pub(crate) fn rehearsal(resource: String) -> Wish {
        Wish {
            resource,
            reason_code: String::new(),
            reason: Sensitive(Secret::new("an exercise: nothing has happened")),
            patient: None,
            duration_s: Some(DRILL_S),
            drill: true,
        }
    }
}

/// By whom it is ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Finish {
    /// By whom it was taken.
    End,
    /// By somebody else.
    Revoke,
}

/// Says what a request takes.
pub(crate) fn needed(act: &Act) -> (&'static [&'static [Right]], Action) {
    match act {
        // Who may is a matter of roles, and checked where it is done; a list shows everybody their own.
        Act::Begin { .. } | Act::ByCode { .. } | Act::Drill { .. } | Act::Finish { how: Finish::End, .. } => {
            (&[], Action::Connect)
        }
        Act::CodesNew { .. } => (&[&[Right::KeyAdmin]], Action::Administer),
        Act::CodesList {} => (
            &[&[Right::Admin, Right::Auditor, Right::KeyAdmin, Right::PrivacyOfficer, Right::Approver]],
            Action::Review,
        ),
        Act::List { .. } => (&[], Action::Review),
        Act::Approve { .. } => (&[&[Right::Approver]], Action::Approve),
        Act::Finish { how: Finish::Revoke, .. } => {
            (&[&[Right::Admin, Right::Approver, Right::PrivacyOfficer]], Action::Approve)
        }
        Act::Timeline { .. } => (&[&[Right::PrivacyOfficer, Right::Auditor]], Action::Review),
        Act::Review { .. } => (&[&[Right::PrivacyOfficer]], Action::Review),
    }
}

/// Says what somebody wants to do, for the entry that they may not.
pub(crate) fn what(act: &Act) -> (Kind, &'static str, String) {
    let about = |command: &'static str, number: &u64| {
        (Kind::AdminChange, command, format!("{command} of emergency access {number}"))
    };
    match act {
        Act::Begin { .. } | Act::ByCode { .. } => {
            (Kind::AdminChange, "break-glass begin", "break-glass begin".to_owned())
        }
        Act::Drill { .. } => (Kind::AdminChange, "break-glass drill", "break-glass drill".to_owned()),
        Act::CodesNew { .. } => {
            (Kind::AdminChange, "break-glass codes new", "break-glass codes new".to_owned())
        }
        Act::CodesList {} => {
            (Kind::AdminChange, "break-glass codes list", "break-glass codes list".to_owned())
        }
        Act::List { .. } => (Kind::AdminChange, "break-glass list", "break-glass list".to_owned()),
        Act::Approve { number } => about("break-glass approve", number),
        Act::Finish { number, how: Finish::End, .. } => about("break-glass end", number),
        Act::Finish { number, how: Finish::Revoke, .. } => about("break-glass revoke", number),
        Act::Timeline { number } => {
            (Kind::TrailViewed, "break-glass show", format!("timeline of emergency access {number}"))
        }
        Act::Review { number, .. } => about("break-glass review", number),
    }
}

/// Tells whether a request goes on in emergency mode, by the last copy of the registry.
pub(crate) fn goes_on(request: &Request) -> bool {
    match request {
        Request::BreakGlass { act } => match act {
            Act::ByCode { .. }
            | Act::Finish { .. }
            | Act::List { .. }
            | Act::Timeline { .. }
            | Act::CodesList {} => true,
            Act::Begin { .. }
            | Act::Approve { .. }
            | Act::Review { .. }
            | Act::CodesNew { .. }
            | Act::Drill { .. } => false,
        },
        // What is only looked at.
        Request::UserList {}
        | Request::AccessList { .. }
        | Request::LockList {}
        | Request::AccessMatrix { .. }
        | Request::Exception { act: crate::changes::exceptions::Act::List {} } => true,
        _ => false,
    }
}

/// Tells whether a request changes something that another one looks at.
pub(crate) fn waits_for_turn(act: &Act) -> bool {
    match act {
        Act::Begin { .. }
        | Act::ByCode { .. }
        | Act::CodesNew { .. }
        | Act::Approve { .. }
        | Act::Finish { .. }
        | Act::Review { .. } => true,
        // A drill takes its turns itself, and waits between them.
        Act::CodesList {} | Act::List { .. } | Act::Timeline { .. } | Act::Drill { .. } => false,
    }
}

/// Tells whether somebody with these rights sees everybody's.
pub(super) fn sees_all(rights: &crate::operators::Rights) -> bool {
    LOOKERS.iter().any(|right| rights.contains(right))
}

/// Emergency access, for humans and machines. The patient is not told: whoever asks may read no sealed values.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EmergencyView {
    pub(crate) number: u64,
    pub(crate) person: String,
    pub(crate) person_id: String,
    pub(crate) resource: String,
    pub(crate) role: String,
    pub(crate) reason_code: String,
    pub(crate) reason: String,
    pub(crate) of_a_patient: bool,
    pub(crate) drill: bool,
    pub(crate) code: Option<String>,
    pub(crate) duration_s: u64,
    pub(crate) approvals: u32,
    pub(crate) approved_by: Vec<String>,
    /// `waiting`, `in-force`, `ended`, `expired`, `revoked`, `withdrawn` or `denied`.
    pub(crate) state: String,
    pub(crate) asked_at: String,
    pub(crate) began_at: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) over_at: Option<String>,
    pub(crate) over_by: Option<String>,
    pub(crate) over_why: Option<String>,
    /// `none`, `due`, `overdue`, `justified` or `not-justified`.
    pub(crate) review: String,
    pub(crate) review_due: Option<String>,
    pub(crate) reviewed_by: Option<String>,
    pub(crate) reviewed_at: Option<String>,
    /// What became of the resource's credential after it: `changed`, or why not; none until then.
    pub(crate) credential: Option<String>,
}

impl EmergencyView {
    pub(super) fn of(row: &Emergency, now: Micros) -> EmergencyView {
        let state = match &row.over {
            Some((over, ..)) => over.name(),
            None if row.waits() => "waiting",
            None if row.is_in_force(now) => "in-force",
            None => "expired",
        };
        let review = match &row.review {
            Some(review) => review.finding.name(),
            None if !row.awaits_review() => "none",
            None if row.review_due.is_some_and(|due| due <= now) => "overdue",
            None => "due",
        };
        EmergencyView {
            number: row.number,
            person: row.person_name.clone(),
            person_id: row.person.to_string(),
            resource: row.resource.clone(),
            role: row.role.clone(),
            reason_code: row.reason_code.clone(),
            reason: row.reason.clone(),
            of_a_patient: row.patient.is_some(),
            drill: row.drill,
            code: row.code.clone(),
            duration_s: row.duration.as_secs(),
            approvals: row.approvals,
            approved_by: row.approved_by.clone(),
            state: state.to_owned(),
            asked_at: output::time(row.asked_at),
            began_at: row.taken.map(|(from, _)| output::time(from)),
            until: row.taken.map(|(_, until)| output::time(until)),
            over_at: row.over.as_ref().map(|(_, _, at, _)| output::time(*at)),
            over_by: row.over.as_ref().map(|(_, by, ..)| by.clone()),
            over_why: row.over.as_ref().map(|(.., why)| why.clone()).filter(|why| !why.is_empty()),
            review: review.to_owned(),
            review_due: row.review_due.map(output::time),
            reviewed_by: row.review.as_ref().map(|review| review.name.clone()),
            reviewed_at: row.review.as_ref().map(|review| output::time(review.at)),
            credential: row.rotation.clone(),
        }
    }
}

/// What was done under emergency access, for whoever reviews it. Statements are without their literals.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TimelineView {
    pub(crate) emergency: EmergencyView,
    pub(crate) operations: Vec<OperationView>,
    /// How many operations are not shown, beyond what is.
    pub(crate) not_shown: u64,
    pub(crate) sessions: u64,
    pub(crate) refused: u64,
    pub(crate) rows: u64,
    /// Patients who were asked for or returned.
    pub(crate) patients: u64,
    /// Of these, others than the one whom it was about; where it was about one.
    pub(crate) other_patients: Option<u64>,
    /// Rows of patients who are not known.
    pub(crate) unresolved: u64,
    /// What whoever reviews it should look at.
    pub(crate) findings: Vec<String>,
}

/// One operation under emergency access.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct OperationView {
    pub(crate) index: u64,
    pub(crate) at: String,
    pub(crate) session: String,
    pub(crate) action: String,
    pub(crate) statement: String,
    pub(crate) outcome: String,
    pub(crate) rows: u64,
    pub(crate) patients: u64,
    pub(crate) other_patients: Option<u64>,
    pub(crate) unresolved: u64,
    /// The policies that allowed or refused it.
    pub(crate) policies: Vec<String>,
}
