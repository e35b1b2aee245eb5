//! The register of exceptions: protections that are switched off, why, by whose decision, and until when.
//!
//! Nobody approves their own: refused here, within the transaction that would write it.

use std::path::Path;

use model::{Micros, PersonId};
use sqlx::ConnectOptions as _;
use sqlx::any::AnyRow;

use crate::Registry;
use crate::database::{Reader, Transaction, file_options, id, integer, time};
use crate::error::Error;
use crate::people::lives;

/// An exception about to be asked for.
#[derive(Clone, Debug)]
pub struct NewException {
    /// The protection.
    pub control: String,
    /// Why it is switched off.
    pub reason: String,
    /// Until when.
    pub until: Micros,
    /// Who asks, and their login name.
    pub by: (PersonId, String),
}

/// An exception, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its number, never used again.
    pub number: u64,
    /// The protection.
    pub control: String,
    /// Why it is switched off.
    pub reason: String,
    /// Until when.
    pub until: Micros,
    /// Who asked.
    pub asked_by: PersonId,
    /// Their login name then.
    pub asked_name: String,
    /// When.
    pub asked_at: Micros,
    /// Who approved, by login name of then, and when.
    pub approved: Option<(String, Micros)>,
    /// Who ended it, by name of then, when and why.
    pub ended: Option<(String, Micros, String)>,
}

impl Exception {
    /// Tells whether it excuses anything at that time.
    pub fn is_in_force(&self, at: Micros) -> bool {
        self.approved.is_some() && self.ended.is_none() && at < self.until
    }
}

impl Registry {
    /// Adds an exception, which excuses nothing before it is approved. Returns it.
    pub async fn add_exception(&self, new: &NewException, at: Micros) -> Result<Exception, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, new.by.0).await?;
        let sql = "SELECT coalesce(max(number), 0) AS last FROM exceptions";
        let number = Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("last")? + 1;
        let sql = "INSERT INTO exceptions (number, control, reason, until, asked_by, asked_name, asked_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let added = sqlx::query(sql).bind(integer(number)).bind(&new.control).bind(&new.reason);
        let added = added.bind(time(new.until)).bind(id(new.by.0)).bind(&new.by.1).bind(time(at));
        added.execute(&mut *transaction).await?;
        let row = one(&mut transaction, number).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Approves an exception of somebody else. Returns it.
    pub async fn approve_exception(
        &self,
        number: u64,
        (person, name): (PersonId, &str),
        at: Micros,
    ) -> Result<Exception, Error> {
        let mut transaction = self.begin().await?;
        let row = one(&mut transaction, number).await?;
        if row.asked_by == person {
            return Err(Error::OwnRequest);
        }
        if row.approved.is_some() || row.ended.is_some() {
            return Err(Error::RequestNotOpen);
        }
        let sql =
            "UPDATE exceptions SET approved_by = $2, approved_name = $3, approved_at = $4 WHERE number = $1";
        let approved = sqlx::query(sql).bind(integer(number)).bind(id(person)).bind(name).bind(time(at));
        approved.execute(&mut *transaction).await?;
        let row = one(&mut transaction, number).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Ends an exception. Returns it.
    pub async fn end_exception(
        &self,
        number: u64,
        by: &str,
        why: &str,
        at: Micros,
    ) -> Result<Exception, Error> {
        let mut transaction = self.begin().await?;
        if one(&mut transaction, number).await?.ended.is_some() {
            return Err(Error::RequestNotOpen);
        }
        let sql = "UPDATE exceptions SET ended_name = $2, ended_at = $3, ended_why = $4 WHERE number = $1";
        let ended = sqlx::query(sql).bind(integer(number)).bind(by).bind(time(at)).bind(why);
        ended.execute(&mut *transaction).await?;
        let row = one(&mut transaction, number).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Returns the exception of that number.
    pub async fn exception(&self, number: u64) -> Result<Exception, Error> {
        let mut transaction = self.begin_read().await?;
        one(&mut transaction, number).await
    }

    /// Returns all exceptions, in order of their numbers.
    pub async fn exceptions(&self) -> Result<Vec<Exception>, Error> {
        let mut transaction = self.begin_read().await?;
        let rows =
            sqlx::query("SELECT * FROM exceptions ORDER BY number").fetch_all(&mut *transaction).await?;
        rows.iter().map(exception).collect()
    }
}

/// Reads the exceptions of a registry that another process may have open: writes nothing and brings nothing up to date.
/// One of an earlier version has none.
pub async fn peek_exceptions(path: &Path) -> Result<Vec<Exception>, Error> {
    sqlx::any::install_default_drivers();
    let mut connection = file_options(path, "ro")?.connect().await?;
    let sql = "SELECT count(*) AS there FROM sqlite_master WHERE type = 'table' AND name = 'exceptions'";
    if Reader(&sqlx::query(sql).fetch_one(&mut connection).await?).number("there")? == 0 {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT * FROM exceptions ORDER BY number").fetch_all(&mut connection).await?;
    rows.iter().map(exception).collect()
}

/// Reads the number of the last change of such a registry, as somebody finds it who comes new.
pub async fn peek_change(path: &Path) -> Result<u64, Error> {
    sqlx::any::install_default_drivers();
    let mut connection = file_options(path, "ro")?.connect().await?;
    let row = sqlx::query("SELECT number FROM changes WHERE one = 1").fetch_one(&mut connection).await?;
    // The people are what it is for: a file whose other pages are damaged is no registry.
    sqlx::query("SELECT id, name FROM people").fetch_all(&mut connection).await?;
    Reader(&row).number("number")
}

async fn one(transaction: &mut Transaction, number: u64) -> Result<Exception, Error> {
    let sql = "SELECT * FROM exceptions WHERE number = $1";
    let row = sqlx::query(sql).bind(integer(number)).fetch_optional(&mut **transaction).await?;
    exception(&row.ok_or(Error::UnknownException)?)
}

fn exception(row: &AnyRow) -> Result<Exception, Error> {
    let row = Reader(row);
    let approved = match row.time_if_any("approved_at")? {
        Some(at) => Some((row.text("approved_name")?, at)),
        None => None,
    };
    let ended = match row.time_if_any("ended_at")? {
        Some(at) => Some((row.text("ended_name")?, at, row.text_if_any("ended_why")?.unwrap_or_default())),
        None => None,
    };
    Ok(Exception {
        number: row.number("number")?,
        control: row.text("control")?,
        reason: row.text("reason")?,
        until: row.time("until")?,
        asked_by: row.person("asked_by")?,
        asked_name: row.text("asked_name")?,
        asked_at: row.time("asked_at")?,
        approved,
        ended,
    })
}
