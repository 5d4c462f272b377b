//! Drives a deployment until it is over, round by round: a round that finds no way back that holds is followed
//! by one that makes an older release anew. Then says how it is over.

use crate::cd::Ended;
use crate::cd::Suspended;
use crate::cd::act::keep_last_words;
use crate::cd::drive;
use crate::cd::drive::Driven;
use crate::cd::drive::advance;
use crate::cd::standing::Serving;
use crate::cd::standing::in_place;
use crate::cd::standing::serving;
use crate::cd::ways;
use crate::clients::docker::DockerError;
use crate::clients::store::Deployment;
use crate::config::settings::ContainerSpec;
use crate::config::settings::DeploySettings;
use crate::event::Hindrance;
use crate::model::Blame;
use crate::model::Failure;
use crate::model::Outcome;
use crate::model::Release;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::swap::Ending;
use crate::swap::Journal;
use crate::swap::Restoring;
use crate::swap::Slot;
use crate::swap::Step;
use crate::swap::Tried;
use crate::swap::View;

/// Follows a deployment's machine, through as many rounds as it takes.
///
/// # Errors
/// [`Suspended`] if Docker or the database stopped it at a point from which only recovery may go on.
pub(super) async fn of(
    run: &Run,
    deploy: &DeploySettings,
    mut journal: Journal,
    mut view: View,
) -> Result<Ended, Suspended> {
    loop {
        let setback = match drive::drive(run, deploy, &mut journal, view).await {
            Driven::Ended(Ending::Deployed) => return deployed(run, journal).await,
            Driven::Ended(Ending::RolledBack(failure)) => {
                return Ok(over(run, &journal, Outcome::RolledBack { failure }).await);
            }
            Driven::Ended(Ending::NothingBefore(failure)) => {
                match with_nothing_before(run, &journal, failure.clone()).await {
                    Ok(Some(next)) => journal = next,
                    Ok(None) => return Ok(over(run, &journal, Outcome::Failed(failure)).await),
                    Err(error) => return Err(suspended(run, &error)),
                }
                view = View::Whole;
                continue;
            }
            Driven::Ended(Ending::Left(failure)) => {
                return Ok(over(run, &journal, Outcome::Down(failure)).await);
            }
            Driven::Ended(Ending::Lost(failure)) => lost(run, &journal, failure).await,
            Driven::Ended(Ending::NotRestored(failure)) => not_restored(&journal, failure),
            Driven::WayBackFailed { failure, way_back } => {
                did_not_come_back(run, &journal, failure, &way_back).await
            }
            Driven::NotBegun(error) => {
                return Ok(nothing_changed(run, &journal.spec, journal.candidate, &error).await);
            }
            Driven::Suspended(error) => return Err(suspended(run, &error)),
        };
        journal = next_round(run, journal, setback).await.map_err(|error| suspended(run, &error))?;
        view = View::Whole;
    }
}

/// Nothing stood in the service's place. But something may have held once, and someone removed its container.
async fn with_nothing_before(
    run: &Run,
    journal: &Journal,
    failure: Failure,
) -> Result<Option<Journal>, StageError> {
    let mut setback = Restoring { instead_of: journal.candidate.clone(), failure, tried: Vec::new() };
    ways::next(run, journal, &mut setback).await
}

/// The next older release that held; without one, what there is is left to Docker.
async fn next_round(run: &Run, journal: Journal, mut setback: Restoring) -> Result<Journal, StageError> {
    match ways::next(run, &journal, &mut setback).await? {
        Some(next) => Ok(next),
        None => {
            let reason = setback.in_words();
            let mut journal = Journal { restoring: Some(setback.clone()), ..journal };
            advance(run, &mut journal, Step::Leave(Failure { reason, ..setback.failure })).await?;
            Ok(journal)
        }
    }
}

/// The container to go back to is gone.
async fn lost(run: &Run, journal: &Journal, failure: Failure) -> Restoring {
    if let Some(id) = &journal.committed
        && let Ok(Some(container)) = run.clients.docker.inspect(id.as_str()).await
    {
        keep_last_words(run, failure.stage, &container).await;
    }
    let tried = match &journal.old {
        Some(_) => {
            let reason = "its container is gone".to_owned();
            vec![Tried { release: None, reason, blame: Blame::World }]
        }
        None => Vec::new(),
    };
    Restoring { instead_of: journal.candidate.clone(), failure, tried }
}

/// It is there, and does not hold.
async fn did_not_come_back(
    run: &Run,
    journal: &Journal,
    failure: Failure,
    way_back: &StageError,
) -> Restoring {
    let reason = run.log.redact(&format!("{:#}", way_back.source));
    run.log.line(Stage::Rollback, &format!("the way back failed: {reason}"));
    let release = serving_or_stopped(in_place(run, &journal.name_of(Slot::Current)).await);
    let tried = vec![Tried { release, reason, blame: way_back.blame }];
    Restoring { instead_of: journal.candidate.clone(), failure, tried }
}

fn serving_or_stopped(serving: Serving) -> Option<Release> {
    match serving {
        Serving::Shown(release, _) | Serving::Stopped(release, _) => Some(release),
        Serving::Unknown | Serving::Nothing => None,
    }
}

/// What was made anew does not hold either.
fn not_restored(journal: &Journal, failure: Failure) -> Restoring {
    let (release, reason) = (Some(journal.candidate.clone()), failure.reason.clone());
    let tried = Tried { release, reason, blame: failure.blame };
    match journal.restoring.clone() {
        Some(mut restoring) => {
            restoring.tried.push(tried);
            restoring
        }
        None => Restoring { instead_of: journal.candidate.clone(), failure, tried: vec![tried] },
    }
}

fn suspended(run: &Run, error: &StageError) -> Suspended {
    run.log.header(&format!("suspended, to be taken up again: {:#}", error.source));
    slog::warn!(run.journal, "deployment suspended, to be taken up again: {:#}", error.source);
    Suspended(match error.source.downcast_ref::<DockerError>() {
        Some(DockerError::Unreachable { .. }) => Hindrance::DockerAway,
        Some(_) | None => Hindrance::Refusal,
    })
}

/// A success is a container that Docker shows under the service's name, made from this release.
async fn deployed(run: &Run, journal: Journal) -> Result<Ended, Suspended> {
    let release = journal.candidate.clone();
    let container = match in_place(run, &journal.spec.name).await {
        Serving::Unknown => return Err(Suspended(Hindrance::DockerAway)),
        // If it ended in this very moment, that is for the watch to see: it has proven itself.
        Serving::Shown(now, container) | Serving::Stopped(now, container) if now == release => container,
        other @ (Serving::Nothing | Serving::Stopped(..) | Serving::Shown(..)) => {
            let failure = Failure {
                stage: Stage::Commit,
                blame: Blame::World,
                reason: format!("{release} was committed, but Docker shows {other} in its place"),
            };
            return Ok(over(run, &journal, Outcome::Down(failure)).await);
        }
    };
    let outcome = match &journal.restoring {
        None => Outcome::Deployed(release.clone()),
        Some(restoring) => {
            let reason = format!("{}; so {release} was made anew", restoring.in_words());
            Outcome::RolledBack { failure: Failure { reason, ..restoring.failure.clone() } }
        }
    };
    let report = run.report(Some(journal.wanted().clone()), Some(release.clone()), outcome);
    let deployment = Deployment {
        run: run.number,
        release,
        container: container.id,
        image_id: container.image_id,
        replaced: journal.old,
        spec: journal.spec,
        deployed_at: run.clients.clock.now(),
    };
    Ok(Ended { report, deployment: Some(deployment) })
}

async fn over(run: &Run, journal: &Journal, outcome: Outcome) -> Ended {
    ended(run, &journal.spec, journal.wanted().clone(), outcome).await
}

pub(super) async fn nothing_changed(
    run: &Run,
    spec: &ContainerSpec,
    candidate: Release,
    error: &StageError,
) -> Ended {
    ended(run, spec, candidate, Outcome::Failed(run.failure(error))).await
}

/// The end of a run that deployed nothing.
pub(super) async fn ended(run: &Run, spec: &ContainerSpec, candidate: Release, outcome: Outcome) -> Ended {
    let serving = match serving(run, &spec.name).await {
        // That nothing runs would be a guess, and a frightening one: the records say what was left running.
        Serving::Unknown => by_records(run).await,
        shown @ (Serving::Nothing | Serving::Stopped(..) | Serving::Shown(..)) => shown.release(),
    };
    Ended { report: run.report(Some(candidate), serving, outcome), deployment: None }
}

async fn by_records(run: &Run) -> Option<Release> {
    run.clients.store.current(run.project.name.clone()).await.ok().flatten().map(|current| current.release)
}
