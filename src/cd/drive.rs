//! Drives a deployment: asks [`crate::swap`] what is next, records it or does it to Docker, and asks again.
//! The order of things is decided there, what each effect means stands in [`crate::cd::act`].

use std::time::Duration;

use anyhow::anyhow;

use crate::cd::act::is_stale;
use crate::cd::act::perform;
use crate::cd::act::stage_error;
use crate::cd::act::stage_of;
use crate::cd::verdict;
use crate::clients::docker::DockerError;
use crate::clients::docker::Standing;
use crate::clients::store::StoreError;
use crate::config::settings::DeploySettings;
use crate::model::Blame;
use crate::model::ContainerId;
use crate::model::Failure;
use crate::model::Life;
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
use crate::swap::Step;
use crate::swap::View;

/// A deployment takes a dozen steps, a recovered one a few more. Beyond this many something outside undoes
/// what is done here, and going on would be a fight.
const MOST_STEPS: u32 = 80;
/// Between two questions to a Docker that does not answer, for instance while it is being upgraded.
const DOCKER_AWAY: Duration = Duration::from_millis(500);
/// After so many of them the deployment is suspended rather than waited for.
const DOCKER_AWAY_TRIES: u32 = 120;

/// How long, and how often, a container that is being removed is waited for.
const VANISHING: Duration = Duration::from_millis(100);
const VANISHING_TRIES: u32 = 20;

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

/// Follows the machine to its end. `view` says whether the candidate has been watched all the time.
pub async fn drive(run: &Run, deploy: &DeploySettings, journal: &mut Journal, mut view: View) -> Driven {
    if let Err(error) = enter(run, journal).await {
        return Driven::Suspended(error);
    }
    for _ in 0..MOST_STEPS {
        let shown = match look(run, journal, &mut view).await {
            Ok(shown) => shown,
            Err(error) => return Driven::Suspended(error),
        };
        let step = match swap::next(journal, &shown) {
            Next::Act(act) => match perform(run, journal, &shown, act).await {
                Ok(()) => {
                    if act == Act::Start(Role::New) {
                        view = View::Whole;
                    }
                    continue;
                }
                Err(error) if is_stale(act, &error) => continue,
                Err(error) => match after_refusal(journal, act, stage_error(journal, error)) {
                    Refusal::GiveUp(error) => Step::Rollback(run.failure(&error)),
                    Refusal::Stop(driven) => return driven,
                },
            },
            Next::Enter(step) => step,
            Next::Prove(Role::Old) => match verdict::of_way_back(run, deploy, journal, &shown).await {
                Some(driven) => return driven,
                None => continue,
            },
            Next::Prove(_) => match verdict::of_candidate(run, deploy, journal, &shown, &mut view).await {
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
    Driven::Suspended(StageError { stage: stage_of(journal), blame: Blame::World, source: why })
}

/// What a refused effect leads to.
enum Refusal {
    GiveUp(StageError),
    Stop(Driven),
}

fn after_refusal(journal: &Journal, act: Act, error: StageError) -> Refusal {
    match (&journal.step, &journal.restoring) {
        (Step::Create, None) => Refusal::Stop(Driven::NotBegun(error)),
        (Step::Create, Some(_)) | (Step::Swap | Step::Prove, _) => Refusal::GiveUp(error),
        // Proven is proven: Docker will hear of it when it listens again.
        (Step::Commit, _) => Refusal::Stop(Driven::Suspended(error)),
        (Step::Rollback(failure), restoring) => match (act, restoring) {
            (Act::Start(Role::Old), None) => {
                Refusal::Stop(Driven::WayBackFailed { failure: failure.clone(), way_back: error })
            }
            // It did not hold before either; there are more ways to try.
            (Act::Start(Role::Old), Some(_)) => {
                Refusal::Stop(Driven::Ended(Ending::NotRestored(failure.clone())))
            }
            (_, _) => Refusal::Stop(Driven::Suspended(error)),
        },
        (Step::Leave(failure), _) => match act {
            Act::Start(_) => Refusal::Stop(Driven::Ended(Ending::Left(failure.clone()))),
            _ => Refusal::Stop(Driven::Suspended(error)),
        },
    }
}

/// Records a step before anything of it is done.
pub(super) async fn advance(run: &Run, journal: &mut Journal, step: Step) -> Result<(), StageError> {
    if let Step::Rollback(failure) = &step {
        run.log.line(failure.stage, &format!("failed: {}", failure.reason));
        slog::warn!(run.journal, "{} failed, going back: {}", failure.stage, failure.reason);
    }
    journal.step = step;
    write(run, journal).await?;
    enter(run, journal).await
}

async fn enter(run: &Run, journal: &Journal) -> Result<(), StageError> {
    let stage = stage_of(journal);
    if run.current_stage() == Some(stage) { Ok(()) } else { run.enter(stage).await }
}

/// Records a journal as it is.
pub(super) async fn write(run: &Run, journal: &Journal) -> Result<(), StageError> {
    let written = run.clients.store.write_journal(journal.clone()).await;
    written.map_err(failed::<StoreError>(stage_of(journal), Blame::World))
}

fn has_dead(standing: &Standing) -> bool {
    standing.containers.iter().any(|container| container.life == Life::Dead)
}

/// What Docker shows of the deployment's containers, waiting for a Docker that is away.
pub(super) async fn look(run: &Run, journal: &Journal, view: &mut View) -> Result<Shown, StageError> {
    let known: Vec<ContainerId> = journal.old.iter().chain(&journal.older).cloned().collect();
    let mut tries = 0;
    let mut vanishing = 0;
    loop {
        match run.clients.docker.standing(&journal.project, &known).await {
            // Someone is removing one: its name and its port are free when it is gone.
            Ok(standing) if vanishing < VANISHING_TRIES && has_dead(&standing) => {
                vanishing += 1;
                run.clients.clock.sleep(VANISHING).await;
            }
            Ok(standing) => {
                let shown = Shown::pick(journal, standing.containers, &standing.strangers);
                return Ok(Shown { view: *view, ..shown });
            }
            Err(DockerError::Unreachable { .. }) if tries < DOCKER_AWAY_TRIES => {
                if tries == 0 {
                    run.log.line(stage_of(journal), "Docker does not answer: waiting for it");
                }
                *view = View::Broken;
                tries += 1;
                run.clients.clock.sleep(DOCKER_AWAY).await;
            }
            Err(error) => return Err(stage_error(journal, error)),
        }
    }
}
