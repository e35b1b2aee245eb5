//! The register of accounts: what each is, who answers for it, when it was last used, and what is wrong with it.

use std::collections::HashMap;

use model::PersonId;
use registry::{AccountKind, Details, PersonRow};

use super::{Change, check_resource, no_credential, no_person, quoted};
use crate::accounts;
use crate::admin::{AccountAsk, AccountView, Actor, Refusal, Reply};
use crate::commands::no_such;
use crate::node::Node;
use crate::output;

/// What of an account is to be said; an empty name is nobody.
struct Said<'a> {
    kind: Option<&'a str>,
    owner: Option<&'a str>,
    approver: Option<&'a str>,
    manager: Option<&'a str>,
}

impl Node {
    pub(super) async fn account_asked(&self, actor: &Actor, ask: AccountAsk) -> Result<Reply, Refusal> {
        match ask {
            AccountAsk::Describe { name, kind, owner, approver, manager } => {
                let said = Said {
                    kind: kind.as_deref(),
                    owner: owner.as_deref(),
                    approver: approver.as_deref(),
                    manager: manager.as_deref(),
                };
                self.account_describe(actor, &name, &said).await
            }
            AccountAsk::DescribeUpstream { resource, owner, approver } => {
                self.upstream_describe(actor, &resource, owner.as_deref(), approver.as_deref()).await
            }
            AccountAsk::Report { all } => self.account_report(all).await,
        }
    }

    async fn account_describe(&self, actor: &Actor, name: &str, said: &Said<'_>) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "account describe", format!("say what account {} is", quoted(name)));
        let found = self.described(name, said).await;
        let (person, before, after, people) = self.or_refuse(&change, found).await?;
        let what = format!(
            "account {} (id {}) is {}; before that {}",
            quoted(name),
            person,
            details_shown(&after, &people),
            details_shown(&before, &people)
        );
        let (change, registry) = self.admitted_numbered(Change { what, ..change }).await?;
        self.done(&change, registry.describe_account(person, &after).await).await?;
        self.publish(&self.config.load_full()).await?;
        self.account_report(true).await.map(|reply| match reply {
            Reply::Accounts(mut accounts) => {
                accounts.retain(|account| account.resource.is_none() && account.account == name);
                Reply::Accounts(accounts)
            }
            other => other,
        })
    }

    async fn described(
        &self,
        name: &str,
        said: &Said<'_>,
    ) -> Result<(PersonId, Details, Details, Vec<PersonRow>), Refusal> {
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let details = self.registry.account_details().await.map_err(|error| Refusal::because(&error))?;
        let id = find(&people, name)?.id;
        let before = details.get(&id).copied().unwrap_or_default();
        let mut after = before;
        if let Some(kind) = said.kind {
            let known = AccountKind::ALL.map(AccountKind::name);
            after.kind = AccountKind::named(kind).ok_or_else(|| no_such("kind of account", kind, known))?;
        }
        for (field, said) in [
            (&mut after.owner, said.owner),
            (&mut after.approver, said.approver),
            (&mut after.manager, said.manager),
        ] {
            if let Some(name) = said {
                *field = human(&people, &details, name)?;
            }
        }
        if [after.owner, after.approver, after.manager].contains(&Some(id)) {
            return Err(Refusal::new("nobody answers for their own account").help("name somebody else"));
        }
        check_two(after.owner, after.approver)?;
        Ok((id, before, after, people))
    }

    async fn upstream_describe(
        &self,
        actor: &Actor,
        resource: &str,
        owner: Option<&str>,
        approver: Option<&str>,
    ) -> Result<Reply, Refusal> {
        let what = format!("say who answers for the account of resource {}", quoted(resource));
        let change = Change::new(actor, "account describe", what);
        let found = self.upstream_described(resource, owner, approver).await;
        let (account, owner, approver, people) = self.or_refuse(&change, found).await?;
        let what = format!(
            "account {} of resource {}: owner {}, approver {}",
            quoted(&account),
            quoted(resource),
            named(owner, &people),
            named(approver, &people)
        );
        let (change, registry) = self.admitted_numbered(Change { what, ..change }).await?;
        let described = registry.describe_upstream(resource, &account, owner, approver).await;
        self.done(&change, described).await?;
        self.account_report(false).await.map(|reply| match reply {
            Reply::Accounts(mut accounts) => {
                accounts.retain(|account| account.resource.as_deref() == Some(resource));
                Reply::Accounts(accounts)
            }
            other => other,
        })
    }

    async fn upstream_described(
        &self,
        resource: &str,
        owner: Option<&str>,
        approver: Option<&str>,
    ) -> Result<(String, Option<PersonId>, Option<PersonId>, Vec<PersonRow>), Refusal> {
        check_resource(&self.config.load(), resource)?;
        let id = model::ResourceId(resource.into());
        let credential = self.vault.credential(&id).map_err(|error| Refusal::because(&error))?;
        let account = credential.ok_or_else(|| no_credential(resource))?.user;
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let details = self.registry.account_details().await.map_err(|error| Refusal::because(&error))?;
        let known = self.registry.upstream_accounts().await.map_err(|error| Refusal::because(&error))?;
        let known = known.into_iter().find(|known| known.resource == resource && known.account == account);
        let (mut now_owner, mut now_approver) =
            known.map_or((None, None), |known| (known.owner, known.approver));
        if let Some(name) = owner {
            now_owner = human(&people, &details, name)?;
        }
        if let Some(name) = approver {
            now_approver = human(&people, &details, name)?;
        }
        check_two(now_owner, now_approver)?;
        Ok((account, now_owner, now_approver, people))
    }

    /// Writes down when accounts were last used.
    pub(crate) async fn write_uses(&self) -> Result<(), Refusal> {
        let taken = self.uses.take();
        if taken.0.is_empty() && taken.1.is_empty() {
            return Ok(());
        }
        let written = self.registry.note_uses(&taken.0, &taken.1).await;
        written.map_err(|error| {
            self.uses.put_back(taken);
            Refusal::because(&error)
        })
    }

    /// Returns every account that is not one person's, and what is wrong with any; with `all`, also people.
    async fn account_report(&self, all: bool) -> Result<Reply, Refusal> {
        self.write_uses().await?;
        let because = |error: registry::Error| Refusal::because(&error);
        let people = self.registry.people().await.map_err(because)?;
        let details = self.registry.account_details().await.map_err(because)?;
        let upstream = self.registry.upstream_accounts().await.map_err(because)?;
        let by_id: HashMap<PersonId, &PersonRow> = people.iter().map(|person| (person.id, person)).collect();
        let now = self.now();
        let name = |id: Option<PersonId>| id.and_then(|id| by_id.get(&id)).map(|person| person.name.clone());
        let mut views = Vec::new();
        for person in &people {
            let known = details.get(&person.id).copied().unwrap_or_default();
            let findings = accounts::findings(person, &known, &by_id, now);
            if !all && known.kind == AccountKind::Person && findings.is_empty() {
                continue;
            }
            views.push(AccountView {
                account: person.name.clone(),
                resource: None,
                kind: known.kind.name().to_owned(),
                owner: name(known.owner),
                approver: name(known.approver),
                manager: name(known.manager),
                last_used_at: known.last_used_at.map(output::time),
                created_at: Some(output::time(person.created_at)),
                disabled: person.disabled_at.is_some(),
                findings,
            });
        }
        for resource in self.config.load().resource_ids() {
            let Ok(Some(credential)) = self.vault.credential(&resource) else { continue };
            let known = upstream
                .iter()
                .find(|known| *known.resource == *resource.0 && known.account == credential.user);
            let (owner, approver, last_used_at) =
                known.map_or((None, None, None), |known| (known.owner, known.approver, known.last_used_at));
            let findings =
                accounts::upstream_findings(&credential.user, (owner, approver), last_used_at, &by_id, now);
            views.push(AccountView {
                account: credential.user,
                resource: Some(resource.to_string()),
                kind: "upstream".to_owned(),
                owner: name(owner),
                approver: name(approver),
                manager: None,
                last_used_at: last_used_at.map(output::time),
                created_at: None,
                disabled: false,
                findings,
            });
        }
        Ok(Reply::Accounts(views))
    }
}

fn find<'a>(people: &'a [PersonRow], name: &str) -> Result<&'a PersonRow, Refusal> {
    let found = people.iter().find(|person| person.name == name);
    found.ok_or_else(|| no_person(name, people.iter().map(|person| person.name.as_str())))
}

/// Finds a human being, who alone can answer for something; the empty name is nobody.
fn human(
    people: &[PersonRow],
    details: &HashMap<PersonId, Details>,
    name: &str,
) -> Result<Option<PersonId>, Refusal> {
    if name.is_empty() {
        return Ok(None);
    }
    let person = find(people, name)?;
    let kind = details.get(&person.id).copied().unwrap_or_default().kind;
    if kind != AccountKind::Person || person.disabled_at.is_some() {
        let what = if person.disabled_at.is_some() { "disabled" } else { kind.name() };
        let message = format!("{} cannot answer for anything: the account is {what}", quoted(name));
        return Err(Refusal::new(message).help("name a person who may sign in"));
    }
    Ok(Some(person.id))
}

fn check_two(owner: Option<PersonId>, approver: Option<PersonId>) -> Result<(), Refusal> {
    if owner.is_some() && owner == approver {
        return Err(Refusal::new("nobody approves what they own").help("name somebody else as the approver"));
    }
    Ok(())
}

fn details_shown(details: &Details, people: &[PersonRow]) -> String {
    format!(
        "{}, owner {}, approver {}, manager {}",
        details.kind.name(),
        named(details.owner, people),
        named(details.approver, people),
        named(details.manager, people)
    )
}

fn named(id: Option<PersonId>, people: &[PersonRow]) -> String {
    let Some(id) = id else { return "nobody".to_owned() };
    let person = people.iter().find(|person| person.id == id);
    person.map_or_else(|| format!("(id {id})"), |person| format!("{} (id {id})", quoted(&person.name)))
}
