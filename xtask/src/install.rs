//! What a fresh Debian machine with Rust lacks, and how it gets there.
//!
//! Each need is probed by the file or program itself, so a machine that has it from elsewhere is left alone.
//! Deliberately absent: any other source than the distribution's packages and crates.io.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{announce, on_path, quiet, run};

/// One thing that must be there, why, and the Debian packages that bring it.
struct Need {
    why: &'static str,
    packages: &'static [&'static str],
    present: fn() -> bool,
}

const BUILD: &[Need] = &[
    Need {
        why: "C parts of the cryptography, the SQL grammar and SQLite",
        packages: &["gcc", "libc6-dev", "make", "perl"],
        present: || ["cc", "make", "perl"].iter().all(|program| on_path(program)),
    },
    Need { why: "bindings to the SQL grammar", packages: &["libclang-dev"], present: libclang },
    Need {
        why: "a private PostgreSQL, psql, pgbench",
        packages: &["postgresql-15", "postgresql-client-15"],
        present: || postgres() && on_path("psql"),
    },
];

const TEST: &[Need] = &[
    Need {
        why: "the gateway benchmark's yardstick",
        packages: &["pgbouncer"],
        present: || on_path("pgbouncer") || Path::new("/usr/sbin/pgbouncer").exists(),
    },
    Need {
        why: "a generator of statements for the two worlds",
        packages: &["sqlsmith"],
        present: || on_path("sqlsmith"),
    },
    Need {
        why: "the JDBC client",
        packages: &["default-jdk-headless", "libpostgresql-jdbc-java"],
        present: || on_path("javac") && Path::new("/usr/share/java/postgresql.jar").exists(),
    },
    Need { why: "the Node.js client", packages: &["nodejs"], present: || on_path("node") },
    Need { why: "the Node.js client", packages: &["npm"], present: || on_path("npm") },
    Need {
        why: "an independent witness of what reached the database",
        packages: &["postgresql-15-pgaudit"],
        present: || Path::new("/usr/lib/postgresql/15/lib/pgaudit.so").exists(),
    },
    Need {
        why: "the Python clients",
        packages: &["python3", "python3-pip"],
        present: || {
            on_path("python3") && quiet(Command::new("python3").args(["-m", "pip", "--version"])).is_ok()
        },
    },
    Need {
        why: "the Python verifier of the log",
        packages: &["python3", "python3-cryptography"],
        present: || {
            let import = |python| quiet(Command::new(python).args(["-c", "import cryptography"])).is_ok();
            import("python3") || import("/usr/bin/python3")
        },
    },
    Need {
        why: "TLS of old versions, which must be refused, and signals to servers under test",
        packages: &["openssl", "procps"],
        present: || on_path("openssl") && on_path("kill"),
    },
    Need {
        why: "the Go verifier of the log",
        packages: &["golang-go", "golang-golang-x-mod-dev"],
        present: || on_path("go") && Path::new("/usr/share/gocode/src/golang.org/x/mod/sumdb/note").exists(),
    },
];

/// Installs what building and running the product needs.
pub(crate) fn for_demo() -> Result<()> {
    install(BUILD)
}

/// Installs what the tests need beyond that.
pub(crate) fn for_tests() -> Result<()> {
    install(BUILD)?;
    install(TEST)?;
    nextest()
}

fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages.iter().copied()).collect();
    for need in &missing {
        announce(&format!("installing {} ({})", need.packages.join(" "), need.why));
    }
    let wanted = packages.join(" ");
    if !on_path("apt-get") {
        bail!(
            "this machine lacks Debian's packages {wanted}, and has no apt-get: install their like by hand"
        );
    }
    let prefix = privilege().with_context(|| {
        format!("cannot install packages; as root, run: apt-get install --no-install-recommends {wanted}")
    })?;
    apt(&prefix, &["update"])?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(&packages);
    apt(&prefix, &args)?;
    for need in missing {
        if !(need.present)() {
            bail!(
                "{} were installed, but what they are for is still not found: {}",
                need.packages.join(" "),
                need.why
            );
        }
    }
    Ok(())
}

/// Returns the words to put before apt-get: none as root, sudo where there is one.
fn privilege() -> Result<Vec<&'static str>> {
    if std::fs::metadata("/proc/self").context("cannot read /proc")?.uid() == 0 {
        return Ok(vec!["env"]);
    }
    if !on_path("sudo") {
        bail!("neither root nor sudo is to be had");
    }
    // Without a terminal nobody can type a password: say so at once instead of hanging.
    let unattended = !std::io::stdin().is_terminal();
    Ok(if unattended { vec!["sudo", "-n", "env"] } else { vec!["sudo", "env"] })
}

fn apt(prefix: &[&str], args: &[&str]) -> Result<()> {
    let (program, rest) = prefix.split_first().context("no program")?;
    let mut command = Command::new(program);
    command.args(rest).args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(args);
    quiet(&mut command).map(|_| ())
}

fn nextest() -> Result<()> {
    if on_path("cargo-nextest") {
        return Ok(());
    }
    announce("installing cargo-nextest, the test runner (some minutes)");
    run(&mut crate::run::cargo(["install", "--locked", "--quiet", "cargo-nextest"]))
}

fn libclang() -> bool {
    // `libclang-cpp`, which other packages bring, has no C interface and does not serve.
    let serves = |name: &str| {
        name.starts_with("libclang") && !name.starts_with("libclang-cpp") && name.contains(".so")
    };
    let has = |dir: &Path| {
        std::fs::read_dir(dir)
            .is_ok_and(|entries| entries.flatten().any(|entry| serves(&entry.file_name().to_string_lossy())))
    };
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let versions = std::fs::read_dir("/usr/lib").map(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join("lib").is_dir())
            .collect::<Vec<_>>()
    });
    versions.unwrap_or_default().iter().any(|llvm| {
        llvm.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-"))
            && has(&llvm.join("lib"))
    })
}

fn postgres() -> bool {
    std::fs::read_dir("/usr/lib/postgresql")
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.path().join("bin/initdb").exists()))
}
