//! Keys and months of the trail by the command line: who may, who must agree, and what is left.

use serde_json::Value;

use crate::operators::place;
use crate::place::Place;

const REASON: &str = "the privacy office said so, twice";

impl Place {
    fn json_as(&self, name: &str, token: &str, words: &[&str]) -> Value {
        self.run_as(name, token, &[words, &["--json"]].concat()).exits(0).json()
    }
}

#[test]
fn keys_are_changed_by_whom_it_is_given_to() {
    let place = place("[\"admin\"]");
    let kim = place.token("kim", "keys");
    place.run(&["key", "rotate"]).exits(1);
    let before = place.json_as("kim", &kim, &["key", "list"]);
    let made = place.json_as("kim", &kim, &["key", "rotate"]);
    let ids = |keys: &Value| -> Vec<String> {
        let current = keys.as_array().expect("keys").iter().filter(|key| key["current"] == true);
        current.map(|key| key["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!((ids(&before).len(), ids(&made).len()), (2, 2));
    assert!(ids(&before).iter().all(|id| !ids(&made).contains(id)), "{before} {made}");
    assert_eq!(ids(&place.json_as("kim", &kim, &["key", "list"])), ids(&made));
    place.add("ann", "nurse").exits(0);
    let ann = place.token("otto", "audit");
    let entries = place.run_as("otto", &ann, &["trail", "tail", "-n", "1000", "--json"]).exits(0).stdout;
    let rotated = entries.lines().filter(|line| line.contains("made further class keys")).collect::<Vec<_>>();
    assert_eq!(rotated.len(), 1);
    assert!(ids(&made).iter().chain(&ids(&before)).all(|id| rotated[0].contains(id)), "{rotated:?}");
    assert!(place.run(&["verify"]).exits(0).stdout.contains("whole"));
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
