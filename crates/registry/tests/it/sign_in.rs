use model::{Micros, PersonId};
use registry::{FailuresRow, TOKENS_PER_PERSON_MAX, TokenRow, Wanted};

use super::support::{NOW, new_person, token, with_nina};

const NINA: PersonId = PersonId(7);

#[tokio::test]
async fn the_tokens_wanted_and_no_others() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.add_person(&new_person(8, "otto"), NOW).await.unwrap();
    let expired = token(1, 1_000_001);
    let (revoked, alive) = (token(2, 9_000_000), token(3, 9_000_000));
    let of_otto = TokenRow { person: PersonId(8), ..token(4, 9_000_000) };
    for token in [&expired, &revoked, &alive, &of_otto] {
        registry.issue_token(token).await.unwrap();
    }
    registry.revoke_token([2; 16], NOW).await.unwrap();
    let found = async |name: &'static str, wanted| {
        let found = registry.sign_in(name, wanted).await.unwrap();
        (found.account.is_some(), found.tokens.iter().map(|token| token.id[0]).collect::<Vec<u8>>())
    };
    assert_eq!(found("nina", Wanted::NoTokens).await, (true, vec![]));
    assert_eq!(found("nina", Wanted::TokensOfPerson).await, (true, vec![3, 1]));
    for id in 1..=4 {
        assert_eq!(found("nina", Wanted::Token([id; 16])).await, (true, vec![id]), "in any state");
    }
    assert_eq!(found("nina", Wanted::Token([9; 16])).await, (true, vec![]));
    assert_eq!(found("nobody", Wanted::NoTokens).await, (false, vec![]));
    assert_eq!(found("nobody", Wanted::TokensOfPerson).await, (false, vec![]));
    assert_eq!(found("nobody", Wanted::Token([3; 16])).await, (false, vec![3]));
}

#[tokio::test]
async fn living_tokens_are_never_crowded_out_by_expired_ones() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    for id in 0..16 {
        registry.issue_token(&token(id, 2_000_000)).await.unwrap();
    }
    for id in 16..32 {
        let later = TokenRow { issued_at: Micros(2_000_000), ..token(id, 3_000_000) };
        registry.issue_token(&later).await.unwrap();
    }
    let found = registry.sign_in("nina", Wanted::TokensOfPerson).await.unwrap();
    assert_eq!(found.tokens.len(), TOKENS_PER_PERSON_MAX);
    assert!(found.tokens.iter().all(|token| token.id[0] >= 16));
}

#[tokio::test]
async fn an_attempt_sees_what_the_last_one_left() {
    let opened = with_nina().await;
    let add_one = |failures: FailuresRow| {
        (FailuresRow { count: failures.count + 1, first_at: NOW, locked_until: None }, failures.count)
    };
    assert_eq!(opened.registry.attempt(NINA, add_one).await.unwrap(), 0);
    assert_eq!(opened.registry.attempt(NINA, add_one).await.unwrap(), 1);
    opened.registry.clear_failures(NINA).await.unwrap();
    assert_eq!(opened.registry.attempt(NINA, add_one).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_is_lost_when_many_happen_at_once() {
    let opened = with_nina().await;
    let other = opened.beside().await;
    let mut attempts = tokio::task::JoinSet::new();
    for number in 0..64 {
        let registry = if number % 2 == 0 { opened.registry.clone() } else { other.clone() };
        attempts.spawn(async move {
            let add_one = |now: FailuresRow| (FailuresRow { count: now.count + 1, ..now }, now.count);
            registry.attempt(NINA, add_one).await.unwrap()
        });
    }
    let mut seen = attempts.join_all().await;
    seen.sort_unstable();
    assert_eq!(seen, (0..64).collect::<Vec<u32>>(), "each saw another count");
}

#[tokio::test]
async fn an_attempt_that_changes_nothing_writes_nothing() {
    let opened = with_nina().await;
    let wal = opened.path().with_file_name("registry.sqlite-wal");
    let before = std::fs::read(&wal).unwrap();
    let seen = opened.registry.attempt(NINA, |now| (now, now)).await.unwrap();
    assert_eq!(seen, FailuresRow::default());
    assert_eq!(std::fs::read(&wal).unwrap(), before);
}

#[tokio::test]
async fn a_dropped_future_did_all_or_nothing_and_blocks_nobody() {
    let opened = with_nina().await;
    let failures = FailuresRow { count: 5, first_at: NOW, locked_until: None };
    for polls in 0..12 {
        let mut attempt = Box::pin(opened.registry.attempt(NINA, |_| (failures, ())));
        for _ in 0..polls {
            if poll_once(&mut attempt).await {
                break;
            }
        }
        drop(attempt);
        let after = opened.registry.attempt(NINA, |now| (FailuresRow::default(), now)).await.unwrap();
        assert!(after == failures || after == FailuresRow::default(), "{polls} polls: {after:?}");
    }
}

/// Polls once, then lets the connection's own thread go on for a moment.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    let ready = std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))
    })
    .await
    .is_ready();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    ready
}
