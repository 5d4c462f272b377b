//! The configuration as it is meant: every default filled in, every secret read, every address parsed,
//! contradictions gone. This is what the agent works with; nothing in it can be missing or malformed.

mod source;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::Serialize;
use url::Url;

use crate::config::SmtpSecurity;
use crate::config::cgroup::BuildCgroup;
use crate::config::duration::Schedule;
use crate::config::project::Order;
use crate::config::project::TagSchemeName;
use crate::config::size::Size;
use crate::model::ContainerName;
use crate::model::ImageName;
use crate::model::ProjectName;

pub use source::BuildSettings;
pub use source::FileFilter;
pub use source::LfsFiles;
pub use source::OnNewer;
pub use source::SourceSettings;
pub use source::Submodules;
pub use source::TestPlan;
pub use source::TestTerms;

/// Everything the agent needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database, mirrors and work trees. Absolute.
    pub state_dir: PathBuf,
    /// The run logs. Absolute.
    pub log_dir: PathBuf,
    /// Folders and files that are no business of a project's tests: state, logs, secrets, Docker's socket.
    pub hidden: Vec<PathBuf>,
    /// GitHub's address and credential.
    pub github: GitHubSettings,
    /// Docker Hub's addresses and credential.
    pub docker_hub: HubSettings,
    /// The Docker engine's socket, `unix:///PATH` or `tcp://HOST:PORT`.
    pub docker_host: String,
    /// What the engine's build cache may take beside what images need.
    pub build_cache: Size,
    /// Which cgroup builds run below.
    pub build_cgroup: BuildCgroup,
    /// What must be free before a build starts.
    pub build_needs: BuildNeeds,
    /// Mail, if any is to be sent.
    pub email: Option<EmailSettings>,
    /// The webhook, if one is to listen.
    pub webhook: Option<WebhookSettings>,
    /// The dead man's switch, if there is one.
    pub heartbeat: Option<HeartbeatSettings>,
    /// The projects, at least one, with distinct names and containers.
    pub projects: Vec<ProjectSettings>,
}

/// GitHub's address and credential.
#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// The token, if there is one.
    pub token: Option<SecretString>,
    /// The REST API. Ends in `/`, so that `join("repos/…")` keeps a path such as `/api/v3/`.
    pub api_url: Url,
    /// Where `OWNER/NAME.git` is cloned from. Ends in `/`.
    pub clone_url: Url,
    /// Where `OWNER/NAME.git` is cloned from with a deploy key. Has a user, and ends in `/`.
    pub ssh_url: Url,
    /// The host keys that are trusted there; `None` for those that GitHub names.
    pub known_hosts: Option<PathBuf>,
    /// Whether commits get statuses.
    pub statuses: bool,
    /// What they link to.
    pub status_url: Option<Url>,
}

/// Docker Hub's addresses and credential.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The account and its token, if there is one.
    pub login: Option<Login>,
    /// The tags API. Ends in `/`.
    pub api_url: Url,
    /// `docker.io`, or `HOST[:PORT]` of another registry.
    pub registry: String,
}

/// A user name and the secret that goes with it.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password or token.
    pub password: SecretString,
}

/// What must be free before a build starts, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildNeeds {
    /// On the disk that holds Docker's images.
    pub disk: u64,
    /// Of memory.
    pub memory: u64,
}

/// Who gets mail and how.
#[derive(Debug, Clone)]
pub struct EmailSettings {
    /// The sender, a valid mailbox.
    pub from: String,
    /// The recipients, valid mailboxes, at least one.
    pub to: Vec<String>,
    /// The server's host.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// The login, if the server wants one.
    pub login: Option<Login>,
}

/// The webhook endpoint.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What signs the deliveries.
    pub secret: SecretString,
}

/// The dead man's switch.
#[derive(Debug, Clone)]
pub struct HeartbeatSettings {
    /// What is asked with GET.
    pub url: Url,
    /// How often.
    pub every: Duration,
}

/// One project.
#[derive(Debug, Clone)]
pub struct ProjectSettings {
    /// Its name.
    pub name: ProjectName,
    /// The image's repository on Docker Hub.
    pub image: ImageName,
    /// How its versions are tagged.
    pub scheme: TagSchemeName,
    /// The platform to build and deploy; `None` for the engine's own.
    pub platform: Option<String>,
    /// The part that builds; `None` on a machine that only deploys.
    pub source: Option<SourceSettings>,
    /// The part that deploys; `None` on a machine that only builds.
    pub deploy: Option<DeploySettings>,
}

/// The part of a project that deploys.
#[derive(Debug, Clone)]
pub struct DeploySettings {
    /// When Docker Hub is asked.
    pub poll: Schedule,
    /// What every container of this project is made from.
    pub spec: ContainerSpec,
    /// Which of the two containers of a swap makes way for the other.
    pub order: Order,
    /// Whether a container of that name that homeport did not make may be taken over.
    pub adoption: Adoption,
    /// How long a container may take to show that it works.
    pub prove: ProveSettings,
    /// How long a deployment is watched after it was proven.
    pub watch: Duration,
    /// How many known-good images are kept.
    pub keep_images: u32,
}

/// Whether a container that homeport did not make may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// A stranger's container is never renamed, stopped or removed.
    Refused,
    /// The owner agrees that the one with the service's name is.
    Allowed,
}

/// What a container is made from, beside its image. Stored with each deployment, so that a lost container
/// can be made again as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The name of the serving container.
    pub name: ContainerName,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Mounts in Docker's `SOURCE:TARGET[:ro]` form; the source is an absolute path or the name of a volume.
    pub volumes: Vec<String>,
    /// Labels beside homeport's own.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The network to join; `None` for Docker's own bridge. With `host` or `none` there are no ports.
    pub network: Option<String>,
    /// How long the container may take to stop.
    pub stop_grace: Duration,
    /// What it is asked, to show that it works. Kept with it: what a later configuration asks may be the very
    /// thing that failed, and says nothing about a container from before.
    #[serde(default)]
    pub proof: Proof,
}

/// What a container is asked, to show that it works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The path of an HTTP probe; begins with `/`.
    pub http: Option<String>,
    /// The container's own port that is asked; `None` for the published one, else the one the image exposes.
    pub port: Option<u16>,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address to bind; `None` for all.
    pub address: Option<std::net::IpAddr>,
    /// The host's port, 1 to 65535.
    pub host: u16,
    /// The container's port, 1 to 65535.
    pub container: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// The protocol of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How long a container may take to show that it works, and how often it has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProveSettings {
    /// The most time the container may take.
    pub timeout: Duration,
    /// Good samples in a row that are needed, at least 1.
    pub good_samples: u32,
    /// Time between two samples.
    pub interval: Duration,
    /// The least time the container must have run; less than `timeout`.
    pub min_uptime: Duration,
}
