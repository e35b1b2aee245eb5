//! The trail for years, beyond its rows: the log's key is followed by another, the archive is written while the node serves,
//! the root key comes back from its custodians, the clock is compared with others. Each starts one node without a
//! resource, and takes a few seconds.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::faults::{Fault, Faults, Files};
use testbed::gateway::Gateway;

use super::stage::{entries, of, text, verify};

/// The machine is busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn wait(what: &str, mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn incidents(gateway: &Gateway) -> Vec<String> {
    of(&entries(gateway), "incident", "").into_iter().map(|entry| text(entry, "detail")).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn years_the_key_of_the_log_is_followed_by_another() {
    let mut gateway = Gateway::builder().start().expect("it starts");
    let old = std::fs::read_to_string(gateway.data().join("trail/verifier.txt")).expect("a key");
    let old = old.trim_end();
    let changed = gateway.cli_json(&["key", "rotate-checkpoint", "--overlap-days", "0", "--json"]);
    let changed = changed.expect("another key signs");
    let new = text(&changed[0], "new");
    assert_eq!(text(&changed[0], "old"), old);
    let first = gateway.data().join("trail/keys/checkpoint.key");
    wait("the old key goes away", || !first.exists());
    let checkpoint = gateway.data().join("trail/tree/checkpoint");
    let lines = || std::fs::read_to_string(&checkpoint).expect("a checkpoint").lines().count();
    wait("one key signs alone", || lines() == 5);
    let twice = gateway.cli_output(&["key", "rotate-checkpoint", "--overlap-days", "400"]).expect("it runs");
    assert_eq!(twice.status.code(), Some(2), "no overlap of years");

    // Whoever holds either key follows it: in the folder, with a proof, with an answer, in a copy of the tree.
    let file = shown(&gateway.folder().join("entry.tlog-proof"));
    gateway.cli(&["trail", "prove", "1", "--output", &file]).expect("a proof");
    let changes = shown(&gateway.data().join("trail/tree/keys"));
    for (key, more, code) in
        [(old, &[][..], 1), (old, &["--key-changes", &changes], 0), (&new, &["--key-changes", &changes], 0)]
    {
        let arguments = [&["verify-proof", &file, "--verifier-key", key][..], more].concat();
        let output = gateway.cli_output(&arguments).expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
    let answer = shown(&gateway.folder().join("answer"));
    gateway.cli(&["trail", "search", "--kind", "key-rotated", "--prove", &answer]).expect("an answer");
    let tree = gateway.folder().join("tree");
    gateway.cli(&["trail", "export-tlog", &shown(&tree)]).expect("a tree");
    assert!(tree.join("keys/0001").exists());
    assert!(gateway.terminate().expect("it ends").success());
    for key in [old, &new] {
        gateway.cli(&["verify-answer", &answer, "--verifier-key", key]).expect("the answer holds");
        let (code, words) = verify(&gateway, None, &["--verifier-key", key]);
        assert_eq!(code, Some(0), "{words}");
        assert!(words.contains("one change of key followed"), "{words}");
    }
    gateway.serve().expect("it starts under its new key");
    assert_eq!(of(&entries(&gateway), "key-rotated", "").len(), 2, "the change, and the end of the old key");
}

#[test]
fn years_the_archive_is_written_while_the_node_serves() {
    let section = "[trail.archive]\nevery_s = 1\nlag_s = 1\nentries_min = 1\n\
        [trail.store]\nlocal_segments = 1\n";
    let mut gateway = Gateway::builder().toml(section).start().expect("it starts");
    let archived = |gateway: &Gateway| {
        let files = std::fs::read_dir(gateway.data().join("archive")).into_iter().flatten();
        files.filter_map(Result::ok).filter(|file| shown(&file.path()).ends_with(".events")).count()
    };
    let manifests = |gateway: &Gateway| of(&entries(gateway), "archive-manifest", "").len();
    wait("a manifest is in the log", || manifests(&gateway) > 0);
    // Whatever it is at, it dies; what it had begun counts for nothing, and it goes on.
    for _ in 0..3 {
        gateway.kill9().expect("it dies");
        gateway.serve().expect("it starts again");
        let before = manifests(&gateway);
        wait("it archives again", || manifests(&gateway) > before);
    }
    let found = gateway.cli_json(&["trail", "search", "--kind", "node-started", "--json"]).expect("a search");
    assert_eq!(found.len(), 4);
    assert!(gateway.terminate().expect("it ends").success());
    assert!(archived(&gateway) > 0 || gateway.data().join("archive/index").exists());
    let (code, words) = verify(&gateway, None, &["--level", "5"]);
    assert_eq!(code, Some(0), "{words}");
}

/// Whatever the disk does to the archive's files and its index, no file is believed by halves, and it goes on.
#[test]
fn years_the_archive_is_written_over_faults_of_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path()).expect("a C compiler").below("/archive/");
    let section = "[trail.archive]\nevery_s = 1\nlag_s = 1\nentries_min = 1\n";
    let mut gateway = faults.beneath(Gateway::builder().toml(section), 7).start().expect("it starts");
    let manifests = |gateway: &Gateway| of(&entries(gateway), "archive-manifest", "").len();
    wait("a manifest is in the log", || manifests(&gateway) > 0);
    let bad = [Fault::WriteError, Fault::TornWrite, Fault::NoSpace, Fault::SyncError, Fault::SyncNoSpace];
    for (after, fault) in [0, 3, 1, 2, 0].into_iter().zip(bad) {
        faults.strike(fault, Files::Any, after).expect("a fault");
        assert!(faults.wait_struck(PATIENCE).expect("a count"), "{fault:?}");
        let before = manifests(&gateway);
        wait("it archives again", || manifests(&gateway) > before);
        let found =
            gateway.cli_json(&["trail", "search", "--kind", "node-started", "--json"]).expect("a search");
        assert_eq!(found.len(), 1, "{fault:?}");
    }
    // A disk that stays full, and a server that dies on it.
    faults.keep_striking(Fault::NoSpace, Files::Any).expect("faults");
    assert!(faults.wait_struck(PATIENCE).expect("a count"));
    gateway.kill9().expect("it dies");
    faults.end().expect("no fault");
    gateway.serve().expect("it starts again");
    let before = manifests(&gateway);
    wait("it archives again", || manifests(&gateway) > before);
    assert!(gateway.terminate().expect("it ends").success());
    let all = gateway.cli_json(&["trail", "search", "--json"]).expect("a search");
    assert!(all.iter().map(|entry| entry["index"].as_u64().expect("an index")).eq(0..all.len() as u64));
    let (code, words) = verify(&gateway, None, &["--level", "5"]);
    assert_eq!(code, Some(0), "{words}");
}

#[test]
fn years_the_root_key_comes_back_from_its_custodians() {
    let gateway = Gateway::builder().start().expect("it starts");
    let escrow = shown(&gateway.folder().join("root.escrow"));
    let (one, two) = ("the first of two passphrases", "the second of two passphrases");
    let make = ["key", "escrow", "--custodians", "2", "--output", &escrow, "--passphrases-stdin"];
    gateway.cli_stdin(&make, &format!("{one}\n{two}")).expect("an escrow");
    let text = std::fs::read_to_string(&escrow).expect("a file");
    let key = std::fs::read_to_string(gateway.data().join("root.key")).expect("the key");
    assert!(!text.contains(key.trim_end()));
    assert!(
        entries(&gateway).iter().any(|entry| super::stage::text(entry, "detail").contains("seal root key")),
        "it is in the trail"
    );
    let shelf = shown(&gateway.folder().join("shelf"));
    gateway.cli(&["backup", &shelf]).expect("a backup");
    let place = gateway.folder().join("elsewhere");
    let restore = ["restore", &shelf, "--root-key", &escrow, "--data", &shown(&place)];
    gateway.cli_stdin(&restore, &format!("{two}\n{one}")).expect_err("in their order");
    gateway.cli_stdin(&restore, &format!("{one}\n{two}")).expect("restored");
    assert_eq!(std::fs::read_to_string(place.join("root.key")).expect("the key"), key);
}

/// A time server whose clock is ahead, until it is told to be right.
fn time_server(ahead_s: std::sync::mpsc::Receiver<u64>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let mut ahead = 0;
        let mut packet = [0; 48];
        while let Ok((_, from)) = socket.recv_from(&mut packet) {
            ahead = ahead_s.try_iter().last().unwrap_or(ahead);
            // Its time is the client's own, and so much more.
            let asked = u64::from_be_bytes(packet[40..48].try_into().expect("eight bytes"));
            let told = asked.wrapping_add(ahead << 32).to_be_bytes();
            packet.copy_within(40..48, 24);
            (packet[0], packet[1]) = (0x24, 1);
            packet[32..40].copy_from_slice(&told);
            packet[40..48].copy_from_slice(&told);
            if socket.send_to(&packet, from).is_err() {
                return;
            }
        }
    });
    address
}

#[test]
fn years_a_clock_away_from_its_reference_is_an_incident() {
    let (ahead, asked) = std::sync::mpsc::channel();
    let server = time_server(asked);
    // A busy machine answers late, and that looks like a difference of half of it.
    let section = format!("[trail.clock]\nntp = \"{server}\"\nevery_ms = 200\noffset_ms_max = 60000\n");
    let gateway = Gateway::builder().toml(&section).start().expect("it starts");
    let told = |gateway: &Gateway, words: &str| {
        incidents(gateway).iter().filter(|detail| detail.contains(words)).count()
    };
    assert_eq!(told(&gateway, "NOT SYNCHRONISED"), 0);
    ahead.send(3_600).expect("a server");
    wait("the difference is told", || told(&gateway, "NOT SYNCHRONISED") == 1);
    ahead.send(0).expect("a server");
    wait("its end, too", || told(&gateway, "synchronised again") == 1);
    assert_eq!(told(&gateway, "NOT SYNCHRONISED"), 1, "once for each time");
}

/// A command of another account: with the program where that account may run it.
fn as_nobody(gateway: &Gateway, program: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(program);
    command.arg("--config").arg(gateway.folder().join(OPERATORS_FILE)).args(arguments);
    command.env_clear().env("NO_COLOR", "1").current_dir("/");
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
    command.output().expect("it runs")
}

/// The server's own file names keys that others may not read; an operator's names the node and its socket.
const OPERATORS_FILE: &str = "operators.toml";

/// `nobody` and `nogroup` of Debian.
const NOBODY: u32 = 65_534;

#[test]
fn years_entries_are_served_to_an_account_that_cannot_read_the_folder() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can run a command as another account");
        return;
    }
    let section = "[operators]\nsocket = \"operators.sock\"\ngroup = \"nogroup\"\n\
        [operators.rights]\n\"os:root\" = [\"admin\", \"auditor\"]\n\"os:nobody\" = [\"auditor\"]\n";
    let gateway = Gateway::builder().toml(section).start().expect("it starts");
    let open = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    };
    let program = gateway.folder().join("wardline");
    std::fs::copy(testbed::gateway::program().expect("a program"), &program).expect("a copy");
    let folder = shown(gateway.folder());
    let own = format!(
        "node = \"test\"\ndata = \"{}\"\n[listener.postgres]\naddress = \"127.0.0.1:1\"\n\
         [operators]\nsocket = \"{folder}/operators.sock\"\n[operators.rights]\n\"os:root\" = [\"admin\"]\n",
        shown(&gateway.data())
    );
    let operators = gateway.folder().join(OPERATORS_FILE);
    std::fs::write(&operators, own).expect("a file");
    open(gateway.folder(), 0o755);
    open(&operators, 0o644);
    let nobody = |arguments: &[&str]| as_nobody(&gateway, &program, arguments);
    let tail = nobody(&["trail", "tail", "-n", "5", "--json"]);
    let words = String::from_utf8_lossy(&tail.stderr).into_owned();
    assert!(tail.status.success(), "{words}");
    let lines = String::from_utf8(tail.stdout).expect("text");
    assert!(lines.lines().count() <= 5 && lines.contains("\"index\""), "{lines}");
    let shown = nobody(&["trail", "show", "0"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("node"), "{shown:?}");
    let started = nobody(&["trail", "tail", "--kind", "node-started"]);
    assert_eq!(String::from_utf8_lossy(&started.stdout).lines().filter(|l| !l.starts_with(' ')).count(), 1);
    // No right, no entry; and each view is one, under the account's name.
    for refused in
        [&["trail", "tail", "--open-sealed"][..], &["trail", "tail", "--follow"], &["trail", "search"]]
    {
        assert!(!nobody(refused).status.success(), "{refused:?}");
    }
    let views = of(&entries(&gateway), "trail-viewed", "").into_iter().cloned().collect::<Vec<_>>();
    let by_nobody = views.iter().filter(|entry| text(entry, "person_name") == "os:nobody");
    let said: Vec<String> = by_nobody.map(|entry| text(entry, "detail")).collect();
    assert!(said.iter().any(|words| words == "tail 5, over the operators' socket"), "{said:?}");
    assert!(
        said.iter().any(|words| words.contains("sealed values opened")),
        "a refusal is recorded: {said:?}"
    );
    let everything = entries(&gateway);
    assert!(everything.len() > 5);
}
