//! Wardline changes its own password at a resource, by order or by itself, and never stands before a door without a key.
//!
//! The steps, each durable before the next: it is recorded; the new password is in the vault beside the old one; the
//! resource has it; it logs in; it is the one in use. Wherever a crash falls, one of the two passwords that the vault
//! then holds logs in, and sessions try both. A password that was kept is used again by the next attempt and never
//! thrown away: an order to the resource that nobody heard an answer to may still be carried out.
//!
//! With a second account the two take turns: what changes is the one that nobody uses, and whoever still holds the other
//! can go on. Deliberately absent: other ways to log in than SCRAM-SHA-256.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Failure, OwnAccount, Upstream};
use identity::scram::{Parameters, Verifier};
use model::{Micros, ResourceId, Secret};
use tokio::task::JoinHandle;
use vault::{Account, Credential};

use crate::admin::{Actor, Refusal, Reply};
use crate::changes::Change;
use crate::node::Node;
use crate::output;

/// How often it is looked whether a password is due.
const CHECK_PAUSE: Duration = Duration::from_secs(60);
/// After an attempt that failed, the next one by itself.
const RETRY_PAUSE: Duration = Duration::from_hours(1);
/// Random bytes of a password: no dictionary holds one.
const PASSWORD_BYTES: usize = 32;
/// Random bytes of a salt, and rounds: PostgreSQL's own.
const SALT_BYTES: usize = 16;
const ITERATIONS: u32 = 4_096;

/// Why a password was not changed.
#[derive(Debug)]
enum Error {
    /// The vault cannot be read or written.
    Vault(vault::Error),
    /// The account's resource.
    Resource { user: String, failure: Failure },
    /// Nothing that the vault holds is right.
    NoneLogsIn { user: String },
    /// The system's random source failed.
    Random,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Vault(error) => error.fmt(f),
            Error::Resource { user, failure } => {
                write!(f, "account `{}`: {failure}", output::printable(user))
            }
            Error::NoneLogsIn { user } => {
                let user = output::printable(user);
                write!(
                    f,
                    "account `{user}` does not log in with what the vault holds: `wardline vault set` it again"
                )
            }
            Error::Random => f.write_str("no random bytes"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Vault(error) => error.source(),
            Error::Resource { failure, .. } => failure.source(),
            Error::NoneLogsIn { .. } | Error::Random => None,
        }
    }
}

impl From<vault::Error> for Error {
    fn from(error: vault::Error) -> Error {
        Error::Vault(error)
    }
}

impl Node {
    /// Returns the password that a rotation was about to set: it may be in force already.
    pub(crate) fn spare(&self, resource: &ResourceId) -> Option<Credential> {
        let accounts = self.vault.accounts(resource).ok().flatten()?;
        let Account { credential: Credential { user, .. }, next } = accounts.active;
        next.map(|password| Credential { user, password })
    }

    /// Changes the password of a resource's account now: of the second one where there are two, which is then in use.
    pub(crate) async fn vault_rotate(&self, actor: &Actor, resource: &str) -> Result<Reply, Refusal> {
        let shown = output::clipped(&output::printable(resource), registry::NAME_BYTES_MAX);
        let change =
            Change::new(actor, "vault rotate", format!("rotate the credential of resource `{shown}`"));
        let upstream = self.upstreams.load().get(resource).cloned();
        let Some(upstream) = upstream else {
            let refusal =
                Refusal::new(format!("there is no resource `{shown}` in the configuration in force"));
            return Err(self
                .refused(&change, refusal.help("`wardline check` shows what is configured"))
                .await);
        };
        // One at a time; whoever comes second changes it once more.
        let _alone = self.rotating.lock().await;
        let accounts = self.vault.accounts(&upstream.id).map_err(|error| Refusal::because(&error))?;
        let Some(accounts) = accounts else {
            let refusal = Refusal::new(format!("there is no credential of the resource `{shown}`"))
                .help(format!("run `wardline vault set {shown} --user USER`"));
            return Err(self.refused(&change, refusal).await);
        };
        let account = accounts.standby.unwrap_or(accounts.active);
        let user = account.credential.user.clone();
        let what = format!("{}, account `{}`", change.what, output::printable(&user));
        let change = Change { what, ..change };
        self.admitted(&change).await?;
        let rotated = self.rotate(&upstream, account).await;
        metrics::counter!("wardline_rotations_total", "result" => if rotated.is_ok() { "done" } else { "failed" })
            .increment(1);
        self.done(&change, rotated).await?;
        Ok(Reply::Rotated { users: vec![user] })
    }

    /// Changes every password of a resource's accounts: after an emergency somebody may know any of them.
    pub(crate) async fn rotate_after_emergency(
        &self,
        actor: &Actor,
        resource: &str,
    ) -> Result<Reply, Refusal> {
        let id = ResourceId(resource.into());
        let accounts = self.vault.accounts(&id).map_err(|error| Refusal::because(&error))?;
        let twice = accounts.is_some_and(|accounts| accounts.standby.is_some());
        let first = self.vault_rotate(actor, resource).await?;
        if !twice {
            return Ok(first);
        }
        match (first, self.vault_rotate(actor, resource).await?) {
            (Reply::Rotated { mut users }, Reply::Rotated { users: second }) => {
                users.extend(second);
                Ok(Reply::Rotated { users })
            }
            (_, second) => Ok(second),
        }
    }

    async fn rotate(&self, upstream: &Upstream, account: Account) -> Result<(), Error> {
        let Account { credential, next } = account;
        let user = credential.user.clone();
        let (new, begun) = match next {
            Some(password) => (Credential { user: user.clone(), password }, true),
            None => (Credential { user: user.clone(), password: fresh_password()? }, false),
        };
        if !begun {
            self.vault_writer.lock().begin_rotation(&upstream.id, &user, &new.password)?;
            self.vault.reload()?;
        }
        let failed = |failure| Error::Resource { user: user.clone(), failure };
        // What an earlier attempt began may have been done.
        let already = begun && logs_in(upstream, &new).await.map_err(failed)?;
        if !already {
            let mut own = match OwnAccount::sign_in(upstream, &credential).await {
                Ok(own) => own,
                Err(failure) if failure.is_refused_login() => return Err(Error::NoneLogsIn { user }),
                Err(failure) => return Err(failed(failure)),
            };
            own.set_password(&verifier(&new.password)?).await.map_err(failed)?;
            own.leave().await;
            if !logs_in(upstream, &new).await.map_err(failed)? {
                return Err(Error::NoneLogsIn { user });
            }
        }
        self.vault_writer.lock().finish_rotation(&upstream.id, &user, self.now())?;
        self.vault.reload()?;
        Ok(())
    }

    /// Tells whether a resource's password is due: left half way, or older than it may be. One that nobody rotated yet
    /// was chosen by a person, and is due.
    fn is_due(&self, resource: &ResourceId, every: Option<Duration>) -> bool {
        let Ok(Some(accounts)) = self.vault.accounts(resource) else { return false };
        let half_way = [Some(&accounts.active), accounts.standby.as_ref()];
        if half_way.into_iter().flatten().any(|account| account.next.is_some()) {
            return true;
        }
        let Some(every) = every else { return false };
        let since = accounts.rotated_at.unwrap_or(Micros(0));
        let every = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
        since.0.saturating_add(every) <= self.now().0
    }
}

/// Changes passwords when they are due, and finishes what a crash left half way.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut failed: HashMap<String, u32> = HashMap::new();
        loop {
            let config = node.config.load_full();
            for (name, resource) in &config.resources {
                let waits = failed.get_mut(name).filter(|rounds| **rounds > 0);
                if let Some(rounds) = waits {
                    *rounds -= 1;
                    continue;
                }
                if !node.is_due(&ResourceId(name.as_str().into()), resource.rotation) {
                    continue;
                }
                match node.vault_rotate(&Actor::ourselves(), name).await {
                    Ok(_) => {
                        failed.remove(name);
                        tracing::info!(resource = name, "the credential was rotated");
                    }
                    Err(refusal) => {
                        tracing::error!(resource = name, %refusal, "the credential could not be rotated");
                        let rounds = RETRY_PAUSE.as_secs() / CHECK_PAUSE.as_secs();
                        failed.insert(name.clone(), u32::try_from(rounds).unwrap_or(u32::MAX));
                    }
                }
            }
            tokio::time::sleep(CHECK_PAUSE).await;
        }
    })
}

async fn logs_in(upstream: &Upstream, credential: &Credential) -> Result<bool, Failure> {
    match OwnAccount::sign_in(upstream, credential).await {
        Ok(own) => {
            own.leave().await;
            Ok(true)
        }
        Err(failure) if failure.is_refused_login() => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn fresh_password() -> Result<Secret, Error> {
    let mut bytes = zeroize::Zeroizing::new([0; PASSWORD_BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| Error::Random)?;
    Ok(Secret::new(output::hex(bytes.as_slice())))
}

fn verifier(password: &Secret) -> Result<Verifier, Error> {
    let mut salt = vec![0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| Error::Random)?;
    Ok(Verifier::derive(password, &Parameters { salt, iterations: ITERATIONS }))
}
