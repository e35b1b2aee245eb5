//! Tokens for those who prove who they are: by the command line, or in the browser.

use std::time::Duration;

use identity::scram::Verifier;
use identity::token;
use model::{Kind, Micros, Outcome, PersonId, Record, Secret, Shown};
use registry::TokenRow;

use crate::admin::{Actor, Refusal, Reply, Sensitive, TokenView};
use crate::guards::Newcomer;
use crate::node::Node;
use crate::output;

impl Node {
    /// Gives a token for a password, and for a code of the second factor where there is one. Its record is that of a
    /// sign-in, successful or not.
    pub(super) async fn login(
        &self,
        actor: &Actor,
        name: &str,
        secret: Secret,
        code: Option<Secret>,
        life_s: Option<u64>,
    ) -> Result<Reply, Refusal> {
        let life = self.token_life(life_s)?;
        let newcomer = match self.sign_in_afresh(name, secret, code.as_ref()).await {
            Ok(newcomer) => newcomer,
            Err(reason) => {
                let mut record = self.login_record(name);
                record.outcome = Some(Outcome::Refused);
                record.detail = Some(format!("{} (asked by {})", reason.name(), actor.shown()).into());
                self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
                return Err(Refusal::new("sign-in failed"));
            }
        };
        self.give_token(actor, newcomer, life).await
    }

    /// Returns how long a token that is asked for may live.
    pub(crate) fn token_life(&self, life_s: Option<u64>) -> Result<Duration, Refusal> {
        let most = self.config.load().sign_in.token_lifetime_max;
        let life = life_s.map_or(most, Duration::from_secs);
        if life > most || life.is_zero() {
            let help = format!("ask for 1 to {} seconds with --life-s", most.as_secs());
            return Err(Refusal::new("the token may not live so long").help(help));
        }
        Ok(life)
    }

    fn login_record(&self, name: &str) -> Record<'static> {
        let mut record = Record::new(Kind::SignIn, self.now());
        record.client = Some("wardline login".into());
        record.person_name = Some(output::clipped(&output::printable(name), registry::NAME_BYTES_MAX).into());
        record
    }

    async fn give_token(&self, actor: &Actor, newcomer: Newcomer, life: Duration) -> Result<Reply, Refusal> {
        let principal = newcomer.into_principal();
        let mut record = self.login_record(&principal.name);
        record.person = Some(principal.id);
        record.outcome = Some(Outcome::Completed);
        record.sign_in = Some(principal.shown.how.to_string().into());
        let by = format!("asked by {}", actor.shown());
        self.token_for(record, &by, principal.id, &principal.name, &principal.shown, life).await
    }

    /// Makes a token that is worth what was shown, records it, and keeps what is needed to know it again.
    pub(crate) async fn token_for(
        &self,
        mut record: Record<'static>,
        by: &str,
        person: PersonId,
        name: &str,
        shown: &Shown,
        life: Duration,
    ) -> Result<Reply, Refusal> {
        let parameters = self.scram_parameters(name);
        let at: Micros = self.now();
        let (secret, stored) = token::issue(person, shown.clone(), at, life, parameters.as_ref());
        record.detail = Some(format!("token {} issued ({by})", stored.id).into());
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
        self.registry.issue_token(&row).await.map_err(|error| {
            Refusal::because(&error)
                .help("`wardline token revoke --person NAME` ends all of a person's tokens")
        })?;
        Ok(Reply::Token(TokenView {
            token: Sensitive(secret),
            id: stored.id.to_string(),
            person: name.to_owned(),
            expires_at: output::time(stored.expires),
            address: self.config.load().listener.address.to_string(),
        }))
    }
}
