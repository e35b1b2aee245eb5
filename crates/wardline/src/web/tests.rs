//! What the code says of the API is what is committed, and every request has a right that somebody looked at.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

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

/// The fields that say which request of a family it is.
const TAGS: [&str; 6] = ["do", "training", "recertify", "account", "agents", "policy"];
/// Stands for a text, and makes the decoder list the words where it wants one of some.
const ANY: &str = "?";

fn decode(value: &Value) -> Result<Request, String> {
    serde_json::from_value(value.clone()).map_err(|error| serde_json::Error::to_string(&error))
}

/// Returns the words that the decoder would have taken in the place of [`ANY`].
fn wanted(error: &str) -> Option<Vec<String>> {
    let listed = error.strip_prefix(&format!("unknown variant `{ANY}`, expected "))?;
    Some(listed.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn missing(error: &str) -> Option<String> {
    Some(error.strip_prefix("missing field `")?.split('`').next()?.to_owned())
}

/// What a field may be, tried in this order.
fn guesses() -> Vec<Value> {
    vec![
        json!(ANY),
        json!({ "do": ANY }),
        json!(1),
        json!([]),
        json!(false),
        json!("192.0.2.1"),
        json!([ANY, ANY]),
        json!({ "person": "x" }),
        json!({ "reason": "x", "patient": null, "person": null, "resource": null, "from_us": null, "to_us": null }),
        json!({}),
    ]
}

/// The request itself, and the objects within it.
fn places(value: &Value) -> Vec<String> {
    let mut places = vec![String::new()];
    let mut at = 0;
    while let Some(place) = places.get(at).cloned() {
        let fields = value.pointer(&place).and_then(Value::as_object).into_iter().flatten();
        places
            .extend(fields.filter(|(_, field)| field.is_object()).map(|(name, _)| format!("{place}/{name}")));
        at += 1;
    }
    places
}

/// Completes a request by asking the decoder what is missing, field by field; a family gives all of its requests.
fn completed(value: Value) -> Vec<Value> {
    let error = match decode(&value) {
        Ok(_) => return vec![value],
        Err(error) => error,
    };
    let field = missing(&error).unwrap_or_else(|| panic!("{value} cannot be made: {error}"));
    for place in places(&value) {
        for guess in guesses() {
            let mut tried = value.clone();
            let object = tried.pointer_mut(&place).and_then(Value::as_object_mut).expect("an object");
            object.insert(field.clone(), guess.clone());
            let told = decode(&tried).err();
            let words = told.as_deref().and_then(wanted);
            let next = told.as_deref().and_then(missing);
            match (told, words) {
                (_, Some(words)) => {
                    let put = |word: &Value| {
                        let text = serde_json::to_string(&tried).expect("it serialises");
                        let quoted = serde_json::to_string(ANY).expect("it serialises");
                        serde_json::from_str::<Value>(&text.replace(&quoted, &word.to_string()))
                            .expect("JSON")
                    };
                    let tag = TAGS.contains(&field.as_str()) || guess == json!({ "do": ANY });
                    let words = words.iter().map(|word| json!(word));
                    if tag {
                        return words.flat_map(|word| completed(put(&word))).collect();
                    }
                    let fits = |tried: &Value| match decode(tried) {
                        Ok(_) => true,
                        Err(error) => missing(&error).is_some_and(|next| next != field),
                    };
                    let ways = words.flat_map(|word| {
                        let name = word.as_str().unwrap_or_default().to_owned();
                        [word, json!({ name.as_str(): "x" }), json!({ name.as_str(): ["x"] })]
                    });
                    let tried = ways.map(|way| put(&way)).find(fits);
                    return completed(tried.unwrap_or_else(|| panic!("no word fits `{field}` of {value}")));
                }
                (None, None) => return vec![tried],
                (Some(_), None) if next.as_ref().is_some_and(|next| *next != field) => {
                    return completed(tried);
                }
                (Some(_), None) => {}
            }
        }
    }
    panic!("nothing fits `{field}` of {value}: add a guess");
}

/// Returns every request there is, by its name.
fn all_requests() -> Vec<(String, Request)> {
    let error = decode(&json!({ "ask": ANY })).expect_err("there is no such request");
    let asks = wanted(&error).expect("they are listed");
    let named = |value: Value| {
        let inner = value.get("act").and_then(|act| act.get("do"));
        let tag = TAGS.iter().find_map(|tag| value.get(tag)).or(inner);
        let words = [value.get("ask"), tag].into_iter().flatten().filter_map(Value::as_str);
        let name: Vec<&str> = words.collect();
        (name.join(" "), decode(&value).expect("it was made"))
    };
    asks.into_iter().flat_map(|ask| completed(json!({ "ask": ask }))).map(named).collect()
}

/// `docs/api/requests.txt` says for every request, whichever way it comes, which right it takes.
#[test]
fn every_request_has_a_right_that_is_written_down() {
    let requests = all_requests();
    assert!(requests.len() > 80, "{requests:?}");
    let mut lines = String::from(
        "# Every request to a running server, by the command line or the API, and the right it takes (docs/operating/running.md).\n\
         # `nobody in particular` is open to whoever reaches the control socket, or proved who they are. Written by a test: BLESS=1.\n",
    );
    for (ask, request) in &requests {
        let needed = needed_in_words(request);
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
        for (ask, request) in all_requests() {
            if needed_in_words(&request).is_empty() {
                continue;
            }
            let refusal = node.perform(&stranger, request).await.expect_err("refused");
            assert!(refusal.denied, "{ask}: {refusal}");
        }
        node.close().await.expect("closed");
    }
}
