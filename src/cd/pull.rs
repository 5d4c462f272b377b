//! Stage `pull`: the candidate's image comes to this machine, by digest. Changes nothing that serves.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use crate::clients::disk::free_bytes;
use crate::clients::docker::DockerError;
use crate::clients::docker::ImageReference;
use crate::config::settings::Adoption;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::LABEL_PROJECT;
use crate::model::Platform;
use crate::model::Release;
use crate::model::Stage;
use crate::model::StageError;
use crate::platform;
use crate::run::Run;
use crate::run::failed;

/// With less room than this nothing is pulled: the old container still has its log to write.
const LEAST_FREE: u64 = 100_000_000;
/// The most time a pull may take: a gigabyte over a slow line, onto a slow card.
const LIMIT: Duration = Duration::from_secs(2 * 3600);

/// An image that is on this machine and fits it. Made only by [`pull`].
#[derive(Debug)]
pub struct Pulled {
    release: Release,
    image_id: String,
}

impl Pulled {
    /// The release.
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// Docker's id of the image.
    pub fn image_id(&self) -> &str {
        &self.image_id
    }
}

/// Pulls the release and checks that it fits this machine and that its place is ours to fill.
///
/// # Errors
/// The registry or the network failed, the image is for another machine, or a container that is not
/// homeport's has the service's name.
pub async fn pull(run: &Run, deploy: &DeploySettings, release: Release) -> Result<Pulled, StageError> {
    check_place(run, deploy).await?;
    check_disk(run).await?;
    let clients = &run.clients;
    let reference = ImageReference::pinned(&clients.registry, &run.project.image, &release.digest);
    run.log.line(Stage::Pull, &format!("pulling {reference}"));
    let output = run.log.output(Stage::Pull);
    let wanted = wanted_platform(run).await?;
    let login = clients.registry_login.as_ref();
    let pulled =
        clients.docker.pull(&reference, configured_platform(run).as_ref(), login, LIMIT, &output).await;
    let facts = pulled.map_err(|error| {
        let blame = blame(&error);
        StageError { stage: Stage::Pull, blame, source: anyhow!(error).context(format!("pull {release}")) }
    })?;
    if platform::preference(&wanted, &facts.platform).is_none() {
        let why = anyhow!(
            "{release} is for {}, this machine needs {wanted}: push an image for {wanted}, or set `image.platform`",
            facts.platform
        );
        return Err(StageError { stage: Stage::Pull, blame: Blame::Image, source: why });
    }
    // An image that was pulled by digest alone has no name, and `docker image prune` takes nameless ones.
    let named = ImageReference::tagged(&clients.registry, &run.project.image, &release.tag);
    clients.docker.tag(&facts.id, &named).await.map_err(failed(Stage::Pull, Blame::World))?;
    Ok(Pulled { release, image_id: facts.id })
}

/// Whether the image is still on this machine.
///
/// # Errors
/// Docker does not answer.
pub async fn is_here(run: &Run, pulled: &Pulled) -> Result<bool, StageError> {
    let found = run.clients.docker.image(&pulled.image_id).await;
    Ok(found.map_err(failed(Stage::Pull, Blame::World))?.is_some())
}

/// The name must be free or ours, unless its owner gives it away: a stranger's container is never renamed, stopped
/// or removed.
async fn check_place(run: &Run, deploy: &DeploySettings) -> Result<(), StageError> {
    let name = deploy.spec.name.as_str();
    let holder = run.clients.docker.inspect(name).await.map_err(failed(Stage::Pull, Blame::World))?;
    let Some(holder) = holder else { return Ok(()) };
    let source = match (holder.labels.get(LABEL_PROJECT), deploy.adoption) {
        (Some(project), _) if project.as_str() == run.project.name.as_str() => return Ok(()),
        (Some(project), _) => anyhow!(
            "the container `{name}` belongs to homeport's project `{project}`: choose another `deploy.container`"
        ),
        (None, Adoption::Allowed) => return Ok(()),
        (None, Adoption::Refused) => anyhow!(
            "a container named `{name}` exists and is not homeport's: write `\"adopt\": true` beside `container` to \
             have it taken over and kept as the first way back, remove it (`docker rm -f {name}`), or choose another \
             `deploy.container`"
        ),
    };
    Err(StageError { stage: Stage::Pull, blame: Blame::World, source })
}

/// A disk that fills up in the middle of a swap would take the way back with it.
async fn check_disk(run: &Run) -> Result<(), StageError> {
    let engine = run.clients.docker.engine().await.map_err(failed(Stage::Pull, Blame::World))?;
    match free_bytes(Path::new(&engine.data_root)) {
        Some(free) if free < LEAST_FREE => {
            let why = anyhow!(
                "only {} MB are free in {}, where Docker keeps images: at least {} MB are needed",
                free / 1_000_000,
                engine.data_root,
                LEAST_FREE / 1_000_000
            );
            Err(StageError { stage: Stage::Pull, blame: Blame::World, source: why })
        }
        Some(_) | None => Ok(()),
    }
}

fn configured_platform(run: &Run) -> Option<Platform> {
    run.project.platform.as_deref().and_then(|text| text.parse().ok())
}

async fn wanted_platform(run: &Run) -> Result<Platform, StageError> {
    match configured_platform(run) {
        Some(platform) => Ok(platform),
        None => run.clients.platform().await.map_err(failed(Stage::Pull, Blame::World)),
    }
}

/// An image that does not exist for this platform is the image's fault; all else may be better tomorrow.
fn blame(error: &DockerError) -> Blame {
    if error.is_platform_mismatch() { Blame::Image } else { Blame::World }
}
