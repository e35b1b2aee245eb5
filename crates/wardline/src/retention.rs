//! Keys and months of the trail: what is kept, for whom longer, and what two people agreed to let go.
//!
//! Each step is recorded before it is made. What was agreed and not done, because the process ended, is done at the next
//! start.

use std::collections::BTreeSet;

use model::{Kind, Micros, PersonId, Record};
use registry::{AgreementRow, HoldRow, NoAgreement};
use trail::{OpenedPatients, Reader};

use crate::admin::{Actor, AgreementView, HoldView, KeyView, MonthView, NewHold, Refusal, Reply};
use crate::changes::{Change, detail};
use crate::commands::patient_forms;
use crate::keep;
use crate::node::{Node, load_root_key};
use crate::output;

/// For how long somebody may agree to a proposal.
const PROPOSAL_LIFE_US: u64 = 7 * 86_400_000_000;

/// The shortest reason that can say something.
const REASON_CHARS_MIN: usize = 15;
const REASON_CHARS_MAX: usize = 500;

/// What identifiers of held patients are sealed as.
const HELD_PATIENT: &str = "hold/patient";

/// What takes two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Expire(u32),
    RemoveHold(u64),
}

impl Act {
    fn words(self) -> String {
        match self {
            Act::Expire(month) => format!("expire {month:06}"),
            Act::RemoveHold(id) => format!("remove-hold {id}"),
        }
    }

    fn read(words: &str) -> Option<Act> {
        match words.split_once(' ')? {
            ("expire", month) => month.parse().ok().map(Act::Expire),
            ("remove-hold", id) => id.parse().ok().map(Act::RemoveHold),
            _ => None,
        }
    }
}

/// A hold, ready to be compared with entries.
struct Held {
    patient: Option<BTreeSet<Vec<u8>>>,
    row: HoldRow,
}

impl Held {
    fn fits(&self, record: &Record<'_>, patients: Option<&OpenedPatients>) -> bool {
        let row = &self.row;
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
        };
        let id = record.person.map(|id| id.to_string());
        let person = is(&row.person, record.person_name.as_deref()) || is(&row.person, id.as_deref());
        let about = |sought: &BTreeSet<Vec<u8>>| {
            // Rows of whom nobody knows whose they are may be this patient's.
            record.unresolved.is_some_and(|rows| rows > 0)
                || patients.is_some_and(|found| found.identifiers.iter().any(|id| sought.contains(id)))
        };
        person
            && is(&row.resource, record.resource.as_deref())
            && row.from.is_none_or(|from| record.at >= from)
            && row.to.is_none_or(|to| record.at < to)
            && self.patient.as_ref().is_none_or(about)
    }
}

/// What all of one operation is kept for, when one of its entries is.
type Operations = BTreeSet<(u128, u64)>;

fn operation_of(record: &Record<'_>) -> Option<(u128, u64)> {
    Some((record.session?.0, record.operation?.0))
}

/// Returns the first month in which a month may expire: when all of it is as old as it must become.
fn may_expire_in(month: u32, last: Micros, years: u32) -> u32 {
    let newest = month.max(trail::month_of(last));
    let (year, month) = (newest / 100 + years, newest % 100);
    if month == 12 { (year + 1) * 100 + 1 } else { year * 100 + month + 1 }
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::because(error)
}

fn checked_reason(reason: &str) -> Result<String, Refusal> {
    let reason = reason.trim();
    let chars = reason.chars().count();
    if (REASON_CHARS_MIN..=REASON_CHARS_MAX).contains(&chars) {
        return Ok(output::printable(reason));
    }
    let message = format!("a reason has {REASON_CHARS_MIN} to {REASON_CHARS_MAX} characters");
    Err(Refusal::new(message).help("say why, and who decided it; without anything of a patient"))
}

fn person_of(actor: &Actor) -> Result<(PersonId, &str), Refusal> {
    actor.person.as_ref().map(|person| (person.id, person.name.as_str())).ok_or_else(|| {
        Refusal::new("this takes two people of the registry; an account of the operating system is nobody")
            .help("act as a person: `wardline --as NAME …`, with a token of `wardline login NAME --save`")
    })
}

impl Node {
    pub(crate) async fn key_list(&self) -> Result<Reply, Refusal> {
        let trail = self.trail.clone();
        let keys = blocking(move || trail.keys()).await?;
        Ok(Reply::Keys(keys.into_iter().map(key_view).collect()))
    }

    pub(crate) async fn key_rotate(&self, actor: &Actor) -> Result<Reply, Refusal> {
        let before = self.current_ids().await?;
        let what = format!("make further class keys of this month, in force are {before}");
        let change = Change::new(actor, "key rotate", what);
        self.admitted(&change).await?;
        let trail = self.trail.clone();
        let made = blocking_trail(move || trail.rotate_class_keys()).await;
        let ids = |keys: &[trail::KeyRow]| {
            keys.iter().map(|key| format!("{} {}", key.class, key.id)).collect::<Vec<_>>().join(", ")
        };
        let after = made.as_deref().map(ids).unwrap_or_default();
        let change =
            Change { what: format!("made further class keys: {after}, before that {before}"), ..change };
        let made = self.done(&change, made).await?;
        Ok(Reply::Keys(made.into_iter().map(key_view).collect()))
    }

    async fn current_ids(&self) -> Result<String, Refusal> {
        let trail = self.trail.clone();
        let keys = blocking(move || trail.keys()).await?;
        let current = keys.iter().filter(|key| key.current);
        Ok(current.map(|key| format!("{} {}", key.class, key.id)).collect::<Vec<_>>().join(", "))
    }

    pub(crate) async fn hold_add(&self, actor: &Actor, hold: NewHold) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "retention hold add", "hold entries".to_owned());
        let reason = match checked_reason(&hold.reason) {
            Ok(reason) => reason,
            Err(refusal) => return Err(self.refused(&change, refusal).await),
        };
        let patient = hold.patient.as_ref().map(|patient| patient.0.expose().as_bytes().to_vec());
        let trail = self.trail.clone();
        let patient = match patient {
            Some(plain) => Some(blocking(move || trail.seal_apart(HELD_PATIENT, &plain)).await?),
            None => None,
        };
        let row = HoldRow {
            id: 0,
            reason,
            patient,
            person: hold.person,
            resource: hold.resource,
            from: hold.from_us.map(Micros),
            to: hold.to_us.map(Micros),
            added_by: actor.shown(),
            added_at: self.now(),
            removed_at: None,
        };
        let change = Change { what: format!("hold {}: {}", shown(&row), row.reason), ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        let id = self.done(&change, registry.add_hold(&row).await).await?;
        Ok(Reply::Holds(vec![hold_view(HoldRow { id, ..row })]))
    }

    pub(crate) async fn hold_list(&self) -> Result<Reply, Refusal> {
        let rows = self.registry.holds().await.map_err(|error| failed(&error))?;
        Ok(Reply::Holds(rows.into_iter().map(hold_view).collect()))
    }

    pub(crate) async fn hold_remove(&self, actor: &Actor, id: u64, reason: &str) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "retention hold remove", format!("propose to end hold {id}"));
        let rows = self.registry.holds().await.map_err(|error| failed(&error))?;
        if !rows.iter().any(|row| row.id == id && row.removed_at.is_none()) {
            let refusal = Refusal::new(format!("there is no hold {id}, or it ended"));
            return Err(self
                .refused(&change, refusal.help("`wardline retention hold list` shows them"))
                .await);
        }
        self.propose(change, actor, Act::RemoveHold(id), reason).await
    }

    pub(crate) async fn retention_plan(&self) -> Result<Reply, Refusal> {
        let years = self.config.load().retention_years;
        let now = trail::month_of(self.now());
        let trail = self.trail.clone();
        let months = blocking(move || trail.months()).await?;
        let view = |row: trail::Month| {
            let may_expire_in = may_expire_in(row.month, row.last, years);
            let state = match (row.tombstone, !row.open && may_expire_in <= now) {
                (Some(_), _) => "expired",
                (None, true) => "may-expire",
                (None, false) => "kept",
            };
            MonthView {
                month: row.month,
                first: row.first,
                entries: row.end - row.first,
                last_at: output::time(row.last),
                state: state.to_owned(),
                may_expire_in,
                tombstone: row.tombstone,
                held: row.held,
            }
        };
        Ok(Reply::Months(months.into_iter().map(view).collect()))
    }

    /// Refuses a month that must be kept, or has expired.
    async fn check_month(&self, month: u32) -> Result<(), Refusal> {
        let Reply::Months(months) = self.retention_plan().await? else { return Ok(()) };
        let Some(row) = months.iter().find(|row| row.month == month) else {
            return Err(Refusal::new(format!("the trail has no month {month}")));
        };
        match row.state.as_str() {
            "may-expire" => Ok(()),
            "expired" => Err(Refusal::new(format!("{month} expired under tombstone {:?}", row.tombstone))),
            _ => {
                let years = self.config.load().retention_years;
                let message = format!("{month} is kept until {}: {years} years", row.may_expire_in);
                Err(Refusal::new(message).help("`retention.years` says for how long entries are kept"))
            }
        }
    }

    pub(crate) async fn expire_propose(
        &self,
        actor: &Actor,
        month: u32,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "retention expire", format!("propose that {month} expires"));
        if let Err(refusal) = self.check_month(month).await {
            return Err(self.refused(&change, refusal).await);
        }
        self.propose(change, actor, Act::Expire(month), reason).await
    }

    async fn propose(
        &self,
        change: Change<'_>,
        actor: &Actor,
        act: Act,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        let checked = person_of(actor).and_then(|person| Ok((person, checked_reason(reason)?)));
        let checked = match (checked, self.config.load().operators.is_some()) {
            (checked, true) => checked,
            (_, false) => Err(Refusal::new("what takes two people takes an [operators] section")
                .help("say in [operators.rights] who may propose and who may agree")),
        };
        let (person, reason) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return Err(self.refused(&change, refusal).await),
        };
        let change = Change { what: format!("{}: {reason}", change.what), ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        let now = self.now();
        let until = Micros(now.0.saturating_add(PROPOSAL_LIFE_US));
        let proposed = registry.propose(&act.words(), &reason, person, now, until).await;
        let id = self.done(&change, proposed).await?;
        self.agreement_view(id).await
    }

    pub(crate) async fn agree(&self, actor: &Actor, id: u64) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "operator agree", format!("agree to {id}"));
        let rows = self.registry.agreements().await.map_err(|error| failed(&error))?;
        let row = rows.into_iter().find(|row| row.id == id);
        let what = row.as_ref().map(|row| format!("agree to {id}, `{}` of {}", row.what, row.proposed_name));
        let change = Change { what: what.unwrap_or(change.what), ..change };
        let person = match person_of(actor).and_then(|person| {
            let act = row.as_ref().and_then(|row| Act::read(&row.what));
            Ok((person, act.ok_or_else(|| Refusal::new(format!("there is no proposal {id}")))?))
        }) {
            Ok((person, Act::Expire(month))) => self.check_month(month).await.map(|()| person),
            Ok((person, Act::RemoveHold(_))) => Ok(person),
            Err(refusal) => Err(refusal),
        };
        let person = match person {
            Ok(person) if row.as_ref().is_some_and(|row| row.proposed_by == person.0) => {
                Err(Refusal::new("nobody agrees to what they proposed themselves"))
            }
            person => person,
        };
        let person = match person {
            Ok(person) => person,
            Err(refusal) => return Err(self.refused(&change, refusal).await),
        };
        let (change, registry) = self.admitted_numbered(change).await?;
        let agreed = registry.agree(id, person, self.now()).await.map_err(|error| failed(&error));
        let agreed = agreed.and_then(|agreed| agreed.map_err(no_agreement));
        self.done(&change, agreed).await?;
        self.carry_out(actor, id).await?;
        self.agreement_view(id).await
    }

    pub(crate) async fn agreement_list(&self) -> Result<Reply, Refusal> {
        let rows = self.registry.agreements().await.map_err(|error| failed(&error))?;
        Ok(Reply::Agreements(rows.into_iter().map(agreement_view).collect()))
    }

    async fn agreement_view(&self, id: u64) -> Result<Reply, Refusal> {
        let rows = self.registry.agreements().await.map_err(|error| failed(&error))?;
        let row = rows.into_iter().filter(|row| row.id == id);
        Ok(Reply::Agreements(row.map(agreement_view).collect()))
    }

    /// Does what was agreed and not done, because the process ended meanwhile.
    pub(crate) async fn finish_agreed(&self) -> Result<(), Refusal> {
        let rows = self.registry.agreements().await.map_err(|error| failed(&error))?;
        let actor = Actor::ourselves();
        for row in rows.iter().filter(|row| row.agreed_at.is_some() && row.done_at.is_none()) {
            let _turn = self.turn.lock().await;
            self.carry_out(&actor, row.id).await?;
        }
        Ok(())
    }

    /// Does what two people agreed to.
    async fn carry_out(&self, actor: &Actor, id: u64) -> Result<(), Refusal> {
        let rows = self.registry.agreements().await.map_err(|error| failed(&error))?;
        let row = rows.into_iter().find(|row| row.id == id && row.done_at.is_none());
        let Some(row) = row else { return Ok(()) };
        let Some(act) = Act::read(&row.what) else { return Ok(()) };
        let agreed_by = row.agreed_name.clone().unwrap_or_default();
        let what =
            format!("{}, proposed by {}, agreed by {agreed_by}, agreement {id}", row.what, row.proposed_name);
        let change = Change::new(actor, "operator agree", what.clone());
        let (change, registry) = self.admitted_numbered(change).await?;
        let done = match act {
            Act::RemoveHold(hold) => {
                registry.remove_hold(hold, self.now()).await.map(drop).map_err(|error| failed(&error))
            }
            Act::Expire(month) => self.expire(actor, month, &what).await,
        };
        let done = match done {
            Ok(()) => registry.agreement_done(id, self.now()).await.map(drop).map_err(|error| failed(&error)),
            Err(refusal) => Err(refusal),
        };
        self.done(&change, done).await
    }

    async fn expire(&self, actor: &Actor, month: u32, what: &str) -> Result<(), Refusal> {
        let mut record = Record::new(Kind::KeyDestroyed, self.now());
        actor.sign(&mut record);
        record.command = Some("retention expire".into());
        record.detail = Some(detail(what));
        let record: Record<'static> = record;
        if let Reply::Months(months) = self.retention_plan().await?
            && months.iter().any(|row| row.month == month && row.state == "kept")
        {
            return Err(Refusal::new(format!("{month} must be kept longer than when it was agreed to")));
        }
        let holds = self.holds_in_force().await?;
        let root =
            load_root_key(&self.folder.root_key()).map_err(|error| Refusal::new(format!("{error:#}")))?;
        let trail = self.trail.clone();
        // What is held may lie in the store alone.
        let disk = keep::disk(&self.config.load()).map_err(|error| Refusal::new(format!("{error:#}")))?;
        blocking(move || {
            let row = trail.months()?.into_iter().find(|row| row.month == month);
            let mut operations = Operations::new();
            let reader = Reader::open_on(disk, &root)?;
            if let Some(row) = row.filter(|row| row.tombstone.is_none() && !holds.is_empty()) {
                for entry in reader.entries(row.first)? {
                    let entry = entry?;
                    if entry.index >= row.end {
                        break;
                    }
                    let patients = trail::unless_destroyed(reader.open_patients(&entry.record))?.flatten();
                    if holds.iter().any(|hold| hold.fits(&entry.record, patients.as_ref())) {
                        operations.extend(operation_of(&entry.record));
                    }
                }
            }
            trail.expire(month, &record, &|record, patients| {
                holds.iter().any(|hold| hold.fits(record, patients))
                    || operation_of(record).is_some_and(|of| operations.contains(&of))
            })
        })
        .await
        .map(drop)
    }

    async fn holds_in_force(&self) -> Result<Vec<Held>, Refusal> {
        let rows = self.registry.holds().await.map_err(|error| failed(&error))?;
        let mut holds = Vec::new();
        for row in rows.into_iter().filter(|row| row.removed_at.is_none()) {
            let patient = match row.patient.clone() {
                None => None,
                Some(sealed) => {
                    let trail = self.trail.clone();
                    let plain = blocking(move || trail.open_apart(HELD_PATIENT, &sealed)).await?;
                    let forms = patient_forms(&String::from_utf8_lossy(&plain));
                    Some(forms.into_iter().map(String::into_bytes).collect())
                }
            };
            holds.push(Held { patient, row });
        }
        Ok(holds)
    }
}

/// Runs what waits for the disk where waiting does no harm.
async fn blocking_trail<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, trail::Error> + Send + 'static,
) -> Result<T, trail::Error> {
    tokio::task::spawn_blocking(run).await.unwrap_or(Err(trail::Error::Failed))
}

async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, trail::Error> + Send + 'static,
) -> Result<T, Refusal> {
    blocking_trail(run).await.map_err(|error| failed(&error))
}

fn no_agreement(why: NoAgreement) -> Refusal {
    Refusal::new(match why {
        NoAgreement::Unknown => "there is no such proposal",
        NoAgreement::Own => "nobody agrees to what they proposed themselves",
        NoAgreement::Agreed => "somebody agreed to it already",
        NoAgreement::Expired => "it was proposed more than seven days ago; propose it again",
    })
}

fn shown(row: &HoldRow) -> String {
    let mut words = Vec::new();
    words.extend(row.patient.as_ref().map(|_| "entries about a patient".to_owned()));
    words.extend(row.person.as_ref().map(|name| format!("of person `{}`", output::printable(name))));
    words.extend(row.resource.as_ref().map(|name| format!("about resource `{}`", output::printable(name))));
    words.extend(row.from.map(|from| format!("from {}", output::time(from))));
    words.extend(row.to.map(|to| format!("before {}", output::time(to))));
    if words.is_empty() { "everything".to_owned() } else { words.join(", ") }
}

fn key_view(row: trail::KeyRow) -> KeyView {
    KeyView {
        class: row.class.to_owned(),
        period: row.period,
        generation: row.generation,
        id: row.id,
        current: row.current,
    }
}

fn hold_view(row: HoldRow) -> HoldView {
    HoldView {
        id: row.id,
        reason: row.reason,
        of_a_patient: row.patient.is_some(),
        person: row.person,
        resource: row.resource,
        from: row.from.map(output::time),
        to: row.to.map(output::time),
        added_by: row.added_by,
        added_at: output::time(row.added_at),
        removed_at: row.removed_at.map(output::time),
    }
}

fn agreement_view(row: AgreementRow) -> AgreementView {
    AgreementView {
        id: row.id,
        what: row.what,
        reason: row.reason,
        proposed_by: row.proposed_name,
        proposed_at: output::time(row.proposed_at),
        expires_at: output::time(row.expires_at),
        agreed_by: row.agreed_name,
        agreed_at: row.agreed_at.map(output::time),
        done_at: row.done_at.map(output::time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_expires_when_all_of_it_is_old_enough() {
        let end_of = |month| match month {
            202_012 => Micros(1_609_459_199_999_999),
            _ => Micros(0),
        };
        for (month, years, expected) in [(202_011, 6, 202_612), (202_012, 6, 202_701), (202_011, 10, 203_012)]
        {
            assert_eq!(may_expire_in(month, end_of(month), years), expected, "{month} {years}");
        }
        // Entries of the next month in the same segment are kept as long as they must be.
        assert_eq!(may_expire_in(202_011, Micros(1_607_000_000_000_000), 6), 202_701);
    }

    #[test]
    fn an_act_is_read_as_it_was_written() {
        for act in [Act::Expire(202_011), Act::RemoveHold(3)] {
            assert_eq!(Act::read(&act.words()), Some(act));
        }
        for words in ["", "expire", "expire x", "remove-hold -1", "forget 1"] {
            assert_eq!(Act::read(words), None, "{words}");
        }
    }
}
