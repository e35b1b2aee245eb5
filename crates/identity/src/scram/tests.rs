//! Both halves against the RFC's example, against PostgreSQL's verifiers and against each other.

use model::{RootKey, Secret};
use proptest::prelude::*;

use super::*;

const BINDING: &[u8] = &[7; 32];
const RFC_SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const RFC_CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const RFC_CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const RFC_SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn parameters() -> Parameters {
    Parameters { salt: vec![9; 16], iterations: ITERATIONS }
}

fn verifier(text: &str) -> Verifier {
    Verifier::derive(&secret(text), &parameters())
}

fn rfc_verifier() -> Verifier {
    let salt =
        vec![0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
    Verifier::derive(&secret("pencil"), &Parameters { salt, iterations: 4096 })
}

/// Runs a whole exchange; returns which candidate matched.
fn exchange(
    client: Binding<'_>,
    server: Option<&[u8]>,
    password: &str,
    candidates: &[&Verifier],
) -> Result<Option<usize>, Error> {
    let mechanism = client.mechanism();
    let (client, message) = Client::start(client);
    let (server, message) = ServerFirst::answer(message.as_bytes(), mechanism, server, &parameters())?;
    let challenge = client.challenge(message.as_bytes())?;
    let keys = ClientKeys::derive(&secret(password), challenge.parameters());
    let (client, message) = challenge.respond(&keys)?;
    match server.check(message.as_bytes(), candidates)? {
        Some((index, message)) => client.verify(message.as_bytes()).map(|()| Some(index)),
        None => Ok(None),
    }
}

#[test]
fn the_example_of_rfc_7677_server() {
    let verifier = rfc_verifier();
    let (server, message) =
        ServerFirst::answer_with_nonce(RFC_CLIENT_FIRST.as_bytes(), verifier.parameters(), RFC_SERVER_NONCE)
            .unwrap();
    assert_eq!(message, RFC_SERVER_FIRST);
    let checked = server.check(RFC_CLIENT_FINAL.as_bytes(), &[&verifier]).unwrap();
    assert_eq!(checked, Some((0, RFC_SERVER_FINAL.to_owned())));
}

#[test]
fn the_example_of_rfc_7677_client() {
    let (client, message) = Client::start_as("user", RFC_CLIENT_NONCE);
    assert_eq!(message, RFC_CLIENT_FIRST);
    let challenge = client.challenge(RFC_SERVER_FIRST.as_bytes()).unwrap();
    let keys = ClientKeys::derive(&secret("pencil"), challenge.parameters());
    let (client, message) = challenge.respond(&keys).unwrap();
    assert_eq!(message, RFC_CLIENT_FINAL);
    assert_eq!(client.verify(RFC_SERVER_FINAL.as_bytes()), Ok(()));
}

#[test]
fn postgresql_derives_the_same_verifiers() {
    let vectors = include_str!("../../testdata/postgresql-15-verifiers.txt");
    let vectors: Vec<&str> = vectors.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(vectors.len(), 51);
    for line in vectors {
        let (password, text) = line.split_once(' ').unwrap();
        let bytes = password.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes = bytes.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let password = String::from_utf8(bytes).unwrap();
        let stored: Verifier = text.parse().unwrap();
        let ours = Verifier::derive(&secret(&password), stored.parameters());
        assert_eq!(ours.to_text(), text, "{}", password.escape_unicode());
    }
}

#[test]
fn each_way_of_binding() {
    let right = verifier("right");
    let check = |client, server, expected| {
        assert_eq!(exchange(client, server, "right", &[&right]), expected, "{client:?} {server:?}");
    };
    check(Binding::Unsupported, None, Ok(Some(0)));
    check(Binding::Unsupported, Some(BINDING), Ok(Some(0)));
    check(Binding::NotOffered, None, Ok(Some(0)));
    check(Binding::NotOffered, Some(BINDING), Err(Error::BindingDowngrade));
    check(Binding::EndPoint(BINDING), Some(BINDING), Ok(Some(0)));
    check(Binding::EndPoint(&[8; 32]), Some(BINDING), Err(Error::BindingMismatch));
    check(Binding::EndPoint(BINDING), None, Err(Error::BindingMechanism));
}

#[test]
fn a_flag_that_contradicts_the_mechanism_is_refused() {
    let check = |first: &str, mechanism| {
        let answer = ServerFirst::answer(first.as_bytes(), mechanism, Some(BINDING), &parameters());
        assert_eq!(answer.err(), Some(Error::BindingMechanism), "{first}");
    };
    check("n,,n=,r=abc", Mechanism::ScramSha256Plus);
    check("y,,n=,r=abc", Mechanism::ScramSha256Plus);
    check("p=tls-server-end-point,,n=,r=abc", Mechanism::ScramSha256);
}

#[test]
fn the_proof_names_the_candidate_it_proves() {
    let (password, token, other) = (verifier("password"), verifier("token"), verifier("other"));
    let check = |typed, candidates: &[&Verifier], expected| {
        assert_eq!(exchange(Binding::Unsupported, None, typed, candidates), Ok(expected), "{typed}");
    };
    check("password", &[&password, &token, &other], Some(0));
    check("token", &[&password, &token, &other], Some(1));
    check("other", &[&password, &token, &other], Some(2));
    check("wrong", &[&password, &token, &other], None);
    check("password", &[], None);
    let many: Vec<&Verifier> = std::iter::repeat_n(&other, CANDIDATES_MIN + 3).chain([&token]).collect();
    check("token", &many, Some(CANDIDATES_MIN + 3));
}

#[test]
fn a_candidate_of_other_parameters_never_matches() {
    let other_salt = Parameters { salt: vec![8; 16], iterations: ITERATIONS };
    let other_rounds = Parameters { iterations: ITERATIONS + 1, ..parameters() };
    for parameters in [other_salt, other_rounds] {
        let candidate = Verifier::derive(&secret("right"), &parameters);
        assert_eq!(exchange(Binding::Unsupported, None, "right", &[&candidate]), Ok(None));
    }
}

#[test]
fn malformed_first_messages_of_a_client() {
    let check = |message: &str, expected: Error| {
        let parameters = parameters();
        let answer = ServerFirst::answer(message.as_bytes(), Mechanism::ScramSha256, None, &parameters);
        assert_eq!(answer.err(), Some(expected), "{message}");
    };
    let bad = || Error::Malformed("client-first-message");
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=,",
        "n,,n=,r=",
        "n,,r=abc",
        "n,,n=,x=1,r=abc",
        "q,,n=,r=abc",
        "n,x,n=,r=abc",
        "n,,n=a=2Cb=4D,r=abc",
        "n,,n=a=,r=abc",
        "n,,n=,r=a b",
        "n,,n=,r=ä",
        "n,,n=,r=abc,1=x",
        "n,,n=,r=abc,x",
        "n,,n=,r=abc,r=def",
        "n,,n=,r=a\0b",
        "p,,n=,r=abc",
    ] {
        check(message, bad());
    }
    check("n,a=root,n=,r=abc", Error::AuthorizationIdentity);
    check("n,,m=x,n=,r=abc", Error::MandatoryExtension);
    check("n,,n=,r=abc,m=x", Error::MandatoryExtension);
    check("p=tls-unique,,n=,r=abc", Error::BindingType);
    check(&format!("n,,n=,r={}", "a".repeat(MESSAGE_BYTES_MAX)), Error::TooLong);
}

#[test]
fn what_clients_send_in_the_wild_is_accepted() {
    for message in ["n,,n=,r=abc", "n,,n=*,r=abc", "n,,n=a=2Cb=3D,r=abc", "y,,n=nürse,r=abc,x=y,z="] {
        let answer = ServerFirst::answer(message.as_bytes(), Mechanism::ScramSha256, None, &parameters());
        assert!(answer.is_ok(), "{message}");
    }
}

#[test]
fn altered_last_messages_of_a_client() {
    let verifier = rfc_verifier();
    let check = |message: String, expected: Error| {
        let first = RFC_CLIENT_FIRST.as_bytes();
        let (server, _) =
            ServerFirst::answer_with_nonce(first, verifier.parameters(), RFC_SERVER_NONCE).unwrap();
        assert_eq!(server.check(message.as_bytes(), &[&verifier]), Err(expected), "{message}");
    };
    let bad = || Error::Malformed("client-final-message");
    let right = RFC_CLIENT_FINAL;
    check(right.replace("biws", "eSws"), Error::BindingMismatch);
    check(right.replace("biws", ""), Error::BindingMismatch);
    check(right.replace("biws", "biw"), bad());
    check(right.replace("r=rOpr", "r=rOps"), Error::Nonce);
    check(right.replace("hNlF$k0", ""), Error::Nonce);
    check(right.replace("hNlF$k0", "hNlF$k0,r=x"), bad());
    check(right.replace("hNlF$k0", "hNlF$k0,m=x"), Error::MandatoryExtension);
    check(right.replace("p=dHzb", "p=dHz"), bad());
    check(right.replace(",p=", ",q="), bad());
    check(right.replace(",p=", ",p=AAAA,p="), bad());
    check(format!("{right},x=y"), bad());
    check(String::new(), bad());
}

#[test]
fn a_server_that_must_not_be_answered() {
    let check = |message: &str, expected: Error| {
        let (client, _) = Client::start_as("", "abc");
        assert_eq!(client.challenge(message.as_bytes()).err(), Some(expected), "{message}");
    };
    let bad = || Error::Malformed("server-first-message");
    check("r=abd123,s=c2FsdA==,i=4096", Error::Nonce);
    check("r=abc,s=c2FsdA==,i=4096", Error::Nonce);
    check("r=abc1,s=c2FsdA==,i=4095", Error::Iterations(4095));
    check("r=abc1,s=c2FsdA==,i=1000001", Error::Iterations(1_000_001));
    check("m=x,r=abc1,s=c2FsdA==,i=4096", Error::MandatoryExtension);
    for message in [
        "",
        "r=abc1",
        "r=abc1,s=c2FsdA==",
        "r=abc1,s=,i=4096",
        "r=abc1,s=c2FsdA=,i=4096",
        "r=abc1,s=c2FsdA==,i=",
        "r=abc1,s=c2FsdA==,i=-1",
        "r=abc1,s=c2FsdA==,i=+4096",
        "r=abc1,s=c2FsdA==,i=04096",
        "r=abc1,s=c2FsdA==,i=99999999999",
        "e=other-error",
    ] {
        check(message, bad());
    }
}

#[test]
fn a_server_that_cannot_prove_itself() {
    let check = |message: &str, expected: Error| {
        let (client, _) = Client::start_as("user", RFC_CLIENT_NONCE);
        let challenge = client.challenge(RFC_SERVER_FIRST.as_bytes()).unwrap();
        let keys = ClientKeys::derive(&secret("pencil"), challenge.parameters());
        let (client, _) = challenge.respond(&keys).unwrap();
        assert_eq!(client.verify(message.as_bytes()), Err(expected), "{message}");
    };
    check(&RFC_SERVER_FINAL.replace("6rri", "6rrj"), Error::ServerSignature);
    check("e=invalid-proof", Error::Refused("invalid-proof".to_owned()));
    check("e=\u{1b}[2Jx", Error::Refused("[2Jx".to_owned()));
    for message in ["", "v=", "v=AAAA", "x=y", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="] {
        check(message, Error::Malformed("server-final-message"));
    }
}

#[test]
fn keys_for_other_parameters_do_not_answer() {
    let (client, _) = Client::start_as("user", RFC_CLIENT_NONCE);
    let challenge = client.challenge(RFC_SERVER_FIRST.as_bytes()).unwrap();
    let keys = ClientKeys::derive(&secret("pencil"), &parameters());
    assert!(!keys.fits(challenge.parameters()));
    assert_eq!(challenge.respond(&keys).err(), Some(Error::Parameters));
}

#[test]
fn what_is_not_a_verifier() {
    let text = rfc_verifier().to_text();
    assert!(text.parse::<Verifier>().is_ok());
    for text in [
        "",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        &text.replace("SHA-256", "SHA-512"),
        &text.replace("$4096:", "$0:"),
        &text.replace("$4096:", "$1000001:"),
        &text.replace("$4096:", "$ 4096:"),
        &text.replace("W22", ""),
        &text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        &text[..text.len() - 1],
        &format!("{text}A"),
    ] {
        assert_eq!(text.parse::<Verifier>().err(), Some(UnreadableVerifier), "{text}");
    }
}

#[test]
fn salts_depend_on_root_key_and_name_only() {
    let (one, two) = (Salts::new(&RootKey::new([1; 32])), Salts::new(&RootKey::new([2; 32])));
    assert_eq!(one.parameters("nina"), Salts::new(&RootKey::new([1; 32])).parameters("nina"));
    assert_ne!(one.parameters("nina"), one.parameters("nine"));
    assert_ne!(one.parameters("nina"), two.parameters("nina"));
    assert_eq!(one.parameters("").salt.len(), 16);
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let keys = ClientKeys::derive(&secret("pencil"), &parameters());
    let shown = format!("{:?} {:?} {:?}", keys, rfc_verifier(), Salts::new(&RootKey::new([1; 32])));
    assert_eq!(shown, "ClientKeys(..) Verifier(..) Salts(..)");
}

/// Something like a message: its alphabet, in any order.
fn near_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("n,,".to_owned()),
        Just("p=tls-server-end-point,,".to_owned()),
        Just("r=abc1".to_owned()),
        Just("s=c2FsdA==".to_owned()),
        Just("i=4096".to_owned()),
        Just(",".to_owned()),
        Just("p=".to_owned()),
        "[a-z]=[a-zA-Z0-9+/=]{0,44}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

fn read_as_everything(bytes: &[u8]) {
    for mechanism in Mechanism::offered(true) {
        let _ = ServerFirst::answer(bytes, *mechanism, Some(BINDING), &parameters());
    }
    let (client, _) = Client::start_as("", "abc");
    let _ = client.challenge(bytes);
    let first = RFC_CLIENT_FIRST.as_bytes();
    let (server, _) = ServerFirst::answer_with_nonce(first, &parameters(), RFC_SERVER_NONCE).unwrap();
    assert!(!matches!(server.check(bytes, &[]), Ok(Some(_))), "nothing proves a claim against nobody");
    let _ = std::str::from_utf8(bytes).map(str::parse::<Verifier>);
}

#[test]
fn the_fuzz_corpus_is_read_without_panic() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/scram");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 9);
    for file in files {
        read_as_everything(&std::fs::read(file).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn near_messages_are_read_without_panic(bytes in near_message()) {
        read_as_everything(&bytes);
    }

    #[test]
    fn a_changed_byte_never_proves(index in 0..RFC_CLIENT_FINAL.len(), byte in any::<u8>()) {
        let mut message = RFC_CLIENT_FINAL.as_bytes().to_vec();
        prop_assume!(message[index] != byte);
        message[index] = byte;
        let verifier = rfc_verifier();
        let first = RFC_CLIENT_FIRST.as_bytes();
        let (server, _) = ServerFirst::answer_with_nonce(first, verifier.parameters(), RFC_SERVER_NONCE).unwrap();
        prop_assert!(!matches!(server.check(&message, &[&verifier]), Ok(Some(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_password_signs_in_and_survives_its_text_form(password in "\\PC{0,40}", other in "[a-z]{12}") {
        let stored: Verifier = verifier(&password).to_text().parse().unwrap();
        let other = verifier(&other);
        let outcome = exchange(Binding::EndPoint(BINDING), Some(BINDING), &password, &[&other, &stored]);
        prop_assert_eq!(outcome, Ok(Some(1)));
    }
}
