//! `wardline init`: a first configuration with comments, and the root key. Never overwrites either.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::cli::Init;
use crate::config::{Config, Problems};
use crate::data::{DataFolder, write_new};
use crate::node::load_root_key;
use crate::output;

const TEMPLATE: &str = include_str!("init.toml");

/// Writes what is missing; what is there stays as it is.
pub(crate) fn run(file: &Path, arguments: &Init) -> anyhow::Result<ExitCode> {
    let node = match &arguments.node {
        Some(node) => node.clone(),
        None => host_name(),
    };
    let text = TEMPLATE.replace("NODE", &node);
    let loaded = Config::parse(file, &text);
    let Some(config) = loaded.config else {
        bail!(
            "`{node}` cannot be the name of a node; give another with --node\n{}",
            Problems(loaded.problems.0)
        );
    };
    let folder = DataFolder::at(&config.data);
    if folder.trail().exists() && !folder.root_key().exists() {
        // Says that the key must come from its backup: a new one would open nothing that is there.
        load_root_key(&folder.root_key())?;
    }
    match write_new(file, 0o644, text.as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!(
                "{} exists already and is left alone; remove it, or name another with --config",
                file.display()
            )
        }
        Err(error) => return Err(error).with_context(|| format!("writing {}", file.display())),
    }
    folder.create()?;
    folder.check()?;
    let key = folder.root_key();
    let fresh = !key.exists();
    if fresh {
        vault::root_key_create(&key)?;
    }
    let shown_file = file.display();
    let shown_key = key.display();
    output::line(&format!("wrote {shown_file}"));
    if fresh {
        output::line(&format!(
            "wrote {shown_key}: keep a copy apart from backups of the data; without it nothing can be read"
        ));
    } else {
        output::line(&format!("kept {shown_key}"));
    }
    output::line("next: add a resource to the file, then");
    output::line("  wardline vault set RESOURCE --user USER");
    output::line("  wardline user add NAME --role ROLE");
    output::line("  wardline serve");
    Ok(ExitCode::SUCCESS)
}

/// Returns the host's name without its domain.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().split('.').next().unwrap_or_default();
    if name.is_empty() { "gw1".to_owned() } else { name.to_owned() }
}
