//! Training: who was asked to learn what, since when, and when they did.

use std::collections::HashMap;

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, id, integer, time};
use crate::error::Error;
use crate::people::lives;

/// How a completion became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somebody said so on the command line.
    Command,
    /// A line of a file.
    Csv,
    /// A statement of a learning system.
    Xapi,
}

impl Source {
    /// Returns the word for lists and the trail.
    pub fn name(self) -> &'static str {
        match self {
            Source::Command => "command",
            Source::Csv => "csv",
            Source::Xapi => "xapi",
        }
    }

    fn named(name: &str) -> Result<Source, Error> {
        [Source::Command, Source::Csv, Source::Xapi]
            .into_iter()
            .find(|source| source.name() == name)
            .ok_or(Error::Damaged { column: "source" })
    }
}

/// A completion about to be entered.
#[derive(Clone, Debug)]
pub struct NewCompletion {
    /// Who learnt it.
    pub person: PersonId,
    /// The name of the course.
    pub course: String,
    /// When.
    pub completed_at: Micros,
    /// How it became known.
    pub source: Source,
    /// By what the source knows it.
    pub reference: Option<String>,
    /// Who enters it.
    pub by: String,
}

/// A completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionRow {
    /// Its number, never used again.
    pub number: u64,
    /// Who learnt it.
    pub person: PersonId,
    /// The name of the course.
    pub course: String,
    /// When.
    pub completed_at: Micros,
    /// How it became known.
    pub source: Source,
    /// By what the source knows it.
    pub reference: Option<String>,
    /// Who entered it.
    pub recorded_by: String,
}

/// When who was asked to learn what, and when they last did.
#[derive(Clone, Debug, Default)]
pub struct Training {
    /// By person: course and time.
    pub assigned: HashMap<PersonId, Vec<(String, Micros)>>,
    /// By person: course and time of the last completion.
    pub completed: HashMap<PersonId, Vec<(String, Micros)>>,
}

impl Training {
    /// Returns since when a person was asked to learn a course.
    pub fn assigned_at(&self, person: PersonId, course: &str) -> Option<Micros> {
        found(&self.assigned, person, course)
    }

    /// Returns when a person last completed a course.
    pub fn completed_at(&self, person: PersonId, course: &str) -> Option<Micros> {
        found(&self.completed, person, course)
    }
}

fn found(all: &HashMap<PersonId, Vec<(String, Micros)>>, person: PersonId, course: &str) -> Option<Micros> {
    all.get(&person)?.iter().find(|(name, _)| name == course).map(|(_, at)| *at)
}

impl Registry {
    /// Notes that people must learn a course from now on; who was asked before keeps the first time.
    pub async fn assign_training(&self, people: &[PersonId], course: &str, at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        for person in people {
            let sql = "INSERT INTO training_assignments (person, course, assigned_at) VALUES ($1, $2, $3) \
                       ON CONFLICT DO NOTHING";
            sqlx::query(sql).bind(id(*person)).bind(course).bind(time(at)).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Enters a completion. Returns its number; `None` where it is there already.
    pub async fn complete_training(&self, new: &NewCompletion, at: Micros) -> Result<Option<u64>, Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, new.person).await?;
        let sql = "SELECT number FROM training_completions \
                   WHERE person = $1 AND course = $2 AND completed_at = $3 AND withdrawn_at IS NULL";
        let known = sqlx::query(sql)
            .bind(id(new.person))
            .bind(&new.course)
            .bind(time(new.completed_at))
            .fetch_optional(&mut *transaction)
            .await?;
        if known.is_some() {
            return Ok(None);
        }
        let sql = "SELECT coalesce(max(number), 0) AS last FROM training_completions";
        let number = Reader(&sqlx::query(sql).fetch_one(&mut *transaction).await?).number("last")? + 1;
        let sql = "INSERT INTO training_completions \
                   (number, person, course, completed_at, source, reference, recorded_by, recorded_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        sqlx::query(sql)
            .bind(integer(number))
            .bind(id(new.person))
            .bind(&new.course)
            .bind(time(new.completed_at))
            .bind(new.source.name())
            .bind(&new.reference)
            .bind(&new.by)
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(number))
    }

    /// Takes back a completion that was entered by mistake; tells whether there was one to take back.
    pub async fn withdraw_training(
        &self,
        number: u64,
        by: &str,
        why: &str,
        at: Micros,
    ) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE training_completions SET withdrawn_at = $2, withdrawn_by = $3, withdrawn_why = $4 \
                   WHERE number = $1 AND withdrawn_at IS NULL";
        let done = sqlx::query(sql)
            .bind(integer(number))
            .bind(time(at))
            .bind(by)
            .bind(why)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Returns when who was asked to learn what, and when they last did, from one state of the database.
    pub async fn training(&self) -> Result<Training, Error> {
        let mut transaction = self.begin_read().await?;
        let mut training = Training::default();
        let sql = "SELECT person, course, assigned_at FROM training_assignments";
        for row in sqlx::query(sql).fetch_all(&mut *transaction).await? {
            let row = Reader(&row);
            let assigned = (row.text("course")?, row.time("assigned_at")?);
            training.assigned.entry(row.person("person")?).or_default().push(assigned);
        }
        let sql = "SELECT person, course, max(completed_at) AS last_at FROM training_completions \
                   WHERE withdrawn_at IS NULL GROUP BY person, course";
        for row in sqlx::query(sql).fetch_all(&mut *transaction).await? {
            let row = Reader(&row);
            let completed = (row.text("course")?, row.time("last_at")?);
            training.completed.entry(row.person("person")?).or_default().push(completed);
        }
        Ok(training)
    }

    /// Returns the completions in order of their numbers, but for those that were taken back.
    pub async fn training_completions(&self) -> Result<Vec<CompletionRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT number, person, course, completed_at, source, reference, recorded_by \
                   FROM training_completions WHERE withdrawn_at IS NULL ORDER BY number";
        let rows = sqlx::query(sql).fetch_all(&mut *transaction).await?;
        rows.iter()
            .map(|row| {
                let row = Reader(row);
                Ok(CompletionRow {
                    number: row.number("number")?,
                    person: row.person("person")?,
                    course: row.text("course")?,
                    completed_at: row.time("completed_at")?,
                    source: Source::named(&row.text("source")?)?,
                    reference: row.text_if_any("reference")?,
                    recorded_by: row.text("recorded_by")?,
                })
            })
            .collect()
    }
}
