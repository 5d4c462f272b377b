//! What a run is made of: its number, the words for its kind, stages and endings, and the report in
//! which it ends.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use serde::Deserialize;
use serde::Serialize;

use crate::model::bump::Bump;
use crate::model::names::CommitSha;
use crate::model::names::Digest;
use crate::model::names::InvalidName;
use crate::model::names::ProjectName;
use crate::model::names::Tag;
use crate::model::skip_mark::SkipMark;

/// The number of a run. Runs of all projects and both kinds share one rising sequence; none is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct RunNumber(pub u64);

impl fmt::Display for RunNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Declares an enum of words: each variant has one spelling, used in the database, in JSON and in text.
macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// The one spelling of this value.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(InvalidName {
                        value: text.to_owned(),
                        expected: concat!("one of: ", $($word, " "),+),
                    }),
                }
            }
        }
    };
}

word_enum!(
    /// What a run does: take a commit to a pushed image, or an image to a deployment.
    RunKind {
        /// One commit: checkout, test, build, push.
        Ci = "ci",
        /// One image: pull, swap, prove, commit, or rollback.
        Cd = "cd",
    }
);

word_enum!(
    /// Why a run was started at this moment.
    Trigger {
        /// A scheduled poll saw something new.
        Poll = "poll",
        /// GitHub's webhook asked for a poll, which saw something new.
        Webhook = "webhook",
        /// The agent's own push asked for a poll of Docker Hub.
        OwnPush = "own-push",
        /// A person asked on the command line.
        Command = "command",
        /// A run that a crash cut off is finished or undone at start-up.
        Recovery = "recovery",
        /// The watch after a deployment saw the new container fail.
        Watch = "watch",
    }
);

word_enum!(
    /// A step of a run, in the order in which a run passes them.
    Stage {
        /// The files of exactly one commit are laid out.
        Checkout = "checkout",
        /// The project's own tests run on them.
        Test = "test",
        /// The image is built from them.
        Build = "build",
        /// The image goes to the registry under the next tag.
        Push = "push",
        /// The image comes from the registry, by digest.
        Pull = "pull",
        /// The running container makes way for the new one.
        Swap = "swap",
        /// The new container shows that it works.
        Prove = "prove",
        /// The new container becomes the one Docker restarts.
        Commit = "commit",
        /// The previous container takes its place again.
        Rollback = "rollback",
    }
);

word_enum!(
    /// Whose fault a failure is, which decides what happens next.
    Blame {
        /// The commit's own: final for that commit.
        Commit = "commit",
        /// The image's own: its digest is quarantined.
        Image = "image",
        /// The network, Docker, the disk, the configuration: tried again with backoff.
        World = "world",
    }
);

/// A failed stage: which, whose fault, and the chain of causes, printed once where it is handled.
#[derive(Debug, thiserror::Error)]
#[error("{stage} failed")]
pub struct StageError {
    /// The stage that failed.
    pub stage: Stage,
    /// Whose fault it was.
    pub blame: Blame,
    /// What was attempted, on what, and why it failed.
    pub source: anyhow::Error,
}

/// A commit as GitHub describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The id.
    pub sha: CommitSha,
    /// The first line of the message.
    pub subject: String,
    /// The author's name.
    pub author: String,
    /// The page of the commit, for mails.
    pub url: String,
    /// By how much its message says that it raises the version.
    #[serde(default)]
    pub bump: Bump,
    /// Whether its message says that it is not to be run.
    #[serde(default)]
    pub skip: Option<SkipMark>,
}

/// How a commit was found, and what it says and does, as far as that decides whether it is run. The default speaks for
/// running it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitFacts {
    /// The tag that led to it, where tags are followed.
    pub tag: Option<String>,
    /// Whether its message says that it is not to be run.
    pub skip: Option<SkipMark>,
    /// What it changes.
    pub changed: Changed,
}

/// What changed up to a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Changed {
    /// Not asked, or GitHub cannot say.
    #[default]
    Unknown,
    /// These files.
    Files {
        /// The commit that it was compared with.
        since: CommitSha,
        /// Their paths in the repository; of a file that was moved, both.
        paths: Vec<String>,
    },
}

impl Commit {
    /// A commit of which nothing but its id is known.
    pub const fn unknown(sha: CommitSha) -> Self {
        Self {
            sha,
            subject: String::new(),
            author: String::new(),
            url: String::new(),
            bump: Bump::Patch,
            skip: None,
        }
    }
}

/// One version of the service: a tag and the content it stood for when it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The tag on Docker Hub.
    pub tag: Tag,
    /// What is deployed: the content, not the tag.
    pub digest: Digest,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.tag, self.digest.short())
    }
}

/// A failure in the form in which it is stored, shown and mailed: no error values, only text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that failed.
    pub stage: Stage,
    /// Whose fault it was.
    pub blame: Blame,
    /// The whole chain of causes on one line, secrets redacted.
    pub reason: String,
}

/// How a run ended. Each variant carries what a reader needs to know next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// CI: the image is in the registry under this tag, and the registry confirmed the digest.
    Pushed(Release),
    /// CD: the release serves and has proven itself.
    Deployed(Release),
    /// CD: the new image did not hold; the previous deployment serves again and was verified.
    RolledBack {
        /// Why the new image was given up.
        failure: Failure,
    },
    /// The run stopped at a stage; whatever served before still serves, untouched.
    Failed(Failure),
    /// CD: neither the new image nor the way back holds. Nothing serves.
    Down(Failure),
    /// CI: a newer commit took its place before anything was pushed; the commit is not judged.
    Superseded {
        /// The newer commit.
        by: CommitSha,
        /// Where the run was.
        stage: Stage,
    },
    /// The run was cut off by a shutdown or a crash and ended by start-up; it may be tried again.
    Interrupted(Stage),
}

impl Outcome {
    /// The word under which the outcome is stored and listed.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pushed(_) => "pushed",
            Self::Deployed(_) => "deployed",
            Self::RolledBack { .. } => "rolled-back",
            Self::Failed(_) => "failed",
            Self::Down(_) => "down",
            Self::Superseded { .. } => "superseded",
            Self::Interrupted(_) => "interrupted",
        }
    }

    /// The failure that the outcome carries, if it is one.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::RolledBack { failure } | Self::Failed(failure) | Self::Down(failure) => Some(failure),
            Self::Pushed(_) | Self::Deployed(_) | Self::Superseded { .. } | Self::Interrupted(_) => None,
        }
    }

    /// The stage at which the run did not go on, if it did not.
    pub const fn stopped_at(&self) -> Option<Stage> {
        match self {
            Self::RolledBack { failure } | Self::Failed(failure) | Self::Down(failure) => Some(failure.stage),
            Self::Interrupted(stage) | Self::Superseded { stage, .. } => Some(*stage),
            Self::Pushed(_) | Self::Deployed(_) => None,
        }
    }
}

/// All that is known of a run when it has ended: what history keeps and mails tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run's number.
    pub number: RunNumber,
    /// The project it belongs to.
    pub project: ProjectName,
    /// CI or CD.
    pub kind: RunKind,
    /// Why it was started.
    pub trigger: Trigger,
    /// The commit, for a CI run; for a CD run where the image says which it was built from.
    pub commit: Option<Commit>,
    /// What a CD run tried to deploy.
    pub candidate: Option<Release>,
    /// How it ended.
    pub outcome: Outcome,
    /// What serves now that the run has ended, as Docker was asked, or by the records if it did not
    /// answer; `None` if nothing does or none is deployed here.
    pub serving: Option<Release>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// Time spent in each stage that was entered, in order.
    pub stages: Vec<(Stage, Duration)>,
    /// How long nothing answered during the swap, where there was one.
    pub gap: Option<Duration>,
    /// The run's log file.
    pub log: PathBuf,
    /// The last lines of output of the failed stage, redacted, oldest first.
    pub last_lines: Vec<String>,
}
