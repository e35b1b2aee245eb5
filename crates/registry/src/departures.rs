//! Departures: people who were barred, with what ended by it and how long that took.

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, Transaction, id, integer, time};
use crate::error::Error;
use crate::people::lives;

/// A report holds at most so many departures, the latest.
pub const DEPARTURES_SHOWN_MAX: usize = 10_000;

/// Somebody about to be barred.
#[derive(Clone, Debug)]
pub struct NewDeparture {
    /// Who.
    pub person: PersonId,
    /// Their login name.
    pub name: String,
    /// What told: `command`, `scim:NAME` or `ldap`.
    pub source: String,
    /// Who acted.
    pub told_by: String,
    /// When the employment ended, where that is known.
    pub ended_at: Option<Micros>,
    /// How many sessions they have open.
    pub sessions: u64,
}

/// Somebody who was barred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepartureRow {
    /// Its number, never used again.
    pub number: u64,
    /// Who.
    pub person: PersonId,
    /// Their login name then.
    pub name: String,
    /// What told.
    pub source: String,
    /// Who acted.
    pub told_by: String,
    /// When Wardline was told.
    pub told_at: Micros,
    /// When the employment ended, where that is known.
    pub ended_at: Option<Micros>,
    /// How many sessions were open.
    pub sessions: u64,
    /// How many tokens were alive.
    pub tokens: u64,
    /// When nothing of theirs was alive any more.
    pub cut_at: Option<Micros>,
}

impl Registry {
    /// Bars a person and ends all of their tokens, as one step. Of somebody who is barred already, only a time of leaving that was
    /// not known is added. Returns the departure.
    pub async fn depart(&self, new: &NewDeparture, at: Micros) -> Result<DepartureRow, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, new.person).await?;
        let tokens = end_tokens(&mut transaction, new.person, at).await?;
        let sql = "UPDATE people SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL";
        let barred = sqlx::query(sql).bind(id(new.person)).bind(time(at)).execute(&mut *transaction).await?;
        let known =
            if barred.rows_affected() == 0 { latest(&mut transaction, new.person).await? } else { None };
        let number = match known {
            Some(known) => {
                let sql = "UPDATE departures SET ended_at = coalesce(ended_at, $2), tokens = tokens + $3 WHERE number = $1";
                sqlx::query(sql)
                    .bind(integer(known.number))
                    .bind(new.ended_at.map(time))
                    .bind(integer(tokens))
                    .execute(&mut *transaction)
                    .await?;
                known.number
            }
            None => insert(&mut transaction, new, tokens, at).await?,
        };
        let row = one(&mut transaction, number).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Returns the departures of which not everything is known to have ended.
    pub async fn departures_open(&self) -> Result<Vec<DepartureRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT number, person, name, source, told_by, told_at, ended_at, sessions, tokens, cut_at \
                   FROM departures WHERE cut_at IS NULL ORDER BY number";
        let rows = sqlx::query(sql).fetch_all(&mut *transaction).await?;
        rows.iter().map(|row| departure(&Reader(row))).collect()
    }

    /// Notes that nothing of theirs is alive any more.
    pub async fn departed(&self, number: u64, at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE departures SET cut_at = $2 WHERE number = $1 AND cut_at IS NULL";
        sqlx::query(sql).bind(integer(number)).bind(time(at)).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Returns the departures that were told from one time to before another, the earliest first; of more than
    /// [`DEPARTURES_SHOWN_MAX`] the latest.
    pub async fn departures(&self, from: Micros, to: Micros) -> Result<Vec<DepartureRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT number, person, name, source, told_by, told_at, ended_at, sessions, tokens, cut_at \
                   FROM departures WHERE told_at >= $1 AND told_at < $2 ORDER BY number DESC LIMIT $3";
        let most = i64::try_from(DEPARTURES_SHOWN_MAX).unwrap_or(i64::MAX);
        let rows =
            sqlx::query(sql).bind(time(from)).bind(time(to)).bind(most).fetch_all(&mut *transaction).await?;
        rows.iter().rev().map(|row| departure(&Reader(row))).collect()
    }
}

async fn end_tokens(transaction: &mut Transaction, person: PersonId, at: Micros) -> Result<u64, Error> {
    // What had expired was dead before.
    let sql =
        "SELECT count(*) AS alive FROM tokens WHERE person = $1 AND revoked_at IS NULL AND expires_at > $2";
    let alive = sqlx::query(sql).bind(id(person)).bind(time(at)).fetch_one(&mut **transaction).await?;
    let sql = "UPDATE tokens SET revoked_at = $2 WHERE person = $1 AND revoked_at IS NULL";
    sqlx::query(sql).bind(id(person)).bind(time(at)).execute(&mut **transaction).await?;
    Reader(&alive).number("alive")
}

async fn insert(
    transaction: &mut Transaction,
    new: &NewDeparture,
    tokens: u64,
    at: Micros,
) -> Result<u64, Error> {
    let sql = "SELECT coalesce(max(number), 0) AS last FROM departures";
    let number = Reader(&sqlx::query(sql).fetch_one(&mut **transaction).await?).number("last")? + 1;
    let sql = "INSERT INTO departures (number, person, name, source, told_by, told_at, ended_at, sessions, tokens) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    sqlx::query(sql)
        .bind(integer(number))
        .bind(id(new.person))
        .bind(&new.name)
        .bind(&new.source)
        .bind(&new.told_by)
        .bind(time(at))
        .bind(new.ended_at.map(time))
        .bind(integer(new.sessions))
        .bind(integer(tokens))
        .execute(&mut **transaction)
        .await?;
    Ok(number)
}

/// Returns the last departure of somebody who is barred, if it was one that made a row.
async fn latest(transaction: &mut Transaction, person: PersonId) -> Result<Option<DepartureRow>, Error> {
    let sql = "SELECT d.number, d.person, d.name, d.source, d.told_by, d.told_at, d.ended_at, d.sessions, d.tokens, \
               d.cut_at FROM departures d JOIN people p ON p.id = d.person \
               WHERE d.person = $1 AND d.told_at >= p.disabled_at ORDER BY d.number DESC LIMIT 1";
    let row = sqlx::query(sql).bind(id(person)).fetch_optional(&mut **transaction).await?;
    row.map(|row| departure(&Reader(&row))).transpose()
}

async fn one(transaction: &mut Transaction, number: u64) -> Result<DepartureRow, Error> {
    let sql = "SELECT number, person, name, source, told_by, told_at, ended_at, sessions, tokens, cut_at \
               FROM departures WHERE number = $1";
    let row = sqlx::query(sql).bind(integer(number)).fetch_one(&mut **transaction).await?;
    departure(&Reader(&row))
}

fn departure(row: &Reader<'_>) -> Result<DepartureRow, Error> {
    Ok(DepartureRow {
        number: row.number("number")?,
        person: row.person("person")?,
        name: row.text("name")?,
        source: row.text("source")?,
        told_by: row.text("told_by")?,
        told_at: row.time("told_at")?,
        ended_at: row.time_if_any("ended_at")?,
        sessions: row.number("sessions")?,
        tokens: row.number("tokens")?,
        cut_at: row.time_if_any("cut_at")?,
    })
}
