//! Recertification: rights that others hold, looked at by named people until a day. What nobody answered is taken away.

use std::collections::HashMap;

use model::{Micros, PersonId};
use registry::{
    CampaignRow, Decided, Details, NewCampaign, NewRight, PersonRow, RIGHTS_PER_CAMPAIGN_MAX, RequestRow,
    RightRow, Scope, Verdict,
};
use trail::Folder;

use super::access::{acting, check_reason};
use super::sessions::reason_shown;
use super::{Change, check_resource, no_person, quoted};
use crate::admin::{
    Actor, Answered, CampaignReport, CampaignView, Over, RecertifyAsk, RecertifyReply, Refusal, Reply,
    RightView,
};
use crate::config::Config;
use crate::node::{Node, load_root_key};
use crate::operators::Right;
use crate::output::{self, hex};

const FORMAT: &str = "wardline/recertification/v1";
/// First line of what is signed.
const NOTE_TITLE: &str = "wardline recertification v1";
/// Reviewers have at least this long: what nobody answers is taken away, so a campaign of seconds would take away what
/// everybody has.
const DUE_US_MIN: u64 = 24 * 3_600 * 1_000_000;
/// A campaign ends within a year.
const DUE_US_MAX: u64 = 366 * 86_400 * 1_000_000;
/// As many rights are decided with one command.
const ITEMS_MAX: usize = 1_000;
/// As many people are named in a refusal.
const NAMES_SHOWN_MAX: usize = 10;

/// A campaign as it is wanted.
struct Wanted {
    over: Over,
    due: Micros,
    reviewer: Option<String>,
    deputy: Option<String>,
    escalate_to: Option<String>,
    escalate_s: u64,
}

impl Node {
    pub(super) async fn recertify(&self, actor: &Actor, ask: RecertifyAsk) -> Result<Reply, Refusal> {
        let command = ask.command();
        match ask {
            RecertifyAsk::Start { over, due_us, reviewer, deputy, escalate_to, escalate_s } => {
                let due = Micros(due_us);
                let wanted = Wanted { over, due, reviewer, deputy, escalate_to, escalate_s };
                self.campaign_start(actor, &wanted).await
            }
            RecertifyAsk::List {} => self.campaign_list().await,
            RecertifyAsk::Show { campaign } => {
                let report = self.campaign_for(actor, campaign).await?;
                Ok(Reply::Recertify(RecertifyReply::Campaign(report.into())))
            }
            RecertifyAsk::Decide { campaign, items, verdict, reason } => {
                self.campaign_decide(actor, command, campaign, &items, &verdict, &reason).await
            }
            RecertifyAsk::Report { campaign } => self.campaign_signed(campaign).await,
        }
    }

    async fn campaign_start(&self, actor: &Actor, wanted: &Wanted) -> Result<Reply, Refusal> {
        let what =
            format!("start a campaign over {}, due {}", over_shown(&wanted.over), output::time(wanted.due));
        let change = Change::new(actor, "recertify start", what);
        let new = self.campaign(wanted, &actor.shown()).await;
        let new = self.or_refuse(&change, new).await?;
        let what = format!("{}, {} rights", change.what, new.rights.len());
        let (change, registry) = self.admitted_numbered(Change { what, ..change }).await?;
        let number = self.done(&change, registry.start_campaign(&new, self.now()).await).await?;
        Ok(Reply::Recertify(RecertifyReply::Campaign(self.campaign_report(number).await?.into())))
    }

    /// Makes the list of rights, each with somebody who looks at it.
    async fn campaign(&self, wanted: &Wanted, by: &str) -> Result<NewCampaign, Refusal> {
        let now = self.now();
        if !(DUE_US_MIN..=DUE_US_MAX).contains(&wanted.due.0.saturating_sub(now.0)) {
            let message =
                "the day by which it is due must be a day from now at the earliest, and within a year";
            return Err(Refusal::new(message).help("give --due with a day in UTC, such as 2026-12-31"));
        }
        let because = |error: registry::Error| Refusal::because(&error);
        let people = self.registry.people().await.map_err(because)?;
        let details = self.registry.account_details().await.map_err(because)?;
        let mut grants = self.registry.access_requests(false).await.map_err(because)?;
        grants.retain(|grant| grant.is_in_force(now));
        let config = self.config.load_full();
        let named = |name: &Option<String>| name.as_ref().map(|name| find(&people, name)).transpose();
        let reviewers = Reviewers {
            details: &details,
            people: &people,
            first: match (&wanted.over, named(&wanted.reviewer)?) {
                (_, Some(reviewer)) => Some(reviewer),
                (Over::Manager(name), None) => Some(find(&people, name)?),
                (Over::Resource(_), None) => None,
            },
            deputy: named(&wanted.deputy)?,
        };
        let held = match &wanted.over {
            Over::Resource(name) => {
                check_resource(&config, name)?;
                on_resource(&config, &people, &grants, name)
            }
            Over::Manager(name) => of_manager(&details, &people, &grants, find(&people, name)?.id),
        };
        if held.is_empty() || held.len() > RIGHTS_PER_CAMPAIGN_MAX {
            let message = format!("{} holds {} rights", over_shown(&wanted.over), held.len());
            return Err(
                Refusal::new(message).help(format!("a campaign is about 1 to {RIGHTS_PER_CAMPAIGN_MAX}"))
            );
        }
        let escalate = named(&wanted.escalate_to)?;
        Ok(NewCampaign {
            scope: match &wanted.over {
                Over::Resource(name) => Scope::Resource(name.clone()),
                Over::Manager(name) => Scope::Manager(name.clone()),
            },
            due_at: wanted.due,
            escalate: escalate.map(|person| (person.id, person.name.clone(), wanted.escalate_s)),
            by: by.to_owned(),
            rights: reviewers.assign(held)?,
        })
    }

    async fn campaign_decide(
        &self,
        actor: &Actor,
        command: &'static str,
        campaign: u64,
        items: &[u64],
        answered: &Answered,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        let what =
            format!("decide about {} rights of campaign {campaign}: {}", items.len(), reason_shown(reason));
        let change = Change::new(actor, command, what);
        let rights = self.decidable(actor, campaign, items, answered, reason).await;
        let rights = self.or_refuse(&change, rights).await?;
        let (verdict, done) = match answered {
            Answered::Confirm => (Verdict::Confirm, "confirm".to_owned()),
            Answered::ChangeTo(role) => {
                (Verdict::ChangeTo(role.clone()), format!("change to {}", quoted(role)))
            }
            Answered::Revoke => (Verdict::Revoke, "revoke".to_owned()),
        };
        for right in &rights {
            let what = format!("{done} {}: {}", shown(campaign, right), reason_shown(reason));
            let decided = self.decide_right(actor, command, what, (campaign, right), &verdict, reason).await;
            if decided.is_err() {
                self.publish(&self.config.load_full()).await?;
            }
            decided?;
        }
        if verdict != Verdict::Confirm {
            self.publish(&self.config.load_full()).await?;
        }
        self.close_decided(campaign).await?;
        Ok(Reply::Recertify(RecertifyReply::Campaign(self.campaign_for(actor, campaign).await?.into())))
    }

    /// Returns the rights, if this person may decide about all of them.
    async fn decidable(
        &self,
        actor: &Actor,
        campaign: u64,
        items: &[u64],
        answered: &Answered,
        reason: &str,
    ) -> Result<Vec<RightRow>, Refusal> {
        let person = acting(actor)?;
        check_reason(reason)?;
        if items.is_empty() || items.len() > ITEMS_MAX {
            return Err(Refusal::new(format!("decide about 1 to {ITEMS_MAX} rights at once")));
        }
        if let Answered::ChangeTo(role) = answered {
            self.check_changed_role(actor, role)?;
        }
        self.campaign_row(campaign).await?;
        let rights =
            self.registry.campaign_rights(campaign).await.map_err(|error| Refusal::because(&error))?;
        let mut chosen = Vec::new();
        for item in items {
            let Some(right) = rights.iter().find(|right| right.item == *item) else {
                return Err(Refusal::new(format!("campaign {campaign} has no right {item}")));
            };
            if right.reviewer != person.id {
                let message = format!("right {item} is for `{}` to look at", right.reviewer_name);
                return Err(Refusal::new(message).help("`wardline recertify show` tells who looks at what"));
            }
            if right.decided.is_some() {
                return Err(Refusal::new(format!("right {item} was decided before")));
            }
            if right.due_at <= self.now() {
                return Err(Refusal::new(format!("right {item} was due at {}", output::time(right.due_at))));
            }
            chosen.push(right.clone());
        }
        Ok(chosen)
    }

    /// Refuses a role that whoever answers may not give: a review confirms and takes away. Giving another role is for who
    /// gives roles anyway, and one with rights to administer is given by nobody here.
    fn check_changed_role(&self, actor: &Actor, role: &str) -> Result<(), Refusal> {
        let config = self.config.load();
        super::check_roles(&config, std::slice::from_ref(&role.to_owned()))?;
        let administers =
            config.operators.as_ref().is_some_and(|operators| operators.rights.contains_key(role));
        if !administers && self.rights_of(actor).contains(&Right::Admin) {
            return Ok(());
        }
        let message = match administers {
            true => {
                format!("a review gives nobody a role with rights to administer, such as {}", quoted(role))
            }
            false => "to give another role takes the right `admin`".to_owned(),
        };
        let help =
            "take the right away with `wardline recertify revoke`, and let the person ask for the other role";
        Err(Refusal::new(message).help(help).denied())
    }

    async fn decide_right(
        &self,
        actor: &Actor,
        command: &'static str,
        what: String,
        (campaign, right): (u64, &RightRow),
        verdict: &Verdict,
        reason: &str,
    ) -> Result<Decided, Refusal> {
        let (change, registry) = self.admitted_numbered(Change::new(actor, command, what)).await?;
        let (by, at) = (actor.shown(), self.now());
        let decided = registry.decide_right((campaign, right.item), verdict, (&by, reason), at).await;
        self.done(&change, decided).await
    }

    async fn close_decided(&self, campaign: u64) -> Result<(), Refusal> {
        let rights =
            self.registry.campaign_rights(campaign).await.map_err(|error| Refusal::because(&error))?;
        if rights.iter().any(|right| right.decided.is_none()) {
            return Ok(());
        }
        let counts: Vec<String> = Decided::ALL
            .into_iter()
            .map(|wanted| {
                let is = |right: &&RightRow| {
                    right.decided.as_ref().is_some_and(|(decided, ..)| *decided == wanted)
                };
                format!("{} {}", rights.iter().filter(is).count(), wanted.name())
            })
            .collect();
        let what = format!("campaign {campaign} is over: {}", counts.join(", "));
        let actor = Actor::time();
        let (change, registry) = self.admitted_numbered(Change::new(&actor, "recertify close", what)).await?;
        self.done(&change, registry.close_campaign(campaign, self.now()).await).await.map(drop)
    }

    /// Takes away, or asks somebody else about, what nobody answered in time. Each right is a change of its own, so
    /// whatever ends half way is gone on with.
    pub(crate) async fn judge_campaigns(&self) -> Result<(), Refusal> {
        let now = self.now();
        let campaigns = self.registry.campaigns().await.map_err(|error| Refusal::because(&error))?;
        for campaign in campaigns.iter().filter(|campaign| campaign.closed_at.is_none()) {
            let rights = self.registry.campaign_rights(campaign.number).await;
            let rights = rights.map_err(|error| Refusal::because(&error))?;
            let is_late = |right: &&RightRow| right.decided.is_none() && right.due_at <= now;
            let late: Vec<&RightRow> = rights.iter().filter(is_late).collect();
            let over = rights.iter().all(|right| right.decided.is_some());
            if late.is_empty() && !over {
                continue;
            }
            let _turn = self.turn.lock().await;
            let mut judged = Ok(());
            for right in late {
                judged = self.judge(campaign, right).await;
                if judged.is_err() {
                    break;
                }
            }
            self.publish(&self.config.load_full()).await?;
            judged?;
            self.close_decided(campaign.number).await?;
        }
        Ok(())
    }

    async fn judge(&self, campaign: &CampaignRow, right: &RightRow) -> Result<(), Refusal> {
        let actor = Actor::time();
        let named = shown(campaign.number, right);
        if let Some((person, name, seconds)) = &campaign.escalate
            && right.escalated_at.is_none()
            && *person != right.person
        {
            let due = Micros(right.due_at.0.saturating_add(seconds.saturating_mul(1_000_000)));
            let what = format!(
                "{named} was not answered by {} in time: `{name}` is asked until {}",
                quoted(&right.reviewer_name),
                output::time(due)
            );
            let (change, registry) =
                self.admitted_numbered(Change::new(&actor, "recertify escalate", what)).await?;
            let item = (campaign.number, right.item);
            let escalated = registry.escalate_right(item, (*person, name), due, self.now()).await;
            return self.done(&change, escalated).await;
        }
        let reason =
            format!("not answered by `{}` until {}", right.reviewer_name, output::time(right.due_at));
        let what = format!("revoke {named}: {reason}");
        // Somebody may have decided since the list was read: then there is nothing to do.
        let rights = self.registry.campaign_rights(campaign.number).await;
        let rights = rights.map_err(|error| Refusal::because(&error))?;
        if rights.iter().any(|now| now.item == right.item && now.decided.is_some()) {
            return Ok(());
        }
        let of = (campaign.number, right);
        self.decide_right(&actor, "recertify lapse", what, of, &Verdict::Lapse, &reason).await.map(drop)
    }

    async fn campaign_row(&self, number: u64) -> Result<CampaignRow, Refusal> {
        let campaigns = self.registry.campaigns().await.map_err(|error| Refusal::because(&error))?;
        campaigns.into_iter().find(|campaign| campaign.number == number).ok_or_else(|| {
            Refusal::new(format!("there is no campaign {number}"))
                .help("`wardline recertify list` shows the campaigns")
        })
    }

    async fn campaign_list(&self) -> Result<Reply, Refusal> {
        let campaigns = self.registry.campaigns().await.map_err(|error| Refusal::because(&error))?;
        let mut views = Vec::new();
        for campaign in campaigns {
            let rights = self.registry.campaign_rights(campaign.number).await;
            views.push(campaign_view(&campaign, &rights.map_err(|error| Refusal::because(&error))?));
        }
        Ok(Reply::Recertify(RecertifyReply::Campaigns(views)))
    }

    /// Returns a campaign: whole for who oversees rights, otherwise what somebody is to look at themselves.
    async fn campaign_for(&self, actor: &Actor, number: u64) -> Result<CampaignReport, Refusal> {
        let mut report = self.campaign_report(number).await?;
        let oversee = [Right::Admin, Right::Auditor, Right::PrivacyOfficer, Right::Approver];
        if oversee.iter().any(|right| self.rights_of(actor).contains(right)) {
            return Ok(report);
        }
        let name = actor.shown();
        report.rights.retain(|right| right.reviewer == name);
        if report.rights.is_empty() {
            return Err(Refusal::new("there is nothing in this campaign for you to look at")
                .help("who holds `auditor` or another right over rights sees all of it"));
        }
        Ok(report)
    }

    async fn campaign_report(&self, number: u64) -> Result<CampaignReport, Refusal> {
        let campaign = self.campaign_row(number).await?;
        let rights = self.registry.campaign_rights(number).await.map_err(|error| Refusal::because(&error))?;
        Ok(CampaignReport {
            format: FORMAT.to_owned(),
            node: self.config.load().node.clone(),
            at: output::time(self.now()),
            campaign: campaign_view(&campaign, &rights),
            rights: rights.iter().map(right_view).collect(),
        })
    }

    async fn campaign_signed(&self, number: u64) -> Result<Reply, Refusal> {
        let report = self.campaign_report(number).await?;
        let json = serde_json::to_string_pretty(&report).map_err(|error| Refusal::because(&error))?;
        let text = text(&report, &hex(&trail::sha256(json.as_bytes())));
        let (root, folder) = (self.folder.root_key(), self.folder.trail());
        let signed = tokio::task::spawn_blocking(move || {
            let root = load_root_key(&root)?;
            anyhow::Ok(trail::sign_text(&Folder::open(&folder)?, &root, text)?)
        });
        let note = signed.await.map_err(|error| Refusal::because(&error))?;
        let note = note.map_err(|error| Refusal::new(format!("{error:#}")))?;
        Ok(Reply::Recertify(RecertifyReply::Signed { json, note }))
    }
}

/// A right that somebody holds.
struct HeldRight<'a> {
    person: &'a PersonRow,
    role: &'a str,
    request: Option<u64>,
}

fn on_resource<'a>(
    config: &Config,
    people: &'a [PersonRow],
    grants: &'a [RequestRow],
    resource: &str,
) -> Vec<HeldRight<'a>> {
    let reaches = |role: &&String| {
        let defined = config.roles.iter().find(|defined| defined.name == **role);
        let rules = defined.into_iter().flat_map(|role| &role.rules);
        rules.into_iter().any(|rule| rule.resource == "*" || rule.resource == resource)
    };
    let on = |grant: &&RequestRow| grant.resource == resource;
    collect(
        people,
        |person| person.roles.iter().filter(reaches).collect(),
        grants.iter().filter(on).collect(),
    )
}

fn of_manager<'a>(
    details: &HashMap<PersonId, Details>,
    people: &'a [PersonRow],
    grants: &'a [RequestRow],
    manager: PersonId,
) -> Vec<HeldRight<'a>> {
    let theirs =
        |person: PersonId| details.get(&person).is_some_and(|details| details.manager == Some(manager));
    let roles = |person: &'a PersonRow| match theirs(person.id) {
        true => person.roles.iter().collect(),
        false => Vec::new(),
    };
    collect(people, roles, grants.iter().filter(|grant| theirs(grant.person)).collect())
}

fn collect<'a>(
    people: &'a [PersonRow],
    roles: impl Fn(&'a PersonRow) -> Vec<&'a String>,
    grants: Vec<&'a RequestRow>,
) -> Vec<HeldRight<'a>> {
    let mut held = Vec::new();
    for person in people {
        held.extend(roles(person).into_iter().map(|role| HeldRight { person, role, request: None }));
        let granted = grants.iter().filter(|grant| grant.person == person.id);
        held.extend(granted.map(|grant| HeldRight {
            person,
            role: &grant.role,
            request: Some(grant.number),
        }));
    }
    held
}

/// Who looks at what: never at what is one's own.
struct Reviewers<'a> {
    details: &'a HashMap<PersonId, Details>,
    people: &'a [PersonRow],
    first: Option<&'a PersonRow>,
    deputy: Option<&'a PersonRow>,
}

impl Reviewers<'_> {
    fn assign(&self, held: Vec<HeldRight<'_>>) -> Result<Vec<NewRight>, Refusal> {
        let (mut rights, mut missing) = (Vec::new(), Vec::new());
        for HeldRight { person, role, request } in held {
            match self.of(person.id) {
                Some(reviewer) => rights.push(NewRight {
                    person: person.id,
                    person_name: person.name.clone(),
                    role: role.to_owned(),
                    request,
                    reviewer: (reviewer.id, reviewer.name.clone()),
                }),
                None if missing.contains(&person.name.as_str()) => {}
                None => missing.push(&person.name),
            }
        }
        if missing.is_empty() {
            return Ok(rights);
        }
        let shown: Vec<&str> = missing.iter().copied().take(NAMES_SHOWN_MAX).collect();
        let message =
            format!("nobody would look at the rights of {} people: {}", missing.len(), shown.join(", "));
        Err(Refusal::new(message).help(
            "name somebody with --reviewer or --deputy, or give them a manager: `wardline account describe NAME \
             --manager NAME`",
        ))
    }

    fn of(&self, person: PersonId) -> Option<&PersonRow> {
        let details = self.details.get(&person).copied().unwrap_or_default();
        let known = |id: Option<PersonId>| self.people.iter().find(|known| Some(known.id) == id);
        // Whoever was named for all of it comes first; then those who answer for the one.
        let own = if self.first.is_some() { [None, None] } else { [details.manager, details.owner] };
        let candidates = std::iter::once(self.first).chain(own.map(known)).chain([self.deputy]);
        candidates.flatten().find(|candidate| candidate.id != person && candidate.disabled_at.is_none())
    }
}

fn find<'a>(people: &'a [PersonRow], name: &str) -> Result<&'a PersonRow, Refusal> {
    let found = people.iter().find(|person| person.name == name);
    found.ok_or_else(|| no_person(name, people.iter().map(|person| person.name.as_str())))
}

fn over_shown(over: &Over) -> String {
    match over {
        Over::Resource(name) => format!("resource {}", quoted(name)),
        Over::Manager(name) => format!("the people of {}", quoted(name)),
    }
}

fn shown(campaign: u64, right: &RightRow) -> String {
    let grant = right.request.map(|request| format!(" (request {request})")).unwrap_or_default();
    format!(
        "right {} of campaign {campaign}: role {}{grant} of {} (id {})",
        right.item,
        quoted(&right.role),
        quoted(&right.person_name),
        right.person
    )
}

fn campaign_view(campaign: &CampaignRow, rights: &[RightRow]) -> CampaignView {
    let (scope, name) = match &campaign.scope {
        Scope::Resource(name) => ("resource", name),
        Scope::Manager(name) => ("manager", name),
    };
    CampaignView {
        number: campaign.number,
        scope: scope.to_owned(),
        name: name.clone(),
        due: output::time(campaign.due_at),
        escalate_to: campaign.escalate.as_ref().map(|(_, name, _)| name.clone()),
        started_by: campaign.started_by.clone(),
        started_at: output::time(campaign.started_at),
        closed_at: campaign.closed_at.map(output::time),
        rights: rights.len(),
        open: rights.iter().filter(|right| right.decided.is_none()).count(),
    }
}

fn right_view(right: &RightRow) -> RightView {
    let decided = right.decided.as_ref();
    RightView {
        item: right.item,
        person: right.person_name.clone(),
        person_id: right.person.to_string(),
        role: right.role.clone(),
        request: right.request,
        reviewer: right.reviewer_name.clone(),
        due: output::time(right.due_at),
        escalated_at: right.escalated_at.map(output::time),
        decision: decided.map(|(decided, ..)| decided.name().to_owned()),
        changed_to: right.changed_to.clone(),
        decided_by: decided.map(|(_, by, ..)| by.clone()),
        decided_at: decided.map(|(.., at, _)| output::time(*at)),
        reason: decided.map(|(.., reason)| reason.clone()),
    }
}

/// Returns the report as people read it, and as it is signed.
fn text(report: &CampaignReport, json_sha256: &str) -> String {
    let campaign = &report.campaign;
    let mut text = format!(
        "{NOTE_TITLE}\nnode: {}\nat: {}\ncampaign: {} over {} {}\nstarted: {} by {}\ndue: {}\nclosed: {}\n\
         rights: {}, open: {}\n",
        report.node,
        report.at,
        campaign.number,
        campaign.scope,
        output::printable(&campaign.name),
        campaign.started_at,
        campaign.started_by,
        campaign.due,
        campaign.closed_at.as_deref().unwrap_or("no"),
        campaign.rights,
        campaign.open,
    );
    for right in &report.rights {
        let open = || format!("open, for {}", right.reviewer);
        let decision = right.decision.as_ref().map_or_else(open, |decision| {
            format!(
                "{decision}{} by {} at {}: {}",
                right.changed_to.as_ref().map(|role| format!(" to {role}")).unwrap_or_default(),
                right.decided_by.as_deref().unwrap_or_default(),
                right.decided_at.as_deref().unwrap_or_default(),
                output::printable(right.reason.as_deref().unwrap_or_default())
            )
        });
        let grant = right.request.map(|request| format!(" by request {request}")).unwrap_or_default();
        text.push_str(&format!("{}: {} {}{grant}: {decision}\n", right.item, right.person, right.role));
    }
    text.push_str(&format!("report sha256: {json_sha256}\n"));
    text
}
