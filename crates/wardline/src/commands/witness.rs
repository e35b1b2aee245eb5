//! `wardline witness`: watches logs of others, for them and for whoever reads them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use tlog::{NoteVerifier, Policy};

use crate::witness::memory::Memory;
use crate::witness::server::{self, Place};
use crate::{logging, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Runs on a machine that the operator of the log does not control. It signs which checkpoints it saw, and never one that
does not continue the one before: so nobody, with all keys of the log, can show two histories. It needs no configuration
file, reads no entry, and its folder must be kept: a witness that forgot could be shown another history.

Examples:
  wardline witness /var/lib/witness --name witness.example.org/w1 --print-key
  wardline witness /var/lib/witness --log gw1+0f3a1b2c+AQOhB7... --address 127.0.0.1:7443
  wardline witness /var/lib/witness --policy logs.policy --address 0.0.0.0:7443 --certificate w.pem --key w.key

Exit codes: 0 ended by a signal, 2 could not run.")]
pub(crate) struct Witness {
    /// Folder of its key and of what it has seen; made at the first start
    directory: PathBuf,
    /// Name of its key, such as a host and a path; needed at the first start
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Verifier key of a log to watch, as in the `verifier.txt` of its trail; may be given several times
    #[arg(long = "log", value_name = "KEY")]
    logs: Vec<NoteVerifier>,
    /// Policy file (C2SP tlog-policy) whose `log` lines are watched too
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where to listen; beyond this machine only with a certificate
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7443")]
    address: SocketAddr,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Print the public key for policies, and end
    #[arg(long)]
    print_key: bool,
    /// Write the log as JSON lines
    #[arg(long)]
    log_json: bool,
}

/// Witnesses until told to stop.
pub(crate) fn run(arguments: &Witness) -> anyhow::Result<ExitCode> {
    let mut logs = arguments.logs.clone();
    if let Some(path) = &arguments.policy {
        let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        let policy = Policy::parse(&bytes).with_context(|| format!("{}", path.display()))?;
        logs.extend(policy.logs().iter().map(|log| log.key.clone()));
    }
    if logs.is_empty() && !arguments.print_key {
        bail!("there is no log to watch: give --log KEY, or --policy FILE with a `log` line");
    }
    let memory = Memory::open(&arguments.directory, arguments.name.as_deref(), logs)?;
    if arguments.print_key {
        output::line(&memory.verifier().to_string());
        return Ok(ExitCode::SUCCESS);
    }
    logging::start("info", arguments.log_json)?;
    for log in memory.logs() {
        tracing::info!(%log, seen = memory.last(log.name())?.map(|last| last.size()), "watching");
    }
    output::line(&format!("key: {}", memory.verifier()));
    let tls = arguments.certificate.clone().zip(arguments.key.clone());
    let place = Place { address: arguments.address, tls };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(server::serve(memory, &place))?;
    Ok(ExitCode::SUCCESS)
}
