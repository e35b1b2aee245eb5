//! Tokens: issued, revoked, purged.

use model::{Micros, PersonId, Shown};

use crate::database::{Reader, Transaction, id, time};
use crate::error::Error;
use crate::people::lives;
use crate::rows::TokenRow;
use crate::{Registry, TOKENS_PER_PERSON_MAX};

impl Registry {
    /// Stores a token, unless the person has [`TOKENS_PER_PERSON_MAX`] alive at its time of issue.
    pub async fn issue_token(&self, token: &TokenRow) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, token.person).await?;
        let sql = "SELECT count(*) AS active FROM tokens \
                   WHERE person = $1 AND revoked_at IS NULL AND expires_at > $2";
        let row = sqlx::query(sql)
            .bind(id(token.person))
            .bind(time(token.issued_at))
            .fetch_one(&mut *transaction)
            .await?;
        let active = Reader(&row).count_if_any("active")?.unwrap_or(0);
        if usize::try_from(active).unwrap_or(usize::MAX) >= TOKENS_PER_PERSON_MAX {
            return Err(Error::TokensMax);
        }
        let sql = "INSERT INTO tokens (id, person, digest, scram, issued_at, expires_at, revoked_at, sign_in, factor_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        sqlx::query(sql)
            .bind(token.id.to_vec())
            .bind(id(token.person))
            .bind(token.digest.to_vec())
            .bind(&token.scram)
            .bind(time(token.issued_at))
            .bind(time(token.expires_at))
            .bind(token.revoked_at.map(time))
            .bind(&*token.shown.how)
            .bind(token.shown.factor_at.map(time))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Withdraws a token; tells whether there was one to withdraw.
    pub async fn revoke_token(&self, token: [u8; 16], at: Micros) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        let done = sqlx::query(sql).bind(token.to_vec()).bind(time(at)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Withdraws all tokens of a person; returns how many.
    pub async fn revoke_tokens(&self, person: PersonId, at: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let revoked = revoke_all(&mut transaction, person, at).await?;
        transaction.commit().await?;
        Ok(revoked)
    }

    /// Deletes tokens that expired or were revoked at or before that time; returns how many.
    pub async fn purge_tokens(&self, before: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let sql = "DELETE FROM tokens WHERE expires_at <= $1 OR revoked_at <= $1";
        let done = sqlx::query(sql).bind(time(before)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }

    /// Returns the tokens of a person that are alive at that time, the longest-lived first.
    pub async fn tokens(&self, person: PersonId, at: Micros) -> Result<Vec<TokenRow>, Error> {
        let sql = "SELECT id, person, digest, scram, issued_at, expires_at, revoked_at, sign_in, factor_at FROM tokens \
                   WHERE person = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY expires_at DESC, id";
        let rows = sqlx::query(sql).bind(id(person)).bind(time(at)).fetch_all(&self.readers()).await?;
        rows.iter().map(|row| token_row(&Reader(row))).collect()
    }

    /// Returns the login name of whom the token belongs to, whatever its state.
    pub async fn token_holder(&self, token: [u8; 16]) -> Result<Option<String>, Error> {
        let sql = "SELECT people.name AS name FROM tokens JOIN people ON people.id = tokens.person \
                   WHERE tokens.id = $1 AND people.deleted_at IS NULL";
        let row = sqlx::query(sql).bind(token.to_vec()).fetch_optional(&self.readers()).await?;
        row.map(|row| Reader(&row).text("name")).transpose()
    }

    /// Returns the token with that id, whatever its state.
    pub async fn token(&self, token: [u8; 16]) -> Result<Option<TokenRow>, Error> {
        let sql = "SELECT id, person, digest, scram, issued_at, expires_at, revoked_at, sign_in, factor_at FROM tokens WHERE id = $1";
        let row = sqlx::query(sql).bind(token.to_vec()).fetch_optional(&self.readers()).await?;
        row.map(|row| token_row(&Reader(&row))).transpose()
    }
}

pub(crate) fn token_row(row: &Reader<'_>) -> Result<TokenRow, Error> {
    Ok(TokenRow {
        id: row.bytes("id")?,
        person: row.person("person")?,
        digest: row.bytes("digest")?,
        scram: row.text_if_any("scram")?,
        issued_at: row.time("issued_at")?,
        expires_at: row.time("expires_at")?,
        revoked_at: row.time_if_any("revoked_at")?,
        shown: Shown { how: row.text("sign_in")?.into(), factor_at: row.time_if_any("factor_at")? },
    })
}

/// Revokes all tokens of a person; returns how many.
pub(crate) async fn revoke_all(
    transaction: &mut Transaction,
    person: PersonId,
    at: Micros,
) -> Result<u64, Error> {
    let sql = "UPDATE tokens SET revoked_at = $2 WHERE person = $1 AND revoked_at IS NULL";
    let done = sqlx::query(sql).bind(id(person)).bind(time(at)).execute(&mut **transaction).await?;
    Ok(done.rows_affected())
}
