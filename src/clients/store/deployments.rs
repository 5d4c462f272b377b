//! Deployments: the journal of the one in flight, the ones that held, the digests that did not.

use chrono::DateTime;
use chrono::Utc;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::named_params;

use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::from_json;
use crate::clients::store::outbox;
use crate::clients::store::outbox::Filer;
use crate::clients::store::parsed;
use crate::clients::store::parsed_opt;
use crate::clients::store::quarantine;
use crate::clients::store::refusals;
use crate::clients::store::runs;
use crate::clients::store::stamp;
use crate::clients::store::to_json;
use crate::config::settings::ContainerSpec;
use crate::model::ContainerId;
use crate::model::Digest;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::RunNumber;
use crate::model::RunReport;
use crate::model::Trigger;
use crate::swap::Journal;

/// A release that proved itself on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The run that deployed it.
    pub run: RunNumber,
    /// What was deployed.
    pub release: Release,
    /// Its container.
    pub container: ContainerId,
    /// Docker's id of its image.
    pub image_id: String,
    /// The container in whose place it came, which is kept as the way back.
    pub replaced: Option<ContainerId>,
    /// What the container was made from.
    pub spec: ContainerSpec,
    /// When it was committed.
    pub deployed_at: DateTime<Utc>,
}

/// A digest that is not tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its content.
    pub digest: Digest,
    /// The run in which it failed.
    pub run: RunNumber,
    /// Why.
    pub reason: String,
}

impl Store {
    /// The deployment in flight, if a crash or a shutdown left one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn journal(&self, project: ProjectName) -> Result<Option<Journal>, StoreError> {
        self.read(move |tx| {
            tx.query_row("SELECT journal FROM journals WHERE project = ?1", [project.as_str()], |row| {
                from_json(row, "journal")
            })
            .optional()
        })
        .await
    }

    /// Records how far a deployment has come, before the next step is begun.
    ///
    /// # Errors
    /// The database cannot be written; the step may not be begun then.
    pub async fn write_journal(&self, journal: Journal) -> Result<(), StoreError> {
        self.write("write-journal", move |tx| {
            tx.prepare_cached(
                "INSERT INTO journals (project, journal) VALUES (?1, ?2)
                 ON CONFLICT (project) DO UPDATE SET journal = ?2",
            )?
            .execute((journal.project.as_str(), to_json(&journal)?))?;
            Ok(())
        })
        .await
    }

    /// Ends a CD run: its outcome, the deployment or the quarantine that follows, the end of its journal
    /// and what its owner is told, together or not at all.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn finish_cd(
        &self,
        report: RunReport,
        deployed: Option<Deployment>,
        file: Filer,
    ) -> Result<(), StoreError> {
        self.write("finish-cd", move |tx| {
            runs::end_run(tx, &report)?;
            if matches!(report.outcome, Outcome::RolledBack { .. }) && report.trigger == Trigger::Watch {
                take_back(tx, &report)?;
            }
            if let Some(deployment) = &deployed {
                record_deployment(tx, &report, deployment)?;
            }
            quarantine::fill(tx, &report)?;
            refusals::refuse_spec(tx, &report)?;
            // Only its own journal: a run that ended without one must not end another's deployment.
            tx.execute(
                "DELETE FROM journals WHERE project = ?1 AND json_extract(journal, '$.run') = ?2",
                (report.project.as_str(), report.number.0.cast_signed()),
            )?;
            outbox::file(tx, &report.project, file)
        })
        .await
    }

    /// The deployment that serves, by the records.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn current(&self, project: ProjectName) -> Result<Option<Deployment>, StoreError> {
        self.standing(project, "current").await
    }

    /// The deployment before the one that serves, whose container is kept as the way back.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn previous(&self, project: ProjectName) -> Result<Option<Deployment>, StoreError> {
        self.standing(project, "previous").await
    }

    /// Every release that held, newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn deployments(&self, project: ProjectName) -> Result<Vec<Deployment>, StoreError> {
        self.read(move |tx| {
            tx.prepare(
                "SELECT * FROM deployments WHERE project = ?1 AND standing <> 'failed' ORDER BY run DESC",
            )?
            .query_map([project.as_str()], deployment_row)?
            .collect()
        })
        .await
    }

    /// The digests of a project that are not tried again.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn quarantined(&self, project: ProjectName) -> Result<Vec<Quarantined>, StoreError> {
        self.read(move |tx| {
            tx.prepare("SELECT digest, run, reason FROM quarantine WHERE project = ?1")?
                .query_map([project.as_str()], |row| {
                    let run: i64 = row.get("run")?;
                    Ok(Quarantined {
                        digest: parsed(row, "digest")?,
                        run: RunNumber(run.unsigned_abs()),
                        reason: row.get("reason")?,
                    })
                })?
                .collect()
        })
        .await
    }

    async fn standing(
        &self,
        project: ProjectName,
        standing: &'static str,
    ) -> Result<Option<Deployment>, StoreError> {
        self.read(move |tx| {
            tx.query_row(
                "SELECT * FROM deployments WHERE project = ?1 AND standing = ?2 ORDER BY run DESC LIMIT 1",
                (project.as_str(), standing),
                deployment_row,
            )
            .optional()
        })
        .await
    }
}

fn record_deployment(
    tx: &Transaction<'_>,
    report: &RunReport,
    deployment: &Deployment,
) -> rusqlite::Result<()> {
    let project = &report.project;
    // What was made anew in a rollback has nothing behind it: the container before it is gone or did not hold.
    let (current, previous) = match report.outcome {
        Outcome::RolledBack { .. } => ("past", "past"),
        _ => ("previous", "past"),
    };
    tx.execute(
        "UPDATE deployments SET standing = CASE standing WHEN 'current' THEN ?2 ELSE ?3 END
         WHERE project = ?1 AND standing IN ('current', 'previous')",
        (project.as_str(), current, previous),
    )?;
    tx.execute("DELETE FROM refused_specs WHERE project = ?1", [project.as_str()])?;
    // What has proven itself is free of what was held against it: its owner asked for it all the same.
    tx.execute(
        "DELETE FROM quarantine WHERE project = ?1 AND digest = ?2",
        (project.as_str(), deployment.release.digest.as_str()),
    )?;
    insert_deployment(tx, project, deployment, "current")
}

/// Writes a deployment down as what it is now.
pub(super) fn insert_deployment(
    tx: &Transaction<'_>,
    project: &ProjectName,
    deployment: &Deployment,
    standing: &'static str,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO deployments (run, project, tag, digest, container_id, image_id, replaced, spec, deployed_at, standing)
         VALUES (:run, :project, :tag, :digest, :container, :image, :replaced, :spec, :at, :standing)",
        named_params! {
            ":run": deployment.run.0.cast_signed(),
            ":project": project.as_str(),
            ":tag": deployment.release.tag.as_str(),
            ":digest": deployment.release.digest.as_str(),
            ":container": deployment.container.as_str(),
            ":image": deployment.image_id,
            ":replaced": deployment.replaced.as_ref().map(ContainerId::as_str),
            ":spec": to_json(&deployment.spec)?,
            ":at": stamp(deployment.deployed_at),
            ":standing": standing,
        },
    )?;
    Ok(())
}

/// A committed deployment that failed in its watch hands its place to the previous one. Any other run that is
/// rolled back was never committed, and the release that it leaves in place may be the one that it tried.
fn take_back(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    let Some(release) = &report.candidate else { return Ok(()) };
    let project = report.project.as_str();
    let taken_back = tx.execute(
        "UPDATE deployments SET standing = 'failed'
         WHERE project = ?1 AND digest = ?2 AND tag = ?3 AND standing = 'current'",
        (project, release.digest.as_str(), release.tag.as_str()),
    )?;
    if taken_back > 0 {
        tx.execute(
            "UPDATE deployments SET standing = 'current' WHERE project = ?1 AND standing = 'previous'",
            [project],
        )?;
    }
    Ok(())
}

fn deployment_row(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    let run: i64 = row.get("run")?;
    Ok(Deployment {
        run: RunNumber(run.unsigned_abs()),
        release: Release { tag: parsed(row, "tag")?, digest: parsed(row, "digest")? },
        container: parsed(row, "container_id")?,
        image_id: row.get("image_id")?,
        replaced: parsed_opt(row, "replaced")?,
        spec: from_json(row, "spec")?,
        deployed_at: parsed(row, "deployed_at")?,
    })
}
