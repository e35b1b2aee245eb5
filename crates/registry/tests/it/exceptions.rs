//! The register of exceptions: two people, a time, an end.

use model::{Micros, PersonId};
use registry::{Error, NewException, peek_exceptions};

use super::support::{Opened, SERVER, new_person};

#[tokio::test]
async fn an_exception_takes_two_people_and_has_an_end() {
    let opened = Opened::new().await;
    for (id, name) in [(1, "ann"), (2, "pia")] {
        opened.registry.add_person(&new_person(id, name), Micros(1)).await.unwrap();
    }
    let registry = &opened.registry;
    let new = NewException {
        control: "listener.plaintext".to_owned(),
        reason: "the old laboratory cannot speak TLS".to_owned(),
        until: Micros(100),
        by: (PersonId(1), "ann".to_owned()),
    };
    let added = registry.add_exception(&new, Micros(5)).await.unwrap();
    assert_eq!((added.number, added.is_in_force(Micros(6))), (1, false));
    let own = registry.approve_exception(1, (PersonId(1), "ann"), Micros(6)).await.unwrap_err();
    assert!(matches!(own, Error::OwnRequest), "{own}");
    let approved = registry.approve_exception(1, (PersonId(2), "pia"), Micros(7)).await.unwrap();
    assert_eq!(approved.approved, Some(("pia".to_owned(), Micros(7))));
    assert!(approved.is_in_force(Micros(99)) && !approved.is_in_force(Micros(100)));
    let twice = registry.approve_exception(1, (PersonId(2), "pia"), Micros(8)).await.unwrap_err();
    assert!(matches!(twice, Error::RequestNotOpen), "{twice}");
    if std::env::var_os(SERVER).is_none() {
        assert_eq!(peek_exceptions(&opened.path()).await.unwrap(), [approved]);
    }
    let ended = registry.end_exception(1, "ann", "it speaks TLS now", Micros(9)).await.unwrap();
    assert!(!ended.is_in_force(Micros(10)));
    assert!(registry.end_exception(1, "ann", "again", Micros(9)).await.is_err());
    assert_eq!(registry.exceptions().await.unwrap(), [ended]);
    let unknown = registry.exception(2).await.unwrap_err();
    assert!(matches!(unknown, Error::UnknownException), "{unknown}");
}
