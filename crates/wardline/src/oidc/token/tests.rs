//! Tokens of a provider that are good, and every way in which they may not be.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;

/// 2026-11-23.
const NOW_S: u64 = 1_795_426_200;
const AT: Micros = Micros(NOW_S * 1_000_000);

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn set(keys_by_name: &[(&str, &EcdsaKeyPair)]) -> CoreJsonWebKeySet {
    let shown: Vec<Value> = keys_by_name
        .iter()
        .map(|(name, pair)| {
            let point = pair.public_key().as_ref();
            let half = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
            json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": name, "x": half(1..33), "y": half(33..65)})
        })
        .collect();
    keys(json!({ "keys": shown }).to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "https://login.test", "aud": "wardline", "sub": "u-1", "nonce": "n-1", "iat": NOW_S - 5,
        "exp": NOW_S + 60, "groups": ["ward-3", "staff"], "amr": ["pwd", "mfa"], "acr": "two", "preferred_username": "Ann",
    })
}

fn with(change: Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn signed(header: &Value, claims: &Value, key: &EcdsaKeyPair) -> String {
    let text = unsigned(header, claims);
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "k1", "typ": "JWT"})
}

fn expected() -> Expected<'static> {
    Expected { issuer: "https://login.test", audience: "wardline", nonce: Some("n-1"), at: AT }
}

#[test]
fn what_the_issuer_says_is_read() {
    let pair = key();
    let said = check(&signed(&header(), &claims(), &pair), &set(&[("k1", &pair)]), &expected()).unwrap();
    assert_eq!(said.subject, "u-1");
    assert_eq!(said.texts("groups"), ["ward-3", "staff"]);
    assert_eq!(said.texts("amr"), ["pwd", "mfa"]);
    assert_eq!((said.text("acr"), said.text("preferred_username")), (Some("two"), Some("Ann")));
    assert_eq!(said.text("nothing"), None);
}

#[test]
fn forged_and_misdirected_tokens_are_not_believed() {
    let (pair, other) = (key(), key());
    let known = set(&[("k1", &pair)]);
    let wrong = Unbelieved::Wrong;
    let good = |claims: &Value| signed(&header(), claims, &pair);
    let cases = [
        ("issuer", good(&with(json!({"iss": "https://evil.test"}))), wrong(WrongToken::Issuer)),
        (
            "issuer with a slash",
            good(&with(json!({"iss": "https://login.test/"}))),
            wrong(WrongToken::Issuer),
        ),
        ("audience", good(&with(json!({"aud": "another"}))), wrong(WrongToken::Audience)),
        (
            "also for another",
            good(&with(json!({"aud": ["wardline", "another"]}))),
            wrong(WrongToken::Audience),
        ),
        ("for another party", good(&with(json!({"azp": "another"}))), wrong(WrongToken::Audience)),
        ("nonce", good(&with(json!({"nonce": "n-2"}))), Unbelieved::Nonce),
        ("no nonce", good(&with(json!({"nonce": null}))), Unbelieved::Nonce),
        ("expired", good(&with(json!({"exp": NOW_S}))), wrong(WrongToken::Time)),
        ("of the future", good(&with(json!({"iat": NOW_S + 3600}))), wrong(WrongToken::Time)),
        ("not yet", good(&with(json!({"nbf": NOW_S + 3600}))), wrong(WrongToken::Time)),
        ("odd not before", good(&with(json!({"nbf": "soon"}))), wrong(WrongToken::Time)),
        ("no subject", good(&with(json!({"sub": ""}))), wrong(WrongToken::Malformed)),
        ("another's key", signed(&header(), &claims(), &other), wrong(WrongToken::Signature)),
        (
            "an unknown key",
            signed(&json!({"alg": "ES256", "kid": "k2"}), &claims(), &other),
            Unbelieved::KeyUnknown,
        ),
        (
            "critical",
            signed(&json!({"alg": "ES256", "kid": "k1", "crit": ["x"]}), &claims(), &pair),
            wrong(WrongToken::Malformed),
        ),
        (
            "of another type",
            signed(&json!({"alg": "ES256", "kid": "k1", "typ": "logout+jwt"}), &claims(), &pair),
            wrong(WrongToken::Malformed),
        ),
        ("no token", "wlt_something".to_owned(), wrong(WrongToken::Malformed)),
        ("long", "a".repeat(TOKEN_BYTES_MAX + 1), wrong(WrongToken::Malformed)),
    ];
    for (name, token, why) in cases {
        assert_eq!(check(&token, &known, &expected()), Err(why), "{name}");
    }
}

#[test]
fn no_algorithm_and_a_shared_secret_are_no_signatures() {
    let pair = key();
    let known = set(&[("k1", &pair)]);
    let none = unsigned(&json!({"alg": "none"}), &claims());
    for signature in ["", "AAAA"] {
        assert!(check(&format!("{none}.{signature}"), &known, &expected()).is_err());
    }
    // The public key as the secret of a MAC: everybody has it.
    let text = unsigned(&json!({"alg": "HS256", "kid": "k1"}), &claims());
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pair.public_key().as_ref()), text.as_bytes());
    let forged = format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac));
    assert!(check(&forged, &known, &expected()).is_err());
    // A good signature over something else.
    let good = signed(&header(), &claims(), &pair);
    let (_, signature) = good.rsplit_once('.').unwrap();
    let swapped = format!("{}.{signature}", unsigned(&header(), &with(json!({"sub": "u-2"}))));
    assert_eq!(check(&swapped, &known, &expected()), Err(Unbelieved::Wrong(WrongToken::Signature)));
}

#[test]
fn a_program_brings_no_nonce() {
    let pair = key();
    let expected = Expected { nonce: None, ..expected() };
    assert!(check(&signed(&header(), &claims(), &pair), &set(&[("k1", &pair)]), &expected).is_ok());
}
