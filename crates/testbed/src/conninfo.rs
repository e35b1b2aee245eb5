//! How to reach a PostgreSQL: what every client program takes, through the environment variables of libpq.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

/// What a client insists on about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS, with no check of the certificate.
    Require,
    /// TLS, with the certificate and the host's name checked.
    VerifyFull,
}

impl SslMode {
    /// Returns libpq's word.
    pub fn word(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Require => "require",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

/// How to reach a PostgreSQL. The password is for a test server: it is printed and passed about freely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conninfo {
    /// A host name, an address or the folder of a Unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
    /// The database.
    pub dbname: String,
    /// What to insist on about TLS.
    pub sslmode: SslMode,
    /// Whom to trust with `verify-full`.
    pub root_cert: Option<PathBuf>,
}

impl Conninfo {
    /// Reads libpq's environment variables.
    ///
    /// # Errors
    /// One is missing or has no meaning here.
    pub fn from_env() -> Result<Conninfo> {
        let get = |name: &str| std::env::var(name).with_context(|| format!("`{name}` is not set"));
        let word = std::env::var("PGSSLMODE").unwrap_or_else(|_| "verify-full".to_owned());
        let modes = [SslMode::Disable, SslMode::Require, SslMode::VerifyFull];
        let sslmode = modes.into_iter().find(|mode| mode.word() == word);
        Ok(Conninfo {
            host: get("PGHOST")?,
            port: get("PGPORT")?.parse().context("`PGPORT` is no port")?,
            user: get("PGUSER")?,
            password: get("PGPASSWORD")?,
            dbname: get("PGDATABASE")?,
            sslmode: sslmode.with_context(|| format!("`PGSSLMODE` is `{word}`"))?,
            root_cert: std::env::var_os("PGSSLROOTCERT").map(PathBuf::from),
        })
    }

    /// Returns the same for another database.
    #[must_use]
    pub fn with_dbname(mut self, dbname: &str) -> Conninfo {
        dbname.clone_into(&mut self.dbname);
        self
    }

    /// Returns the same for another user.
    #[must_use]
    pub fn with_user(mut self, user: &str, password: &str) -> Conninfo {
        user.clone_into(&mut self.user);
        password.clone_into(&mut self.password);
        self
    }

    /// Returns libpq's environment variables.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", self.dbname.clone()),
            ("PGSSLMODE", self.sslmode.word().to_owned()),
            ("PGCONNECT_TIMEOUT", "10".to_owned()),
            ("PGCLIENTENCODING", "UTF8".to_owned()),
            ("PGGSSENCMODE", "disable".to_owned()),
        ];
        if let Some(root_cert) = &self.root_cert {
            env.push(("PGSSLROOTCERT", root_cert.display().to_string()));
        }
        env
    }

    /// Gives the command these variables and takes away whatever else of the kind it would inherit.
    pub fn apply(&self, command: &mut Command) {
        for (name, _) in std::env::vars() {
            if name.starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.envs(self.env());
        // Nothing of the person's own settings: neither ~/.pgpass nor ~/.postgresql.
        command.env("PGPASSFILE", "/dev/null").env("PGSYSCONFDIR", "/nonexistent");
    }

    /// Returns `postgresql://user:password@host:port/dbname?sslmode=…`.
    pub fn uri(&self) -> String {
        let root =
            self.root_cert.as_ref().map(|p| format!("&sslrootcert={}", p.display())).unwrap_or_default();
        format!(
            "postgresql://{}:{}@{}:{}/{}?sslmode={}{root}",
            self.user,
            self.password,
            self.host,
            self.port,
            self.dbname,
            self.sslmode.word()
        )
    }
}
