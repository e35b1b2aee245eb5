//! Whole sessions between a client and a resource that are both played here, over a trail whose commits are held
//! back: what waits for an entry is seen to wait.

mod beneath;
mod masking;
mod order;
mod patients;
mod purpose;
mod states;

use std::net::SocketAddr;

use model::{PersonId, Phase, Principal, ResourceId, Secret, SessionId};
use parking_lot::Mutex;
use policy::{CedarFile, Emergencies, Person, Place, Role, Rule, Snapshot, Sources};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::catalogues::Catalogues;
use super::super::codec::{self, HEADER};
use super::super::sql::Catalogue;
use super::super::sql::tests::catalogue;
use super::super::verdicts::Verdicts;
use super::*;
use crate::held::{HeldTrail, PATIENCE};
use crate::limits::Limits;
use crate::listen::{ListenerConfig, ListenerTls};
use crate::protected::Protected;
use crate::session::{CancelTarget, Pulse, Session};

/// Long enough that something wrongly released would have come; what is right never depends on it.
const QUIET: Duration = Duration::from_millis(120);

struct World {
    held: HeldTrail,
    snapshot: Mutex<Arc<Snapshot>>,
    versions: watch::Sender<u64>,
    upstream: Arc<Upstream>,
}

impl Control for World {
    async fn sign_in(&self, _name: &str, _secret: Secret) -> Result<Principal, identity::Reason> {
        panic!("the session is signed in")
    }

    fn sign_in_certificate(
        &self,
        _name: &str,
        _certificate: &crate::tls::ClientCertificate,
    ) -> Result<Principal, identity::Reason> {
        Err(identity::Reason::UnknownPerson)
    }

    async fn scram_start(
        &self,
        _name: &str,
        _mechanism: identity::scram::Mechanism,
        _binding: Option<&[u8]>,
        _client_first: &[u8],
    ) -> Result<(identity::ScramSignIn, String), identity::Reason> {
        panic!("the session is signed in")
    }
    async fn scram_finish(
        &self,
        _sign_in: identity::ScramSignIn,
        _name: &str,
        _client_final: &[u8],
    ) -> Result<(Principal, String), identity::Reason> {
        panic!("the session is signed in")
    }
    fn resource(&self, _name: &str) -> Option<Arc<Upstream>> {
        Some(self.upstream.clone())
    }
    fn credential(&self, _resource: &ResourceId) -> Option<vault::Credential> {
        None
    }
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.lock().clone()
    }
    fn snapshot_changes(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }
    fn trail(&self) -> &trail::Trail {
        &self.held.trail
    }
    fn now(&self) -> Micros {
        Micros(1_795_426_200_000_000)
    }
}

/// Nora may do everything, or read everything but `patients`.
fn policy(version: u64, all: bool) -> Arc<Snapshot> {
    policy_with(version, all, false)
}

fn policy_with(version: u64, all: bool, disabled: bool) -> Arc<Snapshot> {
    policy_and(version, all, disabled, &[])
}

/// What Nora's sessions may be for.
const PURPOSES: [&str; 2] = ["treatment", "research"];

fn policy_and(version: u64, all: bool, disabled: bool, cedar: &[CedarFile]) -> Arc<Snapshot> {
    policy_of(version, all, disabled, false, cedar)
}

fn policy_of(version: u64, all: bool, disabled: bool, unmasks: bool, cedar: &[CedarFile]) -> Arc<Snapshot> {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let place = Place { file: "test".into(), line: 1 };
    let everything = patterns(if all { &["*"] } else { &[] });
    let rule = Rule {
        resource: "hospital".into(),
        read: if all { patterns(&["*"]) } else { patterns(&["public.notes"]) },
        write: everything.clone(),
        define: everything.clone(),
        execute: everything,
        transfer: all,
        administer: all,
        unmask: if unmasks { vec!["*".to_owned()] } else { Vec::new() },
        purposes: Vec::new(),
        until: None,
        step_up_s: None,
        place: place.clone(),
    };
    let roles = [Role { name: "nurse".into(), rules: vec![rule], place }];
    let nora = Person {
        id: PersonId(1),
        name: "nora".into(),
        roles: vec!["nurse".into()],
        disabled,
        program: false,
    };
    let resources = [ResourceId("hospital".into())];
    let sources = Sources {
        roles: &roles,
        cedar,
        people: &[nora],
        locks: &[],
        factors: &[],
        resources: &resources,
        classes: &[],
        purposes: &PURPOSES.map(Into::into),
        emergencies: &Emergencies::default(),
        courses: &[],
        dues: &[],
        delegations: &[],
    };
    Arc::new(Snapshot::compile(&sources, version).unwrap())
}

/// One side of the session, as the test plays it.
struct Side {
    stream: TcpStream,
    /// What arrived and was not looked at.
    arrived: Vec<u8>,
}

impl Side {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn more(&mut self) -> usize {
        let mut piece = [0; 16 << 10];
        let count =
            timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("something arrives").unwrap_or(0);
        self.arrived.extend_from_slice(&piece[..count]);
        count
    }

    /// Reads one message: its type and body. `None` when the other side closed.
    async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(length) = self.arrived.get(1..HEADER).and_then(|l| <[u8; 4]>::try_from(l).ok()) {
                let length = 1 + usize::try_from(u32::from_be_bytes(length)).unwrap();
                if self.arrived.len() >= length {
                    let rest = self.arrived.split_off(length);
                    let frame = std::mem::replace(&mut self.arrived, rest);
                    return Some((frame[0], frame[HEADER..].to_vec()));
                }
            }
            if self.more().await == 0 {
                return None;
            }
        }
    }

    /// Reads messages and checks their types.
    async fn expect(&mut self, kinds: &str) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        for wanted in kinds.bytes() {
            let (kind, body) = self.message().await.expect("the session goes on");
            let shown = || (char::from(kind), String::from_utf8_lossy(&body).into_owned());
            assert_eq!(kind, wanted, "of {kinds}, got {:?}", shown());
            bodies.push(body);
        }
        bodies
    }

    /// Reads what is left up to the close.
    async fn rest(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(message) = self.message().await {
            all.push(message);
        }
        all
    }

    /// At most the first `may` of these messages arrive while the entry is held back; all of them once `release` let
    /// it go.
    async fn expect_held(&mut self, may: usize, kinds: &str, release: impl FnOnce()) {
        let mut come = 0;
        while let Ok(message) = timeout(QUIET, self.message()).await {
            let (kind, _) = message.expect("the session goes on");
            assert!(come < may, "{} of {kinds} arrived too early", char::from(kind));
            assert_eq!(kind, kinds.as_bytes()[come]);
            come += 1;
        }
        release();
        self.expect(&kinds[come..]).await;
    }

    /// Nothing arrives.
    async fn quiet(&mut self) {
        assert!(self.arrived.is_empty(), "{:?}", String::from_utf8_lossy(&self.arrived));
        let mut piece = [0; 64];
        if let Ok(count) = timeout(QUIET, self.stream.read(&mut piece)).await {
            panic!("arrived too early: {:?}", String::from_utf8_lossy(&piece[..count.unwrap()]));
        }
    }
}

/// A session, its two sides, and what it runs on.
struct Scene {
    client: Side,
    server: Side,
    world: Arc<World>,
    session: JoinHandle<(Ending, Duration, Option<Failure>)>,
    slot: Arc<Slot>,
    /// Where the resource takes cancel requests.
    cancels: TcpListener,
    drain: watch::Sender<Drain>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

impl Scene {
    async fn begin() -> Scene {
        Scene::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Scene {
        Scene::protecting(limits, None, catalogue()).await
    }

    async fn protecting(limits: Limits, protected: Option<Arc<Protected>>, known: Catalogue) -> Scene {
        Scene::under(policy(1, true), limits, protected, known).await
    }

    async fn under(
        snapshot: Arc<Snapshot>,
        limits: Limits,
        protected: Option<Arc<Protected>>,
        known: Catalogue,
    ) -> Scene {
        let cancels = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Arc::new(Upstream {
            id: ResourceId("hospital".into()),
            host: "127.0.0.1".into(),
            port: cancels.local_addr().unwrap().port(),
            database: "hospital".into(),
            tls: crate::tls::UpstreamTls::Disabled { exception: "test".into() },
            bounds: crate::Bounds::default(),
            identity: crate::UpstreamIdentity::None,
            protected,
        });
        let world = Arc::new(World {
            held: HeldTrail::open(),
            snapshot: Mutex::new(snapshot),
            versions: watch::channel(1).0,
            upstream: upstream.clone(),
        });
        let (drain, draining) = watch::channel(Drain::No);
        let peer: SocketAddr = "127.0.0.1:5".parse().unwrap();
        let shared = Arc::new(Shared {
            config: ListenerConfig {
                address: peer,
                tls: ListenerTls::PlaintextOnLoopback,
                scram: false,
                limits,
            },
            control: world.clone(),
            sessions: Arc::default(),
            seats: Arc::default(),
            catalogues: Catalogues::new(),
            verdicts: Verdicts::new(),
            filters: crate::filters::Filters::default(),
            drain: draining,
        });
        let slot = shared.catalogues.slot(&upstream);
        slot.replace(known);
        let session = Arc::new(Session {
            id: SessionId(7),
            principal: Principal {
                id: PersonId(1),
                name: "nora".into(),
                roles: ["nurse".into()].into(),
                agent: None,
                shown: model::Shown::alone("password"),
            },
            resource: upstream.id.clone(),
            peer,
            client: "test".into(),
            since: Micros(1),
            pulse: Pulse::since(Micros(1), None),
            certificate: None,
            purpose: crate::session::Stated::first(None),
        });
        let cancel = CancelTarget {
            session: session.clone(),
            upstream: upstream.clone(),
            process: 77,
            key: vec![9; 4],
        };
        let gate = Gate::new(session, world.held.trail.clone(), world.snapshot());
        let (client, near) = pair().await;
        let (far, server) = pair().await;
        let relay = Relay::new(shared, gate, upstream, Stream::Plain(near), Stream::Plain(far), cancel);
        let session = tokio::spawn(relay.run());
        let side = |stream| Side { stream, arrived: Vec::new() };
        Scene { client: side(client), server: side(server), world, session, slot, cancels, drain }
    }

    fn hold(&self) {
        self.world.held.hold();
    }

    fn release(&self) {
        self.world.held.release();
    }

    /// Puts another policy in force.
    fn publish(&self, version: u64, all: bool) {
        *self.world.snapshot.lock() = policy(version, all);
        self.world.versions.send_replace(version);
    }

    /// Puts a policy in force by which Nora may do everything but what a text forbids.
    fn forbid(&self, version: u64, text: &str) {
        let file = CedarFile { path: "test.cedar".into(), text: text.into() };
        *self.world.snapshot.lock() = policy_and(version, true, false, &[file]);
        self.world.versions.send_replace(version);
    }

    /// Disables the person.
    fn withdraw(&self) {
        *self.world.snapshot.lock() = policy_with(2, true, true);
        self.world.versions.send_replace(2);
    }

    /// Asks a simple query, answers it with `answer`, and returns what the client gets.
    async fn query(&mut self, text: &str, answer: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.client.send(&simple(text)).await;
        let sent = self.server.expect("Q").await;
        assert_eq!(sent[0], [text.as_bytes(), b"\0"].concat());
        self.server.send(answer).await;
        let mut got = Vec::new();
        loop {
            let message = self.client.message().await.expect("the session goes on");
            let last = message.0 == b'Z';
            got.push(message);
            if last {
                return got;
            }
        }
    }

    /// The session goes on as if nothing had been.
    async fn still_serves(&mut self) {
        let got = self.query("SELECT id FROM notes", &rows(1, b'I')).await;
        assert_eq!(kinds(&got), "TDCZ");
    }

    /// The client leaves; returns how the session saw its end.
    async fn end(self) -> (Ending, Option<Failure>) {
        drop(self.client);
        let (ending, _, failure) = timeout(PATIENCE, self.session).await.expect("it ends").unwrap();
        (ending, failure)
    }
}

fn kinds(messages: &[(u8, Vec<u8>)]) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec::message(&mut out, kind, |out| out.extend_from_slice(body));
    out
}

fn simple(text: &str) -> Vec<u8> {
    framed(b'Q', &[text.as_bytes(), b"\0"].concat())
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    framed(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    framed(b'B', format!("{portal}\0{name}\0\0\0\0\0\0\0").as_bytes())
}

fn execute(portal: &str, rows_max: u8) -> Vec<u8> {
    let mut body = format!("{portal}\0\0\0\0").into_bytes();
    body.push(rows_max);
    framed(b'E', &body)
}

fn close(kind: char, name: &str) -> Vec<u8> {
    framed(b'C', format!("{kind}{name}\0").as_bytes())
}

fn sync() -> Vec<u8> {
    framed(b'S', b"")
}

fn ready(status: u8) -> Vec<u8> {
    framed(b'Z', &[status])
}

fn row() -> Vec<u8> {
    framed(b'D', b"\0\x01\0\0\0\x07a datum")
}

fn done(tag: &str) -> Vec<u8> {
    framed(b'C', format!("{tag}\0").as_bytes())
}

fn error(code: &str) -> Vec<u8> {
    framed(b'E', format!("SERROR\0VERROR\0C{code}\0Msomething\0\0").as_bytes())
}

const PARSED: &[u8] = b"1\0\0\0\x04";
const BOUND: &[u8] = b"2\0\0\0\x04";
const CLOSED: &[u8] = b"3\0\0\0\x04";
const NO_DATA: &[u8] = b"n\0\0\0\x04";
const SUSPENDED: &[u8] = b"s\0\0\0\x04";
const DESCRIBED: &[u8] = b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
const COPY_IN: &[u8] = b"G\0\0\0\x07\0\0\0";

/// A described result of so many rows.
fn rows(count: usize, status: u8) -> Vec<u8> {
    let mut out = DESCRIBED.to_vec();
    (0..count).for_each(|_| out.extend(row()));
    out.extend(done(&format!("SELECT {count}")));
    out.extend(ready(status));
    out
}
