//! Continuous integration: one commit, from the branch it was found on to an image in the registry.
//!
//! [`Commit`] → [`checkout`] → [`Checkout`](checkout::Checkout) → [`test`](mod@test) →
//! [`TestedCheckout`](test::TestedCheckout) → [`build`] → [`Image`](build::Image) → [`push`] →
//! [`Release`]. Each noun can be made by its stage alone, so an untested tree cannot be built and an
//! unbuilt image cannot be pushed.

pub mod archive;
pub mod build;
pub mod cache;
pub mod checkout;
pub mod context;
pub mod delicate;
pub mod detect;
pub mod dockerignore;
mod part;
pub mod push;
pub mod raise;
pub mod room;
pub mod script;
pub mod test;
mod walk;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::settings::SourceSettings;
use crate::model::Commit;
use crate::model::CommitSha;
use crate::model::Outcome;
use crate::model::Release;
use crate::model::RunReport;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;

/// What may end a run before its time.
#[derive(Debug, Clone)]
pub struct EarlyEnds {
    /// Fires when homeport stops.
    pub stopping: CancellationToken,
    /// A newer commit that takes the run's place, when there is one.
    pub newer: watch::Receiver<Option<CommitSha>>,
}

/// Takes a commit to a pushed image, or to the stage that stopped it.
///
/// When `ends.stopping` fires, or a newer commit comes before the push, the stage is dropped where it stands, which
/// ends its processes and containers; the commit is not judged.
pub async fn run(run: &Run, source: &SourceSettings, sha: CommitSha, ends: &EarlyEnds) -> RunReport {
    let commit = describe(run, source, sha).await;
    run.is_about(commit.clone());
    let outcome = tokio::select! {
        result = stages(run, source, &commit) => match result {
            Ok(release) => Outcome::Pushed(release),
            Err(error) => Outcome::Failed(run.failure(&error)),
        },
        () = ends.stopping.cancelled() => Outcome::Interrupted(run.current_stage().unwrap_or(Stage::Checkout)),
        by = ends.overtaken(run) => {
            Outcome::Superseded { by, stage: run.current_stage().unwrap_or(Stage::Checkout) }
        }
    };
    run.report(None, None, outcome)
}

impl EarlyEnds {
    /// Waits until a newer commit takes the run's place: never once it has begun to push, for what is pushed under a
    /// number is brought to its end. The check and the end of the other stages are one step of one task.
    async fn overtaken(&self, run: &Run) -> CommitSha {
        let mut newer = self.newer.clone();
        let by = newer.wait_for(Option::is_some).await.ok().and_then(|by| by.clone());
        match by.filter(|_| run.current_stage() != Some(Stage::Push)) {
            Some(by) => by,
            None => std::future::pending().await,
        }
    }
}

async fn stages(run: &Run, source: &SourceSettings, commit: &Commit) -> Result<Release, StageError> {
    let taken = push::taken_before(run, commit).await?;
    if !taken.is_empty() {
        let pushed = run.stage(Stage::Push, push::pushed_before(run, source, commit, taken)).await?;
        if let Some(release) = pushed {
            return Ok(release);
        }
    }
    let checkout = run.stage(Stage::Checkout, checkout::checkout(run, source, commit)).await?;
    let tested = run.stage(Stage::Test, test::test(run, source, checkout)).await?;
    let image = run.stage(Stage::Build, build::build(run, source, tested)).await?;
    run.stage(Stage::Push, push::push(run, source, image)).await
}

/// What GitHub says of a commit. Message and author are for people: not knowing them stops nothing.
async fn describe(run: &Run, source: &SourceSettings, sha: CommitSha) -> Commit {
    match run.clients.commit(source, &sha).await {
        Ok(commit) => {
            run.log.header(&format!("commit {}: {} ({})", commit.sha.short(), commit.subject, commit.author));
            commit
        }
        Err(error) => {
            run.log.header(&format!("GitHub does not describe the commit: {error:#}"));
            Commit::unknown(sha)
        }
    }
}
