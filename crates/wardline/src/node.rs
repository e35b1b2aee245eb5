//! Everything that is open in this process: configuration, people, credentials, policy and trail.
//!
//! A [`Node`] owns the data folder. The server keeps one for its life; a command opens one for a single change when no
//! server runs. Either way a change goes through the same functions (`changes`), so it is recorded the same way.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use gateway::{Sessions, Upstream};
use identity::scram::Salts;
use model::{Kind, Micros, OperationId, PersonId, Record, ResourceId};
use parking_lot::Mutex;
use phi::operator::KeyId;
use phi::{Class, Keys};
use policy::{
    Delegation, Due, Emergencies, Emergency, Lock as PolicyLock, Locked, Person, Role, Rule, Snapshot,
    Sources,
};
use registry::{
    AccountKind, DelegationRow, Details, Home, LockRow, LockedRow, PersonRow, Registry, RequestRow, Training,
};
use tokio::sync::watch;
use trail::Trail;
use vault::{Vault, VaultWriter};

use crate::accounts::Uses;
use crate::admin::{Actor, Refusal};
use crate::config::Config;
use crate::data::{DataFolder, Lock};
use crate::emergency::mode::Mode;
use crate::hashing::Hashing;
use crate::keep::{self, Begin, Kept};
use crate::oidc::Oidc;
use crate::output::{self, hex};
use crate::parting::Partings;
use crate::standing::{Known, Standing};
use crate::training::{self, Lesson};
use crate::web::{Approvals, Browsers, Ceremonies};
use crate::{past, upstream, workloads};

/// Longest `detail` that this crate records; far below the trail's own limit.
pub(crate) const DETAIL_BYTES_MAX: usize = 4 << 10;

/// The generation of the keys behind tokens. Under another number every token is another.
pub(crate) const PHI_KEYS: u8 = 1;

/// Entries after which the last change is repeated in the trail: as many are read in 1.2 s (measured, see `standing`).
const REPEAT_AFTER_ENTRIES: u64 = 500_000;

/// Configured resources by name.
pub(crate) type Upstreams = BTreeMap<String, Arc<Upstream>>;

/// One open node.
pub(crate) struct Node {
    pub(crate) folder: DataFolder,
    pub(crate) registry: Registry,
    pub(crate) trail: Trail,
    /// Where its complete segments are kept.
    pub(crate) kept: Arc<Kept>,
    pub(crate) vault: Vault,
    pub(crate) vault_writer: Mutex<VaultWriter>,
    /// One change of a resource's password at a time; the resource may be slow, so it is not the turn of all changes.
    pub(crate) rotating: tokio::sync::Mutex<()>,
    pub(crate) salts: Salts,
    pub(crate) hashing: Hashing,
    /// Sign-ins at identity providers that are under way.
    pub(crate) oidc: Oidc,
    /// What is asked of the directory.
    pub(crate) ldap: crate::ldap::Checks,
    /// Who is signed in in a browser.
    pub(crate) browsers: Browsers,
    /// Sessions that wait for approval in a browser.
    pub(crate) approvals: Approvals,
    /// Passkeys that are being made or used.
    pub(crate) ceremonies: Ceremonies,
    /// Opens the secrets of authenticators.
    pub(crate) totp: identity::totp::Sealer,
    /// The locks in force, as they are in the policy.
    pub(crate) locks: ArcSwap<Vec<LockRow>>,
    /// What is open on all listeners.
    pub(crate) sessions: Arc<Sessions>,
    /// The configuration in force.
    pub(crate) config: ArcSwap<Config>,
    pub(crate) upstreams: ArcSwap<Upstreams>,
    /// What protected values are masked with.
    pub(crate) keys: Keys,
    policy: ArcSwap<Snapshot>,
    policy_version: watch::Sender<u64>,
    /// Sessions depend on the policy, so each change of it is recorded.
    serving: AtomicBool,
    /// How the registry stood to the trail when both were opened.
    standing: Mutex<Standing>,
    /// The last number given to a change of the registry.
    pub(crate) last_change: AtomicU64,
    /// The last change that the registry holds.
    pub(crate) held_change: AtomicU64,
    /// How many entries were durable when the last change was last repeated in the trail.
    repeated_at: AtomicU64,
    /// Whether the registry is gone, and its last copy stands for it.
    pub(crate) emergency_mode: Mode,
    /// Where the registry is, also while it is gone.
    pub(crate) home: Home,
    /// One change at a time: what is checked before the record is still true after it.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// When accounts were last used.
    pub(crate) uses: Uses,
    /// What people have for a time, for the last words of their sessions.
    pub(crate) partings: Partings,
    _lock: Lock,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens everything. The caller took the folder's lock, which the node keeps.
    pub(crate) async fn open(config: Config, lock: Lock) -> anyhow::Result<Node> {
        Node::open_as(config, lock, Begin::Usual).await
    }

    /// As [`Node::open`], with a log that is begun or goes on in another way.
    pub(crate) async fn open_as(config: Config, lock: Lock, begin: Begin) -> anyhow::Result<Node> {
        let folder = DataFolder::at(&config.data);
        let root = load_root_key(&folder.root_key())?;
        let vault = Vault::open(&folder.vault(), &root)?;
        let vault_writer = VaultWriter::open(&folder.vault(), &root)?;
        let home = match config.registry_server()? {
            Some(server) => Home::Postgres(server),
            None => Home::File(folder.registry()),
        };
        let opened = crate::emergency::mode::open(&config, &home).await;
        let (registry, emergency_mode) = opened.with_context(|| format!("the registry {home}"))?;
        let subjects = Subjects::read(&registry).await?;
        let snapshot = compile(&config, &subjects, version_after(0))?;
        let partings = Partings::default();
        partings.put(&subjects.grants, &subjects.emergencies, now());
        let keys = Keys::derive(&root, KeyId::new(PHI_KEYS).expect("from 1 to 99"));
        let upstreams = upstream::table(&config, &keys)?;
        // A store may be a bucket, which is waited for.
        let (asked, key) = (config.clone(), root.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let (trail, kept) = keep::open_trail(&asked, &key, &begin)?;
            let known = Known::of(keep::disk(&asked)?, &key).context("the end of the trail")?;
            anyhow::Ok((trail, kept, known))
        });
        let (trail, kept, known) = opened.await??;
        let held = registry.change().await?;
        Ok(Node {
            standing: Mutex::new(known.standing(held)),
            last_change: AtomicU64::new(held.max(known.admitted)),
            held_change: AtomicU64::new(held),
            repeated_at: AtomicU64::new(0),
            emergency_mode,
            home,
            salts: Salts::new(&root),
            browsers: Browsers::default(),
            approvals: Approvals::default(),
            ceremonies: Ceremonies::default(),
            totp: identity::totp::Sealer::new(&root),
            hashing: Hashing::new(),
            oidc: Oidc::default(),
            ldap: crate::ldap::Checks::default(),
            sessions: Arc::default(),
            policy_version: watch::Sender::new(snapshot.version()),
            policy: ArcSwap::from_pointee(snapshot),
            locks: ArcSwap::from_pointee(subjects.locks),
            upstreams: ArcSwap::from_pointee(upstreams),
            keys,
            config: ArcSwap::from_pointee(config),
            serving: AtomicBool::new(false),
            turn: tokio::sync::Mutex::new(()),
            folder,
            registry,
            trail,
            kept: Arc::new(kept),
            vault,
            vault_writer: Mutex::new(vault_writer),
            uses: Uses::default(),
            partings,
            rotating: tokio::sync::Mutex::new(()),
            _lock: lock,
        })
    }

    /// Records which configuration and policy are in force from now on.
    pub(crate) async fn enter_service(&self) -> anyhow::Result<()> {
        let config = self.config.load_full();
        self.record(&config_activated(&config, self.now())).await?;
        self.keep_policy_in_force().await?;
        self.repeat_change().await?;
        self.serving.store(true, Ordering::Release);
        Ok(())
    }

    /// Records once more which policy is in force, and with it the last change of the registry: whoever opens the
    /// trail looks for it from the end.
    pub(crate) async fn repeat_change(&self) -> Result<(), trail::Error> {
        let snapshot = self.snapshot();
        self.record(&self.policy_activated(&snapshot)).await?;
        self.repeated_at.store(self.trail.durable(), Ordering::Relaxed);
        Ok(())
    }

    /// Tells whether so much was recorded since that finding the last change would take long.
    pub(crate) fn change_is_far_back(&self) -> bool {
        self.trail.durable().saturating_sub(self.repeated_at.load(Ordering::Relaxed)) > REPEAT_AFTER_ENTRIES
    }

    /// Returns how the registry stands to the trail.
    pub(crate) fn standing(&self) -> Standing {
        *self.standing.lock()
    }

    /// Takes an older registry for the one in force; an incident says by whom and why.
    pub(crate) async fn accept_older_registry(&self, actor: &Actor, reason: &str) -> anyhow::Result<()> {
        let Standing::Older { registry, trail } = self.standing() else { return Ok(()) };
        let mut record = Record::new(Kind::Incident, self.now());
        record.person_name = Some(actor.shown().into());
        record.command = Some("serve".into());
        let what = format!(
            "the registry is at change {registry}, the trail at change {trail}; the registry was accepted: {}",
            output::printable(reason)
        );
        record.detail = Some(output::clipped(&what, DETAIL_BYTES_MAX).into());
        self.record_urgent(&record).await?;
        self.registry.as_change(trail).mark().await?;
        self.held_change.store(trail, Ordering::Relaxed);
        *self.standing.lock() = Standing::Current;
        tracing::warn!(registry, trail, reason, "an older registry was accepted");
        Ok(())
    }

    /// Looks again how the registry stands to the trail, after it was filled from a file.
    pub(crate) async fn stand_as_filled(&self) -> Result<(), Refusal> {
        let held = self.registry.change().await.map_err(|error| Refusal::because(&error))?;
        self.last_change.fetch_max(held, Ordering::Relaxed);
        self.held_change.store(held, Ordering::Relaxed);
        let mut standing = self.standing.lock();
        if let Standing::Older { trail, .. } = *standing {
            let older = Standing::Older { registry: held, trail };
            *standing = if held < trail { older } else { Standing::Current };
        }
        Ok(())
    }

    /// Records that the trail lacks a change that the registry holds.
    pub(crate) async fn note_newer_registry(&self, registry: u64, trail: u64) -> Result<(), trail::Error> {
        let what = format!(
            "the registry is at change {registry}, the trail knows none after {trail}: entries are missing from it"
        );
        tracing::error!(registry, trail, "the registry is newer than the trail: entries are missing from it");
        let mut record = Record::new(Kind::Incident, self.now());
        record.detail = Some(what.into());
        self.record_urgent(&record).await
    }

    /// Closes registry and trail; everything recorded so far is durable and under a checkpoint.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        if let Err(refusal) = self.write_uses().await {
            tracing::warn!(%refusal, "when accounts were last used is not known for the last minute");
        }
        self.registry.close().await;
        let (trail, target) = (self.trail.clone(), self.kept.target.clone());
        let closed = tokio::task::spawn_blocking(move || {
            trail.close()?;
            keep::leave_checkpoint(&trail, &target);
            Ok::<(), trail::Error>(())
        });
        closed.await?.context("closing the trail")
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Micros {
        now()
    }

    /// Returns the policy in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.policy.load_full()
    }

    /// Tells when the policy changes.
    pub(crate) fn snapshot_changes(&self) -> watch::Receiver<u64> {
        self.policy_version.subscribe()
    }

    /// Makes a record durable.
    pub(crate) async fn record(&self, record: &Record<'_>) -> Result<(), trail::Error> {
        self.trail.record(record)?.await.map(drop)
    }

    /// As [`Node::record`], also when there is space for refusals and incidents only.
    pub(crate) async fn record_urgent(&self, record: &Record<'_>) -> Result<(), trail::Error> {
        self.trail.record_urgent(record)?.await.map(drop)
    }

    /// Puts the people as they are now, under this configuration, into force.
    pub(crate) async fn publish(&self, config: &Config) -> Result<(), Refusal> {
        let mut subjects = Subjects::read(&self.registry).await.map_err(|error| Refusal::because(&error))?;
        if self.emergency_mode.is_over() {
            // Nobody is known any more.
            subjects =
                Subjects { people: Vec::new(), grants: Vec::new(), emergencies: Vec::new(), ..subjects };
        }
        let version = version_after(self.policy.load().version());
        let (snapshot, kept) =
            compile_kept(config, &subjects, version).map_err(|error| Refusal::new(error.to_string()))?;
        if self.serving.load(Ordering::Acquire) {
            let kept = self.registry.keep_policy(snapshot.digest(), &kept, self.now()).await;
            kept.map_err(|error| Refusal::because(&error))?;
            let recorded = self.record(&self.policy_activated(&snapshot)).await;
            recorded.map_err(|error| Refusal::because(&error))?;
        }
        self.partings.put(&subjects.grants, &subjects.emergencies, self.now());
        self.locks.store(Arc::new(subjects.locks));
        self.policy.store(Arc::new(snapshot));
        self.policy_version.send_replace(version);
        Ok(())
    }

    /// Lets open sessions decide anew by the same policy, because time made its decisions others. Nothing is recorded
    /// of it: a policy and the time give the decision, and a session that ends for it is recorded as ended.
    pub(crate) fn turn_decisions(&self) {
        self.policy_version.send_modify(|_version| {});
    }

    /// Keeps what the policy in force is made from, and returns that policy, made again.
    pub(crate) async fn keep_policy_in_force(&self) -> Result<Snapshot, Refusal> {
        let subjects = Subjects::read(&self.registry).await.map_err(|error| Refusal::because(&error))?;
        let made = compile_kept(&self.config.load(), &subjects, self.snapshot().version());
        let (snapshot, kept) = made.map_err(|error| Refusal::new(error.to_string()))?;
        let kept = self.registry.keep_policy(snapshot.digest(), &kept, self.now()).await;
        kept.map_err(|error| Refusal::because(&error))?;
        Ok(snapshot)
    }

    fn policy_activated(&self, snapshot: &Snapshot) -> Record<'static> {
        let mut record = Record::new(Kind::PolicyActivated, self.now());
        record.policy_version = Some(snapshot.version());
        record.detail = Some(format!("sha256 {}", hex(&snapshot.digest())).into());
        // Of which state of the registry it is.
        let held = self.held_change.load(Ordering::Relaxed);
        record.operation = (held > 0).then_some(OperationId(held));
        record
    }
}

/// Returns the time.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Returns the root key, or says how to get one.
pub(crate) fn load_root_key(path: &Path) -> anyhow::Result<model::RootKey> {
    if !path.exists() {
        let trail = path.parent().is_some_and(|folder| folder.join("trail").exists());
        if trail {
            bail!(
                "there is no root key at {}, and the trail beside it cannot be read without it; bring the key back from \
                 its backup (a new one would not open it)",
                path.display()
            );
        }
        bail!("there is no root key at {}; run `wardline init`, or bring the key back", path.display());
    }
    if let Some(root) = crate::commands::escrow::root_key_of(path)? {
        return Ok(root);
    }
    Ok(vault::root_key_load(path)?)
}

/// A version is the time it was made: unique over restarts, and never going back.
fn version_after(previous: u64) -> u64 {
    now().0.max(previous + 1)
}

/// Whom and what of the registry a policy is about.
#[derive(Debug)]
pub(crate) struct Subjects {
    people: Vec<PersonRow>,
    locks: Vec<LockRow>,
    /// In force when they were read.
    grants: Vec<RequestRow>,
    /// Emergency access in force then.
    emergencies: Vec<registry::Emergency>,
    training: Training,
    accounts: HashMap<PersonId, Details>,
    delegations: Vec<DelegationRow>,
}

/// A role that somebody has on one resource for a time: by a grant, or by emergency access.
#[derive(Debug)]
struct Given {
    /// What its own role is called in the policy: a name with a dot cannot be given to people.
    name: String,
    person: PersonId,
    role: String,
    resource: String,
    /// What it was asked for; emergency access holds for whatever purpose.
    purpose: Option<String>,
    /// From when on its rules do not hold any more, whether or not somebody has ended it.
    until: Option<Micros>,
}

impl Given {
    fn by_grant(grant: &RequestRow) -> Given {
        Given {
            name: format!("grant.{}", grant.number),
            person: grant.person,
            role: grant.role.clone(),
            resource: grant.resource.clone(),
            purpose: Some(grant.purpose.clone()),
            until: grant.granted.map(|(_, until)| until),
        }
    }

    fn by_emergency(emergency: &registry::Emergency) -> Given {
        Given {
            name: format!("emergency.{}", emergency.number),
            person: emergency.person,
            role: emergency.role.clone(),
            resource: emergency.resource.clone(),
            purpose: None,
            until: emergency.taken.map(|(_, until)| until),
        }
    }
}

fn taken(emergency: &registry::Emergency) -> Option<Emergency> {
    let (_, until) = emergency.taken?;
    let (person, resource) = (emergency.person, emergency.resource.clone());
    Some(Emergency { number: emergency.number, person, resource, until })
}

impl Subjects {
    /// Reads them as they are now.
    pub(crate) async fn read(registry: &Registry) -> Result<Subjects, registry::Error> {
        let now = now();
        let mut grants = registry.access_requests(false).await?;
        let mut emergencies = registry.emergencies(false).await?;
        emergencies.retain(|emergency| emergency.is_in_force(now));
        grants.retain(|grant| grant.is_in_force(now));
        Ok(Subjects {
            people: registry.people().await?,
            locks: registry.locks_in_force().await?,
            grants,
            emergencies,
            training: registry.training().await?,
            accounts: registry.account_details().await?,
            delegations: registry.delegations(false).await?,
        })
    }

    fn granted(&self) -> Granted<'_> {
        Granted { grants: &self.grants, emergencies: &self.emergencies }
    }

    /// Returns the locks as policy sees them.
    fn locks(&self) -> Vec<PolicyLock> {
        let lock = |lock: &LockRow| {
            let what = match &lock.locked {
                LockedRow::Person(id) => Locked::Person(*id),
                LockedRow::Role => Locked::Role(lock.name.clone()),
                LockedRow::Resource => Locked::Resource(lock.name.clone()),
                LockedRow::Address => Locked::Address(lock.name.clone()),
            };
            PolicyLock { number: lock.number, what }
        };
        self.locks.iter().map(lock).collect()
    }

    /// Returns who must learn what, and did.
    pub(crate) fn lessons<'a>(&'a self, config: &'a Config, now: Micros) -> Vec<Lesson<'a>> {
        let mut lessons = training::lessons(config, &self.people, &self.grants, &self.training, now);
        // Programs learn nothing.
        lessons.retain(|lesson| {
            let kind =
                self.accounts.get(&lesson.person.id).map_or(AccountKind::Person, |details| details.kind);
            matches!(kind, AccountKind::Person | AccountKind::Shared)
        });
        lessons
    }

    /// Returns who was not asked yet to learn what they must: the person, their name, the course.
    pub(crate) fn unassigned(&self, config: &Config, now: Micros) -> Vec<(PersonId, String, String)> {
        training::unassigned(&self.lessons(config, now), &self.training)
    }

    /// Returns what rights depend on as time passes.
    fn terms(&self, config: &Config, now: Micros) -> Terms {
        let in_force = self.delegations.iter().filter(|delegation| delegation.is_in_force(now));
        let delegations = in_force.map(|delegation| Delegation {
            number: delegation.number,
            agent: delegation.agent,
            person: delegation.person,
            purpose: delegation.purpose.as_deref().map(Into::into),
            until: i64::try_from(delegation.until.0 / 1_000_000).unwrap_or(i64::MAX),
        });
        Terms { dues: training::dues(&self.lessons(config, now)), delegations: delegations.collect() }
    }
}

/// Compiles the policy of a configuration for these people and locks.
pub(crate) fn compile(config: &Config, subjects: &Subjects, version: u64) -> anyhow::Result<Snapshot> {
    let terms = subjects.terms(config, now());
    compile_with(config, &subjects.people, subjects.granted(), &subjects.locks(), &terms, version)
}

/// The same, and what it was made from, to be kept.
fn compile_kept(config: &Config, subjects: &Subjects, version: u64) -> anyhow::Result<(Snapshot, Vec<u8>)> {
    let terms = subjects.terms(config, now());
    with_sources(config, &subjects.people, subjects.granted(), &subjects.locks(), &terms, |sources| {
        Ok((compile_sources(sources, version)?, past::Kept::of(sources).to_bytes()?))
    })
}

/// What rights depend on as time passes.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) dues: Vec<Due>,
    pub(crate) delegations: Vec<Delegation>,
}

/// Returns what is given as a role of its own: what the role it is of allows, on its resource alone and, where purposes are
/// stated, for its purpose alone. Denials and permits name it as `role.grant.N` or `role.emergency.N`.
fn granted_role(config: &Config, given: &Given) -> Option<Role> {
    let role = config.roles.iter().find(|role| role.name == given.role)?;
    let rules = role.rules.iter().filter(|rule| rule.resource == "*" || rule.resource == given.resource);
    // Whole seconds: never longer than it was given for.
    let end = given.until.map(|until| i64::try_from(until.0 / 1_000_000).unwrap_or(i64::MAX));
    let rules = rules.filter_map(|rule| {
        let purposes = match &given.purpose {
            None => rule.purposes.clone(),
            Some(_) if config.purposes.is_empty() => Vec::new(),
            // A purpose that is no longer on the list is nobody's: the rule then allows nothing.
            Some(purpose) if !config.purposes.iter().any(|known| **known == **purpose) => return None,
            Some(purpose) if rule.purposes.is_empty() || rule.purposes.contains(purpose) => {
                vec![purpose.clone()]
            }
            Some(_) => return None,
        };
        let until = rule.until.into_iter().chain(end).min();
        Some(Rule { resource: given.resource.clone(), purposes, until, ..rule.clone() })
    });
    let rules = rules.collect();
    config.resources.contains_key(&given.resource).then(|| Role {
        name: given.name.clone(),
        rules,
        place: role.place.clone(),
    })
}

/// What people have for a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Granted<'a> {
    pub(crate) grants: &'a [RequestRow],
    pub(crate) emergencies: &'a [registry::Emergency],
}

/// Returns who may take emergency access, and who has it.
fn emergencies(config: &Config, had: &[registry::Emergency]) -> Emergencies {
    let configured = config.emergency.break_glass.as_ref();
    Emergencies {
        initiators: configured.map(|glass| glass.initiators.clone()).unwrap_or_default(),
        resources: configured.map(|glass| glass.resources.clone()).unwrap_or_default(),
        taken: had.iter().filter_map(taken).collect(),
    }
}

/// The same for what is given, and locks.
///
/// A role that somebody holds and nobody defines any more grants nothing; it must not stop a reload that removes it.
pub(crate) fn compile_with(
    config: &Config,
    people: &[PersonRow],
    granted: Granted<'_>,
    locks: &[PolicyLock],
    terms: &Terms,
    version: u64,
) -> anyhow::Result<Snapshot> {
    with_sources(config, people, granted, locks, terms, |sources| compile_sources(sources, version))
}

fn compile_sources(sources: &Sources<'_>, version: u64) -> anyhow::Result<Snapshot> {
    Snapshot::compile(sources, version).map_err(|diagnostics| {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the policy is not valid:\n{}", lines.join("\n"))
    })
}

/// Puts together what a policy is made from.
fn with_sources<T>(
    config: &Config,
    people: &[PersonRow],
    granted: Granted<'_>,
    locks: &[PolicyLock],
    terms: &Terms,
    make: impl FnOnce(&Sources<'_>) -> T,
) -> T {
    let defined = |role: &str| config.roles.iter().any(|known| known.name == role);
    // A lock on a role is on whoever has it by a grant, too: their role has another name here.
    let locked =
        |role: &str| locks.iter().any(|lock| matches!(&lock.what, Locked::Role(name) if name == role));
    let all = granted.grants.iter().map(Given::by_grant);
    let all: Vec<Given> = all.chain(granted.emergencies.iter().map(Given::by_emergency)).collect();
    let given = all
        .iter()
        .filter(|given| !locked(&given.role))
        .filter_map(|given| Some((given.person, granted_role(config, given)?)));
    let given: Vec<(PersonId, Role)> = given.collect();
    let roles: Vec<Role> =
        config.roles.iter().cloned().chain(given.iter().map(|(_, role)| role.clone())).collect();
    let mut members = Vec::with_capacity(people.len());
    for person in people {
        let (held, gone): (Vec<&String>, Vec<&String>) = person.roles.iter().partition(|role| defined(role));
        if !gone.is_empty() {
            tracing::warn!(person = person.name, roles = ?gone, "roles that are not defined grant nothing");
        }
        let held = held.into_iter().map(|role| role.as_str().into());
        let mine = given.iter().filter(|(holder, _)| *holder == person.id);
        members.push(Person {
            id: person.id,
            name: person.name.as_str().into(),
            roles: held.chain(mine.map(|(_, role)| role.name.as_str().into())).collect(),
            disabled: person.disabled_at.is_some(),
            program: false,
        });
    }
    members.extend(workloads::members(config));
    let resources: Vec<ResourceId> = config.resource_ids();
    let classes = Class::ALL.map(Class::name);
    let courses: Vec<_> = config.courses.iter().map(|(name, course)| course.of_policy(name)).collect();
    let renamed = all.iter().map(|given| (given.role.as_str(), given.name.clone()));
    let factors = config.factor_rules(&renamed.collect::<Vec<_>>());
    let sources = Sources {
        factors: &factors,
        roles: &roles,
        cedar: &config.policies,
        people: &members,
        locks,
        resources: &resources,
        classes: &classes,
        purposes: &config.purposes,
        emergencies: &emergencies(config, granted.emergencies),
        courses: &courses,
        dues: &terms.dues,
        delegations: &terms.delegations,
    };
    make(&sources)
}

/// Returns the record that a configuration came into force.
pub(crate) fn config_activated(config: &Config, at: Micros) -> Record<'static> {
    let mut record = Record::new(Kind::ConfigActivated, at);
    record.detail = Some(format!("sha256 {}", hex(&config.digest)).into());
    record
}
