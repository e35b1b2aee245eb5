//! What the code says of the API is what is committed.

use std::path::Path;

use super::routes;

/// `docs/api/openapi.json` is what the code says of itself.
#[test]
fn the_api_is_documented_as_it_is() {
    let (_, document) = routes().split_for_parts();
    let made = document.to_pretty_json().expect("it serialises") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api/openapi.json");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &made).expect("it is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, made, "docs/api/openapi.json differs; `BLESS=1` writes it anew");
}
