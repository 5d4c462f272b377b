//! Building an image.
//!
//! Takes a context and what the owner configured, gives the id of an image that an inspection shows. BuildKit where the
//! engine has it, which asks for the files of the context over the build's session; else the classic builder, which is
//! sent all of them in a tar stream and gets no build that has secrets. A failure says whose it is.
//! Dropping the future closes the connections, on which the engine stops building. It reads no file and knows nothing
//! of git.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bollard::errors::Error as Bollard;
use bollard::moby::buildkit::v1::SolveRequest;
use futures_util::TryStreamExt;
use secrecy::SecretString;

use crate::clients::docker::BuildContext;
use crate::clients::docker::BuildError;
use crate::clients::docker::Docker;
use crate::clients::docker::ImageReference;
use crate::clients::docker::Output;
use crate::clients::docker::TarStream;
use crate::clients::docker::build_classic::classic_options;
use crate::clients::docker::build_control::solve_request;
use crate::clients::docker::build_session::Offer;
use crate::clients::docker::error::Attempt;
use crate::clients::docker::fault::Fault;
use crate::clients::docker::fault::advice;
use crate::clients::docker::fault::fault;
use crate::clients::docker::fault::missing_secret;
use crate::clients::docker::file_sync::Files;
use crate::clients::docker::progress::BuildProgress;
use crate::config::settings::Login;
use crate::fault_point::Effect;
use crate::model::Platform;

/// Numbers the BuildKit sessions of this process.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// What an image is built from.
pub struct BuildRequest<'a> {
    /// The files.
    pub context: Arc<dyn BuildContext>,
    /// Builds that share this name are of one tree as it changes: of files that are the same as in the last one, by
    /// time and size, the engine's copy is used.
    pub tree: &'a str,
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
    /// What `RUN --mount=type=secret` lines are given, by id. It stays out of the image and its history.
    pub secrets: &'a BTreeMap<String, SecretString>,
    /// A registry and the login with which base images are pulled from it.
    pub login: Option<(&'a str, &'a Login)>,
    /// The cgroup that the `RUN` lines run below; where the engine puts them if left out. BuildKit before Docker 23 knows
    /// nothing of it.
    pub cgroup_parent: Option<&'a str>,
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
    /// After a power cut an engine may count on layers that it no longer has, and fail every build that could take
    /// something from its cache, from then on. Nothing in that cache is worth that: it is emptied, and the build made
    /// once more.
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
        let in_time = async |is_without_cache| {
            let building = Box::pin(self.build_once(builder, &request, is_without_cache, out));
            tokio::time::timeout(limit, building).await.unwrap_or(Err(BuildError::TooLong(limit)))
        };
        let built = in_time(false).await;
        let Err(BuildError::DamagedCache(message)) = built else { return built };
        let notice = format!(
            "homeport: the engine's build cache is damaged ({message}): emptying it, building again\n"
        );
        out(notice.as_bytes());
        if let Err(error) = self.trim_build_cache(0).await {
            return Err(BuildError::DamagedCache(format!("{message}; and to empty it failed: {error}")));
        }
        match in_time(true).await {
            // The commit cannot help it that nothing of it was there already.
            Err(BuildError::TooLong(limit)) => Err(BuildError::World(format!(
                "without anything in the engine's build cache it takes longer than {limit:?}; `image.timeout` allows \
                 more"
            ))),
            built => built,
        }
    }

    async fn build_once(
        &self,
        builder: Builder,
        request: &BuildRequest<'_>,
        is_without_cache: bool,
        out: Output<'_>,
    ) -> Result<String, BuildError> {
        if builder == Builder::Classic && !request.secrets.is_empty() {
            return Err(BuildError::NoBuildKit { host: self.host.clone() });
        }
        let what = format!("build {}", request.dockerfile);
        let attempt = self.attempt(&what);
        let effect = Effect::begin("docker", "build");
        let unread = Unread::default();
        let mut progress = BuildProgress::new(out);
        let id = match builder {
            Builder::BuildKit => {
                let solve = solve_request(request, is_without_cache);
                self.build_in_session(&effect, &attempt, request, solve, &unread, &mut progress).await?
            }
            Builder::Classic => {
                let options = classic_options(request, is_without_cache);
                self.build_classic(&effect, &attempt, request, options, &unread, &mut progress).await?
            }
        };
        effect.end();
        if let Some(error) = unread.cause() {
            return Err(error);
        }
        self.proven(&attempt, id, request.names).await
    }

    async fn build_in_session(
        &self,
        effect: &Effect,
        attempt: &Attempt<'_>,
        request: &BuildRequest<'_>,
        mut solve: SolveRequest,
        unread: &Unread,
        progress: &mut BuildProgress<'_>,
    ) -> Result<Option<String>, BuildError> {
        let id = session_id();
        let mut session = self.open_session(effect, &id, request.tree, offer(request, unread)).await?;
        let control = self.open_control(effect, attempt).await?;
        (solve.r#ref, solve.session) = (id.clone(), id);
        let solving = Box::pin(control.solve(solve, |message| progress.take_buildkit(message)));
        let built = session.beside(solving).await;
        built.map_err(|error| {
            let cause = unread.cause().or_else(|| session.lost());
            cause.unwrap_or_else(|| failure(attempt, error, progress))
        })
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

/// What BuildKit may ask for.
fn offer(request: &BuildRequest<'_>, unread: &Unread) -> Offer {
    Offer {
        secrets: request.secrets.clone(),
        login: request.login.map(|(registry, login)| (registry.to_owned(), login.clone())),
        files: Files::of(Arc::clone(&request.context), unread.clone()),
    }
}

/// The engine ties the session to the build by this name. Two builds must never share one, also of other processes on
/// this engine, in whatever container or on whatever machine: secrets hang on it.
fn session_id() -> String {
    let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let unique = RandomState::new().hash_one((std::process::id(), number));
    format!("homeport-{number}-{unique:016x}")
}

/// What became of a build by what was said of it.
pub(super) fn failure(attempt: &Attempt<'_>, error: Bollard, progress: &BuildProgress<'_>) -> BuildError {
    let message = match error {
        Bollard::DockerStreamError { error } => error,
        // A Dockerfile that cannot be read at all is refused before the stream begins.
        Bollard::DockerResponseServerError { status_code: 400..=499, message } => message,
        other => return BuildError::Docker(attempt.failed(other)),
    };
    if let Some(id) = missing_secret(&message) {
        return BuildError::NoSecret { id: id.to_owned(), message };
    }
    match fault(&message, progress.tail()) {
        Fault::Dockerfile => BuildError::Dockerfile(format!("{message}{}", advice(&message))),
        Fault::World => BuildError::World(message),
        Fault::Cache => BuildError::DamagedCache(message),
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
        stream.inspect_err(move |error| seen.because(error.to_string()))
    }

    pub(super) fn because(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    pub(super) fn message(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn cause(&self) -> Option<BuildError> {
        self.message().map(BuildError::Context)
    }
}
