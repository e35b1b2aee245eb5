//! Rows 24 and 25: nothing of the product changes an entry, and what anybody else changes is found.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::gateway::Gateway;

use super::stage::{self, HOSPITAL, answer, err, out, verify};

#[test]
fn row_24_no_way_to_edit_or_delete() {
    let cluster = stage::hospital();
    let gateway =
        stage::gateway(&cluster).role_all().person("ann", &["everything"]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    for n in 0..20 {
        answer(&ann, &format!("select {n}"));
    }
    let before = gateway.cli(&["trail", "show", "3", "--json"]).expect("an entry");
    let held = checkpoint(&gateway);

    // The commands about the trail are these: they read, copy or add, and none changes what was recorded.
    let commands = subcommands(&gateway, &["trail"]);
    assert_eq!(
        commands,
        ["tail", "show", "search", "sql", "archive", "prove", "seal", "store", "export-tlog"]
    );
    for words in all_commands(&gateway) {
        for forbidden in ["delete", "remove", "purge", "truncate", "edit", "rewrite", "clear"] {
            let about_trail = words.iter().any(|word| word == "trail" || word == "verify");
            assert!(!about_trail || !words.iter().any(|word| word.contains(forbidden)), "{words:?}");
        }
    }
    fuzz_cli(&gateway);
    fuzz_control(&gateway);
    // Through the database protocol the trail is not a thing that can be named.
    for n in 0..20 {
        answer(&ann, &format!("select {n}"));
    }
    assert_eq!(gateway.cli(&["trail", "show", "3", "--json"]).expect("an entry"), before);
    // Everything below the checkpoint that was taken aside is still there, unchanged.
    let (code, words) = verify(&gateway, None, &["--checkpoint", &held.display().to_string()]);
    assert_eq!(code, Some(0), "{words}");
}

/// Returns the names of subcommands from a help text.
fn subcommands(gateway: &Gateway, path: &[&str]) -> Vec<String> {
    let mut arguments = path.to_vec();
    arguments.push("--help");
    let help = gateway.cli(&arguments).expect("a help text");
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        // What is indented further goes on with the line before.
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn all_commands(gateway: &Gateway) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for first in subcommands(gateway, &[]) {
        let below = subcommands(gateway, &[&first]);
        found.extend(below.into_iter().map(|second| vec![first.clone(), second]));
        found.push(vec![first]);
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// Runs every command but those that start servers or wait, with arguments that make no sense or name the trail.
fn fuzz_cli(gateway: &Gateway) {
    let trail = gateway.data().join("trail").display().to_string();
    let arguments: [&[&str]; 6] = [
        &["--delete", "3"],
        &["3"],
        &["--index", "3", "--force"],
        &[&trail],
        &["--json"],
        &["-n", "0", "--json"],
    ];
    for words in all_commands(gateway) {
        if ["serve", "init", "witness"].contains(&words[0].as_str()) || words.ends_with(&["watch".to_owned()])
        {
            continue;
        }
        for more in arguments {
            let mut line: Vec<&str> = words.iter().map(String::as_str).collect();
            line.extend(more);
            // How it ends does not matter, that it ends does; what it did is checked afterwards.
            gateway.cli_output(&line).expect("it ends");
        }
    }
}

/// Sends the control path what nobody would send.
fn fuzz_control(gateway: &Gateway) {
    let socket = gateway.data().join("control.sock");
    let mut state: u64 = 24;
    for round in 0..200 {
        let mut stream = UnixStream::connect(&socket).expect("the control path");
        let length = usize::try_from(state % 400).expect("small");
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        let words = ["trail-delete", "trail-truncate", "trail-edit", "delete", "purge"];
        if round % 2 == 0 {
            bytes = format!("{{\"request\":{{\"ask\":\"{}\",\"index\":3}}}}\n", words[round % words.len()])
                .into_bytes();
        }
        // The other side may hang up first.
        let _ = stream.write_all(&bytes);
    }
}

/// Takes the checkpoint aside, as an auditor would.
fn checkpoint(gateway: &Gateway) -> PathBuf {
    // Checkpoints are signed every second.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let tree = gateway.folder().join(format!("tree-{}", rand_name()));
    gateway.cli(&["trail", "export-tlog", &tree.display().to_string()]).expect("an export");
    tree.join("checkpoint")
}

fn rand_name() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").subsec_nanos()
}

#[test]
fn row_25_tampering_is_found() {
    let cluster = stage::hospital();
    let mut gateway =
        stage::gateway(&cluster).role_all().person("ann", &["everything"]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    for n in 0..50 {
        answer(&ann, &format!("select {n} from patients where id = {n}"));
    }
    assert!(gateway.terminate().expect("it ends").success());
    // Kept apart: what was there at this moment, to go on from in another way.
    let trail = gateway.data().join("trail");
    let earlier = gateway.folder().join("earlier");
    stage::copy(&trail, &earlier);

    gateway.serve().expect("it starts again");
    for n in 0..50 {
        answer(&ann, &format!("select name from patients where id = {n}"));
    }
    let held = checkpoint(&gateway);
    assert!(gateway.terminate().expect("it ends").success());
    let (code, words) = verify(&gateway, None, &["--checkpoint", &held.display().to_string()]);
    assert_eq!(code, Some(0), "{words}");

    for file in stage::files(&trail) {
        flip(&gateway, &trail, &file);
    }
    let largest = largest(&trail);
    // A third and a half lie within entries, with whole ones after them.
    damage(&gateway, &trail, &largest, "drop", |bytes, end| {
        bytes.drain(end / 3..end / 3 + 64);
    });
    damage(&gateway, &trail, &largest, "swap", |bytes, end| {
        let (left, right) = bytes.split_at_mut(end / 2);
        left[end / 3..end / 3 + 64].swap_with_slice(&mut right[..64]);
    });
    damage(&gateway, &trail, &largest, "truncate", |bytes, end| bytes.truncate(end / 2));
    rewrite(&mut gateway, &earlier, &held);
    foreign_verifier(&gateway, &held);
}

/// Flips one bit in the middle of what is written in one file of a copy.
fn flip(gateway: &Gateway, trail: &Path, file: &Path) {
    let name = file.strip_prefix(trail).expect("below it").display().to_string();
    // Nothing is recorded in the lock and in space held in reserve.
    if written(&std::fs::read(file).expect("a file")) == 0 {
        return;
    }
    damage(gateway, trail, file, &format!("flip in {name}"), |bytes, end| bytes[end / 2] ^= 1);
}

/// Files are allocated ahead: what is written ends at the last byte that is not zero.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

fn largest(trail: &Path) -> PathBuf {
    let by_content = |file: &PathBuf| written(&std::fs::read(file).expect("a file"));
    stage::files(trail).into_iter().max_by_key(by_content).expect("a trail has files")
}

/// Changes a file of a copy, and checks that the copy no longer verifies and the damage is named.
#[track_caller]
fn damage(
    gateway: &Gateway,
    trail: &Path,
    file: &Path,
    what: &str,
    change: impl FnOnce(&mut Vec<u8>, usize),
) {
    let copy = tempfile::tempdir().expect("a folder");
    let copy = copy.path().join("trail");
    stage::copy(trail, &copy);
    let target = copy.join(file.strip_prefix(trail).expect("below it"));
    let mut bytes = std::fs::read(&target).expect("a file");
    let end = written(&bytes);
    change(&mut bytes, end);
    std::fs::write(&target, bytes).expect("a file");
    let (code, words) = verify(gateway, Some(&copy), &[]);
    assert_eq!(code, Some(1), "{what}: not found: {words}");
    // Keys and the checkpoint belong to no one entry: there the file is what is named. Elsewhere the entry is too.
    let name = target.strip_prefix(&copy).expect("below it").display().to_string();
    let apart = name.starts_with("keys/") || name == "verifier.txt" || name == "tree/checkpoint";
    let named = if apart { words.contains("DAMAGED: ") } else { words.contains("first bad entry") };
    assert!(named, "{what}: not named: {words}");
}

/// Goes on from an earlier state with other events: whole in itself, but not what the held checkpoint says.
fn rewrite(gateway: &mut Gateway, earlier: &Path, held: &Path) {
    let (trail, aside) = (gateway.data().join("trail"), gateway.folder().join("aside"));
    std::fs::rename(&trail, &aside).expect("a rename");
    stage::copy(earlier, &trail);
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    // It may refuse to start on a rolled-back trail, which is as good as finding it afterwards.
    if gateway.serve().is_ok() {
        for n in 0..60 {
            answer(&ann, &format!("select ssn from patients where id = {n}"));
        }
        assert!(gateway.terminate().expect("it ends").success());
        let (code, words) = verify(gateway, None, &["--checkpoint", &held.display().to_string()]);
        assert_eq!(code, Some(1), "a rewritten suffix was not found: {words}");
    }
    std::fs::remove_dir_all(&trail).expect("a folder");
    std::fs::rename(&aside, &trail).expect("a rename");
}

/// The same trail, exported, is judged by the Go project's own code, and by a reader in Python that was written from the
/// specifications: whole as it is, damaged when a tile is.
fn foreign_verifier(gateway: &Gateway, held: &Path) {
    let tree = held.parent().expect("the exported tree");
    for (name, judge) in FOREIGN {
        let (good, words) = judge(gateway, tree);
        assert!(good, "{name} refuses a whole tree: {words}");
    }
    let tile = stage::files(tree).into_iter().find(|file| file.display().to_string().contains("/tile/0/"));
    let tile = tile.expect("a tile of the lowest level");
    let whole = std::fs::read(&tile).expect("a tile");
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&tile, bytes).expect("a tile");
    for (name, judge) in FOREIGN {
        let (good, words) = judge(gateway, tree);
        assert!(!good && words.contains("refused: "), "{name} accepts a damaged tree: {words}");
    }
    std::fs::write(&tile, whole).expect("a tile");
}

type Judge = fn(&Gateway, &Path) -> (bool, String);

const FOREIGN: [(&str, Judge); 2] = [("Go's x/mod", go), ("the reader in Python", python)];

fn python(gateway: &Gateway, tree: &Path) -> (bool, String) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tlog/tests/foreign/verify.py");
    let key = std::fs::read_to_string(gateway.data().join("trail/verifier.txt")).expect("the log's key");
    // Beside a Python from elsewhere, Debian's has the package.
    for python in ["python3", "/usr/bin/python3"] {
        let output = Command::new(python).arg(&source).arg(tree).arg(key.trim()).output().expect("Python");
        if output.status.code() != Some(2) {
            return (output.status.success(), format!("{}{}", out(&output), err(&output)));
        }
    }
    panic!("this test needs Python with `cryptography` (Debian: python3 python3-cryptography)");
}

/// Runs the verifier that is built from Go's own packages, with the key that the log says to verify with.
fn go(gateway: &Gateway, tree: &Path) -> (bool, String) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tlog/tests/foreign/verify.go");
    let key = std::fs::read_to_string(gateway.data().join("trail/verifier.txt")).expect("the log's key");
    let output = Command::new("go")
        .arg("run")
        .arg(source)
        .arg(tree)
        .arg(key.trim())
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", "")])
        .output()
        .expect("go");
    (output.status.success(), format!("{}{}", out(&output), err(&output)))
}
