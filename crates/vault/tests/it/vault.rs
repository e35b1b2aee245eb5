use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use model::{ResourceId, RootKey, Secret};
use proptest::prelude::*;
use tempfile::TempDir;
use vault::{Credential, Error, Vault, VaultWriter};

fn root() -> RootKey {
    RootKey::new([5; 32])
}

fn resource(name: &str) -> ResourceId {
    ResourceId(Arc::from(name))
}

fn credential(user: &str, password: &str) -> Credential {
    Credential { user: user.to_owned(), password: Secret::new(password) }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.json");
    (folder, path)
}

/// A vault with credentials for `hospital` and `pharmacy`.
fn filled() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    writer.set(&resource("hospital"), &credential("wardline", "upstream password")).unwrap();
    writer.set(&resource("pharmacy"), &credential("wardline", "another password")).unwrap();
    (folder, path)
}

#[test]
fn what_was_set_is_read_and_what_was_removed_is_not() {
    let (folder, path) = filled();
    let vault = Vault::open(&path, &root()).unwrap();
    let hospital = resource("hospital");
    let expected = credential("wardline", "upstream password");
    assert_eq!(vault.credential(&hospital).unwrap(), Some(expected.clone()));
    assert_eq!(vault.credential(&resource("elsewhere")).unwrap(), None);

    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    assert_eq!(writer.names().unwrap(), [resource("hospital"), resource("pharmacy")]);
    assert!(writer.remove(&hospital).unwrap());
    assert!(!writer.remove(&hospital).unwrap());
    assert_eq!(vault.credential(&hospital).unwrap(), Some(expected), "not before a reload");
    vault.reload().unwrap();
    assert_eq!(vault.credential(&hospital).unwrap(), None);

    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn setting_again_replaces() {
    let (_folder, path) = filled();
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    let new = credential("other", "new password");
    writer.set(&resource("hospital"), &new).unwrap();
    let vault = Vault::open(&path, &root()).unwrap();
    assert_eq!(vault.credential(&resource("hospital")).unwrap(), Some(new));
    assert_eq!(writer.names().unwrap().len(), 2);
}

#[test]
fn a_missing_file_is_an_empty_vault_and_stays_missing() {
    let (_folder, path) = folder();
    let vault = Vault::open(&path, &root()).unwrap();
    assert_eq!(vault.credential(&resource("hospital")).unwrap(), None);
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    assert!(!writer.remove(&resource("hospital")).unwrap());
    assert!(writer.names().unwrap().is_empty());
    assert!(!path.exists());
    writer.set(&resource("hospital"), &credential("u", "p")).unwrap();
    vault.reload().unwrap();
    assert!(vault.credential(&resource("hospital")).unwrap().is_some());
}

#[test]
fn passwords_are_not_in_the_file_and_no_two_sealings_are_alike() {
    let (_folder, path) = filled();
    let before = fs::read_to_string(&path).unwrap();
    assert!(!before.contains("upstream password") && !before.contains("another password"));
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    writer.set(&resource("hospital"), &credential("wardline", "upstream password")).unwrap();
    assert_ne!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn another_root_key_is_refused_by_both_halves() {
    let (_folder, path) = filled();
    let other = RootKey::new([6; 32]);
    let before = fs::read(&path).unwrap();
    for error in [Vault::open(&path, &other).err(), VaultWriter::open(&path, &other).err()] {
        let error = error.unwrap();
        assert!(matches!(error, Error::WrongRootKey { .. }), "{error}");
        assert!(error.to_string().contains("root key"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// Reads the file as JSON, lets `change` at it, and returns what the credential of `hospital` then is.
fn tampered(change: impl FnOnce(&mut serde_json::Value)) -> Result<Option<Credential>, Error> {
    let (_folder, path) = filled();
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
    let vault = Vault::open(&path, &root())?;
    let pharmacy = vault.credential(&resource("pharmacy")).unwrap().unwrap();
    assert_eq!(pharmacy.password.expose(), "another password", "the other entry is not affected");
    vault.credential(&resource("hospital"))
}

#[test]
fn tampering_names_the_resource() {
    let check = |change: fn(&mut serde_json::Value)| {
        let error = tampered(change).unwrap_err();
        assert!(matches!(&error, Error::Damaged { resource } if &*resource.0 == "hospital"), "{error}");
        assert!(error.to_string().contains("`hospital`"), "{error}");
    };
    check(|json| json["credentials"]["hospital"]["user"] = "admin".into());
    check(|json| json["credentials"]["hospital"]["password"] = "".into());
    check(|json| json["credentials"]["hospital"]["password"] = "AAAA".into());
    check(|json| json["credentials"]["hospital"]["password"] = "not base64!".into());
    check(|json| json["credentials"]["hospital"] = json["credentials"]["pharmacy"].clone());
    assert_eq!(
        tampered(|json| {
            json["credentials"].as_object_mut().unwrap().remove("hospital");
        })
        .unwrap(),
        None
    );
}

#[test]
fn every_flipped_byte_of_a_sealed_password_is_noticed() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let (_folder, path) = filled();
    let original: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sealed = STANDARD.decode(original["credentials"]["hospital"]["password"].as_str().unwrap()).unwrap();
    assert_eq!(sealed.len(), 12 + "upstream password".len() + 16);
    for index in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[index] ^= 1;
        let mut json = original.clone();
        json["credentials"]["hospital"]["password"] = STANDARD.encode(flipped).into();
        fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
        let vault = Vault::open(&path, &root()).unwrap();
        let read = vault.credential(&resource("hospital"));
        assert!(matches!(read, Err(Error::Damaged { .. })), "byte {index}");
    }
}

#[test]
fn what_is_not_a_vault() {
    let check = |change: fn(&mut serde_json::Value), expected: fn(&Error) -> bool| {
        let error = tampered(change).unwrap_err();
        assert!(expected(&error), "{error}");
    };
    check(|json| json["format"] = "wardline/vault/v3".into(), |it| matches!(it, Error::Version { .. }));
    check(|json| json["extra"] = 1.into(), |it| matches!(it, Error::Format { .. }));
    check(|json| json["key"] = "AAAA".into(), |it| matches!(it, Error::WrongRootKey { .. }));
    check(|json| *json = "text".into(), |it| matches!(it, Error::Format { .. }));
}

#[test]
fn a_failed_reload_keeps_what_was_read() {
    let (_folder, path) = filled();
    let vault = Vault::open(&path, &root()).unwrap();
    fs::write(&path, "{").unwrap();
    assert!(matches!(vault.reload(), Err(Error::Format { .. })));
    assert!(vault.credential(&resource("hospital")).unwrap().is_some());
}

#[test]
fn a_writer_does_not_write_over_a_file_it_cannot_read() {
    let (_folder, path) = filled();
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    fs::write(&path, "{").unwrap();
    assert!(writer.set(&resource("hospital"), &credential("u", "p")).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
}

#[test]
fn a_failed_write_is_an_error_that_names_the_file() {
    let (folder, path) = filled();
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    // A folder where the new file has to go: it cannot be removed as a file.
    fs::create_dir(folder.path().join("vault.json.new")).unwrap();
    let before = fs::read(&path).unwrap();
    let error = writer.set(&resource("hospital"), &credential("u", "p")).unwrap_err();
    assert!(error.to_string().contains("vault.json"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn the_vector_of_the_format_is_read() {
    let root = RootKey::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/vault-v1.json");
    let vault = Vault::open(&path, &root).unwrap();
    let expected = credential("wardline", "an upstream password");
    assert_eq!(vault.credential(&resource("hospital")).unwrap(), Some(expected));
}

/// Made by another program from the description.
#[test]
fn the_vector_of_the_second_version_is_read() {
    let root = RootKey::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/vault-v2.json");
    let vault = Vault::open(&path, &root).unwrap();
    let accounts = vault.accounts(&resource("hospital")).unwrap().unwrap();
    assert_eq!(accounts.active.credential, credential("wardline_a", "the password in use"));
    assert_eq!(accounts.active.next, None);
    let standby = accounts.standby.unwrap();
    assert_eq!(standby.credential, credential("wardline_b", "the other one"));
    assert_eq!(standby.next, Some(Secret::new("the one to come")));
    assert_eq!(accounts.rotated_at, Some(model::Micros(1_795_478_400_000_000)));
}

#[test]
fn debug_and_errors_show_no_secret() {
    let (_folder, path) = filled();
    let vault = Vault::open(&path, &root()).unwrap();
    let shown = format!("{vault:?} {:?}", vault.credential(&resource("hospital")).unwrap());
    assert!(!shown.contains("upstream password"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_credential_makes_the_round_trip(name in "\\PC{0,20}", user in "\\PC{0,20}", password in any::<String>()) {
        let (_folder, path) = folder();
        let resource = resource(&name);
        let credential = credential(&user, &password);
        VaultWriter::open(&path, &root()).unwrap().set(&resource, &credential).unwrap();
        let vault = Vault::open(&path, &root()).unwrap();
        prop_assert_eq!(vault.credential(&resource).unwrap(), Some(credential));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_folder, path) = folder();
        fs::write(&path, &bytes).unwrap();
        prop_assert!(Vault::open(&path, &root()).is_err());
    }
}

/// The active password, the one to come, and the same of the second account.
fn accounts(path: &std::path::Path) -> [Option<String>; 4] {
    let vault = Vault::open(path, &root()).unwrap();
    let accounts = vault.accounts(&resource("hospital")).unwrap().unwrap();
    let shown = |account: &vault::Account| {
        let next = account.next.as_ref().map(|next| next.expose().to_owned());
        (format!("{} {}", account.credential.user, account.credential.password.expose()), next)
    };
    let (active, next) = shown(&accounts.active);
    let (standby, standby_next) = accounts.standby.as_ref().map(shown).unzip();
    assert_eq!(vault.credential(&resource("hospital")).unwrap(), Some(accounts.active.credential));
    [Some(active), next, standby, standby_next.flatten()]
}

fn some(texts: [&str; 4]) -> [Option<String>; 4] {
    texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

#[test]
fn a_rotation_keeps_both_passwords_until_it_is_finished() {
    let (_folder, path) = filled();
    let hospital = resource("hospital");
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    writer.begin_rotation(&hospital, "wardline", &Secret::new("new")).unwrap();
    assert_eq!(accounts(&path), some(["wardline upstream password", "new", "", ""]));
    let error = writer.begin_rotation(&hospital, "wardline", &Secret::new("newer")).unwrap_err();
    assert!(matches!(error, Error::RotationUnderWay { .. }), "what was begun is not forgotten");
    writer.finish_rotation(&hospital, "wardline", model::Micros(5)).unwrap();
    assert_eq!(accounts(&path), some(["wardline new", "", "", ""]));
    let error = writer.finish_rotation(&hospital, "wardline", model::Micros(6)).unwrap_err();
    assert!(matches!(error, Error::NoRotation { .. }));
    let vault = Vault::open(&path, &root()).unwrap();
    assert_eq!(vault.accounts(&hospital).unwrap().unwrap().rotated_at, Some(model::Micros(5)));
    for (name, user) in [("nowhere", "wardline"), ("hospital", "nobody")] {
        let error = writer.begin_rotation(&resource(name), user, &Secret::new("x")).unwrap_err();
        assert!(matches!(error, Error::NoCredential { .. }), "{error}");
    }
}

#[test]
fn two_accounts_take_turns() {
    let (_folder, path) = filled();
    let hospital = resource("hospital");
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    let same = writer.set_standby(&hospital, &credential("wardline", "x")).unwrap_err();
    assert!(matches!(same, Error::SameAccount { .. }));
    writer.set_standby(&hospital, &credential("other", "second")).unwrap();
    writer.begin_rotation(&hospital, "other", &Secret::new("third")).unwrap();
    assert_eq!(accounts(&path), some(["wardline upstream password", "", "other second", "third"]));
    writer.finish_rotation(&hospital, "other", model::Micros(5)).unwrap();
    assert_eq!(accounts(&path), some(["other third", "", "wardline upstream password", ""]));
    writer.begin_rotation(&hospital, "wardline", &Secret::new("fourth")).unwrap();
    writer.finish_rotation(&hospital, "wardline", model::Micros(6)).unwrap();
    assert_eq!(accounts(&path), some(["wardline fourth", "", "other third", ""]));
    writer.set(&hospital, &credential("wardline", "by hand")).unwrap();
    assert_eq!(accounts(&path), some(["wardline by hand", "", "other third", ""]));
    writer.set(&hospital, &credential("other", "by hand")).unwrap();
    assert_eq!(accounts(&path), some(["other by hand", "", "", ""]), "an account is there once");
}

#[test]
fn the_second_version_is_written_only_where_it_is_needed() {
    let (_folder, path) = filled();
    let format = || {
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        json["format"].as_str().unwrap().to_owned()
    };
    assert_eq!(format(), "wardline/vault/v1");
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    writer.begin_rotation(&resource("hospital"), "wardline", &Secret::new("new")).unwrap();
    assert_eq!(format(), "wardline/vault/v2");
    writer.set(&resource("hospital"), &credential("wardline", "by hand")).unwrap();
    assert_eq!(format(), "wardline/vault/v1");
}

/// A password to come must not be taken for one in force, nor that of another account.
#[test]
fn a_password_to_come_opens_in_its_own_place_only() {
    let (_folder, path) = filled();
    let mut writer = VaultWriter::open(&path, &root()).unwrap();
    writer.begin_rotation(&resource("hospital"), "wardline", &Secret::new("new")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["credentials"]["hospital"]["password"] = json["credentials"]["hospital"]["next"].clone();
    fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
    let vault = Vault::open(&path, &root()).unwrap();
    assert!(matches!(vault.credential(&resource("hospital")), Err(Error::Damaged { .. })));
}
