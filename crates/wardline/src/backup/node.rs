//! What the running node does for backups: it gives a copy of the registry with the checkpoint that goes with it, and
//! records what was done. The work is the command's, so that the server is not held up.

use std::time::Duration;

use model::{Kind, Record};

use crate::admin::{Actor, Refusal, Reply};
use crate::changes::Change;
use crate::data::create_private;
use crate::node::Node;
use crate::output;

/// A checkpoint is signed every second.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(30);
const CHECKPOINT_POLL: Duration = Duration::from_millis(50);

impl Node {
    /// Ends the segment that is written to and seals all complete ones.
    pub(crate) async fn trail_seal(&self, actor: &Actor) -> Result<Reply, Refusal> {
        self.trail.roll();
        // With this record the segment ends.
        self.admitted(&Change::new(actor, "trail seal", "seal all segments".to_owned())).await?;
        let (trail, kept) = (self.trail.clone(), self.kept.clone());
        let local = self.config.load().trail_store.local_segments;
        let archived = crate::keep::archived(self);
        let sealed = tokio::task::spawn_blocking(move || kept.pass(&trail, local, archived)).await;
        let sealed = sealed.map_err(|error| Refusal::because(&error))?;
        let sealed = sealed.map_err(|error| Refusal::because(&error))?;
        // Whoever seals wants what is sealed to be covered there, too.
        self.checkpoint_of_now().await?;
        let (trail, kept) = (self.trail.clone(), self.kept.clone());
        let left = tokio::task::spawn_blocking(move || trail.keep_checkpoint(&*kept.target.store())).await;
        let left = left.map_err(|error| Refusal::because(&error))?;
        left.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Sealed { segments: sealed.iter().map(ToString::to_string).collect() })
    }

    /// Copies the registry, and waits for a checkpoint that covers every change in it. The caller has the turn: no change
    /// is made meanwhile.
    pub(crate) async fn backup_begin(&self, actor: &Actor, to: &str) -> Result<Reply, Refusal> {
        let what = format!("back up to {}", output::printable(to));
        self.admitted(&Change::new(actor, "backup", what)).await?;
        let folder = self.folder.staging();
        // Of a backup that ended early.
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Refusal::because(&error));
            }
            Ok(()) | Err(_) => {}
        }
        create_private(&folder).map_err(|error| Refusal::new(format!("{error:#}")))?;
        let registry = folder.join("registry.sqlite");
        self.registry.copy_to(&registry).await.map_err(|error| Refusal::because(&error))?;
        let change = self.registry.change().await.map_err(|error| Refusal::because(&error))?;
        let checkpoint = self.checkpoint_of_now().await?;
        Ok(Reply::Snapshot { registry, checkpoint, change })
    }

    /// Returns a checkpoint that covers everything that is durable now.
    async fn checkpoint_of_now(&self) -> Result<String, Refusal> {
        let wanted = self.trail.durable();
        let file = self.folder.trail().join("tree/checkpoint");
        let begun = std::time::Instant::now();
        loop {
            let note = std::fs::read_to_string(&file).map_err(|error| Refusal::because(&error))?;
            let size = note.lines().nth(1).and_then(|line| line.parse::<u64>().ok()).unwrap_or(0);
            if size >= wanted {
                return Ok(note);
            }
            if begun.elapsed() > CHECKPOINT_WAIT {
                return Err(Refusal::new("no checkpoint was signed in time")
                    .help("try again when the disk is less busy"));
            }
            tokio::time::sleep(CHECKPOINT_POLL).await;
        }
    }

    /// Records that a backup was made, or restored for trial.
    pub(crate) async fn backup_end(&self, actor: &Actor, kind: Kind, what: &str) -> Result<Reply, Refusal> {
        let mut record = Record::new(kind, self.now());
        record.person_name = Some(actor.shown().into());
        record.detail = Some(output::clipped(&output::printable(what), crate::node::DETAIL_BYTES_MAX).into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Nothing {})
    }
}
