//! What the owner has ordered: pauses and holds, which stay until further notice, and what is to be tried again.

use chrono::DateTime;
use chrono::Utc;
use rusqlite::OptionalExtension;
use rusqlite::Transaction;

use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::from_json_opt;
use crate::clients::store::parsed;
use crate::clients::store::parsed_opt;
use crate::clients::store::stamp;
use crate::clients::store::to_json;
use crate::model::CommitSha;
use crate::model::Digest;
use crate::model::Hold;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::RunReport;
use crate::model::StandingOrders;

impl Store {
    /// What stays in force for a project.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn standing_orders(&self, project: ProjectName) -> Result<StandingOrders, StoreError> {
        self.read(move |tx| {
            let orders = tx
                .prepare_cached("SELECT * FROM standing_orders WHERE project = ?1")?
                .query_row([project.as_str()], |row| {
                    let paused_since = parsed_opt(row, "paused_since")?;
                    Ok(StandingOrders { paused_since, hold: from_json_opt(row, "hold")? })
                })
                .optional()?;
            Ok(orders.unwrap_or_default())
        })
        .await
    }

    /// Records since when nothing is started; `None` ends the pause.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn pause(&self, project: ProjectName, since: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        self.write("pause", move |tx| {
            tx.execute(
                "INSERT INTO standing_orders (project, paused_since) VALUES (?1, ?2)
                 ON CONFLICT (project) DO UPDATE SET paused_since = ?2",
                (project.as_str(), since.map(stamp)),
            )?;
            Ok(())
        })
        .await
    }

    /// Records what the owner has chosen instead of something newer, in the place of an earlier choice.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn hold(&self, project: ProjectName, hold: Option<Hold>) -> Result<(), StoreError> {
        self.write("hold", move |tx| {
            tx.execute(
                "INSERT INTO standing_orders (project, hold) VALUES (?1, ?2)
                 ON CONFLICT (project) DO UPDATE SET hold = ?2",
                (project.as_str(), hold.as_ref().map(to_json).transpose()?),
            )?;
            Ok(())
        })
        .await
    }

    /// Records that the owner has ordered a commit to be run, in the place of an order that has not begun; `running` is
    /// the commit of one that has.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn order_commit(
        &self,
        project: ProjectName,
        sha: CommitSha,
        running: Option<CommitSha>,
    ) -> Result<(), StoreError> {
        self.write("order-commit", move |tx| {
            tx.execute(
                "DELETE FROM commit_orders WHERE project = ?1 AND sha IS NOT ?2",
                (project.as_str(), running.as_ref().map(CommitSha::as_str)),
            )?;
            tx.execute(
                "INSERT INTO commit_orders (project, sha) VALUES (?1, ?2)",
                (project.as_str(), sha.as_str()),
            )?;
            Ok(())
        })
        .await
    }

    /// The commit that was ordered first of those that are still to be run, or run now.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ordered_commit(&self, project: ProjectName) -> Result<Option<CommitSha>, StoreError> {
        self.read(move |tx| {
            tx.query_row(
                "SELECT sha FROM commit_orders WHERE project = ?1 ORDER BY id LIMIT 1",
                [project.as_str()],
                |row| parsed(row, "sha"),
            )
            .optional()
        })
        .await
    }

    /// Lifts the quarantine of a digest.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn lift_quarantine(&self, project: ProjectName, digest: Digest) -> Result<(), StoreError> {
        self.write("lift-quarantine", move |tx| {
            tx.execute(
                "DELETE FROM quarantine WHERE project = ?1 AND digest = ?2",
                (project.as_str(), digest.as_str()),
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets the configuration with which what serves failed. `false` if there is none.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_refused_spec(&self, project: ProjectName) -> Result<bool, StoreError> {
        self.write("forget-refused-spec", move |tx| {
            Ok(tx.execute("DELETE FROM refused_specs WHERE project = ?1", [project.as_str()])? > 0)
        })
        .await
    }
}

/// The order of a commit is carried out when its run has ended, however it did; one that was cut off is taken up again.
pub(super) fn carried_out(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    let Some(commit) = &report.commit else { return Ok(()) };
    match &report.outcome {
        Outcome::Interrupted(_) => {}
        Outcome::Pushed(_)
        | Outcome::Failed(_)
        | Outcome::Superseded { .. }
        | Outcome::Deployed(_)
        | Outcome::RolledBack { .. }
        | Outcome::Down(_) => {
            tx.execute(
                "DELETE FROM commit_orders WHERE project = ?1 AND sha = ?2",
                (report.project.as_str(), commit.sha.as_str()),
            )?;
        }
    }
    Ok(())
}
