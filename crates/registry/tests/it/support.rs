use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use model::{Micros, PersonId, Shown};
use registry::{Home, NewPerson, Registry, Server, TokenRow, Verifiers};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;

pub(super) const NOW: Micros = Micros(1_000_000);

/// Where this is set, every test has its registry in a fresh database of that server: its address up to the database's
/// name. Set by the test that runs all others again (`postgres`), and by nobody else.
pub(super) const SERVER: &str = "WARDLINE_TEST_REGISTRY_SERVER";

static DATABASES: AtomicU32 = AtomicU32::new(0);

pub(super) struct Opened {
    folder: TempDir,
    pub(super) registry: Registry,
}

impl Opened {
    pub(super) async fn new() -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let registry = match std::env::var(SERVER) {
            Ok(server) => Registry::open_on(&fresh(&server).await).await.unwrap(),
            Err(_) => Registry::open(&folder.path().join("registry.sqlite")).await.unwrap(),
        };
        Opened { folder, registry }
    }

    /// The same opened again, by the only program that has it.
    pub(super) async fn again(&self) -> Registry {
        self.registry.close().await;
        Registry::open_at(&self.registry.home()).await.unwrap()
    }

    /// As another program, where two may be at it.
    pub(super) async fn beside(&self) -> Registry {
        match self.registry.home() {
            Home::File(path) => Registry::open(&path).await.unwrap(),
            Home::Postgres(_) => self.registry.clone(),
        }
    }

    /// The database beneath.
    pub(super) async fn beneath(&self) -> sqlx::AnyConnection {
        let url = match self.registry.home() {
            Home::File(path) => format!("sqlite://{}", path.display()),
            Home::Postgres(server) => {
                let database = server.to_string().rsplit('/').next().unwrap().to_owned();
                format!("{}/{database}?sslmode=disable", std::env::var(SERVER).unwrap())
            }
        };
        sqlx::AnyConnection::connect(&url).await.unwrap()
    }

    /// Where it is a file.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("registry.sqlite")
    }
}

/// How many cases are tried: fewer where each of them makes a database.
pub(super) fn cases(usual: u32) -> u32 {
    if std::env::var_os(SERVER).is_some() { usual.div_ceil(8) } else { usual }
}

/// Returns a fresh database of a server.
pub(super) async fn fresh(server: &str) -> Server {
    let name = format!("registry_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let sql = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    Server::parse(&format!("{server}/{name}")).unwrap()
}

/// A registry with `nina`, person 7.
pub(super) async fn with_nina() -> Opened {
    let opened = Opened::new().await;
    opened.registry.add_person(&new_person(7, "nina"), NOW).await.unwrap();
    opened
}

pub(super) fn new_person(id: u128, name: &str) -> NewPerson {
    NewPerson {
        id: PersonId(id),
        name: name.to_owned(),
        display_name: format!("{name} the first"),
        roles: vec!["nurse".to_owned(), "analyst".to_owned()],
        verifiers: verifiers("one"),
    }
}

pub(super) fn verifiers(mark: &str) -> Verifiers {
    Verifiers { password: Some(format!("phc {mark}")), scram: Some(format!("scram {mark}")) }
}

/// Token number `id` of person 7, alive from `NOW` until `expires`.
pub(super) fn token(id: u8, expires: u64) -> TokenRow {
    TokenRow {
        id: [id; 16],
        person: PersonId(7),
        digest: [id; 32],
        scram: Some(format!("scram of token {id}")),
        issued_at: NOW,
        expires_at: Micros(expires),
        revoked_at: None,
        shown: Shown::with_factor("password+totp", NOW),
    }
}
