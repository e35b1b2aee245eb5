//! `wardline key escrow`, and root keys that come from such a file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use model::{RootKey, Secret};
use vault::{CUSTODIANS_MAX, Escrow, root_key_id};

use crate::admin::{Reply, Request};
use crate::commands::administer::{ask, unexpected};
use crate::commands::configuration;
use crate::data::{DataFolder, write_new};
use crate::node::load_root_key;
use crate::{output, prompt};

/// Longer than any escrow file, and than any root key.
const FILE_BYTES_MAX: u64 = 8_192;

#[derive(Debug, Args)]
#[command(after_help = "\
Seals the root key under passphrases that people keep, each their own; all of them open it. The file may lie anywhere, a
backup among it; `restore --root-key FILE` takes it in place of `root.key`, and asks for the passphrases. To be run under the
server's account, which can read `root.key`. After the root key changed, make another.

Examples:
  wardline key escrow --output root.escrow
  wardline --as kim key escrow --custodians 2 --output /mnt/backup/root.escrow
  wardline restore /mnt/backup --root-key /mnt/backup/root.escrow")]
pub(crate) struct EscrowArguments {
    /// File to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// How many passphrases are needed to open it
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=CUSTODIANS_MAX as i64))]
    custodians: u8,
    /// Read the passphrases from standard input, one a line
    #[arg(long)]
    passphrases_stdin: bool,
}

/// Runs `wardline key escrow`.
pub(crate) fn run(file: &Path, arguments: &EscrowArguments) -> anyhow::Result<ExitCode> {
    let config = configuration(file)?;
    let root = load_root_key(&DataFolder::at(&config.data).root_key())?;
    if arguments.output.exists() {
        bail!("{} is there already", arguments.output.display());
    }
    let passphrases = prompt::passphrases(arguments.custodians, !arguments.passphrases_stdin, true)?;
    let escrow = Escrow::seal(&root, &config.node, &passphrases)?;
    let request = Request::KeyEscrow { key_id: root_key_id(&root), custodians: arguments.custodians };
    // Recorded before the file is there.
    ask(file, request, |reply| {
        let Reply::Nothing {} = reply else { return unexpected() };
        write_new(&arguments.output, 0o600, escrow.to_string().as_bytes())
            .with_context(|| format!("writing {}", arguments.output.display()))?;
        output::line(&format!(
            "sealed root key {} for {} of {} passphrases: {}",
            escrow.key_id(),
            escrow.custodians(),
            escrow.custodians(),
            arguments.output.display()
        ));
        output::line("try it: `wardline drill` with this file as --root-key, on another machine");
        Ok(())
    })
}

/// Returns the root key in an escrow file, asking for its passphrases; `None` when the file is none.
pub(crate) fn root_key_of(path: &Path) -> anyhow::Result<Option<RootKey>> {
    let mut text = Vec::new();
    let opened = std::fs::File::open(path).with_context(|| format!("{}", path.display()))?;
    opened.take(FILE_BYTES_MAX).read_to_end(&mut text).with_context(|| format!("{}", path.display()))?;
    if !Escrow::is_escrow(&text) {
        return Ok(None);
    }
    let text = String::from_utf8(text).context("the escrow file")?;
    let escrow: Escrow = text.parse().with_context(|| format!("{}", path.display()))?;
    let count = u8::try_from(escrow.custodians()).unwrap_or(u8::MAX);
    let passphrases: Vec<Secret> = prompt::passphrases(count, prompt::is_terminal(), false)?;
    let root = escrow.open(&passphrases).with_context(|| format!("{}", path.display()))?;
    if root_key_id(&root) != escrow.key_id() {
        bail!("{} holds another root key than it says", path.display());
    }
    Ok(Some(root))
}
