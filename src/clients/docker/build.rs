//! Building an image from a streamed context.
//!
//! Takes a tar stream and what the owner configured, gives the id of an image that an inspection shows. BuildKit
//! where the engine has it, else the classic builder. A failure says whose it is. Dropping the future closes the
//! connections, on which the engine stops building. It reads no file and knows nothing of git.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::body_try_stream;
use bollard::errors::Error as Bollard;
use bollard::query_parameters::BuildImageOptions;
use bollard::query_parameters::BuildImageOptionsBuilder;
use bollard::query_parameters::BuilderVersion;
use futures_util::StreamExt;
use futures_util::TryStreamExt;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::ImageReference;
use crate::clients::docker::Output;
use crate::clients::docker::TarStream;
use crate::clients::docker::error::Attempt;
use crate::clients::docker::fault::Fault;
use crate::clients::docker::fault::fault;
use crate::clients::docker::progress::BuildProgress;
use crate::clients::docker::registry::credentials;
use crate::config::settings::Login;
use crate::fault_point::Effect;
use crate::model::Blame;
use crate::model::Platform;

/// Numbers the BuildKit sessions of this process.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// What a build gets of the processors where what serves wants them too; Docker's default is 1024. The classic builder
/// keeps to it. BuildKit takes no such number: what its `RUN` lines get is as its engine is set up.
const CPU_SHARES: i32 = 256;

/// What an image is built from.
pub struct BuildRequest<'a> {
    /// The context, a tar archive on its way.
    pub context: TarStream,
    /// The Dockerfile's path in the context.
    pub dockerfile: &'a str,
    /// The names the image gets; none for one that is only used by its id.
    pub names: &'a [ImageReference],
    /// Build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// The stage to build; the last one if left out.
    pub target: Option<&'a str>,
    /// What to build for; the engine's own platform if left out.
    pub platform: Option<&'a Platform>,
    /// Labels of the image.
    pub labels: &'a BTreeMap<String, String>,
    /// A registry and the login with which base images are pulled from it.
    pub login: Option<(&'a str, &'a Login)>,
    /// Whether the `RUN` lines have the network.
    pub has_network: bool,
    /// The most time the build may take.
    pub timeout: Duration,
}

/// Which builder of the engine does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// The one that engines have had since 18.09.
    BuildKit,
    /// The one before it.
    Classic,
}

/// A build that gave no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile, its commands or what it copies.
    #[error("the image does not build: {0}")]
    Dockerfile(String),
    /// The disk, the network, the registry of a base image.
    #[error("the build could not be completed: {0}")]
    World(String),
    /// The time limit passed.
    #[error("the build took longer than {0:?} and was stopped; `image.timeout` allows more")]
    TooLong(Duration),
    /// The context could not be read to its end.
    #[error("the files of the build could not be sent: {0}")]
    Context(String),
    /// The engine.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

impl BuildError {
    /// Whose fault it was: the commit's is final, the world's is tried again.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Dockerfile(_) | Self::TooLong(_) => Blame::Commit,
            Self::World(_) | Self::Context(_) | Self::Docker(_) => Blame::World,
        }
    }
}

impl Docker {
    /// Builds an image with the engine's best builder and returns its id. The output goes to `out` as it comes.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build(&self, request: BuildRequest<'_>, out: Output<'_>) -> Result<String, BuildError> {
        let builder = if self.engine().await?.buildkit { Builder::BuildKit } else { Builder::Classic };
        self.build_with(builder, request, out).await
    }

    /// Builds an image with a builder of the caller's choice.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build_with(
        &self,
        builder: Builder,
        request: BuildRequest<'_>,
        out: Output<'_>,
    ) -> Result<String, BuildError> {
        let limit = request.timeout;
        let building = Box::pin(self.run_build(builder, request, out));
        tokio::time::timeout(limit, building).await.unwrap_or(Err(BuildError::TooLong(limit)))
    }

    async fn run_build(
        &self,
        builder: Builder,
        request: BuildRequest<'_>,
        out: Output<'_>,
    ) -> Result<String, BuildError> {
        let what = format!("build {}", request.dockerfile);
        let attempt = self.attempt(&what);
        let effect = Effect::begin("docker", "build");
        let api = self.changing(&effect, &attempt, request.timeout)?;
        let options = options(builder, &request);
        let logins = request.login.and_then(|(registry, login)| logins(builder, registry, login));
        let names = request.names;
        let unread = Unread::default();
        let body = body_try_stream(unread.watch(request.context));

        let mut progress = BuildProgress::new(out);
        let mut stream = api.build_image(options, logins, Some(body));
        while let Some(message) = stream.next().await {
            match message {
                Ok(message) => progress.take(message),
                Err(error) => {
                    return Err(unread.cause().unwrap_or_else(|| failure(&attempt, error, &progress)));
                }
            }
        }
        drop(stream);
        effect.end();
        if let Some(error) = unread.cause() {
            return Err(error);
        }
        let id = progress.image_id().map(ToOwned::to_owned);
        self.proven(&attempt, id, names).await
    }

    /// The image that a build says it made, under all its names.
    async fn proven(
        &self,
        attempt: &Attempt<'_>,
        id: Option<String>,
        names: &[ImageReference],
    ) -> Result<String, BuildError> {
        let id = id.or_else(|| names.first().map(ToString::to_string));
        let image = match id {
            Some(id) => self.image(&id).await?,
            None => None,
        };
        let image = image
            .ok_or_else(|| attempt.broke_off("Docker reported no error, but there is no image afterwards"))?;
        for name in names {
            self.tag(&image.id, name).await?;
        }
        Ok(image.id)
    }
}

fn options(builder: Builder, request: &BuildRequest<'_>) -> BuildImageOptions {
    let map =
        |pairs: &BTreeMap<String, String>| -> HashMap<String, String> { pairs.clone().into_iter().collect() };
    let mut options = BuildImageOptionsBuilder::default()
        .dockerfile(request.dockerfile)
        .buildargs(&map(request.args))
        .labels(&map(request.labels))
        .platform(&request.platform.map(ToString::to_string).unwrap_or_default())
        .target(request.target.unwrap_or_default())
        .cpushares(CPU_SHARES)
        .rm(true)
        .forcerm(true);
    if let Some(name) = request.names.first() {
        options = options.t(&name.to_string());
    }
    if !request.has_network {
        options = options.networkmode("none");
    }
    match builder {
        Builder::Classic => options.build(),
        Builder::BuildKit => {
            // The engine ties the session to the build by this name; two builds must never share one.
            let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
            let session = format!("homeport-{}-{number}", std::process::id());
            options.version(BuilderVersion::BuilderBuildKit).session(&session).build()
        }
    }
}

/// The login under the name by which each builder asks for it.
fn logins(builder: Builder, registry: &str, login: &Login) -> Option<HashMap<String, DockerCredentials>> {
    let key = match (builder, registry) {
        (Builder::BuildKit, "docker.io") => "registry-1.docker.io",
        (Builder::Classic, "docker.io") => "https://index.docker.io/v1/",
        (Builder::BuildKit | Builder::Classic, other) => other,
    };
    credentials(registry, Some(login)).map(|login| HashMap::from([(key.to_owned(), login)]))
}

fn failure(attempt: &Attempt<'_>, error: Bollard, progress: &BuildProgress<'_>) -> BuildError {
    let message = match error {
        Bollard::DockerStreamError { error } => error,
        // A Dockerfile that cannot be read at all is refused before the stream begins.
        Bollard::DockerResponseServerError { status_code: 400..=499, message } => message,
        other => return BuildError::Docker(attempt.failed(other)),
    };
    match fault(&message, progress.tail()) {
        Fault::Dockerfile => BuildError::Dockerfile(message),
        Fault::World => BuildError::World(message),
    }
}

/// Remembers why the context could not be read: of a body that breaks off, the engine's answer says nothing.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Option<String>>>);

impl Unread {
    pub(super) fn watch(
        &self,
        stream: TarStream,
    ) -> impl futures_util::Stream<Item = io::Result<bytes::Bytes>> + Send + 'static {
        let seen = self.clone();
        stream.inspect_err(move |error| {
            *seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        })
    }

    pub(super) fn message(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cause(&self) -> Option<BuildError> {
        self.message().map(BuildError::Context)
    }
}
