//! Filters by columns that are seen masked, with a real server and psql: what `usage` opens is not opened without end.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::process::Output;

use testbed::gateway::Gateway;
use testbed::postgres::{Cluster, Options};

use crate::conformance::stage::{self, HOSPITAL, err, out, psql, script};

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.patients.ward\"]\n\
    filters_per_hour = 6\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.mrn\" = { class = \"mrn\", usage = \"equality\" }";

fn gateway(cluster: &Cluster) -> Gateway {
    Gateway::builder()
        .resource_of(HOSPITAL, cluster, HOSPITAL)
        .toml(PHI)
        .role("clerk", HOSPITAL, "read = [\"public.patients\"]")
        .role("sees", HOSPITAL, "unmask = [\"mrn\"]")
        .person("cleo", &["clerk"])
        .person("carl", &["clerk"])
        .person("sam", &["clerk", "sees"])
        .start()
        .expect("it starts")
}

fn is_limited(refused: &Output) {
    let words = err(refused);
    assert!(words.contains("6 filters an hour"), "{words}");
}

/// Each value that a masked column is compared with counts, over all sessions of a person and in both protocols.
#[test]
fn a_person_filters_by_masked_columns_so_often_and_no_more() {
    let cluster = Cluster::start(Options { tls: true, ..Options::default() }).expect("PostgreSQL");
    cluster.create_database(HOSPITAL).expect("a database");
    let tables = "create table patients (mrn text, ward text);
        insert into patients select 'M' || n, 'w' || n % 3 from generate_series(1, 9) n";
    cluster.psql_in(HOSPITAL, tables).expect("a table");
    let gateway = gateway(&cluster);
    let cleo = gateway.conninfo("cleo", HOSPITAL).expect("a person");

    let listed = "select ward from patients where mrn in ('M4', 'M7')";
    assert_eq!(out(&psql(&cleo, listed)), "w1\nw1");
    // Preparing a statement answers nothing; running it does, and what sees nothing masked is free.
    let prepared = "prepare p as select ward from patients where mrn = 'M5'; execute p; execute p;
        select count(*) from patients where ward = 'w1'; execute p";
    assert_eq!(out(&script(&cleo, &[], prepared)), "w2\nw2\n3\nw2");
    let refused = psql(&cleo, listed);
    is_limited(&refused);
    assert!(err(&refused).contains("53400"), "{refused:?}");
    assert_eq!(out(&psql(&cleo, "select ward from patients where mrn = 'M6'")), "w0", "the sixth");
    is_limited(&script(&cleo, &[], "prepare q as select ward from patients where mrn = 'M5'; execute q"));
    is_limited(&pgbench(&cleo));
    assert_eq!(out(&psql(&cleo, "select count(*) from patients where ward = 'w1'")), "3");

    let carl = gateway.conninfo("carl", HOSPITAL).expect("a person");
    assert_eq!(out(&psql(&carl, listed)), "w1\nw1", "everybody has their own");
    is_limited(&psql(&carl, "select ward from patients where mrn in ('1', '2', '3', '4', '5')"));
    let sam = gateway.conninfo("sam", HOSPITAL).expect("a person");
    let many = format!("{listed};\n").repeat(7);
    assert_eq!(out(&script(&sam, &[], &many)).lines().count(), 14, "who sees the column is not limited");

    let entries = stage::entries(&gateway);
    let refused = stage::of(&entries, "operation", "cleo")
        .into_iter()
        .filter(|entry| stage::text(entry, "verdict") == "deny")
        .count();
    assert_eq!(refused, 3, "each refusal has its entry");
}

/// One run of the extended protocol.
fn pgbench(conninfo: &testbed::Conninfo) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one.sql");
    std::fs::write(&file, "select ward from patients where mrn = 'M5';\n").expect("a file");
    let mut command = std::process::Command::new("pgbench");
    conninfo.apply(&mut command);
    command.args(["-n", "-M", "extended", "-t", "1", "-f"]).arg(&file).output().expect("pgbench")
}
