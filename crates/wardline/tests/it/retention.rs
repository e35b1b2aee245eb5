//! Keys and months of the trail by the command line: who may, who must agree, and what is left.

use serde_json::Value;

use crate::operators::{configured, place};
use crate::place::Place;
use crate::server::Server;

const REASON: &str = "the privacy office said so, twice";

impl Place {
    fn json_as(&self, name: &str, token: &str, words: &[&str]) -> Value {
        self.run_as(name, token, &[words, &["--json"]].concat()).exits(0).json()
    }
}

/// Row 17: only `key-admin` changes keys, it is recorded, old data stays readable and new data is under a new key.
#[test]
fn row_17_keys_are_changed_by_whom_it_is_given_to() {
    let place = place("[\"admin\"]");
    let kim = place.token("kim", "keys");
    place.run(&["key", "rotate"]).exits(1);
    let before = place.json_as("kim", &kim, &["key", "list"]);
    place.run_as("otto", &place.token("otto", "audit"), &["key", "rotate"]).exits(1);
    let made = place.json_as("kim", &kim, &["key", "rotate"]);
    let ids = |keys: &Value| -> Vec<String> {
        let current = keys.as_array().expect("keys").iter().filter(|key| key["current"] == true);
        current.map(|key| key["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!((ids(&before).len(), ids(&made).len()), (2, 2));
    assert!(ids(&before).iter().all(|id| !ids(&made).contains(id)), "{before} {made}");
    assert_eq!(ids(&place.json_as("kim", &kim, &["key", "list"])), ids(&made));
    place.add("ann", "nurse").exits(0);
    let iris = place.token("iris", "audit");
    let entries = place.run_as("iris", &iris, &["trail", "tail", "-n", "1000", "--json"]).exits(0).stdout;
    let rotated = entries.lines().filter(|line| line.contains("made further class keys")).collect::<Vec<_>>();
    assert_eq!(rotated.len(), 1);
    assert!(ids(&made).iter().chain(&ids(&before)).all(|id| rotated[0].contains(id)), "{rotated:?}");
    assert!(entries.lines().any(|line| line.contains("add person `kim`")), "what was before is readable");
    assert!(place.run(&["verify"]).exits(0).stdout.contains("whole"));
    // The key of what came last is the new one: without it that is lost, and what was before is not.
    let keys = crate::people::files_under(&place.path("data/trail/keys"));
    let new = keys.iter().find(|file| {
        file.to_string_lossy().contains("/record-") && file.to_string_lossy().ends_with(".1.key")
    });
    let bytes = std::fs::read(new.expect("a key of a later generation")).expect("readable");
    std::fs::remove_file(new.expect("it")).expect("removed");
    let lost = place.run(&["verify", "--json"]).exits(1).json();
    assert!(lost["first_bad_entry"].as_u64().expect("an entry") > 5, "{lost}");
    std::fs::write(new.expect("it"), bytes).expect("written");
    place.run(&["verify"]).exits(0);
}

#[test]
fn what_takes_two_people_is_not_done_by_one() {
    let place = place("[\"admin\", \"privacy-officer\", \"approver\"]");
    let (pia, otto) = (place.token("pia", "privacy"), place.token("otto", "privacy"));
    let add = ["retention", "hold", "add", "--patient", "4711", "--reason", REASON];
    let hold = place.json_as("pia", &pia, &add);
    assert_eq!((&hold[0]["id"], &hold[0]["of_a_patient"]), (&1.into(), &true.into()));
    let remove = ["retention", "hold", "remove", "1", "--reason", REASON];
    let account = place.run(&remove).exits(1);
    assert!(account.stderr.contains("takes two people"), "{account:?}");
    place.run_as("pia", &pia, &["retention", "hold", "remove", "7", "--reason", REASON]).exits(1);
    place.run_as("pia", &pia, &["retention", "hold", "remove", "1", "--reason", "no"]).exits(1);
    let proposed = place.json_as("pia", &pia, &remove);
    assert_eq!((&proposed[0]["id"], &proposed[0]["done_at"]), (&1.into(), &Value::Null));
    let own = place.run_as("pia", &pia, &["operator", "agree", "1"]).exits(1);
    assert!(own.stderr.contains("proposed themselves"), "{own:?}");
    place.run(&["operator", "agree", "1"]).exits(1);
    let agreed = place.json_as("otto", &otto, &["operator", "agree", "1"]);
    assert!(agreed[0]["done_at"].is_string() && agreed[0]["agreed_by"] == "otto", "{agreed}");
    place.run_as("otto", &otto, &["operator", "agree", "1"]).exits(1);
    let holds = place.json_as("otto", &otto, &["retention", "hold", "list"]);
    assert!(holds[0]["removed_at"].is_string(), "{holds}");
    let plan = place.json_as("otto", &otto, &["retention", "plan"]);
    assert_eq!(plan[0]["state"], "kept");
    let month = plan[0]["month"].to_string();
    let early = place.run_as("pia", &pia, &["retention", "expire", &month, "--reason", REASON]).exits(1);
    assert!(early.stderr.contains("is kept until"), "{early:?}");
}

const DAY_US: u64 = 86_400_000_000;

/// Writes entries as if the node had run at that time; returns their range.
fn entries_of(place: &Place, at_us: u64, people: &[&str]) -> (u64, u64) {
    let root = vault::root_key_load(&place.path("data/root.key")).expect("a key");
    let mut options = trail::Options::new("gw1");
    let now = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(at_us));
    let read = std::sync::Arc::clone(&now);
    options.clock =
        std::sync::Arc::new(move || model::Micros(read.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
    let trail = trail::Trail::open(&place.path("data/trail"), &root, options).expect("a trail");
    let first = trail.durable();
    for (number, name) in (1..).zip(people) {
        let mut record = model::Record::new(model::Kind::Operation, model::Micros(at_us + number));
        record.session = Some(model::SessionId(u128::from(at_us)));
        record.operation = Some(model::OperationId(number));
        record.person_name = Some((*name).into());
        record.sealed = Some(trail.sealer().seal(u128::from(at_us), number, b"").into());
        let _receipt = trail.record(&record).expect("taken").wait().expect("durable");
    }
    let end = trail.durable();
    trail.close().expect("closed");
    (first, end)
}

/// Row 48: an event of six years less a day is kept; an older month goes by policy and two people; its tombstone
/// verifies, and what is held survives.
#[test]
fn row_48_retention_with_holds_and_two_people() {
    let place = Place::ready();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = u64::try_from(now.as_micros()).expect("before 586524");
    let six_years = (6 * 365 + 1) * DAY_US;
    let (old_first, old_end) = entries_of(&place, now - six_years - 70 * DAY_US, &["ann", "bob", "bob"]);
    let (kept_first, kept_end) = entries_of(&place, now - six_years + 2 * DAY_US, &["bob"]);
    let place = configured(place, "[\"admin\"]");
    let _server = Server::start(&place);
    let (pia, otto) = (place.token("pia", "privacy"), place.token("otto", "privacy"));

    let plan = place.json_as("pia", &pia, &["retention", "plan"]);
    let month = |first: u64| {
        let months = plan.as_array().expect("months");
        let holds = |row: &&Value| {
            let begin = row["first"].as_u64().expect("an index");
            (begin..begin + row["entries"].as_u64().expect("a count")).contains(&first)
        };
        months.iter().find(holds).expect("a month").clone()
    };
    assert_eq!(
        (&month(old_first)["state"], &month(kept_first)["state"]),
        (&"may-expire".into(), &"kept".into())
    );
    let (old, kept) = (month(old_first)["month"].to_string(), month(kept_first)["month"].to_string());
    let hold = ["retention", "hold", "add", "--person", "ann", "--reason", REASON];
    place.run_as("pia", &pia, &hold).exits(0);
    let expire = |name: &str, token: &str, month: &str| {
        place.run_as(name, token, &["retention", "expire", month, "--reason", REASON])
    };
    let early = expire("pia", &pia, &kept).exits(1);
    assert!(early.stderr.contains("is kept until"), "{early:?}");
    place.run(&["retention", "expire", &old, "--reason", REASON]).exits(1);
    expire("pia", &pia, &old).exits(0);
    place.run_as("pia", &pia, &["operator", "agree", "1"]).exits(1);
    place.run_as("otto", &otto, &["trail", "show", &(old_first + 3).to_string()]).exits(0);
    let key = place.path(&format!("data/trail/keys/record-{old}.key"));
    assert!(key.exists());
    place.run_as("otto", &otto, &["operator", "agree", "1"]).exits(0);
    assert!(!key.exists(), "the key is destroyed");

    let show = |index: u64| place.run_as("otto", &otto, &["trail", "show", &index.to_string(), "--json"]);
    let of = |first: u64, end: u64, name: &str| {
        (first..end)
            .filter(|index| {
                let ran = show(*index);
                ran.code == 0 && ran.json()["person_name"] == name
            })
            .count()
    };
    assert_eq!(of(old_first, old_end, "ann"), 1, "what is held survives");
    assert_eq!(of(old_first, old_end, "bob"), 0, "what is not held is gone");
    assert_eq!(of(kept_first, kept_end, "bob"), 1, "what is younger is kept");
    let verified = place.run(&["verify", "--json"]).exits(0).json();
    assert_eq!(verified["level"], 5);
    assert_eq!(
        (&verified["expired"], &verified["expired_and_held"]),
        (&month(old_first)["entries"], &1.into())
    );
    let stone = verified["tombstones"][0]["tombstone"].as_u64().expect("an index");
    let stone = show(stone).exits(0).json();
    assert_eq!((&stone["kind"], &stone["person_name"]), (&"key-destroyed".into(), &"otto".into()));
    assert!(stone["detail"].as_str().expect("words").contains("proposed by pia, agreed by otto"), "{stone}");
    place.run(&["verify", "--level", "3"]).exits(0);
    // Any other lost key is damage.
    let other = place.path(&format!("data/trail/keys/record-{kept}.key"));
    std::fs::remove_file(other).expect("removed");
    let damaged = place.run(&["verify", "--json"]).exits(1).json();
    assert_eq!(damaged["first_bad_entry"], month(kept_first)["first"]);
}

/// A server that dies between the agreement of two people and what they agreed to does it at its next start; one that dies
/// before the agreement does nothing.
#[test]
fn what_was_agreed_is_done_though_the_server_dies() {
    let place = Place::ready();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let old = u64::try_from(now.as_micros()).expect("before 586524") - 8 * 365 * DAY_US;
    let waits_ms = [0, 4, 9, 16, 25, 50];
    let firsts: Vec<u64> =
        (0..6).map(|step| entries_of(&place, old + step * 40 * DAY_US, &["ann", "bob"]).0).collect();
    let place = configured(place, "[\"admin\"]");
    let mut server = Server::start(&place);
    let (pia, otto) = (place.token("pia", "privacy"), place.token("otto", "privacy"));
    let hold = ["retention", "hold", "add", "--person", "ann", "--reason", REASON];
    place.run_as("pia", &pia, &hold).exits(0);
    let plan = || place.json_as("pia", &pia, &["retention", "plan"]);
    for (first, wait_ms) in firsts.into_iter().zip(waits_ms) {
        let row = |plan: Value| {
            let rows = plan.as_array().expect("months").clone();
            let of = |row: &Value| {
                let begin = row["first"].as_u64().expect("an index");
                (begin..begin + row["entries"].as_u64().expect("a count")).contains(&first)
            };
            rows.into_iter().find(of).expect("a month")
        };
        let month = row(plan())["month"].to_string();
        let proposed = place.json_as("pia", &pia, &["retention", "expire", &month, "--reason", REASON]);
        let number = proposed[0]["id"].as_u64().expect("an id");
        let id = number.to_string();
        let mut agree = place.command(&["--as", "otto", "operator", "agree", &id]);
        agree
            .env("WARDLINE_TOKEN", &otto)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut agree = agree.spawn().expect("it runs");
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
        server.signal("KILL");
        agree.wait().expect("it ends");
        drop(server);
        server = Server::start(&place);
        let agreed = || {
            let rows = place.json_as("pia", &pia, &["operator", "agreements"]);
            rows.as_array().expect("rows").iter().find(|row| row["id"] == number).expect("it").clone()
        };
        let key = place.path(&format!("data/trail/keys/record-{month}.key"));
        if agreed()["agreed_at"].is_null() {
            assert!(key.exists(), "{wait_ms} ms: a key is destroyed that nobody agreed to destroy");
            assert_eq!(row(plan())["state"], "may-expire");
            place.run_as("otto", &otto, &["operator", "agree", &id]).exits(0);
        }
        let began = std::time::Instant::now();
        while agreed()["done_at"].is_null() {
            assert!(began.elapsed() < std::time::Duration::from_secs(60), "{wait_ms} ms: it is not done");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(!key.exists(), "{wait_ms} ms");
        assert_eq!(
            (&row(plan())["state"], &row(plan())["held"]),
            (&"expired".into(), &1.into()),
            "{wait_ms} ms"
        );
    }
    let verified = place.run(&["verify", "--json"]).exits(0).json();
    let stones = verified["tombstones"].as_array().expect("tombstones");
    assert_eq!(stones.len(), 6, "one for each month: {stones:?}");
    assert_eq!(verified["expired_and_held"], 6);
}

/// Row 19: a fresh install records, there is no switch for that, and what can be reduced is recorded before it holds.
#[test]
fn row_19_recording_cannot_be_turned_off() {
    let place = place("[\"admin\", \"auditor\"]");
    let entries = |kind: &str| {
        let ran = place.run(&["trail", "tail", "-n", "1000", "--json", "--kind", kind]).exits(0);
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };
    let config = std::fs::read_to_string(place.path("wardline.toml")).expect("a configuration");
    let mut server = Server::start(&place);
    assert!(!entries("node-started").is_empty(), "a fresh install records");
    assert_eq!(entries("config-activated").len(), 1);
    for off in ["[trail]\nenabled = false", "[audit]\nenabled = false", "[logging]\nlevel = \"off\""] {
        place.write("wardline.toml", &format!("{config}\n{off}\n"));
        let checked = place.run(&["check"]).exits(1);
        assert!(checked.stdout.contains("unknown key"), "{off}: {checked:?}");
        server.signal("HUP");
        server.logs("reload refused");
        place.write("wardline.toml", &config);
    }
    let refused = entries("admin-change");
    assert!(refused.iter().any(|entry| entry["command"] == "reload" && entry["outcome"] == "refused"));
    // What can be reduced is for how long: in the trail before it holds, and a finding below six years.
    place.write("wardline.toml", &format!("{config}\n[retention]\nyears = 1\n"));
    assert!(place.run(&["check"]).exits(4).stdout.contains("164.316"));
    server.signal("HUP");
    server.logs("configuration activated");
    assert_eq!(entries("config-activated").len(), 2);
    // Nobody without the right brings any of it about.
    let otto = place.token("otto", "nurse");
    place.run_as("otto", &otto, &["retention", "expire", "202001", "--reason", REASON]).exits(1);
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
}
