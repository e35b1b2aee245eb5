//! `[registry]`: where people and what they may are kept, if not in the data folder.
//!
//! The address is in a file of its own, because it holds a password. It is read when it is needed: a restored
//! configuration comes without it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use registry::Server;

use super::Config;
use super::read::Section;

/// Returns the file with the address, where there is one.
pub(super) fn registry(top: &Section<'_, '_>, base: &Path) -> Option<PathBuf> {
    let section = top.section("registry")?;
    let at = section.required("url_file", "\"registry.url\"")?;
    Some(base.join(at.value))
}

impl Config {
    /// Returns the server that has the registry, where it is not in the data folder.
    pub(crate) fn registry_server(&self) -> anyhow::Result<Option<Server>> {
        let Some(path) = &self.registry else { return Ok(None) };
        let server = Server::read(path);
        Ok(Some(server.with_context(|| format!("`registry.url_file`: {}", path.display()))?))
    }
}
