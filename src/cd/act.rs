//! What each effect of the machine means in Docker, in the words of the run log, and what a refusal of it means.

use std::collections::BTreeMap;

use crate::clients::docker::DockerError;
use crate::clients::docker::Stopped;
use crate::config::project::Order;
use crate::model::Blame;
use crate::model::Container;
use crate::model::LABEL_ATTEMPT;
use crate::model::LABEL_DIGEST;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::LABEL_RUN;
use crate::model::LABEL_TAG;
use crate::model::ROLE_SERVICE;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::swap::Act;
use crate::swap::Journal;
use crate::swap::Role;
use crate::swap::Shown;
use crate::swap::Slot;
use crate::swap::Step;

/// How many lines a failed container's log gives to the run log.
const LAST_WORDS: usize = 200;

/// Does it to Docker.
///
/// # Errors
/// Docker's, unchanged: what they mean depends on how far the deployment came.
pub(super) async fn perform(
    run: &Run,
    journal: &Journal,
    shown: &Shown,
    act: Act,
) -> Result<(), DockerError> {
    let stage = stage_of(journal);
    let docker = &run.clients.docker;
    run.log.line(stage, &describe(journal, shown, act));
    let target =
        |role: Role| shown.get(role).ok_or_else(|| DockerError::gone(&describe(journal, shown, act)));
    match act {
        Act::Create => {
            let name = journal.name_of(Slot::Next);
            docker.create(&name, &journal.spec, &journal.image_id, &labels(journal)).await.map(drop)
        }
        Act::SetPolicy(role, policy) => docker.set_policy(&target(role)?.id, policy).await,
        Act::Stop(role) => {
            match journal.order {
                Order::StopFirst => run.service_stops(),
                Order::StartFirst => {}
            }
            stop(run, journal, target(role)?).await
        }
        Act::Drain => {
            let old = target(Role::Old)?;
            run.clients.clock.sleep(journal.spec.stop_grace).await;
            stop(run, journal, old).await
        }
        Act::Rename(role, slot) => docker.rename(&target(role)?.id, &journal.name_of(slot)).await,
        Act::HandOver => {
            let [current, previous] = [Slot::Current, Slot::Previous].map(|slot| journal.name_of(slot));
            let (old, new) = (&target(Role::Old)?.id, &target(Role::New)?.id);
            docker.hand_over(&current, (old, &previous), new).await
        }
        Act::Start(role) => docker.start(&target(role)?.id).await,
        Act::Bury(role) => {
            let container = target(role)?;
            keep_last_words(run, failed_stage(journal), container).await;
            docker.remove(&container.id, true).await
        }
        Act::Remove(role) => docker.remove(&target(role)?.id, true).await,
    }
}

async fn stop(run: &Run, journal: &Journal, container: &Container) -> Result<(), DockerError> {
    let stage = stage_of(journal);
    let began = run.clients.clock.monotonic();
    let stopped = run.clients.docker.stop(&container.id, journal.spec.stop_grace).await?;
    let took = run.clients.clock.monotonic().saturating_sub(began).as_millis();
    match stopped {
        Stopped::ByItself => run.log.line(stage, &format!("stopped within {took} ms")),
        Stopped::Killed => run.log.line(stage, &format!("killed after {took} ms: its grace was over")),
    }
    Ok(())
}

/// A failed container's own words are the best explanation there is. Missing them is no reason to stop.
pub async fn keep_last_words(run: &Run, stage: Stage, container: &Container) {
    run.log.line(stage, &format!("{} {}; its last words:", container.name, container.life));
    let output = run.log.output(stage);
    match run.clients.docker.logs_tail(&container.id, LAST_WORDS).await {
        Ok(lines) => lines.iter().for_each(|line| output(format!("{line}\n").as_bytes())),
        Err(error) => run.log.line(stage, &format!("its log cannot be read: {error}")),
    }
}

fn labels(journal: &Journal) -> BTreeMap<String, String> {
    let mut labels = journal.spec.labels.clone();
    let own = [
        (LABEL_PROJECT, journal.project.to_string()),
        (LABEL_ROLE, ROLE_SERVICE.to_owned()),
        (LABEL_RUN, journal.run.to_string()),
        (LABEL_ATTEMPT, journal.attempt.to_string()),
        (LABEL_TAG, journal.candidate.tag.to_string()),
        (LABEL_DIGEST, journal.candidate.digest.to_string()),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
    labels
}

fn describe(journal: &Journal, shown: &Shown, act: Act) -> String {
    let name = |role: Role| shown.get(role).map_or("a container that is gone", |c| c.name.as_str());
    match act {
        Act::Create => format!("creating {} from {}", journal.name_of(Slot::Next), journal.candidate),
        Act::SetPolicy(role, policy) => format!("restart policy of {}: {policy}", name(role)),
        Act::Stop(role) => format!("stopping {}", name(role)),
        Act::Drain => format!("stopping {} when it has had its time to finish", name(Role::Old)),
        Act::Rename(role, slot) => format!("renaming {} to {}", name(role), journal.name_of(slot)),
        Act::HandOver => format!("handing the name {} over", journal.name_of(Slot::Current)),
        Act::Start(role) => format!("starting {}", name(role)),
        Act::Bury(role) | Act::Remove(role) => format!("removing {}", name(role)),
    }
}

/// Whether the next look tells what to do: Docker went away in the middle, or the container did. To a
/// creation and a start, "not found" says that the image or the network is missing.
pub(super) fn is_stale(act: Act, error: &DockerError) -> bool {
    if error.is_vanishing() {
        return true;
    }
    match (error, act) {
        // After a time-out Docker may have done it all the same, on a slow card.
        (DockerError::Unreachable { .. }, _)
        | (DockerError::TimedOut { .. }, Act::Start(_) | Act::Stop(_) | Act::Drain) => true,
        (
            DockerError::NotFound { .. },
            Act::SetPolicy(..)
            | Act::Stop(_)
            | Act::Drain
            | Act::Rename(..)
            | Act::HandOver
            | Act::Bury(_)
            | Act::Remove(_),
        ) => true,
        (_, _) => false,
    }
}

/// Docker's refusals are the world's fault, but for a start that the image itself makes impossible.
pub(super) fn stage_error(journal: &Journal, error: DockerError) -> StageError {
    let blame = if error.is_unstartable_image() { Blame::Image } else { Blame::World };
    StageError { stage: stage_of(journal), blame, source: error.into() }
}

/// The stage that a candidate failed in, where its own words about it belong: a mail quotes the end of that stage.
const fn failed_stage(journal: &Journal) -> Stage {
    match (&journal.step, &journal.restoring) {
        (Step::Rollback(failure), None) => failure.stage,
        (Step::Create | Step::Swap | Step::Prove | Step::Commit | Step::Rollback(_) | Step::Leave(_), _) => {
            stage_of(journal)
        }
    }
}

/// The stage of a run that a step belongs to. An older release that is made anew is part of the rollback.
pub(super) const fn stage_of(journal: &Journal) -> Stage {
    match (&journal.restoring, &journal.step) {
        (Some(_), _) | (None, Step::Rollback(_) | Step::Leave(_)) => Stage::Rollback,
        (None, Step::Create | Step::Swap) => Stage::Swap,
        (None, Step::Prove) => Stage::Prove,
        (None, Step::Commit) => Stage::Commit,
    }
}
