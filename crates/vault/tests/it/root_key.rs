use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use vault::{RootKeyError, root_key_create, root_key_load};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.key");
    (folder, path)
}

#[test]
fn what_was_created_is_loaded() {
    let (folder, path) = folder();
    let created = root_key_create(&path).unwrap();
    assert_eq!(root_key_load(&path).unwrap().expose(), created.expose());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let other = root_key_create(&folder.path().join("other.key")).unwrap();
    assert_ne!(other.expose(), created.expose());
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let (_folder, path) = folder();
    fs::write(&path, "precious").unwrap();
    let error = root_key_create(&path).unwrap_err();
    assert!(matches!(error, RootKeyError::Exists { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_leftover_of_a_crash_is_no_obstacle() {
    let (folder, path) = folder();
    fs::write(folder.path().join("root.key.new"), "half").unwrap();
    let created = root_key_create(&path).unwrap();
    assert_eq!(root_key_load(&path).unwrap().expose(), created.expose());
}

#[test]
fn a_file_open_to_others_is_refused_with_the_cure() {
    let (_folder, path) = folder();
    root_key_create(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o610, 0o666, 0o700 | 0o001] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = root_key_load(&path).unwrap_err();
        assert!(matches!(error, RootKeyError::OpenToOthers { .. }), "{error}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
        assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(root_key_load(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn what_is_not_a_root_key() {
    let (folder, path) = folder();
    let digits = "0123456789abcdef".repeat(4);
    let check = |text: &str, good: bool| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let loaded = root_key_load(&path);
        assert_eq!(loaded.is_ok(), good, "{text:?}");
        if let Err(error) = loaded {
            assert!(matches!(error, RootKeyError::Format { .. }), "{error}");
        }
    };
    check(&digits, true);
    check(&digits.to_uppercase(), true);
    check(&format!("{digits}\r\n"), true);
    check("", false);
    check(&digits[1..], false);
    check(&format!("{digits}0"), false);
    check(&digits.replacen('0', "g", 1), false);
    check(&digits.replacen('0', "+", 1), false);

    fs::write(&path, digits.repeat(3)).unwrap();
    assert!(matches!(root_key_load(&path), Err(RootKeyError::Io { .. })));
    assert!(matches!(root_key_load(folder.path()), Err(RootKeyError::NotAFile { .. })));
    let missing = folder.path().join("missing");
    assert!(matches!(root_key_load(&missing), Err(RootKeyError::Io { .. })));
}

#[test]
fn the_bytes_are_the_digits() {
    let (_folder, path) = folder();
    fs::write(&path, (0..32).map(|byte| format!("{byte:02x}")).collect::<String>()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let expected: Vec<u8> = (0..32).collect();
    assert_eq!(root_key_load(&path).unwrap().expose().as_slice(), expected);
}
