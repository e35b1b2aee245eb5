use model::{Micros, PersonId};
use registry::NewDeparture;

use super::support::{NOW, token, with_nina};

fn leaving(ended_at: Option<u64>) -> NewDeparture {
    NewDeparture {
        person: PersonId(7),
        name: "nina".to_owned(),
        source: "command".to_owned(),
        told_by: "os:root".to_owned(),
        ended_at: ended_at.map(Micros),
        sessions: 2,
    }
}

#[tokio::test]
async fn who_leaves_is_barred_and_has_no_token_in_one_step() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    for (number, expires) in [(1, 9_000_000), (2, 9_000_000), (3, NOW.0 + 1)] {
        registry.issue_token(&token(number, expires)).await.unwrap();
    }
    let at = Micros(NOW.0 + 5);
    let row = registry.depart(&leaving(None), at).await.unwrap();
    assert_eq!((row.number, row.sessions, row.tokens), (1, 2, 2), "one token had expired");
    assert_eq!((row.told_at, row.ended_at, row.cut_at), (at, None, None));
    assert_eq!(registry.person("nina").await.unwrap().unwrap().disabled_at, Some(at));
    assert!(registry.tokens(PersonId(7), at).await.unwrap().is_empty());

    assert_eq!(registry.departures_open().await.unwrap(), std::slice::from_ref(&row));
    registry.departed(1, Micros(at.0 + 3)).await.unwrap();
    registry.departed(1, Micros(at.0 + 9)).await.unwrap();
    assert_eq!(registry.departures_open().await.unwrap(), []);
    let kept = registry.departures(NOW, Micros(u64::MAX)).await.unwrap();
    assert_eq!(kept.iter().map(|row| row.cut_at).collect::<Vec<_>>(), [Some(Micros(at.0 + 3))]);
    assert!(registry.departures(NOW, at).await.unwrap().is_empty(), "the end is not in the period");
}

#[tokio::test]
async fn when_it_was_is_added_later_and_not_changed() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    let first = registry.depart(&leaving(None), Micros(NOW.0 + 5)).await.unwrap();
    let second = registry.depart(&leaving(Some(3)), Micros(NOW.0 + 6)).await.unwrap();
    assert_eq!(
        (second.number, second.told_at, second.ended_at),
        (first.number, first.told_at, Some(Micros(3)))
    );
    let third = registry.depart(&leaving(Some(4)), Micros(NOW.0 + 7)).await.unwrap();
    assert_eq!((third.number, third.ended_at), (first.number, Some(Micros(3))));

    // Whoever came back and leaves again has left twice.
    registry.enable(PersonId(7)).await.unwrap();
    let again = registry.depart(&leaving(None), Micros(NOW.0 + 8)).await.unwrap();
    assert_eq!((again.number, again.ended_at), (2, None));
}
