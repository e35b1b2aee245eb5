//! People: added, changed, listed.

use std::collections::HashMap;

use model::{Micros, PersonId};
use sqlx::AnyConnection;

use crate::Registry;
use crate::database::{Reader, Transaction, id, time};
use crate::error::Error;
use crate::names::{name_fits, role_fits};
use crate::rows::{NewPerson, PersonRow, Verifiers};
use crate::tokens::revoke_all;

impl Registry {
    /// Adds a person. The name must be free among the living.
    pub async fn add_person(&self, person: &NewPerson, at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        insert_person(&mut transaction, person, at).await?;
        Ok(transaction.commit().await?)
    }

    /// Bars a person from signing in. Barring again keeps the first time.
    pub async fn disable(&self, person: PersonId, at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql =
            "UPDATE people SET disabled_at = coalesce(disabled_at, $2) WHERE id = $1 AND deleted_at IS NULL";
        let done = sqlx::query(sql).bind(id(person)).bind(time(at)).execute(&mut *transaction).await?;
        known(done.rows_affected())?;
        Ok(transaction.commit().await?)
    }

    /// Lets a person sign in again, and forgets failures.
    pub async fn enable(&self, person: PersonId) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE people SET disabled_at = NULL WHERE id = $1 AND deleted_at IS NULL";
        let done = sqlx::query(sql).bind(id(person)).execute(&mut *transaction).await?;
        known(done.rows_affected())?;
        forget_failures(&mut transaction, person).await?;
        Ok(transaction.commit().await?)
    }

    /// Deletes a person: verifiers, second factors, roles and tokens go, a tombstone with id and name stays, the name is free.
    pub async fn delete(&self, person: PersonId, at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE people SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
        let done = sqlx::query(sql).bind(id(person)).bind(time(at)).execute(&mut *transaction).await?;
        known(done.rows_affected())?;
        for sql in [
            "DELETE FROM verifiers WHERE person = $1",
            "DELETE FROM roles_held WHERE person = $1",
            "DELETE FROM tokens WHERE person = $1",
            "DELETE FROM failures WHERE person = $1",
            "DELETE FROM identities WHERE person = $1",
            "DELETE FROM scim_members WHERE person = $1",
            "DELETE FROM scim_users WHERE person = $1",
            "DELETE FROM totp WHERE person = $1",
            "DELETE FROM recovery_codes WHERE person = $1",
            "DELETE FROM passkeys WHERE person = $1",
        ] {
            sqlx::query(sql).bind(id(person)).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Replaces what the person's password is checked against, forgets failures, and revokes all tokens: a password that
    /// somebody else sets was forgotten, or leaked.
    pub async fn set_verifiers(
        &self,
        person: PersonId,
        verifiers: &Verifiers,
        at: Micros,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        replace_verifiers(&mut transaction, person, verifiers, at).await?;
        forget_failures(&mut transaction, person).await?;
        revoke_all(&mut transaction, person, at).await?;
        Ok(transaction.commit().await?)
    }

    /// Replaces the roles that the person holds.
    pub async fn set_roles(&self, person: PersonId, roles: &[String]) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        replace_roles(&mut transaction, person, roles).await?;
        Ok(transaction.commit().await?)
    }

    /// Returns the living in order of their names, the disabled included: what a list shows and a policy snapshot
    /// holds. All from one state of the database.
    pub async fn people(&self) -> Result<Vec<PersonRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let mut roles: HashMap<PersonId, Vec<String>> = HashMap::new();
        let held = "SELECT person, role FROM roles_held ORDER BY role";
        for row in sqlx::query(held).fetch_all(&mut *transaction).await? {
            let row = Reader(&row);
            roles.entry(row.person("person")?).or_default().push(row.text("role")?);
        }
        let living = "SELECT id, name, display_name, disabled_at, created_at FROM people \
                      WHERE deleted_at IS NULL ORDER BY name";
        let rows = sqlx::query(living).fetch_all(&mut *transaction).await?;
        rows.iter()
            .map(|row| {
                let row = Reader(row);
                let roles = roles.remove(&row.person("id")?).unwrap_or_default();
                person_row(&row, roles)
            })
            .collect()
    }

    /// Returns whose sign-in is locked at that time, and until when.
    pub async fn locks(&self, at: Micros) -> Result<HashMap<PersonId, Micros>, Error> {
        let sql = "SELECT person, locked_until FROM failures WHERE locked_until > $1";
        let rows = sqlx::query(sql).bind(time(at)).fetch_all(&self.readers()).await?;
        rows.iter()
            .map(|row| Ok((Reader(row).person("person")?, Reader(row).time("locked_until")?)))
            .collect()
    }

    /// Returns the living person of that identity.
    pub async fn person_of_id(&self, person: PersonId) -> Result<Option<PersonRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT id, name, display_name, disabled_at, created_at FROM people \
                   WHERE id = $1 AND deleted_at IS NULL";
        let Some(row) = sqlx::query(sql).bind(id(person)).fetch_optional(&mut *transaction).await? else {
            return Ok(None);
        };
        let roles = roles_of(&mut transaction, person).await?;
        person_row(&Reader(&row), roles).map(Some)
    }

    /// Returns the living person of that name.
    pub async fn person(&self, name: &str) -> Result<Option<PersonRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT id, name, display_name, disabled_at, created_at FROM people \
                   WHERE name = $1 AND deleted_at IS NULL";
        let Some(row) = sqlx::query(sql).bind(name).fetch_optional(&mut *transaction).await? else {
            return Ok(None);
        };
        let row = Reader(&row);
        let roles = roles_of(&mut transaction, row.person("id")?).await?;
        person_row(&row, roles).map(Some)
    }
}

/// Adds a person, whose name must be free among the living.
pub(crate) async fn insert_person(
    transaction: &mut Transaction,
    person: &NewPerson,
    at: Micros,
) -> Result<(), Error> {
    name_fits(&person.name)?;
    let sql = "INSERT INTO people (id, name, display_name, created_at) VALUES ($1, $2, $3, $4)";
    let added = sqlx::query(sql)
        .bind(id(person.id))
        .bind(&person.name)
        .bind(&person.display_name)
        .bind(time(at))
        .execute(&mut **transaction)
        .await;
    added.map_err(|error| name_taken(error, &person.name))?;
    replace_verifiers(transaction, person.id, &person.verifiers, at).await?;
    replace_roles(transaction, person.id, &person.roles).await
}

pub(crate) fn person_row(row: &Reader<'_>, roles: Vec<String>) -> Result<PersonRow, Error> {
    Ok(PersonRow {
        id: row.person("id")?,
        name: row.text("name")?,
        display_name: row.text("display_name")?,
        roles,
        disabled_at: row.time_if_any("disabled_at")?,
        created_at: row.time("created_at")?,
    })
}

pub(crate) async fn roles_of(connection: &mut AnyConnection, person: PersonId) -> Result<Vec<String>, Error> {
    let sql = "SELECT role FROM roles_held WHERE person = $1 ORDER BY role";
    let rows = sqlx::query(sql).bind(id(person)).fetch_all(connection).await?;
    rows.iter().map(|row| Reader(row).text("role")).collect()
}

/// Refuses to change somebody who is not there.
pub(crate) async fn lives(transaction: &mut Transaction, person: PersonId) -> Result<(), Error> {
    let sql = "SELECT 1 FROM people WHERE id = $1 AND deleted_at IS NULL";
    let found = sqlx::query(sql).bind(id(person)).fetch_optional(&mut **transaction).await?;
    found.map(|_| ()).ok_or(Error::UnknownPerson)
}

pub(crate) async fn forget_failures(transaction: &mut Transaction, person: PersonId) -> Result<(), Error> {
    let sql = "DELETE FROM failures WHERE person = $1";
    sqlx::query(sql).bind(id(person)).execute(&mut **transaction).await?;
    Ok(())
}

async fn replace_verifiers(
    transaction: &mut Transaction,
    person: PersonId,
    verifiers: &Verifiers,
    at: Micros,
) -> Result<(), Error> {
    let sql = "DELETE FROM verifiers WHERE person = $1";
    sqlx::query(sql).bind(id(person)).execute(&mut **transaction).await?;
    for (kind, verifier) in [("argon2id", &verifiers.password), ("scram-sha-256", &verifiers.scram)] {
        let Some(verifier) = verifier else { continue };
        sqlx::query("INSERT INTO verifiers (person, kind, verifier, set_at) VALUES ($1, $2, $3, $4)")
            .bind(id(person))
            .bind(kind)
            .bind(verifier)
            .bind(time(at))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

async fn replace_roles(
    transaction: &mut Transaction,
    person: PersonId,
    roles: &[String],
) -> Result<(), Error> {
    roles.iter().try_for_each(|role| role_fits(role))?;
    let sql = "DELETE FROM roles_held WHERE person = $1";
    sqlx::query(sql).bind(id(person)).execute(&mut **transaction).await?;
    for role in roles {
        sqlx::query("INSERT INTO roles_held (person, role) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(id(person))
            .bind(role)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

fn known(rows: u64) -> Result<(), Error> {
    if rows == 0 { Err(Error::UnknownPerson) } else { Ok(()) }
}

pub(crate) fn name_taken(error: sqlx::Error, name: &str) -> Error {
    let unique = error.as_database_error().is_some_and(|error| error.is_unique_violation());
    if unique { Error::NameTaken { name: name.to_owned() } } else { Error::Database(error) }
}
