//! `homeport trigger`: the run of a commit because its owner says so, whatever was made of it before.

use crate::agent::Agent;
use crate::agent::job::Job;
use crate::agent::orders::Answer;
use crate::agent::orders::refused;
use crate::clients::store::Verdict;
use crate::event::Answers;
use crate::event::Findings;
use crate::event::Head;
use crate::model::CommitPrefix;
use crate::model::CommitSha;
use crate::model::ProjectName;
use crate::model::Reply;
use crate::model::Trigger;
use crate::queue::Lane;
use crate::queue::Priority;

impl Agent {
    /// Runs the commit that was asked for, or says why it cannot.
    pub(super) async fn triggered(
        &mut self,
        name: &ProjectName,
        wanted: Option<CommitPrefix>,
        findings: Findings,
        answers: &Answers,
    ) {
        if let Some(Ok(Head { moved_to: Some(new), .. })) = &findings.head
            && let Some(project) = self.projects.get_mut(name)
        {
            project.has_come_to(new.clone());
        }
        let answer = match self.commit_to_run(name, wanted.as_ref(), findings) {
            Ok(Some(sha)) => self.trigger(name, sha, answers).await,
            Ok(None) => Err(match wanted {
                Some(wanted) => format!(
                    "GitHub knows no commit {wanted} of {name}, or more than one: give more of its digits, or push it"
                ),
                None => format!("there is no commit of {name} yet: push one"),
            }),
            Err(reason) => {
                let reason = self.shared.redactor.redact(&reason);
                return answers.say(Reply::Unreachable(format!("GitHub cannot be asked: {reason}")));
            }
        };
        self.answer(name, answer, answers);
    }

    /// The commit by its id, or the newest one; `None` if there is none. `Err` says why nobody knows.
    fn commit_to_run(
        &self,
        name: &ProjectName,
        wanted: Option<&CommitPrefix>,
        findings: Findings,
    ) -> Result<Option<CommitSha>, String> {
        match (wanted, findings.commit, findings.head) {
            (Some(_), Some(found), _) => found,
            (None, _, Some(Err(failure))) => Err(failure.reason),
            (None, _, Some(Ok(_))) => Ok(self.projects.get(name).and_then(|project| project.seen.clone())),
            (Some(_), None, _) | (None, _, None) => Ok(None),
        }
    }

    /// Lets a commit wait for its turn, before everything that a poll has found.
    async fn trigger(&mut self, name: &ProjectName, sha: CommitSha, answers: &Answers) -> Answer {
        let store = self.shared.clients.store.clone();
        let Some(project) = self.projects.get_mut(name) else { return Err(format!("{name} is gone")) };
        let short = sha.short().to_owned();
        if project.building.as_ref().is_some_and(|building| building.sha == sha) {
            return Err(format!("the run of {short} is under way: follow it with `homeport logs --follow`"));
        }
        let verdict = store.verdict(name.clone(), sha.clone()).await.map_err(refused)?;
        let running = project.building.as_ref().map(|building| building.sha.clone());
        store.order_commit(name.clone(), sha.clone(), running).await.map_err(refused)?;
        let tag = project.facts.tag.as_ref().filter(|_| project.seen.as_ref() == Some(&sha));
        let tag = tag.map(|tag| format!(" (tag {tag})")).unwrap_or_default();
        if project.seen.as_ref() == Some(&sha) {
            // The newest commit is found due until a run has judged it, also after a failure of the world.
            store.want_commit(name.clone(), sha.clone()).await.map_err(refused)?;
            project.judged = None;
        }
        project.ci.clear();
        let is_paused = project.orders.paused_since.is_some();
        let after = self.queue.running(Lane::Ci);
        let after = after.map(|running| format!(", when the run of {running} has ended")).unwrap_or_default();
        let mut said = format!("{short} is run next{after}");
        if let Some(Verdict::Pushed { run }) = verdict {
            said += &format!("; run {run} pushed it, and what the registry still has is not built anew");
        }
        if is_paused {
            said += &format!("; {name} stays paused otherwise");
        }
        let reason = format!("the owner asked for commit {short}{tag}");
        let job = Job::Commit { sha, trigger: Trigger::Command, reason, answers: Some(answers.clone()) };
        self.request(Lane::Ci, name, Priority::Urgent, job);
        Ok(said + ". Follow it with `homeport logs --follow`")
    }

    /// Lets the commit that was ordered first of those that an earlier process could not bring to their end wait for
    /// its turn. The next one's turn comes when its run has ended.
    pub(super) async fn take_up_order(&mut self, name: &ProjectName) {
        if self.stopping.is_cancelled() {
            return;
        }
        let sha = match self.shared.clients.store.ordered_commit(name.clone()).await {
            Ok(Some(sha)) => sha,
            Ok(None) => return,
            Err(error) => {
                let error = anyhow::Error::from(error);
                return slog::error!(self.shared.journal, "{name}: cannot read what was ordered: {error:#}");
            }
        };
        let Some(project) = self.projects.get(name) else { return };
        let is_on_its_way = project.building.as_ref().is_some_and(|building| building.sha == sha)
            || self.queue.waiting(Lane::Ci).any(|(project, job)| project == name && job.is_commit(&sha));
        if is_on_its_way || project.settings.source.is_none() {
            return;
        }
        let reason = format!("the owner asked for commit {}, and no run of it came to its end", sha.short());
        slog::info!(self.shared.journal, "{name}: {reason}");
        let job = Job::Commit { sha, trigger: Trigger::Command, reason, answers: None };
        self.enqueue(Lane::Ci, name, Priority::Urgent, job);
    }
}
