//! Ways in which a database file is damaged: each is found at the start, and the file is kept.

use std::fs;

use chrono::DateTime;
use chrono::Utc;
use homeport::clients::store::Store;
use homeport::clients::store::StoreError;
use homeport::model::RunNumber;
use tempfile::TempDir;

/// What happens to the bytes of a file.
type Damage = dyn Fn(&mut Vec<u8>);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_414_500, 0).unwrap()
}

/// A whole database with a few pages of rows, closed.
fn whole() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let database = rusqlite::Connection::open(Store::path(folder.path())).unwrap();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
        INSERT INTO runs (project, kind, trigger, started_at, outcome)
        SELECT 'web', 'ci', 'poll', '2026-11-23T06:15:00.000Z', printf('%0100d', i) FROM n;
        DELETE FROM origin;";
    database.execute_batch(rows).unwrap();
    drop(database);
    folder
}

#[test]
fn every_damage_is_found_and_the_file_is_kept_byte_for_byte() {
    let overwritten = |from: usize, to: usize| move |bytes: &mut Vec<u8>| bytes[from..to].fill(0xa5);
    let cut = |length: usize| move |bytes: &mut Vec<u8>| bytes.truncate(length);
    let damages: Vec<(&str, Box<Damage>)> = vec![
        ("cut to a few bytes", Box::new(cut(10))),
        ("cut in the first page", Box::new(cut(2000))),
        ("cut after the first page", Box::new(cut(4096))),
        ("cut in the middle", Box::new(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2))),
        ("the header overwritten", Box::new(overwritten(0, 100))),
        ("the schema overwritten", Box::new(overwritten(100, 4096))),
        ("a page overwritten", Box::new(overwritten(12_288, 16_384))),
        ("all overwritten with text", Box::new(|bytes: &mut Vec<u8>| bytes.fill(b'x'))),
    ];
    for (what, damage) in damages {
        let folder = whole();
        let path = Store::path(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();

        let refused = Store::open(folder.path());
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{what}: {refused:?}");
        drop(Store::open_or_replace(folder.path(), RunNumber(0), now()).unwrap());

        let kept = folder.path().join("homeport.db.damaged-2026-11-23T06-15-00Z");
        assert!(fs::read(&kept).unwrap() == bytes, "{what}: the kept file differs");
        drop(Store::open(folder.path()).unwrap_or_else(|error| panic!("{what}: {error:#}")));
    }
}

#[test]
fn a_table_that_is_missing_and_a_database_of_something_else_are_damage() {
    for statement in ["DROP TABLE journals", "PRAGMA user_version = 0"] {
        let folder = whole();
        let database = rusqlite::Connection::open(Store::path(folder.path())).unwrap();
        database.execute_batch(statement).unwrap();
        drop(database);
        let refused = Store::open(folder.path());
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{statement}: {refused:?}");
    }
}

#[test]
fn records_that_end_before_a_run_with_a_log_are_replaced_and_complete_ones_are_not() {
    let folder = whole();
    let open = |known| drop(Store::open_or_replace(folder.path(), RunNumber(known), now()).unwrap());
    let kept = folder.path().join("homeport.db.damaged-2026-11-23T06-15-00Z");
    open(400);
    assert!(!kept.exists());
    open(401);
    assert!(kept.exists());
    // The new one is not whole yet: it is not measured against the logs.
    open(401);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_newer_database_is_not_damage() {
    let folder = whole();
    let database = rusqlite::Connection::open(Store::path(folder.path())).unwrap();
    database.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(database);
    let refused = Store::open_or_replace(folder.path(), RunNumber(0), now());
    assert!(matches!(refused, Err(StoreError::TooNew { found: 99, .. })), "{refused:?}");
}
