//! Continuous deployment: one image, from its tag on Docker Hub to a container that has proven itself, or
//! back to the one before it.
//!
//! [`Release`] → [`pull`] → [`Pulled`](pull::Pulled) → [`begin`], which opens the journal → [`drive`], which
//! follows the pure machine of [`crate::swap`] and calls [`prove`] → [`Ended`]. [`recover`] enters the machine
//! at start-up, [`take_back`] when a deployment fails in its watch. Where the first way back is gone, `ending`
//! sends the machine round again with the next older release that `ways` finds.

mod act;
pub mod begin;
pub mod drive;
mod ending;
pub mod origin;
mod ports;
pub mod prove;
pub mod pull;
pub mod recover;
pub mod retain;
pub mod settle;
mod standing;
pub mod take_back;
mod verdict;
mod ways;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use standing::Serving;
pub use standing::release_of;
pub use standing::serving;
pub use standing::standing_in_place;
pub use standing::standing_release;

use crate::cd::ending::ended;
use crate::cd::ending::nothing_changed;
use crate::cd::origin::commit_of;
use crate::clients::store::Deployment;
use crate::config::settings::DeploySettings;
use crate::event::Hindrance;
use crate::model::Outcome;
use crate::model::Release;
use crate::model::RunReport;
use crate::model::Stage;
use crate::run::Run;
use crate::swap::Journal;
use crate::swap::View;

/// A CD run that is over, with what its end has to record.
#[derive(Debug)]
pub struct Ended {
    /// What happened.
    pub report: RunReport,
    /// The deployment that was committed, if one was: the candidate's, or that of an older release made anew.
    pub deployment: Option<Deployment>,
}

/// The deployment cannot be ended for now, for this reason. Its journal stands, and [`recover`] takes it up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspended(pub Hindrance);

/// Deploys a release. When `cancelled` fires before anything was changed, the run ends there; after that it
/// goes on to its end.
///
/// # Errors
/// [`Suspended`] if Docker or the database stopped it at a point from which only recovery may go on.
pub async fn run(
    run: &Run,
    deploy: &DeploySettings,
    release: Release,
    cancelled: &CancellationToken,
) -> Result<Ended, Suspended> {
    let pull = run.stage(Stage::Pull, pull::pull(run, deploy, release.clone()));
    let begun = async {
        let pulled = pull.await?;
        // A build keeps every core busy, and a container proves itself badly on a busy board.
        let board = Arc::clone(&run.board).lock_owned().await;
        // No container holds the image yet, so whoever clears this machine up during a long build takes it along.
        if pull::is_here(run, &pulled).await? {
            return Ok((pulled, board));
        }
        run.log.line(Stage::Pull, "someone has cleared the image away meanwhile: pulling it again");
        Ok((run.stage(Stage::Pull, pull::pull(run, deploy, release.clone())).await?, board))
    };
    let begun = tokio::select! {
        begun = begun => begun,
        () = cancelled.cancelled() => {
            return Ok(ended(run, &deploy.spec, release, Outcome::Interrupted(Stage::Pull)).await);
        }
    };
    let journal = match begun {
        Ok((pulled, board)) => begin::begin(run, deploy, &pulled).await.map(|journal| (journal, board)),
        Err(error) => Err(error),
    };
    match journal {
        Ok((journal, _board)) => drive_to_end(run, deploy, journal, View::Whole).await,
        Err(error) => Ok(nothing_changed(run, &deploy.spec, release, &error).await),
    }
}

/// Follows a deployment's machine from wherever its journal stands to an end.
///
/// # Errors
/// [`Suspended`] as for [`run`].
pub(crate) async fn drive_to_end(
    run: &Run,
    deploy: &DeploySettings,
    journal: Journal,
    view: View,
) -> Result<Ended, Suspended> {
    let image_id = journal.image_id.clone();
    // Asked beside the work, so that GitHub keeps neither the swap nor its end waiting.
    let commit = Box::pin(commit_of(&run.clients, &run.project, &image_id));
    let (commit, ended) = tokio::join!(commit, Box::pin(ending::of(run, deploy, journal, view)));
    let mut ended = ended?;
    ended.report.commit = commit;
    Ok(ended)
}
