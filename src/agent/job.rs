//! What waits in the lanes, and doing it: a job becomes a run, from its number to its recorded end.

use std::fmt;
use std::sync::Arc;

use crate::cd;
use crate::cd::Ended;
use crate::cd::Suspended;
use crate::ci;
use crate::ci::EarlyEnds;
use crate::clients::store::Deployment;
use crate::clients::store::RunRow;
use crate::config::settings::ProjectSettings;
use crate::config::settings::SourceSettings;
use crate::event::Answers;
use crate::event::Hindrance;
use crate::model::CommitSha;
use crate::model::Release;
use crate::model::RunKind;
use crate::model::RunReport;
use crate::model::Trigger;
use crate::notify::Notifier;
use crate::run::Intent;
use crate::run::Run;
use crate::run::Shared;
use crate::swap::Journal;

/// Something that waits for its lane.
#[derive(Debug)]
pub(super) enum Job {
    /// A commit to take to a pushed image.
    Commit { sha: CommitSha, trigger: Trigger, reason: String, answers: Option<Answers> },
    /// An image to deploy.
    Image { release: Release, trigger: Trigger, reason: String, answers: Option<Answers> },
    /// A deployment that was cut off.
    Recover { row: Box<RunRow>, journal: Box<Journal> },
    /// A deployment that failed in its watch.
    TakeBack { deployment: Box<Deployment>, reason: String },
}

/// `the run of 1a2b3c4`, `the deployment of 7 (0123456789ab)`.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit { sha, .. } => write!(f, "the run of {}", sha.short()),
            Self::Image { release, .. } => write!(f, "the deployment of {release}"),
            Self::Recover { journal, .. } => {
                write!(f, "the deployment of {} that was cut off", journal.wanted())
            }
            Self::TakeBack { deployment, .. } => write!(f, "the way back from {}", deployment.release),
        }
    }
}

impl Job {
    pub(super) fn is_commit(&self, wanted: &CommitSha) -> bool {
        matches!(self, Self::Commit { sha, .. } if sha == wanted)
    }

    pub(super) fn is_image(&self, wanted: &Release) -> bool {
        matches!(self, Self::Image { release, .. } if release == wanted)
    }

    /// Who waits for its end.
    pub(super) const fn answers(&self) -> Option<&Answers> {
        match self {
            Self::Commit { answers, .. } | Self::Image { answers, .. } => answers.as_ref(),
            Self::Recover { .. } | Self::TakeBack { .. } => None,
        }
    }
}

/// Why a job ended without a report.
pub(super) enum NotEnded {
    /// Its journal stands, to be taken up again.
    Suspended(Hindrance),
    /// No number or no end could be written for it.
    NotBegun(anyhow::Error),
}

/// Does a job from its run's number to its recorded end.
pub(super) async fn perform(
    shared: &Shared,
    notifier: &Notifier,
    settings: Arc<ProjectSettings>,
    job: Job,
    ends: &EarlyEnds,
) -> Result<RunReport, NotEnded> {
    if matches!(job, Job::Image { .. } | Job::TakeBack { .. }) && has_journal(shared, &settings).await? {
        // A deployment that was cut off goes first: what stands in the service's place is not settled.
        return Err(NotEnded::Suspended(Hindrance::Refusal));
    }
    match (job, &settings.source, &settings.deploy) {
        (Job::Commit { sha, trigger, reason, answers: _ }, Some(source), _) => {
            let intent =
                Intent { kind: RunKind::Ci, trigger, commit: Some(sha.clone()), release: None, reason };
            let run = Run::begin(shared, Arc::clone(&settings), intent).await.map_err(NotEnded::NotBegun)?;
            let report = Box::pin(take_to_image(&run, source, sha, ends)).await;
            notifier.finish_ci(report).await.map_err(NotEnded::NotBegun)
        }
        (Job::Image { release, trigger, reason, answers: _ }, _, Some(deploy)) => {
            let run = begin_cd(shared, &settings, trigger, release.clone(), reason).await?;
            end_cd(&run, notifier, Box::pin(cd::run(&run, deploy, release, &ends.stopping)).await).await
        }
        (Job::Recover { row, journal }, _, Some(deploy)) => {
            let run = Run::resume(
                shared,
                Arc::clone(&settings),
                &row,
                "it was cut off, by a stop of homeport or of Docker",
            );
            end_cd(&run, notifier, Box::pin(cd::recover::recover(&run, deploy, *journal)).await).await
        }
        (Job::TakeBack { deployment, reason }, _, Some(deploy)) => {
            let why = format!("{} failed within its watch: {reason}", deployment.release);
            let run = begin_cd(shared, &settings, Trigger::Watch, deployment.release.clone(), why).await?;
            end_cd(
                &run,
                notifier,
                Box::pin(cd::take_back::take_back(&run, deploy, *deployment, reason)).await,
            )
            .await
        }
        (Job::Commit { .. } | Job::Image { .. } | Job::Recover { .. } | Job::TakeBack { .. }, _, _) => Err(
            NotEnded::NotBegun(anyhow::anyhow!("the configuration no longer has this part of the project")),
        ),
    }
}

async fn take_to_image(run: &Run, source: &SourceSettings, sha: CommitSha, ends: &EarlyEnds) -> RunReport {
    // Nothing of this project is being tested now, so whatever a killed agent left may go.
    if let Err(error) = run.clients.docker.remove_leftovers(&run.project.name).await {
        run.log.header(&format!("left-over test containers, if there are any, stay: {error}"));
    }
    let mut report = ci::run(run, source, sha, ends).await;
    if let Some(deploy) = &run.project.deploy {
        report.serving = cd::serving(run, &deploy.spec.name).await.release();
    }
    report
}

async fn has_journal(shared: &Shared, settings: &ProjectSettings) -> Result<bool, NotEnded> {
    let journal = shared.clients.store.journal(settings.name.clone()).await;
    journal.map(|journal| journal.is_some()).map_err(|error| NotEnded::NotBegun(error.into()))
}

async fn begin_cd(
    shared: &Shared,
    settings: &Arc<ProjectSettings>,
    trigger: Trigger,
    release: Release,
    reason: String,
) -> Result<Run, NotEnded> {
    let intent = Intent { kind: RunKind::Cd, trigger, commit: None, release: Some(release), reason };
    Run::begin(shared, Arc::clone(settings), intent).await.map_err(NotEnded::NotBegun)
}

/// An end that cannot be recorded is no end: the journal stands, and recovery comes to the same end again.
async fn end_cd(
    run: &Run,
    notifier: &Notifier,
    ended: Result<Ended, Suspended>,
) -> Result<RunReport, NotEnded> {
    let Ended { report, deployment } = ended.map_err(|Suspended(why)| NotEnded::Suspended(why))?;
    notifier.finish_cd(report, deployment).await.map_err(|error| {
        slog::error!(run.journal, "the end of the run cannot be recorded, to be tried again: {error:#}");
        NotEnded::Suspended(Hindrance::Refusal)
    })
}
