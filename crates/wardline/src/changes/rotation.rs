//! Another key signs the log's checkpoints: asked for, recorded, and shown as what others must learn. The root key is sealed
//! for custodians.

use std::time::Duration;

use crate::admin::{Actor, KeyChangeView, Refusal, Reply};
use crate::changes::Change;
use crate::node::Node;
use crate::output;

/// The longest time for which two keys sign: who checks once a year learns of the new one in time.
pub(crate) const OVERLAP_DAYS_MAX: u32 = 366;
const S_PER_DAY: u64 = 86_400;

impl Node {
    /// Records that somebody seals the root key in a file. The key is read by the command, which runs under the account that
    /// can; this is for its record, and for the right to do it.
    pub(crate) async fn key_escrow(
        &self,
        actor: &Actor,
        key_id: &str,
        custodians: u8,
    ) -> Result<Reply, Refusal> {
        let what = format!("seal root key {} for {custodians} custodians", output::printable(key_id));
        let change = Change::new(actor, "key escrow", what);
        self.admitted(&change).await?;
        self.done(&change, Ok::<(), Refusal>(())).await?;
        Ok(Reply::Nothing {})
    }

    pub(crate) async fn key_rotate_checkpoint(
        &self,
        actor: &Actor,
        overlap_days: u32,
    ) -> Result<Reply, Refusal> {
        let old = self.trail.verifier_key();
        let what = format!("let another key sign checkpoints, with {old} for {overlap_days} days more");
        let change = Change::new(actor, "key rotate-checkpoint", what);
        if overlap_days > OVERLAP_DAYS_MAX {
            let refusal = Refusal::new(format!("two keys sign for at most {OVERLAP_DAYS_MAX} days"));
            return Err(self.refused(&change, refusal).await);
        }
        self.admitted(&change).await?;
        let overlap = Duration::from_secs(u64::from(overlap_days) * S_PER_DAY);
        let trail = self.trail.clone();
        let rotated = tokio::task::spawn_blocking(move || trail.rotate_checkpoint_key(overlap)).await;
        let rotated = rotated.unwrap_or(Err(trail::Error::Failed));
        let new = rotated.as_ref().map(|rotated| rotated.new.clone()).unwrap_or_default();
        let change = Change {
            what: format!("{new} signs checkpoints, with {old} for {overlap_days} days more"),
            ..change
        };
        let rotated = self.done(&change, rotated).await?;
        Ok(Reply::KeyChanged(KeyChangeView {
            number: rotated.number,
            old: rotated.old,
            new: rotated.new,
            entries: rotated.entries,
            both_until: output::time(rotated.both_until),
            entry: rotated.index,
        }))
    }
}
