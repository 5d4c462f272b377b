//! Configurations of a container with which the content that serves failed.

use rusqlite::OptionalExtension;
use rusqlite::Transaction;

use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::from_json;
use crate::config::settings::ContainerSpec;
use crate::model::Blame;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::RunReport;

impl Store {
    /// The configuration of the container that is not tried again, if there is one, and why.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn refused_spec(
        &self,
        project: ProjectName,
    ) -> Result<Option<(ContainerSpec, String)>, StoreError> {
        self.read(move |tx| {
            tx.query_row("SELECT * FROM refused_specs WHERE project = ?1", [project.as_str()], |row| {
                Ok((from_json(row, "spec")?, row.get("reason")?))
            })
            .optional()
        })
        .await
    }
}

/// A configuration of the container with which the content that serves failed is not tried again: it is refused
/// until it is changed. The journal, which is about to be deleted, knows it.
pub(super) fn refuse_spec(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    let Outcome::RolledBack { failure } = &report.outcome else { return Ok(()) };
    let is_same = report.candidate.as_ref().map(|c| &c.digest) == report.serving.as_ref().map(|s| &s.digest);
    if !is_same || failure.blame != Blame::Image {
        return Ok(());
    }
    tx.execute(
        "INSERT OR REPLACE INTO refused_specs (project, spec, run, reason)
         SELECT project, json_extract(journal, '$.spec'), ?2, ?3 FROM journals
         WHERE project = ?1 AND json_extract(journal, '$.run') = ?2
             AND json_extract(journal, '$.restoring') IS NULL",
        (report.project.as_str(), report.number.0.cast_signed(), failure.reason.as_str()),
    )?;
    Ok(())
}
