//! The words of a deployment: what its journal keeps, what Docker shows of it, and what can be answered.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::config::project::Order;
use crate::config::settings::ContainerSpec;
use crate::model::Blame;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::ContainerName;
use crate::model::Failure;
use crate::model::LABEL_ATTEMPT;
use crate::model::LABEL_RUN;
use crate::model::Life;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::RestartPolicy;
use crate::model::RunNumber;

/// What is durably known of a deployment that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The run that deploys.
    pub run: RunNumber,
    /// Its project.
    pub project: ProjectName,
    /// Which of the run's containers is the candidate's: 0, and one more for each way back that is made anew.
    pub attempt: u32,
    /// The candidate's container, where the run did not make it: that of an earlier deployment, which served and
    /// is now taken back.
    pub committed: Option<ContainerId>,
    /// What is to be deployed.
    pub candidate: Release,
    /// Docker's id of the candidate's image.
    pub image_id: String,
    /// What the candidate's container is made from.
    pub spec: ContainerSpec,
    /// Which container makes way for the other.
    pub order: Order,
    /// How far it came.
    pub step: Step,
    /// The container that served when the deployment began.
    pub old: Option<ContainerId>,
    /// The stopped container before that one.
    pub older: Option<ContainerId>,
    /// The service's former name, where the configuration has given it another since the old container was made:
    /// a rollback leads back there.
    pub former_name: Option<ContainerName>,
    /// Set when the candidate is itself a way back, made anew because the old container is gone or does not
    /// hold: then there is nothing behind it that is known to be good.
    pub restoring: Option<Restoring>,
}

/// Why an older release is made anew, and what was tried before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoring {
    /// What was to be deployed.
    pub instead_of: Release,
    /// What that failed with.
    pub failure: Failure,
    /// The ways back that did not hold, newest first.
    pub tried: Vec<Tried>,
}

/// A way back that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The release; `None` for a container whose release is not known.
    pub release: Option<Release>,
    /// Why, on one line, secrets redacted.
    pub reason: String,
    /// Whose fault that is. Journals of earlier versions do not say.
    #[serde(default = "not_its_own")]
    pub blame: Blame,
}

const fn not_its_own() -> Blame {
    Blame::World
}

/// How far a deployment came. Recorded before anything of the step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The candidate's container is made.
    Create,
    /// The candidate takes the place of the old container or, start-first, is started beside it.
    Swap,
    /// The candidate shows that it works.
    Prove,
    /// The candidate has proven itself: from here the way leads only forward.
    Commit,
    /// The candidate was given up for this reason: the old container takes its place again.
    Rollback(Failure),
    /// Nothing that holds is left: what there is goes to Docker, which starts it again and again.
    Leave(Failure),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create => f.write_str("creating the new container"),
            Self::Swap => f.write_str("swapping"),
            Self::Prove => f.write_str("proving the new container"),
            Self::Commit => f.write_str("committing the new container"),
            Self::Rollback(failure) => {
                write!(f, "rolling back, since {} failed: {}", failure.stage, failure.reason)
            }
            Self::Leave(failure) => {
                write!(
                    f,
                    "leaving to Docker what there is, since {} failed: {}",
                    failure.stage, failure.reason
                )
            }
        }
    }
}

/// The containers a deployment is about, as Docker shows them now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// The candidate's.
    pub new: Option<Container>,
    /// The one that served before.
    pub old: Option<Container>,
    /// The one before that.
    pub older: Option<Container>,
    /// The places whose names are held by containers that this deployment is not about.
    pub taken: Vec<Slot>,
    /// What the candidate's standing still says about it.
    pub view: View,
}

/// Whether a candidate that does not run has ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// It was watched all the time since it was started.
    #[default]
    Whole,
    /// The agent or Docker was away in between: a candidate that does not run may have been cut off, which says
    /// nothing against it.
    Broken,
}

/// One of the containers of [`Shown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The candidate's.
    New,
    /// The one that served before.
    Old,
    /// The one before that.
    Older,
}

/// A place for a container, each with a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `NAME`: the container that serves.
    Current,
    /// `NAME.next`: the candidate.
    Next,
    /// `NAME.previous`: the way back.
    Previous,
    /// `NAME.before`: the former way back, until the candidate is committed.
    Before,
}

/// The one next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Do this to Docker, then ask again.
    Act(Act),
    /// Record this step, then ask again.
    Enter(Step),
    /// Prove this container; what follows depends on the verdict.
    Prove(Role),
    /// The deployment is over; record it.
    End(Ending),
}

/// An effect on Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Make the candidate's container, stopped, in slot [`Slot::Next`].
    Create,
    /// Change when Docker starts a container by itself.
    SetPolicy(Role, RestartPolicy),
    /// Stop a container with its grace.
    Stop(Role),
    /// Let the old container, which is no longer asked by name, finish what it was asked; then stop it.
    Drain,
    /// Give a container the name of a slot.
    Rename(Role, Slot),
    /// Give the old container's name to the new one, with as little as can be in between.
    HandOver,
    /// Start a container.
    Start(Role),
    /// Keep what a container said and how it ended in the run log, then remove it.
    Bury(Role),
    /// Remove a container.
    Remove(Role),
}

/// How a deployment is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The candidate serves and is what Docker restarts.
    Deployed,
    /// The old container serves again; its proof has been seen.
    RolledBack(Failure),
    /// Nothing served before, and the candidate was taken away.
    NothingBefore(Failure),
    /// The old container is gone: there is nothing to go back to.
    Lost(Failure),
    /// The candidate was a way back itself, and it does not hold either.
    NotRestored(Failure),
    /// What there is was left to Docker.
    Left(Failure),
}

impl Slot {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Current, Self::Next, Self::Previous, Self::Before];

    /// The container name of this slot.
    pub fn name(self, spec: &ContainerSpec) -> ContainerName {
        self.beside(&spec.name)
    }

    /// The container name of this slot for a service of this name.
    fn beside(self, service: &ContainerName) -> ContainerName {
        match self {
            Self::Current => service.clone(),
            Self::Next => service.beside("next"),
            Self::Previous => service.beside("previous"),
            Self::Before => service.beside("before"),
        }
    }
}

impl Restoring {
    /// What failed, and all that was tried after it, on one line.
    pub fn in_words(&self) -> String {
        self.tried.iter().fold(self.failure.reason.clone(), |text, tried| {
            let what = tried.release.as_ref().map_or_else(|| "the one before".to_owned(), Release::to_string);
            format!("{text}; then {what}: {}", tried.reason)
        })
    }
}

impl Journal {
    /// What the run was to deploy, also when it makes something older anew by now.
    pub fn wanted(&self) -> &Release {
        self.restoring.as_ref().map_or(&self.candidate, |restoring| &restoring.instead_of)
    }

    /// The container name of a slot, at this step.
    pub fn name_of(&self, slot: Slot) -> ContainerName {
        let service = match (&self.step, &self.former_name) {
            (Step::Rollback(_), Some(former)) => former,
            (
                Step::Create | Step::Swap | Step::Prove | Step::Commit | Step::Rollback(_) | Step::Leave(_),
                _,
            ) => &self.spec.name,
        };
        slot.beside(service)
    }

    /// Whether a container is the candidate's: one that the run makes is known by its labels, since a crash may
    /// come before its id could be recorded.
    pub fn is_candidate(&self, container: &Container) -> bool {
        match &self.committed {
            Some(id) => container.id == *id,
            None => {
                container.labels.get(LABEL_RUN) == Some(&self.run.to_string())
                    && attempt_of(container) == self.attempt
            }
        }
    }
}

/// Which of its run's containers this is.
pub(super) fn attempt_of(container: &Container) -> u32 {
    container.labels.get(LABEL_ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Shown {
    /// Picks the containers of a deployment out of what Docker shows; `strangers` are the names of all others.
    pub fn pick(journal: &Journal, containers: Vec<Container>, strangers: &[String]) -> Self {
        let mut shown = Self::default();
        let is_held = |slot: &Slot| {
            let name = journal.name_of(*slot);
            strangers.iter().any(|stranger| *stranger == name.as_str())
        };
        shown.taken = Slot::ALL.into_iter().filter(is_held).collect();
        // One that is half removed is gone: it can neither be started nor kept.
        for container in containers.into_iter().filter(|container| container.life != Life::Dead) {
            if Some(&container.id) == journal.old.as_ref() {
                shown.old = Some(container);
            } else if Some(&container.id) == journal.older.as_ref() {
                shown.older = Some(container);
            } else if journal.is_candidate(&container) {
                shown.new = Some(container);
            }
        }
        shown
    }

    /// The container of a role, if Docker shows it.
    pub const fn get(&self, role: Role) -> Option<&Container> {
        match role {
            Role::New => self.new.as_ref(),
            Role::Old => self.old.as_ref(),
            Role::Older => self.older.as_ref(),
        }
    }
}
