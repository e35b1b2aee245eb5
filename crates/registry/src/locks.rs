//! Locks: placed by an administrator, in force until lifted. A lock that was lifted stays as a row.

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, id, integer, time};
use crate::error::Error;

/// At most so many locks are in force at once; each is looked at in every decision.
pub const LOCKS_MAX: usize = 1_000;

/// What a lock is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockedRow {
    /// A person.
    Person(PersonId),
    /// Everybody who holds a role.
    Role,
    /// A resource.
    Resource,
    /// An address or range.
    Address,
}

impl LockedRow {
    fn kind(&self) -> &'static str {
        match self {
            LockedRow::Person(_) => "person",
            LockedRow::Role => "role",
            LockedRow::Resource => "resource",
            LockedRow::Address => "address",
        }
    }
}

/// A lock about to be placed.
#[derive(Clone, Debug)]
pub struct NewLock {
    /// What it is on.
    pub locked: LockedRow,
    /// The name, range or login name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Who places it.
    pub placed_by: String,
}

/// A lock that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRow {
    /// Its number, never used again.
    pub number: u64,
    /// What it is on.
    pub locked: LockedRow,
    /// The name, range or login name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Who placed it.
    pub placed_by: String,
    /// When.
    pub placed_at: Micros,
}

impl Registry {
    /// Places a lock. Returns its number.
    pub async fn place_lock(&self, lock: &NewLock, at: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let sql = "SELECT coalesce(max(number), 0) AS last FROM locks";
        let last = Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("last")?;
        let sql = "SELECT count(*) AS held FROM locks WHERE lifted_at IS NULL";
        let held = Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("held")?;
        if held >= LOCKS_MAX as u64 {
            return Err(Error::TooManyLocks { max: LOCKS_MAX });
        }
        let number = last + 1;
        let person = match lock.locked {
            LockedRow::Person(person) => Some(id(person)),
            LockedRow::Role | LockedRow::Resource | LockedRow::Address => None,
        };
        let sql = "INSERT INTO locks (number, kind, name, person, reason, placed_by, placed_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        sqlx::query(sql)
            .bind(integer(number))
            .bind(lock.locked.kind())
            .bind(&lock.name)
            .bind(person)
            .bind(&lock.reason)
            .bind(&lock.placed_by)
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(number)
    }

    /// Lifts a lock. Returns whether it was in force.
    pub async fn lift_lock(&self, number: u64, by: &str, at: Micros) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE locks SET lifted_by = $2, lifted_at = $3 WHERE number = $1 AND lifted_at IS NULL";
        let done =
            sqlx::query(sql).bind(integer(number)).bind(by).bind(time(at)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Returns the locks that are in force, the oldest first.
    pub async fn locks_in_force(&self) -> Result<Vec<LockRow>, Error> {
        let sql = "SELECT number, kind, name, person, reason, placed_by, placed_at FROM locks \
                   WHERE lifted_at IS NULL ORDER BY number";
        let rows = sqlx::query(sql).fetch_all(&self.readers()).await?;
        rows.iter().map(|row| lock_row(&Reader(row))).collect()
    }
}

fn lock_row(row: &Reader<'_>) -> Result<LockRow, Error> {
    let locked = match row.text("kind")?.as_str() {
        "person" => LockedRow::Person(row.person("person")?),
        "role" => LockedRow::Role,
        "resource" => LockedRow::Resource,
        "address" => LockedRow::Address,
        _ => return Err(Error::Damaged { column: "kind" }),
    };
    Ok(LockRow {
        number: row.number("number")?,
        locked,
        name: row.text("name")?,
        reason: row.text("reason")?,
        placed_by: row.text("placed_by")?,
        placed_at: row.time("placed_at")?,
    })
}
