//! Reading and verifying the trail by the command line.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::people::{PASSWORD, files_under};
use crate::place::Place;
use crate::server::Server;

impl Place {
    /// Returns all entries of the node's trail.
    fn entries(&self, more: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["trail", "tail", "-n", "100000", "--json"];
        arguments.extend(more);
        let ran = self.run(&arguments).exits(0);
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Returns `detail` of the administrators' changes in one phase.
    fn changes(&self, phase: &str) -> Vec<String> {
        let entries = self.entries(&["--kind", "admin-change"]);
        let of_phase = entries.iter().filter(|entry| entry["phase"] == phase);
        of_phase.map(|entry| entry["detail"].as_str().expect("a detail").to_owned()).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in files_under(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        fs::create_dir_all(target.parent().expect("a parent")).expect("a folder");
        fs::copy(&file, &target).expect("copied");
    }
}

#[test]
fn every_change_is_in_the_trail_and_no_secret_is() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    place.add("ann", "nurse").exits(1);
    place.run(&["user", "roles", "ann", "--role", "analyst"]).exits(0);
    place.run(&["user", "disable", "ann"]).exits(0);
    place.run(&["user", "delete", "ann"]).exits(0);
    let set = ["vault", "set", "hospital", "--user", "app", "--password-stdin"];
    place.run_with_input(&set, "upstream-canary\n").exits(0);
    let done = place.changes("admitted");
    let expected =
        ["add person `ann`", "give person `ann`", "disable person", "delete person", "store the credential"];
    assert_eq!(done.len(), expected.len(), "{done:?}");
    for (detail, beginning) in done.iter().zip(expected) {
        assert!(detail.starts_with(beginning), "{detail}");
    }
    assert!(done[1].contains("analyst") && done[1].contains("nurse"), "old and new roles: {}", done[1]);
    let refused = place.changes("refused");
    assert!(refused.len() == 1 && refused[0].contains("already a person"), "{refused:?}");
    let all = place.run(&["trail", "tail", "-n", "1000", "--json", "--open-sealed"]).exits(0).stdout;
    assert!(!all.contains("upstream-canary") && !all.contains(PASSWORD.trim()));
    let entry = place.entries(&["--kind", "admin-change"]).remove(0);
    assert!(entry["person_name"].as_str().expect("who").starts_with("os:"), "{entry}");
}

#[test]
fn log_ins_are_entries_with_their_reason() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    place.login("ann", "wrong password!\n").exits(1);
    place.login("nobody", PASSWORD).exits(1);
    place.login("ann", PASSWORD).exits(0);
    let entries = place.entries(&["--kind", "sign-in"]);
    let facts: Vec<_> = entries
        .iter()
        .map(|entry| {
            let detail = entry["detail"].as_str().expect("a detail").split(' ').next().unwrap_or_default();
            (entry["person_name"].as_str().expect("who"), entry["outcome"].as_str().expect("outcome"), detail)
        })
        .collect();
    let expected = [
        ("ann", "refused", "wrong-password"),
        ("nobody", "refused", "unknown-person"),
        ("ann", "completed", "token"),
    ];
    assert_eq!(facts, expected);
    assert_eq!(place.entries(&["--person", "nobody"]).len(), 1);
}

#[test]
fn reading_the_trail_is_an_entry() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    place.run(&["trail", "tail", "--person", "ann", "--open-sealed"]).exits(0);
    let views = place.entries(&["--kind", "trail-viewed"]);
    assert_eq!(views[0]["detail"], "tail person ann, sealed values opened");
    assert_eq!(views[1]["detail"], "tail kind trail-viewed", "this very reading");
}

#[test]
fn one_entry_is_shown_or_said_not_to_be() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let first = place.run(&["trail", "show", "0", "--json"]).exits(0).json();
    assert_eq!(first["index"], 0);
    assert!(place.run(&["trail", "show", "0"]).exits(0).stdout.starts_with("#0  2"));
    let none = place.run(&["trail", "show", "100000"]).exits(1);
    assert!(none.stderr.contains("no entry 100000"), "{none:?}");
}

#[test]
fn a_filter_looks_far_enough_back() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    place.login("ann", PASSWORD).exits(0);
    let server = Server::start(&place);
    for _ in 0..40 {
        place.run(&["trail", "show", "0"]).exits(0);
    }
    let found = place.run(&["trail", "tail", "-n", "1", "--kind", "sign-in", "--json"]).exits(0);
    assert_eq!(found.json()["person_name"], "ann");
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
}

#[test]
fn activations_are_entries_with_digests() {
    let place = Place::ready();
    let mut server = Server::start(&place);
    place.add("ann", "nurse").exits(0);
    place.write("wardline.toml", &format!("{}\n# changed\n", crate::people::CONFIG));
    server.signal("HUP");
    server.logs("configuration activated");
    place.write("wardline.toml", "node = 7\n");
    server.signal("HUP");
    server.logs("reload refused");
    place.write("wardline.toml", crate::people::CONFIG);
    let configs = place.entries(&["--kind", "config-activated"]);
    assert_eq!(configs.len(), 2);
    assert_ne!(configs[0]["detail"], configs[1]["detail"]);
    let policies = place.entries(&["--kind", "policy-activated"]);
    assert_eq!(policies.len(), 3, "at the start, with a person more, after the reload");
    let versions: Vec<u64> =
        policies.iter().map(|entry| entry["policy_version"].as_u64().expect("set")).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    assert!(place.changes("refused")[0].contains("1 errors") || place.changes("refused")[0].contains("node"));
}

#[test]
fn a_whole_trail_verifies_also_as_a_copy() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let own = place.run(&["verify", "--json"]).exits(0).json();
    assert_eq!((own["whole"].clone(), own["level"].clone()), (true.into(), 5.into()));
    assert!(own["records_decrypted"].as_u64().expect("a number") > 3);
    assert!(place.run(&["verify"]).exits(0).stdout.contains("whole: "));
    let held = place.path("held");
    fs::copy(place.path("data/trail/tree/checkpoint"), &held).expect("copied");
    place.add("bob", "nurse").exits(0);
    let key = fs::read_to_string(place.path("data/trail/verifier.txt")).expect("a key");
    let held = held.display().to_string();
    place.run(&["verify", "--checkpoint", &held, "--verifier-key", key.trim()]).exits(0);
    copy(&place.path("data/trail"), &place.path("copy"));
    let elsewhere = Place::new();
    let copied = place.path("copy").display().to_string();
    let root = place.path("data/root.key").display().to_string();
    let deep = elsewhere.run(&["verify", "--trail", &copied, "--root-key", &root, "--node", "gw1", "--json"]);
    assert_eq!(deep.exits(0).json()["level"], 5);
    assert_eq!(elsewhere.run(&["verify", "--trail", &copied, "--json"]).exits(0).json()["level"], 3);
    elsewhere.run(&["verify", "--trail", &copied, "--level", "5"]).exits(2);
    let other = elsewhere.run(&["verify", "--trail", &copied, "--node", "gw2"]).exits(1);
    assert!(other.stdout.contains("not the trail of `gw2`"), "{other:?}");
    elsewhere.run(&["verify", "--trail", "nowhere"]).exits(2);
    let tail = elsewhere.run(&["trail", "tail", "--trail", &copied, "--root-key", &root]).exits(0);
    assert!(tail.stderr.contains("recorded nowhere"), "{tail:?}");
}

#[test]
fn damage_is_named() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let bundle = |root: &Path| {
        let files = files_under(&root.join("tree/tile/entries"));
        files.into_iter().max().expect("a bundle")
    };
    let copied = place.path("copy");
    copy(&place.path("data/trail"), &copied);
    let file = bundle(&copied);
    let mut bytes = fs::read(&file).expect("readable");
    bytes[54 * 2 + 30] ^= 1;
    fs::write(&file, bytes).expect("written");
    let trail = copied.display().to_string();
    let damaged = place.run(&["verify", "--trail", &trail, "--json"]).exits(1).json();
    assert_eq!(damaged["first_bad_entry"], 2, "{damaged}");
    let words = place.run(&["verify", "--trail", &trail]).exits(1).stdout;
    assert!(words.contains("DAMAGED: ") && words.contains("first bad entry 2"), "{words}");
    fs::remove_file(copied.join("verifier.txt")).expect("removed");
    let missing = place.run(&["verify", "--trail", &trail]).exits(1);
    assert!(missing.stdout.contains("verifier.txt"), "{missing:?}");
}

/// Whoever looks hears of a lost key, before `serve` does, and nothing takes its place.
#[test]
fn a_lost_key_is_said_by_all() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    for prefix in ["checkpoint", "record-"] {
        let keys = files_under(&place.path("data/trail/keys"));
        let named = |file: &&std::path::PathBuf| {
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        };
        let file = keys.iter().find(named).expect("a key");
        let away = place.path("away.key");
        fs::rename(file, &away).expect("moved");
        let verified = place.run(&["verify"]).exits(1);
        assert!(verified.stdout.contains("DAMAGED: "), "{verified:?}");
        let name = file.file_name().expect("a name").to_string_lossy();
        for (command, code) in [("check", 1), ("serve", 2)] {
            let ran = place.run(&[command]).exits(code);
            assert!(format!("{ran:?}").contains(&*name), "{ran:?}");
        }
        assert!(!file.exists(), "another key took its place");
        fs::rename(&away, file).expect("moved back");
        place.run(&["verify"]).exits(0);
    }
}

#[test]
fn the_tree_is_exported_for_others() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let tree = place.path("tree");
    let name = tree.display().to_string();
    let written = place.run(&["trail", "export-tlog", &name, "--json"]).exits(0).json();
    assert!(written["leaves"].as_u64().expect("a number") > 3);
    assert!(tree.join("checkpoint").is_file() && tree.join("tile").is_dir());
    place.run(&["trail", "export-tlog", &name]).exits(2);
}

#[test]
fn the_tree_alone_verifies_only_when_asked() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let copied = place.path("copy");
    copy(&place.path("data/trail"), &copied);
    fs::remove_dir_all(copied.join("segments")).expect("removed");
    let trail = copied.display().to_string();
    place.run(&["verify", "--trail", &trail]).exits(1);
    place.run(&["verify", "--trail", &trail, "--tree-only"]).exits(0);
}

#[test]
fn a_followed_trail_goes_on() {
    use std::io::BufRead as _;
    let place = Place::ready();
    let _server = Server::start(&place);
    let mut command = place.command(&["trail", "tail", "-n", "0", "-f", "--kind", "admin-change", "--json"]);
    let mut follower = command.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut lines = std::io::BufReader::new(follower.stdout.take().expect("piped")).lines();
    // Its own reading is an entry: when that is there, it follows.
    let began = std::time::Instant::now();
    while place.entries(&["--kind", "trail-viewed"]).len() < 2 && began.elapsed().as_secs() < 20 {}
    place.add("ann", "nurse").exits(0);
    let line = lines.next().expect("a line").expect("readable");
    follower.kill().expect("killed");
    follower.wait().expect("reaped");
    assert!(line.contains("add person `ann`"), "{line}");
}
