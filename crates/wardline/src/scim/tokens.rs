//! Tokens of systems that manage people: made by a command, shown once, stored as a digest.

use aws_lc_rs::{constant_time, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Kind, Outcome, Record, Secret};
use registry::ScimTokenRow;

use super::Source;
use crate::admin::{Actor, Refusal, Reply, Sensitive};
use crate::changes::Change;
use crate::commands::no_such;
use crate::config::sha256;
use crate::node::Node;
use crate::output;

/// What a token begins with, so that it is told from a person's.
const PREFIX: &str = "wls_";

/// Its public part, then its secret.
const ID_BYTES: usize = 16;
const TOKEN_BYTES: usize = ID_BYTES + 32;

impl Node {
    /// Makes a token for a system.
    pub(crate) async fn scim_token_add(&self, actor: &Actor, source: &str) -> Result<Reply, Refusal> {
        let change =
            Change::new(actor, "scim token", format!("make a token for scim:{}", output::printable(source)));
        let config = self.config.load_full();
        if !config.scim.contains_key(source) {
            let refusal = no_such("system of SCIM", source, config.scim.keys().map(String::as_str));
            return Err(self.refused(&change, refusal).await);
        }
        let mut bytes = [0; TOKEN_BYTES];
        // INVARIANT: AWS-LC seeds itself from the kernel once, before the first byte, and cannot run dry afterwards.
        rand::fill(&mut bytes).expect("the system's random source works");
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(bytes.get(..ID_BYTES).unwrap_or_default());
        let row = ScimTokenRow {
            id,
            source: source.to_owned(),
            digest: sha256(secret.as_bytes()),
            made_by: actor.shown(),
            made_at: self.now(),
        };
        let (change, registry) = self.admitted_numbered(change).await?;
        self.done(&change, registry.add_scim_token(&row).await).await?;
        let token = Sensitive(Secret::new(secret));
        Ok(Reply::SourceToken { source: source.to_owned(), id: output::hex(&id), token })
    }

    /// Ends the tokens of a system.
    pub(crate) async fn scim_token_revoke(&self, actor: &Actor, source: &str) -> Result<Reply, Refusal> {
        let what = format!("revoke the tokens of scim:{}", output::printable(source));
        let (change, registry) = self.admitted_numbered(Change::new(actor, "scim revoke", what)).await?;
        let tokens = self.done(&change, registry.revoke_scim_tokens(source, self.now()).await).await?;
        Ok(Reply::Revoked { tokens })
    }

    /// Finds out which system calls. Who is none is recorded.
    pub(crate) async fn scim_identify(&self, secret: Option<&Secret>) -> Result<Source, Refusal> {
        let found = match secret.and_then(parsed) {
            Some((id, digest)) => {
                let row = self.registry.scim_token(id).await.map_err(|error| Refusal::because(&error))?;
                row.filter(|row| constant_time::verify_slices_are_equal(&row.digest, &digest).is_ok())
            }
            None => None,
        };
        // A system that is not in the configuration any more manages nobody.
        let found = found.filter(|row| self.config.load().scim.contains_key(&row.source));
        if let Some(row) = found {
            return Ok(Source(row.source));
        }
        let mut record = Record::new(Kind::SignIn, self.now());
        record.client = Some("scim".into());
        record.outcome = Some(Outcome::Refused);
        record.detail = Some("token-unknown".into());
        self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        Err(Refusal::new("who calls is not proven"))
    }
}

/// Returns the public part of a token and the digest of the whole.
fn parsed(secret: &Secret) -> Option<([u8; ID_BYTES], [u8; 32])> {
    let text = secret.expose();
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
    if bytes.len() != TOKEN_BYTES {
        return None;
    }
    let (id, _) = bytes.split_first_chunk()?;
    Some((*id, sha256(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_shaped_as_a_token_is_looked_for() {
        let token = |bytes: usize| Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(vec![7; bytes])));
        assert_eq!(parsed(&token(TOKEN_BYTES)).map(|(id, _)| id), Some([7; ID_BYTES]));
        for odd in [token(0), token(TOKEN_BYTES - 1), token(TOKEN_BYTES + 1)] {
            assert_eq!(parsed(&odd), None);
        }
        for odd in ["", "wls_", "wlt_AAAA", "wls_!!!!"] {
            assert_eq!(parsed(&Secret::new(odd.to_owned())), None);
        }
    }
}
