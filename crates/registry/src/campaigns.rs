//! Recertification: rights that others hold, looked at by named people until a day. What is decided about a right and
//! what becomes of the right are one transaction, so that no crash leaves half of it.

use model::{Micros, PersonId};

use crate::database::{Reader, Transaction, id, integer, time};
use crate::error::Error;
use crate::names::role_fits;
use crate::people::lives;
use crate::{Closed, Registry};

/// One campaign is about at most so many rights.
pub const RIGHTS_PER_CAMPAIGN_MAX: usize = 50_000;

/// A campaign about to be started.
#[derive(Clone, Debug)]
pub struct NewCampaign {
    /// What it is about.
    pub scope: Scope,
    /// Until when answers are taken.
    pub due_at: Micros,
    /// Who is asked about what is not answered by then, and for how many seconds; without it that is revoked.
    pub escalate: Option<(PersonId, String, u64)>,
    /// Who starts it.
    pub by: String,
    /// The rights.
    pub rights: Vec<NewRight>,
}

/// What a campaign is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Rights on a resource.
    Resource(String),
    /// Rights of the people of a manager, by login name.
    Manager(String),
}

impl Scope {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Scope::Resource(name) => ("resource", name),
            Scope::Manager(name) => ("manager", name),
        }
    }
}

/// A right about to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRight {
    /// Who holds it.
    pub person: PersonId,
    /// Their login name.
    pub person_name: String,
    /// The role.
    pub role: String,
    /// The request that granted it, where it is one for a time.
    pub request: Option<u64>,
    /// Who must answer.
    pub reviewer: (PersonId, String),
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignRow {
    /// Its number, never used again.
    pub number: u64,
    /// What it is about.
    pub scope: Scope,
    /// Until when answers are taken.
    pub due_at: Micros,
    /// Who is asked about what is not answered by then, and for how many seconds.
    pub escalate: Option<(PersonId, String, u64)>,
    /// Who started it.
    pub started_by: String,
    /// When.
    pub started_at: Micros,
    /// When the last right was decided.
    pub closed_at: Option<Micros>,
}

/// What was decided about a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It stays.
    Confirmed,
    /// Another role was given for it.
    Changed,
    /// It was taken away.
    Revoked,
    /// Nobody answered in time, so it was taken away.
    Unanswered,
    /// It was not held any more.
    Gone,
}

impl Decided {
    /// All decisions.
    pub const ALL: [Decided; 5] =
        [Decided::Confirmed, Decided::Changed, Decided::Revoked, Decided::Unanswered, Decided::Gone];

    /// Returns the word for lists and the trail.
    pub fn name(self) -> &'static str {
        match self {
            Decided::Confirmed => "confirmed",
            Decided::Changed => "changed",
            Decided::Revoked => "revoked",
            Decided::Unanswered => "unanswered",
            Decided::Gone => "gone",
        }
    }
}

/// What is to be done with a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it stay.
    Confirm,
    /// Give this role for it.
    ChangeTo(String),
    /// Take it away, as somebody said.
    Revoke,
    /// Take it away, as nobody answered.
    Lapse,
}

/// A right of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightRow {
    /// Its number within the campaign, from 1.
    pub item: u64,
    /// Who holds it.
    pub person: PersonId,
    /// Their login name at the start.
    pub person_name: String,
    /// The role.
    pub role: String,
    /// The request that granted it, where it is one for a time.
    pub request: Option<u64>,
    /// Who must answer.
    pub reviewer: PersonId,
    /// Their login name.
    pub reviewer_name: String,
    /// Until when.
    pub due_at: Micros,
    /// When somebody else was asked, because nobody answered.
    pub escalated_at: Option<Micros>,
    /// What was decided, by whom, when and why.
    pub decided: Option<(Decided, String, Micros, String)>,
    /// The role that was given for it.
    pub changed_to: Option<String>,
}

impl Registry {
    /// Starts a campaign. Returns its number.
    pub async fn start_campaign(&self, new: &NewCampaign, at: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let sql = "SELECT coalesce(max(number), 0) AS last FROM campaigns";
        let number = Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("last")? + 1;
        let (scope, name) = new.scope.parts();
        let sql = "INSERT INTO campaigns \
                   (number, scope, name, due_at, escalate_to, escalate_name, escalate_s, started_by, started_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        sqlx::query(sql)
            .bind(integer(number))
            .bind(scope)
            .bind(name)
            .bind(time(new.due_at))
            .bind(new.escalate.as_ref().map(|(person, ..)| id(*person)))
            .bind(new.escalate.as_ref().map(|(_, name, _)| name.clone()))
            .bind(new.escalate.as_ref().map(|(.., seconds)| integer(*seconds)))
            .bind(&new.by)
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        for (item, right) in (1_i64..).zip(&new.rights) {
            let sql = "INSERT INTO campaign_rights \
                       (campaign, item, person, person_name, role, request, reviewer, reviewer_name, due_at) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            sqlx::query(sql)
                .bind(integer(number))
                .bind(item)
                .bind(id(right.person))
                .bind(&right.person_name)
                .bind(&right.role)
                .bind(right.request.map(integer))
                .bind(id(right.reviewer.0))
                .bind(&right.reviewer.1)
                .bind(time(new.due_at))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(number)
    }

    /// Decides about a right that nobody decided about, and does it. A right that is not held any more is found gone,
    /// whatever was wanted.
    pub async fn decide_right(
        &self,
        (campaign, item): (u64, u64),
        verdict: &Verdict,
        (by, why): (&str, &str),
        at: Micros,
    ) -> Result<Decided, Error> {
        let mut transaction = self.begin().await?;
        let right = open_right(&mut transaction, campaign, item).await?;
        let decided = match is_held(&mut transaction, &right, at).await? {
            false => Decided::Gone,
            true => apply(&mut transaction, &right, verdict, (by, why), at).await?,
        };
        let changed_to = match (verdict, decided) {
            (Verdict::ChangeTo(role), Decided::Changed) => Some(role.clone()),
            (Verdict::ChangeTo(_) | Verdict::Confirm | Verdict::Revoke | Verdict::Lapse, _) => None,
        };
        let sql = "UPDATE campaign_rights SET decision = $3, changed_to = $4, decided_by = $5, decided_at = $6, \
                   reason = $7 WHERE campaign = $1 AND item = $2";
        sqlx::query(sql)
            .bind(integer(campaign))
            .bind(integer(item))
            .bind(decided.name())
            .bind(changed_to)
            .bind(by)
            .bind(time(at))
            .bind(why)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(decided)
    }

    /// Asks somebody else about a right that was not answered, once.
    pub async fn escalate_right(
        &self,
        (campaign, item): (u64, u64),
        (reviewer, name): (PersonId, &str),
        due_at: Micros,
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        open_right(&mut transaction, campaign, item).await?;
        let sql = "UPDATE campaign_rights SET reviewer = $3, reviewer_name = $4, due_at = $5, escalated_at = $6 \
                   WHERE campaign = $1 AND item = $2 AND escalated_at IS NULL";
        sqlx::query(sql)
            .bind(integer(campaign))
            .bind(integer(item))
            .bind(id(reviewer))
            .bind(name)
            .bind(time(due_at))
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Closes a campaign in which everything is decided; tells whether it did.
    pub async fn close_campaign(&self, number: u64, at: Micros) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE campaigns SET closed_at = $2 WHERE number = $1 AND closed_at IS NULL AND NOT EXISTS \
                   (SELECT 1 FROM campaign_rights WHERE campaign = $1 AND decision IS NULL)";
        let done = sqlx::query(sql).bind(integer(number)).bind(time(at)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Returns the campaigns in order of their numbers.
    pub async fn campaigns(&self) -> Result<Vec<CampaignRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT number, scope, name, due_at, escalate_to, escalate_name, escalate_s, started_by, \
                   started_at, closed_at FROM campaigns ORDER BY number";
        let rows = sqlx::query(sql).fetch_all(&mut *transaction).await?;
        rows.iter().map(|row| campaign_row(&Reader(row))).collect()
    }

    /// Returns the rights of a campaign in order of their numbers.
    pub async fn campaign_rights(&self, campaign: u64) -> Result<Vec<RightRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT item, person, person_name, role, request, reviewer, reviewer_name, due_at, escalated_at, \
                   decision, changed_to, decided_by, decided_at, reason FROM campaign_rights \
                   WHERE campaign = $1 ORDER BY item";
        let rows = sqlx::query(sql).bind(integer(campaign)).fetch_all(&mut *transaction).await?;
        rows.iter().map(|row| right_row(&Reader(row))).collect()
    }
}

async fn open_right(transaction: &mut Transaction, campaign: u64, item: u64) -> Result<RightRow, Error> {
    let sql = "SELECT item, person, person_name, role, request, reviewer, reviewer_name, due_at, escalated_at, \
               decision, changed_to, decided_by, decided_at, reason FROM campaign_rights \
               WHERE campaign = $1 AND item = $2";
    let row = sqlx::query(sql).bind(integer(campaign)).bind(integer(item)).fetch_optional(&mut **transaction);
    let row = row.await?.ok_or(Error::UnknownRight)?;
    let right = right_row(&Reader(&row))?;
    if right.decided.is_some() { Err(Error::DecidedBefore) } else { Ok(right) }
}

async fn is_held(transaction: &mut Transaction, right: &RightRow, at: Micros) -> Result<bool, Error> {
    let query = match right.request {
        None => sqlx::query("SELECT 1 FROM roles_held WHERE person = $1 AND role = $2")
            .bind(id(right.person))
            .bind(right.role.clone()),
        Some(request) => sqlx::query(
            "SELECT 1 FROM access_requests WHERE number = $1 AND closed_at IS NULL AND until > $2",
        )
        .bind(integer(request))
        .bind(time(at)),
    };
    Ok(query.fetch_optional(&mut **transaction).await?.is_some())
}

async fn apply(
    transaction: &mut Transaction,
    right: &RightRow,
    verdict: &Verdict,
    (by, why): (&str, &str),
    at: Micros,
) -> Result<Decided, Error> {
    let decided = match verdict {
        Verdict::Confirm => return Ok(Decided::Confirmed),
        Verdict::ChangeTo(_) if right.request.is_some() => return Err(Error::GrantNotChanged),
        Verdict::ChangeTo(_) => Decided::Changed,
        Verdict::Revoke => Decided::Revoked,
        Verdict::Lapse => Decided::Unanswered,
    };
    match right.request {
        None => {
            let sql = "DELETE FROM roles_held WHERE person = $1 AND role = $2";
            sqlx::query(sql).bind(id(right.person)).bind(&right.role).execute(&mut **transaction).await?;
        }
        Some(request) => {
            let sql = "UPDATE access_requests SET closed_as = $2, closed_by = $3, closed_at = $4, closed_why = $5 \
                       WHERE number = $1 AND closed_at IS NULL";
            sqlx::query(sql)
                .bind(integer(request))
                .bind(Closed::Revoked.name())
                .bind(by)
                .bind(time(at))
                .bind(why)
                .execute(&mut **transaction)
                .await?;
        }
    }
    if let Verdict::ChangeTo(role) = verdict {
        role_fits(role)?;
        lives(transaction, right.person).await?;
        let sql = "INSERT INTO roles_held (person, role) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(id(right.person)).bind(role).execute(&mut **transaction).await?;
    }
    Ok(decided)
}

fn campaign_row(row: &Reader<'_>) -> Result<CampaignRow, Error> {
    let name = row.text("name")?;
    let scope = match row.text("scope")?.as_str() {
        "resource" => Scope::Resource(name),
        "manager" => Scope::Manager(name),
        _ => return Err(Error::Damaged { column: "scope" }),
    };
    let escalate = match row.person_if_any("escalate_to")? {
        Some(person) => Some((person, row.text("escalate_name")?, row.number("escalate_s")?)),
        None => None,
    };
    Ok(CampaignRow {
        number: row.number("number")?,
        scope,
        due_at: row.time("due_at")?,
        escalate,
        started_by: row.text("started_by")?,
        started_at: row.time("started_at")?,
        closed_at: row.time_if_any("closed_at")?,
    })
}

fn right_row(row: &Reader<'_>) -> Result<RightRow, Error> {
    let decided = match row.text_if_any("decision")? {
        None => None,
        Some(name) => {
            let decided = Decided::ALL.into_iter().find(|decided| decided.name() == name);
            let decided = decided.ok_or(Error::Damaged { column: "decision" })?;
            Some((decided, row.text("decided_by")?, row.time("decided_at")?, row.text("reason")?))
        }
    };
    Ok(RightRow {
        item: row.number("item")?,
        person: row.person("person")?,
        person_name: row.text("person_name")?,
        role: row.text("role")?,
        request: row.time_if_any("request")?.map(|number| number.0),
        reviewer: row.person("reviewer")?,
        reviewer_name: row.text("reviewer_name")?,
        due_at: row.time("due_at")?,
        escalated_at: row.time_if_any("escalated_at")?,
        decided,
        changed_to: row.text_if_any("changed_to")?,
    })
}
