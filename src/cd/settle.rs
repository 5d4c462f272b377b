//! A project whose journal is lost is brought to rest: exactly one container serves, one is kept behind it, and
//! nothing is left of what may have been under way. What that takes is decided in [`crate::swap::settle`].

use crate::cd::standing::release_of;
use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::config::settings::ContainerSpec;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::LABEL_ROLE;
use crate::model::ProjectName;
use crate::model::ROLE_SERVICE;
use crate::swap::Settled;
use crate::swap::Settling;
use crate::swap::run_of;
use crate::swap::settle;

/// More than it ever takes. Beyond it something outside undoes what is done here.
const MOST_STEPS: u32 = 40;

/// What stands for a project when it has come to rest.
#[derive(Debug, Default)]
pub struct Rest {
    /// The container in the service's place.
    pub serving: Option<Container>,
    /// The one behind it.
    pub previous: Option<Container>,
    /// What was done to Docker, and what it refused.
    pub done: Vec<String>,
}

/// Brings it to rest.
///
/// # Errors
/// Docker does not answer, or refuses something other than a start; asking again goes on where it stopped.
pub async fn settle_project(
    docker: &Docker,
    project: &ProjectName,
    spec: &ContainerSpec,
) -> Result<Rest, DockerError> {
    let mut done = Vec::new();
    for _ in 0..MOST_STEPS {
        let (containers, strangers) = what_stands(docker, project).await?;
        let next = settle(spec, &containers, &strangers);
        let name = |id: &ContainerId| {
            containers.iter().find(|c| c.id == *id).map_or_else(|| id.to_string(), |c| c.name.clone())
        };
        match &next {
            Settling::Settled(settled) => return Ok(rest(settled, containers, done)),
            Settling::Start(id) => {
                if let Err(error) = docker.start(id).await {
                    if matches!(error, DockerError::Unreachable { .. } | DockerError::TimedOut { .. }) {
                        return Err(error);
                    }
                    done.push(format!("{} could not be started: {error}", name(id)));
                    let settled = Settled { serving: Some(id.clone()), previous: None };
                    return Ok(rest(&settled, containers, done));
                }
                done.push(format!("{} was started", name(id)));
            }
            Settling::SetPolicy(id, policy) => {
                docker.set_policy(id, *policy).await?;
                done.push(format!("the restart policy of {} is `{policy}` now", name(id)));
            }
            Settling::Stop(id) => {
                docker.stop(id, spec.stop_grace).await?;
                done.push(format!("{} was stopped", name(id)));
            }
            Settling::Remove(id) => {
                docker.remove(id, true).await?;
                done.push(format!("{} was removed", name(id)));
            }
            Settling::Rename(id, slot) => {
                docker.rename(id, &slot.name(spec)).await?;
                done.push(format!("{} is called {} now", name(id), slot.name(spec)));
            }
        }
    }
    let (containers, _) = what_stands(docker, project).await?;
    done.push("it did not come to rest: is something else managing its containers?".to_owned());
    let serving = containers.iter().find(|c| c.name == spec.name.as_str()).map(|c| c.id.clone());
    Ok(rest(&Settled { serving, previous: None }, containers, done))
}

/// The service containers that a run of ours made, and the names of all others.
async fn what_stands(
    docker: &Docker,
    project: &ProjectName,
) -> Result<(Vec<Container>, Vec<String>), DockerError> {
    let standing = docker.standing(project, &[]).await?;
    let is_ours = |c: &Container| {
        let is_service = c.labels.get(LABEL_ROLE).is_some_and(|role| role == ROLE_SERVICE);
        is_service && run_of(c).is_some() && release_of(c).is_some()
    };
    let (ours, others): (Vec<_>, Vec<_>) = standing.containers.into_iter().partition(is_ours);
    let strangers = standing.strangers.into_iter().chain(others.into_iter().map(|c| c.name)).collect();
    Ok((ours, strangers))
}

fn rest(settled: &Settled, containers: Vec<Container>, done: Vec<String>) -> Rest {
    let find = |id: &Option<ContainerId>| containers.iter().find(|c| Some(&c.id) == id.as_ref()).cloned();
    Rest { serving: find(&settled.serving), previous: find(&settled.previous), done }
}
