use model::Micros;
use registry::{LockedRow, NewLock};

use super::support::{NOW, with_nina};

fn lock(locked: LockedRow, name: &str) -> NewLock {
    NewLock { locked, name: name.to_owned(), reason: "because".to_owned(), placed_by: "os:root".to_owned() }
}

#[tokio::test]
async fn a_lock_is_in_force_until_it_is_lifted_and_its_number_stays_used() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    let nina = registry.person("nina").await.unwrap().unwrap();
    let first = registry.place_lock(&lock(LockedRow::Person(nina.id), "nina"), NOW).await.unwrap();
    let second = registry.place_lock(&lock(LockedRow::Address, "10.0.0.0/8"), NOW).await.unwrap();
    assert_eq!((first, second), (1, 2));
    assert!(registry.lift_lock(second, "os:root", Micros(NOW.0 + 1)).await.unwrap());
    assert!(!registry.lift_lock(second, "os:root", Micros(NOW.0 + 2)).await.unwrap(), "it was lifted before");
    assert_eq!(registry.place_lock(&lock(LockedRow::Role, "nurse"), NOW).await.unwrap(), 3);
    let held = registry.locks_in_force().await.unwrap();
    let shown: Vec<_> = held.iter().map(|lock| (lock.number, &lock.locked, lock.name.as_str())).collect();
    assert_eq!(shown, [(1, &LockedRow::Person(nina.id), "nina"), (3, &LockedRow::Role, "nurse")]);
    assert_eq!(held[0].placed_at, NOW);
}

#[tokio::test]
async fn locks_have_a_most() {
    let opened = with_nina().await;
    for _ in 0..registry::LOCKS_MAX {
        opened.registry.place_lock(&lock(LockedRow::Resource, "hospital"), NOW).await.unwrap();
    }
    let error = opened.registry.place_lock(&lock(LockedRow::Resource, "hospital"), NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "1000 locks are in force already: lift some first");
}
