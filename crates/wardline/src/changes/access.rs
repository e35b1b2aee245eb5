//! Access for a time: asked for by a person, approved by others, ended by time or by somebody.

use std::time::Duration;

use registry::{Closed, NewRequest, RequestRow};

use super::sessions::{REASON_BYTES_MAX, reason_shown};
use super::{Change, quoted};
use crate::admin::{ActingPerson, Actor, Refusal, Reply, RequestView};
use crate::commands::no_such;
use crate::config::{Askable, Config};
use crate::node::Node;
use crate::output;

/// Shortest reason: fewer letters explain nothing.
const REASON_CHARS_MIN: usize = 5;
/// Longest word for a purpose.
const PURPOSE_BYTES_MAX: usize = 64;

/// What a person asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) role: &'a str,
    pub(super) resource: &'a str,
    pub(super) purpose: &'a str,
    pub(super) reason: &'a str,
    pub(super) duration_s: u64,
}

impl Node {
    pub(super) async fn access_request(&self, actor: &Actor, wish: Wish<'_>) -> Result<Reply, Refusal> {
        let what = format!(
            "ask for role {} on {} for {} s, purpose {}: {}",
            quoted(wish.role),
            quoted(wish.resource),
            wish.duration_s,
            quoted(wish.purpose),
            reason_shown(wish.reason)
        );
        let change = Change::new(actor, "access request", what);
        let config = self.config.load_full();
        let checked = acting(actor).and_then(|person| Ok((person, check(&config, &wish)?)));
        let (person, askable) = self.or_refuse(&change, checked).await?;
        let new = NewRequest {
            person: person.id,
            role: wish.role.to_owned(),
            resource: wish.resource.to_owned(),
            purpose: wish.purpose.to_owned(),
            reason: wish.reason.to_owned(),
            duration: Duration::from_secs(wish.duration_s),
            approvals: askable.approvals,
        };
        let (change, registry) = self.admitted_numbered(change).await?;
        let number = self.done(&change, registry.ask_access(&new, self.now()).await).await?;
        self.request_reply(number).await
    }

    pub(super) async fn access_approve(&self, actor: &Actor, number: u64) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "access approve", format!("approve request {number}"));
        let found = self.open_request(number).await;
        let request = self.or_refuse(&change, found).await?;
        let change = Change { what: format!("approve {}", shown(&request)), ..change };
        // Checked again where it is written; here the refusal is recorded as one.
        let may = acting(actor).and_then(|person| may_approve(person, &request));
        let person = self.or_refuse(&change, may).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let approved = registry.approve_access(number, (person.id, &person.name), self.now()).await;
        let after = self.done(&change, approved).await?;
        if after.granted.is_some() {
            self.publish(&self.config.load_full()).await?;
        }
        self.request_reply(number).await
    }

    /// Denies, withdraws or revokes.
    pub(super) async fn access_close(
        &self,
        actor: &Actor,
        number: u64,
        closed: Closed,
        why: &str,
    ) -> Result<Reply, Refusal> {
        let (command, verb) = match closed {
            Closed::Denied => ("access deny", "deny"),
            Closed::Withdrawn => ("access withdraw", "withdraw"),
            Closed::Revoked => ("access revoke", "revoke"),
            Closed::Expired => ("access expire", "expire"),
        };
        let change = Change::new(actor, command, format!("{verb} request {number}: {}", reason_shown(why)));
        let found = self.open_request(number).await;
        let request = self.or_refuse(&change, found).await?;
        let what = format!("{verb} {}: {}", shown(&request), reason_shown(why));
        let change = Change { what, ..change };
        let fits = check_reason(why).and_then(|()| match closed {
            Closed::Withdrawn => own(acting(actor)?, &request),
            Closed::Denied | Closed::Revoked | Closed::Expired => Ok(()),
        });
        self.or_refuse(&change, fits).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let ended = registry.close_access(number, closed, &actor.shown(), why, self.now()).await;
        self.done(&change, ended).await?;
        if request.granted.is_some() {
            self.publish(&self.config.load_full()).await?;
        }
        self.request_reply(number).await
    }

    pub(super) async fn access_list(&self, also_closed: bool) -> Result<Reply, Refusal> {
        let rows = self.registry.access_requests(also_closed).await;
        let rows = rows.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Requests(rows.iter().map(|row| self.request_view(row)).collect()))
    }

    /// Ends the grants whose time is over: records it, then decides without them. Returns when the next one ends.
    pub(crate) async fn expire_access(&self) -> Result<Option<u64>, Refusal> {
        let _turn = self.turn.lock().await;
        let rows = self.registry.access_requests(false).await.map_err(|error| Refusal::because(&error))?;
        let now = self.now();
        let mut next = None;
        let mut ended = false;
        for request in &rows {
            let Some((_, until)) = request.granted else { continue };
            if until > now {
                next = Some(next.map_or(until.0, |earliest: u64| earliest.min(until.0)));
                continue;
            }
            let actor = Actor::time();
            let change =
                Change::new(&actor, "access expire", format!("end {}: its time is over", shown(request)));
            let (change, registry) = self.admitted_numbered(change).await?;
            let closed =
                registry.close_access(request.number, Closed::Expired, &actor.shown(), "", self.now()).await;
            self.done(&change, closed).await?;
            ended = true;
        }
        if ended {
            self.publish(&self.config.load_full()).await?;
        }
        Ok(next)
    }

    async fn open_request(&self, number: u64) -> Result<RequestRow, Refusal> {
        let found = self.registry.access_request(number).await.map_err(|error| Refusal::because(&error))?;
        let help = "`wardline access list` shows what is open";
        match found {
            None => Err(Refusal::new(format!("there is no request {number}")).help(help)),
            Some(request) if request.closed.is_some() => {
                Err(Refusal::new(format!("request {number} is not open any more")).help(help))
            }
            Some(request) => Ok(request),
        }
    }

    async fn request_reply(&self, number: u64) -> Result<Reply, Refusal> {
        let found = self.registry.access_request(number).await.map_err(|error| Refusal::because(&error))?;
        let row = found.ok_or_else(|| Refusal::new(format!("there is no request {number}")))?;
        Ok(Reply::Requests(vec![self.request_view(&row)]))
    }

    fn request_view(&self, row: &RequestRow) -> RequestView {
        let state = match &row.closed {
            Some((closed, ..)) => closed.name(),
            None if row.waits() => "waiting",
            None if row.is_in_force(self.now()) => "granted",
            None => "expired",
        };
        RequestView {
            number: row.number,
            person: row.person_name.clone(),
            person_id: row.person.to_string(),
            role: row.role.clone(),
            resource: row.resource.clone(),
            purpose: row.purpose.clone(),
            reason: row.reason.clone(),
            duration_s: row.duration.as_secs(),
            approvals: row.approvals,
            approved_by: row.approved_by.clone(),
            state: state.to_owned(),
            asked_at: output::time(row.asked_at),
            until: row.granted.map(|(_, until)| output::time(until)),
            closed_by: row.closed.as_ref().map(|(_, by, ..)| by.clone()),
            closed_why: row.closed.as_ref().map(|(.., why)| why.clone()),
        }
    }
}

/// Returns the person who acts: access is asked for and approved by people, never by an account of a machine.
pub(super) fn acting(actor: &Actor) -> Result<&ActingPerson, Refusal> {
    actor.person.as_ref().ok_or_else(|| {
        Refusal::new("this takes a person, and you act as an account of this machine")
            .help("sign in: `wardline --as NAME …` with the token of `wardline login NAME`")
    })
}

fn may_approve<'a>(person: &'a ActingPerson, request: &RequestRow) -> Result<&'a ActingPerson, Refusal> {
    if person.id == request.person {
        return Err(
            Refusal::new("nobody approves their own request").help("ask somebody else who may approve")
        );
    }
    if !request.waits() {
        return Err(Refusal::new(format!("request {} does not wait for approval", request.number)));
    }
    Ok(person)
}

fn own(person: &ActingPerson, request: &RequestRow) -> Result<(), Refusal> {
    if person.id == request.person {
        return Ok(());
    }
    Err(Refusal::new(format!("request {} is somebody else's", request.number))
        .help("`wardline access deny` is for those who may approve"))
}

fn check<'c>(config: &'c Config, wish: &Wish<'_>) -> Result<&'c Askable, Refusal> {
    let Some(askable) = config.access.get(wish.role) else {
        return Err(no_such(
            "role that may be asked for",
            wish.role,
            config.access.keys().map(String::as_str),
        ));
    };
    if !config.resources.contains_key(wish.resource) {
        return Err(no_such("resource", wish.resource, config.resources.keys().map(String::as_str)));
    }
    let offered = askable.resources.is_empty() || askable.resources.iter().any(|name| name == wish.resource);
    if !offered {
        let message = format!("role {} may not be asked for on {}", quoted(wish.role), quoted(wish.resource));
        return Err(Refusal::new(message).help(format!("it may on: {}", askable.resources.join(", "))));
    }
    let most = askable.duration_max.as_secs();
    if wish.duration_s == 0 || wish.duration_s > most {
        return Err(
            Refusal::new("it may not be had for so long").help(format!("ask for 1 to {most} seconds"))
        );
    }
    if wish.purpose.is_empty()
        || wish.purpose.len() > PURPOSE_BYTES_MAX
        || wish.purpose.chars().any(char::is_control)
    {
        return Err(
            Refusal::new("a purpose is needed").help("give --purpose with one word, such as `treatment`")
        );
    }
    if !config.purposes.is_empty() && !config.purposes.iter().any(|known| **known == *wish.purpose) {
        return Err(no_such("purpose", wish.purpose, config.purposes.iter().map(|known| &**known)));
    }
    check_reason(wish.reason)?;
    Ok(askable)
}

pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().chars().count() < REASON_CHARS_MIN || reason.len() > REASON_BYTES_MAX {
        let refusal = Refusal::new("a reason is needed, for whoever decides and whoever reads the trail");
        let help = format!("give --reason with {REASON_CHARS_MIN} letters to {REASON_BYTES_MAX} bytes");
        return Err(refusal.help(help));
    }
    Ok(())
}

fn shown(request: &RequestRow) -> String {
    format!(
        "request {} of {} (id {}) for role {} on {}",
        request.number,
        quoted(&request.person_name),
        request.person,
        quoted(&request.role),
        quoted(&request.resource)
    )
}
