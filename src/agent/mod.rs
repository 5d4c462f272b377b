//! The agent: one loop over one closed enum of events, one at a time. Slow work (polls, runs, mail) goes on
//! in tasks of its own that end in an event.
//!
//! `polls` asks the sources, at the pace of `pace`, and decides what is due, for commits in `commits`; `runs` starts
//! what is due and takes in how it ended; `start` takes up what an earlier process left; `watch` looks after fresh
//! deployments, `wellbeing` after older ones, and `images` clears away what is no way back; `orders` does what the
//! owner asks for, `errands` what has to be asked first, `trigger` runs the commit that was asked for, and `plan` only
//! says what would be done; `statuses` tells GitHub about commits; `upkeep` sends mail, pings and applies a changed
//! configuration.

mod ask;
mod ask_git;
mod commits;
mod errands;
mod images;
mod job;
mod orders;
mod pace;
mod plan;
mod polls;
mod project;
mod rebuild;
mod runs;
mod start;
mod statuses;
mod target;
mod telling;
mod trigger;
mod upkeep;
mod watch;
mod wellbeing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::job::Job;
use crate::agent::project::ProjectState;
use crate::agent::rebuild::Memory;
use crate::agent::telling::Telling;
use crate::config::settings::Settings;
use crate::control::Control;
use crate::event::Event;
use crate::event::Source;
use crate::event::Told;
use crate::event::Upkeep;
use crate::model::ProjectName;
use crate::model::Trigger;
use crate::queue::Queue;
use crate::run::Shared;
use crate::schedule::Timetable;

/// How long a stop waits for a mail that is being sent, and for GitHub.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until it is told to stop.
    Service,
    /// Until everything was polled once and nothing is due any more.
    OnePass,
}

/// What the process lends to the agent.
pub struct Ties {
    /// Reads the configuration file again; `Err` says all that is wrong with it.
    pub reload: Box<dyn Fn() -> Result<Fresh, String>>,
    /// Tells the supervisor that the loop is alive.
    pub alive: Box<dyn Fn()>,
    /// Tells the supervisor that the agent is ready.
    pub ready: Box<dyn Fn()>,
}

/// What a configuration file that was read again leads to.
#[derive(Debug)]
pub struct Fresh {
    /// The settings.
    pub settings: Settings,
    /// Everything that was made from them.
    pub shared: Shared,
}

/// What a pass has brought, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Runs that did not end well.
    pub failed_runs: u32,
    /// Sources, or Docker, that did not answer.
    pub unreachable: u32,
}

/// The agent.
pub struct Agent {
    settings: Settings,
    shared: Shared,
    ties: Ties,
    life: Life,
    projects: BTreeMap<ProjectName, ProjectState>,
    queue: Queue<Job>,
    events: UnboundedSender<Event>,
    inbox: UnboundedReceiver<Event>,
    timetable: Timetable,
    webhook: Option<JoinHandle<()>>,
    control: Option<Control>,
    /// Fires when the runs should reach a safe point and end.
    stopping: CancellationToken,
    /// Whether nothing more is waited for.
    is_abandoned: bool,
    /// The mails in the outbox.
    mailing: Telling,
    /// What GitHub is told about commits.
    reporting: Telling,
    /// What a single pass waits for: polls put off to a moment of their own, such as the next look for a tag just
    /// pushed, and what is being told of a service.
    put_off: u32,
    tally: Tally,
    /// Whether the database is whole.
    memory: Memory,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("life", &self.life)
            .field("projects", &self.projects)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that has done nothing yet.
    pub fn new(settings: Settings, shared: Shared, life: Life, ties: Ties) -> Self {
        let (events, inbox) = unbounded_channel();
        let timetable = Timetable::new(shared.clients.clock.clone(), events.clone());
        let projects = settings
            .projects
            .iter()
            .map(|project| (project.name.clone(), ProjectState::new(Arc::new(project.clone()))))
            .collect();
        Self {
            settings,
            shared,
            ties,
            life,
            projects,
            queue: Queue::new(),
            events,
            inbox,
            timetable,
            webhook: None,
            control: None,
            stopping: CancellationToken::new(),
            is_abandoned: false,
            mailing: Telling::default(),
            reporting: Telling::default(),
            put_off: 0,
            tally: Tally::default(),
            memory: Memory::Whole,
        }
    }

    /// Where events for this agent are sent.
    pub fn events(&self) -> UnboundedSender<Event> {
        self.events.clone()
    }

    /// Lives: takes up what was left, then handles one event after another.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn run(mut self) -> anyhow::Result<Tally> {
        self.clear_trees();
        self.remember().await?;
        // Who waits for readiness may give orders then.
        match self.life {
            Life::Service => self.take_orders(),
            Life::OnePass => {}
        }
        (self.ties.ready)();
        match self.life {
            Life::Service => self.open_for_service().await?,
            Life::OnePass => self.poll_everything(),
        }
        self.start_what_waits();
        while !self.is_done() {
            // The agent holds a sender itself, so the inbox cannot end.
            let Some(event) = self.inbox.recv().await else { break };
            self.handle(event).await?;
            self.refuse_damage()?;
        }
        if let Some(webhook) = self.webhook.take() {
            webhook.abort();
        }
        if let Some(control) = self.control.take() {
            control.close().await;
        }
        self.timetable.stop().await;
        Ok(self.tally)
    }

    /// A database that turned out to be damaged says nothing that may be acted on: the next start sets it aside.
    fn refuse_damage(&self) -> anyhow::Result<()> {
        match self.shared.clients.store.damage() {
            None => Ok(()),
            Some(damage) => anyhow::bail!(
                "the database is damaged: {damage}; ending here, the next start sets it aside and rebuilds it"
            ),
        }
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::PollDue(project, source) => self.poll(&project, source, Trigger::Poll),
            Event::PollAgain(project, source, trigger) => {
                self.put_off = self.put_off.saturating_sub(1);
                self.poll(&project, source, trigger);
            }
            Event::Pushed(repository, followed) => self.poll_pushed(&repository, &followed),
            Event::GitHubPolled(project, answer) => self.github_polled(&project, answer).await,
            Event::HubPolled(project, answer) => self.hub_polled(&project, answer).await,
            Event::ServiceSeen(project, shown) => {
                self.service_seen(&project, shown.as_deref());
                self.clear_images_once(&project).await;
            }
            Event::ServiceTold => self.service_told(),
            Event::RunEnded(report) => self.run_ended(*report).await,
            Event::RunLost(project, kind) => self.run_lost(&project, kind),
            Event::DeploymentSuspended(project, why) => self.deployment_suspended(&project, why),
            Event::RebuildDue => self.rebuild_due().await?,
            Event::RecoveryDue(project) => self.recovery_due(&project).await,
            Event::WatchFailed(project, run, reason) => self.watch_failed(&project, run, reason).await,
            Event::Ordered(ordered, answers) => self.ordered(ordered, answers).await,
            Event::Informed(project, errand, findings, answers) => {
                self.informed(&project, errand, *findings, &answers).await;
            }
            Event::MailDue => self.try_mails(),
            Event::MailsTried(next) => self.mails_tried(next),
            Event::StatusesDue => self.tell_github(),
            Event::StatusesTold(told) => self.github_told(told),
            Event::Tick(Upkeep::Heartbeat) => self.ping_heartbeat(),
            Event::Tick(Upkeep::Watchdog) => (self.ties.alive)(),
            Event::ConfigChanged => self.reload().await,
            Event::Stop => self.stop(),
        }
        Ok(())
    }

    /// Whether the loop may end: told to stop or, in a single pass, with nothing left to do.
    fn is_done(&self) -> bool {
        let nothing_runs = self.queue.running(crate::queue::Lane::Ci).is_none()
            && self.queue.running(crate::queue::Lane::Cd).is_none();
        let is_silent = self.mailing.is_idle() && self.reporting.is_idle();
        if self.stopping.is_cancelled() {
            return self.is_abandoned || (nothing_runs && is_silent);
        }
        let asking = self.projects.values().any(|p| p.github.asking.is_some() || p.hub.asking.is_some());
        match self.life {
            Life::Service => false,
            Life::OnePass => self.queue.is_idle() && !asking && self.put_off == 0 && is_silent,
        }
    }

    /// Ends polling; runs reach their safe point: a CI run is dropped where it stands, a deployment goes on
    /// to its end, which its time limits bound.
    ///
    /// Asked a second time, it ends at once: recovery at the next start takes up what is left.
    fn stop(&mut self) {
        if self.stopping.is_cancelled() {
            slog::warn!(self.shared.journal, "asked twice to stop: leaving the rest to the next start");
            self.is_abandoned = true;
            return;
        }
        slog::info!(self.shared.journal, "stopping; a deployment under way is brought to its end first");
        self.stopping.cancel();
        // A server that says nothing must not hold up the end: what it is to be told is kept.
        self.send_later(FAREWELL, Event::MailsTried(None));
        self.send_later(FAREWELL, Event::StatusesTold(Told::default()));
        for project in self.projects.values_mut() {
            project.stop_watching();
        }
    }

    /// Sends an event after a while.
    fn send_later(&self, wait: Duration, event: Event) {
        let (clock, events) = (self.shared.clients.clock.clone(), self.events.clone());
        tokio::spawn(async move {
            clock.sleep(wait).await;
            // Fails only when the agent is gone.
            events.send(event).ok();
        });
    }

    fn now(&self) -> DateTime<Utc> {
        self.shared.clients.clock.now()
    }

    fn poll_everything(&mut self) {
        let names: Vec<ProjectName> = self.projects.keys().cloned().collect();
        for name in names {
            self.poll(&name, Source::GitHub, Trigger::Command);
            self.poll(&name, Source::DockerHub, Trigger::Command);
        }
    }
}
