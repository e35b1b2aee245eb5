//! A registry of another time: refused, and accepted only by somebody who says why.

use std::fs;

use crate::people::PASSWORD;
use crate::place::Place;
use crate::server::Server;

/// A node with ann, whom a later change barred, and the registry from before that change.
fn restored() -> Place {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    fs::copy(place.path("data/registry.sqlite"), place.path("backup")).expect("copied");
    place.run(&["user", "disable", "ann"]).exits(0);
    place.login("ann", PASSWORD).exits(1);
    put_back(&place);
    place
}

fn put_back(place: &Place) {
    for rest in ["-wal", "-shm"] {
        let _absent = fs::remove_file(place.path(&format!("data/registry.sqlite{rest}")));
    }
    fs::copy(place.path("backup"), place.path("data/registry.sqlite")).expect("copied");
}

#[test]
fn an_older_registry_lets_nobody_in() {
    let place = restored();
    let login = place.login("ann", PASSWORD).exits(1);
    assert!(login.stderr.contains("at change 1") && login.stderr.contains("change 2"), "{login:?}");
    for arguments in [&["user", "list"][..], &["access", "matrix"], &["user", "enable", "ann"]] {
        let ran = place.run(arguments).exits(1);
        assert!(ran.stderr.contains("--accept-older-registry"), "{ran:?}");
    }
    let served = place.run(&["serve"]).exits(2);
    assert!(served.stderr.contains("older than the trail"), "{served:?}");
    // What was changed since can be read all the same.
    let changes = place.run(&["trail", "tail", "--kind", "admin-change"]).exits(0);
    assert!(changes.stdout.contains("disable"), "{changes:?}");
    place.run(&["verify"]).exits(0);
}

#[test]
fn a_registry_that_is_gone_is_older_too() {
    let place = restored();
    fs::remove_file(place.path("data/registry.sqlite")).expect("removed");
    place.run(&["user", "list"]).exits(1);
    place.run(&["serve"]).exits(2);
    place.run(&["user", "list"]).exits(1);
}

#[test]
fn somebody_may_accept_it_and_is_recorded() {
    let place = restored();
    let server = Server::start_with(&place, &["--accept-older-registry", "disk lost, backup of Monday"]);
    place.run(&["user", "disable", "ann"]).exits(0);
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
    let incident = place.run(&["trail", "tail", "--kind", "incident", "--json"]).exits(0).json();
    let detail = incident["detail"].as_str().expect("a detail");
    assert!(detail.contains("change 1") && detail.contains("disk lost, backup of Monday"), "{incident}");
    assert!(incident["person_name"].as_str().expect("a name").starts_with("os:"), "{incident}");
    // From then on it is the one in force.
    let server = Server::start(&place);
    place.login("ann", PASSWORD).exits(1);
    drop(server);
    // The number went on from the trail's, so the same backup is older again.
    put_back(&place);
    place.run(&["serve"]).exits(2);
}

#[test]
fn a_server_that_died_starts_again() {
    let place = Place::ready();
    for name in ["ann", "bob", "cat"] {
        let server = Server::start(&place);
        place.add(name, "nurse").exits(0);
        // It is killed where it is dropped.
        drop(server);
    }
    let server = Server::start(&place);
    let people = place.run(&["user", "list", "--json"]).exits(0).json();
    assert_eq!(people.as_array().map(Vec::len), Some(3));
    drop(server);
}

#[test]
fn a_trail_that_lost_its_end_is_an_incident() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    fs::rename(place.path("data/trail"), place.path("elsewhere")).expect("moved");
    // The store knows the log that was lost; without it another one begins.
    let refused = place.run(&["serve"]).exits(2);
    assert!(refused.stderr.contains("another log of this name"), "{refused:?}");
    fs::remove_dir_all(place.path("data/store")).expect("removed");
    let mut server = Server::start(&place);
    server.logs("newer than the trail");
    let incident = place.run(&["trail", "tail", "--kind", "incident", "--json"]).exits(0).json();
    assert!(incident["detail"].as_str().expect("a detail").contains("entries are missing"), "{incident}");
}
