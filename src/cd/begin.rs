//! The beginning of a deployment: what stands where, and the journal that from here on has to be ended.

use crate::cd::drive::write;
use crate::cd::pull::Pulled;
use crate::config::settings::ContainerSpec;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::Container;
use crate::model::LABEL_ROLE;
use crate::model::ROLE_SERVICE;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;
use crate::swap::Journal;
use crate::swap::Slot;
use crate::swap::Step;

/// Opens the journal of a deployment: from here on it has to be ended.
///
/// # Errors
/// Docker does not answer or the journal cannot be written; nothing has been changed then.
pub async fn begin(run: &Run, deploy: &DeploySettings, pulled: &Pulled) -> Result<Journal, StageError> {
    run.enter(Stage::Swap).await?;
    let docker = &run.clients.docker;
    let ours = docker.containers_of(&run.project.name).await.map_err(failed(Stage::Swap, Blame::World))?;
    let at = |slot: Slot| ours.iter().find(|c| c.name == slot.name(&deploy.spec).as_str());
    for leftover in [Slot::Next, Slot::Before].into_iter().filter_map(at) {
        run.log.line(Stage::Swap, &format!("removing the leftover container {}", leftover.name));
        docker.remove(&leftover.id, true).await.map_err(failed(Stage::Swap, Blame::World))?;
    }
    let old = serving_among(&ours, &deploy.spec);
    let journal = Journal {
        run: run.number,
        project: run.project.name.clone(),
        made_by: run.number,
        candidate: pulled.release().clone(),
        image_id: pulled.image_id().to_owned(),
        spec: deploy.spec.clone(),
        step: Step::Create,
        old: old.map(|c| c.id.clone()),
        older: at(Slot::Previous).filter(|c| old.is_none_or(|old| old.id != c.id)).map(|c| c.id.clone()),
    };
    write(run, &journal).await?;
    Ok(journal)
}

/// The container to go back to: the one that runs, whatever it is called, for a failed rollback may have left
/// it under another name and the configuration may have given the service a new one; else the one in place.
fn serving_among<'a>(ours: &'a [Container], spec: &ContainerSpec) -> Option<&'a Container> {
    let services =
        || ours.iter().filter(|c| c.labels.get(LABEL_ROLE).is_some_and(|role| role == ROLE_SERVICE));
    let in_place = |c: &&Container| c.name == spec.name.as_str();
    services()
        .find(|c| in_place(c) && c.is_running())
        .or_else(|| services().find(|c| c.is_running()))
        .or_else(|| services().find(in_place))
}
