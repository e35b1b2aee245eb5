//! The register of exceptions, as people change it: asked for by one, approved by another, ended by somebody.

use model::{Action, Kind, Micros};
use registry::{Exception, NewException};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::acting;
use super::{Change, quoted};
use crate::admin::{Actor, Refusal, Reply};
use crate::commands::no_such;
use crate::exceptions::{red, weakened};
use crate::node::Node;
use crate::operators::Right;
use crate::output;

/// Shortest reason that can say why, and the longest.
const REASON_CHARS_MIN: usize = 15;
const REASON_CHARS_MAX: usize = 500;
/// An exception that lasts longer is no exception.
const LIFE_US_MAX: u64 = 366 * 86_400_000_000;

/// One thing asked of the register.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Act {
    /// Ask for an exception.
    Add { control: String, reason: String, until_us: u64 },
    /// Approve one that somebody else asked for.
    Approve { number: u64 },
    /// End one.
    End { number: u64, reason: String },
    /// List what is switched off, and the exceptions.
    List {},
}

/// Says what a request takes.
pub(crate) fn needed(act: &Act) -> (&'static [&'static [Right]], Action) {
    match act {
        Act::Add { .. } => (&[&[Right::Admin, Right::PrivacyOfficer]], Action::Administer),
        Act::Approve { .. } => (&[&[Right::Approver, Right::PrivacyOfficer]], Action::Approve),
        Act::End { .. } => (&[&[Right::Admin, Right::Approver, Right::PrivacyOfficer]], Action::Administer),
        Act::List {} => (
            &[&[Right::Admin, Right::Auditor, Right::KeyAdmin, Right::PrivacyOfficer, Right::Approver]],
            Action::Review,
        ),
    }
}

/// Says what somebody wants to do, for the entry that they may not.
pub(crate) fn what(act: &Act) -> (Kind, &'static str, String) {
    let command = match act {
        Act::Add { .. } => "exception add",
        Act::Approve { .. } => "exception approve",
        Act::End { .. } => "exception end",
        Act::List {} => "exception list",
    };
    (Kind::AdminChange, command, command.to_owned())
}

/// A protection that is switched off, or an exception that excuses nothing any more.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ExceptionView {
    /// None where a protection is switched off and no exception is on file.
    pub(crate) number: Option<u64>,
    pub(crate) control: String,
    /// What it means that it is switched off; `None` where it is not.
    pub(crate) weakens: Option<String>,
    /// `red`, `excused`, `waiting`, `expired`, `ended` or `unused`.
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) asked_by: Option<String>,
    pub(crate) approved_by: Option<String>,
}

impl Node {
    pub(super) async fn exception_act(&self, actor: &Actor, act: Act) -> Result<Reply, Refusal> {
        match act {
            Act::Add { control, reason, until_us } => {
                self.exception_add(actor, control, &reason, Micros(until_us)).await
            }
            Act::Approve { number } => self.exception_approve(actor, number).await,
            Act::End { number, reason } => self.exception_end(actor, number, &reason).await,
            Act::List {} => self.exception_list().await,
        }
    }

    async fn exception_add(
        &self,
        actor: &Actor,
        control: String,
        reason: &str,
        until: Micros,
    ) -> Result<Reply, Refusal> {
        let reason = output::printable(reason.trim());
        let what = format!(
            "ask for an exception of {} until {}: {}",
            quoted(&control),
            output::time(until),
            output::clipped(&reason, REASON_CHARS_MAX)
        );
        let change = Change::new(actor, "exception add", what);
        let known = weakened(&self.config.load());
        let fits = match known.iter().any(|one| one.control == control) {
            true => self.check_terms(&reason, until),
            false => Err(no_such(
                "protection that is switched off",
                &control,
                known.iter().map(|one| one.control.as_str()),
            )),
        };
        let checked = acting(actor).and_then(|person| fits.map(|()| person));
        let person = self.or_refuse(&change, checked).await?;
        let new = NewException { control, reason, until, by: (person.id, person.name.clone()) };
        let (change, registry) = self.admitted_numbered(change).await?;
        let row = self.done(&change, registry.add_exception(&new, self.now()).await).await?;
        Ok(Reply::Exceptions(vec![self.exception_view(&row)]))
    }

    fn check_terms(&self, reason: &str, until: Micros) -> Result<(), Refusal> {
        if !(REASON_CHARS_MIN..=REASON_CHARS_MAX).contains(&reason.chars().count()) {
            let refusal = Refusal::new(format!(
                "a reason of {REASON_CHARS_MIN} to {REASON_CHARS_MAX} characters is needed"
            ));
            return Err(refusal.help("say with --reason why it must be so, and what protects instead"));
        }
        let now = self.now();
        if until <= now || until.0 > now.0.saturating_add(LIFE_US_MAX) {
            return Err(Refusal::new("an exception ends within a year").help("give --until with such a day"));
        }
        Ok(())
    }

    async fn exception_approve(&self, actor: &Actor, number: u64) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "exception approve", format!("approve exception {number}"));
        let found = self.registry.exception(number).await.map_err(|error| Refusal::because(&error));
        let row = self.or_refuse(&change, found).await?;
        let what = format!("approve exception {number} of {}: {}", quoted(&row.control), row.reason);
        let change = Change { what, ..change };
        let may = acting(actor).and_then(|person| {
            let own = "nobody approves an exception that they asked for themselves";
            if person.id == row.asked_by { Err(Refusal::new(own)) } else { Ok(person) }
        });
        let person = self.or_refuse(&change, may).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let approved = registry.approve_exception(number, (person.id, &person.name), self.now()).await;
        let row = self.done(&change, approved).await?;
        Ok(Reply::Exceptions(vec![self.exception_view(&row)]))
    }

    async fn exception_end(&self, actor: &Actor, number: u64, reason: &str) -> Result<Reply, Refusal> {
        let why = output::clipped(&output::printable(reason), REASON_CHARS_MAX);
        let change = Change::new(actor, "exception end", format!("end exception {number}: {why}"));
        let found = self.registry.exception(number).await.map_err(|error| Refusal::because(&error));
        let row = self.or_refuse(&change, found).await?;
        let what = format!("end exception {number} of {}: {why}", quoted(&row.control));
        let change = Change { what, ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        let ended = registry.end_exception(number, &actor.shown(), &why, self.now()).await;
        let row = self.done(&change, ended).await?;
        Ok(Reply::Exceptions(vec![self.exception_view(&row)]))
    }

    async fn exception_list(&self) -> Result<Reply, Refusal> {
        let rows = self.registry.exceptions().await.map_err(|error| Refusal::because(&error))?;
        let config = self.config.load_full();
        let off = red(&config, &rows, self.now());
        let off = off.into_iter().map(|one| ExceptionView {
            number: None,
            control: one.control,
            weakens: Some(one.what),
            state: "red".to_owned(),
            reason: None,
            until: None,
            asked_by: None,
            approved_by: None,
        });
        let views = off.chain(rows.iter().map(|row| self.exception_view(row)));
        Ok(Reply::Exceptions(views.collect()))
    }

    fn exception_view(&self, row: &Exception) -> ExceptionView {
        let now = self.now();
        let weakens = weakened(&self.config.load()).into_iter().find(|one| one.control == row.control);
        let state = match (&row.ended, &row.approved) {
            (Some(_), _) => "ended",
            (None, _) if row.until <= now => "expired",
            (None, None) => "waiting",
            (None, Some(_)) if weakens.is_none() => "unused",
            (None, Some(_)) => "excused",
        };
        ExceptionView {
            number: Some(row.number),
            control: row.control.clone(),
            weakens: weakens.map(|one| one.what),
            state: state.to_owned(),
            reason: Some(row.reason.clone()),
            until: Some(output::time(row.until)),
            asked_by: Some(row.asked_name.clone()),
            approved_by: row.approved.as_ref().map(|(name, _)| name.clone()),
        }
    }
}
