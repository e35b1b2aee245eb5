//! Second factors: authenticators, recovery codes, passkeys. Whether a code is right is decided by the caller, within the
//! transaction that uses it up.

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, id, integer, time};
use crate::error::Error;
use crate::people::lives;
use crate::rows::FailuresRow;
use crate::sign_in::{failures_of, replace_failures};
use crate::tokens::revoke_all;

/// One person has at most this many passkeys: some phones and laptops, and a key in a drawer.
pub const PASSKEYS_PER_PERSON_MAX: usize = 16;

/// The second factors of a person, as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactorsRow {
    /// The secret of the authenticator, sealed.
    pub totp: Option<Vec<u8>>,
    /// The step of the last code that was taken.
    pub totp_last_step: u64,
    /// Since when there is an authenticator.
    pub totp_added_at: Option<Micros>,
    /// When its first code was taken.
    pub totp_confirmed_at: Option<Micros>,
    /// What is stored of the recovery codes that were not used.
    pub recovery: Vec<[u8; 32]>,
    /// How many passkeys there are.
    pub passkeys: u64,
}

/// What a sign-in uses up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorUsed {
    /// Nothing: it failed.
    Nothing,
    /// The code of an authenticator, of this step; codes up to it count no more.
    Totp(u64),
    /// A recovery code.
    Recovery([u8; 32]),
}

/// A passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyRow {
    /// The credential's id, which the browser names.
    pub id: Vec<u8>,
    /// Whose it is.
    pub person: PersonId,
    /// What the person calls it.
    pub label: String,
    /// Public key and counter, as the library of WebAuthn keeps them.
    pub state: String,
    /// When it was added.
    pub added_at: Micros,
    /// When it was last used.
    pub used_at: Option<Micros>,
}

impl Registry {
    /// Returns the second factors of a person.
    pub async fn factors(&self, person: PersonId) -> Result<FactorsRow, Error> {
        let mut transaction = self.begin_read().await?;
        factors_of(&mut transaction, person).await
    }

    /// Gives a person an authenticator in place of the one before.
    pub async fn set_totp(&self, person: PersonId, sealed: &[u8], at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let sql = "DELETE FROM totp WHERE person = $1";
        sqlx::query(sql).bind(id(person)).execute(&mut *transaction).await?;
        let sql = "INSERT INTO totp (person, sealed, last_step, added_at) VALUES ($1, $2, 0, $3)";
        sqlx::query(sql)
            .bind(id(person))
            .bind(sealed.to_vec())
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Takes all second factors of a person away; returns how many there were.
    pub async fn remove_factors(&self, person: PersonId, at: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let mut removed = 0;
        for sql in [
            "DELETE FROM totp WHERE person = $1",
            "DELETE FROM recovery_codes WHERE person = $1",
            "DELETE FROM passkeys WHERE person = $1",
        ] {
            removed += sqlx::query(sql).bind(id(person)).execute(&mut *transaction).await?.rows_affected();
        }
        // Whoever has the lost phone may have a token by it.
        revoke_all(&mut transaction, person, at).await?;
        transaction.commit().await?;
        Ok(removed)
    }

    /// Gives a person recovery codes in place of those before.
    pub async fn set_recovery_codes(
        &self,
        person: PersonId,
        digests: &[[u8; 32]],
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let sql = "DELETE FROM recovery_codes WHERE person = $1";
        sqlx::query(sql).bind(id(person)).execute(&mut *transaction).await?;
        for digest in digests {
            sqlx::query("INSERT INTO recovery_codes (person, digest, made_at) VALUES ($1, $2, $3)")
                .bind(id(person))
                .bind(digest.to_vec())
                .bind(time(at))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// As [`Registry::attempt`], for a sign-in with a second factor: what it uses up is used up in the same step, so that
    /// of two sign-ins with one code one finds it used.
    pub async fn attempt_with_factor<T>(
        &self,
        person: PersonId,
        at: Micros,
        decide: impl FnOnce(FailuresRow, &FactorsRow) -> (FailuresRow, FactorUsed, T) + Send,
    ) -> Result<T, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let before = failures_of(&mut transaction, person).await?;
        let factors = factors_of(&mut transaction, person).await?;
        let (after, used, verdict) = decide(before, &factors);
        if after == before && used == FactorUsed::Nothing {
            return Ok(verdict);
        }
        if after != before {
            replace_failures(&mut transaction, person, after).await?;
        }
        let changed = match used {
            FactorUsed::Nothing => 1,
            FactorUsed::Totp(step) => {
                let sql = "UPDATE totp SET last_step = $2, confirmed_at = coalesce(confirmed_at, $3) \
                           WHERE person = $1 AND last_step < $2";
                let query = sqlx::query(sql).bind(id(person)).bind(integer(step)).bind(time(at));
                query.execute(&mut *transaction).await?.rows_affected()
            }
            FactorUsed::Recovery(digest) => {
                let sql = "UPDATE recovery_codes SET used_at = $3 \
                           WHERE person = $1 AND digest = $2 AND used_at IS NULL";
                let query = sqlx::query(sql).bind(id(person)).bind(digest.to_vec()).bind(time(at));
                query.execute(&mut *transaction).await?.rows_affected()
            }
        };
        if changed == 0 {
            // Somebody else's transaction used it after all: nothing of this attempt stays.
            return Err(Error::FactorUsed);
        }
        transaction.commit().await?;
        Ok(verdict)
    }

    /// Adds a passkey, unless the person has [`PASSKEYS_PER_PERSON_MAX`].
    pub async fn add_passkey(&self, passkey: &PasskeyRow) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, passkey.person).await?;
        let factors = factors_of(&mut transaction, passkey.person).await?;
        if usize::try_from(factors.passkeys).unwrap_or(usize::MAX) >= PASSKEYS_PER_PERSON_MAX {
            return Err(Error::PasskeysMax);
        }
        let sql = "INSERT INTO passkeys (id, person, label, state, added_at) VALUES ($1, $2, $3, $4, $5)";
        sqlx::query(sql)
            .bind(passkey.id.clone())
            .bind(id(passkey.person))
            .bind(&passkey.label)
            .bind(&passkey.state)
            .bind(time(passkey.added_at))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Returns the passkeys of a person, the oldest first.
    pub async fn passkeys(&self, person: PersonId) -> Result<Vec<PasskeyRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT id, person, label, state, added_at, used_at FROM passkeys \
                   WHERE person = $1 ORDER BY added_at, id";
        let rows = sqlx::query(sql).bind(id(person)).fetch_all(&mut *transaction).await?;
        rows.iter()
            .map(|row| {
                let row = Reader(row);
                Ok(PasskeyRow {
                    id: row.bytes_if_any("id")?.ok_or(Error::Damaged { column: "id" })?,
                    person: row.person("person")?,
                    label: row.text("label")?,
                    state: row.text("state")?,
                    added_at: row.time("added_at")?,
                    used_at: row.time_if_any("used_at")?,
                })
            })
            .collect()
    }

    /// Notes that a passkey was used, with what its state has become.
    pub async fn use_passkey(
        &self,
        person: PersonId,
        passkey: &[u8],
        state: &str,
        at: Micros,
    ) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let sql = "UPDATE passkeys SET state = $3, used_at = $4 WHERE id = $1 AND person = $2";
        let query = sqlx::query(sql).bind(passkey.to_vec()).bind(id(person)).bind(state).bind(time(at));
        let done = query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes a passkey away; tells whether there was one.
    pub async fn remove_passkey(&self, person: PersonId, passkey: &[u8]) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "DELETE FROM passkeys WHERE id = $1 AND person = $2";
        let done =
            sqlx::query(sql).bind(passkey.to_vec()).bind(id(person)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

async fn factors_of(connection: &mut sqlx::AnyConnection, person: PersonId) -> Result<FactorsRow, Error> {
    let mut factors = FactorsRow::default();
    let sql = "SELECT sealed, last_step, added_at, confirmed_at FROM totp WHERE person = $1";
    if let Some(row) = sqlx::query(sql).bind(id(person)).fetch_optional(&mut *connection).await? {
        let row = Reader(&row);
        factors.totp = row.bytes_if_any("sealed")?;
        factors.totp_last_step = row.number("last_step")?;
        factors.totp_added_at = Some(row.time("added_at")?);
        factors.totp_confirmed_at = row.time_if_any("confirmed_at")?;
    }
    let sql = "SELECT digest FROM recovery_codes WHERE person = $1 AND used_at IS NULL ORDER BY digest";
    let rows = sqlx::query(sql).bind(id(person)).fetch_all(&mut *connection).await?;
    factors.recovery = rows.iter().map(|row| Reader(row).bytes("digest")).collect::<Result<_, _>>()?;
    let sql = "SELECT count(*) AS passkeys FROM passkeys WHERE person = $1";
    let row = sqlx::query(sql).bind(id(person)).fetch_one(connection).await?;
    factors.passkeys = Reader(&row).number("passkeys")?;
    Ok(factors)
}
