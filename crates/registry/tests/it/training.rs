//! Training: the first assignment counts, the last completion counts, and one that is told twice is one.

use model::{Micros, PersonId};
use registry::{Error, NewCompletion, Source};

use super::support::{NOW, with_nina};

const NINA: PersonId = PersonId(7);

fn completion(at: u64) -> NewCompletion {
    NewCompletion {
        person: NINA,
        course: "basics".to_owned(),
        completed_at: Micros(at),
        source: Source::Csv,
        reference: Some("cert 7".to_owned()),
        by: "tess".to_owned(),
    }
}

#[tokio::test]
async fn the_first_assignment_and_the_last_completion_count() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.assign_training(&[NINA], "basics", NOW).await.unwrap();
    registry.assign_training(&[NINA], "basics", Micros(NOW.0 + 9)).await.unwrap();
    let training = registry.training().await.unwrap();
    assert_eq!(training.assigned_at(NINA, "basics"), Some(NOW));
    assert_eq!(training.assigned_at(NINA, "other"), None);
    assert_eq!(training.completed_at(NINA, "basics"), None);

    assert_eq!(registry.complete_training(&completion(50), NOW).await.unwrap(), Some(1));
    assert_eq!(registry.complete_training(&completion(90), NOW).await.unwrap(), Some(2));
    assert_eq!(registry.complete_training(&completion(50), NOW).await.unwrap(), None, "it is there");
    assert_eq!(registry.training().await.unwrap().completed_at(NINA, "basics"), Some(Micros(90)));

    assert!(registry.withdraw_training(2, "tess", "another Nina", NOW).await.unwrap());
    assert!(!registry.withdraw_training(2, "tess", "again", NOW).await.unwrap());
    assert_eq!(registry.training().await.unwrap().completed_at(NINA, "basics"), Some(Micros(50)));
    let rows = registry.training_completions().await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.number, row.source)).collect::<Vec<_>>(), [(1, Source::Csv)]);
    assert_eq!(registry.complete_training(&completion(90), NOW).await.unwrap(), Some(3), "numbers are new");

    let nobody = NewCompletion { person: PersonId(8), ..completion(1) };
    assert!(matches!(registry.complete_training(&nobody, NOW).await, Err(Error::UnknownPerson)));
}
