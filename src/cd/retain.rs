//! Housekeeping after a deployment: the images of the newest known-good releases stay as ways back, older
//! ones of this project go. Nothing that is not labelled as ours is touched, and nothing by force.

use std::collections::BTreeSet;

use anyhow::Context;

use crate::clients::Clients;
use crate::clients::docker::ImageFacts;
use crate::clients::docker::ImageReference;
use crate::clients::docker::ImageRemoval;
use crate::clients::store::Deployment;
use crate::config::settings::ProjectSettings;

/// Removes the project's images beyond the newest `keep`. What cannot be removed now is left for next time.
///
/// # Errors
/// Docker or the database does not answer.
pub async fn retain(clients: &Clients, project: &ProjectSettings, keep: u32) -> anyhow::Result<u32> {
    let deployments =
        clients.store.deployments(project.name.clone()).await.context("list the deployments")?;
    let keep = kept(&deployments, keep);
    let repository = ImageReference::repository_of(&clients.registry, &project.image);
    let images =
        clients.docker.images_of(&project.name, &repository).await.context("list the project's images")?;
    // What was built since the newest deployment may be what is deployed next.
    let newest = images.iter().find(|image| keep.contains(image.id.as_str())).and_then(|image| image.created);
    let mut removed = 0;
    for image in images.iter().filter(|image| !keep.contains(image.id.as_str()) && image.created < newest) {
        if remove(clients, image).await? {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Takes every name from an image, and then the image itself; `false` if a container still uses it.
async fn remove(clients: &Clients, image: &ImageFacts) -> anyhow::Result<bool> {
    for name in image.repo_tags.iter().chain(&image.repo_digests) {
        clients.docker.remove_image(name).await?;
    }
    Ok(clients.docker.remove_image(&image.id).await? != ImageRemoval::InUse)
}

/// The images of the newest `count` distinct releases that held; deployments come newest first.
fn kept(deployments: &[Deployment], count: u32) -> BTreeSet<&str> {
    let mut kept = BTreeSet::new();
    for deployment in deployments {
        if kept.len() < count as usize {
            kept.insert(deployment.image_id.as_str());
        }
    }
    kept
}
