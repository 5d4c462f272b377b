//! Housekeeping after a run: the images of the newest known-good releases stay as ways back, and what containers
//! use stays; what else is the project's goes. Nothing that is not ours is touched, and nothing by force.
//!
//! Ours is an image that carries the project's label, which every image has that homeport built; that was deployed
//! here; or that failed here. An image that merely has a name in the same repository is somebody's.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use anyhow::Context;
use chrono::DateTime;
use chrono::Utc;

use crate::clients::Clients;
use crate::clients::docker::ImageFacts;
use crate::clients::docker::ImageReference;
use crate::clients::docker::ImageRemoval;
use crate::clients::store::Deployment;
use crate::config::settings::ProjectSettings;
use crate::model::Digest;
use crate::model::LABEL_CREATED;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::LABEL_RUN;
use crate::model::ROLE_IMAGE;

/// What is known of the project's images.
struct Known {
    repository: String,
    /// Docker's ids of the images that are to stay.
    kept: BTreeSet<String>,
    deployed: BTreeSet<String>,
    failed: BTreeSet<Digest>,
}

/// Removes the project's images but those that are kept. What cannot be removed now is left for next time.
///
/// # Errors
/// Docker or the database does not answer.
pub async fn retain(clients: &Clients, project: &ProjectSettings) -> anyhow::Result<u32> {
    let mut known = known(clients, project).await?;
    let images = clients.docker.images_of(&project.name, &known.repository).await;
    let mut images = images.context("list the project's images")?;
    images.sort_by_key(|image| Reverse(made_at(image)));
    // The newest one that was built: by what it has in common with the next build, that one is quicker. On a
    // machine that deploys, what was built since the newest deployment may be what is deployed next.
    let built =
        images.iter().find(|image| image.labels.get(LABEL_ROLE).is_some_and(|role| role == ROLE_IMAGE));
    let newest = match &project.deploy {
        Some(_) => images.iter().find(|image| known.kept.contains(&image.id)),
        None => built,
    };
    let newest = newest.map(made_at);
    if project.deploy.is_none() {
        known.kept.extend(built.map(|image| image.id.clone()));
    }
    let mut removed = 0;
    for image in images.iter().filter(|image| known.is_superfluous(image, project)) {
        let is_past = newest.is_some_and(|newest| made_at(image) < newest) || known.has_failed(image);
        if is_past && remove(clients, image).await? {
            removed += 1;
        }
    }
    Ok(removed)
}

async fn known(clients: &Clients, project: &ProjectSettings) -> anyhow::Result<Known> {
    let (store, name) = (&clients.store, &project.name);
    let deployments = store.deployments(name.clone()).await.context("list the deployments")?;
    let failed = store.quarantined(name.clone()).await.context("list what failed")?;
    let containers = clients.docker.containers_of(name).await.context("list the project's containers")?;
    let keep = project.deploy.as_ref().map_or(0, |deploy| deploy.keep_images);
    let mut kept = newest_releases(&deployments, keep);
    kept.extend(containers.into_iter().map(|container| container.image_id));
    Ok(Known {
        repository: ImageReference::repository_of(&clients.registry, &project.image),
        kept,
        deployed: deployments.into_iter().map(|deployment| deployment.image_id).collect(),
        failed: failed.into_iter().map(|quarantined| quarantined.digest).collect(),
    })
}

impl Known {
    fn is_superfluous(&self, image: &ImageFacts, project: &ProjectSettings) -> bool {
        let is_labelled = image.labels.get(LABEL_PROJECT).is_some_and(|label| label == project.name.as_str());
        let is_ours = is_labelled || self.deployed.contains(&image.id) || self.has_failed(image);
        is_ours && !self.kept.contains(&image.id)
    }

    fn has_failed(&self, image: &ImageFacts) -> bool {
        image.digest_in(&self.repository).is_some_and(|digest| self.failed.contains(&digest))
    }
}

/// When an image was built, by its label: a build that finds every step in its cache makes an image that says it is
/// as old as the cache.
fn made_at(image: &ImageFacts) -> (Option<DateTime<Utc>>, Option<u64>) {
    let told = image.labels.get(LABEL_CREATED).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let run = image.labels.get(LABEL_RUN).and_then(|text| text.parse().ok());
    (told.map(|told| told.with_timezone(&Utc)).or(image.created), run)
}

/// Takes every name from an image, and then the image itself; `false` if a container still uses it.
async fn remove(clients: &Clients, image: &ImageFacts) -> anyhow::Result<bool> {
    for name in image.repo_tags.iter().chain(&image.repo_digests) {
        clients.docker.remove_image(name).await?;
    }
    Ok(clients.docker.remove_image(&image.id).await? != ImageRemoval::InUse)
}

/// The images of the newest `count` distinct releases that held; deployments come newest first.
fn newest_releases(deployments: &[Deployment], count: u32) -> BTreeSet<String> {
    let mut newest = BTreeSet::new();
    for deployment in deployments {
        if newest.len() < count as usize {
            newest.insert(deployment.image_id.clone());
        }
    }
    newest
}
