//! The images on this machine: what they are, their tags, and removing them.
//!
//! Takes references or ids, gives facts. Nothing is ever removed by force.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use bollard::models::ImageInspect;
use bollard::query_parameters::ListImagesOptionsBuilder;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use bollard::query_parameters::TagImageOptionsBuilder;
use chrono::DateTime;
use chrono::Utc;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::ImageReference;
use crate::config::settings::Protocol;
use crate::fault_point::Effect;
use crate::model::Digest;
use crate::model::LABEL_PROJECT;
use crate::model::Platform;
use crate::model::ProjectName;

/// What an image on this machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Docker's id for it, `sha256:…`.
    pub id: String,
    /// Its names, `me/hello:7`.
    pub repo_tags: Vec<String>,
    /// What registries call it, `me/hello@sha256:…`.
    pub repo_digests: Vec<String>,
    /// What it runs on.
    pub platform: Platform,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it says itself how its health is checked.
    pub has_healthcheck: bool,
    /// The ports it says it listens on.
    pub exposed_ports: Vec<(u16, Protocol)>,
    /// Its size in bytes, layers that it shares with others included.
    pub size: u64,
    /// When it was built, where it says so.
    pub created: Option<DateTime<Utc>>,
}

/// What became of a request to remove an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageRemoval {
    /// The name is gone, and the image with its last name.
    Removed,
    /// A container or another image needs it; it was left alone.
    InUse,
    /// It was not there.
    Absent,
}

impl ImageFacts {
    /// The digest under which a repository has this image.
    pub fn digest_in(&self, repository: &str) -> Option<Digest> {
        let digests = self.repo_digests.iter().filter_map(|entry| entry.split_once('@'));
        digests.filter(|(name, _)| *name == repository).find_map(|(_, digest)| digest.parse().ok())
    }

    /// Whether it is what a reference by digest means.
    pub fn stands_for(&self, reference: &ImageReference) -> bool {
        self.repo_digests.contains(&reference.to_string())
    }
}

impl Docker {
    /// What an image is, by reference or id; `None` if it is not on this machine.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn image(&self, image: &str) -> Result<Option<ImageFacts>, DockerError> {
        if !can_be_in_a_path(image) {
            return Ok(None);
        }
        match self.ask(&format!("inspect image {image}"), async |api| api.inspect_image(image).await).await {
            Ok(found) => Ok(Some(facts(found))),
            Err(DockerError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives an image, by reference or id, one more name, which is taken from whatever had it.
    ///
    /// # Errors
    /// `NotFound` if there is no such image; `Stream` if the name does not lead to it afterwards.
    pub async fn tag(&self, image: &str, name: &ImageReference) -> Result<(), DockerError> {
        let what = format!("tag {image} as {name}");
        let attempt = self.attempt(&what);
        let source = self.image(image).await?;
        let source = source.ok_or_else(|| DockerError::NotFound {
            what: what.clone(),
            message: "there is no such image on this machine".to_owned(),
        })?;
        let options = TagImageOptionsBuilder::default().repo(name.repository()).tag(name.version()).build();
        self.change(Effect::begin("docker", "tag"), &what, async |api| {
            api.tag_image(&source.id, Some(options)).await
        })
        .await?;
        match self.image(&name.to_string()).await? {
            Some(tagged) if tagged.id == source.id => Ok(()),
            Some(_) | None => Err(attempt.broke_off("the name does not lead to the image")),
        }
    }

    /// Takes a name from an image, or removes an image by id. Never by force: what is used stays.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn remove_image(&self, image: &str) -> Result<ImageRemoval, DockerError> {
        if !can_be_in_a_path(image) {
            return Ok(ImageRemoval::Absent);
        }
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(false).build();
        let what = format!("remove image {image}");
        let effect = Effect::begin("docker", "remove-image");
        match self.change(effect, &what, async |api| api.remove_image(image, Some(options), None).await).await
        {
            Ok(_) => Ok(ImageRemoval::Removed),
            Err(DockerError::NotFound { .. }) => Ok(ImageRemoval::Absent),
            Err(DockerError::Conflict { .. }) => Ok(ImageRemoval::InUse),
            Err(error) => Err(error),
        }
    }

    /// The images that carry the project's label or a name in its repository (as
    /// [`ImageReference::repository`] spells it), newest first.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn images_of(
        &self,
        project: &ProjectName,
        repository: &str,
    ) -> Result<Vec<ImageFacts>, DockerError> {
        let mut ids = self.image_ids("label", format!("{LABEL_PROJECT}={project}")).await?;
        ids.extend(self.image_ids("reference", repository.to_owned()).await?);
        let mut images = Vec::with_capacity(ids.len());
        for id in ids {
            // One that was removed meanwhile is not an image of the project any more.
            images.extend(self.image(&id).await?);
        }
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(images)
    }

    pub(super) async fn image_ids(
        &self,
        filter: &str,
        value: String,
    ) -> Result<BTreeSet<String>, DockerError> {
        let filters = HashMap::from([(filter, vec![value])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let found = self.ask("list images", async |api| api.list_images(Some(options)).await).await?;
        Ok(found.into_iter().map(|image| image.id).collect())
    }
}

/// Whether a name or id can be put into a request path as it is.
pub(super) fn can_be_in_a_path(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:/@[]".contains(c)) && name.split('/').all(is_part)
}

fn facts(found: ImageInspect) -> ImageFacts {
    let config = found.config.unwrap_or_default();
    let check = config.healthcheck.and_then(|check| check.test).unwrap_or_default();
    let mut exposed_ports: Vec<_> =
        config.exposed_ports.unwrap_or_default().iter().filter_map(|port| exposed_port(port)).collect();
    exposed_ports.sort_by_key(|(port, protocol)| (*port, *protocol == Protocol::Udp));
    ImageFacts {
        id: found.id.unwrap_or_default(),
        repo_tags: found.repo_tags.unwrap_or_default(),
        repo_digests: found.repo_digests.unwrap_or_default(),
        platform: Platform {
            os: found.os.unwrap_or_default(),
            architecture: found.architecture.unwrap_or_default(),
            variant: found.variant.unwrap_or_default(),
        },
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        has_healthcheck: check.first().is_some_and(|kind| kind != "NONE"),
        exposed_ports,
        size: found.size.and_then(|size| size.try_into().ok()).unwrap_or(0),
        // Go's zero time stands for an image that does not say.
        created: found.created.filter(|created| created.timestamp() > 0),
    }
}

fn exposed_port(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some((port.parse().ok()?, protocol))
}
