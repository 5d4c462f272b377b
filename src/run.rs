//! What every stage of a run is given: the project, the clients, the run's log; and the one way in which
//! a stage is entered and left, so that the database, the log and the report always agree on it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context;
use chrono::DateTime;
use chrono::Utc;

use crate::clients::Clients;
use crate::clients::store::Begun;
use crate::clients::store::RunRow;
use crate::config::settings::ProjectSettings;
use crate::logging::redact::Redactor;
use crate::logging::run_log;
use crate::logging::run_log::NewRunLog;
use crate::logging::run_log::OUTPUT_LIMIT;
use crate::logging::run_log::RunLog;
use crate::model::Blame;
use crate::model::Commit;
use crate::model::CommitSha;
use crate::model::Failure;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::RunKind;
use crate::model::RunNumber;
use crate::model::RunReport;
use crate::model::Stage;
use crate::model::StageError;
use crate::model::Trigger;

/// The board's attention: a build and a swap each want all of it, so that no swap is proven while a build
/// keeps every core busy.
pub type Board = Arc<tokio::sync::Mutex<()>>;

/// A run while it goes on.
#[derive(Debug)]
pub struct Run {
    /// Its number.
    pub number: RunNumber,
    /// CI or CD.
    pub kind: RunKind,
    /// Why it was started.
    pub trigger: Trigger,
    /// Its project.
    pub project: Arc<ProjectSettings>,
    /// The outside world.
    pub clients: Arc<Clients>,
    /// Its log file.
    pub log: RunLog,
    /// The agent's journal, with the run's number and project attached.
    pub journal: slog::Logger,
    /// Shared by all runs of the agent.
    pub board: Board,
    started_at: DateTime<Utc>,
    progress: Mutex<Progress>,
}

/// What the report will tell of the way.
#[derive(Debug, Default)]
struct Progress {
    stages: Vec<(Stage, Duration)>,
    entered: Option<(Stage, Duration)>,
    about: Option<Commit>,
    away_since: Option<Duration>,
    gap: Option<Duration>,
}

/// What a run is about to do, for its first log line.
#[derive(Debug, Clone)]
pub struct Intent {
    /// CI or CD.
    pub kind: RunKind,
    /// Why it is started.
    pub trigger: Trigger,
    /// The commit of a CI run.
    pub commit: Option<CommitSha>,
    /// The release of a CD run, as far as it is known.
    pub release: Option<Release>,
    /// From what to what, and why now, as a sentence.
    pub reason: String,
}

/// What all runs of an agent share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The outside world.
    pub clients: Arc<Clients>,
    /// The agent's journal.
    pub journal: slog::Logger,
    /// The board's attention.
    pub board: Board,
    /// Takes the secrets out of what is logged.
    pub redactor: Redactor,
    /// Where the run logs go.
    pub log_dir: PathBuf,
}

impl Run {
    /// Takes a number, opens the log file and writes its first line.
    ///
    /// # Errors
    /// The database or the log folder cannot be written. Nothing has been started then.
    pub async fn begin(
        shared: &Shared,
        project: Arc<ProjectSettings>,
        intent: Intent,
    ) -> anyhow::Result<Self> {
        let clients = Arc::clone(&shared.clients);
        let started_at = clients.clock.now();
        let begun = Begun {
            project: project.name.clone(),
            kind: intent.kind,
            trigger: intent.trigger,
            commit: intent.commit,
            release: intent.release,
            started_at,
        };
        let (log_dir, name) = (shared.log_dir.clone(), project.name.clone());
        let place = move |number| run_log::path(&log_dir, &name, number, started_at);
        let (number, _) = clients.store.begin_run(begun, place).await.context("take a run number")?;
        let new = new_log(shared, &project.name, number, started_at);
        // A full disk is no reason not to deploy: the run goes on with its log in memory.
        let log = RunLog::create(new.clone()).unwrap_or_else(|error| RunLog::in_memory(new, &error));
        let run = Self::assemble(shared, project, (number, intent.kind, intent.trigger), log, started_at);
        run.log.header(&format!(
            "run {number}, {} of {}, trigger {}: {}",
            run.kind, run.project.name, run.trigger, intent.reason
        ));
        slog::info!(run.journal, "{} run started: {}", run.kind, intent.reason);
        Ok(run)
    }

    /// Takes up a run that a crash or a shutdown cut off: same number, same log file.
    pub fn resume(shared: &Shared, project: Arc<ProjectSettings>, row: &RunRow, reason: &str) -> Self {
        let new = new_log(shared, &project.name, row.number, row.started_at);
        let log = RunLog::resume(new.clone()).unwrap_or_else(|error| RunLog::in_memory(new, &error));
        let run = Self::assemble(shared, project, (row.number, row.kind, row.trigger), log, row.started_at);
        run.log.header(&format!("run {} goes on: {reason}", run.number));
        slog::info!(run.journal, "{} run goes on: {reason}", run.kind);
        run
    }

    fn assemble(
        shared: &Shared,
        project: Arc<ProjectSettings>,
        (number, kind, trigger): (RunNumber, RunKind, Trigger),
        log: RunLog,
        started_at: DateTime<Utc>,
    ) -> Self {
        let journal = shared.journal.new(slog::o!("run" => number.0, "project" => project.name.to_string()));
        Self {
            number,
            kind,
            trigger,
            project,
            clients: Arc::clone(&shared.clients),
            log,
            journal,
            board: Arc::clone(&shared.board),
            started_at,
            progress: Mutex::default(),
        }
    }

    /// Enters a stage, does its work, and records how it went.
    ///
    /// # Errors
    /// What the work failed with, or the world's failure if the stage cannot be recorded.
    pub async fn stage<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T, StageError>>,
    ) -> Result<T, StageError> {
        self.enter(stage).await?;
        let result = work.await;
        self.leave();
        match &result {
            Ok(_) => self.log.line(stage, "done"),
            Err(error) => self.log.line(stage, &format!("failed: {:#}", error.source)),
        }
        self.log.end_stage(stage).await;
        result
    }

    /// Enters a stage; the one before it is left.
    ///
    /// # Errors
    /// The stage cannot be recorded.
    pub async fn enter(&self, stage: Stage) -> Result<(), StageError> {
        self.leave();
        self.progress().entered = Some((stage, self.clients.clock.monotonic()));
        slog::info!(self.journal, "{stage}");
        let recorded = self.clients.store.enter_stage(self.number, stage).await;
        recorded.map_err(|error| StageError { stage, blame: Blame::World, source: error.into() })
    }

    /// The stage the run is in.
    pub fn current_stage(&self) -> Option<Stage> {
        self.progress().entered.map(|(stage, _)| stage)
    }

    /// Notes which commit the run is about.
    pub fn is_about(&self, commit: Commit) {
        self.progress().about = Some(commit);
    }

    /// Notes that from now on nothing serves.
    pub fn service_stops(&self) {
        let now = self.clients.clock.monotonic();
        self.progress().away_since.get_or_insert(now);
    }

    /// Notes that the service has answered.
    pub fn service_answers(&self) {
        let now = self.clients.clock.monotonic();
        let mut progress = self.progress();
        if let Some(since) = progress.away_since.take() {
            progress.gap = Some(now.saturating_sub(since));
        }
    }

    /// The report of the run, ended now.
    pub fn report(
        &self,
        candidate: Option<Release>,
        serving: Option<Release>,
        outcome: Outcome,
    ) -> RunReport {
        self.leave();
        let failed_stage = outcome.stopped_at();
        let (commit, stages, gap) = {
            let progress = self.progress();
            (progress.about.clone(), progress.stages.clone(), progress.gap)
        };
        let report = RunReport {
            number: self.number,
            project: self.project.name.clone(),
            kind: self.kind,
            trigger: self.trigger,
            commit,
            candidate,
            outcome,
            serving,
            started_at: self.started_at,
            finished_at: self.clients.clock.now(),
            stages,
            gap,
            log: self.log.path().to_owned(),
            last_lines: failed_stage.map(|stage| self.log.last_lines(stage)).unwrap_or_default(),
        };
        self.log.header(&format!("run {} ended: {}", self.number, in_words(&report)));
        self.log.sync();
        slog::info!(self.journal, "{} run ended: {}", self.kind, in_words(&report));
        report
    }

    /// A stage's error in the form in which it is kept, with the secrets taken out.
    pub fn failure(&self, error: &StageError) -> Failure {
        let reason = self.log.redact(&format!("{:#}", error.source));
        Failure { stage: error.stage, blame: error.blame, reason }
    }

    fn leave(&self) {
        let now = self.clients.clock.monotonic();
        let mut progress = self.progress();
        if let Some((stage, since)) = progress.entered.take() {
            progress.stages.push((stage, now.saturating_sub(since)));
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_log<'a>(
    shared: &'a Shared,
    project: &'a ProjectName,
    number: RunNumber,
    started_at: DateTime<Utc>,
) -> NewRunLog<'a> {
    let clock = shared.clients.clock.clone();
    NewRunLog {
        log_dir: &shared.log_dir,
        project,
        number,
        started_at,
        redactor: shared.redactor.clone(),
        now: Arc::new(move || clock.now()),
        output_limit: OUTPUT_LIMIT,
        journal: shared.journal.clone(),
    }
}

/// Says where and by whose fault an error stopped the run.
pub fn failed<E: Into<anyhow::Error>>(stage: Stage, blame: Blame) -> impl FnOnce(E) -> StageError {
    move |error| StageError { stage, blame, source: error.into() }
}

/// How a run ended, in one clause.
pub fn in_words(report: &RunReport) -> String {
    match &report.outcome {
        Outcome::Pushed(release) => format!("pushed {release}"),
        Outcome::Deployed(release) => format!("deployed {release}"),
        Outcome::RolledBack { failure } => {
            let serving =
                report.serving.as_ref().map_or_else(|| "the previous one".to_owned(), Release::to_string);
            format!("rolled back, {serving} runs again: {}: {}", failure.stage, failure.reason)
        }
        Outcome::Failed(failure) => format!("{} failed: {}", failure.stage, failure.reason),
        Outcome::Down(failure) => format!("DOWN, {} failed: {}", failure.stage, failure.reason),
        Outcome::Superseded { by, stage } => format!("superseded by {} at {stage}", by.short()),
        Outcome::Interrupted(stage) => format!("interrupted at {stage}"),
    }
}
