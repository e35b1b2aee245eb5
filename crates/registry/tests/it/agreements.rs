//! What takes two people, and holds.

use model::{Micros, PersonId};
use registry::{HoldRow, NoAgreement};

use super::support::{NOW, new_person, with_nina};

const NINA: (PersonId, &str) = (PersonId(7), "nina");
const OTTO: (PersonId, &str) = (PersonId(8), "otto");
const SOON: Micros = Micros(2_000_000);

#[tokio::test]
async fn an_agreement_takes_somebody_else_in_time_and_counts_once() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.add_person(&new_person(8, "otto"), NOW).await.unwrap();
    let first = registry.propose("expire 202011", "six years", NINA, NOW, SOON).await.unwrap();
    let second = registry.propose("expire 202012", "six years", NINA, NOW, SOON).await.unwrap();
    assert_eq!((first, second), (1, 2));
    let agree = async |number, by, at| registry.agree(number, by, at).await.unwrap();
    assert_eq!(agree(3, OTTO, NOW).await, Err(NoAgreement::Unknown));
    assert_eq!(agree(1, NINA, NOW).await, Err(NoAgreement::Own));
    assert_eq!(agree(2, OTTO, SOON).await, Err(NoAgreement::Expired));
    assert!(!registry.agreement_done(1, NOW).await.unwrap(), "nobody agreed yet");
    assert_eq!(agree(1, OTTO, NOW).await, Ok(()));
    assert_eq!(agree(1, OTTO, NOW).await, Err(NoAgreement::Agreed));
    assert!(registry.agreement_done(1, NOW).await.unwrap());
    assert!(!registry.agreement_done(1, NOW).await.unwrap(), "it is done once");
    let again = opened.again().await;
    let rows = again.agreements().await.unwrap();
    assert_eq!((rows[0].agreed_by, rows[0].done_at), (Some(OTTO.0), Some(NOW)));
    assert_eq!((rows[1].agreed_by, rows[1].what.as_str()), (None, "expire 202012"));
}

#[tokio::test]
async fn a_hold_is_kept_also_when_it_ended() {
    let opened = with_nina().await;
    let hold = HoldRow {
        id: 1,
        reason: "a lawsuit".into(),
        patient: Some(vec![1, 2, 3]),
        from: Some(NOW),
        added_by: "nina".into(),
        added_at: NOW,
        ..HoldRow::default()
    };
    assert_eq!(opened.registry.add_hold(&hold).await.unwrap(), 1);
    assert_eq!(opened.registry.holds().await.unwrap(), std::slice::from_ref(&hold));
    assert!(opened.registry.remove_hold(1, SOON).await.unwrap());
    assert!(!opened.registry.remove_hold(1, SOON).await.unwrap());
    assert_eq!(opened.registry.holds().await.unwrap(), [HoldRow { removed_at: Some(SOON), ..hold }]);
}
