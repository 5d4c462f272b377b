//! What Docker shows of containers, images and platforms, in homeport's own words.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use chrono::DateTime;
use chrono::Utc;
use serde::Deserialize;
use serde::Serialize;

use crate::model::names::ContainerId;
use crate::model::names::Digest;
use crate::model::names::InvalidName;
use crate::model::names::Tag;

/// Label of everything homeport makes: the project it belongs to.
pub const LABEL_PROJECT: &str = "homeport.project";
/// Label: what the thing is for, one of the `ROLE_*` words.
pub const LABEL_ROLE: &str = "homeport.role";
/// Label: the number of the run that made it.
pub const LABEL_RUN: &str = "homeport.run";
/// Label: the folder of the state of the homeport that made it, where two of them may use one engine.
pub const LABEL_STATE: &str = "homeport.state";
/// Label of a service container that its run made anew as a way back: the how-manieth it was.
pub const LABEL_ATTEMPT: &str = "homeport.attempt";
/// Label of a service container: the tag it was deployed from.
pub const LABEL_TAG: &str = "homeport.tag";
/// Label of a service container: the digest it was deployed from.
pub const LABEL_DIGEST: &str = "homeport.digest";
/// Label of an image, by the OCI image specification: when it was built.
pub const LABEL_CREATED: &str = "org.opencontainers.image.created";
/// Label of an image, by the OCI image specification: the commit it was built from.
pub const LABEL_REVISION: &str = "org.opencontainers.image.revision";
/// Role of the containers that serve, served or were meant to.
pub const ROLE_SERVICE: &str = "service";
/// Role of the throwaway containers and images of a test stage.
pub const ROLE_TEST: &str = "test";
/// Role of the images that a build stage makes.
pub const ROLE_IMAGE: &str = "image";
/// Role: a volume in which what a project's tests download is kept.
pub const ROLE_CACHE: &str = "cache";

/// A container as Docker shows it at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Docker's id.
    pub id: ContainerId,
    /// Its present name, without Docker's leading slash.
    pub name: String,
    /// The id of the image it was made from.
    pub image_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When Docker starts it by itself.
    pub policy: RestartPolicy,
    /// What it is doing.
    pub life: Life,
    /// How often Docker has restarted it.
    pub restarts: u64,
    /// What its HEALTHCHECK says; `None` if it has none.
    pub health: Option<HealthStatus>,
    /// Its own address on its network, while it runs.
    pub address: Option<IpAddr>,
}

/// When Docker starts a container by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    No,
    /// Whenever it is not running, also after the engine starts, even if it was stopped through the API.
    Always,
    /// As `Always`, but not after it was stopped through the API.
    UnlessStopped,
    /// When it ended with an error.
    OnFailure,
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure => "on-failure",
        })
    }
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Made and never started, or its start failed.
    Created,
    /// Running since then.
    Running {
        /// The last start.
        since: DateTime<Utc>,
    },
    /// Frozen by a person.
    Paused,
    /// Ended, and Docker is about to start it again.
    Restarting,
    /// Ended.
    Exited {
        /// The exit code; 137 is a kill.
        code: i64,
        /// Whether the kernel killed it for want of memory.
        out_of_memory: bool,
    },
    /// Half removed.
    Dead,
}

impl Container {
    /// Whether it is running, in whatever health.
    pub const fn is_running(&self) -> bool {
        matches!(self.life, Life::Running { .. })
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("never started"),
            Self::Running { .. } => f.write_str("running"),
            Self::Paused => f.write_str("paused"),
            Self::Restarting => f.write_str("restarting"),
            Self::Exited { out_of_memory: true, .. } => f.write_str("killed for want of memory"),
            Self::Exited { code, .. } => write!(f, "exited with code {code}"),
            Self::Dead => f.write_str("dead"),
        }
    }
}

/// What a container's HEALTHCHECK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// Within its start period, or not asked yet.
    Starting,
    /// It answers.
    Healthy,
    /// It failed its retries.
    Unhealthy,
}

/// An operating system and processor, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// In Go's spelling: `amd64`, `arm64`, `arm` …
    pub architecture: String,
    /// `v7`, `v8`; empty where there is none.
    pub variant: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl FromStr for Platform {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_word = |w: &&str| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        };
        let words: Vec<&str> = text.split('/').collect();
        match words.as_slice() {
            [os, architecture, rest @ ..] if rest.len() <= 1 && words.iter().all(is_word) => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: rest.first().map_or_else(String::new, |v| (*v).to_owned()),
            }),
            _ => Err(InvalidName {
                value: text.to_owned(),
                expected: "a platform such as `linux/arm64` or `linux/arm/v7`",
            }),
        }
    }
}

/// A tag as a registry's listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTag {
    /// Its name.
    pub tag: Tag,
    /// The content it stands for; listings leave it out for old tags.
    pub digest: Option<Digest>,
    /// The platforms it offers, without attestations. Empty: the listing does not say.
    pub platforms: Vec<Platform>,
    /// When it was pushed last.
    pub pushed_at: Option<DateTime<Utc>>,
}
