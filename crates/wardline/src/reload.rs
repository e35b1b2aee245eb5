//! SIGHUP: the configuration is read again. Valid, it is recorded and comes into force; invalid, nothing changes.

use std::path::Path;
use std::sync::Arc;

use model::{Kind, Outcome, Phase, Record};

use crate::config::{Config, Severity};
use crate::node::{Node, Subjects, Upstreams, compile, config_activated};
use crate::{output, upstream};

/// Reads the configuration again. Whatever is wrong with it, the one in force stays.
pub(crate) async fn reload(node: &Node, file: &Path) {
    let _turn = node.turn.lock().await;
    let (config, upstreams) = match read(node, file).await {
        Ok(read) => read,
        Err(reason) => return refuse(node, &reason).await,
    };
    if let Err(error) = activate(node, config, upstreams).await {
        refuse(node, &error.to_string()).await;
    }
}

/// Reads and compiles everything, so that what is recorded afterwards cannot fail.
async fn read(node: &Node, file: &Path) -> Result<(Config, Upstreams), String> {
    let loaded = Config::load(file);
    for problem in &loaded.problems.0 {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
        }
    }
    let Some(mut config) = loaded.config else {
        let errors = loaded.problems.count(Severity::Error);
        let first = loaded.problems.0.iter().find(|problem| problem.severity == Severity::Error);
        let first = first.map(ToString::to_string).unwrap_or_default();
        return Err(format!("{errors} errors, the first: {first}"));
    };
    keep_what_needs_a_start(&node.config.load(), &mut config);
    let upstreams = upstream::table(&config, &node.keys).map_err(|error| format!("{error:#}"))?;
    let subjects = Subjects::read(&node.registry).await.map_err(|error| error.to_string())?;
    compile(&config, &subjects, 0).map_err(|error| format!("{error:#}"))?;
    Ok((config, upstreams))
}

/// Keeps in force what cannot change while sessions are open.
fn keep_what_needs_a_start(now: &Config, new: &mut Config) {
    let mut kept = Vec::new();
    if new.node != now.node {
        new.node.clone_from(&now.node);
        kept.push("node");
    }
    if new.data != now.data {
        new.data.clone_from(&now.data);
        kept.push("data");
    }
    if new.listener != now.listener {
        new.listener = now.listener.clone();
        kept.push("listener");
    }
    if new.metrics != now.metrics {
        new.metrics = now.metrics;
        kept.push("metrics");
    }
    if new.trail_store != now.trail_store {
        new.trail_store = now.trail_store.clone();
        kept.push("trail");
    }
    if new.exports != now.exports {
        new.exports.clone_from(&now.exports);
        kept.push("export");
    }
    if new.inbound != now.inbound {
        new.inbound.clone_from(&now.inbound);
        kept.push("inbound");
    }
    if new.registry != now.registry {
        new.registry.clone_from(&now.registry);
        kept.push("registry");
    }
    if !kept.is_empty() {
        tracing::warn!(settings = kept.join(", "), "changed, and in force at the next start only");
    }
}

async fn activate(node: &Node, config: Config, upstreams: Upstreams) -> anyhow::Result<()> {
    node.record(&config_activated(&config, node.now())).await?;
    node.upstreams.store(Arc::new(upstreams));
    node.publish(&config).await?;
    for exception in config.exceptions() {
        tracing::warn!(exception, "protection is weakened by configuration");
    }
    let digest = output::hex(&config.digest);
    node.config.store(Arc::new(config));
    metrics::counter!("wardline_reloads_total", "result" => "activated").increment(1);
    tracing::info!(digest, policy_version = node.snapshot().version(), "configuration activated");
    Ok(())
}

async fn refuse(node: &Node, reason: &str) {
    tracing::error!(reason, "reload refused; the configuration in force stays");
    metrics::counter!("wardline_reloads_total", "result" => "refused").increment(1);
    let mut record = Record::new(Kind::AdminChange, node.now());
    record.phase = Some(Phase::Refused);
    record.outcome = Some(Outcome::Refused);
    record.client = Some("SIGHUP".into());
    record.command = Some("reload".into());
    record.detail = Some(output::clipped(reason, crate::node::DETAIL_BYTES_MAX).into());
    if let Err(error) = node.record_urgent(&record).await {
        tracing::error!(%error, "the refused reload could not be recorded");
    }
}
