//! The watch after a deployment: a container that was proven and then fails within its watch window gives
//! its place back to the one before it.

use anyhow::anyhow;
use chrono::DateTime;
use chrono::Utc;

use crate::cd::Ended;
use crate::cd::Suspended;
use crate::cd::drive::keep_last_words;
use crate::cd::drive_to_end;
use crate::cd::ended;
use crate::cd::nothing_changed;
use crate::clients::store::Deployment;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::Container;
use crate::model::Failure;
use crate::model::HealthStatus;
use crate::model::Life;
use crate::model::Outcome;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;
use crate::swap::Journal;
use crate::swap::Slot;
use crate::swap::Step;

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

/// Gives the place of a failed deployment back to the one before it. Where there is none, Docker goes on
/// starting what there is, which is more than nothing, and the owner is told.
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
    match begin(run, deployment, reason).await {
        Ok(journal) => {
            // A rollback waits for nothing; but while it goes on no build need begin.
            let _board = run.board.try_lock();
            drive_to_end(run, deploy, journal).await
        }
        Err(error) => match error.blame {
            Blame::Image => Ok(ended(run, &spec, release, Outcome::Down(run.failure(&error))).await),
            Blame::World | Blame::Commit => Ok(nothing_changed(run, &spec, release, &error).await),
        },
    }
}

/// Opens the journal, if the failed deployment still stands in the service's place and the one before it
/// behind it: what cannot be put back is not taken away.
async fn begin(run: &Run, deployment: Deployment, reason: String) -> Result<Journal, StageError> {
    run.enter(Stage::Rollback).await?;
    let containers = run.clients.docker.containers_of(&run.project.name).await;
    let containers = containers.map_err(failed(Stage::Rollback, Blame::World))?;
    let at = |slot: Slot| containers.iter().find(|c| c.name == slot.name(&deployment.spec).as_str());
    let Some(current) = at(Slot::Current).filter(|current| current.id == deployment.container) else {
        let source = anyhow!("{} no longer stands in the service's place", deployment.release);
        return Err(StageError { stage: Stage::Rollback, blame: Blame::World, source });
    };
    let Some(old) = at(Slot::Previous).map(|c| c.id.clone()) else {
        keep_last_words(run, Stage::Prove, current).await;
        let source =
            anyhow!("{reason}; no container stands behind it to go back to, so it is left to Docker");
        return Err(StageError { stage: Stage::Prove, blame: Blame::Image, source });
    };
    let failure = Failure { stage: Stage::Prove, blame: Blame::Image, reason };
    let journal = Journal {
        run: run.number,
        project: run.project.name.clone(),
        made_by: deployment.run,
        candidate: deployment.release,
        image_id: deployment.image_id,
        spec: deployment.spec,
        step: Step::Rollback(failure),
        old: Some(old),
        older: None,
    };
    let written = run.clients.store.write_journal(journal.clone()).await;
    written.map_err(failed(Stage::Rollback, Blame::World))?;
    Ok(journal)
}
