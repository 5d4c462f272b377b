//! What the owner asks of a running agent, what it answers, and what stays in force until something newer comes.
//! The names of the fields and words are what goes over the control socket; those of [`Plan`] are also the
//! contract of `homeport plan --json`.

use chrono::DateTime;
use chrono::Utc;
use serde::Deserialize;
use serde::Serialize;

use crate::model::names::CommitPrefix;
use crate::model::names::Digest;
use crate::model::names::ProjectName;
use crate::model::names::Tag;
use crate::model::run::Release;

/// An order about one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Deploy a release that held before.
    Rollback {
        /// Which one, as it was written: a tag, or a run's number with or without `#`; left out, the one before.
        to: Option<String>,
    },
    /// Deploy what the registry has under a tag.
    Deploy {
        /// The tag.
        tag: Tag,
    },
    /// Try again what failed.
    Retry,
    /// Run a commit, whatever was made of it before.
    Trigger {
        /// Which one; left out, the newest.
        commit: Option<CommitPrefix>,
    },
    /// Start nothing by yourself.
    Pause,
    /// Start what is due again.
    Resume,
    /// Say what would happen now.
    Plan,
}

/// An order as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The project it is about.
    pub project: ProjectName,
    /// What is asked.
    pub order: Order,
}

/// One answer to an order. The first one says what becomes of it; one more follows for each run that it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It cannot be done, and why, with the way out.
    Refused(String),
    /// Nobody could be asked what is needed for it, and why.
    Unreachable(String),
    /// It is done, or under way.
    Accepted(String),
    /// What would happen now.
    Plan(Box<Plan>),
    /// A run that it started has ended well, or not.
    Ended {
        /// Whether it ended well.
        well: bool,
        /// How it ended.
        text: String,
    },
}

/// What would happen now to a project, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The project.
    pub project: ProjectName,
    /// Since when nothing is started.
    pub paused: Option<DateTime<Utc>>,
    /// The tags that were put aside by command.
    pub held: Vec<Tag>,
    /// What would become of the newest commit; `null` where nothing is built.
    pub ci: Option<Prospect>,
    /// What would become of the newest image; `null` where nothing is deployed.
    pub cd: Option<Prospect>,
}

/// What would happen now in one of the two lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prospect {
    /// What would be done.
    pub next: Move,
    /// The commit or the tag it would be done with, where there is one.
    pub about: Option<String>,
    /// Why, a sentence.
    pub why: String,
}

/// The kinds of what may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// A run starts.
    Start,
    /// A run is due and starts later.
    Wait,
    /// Nothing: all is as it should be, or what would be due failed.
    Nothing,
    /// Nobody knows: the source, or Docker, did not answer.
    Unknown,
}

impl Move {
    /// The word for a person.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "starts",
            Self::Wait => "waits",
            Self::Nothing => "nothing",
            Self::Unknown => "unknown",
        }
    }
}

/// What the owner has ordered until further notice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StandingOrders {
    /// Since when nothing is started.
    pub paused_since: Option<DateTime<Utc>>,
    /// What was chosen instead of something newer.
    pub hold: Option<Hold>,
}

/// A release that the owner chose by command instead of newer ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What was chosen.
    pub kept: Release,
    /// What is not deployed by itself any more: only what is newer than all of these is.
    pub put_aside: Vec<PutAside>,
}

/// A version that the owner does not want now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAside {
    /// Its tag.
    pub tag: Tag,
    /// Its content; `None` if the listing did not say.
    pub digest: Option<Digest>,
    /// When the owner said so. It stands in for a push date that is not listed.
    pub since: DateTime<Utc>,
}

impl Hold {
    /// The tags that were put aside.
    pub fn tags(&self) -> Vec<Tag> {
        self.put_aside.iter().map(|aside| aside.tag.clone()).collect()
    }

    /// The same tags as a phrase.
    pub fn in_words(&self) -> String {
        self.put_aside.iter().map(|aside| aside.tag.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether this is still what the owner chose: the release that serves by the records is the one.
    pub fn is_in_force(&self, current: Option<&Release>) -> bool {
        current.is_some_and(|current| current.digest == self.kept.digest)
    }
}
