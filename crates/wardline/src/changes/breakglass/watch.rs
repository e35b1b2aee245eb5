//! What time does to emergency access: it ends, and its review becomes overdue.

use model::{Kind, Micros, Record};
use registry::{Emergency, Over};

use super::shown;
use crate::admin::{Actor, Refusal};
use crate::changes::{Change, detail};
use crate::node::Node;
use crate::output;

impl Node {
    /// Ends the emergency access whose time is over, and gives the alarm for what was not reviewed in time. Returns when
    /// something of that is next to be done.
    pub(crate) async fn watch_emergencies(&self) -> Result<Option<u64>, Refusal> {
        let _turn = self.turn.lock().await;
        let rows = self.registry.emergencies(false).await.map_err(|error| Refusal::because(&error))?;
        let now = self.now();
        let mut next: Option<u64> = None;
        let mut later = |at: Micros| next = Some(next.map_or(at.0, |next| next.min(at.0)));
        for row in &rows {
            match (row.taken, &row.over, row.review_due) {
                (Some((_, until)), None, _) if until <= now => self.emergency_expired(row).await?,
                (Some((_, until)), None, _) => later(until),
                (Some(_), Some(_), Some(due)) if row.awaits_review() && row.overdue_at.is_none() => {
                    if due <= now {
                        self.review_overdue(row, due).await?;
                    } else {
                        later(due);
                    }
                }
                (Some(_) | None, Some(_) | None, Some(_) | None) => {}
            }
        }
        let unreviewed = rows.iter().filter(|row| row.awaits_review()).count();
        metrics::gauge!("wardline_emergencies_unreviewed")
            .set(f64::from(u32::try_from(unreviewed).unwrap_or(u32::MAX)));
        Ok(next)
    }

    async fn emergency_expired(&self, row: &Emergency) -> Result<(), Refusal> {
        let actor = Actor::time();
        let what = format!("end {}: its time is over", shown(row));
        let change =
            Change { emergency: Some(row.number), ..Change::new(&actor, "break-glass expire", what) };
        self.emergency_over(change, row, Over::Expired, "").await.map(drop)
    }

    async fn review_overdue(&self, row: &Emergency, due: Micros) -> Result<(), Refusal> {
        let said = format!(
            "REVIEW OVERDUE: {} was to be reviewed until {} and nobody has",
            shown(row),
            output::time(due)
        );
        tracing::error!(number = row.number, person = row.person_name, resource = row.resource, "{said}");
        metrics::counter!("wardline_emergency_reviews_overdue_total").increment(1);
        let mut record = Record::new(Kind::Incident, self.now());
        record.command = Some("break-glass overdue".into());
        record.resource = Some(row.resource.clone().into());
        record.emergency = Some(row.number);
        record.detail = Some(detail(&said));
        self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        let actor = Actor::time();
        let change =
            Change::new(&actor, "break-glass overdue", format!("note that the alarm was given: {said}"));
        let change = Change { emergency: Some(row.number), ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        self.done(&change, registry.note_overdue(row.number, self.now()).await).await
    }

    /// Changes the credentials of resources to which emergency access is over: whoever had it may have learnt them.
    pub(crate) async fn rotate_after_emergencies(&self) -> Result<(), Refusal> {
        if self.emergency_mode.is_in_force() {
            // What became of it could not be kept.
            return Ok(());
        }
        let rows = self.registry.emergencies(false).await.map_err(|error| Refusal::because(&error))?;
        for row in rows.iter().filter(|row| row.awaits_rotation()) {
            let actor = Actor::time();
            let said = match self.rotate_after_emergency(&actor, &row.resource).await {
                Ok(_) => "changed".to_owned(),
                Err(refusal) => self.credential_stays(row, &refusal).await?,
            };
            let _turn = self.turn.lock().await;
            let what = format!("note of {}: its credential was {said}", shown(row));
            let change = Change::new(&actor, "break-glass rotate", what);
            let change = Change { emergency: Some(row.number), ..change };
            let (change, registry) = self.admitted_numbered(change).await?;
            self.done(&change, registry.note_rotation(row.number, &said).await).await?;
        }
        Ok(())
    }

    /// Says that a credential could not be changed.
    async fn credential_stays(&self, row: &Emergency, refusal: &Refusal) -> Result<String, Refusal> {
        let said = format!("not changed: {}", refusal.message);
        tracing::error!(number = row.number, resource = row.resource, %refusal, "THE CREDENTIAL STAYS after emergency access");
        let mut record = Record::new(Kind::Incident, self.now());
        record.command = Some("break-glass rotate".into());
        record.resource = Some(row.resource.clone().into());
        record.emergency = Some(row.number);
        record.detail = Some(detail(&format!("after {} its credential was {said}", shown(row))));
        self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        Ok(output::clipped(&said, crate::node::DETAIL_BYTES_MAX))
    }
}
