//! The log for operators, on standard error: what happens to the process. Never a statement, a value or a secret.

use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts logging at a level or by a filter.
pub(crate) fn start(filter: &str, json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("`--log {filter}`: write error, warn, info, debug or a filter"))?;
    let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log);
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(coloured && io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("the log does not start: {error}"))
}

/// Standard error, which may be a file on a full disk or a pipe that nobody reads any more. What cannot be written is
/// lost and counted: a log must not stop what it is about, and the subscriber would panic over the error.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            metrics::counter!("wardline_log_lines_lost_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
