//! What the agent keeps in mind of one project between two events. Everything here can be lost: it is
//! read again from the database and from Docker at start-up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::agent::ask::Known;
use crate::clients::store::Deployment;
use crate::config::settings::ContainerSpec;
use crate::config::settings::ProjectSettings;
use crate::decide::ImageDecision;
use crate::decide::ImageQuestion;
use crate::decide::Serving;
use crate::decide::SpecQuestion;
use crate::decide::image_due;
use crate::decide::with_changed_spec;
use crate::event::Answers;
use crate::event::Budget;
use crate::event::Listing;
use crate::event::NewCommit;
use crate::event::Source;
use crate::health::illness::Wellbeing;
use crate::model::CommitFacts;
use crate::model::CommitSha;
use crate::model::Digest;
use crate::model::Release;
use crate::model::StandingOrders;
use crate::model::Tag;
use crate::model::Trigger;
use crate::retry::Backoff;
use crate::retry::LONGEST_TOLD_WAIT;
use crate::retry::PollHealth;

/// After a failure of the world a run is tried again, first after half a minute and at last every half hour.
const RUN_BACKOFF: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(30 * 60));
/// A source that does not answer is asked again, first after the half of ten seconds and at last every ten minutes.
const POLL_BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10 * 60));
/// How often, and how soon, Docker Hub is asked again for a tag that was just pushed and is not listed yet.
const AWAIT_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
const AWAIT_TRIES: u32 = 9;

/// One project.
#[derive(Debug)]
pub struct ProjectState {
    /// Its settings, which a saved configuration file may replace.
    pub settings: Arc<ProjectSettings>,
    /// The newest commit GitHub has shown.
    pub seen: Option<CommitSha>,
    /// With what the tags are asked for, where tags are followed.
    pub etag: Option<String>,
    /// What that commit says and does, as far as it was asked.
    pub facts: CommitFacts,
    /// Whether it was said that the repository has a new name.
    pub said_renamed: bool,
    /// Whether it was said that the token may write no commit statuses.
    pub said_no_status: bool,
    /// The newest commit that needs no further run.
    pub judged: Option<CommitSha>,
    /// The CI run that goes on.
    pub building: Option<Building>,
    /// The release whose run goes on.
    pub deploying: Option<Release>,
    /// The deployment that serves, by the records.
    pub current: Option<Deployment>,
    /// The configuration of the container with which what serves failed.
    pub refused_spec: Option<ContainerSpec>,
    /// The digests that failed, with their reasons.
    pub quarantined: BTreeMap<Digest, String>,
    /// What the owner has ordered until further notice.
    pub orders: StandingOrders,
    /// Who is told of the runs that are started now, because they were asked for.
    pub asker: Option<Answers>,
    /// The tag just pushed that Docker Hub does not list yet.
    pub awaited: Option<Awaited>,
    /// Polls of GitHub.
    pub github: SourceState,
    /// Polls of Docker Hub.
    pub hub: SourceState,
    /// When CI may be tried again after a failure of the world.
    pub ci: Retry,
    /// When CD may be.
    pub cd: Retry,
    /// How the service is after its watch.
    pub wellbeing: Wellbeing,
    /// Whether the images that are no way back were cleared away since the start.
    pub is_cleared: bool,
    /// The watch over the newest deployment.
    pub watch: Option<AbortHandle>,
}

/// A CI run that goes on.
#[derive(Debug)]
pub struct Building {
    /// Its commit.
    pub sha: CommitSha,
    /// Why it was started.
    pub trigger: Trigger,
    /// Tells it of a newer commit that takes its place.
    pub newer: watch::Sender<Option<CommitSha>>,
}

/// The polls of one source.
#[derive(Debug)]
pub struct SourceState {
    /// The poll that is under way, and what it was started by.
    pub asking: Option<Trigger>,
    /// Whether to ask once more when it has ended, and why: a nudge came in between.
    pub again: Option<Trigger>,
    /// What started the poll that was answered last.
    pub trigger: Trigger,
    /// When it may be asked again, because it said so.
    pub told: Option<DateTime<Utc>>,
    /// When the schedule may ask it again: after a failure, or for the sake of a budget.
    pub not_before: Option<DateTime<Utc>>,
    /// The source's limit, as it was shown last.
    pub budget: Option<Budget>,
    /// Whether it was said that the polls are slowed to that limit.
    pub said_slowed: bool,
    /// How the polls have gone.
    pub health: PollHealth,
    /// The wait after the next failure.
    pub backoff: Backoff,
    /// What was last decided from an answer, so that the journal says it once.
    pub said: String,
}

/// A tag just pushed that Docker Hub does not list yet.
#[derive(Debug)]
pub struct Awaited {
    /// The tag.
    pub tag: Tag,
    /// How often it was asked for.
    tries: u32,
    backoff: Backoff,
}

/// When something may be tried again.
#[derive(Debug)]
pub struct Retry {
    /// Not before this.
    pub not_before: Option<DateTime<Utc>>,
    /// The wait after the next failure.
    pub backoff: Backoff,
}

impl ProjectState {
    /// A project of which nothing is known yet.
    pub fn new(settings: Arc<ProjectSettings>) -> Self {
        Self {
            settings,
            seen: None,
            etag: None,
            facts: CommitFacts::default(),
            said_renamed: false,
            said_no_status: false,
            judged: None,
            building: None,
            deploying: None,
            current: None,
            refused_spec: None,
            quarantined: BTreeMap::new(),
            orders: StandingOrders::default(),
            asker: None,
            awaited: None,
            github: SourceState::default(),
            hub: SourceState::default(),
            ci: Retry::default(),
            cd: Retry::default(),
            wellbeing: Wellbeing::default(),
            is_cleared: false,
            watch: None,
        }
    }

    /// The polls of a source.
    pub const fn source_mut(&mut self, source: Source) -> &mut SourceState {
        match source {
            Source::GitHub => &mut self.github,
            Source::DockerHub => &mut self.hub,
        }
    }

    /// What GitHub need not say again.
    pub fn known(&self) -> Known {
        Known { head: self.seen.clone(), etag: self.etag.clone() }
    }

    /// GitHub has shown a commit that was not there before.
    pub fn has_come_to(&mut self, new: NewCommit) {
        self.seen = Some(new.sha);
        self.facts = new.facts;
    }

    /// What follows from a listing.
    pub fn image_decision(&self, listing: &Listing) -> ImageDecision {
        let current = self.current.as_ref();
        // What failed and still lies in the service's place is not what should be kept.
        let standing = listing.serving.as_ref().filter(|now| !self.quarantined.contains_key(&now.digest));
        let since = current.map(|deployment| deployment.deployed_at);
        let hold = self.orders.hold.as_ref();
        let question = ImageQuestion {
            listed: &listing.tags,
            scheme: self.settings.scheme,
            platform: &listing.platform,
            serving: standing.map(|release| Serving { release, since }),
            quarantined: &self.quarantined,
            hold: hold.filter(|hold| hold.is_in_force(current.map(|deployment| &deployment.release))),
        };
        self.with_changed_spec(image_due(&question), standing)
    }

    /// The decision about images, where the configuration of the container that serves has changed. It is the
    /// records that know what that container was made from.
    fn with_changed_spec(&self, decision: ImageDecision, serving: Option<&Release>) -> ImageDecision {
        let current = self.current.as_ref().filter(|current| Some(&current.release) == serving);
        match (current, &self.settings.deploy) {
            (Some(current), Some(deploy)) => {
                let question = SpecQuestion {
                    serving: &current.release,
                    made_from: &current.spec,
                    wanted: &deploy.spec,
                    refused: self.refused_spec.as_ref(),
                };
                with_changed_spec(decision, &question)
            }
            (_, _) => decision,
        }
    }

    /// Ends the watch over a deployment that another run is about to replace.
    pub fn stop_watching(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }
}

impl Default for SourceState {
    fn default() -> Self {
        Self {
            asking: None,
            again: None,
            trigger: Trigger::Poll,
            told: None,
            not_before: None,
            budget: None,
            said_slowed: false,
            health: PollHealth::default(),
            backoff: Backoff::new(POLL_BACKOFF.0, POLL_BACKOFF.1),
            said: String::new(),
        }
    }
}

impl SourceState {
    /// Whether it may not be asked yet. A nudge does not wait for our own backoff; what the source itself said
    /// holds for everyone.
    pub fn must_wait(&self, trigger: Trigger, now: DateTime<Utc>) -> bool {
        let own = self.not_before.filter(|_| trigger == Trigger::Poll);
        self.told.max(own).is_some_and(|then| is_ahead(then, now))
    }

    /// Whether what is now to be said differs from what was said last.
    pub fn is_news(&mut self, text: &str) -> bool {
        let is_news = self.said != text;
        if is_news {
            text.clone_into(&mut self.said);
        }
        is_news
    }
}

impl Awaited {
    /// A tag that is asked for from now on.
    pub fn new(tag: Tag) -> Self {
        Self { tag, tries: 0, backoff: Backoff::new(AWAIT_BACKOFF.0, AWAIT_BACKOFF.1) }
    }

    /// How long to wait before it is asked for once more; `None` when it was often enough.
    pub fn next_try(&mut self) -> Option<Duration> {
        self.tries += 1;
        (self.tries <= AWAIT_TRIES).then(|| self.backoff.next(1.0))
    }
}

/// Whether an instant is still to come. One that is further away than anything is ever put off was set by a
/// clock that was wrong.
fn is_ahead(then: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now < then && then - now <= LONGEST_TOLD_WAIT
}

impl Default for Retry {
    fn default() -> Self {
        Self { not_before: None, backoff: Backoff::new(RUN_BACKOFF.0, RUN_BACKOFF.1) }
    }
}

impl Retry {
    /// Whether the time has not come yet.
    pub fn must_wait(&self, now: DateTime<Utc>) -> bool {
        self.not_before.is_some_and(|then| is_ahead(then, now))
    }

    /// Puts the next try off, and says for how long.
    pub fn put_off(&mut self, now: DateTime<Utc>, jitter: f64) -> Duration {
        let wait = self.backoff.next(jitter);
        self.not_before = Some(now + wait);
        wait
    }

    /// After a success: nothing is put off.
    pub const fn clear(&mut self) {
        self.not_before = None;
        self.backoff.reset();
    }
}
