//! Starting what is due, one run at a time in each lane, and taking in how it ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::agent::Agent;
use crate::agent::Life;
use crate::agent::job::Job;
use crate::agent::job::NotEnded;
use crate::agent::job::perform;
use crate::agent::project::Awaited;
use crate::agent::project::Building;
use crate::agent::project::ProjectState;
use crate::agent::project::Retry;
use crate::agent::rebuild::Memory;
use crate::ci::EarlyEnds;
use crate::event::Event;
use crate::event::Hindrance;
use crate::event::Source;
use crate::model::Blame;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::Reply;
use crate::model::RunKind;
use crate::model::RunReport;
use crate::model::Trigger;
use crate::queue::Lane;
use crate::queue::Priority;
use crate::queue::Requested;
use crate::run::in_words;

/// How often a Docker that is away is asked whether it is back.
const DOCKER_PACE: Duration = Duration::from_millis(500);

impl Agent {
    /// Lets a job wait for its turn, and starts it if it is its turn.
    pub(super) fn request(&mut self, lane: Lane, name: &ProjectName, priority: Priority, job: Job) {
        self.enqueue(lane, name, priority, job);
        self.start_what_waits();
    }

    /// Lets a job wait for its turn.
    pub(super) fn enqueue(&mut self, lane: Lane, name: &ProjectName, priority: Priority, job: Job) {
        match self.queue.request(lane, name.clone(), priority, job) {
            Requested::Queued | Requested::GivenBack(_) => {}
            Requested::Replaced(job @ (Job::Commit { .. } | Job::Image { .. })) => {
                let text = format!("{name}: {job} waited and is replaced by something newer");
                slog::info!(self.shared.journal, "{text}");
                if let Some(answers) = job.answers() {
                    answers.say(Reply::Ended { well: false, text });
                }
            }
            Requested::Replaced(Job::Recover { .. } | Job::TakeBack { .. }) => {}
        }
    }

    /// Starts what is next in each lane that is free.
    pub(super) fn start_what_waits(&mut self) {
        if self.stopping.is_cancelled() || self.memory != Memory::Whole {
            return;
        }
        for lane in [Lane::Ci, Lane::Cd] {
            while let Some((name, job)) = self.queue.start_next(lane) {
                if self.projects.contains_key(&name) {
                    self.start(lane, &name, job);
                    break;
                }
                // Its project was taken out of the configuration while it waited.
                self.queue.finished(lane);
            }
        }
    }

    fn start(&mut self, lane: Lane, name: &ProjectName, job: Job) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let (newer, overtaken) = watch::channel(None);
        match &job {
            Job::Commit { sha, trigger, .. } => {
                project.building = Some(Building { sha: sha.clone(), trigger: *trigger, newer });
            }
            Job::Image { release, .. } => {
                project.deploying = Some(release.clone());
                project.stop_watching();
            }
            Job::Recover { .. } | Job::TakeBack { .. } => project.stop_watching(),
        }
        let settings = Arc::clone(&project.settings);
        let (shared, notifier, events) = (self.shared.clone(), self.shared_notifier(), self.events.clone());
        let (stopping, name) = (self.stopping.clone(), name.clone());
        let ends = EarlyEnds { stopping, newer: overtaken };
        let answers = job.answers().cloned();
        tokio::spawn(async move {
            if let Job::Commit { sha, .. } = &job
                && notifier.commit_begins(&name, sha).await
            {
                // Fails only when the agent is gone.
                events.send(Event::StatusesDue).ok();
            }
            let done = perform(&shared, &notifier, settings, job, &ends).await;
            if let Some(answers) = answers {
                answers.say(ended(&done));
            }
            let event = match done {
                Ok(report) => Event::RunEnded(Box::new(report)),
                Err(NotEnded::Suspended(why)) => Event::DeploymentSuspended(name, why),
                Err(NotEnded::NotBegun(error)) => {
                    slog::error!(shared.journal, "{name}: the run could not be begun or recorded: {error:#}");
                    Event::RunLost(name, kind_of(lane))
                }
            };
            // Fails only when the agent is gone.
            events.send(event).ok();
        });
    }

    pub(super) async fn run_ended(&mut self, report: RunReport) {
        let now = self.now();
        let jitter = self.jitter();
        let name = report.project.clone();
        if report.outcome.failure().is_some() {
            self.tally.failed_runs += 1;
        }
        self.refresh(&name).await;
        let Some(project) = self.projects.get_mut(&name) else {
            self.lane_is_free(report.kind);
            return;
        };
        let retry = over(project, report.kind);
        match &report.outcome {
            Outcome::Failed(failure) | Outcome::RolledBack { failure } | Outcome::Down(failure)
                if failure.blame == Blame::World =>
            {
                let wait = retry.put_off(now, jitter);
                self.poll_later(&name, report.kind, wait);
            }
            Outcome::Interrupted(_) => self.tally.failed_runs += 1,
            Outcome::Failed(_)
            | Outcome::RolledBack { .. }
            | Outcome::Down(_)
            | Outcome::Superseded { .. } => {}
            Outcome::Pushed(release) => {
                retry.clear();
                if project.settings.deploy.is_some() {
                    project.awaited = Some(Awaited::new(release.tag.clone()));
                    self.poll(&name, Source::DockerHub, Trigger::OwnPush);
                }
            }
            Outcome::Deployed(_) => retry.clear(),
        }
        if report.kind == RunKind::Ci {
            self.take_up_order(&name).await;
        }
        self.lane_is_free(report.kind);
        self.sweep_logs(&name);
        self.after_run(&report).await;
        self.mail_soon();
        self.tell_github();
        self.look_again(&name, report.kind);
    }

    /// While a run went on, its source may have moved on.
    fn look_again(&mut self, name: &ProjectName, kind: RunKind) {
        match kind {
            RunKind::Ci => self.poll(name, Source::GitHub, Trigger::Poll),
            RunKind::Cd => self.poll(name, Source::DockerHub, Trigger::Poll),
        }
    }

    pub(super) fn run_lost(&mut self, name: &ProjectName, kind: RunKind) {
        let now = self.now();
        let jitter = self.jitter();
        self.tally.failed_runs += 1;
        if let Some(project) = self.projects.get_mut(name) {
            let retry = over(project, kind);
            let wait = retry.put_off(now, jitter);
            self.poll_later(name, kind, wait);
        }
        self.lane_is_free(kind);
    }

    pub(super) fn deployment_suspended(&mut self, name: &ProjectName, why: Hindrance) {
        self.recover_later(name, why);
        self.lane_is_free(RunKind::Cd);
    }

    /// Puts a recovery off: until Docker answers, or for a while. A single pass leaves it to the next one.
    pub(super) fn recover_later(&mut self, name: &ProjectName, why: Hindrance) {
        let now = self.now();
        let jitter = self.jitter();
        self.tally.unreachable += 1;
        if let Some(project) = self.projects.get_mut(name) {
            project.deploying = None;
            match (self.life, why) {
                (Life::Service, Hindrance::DockerAway) => self.recover_with_docker(name),
                (Life::Service, Hindrance::Refusal) => {
                    let wait = project.cd.put_off(now, jitter);
                    self.send_later(wait, Event::RecoveryDue(name.clone()));
                }
                (Life::OnePass, Hindrance::DockerAway | Hindrance::Refusal) => {}
            }
        }
    }

    /// A deployment in the middle may mean that nothing serves, so it goes on as soon as Docker answers.
    fn recover_with_docker(&self, name: &ProjectName) {
        let (clients, events) = (Arc::clone(&self.shared.clients), self.events.clone());
        let event = Event::RecoveryDue(name.clone());
        tokio::spawn(async move {
            while clients.docker.engine().await.is_err() && !events.is_closed() {
                clients.clock.sleep(DOCKER_PACE).await;
            }
            // Fails only when the agent is gone.
            events.send(event).ok();
        });
    }

    /// Asks the source again when a run that the world stopped may be tried again. A single pass does not wait.
    fn poll_later(&self, name: &ProjectName, kind: RunKind, wait: Duration) {
        let source = match kind {
            RunKind::Ci => Source::GitHub,
            RunKind::Cd => Source::DockerHub,
        };
        match self.life {
            Life::Service => self.send_later(wait, Event::PollDue(name.clone(), source)),
            Life::OnePass => {}
        }
    }

    fn lane_is_free(&mut self, kind: RunKind) {
        self.queue.finished(match kind {
            RunKind::Ci => Lane::Ci,
            RunKind::Cd => Lane::Cd,
        });
        self.start_what_waits();
    }
}

/// Notes that no run of this kind goes on; gives when the next one may be tried.
fn over(project: &mut ProjectState, kind: RunKind) -> &mut Retry {
    match kind {
        RunKind::Ci => {
            project.building = None;
            &mut project.ci
        }
        RunKind::Cd => {
            project.deploying = None;
            &mut project.cd
        }
    }
}

/// How a job ended, for who asked for it.
fn ended(done: &Result<RunReport, NotEnded>) -> Reply {
    match done {
        Ok(report) => Reply::Ended {
            well: matches!(report.outcome, Outcome::Pushed(_) | Outcome::Deployed(_)),
            text: format!("run {}: {}", report.number, in_words(report)),
        },
        Err(NotEnded::Suspended(Hindrance::DockerAway)) => Reply::Ended {
            well: false,
            text: "it stands in the middle, and goes on when Docker answers again".to_owned(),
        },
        Err(NotEnded::Suspended(Hindrance::Refusal)) => Reply::Ended {
            well: false,
            text: "a deployment that was cut off goes first: ask again when it has ended".to_owned(),
        },
        Err(NotEnded::NotBegun(error)) => Reply::Ended { well: false, text: format!("{error:#}") },
    }
}

const fn kind_of(lane: Lane) -> RunKind {
    match lane {
        Lane::Ci => RunKind::Ci,
        Lane::Cd => RunKind::Cd,
    }
}
