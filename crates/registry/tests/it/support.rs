use std::path::PathBuf;

use model::{Micros, PersonId, Shown};
use registry::{NewPerson, Registry, TokenRow, Verifiers};
use tempfile::TempDir;

pub(super) const NOW: Micros = Micros(1_000_000);

pub(super) struct Opened {
    folder: TempDir,
    pub(super) registry: Registry,
}

impl Opened {
    pub(super) async fn new() -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("registry.sqlite")).await.unwrap();
        Opened { folder, registry }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("registry.sqlite")
    }
}

/// A registry with `nina`, person 7.
pub(super) async fn with_nina() -> Opened {
    let opened = Opened::new().await;
    opened.registry.add_person(&new_person(7, "nina"), NOW).await.unwrap();
    opened
}

pub(super) fn new_person(id: u128, name: &str) -> NewPerson {
    NewPerson {
        id: PersonId(id),
        name: name.to_owned(),
        display_name: format!("{name} the first"),
        roles: vec!["nurse".to_owned(), "analyst".to_owned()],
        verifiers: verifiers("one"),
    }
}

pub(super) fn verifiers(mark: &str) -> Verifiers {
    Verifiers { password: Some(format!("phc {mark}")), scram: Some(format!("scram {mark}")) }
}

/// Token number `id` of person 7, alive from `NOW` until `expires`.
pub(super) fn token(id: u8, expires: u64) -> TokenRow {
    TokenRow {
        id: [id; 16],
        person: PersonId(7),
        digest: [id; 32],
        scram: Some(format!("scram of token {id}")),
        issued_at: NOW,
        expires_at: Micros(expires),
        revoked_at: None,
        shown: Shown::with_factor("password+totp", NOW),
    }
}
