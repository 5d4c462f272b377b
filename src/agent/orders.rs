//! What the owner orders: what is refused, what is done at once, and what waits for its lane. Orders that need to
//! ask somebody first go on in `errands`.

use crate::agent::Agent;
use crate::agent::job::Job;
use crate::agent::rebuild::Memory;
use crate::agent::target::Records;
use crate::agent::target::way_back;
use crate::config::suggest::closest;
use crate::decide::hold_for;
use crate::event::Answers;
use crate::event::Errand;
use crate::event::Source;
use crate::model::Hold;
use crate::model::ListedTag;
use crate::model::Order;
use crate::model::Ordered;
use crate::model::ProjectName;
use crate::model::PutAside;
use crate::model::Release;
use crate::model::Reply;
use crate::model::Trigger;
use crate::queue::Lane;
use crate::queue::Priority;

/// What was done, or why it is refused, as sentences.
pub(super) type Answer = Result<String, String>;

/// A release to deploy by command.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) release: Release,
    pub(super) reason: String,
    /// What Docker Hub lists, where it was asked.
    pub(super) listed: Vec<ListedTag>,
    /// What would be deployed without the command, beside what serves.
    pub(super) instead_of: Option<ListedTag>,
}

impl Agent {
    pub(super) async fn ordered(&mut self, Ordered { project: name, order }: Ordered, answers: Answers) {
        let answer = match self.refusal(&name, &order) {
            Some(refusal) => Err(refusal),
            None => match order {
                Order::Deploy { tag } => return self.inquire(&name, Errand::Deploy(tag), answers),
                Order::Retry => return self.inquire(&name, Errand::Retry, answers),
                Order::Trigger { commit } => {
                    return self.inquire(&name, Errand::Trigger(commit), answers);
                }
                Order::Plan => return self.inquire(&name, Errand::Plan, answers),
                Order::Pause => self.pause(&name).await,
                Order::Resume => self.resume(&name).await,
                Order::Rollback { to } => self.roll_back(&name, to.as_deref(), &answers).await,
            },
        };
        self.answer(&name, answer, &answers);
    }

    pub(super) fn answer(&self, name: &ProjectName, answer: Answer, answers: &Answers) {
        let (said, reply) = match answer {
            Ok(text) => (text.clone(), Reply::Accepted(text)),
            Err(text) => (format!("refused: {text}"), Reply::Refused(text)),
        };
        slog::info!(self.shared.journal, "{name}: by command: {said}");
        answers.say(reply);
    }

    /// Why an order cannot be meant for this machine.
    fn refusal(&self, name: &ProjectName, order: &Order) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("homeport is stopping: ask again when it runs".to_owned());
        }
        let Some(project) = self.projects.get(name) else {
            let known: Vec<&str> = self.projects.keys().map(ProjectName::as_str).collect();
            return Some(match closest(name.as_str(), &known) {
                Some(meant) => format!("there is no project `{name}`: did you mean `{meant}`?"),
                None => format!("there is no project `{name}`: there is {}", known.join(", ")),
            });
        };
        match order {
            Order::Pause | Order::Resume => None,
            Order::Rollback { .. } | Order::Deploy { .. } if project.settings.deploy.is_none() => {
                Some(format!(
                    "this machine only builds `{name}`: give the command where it is deployed, or add `deploy` to the \
                 project"
                ))
            }
            Order::Trigger { .. } if project.settings.source.is_none() => Some(format!(
                "this machine does not build `{name}`: give the command where it is built, or add `repository` to the \
                 project"
            )),
            Order::Rollback { .. }
            | Order::Deploy { .. }
            | Order::Retry
            | Order::Trigger { .. }
            | Order::Plan => match &self.memory {
                Memory::Whole => None,
                Memory::Lost(why) => Some(format!(
                    "the database is new, and what was deployed is not known until Docker has said it: ask again \
                     when it has ({why})"
                )),
            },
        }
    }

    async fn pause(&mut self, name: &ProjectName) -> Answer {
        let already = self.projects.get(name).and_then(|project| project.orders.paused_since);
        if let Some(since) = already {
            return Ok(format!("{name} has been paused since {}", since.format("%FT%TZ")));
        }
        self.shared.clients.store.pause(name.clone(), Some(self.now())).await.map_err(refused)?;
        self.refresh(name).await;
        let mut said = format!(
            "{name} is paused: polls go on, and nothing is started by itself until `homeport resume {name}`"
        );
        for lane in [Lane::Ci, Lane::Cd] {
            if let Some(job) = self.queue.withdraw(lane, name) {
                said += &format!("; {job}, which waited, is found due again then");
                if let Some(answers) = job.answers() {
                    answers.say(Reply::Ended {
                        well: false,
                        text: format!("{job} is put off: {name} is paused"),
                    });
                }
            }
            if self.queue.running(lane) == Some(name) {
                said += match lane {
                    Lane::Ci => "; the CI run under way goes on to its end",
                    Lane::Cd => "; the CD run under way goes on to its end",
                };
            }
        }
        Ok(said)
    }

    async fn resume(&mut self, name: &ProjectName) -> Answer {
        let Some(since) = self.projects.get(name).and_then(|project| project.orders.paused_since) else {
            return Ok(format!("{name} is not paused"));
        };
        self.shared.clients.store.pause(name.clone(), None).await.map_err(refused)?;
        self.refresh(name).await;
        self.poll(name, Source::GitHub, Trigger::Command);
        self.poll(name, Source::DockerHub, Trigger::Command);
        Ok(format!("{name} goes on, after a pause since {}: what is due is started", since.format("%FT%TZ")))
    }

    async fn roll_back(&mut self, name: &ProjectName, to: Option<&str>, answers: &Answers) -> Answer {
        self.refresh(name).await;
        let Some(project) = self.projects.get(name) else { return Err(format!("{name} is gone")) };
        if let (None, Some(deploying)) = (to, &project.deploying) {
            return Err(format!(
                "{deploying} is being deployed: wait until that has ended, or say where to with `--to TAG`"
            ));
        }
        let Some(current) = project.current.as_ref().map(|deployment| deployment.release.clone()) else {
            return Err(format!(
                "nothing of {name} was deployed yet: `homeport deploy {name} TAG` takes any tag on Docker Hub"
            ));
        };
        let store = self.shared.clients.store.clone();
        let previous = store.previous(name.clone()).await.map_err(refused)?;
        let held = store.deployments(name.clone()).await.map_err(refused)?;
        let records = Records { project: name, current: &current, previous: previous.as_ref(), held: &held };
        let release = way_back(&records, to)?.clone();
        let reason = format!("back from {current} to {release}, by command");
        let choice = Choice { release, reason, listed: Vec::new(), instead_of: None };
        self.choose(name, choice, answers).await
    }

    /// Lets a release that the owner chose wait for its turn, before everything that a poll has found.
    pub(super) async fn choose(&mut self, name: &ProjectName, choice: Choice, answers: &Answers) -> Answer {
        let store = self.shared.clients.store.clone();
        let runs_now = self.queue.running(Lane::Cd) == Some(name);
        if !runs_now && store.journal(name.clone()).await.map_err(refused)?.is_some() {
            return Err("a deployment that was cut off is taken up first: ask again when it has ended \
                        (`homeport runs`)"
                .to_owned());
        }
        let hold = self.hold_of(name, &choice);
        store.hold(name.clone(), hold.clone()).await.map_err(refused)?;
        self.refresh(name).await;
        let Choice { release, reason, .. } = choice;
        let mut said = format!("{release} is deployed next{}", self.waits_for(name));
        if let Some(hold) = hold {
            said += &format!("; polls deploy only what is newer than {}", hold.in_words());
        }
        if self.projects.get(name).is_some_and(|project| project.orders.paused_since.is_some()) {
            said += &format!("; {name} stays paused otherwise");
        }
        let job = Job::Image { release, trigger: Trigger::Command, reason, answers: Some(answers.clone()) };
        self.request(Lane::Cd, name, Priority::Urgent, job);
        Ok(said + ". Follow it with `homeport logs --follow`")
    }

    /// What a poll must not bring back: what serves, what is on its way, and what would be due.
    fn hold_of(&self, name: &ProjectName, choice: &Choice) -> Option<Hold> {
        let project = self.projects.get(name)?;
        let since = self.now();
        let current = project.current.as_ref().map(|deployment| &deployment.release);
        let here = current.into_iter().chain(&project.deploying);
        let here = here.map(|r| PutAside { tag: r.tag.clone(), digest: Some(r.digest.clone()), since });
        let listed = choice.instead_of.iter();
        let listed = listed.map(|l| PutAside { tag: l.tag.clone(), digest: l.digest.clone(), since });
        let instead_of = here.chain(listed).collect();
        hold_for(
            &choice.release,
            project.orders.hold.as_ref(),
            instead_of,
            project.settings.scheme,
            &choice.listed,
        )
    }

    fn waits_for(&self, name: &ProjectName) -> String {
        let running = self.queue.running(Lane::Cd).map(|running| match self.projects.get(running) {
            Some(state) if running == name => match &state.deploying {
                Some(release) => format!(", when the deployment of {release} has ended"),
                None => ", when what is under way has ended".to_owned(),
            },
            Some(_) | None => format!(", when the deployment of {running} has ended"),
        });
        let replaced = self.queue.waiting(Lane::Cd).find(|(project, _)| *project == name);
        let replaced = replaced.map(|(_, job)| format!(", in the place of {job}, which waited"));
        running.into_iter().chain(replaced).collect()
    }
}

pub(super) fn refused(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
