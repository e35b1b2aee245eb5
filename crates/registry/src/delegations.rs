//! Delegations: a person's leave for an agent to act on their behalf, with the token that the agent signs in with.

use model::{Micros, PersonId};

use crate::database::{Reader, id, integer, time};
use crate::error::Error;
use crate::people::lives;
use crate::{Registry, TokenRow};

/// One agent has at most so many delegations in force at once.
pub const DELEGATIONS_PER_AGENT_MAX: usize = 1_000;

/// A delegation about to be given.
#[derive(Clone, Debug)]
pub struct NewDelegation {
    /// Who acts.
    pub agent: PersonId,
    /// For whom.
    pub person: PersonId,
    /// The only purpose that it is for.
    pub purpose: Option<String>,
    /// What the agent signs in with; its holder is the agent, and it ends with the delegation.
    pub token: TokenRow,
}

/// A delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationRow {
    /// Its number, never used again.
    pub number: u64,
    /// Who acts.
    pub agent: PersonId,
    /// For whom.
    pub person: PersonId,
    /// The only purpose that it is for.
    pub purpose: Option<String>,
    /// What the agent signs in with.
    pub token: [u8; 16],
    /// When it was given.
    pub given_at: Micros,
    /// When it ends by itself.
    pub until: Micros,
    /// When it was ended before that, and by whom.
    pub ended: Option<(Micros, String)>,
}

impl DelegationRow {
    /// Tells whether it gives rights at that time.
    pub fn is_in_force(&self, at: Micros) -> bool {
        self.ended.is_none() && self.given_at <= at && at < self.until
    }
}

impl Registry {
    /// Gives a delegation and its token. Returns its number.
    pub async fn delegate(&self, new: &NewDelegation, at: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, new.agent).await?;
        lives(&mut transaction, new.person).await?;
        let sql =
            "SELECT count(*) AS open FROM delegations WHERE agent = $1 AND ended_at IS NULL AND until > $2";
        let open = sqlx::query(sql).bind(id(new.agent)).bind(time(at)).fetch_one(&mut *transaction).await?;
        if Reader(&open).number("open")? >= DELEGATIONS_PER_AGENT_MAX as u64 {
            return Err(Error::TooManyDelegations { max: DELEGATIONS_PER_AGENT_MAX });
        }
        let sql = "INSERT INTO tokens (id, person, digest, scram, issued_at, expires_at, revoked_at, sign_in, factor_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8)";
        sqlx::query(sql)
            .bind(new.token.id.to_vec())
            .bind(id(new.agent))
            .bind(new.token.digest.to_vec())
            .bind(&new.token.scram)
            .bind(time(new.token.issued_at))
            .bind(time(new.token.expires_at))
            .bind(&*new.token.shown.how)
            .bind(new.token.shown.factor_at.map(time))
            .execute(&mut *transaction)
            .await?;
        let sql = "SELECT coalesce(max(number), 0) AS last FROM delegations";
        let number = Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("last")? + 1;
        let sql = "INSERT INTO delegations (number, agent, person, purpose, token, given_at, until) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        sqlx::query(sql)
            .bind(integer(number))
            .bind(id(new.agent))
            .bind(id(new.person))
            .bind(&new.purpose)
            .bind(new.token.id.to_vec())
            .bind(time(at))
            .bind(time(new.token.expires_at))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(number)
    }

    /// Ends a delegation and its token; tells whether there was one to end.
    pub async fn end_delegation(&self, number: u64, by: &str, why: &str, at: Micros) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE delegations SET ended_at = $2, ended_by = $3, ended_why = $4 \
                   WHERE number = $1 AND ended_at IS NULL";
        let done = sqlx::query(sql)
            .bind(integer(number))
            .bind(time(at))
            .bind(by)
            .bind(why)
            .execute(&mut *transaction)
            .await?;
        let sql = "UPDATE tokens SET revoked_at = $2 WHERE revoked_at IS NULL \
                   AND id IN (SELECT token FROM delegations WHERE number = $1)";
        sqlx::query(sql).bind(integer(number)).bind(time(at)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Returns the delegations in order of their numbers: those that may be in force, or all.
    pub async fn delegations(&self, also_ended: bool) -> Result<Vec<DelegationRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = match also_ended {
            true => {
                "SELECT number, agent, person, purpose, token, given_at, until, ended_at, ended_by \
                 FROM delegations ORDER BY number"
            }
            false => {
                "SELECT number, agent, person, purpose, token, given_at, until, ended_at, ended_by \
                 FROM delegations WHERE ended_at IS NULL ORDER BY number"
            }
        };
        let rows = sqlx::query(sql).fetch_all(&mut *transaction).await?;
        rows.iter().map(|row| delegation_row(&Reader(row))).collect()
    }

    /// Returns the delegation whose token it is.
    pub async fn delegation_of_token(&self, token: [u8; 16]) -> Result<Option<DelegationRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT number, agent, person, purpose, token, given_at, until, ended_at, ended_by \
                   FROM delegations WHERE token = $1";
        let row = sqlx::query(sql).bind(token.to_vec()).fetch_optional(&mut *transaction).await?;
        row.map(|row| delegation_row(&Reader(&row))).transpose()
    }
}

fn delegation_row(row: &Reader<'_>) -> Result<DelegationRow, Error> {
    let ended = match row.time_if_any("ended_at")? {
        Some(at) => Some((at, row.text("ended_by")?)),
        None => None,
    };
    Ok(DelegationRow {
        number: row.number("number")?,
        agent: row.person("agent")?,
        person: row.person("person")?,
        purpose: row.text_if_any("purpose")?,
        token: row.bytes("token")?,
        given_at: row.time("given_at")?,
        until: row.time("until")?,
        ended,
    })
}
