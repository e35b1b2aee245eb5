//! What SCIM says of people and groups, beside what people have here.

use std::collections::HashMap;

use model::{Micros, PersonId};
use sqlx::AnyConnection;

use crate::Registry;
use crate::database::{Reader, id, time};
use crate::error::Error;
use crate::names::name_fits;
use crate::people::{insert_person, lives, name_taken, person_row, roles_of};
use crate::rows::{NewPerson, PersonRow};

/// A token of a system that manages people, without the power to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimTokenRow {
    /// Its public part.
    pub id: [u8; 16],
    /// Which system.
    pub source: String,
    /// SHA-256 of the whole.
    pub digest: [u8; 32],
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: Micros,
}

/// A person whom SCIM manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimUserRow {
    /// The person.
    pub person: PersonRow,
    /// What the system calls them.
    pub external_id: Option<String>,
    /// Further attributes, a JSON object.
    pub attributes: String,
    /// How often it was changed.
    pub version: u64,
    /// When it was changed last.
    pub changed_at: Micros,
}

/// What SCIM says of a person.
#[derive(Clone, Copy, Debug)]
pub struct ScimUser<'a> {
    /// The login name.
    pub name: &'a str,
    /// The name for people to read.
    pub display_name: &'a str,
    /// What the system calls them.
    pub external_id: Option<&'a str>,
    /// Further attributes, a JSON object.
    pub attributes: &'a str,
}

/// A group, and who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimGroupRow {
    /// Its identity for ever.
    pub id: [u8; 16],
    /// Its name.
    pub display_name: String,
    /// What the system calls it.
    pub external_id: Option<String>,
    /// The living people in it, with their login names.
    pub members: Vec<(PersonId, String)>,
    /// How often it was changed.
    pub version: u64,
    /// When it was made.
    pub created_at: Micros,
    /// When it was changed last.
    pub changed_at: Micros,
}

impl Registry {
    /// Stores the token of a system.
    pub async fn add_scim_token(&self, token: &ScimTokenRow) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql =
            "INSERT INTO scim_tokens (id, source, digest, made_by, made_at) VALUES ($1, $2, $3, $4, $5)";
        sqlx::query(sql)
            .bind(token.id.to_vec())
            .bind(&token.source)
            .bind(token.digest.to_vec())
            .bind(&token.made_by)
            .bind(time(token.made_at))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Returns the token of that id, unless it was withdrawn.
    pub async fn scim_token(&self, token: [u8; 16]) -> Result<Option<ScimTokenRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT id, source, digest, made_by, made_at FROM scim_tokens WHERE id = $1 AND revoked_at IS NULL";
        let row = sqlx::query(sql).bind(token.to_vec()).fetch_optional(&mut *transaction).await?;
        row.map(|row| token_row(&Reader(&row))).transpose()
    }

    /// Returns all tokens that were not withdrawn.
    pub async fn scim_tokens(&self) -> Result<Vec<ScimTokenRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT id, source, digest, made_by, made_at FROM scim_tokens \
                   WHERE revoked_at IS NULL ORDER BY source, made_at";
        let rows = sqlx::query(sql).fetch_all(&mut *transaction).await?;
        rows.iter().map(|row| token_row(&Reader(row))).collect()
    }

    /// Withdraws the tokens of a system; returns how many.
    pub async fn revoke_scim_tokens(&self, source: &str, at: Micros) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE scim_tokens SET revoked_at = $2 WHERE source = $1 AND revoked_at IS NULL";
        let done = sqlx::query(sql).bind(source).bind(time(at)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }

    /// Adds a person whom a system manages.
    pub async fn add_scim_user(
        &self,
        person: &NewPerson,
        source: &str,
        user: &ScimUser<'_>,
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        insert_person(&mut transaction, person, at).await?;
        let sql = "INSERT INTO scim_users (person, source, external_id, attributes, version, changed_at) \
                   VALUES ($1, $2, $3, $4, 1, $5)";
        sqlx::query(sql)
            .bind(id(person.id))
            .bind(source)
            .bind(user.external_id)
            .bind(user.attributes)
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Changes what a system says of a person, the login name included.
    pub async fn change_scim_user(
        &self,
        person: PersonId,
        user: &ScimUser<'_>,
        at: Micros,
    ) -> Result<(), Error> {
        name_fits(user.name)?;
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let sql = "UPDATE people SET name = $2, display_name = $3 WHERE id = $1";
        let renamed = sqlx::query(sql)
            .bind(id(person))
            .bind(user.name)
            .bind(user.display_name)
            .execute(&mut *transaction)
            .await;
        renamed.map_err(|error| name_taken(error, user.name))?;
        let sql = "UPDATE scim_users SET external_id = $2, attributes = $3, version = version + 1, changed_at = $4 \
                   WHERE person = $1";
        sqlx::query(sql)
            .bind(id(person))
            .bind(user.external_id)
            .bind(user.attributes)
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Returns the living people whom a system manages, in order of their names.
    pub async fn scim_users(&self, source: &str) -> Result<Vec<ScimUserRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT p.id, p.name, p.display_name, p.disabled_at, p.created_at, \
                   s.external_id, s.attributes, s.version, s.changed_at FROM scim_users s \
                   JOIN people p ON p.id = s.person WHERE s.source = $1 AND p.deleted_at IS NULL ORDER BY p.name";
        let rows = sqlx::query(sql).bind(source).fetch_all(&mut *transaction).await?;
        let mut users = Vec::with_capacity(rows.len());
        for row in rows {
            users.push(user_row(&mut transaction, &Reader(&row)).await?);
        }
        Ok(users)
    }

    /// Returns one of them.
    pub async fn scim_user(&self, source: &str, person: PersonId) -> Result<Option<ScimUserRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT p.id, p.name, p.display_name, p.disabled_at, p.created_at, \
                   s.external_id, s.attributes, s.version, s.changed_at FROM scim_users s \
                   JOIN people p ON p.id = s.person WHERE s.source = $1 AND p.id = $2 AND p.deleted_at IS NULL";
        let row = sqlx::query(sql).bind(source).bind(id(person)).fetch_optional(&mut *transaction).await?;
        match row {
            Some(row) => user_row(&mut transaction, &Reader(&row)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Adds a group, or changes it: its name, and who is in it.
    pub async fn put_scim_group(
        &self,
        group: [u8; 16],
        source: &str,
        (display_name, external_id): (&str, Option<&str>),
        members: &[PersonId],
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql = "INSERT INTO scim_groups (id, source, display_name, external_id, version, created_at, changed_at) \
                   VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT (id) DO UPDATE SET display_name = $3, external_id = $4, \
                   version = scim_groups.version + 1, changed_at = $5";
        let put = sqlx::query(sql)
            .bind(group.to_vec())
            .bind(source)
            .bind(display_name)
            .bind(external_id)
            .bind(time(at))
            .execute(&mut *transaction)
            .await;
        put.map_err(|error| name_taken(error, display_name))?;
        let sql = "DELETE FROM scim_members WHERE scim_group = $1";
        sqlx::query(sql).bind(group.to_vec()).execute(&mut *transaction).await?;
        for member in members {
            let sql = "INSERT INTO scim_members (scim_group, person) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            sqlx::query(sql).bind(group.to_vec()).bind(id(*member)).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Deletes a group of a system; tells whether there was one.
    pub async fn delete_scim_group(&self, source: &str, group: [u8; 16]) -> Result<bool, Error> {
        let mut transaction = self.begin().await?;
        let sql = "DELETE FROM scim_members WHERE scim_group IN (SELECT id FROM scim_groups WHERE id = $1 AND source = $2)";
        sqlx::query(sql).bind(group.to_vec()).bind(source).execute(&mut *transaction).await?;
        let sql = "DELETE FROM scim_groups WHERE id = $1 AND source = $2";
        let done = sqlx::query(sql).bind(group.to_vec()).bind(source).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Returns the groups of a system, in order of their names.
    pub async fn scim_groups(&self, source: &str) -> Result<Vec<ScimGroupRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT m.scim_group, p.id AS person, p.name FROM scim_members m JOIN people p ON p.id = m.person \
                   WHERE p.deleted_at IS NULL ORDER BY p.name";
        let mut members: HashMap<[u8; 16], Vec<(PersonId, String)>> = HashMap::new();
        for row in sqlx::query(sql).fetch_all(&mut *transaction).await? {
            let row = Reader(&row);
            let member = (row.person("person")?, row.text("name")?);
            members.entry(row.bytes("scim_group")?).or_default().push(member);
        }
        let sql = "SELECT id, display_name, external_id, version, created_at, changed_at FROM scim_groups \
                   WHERE source = $1 ORDER BY display_name";
        let rows = sqlx::query(sql).bind(source).fetch_all(&mut *transaction).await?;
        rows.iter()
            .map(|row| {
                let row = Reader(row);
                let id = row.bytes("id")?;
                Ok(ScimGroupRow {
                    id,
                    display_name: row.text("display_name")?,
                    external_id: row.text_if_any("external_id")?,
                    members: members.remove(&id).unwrap_or_default(),
                    version: row.number("version")?,
                    created_at: row.time("created_at")?,
                    changed_at: row.time("changed_at")?,
                })
            })
            .collect()
    }
}

fn token_row(row: &Reader<'_>) -> Result<ScimTokenRow, Error> {
    Ok(ScimTokenRow {
        id: row.bytes("id")?,
        source: row.text("source")?,
        digest: row.bytes("digest")?,
        made_by: row.text("made_by")?,
        made_at: row.time("made_at")?,
    })
}

async fn user_row(transaction: &mut AnyConnection, row: &Reader<'_>) -> Result<ScimUserRow, Error> {
    let roles = roles_of(transaction, row.person("id")?).await?;
    Ok(ScimUserRow {
        person: person_row(row, roles)?,
        external_id: row.text_if_any("external_id")?,
        attributes: row.text("attributes")?,
        version: row.number("version")?,
        changed_at: row.time("changed_at")?,
    })
}
