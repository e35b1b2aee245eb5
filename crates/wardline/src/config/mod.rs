//! `wardline.toml`: from text to a [`Config`] that needs no second check.
//!
//! All mistakes are told at once, each with file, line, column and what to do. A configuration with an error
//! gives no `Config` at all. Relative paths are taken from the folder of the file that names them.
//! Absent on purpose: environment variables, includes and defaults that weaken protection.

mod access;
mod emergency;
mod evidence;
mod factors;
mod fields;
mod files;
mod handover;
mod home;
mod keep;
mod ldap;
mod oidc;
mod operators;
mod problem;
mod protection;
mod purposes;
mod read;
mod scim;
mod sections;
#[cfg(test)]
mod tests;
mod training;
mod upstream;
mod web;
mod workload;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use gateway::{Bounds, SecondDevice, UpstreamIdentity};
use model::ResourceId;
use phi::Class;
use policy::{CedarFile, Role, Snapshot, Sources};
use toml::de::DeTable;

use crate::archiving::Archiving;
use crate::clock::ClockWatch;
use crate::witness::submit::Witnessing;
pub(crate) use access::Askable;
pub(crate) use emergency::{BreakGlass, Emergency, Notify, Way};
pub(crate) use factors::{SecondFactor, SignInBy};
pub(crate) use fields::FIELDS;
pub(crate) use handover::{Export, Inbound};
pub(crate) use keep::{StorePlace, TrailStore, bucket_place};
pub(crate) use ldap::Directory;
pub(crate) use oidc::OidcProvider;
pub(crate) use problem::{Problem, Problems, Severity, nearest};
pub(crate) use protection::Protection;
use read::{Reader, Section};
pub(crate) use scim::Scim;
use sections::Draft;
pub(crate) use training::Course;
pub(crate) use web::Web;
pub(crate) use workload::{CertificateName, Workload, WorkloadToken};

use crate::operators::Operators;

/// Longest configuration file. Far above any real one; a wrong path must not read a disk image into memory.
const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// For how many years records of activity are kept by 45 CFR 164.316(b)(2)(i).
pub(crate) const YEARS_BY_LAW: u32 = 6;

/// Everything `wardline.toml` and the policy files say.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file it was read from.
    pub(crate) file: PathBuf,
    /// SHA-256 of the file's bytes, for the record that it came into force.
    pub(crate) digest: [u8; 32],
    pub(crate) node: String,
    pub(crate) data: PathBuf,
    pub(crate) drain_timeout: Duration,
    pub(crate) listener: Listener,
    pub(crate) sign_in: SignIn,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) exports: BTreeMap<String, Export>,
    pub(crate) inbound: Option<Inbound>,
    /// Where the API is served.
    pub(crate) web: Option<Web>,
    pub(crate) resources: BTreeMap<String, Resource>,
    pub(crate) roles: Vec<Role>,
    pub(crate) policies: Vec<CedarFile>,
    /// What people may state as the purpose of a session.
    pub(crate) purposes: Vec<Arc<str>>,
    /// Who signs the log's checkpoints beside the log.
    pub(crate) witnessing: Option<Witnessing>,
    pub(crate) clock: ClockWatch,
    /// Where people sign in who have no password here.
    pub(crate) oidc: BTreeMap<String, OidcProvider>,
    /// The directory that people come from.
    pub(crate) ldap: Option<Directory>,
    /// Who manages people from elsewhere.
    pub(crate) scim: BTreeMap<String, Scim>,
    /// When the archive is written while the node serves; by hand when it is left out.
    pub(crate) archiving: Option<Archiving>,
    /// Programs that sign in by themselves.
    pub(crate) workloads: BTreeMap<String, Workload>,
    /// Which roles may be asked for.
    pub(crate) access: BTreeMap<String, Askable>,
    /// What an emergency is answered with.
    pub(crate) emergency: Emergency,
    /// What must be learnt, by name.
    pub(crate) courses: BTreeMap<String, Course>,
    /// Who may administer; without it, the server's own account and root.
    pub(crate) operators: Option<Operators>,
    /// For how many years entries are kept at least.
    pub(crate) retention_years: u32,
    /// Where complete segments and checkpoints are kept.
    pub(crate) trail_store: TrailStore,
    /// Where backups go.
    pub(crate) backup: Option<StorePlace>,
    /// The file that says where people are kept, if not in the data folder.
    pub(crate) registry: Option<PathBuf>,
}

/// Where and how PostgreSQL clients are received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Certificate,
    /// INVARIANT: true only when `address` is a loopback address.
    pub(crate) plaintext: bool,
    pub(crate) scram: bool,
    /// Who vouches for the certificates of programs.
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) sessions_max: usize,
    pub(crate) sessions_per_person_max: usize,
    pub(crate) handshakes_max: usize,
    pub(crate) handshakes_per_address_max: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) idle_warning: Duration,
    pub(crate) session_lifetime_max: Duration,
    pub(crate) message_bytes_max: usize,
    pub(crate) hold_window_bytes: usize,
}

impl Default for Listener {
    fn default() -> Listener {
        Listener {
            address: DEFAULT_ADDRESS,
            certificate: Certificate::SelfSigned,
            plaintext: false,
            scram: false,
            client_ca: None,
            sessions_max: 1_000,
            sessions_per_person_max: 50,
            handshakes_max: 1_000,
            handshakes_per_address_max: 128,
            handshake_timeout: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(15),
            idle_warning: Duration::from_mins(1),
            session_lifetime_max: Duration::from_hours(12),
            message_bytes_max: 16 << 20,
            hold_window_bytes: 64 << 10,
        }
    }
}

/// The certificate shown to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// Made by Wardline at its first start.
    SelfSigned,
    /// From PEM files.
    Files { certificate: PathBuf, key: PathBuf },
}

/// How log-ins are limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignIn {
    pub(crate) failures_max: u32,
    pub(crate) failure_window: Duration,
    pub(crate) lockout: Duration,
    pub(crate) token_lifetime_max: Duration,
    pub(crate) second_factor: SecondFactor,
    /// How clients of PostgreSQL sign in.
    pub(crate) by: SignInBy,
    /// How long a session waits for approval in the browser.
    pub(crate) approval_timeout: Duration,
    /// What becomes of a person who is connected from two addresses at once.
    pub(crate) second_device: SecondDevice,
}

/// One protected database.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) tls: UpstreamTls,
    /// How long its sessions may last, where that is less than the listener allows.
    pub(crate) bounds: Bounds,
    /// How it is told who acts.
    pub(crate) identity: UpstreamIdentity,
    /// How often Wardline's own password there changes by itself.
    pub(crate) rotation: Option<Duration>,
    /// What of its content is protected; without it results leave as they come.
    pub(crate) protection: Option<Protection>,
}

/// How the connection to a resource is protected. The weaker ways carry their written exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamTls {
    /// Encrypted, and the certificate proves the host; `ca` or the system's roots.
    VerifyFull { ca: Option<PathBuf> },
    /// Encrypted, towards whoever answers.
    NoVerify { exception: String },
    /// In clear.
    Disable { exception: String },
}

/// What reading gave: a configuration unless there were errors, and every problem.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Option<Config>,
    pub(crate) problems: Problems,
}

impl Config {
    /// Reads a file and the policy files it names.
    pub(crate) fn load(file: &Path) -> Loaded {
        match files::text(file, CONFIG_BYTES_MAX) {
            Ok(text) => Config::parse(file, &text),
            Err(error) => {
                let problem = Problem::error(file, format!("cannot be read: {error}"))
                    .help("write one with `wardline init`, or name another with `--config FILE`");
                Loaded { config: None, problems: Problems(vec![problem]) }
            }
        }
    }

    /// Reads a text as if it stood in `file`.
    pub(crate) fn parse(file: &Path, text: &str) -> Loaded {
        let reader = Reader::new(file, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        let unreadable: Vec<usize> = errors.iter().map(|error| reader.syntax(error)).collect();
        let draft = sections::draft(&Section::top(&reader, &document), file);
        let mut problems = reader.finish(&unreadable);
        add_policy_problems(&draft, &mut problems);
        let mut problems = Problems(problems);
        problems.sort();
        let config = if problems.fatal() { None } else { draft.finish(file, text) };
        Loaded { config, problems }
    }

    /// Returns the names of the resources.
    pub(crate) fn resource_ids(&self) -> Vec<ResourceId> {
        resource_ids(&self.resources)
    }

    /// Returns what is not as it should be, and weakens nothing that was strong before.
    pub(crate) fn findings(&self) -> Vec<String> {
        let unnamed = "there is no [operators] section: the server's own account and root may do everything, also read the \
                       trail and destroy keys";
        let mut findings: Vec<String> =
            self.operators.is_none().then(|| unnamed.to_owned()).into_iter().collect();
        if self.retention_years < YEARS_BY_LAW {
            findings.push(format!(
                "entries may expire after {} years; 45 CFR 164.316(b)(2)(i) asks for {YEARS_BY_LAW}",
                self.retention_years
            ));
        }
        findings
    }

    /// Returns what the log says loudly at each start: where protection was weakened on purpose.
    pub(crate) fn exceptions(&self) -> Vec<String> {
        let mut exceptions = Vec::new();
        if self.listener.plaintext {
            exceptions.push(format!("clients connect without TLS on {}", self.listener.address));
        }
        if let Some(ldap) =
            self.ldap.as_ref().filter(|ldap| !ldap.starttls && !ldap.url.starts_with("ldaps://"))
        {
            exceptions.push(format!("passwords go to the directory {} in clear", ldap.url));
        }
        if let Ok(Some(server)) = self.registry_server()
            && server.is_plain()
        {
            exceptions.push(format!("the registry {server} is reached without TLS, on this machine"));
        }
        for (name, resource) in &self.resources {
            match &resource.tls {
                UpstreamTls::VerifyFull { .. } => {}
                UpstreamTls::NoVerify { exception } => exceptions.push(format!(
                    "resource `{name}`: the certificate is not verified; exception on file: {exception}"
                )),
                UpstreamTls::Disable { exception } => exceptions
                    .push(format!("resource `{name}`: reached without TLS; exception on file: {exception}")),
            }
        }
        let in_clear =
            self.exports.iter().filter(|(_, export)| export.patients == export::Shown::Identifiers);
        exceptions.extend(in_clear.map(|(name, export)| {
            format!("export `{name}`: the identifiers of patients are sent in clear to {}", export.place())
        }));
        exceptions
    }
}

/// Validates roles and Cedar files, so that their mistakes are told together with those of the configuration.
fn add_policy_problems(draft: &Draft, problems: &mut Vec<Problem>) {
    let resources = resource_ids(&draft.resources);
    let classes = Class::ALL.map(Class::name);
    let sources = Sources {
        factors: &[],
        roles: &draft.roles,
        cedar: &draft.policies,
        people: &[],
        locks: &[],
        resources: &resources,
        classes: &classes,
        purposes: &draft.purposes,
        emergencies: &policy::Emergencies::default(),
        courses: &[],
        dues: &[],
        delegations: &[],
    };
    let Err(diagnostics) = Snapshot::compile(&sources, 0) else { return };
    for diagnostic in diagnostics {
        let known = problems.iter().any(|problem| {
            problem.line == Some(diagnostic.line) && problem.file == Path::new(&diagnostic.file)
        });
        if known {
            continue;
        }
        let problem = Problem::error(diagnostic.file, diagnostic.message);
        let column = diagnostic.column.max(1);
        problems.push(if diagnostic.line == 0 { problem } else { problem.at(diagnostic.line, column) });
    }
}

fn resource_ids(resources: &BTreeMap<String, Resource>) -> Vec<ResourceId> {
    resources.keys().map(|name| ResourceId(name.as_str().into())).collect()
}

/// Returns the SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Where clients are received unless the configuration says otherwise.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6432);
