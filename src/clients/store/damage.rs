//! A database that cannot be read: how it is told from one that cannot be reached, and how it is put out of the
//! way. It is never deleted, and a full disk or a missing permission is no reason to touch it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

use chrono::DateTime;
use chrono::Utc;
use rusqlite::Connection;
use rusqlite::Error;
use rusqlite::ErrorCode;

use crate::clients::store::SCHEMA;
use crate::clients::store::StoreError;
use crate::fault_point::Effect;

/// What SQLite keeps beside a database.
const SIDECARS: [&str; 2] = ["-wal", "-shm"];

/// Whether the database was found damaged while it was used.
#[derive(Debug)]
pub(super) struct Damage {
    note: PathBuf,
    found: OnceLock<String>,
}

impl Damage {
    pub(super) fn of(database: &Path) -> Self {
        Self { note: note(database), found: OnceLock::new() }
    }

    /// What was found, if anything was.
    pub(super) fn found(&self) -> Option<&str> {
        self.found.get().map(String::as_str)
    }

    /// Remembers an error that means damage, also for the next start, whose look may not come by that place.
    pub(super) fn notice(&self, error: &Error) {
        if let Some(reason) = damage_in(error)
            && self.found.set(reason.clone()).is_ok()
        {
            let _effect = Effect::begin("store", "note-damage");
            // A card that is broken may refuse this too; then the next start finds it out for itself, or not.
            std::fs::write(&self.note, reason).ok();
        }
    }
}

/// What an earlier process noted about a database.
pub(super) fn noted(database: &Path) -> Option<String> {
    std::fs::read_to_string(note(database)).ok()
}

fn note(database: &Path) -> PathBuf {
    beside(database, ".damage")
}

/// What an error says about the file itself; `None` if it is about reaching or writing it.
pub(super) fn damage_in(error: &Error) -> Option<String> {
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Some(error.to_string()),
            _ => None,
        },
        Error::FromSqlConversionFailure(..)
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..) => Some(format!("it holds what cannot be read: {error}")),
        _ => None,
    }
}

/// The way out of an error that is about reaching or writing the file.
pub(super) fn way_out(error: &Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: make room on it",
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "may this user read and write the file and its folder?"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "the disk or card does not read or write: `dmesg` says more, and whether it is full `df`"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program uses it: is it open in an SQLite shell?"
        }
        _ => "the file was left as it is",
    }
}

/// Looks a database through. `Ok(Some)` says what is damaged.
pub(super) fn examine(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Ok(Some(found));
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables = tables_of(connection)?;
    if version == 0 {
        return Ok((!tables.is_empty()).then(|| "it is a database of something else".to_owned()));
    }
    let whole = Connection::open_in_memory()?;
    // One of an older version is whole without what came later.
    for step in SCHEMA.iter().take(version.unsigned_abs() as usize) {
        whole.execute_batch(step)?;
    }
    let missing = tables_of(&whole)?.into_iter().find(|table| !tables.contains(table));
    Ok(missing.map(|table| format!("its table `{table}` is missing")))
}

fn tables_of(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Renames a database and what lies beside it; gives its new name. What lies beside goes first: left alone with a
/// new database, it would be taken for that one's.
pub(super) fn set_aside(database: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
    let kept = (0_u32..)
        .map(|n| {
            let again = if n == 0 { String::new() } else { format!("-{n}") };
            beside(database, &format!(".damaged-{}{again}", now.format("%Y-%m-%dT%H-%M-%SZ")))
        })
        .find(|kept| !kept.exists())
        .unwrap_or_else(|| beside(database, ".damaged"));
    for sidecar in SIDECARS {
        rename_if_there(&beside(database, sidecar), &beside(&kept, sidecar))?;
    }
    rename_if_there(database, &kept)?;
    match std::fs::remove_file(note(database)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if let Some(folder) = database.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(kept)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Sorts an error of the first look: damage, or a file that cannot be reached, with the way out.
pub(super) fn unusable(path: &Path, error: rusqlite::Error) -> StoreError {
    match damage_in(&error) {
        Some(reason) => StoreError::Damaged { path: path.to_owned(), reason },
        None => {
            let way_out = way_out(&error);
            let source = anyhow::anyhow!("{error}; {way_out}");
            StoreError::Open { path: path.to_owned(), source }
        }
    }
}
