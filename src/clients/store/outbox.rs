//! Mail that waits to be sent, and what was mailed lately.

use std::path::PathBuf;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::named_params;

use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::from_json;
use crate::clients::store::parsed;
use crate::clients::store::stamp;
use crate::clients::store::to_json;
use crate::fold::FailureMemory;
use crate::model::ProjectName;

/// A mail that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The same in every attempt, so that a mail sent twice can be recognised.
    pub message_id: String,
    /// When that happened of which it tells.
    pub happened_at: DateTime<Utc>,
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The run log to attach.
    pub log: Option<PathBuf>,
    /// Whether nothing serves and somebody should know at once.
    pub urgent: bool,
    /// How often it was tried in vain.
    pub attempts: u32,
}

/// Makes of what the owner was told before what follows from a run's end.
pub type Filer = Box<dyn FnOnce(FailureMemory) -> Filing + Send>;

/// What the end of a run leaves for the owner.
#[derive(Debug, Clone)]
pub struct Filing {
    /// What the owner has been told of failures, this run included.
    pub memory: FailureMemory,
    /// The mail about the run, if it is worth one.
    pub mail: Option<Queued>,
}

impl Store {
    /// Puts a mail into the outbox.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn enqueue(&self, mail: Queued) -> Result<(), StoreError> {
        self.write("enqueue", move |tx| enqueue(tx, &mail)).await
    }

    /// The mails whose time has come, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn due_mails(&self, now: DateTime<Utc>) -> Result<Vec<Queued>, StoreError> {
        self.read(move |tx| {
            tx.prepare_cached("SELECT * FROM outbox WHERE next_at <= ?1 ORDER BY id")?
                .query_map([stamp(now)], queued_row)?
                .collect()
        })
        .await
    }

    /// When the next mail is to be tried; `None` if none waits.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn next_mail_at(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.read(|tx| {
            tx.query_row("SELECT next_at FROM outbox ORDER BY next_at LIMIT 1", [], |row| {
                parsed(row, "next_at")
            })
            .optional()
        })
        .await
    }

    /// Takes a mail that the server has accepted out of the outbox.
    ///
    /// # Errors
    /// The database cannot be written; the mail will be sent again, under the same id.
    pub async fn mail_sent(&self, message_id: String) -> Result<(), StoreError> {
        self.write("mail-sent", move |tx| {
            tx.execute("DELETE FROM outbox WHERE message_id = ?1", [message_id])?;
            Ok(())
        })
        .await
    }

    /// Puts a mail off that could not be sent.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn mail_failed(
        &self,
        message_id: String,
        error: String,
        next_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.write("mail-failed", move |tx| {
            tx.execute(
                "UPDATE outbox SET attempts = attempts + 1, last_error = ?2, next_at = ?3 WHERE message_id = ?1",
                (message_id, error, stamp(next_at)),
            )?;
            Ok(())
        })
        .await
    }

    /// Drops what is older than `age` or beyond the newest `count`: an outbox must not fill the card.
    /// Returns how many mails were dropped.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn trim_outbox(
        &self,
        now: DateTime<Utc>,
        age: Duration,
        count: u32,
    ) -> Result<usize, StoreError> {
        let oldest = stamp(now - age);
        self.write("trim-outbox", move |tx| {
            tx.execute(
                "DELETE FROM outbox WHERE happened_at < ?1
                    OR id NOT IN (SELECT id FROM outbox ORDER BY id DESC LIMIT ?2)",
                (oldest, count),
            )
        })
        .await
    }
}

/// Files what the end of a run leaves, as a part of a transaction: what was told before is read and replaced
/// in one go, so that two ends of a project do not forget one another's.
pub(super) fn file(tx: &Transaction<'_>, project: &ProjectName, file: Filer) -> rusqlite::Result<()> {
    let known =
        tx.query_row("SELECT memory FROM failure_memories WHERE project = ?1", [project.as_str()], |row| {
            from_json(row, "memory")
        });
    let Filing { memory, mail } = file(known.optional()?.unwrap_or_default());
    tx.execute(
        "INSERT INTO failure_memories (project, memory) VALUES (?1, ?2)
         ON CONFLICT (project) DO UPDATE SET memory = ?2",
        (project.as_str(), to_json(&memory)?),
    )?;
    mail.as_ref().map_or(Ok(()), |mail| enqueue(tx, mail))
}

/// Puts a mail into the outbox as a part of a transaction. The same mail is there once.
pub(super) fn enqueue(tx: &Transaction<'_>, mail: &Queued) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO outbox (message_id, happened_at, subject, body, html, log, urgent, next_at)
         VALUES (:message_id, :happened_at, :subject, :text, :html, :log, :urgent, :happened_at)
         ON CONFLICT (message_id) DO NOTHING",
        named_params! {
            ":message_id": mail.message_id,
            ":happened_at": stamp(mail.happened_at),
            ":subject": mail.subject,
            ":text": mail.text,
            ":html": mail.html,
            ":log": mail.log.as_ref().map(|path| path.to_string_lossy().into_owned()),
            ":urgent": mail.urgent,
        },
    )?;
    Ok(())
}

fn queued_row(row: &Row<'_>) -> rusqlite::Result<Queued> {
    Ok(Queued {
        message_id: row.get("message_id")?,
        happened_at: parsed(row, "happened_at")?,
        subject: row.get("subject")?,
        text: row.get("body")?,
        html: row.get("html")?,
        log: row.get::<_, Option<String>>("log")?.map(PathBuf::from),
        urgent: row.get("urgent")?,
        attempts: row.get("attempts")?,
    })
}
