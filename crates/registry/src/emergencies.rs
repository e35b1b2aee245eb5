//! Emergency access (break-glass): taken, approved where two people are asked for, over, reviewed.
//!
//! Nobody approves or reviews their own, and nothing begins, ends or is reviewed twice: refused here, within the transaction
//! that would write it. Who may take it, and for how long, is asked before; the times come in.

use std::collections::HashMap;
use std::time::Duration;

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, Transaction, id, integer, time};
use crate::error::Error;
use crate::people::lives;

/// How somebody signed in whom two custodians named with a sealed code: named, not proven. Their tokens end with the emergency.
pub const SEALED_CODE: &str = "sealed-code";

/// How emergency access was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Whoever took it gave it back.
    Ended,
    /// Its time was over.
    Expired,
    /// Somebody else took it away.
    Revoked,
    /// Whoever asked took the question back.
    Withdrawn,
    /// An approver said no.
    Denied,
}

impl Over {
    const ALL: [Over; 5] = [Over::Ended, Over::Expired, Over::Revoked, Over::Withdrawn, Over::Denied];

    /// Returns the word for lists and the trail.
    pub fn name(self) -> &'static str {
        match self {
            Over::Ended => "ended",
            Over::Expired => "expired",
            Over::Revoked => "revoked",
            Over::Withdrawn => "withdrawn",
            Over::Denied => "denied",
        }
    }

    fn named(name: &str) -> Result<Over, Error> {
        let known = Over::ALL.into_iter().find(|over| over.name() == name);
        known.ok_or(Error::Damaged { column: "over_as" })
    }

    /// Tells whether it fits what has not begun.
    fn before_it_began(self) -> bool {
        match self {
            Over::Withdrawn | Over::Denied => true,
            Over::Ended | Over::Expired | Over::Revoked => false,
        }
    }
}

/// What a reviewer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was an emergency, and what was done belonged to it.
    Justified,
    /// It was not, or more was done.
    NotJustified,
}

impl Finding {
    /// Returns the word for lists and the trail.
    pub fn name(self) -> &'static str {
        match self {
            Finding::Justified => "justified",
            Finding::NotJustified => "not-justified",
        }
    }

    fn named(name: &str) -> Result<Finding, Error> {
        let known =
            [Finding::Justified, Finding::NotJustified].into_iter().find(|known| known.name() == name);
        known.ok_or(Error::Damaged { column: "finding" })
    }
}

/// A review: by whom, when, what was found, and what was written, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Who.
    pub by: PersonId,
    /// Their login name then.
    pub name: String,
    /// When.
    pub at: Micros,
    /// What was found.
    pub finding: Finding,
    /// What was written, sealed by the trail.
    pub note: Vec<u8>,
}

/// Emergency access, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// Its number, never used again.
    pub number: u64,
    /// Whose it is.
    pub person: PersonId,
    /// Their login name now; empty where they are deleted. Not looked at when it is taken.
    pub person_name: String,
    /// The role that it gives.
    pub role: String,
    /// The resource.
    pub resource: String,
    /// Why, one of the configured codes.
    pub reason_code: String,
    /// Why, in words.
    pub reason: String,
    /// The patient whom it is about, sealed by the trail.
    pub patient: Option<Vec<u8>>,
    /// It was an exercise.
    pub drill: bool,
    /// The sealed code by which it was taken.
    pub code: Option<String>,
    /// For how long.
    pub duration: Duration,
    /// How many others must approve first.
    pub approvals: u32,
    /// Who did, by login name of then.
    pub approved_by: Vec<String>,
    /// When it was asked for.
    pub asked_at: Micros,
    /// The entry of the trail that says so.
    pub entry: u64,
    /// From when to when it is had.
    pub taken: Option<(Micros, Micros)>,
    /// How it was over, by whom, when and why.
    pub over: Option<(Over, String, Micros, String)>,
    /// Until when it must be reviewed.
    pub review_due: Option<Micros>,
    /// When the alarm was given that it was not.
    pub overdue_at: Option<Micros>,
    /// The review.
    pub review: Option<Review>,
    /// What became of the resource's credential after it.
    pub rotation: Option<String>,
}

impl Emergency {
    /// Tells whether it gives rights at that time.
    pub fn is_in_force(&self, at: Micros) -> bool {
        self.over.is_none() && self.taken.is_some_and(|(from, until)| from <= at && at < until)
    }

    /// Tells whether it waits for approval.
    pub fn waits(&self) -> bool {
        self.over.is_none() && self.taken.is_none()
    }

    /// Tells whether it was had, is over, and nobody has reviewed it.
    pub fn awaits_review(&self) -> bool {
        self.over.is_some() && self.taken.is_some() && self.review.is_none()
    }

    /// Tells whether it was had, is over, and the resource's credential is still the one of then.
    pub fn awaits_rotation(&self) -> bool {
        self.over.is_some() && self.taken.is_some() && self.rotation.is_none()
    }

    /// Tells whether nothing is left to be done about it.
    fn is_done(&self) -> bool {
        self.over.is_some() && !self.awaits_review() && !self.awaits_rotation()
    }
}

/// Returns a time so much later.
fn after(at: Micros, duration: Duration) -> Micros {
    Micros(at.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
}

impl Registry {
    /// Returns the number of the next emergency access.
    pub async fn next_emergency(&self) -> Result<u64, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT coalesce(max(number), 0) AS last FROM emergencies";
        Ok(Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("last")? + 1)
    }

    /// Takes emergency access, or asks for it where others must approve. Returns it as it is then.
    pub async fn take_emergency(&self, new: &Emergency) -> Result<Emergency, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, new.person).await?;
        let sql = "SELECT count(*) AS had FROM emergencies \
                   WHERE person = $1 AND resource = $2 AND over_at IS NULL AND (until IS NULL OR until > $3)";
        let had = sqlx::query(sql).bind(id(new.person)).bind(&new.resource).bind(time(new.asked_at));
        if Reader(&had.fetch_one(&mut *transaction).await?).number("had")? > 0 {
            return Err(Error::EmergencyTaken);
        }
        let began = (new.approvals == 0).then(|| (new.asked_at, after(new.asked_at, new.duration)));
        insert(&mut transaction, &Emergency { taken: began, ..new.clone() }).await?;
        let taken = one(&mut transaction, new.number).await?;
        transaction.commit().await?;
        Ok(taken)
    }

    /// Approves what somebody else asks for. The last approval that it needs lets it begin. Returns it as it is then.
    pub async fn approve_emergency(
        &self,
        number: u64,
        (person, name): (PersonId, &str),
        at: Micros,
    ) -> Result<Emergency, Error> {
        let mut transaction = self.begin().await?;
        let emergency = one(&mut transaction, number).await?;
        if !emergency.waits() {
            return Err(Error::EmergencyState { number });
        }
        if emergency.person == person {
            return Err(Error::OwnRequest);
        }
        let sql = "INSERT INTO emergency_approvals (emergency, person, name, at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT DO NOTHING";
        let added = sqlx::query(sql).bind(integer(number)).bind(id(person)).bind(name).bind(time(at));
        if added.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Err(Error::ApprovedBefore);
        }
        if emergency.approved_by.len() + 1 >= usize::try_from(emergency.approvals).unwrap_or(usize::MAX) {
            let sql = "UPDATE emergencies SET began_at = $2, until = $3 WHERE number = $1";
            let until = after(at, emergency.duration);
            let begun = sqlx::query(sql).bind(integer(number)).bind(time(at)).bind(time(until));
            begun.execute(&mut *transaction).await?;
        }
        let after = one(&mut transaction, number).await?;
        transaction.commit().await?;
        Ok(after)
    }

    /// Notes that it is over, and until when it must be reviewed where it was had.
    pub async fn end_emergency(
        &self,
        number: u64,
        over: Over,
        by: &str,
        why: &str,
        at: Micros,
        review_due: Micros,
    ) -> Result<Emergency, Error> {
        let mut transaction = self.begin().await?;
        let emergency = one(&mut transaction, number).await?;
        if emergency.over.is_some() || over.before_it_began() != emergency.taken.is_none() {
            return Err(Error::EmergencyState { number });
        }
        let due = emergency.taken.is_some().then(|| time(review_due));
        let sql = "UPDATE emergencies SET over_as = $2, over_by = $3, over_at = $4, over_why = $5, review_due = $6 \
                   WHERE number = $1";
        let ended = sqlx::query(sql).bind(integer(number)).bind(over.name()).bind(by).bind(time(at));
        ended.bind(why).bind(due).execute(&mut *transaction).await?;
        // Two custodians named the person for this emergency alone.
        let sql =
            "UPDATE tokens SET revoked_at = $2 WHERE person = $1 AND sign_in = $3 AND revoked_at IS NULL";
        let revoked = sqlx::query(sql).bind(id(emergency.person)).bind(time(at)).bind(SEALED_CODE);
        revoked.execute(&mut *transaction).await?;
        let after = one(&mut transaction, number).await?;
        transaction.commit().await?;
        Ok(after)
    }

    /// Notes that the alarm was given: it was not reviewed in time.
    pub async fn note_overdue(&self, number: u64, at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE emergencies SET overdue_at = $2 WHERE number = $1 AND overdue_at IS NULL";
        sqlx::query(sql).bind(integer(number)).bind(time(at)).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Notes a review, once, by somebody other than whose it was.
    pub async fn review_emergency(&self, number: u64, review: &Review) -> Result<Emergency, Error> {
        let mut transaction = self.begin().await?;
        let emergency = one(&mut transaction, number).await?;
        if emergency.person == review.by {
            return Err(Error::OwnEmergency);
        }
        if !emergency.awaits_review() {
            return Err(Error::EmergencyState { number });
        }
        let sql = "UPDATE emergencies SET reviewed_by = $2, reviewed_name = $3, reviewed_at = $4, finding = $5, note = $6 \
                   WHERE number = $1";
        let reviewed = sqlx::query(sql).bind(integer(number)).bind(id(review.by)).bind(&review.name);
        let reviewed = reviewed.bind(time(review.at)).bind(review.finding.name()).bind(&review.note);
        reviewed.execute(&mut *transaction).await?;
        let after = one(&mut transaction, number).await?;
        transaction.commit().await?;
        Ok(after)
    }

    /// Notes what became of the resource's credential after it; once.
    pub async fn note_rotation(&self, number: u64, said: &str) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE emergencies SET rotation = $2 WHERE number = $1 AND rotation IS NULL";
        sqlx::query(sql).bind(integer(number)).bind(said).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Enters emergency access that was taken, or was over, while this registry could not be asked: as it is written in
    /// another one.
    pub async fn adopt_emergencies(&self, rows: &[Emergency]) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        for row in rows {
            let known = one(&mut transaction, row.number).await;
            match known {
                Ok(known) if known.person == row.person => {}
                Ok(_) => return Err(Error::EmergencyState { number: row.number }),
                Err(Error::UnknownEmergency) => insert(&mut transaction, row).await?,
                Err(error) => return Err(error),
            }
            let sql = "UPDATE emergencies SET over_as = $2, over_by = $3, over_at = $4, over_why = $5, review_due = $6 \
                       WHERE number = $1 AND over_at IS NULL";
            let over = row.over.as_ref();
            sqlx::query(sql)
                .bind(integer(row.number))
                .bind(over.map(|(over, ..)| over.name()))
                .bind(over.map(|(_, by, ..)| by.as_str()))
                .bind(over.map(|(_, _, at, _)| time(*at)))
                .bind(over.map(|(.., why)| why.as_str()))
                .bind(row.review_due.map(time))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Returns the emergency access of that number.
    pub async fn emergency(&self, number: u64) -> Result<Emergency, Error> {
        let mut transaction = self.begin_read().await?;
        one(&mut transaction, number).await
    }

    /// Returns emergency access in order of its numbers: all, or where something is left to be done.
    pub async fn emergencies(&self, also_done: bool) -> Result<Vec<Emergency>, Error> {
        let mut transaction = self.begin_read().await?;
        let mut all = rows(&mut transaction, None).await?;
        all.retain(|emergency| also_done || !emergency.is_done());
        Ok(all)
    }
}

async fn insert(transaction: &mut Transaction, new: &Emergency) -> Result<(), Error> {
    let sql = "INSERT INTO emergencies (number, person, role, resource, reason_code, reason, patient, drill, code, \
               duration_s, approvals, asked_at, entry, began_at, until) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    sqlx::query(sql)
        .bind(integer(new.number))
        .bind(id(new.person))
        .bind(&new.role)
        .bind(&new.resource)
        .bind(&new.reason_code)
        .bind(&new.reason)
        .bind(&new.patient)
        .bind(i64::from(new.drill))
        .bind(&new.code)
        .bind(integer(new.duration.as_secs()))
        .bind(i64::from(new.approvals))
        .bind(time(new.asked_at))
        .bind(integer(new.entry))
        .bind(new.taken.map(|(from, _)| time(from)))
        .bind(new.taken.map(|(_, until)| time(until)))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn one(transaction: &mut Transaction, number: u64) -> Result<Emergency, Error> {
    rows(transaction, Some(number)).await?.pop().ok_or(Error::UnknownEmergency)
}

/// Returns all rows, or the one of a number.
async fn rows(transaction: &mut Transaction, number: Option<u64>) -> Result<Vec<Emergency>, Error> {
    let mut approved: HashMap<u64, Vec<String>> = HashMap::new();
    let sql = "SELECT emergency, name FROM emergency_approvals ORDER BY emergency, at";
    for row in sqlx::query(sql).fetch_all(&mut **transaction).await? {
        approved.entry(Reader(&row).number("emergency")?).or_default().push(Reader(&row).text("name")?);
    }
    let condition = if number.is_some() { "e.number = $1" } else { "TRUE" };
    let sql = format!(
        "SELECT e.*, CASE WHEN p.deleted_at IS NULL THEN p.name ELSE '' END AS person_name \
         FROM emergencies e JOIN people p ON p.id = e.person WHERE {condition} ORDER BY e.number"
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
            emergency(&row, approved.remove(&row.number("number")?).unwrap_or_default())
        })
        .collect()
}

fn emergency(row: &Reader<'_>, approved_by: Vec<String>) -> Result<Emergency, Error> {
    let taken = match (row.time_if_any("began_at")?, row.time_if_any("until")?) {
        (Some(from), Some(until)) => Some((from, until)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(Error::Damaged { column: "until" }),
    };
    let over = match row.text_if_any("over_as")? {
        None => None,
        Some(name) => {
            Some((Over::named(&name)?, row.text("over_by")?, row.time("over_at")?, row.text("over_why")?))
        }
    };
    let approvals =
        u32::try_from(row.number("approvals")?).map_err(|_| Error::Damaged { column: "approvals" })?;
    Ok(Emergency {
        number: row.number("number")?,
        person: row.person("person")?,
        person_name: row.text("person_name")?,
        role: row.text("role")?,
        resource: row.text("resource")?,
        reason_code: row.text("reason_code")?,
        reason: row.text("reason")?,
        patient: row.bytes_if_any("patient")?,
        drill: row.number("drill")? != 0,
        code: row.text_if_any("code")?,
        duration: Duration::from_secs(row.number("duration_s")?),
        approvals,
        approved_by,
        asked_at: row.time("asked_at")?,
        entry: row.number("entry")?,
        taken,
        over,
        review_due: row.time_if_any("review_due")?,
        overdue_at: row.time_if_any("overdue_at")?,
        review: review(row)?,
        rotation: row.text_if_any("rotation")?,
    })
}

fn review(row: &Reader<'_>) -> Result<Option<Review>, Error> {
    let Some(at) = row.time_if_any("reviewed_at")? else { return Ok(None) };
    Ok(Some(Review {
        by: row.person("reviewed_by")?,
        name: row.text("reviewed_name")?,
        at,
        finding: Finding::named(&row.text("finding")?)?,
        note: row.bytes_if_any("note")?.unwrap_or_default(),
    }))
}
