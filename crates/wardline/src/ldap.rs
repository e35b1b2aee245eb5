//! A directory (LDAP): whom it lists are people here, in the roles of their groups, with the passwords it checks; whom it does not
//! list any more have left.
//!
//! Only people who came from the directory are asked of it, by the id that it never gives again: an unknown name costs it
//! nothing and tells nobody anything. An empty password never goes there: a directory takes it for no bind at all. Deliberately
//! absent: writing, referrals, Kerberos.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, ldap_escape};
use model::Secret;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::config::Directory;
use crate::node::Node;
use crate::witness::tls;

/// What people are bound by.
pub(crate) const PROVIDER: &str = "ldap";

/// For reaching the directory, and for each of its answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Reading all people may take longer.
const SYNC_TIMEOUT: Duration = Duration::from_mins(2);

/// Passwords that are checked there at once; one more waits, and is refused in the end.
const CHECKS_MAX: usize = 16;

/// People of a page, and of all.
const PAGE: i32 = 500;
const PEOPLE_MAX: usize = 100_000;

/// While there is no directory in the configuration.
const IDLE_PAUSE: Duration = Duration::from_secs(10);

/// Somebody as the directory lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) groups: Vec<String>,
}

/// Bounds what is asked of a directory at once.
#[derive(Debug)]
pub(crate) struct Checks(Semaphore);

impl Default for Checks {
    fn default() -> Checks {
        Checks(Semaphore::new(CHECKS_MAX))
    }
}

impl Checks {
    /// Tells whether a password is that of the person of this id.
    pub(crate) async fn check(
        &self,
        directory: &Directory,
        id: &str,
        secret: &Secret,
    ) -> anyhow::Result<bool> {
        let checking = async {
            let _slot = self.0.acquire().await.context("no slot")?;
            check(directory, id, secret).await
        };
        timeout(ANSWER_TIMEOUT * 2, checking).await.context("the directory did not answer in time")?
    }
}

async fn check(directory: &Directory, id: &str, secret: &Secret) -> anyhow::Result<bool> {
    // RFC 4513, section 5.1.2: a bind without a password succeeds and proves nothing.
    if secret.expose().is_empty() {
        return Ok(false);
    }
    let mut ldap = searching(directory).await?;
    let filter = format!("(&{}({}={}))", directory.filter, directory.id_attribute, ldap_escape(id));
    let (found, _) = ldap
        .with_timeout(ANSWER_TIMEOUT)
        .search(&directory.base, Scope::Subtree, &filter, vec![directory.id_attribute.as_str()])
        .await?
        .success()?;
    let mut found = found.into_iter().filter(|entry| !entry.is_ref()).map(SearchEntry::construct);
    let (Some(entry), None) = (found.next(), found.next()) else { return Ok(false) };
    let bound = ldap.with_timeout(ANSWER_TIMEOUT).simple_bind(&entry.dn, secret.expose()).await?;
    drop(ldap.unbind().await);
    /// `invalidCredentials`
    const WRONG: u32 = 49;
    match bound.rc {
        0 => Ok(true),
        WRONG => Ok(false),
        code => bail!("the directory answered {code}"),
    }
}

/// Connects, and signs in as whom people are looked for.
async fn searching(directory: &Directory) -> anyhow::Result<Ldap> {
    let mut settings =
        LdapConnSettings::new().set_conn_timeout(ANSWER_TIMEOUT).set_starttls(directory.starttls);
    if directory.starttls || directory.url.starts_with("ldaps://") {
        settings = settings.set_config(tls::client(directory.ca.as_deref())?);
    }
    let (connection, mut ldap) = LdapConnAsync::with_settings(settings, &directory.url).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(%error, "a connection to the directory ended");
        }
    });
    let file = &directory.bind_password;
    let password = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let password = Zeroizing::new(password);
    ldap.with_timeout(ANSWER_TIMEOUT)
        .simple_bind(&directory.bind_dn, password.trim_end())
        .await?
        .success()?;
    Ok(ldap)
}

/// Returns everybody whom the directory lists.
pub(crate) async fn everybody(directory: &Directory) -> anyhow::Result<Vec<Listed>> {
    timeout(SYNC_TIMEOUT, everybody_now(directory)).await.context("the directory did not answer in time")?
}

async fn everybody_now(directory: &Directory) -> anyhow::Result<Vec<Listed>> {
    let mut ldap = searching(directory).await?;
    let adapters: Vec<Box<dyn Adapter<'_, _, _>>> =
        vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(PAGE))];
    let attributes = vec![
        directory.id_attribute.as_str(),
        directory.name_attribute.as_str(),
        directory.groups_attribute.as_str(),
        "displayName",
        "cn",
    ];
    let mut stream = ldap
        .streaming_search_with(adapters, &directory.base, Scope::Subtree, &directory.filter, attributes)
        .await?;
    let mut people = Vec::new();
    while let Some(entry) = stream.next().await? {
        people.extend(listed(directory, &SearchEntry::construct(entry)));
        if people.len() > PEOPLE_MAX {
            bail!("the directory lists more than {PEOPLE_MAX} people; write a tighter `ldap.filter`");
        }
    }
    stream.finish().await.success()?;
    drop(ldap.unbind().await);
    Ok(people)
}

fn listed(directory: &Directory, entry: &SearchEntry) -> Option<Listed> {
    let attrs: HashMap<String, &Vec<String>> =
        entry.attrs.iter().map(|(name, values)| (name.to_ascii_lowercase(), values)).collect();
    let all = |name: &str| {
        attrs.get(&name.to_ascii_lowercase()).map(|values| values.as_slice()).unwrap_or_default()
    };
    let first = |name: &str| all(name).first().cloned();
    let (Some(id), Some(name)) = (first(&directory.id_attribute), first(&directory.name_attribute)) else {
        tracing::warn!("the directory lists somebody without a name or an id");
        return None;
    };
    let display_name = first("displayName").or_else(|| first("cn")).unwrap_or_default();
    let groups = all(&directory.groups_attribute).to_vec();
    Some(Listed { id, name: name.to_lowercase(), display_name, groups })
}

/// Starts to follow the directory, where there is one.
pub(crate) fn start(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        // Told once each, not at every turn.
        let mut told = HashSet::new();
        loop {
            let directory = node.config.load().ldap.clone();
            let Some(directory) = directory else {
                tokio::time::sleep(IDLE_PAUSE).await;
                continue;
            };
            // In a task of its own: the library panics where a directory's bytes are not LDAP.
            let asked = directory.clone();
            let read = tokio::spawn(async move { everybody(&asked).await });
            let followed = match read.await {
                Ok(Ok(people)) => {
                    node.follow_directory(&directory, &people, &mut told).await.map_err(Into::into)
                }
                Ok(Err(error)) => Err(error),
                Err(_panicked) => Err(anyhow::anyhow!("the directory's answer is not readable")),
            };
            if let Err(error) = followed {
                metrics::counter!("wardline_ldap_syncs_failed_total").increment(1);
                tracing::error!(error = format!("{error:#}"), "the directory could not be followed");
            }
            tokio::time::sleep(directory.sync_interval).await;
        }
    })
}
