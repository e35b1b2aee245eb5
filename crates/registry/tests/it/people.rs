use model::{Micros, PersonId};
use registry::{Error, FailuresRow, NewPerson, PersonRow, Verifiers, Wanted};

use super::support::{NOW, Opened, new_person, token, verifiers, with_nina};

const NINA: PersonId = PersonId(7);
const NOBODY: PersonId = PersonId(99);

#[tokio::test]
async fn a_person_is_as_added() {
    let opened = with_nina().await;
    let expected = PersonRow {
        id: NINA,
        name: "nina".to_owned(),
        display_name: "nina the first".to_owned(),
        roles: vec!["analyst".to_owned(), "nurse".to_owned()],
        disabled_at: None,
        created_at: NOW,
    };
    assert_eq!(opened.registry.person("nina").await.unwrap(), Some(expected.clone()));
    assert_eq!(opened.registry.person("Nina").await.unwrap(), None);
    assert_eq!(opened.registry.people().await.unwrap(), std::slice::from_ref(&expected));
    let found = opened.registry.sign_in("nina", Wanted::NoTokens).await.unwrap();
    let account = found.account.unwrap();
    assert_eq!(account.person, expected);
    assert_eq!(account.verifiers, verifiers("one"));
    assert_eq!(account.failures, FailuresRow::default());
}

#[tokio::test]
async fn a_name_is_taken_once_among_the_living() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    let error = registry.add_person(&new_person(8, "nina"), NOW).await.unwrap_err();
    assert!(matches!(&error, Error::NameTaken { name } if name == "nina"), "{error}");
    assert_eq!(error.to_string(), "there is already a person named `nina`");
    registry.disable(NINA, NOW).await.unwrap();
    assert!(registry.add_person(&new_person(8, "nina"), NOW).await.is_err(), "the disabled live");

    registry.delete(NINA, NOW).await.unwrap();
    assert_eq!(registry.person("nina").await.unwrap(), None);
    registry.add_person(&new_person(8, "nina"), NOW).await.unwrap();
    assert_eq!(registry.person("nina").await.unwrap().unwrap().id, PersonId(8));
}

#[tokio::test]
async fn an_identity_is_never_used_again() {
    let opened = with_nina().await;
    opened.registry.delete(NINA, NOW).await.unwrap();
    assert!(opened.registry.add_person(&new_person(7, "otto"), NOW).await.is_err());
    assert_eq!(opened.registry.person("otto").await.unwrap(), None);
}

#[tokio::test]
async fn what_does_not_fit_adds_nobody() {
    let opened = Opened::new().await;
    let registry = &opened.registry;
    let unfit = NewPerson { name: "Nina".to_owned(), ..new_person(1, "nina") };
    assert!(matches!(registry.add_person(&unfit, NOW).await, Err(Error::NameUnfit { .. })));
    let unfit = NewPerson { roles: vec!["a role".to_owned()], ..new_person(1, "nina") };
    assert!(matches!(registry.add_person(&unfit, NOW).await, Err(Error::RoleUnfit { .. })));
    assert!(registry.people().await.unwrap().is_empty());
}

#[tokio::test]
async fn disabling_keeps_the_first_time_and_enabling_forgets_failures() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.disable(NINA, Micros(5)).await.unwrap();
    registry.disable(NINA, Micros(6)).await.unwrap();
    assert_eq!(registry.person("nina").await.unwrap().unwrap().disabled_at, Some(Micros(5)));
    fail(&opened).await;
    registry.enable(NINA).await.unwrap();
    let account = registry.sign_in("nina", Wanted::NoTokens).await.unwrap().account.unwrap();
    assert_eq!((account.person.disabled_at, account.failures), (None, FailuresRow::default()));
}

#[tokio::test]
async fn deleting_takes_everything_but_the_tombstone() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    registry.issue_token(&token(1, 9_000_000)).await.unwrap();
    fail(&opened).await;
    registry.delete(NINA, NOW).await.unwrap();
    assert_eq!(registry.token([1; 16]).await.unwrap(), None);
    assert!(registry.people().await.unwrap().is_empty());
    assert!(registry.sign_in("nina", Wanted::NoTokens).await.unwrap().account.is_none());
    assert!(matches!(registry.delete(NINA, NOW).await, Err(Error::UnknownPerson)));

    let mut rows = opened.beneath().await;
    let (name, deleted_at): (String, i64) =
        sqlx::query_as("SELECT name, deleted_at FROM people").fetch_one(&mut rows).await.unwrap();
    assert_eq!((name.as_str(), deleted_at), ("nina", 1_000_000));
    for table in ["verifiers", "roles_held", "tokens", "failures"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut rows).await.unwrap();
        assert_eq!(count, 0, "{table}");
    }
}

#[tokio::test]
async fn verifiers_and_roles_are_replaced_whole() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    fail(&opened).await;
    let new = Verifiers { password: Some("phc two".to_owned()), scram: None };
    registry.set_verifiers(NINA, &new, NOW).await.unwrap();
    registry.set_roles(NINA, &["auditor".to_owned(), "auditor".to_owned()]).await.unwrap();
    let account = registry.sign_in("nina", Wanted::NoTokens).await.unwrap().account.unwrap();
    assert_eq!(account.verifiers, new);
    assert_eq!(account.person.roles, ["auditor"]);
    assert_eq!(account.failures, FailuresRow::default());

    let unfit = ["nurse".to_owned(), "a role".to_owned()];
    assert!(matches!(registry.set_roles(NINA, &unfit).await, Err(Error::RoleUnfit { .. })));
    assert_eq!(registry.person("nina").await.unwrap().unwrap().roles, ["auditor"], "as before");
}

#[tokio::test]
async fn nobody_is_changed_who_is_not_there() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    opened.registry.delete(NINA, NOW).await.unwrap();
    for person in [NINA, NOBODY] {
        let unknown = |done: Result<(), Error>| assert!(matches!(done, Err(Error::UnknownPerson)));
        unknown(registry.disable(person, NOW).await);
        unknown(registry.enable(person).await);
        unknown(registry.delete(person, NOW).await);
        unknown(registry.set_verifiers(person, &verifiers("two"), NOW).await);
        unknown(registry.set_roles(person, &[]).await);
        unknown(registry.clear_failures(person).await);
    }
    assert!(matches!(registry.issue_token(&token(1, 2_000_000)).await, Err(Error::UnknownPerson)));
}

#[tokio::test]
async fn debug_shows_no_verifier() {
    let opened = with_nina().await;
    opened.registry.issue_token(&token(1, 9_000_000)).await.unwrap();
    let found = opened.registry.sign_in("nina", Wanted::TokensOfPerson).await.unwrap();
    let shown = format!("{found:?} {:?}", new_person(8, "otto"));
    assert!(!shown.contains("phc") && !shown.contains("scram of") && !shown.contains("scram one"), "{shown}");
}

async fn fail(opened: &Opened) {
    let failures = FailuresRow { count: 3, first_at: NOW, locked_until: Some(Micros(9)) };
    opened.registry.attempt(NINA, |_| (failures, ())).await.unwrap();
    let account = opened.registry.sign_in("nina", Wanted::NoTokens).await.unwrap().account.unwrap();
    assert_eq!(account.failures, failures);
}

#[tokio::test]
async fn a_change_keeps_its_number_with_what_it_changes() {
    let opened = with_nina().await;
    let registry = &opened.registry;
    assert_eq!(registry.change().await.unwrap(), 0);
    registry.as_change(4).disable(NINA, NOW).await.unwrap();
    assert_eq!(registry.change().await.unwrap(), 4);
    registry.as_change(5).disable(NOBODY, NOW).await.unwrap_err();
    assert_eq!(registry.change().await.unwrap(), 4, "what was not done has no number");
    registry.as_change(3).mark().await.unwrap();
    registry.clear_failures(NINA).await.unwrap();
    assert_eq!(registry.change().await.unwrap(), 4, "never goes back, and a sign-in is no change");
    registry.as_change(9).mark().await.unwrap();
    let again = opened.again().await;
    assert_eq!(again.change().await.unwrap(), 9);
}

#[tokio::test]
async fn locks_are_listed_while_they_last() {
    let opened = with_nina().await;
    let until = Micros(NOW.0 + 10);
    let locked = FailuresRow { count: 3, first_at: NOW, locked_until: Some(until) };
    opened.registry.attempt(NINA, |_| (locked, ())).await.unwrap();
    assert_eq!(opened.registry.locks(NOW).await.unwrap(), [(NINA, until)].into());
    assert!(opened.registry.locks(until).await.unwrap().is_empty());
}
