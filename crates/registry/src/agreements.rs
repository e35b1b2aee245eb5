//! What takes two people, and what must be kept beyond its time.

use model::{Micros, PersonId};
use sqlx::any::AnyRow;

use crate::Registry;
use crate::database::{Reader, id, integer, time};
use crate::error::Error;

/// An act that takes two people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreementRow {
    /// Its number.
    pub id: u64,
    /// What is to be done.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Who proposed it.
    pub proposed_by: PersonId,
    /// Their login name then.
    pub proposed_name: String,
    /// When.
    pub proposed_at: Micros,
    /// From when on nobody can agree to it any more.
    pub expires_at: Micros,
    /// Who agreed: somebody else.
    pub agreed_by: Option<PersonId>,
    /// Their login name then.
    pub agreed_name: Option<String>,
    /// When.
    pub agreed_at: Option<Micros>,
    /// When it was done.
    pub done_at: Option<Micros>,
}

/// Entries that must be kept. What is `None` excludes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldRow {
    /// Its number.
    pub id: u64,
    /// Why.
    pub reason: String,
    /// Entries that name this patient; sealed.
    pub patient: Option<Vec<u8>>,
    /// Entries of the person of this login name.
    pub person: Option<String>,
    /// Entries about this resource.
    pub resource: Option<String>,
    /// Entries from this time on.
    pub from: Option<Micros>,
    /// Entries before this time.
    pub to: Option<Micros>,
    /// Who asked for it.
    pub added_by: String,
    /// When.
    pub added_at: Micros,
    /// When it ended.
    pub removed_at: Option<Micros>,
}

/// Why somebody's agreement does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAgreement {
    /// There is none of that number.
    Unknown,
    /// Nobody agrees to what they proposed themselves.
    Own,
    /// It was agreed to before.
    Agreed,
    /// It was proposed too long ago.
    Expired,
}

impl Registry {
    /// Adds a proposal and returns its number.
    pub async fn propose(
        &self,
        what: &str,
        reason: &str,
        by: (PersonId, &str),
        at: Micros,
        expires_at: Micros,
    ) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let next = "SELECT coalesce(max(id), 0) + 1 AS id FROM agreements";
        let number = Reader(&sqlx::query(next).fetch_one(&mut *transaction).await?).number("id")?;
        let sql = "INSERT INTO agreements (id, what, reason, proposed_by, proposed_name, proposed_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let query = sqlx::query(sql).bind(integer(number)).bind(what).bind(reason);
        let query = query.bind(id(by.0)).bind(by.1).bind(time(at)).bind(time(expires_at));
        query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(number)
    }

    /// Lets another person agree. It counts once, in time, and never for one's own proposal.
    pub async fn agree(
        &self,
        number: u64,
        by: (PersonId, &str),
        at: Micros,
    ) -> Result<Result<(), NoAgreement>, Error> {
        let mut transaction = self.begin().await?;
        let sql = "SELECT * FROM agreements WHERE id = $1";
        let row = sqlx::query(sql).bind(integer(number)).fetch_optional(&mut *transaction).await?;
        let Some(row) = row.as_ref().map(agreement).transpose()? else {
            return Ok(Err(NoAgreement::Unknown));
        };
        if row.proposed_by == by.0 {
            return Ok(Err(NoAgreement::Own));
        }
        if row.agreed_at.is_some() {
            return Ok(Err(NoAgreement::Agreed));
        }
        if row.expires_at <= at {
            return Ok(Err(NoAgreement::Expired));
        }
        let sql = "UPDATE agreements SET agreed_by = $2, agreed_name = $3, agreed_at = $4 WHERE id = $1";
        let query = sqlx::query(sql).bind(integer(number)).bind(id(by.0)).bind(by.1).bind(time(at));
        query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Ok(()))
    }

    /// Notes that what was agreed was done; `false` when it was done before, or nobody agreed.
    pub async fn agreement_done(&self, number: u64, at: Micros) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql =
            "UPDATE agreements SET done_at = $2 WHERE id = $1 AND done_at IS NULL AND agreed_at IS NOT NULL";
        let done = sqlx::query(sql).bind(integer(number)).bind(time(at)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns all agreements, the oldest first.
    pub async fn agreements(&self) -> Result<Vec<AgreementRow>, Error> {
        let rows = sqlx::query("SELECT * FROM agreements ORDER BY id").fetch_all(&self.readers()).await?;
        rows.iter().map(agreement).collect()
    }

    /// Adds a hold and returns its number; that of the row is not looked at.
    pub async fn add_hold(&self, hold: &HoldRow) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let next = "SELECT coalesce(max(id), 0) + 1 AS id FROM holds";
        let number = Reader(&sqlx::query(next).fetch_one(&mut *transaction).await?).number("id")?;
        let sql = "INSERT INTO holds (id, reason, patient, person, resource, from_us, to_us, added_by, added_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let query = sqlx::query(sql).bind(integer(number)).bind(&hold.reason).bind(&hold.patient);
        let query = query.bind(&hold.person).bind(&hold.resource).bind(hold.from.map(time));
        let query = query.bind(hold.to.map(time)).bind(&hold.added_by).bind(time(hold.added_at));
        query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(number)
    }

    /// Ends a hold; `false` when it had ended, or there is none.
    pub async fn remove_hold(&self, number: u64, at: Micros) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE holds SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL";
        let done = sqlx::query(sql).bind(integer(number)).bind(time(at)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns the holds, also those that ended.
    pub async fn holds(&self) -> Result<Vec<HoldRow>, Error> {
        let rows = sqlx::query("SELECT * FROM holds ORDER BY id").fetch_all(&self.readers()).await?;
        rows.iter().map(hold).collect()
    }
}

fn agreement(row: &AnyRow) -> Result<AgreementRow, Error> {
    let row = Reader(row);
    Ok(AgreementRow {
        id: row.number("id")?,
        what: row.text("what")?,
        reason: row.text("reason")?,
        proposed_by: row.person("proposed_by")?,
        proposed_name: row.text("proposed_name")?,
        proposed_at: row.time("proposed_at")?,
        expires_at: row.time("expires_at")?,
        agreed_by: match row.time_if_any("agreed_at")? {
            Some(_) => Some(row.person("agreed_by")?),
            None => None,
        },
        agreed_name: row.text_if_any("agreed_name")?,
        agreed_at: row.time_if_any("agreed_at")?,
        done_at: row.time_if_any("done_at")?,
    })
}

fn hold(row: &AnyRow) -> Result<HoldRow, Error> {
    let row = Reader(row);
    Ok(HoldRow {
        id: row.number("id")?,
        reason: row.text("reason")?,
        patient: row.bytes_if_any("patient")?,
        person: row.text_if_any("person")?,
        resource: row.text_if_any("resource")?,
        from: row.time_if_any("from_us")?,
        to: row.time_if_any("to_us")?,
        added_by: row.text("added_by")?,
        added_at: row.time("added_at")?,
        removed_at: row.time_if_any("removed_at")?,
    })
}
