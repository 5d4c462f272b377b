//! The words of a deployment: what its journal keeps, what Docker shows of it, and what can be answered.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::config::settings::ContainerSpec;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::ContainerName;
use crate::model::Failure;
use crate::model::LABEL_RUN;
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
    /// The run that made the candidate's container: this one, or, when a committed deployment is taken
    /// back, the one that deployed it.
    pub made_by: RunNumber,
    /// What is to be deployed.
    pub candidate: Release,
    /// Docker's id of the candidate's image.
    pub image_id: String,
    /// What the candidate's container is made from.
    pub spec: ContainerSpec,
    /// How far it came.
    pub step: Step,
    /// The container that served when the deployment began.
    pub old: Option<ContainerId>,
    /// The stopped container before that one.
    pub older: Option<ContainerId>,
}

/// How far a deployment came. Recorded before anything of the step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The candidate's container is made.
    Create,
    /// The candidate takes the place of the old container.
    Swap,
    /// The candidate shows that it works.
    Prove,
    /// The candidate has proven itself: from here the way leads only forward.
    Commit,
    /// The candidate was given up for this reason: the old container takes its place again.
    Rollback(Failure),
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
    /// Give a container the name of a slot.
    Rename(Role, Slot),
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
}

impl Slot {
    /// The container name of this slot.
    pub fn name(self, spec: &ContainerSpec) -> ContainerName {
        match self {
            Self::Current => spec.name.clone(),
            Self::Next => spec.name.beside("next"),
            Self::Previous => spec.name.beside("previous"),
            Self::Before => spec.name.beside("before"),
        }
    }
}

impl Shown {
    /// Picks the containers of a deployment out of all of the project's.
    pub fn pick(journal: &Journal, containers: Vec<Container>) -> Self {
        let made_by = journal.made_by.to_string();
        let mut shown = Self::default();
        for container in containers {
            if container.labels.get(LABEL_RUN) == Some(&made_by) {
                shown.new = Some(container);
            } else if Some(&container.id) == journal.old.as_ref() {
                shown.old = Some(container);
            } else if Some(&container.id) == journal.older.as_ref() {
                shown.older = Some(container);
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
