//! Access for a time: a person asks for a role on a resource, others approve, the grant ends by itself.
//!
//! Nobody approves their own request and nobody approves twice: both are refused here, within the transaction that would
//! write it, so that no order of calls gets around it.

use std::collections::HashMap;
use std::time::Duration;

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, Transaction, id, integer, time};
use crate::error::Error;
use crate::people::lives;

/// One person has at most so many requests open at once.
pub const REQUESTS_PER_PERSON_MAX: usize = 20;

const SECOND_US: u64 = 1_000_000;

/// A request about to be made.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Who asks, for themselves.
    pub person: PersonId,
    /// The role.
    pub role: String,
    /// The resource; the role's rights on others are not given.
    pub resource: String,
    /// What for: a word that is configured.
    pub purpose: String,
    /// Why, in words.
    pub reason: String,
    /// For how long, from the last approval.
    pub duration: Duration,
    /// How many people must approve.
    pub approvals: u32,
}

/// How a request or grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// An approver said no.
    Denied,
    /// Whoever asked took it back.
    Withdrawn,
    /// The grant was taken away.
    Revoked,
    /// The grant's time is over.
    Expired,
}

impl Closed {
    /// Returns the word for lists and the trail.
    pub fn name(self) -> &'static str {
        match self {
            Closed::Denied => "denied",
            Closed::Withdrawn => "withdrawn",
            Closed::Revoked => "revoked",
            Closed::Expired => "expired",
        }
    }

    fn named(name: &str) -> Result<Closed, Error> {
        [Closed::Denied, Closed::Withdrawn, Closed::Revoked, Closed::Expired]
            .into_iter()
            .find(|closed| closed.name() == name)
            .ok_or(Error::Damaged { column: "closed_as" })
    }
}

/// A request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// Its number, never used again.
    pub number: u64,
    /// Who asked.
    pub person: PersonId,
    /// Their login name now; empty where they are deleted.
    pub person_name: String,
    /// The role.
    pub role: String,
    /// The resource.
    pub resource: String,
    /// What for.
    pub purpose: String,
    /// Why, in words.
    pub reason: String,
    /// For how long.
    pub duration: Duration,
    /// How many people must approve.
    pub approvals: u32,
    /// Who approved so far, by login name of then.
    pub approved_by: Vec<String>,
    /// When it was asked.
    pub asked_at: Micros,
    /// From when to when it is a grant.
    pub granted: Option<(Micros, Micros)>,
    /// How it ended, by whom, when and why.
    pub closed: Option<(Closed, String, Micros, String)>,
}

impl RequestRow {
    /// Tells whether it gives rights at that time.
    pub fn is_in_force(&self, at: Micros) -> bool {
        self.closed.is_none() && self.granted.is_some_and(|(from, until)| from <= at && at < until)
    }

    /// Tells whether it waits for approval.
    pub fn waits(&self) -> bool {
        self.closed.is_none() && self.granted.is_none()
    }
}

impl Registry {
    /// Makes a request. Returns its number.
    pub async fn ask_access(&self, new: &NewRequest, at: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, new.person).await?;
        let sql = "SELECT count(*) AS open FROM access_requests WHERE person = $1 AND closed_at IS NULL";
        let open = sqlx::query(sql).bind(id(new.person)).fetch_one(&mut *transaction).await?;
        if Reader(&open).number("open")? >= REQUESTS_PER_PERSON_MAX as u64 {
            return Err(Error::TooManyRequests { max: REQUESTS_PER_PERSON_MAX });
        }
        let sql = "SELECT coalesce(max(number), 0) AS last FROM access_requests";
        let number = Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("last")? + 1;
        let sql = "INSERT INTO access_requests \
                   (number, person, role, resource, purpose, reason, duration_s, approvals, asked_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        sqlx::query(sql)
            .bind(integer(number))
            .bind(id(new.person))
            .bind(&new.role)
            .bind(&new.resource)
            .bind(&new.purpose)
            .bind(&new.reason)
            .bind(integer(new.duration.as_secs()))
            .bind(i64::from(new.approvals))
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(number)
    }

    /// Approves a request. The last approval that it needs makes it a grant, from then on. Returns the request as it is
    /// then.
    pub async fn approve_access(
        &self,
        number: u64,
        (person, name): (PersonId, &str),
        at: Micros,
    ) -> Result<RequestRow, Error> {
        let mut transaction = self.begin().await?;
        let request = waiting(&mut transaction, number).await?;
        if request.person == person {
            return Err(Error::OwnRequest);
        }
        let sql = "INSERT INTO access_approvals (request, person, name, at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT DO NOTHING";
        let added = sqlx::query(sql)
            .bind(integer(number))
            .bind(id(person))
            .bind(name)
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        if added.rows_affected() == 0 {
            return Err(Error::ApprovedBefore);
        }
        if request.approved_by.len() + 1 >= usize::try_from(request.approvals).unwrap_or(usize::MAX) {
            let until = ends(at, request.duration);
            let sql = "UPDATE access_requests SET granted_at = $2, until = $3 WHERE number = $1";
            sqlx::query(sql)
                .bind(integer(number))
                .bind(time(at))
                .bind(time(until))
                .execute(&mut *transaction)
                .await?;
        }
        let after = one(&mut transaction, number).await?.ok_or(Error::UnknownRequest)?;
        transaction.commit().await?;
        Ok(after)
    }

    /// Ends a request or grant that is open. Denying and withdrawing are for what waits, revoking and expiring for
    /// grants.
    pub async fn close_access(
        &self,
        number: u64,
        closed: Closed,
        by: &str,
        why: &str,
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let request = one(&mut transaction, number).await?.ok_or(Error::UnknownRequest)?;
        let fits = match closed {
            Closed::Denied | Closed::Withdrawn => request.waits(),
            Closed::Revoked => request.is_in_force(at),
            Closed::Expired => {
                request.closed.is_none() && request.granted.is_some_and(|(_, until)| until <= at)
            }
        };
        if !fits {
            return Err(Error::RequestNotOpen);
        }
        let sql = "UPDATE access_requests SET closed_as = $2, closed_by = $3, closed_at = $4, closed_why = $5 \
                   WHERE number = $1";
        sqlx::query(sql)
            .bind(integer(number))
            .bind(closed.name())
            .bind(by)
            .bind(time(at))
            .bind(why)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Returns the request of that number.
    pub async fn access_request(&self, number: u64) -> Result<Option<RequestRow>, Error> {
        let mut transaction = self.begin_read().await?;
        one(&mut transaction, number).await
    }

    /// Returns the requests and grants in order of their numbers: those that are open, or all.
    pub async fn access_requests(&self, also_closed: bool) -> Result<Vec<RequestRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let which = if also_closed { "TRUE" } else { "r.closed_at IS NULL" };
        rows(&mut transaction, which, None).await
    }
}

/// Returns when a grant of that time ends: on a whole second, because policy judges by seconds; less than one is added.
fn ends(from: Micros, duration: Duration) -> Micros {
    let exact = from.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    Micros(exact.div_ceil(SECOND_US).saturating_mul(SECOND_US))
}

async fn waiting(transaction: &mut Transaction, number: u64) -> Result<RequestRow, Error> {
    let request = one(transaction, number).await?.ok_or(Error::UnknownRequest)?;
    if request.waits() { Ok(request) } else { Err(Error::RequestNotOpen) }
}

async fn one(transaction: &mut Transaction, number: u64) -> Result<Option<RequestRow>, Error> {
    Ok(rows(transaction, "r.number = $1", Some(number)).await?.pop())
}

/// Returns the requests that a condition of ours holds for.
async fn rows(
    transaction: &mut Transaction,
    condition: &'static str,
    number: Option<u64>,
) -> Result<Vec<RequestRow>, Error> {
    let mut approved: HashMap<u64, Vec<String>> = HashMap::new();
    let sql = "SELECT request, name FROM access_approvals ORDER BY request, at";
    for row in sqlx::query(sql).fetch_all(&mut **transaction).await? {
        approved.entry(Reader(&row).number("request")?).or_default().push(Reader(&row).text("name")?);
    }
    let sql = format!(
        "SELECT r.number, r.person, r.role, r.resource, r.purpose, r.reason, r.duration_s, r.approvals, r.asked_at, \
         r.granted_at, r.until, r.closed_as, r.closed_by, r.closed_at, r.closed_why, \
         CASE WHEN p.deleted_at IS NULL THEN p.name ELSE '' END AS person_name \
         FROM access_requests r JOIN people p ON p.id = r.person WHERE {condition} ORDER BY r.number"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    if let Some(number) = number {
        query = query.bind(integer(number));
    }
    let found = query.fetch_all(&mut **transaction).await?;
    found
        .iter()
        .map(|row| {
            let row = Reader(row);
            request_row(&row, approved.remove(&row.number("number")?).unwrap_or_default())
        })
        .collect()
}

fn request_row(row: &Reader<'_>, approved_by: Vec<String>) -> Result<RequestRow, Error> {
    let granted = match (row.time_if_any("granted_at")?, row.time_if_any("until")?) {
        (Some(from), Some(until)) => Some((from, until)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(Error::Damaged { column: "until" }),
    };
    let closed = match row.text_if_any("closed_as")? {
        None => None,
        Some(name) => Some((
            Closed::named(&name)?,
            row.text("closed_by")?,
            row.time("closed_at")?,
            row.text("closed_why")?,
        )),
    };
    let approvals =
        u32::try_from(row.number("approvals")?).map_err(|_| Error::Damaged { column: "approvals" })?;
    Ok(RequestRow {
        number: row.number("number")?,
        person: row.person("person")?,
        person_name: row.text("person_name")?,
        role: row.text("role")?,
        resource: row.text("resource")?,
        purpose: row.text("purpose")?,
        reason: row.text("reason")?,
        duration: Duration::from_secs(row.number("duration_s")?),
        approvals,
        approved_by,
        asked_at: row.time("asked_at")?,
        granted,
        closed,
    })
}
