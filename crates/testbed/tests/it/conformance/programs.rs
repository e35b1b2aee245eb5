//! Row 29: programs prove who they are by certificate, or by a token of another system. psql stands for the program.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use testbed::Conninfo;
use testbed::gateway::Gateway;
use testbed::tls::{Authority, Pair};

use super::stage::{self, HOSPITAL, entries, of, text};

const URI: &str = "spiffe://hospital/billing";

/// Runs a statement as a user who shows a certificate; the password is wrong, should it be asked.
fn psql(gateway: &Gateway, user: &str, pair: &Pair, sql: &str) -> Output {
    let conninfo = gateway.conninfo("ann", HOSPITAL).expect("a person").with_user(user, "not a password");
    shown(&conninfo, pair, sql)
}

fn shown(conninfo: &Conninfo, pair: &Pair, sql: &str) -> Output {
    let mut command = Command::new("psql");
    conninfo.apply(&mut command);
    command.env("PGSSLCERT", &pair.certificate).env("PGSSLKEY", &pair.key);
    command.args(["-X", "-q", "-A", "-t", "-c", sql]).stdin(Stdio::null());
    command.output().expect("psql")
}

/// An issuer of tokens for programs, with one key.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Issuer {
        Issuer(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn keys(&self) -> String {
        let point = self.0.public_key().as_ref();
        let half = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let (x, y) = (half(1..33), half(33..65));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "k", "x": x, "y": y}]}).to_string()
    }

    /// Returns a token with these claims in place of the usual ones.
    fn token(&self, change: &Value) -> String {
        let mut claims = json!({
            "iss": "https://cluster.test", "aud": ["wardline"], "sub": "system:serviceaccount:lab:export",
            "iat": 1_700_000_000, "exp": 9_000_000_000_u64,
        });
        change.as_object().expect("claims").iter().for_each(|(name, value)| claims[name] = value.clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&json!({"alg": "ES256", "kid": "k"})), part(&claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[test]
fn row_29_a_program_is_known_by_its_token_and_others_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (issuer, another) = (Issuer::new(), Issuer::new());
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, issuer.keys()).expect("a file");
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .toml(&format!(
            "[workload.export]\nowner = \"ann\"\nroles = [\"billing\"]\n[workload.export.token]\n\
             issuer = \"https://cluster.test\"\naudience = \"wardline\"\n\
             subject = \"system:serviceaccount:lab:export\"\nkeys = {keys:?}\n"
        ))
        .person("ann", &["nurse"])
        .start()
        .expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let with =
        |token: &str| stage::psql(&ann.clone().with_user("export", token), "select count(*) from claims");
    let output = with(&issuer.token(&json!({})));
    assert_eq!(stage::out(&output), "200", "{}", stage::err(&output));
    let all = entries(&gateway);
    assert_eq!(of(&all, "operation", "workload:export").len(), 1, "{all:#?}");
    let cases = [
        (issuer.token(&json!({"exp": 1_700_000_000})), "workload-token-expired"),
        (issuer.token(&json!({"aud": "another"})), "workload-token-audience"),
        (issuer.token(&json!({"iss": "https://evil.test"})), "workload-token-issuer"),
        (issuer.token(&json!({"sub": "system:serviceaccount:lab:other"})), "workload-token-of-another"),
        (another.token(&json!({})), "workload-token-signature"),
        ("a password".to_owned(), "workload-token-malformed"),
    ];
    for (token, reason) in cases {
        let output = with(&token);
        assert!(!output.status.success() && stage::out(&output).is_empty(), "{reason}");
        assert_eq!(text(sign_ins(&gateway).last().expect("an entry"), "detail"), reason);
    }
}

/// Returns the SHA-256 of a certificate.
fn id(pair: &Pair) -> String {
    let certificate = CertificateDer::from_pem_file(&pair.certificate).expect("a certificate");
    digest::digest(&digest::SHA256, &certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sign_ins(gateway: &Gateway) -> Vec<Value> {
    let all = entries(gateway);
    of(&all, "sign-in", "").into_iter().cloned().collect()
}

fn stage_with(folder: &Path, ca: &Path) -> (testbed::postgres::Cluster, Gateway) {
    let cluster = stage::hospital();
    let ours = Authority::new("programs").expect("an authority");
    ours.write(ca).expect("a file");
    ours.issue_client(URI, (2020, 2200), folder, "good").expect("a certificate");
    ours.issue_client(URI, (2020, 2022), folder, "expired").expect("a certificate");
    ours.issue_client("spiffe://hospital/other", (2020, 2200), folder, "other").expect("a certificate");
    let theirs = Authority::new("somebody else").expect("an authority");
    theirs.issue_client(URI, (2020, 2200), folder, "foreign").expect("a certificate");
    let workload = format!(
        "[workload.billing]\nowner = \"ann\"\nroles = [\"billing\"]\ncertificate = {{ uri = \"{URI}\" }}\n"
    );
    let gateway = stage::gateway(&cluster)
        .listener_field("client_ca", &format!("{ca:?}"))
        .toml(&workload)
        .person("ann", &["nurse"])
        .start()
        .expect("it starts");
    (cluster, gateway)
}

#[test]
fn row_29_a_program_is_known_by_its_certificate_and_others_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_cluster, gateway) = stage_with(folder.path(), &folder.path().join("programs.crt"));
    let pair = |stem: &str| Pair {
        certificate: folder.path().join(format!("{stem}.crt")),
        key: folder.path().join(format!("{stem}.key")),
    };
    let good = pair("good");
    let output = psql(&gateway, "billing", &good, "select count(*) from claims");
    assert_eq!(stage::out(&output), "200", "{}", stage::err(&output));
    let all = entries(&gateway);
    for kind in ["sign-in", "session-opened", "operation", "session-closed"] {
        let [entry] = of(&all, kind, "workload:billing")[..] else { panic!("one entry of {kind}: {all:#?}") };
        assert_eq!(text(entry, "certificate"), id(&good), "{entry:#?}");
        assert!(!text(entry, "person").is_empty(), "{entry:#?}");
    }
    // It may do what its role may, and no more.
    let output = psql(&gateway, "billing", &good, "select body from notes");
    assert!(!output.status.success() && stage::out(&output).is_empty());

    let cases = [
        ("billing", "expired", "certificate-expired"),
        ("billing", "foreign", "certificate-of-another-authority"),
        ("billing", "other", "certificate-of-another"),
        ("ann", "good", "certificate-of-another"),
        ("nobody", "good", "certificate-of-another"),
    ];
    let mut said = Vec::new();
    for (user, stem, reason) in cases {
        let output = psql(&gateway, user, &pair(stem), "select 1");
        assert!(!output.status.success() && stage::out(&output).is_empty(), "{user} with {stem}");
        let refused = sign_ins(&gateway);
        let last = refused.last().expect("an entry");
        assert_eq!(
            (text(last, "outcome"), text(last, "detail")),
            ("refused".into(), reason.into()),
            "{last:#?}"
        );
        assert_eq!(
            (text(last, "certificate"), text(last, "person")),
            (id(&pair(stem)), String::new()),
            "{last:#?}"
        );
        let words = stage::err(&output);
        said.push(words.split("(reference").next().unwrap_or_default().to_owned());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "what was wrong is told to the client: {said:?}");

    // Without a certificate it is nobody; people go on as before.
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let without = ann.clone().with_user("billing", "not a password");
    assert!(!stage::psql(&without, "select 1").status.success());
    assert_eq!(text(sign_ins(&gateway).last().expect("an entry"), "detail"), "certificate-missing");
    assert_eq!(stage::answer(&ann, "select count(*) from patients"), "200");

    // What is taken out of the configuration is out.
    let listed: Value =
        serde_json::from_str(&gateway.cli(&["workload", "list", "--json"]).expect("a list")).expect("JSON");
    assert_eq!((text(&listed[0], "owner"), text(&listed[0], "finding")), ("ann".into(), String::new()));
    let config = std::fs::read_to_string(gateway.config()).expect("a file");
    let before = config.split("[workload.billing]").next().expect("what stands before").to_owned();
    let after = config.split_once(&format!("{URI}\" }}")).expect("what stands behind").1;
    std::fs::write(gateway.config(), before + after).expect("a file");
    gateway.reload().expect("it runs");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while psql(&gateway, "billing", &good, "select 1").status.success() {
        assert!(std::time::Instant::now() < until, "the program is still let in");
    }
}
