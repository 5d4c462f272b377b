//! The settings of the part of a project that builds.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::duration::Schedule;
use crate::config::project::BumpRule;
use crate::config::project::TestNetwork;
use crate::config::project::TestPlace;
use crate::model::Followed;
use crate::model::Glob;
use crate::model::Repository;
use crate::model::Tag;

/// The part of a project that builds.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The repository on GitHub.
    pub repository: Repository,
    /// The key that opens it over SSH, if that is the way.
    pub deploy_key: Option<SecretString>,
    /// What of it is followed.
    pub followed: Followed,
    /// What becomes of the folders of submodules.
    pub submodules: Submodules,
    /// What stands in the place of LFS files.
    pub lfs: LfsFiles,
    /// Which changed files make a commit worth a run.
    pub files: FileFilter,
    /// What a newer commit means for a run that goes on.
    pub on_newer: OnNewer,
    /// When GitHub is asked.
    pub poll: Schedule,
    /// The tests.
    pub test: TestPlan,
    /// The build.
    pub build: BuildSettings,
}

/// What becomes of the folders of submodules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submodules {
    /// They stay empty.
    Empty,
    /// They get their files, and so do those within them.
    Filled,
}

/// What stands in the place of LFS files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LfsFiles {
    /// Their pointers, as the repository has them.
    Pointers,
    /// Their contents.
    Contents,
}

/// Which changed files make a commit worth a run.
#[derive(Debug, Clone)]
pub enum FileFilter {
    /// All of them, and a commit that changes none.
    All,
    /// One that matches.
    Only(Vec<Glob>),
    /// One that does not match.
    AllBut(Vec<Glob>),
}

/// What a newer commit means for a CI run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNewer {
    /// The run goes on to its end, and the newer commit waits.
    Wait,
    /// The run ends, unless it has begun to push.
    Cancel,
}

/// The tests a commit must pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestPlan {
    /// The owner said that there are none.
    None,
    /// What the repository's files suggest.
    Detect(TestTerms),
    /// The configured tests.
    Run {
        /// Where they run.
        place: TestPlace,
        /// Shell commands; empty only for a Dockerfile whose build is the test.
        commands: Vec<String>,
        /// What they may take.
        terms: TestTerms,
    },
}

/// What tests may take, wherever they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestTerms {
    /// The most time.
    pub timeout: Duration,
    /// The network; `None` for Docker's bridge.
    pub network: Option<TestNetwork>,
    /// Whether what tests in a ready image download is kept for the next run.
    pub cache: bool,
}

/// The build.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// The Dockerfile's path below the context (the owner wrote it as a path in the repository).
    pub dockerfile: String,
    /// The folder that is sent, relative to the repository's root; `.` for the root. Never leads out of it.
    pub context: String,
    /// The stage to build.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// What `RUN --mount=type=secret` lines are given, by id.
    pub secrets: BTreeMap<String, SecretString>,
    /// Which part of a semantic version is raised.
    pub bump: BumpRule,
    /// Moving tags pushed beside the version.
    pub also: Vec<Tag>,
    /// The most time the build may take.
    pub timeout: Duration,
}
