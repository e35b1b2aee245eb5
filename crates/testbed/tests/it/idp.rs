//! People who come from elsewhere: sign-in at a real identity provider by browser and by device code, forged tokens, SCIM,
//! and a directory.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::gateway::{Builder, Gateway, program};
use testbed::idp::{self, Provider, Slapd};
use testbed::postgres::Cluster;
use testbed::tls::{Authority, Pair};
use testbed::{Conninfo, free_port};

use crate::conformance::emergency::{codes, with_lines};
use crate::conformance::stage::{self, HOSPITAL, answer, entries, of, psql, text};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with one authority, and a certificate of `localhost` for whoever serves.
struct House {
    folder: TempDir,
    ca: PathBuf,
    pair: Pair,
    provider_port: u16,
    web_port: u16,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("house").expect("an authority");
        let ca = folder.path().join("ca.crt");
        authority.write(&ca).expect("a file");
        let pair =
            authority.issue(&["localhost", "127.0.0.1"], folder.path(), "house").expect("a certificate");
        let (provider_port, web_port) = (free_port().expect("a port"), free_port().expect("a port"));
        House { folder, ca, pair, provider_port, web_port }
    }

    fn web(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.web_port)
    }

    fn provider(&self, claims: &Value) -> Provider {
        let redirect = self.web("/oidc/hospital/callback");
        Provider::start(self.folder.path(), self.provider_port, &self.pair, &redirect, claims)
            .expect("a provider")
    }

    /// Begins a gateway with a listener for the web and a provider.
    fn gateway(&self, cluster: &Cluster) -> Builder {
        let (ca, certificate, key) = (&self.ca, &self.pair.certificate, &self.pair.key);
        stage::gateway(cluster).person("boss", &["nurse"]).toml(&format!(
            "[web]\naddress = \"127.0.0.1:{}\"\nurl = \"https://localhost:{}\"\nrequests_per_minute_max = 100000\n\
             tls = {{ certificate = {certificate:?}, key = {key:?} }}\n\
             [oidc.hospital]\nissuer = \"https://localhost:{}\"\nclient_id = \"wardline\"\nca = {ca:?}\n\
             scopes = [\"profile\", \"groups\"]\nprovision = true\nfactor_amr = [\"mfa\"]\n\
             [oidc.hospital.groups]\nward-3 = [\"nurse\"]\nbilling = [\"billing\"]\n\
             [scim.hr]\noidc = \"hospital\"\n[scim.hr.groups]\nward-3 = [\"nurse\"]\n",
            self.web_port, self.web_port, self.provider_port
        ))
    }

    fn sign_in(&self, user: &str) -> Value {
        idp::browse(&self.web("/oidc/hospital/begin"), &self.ca, user, None).expect("a browser")
    }
}

/// Returns the token of a page that says that somebody is signed in.
#[track_caller]
fn token(page: &Value) -> String {
    let body = text(page, "body");
    let token = body.lines().find(|line| line.starts_with("wlt_"));
    token.unwrap_or_else(|| panic!("nobody is signed in: {page:#}")).to_owned()
}

fn with_token(gateway: &Gateway, name: &str, token: &str) -> Conninfo {
    gateway.conninfo("boss", HOSPITAL).expect("a person").with_user(name, token)
}

/// Returns why the last sign-in was refused.
fn refused(gateway: &Gateway) -> String {
    let all = entries(gateway);
    let refused = |entry: &&&Value| text(entry, "outcome") == "refused";
    of(&all, "sign-in", "").iter().rfind(refused).map(|entry| text(entry, "detail")).unwrap_or_default()
}

#[test]
fn people_sign_in_at_a_provider_with_a_browser() {
    let (house, cluster) = (House::new(), stage::hospital());
    let claims = json!({
        "u-1": {"preferred_username": "Ann", "name": "Ann Example", "groups": ["ward-3", "choir"]},
        "u-9": {"preferred_username": "boss", "groups": ["ward-3"]},
    });
    let provider = house.provider(&claims);
    let gateway = house.gateway(&cluster).start().expect("it starts");
    let page = house.sign_in("u-1");
    assert!(text(&page, "body").contains("signed in as ann"), "{page:#}");
    let ann = with_token(&gateway, "ann", &token(&page));
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");
    assert!(!psql(&ann, "select * from claims").status.success(), "a group gave more than its roles");
    let all = entries(&gateway);
    let added = of(&all, "admin-change", "oidc:hospital");
    assert!(added.iter().any(|entry| text(entry, "detail").contains("add person `ann`")), "{added:#?}");
    let signed_in = of(&all, "sign-in", "ann");
    assert!(signed_in.iter().any(|entry| text(entry, "detail").contains("oidc:hospital")), "{signed_in:#?}");

    // A name that somebody has is not proof of being them.
    let page = house.sign_in("u-9");
    assert_eq!((&page["status"], refused(&gateway)), (&403.into(), "name-taken".into()), "{page:#}");
    assert!(text(&page, "body").contains("sign-in failed"), "{page:#}");

    // What comes back without the cookie of the way there is of somebody else; it works once.
    let callback = house.web("/oidc/hospital/callback");
    let begin = house.web("/oidc/hospital/begin");
    let stopped = idp::browse(&begin, &house.ca, "u-1", Some(&callback)).expect("a browser");
    let stolen = text(&stopped, "url");
    for reason in ["state-of-another", "state-unknown"] {
        let page = idp::browse(&stolen, &house.ca, "u-1", None).expect("a browser");
        assert_eq!((&page["status"], refused(&gateway)), (&403.into(), reason.into()), "{page:#}");
    }

    // Roles follow the groups at the next sign-in, also in the sessions that are open.
    provider.stop().expect("it ends");
    let told = gateway.cli(&["login", "--device", "hospital"]).expect_err("nobody is there").to_string();
    assert!(told.contains("cannot be reached"), "{told}");
    assert_eq!(refused(&gateway), "provider-unreachable");
    assert_eq!(answer(&ann, "select count(*) from patients"), "200", "a token needs no provider");
    let boss = gateway.conninfo("boss", HOSPITAL).expect("a person");
    assert_eq!(answer(&boss, "select count(*) from patients"), "200", "a password needs no provider");
    let _provider = house.provider(&json!({"u-1": {"preferred_username": "renamed", "groups": ["billing"]}}));
    let page = house.sign_in("u-1");
    assert!(text(&page, "body").contains("signed in as ann"), "who is bound keeps the name: {page:#}");
    assert!(!psql(&ann, "select count(*) from patients").status.success(), "the group's role is still held");
    assert_eq!(answer(&ann, "select count(*) from claims"), "200");

    gateway.cli(&["user", "disable", "ann"]).expect("disabled");
    let page = house.sign_in("u-1");
    assert_eq!((&page["status"], refused(&gateway)), (&403.into(), "disabled".into()), "{page:#}");
}

#[test]
fn row_12_a_provider_that_died_leaves_sealed_codes_and_a_trail_without_a_gap() {
    let (house, cluster) = (House::new(), stage::hospital());
    let claims = json!({"u-1": {"preferred_username": "ann", "groups": ["ward-3"]}});
    let provider = house.provider(&claims);
    let gateway = house
        .gateway(&cluster)
        .role("emergency-clinician", HOSPITAL, "read = [\"public.*\"]")
        .toml("[break_glass]\ninitiators = [\"nurse\"]\nrole = \"emergency-clinician\"\n")
        .toml("[operators.rights]\n\"os:root\" = [\"admin\", \"auditor\", \"key-admin\"]\nnurse = [\"auditor\"]\n")
        .start()
        .expect("it starts");
    let codes = codes(&gateway);
    let page = house.sign_in("u-1");
    assert!(text(&page, "body").contains("signed in as ann"), "{page:#}");
    let looks = |token: &str| {
        let mut command = Command::new(program().expect("the program"));
        command.arg("--config").arg(gateway.config()).args(["--as", "ann", "session", "list"]);
        command.env("WARDLINE_TOKEN", token).output().expect("it runs")
    };
    assert!(looks(&token(&page)).status.success(), "she is an auditor");

    provider.stop().expect("it is killed");
    let told = gateway.cli(&["login", "--device", "hospital"]).expect_err("nobody is there").to_string();
    for words in [
        "the identity provider cannot be reached now",
        "try again later",
        "break-glass begin RESOURCE --code NAME",
    ] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(refused(&gateway), "provider-unreachable");
    let begin = ["break-glass", "begin", HOSPITAL, "--code", "ann", "--reason-code", "disaster", "--json"];
    let why = ["--reason", "the provider is down, unconscious patient"];
    let given = with_lines(&gateway, &[&begin[..], &why].concat(), &codes[0]);
    assert!(given.status.success(), "{}", stage::err(&given));
    let given: Value = serde_json::from_slice(&given.stdout).expect("JSON");
    let by_code = text(&given["token"], "token");
    let refused = looks(&by_code);
    assert!(stage::err(&refused).contains("has no right to this"), "named, and not proven: {refused:?}");
    let ann = with_token(&gateway, "ann", &by_code);
    assert_eq!(answer(&ann, "select count(*) from claims"), "200", "more than she has as a nurse");

    let trail = entries(&gateway);
    let read = of(&trail, "operation", "ann").into_iter().rfind(|entry| text(entry, "verdict") == "allow");
    assert_eq!(text(read.expect("her read"), "emergency"), "1");
    let indexes: Vec<u64> = trail.iter().map(|entry| entry["index"].as_u64().expect("an index")).collect();
    assert!(indexes.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap");
    let (code, words) = stage::verify(&gateway, None, &[]);
    assert_eq!(code, Some(0), "{words}");
}

#[test]
fn a_code_is_typed_on_another_device() {
    let (house, cluster) = (House::new(), stage::hospital());
    let _provider = house.provider(&json!({"u-1": {"preferred_username": "ann", "groups": ["ward-3"]}}));
    let gateway = house.gateway(&cluster).start().expect("it starts");
    let mut command = Command::new(program().expect("the program"));
    command.arg("--config").arg(gateway.config()).args(["login", "--device", "hospital", "--token-only"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let address = loop {
        let line = said.next().expect("an address").expect("text");
        if let Some(address) = line.strip_prefix("or open ") {
            break address.to_owned();
        }
    };
    let page = idp::browse(&address, &house.ca, "u-1", None).expect("a browser");
    assert_eq!(page["status"], 200, "{page:#}");
    let mut token = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut token).expect("text");
    assert!(child.wait().expect("it ends").success(), "{:?}", said.collect::<Vec<_>>());
    let ann = with_token(&gateway, "ann", token.trim());
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");
}

#[test]
fn forged_and_misdirected_tokens_are_refused() {
    let (house, cluster) = (House::new(), stage::hospital());
    let provider =
        Provider::forger(house.folder.path(), house.provider_port, &house.pair).expect("a provider");
    let gateway = house.gateway(&cluster).start().expect("it starts");
    let tell = |what: Value| {
        let url = format!("{}/control", provider.issuer());
        let (status, _) = idp::ask("POST", &url, &house.ca, None, Some(&what)).expect("an answer");
        assert_eq!(status, 200);
    };
    tell(json!({"claims": {"amr": ["pwd", "mfa"]}}));
    let page = house.sign_in("u-1");
    assert!(text(&page, "body").contains("signed in as ann with a second factor"), "{page:#}");
    let cases = [
        (json!({"claims": {"iss": "https://evil.test"}}), "token-issuer"),
        (json!({"claims": {"aud": "another"}}), "token-audience"),
        (json!({"claims": {"exp": 1_000_000_000}}), "token-expired"),
        (json!({"claims": {"nbf": 9_000_000_000_u64}}), "token-expired"),
        (json!({"claims": {"nonce": "another"}}), "token-nonce"),
        (json!({"late": {"sub": "u-2"}}), "token-signature"),
        (json!({"key": "another"}), "token-signature"),
        (json!({"alg": "none"}), "token-signature"),
    ];
    for (what, reason) in cases {
        tell(what.clone());
        let page = house.sign_in("u-1");
        assert_eq!((&page["status"], refused(&gateway)), (&403.into(), reason.into()), "{what}: {page:#}");
        assert!(text(&page, "body").contains("sign-in failed"), "{what}: {page:#}");
    }
    // New keys are found as soon as a token names one.
    tell(json!({"key": "rotated"}));
    let began = Instant::now();
    loop {
        let page = house.sign_in("u-1");
        if page["status"] == 200 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "new keys are not found: {page:#}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn scim_is_what_its_checker_expects() {
    let (house, cluster) = (House::new(), stage::hospital());
    let gateway = house.gateway(&cluster).start().expect("it starts");
    let url = house.web("/scim/v2");
    let made: Value =
        serde_json::from_str(&gateway.cli(&["scim", "token", "hr", "--json"]).expect("a token"))
            .expect("JSON");
    let results = idp::check_scim(&url, &house.ca, &text(&made, "token")).expect("a report");
    let (sum, failed) = results.split_last().expect("a sum");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(sum["checked"].as_u64().expect("a number") > 20, "{sum}");
    gateway.cli(&["scim", "revoke", "hr"]).expect("revoked");
    for token in [None, Some("wls_nothing"), Some(&*text(&made, "token"))] {
        for path in ["/Users", "/Groups", "/Schemas", "/ServiceProviderConfig", "/Users/1"] {
            let (status, _) =
                idp::ask("GET", &format!("{url}{path}"), &house.ca, token, None).expect("an answer");
            assert_eq!(status, 401, "{path} with {token:?}");
        }
    }
}

#[test]
fn whom_scim_disables_is_cut_off() {
    let (house, cluster) = (House::new(), stage::hospital());
    let gateway = house.gateway(&cluster).start().expect("it starts");
    let made: Value =
        serde_json::from_str(&gateway.cli(&["scim", "token", "hr", "--json"]).expect("a token"))
            .expect("JSON");
    let token = text(&made, "token");
    let ask = |method: &str, path: &str, body: Value| -> (u16, Value) {
        let url = house.web(&format!("/scim/v2{path}"));
        let (status, body) = idp::ask(method, &url, &house.ca, Some(&token), Some(&body)).expect("an answer");
        (status, serde_json::from_str(&body).unwrap_or_default())
    };
    let (status, ann) =
        ask("POST", "/Users", json!({"userName": "Ann", "externalId": "u-1", "displayName": "Ann E."}));
    assert_eq!((status, &ann["active"]), (201, &true.into()), "{ann}");
    let id = text(&ann, "id");
    // A person of this house, and the token of a person, are not its business.
    assert_eq!(ask("POST", "/Users", json!({"userName": "boss"})).0, 409);
    let (_, mine) = ask("GET", "/Users?filter=userName%20eq%20%22boss%22", Value::Null);
    assert_eq!(mine["totalResults"], 0, "{mine}");
    let member = json!({"displayName": "ward-3", "members": [{"value": id}]});
    assert_eq!(ask("POST", "/Groups", member).0, 201);
    gateway
        .cli_stdin(&["user", "passwd", "ann", "--password-stdin"], "a long enough password")
        .expect("a password");
    let conninfo = with_token(&gateway, "ann", "a long enough password");
    assert_eq!(answer(&conninfo, "select count(*) from patients"), "200");
    let held = stage::Held::open("127.0.0.1", &conninfo);

    let change = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [
            {"op": "replace", "path": "urn:wardline:params:scim:schemas:extension:leaver:1.0:User:employmentEnded",
             "value": "2020-02-03T16:00:00Z"},
            {"op": "Replace", "path": "active", "value": "False"},
        ],
    });
    let (status, ann) = ask("PATCH", &format!("/Users/{id}"), change);
    assert_eq!((status, &ann["active"]), (200, &false.into()), "{ann}");
    let began = Instant::now();
    let backends = "select count(*) from pg_stat_activity where usename = 'wardline_app'";
    while cluster.psql(backends).expect("psql") != "0" {
        assert!(began.elapsed() < PATIENCE, "the session goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(held.ask("select 1").is_err());
    assert!(!psql(&conninfo, "select 1").status.success());
    let report: Value =
        serde_json::from_str(&gateway.cli(&["report", "leavers", "--json"]).expect("a report"))
            .expect("JSON");
    let line = &report[0];
    assert_eq!((text(line, "person"), text(line, "source")), ("ann".into(), "scim:hr".into()), "{report}");
    assert_eq!((&line["sessions"], &line["late"]), (&1.into(), &true.into()), "{report}");

    assert_eq!(ask("DELETE", &format!("/Users/{id}"), Value::Null).0, 204);
    assert_eq!(ask("GET", &format!("/Users/{id}"), Value::Null).0, 404);
}

#[test]
fn whom_a_directory_lists_is_here_and_whom_it_does_not_is_not() {
    let (house, cluster) = (House::new(), stage::hospital());
    let slapd =
        Slapd::start(house.folder.path(), house.provider_port, &house.ca, &house.pair).expect("slapd");
    slapd.person("ann").expect("a person");
    slapd.person("boss").expect("a person");
    slapd.group("ward-3", &["ann"]).expect("a group");
    let secret = house.folder.path().join("ldap.secret");
    std::fs::write(&secret, idp::DIRECTORY_PASSWORD).expect("a file");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let gateway = stage::gateway(&cluster)
        .person("boss", &["billing"])
        .toml(&format!(
            "[ldap]\nurl = {:?}\nca = {:?}\nbind_dn = \"cn=admin,dc=test\"\nbind_password_file = {secret:?}\n\
             base = \"ou=people,dc=test\"\nsync_interval_s = 5\n[ldap.groups]\n\
             \"cn=ward-3,ou=groups,dc=test\" = [\"nurse\"]\n",
            slapd.url(),
            house.ca
        ))
        .start()
        .expect("it starts");
    let ann = with_token(&gateway, "ann", idp::DIRECTORY_PASSWORD);
    let began = Instant::now();
    while !psql(&ann, "select 1").status.success() {
        assert!(began.elapsed() < PATIENCE, "ann does not come");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(answer(&ann, "select count(*) from patients"), "200");
    for wrong in ["", "another password", "*", ")(uid=*"] {
        assert!(!psql(&with_token(&gateway, "ann", wrong), "select 1").status.success(), "`{wrong}`");
    }
    // Somebody of that name was here before: the directory's word is not about them.
    let boss = gateway.conninfo("boss", HOSPITAL).expect("a person");
    assert_eq!(answer(&boss, "select count(*) from claims"), "200");
    assert!(!psql(&boss.clone().with_user("boss", idp::DIRECTORY_PASSWORD), "select 1").status.success());
    for strange in ["ann)(uid=*", "*", "nobody"] {
        let other = with_token(&gateway, strange, idp::DIRECTORY_PASSWORD);
        assert!(!psql(&other, "select 1").status.success(), "`{strange}`");
    }

    // Who is gone there is cut off here.
    let held = stage::Held::open("127.0.0.1", &ann);
    slapd.change("dn: uid=ann,ou=people,dc=test\nchangetype: delete\n").expect("deleted");
    let began = Instant::now();
    while held.ask("select 1").is_ok() {
        assert!(began.elapsed() < PATIENCE, "the session goes on");
        std::thread::sleep(Duration::from_millis(500));
    }
    let report: Value =
        serde_json::from_str(&gateway.cli(&["report", "leavers", "--json"]).expect("a report"))
            .expect("JSON");
    assert_eq!(
        (text(&report[0], "person"), text(&report[0], "source")),
        ("ann".into(), "ldap".into()),
        "{report}"
    );

    // A directory that is down lets nobody in, and keeps nobody of this house out.
    slapd.person("ben").expect("a person");
    let ben = with_token(&gateway, "ben", idp::DIRECTORY_PASSWORD);
    let came = || {
        let people: Value =
            serde_json::from_str(&gateway.cli(&["user", "list", "--json"]).expect("a list")).expect("JSON");
        people.as_array().expect("a list").iter().any(|person| text(person, "name") == "ben")
    };
    let began = Instant::now();
    while !came() {
        assert!(began.elapsed() < PATIENCE, "ben does not come");
        std::thread::sleep(Duration::from_millis(500));
    }
    slapd.stop().expect("it ends");
    assert!(!psql(&ben, "select 1").status.success(), "nobody checked the password");
    assert_eq!(refused(&gateway), "unavailable");
    assert_eq!(answer(&boss, "select count(*) from claims"), "200");
}
