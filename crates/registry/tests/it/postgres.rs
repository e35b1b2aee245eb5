//! The same on PostgreSQL: every test of this binary again, and what only a server can do.
//!
//! Costs about 15 s of processor time, most of it for making a database for each test.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use registry::{Error, Home, Registry, Server};
use testbed::postgres::{Cluster, Options};

use super::support::{NOW, SERVER, fresh, new_person, token, with_nina};

/// Nothing here is about what a power cut leaves; that is PostgreSQL's own business.
fn cluster() -> Cluster {
    let settings = [("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "200")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Cluster::start(Options { settings, ..Options::default() }).unwrap()
}

fn address(cluster: &Cluster) -> String {
    let conninfo = cluster.conninfo();
    format!("postgres://{}:{}@127.0.0.1:{}", conninfo.user, conninfo.password, cluster.port())
}

/// Runs this binary again with every registry on the server. What is left out is about files.
#[test]
fn all_tests_hold_on_postgresql() {
    let cluster = cluster();
    let again = Command::new(std::env::current_exe().unwrap())
        .args([
            "--test-threads",
            "4",
            "--skip",
            "it::database",
            "--skip",
            "it::postgres",
            "--skip",
            "writes_nothing",
        ])
        .env(SERVER, address(&cluster))
        .env_remove("NEXTEST_EXECUTION_MODE")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{shown}\n{}", String::from_utf8_lossy(&again.stderr));
    let databases = cluster.psql("SELECT count(*) FROM pg_database WHERE datname LIKE 'registry%'").unwrap();
    assert!(databases.trim().parse::<u32>().unwrap() >= 20, "the tests did not use the server:\n{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_there_after_opening_again_and_only_one_program_has_it() {
    let cluster = cluster();
    let server = fresh(&address(&cluster)).await;
    let registry = Registry::open_on(&server).await.unwrap();
    registry.add_person(&new_person(7, "nina"), NOW).await.unwrap();
    let other = Registry::open_on(&server).await;
    assert!(matches!(other, Err(Error::InUse)), "{other:?}");
    let before = registry.people().await.unwrap();
    registry.close().await;
    let again = Registry::open_at(&Home::Postgres(server.clone())).await.unwrap();
    assert_eq!(again.people().await.unwrap(), before);
    assert_eq!(again.home(), Home::Postgres(server));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_went_away_is_an_error_in_time_and_one_that_came_back_is_used() {
    let mut cluster = cluster();
    let server = fresh(&address(&cluster)).await;
    let registry = Registry::open_on(&server).await.unwrap();
    registry.add_person(&new_person(7, "nina"), NOW).await.unwrap();
    cluster.stop_immediate().unwrap();
    let limit = Duration::from_secs(30);
    let asked = tokio::time::timeout(limit, registry.sign_in("nina", registry::Wanted::NoTokens)).await;
    assert!(matches!(asked.expect("in time"), Err(Error::Database(_))));
    let changed = tokio::time::timeout(limit, registry.add_person(&new_person(8, "otto"), NOW)).await;
    assert!(matches!(changed.expect("in time"), Err(Error::Database(_))));
    cluster.restart().unwrap();
    registry.add_person(&new_person(8, "otto"), NOW).await.unwrap();
    assert_eq!(registry.people().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_a_file_that_opens_and_that_an_empty_server_takes() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let opened = with_nina().await;
    opened.registry.issue_token(&token(1, 9_000_000)).await.unwrap();
    opened.registry.as_change(5).add_person(&new_person(8, "otto"), NOW).await.unwrap();
    let first = folder.path().join("first.sqlite");
    opened.registry.copy_to(&first).await.unwrap();

    let server = fresh(&address(&cluster)).await;
    let registry = Registry::open_on(&server).await.unwrap();
    registry.fill_from(&first).await.unwrap();
    assert!(matches!(registry.fill_from(&first).await, Err(Error::NotEmpty)));
    let second = folder.path().join("second.sqlite");
    registry.copy_to(&second).await.unwrap();
    for copy in [registry.clone(), Registry::open(&second).await.unwrap()] {
        assert_eq!(copy.change().await.unwrap(), 5);
        assert_eq!(copy.people().await.unwrap(), opened.registry.people().await.unwrap());
        assert_eq!(copy.token([1; 16]).await.unwrap(), opened.registry.token([1; 16]).await.unwrap());
        let found = copy.sign_in("nina", registry::Wanted::TokensOfPerson).await.unwrap();
        assert!(found.account.unwrap().verifiers.scram.is_some() && found.tokens.len() == 1);
    }
    // The copy is a registry to work with: references hold and names are unique.
    let copy = Registry::open(&second).await.unwrap();
    assert!(matches!(copy.add_person(&new_person(9, "nina"), NOW).await, Err(Error::NameTaken { .. })));
}

/// Sorting and comparing must not depend on the locale of the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_in_the_order_of_their_bytes() {
    let cluster = cluster();
    let registry = Registry::open_on(&fresh(&address(&cluster)).await).await.unwrap();
    for (number, name) in ["a_b", "a-c", "a.d", "a@e", "ab", "a0"].into_iter().enumerate() {
        registry.add_person(&new_person(number as u128 + 1, name), NOW).await.unwrap();
    }
    let names: Vec<String> = registry.people().await.unwrap().into_iter().map(|person| person.name).collect();
    let sorted: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(names, sorted.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wrong_password_says_so_without_it() {
    let cluster = cluster();
    let address = format!("postgres://postgres:hush-hush@127.0.0.1:{}/postgres", cluster.port());
    let error = Registry::open_on(&Server::parse(&address).unwrap()).await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(matches!(error, Error::Database(_)) && !shown.contains("hush"), "{shown}");
}

#[tokio::test]
async fn a_server_on_the_way_must_prove_itself() {
    let cluster = Cluster::start(Options { tls: true, ..Options::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stranger = folder.path().join("other-ca.crt");
    testbed::tls::Authority::new("somebody else").unwrap().write(&stranger).unwrap();
    let at = |ca: &std::path::Path| {
        let address =
            format!("{}/postgres?sslmode=verify-full&sslrootcert={}", address(&cluster), ca.display());
        Server::parse(&address).unwrap()
    };
    let error = Registry::open_on(&at(&stranger)).await.unwrap_err();
    assert!(matches!(&error, Error::Database(sqlx::Error::Tls(_) | sqlx::Error::Io(_))), "{error:?}");
    let server = at(&cluster.root_cert().unwrap());
    assert!(!server.is_plain());
    let registry = Registry::open_on(&server).await.unwrap();
    registry.add_person(&new_person(7, "nina"), NOW).await.unwrap();
    let sql = "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) \
               where s.ssl and a.application_name = 'wardline'";
    assert!(cluster.psql(sql).unwrap().trim().parse::<u32>().unwrap() >= 1);
}
