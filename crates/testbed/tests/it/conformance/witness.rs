//! Rows 22 and 26: the clock is watched, and a history that was anchored elsewhere cannot be rewritten, with all keys.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testbed::clock::TimeOfDay;
use testbed::gateway::Gateway;
use testbed::tls::Authority;
use testbed::witness::Witness;

use super::stage::{self, HOSPITAL, answer, entries, of, text, verify};

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

#[test]
fn row_22_a_step_of_the_clock_is_an_incident_and_order_holds() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TimeOfDay::new(folder.path()).expect("a clock");
    let builder = stage::gateway(&cluster).role_all().person("ann", &["everything"]);
    let mut gateway = clock.of(builder).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let steps = |gateway: &Gateway| {
        incidents(gateway).into_iter().filter(|detail| detail.starts_with("clock step")).collect::<Vec<_>>()
    };
    answer(&ann, "select 1");
    assert!(steps(&gateway).is_empty(), "no step, no alarm");
    for (count, offset_ms) in [(1, 300_000), (2, 0)] {
        clock.set(offset_ms).expect("a step");
        answer(&ann, "select 2");
        wait("the step is told", || steps(&gateway).len() == count);
        answer(&ann, "select 3");
    }
    let told = steps(&gateway);
    let of_ms =
        |detail: &str| detail.split(' ').nth(3).and_then(|ms| ms.parse::<i64>().ok()).expect("a number");
    assert!((295_000..=305_000).contains(&of_ms(&told[0])), "{told:?}");
    assert!((-305_000..=-295_000).contains(&of_ms(&told[1])), "{told:?}");
    let log = std::fs::read_to_string(gateway.log()).expect("a log");
    assert_eq!(log.matches("THE CLOCK STEPPED").count(), 2, "{log}");

    // The order is that of the log, whatever the clock did: numbers without gaps, times of commit that never go back.
    let entries = entries(&gateway);
    let indexes: Vec<u64> = entries.iter().map(|entry| entry["index"].as_u64().expect("an index")).collect();
    assert!(indexes.windows(2).all(|pair| pair[1] == pair[0] + 1), "{indexes:?}");
    assert!(gateway.terminate().expect("it ends").success());
    let (code, words) = verify(&gateway, None, &[]);
    assert_eq!(code, Some(0), "{words}");
}

/// A node whose checkpoints one witness signs.
struct Watched {
    witness: Witness,
    gateway: Gateway,
    /// What an auditor has: keys of log and witness, and the quorum.
    policy: PathBuf,
    _folder: tempfile::TempDir,
}

impl Watched {
    fn start(cluster: &testbed::postgres::Cluster, alarm_after_ms: u64) -> Watched {
        let folder = tempfile::tempdir().expect("a folder");
        let mut witness = Witness::new(&folder.path().join("w1"), "witness.test/w1").expect("a witness");
        let (policy, node) = (folder.path().join("auditor.policy"), folder.path().join("node.policy"));
        let rule = format!("{}quorum w1\n", witness.policy_line("w1"));
        std::fs::write(&node, &rule).expect("a policy");
        let section = format!(
            "[trail.witness]\npolicy = {node:?}\ninterval_ms = 200\nalarm_after_ms = {alarm_after_ms}"
        );
        let builder = stage::gateway(cluster).role_all().person("ann", &["everything"]).toml(&section);
        let mut gateway = builder.prepare().expect("it is prepared");
        let key = log_key(&gateway);
        std::fs::write(&policy, format!("log {key}\n{rule}")).expect("a policy");
        witness.serve(&key).expect("the witness starts");
        gateway.serve().expect("it starts");
        Watched { witness, gateway, policy, _folder: folder }
    }

    fn witnessed(&self) -> u64 {
        size(&self.gateway.data().join("trail/tree/witnessed"))
    }

    fn policy(&self) -> String {
        self.policy.display().to_string()
    }
}

fn log_key(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.data().join("trail/verifier.txt")).expect("a key").trim().to_owned()
}

/// Returns the size that a checkpoint signs; 0 when there is none.
fn size(checkpoint: &Path) -> u64 {
    let text = std::fs::read_to_string(checkpoint).unwrap_or_default();
    text.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

#[test]
fn row_26_a_rewritten_history_contradicts_its_anchor() {
    let cluster = stage::hospital();
    let mut watched = Watched::start(&cluster, 60_000);
    let ann = watched.gateway.conninfo("ann", HOSPITAL).expect("a person");
    for n in 0..20 {
        answer(&ann, &format!("select ssn from patients where id = {n}"));
    }
    let last = entries(&watched.gateway).last().and_then(|entry| entry["index"].as_u64()).expect("entries");
    wait("the witness signs", || watched.witnessed() > last);
    let policy = watched.policy();
    let (code, words) = verify(&watched.gateway, None, &["--policy", &policy]);
    assert_eq!(code, Some(0), "{words}");
    proven(&watched, last);
    assert!(watched.gateway.terminate().expect("it ends").success());
    // The anchor is on a machine that the attacker does not have.
    watched.witness.terminate().expect("the witness ends");
    let anchor = watched.witness.remembered().expect("an anchor");
    assert!(size(&anchor) > last);
    let (code, words) = verify(&watched.gateway, None, &["--anchor", &anchor.display().to_string()]);
    assert_eq!(code, Some(0), "{words}");

    // With the whole disk and every key: the same log is written anew, as it should have been, and longer.
    let trail = watched.gateway.data().join("trail");
    for part in ["segments", "tree"] {
        std::fs::remove_dir_all(trail.join(part)).expect("removed");
    }
    // Also where segments and checkpoints are kept besides, which is a folder of the same disk.
    std::fs::remove_dir_all(watched.gateway.data().join("store")).expect("removed");
    let gateway = &mut watched.gateway;
    gateway.serve().expect("the attacker's node starts");
    for n in 0..80 {
        answer(&ann, &format!("select {n}"));
    }
    assert!(gateway.terminate().expect("it ends").success());
    assert!(size(&trail.join("tree/checkpoint")) > size(&anchor), "longer than what was anchored");
    // By itself it is whole: signed, chained, every record as its leaf says.
    let (code, words) = verify(gateway, None, &[]);
    assert_eq!(code, Some(0), "the attack is no good: {words}");
    let (code, words) = verify(gateway, None, &["--anchor", &anchor.display().to_string()]);
    assert_eq!(code, Some(1), "the rewritten history passes: {words}");
    assert!(words.contains("not an extension of the given checkpoint"), "{words}");
    // No quorum signed it, and the signatures of the history before do not belong to it.
    let (code, words) = verify(gateway, None, &["--policy", &policy]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("not witnessed as the policy asks"), "{words}");
    std::fs::copy(&anchor, trail.join("tree/witnessed")).expect("copied");
    let (code, words) = verify(gateway, None, &["--policy", &policy]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("not an extension of the given checkpoint"), "{words}");
    std::fs::remove_file(trail.join("tree/witnessed")).expect("removed");

    // And the witness, asked to sign it, does not; the node itself says why.
    let key = log_key(gateway);
    watched.witness.serve(&key).expect("the witness starts again");
    gateway.serve().expect("it starts");
    wait("the contradiction is told", || {
        incidents(gateway).iter().any(|detail| detail.contains("saw another history of this log"))
    });
    assert_eq!(watched.witnessed(), 0, "it was signed all the same");
}

/// One entry is proven to somebody who has nothing else, and a changed proof is refused.
fn proven(watched: &Watched, index: u64) {
    let (gateway, policy) = (&watched.gateway, watched.policy());
    let file = gateway.folder().join("entry.tlog-proof");
    let name = file.display().to_string();
    gateway.cli(&["trail", "prove", &index.to_string(), "--output", &name]).expect("a proof");
    let words = gateway.cli(&["verify-proof", &name, "--policy", &policy]).expect("proven");
    assert!(words.contains(&format!("proven: entry {index} of `test`")), "{words}");
    gateway.cli(&["verify-proof", &name, "--verifier-key", &log_key(gateway)]).expect("proven");
    let text = std::fs::read_to_string(&file).expect("a proof");
    let other = text.replacen(&format!("index {index}"), &format!("index {}", index - 1), 1);
    let without_witness: String =
        text.lines().filter(|line| !line.contains("witness.test")).map(|line| format!("{line}\n")).collect();
    for bad in [other, without_witness] {
        assert_ne!(bad, text);
        std::fs::write(&file, bad).expect("written");
        let refused = gateway.cli_output(&["verify-proof", &name, "--policy", &policy]).expect("it ends");
        assert_eq!(refused.status.code(), Some(1), "{}", stage::err(&refused));
    }
}

/// Not a row: on its way to the witness a checkpoint is under TLS, by the site's own authority and no other.
#[test]
fn a_witness_is_reached_over_tls_of_the_site() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let site = Authority::new("the site's authority").expect("an authority");
    let pair = site.issue(&["127.0.0.1"], folder.path(), "witness").expect("a certificate");
    site.write(&path("site.pem")).expect("written");
    Authority::new("another authority").expect("an authority").write(&path("other.pem")).expect("written");
    let witness = Witness::new(&path("w1"), "witness.test/w1").expect("a witness");
    let mut witness = witness.over_tls(pair);
    let policy = path("node.policy");
    std::fs::write(&policy, format!("{}quorum w1\n", witness.policy_line("w1"))).expect("a policy");
    // The file is read again for each submission's address: first it holds an authority that did not sign.
    std::fs::copy(path("other.pem"), path("ca.pem")).expect("copied");
    let section = format!(
        "[trail.witness]\npolicy = {policy:?}\nca = {:?}\ninterval_ms = 200\nalarm_after_ms = 500\n",
        path("ca.pem")
    );
    let builder = Gateway::builder().person("ann", &[]).toml(&section);
    let mut gateway = builder.prepare().expect("it is prepared");
    witness.serve(&log_key(&gateway)).expect("the witness starts");
    gateway.serve().expect("it starts");
    let witnessed = |gateway: &Gateway| size(&gateway.data().join("trail/tree/witnessed"));
    let alarms = |gateway: &Gateway| {
        incidents(gateway).iter().filter(|detail| detail.starts_with("no quorum of witnesses for")).count()
    };
    wait("a stranger's certificate is not believed", || alarms(&gateway) == 1);
    assert_eq!(witnessed(&gateway), 0);
    assert!(gateway.terminate().expect("it ends").success());
    std::fs::copy(path("site.pem"), path("ca.pem")).expect("copied");
    gateway.serve().expect("it starts");
    wait("the witness signs", || witnessed(&gateway) > 0);
    let (code, words) = verify(
        &gateway,
        None,
        &["--anchor", &witness.remembered().expect("an anchor").display().to_string()],
    );
    assert_eq!(code, Some(0), "{words}");
    witness.terminate().expect("it ends");
}

/// Not a row: without its quorum a node serves on, and says so, once, and once more when it is back.
#[test]
fn a_missing_quorum_is_an_incident_and_stops_nobody() {
    let cluster = stage::hospital();
    let mut watched = Watched::start(&cluster, 500);
    wait("the witness signs", || watched.witnessed() > 0);
    watched.witness.kill9().expect("killed");
    let ann = watched.gateway.conninfo("ann", HOSPITAL).expect("a person");
    let count = |gateway: &Gateway, what: &str| {
        incidents(gateway).iter().filter(|detail| detail.starts_with(what)).count()
    };
    wait("the alarm", || count(&watched.gateway, "no quorum of witnesses for") == 1);
    answer(&ann, "select 1");
    let before = watched.witnessed();
    watched.witness.serve(&log_key(&watched.gateway)).expect("the witness starts again");
    wait("it is back", || count(&watched.gateway, "the quorum of witnesses is reached again") == 1);
    wait("the witness goes on", || watched.witnessed() > before);
    assert_eq!(count(&watched.gateway, "no quorum of witnesses for"), 1);
    let (code, words) = verify(&watched.gateway, None, &["--policy", &watched.policy()]);
    assert_eq!(code, Some(0), "{words}");
}
