//! What several tests need.

use std::time::Duration;

use model::{
    Action, Kind, Micros, OperationId, Outcome, PersonId, Phase, Record, RootKey, SessionId, Verdict,
};
use trail::Options;

pub(crate) const ORIGIN: &str = "gw1.test";

pub(crate) fn root() -> RootKey {
    RootKey::new([7; 32])
}

/// Small segments and quick checkpoints.
pub(crate) fn options() -> Options {
    let mut options = Options::new(ORIGIN);
    options.segment_bytes = 256 << 10;
    options.reserve_bytes = 64 << 10;
    options.checkpoint_interval = Duration::from_millis(20);
    options.space_interval = Duration::from_millis(20);
    options
}

/// A record as a small read makes it.
pub(crate) fn select(number: u64) -> Record<'static> {
    let mut record = Record::new(Kind::Operation, Micros(1_795_428_000_000_000 + number));
    record.session = Some(SessionId(0x1234_5678_9abc_def0_1234_5678_9abc_def0));
    record.operation = Some(OperationId(number));
    record.phase = Some(Phase::Complete);
    record.person = Some(PersonId(42));
    record.person_name = Some("nurse.joy".into());
    record.resource = Some("hospital".into());
    record.action = Some(Action::Read);
    record.command = Some("SELECT".into());
    record.statement = Some("SELECT name, birth_date FROM patients WHERE ward = $1 AND id = $2".into());
    record.objects = vec!["public.patients".into()];
    record.verdict = Some(Verdict::Allow);
    record.policies = vec!["nurse.read".into()];
    record.rows = Some(number % 7);
    record.outcome = Some(Outcome::Completed);
    record
}
