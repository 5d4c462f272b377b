//! Drives a deployment: asks [`crate::swap`] what is next, records it or does it to Docker, and asks again.
//! The order of things is decided there; here is only what each thing means, and what its failure means.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;

use crate::cd::prove;
use crate::clients::docker::DockerError;
use crate::clients::docker::Stopped;
use crate::clients::store::StoreError;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::Container;
use crate::model::Failure;
use crate::model::LABEL_DIGEST;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::LABEL_RUN;
use crate::model::LABEL_TAG;
use crate::model::ROLE_SERVICE;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;
use crate::swap;
use crate::swap::Act;
use crate::swap::Ending;
use crate::swap::Journal;
use crate::swap::Next;
use crate::swap::Role;
use crate::swap::Shown;
use crate::swap::Slot;
use crate::swap::Step;

/// A deployment takes a dozen steps, a recovered one a few more. Beyond this many something outside undoes
/// what is done here, and going on would be a fight.
const MOST_STEPS: u32 = 80;
/// Between two questions to a Docker that does not answer, for instance while it is being upgraded.
const DOCKER_AWAY: Duration = Duration::from_secs(2);
/// After so many of them the deployment is suspended rather than waited for.
const DOCKER_AWAY_TRIES: u32 = 30;
/// How many lines a failed container's log gives to the run log.
const LAST_WORDS: usize = 200;

/// Why driving stopped.
#[derive(Debug)]
pub enum Driven {
    /// The machine came to its end.
    Ended(Ending),
    /// The old container was started again and does not hold.
    WayBackFailed {
        /// Why the candidate was given up.
        failure: Failure,
        /// Why the old container was.
        way_back: StageError,
    },
    /// It failed before anything was changed.
    NotBegun(StageError),
    /// It cannot go on for now; the journal stands.
    Suspended(StageError),
}

/// Follows the machine to its end.
pub async fn drive(run: &Run, deploy: &DeploySettings, journal: &mut Journal) -> Driven {
    if let Err(error) = enter(run, journal).await {
        return Driven::Suspended(error);
    }
    for _ in 0..MOST_STEPS {
        let shown = match look(run, journal).await {
            Ok(shown) => shown,
            Err(error) => return Driven::Suspended(error),
        };
        let step = match swap::next(journal, &shown) {
            Next::Act(act) => match perform(run, journal, &shown, act).await {
                Ok(()) => continue,
                Err(error) if is_stale(act, &error) => continue,
                Err(error) => match after_refusal(journal, act, stage_error(journal, error)) {
                    Refusal::GiveUp(error) => Step::Rollback(run.failure(&error)),
                    Refusal::Stop(driven) => return driven,
                },
            },
            Next::Enter(step) => step,
            Next::Prove(Role::Old) => return prove_way_back(run, deploy, journal, &shown).await,
            Next::Prove(_) => match prove_candidate(run, deploy, journal, &shown).await {
                Ok(step) => step,
                Err(error) => return Driven::Suspended(error),
            },
            Next::End(ending) => return Driven::Ended(ending),
        };
        if let Err(error) = advance(run, journal, step).await {
            return Driven::Suspended(error);
        }
    }
    let why =
        anyhow!("{MOST_STEPS} steps did not bring it to an end: is something else managing its containers?");
    Driven::Suspended(StageError { stage: stage_of(&journal.step), blame: Blame::World, source: why })
}

/// What a refused effect leads to.
enum Refusal {
    GiveUp(StageError),
    Stop(Driven),
}

fn after_refusal(journal: &Journal, act: Act, error: StageError) -> Refusal {
    match &journal.step {
        Step::Create => Refusal::Stop(Driven::NotBegun(error)),
        Step::Swap | Step::Prove => Refusal::GiveUp(error),
        // Proven is proven: Docker will hear of it when it listens again.
        Step::Commit => Refusal::Stop(Driven::Suspended(error)),
        Step::Rollback(failure) => match act {
            Act::Start(Role::Old) => {
                Refusal::Stop(Driven::WayBackFailed { failure: failure.clone(), way_back: error })
            }
            Act::Create
            | Act::SetPolicy(..)
            | Act::Stop(_)
            | Act::Rename(..)
            | Act::Start(_)
            | Act::Bury(_)
            | Act::Remove(_) => Refusal::Stop(Driven::Suspended(error)),
        },
    }
}

async fn prove_candidate(
    run: &Run,
    deploy: &DeploySettings,
    journal: &Journal,
    shown: &Shown,
) -> Result<Step, StageError> {
    let Some(new) = &shown.new else { return Ok(Step::Prove) };
    match prove::prove(run, &deploy.prove, &journal.spec, new).await {
        Ok(()) => Ok(Step::Commit),
        Err(error) => {
            // Docker may have died under the candidate: then what it shows now says so, and that is not
            // the image's fault.
            let now = look(run, journal).await?;
            match swap::next(journal, &now) {
                Next::Enter(step) => Ok(step),
                Next::Prove(_) | Next::Act(_) | Next::End(_) => Ok(Step::Rollback(run.failure(&error))),
            }
        }
    }
}

async fn prove_way_back(run: &Run, deploy: &DeploySettings, journal: &Journal, shown: &Shown) -> Driven {
    let Step::Rollback(failure) = journal.step.clone() else {
        let why = anyhow!("the old container is only proven in a rollback");
        return Driven::Suspended(StageError { stage: Stage::Rollback, blame: Blame::World, source: why });
    };
    let Some(old) = &shown.old else { return Driven::Ended(Ending::Lost(failure)) };
    match prove::prove(run, &deploy.prove, &journal.spec, old).await {
        Ok(()) => Driven::Ended(Ending::RolledBack(failure)),
        Err(error) if error.blame == Blame::World => Driven::Suspended(error),
        Err(way_back) => Driven::WayBackFailed { failure, way_back },
    }
}

/// Records a step before anything of it is done.
async fn advance(run: &Run, journal: &mut Journal, step: Step) -> Result<(), StageError> {
    if let Step::Rollback(failure) = &step {
        run.log.line(failure.stage, &format!("failed: {}", failure.reason));
        slog::warn!(run.journal, "{} failed, going back: {}", failure.stage, failure.reason);
    }
    journal.step = step;
    write(run, journal).await?;
    enter(run, journal).await
}

async fn enter(run: &Run, journal: &Journal) -> Result<(), StageError> {
    let stage = stage_of(&journal.step);
    if run.current_stage() == Some(stage) { Ok(()) } else { run.enter(stage).await }
}

/// Records a journal as it is.
pub(super) async fn write(run: &Run, journal: &Journal) -> Result<(), StageError> {
    let written = run.clients.store.write_journal(journal.clone()).await;
    written.map_err(failed::<StoreError>(stage_of(&journal.step), Blame::World))
}

/// What Docker shows of the deployment's containers, waiting for a Docker that is away.
async fn look(run: &Run, journal: &Journal) -> Result<Shown, StageError> {
    let mut tries = 0;
    loop {
        match run.clients.docker.containers_of(&journal.project).await {
            Ok(containers) => return Ok(Shown::pick(journal, containers)),
            Err(DockerError::Unreachable { .. }) if tries < DOCKER_AWAY_TRIES => {
                if tries == 0 {
                    run.log.line(stage_of(&journal.step), "Docker does not answer: waiting for it");
                }
                tries += 1;
                run.clients.clock.sleep(DOCKER_AWAY).await;
            }
            Err(error) => return Err(stage_error(journal, error)),
        }
    }
}

async fn perform(run: &Run, journal: &Journal, shown: &Shown, act: Act) -> Result<(), DockerError> {
    let stage = stage_of(&journal.step);
    let docker = &run.clients.docker;
    run.log.line(stage, &describe(journal, shown, act));
    let target =
        |role: Role| shown.get(role).ok_or_else(|| DockerError::gone(&describe(journal, shown, act)));
    match act {
        Act::Create => {
            let name = Slot::Next.name(&journal.spec);
            docker.create(&name, &journal.spec, &journal.image_id, &labels(journal)).await.map(drop)
        }
        Act::SetPolicy(role, policy) => docker.set_policy(&target(role)?.id, policy).await,
        Act::Stop(role) => {
            run.service_stops();
            let began = run.clients.clock.monotonic();
            let stopped = docker.stop(&target(role)?.id, journal.spec.stop_grace).await?;
            let took = run.clients.clock.monotonic().saturating_sub(began).as_millis();
            match stopped {
                Stopped::ByItself => run.log.line(stage, &format!("stopped within {took} ms")),
                Stopped::Killed => {
                    run.log.line(stage, &format!("killed after {took} ms: its grace was over"))
                }
            }
            Ok(())
        }
        Act::Rename(role, slot) => docker.rename(&target(role)?.id, &slot.name(&journal.spec)).await,
        Act::Start(role) => docker.start(&target(role)?.id).await,
        Act::Bury(role) => {
            let container = target(role)?;
            keep_last_words(run, failed_stage(journal), container).await;
            docker.remove(&container.id, true).await
        }
        Act::Remove(role) => docker.remove(&target(role)?.id, true).await,
    }
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
    let labels = [
        (LABEL_PROJECT, journal.project.to_string()),
        (LABEL_ROLE, ROLE_SERVICE.to_owned()),
        (LABEL_RUN, journal.run.to_string()),
        (LABEL_TAG, journal.candidate.tag.to_string()),
        (LABEL_DIGEST, journal.candidate.digest.to_string()),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn describe(journal: &Journal, shown: &Shown, act: Act) -> String {
    let name = |role: Role| shown.get(role).map_or("a container that is gone", |c| c.name.as_str());
    match act {
        Act::Create => format!("creating {} from {}", Slot::Next.name(&journal.spec), journal.candidate),
        Act::SetPolicy(role, policy) => format!("restart policy of {}: {policy}", name(role)),
        Act::Stop(role) => format!("stopping {}", name(role)),
        Act::Rename(role, slot) => format!("renaming {} to {}", name(role), slot.name(&journal.spec)),
        Act::Start(role) => format!("starting {}", name(role)),
        Act::Bury(role) | Act::Remove(role) => format!("removing {}", name(role)),
    }
}

/// Whether the next look tells what to do: Docker went away in the middle, or the container did. To a
/// creation and a start, "not found" says that the image or the network is missing.
fn is_stale(act: Act, error: &DockerError) -> bool {
    match (error, act) {
        // After a time-out Docker may have done it all the same, on a slow card.
        (DockerError::Unreachable { .. }, _)
        | (DockerError::TimedOut { .. }, Act::Start(_) | Act::Stop(_)) => true,
        (
            DockerError::NotFound { .. },
            Act::SetPolicy(..) | Act::Stop(_) | Act::Rename(..) | Act::Bury(_) | Act::Remove(_),
        ) => true,
        (_, _) => false,
    }
}

/// Docker's refusals are the world's fault, but for a start that the image itself makes impossible.
fn stage_error(journal: &Journal, error: DockerError) -> StageError {
    let blame = if error.is_unstartable_image() { Blame::Image } else { Blame::World };
    StageError { stage: stage_of(&journal.step), blame, source: error.into() }
}

/// The stage that a candidate failed in, where its own words about it belong: a mail quotes the end of that stage.
const fn failed_stage(journal: &Journal) -> Stage {
    match &journal.step {
        Step::Rollback(failure) => failure.stage,
        Step::Create | Step::Swap | Step::Prove | Step::Commit => stage_of(&journal.step),
    }
}

const fn stage_of(step: &Step) -> Stage {
    match step {
        Step::Create | Step::Swap => Stage::Swap,
        Step::Prove => Stage::Prove,
        Step::Commit => Stage::Commit,
        Step::Rollback(_) => Stage::Rollback,
    }
}
