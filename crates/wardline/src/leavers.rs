//! The watch that sees the last sessions of people who left end. What it says and keeps is in `changes::leavers`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::node::Node;

/// How often it is looked while sessions of somebody who left are open.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// How often it is looked otherwise: every departure makes a new policy, which wakes the watch.
const IDLE_PAUSE: Duration = Duration::from_secs(10);

/// Starts the watch.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut changes = node.snapshot_changes();
        let mut overdue = Vec::new();
        loop {
            let pause = match node.watch_departures(&overdue).await {
                Ok((waiting, late)) => {
                    overdue = late;
                    if waiting { LOOK_PAUSE } else { IDLE_PAUSE }
                }
                Err(refusal) => {
                    tracing::error!(%refusal, "it cannot be told whether people who left are cut off");
                    IDLE_PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = changes.changed() => {}
            }
        }
    })
}
