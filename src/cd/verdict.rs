//! What a proof leads to: the step that follows it, and whose fault a failure is.

use anyhow::anyhow;

use crate::cd::drive::Driven;
use crate::cd::drive::look;
use crate::cd::prove;
use crate::clients::docker::DockerError;
use crate::clients::store::StoreError;
use crate::config::settings::ContainerSpec;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::Container;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;
use crate::swap;
use crate::swap::Act;
use crate::swap::Ending;
use crate::swap::Journal;
use crate::swap::Next;
use crate::swap::Role;
use crate::swap::Shown;
use crate::swap::Step;
use crate::swap::View;

/// Proves the candidate; gives the step that follows. `view` notes whether Docker was away meanwhile.
///
/// # Errors
/// Docker does not say whether it holds: the deployment cannot go on for now.
pub(super) async fn of_candidate(
    run: &Run,
    deploy: &DeploySettings,
    journal: &Journal,
    shown: &Shown,
    view: &mut View,
) -> Result<Step, StageError> {
    let Some(new) = &shown.new else { return Ok(Step::Prove) };
    let error = match prove::prove(run, &deploy.prove, &journal.spec, new).await {
        Ok(()) => return Ok(Step::Commit),
        Err(error) => error,
    };
    // Docker may have died under the candidate: then what it shows now says so, and that is not
    // the image's fault.
    let now = look(run, journal, view).await?;
    let error = match swap::next(journal, &now) {
        Next::Enter(step) => return Ok(step),
        // Whether it ended by itself, nobody saw: it is started once more, and shows it again.
        Next::Act(Act::Start(Role::New)) => return Ok(Step::Prove),
        Next::Prove(_) | Next::Act(_) | Next::End(_) => with_true_blame(run, new, error).await,
    };
    Ok(Step::Rollback(run.failure(&error)))
}

/// A container that was told to stop, by a person or by a Docker that shuts down, did not fail.
async fn with_true_blame(run: &Run, container: &Container, error: StageError) -> StageError {
    match error.blame {
        Blame::World | Blame::Commit => return error,
        Blame::Image => {}
    }
    match run.clients.docker.was_told_to_stop(container).await {
        Ok(false) => error,
        Ok(true) => {
            let source = error.source.context("it was stopped from outside while it was being proven");
            StageError { blame: Blame::World, source, ..error }
        }
        Err(silence) => {
            let source = error.source.context(format!("whether it failed by itself is not known: {silence}"));
            StageError { blame: Blame::World, source, ..error }
        }
    }
}

/// Proves the old container, which has been started again; `None` if what Docker shows now tells what to do, since
/// someone has taken it away or told it to stop.
pub(super) async fn of_way_back(
    run: &Run,
    deploy: &DeploySettings,
    journal: &Journal,
    shown: &Shown,
) -> Option<Driven> {
    let Step::Rollback(failure) = journal.step.clone() else {
        let why = anyhow!("the old container is only proven in a rollback");
        return Some(Driven::Suspended(StageError {
            stage: Stage::Rollback,
            blame: Blame::World,
            source: why,
        }));
    };
    let Some(old) = &shown.old else { return Some(Driven::Ended(Ending::Lost(failure))) };
    let made_from = match made_from(run, journal, old).await {
        Ok(spec) => spec,
        Err(error) => return Some(Driven::Suspended(error)),
    };
    let error = match prove::prove(run, &deploy.prove, &made_from, old).await {
        Ok(()) => return Some(Driven::Ended(Ending::RolledBack(failure))),
        Err(error) => error,
    };
    match error.blame {
        Blame::World if is_away(&error) => None,
        Blame::World => Some(Driven::Suspended(error)),
        Blame::Image | Blame::Commit => match with_true_blame(run, old, error).await {
            StageError { blame: Blame::World, source, .. } => {
                run.log.line(Stage::Rollback, &format!("looking again: {source:#}"));
                None
            }
            way_back => Some(Driven::WayBackFailed { failure, way_back }),
        },
    }
}

/// What the old container was made from and proven by, by the records: the candidate may publish other ports, or be
/// asked what only it can answer.
async fn made_from(run: &Run, journal: &Journal, old: &Container) -> Result<ContainerSpec, StageError> {
    let deployments = run.clients.store.deployments(journal.project.clone()).await;
    let deployments = deployments.map_err(failed::<StoreError>(Stage::Rollback, Blame::World))?;
    let recorded = deployments.into_iter().find(|deployment| deployment.container == old.id);
    Ok(recorded.map_or_else(|| journal.spec.clone(), |deployment| deployment.spec))
}

/// Whether it is the container, or Docker, that is not there any more.
fn is_away(error: &StageError) -> bool {
    matches!(
        error.source.downcast_ref::<DockerError>(),
        Some(DockerError::NotFound { .. } | DockerError::Unreachable { .. })
    )
}
