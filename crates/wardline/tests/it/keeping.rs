//! Backups, restores, drills, and the store of the trail, on folders.

use std::fs;

use crate::place::{Place, Ran};
use crate::server::Server;

fn backed_up() -> (Place, serde_json::Value) {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let backup = place.run(&["backup", "shelf", "--json"]).exits(0).json();
    (place, backup)
}

/// Restores into `new/`, where the configuration has the data folder as it had it.
fn restore(place: &Place, arguments: &[&str]) -> Ran {
    let fixed = ["--config", "new/wardline.toml", "restore", "shelf", "--root-key", "data/root.key"];
    place.run(&[&fixed[..], arguments].concat())
}

fn restored(place: &Place, arguments: &[&str]) -> Ran {
    place.run(&[&["--config", "new/wardline.toml"][..], arguments].concat())
}

#[test]
fn a_backup_comes_back_and_does_not_sign_by_itself() {
    let (place, backup) = backed_up();
    assert_eq!(backup["parts_taken_over"], 0);
    let before = restore(&place, &["--json"]).exits(0).json();
    assert_eq!(before["entries"], backup["entries"]);
    assert_eq!(before["records_decrypted"], backup["entries"]);
    let read = |name: &str| fs::read(place.path(name)).expect("a file");
    assert_eq!(read("new/wardline.toml"), read("wardline.toml"));
    restored(&place, &["verify"]).exits(0);
    let refused = restored(&place, &["serve"]).exits(2);
    assert!(refused.stderr.contains("restored from the backup of"), "{refused:?}");
    assert!(refused.stderr.contains("--next-origin"), "{refused:?}");
    restored(&place, &["user", "list"]).exits(2);
    // The source has gone on: its checkpoint is beyond what the backup has.
    fs::copy(place.path("data/trail/tree/checkpoint"), place.path("late")).expect("copied");
    let rolled_back = restored(&place, &["serve", "--last-checkpoint", "late"]).exits(2);
    assert!(rolled_back.stderr.contains("rollback"), "{rolled_back:?}");
    assert!(restore(&place, &[]).exits(2).stderr.contains("not empty"));
}

#[test]
fn a_restored_trail_goes_on_with_its_last_checkpoint() {
    let (place, _backup) = backed_up();
    restore(&place, &[]).exits(0);
    // Nothing was signed after the backup, as far as anybody knows.
    fs::copy(place.path("new/data/trail/tree/checkpoint"), place.path("held")).expect("copied");
    let server = Server::start_on(&place, "new/wardline.toml", "new/data", &["--last-checkpoint", "held"]);
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
    let restored_entry = restored(&place, &["trail", "tail", "--kind", "restored", "--json"]).exits(0).json();
    let detail = restored_entry["detail"].as_str().expect("words");
    assert!(detail.contains("goes on, because it contains the checkpoint of"), "{detail}");
    restored(&place, &["verify"]).exits(0);
    let users = restored(&place, &["user", "list"]).exits(0);
    assert!(users.stdout.contains("ann"), "{users:?}");
}

#[test]
fn the_next_log_begins_with_why() {
    let (place, _backup) = backed_up();
    restore(&place, &[]).exits(0);
    let server =
        Server::start_on(&place, "new/wardline.toml", "new/data", &["--next-origin", "disk lost on Monday"]);
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
    let first = restored(&place, &["trail", "show", "0", "--json"]).exits(0).json();
    assert_eq!(first["kind"], "incident");
    let detail = first["detail"].as_str().expect("words");
    assert!(detail.contains("goes on from the log") && detail.contains("disk lost on Monday"), "{detail}");
    let report = restored(&place, &["verify", "--json"]).exits(0).json();
    assert!(report["node"].as_str().expect("a name").ends_with("/1"), "{report}");
    // The log before is beside it, and whole.
    place.run(&["verify", "--trail", "new/data/trail.0", "--root-key", "data/root.key"]).exits(0);
    // Both are in the next backup.
    let again = restored(&place, &["backup", "shelf2", "--json"]).exits(0).json();
    assert!(again["log"].as_str().expect("a name").ends_with("/1"), "{again}");
    let other = ["--config", "third/wardline.toml", "restore", "shelf2", "--root-key", "data/root.key"];
    place.run(&other).exits(0);
    assert!(place.path("third/data/trail.0/tree/checkpoint").exists());
}

#[test]
fn a_second_backup_copies_only_what_is_new() {
    let (place, first) = backed_up();
    place.run(&["trail", "seal"]).exits(0);
    place.run(&["backup", "shelf"]).exits(0);
    let third = place.run(&["backup", "shelf", "--json"]).exits(0).json();
    assert!(third["parts_taken_over"].as_u64() > first["parts_taken_over"].as_u64(), "{third}");
    let entries = third["entries"].as_u64().expect("a number");
    assert_eq!(restore(&place, &["--json"]).exits(0).json()["entries"], entries);
    // An older one by its name.
    let name = first["backup"].as_str().expect("a name");
    let older = [
        "--config",
        "old/wardline.toml",
        "restore",
        "shelf",
        "--root-key",
        "data/root.key",
        "--json",
        "--backup",
        name,
    ];
    assert_eq!(place.run(&older).exits(0).json()["entries"], first["entries"]);
    let records = place.run(&["trail", "tail", "--kind", "backed-up", "--json", "-n", "9"]).exits(0);
    assert_eq!(records.stdout.lines().count(), 3, "{records:?}");
}

#[test]
fn an_altered_backup_is_refused() {
    let (place, _backup) = backed_up();
    let manifest = || {
        let mut names = fs::read_dir(place.path("shelf/manifests")).expect("a folder");
        names.find_map(|entry| {
            entry.ok().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"))
        })
    };
    let path = manifest().expect("a manifest");
    let whole = fs::read_to_string(&path).expect("a manifest");
    fs::write(&path, whole.replace("\"registry_change\": 1", "\"registry_change\": 0")).expect("written");
    let refused = restore(&place, &[]).exits(2);
    assert!(refused.stderr.contains("not signed"), "{refused:?}");
    fs::write(&path, &whole).expect("written");
    for entry in fs::read_dir(place.path("shelf/objects")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mut bytes = fs::read(&path).expect("an object");
        bytes[30] ^= 1;
        fs::write(&path, bytes).expect("written");
    }
    let refused = restore(&place, &[]).exits(2);
    assert!(refused.stderr.contains("altered"), "{refused:?}");
    assert!(!place.path("new/data").exists());
    // Another key opens nothing.
    place.write("other.key", &format!("{}\n", "ab".repeat(32)));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(place.path("other.key"), mode).expect("set");
    place.run(&["--config", "x/wardline.toml", "restore", "shelf", "--root-key", "other.key"]).exits(2);
}

#[test]
fn a_drill_is_reported_signed_and_recorded() {
    let (place, backup) = backed_up();
    let drill = place.run(&["drill", "shelf", "--json"]).exits(0).json();
    assert_eq!(drill["backup"], backup["backup"]);
    assert_eq!(drill["records_decrypted"], backup["entries"]);
    assert!(drill["service_ms"].as_u64() >= drill["restore_ms"].as_u64(), "{drill}");
    let report = fs::read_to_string(place.path(drill["report"].as_str().expect("a path"))).expect("a report");
    assert!(report.starts_with("wardline restore drill v1\n") && report.contains("\n\u{2014} "), "{report}");
    assert!(!place.path("data/drill").exists(), "what was restored is gone");
    let recorded = place.run(&["trail", "tail", "--kind", "restored", "--json"]).exits(0).json();
    assert!(recorded["detail"].as_str().expect("words").starts_with("drill: "), "{recorded}");
    place.run(&["verify"]).exits(0);
    assert!(place.run(&["drill", "nowhere"]).exits(2).stderr.contains("no whole backup"));
}

#[test]
fn what_was_sealed_is_looked_for_in_the_store() {
    let place = Place::ready();
    place.run(&["trail", "seal"]).exits(0);
    place.run(&["trail", "seal"]).exits(0);
    let shown = place.run(&["trail", "store", "--read", "--json"]).exits(0).json();
    assert_eq!(shown["sealed_segments"], 2);
    assert_eq!(shown["enforced"], serde_json::Value::Null);
    place.run(&["verify"]).exits(0);
    let folder = fs::read_dir(place.path("data/store/segments")).expect("a folder");
    let first = folder.filter_map(Result::ok).map(|entry| entry.path()).min().expect("an object");
    let mut bytes = fs::read(&first).expect("an object");
    bytes[4200] ^= 1;
    fs::write(&first, &bytes).expect("written");
    let found = place.run(&["trail", "store", "--read"]).exits(1);
    assert!(found.stdout.contains("object differs from what was sealed"), "{found:?}");
    fs::remove_file(&first).expect("removed");
    let found = place.run(&["verify"]).exits(1);
    assert!(found.stdout.contains("missing file in `store: segments/"), "{found:?}");
}

#[test]
fn a_trail_that_the_store_knows_to_be_longer_does_not_sign() {
    let place = Place::ready();
    let copy = |from: &str, to: &str| {
        let done =
            std::process::Command::new("cp").arg("-a").arg(place.path(from)).arg(place.path(to)).status();
        assert!(done.expect("cp").success());
    };
    place.run(&["user", "list"]).exits(0);
    copy("data/trail", "earlier");
    place.add("ann", "nurse").exits(0);
    fs::remove_dir_all(place.path("data/trail")).expect("removed");
    copy("earlier", "data/trail");
    let refused = place.run(&["user", "list"]).exits(2);
    assert!(refused.stderr.contains("rollback"), "{refused:?}");
    assert!(place.run(&["serve"]).exits(2).stderr.contains("rollback"));
}
