//! Open sessions and locks: who is connected, ending that, and keeping somebody or something out.

use gateway::{Cut, SessionView};
use model::SessionId;
use registry::{LockRow, LockedRow, NewLock};

use super::{Change, no_person, quoted};
use crate::admin::{Actor, LockOn, LockView, OpenSession, Refusal, Reply, Which};
use crate::commands::no_such;
use crate::config::Config;
use crate::node::Node;
use crate::output;

/// Longest reason that is taken; it goes into the trail.
pub(super) const REASON_BYTES_MAX: usize = 1_000;

impl Node {
    pub(super) fn session_list(&self) -> Reply {
        Reply::Sessions(
            self.sessions.list().iter().map(|session| open_session(session, self.now().0)).collect(),
        )
    }

    pub(super) async fn session_kill(
        &self,
        actor: &Actor,
        which: &Which,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        let meant = match which {
            Which::Session(id) => format!("session {}", quoted(id)),
            Which::Person(name) => format!("all sessions of {}", quoted(name)),
            Which::Resource(name) => format!("all sessions on {}", quoted(name)),
        };
        let why = reason_shown(reason);
        let change = Change::new(actor, "session kill", format!("end {meant}: {why}"));
        self.or_refuse(&change, check_reason(reason)).await?;
        let chosen: Vec<SessionId> = self
            .sessions
            .list()
            .iter()
            .filter(|session| is_meant(session, which))
            .map(|session| session.id)
            .collect();
        if chosen.is_empty() {
            let refusal = Refusal::new(format!("nothing is open that is {meant}"))
                .help("`wardline session list` shows what is open");
            return Err(self.refused(&change, refusal).await);
        }
        self.admitted(&change).await?;
        let ended = self.sessions.end(Cut::Administrator, |session| chosen.contains(&session.id));
        self.settled(&change).await;
        Ok(Reply::Ended { sessions: ended })
    }

    pub(super) async fn lock_place(
        &self,
        actor: &Actor,
        on: &LockOn,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        let what = format!("lock {}: {}", on_shown(on), reason_shown(reason));
        let change = Change::new(actor, "lock add", what);
        self.or_refuse(&change, check_reason(reason)).await?;
        let found = self.lockable(on).await;
        let (locked, name) = self.or_refuse(&change, found).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let new = NewLock { locked, name, reason: reason.to_owned(), placed_by: actor.shown() };
        let number = self.done(&change, registry.place_lock(&new, self.now()).await).await?;
        self.publish(&self.config.load_full()).await?;
        Ok(Reply::Locked { number })
    }

    /// Finds what is to be locked, so that no lock stands on a name that nothing has.
    async fn lockable(&self, on: &LockOn) -> Result<(LockedRow, String), Refusal> {
        let config = self.config.load_full();
        match on {
            LockOn::Person(name) => {
                let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
                let Some(person) = people.iter().find(|person| person.name == *name) else {
                    return Err(no_person(name, people.iter().map(|person| person.name.as_str())));
                };
                Ok((LockedRow::Person(person.id), name.clone()))
            }
            LockOn::Role(name) => {
                let roles = config.roles.iter().map(|role| role.name.as_str());
                known("role", name, roles).map(|name| (LockedRow::Role, name))
            }
            LockOn::Resource(name) => {
                let resources = config.resources.keys().map(String::as_str);
                known("resource", name, resources).map(|name| (LockedRow::Resource, name))
            }
            LockOn::Address(range) => {
                check_range(&config, range)?;
                Ok((LockedRow::Address, range.clone()))
            }
        }
    }

    pub(super) async fn lock_lift(&self, actor: &Actor, number: u64, reason: &str) -> Result<Reply, Refusal> {
        let what = format!("lift lock {number}: {}", reason_shown(reason));
        let change = Change::new(actor, "lock remove", what);
        self.or_refuse(&change, check_reason(reason)).await?;
        let locks = self.registry.locks_in_force().await.map_err(|error| Refusal::because(&error))?;
        let Some(lock) = locks.iter().find(|lock| lock.number == number) else {
            let refusal = Refusal::new(format!("there is no lock {number} in force"))
                .help("`wardline lock list` shows the locks");
            return Err(self.refused(&change, refusal).await);
        };
        let what = format!("{} (on {})", change.what, row_shown(lock));
        let change = Change { what, ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        let lifted = registry.lift_lock(number, &actor.shown(), self.now()).await;
        self.done(&change, lifted).await?;
        self.publish(&self.config.load_full()).await?;
        Ok(Reply::Nothing {})
    }

    pub(super) async fn lock_list(&self) -> Result<Reply, Refusal> {
        let locks = self.registry.locks_in_force().await.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Locks(locks.into_iter().map(lock_view).collect()))
    }
}

fn is_meant(session: &SessionView, which: &Which) -> bool {
    match which {
        Which::Session(id) => session.id.to_string() == *id,
        Which::Person(name) => *session.person_name == **name,
        Which::Resource(name) => *session.resource.0 == **name,
    }
}

fn open_session(session: &SessionView, now: u64) -> OpenSession {
    OpenSession {
        id: session.id.to_string(),
        person: session.person_name.to_string(),
        resource: session.resource.to_string(),
        address: session.peer.to_string(),
        client: session.client.clone(),
        agent: session.agent.as_ref().map(ToString::to_string),
        since: output::time(session.since),
        asked: session.asked,
        idle_s: now.saturating_sub(session.last_asked_at.0) / 1_000_000,
    }
}

fn lock_view(lock: LockRow) -> LockView {
    let kind = match lock.locked {
        LockedRow::Person(_) => "person",
        LockedRow::Role => "role",
        LockedRow::Resource => "resource",
        LockedRow::Address => "address",
    };
    LockView {
        number: lock.number,
        kind: kind.to_owned(),
        name: lock.name,
        reason: lock.reason,
        placed_by: lock.placed_by,
        placed_at: output::time(lock.placed_at),
    }
}

fn row_shown(lock: &LockRow) -> String {
    match &lock.locked {
        LockedRow::Person(id) => format!("person {} (id {id})", quoted(&lock.name)),
        LockedRow::Role => format!("role {}", quoted(&lock.name)),
        LockedRow::Resource => format!("resource {}", quoted(&lock.name)),
        LockedRow::Address => format!("address {}", quoted(&lock.name)),
    }
}

fn on_shown(on: &LockOn) -> String {
    let (noun, name) = match on {
        LockOn::Person(name) => ("person", name),
        LockOn::Role(name) => ("role", name),
        LockOn::Resource(name) => ("resource", name),
        LockOn::Address(range) => ("address", range),
    };
    format!("{noun} {}", quoted(name))
}

pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        let refusal = Refusal::new("a reason is needed, for whoever reads the trail");
        return Err(refusal.help(format!("give --reason with at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(())
}

pub(super) fn reason_shown(reason: &str) -> String {
    output::clipped(&output::printable(reason), REASON_BYTES_MAX)
}

fn known<'a>(noun: &str, name: &str, all: impl Iterator<Item = &'a str> + Clone) -> Result<String, Refusal> {
    if all.clone().any(|known| known == name) { Ok(name.to_owned()) } else { Err(no_such(noun, name, all)) }
}

/// Refuses what is no address or range, by asking the policy language that will have to understand it.
fn check_range(config: &Config, range: &str) -> Result<(), Refusal> {
    let lock = policy::Lock { number: 1, what: policy::Locked::Address(range.to_owned()) };
    let nobody = (crate::node::Granted::default(), crate::node::Terms::default());
    crate::node::compile_with(config, &[], nobody.0, &[lock], &nobody.1, 0).map(drop).map_err(|_| {
        Refusal::new(format!("{} is no address or range", quoted(range)))
            .help("write an address such as `10.1.2.3` or a range such as `10.1.2.0/24`")
    })
}
