//! What becomes of the newest commit that GitHub has shown: it is run, left out, or waited for. The decision itself is
//! pure, in [`crate::decide`].

use crate::agent::Agent;
use crate::agent::job::Job;
use crate::agent::polls::paused_clause;
use crate::agent::project::ProjectState;
use crate::clients::store::StoreError;
use crate::clients::store::Verdict;
use crate::config::settings::FileFilter;
use crate::config::settings::OnNewer;
use crate::decide::CommitDecision;
use crate::decide::CommitMemory;
use crate::decide::Judgement;
use crate::decide::commit_due;
use crate::model::CommitFacts;
use crate::model::CommitSha;
use crate::model::ProjectName;
use crate::model::Trigger;
use crate::queue::Lane;
use crate::queue::Priority;

impl Agent {
    /// Starts a run of the newest commit, if it is due.
    pub(super) async fn consider_commit(&mut self, name: &ProjectName) {
        let Some(project) = self.projects.get(name) else { return };
        let Some(head) = project.seen.clone().filter(|head| project.judged.as_ref() != Some(head)) else {
            return;
        };
        let decision = match self.commit_decision(name, &head, &project.facts).await {
            Ok(decision) => decision,
            Err(error) => {
                slog::error!(self.shared.journal, "{name}: cannot tell whether {head} was run: {error:#}");
                return;
            }
        };
        let Some(project) = self.projects.get_mut(name) else { return };
        let paused = paused_clause(&project.orders);
        if project.github.is_news(&format!("{} {decision}{paused}", head.short())) {
            slog::info!(self.shared.journal, "{name}: {}: {decision}{paused}", head.short());
        }
        match decision {
            CommitDecision::Due { .. } if project.orders.paused_since.is_some() => {}
            CommitDecision::Due { reason } => {
                let (trigger, answers) = (project.github.trigger, project.asker.clone());
                self.request_commit(name, Job::Commit { sha: head.clone(), trigger, reason, answers }, &head);
            }
            CommitDecision::Skip { reason } => self.skip(name, head, reason).await,
            CommitDecision::AlreadyPushed { .. }
            | CommitDecision::AlreadyFailed { .. }
            | CommitDecision::AlreadySkipped { .. } => {
                project.judged = Some(head);
            }
            CommitDecision::InProgress | CommitDecision::NotBefore(_) => {}
        }
    }

    /// A commit that is not run is remembered as such, so that it is not asked about again.
    async fn skip(&mut self, name: &ProjectName, head: CommitSha, reason: String) {
        let kept = self.shared.clients.store.skip_commit(name.clone(), head.clone(), reason).await;
        match (kept, self.projects.get_mut(name)) {
            (Ok(()), Some(project)) => project.judged = Some(head),
            (Ok(()), None) => {}
            (Err(error), _) => {
                let error = anyhow::Error::from(error);
                slog::error!(self.shared.journal, "{name}: cannot record that {head} is not run: {error:#}");
            }
        }
    }

    /// Is this commit, which the branch has come to, due?
    pub(super) async fn commit_decision(
        &self,
        name: &ProjectName,
        head: &CommitSha,
        facts: &CommitFacts,
    ) -> Result<CommitDecision, StoreError> {
        let verdict = self.shared.clients.store.verdict(name.clone(), head.clone()).await?;
        let project = self.projects.get(name);
        let memory = CommitMemory {
            judgement: verdict.map(judgement),
            facts: facts.clone(),
            running: project.and_then(|project| Some(project.building.as_ref()?.sha.clone())),
            waiting_until: project.and_then(|project| project.ci.not_before),
        };
        let source = project.and_then(|project| project.settings.source.as_ref());
        let filter = source.map_or(&FileFilter::All, |source| &source.files);
        Ok(commit_due(head, &memory, filter, self.now()))
    }

    fn request_commit(&mut self, name: &ProjectName, job: Job, sha: &CommitSha) {
        let waits = self.queue.waiting(Lane::Ci).any(|(project, job)| project == name && job.is_commit(sha));
        if !waits {
            self.request(Lane::Ci, name, Priority::Ordinary, job);
            self.overtake(name, sha);
        }
    }

    /// A newer commit takes the place of a run that goes on, if it is so configured. What the owner asked for by
    /// command is left to its end.
    fn overtake(&self, name: &ProjectName, newer: &CommitSha) {
        let Some(ProjectState { settings, building: Some(building), .. }) = self.projects.get(name) else {
            return;
        };
        let on_newer = settings.source.as_ref().map_or(OnNewer::Wait, |source| source.on_newer);
        if on_newer == OnNewer::Cancel && building.trigger != Trigger::Command && building.sha != *newer {
            let (old, new) = (building.sha.short(), newer.short());
            slog::info!(
                self.shared.journal,
                "{name}: {new} takes the place of {old}, unless that is being pushed"
            );
            building.newer.send_replace(Some(newer.clone()));
        }
    }
}

fn judgement(verdict: Verdict) -> Judgement {
    match verdict {
        Verdict::Pushed { run } => Judgement::Pushed { run },
        Verdict::Failed { run, reason } => Judgement::Failed { run, reason },
        Verdict::Skipped { reason } => Judgement::Skipped { reason },
        Verdict::Wanted => Judgement::Wanted,
    }
}
