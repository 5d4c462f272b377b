//! Running a stranger's commands in a throwaway container.
//!
//! Takes an image, a script and a copy of a tree, gives the exit code. The container has no Docker socket, no
//! bind mount, no new privileges, and of root's capabilities only what package managers need. It is removed at
//! the end, at the time limit, when the future is dropped, and after a crash by [`Docker::remove_leftovers`].

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::body_try_stream;
use bollard::query_parameters::AttachContainerOptionsBuilder;
use bollard::query_parameters::UploadToContainerOptionsBuilder;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::Ended;
use crate::clients::docker::ImageReference;
use crate::clients::docker::ImageRemoval;
use crate::clients::docker::Output;
use crate::clients::docker::TarStream;
use crate::clients::docker::Volume;
use crate::clients::docker::build::Unread;
use crate::clients::docker::confinement::body;
use crate::clients::docker::transcript::Transcript;
use crate::config::settings::Login;
use crate::fault_point::Effect;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::ContainerName;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::Platform;
use crate::model::ProjectName;
use crate::model::ROLE_TEST;

/// The exit code of an init that has found no shell in the image.
const NOT_FOUND: i64 = 127;
/// How an engine refuses processors that it does not have.
const FOREIGN_PROCESSORS: &str = "CPUs are not available";

/// A throwaway container and what runs in it.
pub struct Sandbox<'a> {
    /// The project, as a label.
    pub project: &'a ProjectName,
    /// The container's name.
    pub name: &'a ContainerName,
    /// The image, by id or reference; one that is not on this machine is pulled.
    pub image: &'a str,
    /// The platform for which it is pulled; the engine's own if left out.
    pub platform: Option<&'a Platform>,
    /// The login with which it is pulled.
    pub login: Option<&'a Login>,
    /// What `sh -ec` runs.
    pub script: &'a str,
    /// What is unpacked into the working directory before.
    pub tree: Option<TarStream>,
    /// The working directory, an absolute path; it is made if the image does not have it.
    pub workdir: &'a str,
    /// Environment variables beside the image's own.
    pub env: &'a BTreeMap<String, String>,
    /// Labels beside the project and the role.
    pub labels: &'a BTreeMap<String, String>,
    /// The user, as `docker run --user` takes it; the image's own if left out.
    pub user: Option<&'a str>,
    /// A volume that is kept, and where it is mounted. It is made with its labels if it is not there.
    pub volume: Option<(&'a Volume, &'a str)>,
    /// Whether it has the network of Docker's bridge; else only its own loopback.
    pub has_network: bool,
    /// The processors it may run on, such as `1,2,3`. An engine that does not have them is not asked for them again.
    pub processors: Option<String>,
    /// What it may use.
    pub limits: SandboxLimits,
}

/// What a throwaway container may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SandboxLimits {
    /// Memory in bytes, swap included. A kernel that cannot limit it is told to the output.
    pub memory: Option<u64>,
    /// How much of the processors, such as 1.5 of them.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// The most time that the pull and then the script may take, each.
    pub time: Duration,
}

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxEnd {
    /// By itself; 0 is success.
    Exited(i64),
    /// The kernel killed it, or a part of it, for want of memory.
    OutOfMemory,
    /// It was killed at its time limit.
    TimedOut,
}

/// A script that could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The image has no `sh`.
    #[error("the image {0} has no `sh`, which runs the commands; choose an image with a shell")]
    NoShell(String),
    /// The tree could not be read.
    #[error("the files could not be copied into the test container: {0}")]
    Tree(String),
    /// The tree has a relative link that leads out of it, which the engine does not unpack.
    #[error("Docker copies no link that leads out of the repository into a test container: {0}")]
    Link(String),
    /// The engine or the registry.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

impl Docker {
    /// Runs a script in a throwaway container; what it writes goes to `out` as it comes.
    ///
    /// # Errors
    /// See [`SandboxError`]. A script that fails is not an error.
    pub async fn run_sandbox(
        &self,
        mut sandbox: Sandbox<'_>,
        out: Output<'_>,
    ) -> Result<SandboxEnd, SandboxError> {
        self.have_image(&sandbox, out).await?;
        let (id, warnings) = self.create_sandbox(&mut sandbox).await?;
        let mut guard = Removal { docker: self.clone(), id: Some(id.clone()) };
        for warning in warnings {
            out(format!("docker: {warning}\n").as_bytes());
        }
        let tree = sandbox.tree.take();
        let end = self.run_in(&id, &sandbox, tree, out).await;
        let removed = self.remove(&id, true).await;
        if removed.is_ok() {
            guard.id = None;
        }
        let end = end?;
        removed?;
        Ok(end)
    }

    async fn create_sandbox(
        &self,
        sandbox: &mut Sandbox<'_>,
    ) -> Result<(ContainerId, Vec<String>), DockerError> {
        match self.create_from(sandbox.name, body(sandbox)).await {
            // This process may have other processors than the engine, in a container for instance.
            Err(DockerError::Refused { message, .. }) if message.contains(FOREIGN_PROCESSORS) => {
                sandbox.processors = None;
                self.create_from(sandbox.name, body(sandbox)).await
            }
            created => created,
        }
    }

    /// Removes what test stages of the project left behind when the agent was killed: containers and images.
    /// Returns the names of what was removed. To be called only while no test of the project runs.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn remove_leftovers(&self, project: &ProjectName) -> Result<Vec<String>, DockerError> {
        let mut removed = Vec::new();
        let is_test = |c: &Container| c.labels.get(LABEL_ROLE).is_some_and(|role| role == ROLE_TEST);
        for container in self.containers_of(project).await?.into_iter().filter(is_test) {
            self.remove(&container.id, true).await?;
            removed.push(container.name);
        }
        let mut images = self.image_ids("label", format!("{LABEL_PROJECT}={project}")).await?;
        let of_tests = self.image_ids("label", format!("{LABEL_ROLE}={ROLE_TEST}")).await?;
        images.retain(|id| of_tests.contains(id));
        for image in images {
            match self.remove_image(&image).await? {
                ImageRemoval::Removed => removed.push(image),
                ImageRemoval::InUse | ImageRemoval::Absent => {}
            }
        }
        Ok(removed)
    }

    async fn have_image(&self, sandbox: &Sandbox<'_>, out: Output<'_>) -> Result<(), DockerError> {
        if self.image(sandbox.image).await?.is_some() {
            return Ok(());
        }
        let reference: ImageReference = sandbox.image.parse().map_err(|_| DockerError::NotFound {
            what: format!("run in image {}", sandbox.image),
            message: "that is neither an image on this machine nor a name such as `python:3.12-slim`"
                .to_owned(),
        })?;
        self.pull(&reference, sandbox.platform, sandbox.login, sandbox.limits.time, out).await.map(drop)
    }

    async fn run_in(
        &self,
        id: &ContainerId,
        sandbox: &Sandbox<'_>,
        tree: Option<TarStream>,
        out: Output<'_>,
    ) -> Result<SandboxEnd, SandboxError> {
        if let Some(tree) = tree {
            self.copy_in(id, sandbox.workdir, tree, sandbox.limits.time).await?;
        }
        self.run_script(id, sandbox, out).await
    }

    async fn copy_in(
        &self,
        id: &ContainerId,
        workdir: &str,
        tree: TarStream,
        limit: Duration,
    ) -> Result<(), SandboxError> {
        let unread = Unread::default();
        let body = body_try_stream(unread.watch(tree));
        let options = UploadToContainerOptionsBuilder::default().path(workdir).build();
        let what = format!("copy the files into container {id}");
        let effect = Effect::begin("docker", "copy-in");
        let copied = self
            .change_within(limit, &effect, &what, async |api| {
                api.upload_to_container(id.as_str(), Some(options), body).await
            })
            .await;
        match unread.message() {
            Some(message) => Err(SandboxError::Tree(message)),
            None => copied.map_err(of_link),
        }
    }

    async fn run_script(
        &self,
        id: &ContainerId,
        sandbox: &Sandbox<'_>,
        out: Output<'_>,
    ) -> Result<SandboxEnd, SandboxError> {
        let what = format!("attach to container {id}");
        // Attached before the start, so that not a byte is missed.
        let options = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        let attached =
            self.ask(&what, async |api| api.attach_container(id.as_str(), Some(options)).await).await?;
        self.start(id).await.map_err(|error| without_shell(error, sandbox.image))?;
        let ending = tokio::time::timeout(sandbox.limits.time, self.wait_exit(id));
        let mut transcript = Transcript::new(attached.output, out);
        match transcript.follow(ending).await {
            Err(_) => Ok(SandboxEnd::TimedOut),
            Ok(Ok(Ended::Exited { code: NOT_FOUND })) if transcript.has_no_shell() => {
                Err(SandboxError::NoShell(sandbox.image.to_owned()))
            }
            Ok(ended) => self.judged(id, ended?).await,
        }
    }

    async fn judged(&self, id: &ContainerId, ended: Ended) -> Result<SandboxEnd, SandboxError> {
        let code = match ended {
            Ended::Exited { code } => code,
            Ended::Removed => {
                let attempt = format!("run the tests in container {id}");
                return Err(self.attempt(&attempt).broke_off("someone removed the container").into());
            }
        };
        // A script may get over the loss of a process; then it was not memory that it failed for.
        let is_starved = code != 0 && self.was_starved(id, code).await?;
        Ok(if is_starved { SandboxEnd::OutOfMemory } else { SandboxEnd::Exited(code) })
    }
}

fn of_link(error: DockerError) -> SandboxError {
    let words = error.to_string();
    if words.contains("invalid symlink") { SandboxError::Link(words) } else { SandboxError::Docker(error) }
}

fn without_shell(error: DockerError, image: &str) -> SandboxError {
    let words = error.to_string();
    if words.contains("\"sh\"") && words.contains("executable file not found") {
        SandboxError::NoShell(image.to_owned())
    } else {
        SandboxError::Docker(error)
    }
}

/// Removes the container if the future that runs it is dropped before its end.
struct Removal {
    docker: Docker,
    id: Option<ContainerId>,
}

impl Drop for Removal {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let docker = self.docker.clone();
        runtime.spawn(async move {
            // What cannot be removed now is found by its label at the next start.
            drop(docker.remove(&id, true).await);
        });
    }
}
