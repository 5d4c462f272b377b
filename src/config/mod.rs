//! The configuration as the owner writes it, one struct per object of the JSON file. The names are a
//! contract. Each field's doc comment is also its description in the generated JSON Schema.
//!
//! These structs are what was *written*; [`load`] reads them and turns them into what is *meant*
//! ([`settings`]: defaults that depend on other keys, secrets read, contradictions refused). Nothing here
//! reads a file. A key that must be given is an `Option` all the same, which only the schema calls required:
//! so a file without it can be read to its end, and all its faults told at once.

pub mod cgroup;
pub mod duration;
pub mod load;
pub mod path;
pub mod position;
pub mod problem;
pub mod project;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod size;

mod address;
mod building;
mod contact;
mod decode;
mod deploy_key;
mod deploying;
mod hosting;
mod image;
mod mailbox;
mod mounts;
pub mod ports;
mod proving;
mod refusal;
mod resolve;
mod rivals;
mod sourcing;
pub mod suggest;
mod tagging;
mod test_place;
mod testing;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::config::cgroup::BuildCgroup;
use crate::config::duration::Interval;
use crate::config::project::Project;
use crate::config::secret::SecretSource;
use crate::config::size::Size;

/// The whole file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the database, the git mirrors and the work trees live. Default `/var/lib/homeport`.
    #[serde(default = "default_state_dir")]
    pub state_dir: String,
    /// Where the run logs go, a folder per project. Default `/var/log/homeport`.
    #[serde(default = "default_log_dir")]
    pub log_dir: String,
    /// GitHub: where commits come from.
    #[serde(default)]
    pub github: GitHub,
    /// Docker Hub: where images go and come from.
    #[serde(default)]
    pub docker_hub: DockerHub,
    /// The Docker engine of this machine.
    #[serde(default)]
    pub docker: Docker,
    /// Mail on failures and deployments. Left out: no mail is sent.
    pub email: Option<Email>,
    /// An endpoint for GitHub's push webhook. Left out: nothing listens.
    pub webhook: Option<Webhook>,
    /// A dead man's switch elsewhere, pinged as long as the agent lives. Left out: no ping.
    pub heartbeat: Option<Heartbeat>,
    /// The watched repositories, their images and deployments: at least one.
    #[schemars(required, length(min = 1))]
    pub projects: Option<Vec<Project>>,
}

impl Config {
    /// Every secret that the file names.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let password = self.email.as_ref().and_then(|email| email.smtp.as_ref()?.password.as_ref());
        let signature = self.webhook.as_ref().and_then(|webhook| webhook.secret.as_ref());
        let projects = || self.projects.iter().flatten();
        let of_builds = projects().filter_map(|project| project.image.as_ref()?.secrets.as_ref());
        [self.github.token.as_ref(), self.docker_hub.token.as_ref(), password, signature]
            .into_iter()
            .flatten()
            .chain(of_builds.flat_map(BTreeMap::values))
            .chain(projects().filter_map(|project| project.deploy_key.as_ref()))
    }
}

/// GitHub, or a GitHub Enterprise server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitHub {
    /// A personal access token with read access to the repositories. Without one GitHub allows 60 polls an hour.
    pub token: Option<SecretSource>,
    /// The REST API. Default `https://api.github.com`; of an Enterprise server `https://HOST/api/v3`.
    pub api_url: String,
    /// Where `OWNER/NAME.git` is cloned from. Default `https://github.com`.
    pub clone_url: String,
    /// Where `OWNER/NAME.git` is cloned from with a deploy key. Default `ssh://git@github.com`.
    pub ssh_url: String,
    /// A file of host keys in the form of ssh's `known_hosts`; no other host is trusted with a deploy key. Left out: those
    /// that GitHub names (`GET /meta`).
    pub known_hosts: Option<String>,
    /// Whether each commit gets a status (pending, success, failure, error), if the token may write them. Default
    /// true.
    pub statuses: bool,
    /// A page that the statuses link to.
    pub status_url: Option<String>,
}

/// Docker Hub, or a registry of one's own with Docker Hub's tags API in front.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DockerHub {
    /// The account that pushes. Needed to push to Docker Hub and to read private repositories.
    pub username: Option<String>,
    /// A personal access token of that account.
    pub token: Option<SecretSource>,
    /// The tags API. Default `https://hub.docker.com`.
    pub api_url: String,
    /// Where images are pushed to and pulled from, `docker.io` or `HOST:PORT`. Default `docker.io`.
    pub registry: String,
}

/// The Docker engine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// The engine's socket, `unix:///PATH` or `tcp://HOST:PORT`. Default `unix:///var/run/docker.sock`.
    pub host: String,
    /// How much the engine's build cache may take beside what images need; what was used longest ago goes after each
    /// build. Default `4GB`.
    #[schemars(extend("default" = "4GB"))]
    pub build_cache: Size,
    /// The cgroup that the `RUN` lines of builds run below; `null` or empty for the engine's own. BuildKit takes it from
    /// Docker 23 on. Default `homeport_build.slice` where systemd keeps the engine's cgroups, else none.
    pub build_cgroup: BuildCgroup,
    /// What must be free on the disk of its images before a build starts, and stay free below `state_dir` while the files
    /// of a commit are written, such as `2GB`. Default `500MB`.
    pub min_free_disk: Size,
    /// The memory that must be available before a build starts. Default `64MB`.
    pub min_free_memory: Size,
}

/// Who gets mail, and how it is sent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The sender, `name@domain` or `Name <name@domain>`.
    #[schemars(required)]
    pub from: Option<String>,
    /// The recipients: at least one.
    #[schemars(required, length(min = 1))]
    pub to: Option<Vec<String>>,
    /// The server that takes the mail.
    #[schemars(required)]
    pub smtp: Option<Smtp>,
}

/// The mail server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its host name or address.
    #[schemars(required)]
    pub host: Option<String>,
    /// Its port. Default 587 for `starttls`, 465 for `tls`, 25 for `none`.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// How the connection is protected. Default `starttls`.
    #[serde(default)]
    pub security: SmtpSecurity,
    /// The login. Left out: no login.
    pub username: Option<String>,
    /// The login's password.
    pub password: Option<SecretSource>,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    /// Not at all: for a server on this machine or this network.
    None,
    /// TLS is required and begun by STARTTLS; a server that does not offer it is refused.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
}

/// The webhook endpoint.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The address to listen on. Default `127.0.0.1:9000`.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// The secret given to GitHub. The webhook is refused without one.
    #[schemars(required)]
    pub secret: Option<SecretSource>,
}

/// A dead man's switch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The address that is asked with GET.
    #[schemars(required)]
    pub url: Option<String>,
    /// How often. Default `5m`.
    #[serde(default = "default_heartbeat")]
    pub every: Interval,
}

impl Default for GitHub {
    fn default() -> Self {
        Self {
            token: None,
            api_url: "https://api.github.com".to_owned(),
            clone_url: "https://github.com".to_owned(),
            ssh_url: "ssh://git@github.com".to_owned(),
            known_hosts: None,
            statuses: true,
            status_url: None,
        }
    }
}

impl Default for DockerHub {
    fn default() -> Self {
        Self {
            username: None,
            token: None,
            api_url: "https://hub.docker.com".to_owned(),
            registry: "docker.io".to_owned(),
        }
    }
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            host: "unix:///var/run/docker.sock".to_owned(),
            build_cache: Size::from_megabytes(4000),
            build_cgroup: BuildCgroup::Usual,
            min_free_disk: Size::from_megabytes(500),
            min_free_memory: Size::from_megabytes(64),
        }
    }
}

fn default_state_dir() -> String {
    "/var/lib/homeport".to_owned()
}

fn default_log_dir() -> String {
    "/var/log/homeport".to_owned()
}

fn default_listen() -> String {
    "127.0.0.1:9000".to_owned()
}

const fn default_heartbeat() -> Interval {
    Interval::from_secs(300)
}
