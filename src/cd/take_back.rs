//! The watch after a deployment: a container that was proven and then fails within its watch window gives
//! its place back to the one before it.

use anyhow::anyhow;
use chrono::DateTime;
use chrono::Utc;

use crate::cd::Ended;
use crate::cd::Suspended;
use crate::cd::drive::write;
use crate::cd::drive_to_end;
use crate::cd::ending::nothing_changed;
use crate::clients::store::Deployment;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::Failure;
use crate::model::HealthStatus;
use crate::model::Life;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;
use crate::swap::Journal;
use crate::swap::Slot;
use crate::swap::Step;
use crate::swap::View;

/// What a look at a watched deployment shows: why it should be taken back, if it should.
///
/// A container that someone stopped, paused or removed is left to them; one that ended by itself, that
/// Docker had to start again, or that says it is unhealthy has failed.
pub fn failure_of(container: &Container, deployed_at: DateTime<Utc>) -> Option<String> {
    if container.health == Some(HealthStatus::Unhealthy) {
        return Some("its HEALTHCHECK says unhealthy".to_owned());
    }
    match container.life {
        Life::Restarting => Some("it ended and Docker starts it again and again".to_owned()),
        Life::Running { since } if container.restarts > 0 && since > deployed_at => {
            Some(format!("it ended and Docker had to start it again, {} times so far", container.restarts))
        }
        Life::Exited { out_of_memory: true, .. } => Some("it was killed for want of memory".to_owned()),
        Life::Running { .. } | Life::Paused | Life::Created | Life::Exited { .. } | Life::Dead => None,
    }
}

/// Gives the place of a failed deployment back to the one before it, or to an older one made anew. Where there is
/// none, Docker goes on starting what there is, which is more than nothing, and the owner is told.
///
/// # Errors
/// [`Suspended`] as for any deployment.
pub async fn take_back(
    run: &Run,
    deploy: &DeploySettings,
    deployment: Deployment,
    reason: String,
) -> Result<Ended, Suspended> {
    let (spec, release) = (deployment.spec.clone(), deployment.release.clone());
    match begin(run, deploy, deployment, reason).await {
        Ok(journal) => {
            // A rollback waits for nothing; but while it goes on no build need begin.
            let _board = run.board.try_lock();
            drive_to_end(run, deploy, journal, View::Whole).await
        }
        Err(error) => Ok(nothing_changed(run, &spec, release, &error).await),
    }
}

/// Opens the journal, if the failed deployment is still there and nothing else is in its place.
async fn begin(
    run: &Run,
    deploy: &DeploySettings,
    deployment: Deployment,
    reason: String,
) -> Result<Journal, StageError> {
    run.enter(Stage::Rollback).await?;
    let known: Vec<ContainerId> = deployment.replaced.iter().cloned().collect();
    let standing = run.clients.docker.standing(&run.project.name, &known).await;
    let containers = standing.map_err(failed(Stage::Rollback, Blame::World))?.containers;
    let at = |slot: Slot| containers.iter().find(|c| c.name == slot.name(&deployment.spec).as_str());
    // By their ids: someone may have renamed them.
    let is_there = containers.iter().any(|c| c.id == deployment.container);
    if !is_there || at(Slot::Current).is_some_and(|current| current.id != deployment.container) {
        let source = anyhow!("{} no longer stands in the service's place", deployment.release);
        return Err(StageError { stage: Stage::Rollback, blame: Blame::World, source });
    }
    let replaced = containers.iter().find(|c| Some(&c.id) == deployment.replaced.as_ref());
    let old = replaced.or_else(|| at(Slot::Previous)).map(|c| c.id.clone());
    let previous = run.clients.store.previous(run.project.name.clone()).await;
    let previous = previous.map_err(failed(Stage::Rollback, Blame::World))?;
    let former = previous.filter(|previous| Some(&previous.container) == old.as_ref());
    let former_name = former.map(|former| former.spec.name).filter(|name| *name != deployment.spec.name);
    let failure = Failure { stage: Stage::Prove, blame: Blame::Image, reason };
    let journal = Journal {
        run: run.number,
        project: run.project.name.clone(),
        attempt: 0,
        committed: Some(deployment.container),
        candidate: deployment.release,
        image_id: deployment.image_id,
        spec: deployment.spec,
        order: deploy.order,
        step: Step::Rollback(failure),
        old,
        older: None,
        former_name,
        restoring: None,
    };
    write(run, &journal).await?;
    Ok(journal)
}
