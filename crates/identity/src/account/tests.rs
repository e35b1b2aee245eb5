//! The rules, case by case: a clear secret, SCRAM, and what failures do.

use std::sync::LazyLock;

use model::RootKey;

use super::*;
use crate::ScramSignIn;
use crate::scram::{Binding, Client, ClientKeys, Mechanism, Salts, Verifier};

const NOW: Micros = Micros(1_000_000_000);
const RIGHT: &str = "correct horse battery";
const LIFETIME: Duration = Duration::from_secs(60);

/// Hashing once for all tests of a process.
static PHC: LazyLock<String> = LazyLock::new(|| password::hash(&Secret::new(RIGHT)).unwrap());

fn salts() -> Salts {
    Salts::new(&RootKey::new([3; 32]))
}

fn nina() -> Account {
    Account {
        id: PersonId(7),
        name: Arc::from("nina"),
        roles: Arc::from([Arc::from("nurse")]),
        disabled: false,
        password: Some(PHC.clone()),
        scram: Some(Verifier::derive(&Secret::new(RIGHT), &salts().parameters("nina"))),
        failures: Failures::default(),
        has_factor: false,
    }
}

fn locked() -> Failures {
    Failures { count: 10, first_at: Micros(0), locked_until: Some(Micros(NOW.0 + 1)) }
}

fn token_of(person: u128) -> (Secret, StoredToken) {
    token::issue(
        PersonId(person),
        Shown::with_factor("passkey", NOW),
        NOW,
        LIFETIME,
        Some(&salts().parameters("nina")),
    )
}

fn means(verdict: Result<Proof, Reason>) -> Result<Means, Reason> {
    verdict.map(|proof| proof.means())
}

/// Signs in as `nina` by SCRAM, whoever that is; returns the server's first message too.
fn by_scram(
    account: Option<Account>,
    tokens: Vec<StoredToken>,
    typed: &str,
    at: Micros,
) -> (String, Result<Means, Reason>) {
    let (client, message) = Client::start(Binding::Unsupported);
    let plain = Mechanism::ScramSha256;
    let (sign_in, first) =
        ScramSignIn::start("nina", account, tokens, &salts(), plain, None, message.as_bytes()).unwrap();
    let challenge = client.challenge(first.as_bytes()).unwrap();
    let keys = ClientKeys::derive(&Secret::new(typed), challenge.parameters());
    let (client, message) = challenge.respond(&keys).unwrap();
    let verdict = sign_in.finish(message.as_bytes(), at).map(|(proof, last)| {
        client.verify(last.as_bytes()).expect("who accepts a proof can answer it");
        proof.means()
    });
    (first, verdict)
}

#[test]
fn a_password_in_clear() {
    let check = |account: Option<Account>, typed: &str, expected| {
        let verdict = super::check(account.as_ref(), &[], &Secret::new(typed), NOW);
        assert_eq!(means(verdict), expected);
    };
    check(Some(nina()), RIGHT, Ok(Means::Password));
    check(Some(nina()), "wrong", Err(Reason::WrongPassword));
    check(Some(nina()), "", Err(Reason::WrongPassword));
    check(None, RIGHT, Err(Reason::UnknownPerson));
    check(Some(Account { disabled: true, ..nina() }), RIGHT, Err(Reason::Disabled));
    check(Some(Account { disabled: true, failures: locked(), ..nina() }), "wrong", Err(Reason::Disabled));
    check(Some(Account { failures: locked(), ..nina() }), RIGHT, Err(Reason::Locked));
    check(Some(Account { failures: locked(), ..nina() }), "wrong", Err(Reason::Locked));
    check(Some(Account { password: None, ..nina() }), RIGHT, Err(Reason::NoVerifier));
    check(Some(Account { password: Some("x".to_owned()), ..nina() }), RIGHT, Err(Reason::Unavailable));
}

#[test]
fn a_proof_says_who() {
    let proof = check(Some(&nina()), &[], &Secret::new(RIGHT), NOW).unwrap();
    let shown = Shown::alone("password");
    let (name, roles) = (Arc::from("nina"), nina().roles);
    let principal = Principal { id: PersonId(7), name, roles, agent: None, shown };
    assert_eq!(*proof.principal(), principal);
    assert_eq!(proof.into_principal(), principal);
}

#[test]
fn a_token_in_clear() {
    let (secret, token) = token_of(7);
    let (_, other) = token_of(7);
    let check = |account: Option<Account>, tokens: &[&StoredToken], at, expected| {
        let tokens: Vec<StoredToken> = tokens.iter().map(|token| (*token).clone()).collect();
        assert_eq!(means(super::check(account.as_ref(), &tokens, &secret, at)), expected);
    };
    let good = Ok(Means::Token(token.id));
    let last = Micros(token.expires.0 - 1);
    let revoked = StoredToken { revoked: Some(NOW), ..token.clone() };
    let foreign = StoredToken { person: PersonId(8), ..token.clone() };
    check(Some(nina()), &[&token], NOW, good.clone());
    check(Some(nina()), &[&other, &token], last, good.clone());
    check(Some(nina()), &[&token], token.expires, Err(Reason::TokenExpired));
    check(Some(nina()), &[&revoked], NOW, Err(Reason::TokenRevoked));
    check(Some(nina()), &[&foreign], NOW, Err(Reason::TokenUnknown));
    check(Some(nina()), &[&other], NOW, Err(Reason::TokenUnknown));
    check(Some(nina()), &[], NOW, Err(Reason::TokenUnknown));
    check(None, &[&token], NOW, Err(Reason::UnknownPerson));
    check(Some(Account { disabled: true, ..nina() }), &[&token], NOW, Err(Reason::Disabled));
    check(Some(Account { failures: locked(), ..nina() }), &[&token], NOW, good);
}

#[test]
fn what_looks_like_a_token_is_never_a_password() {
    for typed in ["wlt_", "wlt_correct horse battery"] {
        let verdict = check(Some(&nina()), &[], &Secret::new(typed), NOW);
        assert_eq!(means(verdict), Err(Reason::TokenUnknown));
    }
}

#[test]
fn by_scram_password_and_token_are_alike() {
    let (secret, token) = token_of(7);
    let (_, other) = token_of(7);
    let check = |account: Option<Account>, tokens: &[&StoredToken], typed: &str, expected| {
        let tokens = tokens.iter().map(|token| (*token).clone()).collect();
        let (_, verdict) = by_scram(account, tokens, typed, NOW);
        assert_eq!(verdict, expected);
    };
    let secret = secret.expose();
    let good = Ok(Means::Token(token.id));
    let expired = StoredToken { expires: NOW, ..token.clone() };
    let revoked = StoredToken { revoked: Some(NOW), ..token.clone() };
    let plain = StoredToken { scram: None, ..token.clone() };
    let no_password = || Account { scram: None, ..nina() };
    let locked = || Account { failures: locked(), ..nina() };
    let disabled = || Account { disabled: true, ..nina() };
    check(Some(nina()), &[], RIGHT, Ok(Means::Password));
    check(Some(nina()), &[&other, &token], RIGHT, Ok(Means::Password));
    check(Some(nina()), &[&other, &token], secret, good.clone());
    check(Some(nina()), &[&expired], secret, Err(Reason::TokenExpired));
    check(Some(nina()), &[&revoked], secret, Err(Reason::TokenRevoked));
    check(Some(nina()), &[&plain], secret, Err(Reason::WrongPassword));
    check(Some(nina()), &[&other], "wrong", Err(Reason::WrongPassword));
    check(Some(no_password()), &[&token], secret, good.clone());
    check(Some(no_password()), &[&token], RIGHT, Err(Reason::WrongPassword));
    check(Some(no_password()), &[], RIGHT, Err(Reason::NoVerifier));
    check(Some(locked()), &[&token], RIGHT, Err(Reason::Locked));
    check(Some(locked()), &[&token], "wrong", Err(Reason::Locked));
    check(Some(locked()), &[&token], secret, good);
    check(Some(disabled()), &[&token], RIGHT, Err(Reason::Disabled));
    check(Some(disabled()), &[&token], secret, Err(Reason::Disabled));
    check(None, &[], RIGHT, Err(Reason::UnknownPerson));
    check(None, &[&token], secret, Err(Reason::UnknownPerson));
}

#[test]
fn the_first_message_does_not_tell_whether_somebody_exists() {
    let salt_and_rounds = |account| {
        let (first, _) = by_scram(account, Vec::new(), "wrong", NOW);
        first.split_once(',').map(|(_, rest)| rest.to_owned())
    };
    let known = salt_and_rounds(Some(nina()));
    assert!(known.is_some());
    assert_eq!(salt_and_rounds(None), known);
    assert_eq!(salt_and_rounds(None), known, "and again");
    assert_eq!(salt_and_rounds(Some(Account { disabled: true, scram: None, ..nina() })), known);
}

#[test]
fn a_broken_exchange_is_a_reason_of_its_own() {
    let start = |message: &[u8]| {
        let account = Some(nina());
        ScramSignIn::start("nina", account, Vec::new(), &salts(), Mechanism::ScramSha256, None, message)
    };
    assert!(matches!(start(b"nonsense"), Err(Reason::Protocol(_))));
    let (sign_in, _) = start(b"n,,n=,r=abc").unwrap();
    assert!(matches!(sign_in.finish(b"nonsense", NOW), Err(Reason::Protocol(_))));
}

// ---- failures

fn wrong() -> Result<Proof, Reason> {
    Err(Reason::WrongPassword)
}

fn right(means: Means) -> Result<Proof, Reason> {
    let clears = means == Means::Password;
    Ok(Proof { principal: nina().principal(Shown::alone("test")), means, clears })
}

/// Fails once a second, this many times; returns what is left of it and the last second.
fn fail(times: u64, rules: &Rules) -> Failures {
    (0..times).fold(Failures::default(), |failures, second| {
        settle(failures, wrong(), Micros(second * 1_000_000), rules).0
    })
}

#[test]
fn the_tenth_failure_locks_for_a_quarter_of_an_hour() {
    let rules = Rules::default();
    assert_eq!(fail(9, &rules).locked_until, None);
    let failures = fail(10, &rules);
    let minutes = |minutes: u64| Micros(9_000_000 + minutes * 60_000_000);
    assert_eq!(failures.locked_until, Some(minutes(15)));
    assert!(failures.locked(Micros(minutes(15).0 - 1)));
    assert!(!failures.locked(minutes(15)));
}

#[test]
fn attempts_while_locked_are_refused_and_do_not_prolong_it() {
    let rules = Rules::default();
    let failures = fail(10, &rules);
    let at = Micros(10_000_000);
    for verdict in [wrong(), right(Means::Password), Err(Reason::Locked)] {
        let (after, verdict) = settle(failures, verdict, at, &rules);
        assert_eq!((after, means(verdict)), (failures, Err(Reason::Locked)));
    }
}

#[test]
fn after_the_lock_counting_begins_anew() {
    let rules = Rules::default();
    let failures = fail(10, &rules);
    let at = failures.locked_until.unwrap();
    let (after, verdict) = settle(failures, wrong(), at, &rules);
    assert_eq!(after, Failures { count: 1, first_at: at, locked_until: None });
    assert_eq!(means(verdict), Err(Reason::WrongPassword));
    let (after, verdict) = settle(failures, right(Means::Password), at, &rules);
    assert_eq!((after, means(verdict)), (Failures::default(), Ok(Means::Password)));
}

#[test]
fn failures_count_together_within_the_window_only() {
    let rules = Rules::default();
    let failures = fail(9, &rules);
    let inside = Micros(15 * 60 * 1_000_000 - 1);
    assert!(settle(failures, wrong(), inside, &rules).0.locked(inside));
    let outside = Micros(15 * 60 * 1_000_000);
    assert_eq!(settle(failures, wrong(), outside, &rules).0.count, 1);
}

#[test]
fn the_right_password_clears_the_count() {
    let rules = Rules::default();
    let (after, verdict) = settle(fail(9, &rules), right(Means::Password), NOW, &rules);
    assert_eq!((after, means(verdict)), (Failures::default(), Ok(Means::Password)));
}

#[test]
fn only_passwords_count() {
    let rules = Rules::default();
    let failures = fail(9, &rules);
    let id = TokenId([1; 16]);
    for verdict in [
        right(Means::Token(id)),
        Err(Reason::UnknownPerson),
        Err(Reason::Disabled),
        Err(Reason::NoVerifier),
        Err(Reason::TokenUnknown),
        Err(Reason::TokenExpired),
        Err(Reason::TokenRevoked),
        Err(Reason::Unavailable),
    ] {
        let before = means(verdict.as_ref().map_err(Clone::clone).map(|proof| Proof {
            principal: proof.principal.clone(),
            means: proof.means,
            clears: false,
        }));
        let (after, verdict) = settle(failures, verdict, NOW, &rules);
        assert_eq!((after, means(verdict)), (failures, before));
    }
}

#[test]
fn rules_of_one_failure_and_of_no_time() {
    let strict = Rules { failures_max: 1, ..Rules::default() };
    assert!(fail(1, &strict).locked(Micros(0)));
    let instant = Rules { failure_window: Duration::ZERO, ..Rules::default() };
    assert_eq!(fail(100, &instant).count, 1);
    let for_ever = Rules { failures_max: 1, lock_duration: Duration::MAX, ..Rules::default() };
    assert!(fail(1, &for_ever).locked(Micros(u64::MAX - 1)));
}

#[test]
fn the_client_learns_nothing_of_the_reason() {
    let reasons = [Reason::UnknownPerson, Reason::WrongPassword, Reason::Disabled, Reason::Locked];
    for reason in reasons {
        assert_eq!(Rejected::from(reason).to_string(), "sign-in failed");
    }
}

// ---- second factors

fn both(account: Account, typed: &str, factor: Result<Factor, Reason>) -> Result<Proof, Reason> {
    check_both(check(Some(&account), &[], &Secret::new(typed), NOW), factor, NOW)
}

fn with_factor() -> Account {
    Account { has_factor: true, ..nina() }
}

#[test]
fn a_second_factor_counts_beside_the_right_password_only() {
    let shown = |verdict: Result<Proof, Reason>| verdict.map(|proof| proof.into_principal().shown);
    let totp = Ok(Factor::Totp(5));
    let code = Ok(Factor::Recovery([1; 32]));
    assert_eq!(shown(both(with_factor(), RIGHT, totp.clone())), Ok(Shown::with_factor("password+totp", NOW)));
    let expected = Shown::with_factor("password+recovery-code", NOW);
    assert_eq!(shown(both(with_factor(), RIGHT, code)), Ok(expected));
    assert_eq!(shown(both(with_factor(), "wrong", totp.clone())), Err(Reason::WrongPassword));
    assert_eq!(shown(both(with_factor(), RIGHT, Err(Reason::WrongCode))), Err(Reason::WrongCode));
    assert_eq!(
        shown(check(Some(&with_factor()), &[], &Secret::new(RIGHT), NOW)),
        Ok(Shown::alone("password"))
    );
    // What was shown for a token is what the token is worth.
    let (secret, token) = token_of(7);
    let by_token = check(Some(&with_factor()), std::slice::from_ref(&token), &secret, NOW);
    assert_eq!(shown(by_token), Ok(Shown::with_factor("passkey", NOW)));
    let by_token = check(Some(&with_factor()), &[token], &secret, NOW);
    assert_eq!(shown(check_both(by_token, totp, NOW)), Err(Reason::WrongPassword));
}

#[test]
fn codes_cannot_be_guessed_between_right_passwords() {
    let rules = Rules::default();
    let mut failures = fail(8, &rules);
    // The password alone forgets nothing where there is a second factor.
    let (after, verdict) =
        settle(failures, check(Some(&with_factor()), &[], &Secret::new(RIGHT), NOW), NOW, &rules);
    assert_eq!((after, means(verdict)), (failures, Ok(Means::Password)));
    let at = Micros(8_000_000);
    (failures, _) = settle(failures, both(with_factor(), RIGHT, Err(Reason::WrongCode)), at, &rules);
    (failures, _) = settle(failures, both(with_factor(), RIGHT, Err(Reason::CodeUsed)), at, &rules);
    assert!(failures.locked(at));
    let (after, verdict) = settle(failures, both(with_factor(), RIGHT, Ok(Factor::Totp(1))), at, &rules);
    assert_eq!((after, means(verdict)), (failures, Err(Reason::Locked)));
    let later = failures.locked_until.unwrap();
    let (after, verdict) = settle(failures, both(with_factor(), RIGHT, Ok(Factor::Totp(1))), later, &rules);
    assert_eq!((after, means(verdict)), (Failures::default(), Ok(Means::Password)));
}
