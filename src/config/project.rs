//! One project as the owner writes it: its repository, tests, image and deployment. See [`crate::config`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de;

use crate::config::duration::Interval;
use crate::config::duration::Schedule;
use crate::config::secret::SecretSource;
use crate::model::Branch;
use crate::model::ContainerName;
use crate::model::ImageName;
use crate::model::ProjectName;
use crate::model::Repository;
use crate::model::Tag;

pub use crate::config::proving::Prove;
pub use crate::config::tagging::BumpRule;
pub use crate::config::tagging::TagRule;
pub use crate::config::tagging::TagSchemeName;
pub use crate::config::test_place::TestNetwork;

/// One watched repository, its image and its deployment.
///
/// Without `repository` the project only deploys what others push; without `deploy` it only builds and pushes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The name in logs, mails and commands. Default: the repository's or the image's name.
    pub name: Option<ProjectName>,
    /// The GitHub repository, `owner/name`.
    pub repository: Option<Repository>,
    /// The private half of a deploy key of the repository, with which it is fetched over SSH instead of HTTPS. Without
    /// `github.token` it is asked for new commits that way too.
    pub deploy_key: Option<SecretSource>,
    /// The branch to follow. Default `main`.
    #[schemars(extend("default" = "main"))]
    pub branch: Option<Branch>,
    /// What is followed instead of a branch.
    pub on: Option<On>,
    /// Whether the folders of submodules get their files: over HTTPS, with `github.token` where they are on the same server.
    /// Default `false`: they stay empty.
    #[schemars(extend("default" = false))]
    pub submodules: Option<bool>,
    /// Whether the files that the repository keeps in Git LFS get their contents, by the program `git-lfs`. Default
    /// `false`: they stay pointers.
    #[schemars(extend("default" = false))]
    pub lfs: Option<bool>,
    /// A commit is run only if one of these files changed since the last one that was: patterns of paths from the
    /// repository's root, with GitHub's meaning. The last pattern that matches a file counts; `!` takes it out again.
    pub paths: Option<Vec<String>>,
    /// The reverse: a commit is run only if a file changed that none of these patterns matches. Not beside `paths`.
    pub paths_ignore: Option<Vec<String>>,
    /// A newer commit ends the run that goes on, unless that has begun to push. Default `false`: it waits for its end.
    #[schemars(extend("default" = false))]
    pub cancel_running: Option<bool>,
    /// How often the two sources are asked.
    #[serde(default)]
    pub poll: Poll,
    /// The tests a commit must pass. Left out: found out from the repository's files. `"none"`: there are none.
    pub test: Option<Test>,
    /// The image that is built, pushed and deployed.
    #[schemars(required)]
    pub image: Option<Image>,
    /// The container that serves. Left out: this machine deploys nothing.
    pub deploy: Option<Deploy>,
}

/// What is followed instead of a branch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct On {
    /// Tags that match this pattern, such as `v*`: the commit of the newest is run. The newest is that of the highest
    /// version; the version begins at the first digit of the name. `*` does not match `/`.
    #[schemars(required)]
    pub tags: Option<String>,
}

/// How often the two sources are asked, each a duration such as `30s` or a cron expression of five or six fields
/// (seconds first) such as `*/5 * * * *`. Where a cron expression names a day of the month and a weekday, both
/// must match.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Poll {
    /// GitHub, for new commits, at least 100 ms apart. Default `30s`.
    #[schemars(extend("default" = "30s"))]
    pub github: Option<Schedule>,
    /// Docker Hub, for new tags, at least 100 ms apart. Default `60s`.
    #[schemars(extend("default" = "60s"))]
    pub docker_hub: Option<Schedule>,
}

/// The tests: `"none"`, or where they run and what they are.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum Test {
    /// The word `none`: this repository has no tests, and its owner says so.
    Word(NoTests),
    /// The tests.
    Commands(TestCommands),
}

/// The word `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum NoTests {
    /// There are no tests.
    None,
}

/// Where the tests run and what they are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestCommands {
    /// `{"image": …}`, `{"dockerfile": …, "target": …}` or `"host"`. Left out, and `commands` too: found out from
    /// the repository's files.
    #[serde(rename = "in")]
    pub place: Option<TestPlace>,
    /// Shell commands, run in order in one shell that stops at the first failure. May be left out for a
    /// Dockerfile, whose build is then the test.
    #[serde(default)]
    pub commands: Vec<String>,
    /// The most time they may take. Default `15m`.
    #[serde(default = "default_test_timeout")]
    pub timeout: Interval,
    /// `none`: the tests run in a container without a network. Left out: Docker's bridge.
    pub network: Option<TestNetwork>,
    /// Whether what tests in an `image` download is kept in a volume of the project for the next run. Default `true`.
    #[schemars(extend("default" = true))]
    pub cache: Option<bool>,
}

/// The place where tests run.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum TestPlace {
    /// The word `host`: a process of this machine, as the agent's own user.
    Host(HostWord),
    /// A throwaway container of a ready image, with a copy of the tree.
    Image(TestImage),
    /// The image that a Dockerfile of the repository describes; without commands, its build is the test.
    Dockerfile(TestDockerfile),
}

/// The word `host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum HostWord {
    /// On this machine.
    Host,
}

/// A ready image to run tests in.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestImage {
    /// The image with its tag, such as `python:3.12-slim`.
    pub image: String,
}

/// A Dockerfile of the repository to run tests in.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestDockerfile {
    /// Its path in the repository.
    pub dockerfile: String,
    /// The stage to build. Left out: the last.
    pub target: Option<String>,
}

/// The image.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// `namespace/name` on Docker Hub, lower case.
    #[schemars(required, extend("pattern" = "^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"))]
    pub name: Option<ImageName>,
    /// The Dockerfile's path in the repository, within `context`. Default: `Dockerfile` in `context`.
    pub dockerfile: Option<String>,
    /// The folder of the repository that is sent to the build. Default `.`, all of it.
    #[schemars(extend("default" = "."))]
    pub context: Option<String>,
    /// The stage to build. Default: the last.
    pub target: Option<String>,
    /// Build arguments. Not for secrets: an image's history shows them.
    pub args: Option<BTreeMap<String, String>>,
    /// What `RUN --mount=type=secret,id=ID` lines of the Dockerfile are given, by id. Needs BuildKit.
    pub secrets: Option<BTreeMap<String, SecretSource>>,
    /// The platform to build and deploy, such as `linux/arm64`. Default: this machine's own.
    #[schemars(extend("pattern" = "^linux/[a-z0-9]+(/v[0-9]+)?$"))]
    pub platform: Option<String>,
    /// How versions are tagged.
    #[serde(default)]
    pub tag: TagRule,
    /// Moving tags pushed beside the version, such as `latest`.
    pub also: Option<Vec<Tag>>,
    /// The most time a build may take. Default `60m`.
    #[schemars(extend("default" = "60m"))]
    pub timeout: Option<Interval>,
}

/// The container that serves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// Its name. Default: the project's.
    pub container: Option<ContainerName>,
    /// Published ports, `HOST:CONTAINER` or `ADDRESS:HOST:CONTAINER`, each optionally with `/udp`; an IPv6 address
    /// stands in brackets. Left out: none, which is right for a worker or behind a reverse proxy in `network`.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Mounts, `/HOST/PATH:/PATH` or `VOLUME:/PATH`, each optionally with `:ro`.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Labels, for instance for a reverse proxy that reads them. `homeport.…` is taken.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The Docker network to join. Default: Docker's own bridge.
    pub network: Option<String>,
    /// `stop-first`: the old container stops before the new one starts, since both publish the same port.
    /// `start-first`: the new one proves itself beside the old one, then takes its name in `network`; for a
    /// service behind a reverse proxy, which publishes no port itself.
    #[serde(default)]
    pub order: Order,
    /// Take over a container of this name that homeport did not make: it is kept whole as the first way back.
    /// Default `false`.
    #[serde(default)]
    pub adopt: bool,
    /// How a new container shows that it works.
    #[serde(default)]
    pub prove: Prove,
    /// How long a container may take to stop before it is killed. Default `10s`.
    #[serde(default = "default_stop_grace")]
    pub stop_grace: Interval,
    /// How long a deployment is watched after it was proven; a failure in that time rolls back. Default `10m`.
    #[serde(default = "default_watch")]
    pub watch: Interval,
    /// How many known-good images are kept as ways back, at least 1. Default 3.
    #[serde(default = "default_keep_images")]
    #[schemars(range(min = 1))]
    pub keep_images: u32,
}

/// The order of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The old container stops, then the new one starts.
    #[default]
    StopFirst,
    /// The new container starts and proves itself, then the old one stops.
    StartFirst,
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "stop-first" => Ok(Self::StopFirst),
            "start-first" => Ok(Self::StartFirst),
            word => Err(de::Error::custom(format!(
                "`{word}` is not the order of a swap: write `stop-first` or `start-first`"
            ))),
        }
    }
}

/// The most time that tests may take if nothing else is said.
pub const fn default_test_timeout() -> Interval {
    Interval::from_secs(15 * 60)
}

const fn default_stop_grace() -> Interval {
    Interval::from_secs(10)
}

const fn default_watch() -> Interval {
    Interval::from_secs(600)
}

const fn default_keep_images() -> u32 {
    3
}
