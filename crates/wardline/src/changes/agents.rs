//! Agents: programs that act on behalf of people. A person delegates; what the agent then may do is what both may.

use std::time::Duration;

use identity::scram::Verifier;
use identity::token;
use identity::{Means, Proof, Reason};
use model::{Agent, PersonId, Principal, Shown};
use registry::{
    AccountKind, DelegationRow, Details, NewDelegation, NewPerson, PersonRow, TokenRow, Verifiers,
};

use super::access::acting;
use super::sessions::{check_reason, reason_shown};
use super::{Change, check_display_name, check_roles, no_person, quoted, roles_shown};
use crate::admin::{Actor, AgentAsk, AgentReply, DelegationView, Refusal, Reply, Sensitive};
use crate::commands::no_such;
use crate::node::Node;
use crate::output;

impl Node {
    pub(super) async fn agent(&self, actor: &Actor, ask: AgentAsk) -> Result<Reply, Refusal> {
        match ask {
            AgentAsk::Add { name, display_name, roles, owner } => {
                self.agent_add(actor, name, display_name, roles, &owner).await
            }
            AgentAsk::Delegate { agent, life_s, purpose } => {
                self.agent_delegate(actor, &agent, life_s, purpose).await
            }
            AgentAsk::End { number, reason } => self.agent_end(actor, number, &reason).await,
            AgentAsk::List { also_ended } => self.agent_list(also_ended).await,
        }
    }

    /// Adds an account without a password: nothing but delegations lets it sign in.
    async fn agent_add(
        &self,
        actor: &Actor,
        name: String,
        display_name: String,
        roles: Vec<String>,
        owner: &str,
    ) -> Result<Reply, Refusal> {
        let id = identity::person_id();
        let what = format!(
            "add agent {} (id {id}) with {}, owner {}",
            quoted(&name),
            roles_shown(&roles),
            quoted(owner)
        );
        let change = Change::new(actor, "agent add", what);
        let fits = registry::name_fits(&name)
            .map_err(|error| Refusal::because(&error))
            .and_then(|()| check_display_name(&display_name))
            .and_then(|()| check_roles(&self.config.load(), &roles));
        self.or_refuse(&change, fits).await?;
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let owner = people
            .iter()
            .find(|person| person.name == owner)
            .map(|person| person.id)
            .ok_or_else(|| no_person(owner, people.iter().map(|person| person.name.as_str())));
        let owner = self.or_refuse(&change, owner).await?;
        let verifiers = Verifiers { password: None, scram: None };
        let person = NewPerson { id, name: name.clone(), display_name, roles, verifiers };
        let (change, registry) = self.admitted_numbered(change).await?;
        // An account of which only the first half is there cannot sign in either: it has no password.
        self.done(&change, registry.add_person(&person, self.now()).await).await?;
        let details = Details { kind: AccountKind::Agent, owner: Some(owner), ..Details::default() };
        let what = format!("account {} (id {id}) is agent, owner (id {owner})", quoted(&name));
        let (change, registry) = self.admitted_numbered(Change::new(actor, "agent add", what)).await?;
        self.done(&change, registry.describe_account(id, &details).await).await?;
        self.publish(&self.config.load_full()).await?;
        self.person_view(&name).await
    }

    async fn agent_delegate(
        &self,
        actor: &Actor,
        agent: &str,
        life_s: u64,
        purpose: Option<String>,
    ) -> Result<Reply, Refusal> {
        let what = format!(
            "let agent {} act for {} s{}",
            quoted(agent),
            life_s,
            purpose.as_ref().map(|purpose| format!(", purpose {}", quoted(purpose))).unwrap_or_default()
        );
        let change = Change::new(actor, "agent delegate", what);
        let found = self.delegable(actor, agent, life_s, purpose.as_deref()).await;
        let (person, agent) = self.or_refuse(&change, found).await?;
        let parameters = self.scram_parameters(&agent.name);
        let at = self.now();
        let life = Duration::from_secs(life_s);
        // A second factor that the person showed before is behind what the agent does, too.
        let factor_at = actor.person.as_ref().and_then(|person| person.factor_at);
        let shown = Shown { how: "delegation".into(), factor_at };
        let (secret, stored) = token::issue(agent.id, shown, at, life, parameters.as_ref());
        let token = TokenRow {
            id: stored.id.0,
            person: stored.person,
            digest: stored.digest,
            scram: stored.scram.as_ref().map(Verifier::to_text),
            issued_at: stored.issued,
            expires_at: stored.expires,
            revoked_at: None,
            shown: stored.shown,
        };
        let what = format!("{} on behalf of (id {person}), token {}", change.what, stored.id);
        let (change, registry) = self.admitted_numbered(Change { what, ..change }).await?;
        let new = NewDelegation { agent: agent.id, person, purpose, token };
        let number = self.done(&change, registry.delegate(&new, at).await).await?;
        self.publish(&self.config.load_full()).await?;
        let delegation = self.delegation_views(true).await?.into_iter().find(|view| view.number == number);
        let delegation = delegation.ok_or_else(|| Refusal::new("the delegation is not there"))?;
        let address = self.config.load().listener.address.to_string();
        Ok(Reply::Agent(AgentReply::Delegated { delegation, token: Sensitive(secret), address }))
    }

    /// Checks who delegates to whom; returns both.
    async fn delegable(
        &self,
        actor: &Actor,
        agent: &str,
        life_s: u64,
        purpose: Option<&str>,
    ) -> Result<(PersonId, PersonRow), Refusal> {
        let person = acting(actor)?;
        let most = self.config.load().sign_in.token_lifetime_max.as_secs();
        if life_s == 0 || life_s > most {
            return Err(
                Refusal::new("it may not hold for so long").help(format!("ask for 1 to {most} seconds"))
            );
        }
        let snapshot = self.snapshot();
        if let Some(purpose) = purpose
            && snapshot.purpose(purpose).is_none()
        {
            return Err(no_such("purpose", purpose, snapshot.purposes().iter().map(|purpose| &**purpose)));
        }
        let details = self.registry.account_details().await.map_err(|error| Refusal::because(&error))?;
        let kind = |id: PersonId| details.get(&id).copied().unwrap_or_default().kind;
        if kind(person.id) != AccountKind::Person {
            return Err(Refusal::new("only a person lets an agent act for them"));
        }
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let agents = people.into_iter().filter(|known| kind(known.id) == AccountKind::Agent);
        let agents: Vec<PersonRow> = agents.collect();
        match agents.iter().find(|known| known.name == agent) {
            Some(agent) if agent.disabled_at.is_some() => Err(Refusal::new("the agent is disabled")),
            Some(agent) => Ok((person.id, agent.clone())),
            None => Err(no_such("agent", agent, agents.iter().map(|agent| agent.name.as_str()))
                .help("`wardline agent add` adds one")),
        }
    }

    async fn agent_end(&self, actor: &Actor, number: u64, reason: &str) -> Result<Reply, Refusal> {
        let what = format!("end delegation {number}: {}", reason_shown(reason));
        let change = Change::new(actor, "agent end", what);
        let found = check_reason(reason);
        self.or_refuse(&change, found).await?;
        let rows = self.registry.delegations(false).await.map_err(|error| Refusal::because(&error))?;
        let found = rows.iter().find(|row| row.number == number).ok_or_else(|| {
            Refusal::new(format!("there is no delegation {number} that has not ended"))
                .help("`wardline agent list` shows them")
        });
        let found = found.and_then(|row| self.may_end(actor, row));
        let row = self.or_refuse(&change, found).await?;
        let what = format!("{} (agent {} on behalf of {})", change.what, row.agent, row.person);
        let (change, registry) = self.admitted_numbered(Change { what, ..change }).await?;
        let ended = registry.end_delegation(number, &actor.shown(), reason, self.now()).await;
        self.done(&change, ended).await?;
        self.publish(&self.config.load_full()).await?;
        // Whoever ends their own sees that one; the list of all takes a right.
        let mut views = self.delegation_views(true).await?;
        views.retain(|view| view.number == number);
        Ok(Reply::Agent(AgentReply::Delegations(views)))
    }

    /// One's own delegations, and those of others with the right to administer.
    fn may_end<'r>(&self, actor: &Actor, row: &'r DelegationRow) -> Result<&'r DelegationRow, Refusal> {
        let own = actor.person.as_ref().is_some_and(|person| person.id == row.person);
        if own || self.rights_of(actor).contains(&crate::operators::Right::Admin) {
            return Ok(row);
        }
        Err(Refusal::new(format!("delegation {} is somebody else's", row.number))
            .help("ending it takes the right `admin`"))
    }

    async fn agent_list(&self, also_ended: bool) -> Result<Reply, Refusal> {
        Ok(Reply::Agent(AgentReply::Delegations(self.delegation_views(also_ended).await?)))
    }

    async fn delegation_views(&self, also_ended: bool) -> Result<Vec<DelegationView>, Refusal> {
        let rows = self.registry.delegations(also_ended).await.map_err(|error| Refusal::because(&error))?;
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let now = self.now();
        let name = |id: PersonId| {
            let person = people.iter().find(|person| person.id == id);
            person.map_or_else(|| id.to_string(), |person| person.name.clone())
        };
        let rows = rows.into_iter().filter(|row| also_ended || row.is_in_force(now));
        let views = rows.map(|row| DelegationView {
            number: row.number,
            agent: name(row.agent),
            person: name(row.person),
            state: match (&row.ended, row.is_in_force(now)) {
                (Some(_), _) => "ended",
                (None, true) => "in-force",
                (None, false) => "expired",
            }
            .to_owned(),
            purpose: row.purpose,
            given_at: output::time(row.given_at),
            until: output::time(row.until),
            ended_by: row.ended.map(|(_, by)| by),
        });
        Ok(views.collect())
    }

    /// Says who acts, once a claim is proven: the person, or the agent for a person. An agent acts by nothing but the
    /// token of a delegation.
    pub(crate) async fn acting_for(&self, proof: Proof) -> Result<Principal, Reason> {
        let means = proof.means();
        let principal = proof.into_principal();
        self.uses.note(principal.id, self.now());
        let unavailable = |error: registry::Error| {
            tracing::error!(%error, "the registry could not be asked who an agent acts for");
            Reason::Unavailable
        };
        let kind = self.registry.account_kind(principal.id).await.map_err(unavailable)?;
        if kind != AccountKind::Agent {
            return Ok(principal);
        }
        let Means::Token(token) = means else { return Err(Reason::NoVerifier) };
        let delegation = self.registry.delegation_of_token(token.0).await.map_err(unavailable)?;
        let delegation = delegation.filter(|row| row.agent == principal.id).ok_or(Reason::TokenUnknown)?;
        if !delegation.is_in_force(self.now()) {
            return Err(Reason::TokenExpired);
        }
        let people = self.registry.people().await.map_err(unavailable)?;
        let person = people.into_iter().find(|person| person.id == delegation.person);
        let person = person.ok_or(Reason::TokenRevoked)?;
        if person.disabled_at.is_some() {
            return Err(Reason::Disabled);
        }
        let agent = Agent {
            id: principal.id,
            name: principal.name,
            delegation: delegation.number,
            purpose: delegation.purpose.map(Into::into),
        };
        Ok(Principal {
            id: person.id,
            name: person.name.into(),
            roles: person.roles.into_iter().map(Into::into).collect(),
            agent: Some(agent.into()),
            shown: principal.shown,
        })
    }
}
