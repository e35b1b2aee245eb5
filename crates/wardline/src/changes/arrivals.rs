//! People who arrive from elsewhere: an identity provider says who somebody is, and the registry whom that is here.
//!
//! A provider's subject is bound to a person for ever; neither name nor address of mail ever joins two. Roles that the
//! configuration lets the provider give follow its groups at every sign-in; others are left alone.

use std::time::Duration;

use model::{Kind, Outcome, Record, Shown};
use registry::{AccountKind, NewPerson, PersonRow, Verifiers};

use super::{Change, detail, quoted, roles_shown, shown};
use crate::admin::{Actor, DeviceView, Refusal, Reply, Sensitive, TokenView};
use crate::config::OidcProvider;
use crate::node::Node;
use crate::oidc::{Assertion, Back, Begun, NotProven};
use crate::output;

/// Somebody who proved at a provider who they are.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) person: PersonRow,
    /// What was shown there, in the words of the trail, and whether a second factor was.
    pub(crate) shown: Shown,
    /// In the words of the trail: `oidc:NAME` and what the provider says of how.
    pub(crate) how: String,
}

/// Returns the name under which a provider acts and its people are bound.
fn provider_shown(name: &str) -> String {
    format!("oidc:{name}")
}

impl Node {
    fn oidc_provider(&self, name: &str) -> Result<OidcProvider, Refusal> {
        let config = self.config.load();
        config.oidc.get(name).cloned().ok_or_else(|| {
            crate::commands::no_such("identity provider", name, config.oidc.keys().map(String::as_str))
        })
    }

    /// Returns where a browser is sent to sign in.
    pub(crate) async fn oidc_begin(&self, name: &str, redirect: String) -> Result<Begun, Refusal> {
        let provider = self.oidc_provider(name)?;
        let begun = self.oidc.begin(name, &provider, redirect, self.now()).await;
        match begun {
            Ok(begun) => Ok(begun),
            Err(not_proven) => Err(self.oidc_refused(name, None, not_proven).await),
        }
    }

    /// Takes somebody in whom a browser brings back from a provider.
    pub(crate) async fn oidc_finish(&self, name: &str, back: &Back<'_>) -> Result<Arrived, Refusal> {
        let provider = self.oidc_provider(name)?;
        match self.oidc.finish(name, &provider, back, self.now()).await {
            Ok(assertion) => self.arrive(&provider, &assertion).await,
            Err(not_proven) => Err(self.oidc_refused(name, None, not_proven).await),
        }
    }

    /// Asks a provider for a code that somebody types on another device.
    pub(super) async fn device_begin(&self, name: Option<&str>) -> Result<Reply, Refusal> {
        let only = {
            let config = self.config.load();
            match (config.oidc.len(), config.oidc.keys().next()) {
                (1, Some(only)) => Some(only.clone()),
                (_, _) => None,
            }
        };
        let name = name.map(str::to_owned).or(only);
        let name = name.ok_or_else(|| Refusal::new("name the identity provider"))?;
        let provider = self.oidc_provider(&name)?;
        match self.oidc.device(&name, &provider, self.now()).await {
            Ok(code) => Ok(Reply::Device(DeviceView {
                handle: Sensitive(model::Secret::new(code.handle)),
                user_code: code.user_code,
                address: code.address,
                address_with_code: code.address_with_code,
                expires_s: code.expires_s,
                pause_s: code.pause_s,
            })),
            Err(not_proven) => Err(self.oidc_refused(&name, None, not_proven).await),
        }
    }

    /// Asks whether the code was typed; then it is worth a token.
    pub(super) async fn device_ask(&self, handle: &str, life_s: Option<u64>) -> Result<Reply, Refusal> {
        let most = self.config.load().sign_in.token_lifetime_max;
        let life = life_s.map_or(most, Duration::from_secs);
        if life > most || life.is_zero() {
            let help = format!("ask for 1 to {} seconds with --life-s", most.as_secs());
            return Err(Refusal::new("the token may not live so long").help(help));
        }
        let name = self.oidc.device_provider(handle).ok_or_else(|| Refusal::new("sign-in failed"))?;
        let provider = self.oidc_provider(&name)?;
        match self.oidc.device_ask(handle, &provider, self.now()).await {
            Ok(assertion) => {
                let arrived = self.arrive(&provider, &assertion).await?;
                self.token_of(&arrived, life).await
            }
            Err(NotProven::Waiting) => Ok(Reply::Nothing {}),
            Err(not_proven) => Err(self.oidc_refused(&name, None, not_proven).await),
        }
    }

    /// Finds the person of a proven assertion, or makes them one; their roles follow the groups.
    pub(crate) async fn arrive(
        &self,
        provider: &OidcProvider,
        assertion: &Assertion,
    ) -> Result<Arrived, Refusal> {
        let _turn = self.turn.lock().await;
        let actor = Actor::system(&provider_shown(&assertion.provider));
        let found = self.registry.identity(&actor.name, &assertion.subject).await;
        let found = found.map_err(|error| Refusal::because(&error))?;
        let person = match found {
            Some(person) => person,
            None if provider.provision => self.arrive_first(&actor, provider, assertion).await?,
            None => return Err(self.arrival_refused(assertion, "person-unknown").await),
        };
        if person.disabled_at.is_some() {
            return Err(self.arrival_refused(assertion, "disabled").await);
        }
        let person = self.follow_groups(&actor, provider, assertion, person).await?;
        let kind = self.registry.account_kind(person.id).await.map_err(|error| Refusal::because(&error))?;
        if kind == AccountKind::Agent {
            return Err(self.arrival_refused(assertion, "an-agent").await);
        }
        if self.lock_on(person.id, &person.roles).is_some() {
            return Err(self.arrival_refused(assertion, "held-by-lock").await);
        }
        let factor = if assertion.factor { ", with a second factor" } else { "" };
        let how = format!("{} ({}{factor})", actor.name, assertion.how);
        let shown = match assertion.factor {
            true => Shown::with_factor(&actor.name, self.now()),
            false => Shown::alone(&actor.name),
        };
        let mut record = Record::new(Kind::SignIn, self.now());
        record.sign_in = Some(shown.how.to_string().into());
        record.client = Some(actor.name.clone().into());
        record.person = Some(person.id);
        record.person_name = Some(person.name.clone().into());
        record.outcome = Some(Outcome::Completed);
        record.detail = Some(detail(&how).into_owned().into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        Ok(Arrived { person, shown, how })
    }

    async fn arrive_first(
        &self,
        actor: &Actor,
        provider: &OidcProvider,
        assertion: &Assertion,
    ) -> Result<PersonRow, Refusal> {
        let name = assertion.name.as_deref().unwrap_or_default().to_lowercase();
        let taken = self.registry.person(&name).await.map_err(|error| Refusal::because(&error))?;
        let program = self.config.load().workloads.contains_key(&name);
        // A name that somebody has is not proof of being them.
        if registry::name_fits(&name).is_err() || taken.is_some() || program {
            let reason = if taken.is_some() || program { "name-taken" } else { "name-unfit" };
            return Err(self.arrival_refused(assertion, reason).await);
        }
        let groups: Vec<&str> = assertion.groups.iter().map(String::as_str).collect();
        let roles = provider.roles_of(&groups);
        let display_name = super::fitting_display_name(assertion.display_name.as_deref().unwrap_or_default());
        let id = identity::person_id();
        let what = format!(
            "add person {} (id {id}) with {}, who signed in at {} for the first time",
            quoted(&name),
            roles_shown(&roles),
            actor.name
        );
        let (change, registry) = self.admitted_numbered(Change::new(actor, "user add", what)).await?;
        let person =
            NewPerson { id, name: name.clone(), display_name, roles, verifiers: Verifiers::default() };
        let at = self.now();
        let added =
            registry.add_person_of(&person, (&actor.name, &assertion.subject), &actor.shown(), at).await;
        self.done(&change, added).await?;
        self.publish(&self.config.load_full()).await?;
        let found = self.registry.person(&name).await.map_err(|error| Refusal::because(&error))?;
        found.ok_or_else(|| Refusal::new("the person is gone again"))
    }

    /// Gives and takes the roles that the provider decides over.
    async fn follow_groups(
        &self,
        actor: &Actor,
        provider: &OidcProvider,
        assertion: &Assertion,
        person: PersonRow,
    ) -> Result<PersonRow, Refusal> {
        let groups: Vec<&str> = assertion.groups.iter().map(String::as_str).collect();
        let mut roles: Vec<String> =
            person.roles.iter().filter(|role| !provider.gives(role)).cloned().collect();
        roles.extend(provider.roles_of(&groups));
        roles.sort();
        roles.dedup();
        if roles == person.roles {
            return Ok(person);
        }
        let (before, after) = (roles_shown(&person.roles), roles_shown(&roles));
        let what =
            format!("give {} {after} by the groups of {}, before that {before}", shown(&person), actor.name);
        let (change, registry) = self.admitted_numbered(Change::new(actor, "user roles", what)).await?;
        self.done(&change, registry.set_roles(person.id, &roles).await).await?;
        self.publish(&self.config.load_full()).await?;
        Ok(PersonRow { roles, ..person })
    }

    /// Returns a token that is worth what was shown at the provider.
    async fn token_of(&self, arrived: &Arrived, life: Duration) -> Result<Reply, Refusal> {
        let person = &arrived.person;
        let mut record = Record::new(Kind::SignIn, self.now());
        record.client = Some("wardline login".into());
        record.person = Some(person.id);
        record.person_name = Some(person.name.clone().into());
        record.outcome = Some(Outcome::Completed);
        record.sign_in = Some(arrived.shown.how.to_string().into());
        self.token_for(record, &arrived.how, person.id, &person.name, &arrived.shown, life).await
    }

    /// Returns a token for somebody who came back from a provider with a browser.
    pub(crate) async fn token_of_arrival(&self, arrived: &Arrived) -> Result<TokenView, Refusal> {
        let life = self.config.load().sign_in.token_lifetime_max;
        match self.token_of(arrived, life).await? {
            Reply::Token(token) => Ok(token),
            _ => Err(Refusal::new("sign-in failed")),
        }
    }

    async fn arrival_refused(&self, assertion: &Assertion, reason: &'static str) -> Refusal {
        let name = assertion.name.as_deref();
        self.oidc_refused(&assertion.provider, name, NotProven::Refused(reason)).await
    }

    /// Says what people can do while a provider cannot be reached.
    fn without_provider(&self) -> String {
        let mut words = "open sessions, tokens and passwords go on; try again later".to_owned();
        if self.config.load().emergency.break_glass.is_some() {
            words.push_str(
                "; in an emergency two custodians have sealed codes: `wardline break-glass begin RESOURCE --code NAME`",
            );
        }
        words
    }

    /// Records why nobody was let in, and returns what they are told: nothing of that.
    async fn oidc_refused(&self, provider: &str, name: Option<&str>, why: NotProven) -> Refusal {
        let (reason, told) = match why {
            NotProven::Refused(reason) => (reason, Refusal::new("sign-in failed")),
            NotProven::Unreachable(error) => {
                tracing::error!(
                    provider,
                    error = format!("{error:#}"),
                    "an identity provider cannot be asked"
                );
                let told = Refusal::new("the identity provider cannot be reached now");
                ("provider-unreachable", told.help(self.without_provider()))
            }
            NotProven::Waiting => ("waiting", Refusal::new("nobody has signed in yet")),
            NotProven::Busy => {
                ("too-many", Refusal::new("too many sign-ins at once").help("try again later"))
            }
        };
        metrics::counter!("wardline_oidc_refused_total").increment(1);
        let mut record = Record::new(Kind::SignIn, self.now());
        record.client = Some(provider_shown(provider).into());
        record.person_name =
            name.map(|name| output::clipped(&output::printable(name), registry::NAME_BYTES_MAX).into());
        record.outcome = Some(Outcome::Refused);
        record.detail = Some(reason.into());
        match self.record_urgent(&record).await {
            Ok(()) => told,
            Err(error) => Refusal::because(&error),
        }
    }

    /// Binds somebody of a provider to a person, by an administrator's word.
    pub(super) async fn user_bind(
        &self,
        actor: &Actor,
        name: &str,
        provider: &str,
        subject: &str,
    ) -> Result<Reply, Refusal> {
        let change =
            Change::new(actor, "user bind", format!("bind {} to {}", quoted(name), quoted(provider)));
        let known = self.oidc_provider(provider).map(drop);
        self.or_refuse(&change, known).await?;
        let fits = check_subject(subject);
        self.or_refuse(&change, fits).await?;
        let person = self.known(&change, name).await?;
        let (provider, subject) = (provider_shown(provider), output::printable(subject));
        let what = format!("bind {} to {} at {provider}", shown(&person), quoted(&subject));
        let (change, registry) = self.admitted_numbered(Change { what, ..change }).await?;
        let bound = registry.bind_identity(&provider, &subject, person.id, &actor.shown(), self.now()).await;
        self.done(&change, bound).await?;
        self.person_view(name).await
    }
}

/// Longest subject: that of OpenID Connect.
const SUBJECT_BYTES_MAX: usize = 255;

fn check_subject(subject: &str) -> Result<(), Refusal> {
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
        let help = "it is the claim `sub` of the provider's tokens, an id and not a name";
        return Err(Refusal::new("the subject cannot be one").help(help));
    }
    Ok(())
}
