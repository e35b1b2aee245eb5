//! People who leave: barred, their tokens ended, their sessions cut, and the minutes of it kept.
//!
//! Whatever tells that somebody left (a command, SCIM, LDAP) comes through [`Node::part_with`]: one step in the registry bars
//! the person and ends the tokens, the policy that follows ends the sessions. A watch sees the last session end, and says so in
//! the trail; a session that does not obey is told again. Deliberately absent: sessions of the web, which ask the registry at
//! every request.

use std::time::Duration;

use gateway::Cut;
use model::{Kind, Micros, Outcome, Phase, Record};
use registry::{DepartureRow, NewDeparture, PersonRow};

use super::{Change, detail, quoted, shown};
use crate::admin::{Actor, DepartureView, LeaverView, Refusal, Reply};
use crate::node::Node;
use crate::output;

/// What told, where it was somebody at a command line or the API.
pub(crate) const BY_COMMAND: &str = "command";

/// After so long a session that goes on is told to end as if an administrator had ended it.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// After so long it is an incident that something goes on.
const CUT_WITHIN: Duration = Duration::from_secs(60);

/// Later than this after the end of an employment is flagged.
const LATE_AFTER: Duration = Duration::from_mins(60);

/// Somebody leaves: what told, and when the employment ended.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    /// `command`, `scim:NAME` or `ldap`.
    pub(crate) source: String,
    pub(crate) ended_at: Option<Micros>,
}

impl Leaving {
    /// Somebody is barred by a command, with or without a time at which the employment ended.
    pub(crate) fn by_command(ended_at_us: Option<u64>) -> Leaving {
        Leaving { source: BY_COMMAND.to_owned(), ended_at: ended_at_us.map(Micros) }
    }
}

impl Node {
    pub(super) async fn user_disable(
        &self,
        actor: &Actor,
        name: &str,
        ended_at_us: Option<u64>,
    ) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "user disable", format!("disable {}", quoted(name)));
        let leaving = Leaving::by_command(ended_at_us);
        let fits = check_ended_at(leaving.ended_at, self.now());
        self.or_refuse(&change, fits).await?;
        let person = self.known(&change, name).await?;
        let departure = self.part_with(change, &person, &leaving).await?;
        let Reply::Person(mut view) = self.person_view(name).await? else { return Ok(Reply::Nothing {}) };
        view.departure = Some(departure_view(&departure));
        Ok(Reply::Person(view))
    }

    pub(super) async fn user_delete(&self, actor: &Actor, name: &str) -> Result<Reply, Refusal> {
        self.delete_person(actor, name, &Leaving::by_command(None)).await?;
        Ok(Reply::Nothing {})
    }

    /// Deletes a person, after ending what they have. The caller has the turn.
    pub(crate) async fn delete_person(
        &self,
        actor: &Actor,
        name: &str,
        leaving: &Leaving,
    ) -> Result<(), Refusal> {
        let change = Change::new(actor, "user delete", format!("delete {}", quoted(name)));
        let person = self.known(&change, name).await?;
        let change = Change { what: format!("delete {}", shown(&person)), ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        // Whoever is barred and not yet deleted after a crash is deleted by asking again.
        let departed = match person.disabled_at {
            Some(_) => Ok(()),
            None => {
                let new = self.departing(change.actor, &person, leaving);
                registry.depart(&new, self.now()).await.map(drop)
            }
        };
        let deleted = match departed {
            Ok(()) => registry.delete(person.id, self.now()).await,
            Err(error) => Err(error),
        };
        self.done(&change, deleted).await?;
        self.publish(&self.config.load_full()).await?;
        self.settle_departures().await?;
        Ok(())
    }

    /// Bars a person and ends what they have. The caller has the turn; `change` says by which command.
    pub(crate) async fn part_with(
        &self,
        change: Change<'_>,
        person: &PersonRow,
        leaving: &Leaving,
    ) -> Result<DepartureRow, Refusal> {
        let when = leaving.ended_at.map(|at| format!(", whose employment ended at {}", output::time(at)));
        let source = (leaving.source != BY_COMMAND).then(|| format!(" (told by {})", leaving.source));
        let what = format!(
            "disable {}{}{}: sessions and tokens end",
            shown(person),
            when.unwrap_or_default(),
            source.unwrap_or_default()
        );
        let change = Change { what, ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        let new = self.departing(change.actor, person, leaving);
        let departure = self.done(&change, registry.depart(&new, self.now()).await).await?;
        self.browsers.end_of(person.id);
        self.publish(&self.config.load_full()).await?;
        self.settle_departures().await?;
        Ok(departure)
    }

    fn departing(&self, actor: &Actor, person: &PersonRow, leaving: &Leaving) -> NewDeparture {
        let open = self.sessions.list().iter().filter(|session| session.person == person.id).count();
        NewDeparture {
            person: person.id,
            name: person.name.clone(),
            source: leaving.source.clone(),
            told_by: actor.shown(),
            ended_at: leaving.ended_at,
            sessions: u64::try_from(open).unwrap_or(u64::MAX),
        }
    }

    /// Settles the departures of people who have no session left, and tells sessions that go on to end. Returns those that are
    /// not settled. The caller has the turn.
    pub(crate) async fn settle_departures(&self) -> Result<Vec<DepartureRow>, Refusal> {
        let mut left = self.registry.departures_open().await.map_err(|error| Refusal::because(&error))?;
        let open = self.sessions.list();
        let (waiting, over): (Vec<_>, Vec<_>) =
            left.drain(..).partition(|row| open.iter().any(|session| session.person == row.person));
        for departure in over {
            let at = self.now();
            self.record_urgent(&cut_off(&departure, at)).await.map_err(|error| Refusal::because(&error))?;
            let settled = self.registry.departed(departure.number, at).await;
            settled.map_err(|error| Refusal::because(&error))?;
            metrics::counter!("wardline_departures_total").increment(1);
        }
        for departure in &waiting {
            if since(departure.told_at, self.now()) >= TOLD_AGAIN_AFTER {
                self.sessions.end(Cut::Administrator, |session| session.person == departure.person);
            }
        }
        Ok(waiting)
    }

    /// Settles what can be settled, and records an incident for what takes too long and is not among `known`. Returns the
    /// numbers of what is not settled, and of it what takes too long.
    pub(crate) async fn watch_departures(&self, known: &[u64]) -> Result<(bool, Vec<u64>), Refusal> {
        let _turn = self.turn.lock().await;
        let waiting = self.settle_departures().await?;
        let overdue: Vec<&DepartureRow> =
            waiting.iter().filter(|row| since(row.told_at, self.now()) > CUT_WITHIN).collect();
        for departure in overdue.iter().filter(|row| !known.contains(&row.number)) {
            let what = format!(
                "sessions of person `{}` (id {}) go on {} s after they were barred",
                departure.name,
                departure.person,
                CUT_WITHIN.as_secs()
            );
            tracing::error!(person = departure.name, "sessions of somebody who was barred go on");
            let mut record = Record::new(Kind::Incident, self.now());
            record.detail = Some(detail(&what).into_owned().into());
            self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        }
        Ok((!waiting.is_empty(), overdue.iter().map(|row| row.number).collect()))
    }

    pub(super) async fn report_leavers(&self, from_us: u64, to_us: u64) -> Result<Reply, Refusal> {
        let rows = self.registry.departures(Micros(from_us), Micros(to_us)).await;
        let rows = rows.map_err(|error| Refusal::because(&error))?;
        let now = self.now();
        Ok(Reply::Leavers(rows.iter().map(|row| leaver_view(row, now)).collect()))
    }
}

/// Refuses a time that has not come: who is still employed is not cut off by mistake.
fn check_ended_at(ended_at: Option<Micros>, now: Micros) -> Result<(), Refusal> {
    match ended_at {
        Some(at) if at > now => Err(Refusal::new("the employment has not ended yet")
            .help("not supported: planning ahead; give --ended-at when the time has come, or leave it out")),
        Some(_) | None => Ok(()),
    }
}

fn cut_off(departure: &DepartureRow, at: Micros) -> Record<'static> {
    let took = since(departure.told_at, at);
    let ended = match departure.ended_at {
        None => "; when the employment ended was not said".to_owned(),
        Some(ended_at) => {
            let late = since(ended_at, at);
            let flag = if late > LATE_AFTER { ", which is late" } else { "" };
            format!("; {} min after the employment ended{flag}", late.as_secs() / 60)
        }
    };
    let what = format!(
        "person `{}` (id {}) is cut off: sessions ended {}, tokens ended {}, after {:.1} s{ended}",
        departure.name,
        departure.person,
        departure.sessions,
        departure.tokens,
        took.as_secs_f64()
    );
    let mut record = Record::new(Kind::AdminChange, at);
    Actor::time().sign(&mut record);
    record.phase = Some(Phase::Settled);
    record.outcome = Some(Outcome::Completed);
    record.command = Some("cut-off".into());
    record.detail = Some(detail(&what).into_owned().into());
    record
}

fn since(earlier: Micros, later: Micros) -> Duration {
    Duration::from_micros(later.0.saturating_sub(earlier.0))
}

fn departure_view(row: &DepartureRow) -> DepartureView {
    DepartureView { sessions: row.sessions, tokens: row.tokens, ended_at: row.ended_at.map(output::time) }
}

fn leaver_view(row: &DepartureRow, now: Micros) -> LeaverView {
    let until = row.cut_at.unwrap_or(now);
    let minutes = row.ended_at.map(|ended_at| since(ended_at, until).as_secs().div_ceil(60));
    let late = row.ended_at.is_some_and(|ended_at| since(ended_at, until) > LATE_AFTER);
    let slow = since(row.told_at, until) > CUT_WITHIN;
    let finding = match (late, slow, row.cut_at, row.ended_at) {
        (true, ..) => "more than 60 minutes after the end",
        (false, true, ..) => "more than 60 seconds after Wardline was told",
        (false, false, None, _) => "sessions are still open",
        (false, false, Some(_), None) => "when the employment ended was not said",
        (false, false, Some(_), Some(_)) => "",
    };
    LeaverView {
        number: row.number,
        person: row.name.clone(),
        person_id: row.person.to_string(),
        source: row.source.clone(),
        told_by: row.told_by.clone(),
        ended_at: row.ended_at.map(output::time),
        told_at: output::time(row.told_at),
        cut_at: row.cut_at.map(output::time),
        sessions: row.sessions,
        tokens: row.tokens,
        seconds_from_told: since(row.told_at, until).as_secs(),
        minutes_from_end: minutes,
        late,
        finding: finding.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use model::PersonId;

    use super::*;

    const MINUTE_US: u64 = 60_000_000;

    fn row(ended_at: Option<u64>, told_at: u64, cut_at: Option<u64>) -> DepartureRow {
        DepartureRow {
            number: 1,
            person: PersonId(7),
            name: "nina".into(),
            source: "scim:hr".into(),
            told_by: "scim:hr".into(),
            told_at: Micros(told_at * MINUTE_US),
            ended_at: ended_at.map(|minute| Micros(minute * MINUTE_US)),
            sessions: 2,
            tokens: 1,
            cut_at: cut_at.map(|minute| Micros(minute * MINUTE_US)),
        }
    }

    #[test]
    fn a_report_flags_what_took_too_long() {
        let now = Micros(500 * MINUTE_US);
        let cases = [
            (row(Some(100), 120, Some(120)), Some(20), false, ""),
            (row(Some(100), 160, Some(160)), Some(60), false, ""),
            (row(Some(100), 161, Some(161)), Some(61), true, "more than 60 minutes after the end"),
            (row(None, 100, Some(100)), None, false, "when the employment ended was not said"),
            (row(Some(100), 101, Some(103)), Some(3), false, "more than 60 seconds after Wardline was told"),
            (row(Some(499), 500, None), Some(1), false, "sessions are still open"),
            (row(Some(100), 101, None), Some(400), true, "more than 60 minutes after the end"),
            // A clock that was set back makes no time negative.
            (row(Some(200), 100, Some(100)), Some(0), false, ""),
        ];
        for (row, minutes, late, finding) in cases {
            let view = leaver_view(&row, now);
            assert_eq!(
                (view.minutes_from_end, view.late, view.finding.as_str()),
                (minutes, late, finding),
                "{row:?}"
            );
        }
    }

    #[test]
    fn the_entry_says_what_ended_and_when() {
        let record = cut_off(&row(Some(100), 170, Some(170)), Micros(170 * MINUTE_US + 400_000));
        let said = record.detail.expect("words").into_owned();
        let expected =
            "sessions ended 2, tokens ended 1, after 0.4 s; 70 min after the employment ended, which is late";
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn nobody_has_left_in_the_future() {
        assert!(check_ended_at(None, Micros(5)).is_ok());
        assert!(check_ended_at(Some(Micros(5)), Micros(5)).is_ok());
        assert!(check_ended_at(Some(Micros(6)), Micros(5)).is_err());
    }
}
