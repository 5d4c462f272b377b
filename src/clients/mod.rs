//! Effects: each client owns one third-party crate, has an address that can be pointed anywhere, and
//! speaks our nouns. Clients do not use one another. [`Clients`] is all of them, made from the settings.

pub mod clock;
pub mod disk;
pub mod docker;
pub mod git;
pub mod github;
pub mod heartbeat;
mod http_client;
pub mod hub;
pub mod listener;
pub mod mailer;
pub mod memory;
pub mod probe;
pub mod process;
pub mod store;
pub mod tls;
pub mod wait_hint;
pub mod ways;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::clients::clock::Clock;
use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::ImageReference;
use crate::clients::git::Git;
use crate::clients::github::GitHub;
use crate::clients::heartbeat::Heartbeat;
use crate::clients::hub::Hub;
use crate::clients::mailer::Mailer;
use crate::clients::probe::Probe;
use crate::clients::store::Store;
use crate::clients::tls::Tls;
use crate::clients::ways::Ssh;
use crate::config::cgroup::BuildCgroup;
use crate::config::settings::BuildNeeds;
use crate::config::settings::Login;
use crate::config::settings::Settings;
use crate::config::size::Size;
use crate::model::Digest;
use crate::model::ImageName;
use crate::model::Platform;
use crate::model::Tag;
use crate::platform::host_platform;

/// The most time one question to GitHub, Docker Hub or the heartbeat may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The most time a checkout may take: a first clone over a slow line.
const CHECKOUT: Duration = Duration::from_secs(30 * 60);

/// The outside world, as the settings describe it.
#[derive(Debug)]
pub struct Clients {
    /// GitHub's REST API.
    pub github: GitHub,
    /// git, over HTTPS; [`Clients::git_for`] a project it may be otherwise.
    git: Git,
    /// What is known of the way over SSH.
    ssh: Ssh,
    /// Docker Hub's tags API.
    pub hub: Hub,
    /// The Docker engine.
    pub docker: Docker,
    /// Whether a container answers.
    pub probe: Probe,
    /// The mail server, if mail is configured.
    pub mailer: Option<Mailer>,
    /// The dead man's switch, if there is one.
    pub heartbeat: Option<Heartbeat>,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Where repositories are cloned from, without a slash at the end.
    pub clone_url: String,
    /// Where images are pushed to and pulled from.
    pub registry: String,
    /// The login there.
    pub registry_login: Option<Login>,
    /// What the engine's build cache may take beside what images need.
    pub build_cache: Size,
    /// Which cgroup builds run below.
    pub build_cgroup: BuildCgroup,
    /// Where work trees are laid out.
    pub trees_dir: PathBuf,
    /// What of this machine's files is no business of a project's tests.
    pub hidden: Vec<PathBuf>,
    /// What must be free before a build starts.
    pub build_needs: BuildNeeds,
}

impl Clients {
    /// Makes the clients. Nothing is sent yet.
    ///
    /// # Errors
    /// An address or a credential cannot be used at all.
    pub fn connect(settings: &Settings, store: Store, tls: &Tls) -> anyhow::Result<Self> {
        let clock = Clock::real();
        let (github, hub) = (&settings.github, &settings.docker_hub);
        let heartbeat = settings.heartbeat.as_ref();
        Ok(Self {
            github: GitHub::new(tls, &github.api_url, github.token.as_ref(), LIMIT, clock.clone())
                .context("use `github`")?,
            git: Git::new(&settings.state_dir, &github.clone_url, github.token.clone(), CHECKOUT),
            ssh: Ssh::of(github, &settings.state_dir),
            hub: Hub::new(tls, &hub.api_url, hub.login.clone(), LIMIT, clock.clone())
                .context("use `docker_hub`")?,
            docker: Docker::connect(&settings.docker_host).context("use `docker.host`")?,
            probe: Probe::new().context("prepare the probes")?,
            mailer: settings.email.as_ref().map(Mailer::new).transpose().context("use `email`")?,
            heartbeat: heartbeat
                .map(|h| Heartbeat::new(tls, &h.url, LIMIT))
                .transpose()
                .context("use `heartbeat`")?,
            store,
            clock,
            clone_url: github.clone_url.as_str().trim_end_matches('/').to_owned(),
            registry: hub.registry.clone(),
            registry_login: hub.login.clone(),
            build_cache: settings.build_cache,
            build_cgroup: settings.build_cgroup.clone(),
            trees_dir: settings.state_dir.join("trees"),
            build_needs: settings.build_needs,
            hidden: settings.hidden.iter().map(|path| real_path(path)).collect(),
        })
    }

    /// What images this machine runs, by what its engine says.
    ///
    /// # Errors
    /// Docker does not answer.
    pub async fn platform(&self) -> Result<Platform, DockerError> {
        let engine = self.docker.engine().await?;
        Ok(host_platform(&engine.goarch, &engine.os, &engine.kernel_machine))
    }

    /// The cgroup that builds run below, by what is configured and who keeps the engine's; `None` for the engine's choice.
    ///
    /// # Errors
    /// Docker does not answer, or would refuse it.
    pub async fn build_cgroup(&self) -> anyhow::Result<Option<String>> {
        let engine = self.docker.engine().await?;
        let parent =
            self.build_cgroup.parent(&engine.cgroup_driver, engine.buildkit).map_err(anyhow::Error::msg)?;
        Ok(parent.map(str::to_owned))
    }

    /// What the registry itself has under a tag; `None` if nothing.
    ///
    /// # Errors
    /// Docker or the registry does not answer, or the login is refused.
    pub async fn registry_digest(&self, image: &ImageName, tag: &Tag) -> Result<Option<Digest>, DockerError> {
        let reference = ImageReference::tagged(&self.registry, image, tag);
        self.docker.registry_digest(&reference, self.registry_login.as_ref()).await
    }

    /// The login with which a build may fetch its base images.
    pub fn build_login(&self) -> Option<(&str, &Login)> {
        self.registry_login.as_ref().map(|login| (self.registry.as_str(), login))
    }

    /// The login for an image of the owner's choice: only if it comes from the same registry.
    pub fn login_for(&self, image: &str) -> Option<&Login> {
        let reference: ImageReference = image.parse().ok()?;
        self.registry_login.as_ref().filter(|_| reference.registry() == self.registry)
    }
}

/// Where a path leads through symbolic links, as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    let unknown = || match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real_path(parent).join(name),
        (None, _) | (_, None) => path.to_owned(),
    };
    path.canonicalize().unwrap_or_else(|_| unknown())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::process::Command;

    use crate::fault_point;

    /// Set for the process in which the forbidden is done.
    const CULPRIT: &str = "THE_ONE_THAT_DOES_IT";

    /// The test of this name does something that only an [`Effect`](fault_point::Effect) may, in a process of its own:
    /// that is ended with a message where effects are watched, and comes to its end where they are not.
    pub(super) async fn expect_caught(test: &str, message: &str, forbidden: impl Future<Output = ()>) {
        if std::env::var_os(CULPRIT).is_some() {
            return forbidden.await;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", test, "--nocapture"]).env(CULPRIT, "yes");
        let output = child.output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|raw| String::from_utf8_lossy(&raw).into_owned()).concat();
        assert!(said.contains("running 1 test"), "{said}");
        assert_eq!(output.status.success(), !fault_point::is_watched(), "{said}");
        let complaint = format!("homeport: {message}, without a fault point");
        assert_eq!(said.contains(&complaint), fault_point::is_watched(), "{said}");
    }
}
