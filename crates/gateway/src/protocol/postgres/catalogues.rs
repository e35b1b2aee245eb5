//! The resources' catalogues as last read, shared by all sessions.
//!
//! INVARIANT: unknown until proven. A slot begins with [`Catalogue::unknown`], and falls back to it whenever something
//! may have changed the resource's objects ([`Slot::stale`]); a reading that began before then proves nothing.
//! Deliberately absent: when to read again, which is the sessions' business, and any timer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use model::Need;
use parking_lot::Mutex;

use super::dial::{self, LoginKeys};
use super::mask::Protection;
use super::sql::{Catalogue, Rows};
use crate::control::Upstream;
use crate::error::Failure;
use crate::gate::Structure;
use crate::protected::Protected;

/// A catalogue older than this is to be read again: others than Wardline's sessions may have changed the resource.
pub(crate) const CATALOGUE_AGE_MAX: Duration = Duration::from_secs(60);
/// The same where something is protected: what a view shows may have changed.
pub(crate) const CATALOGUE_AGE_FOLLOWED_MAX: Duration = Duration::from_secs(15);

/// A catalogue, and the number that verdicts under it are remembered by.
#[derive(Debug)]
pub(crate) struct Versioned {
    /// The catalogue.
    pub(crate) catalogue: Catalogue,
    /// 0 for the unknown one; every other content has its own, never used again for another, of whatever resource.
    pub(crate) version: u64,
    /// What the configuration's names mean here, as last asked for.
    protection: Mutex<Option<Meant>>,
}

impl Structure for Versioned {
    fn version(&self) -> u64 {
        self.version
    }

    fn beneath(&self, needs: &[Need]) -> Vec<Need> {
        self.catalogue.beneath(needs)
    }
}

/// A configuration, and what it means under one catalogue.
type Meant = (Arc<Protected>, Arc<Protection>);

impl Versioned {
    fn new(catalogue: Catalogue, version: u64) -> Versioned {
        Versioned { catalogue, version, protection: Mutex::default() }
    }

    /// Returns what a configuration's names mean under this catalogue.
    pub(crate) fn protection(&self, protected: &Arc<Protected>) -> Arc<Protection> {
        let mut meant = self.protection.lock();
        if let Some((of, protection)) = meant.as_ref()
            && Arc::ptr_eq(of, protected)
        {
            return Arc::clone(protection);
        }
        let protection = Arc::new(Protection::resolve(protected, &self.catalogue));
        *meant = Some((Arc::clone(protected), Arc::clone(&protection)));
        protection
    }
}

/// Where a catalogue is. A resource that a reload points to another database has another one; two resources on one
/// database have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    host: String,
    port: u16,
    database: String,
}

/// The catalogues of all resources, and the keys to read them with.
#[derive(Debug)]
pub(crate) struct Catalogues {
    /// What logging in at the resources needs, derived once.
    pub(crate) keys: LoginKeys,
    slots: Mutex<HashMap<Place, Arc<Slot>>>,
    versions: Arc<AtomicU64>,
}

impl Catalogues {
    /// Starts without any.
    pub(crate) fn new() -> Catalogues {
        Catalogues { keys: LoginKeys::new(), slots: Mutex::default(), versions: Arc::default() }
    }

    /// Returns the resource's place; sessions keep it. There are as many as databases that were ever configured.
    pub(crate) fn slot(&self, upstream: &Upstream) -> Arc<Slot> {
        let Upstream { id: _, host, port, database, tls: _, bounds: _, identity: _, protected } = upstream;
        let place = Place { host: host.clone(), port: *port, database: database.clone() };
        let mut slots = self.slots.lock();
        let slot = slots.entry(place).or_insert_with(|| Arc::new(Slot::new(Arc::clone(&self.versions))));
        if protected.is_some() && !slot.follows.swap(true, Ordering::Relaxed) {
            // What was read before does not tell where values come from.
            slot.stale();
        }
        Arc::clone(slot)
    }

    /// Reads the catalogue on a connection of its own. Whoever comes while it is being read waits for that reading,
    /// and shares its outcome unless the slot was marked stale after the reading began.
    ///
    /// # Errors
    ///
    /// When the resource cannot be reached or its answer not be understood; the slot stays as it was. Also when the
    /// slot was marked stale during the reading of its own: then it is to be called again.
    pub(crate) async fn refresh(
        &self,
        slot: &Slot,
        upstream: &Upstream,
        credential: &vault::Credential,
        keys: &LoginKeys,
    ) -> Result<(), Failure> {
        let came = slot.attempts();
        let _flight = slot.flight.lock().await;
        if let Some(outcome) = slot.outcome_since(came) {
            return outcome;
        }
        let ticket = slot.begin();
        let outcome = read(upstream, credential, keys, slot.follows.load(Ordering::Relaxed)).await;
        slot.end(&ticket, outcome)
    }
}

/// Reads the catalogue on a connection of its own; with `follows` also what following values needs.
///
/// # Errors
/// When the resource cannot be reached or its answer not be understood.
pub(crate) async fn read(
    upstream: &Upstream,
    credential: &vault::Credential,
    keys: &LoginKeys,
    follows: bool,
) -> Result<Catalogue, Failure> {
    let parameters = [("application_name", "wardline catalogue"), ("client_encoding", "UTF8")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut dialed = dial::dial(upstream, credential, &parameters, keys).await?;
    let mut answers = Vec::with_capacity(Catalogue::QUERIES.len());
    for (at, query) in Catalogue::QUERIES.into_iter().enumerate() {
        let needless = !follows && Catalogue::FOR_LINEAGE.contains(&at);
        answers.push(if needless { Rows::new() } else { dial::rows(&mut dialed.stream, query).await? });
    }
    dial::leave(dialed.stream).await;
    // A large catalogue takes tens of milliseconds to build; sessions share this thread.
    tokio::task::spawn_blocking(move || Catalogue::from_rows(&answers))
        .await
        .map_err(|_| Failure::Ours("building the catalogue failed".to_owned()))?
        .map_err(|error| Failure::UpstreamMalformed(error.to_string()))
}

/// One resource's catalogue.
#[derive(Debug)]
pub(crate) struct Slot {
    current: ArcSwap<Versioned>,
    unknown: Arc<Versioned>,
    state: Mutex<State>,
    /// Held while reading.
    flight: tokio::sync::Mutex<()>,
    /// The last version of all slots: a resource may move from one slot to another, and its verdicts must not.
    versions: Arc<AtomicU64>,
    /// A resource here protects something: what following values needs is read too.
    follows: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// How often the slot was marked stale.
    generation: u64,
    /// When the reading of what is current began; nothing while it is the unknown catalogue.
    read_at: Option<Instant>,
    /// What was read last, even if stale: when it is read again unchanged, its version is good again.
    last: Option<Arc<Versioned>>,
    /// Readings that came to an end, and of the last one its generation and why it failed.
    attempts: u64,
    attempt_generation: u64,
    attempt_failed: Option<String>,
    /// Sessions with something under way that may change objects, or make such a change be seen by others.
    changing: usize,
    /// How often such a change may have come to be seen.
    epoch: u64,
}

/// Something under way that may change objects, or make such a change be seen: until it is over, nobody can tell under
/// which objects the resource reads a statement of another session.
#[derive(Debug)]
pub(crate) struct Change {
    slot: Arc<Slot>,
    /// Its transaction goes on: others see nothing of it.
    unseen: bool,
}

impl Change {
    /// It is over; with `seen` others may see what it did.
    pub(crate) fn end(mut self, seen: bool) {
        self.unseen = !seen;
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if !self.unseen {
            self.slot.stale();
        }
        let mut state = self.slot.state.lock();
        state.changing = state.changing.saturating_sub(1);
        state.epoch += u64::from(!self.unseen);
    }
}

/// A reading that began.
#[derive(Debug)]
struct Ticket {
    generation: u64,
    began: Instant,
}

impl Slot {
    fn new(versions: Arc<AtomicU64>) -> Slot {
        let unknown = Arc::new(Versioned::new(Catalogue::unknown(), 0));
        Slot {
            current: ArcSwap::new(Arc::clone(&unknown)),
            unknown,
            state: Mutex::default(),
            flight: tokio::sync::Mutex::new(()),
            versions,
            follows: AtomicBool::new(false),
        }
    }

    /// Returns the catalogue to inspect with; the unknown one, version 0, until one was read.
    pub(crate) fn current(&self) -> Arc<Versioned> {
        self.current.load_full()
    }

    /// Returns the unknown catalogue, version 0.
    pub(crate) fn unknown(&self) -> Arc<Versioned> {
        Arc::clone(&self.unknown)
    }

    /// Returns how long ago the reading of the current catalogue began; nothing while it is unknown.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.state.lock().read_at.map(|at| at.elapsed())
    }

    /// Tells whether the current catalogue is known and not too old.
    pub(crate) fn is_fresh(&self) -> bool {
        let follows = self.follows.load(Ordering::Relaxed);
        let max = if follows { CATALOGUE_AGE_FOLLOWED_MAX } else { CATALOGUE_AGE_MAX };
        self.age().is_some_and(|age| age <= max)
    }

    /// Marks that objects of the resource may have changed: nothing is proven until the catalogue was read again. To
    /// be called both before such a change is sent, and again when it took effect (its transaction ended): a reading
    /// in between still sees the old state.
    pub(crate) fn stale(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.read_at = None;
        self.current.store(Arc::clone(&self.unknown));
    }

    /// Notes that something is about to be sent that may change objects, or make a change be seen by others.
    pub(crate) fn change(self: &Arc<Slot>) -> Change {
        self.state.lock().changing += 1;
        Change { slot: Arc::clone(self), unseen: false }
    }

    /// Returns a number that is the same later if no change of objects came to be seen in between; nothing while one of
    /// another session may. `own` tells whether the session has one under way itself.
    pub(crate) fn steady(&self, own: bool) -> Option<u64> {
        let state = self.state.lock();
        (state.changing == usize::from(own)).then_some(state.epoch)
    }

    fn attempts(&self) -> u64 {
        self.state.lock().attempts
    }

    /// Returns how a reading went that ended since `came` and that nothing has outdated.
    fn outcome_since(&self, came: u64) -> Option<Result<(), Failure>> {
        let state = self.state.lock();
        if state.attempts == came || state.attempt_generation != state.generation {
            return None;
        }
        let failed = state.attempt_failed.as_ref();
        Some(failed.map_or(Ok(()), |why| Err(Failure::Ours(format!("reading the catalogue: {why}")))))
    }

    fn begin(&self) -> Ticket {
        Ticket { generation: self.state.lock().generation, began: Instant::now() }
    }

    fn end(&self, ticket: &Ticket, outcome: Result<Catalogue, Failure>) -> Result<(), Failure> {
        let mut state = self.state.lock();
        state.attempts += 1;
        state.attempt_generation = ticket.generation;
        state.attempt_failed = outcome.as_ref().err().map(ToString::to_string);
        let catalogue = outcome?;
        if state.generation != ticket.generation {
            return Err(Failure::Ours("the catalogue changed while it was read".to_owned()));
        }
        let versioned = match &state.last {
            Some(last) if last.catalogue.digest() == catalogue.digest() => Arc::clone(last),
            Some(_) | None => {
                let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
                Arc::new(Versioned::new(catalogue, version))
            }
        };
        state.read_at = Some(ticket.began);
        state.last = Some(Arc::clone(&versioned));
        self.current.store(versioned);
        Ok(())
    }
}

#[cfg(test)]
impl Slot {
    /// Puts a catalogue in place as a reading would.
    pub(crate) fn replace(&self, catalogue: Catalogue) {
        let ticket = self.begin();
        self.end(&ticket, Ok(catalogue)).expect("nothing happens in between");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use model::ResourceId;

    #[test]
    fn nothing_is_steady_while_objects_may_change() {
        let slot = Catalogues::new().slot(&upstream("one"));
        slot.replace(Catalogue::from_rows(&vec![Rows::new(); Catalogue::QUERIES.len()]).unwrap());
        let before = slot.steady(false).unwrap();
        let (one, other) = (slot.change(), slot.change());
        assert_eq!(slot.steady(false), None);
        assert_eq!(slot.steady(true), None, "another has one, too");
        one.end(false);
        assert_eq!(slot.steady(true), Some(before), "but for the session's own");
        assert_eq!(slot.steady(false), None, "another goes on");
        other.end(false);
        assert_eq!(slot.steady(false), Some(before), "nobody saw anything of it");
        assert!(slot.is_fresh());
        slot.change().end(true);
        assert_ne!(slot.steady(false), Some(before));
        assert!(!slot.is_fresh(), "read again");
        let before = slot.steady(false);
        drop(slot.change());
        assert_ne!(slot.steady(false), before, "a session that ends in the middle of it");
    }

    use super::*;
    use crate::tls::UpstreamTls;

    pub(crate) fn upstream(database: &str) -> Upstream {
        Upstream {
            id: ResourceId("r".into()),
            host: "127.0.0.1".into(),
            port: 5432,
            database: database.into(),
            tls: UpstreamTls::Disabled { exception: "test".into() },
            bounds: crate::Bounds::default(),
            identity: crate::UpstreamIdentity::None,
            protected: None,
        }
    }

    fn catalogue(relation: &str) -> Catalogue {
        let row = ["public", relation, "r", "false", "false", "false", "false"];
        let mut row: Vec<Option<String>> = row.iter().map(|text| Some((*text).to_owned())).collect();
        row.push(None);
        let mut answers = vec![Rows::new(); Catalogue::QUERIES.len()];
        answers[2].push(row);
        Catalogue::from_rows(&answers).unwrap()
    }

    fn read_again(slot: &Slot, relation: &str) {
        slot.replace(catalogue(relation));
    }

    #[test]
    fn the_version_follows_the_content() {
        let catalogues = Catalogues::new();
        let slot = catalogues.slot(&upstream("r"));
        assert_eq!((slot.current().version, slot.age()), (0, None));
        for (relation, version) in [("a", 1), ("a", 1), ("b", 2), ("a", 3)] {
            read_again(&slot, relation);
            assert_eq!(slot.current().version, version);
            assert!(slot.is_fresh());
        }
        assert!(Arc::ptr_eq(&slot, &catalogues.slot(&upstream("r"))));
        assert!(!Arc::ptr_eq(&slot, &catalogues.slot(&upstream("s"))));
    }

    #[test]
    fn a_resource_that_moves_takes_nothing_along() {
        let catalogues = Catalogues::new();
        let here = catalogues.slot(&upstream("here"));
        read_again(&here, "a");
        let moved = [
            upstream("there"),
            Upstream { port: 5433, ..upstream("here") },
            Upstream { host: "localhost".into(), ..upstream("here") },
        ];
        for moved in moved {
            let there = catalogues.slot(&moved);
            assert_eq!((there.current().version, there.is_fresh()), (0, false), "{moved:?}");
            read_again(&there, "a");
            assert_ne!(there.current().version, here.current().version, "verdicts do not move along");
        }
        let alias = Upstream { id: ResourceId("alias".into()), ..upstream("here") };
        catalogues.slot(&alias).stale();
        assert!(!here.is_fresh(), "one database, one catalogue");
    }

    #[test]
    fn nothing_is_proven_after_stale_until_read_again() {
        let slot = Slot::new(Arc::default());
        read_again(&slot, "a");
        slot.stale();
        assert_eq!((slot.current().version, slot.is_fresh(), !slot.is_fresh()), (0, false, true));
        read_again(&slot, "a");
        assert!(slot.is_fresh());
        assert_eq!((slot.current().version, slot.is_fresh()), (1, true));
    }

    #[test]
    fn a_reading_that_began_before_stale_proves_nothing() {
        let slot = Slot::new(Arc::default());
        let ticket = slot.begin();
        slot.stale();
        assert!(slot.end(&ticket, Ok(catalogue("a"))).is_err());
        assert_eq!((slot.current().version, slot.is_fresh()), (0, false));
        assert!(slot.outcome_since(0).is_none(), "who waited has to read again");
    }

    #[test]
    fn who_waited_shares_the_outcome() {
        let slot = Slot::new(Arc::default());
        assert!(slot.outcome_since(slot.attempts()).is_none());
        let came = slot.attempts();
        read_again(&slot, "a");
        assert!(slot.outcome_since(came).unwrap().is_ok());
        let came = slot.attempts();
        let ticket = slot.begin();
        slot.end(&ticket, Err(Failure::UpstreamSilent)).unwrap_err();
        assert!(slot.outcome_since(came).unwrap().is_err());
        assert_eq!(slot.current().version, 1, "a failed reading changes nothing");
    }
}
