//! Every client against a PostgreSQL without anything between: the baseline for the same through the gateway.

use testbed::clients::{self, Client};
use testbed::postgres::{Cluster, Options, Version};

fn check(client: Client) {
    let installed = clients::install(|line| println!("{line}"));
    let mine = installed.iter().find(|i| i.client == client).expect("every client is surveyed");
    assert!(mine.place.is_ok(), "{client}: {:?}", mine.place);
    let cluster = Cluster::start(Options { version: Some(Version::V15), tls: true, ..Options::default() })
        .expect("PostgreSQL 15 is required");
    let first = clients::run(client, &cluster.conninfo()).expect("it runs");
    assert!(first.len() >= 8, "{first:#?}");
    // Twice, so that what varies by itself is not taken for the gateway's doing later.
    let second = clients::run(client, &cluster.conninfo()).expect("it runs");
    assert_eq!(clients::differences(&first, &second), Vec::<String>::new());
}

#[test]
fn psql_directly() {
    check(Client::Psql);
}

#[test]
fn pgbench_directly() {
    check(Client::Pgbench);
}

#[test]
fn psycopg_directly() {
    check(Client::Psycopg);
}

#[test]
fn psycopg_in_binary_directly() {
    check(Client::PsycopgBinary);
}

#[test]
fn asyncpg_directly() {
    check(Client::Asyncpg);
}

#[test]
fn node_postgres_directly() {
    check(Client::Node);
}

#[test]
fn jdbc_directly() {
    check(Client::Jdbc);
}

#[test]
fn tokio_postgres_directly() {
    check(Client::TokioPostgres);
}

#[test]
fn differences_are_found() {
    let check = |name: &str, outcome: Result<&str, &str>| clients::Check {
        name: name.to_owned(),
        outcome: outcome.map(str::to_owned).map_err(str::to_owned),
    };
    let direct =
        [check("same", Ok("1")), check("other", Ok("1")), check("gone", Ok("1")), check("bad", Err("x"))];
    let through = [check("same", Ok("1")), check("other", Ok("2")), check("bad", Ok("1"))];
    let found = clients::differences(&direct, &through);
    assert_eq!(found.len(), 3, "{found:?}");
}
