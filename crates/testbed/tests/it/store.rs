//! A real S3 server with Object Lock: what is put stays, what is deleted or replaced is found, backups come back. And
//! backups that are killed.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testbed::SmallDisk;
use testbed::bucket::BucketServer;
use testbed::faults::{Fault, Faults, Files};
use testbed::gateway::{Builder, Gateway};

fn gateway(server: &BucketServer, folder: &Path, bucket: &str) -> Builder {
    let credentials = folder.join("s3-credentials");
    server.credentials(&credentials).expect("credentials");
    let reach = format!("endpoint = \"{}\"\ncredentials = {credentials:?}\n", server.endpoint());
    Gateway::builder()
        .toml(&format!("[trail.store]\nto = \"s3://{bucket}/gw\"\nlocal_segments = 1\n{reach}"))
        .toml(&format!("[backup]\nto = \"s3://{bucket}/backups\"\n{reach}"))
}

fn shown(gateway: &Gateway) -> Value {
    let output = gateway.cli_output(&["trail", "store", "--read", "--json"]).expect("wardline trail store");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn findings(gateway: &Gateway) -> String {
    let output = gateway.cli_output(&["verify"]).expect("wardline verify");
    format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stdout))
}

#[test]
fn a_locked_bucket_keeps_what_was_sealed_and_tells_who_hid_it() {
    let server = BucketServer::start().expect("an S3 server");
    server.done(&["create-locked", "locked"]).expect("a bucket with Object Lock");
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = gateway(&server, folder.path(), "locked").start().expect("it starts");
    for _ in 0..3 {
        gateway.cli(&["trail", "seal"]).expect("sealed");
    }
    let store = shown(&gateway);
    assert_eq!(store["enforced"]["keeps"], true, "{store}");
    assert_eq!(store["enforced"]["lock"]["mode"], "COMPLIANCE", "{store}");
    assert_eq!(store["sealed_segments"], 3, "{store}");
    assert!(store["newest_checkpoint"].as_u64().is_some_and(|size| size > 0), "{store}");
    // Only one complete segment stays here; the rest of the trail is read from the bucket.
    let local = std::fs::read_dir(gateway.data().join("trail/segments")).expect("a folder");
    let names: Vec<_> = local.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert!(!names.contains(&"0000000000.seg".to_owned()), "{names:?}");
    assert!(findings(&gateway).starts_with("Some(0)"), "{}", findings(&gateway));
    gateway.cli(&["trail", "show", "0"]).expect("the first entry");

    let keys = server.done(&["keys", "locked"]).expect("keys");
    let segments: Vec<&String> = keys.iter().filter(|key| key.starts_with("gw/segments/")).collect();
    let [first, second, _third] = segments[..] else { panic!("{keys:?}") };
    let version = server.done(&["versions", "locked", first]).expect("versions").remove(0);
    let denied = server.bucket(&["delete", "locked", first, &version]).expect("python");
    assert!(!denied.status.success(), "a version under Object Lock was deleted");
    assert!(String::from_utf8_lossy(&denied.stdout).contains("AccessDenied"), "{denied:?}");
    // A marker hides the object from whoever names no version: what was recorded is read all the same.
    server.done(&["hide", "locked", first]).expect("a delete marker");
    gateway.cli(&["trail", "show", "0"]).expect("the first entry");
    let said = findings(&gateway);
    assert!(said.starts_with("Some(1)") && said.contains("deletion in the store"), "{said}");
    // Another version above the recorded one.
    server.done(&["overwrite", "locked", second]).expect("another version");
    let said = shown(&gateway)["findings"].to_string();
    assert!(
        said.contains("deletion in the store") && said.contains("another version in the store"),
        "{said}"
    );
}

#[test]
fn a_bucket_without_lock_says_what_it_lacks_and_serves_for_backups() {
    let server = BucketServer::start().expect("an S3 server");
    server.done(&["create", "plain"]).expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = gateway(&server, folder.path(), "plain").start().expect("it starts");
    let store = shown(&gateway);
    assert_eq!(store["enforced"]["keeps"], false, "{store}");
    assert_eq!(store["enforced"]["conditional_put"], true, "{store}");
    assert_eq!(store["enforced"]["deletion_refused"], false, "{store}");
    gateway.cli(&["trail", "seal"]).expect("sealed");
    gateway.cli(&["backup"]).expect("a backup");
    gateway.cli(&["trail", "seal"]).expect("sealed");
    let again = gateway.cli_json(&["backup", "--json"]).expect("a second backup").remove(0);
    assert!(again["parts_taken_over"].as_u64().is_some_and(|parts| parts > 0), "{again}");
    gateway.cli(&["drill"]).expect("a drill");
    // What is sealed after the backup comes from the trail's store.
    gateway.cli(&["trail", "seal"]).expect("sealed");
    assert!(gateway.terminate().expect("it ends").success());

    let clean = tempfile::tempdir().expect("a folder");
    let mut restore = Command::new(testbed::gateway::program().expect("the wardline program"));
    restore.arg("--config").arg(clean.path().join("wardline.toml")).arg("restore").arg("s3://plain/backups");
    restore
        .args(["--endpoint", &server.endpoint(), "--credentials"])
        .arg(folder.path().join("s3-credentials"));
    restore.arg("--root-key").arg(gateway.data().join("root.key"));
    restore.arg("--data").arg(clean.path().join("data")).arg("--json");
    let output = restore.output().expect("wardline restore");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let restored: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(restored["entries"], again["entries"], "{restored}");
    assert!(restored["segments_from_store"].as_u64() >= Some(1), "{restored} {said}");
    assert!(restored["entries_behind_checkpoint"].as_u64() > Some(0), "{restored}");
}

/// A backup that is killed at any moment is no backup, hurts none that is, and the next one is whole.
#[test]
fn killed_backups_leave_whole_ones() {
    let gateway = Gateway::builder().start().expect("it starts");
    let shelf = tempfile::tempdir().expect("a folder");
    let name = shelf.path().display().to_string();
    gateway.cli(&["backup", &name]).expect("a backup");
    for wait_ms in [20, 60, 150] {
        gateway.cli(&["trail", "seal"]).expect("sealed");
        let mut command = Command::new(testbed::gateway::program().expect("the wardline program"));
        command.arg("--config").arg(gateway.config()).args(["backup", &name]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("wardline");
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().expect("killed, or it has ended");
        child.wait().expect("it ends");
        // Whichever is the newest that is whole.
        let clean = tempfile::tempdir().expect("a folder");
        let mut restore = Command::new(testbed::gateway::program().expect("the wardline program"));
        restore.arg("--config").arg(clean.path().join("wardline.toml")).args(["restore", &name]);
        restore
            .arg("--root-key")
            .arg(gateway.data().join("root.key"))
            .arg("--data")
            .arg(clean.path().join("data"));
        let output = restore.output().expect("wardline restore");
        assert!(
            output.status.success(),
            "what is believed to be a backup: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    gateway.cli(&["backup", &name]).expect("a backup");
    gateway.cli(&["verify"]).expect("the trail is whole");
}

/// Every entry, and each once: by a search, by SQL, in the archive, and in the archive merged, though the older segments
/// are in the store only.
fn sees_everything(gateway: &Gateway) {
    for _ in 0..3 {
        gateway.cli(&["trail", "seal"]).expect("sealed");
    }
    let local = std::fs::read_dir(gateway.data().join("trail/segments")).expect("a folder");
    let names: Vec<_> = local.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert!(!names.contains(&"0000000000.seg".to_owned()), "{names:?}");
    let all = |when: &str| {
        let found = gateway.cli_json(&["trail", "search", "--json"]).expect("a search");
        let indexes = found.iter().map(|entry| entry["index"].as_u64().expect("an index"));
        assert!(indexes.eq(0..found.len() as u64), "{when}: {found:?}");
        let first =
            gateway.cli_json(&["trail", "search", "--kind", "node-started", "--json"]).expect("a search");
        assert_eq!(first.len(), 1, "{when}");
        let counted =
            "SELECT count(*) AS n, min(\"index\") AS low, max(\"index\") AS high FROM events WHERE part = 0";
        let counted = gateway.cli_json(&["trail", "sql", counted, "--json"]).expect("SQL").remove(0);
        let number = |name: &str| counted[name].as_u64().expect("a number");
        assert_eq!((number("low"), number("n")), (0, number("high") + 1), "{when}: {counted}");
        assert!(number("n") > found.len() as u64, "{when}: what was asked since is there, too");
    };
    all("nothing is archived");
    let archived = gateway.cli_json(&["trail", "archive", "--all", "--entries-max", "7", "--json"]);
    let archived = archived.expect("archived").remove(0);
    assert!(archived["files"].as_u64() > Some(1), "{archived}");
    all("archived from the store");
    // A file that is lost leaves a gap in the middle, which the store has.
    let files = std::fs::read_dir(gateway.data().join("archive")).expect("a folder");
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    files.retain(|file| file.extension().is_some_and(|part| part == "events"));
    files.sort();
    let lost = files.get(1).expect("a second file");
    let aside = lost.with_extension("aside");
    std::fs::rename(lost, &aside).expect("moved");
    all("a file of the archive is lost");
    std::fs::rename(&aside, lost).expect("moved");
    gateway.cli(&["trail", "archive", "--all", "--compact"]).expect("merged");
    all("merged");
    assert!(findings(gateway).starts_with("Some(0)"), "{}", findings(gateway));
    let answer = gateway.folder().join("answer").display().to_string();
    gateway.cli(&["trail", "search", "--kind", "node-started", "--prove", &answer]).expect("an answer");
    gateway.cli(&["verify-answer", &answer]).expect("it holds");
    // A copy of the trail's folder alone says that it is not all there.
    let alone = gateway.folder().join("alone");
    std::fs::create_dir(&alone).expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(gateway.data().join("trail")).arg(&alone).status();
    assert!(copied.expect("cp").success());
    let (copy, key) = (alone.join("trail"), gateway.data().join("root.key"));
    let (copy, key) = (copy.display().to_string(), key.display().to_string());
    let search = ["trail", "search", "--trail", &copy, "--root-key", &key];
    let refused = gateway.cli_output(&search).expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("missing"), "{:?} {said}", refused.status);
}

#[test]
fn segments_in_a_folder_elsewhere_are_searched() {
    let shelf = tempfile::tempdir().expect("a folder");
    let section = format!("[trail.store]\nto = {:?}\nlocal_segments = 1\n", shelf.path());
    sees_everything(&Gateway::builder().toml(&section).start().expect("it starts"));
}

#[test]
fn segments_in_a_bucket_are_searched() {
    let server = BucketServer::start().expect("an S3 server");
    server.done(&["create", "plain"]).expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    sees_everything(&gateway(&server, folder.path(), "plain").start().expect("it starts"));
}

/// A store whose reads fail answers nothing, and nothing by halves.
#[test]
fn a_store_that_cannot_be_read_is_no_empty_store() {
    let (shelf, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let section = format!("[trail.store]\nto = \"{}/shelf\"\nlocal_segments = 1\n", shelf.path().display());
    let gateway = Gateway::builder().toml(&section).start().expect("it starts");
    for _ in 0..4 {
        gateway.cli(&["trail", "seal"]).expect("sealed");
    }
    let faults = Faults::new(folder.path()).expect("a C compiler").below("/shelf/");
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(testbed::gateway::program().expect("the wardline program"));
        command.arg("--config").arg(gateway.config()).args(arguments).env("NO_COLOR", "1");
        faults.beneath_command(&mut command);
        command.output().expect("it runs")
    };
    let search = ["trail", "search", "--json"];
    let sql = ["trail", "sql", "SELECT count(*) AS n FROM events WHERE part = 0", "--json"];
    let whole = |output: &std::process::Output| {
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let indexes = lines.iter().map(|line| line["index"].as_u64().expect("an index"));
        indexes.eq(0..lines.len() as u64) && !lines.is_empty()
    };
    assert!(whole(&ask(&search)), "the faults wait");
    faults.keep_striking(Fault::ReadError, Files::Any).expect("faults");
    for arguments in [&search[..], &sql, &["trail", "archive", "--all"], &["verify"], &["trail", "show", "0"]]
    {
        let output = ask(arguments);
        assert!(!output.status.success(), "{arguments:?} {}", String::from_utf8_lossy(&output.stdout));
    }
    // One read fails, wherever: there is an error, or the whole answer.
    let mut refused = 0;
    for after in 0..12 {
        faults.strike(Fault::ReadError, Files::Any, after).expect("a fault");
        let output = ask(&search);
        let struck = faults.struck().expect("a count") > 0;
        assert_eq!(output.status.success(), !struck, "read {after}");
        assert!(struck || whole(&output), "read {after}");
        refused += u32::from(struck);
    }
    assert!(refused > 0, "no read was struck");
    faults.end().expect("no fault");
    assert!(whole(&ask(&search)));
    assert!(findings(&gateway).starts_with("Some(0)"), "{}", findings(&gateway));
}

/// A restore that is killed at any moment leaves no data folder that anything would start on, and is made again.
#[test]
fn killed_restores_are_made_again() {
    let gateway = Gateway::builder().start().expect("it starts");
    let shelf = tempfile::tempdir().expect("a folder");
    let name = shelf.path().display().to_string();
    for _ in 0..3 {
        gateway.cli(&["trail", "seal"]).expect("sealed");
    }
    let made = gateway.cli_json(&["backup", &name, "--json"]).expect("a backup").remove(0);
    let key = gateway.data().join("root.key");
    let restore = |clean: &Path| {
        let mut restore = Command::new(testbed::gateway::program().expect("the wardline program"));
        restore.arg("--config").arg(clean.join("wardline.toml")).args(["restore", &name]);
        restore.arg("--root-key").arg(&key).arg("--data").arg(clean.join("data")).arg("--json");
        restore
    };
    let mut killed = 0;
    for wait_ms in [1, 10, 25, 50, 100, 200] {
        let clean = tempfile::tempdir().expect("a folder");
        let mut child = restore(clean.path());
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("wardline");
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().expect("killed, or it has ended");
        killed += u32::from(!child.wait().expect("it ends").success());
        let data = clean.path().join("data");
        if !data.exists() {
            let left = clean.path().join("data.restoring");
            if left.exists() {
                let refused = restore(clean.path()).output().expect("wardline restore");
                let words = String::from_utf8_lossy(&refused.stderr);
                assert!(!refused.status.success() && words.contains("did not finish; remove it"), "{words}");
                std::fs::remove_dir_all(&left).expect("it is removed as the words say");
            }
            let output = restore(clean.path()).output().expect("wardline restore");
            assert!(output.status.success(), "{wait_ms}: {}", String::from_utf8_lossy(&output.stderr));
            let restored: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(restored["entries"], made["entries"], "{wait_ms}: {restored}");
        }
        let copy = data.join("trail").display().to_string();
        let options = ["verify", "--trail", &copy, "--root-key", &key.display().to_string()];
        gateway
            .cli(&options)
            .unwrap_or_else(|error| panic!("{wait_ms}: what is there is not whole: {error}"));
    }
    assert!(killed > 0, "every restore was faster");
}

/// A server that is killed while it seals seals on.
#[test]
fn killed_servers_seal_on() {
    let mut gateway = Gateway::builder().start().expect("it starts");
    for wait_ms in [5, 30, 80] {
        let mut command = Command::new(testbed::gateway::program().expect("the wardline program"));
        command.arg("--config").arg(gateway.config()).args(["trail", "seal"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("wardline");
        std::thread::sleep(Duration::from_millis(wait_ms));
        gateway.kill9().expect("it ran");
        child.wait().expect("it ends");
        gateway.serve().expect("it starts");
        gateway.cli(&["trail", "seal"]).expect("sealed");
        let store = shown(&gateway);
        assert_eq!(store["findings"].to_string(), "[]", "{store}");
    }
    assert!(findings(&gateway).starts_with("Some(0)"), "{}", findings(&gateway));
}

/// A place that is full takes nothing, is told, and what was refused is done when there is space.
#[test]
fn a_full_place_takes_nothing_by_halves() {
    let disk = SmallDisk::mount(4).expect("a small file system");
    let place = |name: &str| disk.path().join(name).display().to_string();
    let gateway = Gateway::builder()
        .toml(&format!("[trail.store]\nto = {:?}\n[backup]\nto = {:?}", place("store"), place("backups")))
        .start()
        .expect("it starts");
    gateway.cli(&["trail", "seal"]).expect("sealed");
    let ballast = disk.fill().expect("a full file system");
    for arguments in [&["trail", "seal"][..], &["backup"]] {
        let refused = gateway.cli_output(arguments).expect("wardline");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("space"), "{said}");
    }
    let none = gateway.cli_output(&["drill"]).expect("wardline drill");
    assert!(String::from_utf8_lossy(&none.stderr).contains("no whole backup"), "{none:?}");
    assert!(findings(&gateway).starts_with("Some(0)"), "{}", findings(&gateway));
    std::fs::remove_file(ballast).expect("space");
    gateway.cli(&["trail", "seal"]).expect("sealed");
    gateway.cli(&["backup"]).expect("a backup");
    gateway.cli(&["drill"]).expect("a drill");
    let store = shown(&gateway);
    assert_eq!(store["findings"].to_string(), "[]", "{store}");
}
