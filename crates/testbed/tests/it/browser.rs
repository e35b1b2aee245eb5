//! The pages in a real Chromium: signing in, a phone, recovery codes, a passkey of a virtual authenticator, and a psql that waits for
//! approval. Takes some 30 s; pictures of all pages, light and dark, wide and narrow, are kept in `WARDLINE_PICTURES` where it is set.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::PathBuf;

use serde_json::Value;
use testbed::browser::{Visit, visit};
use testbed::free_port;

use crate::approval::{Waiting, gateway};
use crate::conformance::stage::{self, HOSPITAL, entries, of, text};

#[test]
fn the_pages_work_in_a_real_browser() {
    let cluster = stage::hospital();
    let port = free_port().expect("a port");
    let gateway = gateway(&cluster, port);
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let codes = gateway.cli(&["user", "recovery-codes", "ann", "--json"]).expect("codes");
    let codes: Value = serde_json::from_str(&codes).expect("JSON");
    let waiting = Waiting::start(&ann);
    let temporary = tempfile::tempdir().expect("a folder");
    let kept = std::env::var_os("WARDLINE_PICTURES").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder).expect("a folder");
    let found = visit(&Visit {
        origin: format!("https://localhost:{port}"),
        certificate: gateway.folder().join("listener.crt"),
        folder,
        name: "ann".to_owned(),
        password: ann.password.clone(),
        recovery: codes["codes"][0].as_str().expect("a code").to_owned(),
        waiting: waiting.path.clone(),
        code: waiting.code.clone(),
    })
    .expect("a browser");
    assert_eq!(found["problems"], serde_json::json!([]), "{found}");
    let (got_in, rows, complaint) = waiting.end();
    assert!(got_in, "{complaint}");
    assert_eq!(rows, "200");
    let seen = entries(&gateway);
    let how: Vec<String> = of(&seen, "sign-in", "ann").iter().map(|entry| text(entry, "sign_in")).collect();
    for expected in ["password+recovery-code", "passkey", "browser at 127.0.0.1: passkey"] {
        assert!(how.iter().any(|how| how == expected), "nobody signed in by {expected}: {how:?}");
    }
}
