//! What GitHub shows beside a commit: pending while its run goes on, then how it ended. Kept with the run's end and
//! told from there, so that neither a crash nor a GitHub that is away leaves a commit pending for ever.

use chrono::TimeDelta;

use crate::clients::github::GitHubError;
use crate::event::Told;
use crate::mail_text::cut;
use crate::model::Blame;
use crate::model::CommitSha;
use crate::model::CommitState;
use crate::model::CommitStatus;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::Repository;
use crate::model::RunReport;
use crate::notify::Notifier;

/// GitHub refuses a longer description (GitHub REST, "Create a commit status").
const LONGEST_DESCRIPTION: usize = 140;
/// When a GitHub that did not answer is asked again.
const RETRY: TimeDelta = TimeDelta::seconds(60);

impl Notifier {
    /// Keeps that a commit's run begins. `false` if there is nothing to tell.
    pub async fn commit_begins(&self, project: &ProjectName, sha: &CommitSha) -> bool {
        let Some(repository) = self.statuses_for.get(project) else { return false };
        let kept = self.clients.store.keep_status(under_way(project, repository, sha)).await;
        if let Err(error) = &kept {
            slog::error!(self.journal, "{project}: cannot keep what GitHub is to be told: {error:#}");
        }
        kept.is_ok()
    }

    /// What the end of a run says of its commit.
    pub(super) fn status_of(&self, report: &RunReport) -> Option<CommitStatus> {
        of_report(report, self.statuses_for.get(&report.project)?)
    }

    /// Tells GitHub what it was not told yet.
    pub async fn tell_github(&self) -> Told {
        let mut told = Told::default();
        let untold = match self.clients.store.untold_statuses().await {
            Ok(untold) => untold,
            Err(error) => {
                slog::error!(self.journal, "cannot read what GitHub is to be told: {error:#}");
                return told;
            }
        };
        for status in untold.into_iter().filter(|status| self.statuses_for.contains_key(&status.project)) {
            let CommitStatus { project, sha, .. } = &status;
            match self.clients.github.set_status(&status, self.status_url.as_ref()).await {
                Ok(()) => {}
                Err(GitHubError::MayNotWrite { message }) => told.refused.push((project.clone(), message)),
                Err(error @ GitHubError::Invalid { .. }) => {
                    slog::warn!(self.journal, "{project}: {}: {error:#}", sha.short());
                }
                Err(error) => {
                    let next = error.not_before().unwrap_or(self.clients.clock.now() + RETRY);
                    slog::info!(
                        self.journal,
                        "{project}: {}: GitHub could not be told how it stands, next try {}: {error:#}",
                        sha.short(),
                        next.format("%FT%TZ")
                    );
                    told.next = Some(next);
                    continue;
                }
            }
            if let Err(error) = self.clients.store.status_told(status).await {
                slog::error!(self.journal, "cannot record what GitHub was told: {error:#}");
            }
        }
        told
    }
}

fn under_way(project: &ProjectName, repository: &Repository, sha: &CommitSha) -> CommitStatus {
    CommitStatus {
        project: project.clone(),
        repository: repository.clone(),
        sha: sha.clone(),
        state: CommitState::Pending,
        description: "being tested and built".to_owned(),
    }
}

/// Nothing is said of a run that was cut off: its commit is taken up again.
fn of_report(report: &RunReport, repository: &Repository) -> Option<CommitStatus> {
    let (state, description) = match &report.outcome {
        Outcome::Pushed(release) => (CommitState::Success, format!("pushed as {}", release.tag)),
        Outcome::Failed(failure) => {
            let state = match failure.blame {
                Blame::Commit | Blame::Image => CommitState::Failure,
                Blame::World => CommitState::Error,
            };
            (state, format!("{} failed: {}", failure.stage, failure.reason))
        }
        Outcome::Superseded { by, .. } => (CommitState::Error, format!("superseded by {}", by.short())),
        Outcome::Deployed(_) | Outcome::RolledBack { .. } | Outcome::Down(_) | Outcome::Interrupted(_) => {
            return None;
        }
    };
    Some(CommitStatus {
        project: report.project.clone(),
        repository: repository.clone(),
        sha: report.commit.as_ref()?.sha.clone(),
        state,
        description: cut(&description, LONGEST_DESCRIPTION),
    })
}
