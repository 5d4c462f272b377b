//! A database that is not whole yet: a new one, which may stand in the place of one that was lost. What can be found
//! out again is put into it in one transaction; until then it says so of itself.

use std::path::Path;

use chrono::DateTime;
use chrono::Utc;
use rusqlite::OptionalExtension;
use rusqlite::Transaction;
use rusqlite::named_params;

use crate::clients::store::Deployment;
use crate::clients::store::Queued;
use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::damage;
use crate::clients::store::deployments::insert_deployment;
use crate::clients::store::outbox;
use crate::clients::store::parsed;
use crate::clients::store::runs::RunRow;
use crate::clients::store::stamp;
use crate::fault_point::Effect;
use crate::model::CommitSha;
use crate::model::ProjectName;
use crate::model::RunNumber;
use crate::model::Stage;
use crate::model::Tag;

/// Where a database that is not whole yet comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// What was wrong with the one before it; `None` if there was none.
    pub damage: Option<String>,
    /// Where that one is now.
    pub kept: Option<String>,
}

/// What was found out again.
#[derive(Debug, Clone, Default)]
pub struct Rebuilt {
    /// The runs, by their logs. Those without an outcome were cut off.
    pub runs: Vec<RunRow>,
    /// The highest run number seen anywhere.
    pub highest: RunNumber,
    /// The deployments that serve.
    pub current: Vec<(ProjectName, Deployment)>,
    /// The ways back.
    pub previous: Vec<(ProjectName, Deployment)>,
    /// Commits whose images are pushed, and the run that did it.
    pub pushed: Vec<(ProjectName, CommitSha, RunNumber)>,
    /// Tags that are taken, and by which run.
    pub tags: Vec<(ProjectName, Tag, RunNumber)>,
    /// The mail that tells it.
    pub mail: Option<Queued>,
}

impl Store {
    /// Opens the database of a state folder. One that is damaged, or whose records end before the run `known`, of
    /// which there is a log, is set aside for a new one.
    ///
    /// # Errors
    /// It cannot be reached, read or written, which says nothing against it; or it is too new.
    pub fn open_or_replace(
        state_dir: &Path,
        known: RunNumber,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let path = Self::path(state_dir);
        let damage = match damage::noted(&path) {
            Some(noted) => noted,
            None => match Self::open(state_dir) {
                Ok(store) => match store.falls_short_of(known)? {
                    Some(short) => short,
                    None => return Ok(store),
                },
                Err(StoreError::Damaged { reason, .. }) => reason,
                Err(error) => return Err(error),
            },
        };
        let _effect = Effect::begin("store", "set-aside");
        let kept = damage::set_aside(&path, now)
            .map_err(|error| StoreError::Open { path: path.clone(), source: error.into() })?;
        let store = Self::open(state_dir)?;
        store.with_connection(|connection| {
            connection.execute(
                "UPDATE origin SET damage = ?1, kept = ?2",
                (damage.as_str(), kept.to_string_lossy().as_ref()),
            )
        })?;
        Ok(store)
    }

    /// A log that is younger than the records: they are an old copy, or their last part is lost.
    fn falls_short_of(&self, known: RunNumber) -> Result<Option<String>, StoreError> {
        let last: Option<i64> = self.with_connection(|connection| {
            let is_new: bool =
                connection.query_row("SELECT EXISTS (SELECT * FROM origin)", [], |row| row.get(0))?;
            let last = connection
                .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'runs'", [], |row| row.get(0))
                .optional()?;
            Ok(if is_new { None } else { Some(last.unwrap_or(0)) })
        })?;
        Ok(last.filter(|last| *last < known.0.cast_signed()).map(|last| {
            format!("its records end with run {last}, and there is a log of run {known}: its end is lost, or it is an old copy")
        }))
    }

    /// Where the database comes from, as long as it is not whole.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn origin(&self) -> Result<Option<Origin>, StoreError> {
        self.read(|tx| {
            tx.query_row("SELECT * FROM origin", [], |row| {
                Ok(Origin {
                    made_at: parsed(row, "made_at")?,
                    damage: row.get("damage")?,
                    kept: row.get("kept")?,
                })
            })
            .optional()
        })
        .await
    }

    /// Puts in what was found out again. From here on the database is whole, and numbers go on after the highest.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn rebuild(&self, rebuilt: Rebuilt) -> Result<(), StoreError> {
        self.write("rebuild", move |tx| {
            rebuilt.runs.iter().try_for_each(|run| insert_run(tx, run))?;
            go_on_after(tx, rebuilt.highest)?;
            for (standing, deployments) in [("current", &rebuilt.current), ("previous", &rebuilt.previous)] {
                for (project, deployment) in deployments {
                    insert_deployment(tx, project, deployment, standing)?;
                }
            }
            for (project, sha, run) in &rebuilt.pushed {
                tx.execute(
                    "INSERT OR REPLACE INTO judgements (project, sha, verdict, run) VALUES (?1, ?2, 'pushed', ?3)",
                    (project.as_str(), sha.as_str(), run.0.cast_signed()),
                )?;
            }
            for (project, tag, run) in &rebuilt.tags {
                tx.execute(
                    "INSERT INTO reservations (project, tag, run) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    (project.as_str(), tag.as_str(), run.0.cast_signed()),
                )?;
            }
            rebuilt.mail.iter().try_for_each(|mail| outbox::enqueue(tx, mail))?;
            tx.execute("DELETE FROM origin", [])?;
            Ok(())
        })
        .await
    }
}

fn insert_run(tx: &Transaction<'_>, run: &RunRow) -> rusqlite::Result<()> {
    let outcome = run.finished_at.map(|_| run.outcome.as_str());
    tx.execute(
        "INSERT OR IGNORE INTO runs
             (number, project, kind, trigger, tag, stage, outcome, failed_stage, reason, started_at, finished_at, log)
         VALUES (:number, :project, :kind, :trigger, :tag, :stage, :outcome, :failed, :reason, :began, :ended, :log)",
        named_params! {
            ":number": run.number.0.cast_signed(),
            ":project": run.project.as_str(),
            ":kind": run.kind.word(),
            ":trigger": run.trigger.word(),
            ":tag": run.tag.as_ref().map(Tag::as_str),
            ":stage": run.stage.map(Stage::word),
            ":outcome": outcome,
            ":failed": run.failed_stage.map(Stage::word),
            ":reason": run.reason,
            ":began": stamp(run.started_at),
            ":ended": run.finished_at.map(stamp),
            ":log": run.log.to_string_lossy().as_ref(),
        },
    )?;
    Ok(())
}

fn go_on_after(tx: &Transaction<'_>, highest: RunNumber) -> rusqlite::Result<()> {
    let highest = highest.0.cast_signed();
    let raised =
        tx.execute("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'runs'", [highest])?;
    if raised == 0 {
        tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', ?1)", [highest])?;
    }
    Ok(())
}
