//! What is known of accounts beyond how they sign in: what they are, whose, and when they were last used.

use std::collections::HashMap;

use model::{Micros, PersonId};

use crate::Registry;
use crate::database::{Reader, id, time};
use crate::error::Error;
use crate::people::lives;

/// What an account is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountKind {
    /// One human being.
    #[default]
    Person,
    /// A program that acts for itself.
    Service,
    /// Several human beings.
    Shared,
    /// A program that acts for a person, by leave of that person.
    Agent,
}

impl AccountKind {
    /// All kinds.
    pub const ALL: [AccountKind; 4] =
        [AccountKind::Person, AccountKind::Service, AccountKind::Shared, AccountKind::Agent];

    /// Returns the word for lists and the trail.
    pub fn name(self) -> &'static str {
        match self {
            AccountKind::Person => "person",
            AccountKind::Service => "service",
            AccountKind::Shared => "shared",
            AccountKind::Agent => "agent",
        }
    }

    /// Returns the kind of that name.
    pub fn named(name: &str) -> Option<AccountKind> {
        AccountKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What is known of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// What it is.
    pub kind: AccountKind,
    /// Who answers for it.
    pub owner: Option<PersonId>,
    /// Who agreed that it is there.
    pub approver: Option<PersonId>,
    /// Who reviews what it may do.
    pub manager: Option<PersonId>,
    /// When it last signed in.
    pub last_used_at: Option<Micros>,
}

/// What is known of an account at a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAccountRow {
    /// The resource.
    pub resource: String,
    /// The account there.
    pub account: String,
    /// Who answers for it.
    pub owner: Option<PersonId>,
    /// Who agreed that it is used.
    pub approver: Option<PersonId>,
    /// When Wardline last signed in with it.
    pub last_used_at: Option<Micros>,
}

impl Registry {
    /// Sets what is known of an account, but for its last use.
    pub async fn describe_account(&self, person: PersonId, details: &Details) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        lives(&mut transaction, person).await?;
        let sql = "INSERT INTO account_details (person, kind, owner, approver, manager) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (person) DO UPDATE SET kind = $2, owner = $3, approver = $4, manager = $5";
        sqlx::query(sql)
            .bind(id(person))
            .bind(details.kind.name())
            .bind(details.owner.map(id))
            .bind(details.approver.map(id))
            .bind(details.manager.map(id))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Sets who answers for an account at a resource.
    pub async fn describe_upstream(
        &self,
        resource: &str,
        account: &str,
        owner: Option<PersonId>,
        approver: Option<PersonId>,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql = "INSERT INTO upstream_accounts (resource, account, owner, approver) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (resource, account) DO UPDATE SET owner = $3, approver = $4";
        sqlx::query(sql)
            .bind(resource)
            .bind(account)
            .bind(owner.map(id))
            .bind(approver.map(id))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Notes when accounts were last used; an earlier time than is known changes nothing.
    pub async fn note_uses(
        &self,
        people: &[(PersonId, Micros)],
        upstream: &[(String, String, Micros)],
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        for (person, at) in people {
            let sql = "INSERT INTO account_details (person, kind, last_used_at) VALUES ($1, 'person', $2) \
                       ON CONFLICT (person) DO UPDATE SET last_used_at = $2 \
                       WHERE coalesce(account_details.last_used_at, 0) < $2";
            sqlx::query(sql).bind(id(*person)).bind(time(*at)).execute(&mut *transaction).await?;
        }
        for (resource, account, at) in upstream {
            let sql = "INSERT INTO upstream_accounts (resource, account, last_used_at) VALUES ($1, $2, $3) \
                       ON CONFLICT (resource, account) DO UPDATE SET last_used_at = $3 \
                       WHERE coalesce(upstream_accounts.last_used_at, 0) < $3";
            sqlx::query(sql).bind(resource).bind(account).bind(time(*at)).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Returns what an account is.
    pub async fn account_kind(&self, person: PersonId) -> Result<AccountKind, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT kind FROM account_details WHERE person = $1";
        let row = sqlx::query(sql).bind(id(person)).fetch_optional(&mut *transaction).await?;
        let Some(row) = row else { return Ok(AccountKind::Person) };
        AccountKind::named(&Reader(&row).text("kind")?).ok_or(Error::Damaged { column: "kind" })
    }

    /// Returns what is known of accounts, by person; who is not among them is a person.
    pub async fn account_details(&self) -> Result<HashMap<PersonId, Details>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT person, kind, owner, approver, manager, last_used_at FROM account_details";
        let rows = sqlx::query(sql).fetch_all(&mut *transaction).await?;
        rows.iter()
            .map(|row| {
                let row = Reader(row);
                let kind = AccountKind::named(&row.text("kind")?).ok_or(Error::Damaged { column: "kind" })?;
                let details = Details {
                    kind,
                    owner: row.person_if_any("owner")?,
                    approver: row.person_if_any("approver")?,
                    manager: row.person_if_any("manager")?,
                    last_used_at: row.time_if_any("last_used_at")?,
                };
                Ok((row.person("person")?, details))
            })
            .collect()
    }

    /// Returns what is known of accounts at resources, in the order of their names.
    pub async fn upstream_accounts(&self) -> Result<Vec<UpstreamAccountRow>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT resource, account, owner, approver, last_used_at FROM upstream_accounts \
                   ORDER BY resource, account";
        let rows = sqlx::query(sql).fetch_all(&mut *transaction).await?;
        rows.iter()
            .map(|row| {
                let row = Reader(row);
                Ok(UpstreamAccountRow {
                    resource: row.text("resource")?,
                    account: row.text("account")?,
                    owner: row.person_if_any("owner")?,
                    approver: row.person_if_any("approver")?,
                    last_used_at: row.time_if_any("last_used_at")?,
                })
            })
            .collect()
    }
}
