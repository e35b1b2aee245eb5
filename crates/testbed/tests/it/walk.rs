//! Every operation of the API and of the pages, tried by strangers, with tokens that are no longer any, and as each role. What an
//! operation takes is what `docs/api/openapi.json` says it takes (`x-right`); one that says nothing fails here.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use testbed::free_port;
use testbed::gateway::Gateway;
use testbed::https::{Answer, Https};

/// Returns the rights that operations take.
fn rights(operations: &[Operation]) -> Vec<String> {
    let named = operations.iter().flat_map(|operation| operation.right.split(" | "));
    let named: BTreeSet<&str> = named.filter(|right| !["open", "person"].contains(right)).collect();
    named.into_iter().map(str::to_owned).collect()
}

fn committed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One operation, with a path and a body that are well-formed and name nothing that there is.
struct Operation {
    method: String,
    path: String,
    asked: String,
    right: String,
    is_page: bool,
    body: Value,
}

impl Operation {
    fn named(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let right = operation["x-right"].as_str();
            let right = right
                .unwrap_or_else(|| panic!("{method} {path} does not say which right it takes (`x-right`)"));
            let content = &operation["requestBody"]["content"];
            let schema =
                content.as_object().and_then(|content| content.values().next()).map(|it| &it["schema"]);
            let asked: Vec<&str> = path
                .split('/')
                .map(|part| match part {
                    "{name}" => "nobody-there",
                    "{number}" => "999999",
                    part if part.starts_with('{') => "00000000000000000000000000000000",
                    part => part,
                })
                .collect();
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                asked: asked.join("/"),
                right: right.to_owned(),
                is_page: operation["tags"].as_array().is_some_and(|tags| tags.contains(&json!("pages"))),
                body: schema.map_or(Value::Null, |schema| example(document, schema)),
            });
        }
    }
    operations
}

/// Makes the least that fits a schema.
fn example(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("a name");
        return example(document, &document["components"]["schemas"][name]);
    }
    for choice in ["oneOf", "allOf", "anyOf"] {
        if let Some(first) = schema[choice].as_array().and_then(|all| all.first()) {
            return example(document, first);
        }
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = required.iter().filter_map(Value::as_str);
            let made = fields.map(|name| (name.to_owned(), example(document, &schema["properties"][name])));
            Value::Object(made.collect::<Map<_, _>>())
        }
        Some("array") => json!([]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        _ => json!("nobody-there"),
    }
}

fn gateway(port: u16, rights: &[String]) -> Gateway {
    let mut toml = format!(
        "[web]\naddress = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\nrequests_per_minute_max = 100000\n\
         tls = {{ certificate = \"listener.crt\", key = \"listener.key\" }}\n[operators.rights]\n\"os:root\" = [\"admin\"]\n"
    );
    rights.iter().for_each(|right| toml.push_str(&format!("r-{right} = [\"{right}\"]\n")));
    let mut builder = Gateway::builder().toml(&toml).toml("[role.nurse]");
    for right in rights {
        builder = builder
            .toml(&format!("[role.r-{right}]"))
            .person(&format!("p-{right}"), &[&format!("r-{right}")]);
    }
    builder.person("p-none", &["nurse"]).person("leaver", &["r-admin"]).start().expect("it starts")
}

fn token(gateway: &Gateway, name: &str, more: &[&str]) -> String {
    let password = gateway.conninfo(name, "x").expect("a person").password;
    let arguments = [&["login", name, "--password-stdin", "--token-only"], more].concat();
    gateway.cli_stdin(&arguments, &password).expect("a token").trim().to_owned()
}

/// Tokens that prove nothing any more, or never did.
fn dead_tokens(gateway: &Gateway, https: &Https) -> Vec<(&'static str, String)> {
    let expired = token(gateway, "p-admin", &["--life-s", "1"]);
    let began = Instant::now();
    while https.json("GET", "/api/v1/me", &expired, &Value::Null).expect("an answer").status != 401 {
        assert!(began.elapsed() < Duration::from_secs(60), "a token of one second lives on");
    }
    let leaver = token(gateway, "leaver", &[]);
    gateway.cli(&["user", "disable", "leaver"]).expect("disabled");
    let revoked = token(gateway, "p-admin", &[]);
    gateway.cli(&["token", "revoke", "--person", "p-admin"]).expect("revoked");
    let foreign = format!("wlt_{}", "A".repeat(64));
    vec![
        ("expired", expired),
        ("of somebody disabled", leaver),
        ("revoked", revoked),
        ("of another server", foreign),
        ("malformed", "wlt_x".to_owned()),
    ]
}

#[test]
fn every_operation_is_refused_to_whoever_has_no_right_to_it() {
    let document: Value = serde_json::from_str(&committed("docs/api/openapi.json")).expect("JSON");
    let operations = operations(&document);
    let open: BTreeSet<String> =
        operations.iter().filter(|operation| operation.right == "open").map(Operation::named).collect();
    let listed = committed("docs/api/open-routes.txt");
    let listed: BTreeSet<String> =
        listed.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect();
    assert_eq!(open, listed, "docs/api/open-routes.txt lists what is open to strangers");

    let port = free_port().expect("a port");
    let rights = rights(&operations);
    let gateway = gateway(port, &rights);
    let https = Https::to(port, &gateway.folder().join("ca.crt")).expect("a client");
    let dead = dead_tokens(&gateway, &https);
    let tokens: Vec<(&str, String)> =
        rights.iter().map(|right| (right.as_str(), token(&gateway, &format!("p-{right}"), &[]))).collect();
    let none = token(&gateway, "p-none", &[]);
    let mut tried = 0;
    for operation in &operations {
        let ask = |token: &str| {
            https.json(&operation.method, &operation.asked, token, &operation.body).expect("an answer")
        };
        if operation.is_page {
            page(&https, operation);
        } else {
            tried += api(operation, &ask, &dead, &tokens, &none);
        }
    }
    assert!(tried > 200, "{tried} refusals were seen");
}

/// Tries an operation of the API as everybody. Returns how many refusals were seen.
fn api(
    operation: &Operation,
    ask: &dyn Fn(&str) -> Answer,
    dead: &[(&'static str, String)],
    tokens: &[(&str, String)],
    none: &str,
) -> usize {
    let named = operation.named();
    if operation.right == "open" {
        return 0;
    }
    let mut refused = 0;
    for (why, token) in std::iter::once(&("no", String::new())).chain(dead) {
        let answer = ask(token);
        assert_eq!(answer.status, 401, "{named} with {why} token: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{named}");
        refused += 1;
    }
    let may: Vec<&str> = operation.right.split(" | ").collect();
    for (right, token) in tokens.iter().map(|(right, token)| (*right, token.as_str())).chain([("", none)]) {
        let answer = ask(token);
        let allowed = operation.right == "person" || may.contains(&right);
        assert_eq!(answer.status != 403, allowed, "{named} as `{right}`: {} {}", answer.status, answer.body);
        assert!(answer.status != 401 && answer.status < 500, "{named} as `{right}`: {}", answer.body);
        refused += usize::from(!allowed);
    }
    refused
}

/// Tries a page as a stranger, from a page of ours and from elsewhere.
fn page(https: &Https, operation: &Operation) {
    let named = operation.named();
    let origin = https.origin();
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let ask = |headers: &[(&str, &str)]| {
        https.ask(&operation.method, &operation.asked, headers, "").expect("an answer")
    };
    if operation.method == "GET" {
        let answer = ask(&[]);
        match operation.right.as_str() {
            // Nobody is configured whom one could be sent to, or come back from.
            "open" if operation.path.starts_with("/oidc/") => assert_eq!(answer.status, 403, "{named}"),
            "open" => assert_eq!(answer.status, 200, "{named}"),
            _ => {
                assert_eq!(answer.status, 303, "{named}");
                assert!(answer.header("location").is_some_and(|to| to.starts_with("/sign-in")), "{named}");
            }
        }
        return;
    }
    for headers in [&[kind][..], &[kind, ("Origin", "https://evil.example")]] {
        let answer = ask(headers);
        assert!([403, 415].contains(&answer.status), "{named} from elsewhere: {}", answer.status);
    }
    if operation.right != "open" {
        let answer = ask(&[kind, ("Origin", &origin)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/sign-in")), "{named}");
    }
}
