//! The Docker engine, through `bollard`: the only folder that knows the crate.
//!
//! Takes an address, gives our nouns. What each call promises: it ends in bounded time, it reads every answer
//! to its end, and it never calls something done that Docker does not show as done. It decides nothing.
//!
//! A connection is made per call: nothing is kept open, so an engine that is restarted, or starts late, is an
//! error of one call and not of the process.

mod build;
mod build_classic;
mod build_context;
mod build_control;
mod build_error;
mod build_session;
mod cache;
mod confinement;
mod containers;
mod error;
mod exits;
mod fault;
mod file_sync;
mod h2c;
mod images;
mod logs;
mod names;
mod ports;
mod progress;
mod reference;
mod registry;
mod sandbox;
mod seen;
mod transcript;
mod volumes;

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::BollardRequest;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use http::HeaderValue;

use crate::fault_point;
use crate::fault_point::Effect;

pub use build::BuildRequest;
pub use build::Builder;
pub use build_context::BuildContext;
pub use build_context::Entry;
pub use build_context::EntryKind;
pub use build_context::Selection;
pub use build_context::Visitor;
pub use build_context::nobody_listens;
pub use build_context::read_on_a_thread;
pub use build_error::BuildError;
pub use containers::Standing;
pub use containers::Stopped;
pub use error::DockerError;
pub use exits::Ended;
pub use images::ImageFacts;
pub use images::ImageRemoval;
pub use ports::Publication;
pub use reference::ImageReference;
pub use sandbox::Sandbox;
pub use sandbox::SandboxEnd;
pub use sandbox::SandboxError;
pub use sandbox::SandboxLimits;
pub use volumes::Volume;

use error::Attempt;

/// A tar archive on its way, in chunks.
pub type TarStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>;

/// Where the raw output of a build, a pull or a test goes, piece by piece.
pub type Output<'a> = &'a (dyn Fn(&[u8]) + Send + Sync);

/// What a short call may take. The engine answers in milliseconds, but a board whose card is busy does not.
const SHORT: Duration = Duration::from_secs(60);
/// How long a long call may be silent. A layer that is unpacked on a slow card says nothing for minutes.
const SILENCE: Duration = Duration::from_secs(10 * 60);

/// A Docker engine at an address.
#[derive(Debug, Clone)]
pub struct Docker {
    host: String,
    patience: Duration,
}

/// What the engine says about itself and its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// The engine's version, `28.1.1`.
    pub version: String,
    /// The API it speaks, `1.41`.
    pub api_version: String,
    /// `linux`.
    pub os: String,
    /// What the engine itself was compiled for, in Go's spelling: the userland's architecture.
    pub goarch: String,
    /// What `uname -m` says: the kernel's architecture.
    pub kernel_machine: String,
    /// Whether it builds with BuildKit.
    pub buildkit: bool,
    /// Processors.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Whether a container's memory can be limited; Raspberry Pi OS switches that off in the kernel's command line.
    pub limits_memory: bool,
    /// Whether a container can be kept to some of the processors.
    pub limits_processors: bool,
    /// Who keeps the cgroups: `systemd`, or the engine itself (`cgroupfs`).
    pub cgroup_driver: String,
    /// The folder that holds images and containers, for a look at the free space.
    pub data_root: String,
}

/// The least API that is needed, of Docker 20.10: older ones know neither the platform of a pull nor all that is
/// said of a container.
pub const LEAST_API: &str = "1.41";

impl Engine {
    /// Whether it speaks an API older than [`LEAST_API`].
    pub fn is_too_old(&self) -> bool {
        minor(&self.api_version) < minor(LEAST_API)
    }
}

impl Docker {
    /// Whether the engine runs on the same machine as this process.
    pub fn is_on_this_machine(&self) -> bool {
        self.host.starts_with("unix://")
    }

    /// An engine at `unix:///PATH` or `tcp://HOST:PORT`. Nothing is sent yet: an absent engine is an error of
    /// the first call.
    ///
    /// # Errors
    /// `Unreachable` for an address of another kind.
    pub fn connect(host: &str) -> Result<Self, DockerError> {
        let is_known = |scheme: &str| host.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
        if is_known("unix://") || is_known("tcp://") {
            Ok(Self { host: host.to_owned(), patience: SHORT })
        } else {
            Err(DockerError::Unreachable {
                what: "connect to Docker".to_owned(),
                host: host.to_owned(),
                reason: "the address must be `unix:///PATH` or `tcp://HOST:PORT`".to_owned(),
            })
        }
    }

    /// Sets what a short call may take; without it, a minute.
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks the engine about itself.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `Refused`.
    pub async fn engine(&self) -> Result<Engine, DockerError> {
        let version = self.ask("ask for the engine's version", async |api| api.version().await).await?;
        let info = self.ask("ask about the engine's machine", async |api| api.info().await).await?;
        let api_version = version.api_version.unwrap_or_default();
        let os = version.os.unwrap_or_default();
        let components = version.components.unwrap_or_default();
        let is_podman = components.iter().any(|part| part.name.contains("Podman"));
        Ok(Engine {
            version: version.version.unwrap_or_default(),
            // BuildKit needs API 1.39, and Podman's imitation of the API has no BuildKit sessions.
            buildkit: os == "linux" && !is_podman && minor(&api_version) >= 39,
            api_version,
            os,
            goarch: version.arch.unwrap_or_default(),
            kernel_machine: info.architecture.unwrap_or_default(),
            cpus: positive(info.ncpu),
            memory: positive(info.mem_total),
            limits_memory: info.memory_limit.unwrap_or_default(),
            limits_processors: info.cpu_set.unwrap_or_default(),
            cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
            data_root: info.docker_root_dir.unwrap_or_default(),
        })
    }

    /// A connection to ask and to change nothing, whose answer may begin as late as `limit`.
    fn asking(&self, attempt: &Attempt<'_>, limit: Duration) -> Result<bollard::Docker, DockerError> {
        Ok(self.connected(attempt, limit)?.with_request_modifier(without_effect))
    }

    /// A connection for an effect, whose answer may begin as late as `limit`.
    fn changing(
        &self,
        _effect: &Effect,
        attempt: &Attempt<'_>,
        limit: Duration,
    ) -> Result<bollard::Docker, DockerError> {
        Ok(self.connected(attempt, limit)?.with_request_modifier(with_url_safe_login))
    }

    fn connected(&self, attempt: &Attempt<'_>, limit: Duration) -> Result<bollard::Docker, DockerError> {
        // bollard counts in whole seconds; the exact limit is kept around the call.
        let seconds = limit.as_secs().saturating_add(1);
        let api = if self.is_on_this_machine() {
            bollard::Docker::connect_with_unix(&self.host, seconds, API_DEFAULT_VERSION)
        } else {
            bollard::Docker::connect_with_http(&self.host, seconds, API_DEFAULT_VERSION)
        };
        api.map_err(|error| attempt.failed(error))
    }

    /// A question that is answered at once.
    async fn ask<T>(
        &self,
        what: &str,
        call: impl AsyncFnOnce(&bollard::Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, DockerError> {
        let attempt = self.attempt(what);
        let api = self.asking(&attempt, self.patience)?;
        within(&attempt, self.patience, Box::pin(call(&api))).await
    }

    /// An effect that is answered at once.
    async fn change<T>(
        &self,
        effect: Effect,
        what: &str,
        call: impl AsyncFnOnce(&bollard::Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, DockerError> {
        self.change_within(self.patience, &effect, what, call).await
    }

    /// An effect, or a part of one, that is answered within `limit`.
    async fn change_within<T>(
        &self,
        limit: Duration,
        effect: &Effect,
        what: &str,
        call: impl AsyncFnOnce(&bollard::Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, DockerError> {
        let attempt = self.attempt(what);
        let api = self.changing(effect, &attempt, limit)?;
        within(&attempt, limit, Box::pin(call(&api))).await
    }

    /// Reads a stream to its end. It may take `limit` in all and be silent for `silence`.
    async fn drain<T>(
        &self,
        attempt: &Attempt<'_>,
        limit: Duration,
        silence: Duration,
        stream: impl Stream<Item = Result<T, bollard::errors::Error>>,
        mut each: impl FnMut(T),
    ) -> Result<(), DockerError> {
        let mut stream = std::pin::pin!(stream);
        let reading = async {
            loop {
                match tokio::time::timeout(silence, stream.next()).await {
                    Ok(Some(item)) => each(item.map_err(|error| attempt.failed(error))?),
                    Ok(None) => return Ok(()),
                    Err(_) => return Err(attempt.timed_out(silence)),
                }
            }
        };
        tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(attempt.timed_out(limit)))
    }
}

/// The answer to a call, if it comes within `limit`.
async fn within<T>(
    attempt: &Attempt<'_>,
    limit: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, DockerError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| attempt.failed(error)),
        Err(_) => Err(attempt.timed_out(limit)),
    }
}

/// A question must not be an effect; two kinds of questions are sent as if they were.
fn without_effect(request: BollardRequest) -> BollardRequest {
    let path = request.uri().path();
    let is_question = request.method().is_safe() || path.ends_with("/wait") || path.ends_with("/attach");
    if fault_point::is_watched() && !is_question {
        fault_point::forgotten(&format!("Docker is asked to {} {path}", request.method()));
    }
    with_url_safe_login(request)
}

/// bollard writes logins in the standard base64 alphabet, the engine reads the URL-safe one and takes what it
/// cannot read for no login at all, without a word. The alphabets differ in two characters.
fn with_url_safe_login(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let fixed = request.headers().get(name).and_then(|value| {
            let text = value.to_str().ok()?.replace('+', "-").replace('/', "_");
            HeaderValue::from_str(&text).ok()
        });
        if let Some(mut value) = fixed {
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
    }
    request
}

fn minor(api_version: &str) -> u32 {
    api_version.split_once('.').and_then(|(_, minor)| minor.parse().ok()).unwrap_or(0)
}

fn positive(number: Option<i64>) -> u64 {
    number.and_then(|n| n.try_into().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use bollard::query_parameters::RemoveContainerOptions;

    use super::*;
    use crate::clients::tests::expect_caught;

    #[tokio::test]
    async fn an_effect_on_docker_without_a_name_is_caught() {
        let a_removal_that_is_sent_as_a_question = async {
            let docker = Docker::connect("tcp://127.0.0.1:1").unwrap();
            let nothing = None::<RemoveContainerOptions>;
            let asked = docker.ask("remove it", async |api| api.remove_container("web", nothing).await);
            asked.await.unwrap_err();
        };
        expect_caught(
            "clients::docker::tests::an_effect_on_docker_without_a_name_is_caught",
            "Docker is asked to DELETE /containers/web",
            a_removal_that_is_sent_as_a_question,
        )
        .await;
    }
}
