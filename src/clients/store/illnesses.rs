//! Services that fell ill after their watch, of which their owner was told: once, however often the agent restarts.

use rusqlite::OptionalExtension;

use crate::clients::store::Queued;
use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::from_json;
use crate::clients::store::outbox;
use crate::clients::store::to_json;
use crate::health::illness::Illness;
use crate::model::ProjectName;

impl Store {
    /// The illness that was told and is not over.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn illness(&self, project: ProjectName) -> Result<Option<Illness>, StoreError> {
        self.read(move |tx| {
            tx.query_row("SELECT illness FROM illnesses WHERE project = ?1", [project.as_str()], |row| {
                from_json(row, "illness")
            })
            .optional()
        })
        .await
    }

    /// Records an illness, or that there is none any more, together with the mail about it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn record_illness(
        &self,
        project: ProjectName,
        illness: Option<Illness>,
        mail: Option<Queued>,
    ) -> Result<(), StoreError> {
        self.write("record-illness", move |tx| {
            match &illness {
                Some(illness) => tx.execute(
                    "INSERT OR REPLACE INTO illnesses (project, illness) VALUES (?1, ?2)",
                    (project.as_str(), to_json(illness)?),
                )?,
                None => tx.execute("DELETE FROM illnesses WHERE project = ?1", [project.as_str()])?,
            };
            mail.iter().try_for_each(|mail| outbox::enqueue(tx, mail))
        })
        .await
    }
}
