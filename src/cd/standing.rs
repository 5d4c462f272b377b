//! What stands under the service's name at this moment, by what Docker says.

use std::fmt;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::config::settings::Adoption;
use crate::config::settings::DeploySettings;
use crate::model::Container;
use crate::model::ContainerName;
use crate::model::LABEL_DIGEST;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::LABEL_TAG;
use crate::model::ProjectName;
use crate::model::ROLE_SERVICE;
use crate::model::Release;
use crate::run::Run;

/// Stands for the tag of a container that homeport did not make.
const ADOPTED: &str = "adopted";

/// What stands under the service's name.
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

/// Asks Docker what serves: in its place or, where nothing stands there, under a name that the configuration used
/// to say.
pub async fn serving(run: &Run, name: &ContainerName) -> Serving {
    match in_place(run, name).await {
        Serving::Nothing => match elsewhere(&run.clients.docker, &run.project.name).await {
            Ok(Some((release, container))) => Serving::Shown(release, Box::new(container)),
            Ok(None) => Serving::Nothing,
            Err(error) => unknown(run, &error),
        },
        known @ (Serving::Unknown | Serving::Stopped(..) | Serving::Shown(..)) => known,
    }
}

/// Asks Docker what has this name.
pub(super) async fn in_place(run: &Run, name: &ContainerName) -> Serving {
    let adoption = run.project.deploy.as_ref().map_or(Adoption::Refused, |deploy| deploy.adoption);
    match run.clients.docker.inspect(name.as_str()).await {
        Ok(Some(container)) => match standing_release(&container, adoption) {
            Some(release) if container.is_running() => Serving::Shown(release, Box::new(container)),
            Some(release) => Serving::Stopped(release, Box::new(container)),
            None => Serving::Nothing,
        },
        Ok(None) => Serving::Nothing,
        Err(error) => unknown(run, &error),
    }
}

fn unknown(run: &Run, error: &DockerError) -> Serving {
    slog::warn!(run.journal, "cannot ask Docker what serves: {error:#}");
    Serving::Unknown
}

/// What a poll compares with what is listed: the container in the service's place, running or not; else one that
/// runs under a name that the configuration used to say.
///
/// # Errors
/// Docker does not answer.
pub async fn standing_in_place(
    docker: &Docker,
    project: &ProjectName,
    deploy: &DeploySettings,
) -> Result<Option<(Release, Container)>, DockerError> {
    let named = docker.inspect(deploy.spec.name.as_str()).await?;
    let with_release =
        |container: Container| Some((standing_release(&container, deploy.adoption)?, container));
    match named.and_then(with_release) {
        Some(found) => Ok(Some(found)),
        None => elsewhere(docker, project).await,
    }
}

/// The container of the project's service that runs, whatever it is called.
async fn elsewhere(
    docker: &Docker,
    project: &ProjectName,
) -> Result<Option<(Release, Container)>, DockerError> {
    let running = docker.containers_of(project).await?.into_iter().find(|container| {
        let role = container.labels.get(LABEL_ROLE);
        container.is_running() && role.is_some_and(|role| role == ROLE_SERVICE)
    });
    Ok(running.and_then(|container| Some((release_of(&container)?, container))))
}

/// The release a container of ours was made from, by its labels.
pub fn release_of(container: &Container) -> Option<Release> {
    let tag = container.labels.get(LABEL_TAG)?.parse().ok()?;
    let digest = container.labels.get(LABEL_DIGEST)?.parse().ok()?;
    Some(Release { tag, digest })
}

/// As [`release_of`]; for a container that homeport did not make and may take over, its image stands in.
pub fn standing_release(container: &Container, adoption: Adoption) -> Option<Release> {
    match adoption {
        Adoption::Allowed if is_foreign(container) => {
            Some(Release { tag: ADOPTED.parse().ok()?, digest: container.image_id.parse().ok()? })
        }
        Adoption::Allowed | Adoption::Refused => release_of(container),
    }
}

/// Whether homeport did not make it.
pub(super) fn is_foreign(container: &Container) -> bool {
    !container.labels.contains_key(LABEL_PROJECT)
}
