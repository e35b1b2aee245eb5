//! Who people are elsewhere.

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, Transaction, id, time};
use crate::error::Error;
use crate::people::{insert_person, lives, person_row, roles_of};
use crate::rows::{NewPerson, PersonRow};

impl Registry {
    /// Returns the living person that a subject of a provider is.
    pub async fn identity(&self, provider: &str, subject: &str) -> Result<Option<PersonRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT p.id, p.name, p.display_name, p.disabled_at, p.created_at FROM identities i \
                   JOIN people p ON p.id = i.person \
                   WHERE i.provider = $1 AND i.subject = $2 AND p.deleted_at IS NULL";
        let row = sqlx::query(sql).bind(provider).bind(subject).fetch_optional(&mut *transaction).await?;
        let Some(row) = row else { return Ok(None) };
        let row = Reader(&row);
        let roles = roles_of(&mut transaction, row.person("id")?).await?;
        person_row(&row, roles).map(Some)
    }

    /// Returns the living people whom a provider knows, each with its subject.
    pub async fn identities(&self, provider: &str) -> Result<Vec<(String, PersonRow)>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT i.subject, p.id, p.name, p.display_name, p.disabled_at, p.created_at FROM identities i \
                   JOIN people p ON p.id = i.person WHERE i.provider = $1 AND p.deleted_at IS NULL ORDER BY i.subject";
        let rows = sqlx::query(sql).bind(provider).fetch_all(&mut *transaction).await?;
        let mut known = Vec::with_capacity(rows.len());
        for row in rows {
            let row = Reader(&row);
            let roles = roles_of(&mut transaction, row.person("id")?).await?;
            known.push((row.text("subject")?, person_row(&row, roles)?));
        }
        Ok(known)
    }

    /// Returns who a person is at a provider, if anybody.
    pub async fn subject_of(&self, provider: &str, person: PersonId) -> Result<Option<String>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql =
            "SELECT subject FROM identities WHERE provider = $1 AND person = $2 ORDER BY subject LIMIT 1";
        let row = sqlx::query(sql).bind(provider).bind(id(person)).fetch_optional(&mut *transaction).await?;
        row.map(|row| Reader(&row).text("subject")).transpose()
    }

    /// Binds a subject of a provider to a person. Whose it was before it stays.
    pub async fn bind_identity(
        &self,
        provider: &str,
        subject: &str,
        person: PersonId,
        by: &str,
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        bind(&mut transaction, (provider, subject), person, by, at).await?;
        Ok(transaction.commit().await?)
    }

    /// Adds a person whom a provider knows, as one step.
    pub async fn add_person_of(
        &self,
        person: &NewPerson,
        identity: (&str, &str),
        by: &str,
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        insert_person(&mut transaction, person, at).await?;
        bind(&mut transaction, identity, person.id, by, at).await?;
        Ok(transaction.commit().await?)
    }
}

async fn bind(
    transaction: &mut Transaction,
    (provider, subject): (&str, &str),
    person: PersonId,
    by: &str,
    at: Micros,
) -> Result<(), Error> {
    let sql = "INSERT INTO identities (provider, subject, person, bound_by, bound_at) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let added = sqlx::query(sql)
        .bind(provider)
        .bind(subject)
        .bind(id(person))
        .bind(by)
        .bind(time(at))
        .execute(&mut **transaction)
        .await?;
    if added.rows_affected() > 0 {
        return Ok(());
    }
    let sql = "SELECT person FROM identities WHERE provider = $1 AND subject = $2";
    let row = sqlx::query(sql).bind(provider).bind(subject).fetch_one(&mut **transaction).await?;
    if Reader(&row).person("person")? == person { Ok(()) } else { Err(Error::IdentityTaken) }
}
