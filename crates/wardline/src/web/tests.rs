//! What the code says of the API is what is committed, and every request has a right that somebody looked at.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::routes;
use crate::admin::{Actor, Request};
use crate::operators::needed_in_words;

#[track_caller]
fn compare(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, made).expect("it is written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(committed, made, "{path} differs; `BLESS=1` writes it anew");
}

/// `docs/api/openapi.json` is what the code says of itself.
#[test]
fn the_api_is_documented_as_it_is() {
    let (_, document) = routes().split_for_parts();
    let made = document.to_pretty_json().expect("it serialises") + "\n";
    compare("docs/api/openapi.json", &made);
}

/// Makes a request of that name by asking the decoder what is missing, field by field.
fn made(ask: &str) -> Request {
    let guesses = [
        json!("x"),
        json!(1),
        json!([]),
        json!(false),
        json!("192.0.2.1"),
        json!({ "person": "x" }),
        json!({ "reason": "x", "patient": null, "person": null, "resource": null, "from_us": null, "to_us": null }),
        json!({}),
    ];
    let mut fields = Map::from_iter([("ask".to_owned(), json!(ask))]);
    loop {
        let error = match serde_json::from_value(Value::Object(fields.clone())) {
            Ok(request) => return request,
            Err(error) => serde_json::Error::to_string(&error),
        };
        let missing = error.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let missing = missing.unwrap_or_else(|| panic!("`{ask}` cannot be made: {error}")).to_owned();
        let fits = |guess: &&Value| {
            let mut tried = fields.clone();
            tried.insert(missing.clone(), (*guess).clone());
            match serde_json::from_value::<Request>(Value::Object(tried)) {
                Ok(_) => true,
                // Another field is missing: this one was fine.
                Err(error) => {
                    let error = error.to_string();
                    error.starts_with("missing field `")
                        && !error.starts_with(&format!("missing field `{missing}`"))
                }
            }
        };
        let guess = guesses.iter().find(fits);
        let guess =
            guess.unwrap_or_else(|| panic!("nothing fits `{missing}` of `{ask}`: add a guess")).clone();
        fields.insert(missing, guess);
    }
}

/// Returns the names of all requests, as the decoder lists them.
fn all_requests() -> Vec<String> {
    let error =
        serde_json::from_value::<Request>(json!({ "ask": "?" })).expect_err("there is no such request");
    let error = error.to_string();
    let listed = error.split_once("expected").expect("what is expected").1;
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `docs/api/requests.txt` says for every request, whichever way it comes, which right it takes.
#[test]
fn every_request_has_a_right_that_is_written_down() {
    let requests = all_requests();
    assert!(requests.len() > 40, "{requests:?}");
    let mut lines = String::from(
        "# Every request to a running server, by the command line or the API, and the right it takes (docs/operating/running.md).\n\
         # `nobody in particular` is open to whoever reaches the control socket, or proved who they are. Written by a test: BLESS=1.\n",
    );
    for ask in &requests {
        let needed = needed_in_words(&made(ask));
        let needed = if needed.is_empty() { "nobody in particular".to_owned() } else { needed };
        let _ = writeln!(lines, "{ask}: {needed}");
    }
    compare("docs/api/requests.txt", &lines);
}

/// A stranger who calls from somewhere may do nothing that takes a right, with and without `[operators]`.
#[tokio::test]
async fn a_stranger_is_refused_every_request_that_takes_a_right() {
    let folder = tempfile::tempdir().expect("a folder");
    for operators in ["", "[operators.rights]\n\"os:root\" = [\"admin\"]\n"] {
        let text = format!("node = \"gw1\"\ndata = \"data{}\"\n{operators}", operators.len());
        let config =
            crate::config::Config::parse(&folder.path().join("wardline.toml"), &text).config.expect("valid");
        let data = crate::data::DataFolder::at(&config.data);
        data.create().expect("created");
        vault::root_key_create(&data.root_key()).expect("a key");
        let lock = data.lock().expect("lockable").expect("free");
        let node = crate::node::Node::open(config, lock).await.expect("opens");
        let stranger = Actor::on_the_web(None);
        for ask in all_requests() {
            let request = made(&ask);
            if needed_in_words(&request).is_empty() {
                continue;
            }
            let refusal = node.perform(&stranger, request).await.expect_err("refused");
            assert!(refusal.denied, "{ask}: {refusal}");
        }
        node.close().await.expect("closed");
    }
}
