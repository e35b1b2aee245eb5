//! Emergency access by a sealed code, for the day when nobody can sign in as usual.
//!
//! Two custodians stand for who it is: the person is named, not proven. They must be one whom the registry knows, or its last
//! copy, and whose roles may take emergency access. They get a token that lives as long as the access.

use identity::scram::Verifier;
use identity::token;
use model::{Kind, Outcome, Record, Secret, Shown};
use registry::TokenRow;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::asked::{EmergencyView, Wish};
use super::check;
use crate::admin::{ActingPerson, Actor, Refusal, Reply, Sensitive, TokenView};
use crate::changes::{Change, detail, quoted};
use crate::codes::{self, Fresh, NotTaken};
use crate::guards::SEALED_CODE;
use crate::node::Node;
use crate::output;
use crate::sign_in::answer_together;

/// A sheet of codes. The halves are in clear: the only time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SheetView {
    pub(crate) sheet: String,
    pub(crate) made_at: String,
    pub(crate) made_by: String,
    pub(crate) locked_until: Option<String>,
    pub(crate) codes: Vec<CodeView>,
}

/// One code.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CodeView {
    pub(crate) name: String,
    pub(crate) halves: Option<[Sensitive; 2]>,
    pub(crate) used_at: Option<String>,
    pub(crate) used_by: Option<String>,
}

/// What a code gave: emergency access, and a token to sign in with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ByCodeView {
    pub(crate) emergency: EmergencyView,
    pub(crate) token: TokenView,
}

impl Node {
    pub(super) async fn codes_new(&self, actor: &Actor, count: u64) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "break-glass codes new", format!("make {count} sealed codes"));
        let fits = match usize::try_from(count).ok().filter(|count| (1..=codes::CODES_MAX).contains(count)) {
            Some(count) => Ok(count),
            None => Err(Refusal::new(format!("a sheet has 1 to {} codes", codes::CODES_MAX))),
        };
        let count = self.or_refuse(&change, fits).await?;
        self.admitted(&change).await?;
        let now = self.now();
        let made = codes::make(&self.folder.codes(), count, &actor.shown(), now);
        let fresh = self.done(&change, made).await?;
        let view = |fresh: Fresh| CodeView {
            name: fresh.name,
            halves: Some(fresh.halves.map(|half| Sensitive(Secret::new(half)))),
            used_at: None,
            used_by: None,
        };
        let codes: Vec<CodeView> = fresh.into_iter().map(view).collect();
        let sheet = codes.first().and_then(|code| code.name.split('-').next()).unwrap_or_default().to_owned();
        let (made_at, made_by) = (output::time(now), actor.shown());
        Ok(Reply::Sheet(SheetView { sheet, made_at, made_by, locked_until: None, codes }))
    }

    pub(super) fn codes_list(&self) -> Result<Reply, Refusal> {
        let left = codes::left(&self.folder.codes()).map_err(|error| Refusal::because(&error))?;
        let Some(left) = left else {
            let refusal = Refusal::new("there are no sealed codes");
            return Err(refusal.help("`wardline break-glass codes new` makes them"));
        };
        let codes = left.codes.into_iter().map(|(name, used)| CodeView {
            name,
            halves: None,
            used_at: used.as_ref().map(|(at, _)| output::time(*at)),
            used_by: used.map(|(_, by)| by),
        });
        Ok(Reply::Sheet(SheetView {
            sheet: left.sheet,
            made_at: output::time(left.made),
            made_by: left.made_by,
            locked_until: left.locked_until.map(output::time),
            codes: codes.collect(),
        }))
    }

    pub(super) async fn emergency_by_code(
        &self,
        account: &Actor,
        name: &str,
        halves: [&str; 2],
        wish: &Wish,
    ) -> Result<Reply, Refusal> {
        let began = Instant::now();
        // Who holds no code learns nothing about people, not even from the time.
        let code = match codes::find(&self.folder.codes(), halves, self.now()) {
            Ok(code) => code,
            Err(not_taken) => {
                let refusal = self.code_refused(account, name, not_taken).await;
                return answer_together(began, Err(refusal)).await;
            }
        };
        let what = format!("take emergency access as {} by the sealed code {code}", quoted(name));
        let change = Change::new(account, "break-glass begin", what);
        let found = self.person_for_code(name, wish).await;
        let person = self.or_refuse(&change, found).await?;
        // Everything that may refuse comes before the code is spent: it works once.
        let free = self.check_free(&person, &wish.resource).await;
        self.or_refuse(&change, free).await?;
        self.admitted(&change).await?;
        let spent = codes::spend(&self.folder.codes(), &code, name, self.now());
        let spent = spent.map_err(|not_taken| Refusal::new(not_taken.to_string()));
        self.done(&change, spent).await?;
        let actor = Actor { person: Some(person.clone()), ..account.clone() };
        let emergency = self.emergency_taken(&actor, wish, Some(code)).await?;
        let token = self.token_for_emergency(&person, &emergency).await?;
        Ok(Reply::ByCode(Box::new(ByCodeView { emergency: self.emergency_view(&emergency), token })))
    }

    /// Records a code that was not taken, and says no.
    async fn code_refused(&self, account: &Actor, name: &str, not_taken: NotTaken) -> Refusal {
        let mut record = Record::new(Kind::SignIn, self.now());
        record.client = Some(format!("wardline, {}", account.shown()).into());
        record.person_name = Some(output::clipped(&output::printable(name), registry::NAME_BYTES_MAX).into());
        record.outcome = Some(Outcome::Refused);
        record.detail = Some(detail(&format!("sealed code: {not_taken}")));
        let mut records = vec![record];
        if let NotTaken::Locked { now: true } = not_taken {
            tracing::error!("SEALED CODES ARE LOCKED after wrong ones");
            let mut incident = Record::new(Kind::Incident, self.now());
            incident.detail = Some("sealed codes of emergency access are locked after wrong ones".into());
            records.push(incident);
        }
        metrics::counter!("wardline_sealed_codes_refused_total").increment(1);
        for record in records {
            if let Err(error) = self.record_urgent(&record).await {
                return Refusal::because(&error);
            }
        }
        Refusal::new(not_taken.to_string())
    }

    /// Returns the person whom a code is used for, if they may have what is wished for.
    async fn person_for_code(&self, name: &str, wish: &Wish) -> Result<ActingPerson, Refusal> {
        let row = self.registry.person(name).await.map_err(|error| Refusal::because(&error))?;
        let row = row.filter(|row| row.disabled_at.is_none());
        let row = row.ok_or_else(|| Refusal::new(format!("there is no person named {}", quoted(name))))?;
        let person =
            ActingPerson { id: row.id, name: row.name, roles: row.roles, factor_at: None, by_code: true };
        if let Some(number) = self.lock_on(person.id, &person.roles) {
            return Err(Refusal::new(format!("lock {number} holds {}", quoted(&person.name))));
        }
        check(&self.config.load(), &person, wish)?;
        Ok(person)
    }

    async fn token_for_emergency(
        &self,
        person: &ActingPerson,
        emergency: &registry::Emergency,
    ) -> Result<TokenView, Refusal> {
        let at = self.now();
        // Both halves of a code are two people's: they count as a second factor.
        let shown = Shown::with_factor(SEALED_CODE, at);
        let (secret, stored) = token::issue(
            person.id,
            shown,
            at,
            emergency.duration,
            self.scram_parameters(&person.name).as_ref(),
        );
        let mut record = Record::new(Kind::SignIn, at);
        record.client = Some("wardline break-glass".into());
        record.person = Some(person.id);
        record.person_name = Some(person.name.clone().into());
        record.emergency = Some(emergency.number);
        record.outcome = Some(Outcome::Completed);
        record.detail = Some(format!("token {} issued (sealed code)", stored.id).into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        let row = TokenRow {
            id: stored.id.0,
            person: stored.person,
            digest: stored.digest,
            scram: stored.scram.as_ref().map(Verifier::to_text),
            issued_at: stored.issued,
            expires_at: stored.expires,
            revoked_at: None,
            shown: stored.shown,
        };
        self.registry.issue_token(&row).await.map_err(|error| Refusal::because(&error))?;
        Ok(TokenView {
            token: Sensitive(secret),
            id: stored.id.to_string(),
            person: person.name.clone(),
            expires_at: output::time(stored.expires),
            address: self.config.load().listener.address.to_string(),
        })
    }
}
