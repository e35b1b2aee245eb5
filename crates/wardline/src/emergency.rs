//! What the server does about emergencies by itself: it ends emergency access in time, changes credentials after it and says
//! when a review is overdue. What it does without a registry is in `mode`.

mod copy;
pub(crate) mod mode;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::node::Node;

/// It is looked no later than this, as clocks may be set.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(2);
/// After something that is due could not be done.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Starts the task of `serve`.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut changes = node.snapshot_changes();
        loop {
            if let Err(refusal) = node.rotate_after_emergencies().await {
                tracing::error!(%refusal, "what became of a credential after emergency access is not noted");
            }
            let wait = match node.watch_emergencies().await {
                Ok(None) => LOOK_PAUSE_MAX,
                Ok(Some(next)) => Duration::from_micros(next.saturating_sub(node.now().0)),
                Err(refusal) => {
                    tracing::error!(%refusal, "what is due about emergency access could not be done");
                    RETRY_PAUSE
                }
            };
            // New emergency access makes a new policy.
            tokio::select! {
                () = tokio::time::sleep(wait.min(LOOK_PAUSE_MAX)) => {}
                _ = changes.changed() => {}
            }
        }
    })
}
