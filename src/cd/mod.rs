//! Continuous deployment: one image, from its tag on Docker Hub to a container that has proven itself, or
//! back to the one before it.
//!
//! [`Release`] → [`pull`] → [`Pulled`](pull::Pulled) → [`drive`], which follows the pure
//! machine of [`crate::swap`] and calls [`prove`] → [`Ended`]. [`recover`] enters the machine at start-up,
//! [`take_back`] when a deployment fails in its watch.

pub mod begin;
pub mod drive;
pub mod origin;
pub mod prove;
pub mod pull;
pub mod recover;
pub mod retain;
pub mod take_back;

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::cd::drive::Driven;
use crate::cd::origin::commit_of;
use crate::clients::store::Deployment;
use crate::config::settings::ContainerSpec;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::Container;
use crate::model::Failure;
use crate::model::LABEL_DIGEST;
use crate::model::LABEL_TAG;
use crate::model::Outcome;
use crate::model::Release;
use crate::model::RunReport;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::swap::Ending;
use crate::swap::Journal;

/// A CD run that is over, with what its end has to record.
#[derive(Debug)]
pub struct Ended {
    /// What happened.
    pub report: RunReport,
    /// The deployment that was committed, if one was.
    pub deployment: Option<Deployment>,
}

/// The deployment cannot be ended for now. Its journal stands, and [`recover`] takes it up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspended;

/// Deploys a release. When `cancelled` fires before anything was changed, the run ends there; after that it
/// goes on to its end.
///
/// # Errors
/// [`Suspended`] if Docker or the database stopped it at a point from which only recovery may go on.
pub async fn run(
    run: &Run,
    deploy: &DeploySettings,
    release: Release,
    cancelled: &CancellationToken,
) -> Result<Ended, Suspended> {
    let pull = run.stage(Stage::Pull, pull::pull(run, deploy, release.clone()));
    let begun = async {
        let pulled = pull.await?;
        // A build keeps every core busy, and a container proves itself badly on a busy board.
        let board = Arc::clone(&run.board).lock_owned().await;
        Ok((pulled, board))
    };
    let begun = tokio::select! {
        begun = begun => begun,
        () = cancelled.cancelled() => {
            return Ok(ended(run, &deploy.spec, release, Outcome::Interrupted(Stage::Pull)).await);
        }
    };
    let journal = match begun {
        Ok((pulled, board)) => begin::begin(run, deploy, &pulled).await.map(|journal| (journal, board)),
        Err(error) => Err(error),
    };
    match journal {
        Ok((journal, _board)) => drive_to_end(run, deploy, journal).await,
        Err(error) => Ok(nothing_changed(run, &deploy.spec, release, &error).await),
    }
}

/// Follows a deployment's machine from wherever its journal stands to an end.
///
/// # Errors
/// [`Suspended`] as for [`run`].
pub(crate) async fn drive_to_end(
    run: &Run,
    deploy: &DeploySettings,
    journal: Journal,
) -> Result<Ended, Suspended> {
    let image_id = journal.image_id.clone();
    // Asked beside the work, so that GitHub keeps neither the swap nor its end waiting.
    let commit = Box::pin(commit_of(&run.clients, &run.project, &image_id));
    let (commit, ended) = tokio::join!(commit, Box::pin(drive_on(run, deploy, journal)));
    let mut ended = ended?;
    ended.report.commit = commit;
    Ok(ended)
}

async fn drive_on(run: &Run, deploy: &DeploySettings, mut journal: Journal) -> Result<Ended, Suspended> {
    let driven = drive::drive(run, deploy, &mut journal).await;
    let candidate = journal.candidate.clone();
    let spec = journal.spec.clone();
    match driven {
        Driven::Ended(Ending::Deployed) => deployed(run, journal).await,
        Driven::Ended(Ending::RolledBack(failure)) => {
            Ok(ended(run, &spec, candidate, Outcome::RolledBack { failure }).await)
        }
        Driven::Ended(Ending::NothingBefore(failure)) => {
            Ok(ended(run, &spec, candidate, Outcome::Failed(failure)).await)
        }
        Driven::Ended(Ending::Lost(failure)) => {
            let reason = format!("{}; and the container before it is gone", failure.reason);
            Ok(ended(run, &spec, candidate, Outcome::Down(Failure { reason, ..failure })).await)
        }
        Driven::WayBackFailed { failure, way_back } => {
            let reason = format!("{}; and the way back failed: {:#}", failure.reason, way_back.source);
            let failure = Failure { reason: run.log.redact(&reason), ..failure };
            Ok(ended(run, &spec, candidate, Outcome::Down(failure)).await)
        }
        Driven::NotBegun(error) => Ok(nothing_changed(run, &spec, candidate, &error).await),
        Driven::Suspended(error) => {
            run.log.header(&format!("suspended, to be taken up again: {:#}", error.source));
            slog::warn!(run.journal, "deployment suspended, to be taken up again: {:#}", error.source);
            Err(Suspended)
        }
    }
}

/// A success is a container that Docker shows under the service's name, made from this release.
async fn deployed(run: &Run, journal: Journal) -> Result<Ended, Suspended> {
    let release = journal.candidate;
    let container = match serving(run, &journal.spec).await {
        Serving::Unknown => return Err(Suspended),
        // If it ended in this very moment, that is for the watch to see: it has proven itself.
        Serving::Shown(now, container) | Serving::Stopped(now, container) if now == release => container,
        other @ (Serving::Nothing | Serving::Stopped(..) | Serving::Shown(..)) => {
            let failure = Failure {
                stage: Stage::Commit,
                blame: Blame::World,
                reason: format!("{release} was committed, but Docker shows {other} in its place"),
            };
            return Ok(ended(run, &journal.spec, release, Outcome::Down(failure)).await);
        }
    };
    let deployment = Deployment {
        run: run.number,
        release: release.clone(),
        container: container.id,
        image_id: container.image_id,
        spec: journal.spec,
        deployed_at: run.clients.clock.now(),
    };
    let outcome = Outcome::Deployed(release.clone());
    let report = run.report(Some(release.clone()), Some(release), outcome);
    Ok(Ended { report, deployment: Some(deployment) })
}

async fn nothing_changed(run: &Run, spec: &ContainerSpec, candidate: Release, error: &StageError) -> Ended {
    ended(run, spec, candidate, Outcome::Failed(run.failure(error))).await
}

async fn ended(run: &Run, spec: &ContainerSpec, candidate: Release, outcome: Outcome) -> Ended {
    let serving = serving(run, spec).await.release();
    Ended { report: run.report(Some(candidate), serving, outcome), deployment: None }
}

/// What stands under the service's name at this moment, by what Docker says.
#[derive(Debug)]
pub enum Serving {
    /// Docker could not be asked.
    Unknown,
    /// No container of ours.
    Nothing,
    /// A container of ours that does not run, and what it was made from.
    Stopped(Release, Box<Container>),
    /// A running container of ours, and what it was made from.
    Shown(Release, Box<Container>),
}

impl Serving {
    /// The release that runs, if one is known to.
    pub fn release(self) -> Option<Release> {
        match self {
            Self::Shown(release, _) => Some(release),
            Self::Unknown | Self::Nothing | Self::Stopped(..) => None,
        }
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no answer"),
            Self::Nothing => f.write_str("nothing"),
            Self::Stopped(release, _) => write!(f, "{release}, which does not run"),
            Self::Shown(release, _) => release.fmt(f),
        }
    }
}

/// Asks Docker what serves.
pub async fn serving(run: &Run, spec: &ContainerSpec) -> Serving {
    match run.clients.docker.inspect(spec.name.as_str()).await {
        Ok(Some(container)) => match release_of(&container) {
            Some(release) if container.is_running() => Serving::Shown(release, Box::new(container)),
            Some(release) => Serving::Stopped(release, Box::new(container)),
            None => Serving::Nothing,
        },
        Ok(None) => Serving::Nothing,
        Err(error) => {
            slog::warn!(run.journal, "cannot ask Docker what serves: {error:#}");
            Serving::Unknown
        }
    }
}

/// The release a container of ours was made from, by its labels.
pub fn release_of(container: &Container) -> Option<Release> {
    let tag = container.labels.get(LABEL_TAG)?.parse().ok()?;
    let digest = container.labels.get(LABEL_DIGEST)?.parse().ok()?;
    Some(Release { tag, digest })
}
