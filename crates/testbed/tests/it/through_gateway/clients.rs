//! Every client against every version of the server, directly and through Wardline: the same answers.
//!
//! The versions divide the ways to sign in among them, so that each client meets each way once.

use testbed::Conninfo;
use testbed::clients::{self, Installed};
use testbed::postgres::Version;

use super::stage::{self, PERSON, RESOURCE};

fn check(direct: &Conninfo, through: &Conninfo) {
    let installed = clients::install(|line| println!("{line}"));
    let mut found = Vec::new();
    for Installed { client, place } in installed {
        assert!(place.is_ok(), "{client}: {place:?}");
        let plain = clients::run(client, direct).expect("it runs directly");
        match clients::run(client, through) {
            Ok(checks) => {
                let differences = clients::differences(&plain, &checks);
                found.extend(differences.into_iter().map(|text| format!("{client}: {text}")));
            }
            Err(error) => found.push(format!("{client}: {error:#}")),
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn clients_of_postgresql_15_with_a_password() {
    let Some(cluster) = stage::cluster(Version::V15) else { return };
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    check(&stage::direct(&cluster), &stage::through(&gateway));
}

#[test]
fn clients_of_postgresql_16_with_a_token() {
    let Some(cluster) = stage::cluster(Version::V16) else { return };
    let gateway = stage::builder(&cluster).start().expect("Wardline");
    check(&stage::direct(&cluster), &gateway.conninfo_token(PERSON, RESOURCE).expect("a token"));
}

#[test]
fn clients_of_postgresql_17_with_a_password_by_scram() {
    let Some(cluster) = stage::cluster(Version::V17) else { return };
    let gateway = stage::builder(&cluster).listener_field("scram", "true").start().expect("Wardline");
    check(&stage::direct(&cluster), &stage::through(&gateway));
}

#[test]
fn clients_of_postgresql_18_with_a_token_by_scram() {
    let Some(cluster) = stage::cluster(Version::V18) else { return };
    let gateway = stage::builder(&cluster).listener_field("scram", "true").start().expect("Wardline");
    check(&stage::direct(&cluster), &gateway.conninfo_token(PERSON, RESOURCE).expect("a token"));
}
