//! Runs: their numbers, how far they came, how they ended.

use std::path::PathBuf;

use chrono::DateTime;
use chrono::Utc;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::named_params;
use serde::Serialize;

use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::orders;
use crate::clients::store::outbox;
use crate::clients::store::outbox::Filer;
use crate::clients::store::parsed;
use crate::clients::store::parsed_opt;
use crate::clients::store::stamp;
use crate::clients::store::statuses;
use crate::model::Blame;
use crate::model::CommitSha;
use crate::model::CommitStatus;
use crate::model::Digest;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::RunKind;
use crate::model::RunNumber;
use crate::model::RunReport;
use crate::model::Stage;
use crate::model::Tag;
use crate::model::Trigger;

/// A run as it begins.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its project.
    pub project: ProjectName,
    /// CI or CD.
    pub kind: RunKind,
    /// Why it was started.
    pub trigger: Trigger,
    /// The commit of a CI run.
    pub commit: Option<CommitSha>,
    /// The release of a CD run.
    pub release: Option<Release>,
    /// When.
    pub started_at: DateTime<Utc>,
}

/// A run as history shows it. The field names are the contract of `homeport runs --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Its number.
    pub number: RunNumber,
    /// Its project.
    pub project: ProjectName,
    /// CI or CD.
    pub kind: RunKind,
    /// Why it was started.
    pub trigger: Trigger,
    /// The commit, where one is known.
    pub commit: Option<CommitSha>,
    /// The tag that was pushed or deployed.
    pub tag: Option<Tag>,
    /// The digest that was pushed or deployed.
    pub digest: Option<Digest>,
    /// The outcome's word; `running` while it goes on.
    pub outcome: String,
    /// The stage that failed or was cut off.
    pub failed_stage: Option<Stage>,
    /// Why, on one line.
    pub reason: Option<String>,
    /// The stage entered last.
    pub stage: Option<Stage>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its log file.
    pub log: PathBuf,
}

impl Store {
    /// Takes the next run number, for good, and says where the run's log file will be.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn begin_run(
        &self,
        begun: Begun,
        log_path: impl FnOnce(RunNumber) -> PathBuf + Send + 'static,
    ) -> Result<(RunNumber, PathBuf), StoreError> {
        self.write("begin-run", move |tx| {
            tx.prepare_cached(
                "INSERT INTO runs (project, kind, trigger, commit_sha, tag, digest, started_at)
                 VALUES (:project, :kind, :trigger, :commit, :tag, :digest, :started_at)",
            )?
            .execute(named_params! {
                ":project": begun.project.as_str(),
                ":kind": begun.kind.word(),
                ":trigger": begun.trigger.word(),
                ":commit": begun.commit.as_ref().map(CommitSha::as_str),
                ":tag": begun.release.as_ref().map(|r| r.tag.as_str()),
                ":digest": begun.release.as_ref().map(|r| r.digest.as_str()),
                ":started_at": stamp(begun.started_at),
            })?;
            let number = RunNumber(tx.last_insert_rowid().unsigned_abs());
            let log = log_path(number);
            tx.execute(
                "UPDATE runs SET log = ?2 WHERE number = ?1",
                (number.0.cast_signed(), log.to_string_lossy().as_ref()),
            )?;
            Ok((number, log))
        })
        .await
    }

    /// Records that a run enters a stage, so that start-up knows where a crash cut it off.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn enter_stage(&self, run: RunNumber, stage: Stage) -> Result<(), StoreError> {
        self.write("enter-stage", move |tx| {
            tx.execute("UPDATE runs SET stage = ?2 WHERE number = ?1", (run.0.cast_signed(), stage.word()))?;
            Ok(())
        })
        .await
    }

    /// Ends a CI run: its outcome, the judgement on its commit and what its owner is told, together or not at
    /// all.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn finish_ci(
        &self,
        report: RunReport,
        status: Option<CommitStatus>,
        file: Filer,
    ) -> Result<(), StoreError> {
        self.write("finish-ci", move |tx| {
            end_run(tx, &report)?;
            judge(tx, &report)?;
            orders::carried_out(tx, &report)?;
            status.iter().try_for_each(|status| statuses::keep(tx, status))?;
            outbox::file(tx, &report.project, file)
        })
        .await
    }

    /// The runs that have begun and not ended: what a crash left.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unfinished_runs(&self) -> Result<Vec<RunRow>, StoreError> {
        self.read(|tx| {
            tx.prepare("SELECT * FROM runs WHERE outcome IS NULL ORDER BY number")?
                .query_map([], run_row)?
                .collect()
        })
        .await
    }

    /// The newest runs, newest first, of one project or of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn runs(&self, project: Option<ProjectName>, limit: u32) -> Result<Vec<RunRow>, StoreError> {
        self.read(move |tx| {
            let project = project.as_ref().map(ProjectName::as_str);
            tx.prepare("SELECT * FROM runs WHERE ?1 IS NULL OR project = ?1 ORDER BY number DESC LIMIT ?2")?
                .query_map((project, limit), run_row)?
                .collect()
        })
        .await
    }

    /// One run.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn run(&self, number: RunNumber) -> Result<Option<RunRow>, StoreError> {
        self.read(move |tx| {
            tx.query_row("SELECT * FROM runs WHERE number = ?1", [number.0.cast_signed()], run_row).optional()
        })
        .await
    }

    /// The newest run of a project and kind.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn last_run(&self, project: ProjectName, kind: RunKind) -> Result<Option<RunRow>, StoreError> {
        self.read(move |tx| {
            tx.query_row(
                "SELECT * FROM runs WHERE project = ?1 AND kind = ?2 ORDER BY number DESC LIMIT 1",
                (project.as_str(), kind.word()),
                run_row,
            )
            .optional()
        })
        .await
    }
}

/// Writes a run's outcome into its row.
pub(super) fn end_run(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    let release = match &report.outcome {
        Outcome::Pushed(release) | Outcome::Deployed(release) => Some(release),
        Outcome::RolledBack { .. }
        | Outcome::Failed(_)
        | Outcome::Down(_)
        | Outcome::Superseded { .. }
        | Outcome::Interrupted(_) => report.candidate.as_ref(),
    };
    let reason = match &report.outcome {
        Outcome::Superseded { by, .. } => Some(format!("{} is newer", by.short())),
        other => other.failure().map(|failure| failure.reason.clone()),
    };
    tx.execute(
        "UPDATE runs SET outcome = :outcome, failed_stage = :failed_stage, reason = :reason,
             commit_sha = coalesce(:commit, commit_sha), tag = coalesce(:tag, tag),
             digest = coalesce(:digest, digest), finished_at = :finished_at
         WHERE number = :number",
        named_params! {
            ":number": report.number.0.cast_signed(),
            ":outcome": report.outcome.word(),
            ":failed_stage": report.outcome.stopped_at().map(Stage::word),
            ":reason": reason,
            ":commit": report.commit.as_ref().map(|commit| commit.sha.as_str()),
            ":tag": release.map(|r| r.tag.as_str()),
            ":digest": release.map(|r| r.digest.as_str()),
            ":finished_at": stamp(report.finished_at),
        },
    )?;
    Ok(())
}

/// A commit is judged by a push, or by a failure of its own; the world's failures leave it open.
fn judge(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    let Some(commit) = &report.commit else { return Ok(()) };
    let (verdict, reason) = match &report.outcome {
        Outcome::Pushed(_) => ("pushed", ""),
        Outcome::Failed(failure) if failure.blame == Blame::Commit => ("failed", failure.reason.as_str()),
        Outcome::Failed(_)
        | Outcome::Superseded { .. }
        | Outcome::Interrupted(_)
        | Outcome::Deployed(_)
        | Outcome::RolledBack { .. }
        | Outcome::Down(_) => return Ok(()),
    };
    tx.execute(
        "INSERT INTO judgements (project, sha, verdict, run, reason) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (project, sha) DO UPDATE SET verdict = ?3, run = ?4, reason = ?5",
        (report.project.as_str(), commit.sha.as_str(), verdict, report.number.0.cast_signed(), reason),
    )?;
    Ok(())
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let number: i64 = row.get("number")?;
    let log: String = row.get("log")?;
    Ok(RunRow {
        number: RunNumber(number.unsigned_abs()),
        project: parsed(row, "project")?,
        kind: parsed(row, "kind")?,
        trigger: parsed(row, "trigger")?,
        commit: parsed_opt(row, "commit_sha")?,
        tag: parsed_opt(row, "tag")?,
        digest: parsed_opt(row, "digest")?,
        outcome: row.get::<_, Option<String>>("outcome")?.unwrap_or_else(|| "running".to_owned()),
        failed_stage: parsed_opt(row, "failed_stage")?,
        reason: row.get("reason")?,
        stage: parsed_opt(row, "stage")?,
        started_at: parsed(row, "started_at")?,
        finished_at: parsed_opt(row, "finished_at")?,
        log: log.into(),
    })
}
