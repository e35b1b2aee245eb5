use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use registry::{Error, Registry};

use super::support::{NOW, Opened, new_person, with_nina};

#[tokio::test]
async fn all_files_are_for_the_owner_only() {
    let opened = with_nina().await;
    let folder = opened.path().parent().unwrap().to_owned();
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        seen.push(entry.file_name().into_string().unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["registry.sqlite", "registry.sqlite-shm", "registry.sqlite-wal"]);
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let opened = with_nina().await;
    let before = opened.registry.people().await.unwrap();
    opened.registry.close().await;
    fs::set_permissions(opened.path(), Permissions::from_mode(0o644)).unwrap();
    let again = Registry::open(&opened.path()).await.unwrap();
    assert_eq!(again.people().await.unwrap(), before);
    assert_eq!(fs::metadata(opened.path()).unwrap().permissions().mode() & 0o7777, 0o600, "and tightened");
}

#[tokio::test]
async fn two_processes_see_each_other() {
    let opened = with_nina().await;
    let other = Registry::open(&opened.path()).await.unwrap();
    other.add_person(&new_person(8, "otto"), NOW).await.unwrap();
    assert_eq!(opened.registry.people().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_not_a_registry_is_refused() {
    let opened = Opened::new().await;
    let path = opened.path().with_file_name("other.sqlite");
    fs::write(&path, "this is not a database, whatever its name may say".repeat(100)).unwrap();
    assert!(matches!(Registry::open(&path).await, Err(Error::Database(_))));
    let nowhere = opened.path().with_file_name("no").join("registry.sqlite");
    assert!(matches!(Registry::open(&nowhere).await, Err(Error::Open { .. })));
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let opened = with_nina().await;
    opened.registry.close().await;
    let url = format!("sqlite://{}", opened.path().display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
               VALUES (9999, 'of the future', TRUE, x'00', 0)";
    sqlx::query(sql).execute(&pool).await.unwrap();
    pool.close().await;
    assert!(matches!(Registry::open(&opened.path()).await, Err(Error::Migrate(_))));
}

#[tokio::test]
async fn a_damaged_row_is_an_error_and_not_somebody_else() {
    let opened = with_nina().await;
    let url = format!("sqlite://{}", opened.path().display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("UPDATE people SET created_at = -1").execute(&pool).await.unwrap();
    pool.close().await;
    let error = opened.registry.person("nina").await.unwrap_err();
    assert!(matches!(error, Error::Damaged { column: "created_at" }), "{error}");
}
