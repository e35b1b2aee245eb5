//! `wardline phi …`: what of a resource is protected, proposed and explained.

mod compare;
mod explain;
mod scan;
mod write;

use std::path::Path;
use std::process::ExitCode;

use crate::cli::Phi;

/// Runs `wardline phi …`.
pub(crate) fn run(file: &Path, command: &Phi) -> anyhow::Result<ExitCode> {
    match command {
        Phi::Scan(arguments) => scan::run(file, arguments),
        Phi::Explain(arguments) => explain::run(file, arguments),
    }
}
