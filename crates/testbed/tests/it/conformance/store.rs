//! Rows 16, 49 and 50, as far as backups and the store of the trail go.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use testbed::gateway::Gateway;

use super::stage::{self, HOSPITAL, answer, err, out};

/// Runs a command on another configuration than the gateway's.
fn on(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(testbed::gateway::program().expect("the wardline program"));
    command.arg("--config").arg(config).args(arguments).env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    command.output().expect("wardline")
}

#[track_caller]
fn done(config: &Path, arguments: &[&str]) -> Value {
    let output = on(config, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "wardline {}: {}{}", arguments.join(" "), out(&output), err(&output));
    serde_json::from_str(&out(&output)).expect("JSON")
}

fn busy_gateway() -> (testbed::postgres::Cluster, Gateway) {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster).person("ann", &["nurse"]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    for id in 1..20 {
        assert_eq!(
            answer(&ann, &format!("select name from patients where id = {id}")),
            format!("patient {id}")
        );
    }
    (cluster, gateway)
}

/// Checks that a file's written part begins with another's: a segment goes on after it was backed up.
#[track_caller]
fn begins_with(source: &Path, copy: &Path) {
    let (source_bytes, copy_bytes) =
        (stage::content(source).expect("a file"), stage::content(copy).expect("a file"));
    // The last page that was copied may be cut in the middle by what `content` leaves out.
    let end = copy_bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    assert!(end > 4096 && source_bytes.starts_with(&copy_bytes[..end]), "{}", copy.display());
}

#[test]
fn row_49_backup_is_an_exact_copy() {
    let (_cluster, mut gateway) = busy_gateway();
    let shelf = tempfile::tempdir().expect("a folder");
    let shelf_name = shelf.path().display().to_string();
    // While it serves, twice, with more in between.
    gateway.cli(&["backup", &shelf_name]).expect("a first backup");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    answer(&ann, "insert into notes (body) values ('a note')");
    let backup = gateway.cli_json(&["backup", &shelf_name, "--json"]).expect("a second backup").remove(0);
    answer(&ann, "select count(*) from patients");
    assert!(gateway.terminate().expect("it ends").success());

    let clean = tempfile::tempdir().expect("a folder");
    let config = clean.path().join("wardline.toml");
    let data = clean.path().join("data");
    let (key, place) = (gateway.data().join("root.key"), data.display().to_string());
    let key = key.display().to_string();
    let restored = done(&config, &["restore", &shelf_name, "--root-key", &key, "--data", &place]);
    assert_eq!(restored["entries"], backup["entries"]);
    // Digests are equal: the configuration's, and every file's that the log and its keys are made of.
    let read = |path: &Path| std::fs::read(path).expect("a file");
    assert_eq!(read(&config), read(&gateway.config()));
    assert_eq!(read(&data.join("vault.json")), read(&gateway.data().join("vault.json")));
    let (source, copy) = (gateway.data().join("trail"), data.join("trail"));
    for file in stage::files(&copy.join("keys")) {
        assert_eq!(read(&file), read(&source.join("keys").join(file.file_name().expect("a name"))));
    }
    for file in stage::files(&copy.join("segments")) {
        begins_with(&source.join("segments").join(file.file_name().expect("a name")), &file);
    }
    // The source contains exactly the tree that the copy has, and each is whole.
    let checkpoint = copy.join("tree/checkpoint").display().to_string();
    gateway.cli(&["verify", "--checkpoint", &checkpoint]).expect("the source contains the backup");
    let trail = copy.display().to_string();
    let report = done(&config, &["verify", "--trail", &trail, "--root-key", &key]);
    assert_eq!((&report["whole"], &report["entries"]), (&Value::Bool(true), &backup["entries"]));
    assert_eq!(report["root"], restored["root"]);

    // The older backup does not sign: not by itself, and not when a later checkpoint is shown.
    let relocated = std::fs::read_to_string(&config).expect("the configuration");
    let relocated = format!(
        "data = {place:?}\n{}",
        relocated
            .lines()
            .filter(|line| !line.starts_with("data "))
            .fold(String::new(), |all, line| all + line + "\n")
    );
    std::fs::write(&config, relocated).expect("a configuration");
    let refused = on(&config, &["serve"]);
    assert_eq!(refused.status.code(), Some(2), "{}", err(&refused));
    assert!(err(&refused).contains("restored"), "{}", err(&refused));
    let late = source.join("tree/checkpoint").display().to_string();
    let refused = on(&config, &["serve", "--last-checkpoint", &late]);
    assert_eq!(refused.status.code(), Some(2), "{}", err(&refused));
    assert!(err(&refused).contains("rollback"), "{}", err(&refused));
}

#[test]
fn row_50_timed_restore_drill() {
    let (_cluster, gateway) = busy_gateway();
    let shelf = tempfile::tempdir().expect("a folder");
    let shelf = shelf.path().display().to_string();
    gateway.cli(&["backup", &shelf]).expect("a backup");
    let drill = gateway.cli_json(&["drill", &shelf, "--json"]).expect("a drill").remove(0);
    for field in ["service_ms", "restore_ms", "backup_age_s", "entries"] {
        assert!(drill[field].is_u64(), "{field}: {drill}");
    }
    assert!(drill["by"].as_str().is_some_and(|by| by.starts_with("os:")), "{drill}");
    // Signed with the log's own key: any verifier of signed notes reads it.
    let report = std::fs::read_to_string(gateway.folder().join(drill["report"].as_str().expect("a path")))
        .expect("a report");
    let key = std::fs::read_to_string(gateway.data().join("trail/verifier.txt")).expect("the log's key");
    let name = key.split('+').next().expect("a name");
    assert!(report.contains(&format!("\u{2014} {name} ")), "{report}");
    assert!(report.contains("ready to serve within: ") && report.contains("before the drill"), "{report}");
    assert!(!gateway.cli(&["check"]).expect("it is valid").contains("drill"));

    // Without a drill in the last twelve months `check` has a finding. The log is made as old as that.
    std::fs::remove_dir_all(gateway.data().join("drills")).expect("the reports");
    let file = std::fs::File::options()
        .append(true)
        .open(gateway.data().join("trail/verifier.txt"))
        .expect("a file");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(366 * 86_400);
    file.set_modified(old).expect("an old file");
    let checked = gateway.cli_output(&["check"]).expect("wardline check");
    assert!(out(&checked).contains("no restore drill in the last 12 months"), "{}", out(&checked));
    gateway.cli(&["drill", &shelf]).expect("a drill");
    assert!(!gateway.cli(&["check"]).expect("it is valid").contains("drill"));
}

#[test]
fn row_16_encryption_at_rest_of_backups_and_stores() {
    let cluster = stage::hospital();
    cluster.psql_in(HOSPITAL, "insert into patients values (1000, 'canarybackup7f3a', null)").expect("a row");
    let gateway = stage::gateway(&cluster).person("ann", &["nurse"]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select count(*) from patients where name = 'canaryliteral7f3a'"), "0");
    assert_eq!(answer(&ann, "select name from patients where id = 1000"), "canarybackup7f3a");
    gateway.cli(&["trail", "seal"]).expect("a segment is sealed");
    let shelf = tempfile::tempdir().expect("a folder");
    let name = shelf.path().display().to_string();
    gateway.cli(&["backup", &name]).expect("a backup");
    gateway.cli(&["drill", &name]).expect("a drill");
    let places = [shelf.path().to_owned(), gateway.data().join("store")];
    let files: Vec<_> = places.iter().flat_map(|place| stage::files(place)).collect();
    assert!(files.len() > 5, "{files:?}");
    // Also who the people are is not told.
    let needles =
        ["canaryliteral7f3a", "canarybackup7f3a", ann.password.as_str(), "select", "nurse", "argon2"];
    for file in files {
        let bytes = stage::content(&file).expect("a file");
        for needle in needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "`{needle}` lies in clear in {}", file.display());
        }
    }
    // Another key restores nothing.
    let clean = tempfile::tempdir().expect("a folder");
    let other = clean.path().join("other.key");
    std::fs::copy(gateway.data().join("root.key"), &other).expect("a key");
    std::fs::write(&other, "0123456789abcdef".repeat(4)).expect("another key");
    let refused = on(
        &clean.path().join("wardline.toml"),
        &["restore", &name, "--root-key", &other.display().to_string()],
    );
    assert_eq!(refused.status.code(), Some(2), "{}", err(&refused));
    assert!(err(&refused).contains("another root key"), "{}", err(&refused));
}
