//! The closed enum of everything that can happen to the agent. Timers, the webhook, the polls, the runs
//! and the watches only send events; the agent's loop alone acts on them, one at a time.

use std::sync::Arc;

use chrono::DateTime;
use chrono::Utc;

use crate::model::CommitFacts;
use crate::model::CommitPrefix;
use crate::model::CommitSha;
use crate::model::Container;
use crate::model::Digest;
use crate::model::Followed;
use crate::model::ListedTag;
use crate::model::Ordered;
use crate::model::Platform;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::Reply;
use crate::model::Repository;
use crate::model::RunKind;
use crate::model::RunNumber;
use crate::model::RunReport;
use crate::model::Tag;
use crate::model::Trigger;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The schedule says that it is time to ask a source about a project.
    PollDue(ProjectName, Source),
    /// A poll that was put off to this moment is due.
    PollAgain(ProjectName, Source, Trigger),
    /// GitHub's webhook said that what is followed moved: a hint to poll, never the truth.
    Pushed(Repository, Followed),
    /// GitHub has answered a poll, or not.
    GitHubPolled(ProjectName, Result<Head, PollFailure>),
    /// What Docker shows in the place of a project's service, if anything.
    ServiceSeen(ProjectName, Option<Box<Container>>),
    /// A change in a service's health was recorded.
    ServiceTold,
    /// Docker Hub has answered a poll, or not.
    HubPolled(ProjectName, Result<Listing, PollFailure>),
    /// A run is over, and its end is recorded.
    RunEnded(Box<RunReport>),
    /// A run could not be begun, or its end not be recorded: the database failed.
    RunLost(ProjectName, RunKind),
    /// A deployment could not be ended for now; its journal stands and is taken up again later.
    DeploymentSuspended(ProjectName, Hindrance),
    /// It is time to take a suspended deployment up again.
    RecoveryDue(ProjectName),
    /// It is time to look again for what a lost database knew.
    RebuildDue,
    /// A deployment that was proven has failed within its watch: the run that made it, and why.
    WatchFailed(ProjectName, RunNumber, String),
    /// The owner asks for something, and waits for answers.
    Ordered(Ordered, Answers),
    /// What an order needs to know was asked, or not.
    Informed(ProjectName, Errand, Box<Findings>, Answers),
    /// A mail may be due.
    MailDue,
    /// GitHub may be told something about commits.
    StatusesDue,
    /// GitHub was told, or not.
    StatusesTold(Told),
    /// The outbox has been gone through; when the next mail is due, if one waits.
    MailsTried(Option<DateTime<Utc>>),
    /// The dead man's switch wants its ping, and the folders a look.
    Tick(Upkeep),
    /// The configuration file was saved, or SIGHUP asked for it to be read again.
    ConfigChanged,
    /// The process was asked to stop.
    Stop,
}

/// What keeps a deployment from being ended now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// Docker does not answer: it goes on when Docker does.
    DockerAway,
    /// Docker refuses something, or the database does: it is tried again with growing pauses.
    Refusal,
}

/// What is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// GitHub, for new commits.
    GitHub,
    /// Docker Hub, for new tags.
    DockerHub,
}

/// What the agent does now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Ping the dead man's switch.
    Heartbeat,
    /// Tell systemd that the loop is alive.
    Watchdog,
}

/// What GitHub said of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its newest commit; `None` if it is still the one asked about.
    pub moved_to: Option<NewCommit>,
    /// With what the tags are asked for the next time, where tags are followed.
    pub etag: Option<String>,
    /// The repository's present name, if it was renamed and GitHub sent us on.
    pub renamed_to: Option<Repository>,
    /// How many requests are left, and until when, where GitHub says so.
    pub budget: Option<Budget>,
}

/// A commit that was not there at the poll before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// Its id.
    pub sha: CommitSha,
    /// What it says and does. Not asked for a commit that is judged already.
    pub facts: CommitFacts,
}

/// A source's limit on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Requests per window.
    pub limit: u32,
    /// Requests left in it.
    pub remaining: u32,
    /// When it ends.
    pub reset: DateTime<Utc>,
}

/// What a choice of image needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The tags on Docker Hub.
    pub tags: Vec<ListedTag>,
    /// What the image must fit.
    pub platform: Platform,
    /// What stands in the service's place, by what Docker shows.
    pub serving: Option<Release>,
}

/// What came of telling GitHub about commits.
#[derive(Debug, Default)]
pub struct Told {
    /// Projects of whose commits the token may say nothing, and what GitHub says to it.
    pub refused: Vec<(ProjectName, String)>,
    /// When what could not be told is tried again.
    pub next: Option<DateTime<Utc>>,
}

/// Where the answers to an order go. Clones go to the same place; it closes when the last one is gone.
#[derive(Clone)]
pub struct Answers(Arc<dyn Fn(Reply) + Send + Sync>);

impl Answers {
    /// Answers that are given to this function, which must return at once.
    pub fn new(give: impl Fn(Reply) + Send + Sync + 'static) -> Self {
        Self(Arc::new(give))
    }

    /// Gives one answer. Whether anybody still listens does not matter.
    pub fn say(&self, reply: Reply) {
        (self.0)(reply);
    }
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers")
    }
}

/// An order for which somebody has to be asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// Deploy this tag.
    Deploy(Tag),
    /// Try again what failed.
    Retry,
    /// Run this commit, or the newest.
    Trigger(Option<CommitPrefix>),
    /// Say what would happen.
    Plan,
}

/// What was found out for an order. `None` is what was not asked.
#[derive(Debug, Default)]
pub struct Findings {
    /// Where the branch stands.
    pub head: Option<Result<Head, PollFailure>>,
    /// The commit that was asked for: nothing if GitHub knows no such one, or why it could not be asked.
    pub commit: Option<Result<Option<CommitSha>, String>>,
    /// What Docker Hub lists, and what stands in the service's place.
    pub listing: Option<Result<Listing, PollFailure>>,
    /// What the registry has under the tag: its content, nothing, or why it could not be asked.
    pub digest: Option<Result<Option<Digest>, String>>,
    /// What runs in the service's place.
    pub running: Option<Release>,
}

/// Why a poll brought no answer. It is never read as "there is nothing".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollFailure {
    /// The whole chain of causes on one line.
    pub reason: String,
    /// When it is asked again.
    pub again: Again,
}

/// When a source is asked again that brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// With growing pauses: who is in trouble must not be pressed.
    WithPauses,
    /// Then, because it said so.
    NotBefore(DateTime<Utc>),
    /// When it is its turn: it is not the source that did not answer but this machine's own Docker.
    BySchedule,
}

impl From<Option<DateTime<Utc>>> for Again {
    fn from(told: Option<DateTime<Utc>>) -> Self {
        told.map_or(Self::WithPauses, Self::NotBefore)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GitHub => "GitHub",
            Self::DockerHub => "Docker Hub",
        })
    }
}
