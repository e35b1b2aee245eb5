//! What these tests share: a server, Wardline before it, and the same role on both ways.

use std::time::{Duration, Instant};

use testbed::gateway::{Builder, Gateway, ROLE_ALL};
use testbed::postgres::{Cluster, Options, Version};
use testbed::{Conninfo, upstreams};

/// The database, and the resource's name.
pub(crate) const RESOURCE: &str = "clinic";
/// Who may do everything.
pub(crate) const PERSON: &str = "ann";

/// Starts a server of that version with an empty database; `None`, and a line that says why, where there is none.
pub(crate) fn cluster(version: Version) -> Option<Cluster> {
    if let Err(reason) = upstreams::programs(version) {
        assert!(version != Version::V15, "PostgreSQL 15 is required: {reason:#}");
        println!("SKIP PostgreSQL {}: {reason:#}", version.number());
        return None;
    }
    let options = Options { version: Some(version), tls: upstreams::has_tls(version), ..Options::default() };
    let cluster = Cluster::start(options).expect("PostgreSQL");
    cluster.create_database(RESOURCE).expect("a database");
    cluster.psql("create role app login password 'app'").expect("a role");
    let grants = "grant all on database clinic to app; grant all on schema public to app";
    cluster.psql_in(RESOURCE, grants).expect("grants");
    Some(cluster)
}

/// Returns the way without Wardline.
pub(crate) fn direct(cluster: &Cluster) -> Conninfo {
    cluster.conninfo().with_dbname(RESOURCE).with_user("app", "app")
}

/// Begins a gateway that signs in at the resource as the same role.
pub(crate) fn builder(cluster: &Cluster) -> Builder {
    Gateway::builder().resource(RESOURCE, &direct(cluster)).role_all().person(PERSON, &[ROLE_ALL])
}

/// Returns the way through Wardline.
pub(crate) fn through(gateway: &Gateway) -> Conninfo {
    gateway.conninfo(PERSON, RESOURCE).expect("a person")
}

/// Waits until so many sessions of the role run a text with these words, however busy the machine is.
pub(crate) fn until_run(cluster: &Cluster, words: &str, sessions: u32) {
    let asked = format!(
        "select count(*) from pg_stat_activity where usename = 'app' and state = 'active' and query like '%{words}%'"
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while cluster.psql(&asked).expect("an answer") != sessions.to_string() {
        assert!(Instant::now() < deadline, "not {sessions} sessions run `{words}`");
        std::thread::sleep(Duration::from_millis(50));
    }
}
