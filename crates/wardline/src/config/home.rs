//! `[registry]`: where people and what they may are kept, if not in the data folder.

use std::path::Path;

use registry::Server;

use super::read::Section;

/// Returns the server, where there is one: what its file says, which holds a password and is therefore apart.
pub(super) fn registry(top: &Section<'_, '_>, base: &Path) -> Option<Server> {
    let section = top.section("registry")?;
    let at = section.required("url_file", "\"registry.url\"")?;
    let path = base.join(&at.value);
    match Server::read(&path) {
        Ok(server) => Some(server),
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            let message = format!("`{}`: {} {error}{cause}", section.child("url_file"), path.display());
            let help = "name a file of mode 0600 with one line: `postgres://user:password@host/database?sslmode=\
                        verify-full&sslrootcert=FILE`";
            section.reader().error(at.offset, message, help);
            None
        }
    }
}
