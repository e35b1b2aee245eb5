//! Opening the file, migrations, and values as SQLite holds them.

use std::borrow::Cow;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use model::{Micros, PersonId};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row, SqlSafeStr, Sqlite, Transaction};

use crate::Registry;
use crate::error::Error;

const MODE: u32 = 0o600;
/// Two processes meet only when a command is run beside the server; a write takes a millisecond.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// As many reads at once as there are cores on a large machine would be waste: each is some tens of microseconds.
const READERS_MAX: u32 = 4;
/// Waiting longer than this for a connection is an error, and sign-in then fails closed.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// All migrations, oldest first. A released one is never edited: its checksum is in every database.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "people", include_str!("../migrations/0001_people.sql")),
    (2, "changes", include_str!("../migrations/0002_changes.sql")),
    (3, "agreements", include_str!("../migrations/0003_agreements.sql")),
    (4, "locks", include_str!("../migrations/0004_locks.sql")),
    (5, "access", include_str!("../migrations/0005_access.sql")),
    (10, "departures", include_str!("../migrations/0010_departures.sql")),
    (11, "identities", include_str!("../migrations/0011_identities.sql")),
];

impl Registry {
    /// Opens the database, making it (mode 0600) or bringing it up to date where needed.
    pub async fn open(path: &Path) -> Result<Registry, Error> {
        private_file(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await?;
        migrations().run(&writer).await.map_err(|error| Error::Migrate(Box::new(error)))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Registry { writer, readers, change: None })
    }

    /// Closes the database, after what is under way.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Returns the same registry, whose writes are the change of this number: the number is kept with what is written,
    /// in one transaction.
    #[must_use]
    pub fn as_change(&self, number: u64) -> Registry {
        Registry { change: Some(number), ..self.clone() }
    }

    /// Returns the number of the last change; 0 where none was numbered.
    pub async fn change(&self) -> Result<u64, Error> {
        let row = sqlx::query("SELECT number FROM changes WHERE one = 1").fetch_one(&self.readers).await?;
        Reader(&row).number("number")
    }

    /// Writes nothing but the number given to [`Registry::as_change`].
    pub async fn mark(&self) -> Result<(), Error> {
        Ok(self.begin().await?.commit().await?)
    }

    /// Writes a copy of the database, as of one moment, into a file that is new or empty. Others go on meanwhile.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Error> {
        private_file(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let named = path.display().to_string();
        sqlx::query("VACUUM INTO $1").bind(named).execute(&self.writer).await?;
        Ok(())
    }

    /// Begins a write. It takes the lock at once, so that what it reads stays true until it commits.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(number) = self.change {
            let sql = "UPDATE changes SET number = $1 WHERE one = 1 AND number < $1";
            sqlx::query(sql).bind(integer(number)).execute(&mut *transaction).await?;
        }
        Ok(transaction)
    }

    /// Begins a read of one state of the database.
    pub(crate) async fn begin_read(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        Ok(self.readers.begin().await?)
    }
}

/// SQLite gives its `-wal` and `-shm` files the permissions of the database.
fn private_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o7777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(())
}

fn migrations() -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        let name = Cow::Borrowed(name);
        Migration::new(version, name, MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

pub(crate) fn id(person: PersonId) -> Vec<u8> {
    person.0.to_be_bytes().to_vec()
}

/// A time past what SQLite can hold becomes the latest that it can: 292,000 years on.
pub(crate) fn time(at: Micros) -> i64 {
    integer(at.0)
}

pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads typed values out of a row; whatever is not as written is damage.
pub(crate) struct Reader<'r>(pub(crate) &'r SqliteRow);

impl Reader<'_> {
    pub(crate) fn text(&self, column: &'static str) -> Result<String, Error> {
        self.0.try_get(column).map_err(|_| Error::Damaged { column })
    }

    pub(crate) fn text_if_any(&self, column: &'static str) -> Result<Option<String>, Error> {
        self.0.try_get(column).map_err(|_| Error::Damaged { column })
    }

    pub(crate) fn bytes_if_any(&self, column: &'static str) -> Result<Option<Vec<u8>>, Error> {
        self.0.try_get(column).map_err(|_| Error::Damaged { column })
    }

    pub(crate) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], Error> {
        let bytes: &[u8] = self.0.try_get(column).map_err(|_| Error::Damaged { column })?;
        bytes.try_into().map_err(|_| Error::Damaged { column })
    }

    pub(crate) fn person(&self, column: &'static str) -> Result<PersonId, Error> {
        Ok(PersonId(u128::from_be_bytes(self.bytes(column)?)))
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Micros, Error> {
        self.time_if_any(column)?.ok_or(Error::Damaged { column })
    }

    pub(crate) fn time_if_any(&self, column: &'static str) -> Result<Option<Micros>, Error> {
        let value: Option<i64> = self.0.try_get(column).map_err(|_| Error::Damaged { column })?;
        let time = value.map(|value| u64::try_from(value).map(Micros)).transpose();
        time.map_err(|_| Error::Damaged { column })
    }

    pub(crate) fn number(&self, column: &'static str) -> Result<u64, Error> {
        let value: i64 = self.0.try_get(column).map_err(|_| Error::Damaged { column })?;
        u64::try_from(value).map_err(|_| Error::Damaged { column })
    }

    pub(crate) fn count_if_any(&self, column: &'static str) -> Result<Option<u32>, Error> {
        let value: Option<i64> = self.0.try_get(column).map_err(|_| Error::Damaged { column })?;
        value.map(u32::try_from).transpose().map_err(|_| Error::Damaged { column })
    }
}
