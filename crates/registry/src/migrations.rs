//! The tables, in their versions, for both databases.
//!
//! The files are written for SQLite. PostgreSQL gets the same text after two substitutions, of whole words: `BLOB` is
//! `BYTEA` there, and `TEXT` is compared byte by byte (`COLLATE "C"`), as SQLite does it whatever the locale.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// All migrations, oldest first. A released one is never edited: its checksum is in every database.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "people", include_str!("../migrations/0001_people.sql")),
    (2, "changes", include_str!("../migrations/0002_changes.sql")),
    (3, "agreements", include_str!("../migrations/0003_agreements.sql")),
    (4, "locks", include_str!("../migrations/0004_locks.sql")),
    (5, "access", include_str!("../migrations/0005_access.sql")),
    (6, "emergencies", include_str!("../migrations/0006_emergencies.sql")),
    (7, "exceptions", include_str!("../migrations/0007_exceptions.sql")),
    (8, "factors", include_str!("../migrations/0008_factors.sql")),
    (10, "departures", include_str!("../migrations/0010_departures.sql")),
    (11, "identities", include_str!("../migrations/0011_identities.sql")),
    (12, "training", include_str!("../migrations/0012_training.sql")),
    (13, "accounts", include_str!("../migrations/0013_accounts.sql")),
    (14, "campaigns and policies", include_str!("../migrations/0014_campaigns_and_policies.sql")),
];

/// The words that PostgreSQL says otherwise.
const SAID_OTHERWISE: [(&str, &str); 2] = [("BLOB", "BYTEA"), ("TEXT", "TEXT COLLATE \"C\"")];

/// Which database the tables are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// Returns the migrations for a database.
pub(crate) fn migrations(dialect: Dialect) -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        let sql = match dialect {
            Dialect::Sqlite => sql.into_sql_str(),
            Dialect::Postgres => AssertSqlSafe(for_postgres(sql)).into_sql_str(),
        };
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().copied().map(migration).collect())
}

fn for_postgres(sql: &str) -> String {
    let mut said = String::with_capacity(sql.len() * 2);
    let mut rest = sql;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
        let (this, after) = rest.split_at(word);
        let other = SAID_OTHERWISE.iter().find(|(from, _)| *from == this);
        said.push_str(other.map_or(this, |(_, to)| to));
        let between = after.find(is_of_word).unwrap_or(after.len());
        let (marks, after) = after.split_at(between);
        said.push_str(marks);
        rest = after;
    }
    said
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_said_otherwise_and_nothing_else() {
        let said = for_postgres("CREATE TABLE a (id BLOB, BLOBS TEXT NOT NULL, x_TEXT BIGINT);\n");
        assert_eq!(said, "CREATE TABLE a (id BYTEA, BLOBS TEXT COLLATE \"C\" NOT NULL, x_TEXT BIGINT);\n");
    }

    /// Types that `sqlx::Any` does not carry, and what only SQLite understands.
    #[test]
    fn migrations_use_what_both_databases_have() {
        for (version, name, sql) in MIGRATIONS {
            for line in sql.lines().filter(|line| !line.trim_start().starts_with("--")) {
                let word = line.split(|c: char| !is_of_word(c)).find(|word| {
                    [
                        "BOOLEAN",
                        "TIMESTAMP",
                        "DATETIME",
                        "AUTOINCREMENT",
                        "REAL",
                        "STRFTIME",
                        "PRAGMA",
                        "REPLACE",
                    ]
                    .contains(&word.to_ascii_uppercase().as_str())
                });
                assert!(word.is_none(), "{version} {name}: {word:?} in `{line}`");
            }
        }
    }
}
