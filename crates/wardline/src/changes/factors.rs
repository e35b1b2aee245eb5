//! Second factors: given out, listed, taken away. By an administrator for somebody, or by people for themselves in the
//! browser, once they have shown one that they have.

use identity::recovery;
use identity::totp::Shared;
use registry::{FactorsRow, PasskeyRow, PersonRow};

use super::{Change, quoted, shown};
use crate::admin::{Actor, FactorsView, PasskeyView, Refusal, Reply, Sensitive};
use crate::node::Node;
use crate::output;

impl Node {
    pub(super) async fn user_totp(&self, actor: &Actor, name: &str) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "user totp", format!("give {} an authenticator", quoted(name)));
        let person = self.known_to_sign_in(&change, name).await?;
        self.give_totp(actor, &person).await
    }

    /// Gives a person an authenticator; the secret is told once.
    pub(crate) async fn give_totp(&self, actor: &Actor, person: &PersonRow) -> Result<Reply, Refusal> {
        let what = format!("give {} an authenticator; the one before ends", shown(person));
        let change = Change::new(actor, "user totp", what);
        let secret = Shared::fresh();
        let sealed = self.totp.seal(person.id, &secret).map_err(|error| Refusal::because(&error))?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let set = registry.set_totp(person.id, &sealed, self.now()).await;
        self.done(&change, set).await?;
        let issuer = format!("Wardline {}", self.config.load().node);
        Ok(Reply::Authenticator {
            person: person.name.clone(),
            secret: Sensitive(secret.base32()),
            address: Sensitive(secret.address(&issuer, &person.name)),
        })
    }

    pub(super) async fn user_recovery_codes(&self, actor: &Actor, name: &str) -> Result<Reply, Refusal> {
        let what = format!("give {} recovery codes", quoted(name));
        let change = Change::new(actor, "user recovery-codes", what);
        let person = self.known_to_sign_in(&change, name).await?;
        self.give_recovery_codes(actor, &person).await
    }

    /// Gives a person recovery codes; they are told once.
    pub(crate) async fn give_recovery_codes(
        &self,
        actor: &Actor,
        person: &PersonRow,
    ) -> Result<Reply, Refusal> {
        let what = format!("give {} {} recovery codes; those before end", shown(person), recovery::CODES);
        let change = Change::new(actor, "user recovery-codes", what);
        let (codes, digests): (Vec<_>, Vec<_>) = recovery::fresh(person.id).into_iter().unzip();
        let (change, registry) = self.admitted_numbered(change).await?;
        let set = registry.set_recovery_codes(person.id, &digests, self.now()).await;
        self.done(&change, set).await?;
        let codes = codes.into_iter().map(Sensitive).collect();
        Ok(Reply::RecoveryCodes { person: person.name.clone(), codes })
    }

    pub(super) async fn user_factors(&self, name: &str) -> Result<Reply, Refusal> {
        let found = self.registry.person(name).await.map_err(|error| Refusal::because(&error))?;
        let Some(person) = found else {
            let refusal = Refusal::new(format!("there is no person named {}", quoted(name)));
            return Err(refusal.help("`wardline user list` shows everybody"));
        };
        let factors = self.registry.factors(person.id).await.map_err(|error| Refusal::because(&error))?;
        let passkeys = self.registry.passkeys(person.id).await.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Factors(view(&person, &factors, passkeys)))
    }

    pub(super) async fn user_factors_remove(&self, actor: &Actor, name: &str) -> Result<Reply, Refusal> {
        let what = format!("take all second factors of {} away", quoted(name));
        let change = Change::new(actor, "user factors", what);
        let person = self.known(&change, name).await?;
        let change = Change {
            what: format!("take all second factors of {} away, and end tokens and browsers", shown(&person)),
            ..change
        };
        let (change, registry) = self.admitted_numbered(change).await?;
        let factors = self.done(&change, registry.remove_factors(person.id, self.now()).await).await?;
        self.browsers.end_of(person.id);
        Ok(Reply::FactorsRemoved { factors })
    }
}

fn view(person: &PersonRow, factors: &FactorsRow, passkeys: Vec<PasskeyRow>) -> FactorsView {
    let passkeys = passkeys.into_iter().map(|passkey| PasskeyView {
        id: output::hex(&passkey.id),
        label: passkey.label,
        added_at: output::time(passkey.added_at),
        used_at: passkey.used_at.map(output::time),
    });
    FactorsView {
        person: person.name.clone(),
        totp_added_at: factors.totp_added_at.map(output::time),
        totp_confirmed_at: factors.totp_confirmed_at.map(output::time),
        recovery_codes_left: factors.recovery.len(),
        passkeys: passkeys.collect(),
    }
}
