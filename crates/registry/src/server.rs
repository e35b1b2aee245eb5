//! The address of a registry on PostgreSQL, out of a file that only its owner reads.
//!
//! The file holds one line, `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=FILE`. What is
//! not understood is refused, and so is a connection in clear to another machine: what the registry says decides who
//! gets in.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::any::AnyConnectOptions;
use thiserror::Error;

/// Longer than any address that means something.
const URL_BYTES_MAX: u64 = 4096;

/// What of the address may be said after the `?`.
const KNOWN: [&str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host"];

/// How long one statement may take, and how long it waits for a lock.
const STATEMENT_TIMEOUT_MS: &str = "10000";
const LOCK_TIMEOUT_MS: &str = "5000";
/// A transaction that its program forgot must not hold the registry.
const IDLE_TIMEOUT_MS: &str = "30000";
/// A machine that vanished lets go of the registry after half a minute.
const KEEPALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "15"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

/// Why an address was not taken. None of them repeats it: it holds a password.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The file could not be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// Others than the owner may read or write it.
    #[error("is open to others (mode {0:04o}): run `chmod 600` on it")]
    OpenToOthers(u32),
    /// It is not one line that is an address.
    #[error("does not hold `postgres://user:password@host:port/database` and nothing else")]
    Form,
    /// It says something that is not understood.
    #[error(
        "says `{0}`, which is not known here; known are sslmode, sslrootcert, sslcert, sslkey and host (a socket's folder)"
    )]
    Unknown(String),
    /// It would go over a network in clear, or to whoever answers.
    #[error(
        "reaches another machine without proving which: write `?sslmode=verify-full&sslrootcert=FILE` at its end; \
         `sslmode=disable` is for a loopback address or a socket"
    )]
    Unproven,
}

/// Where a registry on PostgreSQL is, and how to sign in there.
#[derive(Clone)]
pub struct Server {
    options: AnyConnectOptions,
    shown: String,
    plain: bool,
}

impl Server {
    /// Reads the address from a file of mode 0600.
    pub fn read(path: &Path) -> Result<Server, ServerError> {
        let file = File::open(path).map_err(ServerError::Read)?;
        // Asked of the open file, not of the path, so that what is checked is what is read.
        let mode = file.metadata().map_err(ServerError::Read)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(ServerError::OpenToOthers(mode));
        }
        let mut text = String::new();
        file.take(URL_BYTES_MAX).read_to_string(&mut text).map_err(ServerError::Read)?;
        Server::parse(text.trim())
    }

    /// Reads an address.
    pub fn parse(text: &str) -> Result<Server, ServerError> {
        let known = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if !known || text.contains(char::is_whitespace) {
            return Err(ServerError::Form);
        }
        let options = AnyConnectOptions::from_str(text).map_err(|_| ServerError::Form)?;
        let mut options = options.disable_statement_logging();
        let url = &mut options.database_url;
        let pairs: Vec<(String, String)> =
            url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
            return Err(ServerError::Unknown(name.chars().take(40).flat_map(char::escape_debug).collect()));
        }
        let said =
            |name: &str| pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let socket = said("host");
        if socket.is_some_and(|socket| !socket.starts_with('/')) {
            return Err(ServerError::Form);
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let database = url.path().trim_start_matches('/').to_owned();
        let named =
            !url.username().is_empty() && !database.is_empty() && (socket.is_some() || !host.is_empty());
        if !named {
            return Err(ServerError::Form);
        }
        let local = socket.is_some() || is_loopback(&host);
        let (mode, root) = (said("sslmode").map(str::to_owned), said("sslrootcert").is_some());
        let plain = match (mode.as_deref(), local, root) {
            (Some("verify-full") | None, _, true) => false,
            (Some("disable") | None, true, false) => true,
            _ => return Err(ServerError::Unproven),
        };
        let shown = format!(
            "postgres://{}@{}{}/{database}",
            url.username(),
            socket.unwrap_or(&host),
            url.port().map_or(String::new(), |port| format!(":{port}"))
        );
        let mode = if plain { "disable" } else { "verify-full" };
        url.query_pairs_mut().append_pair("sslmode", mode).append_pair("application_name", "wardline");
        Ok(Server { options, shown, plain })
    }

    /// Tells whether the connection is in clear: on this machine only.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Returns how to connect, for writing or reading.
    pub(crate) fn options(&self, read_only: bool) -> AnyConnectOptions {
        let mut options = self.options.clone();
        let mut pairs = options.database_url.query_pairs_mut();
        let mut set = |name: &str, value: &str| {
            pairs.append_pair(&format!("options[{name}]"), value);
        };
        // Durable when it says so, whatever the server's default is.
        set("synchronous_commit", "on");
        set("statement_timeout", STATEMENT_TIMEOUT_MS);
        set("lock_timeout", LOCK_TIMEOUT_MS);
        set("idle_in_transaction_session_timeout", IDLE_TIMEOUT_MS);
        KEEPALIVE.iter().for_each(|(name, value)| set(name, value));
        if read_only {
            set("default_transaction_read_only", "on");
        }
        drop(pairs);
        options
    }
}

/// Without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.shown).finish()
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Server) -> bool {
        self.options.database_url == other.options.database_url
    }
}

impl Eq for Server {}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown, plain) in [
            ("postgres://w:pw@127.0.0.1:5433/reg", "postgres://w@127.0.0.1:5433/reg", true),
            ("postgresql://w:pw@localhost/reg?sslmode=disable", "postgres://w@localhost/reg", true),
            ("postgres://w:pw@[::1]/reg", "postgres://w@[::1]/reg", true),
            ("postgres://w@x/reg?host=/run/pg", "postgres://w@/run/pg/reg", true),
            ("postgres://w:pw@db/reg?sslrootcert=/ca.pem", "postgres://w@db/reg", false),
            (
                "postgres://w:pw@127.0.0.1/reg?sslmode=verify-full&sslrootcert=a",
                "postgres://w@127.0.0.1/reg",
                false,
            ),
        ] {
            let server = Server::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((server.to_string().as_str(), server.is_plain()), (shown, plain), "{text}");
            assert!(!format!("{server:?}").contains("pw@"));
        }
    }

    #[test]
    fn what_is_weak_or_not_understood_is_refused_without_repeating_it() {
        for text in [
            "",
            "mysql://w:hush@db/reg",
            "postgres://w:hush@db",
            "postgres://:hush@db/reg",
            "postgres://w:hush@db/reg",
            "postgres://w:hush@db/reg?sslmode=require",
            "postgres://w:hush@db/reg?sslmode=disable",
            "postgres://w:hush@db/reg?sslmode=verify-ca&sslrootcert=/ca.pem",
            "postgres://w:hush@db/reg?sslmode=disable&sslrootcert=/ca.pem",
            "postgres://w:hush@127.0.0.1/reg?host=db.example.org",
            "postgres://w:hush@127.0.0.1/reg?options=-c%20synchronous_commit%3Doff",
            "postgres://w:hush@127.0.0.1.example.org/reg",
            "postgres://w:hush@127.0.0.1/reg\npostgres://w:hush@127.0.0.1/reg",
        ] {
            let error = Server::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn the_file_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.url");
        std::fs::write(&path, "postgres://w:pw@127.0.0.1/reg\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Server::read(&path), Err(ServerError::OpenToOthers(0o640))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Server::read(&path).unwrap();
        assert!(matches!(Server::read(folder.path().join("no").as_path()), Err(ServerError::Read(_))));
    }
}
