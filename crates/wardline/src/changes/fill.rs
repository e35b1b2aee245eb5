//! The registry as a whole: filled from a file.

use std::path::Path;

use crate::admin::{Actor, Refusal, Reply};
use crate::changes::Change;
use crate::node::Node;
use crate::output::{self, hex};

/// A registry of a million people is smaller.
const FILE_BYTES_MAX: u64 = 1 << 30;

impl Node {
    /// Fills the registry, which must be empty, from a file that was one: after a restore, or to move to a server.
    pub(crate) async fn registry_import(&self, actor: &Actor, file: &Path) -> Result<Reply, Refusal> {
        let shown = output::printable(&file.display().to_string());
        let unreadable = |error: &std::io::Error| {
            Refusal::because(error).help(format!("`{shown}` must be a file that the server can read"))
        };
        let length = tokio::fs::metadata(file).await.map_err(|error| unreadable(&error))?.len();
        if length > FILE_BYTES_MAX {
            return Err(Refusal::new(format!("`{shown}` is longer than {FILE_BYTES_MAX} bytes")));
        }
        let bytes = tokio::fs::read(file).await.map_err(|error| unreadable(&error))?;
        let digest = hex(&crate::config::sha256(&bytes));
        let what = format!("fill the registry {} from {shown}, sha256 {digest}", self.registry.home());
        let change = Change::new(actor, "registry import", what);
        self.admitted(&change).await?;
        self.done(&change, self.registry.fill_from(file).await).await?;
        self.stand_as_filled().await?;
        self.publish(&self.config.load_full()).await?;
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Imported { people: people.len() })
    }
}
