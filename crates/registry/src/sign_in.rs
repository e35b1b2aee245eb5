//! What a sign-in reads, and how its failures are counted.

use model::PersonId;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::database::{Reader, Transaction, id, time};
use crate::error::Error;
use crate::people::{forget_failures, lives, person_row, roles_of};
use crate::rows::{AccountRow, FailuresRow, SignIn, Verifiers, Wanted};
use crate::tokens::token_row;
use crate::{Registry, TOKENS_PER_PERSON_MAX};

/// Stands in for a person who is not there, so that the same statements run.
const NOBODY: PersonId = PersonId(0);

impl Registry {
    /// Returns what is known about somebody who wants to sign in, from one state of the database.
    ///
    /// Runs the same statements whether or not there is such a person.
    pub async fn sign_in(&self, name: &str, wanted: Wanted) -> Result<SignIn, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT p.id, p.name, p.display_name, p.disabled_at, p.created_at, \
                          a.verifier AS password, s.verifier AS scram, \
                          f.failures, f.first_at, f.locked_until, \
                          (SELECT count(*) FROM totp t WHERE t.person = p.id) \
                          + (SELECT count(*) FROM recovery_codes c WHERE c.person = p.id AND c.used_at IS NULL) \
                          + (SELECT count(*) FROM passkeys k WHERE k.person = p.id) AS factors \
                   FROM people p \
                   LEFT JOIN verifiers a ON a.person = p.id AND a.kind = 'argon2id' \
                   LEFT JOIN verifiers s ON s.person = p.id AND s.kind = 'scram-sha-256' \
                   LEFT JOIN failures f ON f.person = p.id \
                   WHERE p.name = $1 AND p.deleted_at IS NULL";
        let row = sqlx::query(sql).bind(name).fetch_optional(&mut *transaction).await?;
        let person = row.as_ref().map_or(Ok(NOBODY), |row| Reader(row).person("id"))?;
        let roles = roles_of(&mut transaction, person).await?;
        let tokens = tokens_wanted(&mut transaction, person, wanted).await?;
        let account = row.map(|row| account_row(&Reader(&row), roles)).transpose()?;
        let tokens = tokens.iter().map(|row| token_row(&Reader(row))).collect::<Result<_, _>>()?;
        Ok(SignIn { account, tokens })
    }

    /// Lets `decide` see the person's failures as they are now and say what they become, as one step: of two
    /// sign-ins at the same time the second sees what the first left. Writes only if something changed.
    pub async fn attempt<T>(
        &self,
        person: PersonId,
        decide: impl FnOnce(FailuresRow) -> (FailuresRow, T) + Send,
    ) -> Result<T, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let before = failures_of(&mut transaction, person).await?;
        let (after, verdict) = decide(before);
        if after == before {
            return Ok(verdict);
        }
        replace_failures(&mut transaction, person, after).await?;
        transaction.commit().await?;
        Ok(verdict)
    }

    /// Forgets the person's failures, and so ends a lock.
    pub async fn clear_failures(&self, person: PersonId) -> Result<(), Error> {
        self.attempt(person, |_| (FailuresRow::default(), ())).await
    }
}

async fn tokens_wanted(
    connection: &mut AnyConnection,
    person: PersonId,
    wanted: Wanted,
) -> Result<Vec<AnyRow>, Error> {
    let limit = i64::try_from(TOKENS_PER_PERSON_MAX).unwrap_or(i64::MAX);
    let query = match wanted {
        Wanted::NoTokens => return Ok(Vec::new()),
        Wanted::Token(token) => sqlx::query(
            "SELECT id, person, digest, scram, issued_at, expires_at, revoked_at, sign_in, factor_at FROM tokens WHERE id = $1",
        )
        .bind(token.to_vec()),
        Wanted::TokensOfPerson => sqlx::query(
            "SELECT id, person, digest, scram, issued_at, expires_at, revoked_at, sign_in, factor_at FROM tokens \
             WHERE person = $1 AND revoked_at IS NULL ORDER BY expires_at DESC, id LIMIT $2",
        )
        .bind(id(person))
        .bind(limit),
    };
    Ok(query.fetch_all(connection).await?)
}

/// Returns the failures of a person, as they are within a transaction.
pub(crate) async fn failures_of(
    connection: &mut AnyConnection,
    person: PersonId,
) -> Result<FailuresRow, Error> {
    let sql = "SELECT failures, first_at, locked_until FROM failures WHERE person = $1";
    let row = sqlx::query(sql).bind(id(person)).fetch_optional(connection).await?;
    row.map_or(Ok(FailuresRow::default()), |row| failures_row(&Reader(&row)))
}

/// Writes what failures have become.
pub(crate) async fn replace_failures(
    transaction: &mut Transaction,
    person: PersonId,
    after: FailuresRow,
) -> Result<(), Error> {
    forget_failures(transaction, person).await?;
    if after == FailuresRow::default() {
        return Ok(());
    }
    let sql = "INSERT INTO failures (person, failures, first_at, locked_until) VALUES ($1, $2, $3, $4)";
    sqlx::query(sql)
        .bind(id(person))
        .bind(i64::from(after.count))
        .bind(time(after.first_at))
        .bind(after.locked_until.map(time))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn account_row(row: &Reader<'_>, roles: Vec<String>) -> Result<AccountRow, Error> {
    Ok(AccountRow {
        person: person_row(row, roles)?,
        verifiers: Verifiers { password: row.text_if_any("password")?, scram: row.text_if_any("scram")? },
        failures: failures_row(row)?,
        has_factor: row.number("factors")? > 0,
    })
}

pub(crate) fn failures_row(row: &Reader<'_>) -> Result<FailuresRow, Error> {
    match row.count_if_any("failures")? {
        None => Ok(FailuresRow::default()),
        Some(count) => Ok(FailuresRow {
            count,
            first_at: row.time("first_at")?,
            locked_until: row.time_if_any("locked_until")?,
        }),
    }
}
