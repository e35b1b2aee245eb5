use model::{Micros, PersonId};
use registry::{Error, FactorUsed, FailuresRow, PASSKEYS_PER_PERSON_MAX, PasskeyRow, Registry, Wanted};

use super::support::{NOW, with_nina};

const NINA: PersonId = PersonId(7);

/// Uses a factor as a sign-in does that was right.
async fn spend(registry: &Registry, used: FactorUsed) -> Result<(), Error> {
    let kept = |failures: FailuresRow, _: &_| (failures, used, ());
    registry.attempt_with_factor(NINA, NOW, kept).await
}

async fn has_factor(registry: &Registry) -> bool {
    let sign_in = registry.sign_in("nina", Wanted::NoTokens).await.unwrap();
    sign_in.account.unwrap().has_factor
}

#[tokio::test]
async fn an_authenticator_takes_each_step_once_and_only_later_ones() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    assert!(!has_factor(registry).await);
    registry.set_totp(NINA, b"sealed", NOW).await.unwrap();
    assert!(has_factor(registry).await, "also before its first code");
    let factors = registry.factors(NINA).await.unwrap();
    assert_eq!((factors.totp.as_deref(), factors.totp_confirmed_at), (Some(&b"sealed"[..]), None));

    spend(registry, FactorUsed::Totp(100)).await.unwrap();
    for step in [100, 99] {
        assert!(matches!(spend(registry, FactorUsed::Totp(step)).await, Err(Error::FactorUsed)), "{step}");
    }
    spend(registry, FactorUsed::Totp(101)).await.unwrap();
    let factors = registry.factors(NINA).await.unwrap();
    assert_eq!((factors.totp_last_step, factors.totp_confirmed_at), (101, Some(NOW)));

    registry.set_totp(NINA, b"another", NOW).await.unwrap();
    let factors = registry.factors(NINA).await.unwrap();
    assert_eq!((factors.totp_last_step, factors.totp_confirmed_at), (0, None));
    assert_eq!(registry.remove_factors(NINA, NOW).await.unwrap(), 1);
    assert!(!has_factor(registry).await);
}

#[tokio::test]
async fn a_recovery_code_counts_once() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.set_recovery_codes(NINA, &[[1; 32], [2; 32]], NOW).await.unwrap();
    spend(registry, FactorUsed::Recovery([1; 32])).await.unwrap();
    for digest in [[1; 32], [3; 32]] {
        let again = spend(registry, FactorUsed::Recovery(digest)).await;
        assert!(matches!(again, Err(Error::FactorUsed)));
    }
    assert_eq!(registry.factors(NINA).await.unwrap().recovery, [[2; 32]]);
    registry.set_recovery_codes(NINA, &[[4; 32]], NOW).await.unwrap();
    assert_eq!(registry.factors(NINA).await.unwrap().recovery, [[4; 32]]);
}

#[tokio::test]
async fn of_many_at_once_one_has_the_code() {
    let opened = with_nina().await;
    opened.registry.set_totp(NINA, b"sealed", NOW).await.unwrap();
    let attempts = (0..16).map(|_| {
        let registry = opened.registry.clone();
        tokio::spawn(async move {
            let decide = |failures: FailuresRow, factors: &registry::FactorsRow| {
                let free = factors.totp_last_step < 100;
                (failures, if free { FactorUsed::Totp(100) } else { FactorUsed::Nothing }, free)
            };
            registry.attempt_with_factor(NINA, NOW, decide).await.unwrap()
        })
    });
    let mut won = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        won += usize::from(attempt.await.unwrap());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_failure_counts_and_uses_nothing_up() {
    let opened = with_nina().await;
    opened.registry.set_totp(NINA, b"sealed", NOW).await.unwrap();
    let failed = FailuresRow { count: 1, first_at: NOW, locked_until: None };
    let decide = |_: FailuresRow, _: &_| (failed, FactorUsed::Nothing, ());
    opened.registry.attempt_with_factor(NINA, NOW, decide).await.unwrap();
    let sign_in = opened.registry.sign_in("nina", Wanted::NoTokens).await.unwrap();
    assert_eq!(sign_in.account.unwrap().failures, failed);
    assert_eq!(opened.registry.factors(NINA).await.unwrap().totp_last_step, 0);
}

#[tokio::test]
async fn passkeys_are_bounded_and_a_persons_own() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    let passkey = |number: u8| PasskeyRow {
        id: vec![number; 20],
        person: NINA,
        label: format!("key {number}"),
        state: "{}".to_owned(),
        added_at: Micros(NOW.0 + u64::from(number)),
        used_at: None,
    };
    for number in 0..u8::try_from(PASSKEYS_PER_PERSON_MAX).unwrap() {
        registry.add_passkey(&passkey(number)).await.unwrap();
    }
    assert!(matches!(registry.add_passkey(&passkey(99)).await, Err(Error::PasskeysMax)));
    assert!(registry.use_passkey(NINA, &[0; 20], "{\"counter\":1}", NOW).await.unwrap());
    let first = registry.passkeys(NINA).await.unwrap().remove(0);
    assert_eq!((first.state.as_str(), first.used_at), ("{\"counter\":1}", Some(NOW)));
    assert!(!registry.remove_passkey(PersonId(8), &[0; 20]).await.unwrap());
    assert!(registry.remove_passkey(NINA, &[0; 20]).await.unwrap());
    assert_eq!(registry.passkeys(NINA).await.unwrap().len(), PASSKEYS_PER_PERSON_MAX - 1);
}

#[tokio::test]
async fn a_deleted_person_leaves_no_factor() {
    let opened = with_nina().await;
    opened.registry.set_totp(NINA, b"sealed", NOW).await.unwrap();
    opened.registry.set_recovery_codes(NINA, &[[1; 32]], NOW).await.unwrap();
    opened.registry.delete(NINA, NOW).await.unwrap();
    assert_eq!(opened.registry.factors(NINA).await.unwrap(), registry::FactorsRow::default());
    assert!(matches!(opened.registry.set_totp(NINA, b"sealed", NOW).await, Err(Error::UnknownPerson)));
}
