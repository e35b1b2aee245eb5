//! Opening the database, its transactions, and values as it holds them.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::{Micros, PersonId};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Row};

use crate::error::Error;
use crate::migrations::{Dialect, migrations};
use crate::server::Server;
use crate::{Pools, Registry};

/// A transaction on either database.
pub(crate) type Transaction = sqlx::Transaction<'static, sqlx::Any>;

const MODE: u32 = 0o600;
/// As many reads at once as there are cores on a large machine would be waste: each is some tens of microseconds.
const READERS_MAX: u32 = 4;
/// Waiting longer than this for a connection is an error, and sign-in then fails closed. Two processes meet at a file
/// only when a command is run beside the server; a write takes a millisecond.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What makes a connection to the file durable; the first is kept in the file, the others are of the connection.
const WRITER_PRAGMAS: [&str; 4] = [
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
];

/// Whoever writes holds this lock of the server for as long as the connection lives: the numbers of changes and what a
/// change has checked are one program's. The number is `wardline` in ASCII.
const TAKE_REGISTRY: &str = "SELECT pg_advisory_lock(8602286120990633573)";
/// PostgreSQL's `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Where a registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In this file.
    File(PathBuf),
    /// On this server.
    Postgres(Server),
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Home::File(path) => path.display().fmt(f),
            Home::Postgres(server) => server.fmt(f),
        }
    }
}

impl Registry {
    /// Opens the database in a file, making it (mode 0600) or bringing it up to date where needed.
    pub async fn open(path: &Path) -> Result<Registry, Error> {
        private_file(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        sqlx::any::install_default_drivers();
        // Apart from the pools, whose patience is that of a sign-in: a new file takes several flushes of the disk.
        let mut first = file_options(path, "rw")?.connect().await?;
        run(&mut first, &WRITER_PRAGMAS).await?;
        migrate(Dialect::Sqlite, &mut first).await?;
        let writer = pool(1, &WRITER_PRAGMAS).connect_with(file_options(path, "rw")?).await?;
        let readers = pool(READERS_MAX, &[]).connect_with(file_options(path, "ro")?).await?;
        first.close().await?;
        Ok(Registry::of(Pools { writer, readers, home: Home::File(path.to_owned()) }))
    }

    /// Opens the database on a server, making its tables or bringing them up to date where needed. One program at a
    /// time has it: [`Error::InUse`] while another one does.
    pub async fn open_on(server: &Server) -> Result<Registry, Error> {
        sqlx::any::install_default_drivers();
        // Asked apart: a pool would go on trying and then say only that it waited in vain.
        let mut alone = server.options(false).connect().await?;
        sqlx::query(TAKE_REGISTRY).execute(&mut alone).await.map_err(in_use)?;
        migrate(Dialect::Postgres, &mut alone).await?;
        alone.close().await?;
        let writer = pool(1, &[TAKE_REGISTRY]).connect_with(server.options(false)).await?;
        let readers = pool(READERS_MAX, &[]).connect_with(server.options(true)).await?;
        Ok(Registry::of(Pools { writer, readers, home: Home::Postgres(server.clone()) }))
    }

    /// Opens whichever it is.
    pub async fn open_at(home: &Home) -> Result<Registry, Error> {
        match home {
            Home::File(path) => Registry::open(path).await,
            Home::Postgres(server) => Registry::open_on(server).await,
        }
    }

    /// Returns where it is.
    pub fn home(&self) -> Home {
        self.pools().home
    }

    fn of(pools: Pools) -> Registry {
        Registry { pools: Arc::new(RwLock::new(pools)), change: None }
    }

    /// Returns the connections as they are now; they are cheap to clone.
    fn pools(&self) -> Pools {
        self.pools.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn writer(&self) -> AnyPool {
        self.pools().writer
    }

    pub(crate) fn readers(&self) -> AnyPool {
        self.pools().readers
    }

    /// Puts another registry in the place of this one, for all clones of this one, and returns what was there before. The
    /// other one goes on too, as the same.
    #[must_use]
    pub fn replace(&self, other: &Registry) -> Registry {
        let pools = other.pools();
        let mut held = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        Registry::of(std::mem::replace(&mut held, pools))
    }

    /// Closes the database, after what is under way.
    pub async fn close(&self) {
        self.readers().close().await;
        self.writer().close().await;
    }

    /// Returns the same registry, whose writes are the change of this number: the number is kept with what is written,
    /// in one transaction.
    #[must_use]
    pub fn as_change(&self, number: u64) -> Registry {
        Registry { change: Some(number), ..self.clone() }
    }

    /// Returns the number of the last change; 0 where none was numbered.
    pub async fn change(&self) -> Result<u64, Error> {
        let row = sqlx::query("SELECT number FROM changes WHERE one = 1").fetch_one(&self.readers()).await?;
        Reader(&row).number("number")
    }

    /// Writes nothing but the number given to [`Registry::as_change`].
    pub async fn mark(&self) -> Result<(), Error> {
        Ok(self.begin().await?.commit().await?)
    }

    /// Begins a write. It takes the lock at once, so that what it reads stays true until it commits.
    pub(crate) async fn begin(&self) -> Result<Transaction, Error> {
        let mut transaction = match self.home() {
            Home::File(_) => self.writer().begin_with("BEGIN IMMEDIATE").await?,
            Home::Postgres(_) => {
                let mut transaction =
                    self.writer().begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
                // Also against whoever came past the lock of the connection, such as through a pooler.
                let sql = "SELECT number FROM changes WHERE one = 1 FOR UPDATE";
                sqlx::query(sql).fetch_one(&mut *transaction).await?;
                transaction
            }
        };
        if let Some(number) = self.change {
            let sql = "UPDATE changes SET number = $1 WHERE one = 1 AND number < $1";
            sqlx::query(sql).bind(integer(number)).execute(&mut *transaction).await?;
        }
        Ok(transaction)
    }

    /// Begins a read of one state of the database.
    pub(crate) async fn begin_read(&self) -> Result<Transaction, Error> {
        Ok(match self.home() {
            Home::File(_) => self.readers().begin().await?,
            Home::Postgres(_) => {
                self.readers().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?
            }
        })
    }
}

/// Returns a pool whose connections each begin with these statements.
fn pool(connections_max: u32, first: &'static [&'static str]) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Whoever writes keeps the lock that their connection has.
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| Box::pin(run(connection, first)))
}

/// Makes the tables, or brings them up to date.
pub(crate) async fn migrate(dialect: Dialect, connection: &mut AnyConnection) -> Result<(), Error> {
    let migrated = migrations(dialect).run_direct(None, connection, false).await;
    migrated.map_err(|error| Error::Migrate(Box::new(error)))
}

async fn run(connection: &mut AnyConnection, statements: &[&'static str]) -> Result<(), sqlx::Error> {
    for sql in statements {
        sqlx::query(*sql).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Tells another program that has the registry from a server that fails.
fn in_use(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    if code.as_deref() == Some(LOCK_NOT_AVAILABLE) { Error::InUse } else { Error::Database(error) }
}

/// SQLite gives its `-wal` and `-shm` files the permissions of the database.
pub(crate) fn private_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o7777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(())
}

/// Returns the address of a file, in which only the plainest characters stand for themselves.
pub(crate) fn file_options(path: &Path, mode: &str) -> Result<AnyConnectOptions, Error> {
    let absolute =
        std::path::absolute(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let mut address = "sqlite://".to_owned();
    for byte in absolute.as_os_str().as_encoded_bytes() {
        match char::from(*byte) {
            plain if plain.is_ascii_alphanumeric() || "/._-".contains(plain) => address.push(plain),
            _ => address.push_str(&format!("%{byte:02X}")),
        }
    }
    let options = AnyConnectOptions::from_str(&format!("{address}?mode={mode}"))?;
    Ok(options.disable_statement_logging())
}

pub(crate) fn id(person: PersonId) -> Vec<u8> {
    person.0.to_be_bytes().to_vec()
}

/// A time past what the database can hold becomes the latest that it can: 292,000 years on.
pub(crate) fn time(at: Micros) -> i64 {
    integer(at.0)
}

pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads typed values out of a row; whatever is not as written is damage.
pub(crate) struct Reader<'r>(pub(crate) &'r AnyRow);

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
        let bytes: Vec<u8> = self.0.try_get(column).map_err(|_| Error::Damaged { column })?;
        bytes.try_into().map_err(|_: Vec<u8>| Error::Damaged { column })
    }

    pub(crate) fn person(&self, column: &'static str) -> Result<PersonId, Error> {
        Ok(PersonId(u128::from_be_bytes(self.bytes(column)?)))
    }

    pub(crate) fn person_if_any(&self, column: &'static str) -> Result<Option<PersonId>, Error> {
        let Some(bytes) = self.bytes_if_any(column)? else { return Ok(None) };
        let bytes = bytes.try_into().map_err(|_| Error::Damaged { column })?;
        Ok(Some(PersonId(u128::from_be_bytes(bytes))))
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
