//! What GitHub is told about commits: kept until it was told, so that a crash leaves no commit pending for ever.

use rusqlite::OptionalExtension;
use rusqlite::Transaction;

use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::from_json;
use crate::clients::store::to_json;
use crate::model::CommitState;
use crate::model::CommitStatus;

impl Store {
    /// Keeps what is to be said of a commit.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_status(&self, status: CommitStatus) -> Result<(), StoreError> {
        self.write("keep-status", move |tx| keep(tx, &status)).await
    }

    /// What GitHub was not told yet, in no order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn untold_statuses(&self) -> Result<Vec<CommitStatus>, StoreError> {
        self.read(|tx| {
            tx.prepare_cached("SELECT status FROM commit_statuses WHERE NOT told")?
                .query_map([], |row| from_json(row, "status"))?
                .collect()
        })
        .await
    }

    /// GitHub has it, or will not take it: it is not said again.
    ///
    /// # Errors
    /// The database cannot be written; it will be said again, which changes nothing at GitHub.
    pub async fn status_told(&self, status: CommitStatus) -> Result<(), StoreError> {
        self.write("status-told", move |tx| {
            tx.execute(
                "UPDATE commit_statuses SET told = TRUE WHERE project = ?1 AND sha = ?2 AND status = ?3",
                (status.project.as_str(), status.sha.as_str(), to_json(&status)?),
            )?;
            tx.execute(
                "DELETE FROM commit_statuses WHERE project = ?1 AND sha <> ?2 AND told",
                (status.project.as_str(), status.sha.as_str()),
            )?;
            Ok(())
        })
        .await
    }
}

/// Keeps it as a part of a transaction.
///
/// GitHub takes a thousand words on a commit and no more. So nothing is said twice, and a commit that the world
/// failed stays failed while it is tried again.
pub(super) fn keep(tx: &Transaction<'_>, status: &CommitStatus) -> rusqlite::Result<()> {
    let known = tx
        .query_row(
            "SELECT status FROM commit_statuses WHERE project = ?1 AND sha = ?2",
            (status.project.as_str(), status.sha.as_str()),
            |row| from_json::<CommitStatus>(row, "status"),
        )
        .optional()?;
    let is_tried_again = status.state == CommitState::Pending
        && known.as_ref().is_some_and(|known| known.state == CommitState::Error);
    if is_tried_again || known.as_ref() == Some(status) {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO commit_statuses (project, sha, status, told) VALUES (?1, ?2, ?3, FALSE)
         ON CONFLICT (project, sha) DO UPDATE SET status = ?3, told = FALSE",
        (status.project.as_str(), status.sha.as_str(), to_json(status)?),
    )?;
    Ok(())
}
