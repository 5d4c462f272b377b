//! The state that survives: an SQLite database in the state folder. Gives and takes our nouns.
//!
//! Write-ahead log with `synchronous = FULL`: when a call returns, what it wrote survives a power cut.
//! Every public method is one transaction. The calls run on the blocking pool, one at a time.

mod ci;
mod damage;
mod deployments;
mod illnesses;
mod orders;
mod outbox;
mod quarantine;
mod rebuild;
mod refusals;
mod runs;
mod statuses;

pub use ci::Verdict;
pub use deployments::Deployment;
pub use deployments::Quarantined;
pub use outbox::Filer;
pub use outbox::Filing;
pub use outbox::Queued;
pub use rebuild::Origin;
pub use rebuild::Rebuilt;
pub use runs::Begun;
pub use runs::RunRow;

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::Transaction;
use rusqlite::TransactionBehavior;

use crate::clients::store::damage::Damage;
use crate::fault_point;
use crate::fault_point::Effect;

/// What leads from each version of the schema to the next, beginning with none.
const SCHEMA: [&str; 3] =
    [include_str!("schema.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
const SCHEMA_VERSION: i64 = SCHEMA.len() as i64;

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database yet: no agent has run with this state folder.
    #[error(
        "there is no database at {0}: has `homeport run` or `homeport once` been started with this config?"
    )]
    Absent(PathBuf),
    /// It is there and cannot be read: not a database, cut short, or overwritten.
    #[error(
        "the database {path} is damaged: {reason}; the next start of the service sets it aside and finds out again what can be found out"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// It cannot be opened.
    #[error("open the database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's or the system's reason.
        source: anyhow::Error,
    },
    /// It was written by a newer homeport.
    #[error(
        "the database {path} has schema {found}, this homeport knows up to {SCHEMA_VERSION}: install the newer homeport again"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
    },
    /// A read or write failed, for instance on a full disk.
    #[error("use the database")]
    Use(#[from] rusqlite::Error),
    /// The agent is shutting down.
    #[error("the database is closed")]
    Closed,
}

/// The database. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
    damage: Arc<Damage>,
}

impl Store {
    /// Opens the database of a state folder, making both where they are missing.
    ///
    /// # Errors
    /// The folder cannot be made or written, or the file is damaged or too new.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = Self::path(state_dir);
        let failed = |source: anyhow::Error| StoreError::Open { path: path.clone(), source };
        let _effect = Effect::begin("store", "open");
        make_state_dir(state_dir).map_err(|e| failed(e.into()))?;
        // The file holds container environments and mail: for the agent's user alone. SQLite gives its
        // journals the same mode.
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed(e.into()))?;
        let unusable = |error: rusqlite::Error| damage::unusable(&path, error);
        let connection = Connection::open(&path).map_err(unusable)?;
        Self::prepare(&connection).map_err(unusable)?;
        if let Some(reason) = damage::examine(&connection).map_err(unusable)? {
            return Err(StoreError::Damaged { path, reason });
        }
        let store = Self::over(connection, &path);
        store.migrate(&path)?;
        Ok(store)
    }

    /// Opens the database for looking only, beside an agent or without one.
    ///
    /// # Errors
    /// There is none, or it is damaged, unreadable or too new.
    pub fn open_to_look(state_dir: &Path) -> Result<Self, StoreError> {
        let path = Self::path(state_dir);
        let failed = |source: anyhow::Error| StoreError::Open { path: path.clone(), source };
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::Absent(path)),
            Err(e) => return Err(failed(e.into())),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let unusable = |error: rusqlite::Error| damage::unusable(&path, error);
        let connection = Connection::open_with_flags(&path, flags).map_err(unusable)?;
        connection.busy_timeout(BUSY).map_err(unusable)?;
        let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        let found = version.map_err(unusable)?;
        match found {
            0 => Err(StoreError::Absent(path)),
            found if found > SCHEMA_VERSION => Err(StoreError::TooNew { path, found }),
            _ => Ok(Self::over(connection, &path)),
        }
    }

    fn over(connection: Connection, path: &Path) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)), damage: Arc::new(Damage::of(path)) }
    }

    /// What was found to be damaged while the database was used: nothing that it says can be trusted then, and the
    /// next start sets it aside.
    pub fn damage(&self) -> Option<&str> {
        self.damage.found()
    }

    /// Where the database of a state folder is.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("homeport.db")
    }

    fn prepare(connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)
    }

    fn migrate(&self, path: &Path) -> Result<(), StoreError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| damage::unusable(path, error))?;
        let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > SCHEMA_VERSION {
            return Err(StoreError::TooNew { path: path.to_owned(), found });
        }
        for step in SCHEMA.iter().skip(found.unsigned_abs() as usize) {
            transaction.execute_batch(step).map_err(|error| damage::unusable(path, error))?;
        }
        if found < SCHEMA_VERSION {
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        Ok(transaction.commit()?)
    }

    /// For a start, which has no runtime yet.
    fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        Ok(work(&self.connection.lock().unwrap_or_else(PoisonError::into_inner))?)
    }

    /// Runs one transaction that changes nothing.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.on_connection(move |connection| {
            let changes = connection.total_changes();
            let value = transact(connection, work)?;
            if fault_point::is_watched() && connection.total_changes() != changes {
                fault_point::forgotten("the database is changed by what was to read it");
            }
            Ok(value)
        })
        .await
    }

    /// Runs one transaction that does `act`.
    async fn write<T: Send + 'static>(
        &self,
        act: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.on_connection(move |connection| {
            let _effect = Effect::begin("store", act);
            transact(connection, work)
        })
        .await
    }

    /// Works on the connection, on the blocking pool. Where a panic unwinds, it leaves the connection usable: the
    /// transaction is rolled back on the way.
    async fn on_connection<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (connection, damage) = (Arc::clone(&self.connection), Arc::clone(&self.damage));
        let done = tokio::task::spawn_blocking(move || {
            let worked = work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
            worked.inspect_err(|error| damage.notice(error)).map_err(StoreError::from)
        });
        done.await.map_err(|_| StoreError::Closed)?
    }
}

/// Does all of `work`, durably, or nothing of it.
fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction()?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Makes the state folder where it is missing: for the agent's user, and for its group to go through, for that may
/// open the control socket.
///
/// # Errors
/// It cannot be made.
pub fn make_state_dir(state_dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(state_dir)
}

/// How much of the database is kept in memory, in KiB. A few rows are read per run.
const CACHE_KIB: i64 = 64;

/// How long a reader and a writer of two processes wait for each other.
const BUSY: Duration = Duration::from_secs(10);

/// A time in the one form in which the database keeps it, which sorts as text.
fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads a column whose text is one of our nouns.
fn parsed<T>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|e| conversion(Box::new(e)))
}

/// Reads a column that may be NULL and whose text is one of our nouns.
fn parsed_opt<T>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|e| conversion(Box::new(e)))).transpose()
}

/// Reads a column that may be NULL and holds JSON.
fn from_json_opt<T: serde::de::DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: &str,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|e| conversion(Box::new(e)))).transpose()
}

/// Reads a column that holds JSON.
fn from_json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| conversion(Box::new(e)))
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn conversion(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::clients::tests::expect_caught;

    #[tokio::test]
    async fn a_write_to_the_database_without_a_name_is_caught() {
        let a_change_that_is_made_as_a_look = async {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            let change = "CREATE TABLE secret (word TEXT); INSERT INTO secret VALUES ('psst')";
            store.read(move |tx| tx.execute_batch(change)).await.unwrap();
        };
        expect_caught(
            "clients::store::tests::a_write_to_the_database_without_a_name_is_caught",
            "the database is changed by what was to read it",
            a_change_that_is_made_as_a_look,
        )
        .await;
    }
}
