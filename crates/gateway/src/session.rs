//! One principal on one resource, and the register of those that are open.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use model::{CertificateId, Kind, Micros, PersonId, Principal, Record, ResourceId, SessionId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::control::Upstream;
use crate::gate::Purpose;

/// Who is connected to what, from where, with which program.
#[derive(Debug)]
pub struct Session {
    /// 128 random bits.
    pub id: SessionId,
    /// Who.
    pub principal: Principal,
    /// On what.
    pub resource: ResourceId,
    /// From where.
    pub peer: SocketAddr,
    /// What the client program calls itself; empty when it does not say.
    pub client: String,
    /// When it signed in.
    pub since: Micros,
    /// By which certificate it signed in, where it did.
    pub certificate: Option<CertificateId>,
    /// What it does, for whoever looks on.
    pub(crate) pulse: Pulse,
    /// What it is for.
    pub(crate) purpose: Stated,
}

/// Why a session is ended from outside, whatever policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// An administrator wants it so.
    Administrator,
    /// Its own person does, in the browser.
    Themselves,
    /// The emergency access under which its person may have opened it is over.
    EmergencyOver,
}

impl Cut {
    /// Returns what the client is told.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Cut::Administrator => "an administrator ended the session",
            Cut::Themselves => "you ended this session in the browser",
            Cut::EmergencyOver => "emergency access is over, and sessions of its time end with it",
        }
    }
}

/// The life signs of a session, and the way to end it from outside.
#[derive(Debug)]
pub(crate) struct Pulse {
    asked: AtomicU64,
    last_asked_at: AtomicU64,
    /// Why it is to be ended.
    ended: watch::Sender<Option<Cut>>,
    /// When a second factor was last shown for it; 0 for never.
    factor_at: AtomicU64,
}

impl Pulse {
    pub(crate) fn since(at: Micros, factor_at: Option<Micros>) -> Pulse {
        Pulse {
            factor_at: AtomicU64::new(factor_at.map_or(0, |at| at.0)),
            asked: AtomicU64::new(0),
            last_asked_at: AtomicU64::new(at.0),
            ended: watch::Sender::new(None),
        }
    }

    /// Something was asked.
    pub(crate) fn beat(&self, at: Micros) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.last_asked_at.store(at.0, Ordering::Relaxed);
    }

    /// Tells when somebody ends the session.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<Cut>> {
        self.ended.subscribe()
    }
}

/// An open session, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Which.
    pub id: SessionId,
    /// Who.
    pub person: PersonId,
    /// Their login name.
    pub person_name: Arc<str>,
    /// On what.
    pub resource: ResourceId,
    /// From where.
    pub peer: SocketAddr,
    /// What the client program calls itself.
    pub client: String,
    /// The program that acts for the person.
    pub agent: Option<Arc<str>>,
    /// When it signed in.
    pub since: Micros,
    /// When something was last asked; empty queries ask nothing.
    pub last_asked_at: Micros,
    /// How many operations were asked.
    pub asked: u64,
}

/// What a session is for, as its person says.
#[derive(Debug, Default)]
pub(crate) struct Stated {
    /// As it was stated at start-up.
    first: Purpose,
    now: Mutex<Purpose>,
}

impl Stated {
    /// Begins with what was stated at start-up.
    pub(crate) fn first(purpose: Purpose) -> Stated {
        Stated { now: Mutex::new(purpose.clone()), first: purpose }
    }
}

impl Session {
    /// Returns what the session was for at start-up.
    pub(crate) fn purpose_first(&self) -> Purpose {
        self.purpose.first.clone()
    }

    /// Takes what the session is for from now on.
    pub(crate) fn state(&self, purpose: Purpose) {
        *self.purpose.now.lock() = purpose;
    }

    /// Returns the circumstances of what is asked within the session.
    pub(crate) fn context(&self, purpose: &Purpose, at: Micros) -> model::Context {
        model::Context { address: self.peer.ip(), at, purpose: purpose.clone(), factor_at: self.factor_at() }
    }

    /// Returns when its person last showed a second factor.
    pub(crate) fn factor_at(&self) -> Option<Micros> {
        let at = self.pulse.factor_at.load(Ordering::Relaxed);
        (at > 0).then_some(Micros(at))
    }

    /// Returns a record of the session itself: as [`Session::record`], with what it is for now.
    pub(crate) fn record_stated(&self, kind: Kind, at: Micros) -> Record<'_> {
        let mut record = self.record(kind, at);
        record.purpose = self.purpose.now.lock().as_ref().map(|purpose| purpose.to_string().into());
        record
    }

    /// Returns a record with everything that is the same for all of the session.
    pub(crate) fn record(&self, kind: Kind, at: Micros) -> Record<'_> {
        let mut record = Record::new(kind, at);
        record.session = Some(self.id);
        record.person = Some(self.principal.id);
        record.person_name = Some((&*self.principal.name).into());
        record.agent = self.principal.agent.as_deref().map(|agent| agent.to_string().into());
        record.address = Some(self.peer.ip());
        record.port = Some(self.peer.port());
        if !self.client.is_empty() {
            record.client = Some(self.client.as_str().into());
        }
        record.resource = Some((&*self.resource.0).into());
        record.certificate = self.certificate;
        record
    }
}

impl Session {
    fn view(&self) -> SessionView {
        SessionView {
            id: self.id,
            person: self.principal.id,
            person_name: Arc::clone(&self.principal.name),
            resource: self.resource.clone(),
            peer: self.peer,
            client: self.client.clone(),
            agent: self.principal.agent.as_ref().map(|agent| Arc::clone(&agent.name)),
            since: self.since,
            last_asked_at: Micros(self.pulse.last_asked_at.load(Ordering::Relaxed)),
            asked: self.pulse.asked.load(Ordering::Relaxed),
        }
    }
}

/// Returns random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source does not fail once the process runs");
    bytes
}

/// What a cancel request must know to be passed on: the resource and its own key there.
#[derive(Debug, Clone)]
pub(crate) struct CancelTarget {
    pub(crate) session: Arc<Session>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) process: u32,
    pub(crate) key: Vec<u8>,
}

/// As many other addresses of a person are told of.
const ELSEWHERE_MAX: usize = 16;

/// A session of the same person from another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    pub(crate) address: IpAddr,
    pub(crate) session: SessionId,
}

#[derive(Debug, Default)]
struct Open {
    /// By the process number that the client was told.
    cancels: HashMap<u32, (Vec<u8>, CancelTarget)>,
    people: HashMap<PersonId, Vec<Arc<Session>>>,
}

/// The sessions that are open: for limits, cancel requests, the second device, and whoever looks on or ends them.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Open>);

impl Sessions {
    /// Returns a register without sessions; all listeners share one.
    pub fn new() -> Sessions {
        Sessions::default()
    }

    /// Returns what is open, the oldest first.
    pub fn list(&self) -> Vec<SessionView> {
        let open = self.0.lock();
        let mut views: Vec<SessionView> =
            open.people.values().flatten().map(|session| session.view()).collect();
        drop(open);
        views.sort_by_key(|view| (view.since, view.id));
        views
    }

    /// Tells sessions to end, with their connections to the resource. Returns how many were told.
    pub fn end(&self, cut: Cut, which: impl Fn(&SessionView) -> bool) -> usize {
        let open = self.0.lock();
        let mut told = 0;
        for session in open.people.values().flatten().filter(|session| which(&session.view())) {
            session.pulse.ended.send_replace(Some(cut));
            told += 1;
        }
        told
    }

    /// Notes that a person showed a second factor for an open session of theirs. Tells whether there is one.
    pub fn step_up(&self, person: PersonId, session: SessionId, at: Micros) -> bool {
        let open = self.0.lock();
        let mine = open.people.get(&person).into_iter().flatten();
        let found = mine.into_iter().find(|open| open.id == session);
        found.inspect(|session| session.pulse.factor_at.store(at.0, Ordering::Relaxed)).is_some()
    }

    /// Counts a session in. Returns one session from each other address of the person, the oldest, or of the agent that
    /// acts for them; or `None` when there are too many sessions.
    pub(crate) fn enter(&self, session: &Arc<Session>, per_person_max: usize) -> Option<Vec<Elsewhere>> {
        let mut open = self.0.lock();
        let mine = open.people.entry(session.principal.id).or_default();
        if mine.len() >= per_person_max {
            return None;
        }
        let acting = |session: &Session| session.principal.agent.as_ref().map(|agent| agent.id);
        let here = session.peer.ip();
        let elsewhere =
            mine.iter().filter(|other| other.peer.ip() != here && acting(other) == acting(session));
        let mut others: Vec<Elsewhere> =
            elsewhere.map(|other| Elsewhere { address: other.peer.ip(), session: other.id }).collect();
        // Sessions stand in the order in which they were opened.
        others.sort_by_key(|other| other.address);
        others.dedup_by_key(|other| other.address);
        others.truncate(ELSEWHERE_MAX);
        mine.push(Arc::clone(session));
        Some(others)
    }

    /// Forgets a cancel key.
    pub(crate) fn forget_cancel(&self, process: u32) {
        self.0.lock().cancels.remove(&process);
    }

    /// Counts a session out.
    pub(crate) fn leave(&self, session: &Session) {
        let mut open = self.0.lock();
        if let Some(mine) = open.people.get_mut(&session.principal.id) {
            mine.retain(|other| other.id != session.id);
            if mine.is_empty() {
                open.people.remove(&session.principal.id);
            }
        }
    }

    /// Makes a cancel key of `key_bytes` for the client and remembers what it stands for.
    pub(crate) fn cancellable(&self, target: CancelTarget, key_bytes: usize) -> (u32, Vec<u8>) {
        let key: Vec<u8> = random::<32>().into_iter().take(key_bytes).collect();
        let mut open = self.0.lock();
        loop {
            let process = u32::from_be_bytes(random::<4>()) >> 1;
            if process == 0 || open.cancels.contains_key(&process) {
                continue;
            }
            open.cancels.insert(process, (key.clone(), target));
            return (process, key);
        }
    }

    /// Returns what a cancel request is for, when its key is right.
    pub(crate) fn cancel(&self, process: u32, key: &[u8]) -> Option<CancelTarget> {
        let open = self.0.lock();
        let (mine, target) = open.cancels.get(&process)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(mine, key).ok()?;
        Some(target.clone())
    }
}
