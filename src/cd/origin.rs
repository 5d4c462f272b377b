//! Which commit an image was built from, by what the image itself says. For history and mails only: not
//! knowing it stops nothing, and nothing is decided by it.

use crate::clients::Clients;
use crate::config::settings::ProjectSettings;
use crate::model::Commit;
use crate::model::CommitSha;
use crate::model::LABEL_REVISION;

/// The commit of an image on this machine, as GitHub describes it; by its id alone if GitHub does not.
/// `None` for an image that does not say.
pub async fn commit_of(clients: &Clients, project: &ProjectSettings, image_id: &str) -> Option<Commit> {
    let image = clients.docker.image(image_id).await.ok().flatten()?;
    let sha: CommitSha = image.labels.get(LABEL_REVISION)?.parse().ok()?;
    let described = match &project.source {
        Some(source) => clients.commit(source, &sha).await.ok(),
        None => None,
    };
    Some(described.unwrap_or(Commit::unknown(sha)))
}
