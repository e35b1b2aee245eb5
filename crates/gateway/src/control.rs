//! What the gateway needs from the rest of the process.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::scram::Mechanism;
use identity::{Reason, ScramSignIn};
use model::{Micros, PersonId, Principal, ResourceId, Secret};
use tokio::sync::oneshot;

use crate::acting::UpstreamIdentity;
use crate::limits::Limits;
use crate::protected::Protected;
use crate::tls::{ClientCertificate, UpstreamTls};

/// One protected PostgreSQL database.
#[derive(Debug)]
pub struct Upstream {
    /// The name clients ask for as their database.
    pub id: ResourceId,
    /// Where it answers: a host name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database's name there.
    pub database: String,
    /// How the connection is protected.
    pub tls: UpstreamTls,
    /// The bounds of its sessions, where they are tighter than the listener's.
    pub bounds: Bounds,
    /// How it is told who acts.
    pub identity: UpstreamIdentity,
    /// What of its content is protected; with `None` results leave as they come.
    pub protected: Option<Arc<Protected>>,
}

/// How long sessions on one resource may last; what is left out is the listener's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Without an operation.
    pub idle_timeout: Option<Duration>,
    /// From sign-in, whatever it does.
    pub session_lifetime_max: Option<Duration>,
}

impl Bounds {
    /// Returns the tighter of both for the idle timeout and the lifetime.
    pub(crate) fn within(self, limits: &Limits) -> (Duration, Duration) {
        let tighter = |own: Option<Duration>, all: Duration| own.map_or(all, |own| own.min(all));
        (
            tighter(self.idle_timeout, limits.idle_timeout),
            tighter(self.session_lifetime_max, limits.session_lifetime_max),
        )
    }
}

impl Upstream {
    /// Tells whether both are the same database.
    pub(crate) fn is_at(&self, other: &Upstream) -> bool {
        self.host == other.host && self.port == other.port && self.database == other.database
    }
}

/// Who wants a session, before anything is proven.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The login name.
    pub name: String,
    /// The resource.
    pub resource: String,
    /// What the client program calls itself.
    pub client: String,
    /// From where.
    pub peer: SocketAddr,
    /// How the client wants to sign in, where it says so.
    pub wanted: Option<String>,
}

/// A sign-in that waits until its person approves it in a browser.
#[derive(Debug)]
pub struct Approval {
    /// What the client shows its person: where to go, and the code to type there.
    pub notice: String,
    /// How long it waits.
    pub patience: Duration,
    /// What the person says. Dropping it tells that nobody waits any more.
    pub answer: oneshot::Receiver<Result<Principal, Reason>>,
}

/// What becomes of a person who is connected from two addresses at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondDevice {
    /// The entry of the second session says so.
    #[default]
    Noted,
    /// That, and an incident.
    Incident,
    /// The second session is refused.
    Refused,
}

/// What somebody is told whose right to a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// That it is over.
    pub words: String,
    /// How to ask again.
    pub hint: String,
}

/// Answers the gateway's questions about people, resources, policy and time.
pub trait Control: Send + Sync + 'static {
    /// Begins to ask for approval in a browser; `None` where a password or token is asked for instead. Depends on the claim
    /// and the configuration alone, never on whether there is such a person.
    fn approval(&self, claim: &Claim) -> impl Future<Output = Option<Result<Approval, Reason>>> + Send {
        let _ = claim;
        async { None }
    }

    /// Checks a password or token, counting failures. The reason is for the trail only.
    fn sign_in(&self, name: &str, secret: Secret) -> impl Future<Output = Result<Principal, Reason>> + Send;

    /// Finds the program of that name by the certificate that it showed. The reason is for the trail only.
    fn sign_in_certificate(&self, name: &str, certificate: &ClientCertificate) -> Result<Principal, Reason>;

    /// Begins SCRAM: returns the state and the server's first message, also for unknown people.
    fn scram_start(
        &self,
        name: &str,
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        client_first: &[u8],
    ) -> impl Future<Output = Result<(ScramSignIn, String), Reason>> + Send;

    /// Ends SCRAM, counting failures: returns the principal and the server's last message.
    fn scram_finish(
        &self,
        sign_in: ScramSignIn,
        name: &str,
        client_final: &[u8],
    ) -> impl Future<Output = Result<(Principal, String), Reason>> + Send;

    /// Returns the resource of that name.
    fn resource(&self, name: &str) -> Option<Arc<Upstream>>;

    /// Returns the credential for logging in at the resource; `None` when there is none that can be read.
    fn credential(&self, resource: &ResourceId) -> Option<vault::Credential>;

    /// Returns what may be in force in place of the credential, while it is being changed.
    fn spare_credential(&self, _resource: &ResourceId) -> Option<vault::Credential> {
        None
    }

    /// Tells what becomes of a person who is connected from two addresses at once.
    fn second_device(&self) -> SecondDevice {
        SecondDevice::default()
    }

    /// Returns the policy in force; cheap.
    fn snapshot(&self) -> Arc<policy::Snapshot>;

    /// Returns a watch of the version of the policy in force.
    fn snapshot_changes(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Returns what a person is told whose session ends because nothing permits it any more, where they had the right for
    /// a time; asked once, by a session that ends.
    fn parting(&self, _person: PersonId, _resource: &ResourceId) -> Option<Parting> {
        None
    }

    /// Returns the trail.
    fn trail(&self) -> &trail::Trail;

    /// Returns the time.
    fn now(&self) -> Micros;
}
