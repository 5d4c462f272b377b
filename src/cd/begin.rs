//! The beginning of a deployment: what stands where, and the journal that from here on has to be ended.

use std::iter;

use anyhow::anyhow;

use crate::cd::drive::write;
use crate::cd::ports::check_ports;
use crate::cd::pull::Pulled;
use crate::cd::standing::is_foreign;
use crate::clients::docker::Standing;
use crate::clients::store::Deployment;
use crate::config::settings::Adoption;
use crate::config::settings::ContainerSpec;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::Container;
use crate::model::ContainerId;
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
/// Docker does not answer, a name or a port is held by somebody else, or the journal cannot be written; nothing
/// that serves has been changed then.
pub async fn begin(run: &Run, deploy: &DeploySettings, pulled: &Pulled) -> Result<Journal, StageError> {
    run.enter(Stage::Swap).await?;
    let current = run.clients.store.current(run.project.name.clone()).await;
    let current = current.map_err(failed(Stage::Swap, Blame::World))?;
    let standing = what_stands(run, deploy, current.as_ref()).await?;
    let old = serving_among(&standing.containers, &deploy.spec, deploy.adoption).cloned();
    let older = way_back_among(&standing.containers, &deploy.spec, old.as_ref(), current.as_ref()).cloned();
    refuse_strangers(&standing, &deploy.spec)?;
    check_ports(run, &deploy.spec, old.as_ref()).await?;
    if let Some(old) = old.as_ref().filter(|old| is_foreign(old)) {
        run.log.line(Stage::Swap, &format!("taking over {}, which homeport did not make", old.name));
    }
    remove_leftovers(run, &standing.containers, &deploy.spec, [old.as_ref(), older.as_ref()]).await?;
    let replaced = current.filter(|current| old.as_ref().is_some_and(|old| old.id == current.container));
    let former_name = replaced.map(|current| current.spec.name).filter(|name| *name != deploy.spec.name);
    let journal = Journal {
        run: run.number,
        project: run.project.name.clone(),
        attempt: 0,
        committed: None,
        candidate: pulled.release().clone(),
        image_id: pulled.image_id().to_owned(),
        spec: deploy.spec.clone(),
        order: deploy.order,
        step: Step::Create,
        old: old.map(|old| old.id),
        older: older.map(|older| older.id),
        former_name,
        restoring: None,
    };
    write(run, &journal).await?;
    Ok(journal)
}

/// The project's containers, with those that were adopted or may be.
async fn what_stands(
    run: &Run,
    deploy: &DeploySettings,
    current: Option<&Deployment>,
) -> Result<Standing, StageError> {
    let docker = &run.clients.docker;
    let mut known: Vec<ContainerId> = current.and_then(|d| d.replaced.clone()).into_iter().collect();
    match deploy.adoption {
        Adoption::Refused => {}
        Adoption::Allowed => {
            let at = async |slot: Slot| {
                let named = docker.inspect(slot.name(&deploy.spec).as_str()).await;
                named.map_err(failed(Stage::Swap, Blame::World))
            };
            known.extend(match at(Slot::Current).await? {
                Some(current) if is_foreign(&current) => Some(current.id),
                // What stands behind one of ours was taken over before. All else beside a stranger's is a stranger's.
                Some(_) => at(Slot::Previous).await?.filter(is_foreign).map(|previous| previous.id),
                None => None,
            });
        }
    }
    docker.standing(&run.project.name, &known).await.map_err(failed(Stage::Swap, Blame::World))
}

/// The container to go back to: the one that runs, whatever it is called, for a failed rollback may have left
/// it under another name and the configuration may have given the service a new one; else the one in place.
fn serving_among<'a>(
    standing: &'a [Container],
    spec: &ContainerSpec,
    adoption: Adoption,
) -> Option<&'a Container> {
    let in_place = |c: &&Container| c.name == spec.name.as_str();
    let may_serve = |c: &&Container| {
        let is_service = c.labels.get(LABEL_ROLE).is_some_and(|role| role == ROLE_SERVICE);
        is_service || (adoption == Adoption::Allowed && is_foreign(c) && in_place(c))
    };
    let services = || standing.iter().filter(may_serve);
    services()
        .find(|c| in_place(c) && c.is_running())
        .or_else(|| services().find(|c| c.is_running()))
        .or_else(|| services().find(in_place))
}

/// The stopped container behind the one that serves: by the records, since someone may have renamed it; else by
/// its name, also by the one that goes with the service's former name.
fn way_back_among<'a>(
    standing: &'a [Container],
    spec: &ContainerSpec,
    old: Option<&Container>,
    current: Option<&Deployment>,
) -> Option<&'a Container> {
    let others = || standing.iter().filter(|c| old.is_none_or(|old| old.id != c.id));
    let replaced = current.and_then(|d| d.replaced.as_ref());
    let former = current.map(|d| Slot::Previous.name(&d.spec));
    let names = iter::once(Slot::Previous.name(spec)).chain(former);
    others()
        .find(|c| Some(&c.id) == replaced)
        .or_else(|| names.into_iter().find_map(|name| others().find(|c| c.name == name.as_str())))
}

/// A name of ours that a stranger has is found out while nothing has been touched.
fn refuse_strangers(standing: &Standing, spec: &ContainerSpec) -> Result<(), StageError> {
    let mut names = Slot::ALL.into_iter().map(|slot| slot.name(spec));
    match names.find(|name| standing.strangers.iter().any(|stranger| stranger == name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let source = anyhow!(
                "a container named `{name}` exists and is not homeport's: remove or rename it (a service uses the \
                 names NAME, NAME.next, NAME.previous and NAME.before)"
            );
            Err(StageError { stage: Stage::Swap, blame: Blame::World, source })
        }
    }
}

/// What an earlier deployment left in the places that this one needs.
async fn remove_leftovers(
    run: &Run,
    standing: &[Container],
    spec: &ContainerSpec,
    kept: [Option<&Container>; 2],
) -> Result<(), StageError> {
    let is_kept = |c: &Container| kept.into_iter().flatten().any(|kept| kept.id == c.id);
    let is_in_the_way = |c: &Container| Slot::ALL.into_iter().any(|slot| c.name == slot.name(spec).as_str());
    for leftover in standing.iter().filter(|c| is_in_the_way(c) && !is_kept(c) && !is_foreign(c)) {
        run.log.line(Stage::Swap, &format!("removing the leftover container {}", leftover.name));
        let removed = run.clients.docker.remove(&leftover.id, true).await;
        removed.map_err(failed(Stage::Swap, Blame::World))?;
    }
    Ok(())
}
