//! What keeps a build from giving an image, sorted by whose fault it is. No effects.

use std::time::Duration;

use crate::clients::docker::DockerError;
use crate::model::Blame;

/// A build that gave no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile, its commands or what it copies.
    #[error("the image does not build: {0}")]
    Dockerfile(String),
    /// The Dockerfile requires a secret that the build was not given.
    #[error(
        "the image does not build: {message}; `image.secrets` has no `{id}`, or this is the build of a test's \
         Dockerfile, which is given none"
    )]
    NoSecret {
        /// What the Dockerfile calls it.
        id: String,
        /// The builder's words.
        message: String,
    },
    /// The build has secrets, and the engine only the classic builder.
    #[error(
        "the build was not begun: only BuildKit gives a build its secrets (`image.secrets`), and Docker at {host} has \
         none; use an engine that has it (Docker 18.09 or later, not Podman), or remove the key"
    )]
    NoBuildKit {
        /// The engine's address.
        host: String,
    },
    /// The session over which the engine asks for files, logins and secrets ended before the build.
    #[error("the build broke off: the session over which the engine asks for files and secrets ended: {0}")]
    Session(String),
    /// The disk, the network, the registry of a base image.
    #[error("the build could not be completed: {0}")]
    World(String),
    /// The engine's store lacks what it built before.
    #[error(
        "the engine has lost something of what it built or pulled before, and the build fails without its cache too: \
         {0}; `docker system prune --all` clears away whatever no container needs; then look at the disk"
    )]
    DamagedCache(String),
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
            Self::Dockerfile(_) | Self::NoSecret { .. } | Self::TooLong(_) => Blame::Commit,
            Self::NoBuildKit { .. }
            | Self::Session(_)
            | Self::World(_)
            | Self::DamagedCache(_)
            | Self::Context(_)
            | Self::Docker(_) => Blame::World,
        }
    }
}
