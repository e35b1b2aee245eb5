//! Which trail a command means: the configured node's own, or a copy somewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use model::RootKey;
use trail::{Disk, Folder};

use crate::cli::TrailPlace;
use crate::commands::configuration;
use crate::config::Config;
use crate::data::DataFolder;
use crate::keep;
use crate::node::load_root_key;

/// A trail's folder and what belongs to it.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// The same as readers see it: what is not in the folder any more comes from the store.
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root_key: Option<RootKey>,
    /// The node name that the trail must have.
    pub(crate) origin: Option<String>,
    /// The node whose own trail it is; reading it is recorded there.
    pub(crate) own: Option<Config>,
}

impl Place {
    /// Finds the trail that the arguments mean.
    pub(crate) fn of(file: &Path, arguments: &TrailPlace) -> anyhow::Result<Place> {
        if let Some(folder) = &arguments.trail {
            if !folder.is_dir() {
                bail!("there is no trail folder {}", folder.display());
            }
            let root_key = arguments.root_key.as_deref().map(load_root_key).transpose()?;
            let local = Folder::open(folder).with_context(|| format!("{}", folder.display()))?;
            let (folder, origin) = (folder.clone(), arguments.node.clone());
            return Ok(Place { folder, disk: Arc::new(local), root_key, origin, own: None });
        }
        let config = configuration(file)?;
        let data = DataFolder::at(&config.data);
        data.check()?;
        let folder = data.trail();
        if !folder.is_dir() {
            bail!("there is no trail at {} yet; it begins with the first change or start", folder.display());
        }
        let root_key = Some(load_root_key(&data.root_key())?);
        let origin = Some(keep::origin(&data, &config.node));
        Ok(Place { folder, disk: keep::disk(&config)?, root_key, origin, own: Some(config) })
    }

    /// Returns the root key, or says how to give it.
    pub(crate) fn needed_key(&self) -> anyhow::Result<&RootKey> {
        match &self.root_key {
            Some(key) => Ok(key),
            None => bail!("records are encrypted; give the trail's key with --root-key FILE"),
        }
    }
}
