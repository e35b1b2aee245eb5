//! The register of exceptions: each protection that the configuration switches off needs an entry, with a reason and an end,
//! that two people agreed to. One without is red: in `wardline check`, in the list, as an incident at each start and daily.
//!
//! It is in force with `[operators]`, which says who may ask and who may agree.

use std::sync::Arc;
use std::time::Duration;

use model::{Kind, Micros, Record};
use registry::Exception;
use tokio::task::JoinHandle;

use crate::config::{Config, UpstreamTls, YEARS_BY_LAW};
use crate::node::{DETAIL_BYTES_MAX, Node};
use crate::output;

/// How often it is looked whether an exception has ended.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// What is red is told again after this long.
const TELL_AGAIN_US: u64 = 86_400_000_000;

/// A protection that the configuration switches off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weakened {
    /// What exceptions call it.
    pub(crate) control: String,
    /// What that means.
    pub(crate) what: String,
}

/// Returns the protections that a configuration switches off.
pub(crate) fn weakened(config: &Config) -> Vec<Weakened> {
    let mut all = Vec::new();
    let mut add = |control: String, what: String| all.push(Weakened { control, what });
    if config.listener.plaintext {
        let what = format!("clients connect without TLS on {}", config.listener.address);
        add("listener.plaintext".to_owned(), what);
    }
    for (name, resource) in &config.resources {
        match &resource.tls {
            UpstreamTls::VerifyFull { .. } => {}
            UpstreamTls::NoVerify { .. } => {
                add(format!("resource.{name}.tls"), "its certificate is not verified".to_owned());
            }
            UpstreamTls::Disable { .. } => {
                add(format!("resource.{name}.tls"), "it is reached without TLS".to_owned());
            }
        }
        match &resource.protection {
            None => add(format!("resource.{name}.phi"), "its results leave as they come".to_owned()),
            Some(protection) if !protection.detects => {
                add(format!("resource.{name}.phi.detect"), "its text is not looked through".to_owned());
            }
            Some(_) => {}
        }
    }
    for (name, export) in &config.exports {
        if export.patients == export::Shown::Identifiers {
            let what = format!("identifiers of patients are sent in clear to {}", export.place());
            add(format!("export.{name}.patients"), what);
        }
    }
    if config.witnessing.is_none() {
        let what = "nobody else signs the log's checkpoints: its tail can be cut off unnoticed";
        add("trail.witness".to_owned(), what.to_owned());
    }
    if config.retention_years < YEARS_BY_LAW {
        let what = format!("entries may expire after {} years", config.retention_years);
        add("retention.years".to_owned(), what);
    }
    all
}

/// Returns those without an exception in force; none while the register is not in force.
pub(crate) fn red(config: &Config, exceptions: &[Exception], now: Micros) -> Vec<Weakened> {
    if config.operators.is_none() {
        return Vec::new();
    }
    let excused = |weakened: &Weakened| {
        exceptions.iter().any(|one| one.control == weakened.control && one.is_in_force(now))
    };
    weakened(config).into_iter().filter(|weakened| !excused(weakened)).collect()
}

/// Starts the task of `serve`.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut told = Told::default();
        loop {
            told.look(&node).await;
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    })
}

/// What was last told.
#[derive(Default)]
struct Told {
    red: Vec<Weakened>,
    at: Option<Micros>,
}

impl Told {
    async fn look(&mut self, node: &Node) {
        let exceptions = match node.registry.exceptions().await {
            Ok(exceptions) => exceptions,
            Err(error) => {
                tracing::error!(%error, "the register of exceptions cannot be read");
                return;
            }
        };
        let now = node.now();
        let red = red(&node.config.load(), &exceptions, now);
        metrics::gauge!("wardline_protections_red")
            .set(f64::from(u32::try_from(red.len()).unwrap_or(u32::MAX)));
        let again = self.at.is_none_or(|at| now.0.abs_diff(at.0) >= TELL_AGAIN_US);
        let more = red.iter().any(|one| !self.red.contains(one));
        if more || (again && !red.is_empty()) {
            tell(node, &red).await;
            self.at = Some(now);
        }
        self.red = red;
    }
}

async fn tell(node: &Node, red: &[Weakened]) {
    for Weakened { control, what } in red {
        tracing::error!(control, what, "PROTECTION SWITCHED OFF WITHOUT AN EXCEPTION");
    }
    let list: Vec<String> = red.iter().map(|one| format!("`{}` ({})", one.control, one.what)).collect();
    let mut record = Record::new(Kind::Incident, node.now());
    record.command = Some("exception".into());
    let said = format!("protections are switched off without an exception on file: {}", list.join(", "));
    record.detail = Some(output::clipped(&output::printable(&said), DETAIL_BYTES_MAX).into());
    if let Err(error) = node.record_urgent(&record).await {
        tracing::error!(%error, "an incident could not be recorded");
    }
}
