//! Images between this machine and a registry, carried by the engine: pull, push, and what a tag stands for.
//!
//! Takes references and a login, gives facts and digests. Docker reports failures inside a stream that began
//! well, so every stream is read to its end and the result is confirmed by an inspection. It never prints or
//! keeps a login.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::ProgressDetail;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bollard::query_parameters::PushImageOptionsBuilder;
use secrecy::ExposeSecret;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::ImageFacts;
use crate::clients::docker::ImageReference;
use crate::clients::docker::Output;
use crate::clients::docker::SILENCE;
use crate::clients::docker::error::Attempt;
use crate::clients::docker::progress::layer_line;
use crate::config::settings::Login;
use crate::fault_point::Effect;
use crate::model::Digest;
use crate::model::Platform;

impl Docker {
    /// Brings an image to this machine. What is asked for by digest and already here is not asked for again.
    /// Returns what the image is, as an inspection shows it afterwards. `limit` bounds the whole transfer.
    ///
    /// # Errors
    /// `NotFound` if the registry has no such tag, `Denied` if it wants another login; `Stream` also if the
    /// engine reported no error and the image is nevertheless not here.
    pub async fn pull(
        &self,
        reference: &ImageReference,
        platform: Option<&Platform>,
        login: Option<&Login>,
        limit: Duration,
        out: Output<'_>,
    ) -> Result<ImageFacts, DockerError> {
        if let Some(facts) = self.local(reference, platform).await? {
            out(format!("{reference} is already here\n").as_bytes());
            return Ok(facts);
        }
        let what = format!("pull {reference}");
        let attempt = self.attempt(&what);
        let effect = Effect::begin("docker", "pull");
        let api = self.changing(&effect, &attempt, limit)?;
        let wanted = platform.map(ToString::to_string).unwrap_or_default();
        let options = CreateImageOptionsBuilder::default()
            .from_image(reference.repository())
            // Without a tag or digest the engine would pull every tag there is.
            .tag(reference.version())
            .platform(&wanted)
            .build();
        let stream = api.create_image(Some(options), None, credentials(reference.registry(), login));
        self.drain(&attempt, limit, SILENCE, stream, |line| {
            let (id, status) = (line.id.unwrap_or_default(), line.status.unwrap_or_default());
            write_layer(out, &id, &status, line.progress_detail.as_ref());
        })
        .await?;
        effect.end();
        let facts = self.image(&reference.to_string()).await?;
        facts.filter(|facts| reference.digest().is_none() || facts.stands_for(reference)).ok_or_else(|| {
            attempt.broke_off("Docker reported no error, but the image is not on this machine")
        })
    }

    /// Sends a tag to its registry and returns the digest under which the registry now has it: the one that the
    /// engine named, confirmed by an inspection of the image. `limit` bounds the whole transfer.
    ///
    /// # Errors
    /// `Denied` if the registry does not accept the login for this repository; `Stream` also if the engine did
    /// not confirm the push.
    pub async fn push(
        &self,
        reference: &ImageReference,
        login: Option<&Login>,
        limit: Duration,
        out: Output<'_>,
    ) -> Result<Digest, DockerError> {
        let what = format!("push {reference}");
        let attempt = self.attempt(&what);
        let effect = Effect::begin("docker", "push");
        let api = self.changing(&effect, &attempt, limit)?;
        let options = PushImageOptionsBuilder::default().tag(reference.version()).build();
        let login = credentials(reference.registry(), login);
        let stream = api.push_image(reference.repository(), Some(options), login);
        let mut named = None;
        self.drain(&attempt, limit, SILENCE, stream, |line| {
            let status = line.status.unwrap_or_default();
            named = digest_of(&status).or(named.take());
            write_layer(out, "", &status, line.progress_detail.as_ref());
        })
        .await?;
        effect.end();
        let digest =
            named.ok_or_else(|| attempt.broke_off("Docker reported no error, but no digest either"))?;
        let confirmed = format!("{}@{digest}", reference.repository());
        match self.image(&reference.to_string()).await? {
            Some(facts) if facts.repo_digests.contains(&confirmed) => Ok(digest),
            Some(_) | None => {
                Err(attempt.broke_off(format!("the image does not carry the pushed digest {digest}")))
            }
        }
    }

    /// Asks the registry what a tag stands for now; `None` if it has no such tag.
    ///
    /// # Errors
    /// `Denied` if the registry wants another login. Docker Hub says the same of a repository that is not there.
    pub async fn registry_digest(
        &self,
        reference: &ImageReference,
        login: Option<&Login>,
    ) -> Result<Option<Digest>, DockerError> {
        let what = format!("ask the registry for {reference}");
        let login = credentials(reference.registry(), login);
        let name = reference.to_string();
        match self.ask(&what, async |api| api.inspect_registry_image(&name, login).await).await {
            Ok(found) => match found.descriptor.digest.as_deref().map(str::parse) {
                Some(Ok(digest)) => Ok(Some(digest)),
                Some(Err(_)) | None => Err(self.attempt(&what).broke_off("the registry named no digest")),
            },
            Err(DockerError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn local(
        &self,
        reference: &ImageReference,
        platform: Option<&Platform>,
    ) -> Result<Option<ImageFacts>, DockerError> {
        if reference.digest().is_none() {
            return Ok(None);
        }
        let fits = |facts: &ImageFacts| {
            facts.stands_for(reference)
                && platform.is_none_or(|p| {
                    p.os == facts.platform.os && p.architecture == facts.platform.architecture
                })
        };
        Ok(self.image(&reference.to_string()).await?.filter(fits))
    }

    pub(super) fn attempt<'a>(&'a self, what: &'a str) -> Attempt<'a> {
        Attempt { what, host: &self.host }
    }
}

/// A login in the form in which the engine passes it on to one registry.
pub(super) fn credentials(registry: &str, login: Option<&Login>) -> Option<DockerCredentials> {
    let address = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    login.map(|login| DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.expose_secret().to_owned()),
        serveraddress: Some(address.to_owned()),
        ..DockerCredentials::default()
    })
}

fn write_layer(out: Output<'_>, id: &str, status: &str, progress: Option<&ProgressDetail>) {
    let is_moving = progress.is_some_and(|p| p.current.is_some());
    if let Some(line) = layer_line(id, status, is_moving) {
        out(line.as_bytes());
    }
}

/// The digest in a push's last line, `1.2: digest: sha256:… size: 528`.
fn digest_of(status: &str) -> Option<Digest> {
    let (_, behind) = status.split_once("digest: ")?;
    behind.split_whitespace().next()?.parse().ok()
}
