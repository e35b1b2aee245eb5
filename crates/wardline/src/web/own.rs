//! What people do for themselves in the browser: their tokens, their sessions, their second factors. Recorded as what an
//! administrator does, with their own name.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::Cut;
use model::{Kind, Record, SessionId};

use super::session::Visitor;
use crate::admin::{Refusal, Reply, TokenView};
use crate::changes::Change;
use crate::node::Node;
use crate::output;

impl Node {
    /// Gives somebody a token that is worth what they showed in the browser.
    pub(crate) async fn own_token(
        &self,
        visitor: &Visitor,
        peer: SocketAddr,
        life: Duration,
    ) -> Result<TokenView, Refusal> {
        let mut record = Record::new(Kind::SignIn, self.now());
        visitor.actor(peer).sign(&mut record);
        record.address = Some(peer.ip());
        record.outcome = Some(model::Outcome::Completed);
        record.sign_in = Some(visitor.browser.shown.how.to_string().into());
        let (person, name) = (visitor.person.id, visitor.person.name.as_str());
        let given =
            self.token_for(record, "in the browser", person, name, &visitor.browser.shown, life).await?;
        let Reply::Token(token) = given else { return Err(Refusal::new("no token was made")) };
        Ok(token)
    }

    /// Ends a token of somebody's own; tells whether there was one.
    pub(crate) async fn own_token_end(
        &self,
        visitor: &Visitor,
        peer: SocketAddr,
        id: &str,
    ) -> Result<bool, Refusal> {
        let Ok(number) = u128::from_str_radix(id, 16) else { return Ok(false) };
        let found = self.registry.token(number.to_be_bytes()).await;
        let found = found.map_err(|error| Refusal::because(&error))?;
        let Some(row) = found.filter(|row| row.person == visitor.person.id) else { return Ok(false) };
        let actor = visitor.actor(peer);
        let what = format!("revoke token {} of their own", identity::token::TokenId(row.id));
        let _turn = self.turn.lock().await;
        let (change, registry) = self.admitted_numbered(Change::new(&actor, "token revoke", what)).await?;
        self.done(&change, registry.revoke_token(row.id, self.now()).await).await
    }

    /// Ends an open session of somebody's own; tells whether there was one.
    pub(crate) async fn own_session_end(
        &self,
        visitor: &Visitor,
        peer: SocketAddr,
        id: &str,
    ) -> Result<bool, Refusal> {
        let Some(session) = self.own_session(visitor, id) else { return Ok(false) };
        let actor = visitor.actor(peer);
        let change = Change::new(&actor, "session kill", format!("end session {session} of their own"));
        self.admitted(&change).await?;
        let ended = self.sessions.end(Cut::Themselves, |view| view.id == session);
        self.settled(&change).await;
        Ok(ended > 0)
    }

    /// Notes for an open session of somebody's own that they showed a second factor; tells whether there is one.
    pub(crate) async fn own_session_confirm(
        &self,
        visitor: &Visitor,
        peer: SocketAddr,
        id: &str,
    ) -> Result<bool, Refusal> {
        let (Some(session), Some(shown)) = (self.own_session(visitor, id), visitor.browser.shown.factor_at)
        else {
            return Ok(false);
        };
        let actor = visitor.actor(peer);
        let what = format!(
            "show a second factor ({}) for session {session} of their own",
            output::printable(&visitor.browser.shown.how)
        );
        let change = Change::new(&actor, "session confirm", what);
        self.admitted(&change).await?;
        let found = self.sessions.step_up(visitor.person.id, session, shown);
        self.settled(&change).await;
        Ok(found)
    }

    fn own_session(&self, visitor: &Visitor, id: &str) -> Option<SessionId> {
        let id = SessionId(u128::from_str_radix(id, 16).ok()?);
        let mine = |view: &gateway::SessionView| view.id == id && view.person == visitor.person.id;
        self.sessions.list().iter().any(mine).then_some(id)
    }

    /// Gives somebody an authenticator of their own; the secret is told once.
    pub(crate) async fn own_totp(
        &self,
        visitor: &Visitor,
        peer: SocketAddr,
    ) -> Result<(String, String), Refusal> {
        let _turn = self.turn.lock().await;
        let given = self.give_totp(&visitor.actor(peer), &visitor.person).await?;
        let Reply::Authenticator { secret, address, .. } = given else {
            return Err(Refusal::new("no authenticator was made"));
        };
        Ok((secret.0.expose().to_owned(), address.0.expose().to_owned()))
    }

    /// Gives somebody recovery codes of their own; they are told once.
    pub(crate) async fn own_recovery_codes(
        &self,
        visitor: &Visitor,
        peer: SocketAddr,
    ) -> Result<Vec<String>, Refusal> {
        let _turn = self.turn.lock().await;
        let given = self.give_recovery_codes(&visitor.actor(peer), &visitor.person).await?;
        let Reply::RecoveryCodes { codes, .. } = given else {
            return Err(Refusal::new("no codes were made"));
        };
        Ok(codes.iter().map(|code| code.0.expose().to_owned()).collect())
    }
}
