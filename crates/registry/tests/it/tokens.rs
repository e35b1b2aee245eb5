use model::{Micros, PersonId};
use registry::{Error, TOKENS_PER_PERSON_MAX, TokenRow, Verifiers};

use super::support::{NOW, new_person, token, with_nina};

const NINA: PersonId = PersonId(7);

#[tokio::test]
async fn a_token_is_as_issued() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.issue_token(&token(1, 9_000_000)).await.unwrap();
    assert_eq!(registry.token([1; 16]).await.unwrap(), Some(token(1, 9_000_000)));
    assert_eq!(registry.token([2; 16]).await.unwrap(), None);
    let for_ever = TokenRow { scram: None, ..token(3, u64::MAX) };
    registry.issue_token(&for_ever).await.unwrap();
    let latest = Micros(u64::try_from(i64::MAX).unwrap());
    let stored = TokenRow { expires_at: latest, ..for_ever };
    assert_eq!(registry.token([3; 16]).await.unwrap(), Some(stored), "the end of time, as far as it is held");
    assert!(registry.issue_token(&token(1, 9_000_000)).await.is_err(), "an id is used once");
}

#[tokio::test]
async fn a_person_has_so_many_and_no_more() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    let all = u8::try_from(TOKENS_PER_PERSON_MAX).unwrap();
    for id in 0..all {
        registry.issue_token(&token(id, 2_000_000)).await.unwrap();
    }
    assert!(matches!(registry.issue_token(&token(all, 2_000_000)).await, Err(Error::TokensMax)));
    assert!(registry.revoke_token([0; 16], NOW).await.unwrap());
    registry.issue_token(&token(all, 2_000_000)).await.unwrap();
    assert!(matches!(registry.issue_token(&token(all + 1, 3_000_000)).await, Err(Error::TokensMax)));
    let later = TokenRow { issued_at: Micros(2_000_000), ..token(all + 1, 3_000_000) };
    registry.issue_token(&later).await.unwrap();
    assert_eq!(registry.tokens(NINA, Micros(2_000_000)).await.unwrap(), [later], "the others expired");
}

#[tokio::test]
async fn the_active_are_neither_expired_nor_revoked() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    for (id, expires) in [(1, 3_000_000), (2, 5_000_000), (3, 4_000_000), (4, 5_000_000)] {
        registry.issue_token(&token(id, expires)).await.unwrap();
    }
    assert!(registry.revoke_token([4; 16], Micros(1_500_000)).await.unwrap());
    assert!(!registry.revoke_token([4; 16], Micros(1_600_000)).await.unwrap(), "once is enough");
    assert!(!registry.revoke_token([9; 16], NOW).await.unwrap());
    let revoked = registry.token([4; 16]).await.unwrap().unwrap().revoked_at;
    assert_eq!(revoked, Some(Micros(1_500_000)));
    let active = async |at| {
        let tokens = registry.tokens(NINA, Micros(at)).await.unwrap();
        tokens.iter().map(|token| token.id[0]).collect::<Vec<u8>>()
    };
    assert_eq!(active(2_999_999).await, [2, 3, 1]);
    assert_eq!(active(3_000_000).await, [2, 3]);
    assert!(registry.tokens(PersonId(8), NOW).await.unwrap().is_empty());
}

#[tokio::test]
async fn revoking_all_is_of_one_person_and_purging_of_the_dead() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.add_person(&new_person(8, "otto"), NOW).await.unwrap();
    registry.issue_token(&token(1, 2_000_000)).await.unwrap();
    registry.issue_token(&token(2, 9_000_000)).await.unwrap();
    registry.issue_token(&TokenRow { person: PersonId(8), ..token(3, 9_000_000) }).await.unwrap();
    assert_eq!(registry.purge_tokens(Micros(1_999_999)).await.unwrap(), 0);
    assert_eq!(registry.purge_tokens(Micros(2_000_000)).await.unwrap(), 1);
    assert_eq!(registry.revoke_tokens(NINA, Micros(3_000_000)).await.unwrap(), 1);
    assert_eq!(registry.revoke_tokens(NINA, Micros(3_000_000)).await.unwrap(), 0);
    assert_eq!(registry.purge_tokens(Micros(3_000_000)).await.unwrap(), 1);
    assert_eq!(registry.token([2; 16]).await.unwrap(), None);
    assert!(registry.token([3; 16]).await.unwrap().is_some());
}

#[tokio::test]
async fn another_password_and_lost_factors_end_all_tokens_of_that_person() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.add_person(&new_person(8, "otto"), NOW).await.unwrap();
    registry.issue_token(&TokenRow { person: PersonId(8), ..token(9, 9_000_000) }).await.unwrap();
    let new = Verifiers { password: Some("phc two".to_owned()), scram: None };
    registry.issue_token(&token(1, 9_000_000)).await.unwrap();
    registry.set_verifiers(NINA, &new, NOW).await.unwrap();
    assert!(registry.tokens(NINA, NOW).await.unwrap().is_empty());
    registry.issue_token(&token(2, 9_000_000)).await.unwrap();
    registry.remove_factors(NINA, NOW).await.unwrap();
    assert!(registry.tokens(NINA, NOW).await.unwrap().is_empty());
    assert_eq!(registry.tokens(PersonId(8), NOW).await.unwrap().len(), 1, "nobody else's");
}
