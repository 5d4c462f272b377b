//! The ways back behind the first one: where the old container is gone or does not hold, older releases that held
//! are made anew from what is recorded of them, newest first, until one holds.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;

use crate::cd::drive::write;
use crate::clients::docker::ImageReference;
use crate::clients::store::Deployment;
use crate::config::project::Order;
use crate::config::settings::ContainerSpec;
use crate::model::Blame;
use crate::model::Digest;
use crate::model::Release;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;
use crate::swap::Journal;
use crate::swap::Restoring;
use crate::swap::Step;
use crate::swap::Tried;

/// An image that was cleared away is fetched again for no longer than this: nothing serves meanwhile.
const PULL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Opens the journal of the next way back; `None` when all were tried. Those whose image is not to be had are
/// added to what was tried.
///
/// # Errors
/// The database cannot be used.
pub(super) async fn next(
    run: &Run,
    journal: &Journal,
    setback: &mut Restoring,
) -> Result<Option<Journal>, StageError> {
    for deployment in untried(run, journal, setback).await? {
        let release = deployment.release.clone();
        match image_of(run, &deployment).await {
            Ok(image_id) => {
                run.log.line(Stage::Rollback, &format!("going further back: trying {release}"));
                slog::warn!(run.journal, "going further back: trying {release}");
                let next = reopened(run, journal, setback.clone(), deployment, image_id);
                write(run, &next).await?;
                return Ok(Some(next));
            }
            Err(error) => {
                let reason = run.log.redact(&format!("{error:#}"));
                run.log.line(Stage::Rollback, &format!("{release} cannot be tried: {reason}"));
                setback.tried.push(Tried { release: Some(release), reason, blame: Blame::World });
            }
        }
    }
    Ok(None)
}

/// What held once, newest first, each content once, and neither failed in this run nor is quarantined.
async fn untried(run: &Run, journal: &Journal, setback: &Restoring) -> Result<Vec<Deployment>, StageError> {
    let (store, project) = (&run.clients.store, &run.project.name);
    let read = async {
        anyhow::Ok((store.deployments(project.clone()).await?, store.quarantined(project.clone()).await?))
    };
    let (deployments, quarantined) = read.await.map_err(failed(Stage::Rollback, Blame::World))?;
    let tried = setback.tried.iter().filter_map(|tried| tried.release.as_ref());
    let mut passed: BTreeSet<Digest> = tried.map(|release| release.digest.clone()).collect();
    passed.extend(quarantined.into_iter().map(|q| q.digest));
    // From the second round on the candidate is another one, and what failed first is not tried again.
    passed.extend(journal.restoring.iter().map(|restoring| restoring.instead_of.digest.clone()));
    let is_candidate =
        |d: &Deployment| d.release.digest == journal.candidate.digest && d.spec == journal.spec;
    Ok(deployments
        .into_iter()
        .filter(|deployment| !is_candidate(deployment) && passed.insert(deployment.release.digest.clone()))
        .collect())
}

/// The image on this machine; fetched again by its digest if someone cleared it away.
async fn image_of(run: &Run, deployment: &Deployment) -> anyhow::Result<String> {
    let clients = &run.clients;
    if clients.docker.image(&deployment.image_id).await?.is_some() {
        return Ok(deployment.image_id.clone());
    }
    let Release { tag, digest } = &deployment.release;
    let reference = ImageReference::pinned(&clients.registry, &run.project.image, digest);
    run.log.line(Stage::Rollback, &format!("its image is gone from this machine: pulling {reference}"));
    let output = run.log.output(Stage::Rollback);
    let login = clients.registry_login.as_ref();
    let facts = clients
        .docker
        .pull(&reference, None, login, PULL_LIMIT, &output)
        .await
        .context("its image is gone from this machine")?;
    let named = ImageReference::tagged(&clients.registry, &run.project.image, tag);
    clients.docker.tag(&facts.id, &named).await?;
    Ok(facts.id)
}

/// The same run goes on, with an older release for its candidate. What failed makes way for it as the old
/// container would, and is put back if it does not hold either.
fn reopened(
    run: &Run,
    journal: &Journal,
    restoring: Restoring,
    deployment: Deployment,
    image_id: String,
) -> Journal {
    let spec = ContainerSpec { name: journal.spec.name.clone(), ..deployment.spec };
    Journal {
        run: run.number,
        project: journal.project.clone(),
        attempt: journal.attempt.saturating_add(1),
        committed: None,
        candidate: deployment.release,
        image_id,
        order: if spec.ports.is_empty() { journal.order } else { Order::StopFirst },
        spec,
        step: Step::Create,
        old: journal.committed.clone().or_else(|| journal.old.clone()),
        older: journal.older.clone(),
        former_name: None,
        restoring: Some(restoring),
    }
}
