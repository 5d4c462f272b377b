//! How fast a source may be asked: what the end of a poll means for the next one, and for the owner.

use std::time::Duration;

use crate::agent::Agent;
use crate::config::duration::Schedule;
use crate::event::Again;
use crate::event::PollFailure;
use crate::event::Source;
use crate::model::ProjectName;
use crate::model::Trigger;
use crate::retry::Credential;
use crate::retry::Pace;
use crate::retry::PollReport;
use crate::retry::not_before;
use crate::retry::poll_budget;

/// What a cron expression is taken for when the request budget is shared out.
const CRON_PACE: Duration = Duration::from_secs(60);

impl Agent {
    /// Takes in that a poll has ended: its health, and what a failure means for the next one.
    pub(super) async fn take_in<T>(
        &mut self,
        name: &ProjectName,
        source: Source,
        answer: Result<T, PollFailure>,
    ) -> Option<T> {
        let now = self.now();
        let jitter = self.jitter();
        let state = self.projects.get_mut(name)?.source_mut(source);
        state.trigger = state.asking.take().unwrap_or(Trigger::Poll);
        let (report, answer, error) = match answer {
            Ok(answer) => {
                state.backoff.reset();
                (state.told, state.not_before) = (None, None);
                (state.health.succeeded(), Some(answer), String::new())
            }
            Err(PollFailure { reason, again }) => {
                let reason = self.shared.redactor.redact(&reason).into_owned();
                let (is_put_off, told) = match again {
                    Again::BySchedule => (false, None),
                    Again::WithPauses => (true, None),
                    Again::NotBefore(told) => (true, Some(told)),
                };
                let wait = is_put_off.then(|| not_before(now, told, state.backoff.next(jitter)));
                (state.told, state.not_before) = (wait.filter(|_| told.is_some()), wait);
                self.tally.unreachable += 1;
                let next = wait.map_or_else(
                    || "as scheduled".to_owned(),
                    |then| format!("in {} s", (then - now).num_seconds()),
                );
                slog::warn!(self.shared.journal, "{name}: poll of {source} failed, next {next}: {reason}");
                (state.health.failed(now), None, reason)
            }
        };
        match report {
            PollReport::Nothing => {}
            PollReport::ReportOutage { since, failures } => {
                self.shared_notifier().outage(name, source, since, failures, &error).await;
                self.mail_soon();
            }
            PollReport::ReportRecovery { since, failures } => {
                self.shared_notifier().recovery(name, source, since, failures).await;
                self.mail_soon();
            }
        }
        answer
    }

    /// Without a token every poll of GitHub counts: the next one waits until the budget allows it.
    pub(super) fn keep_to_budget(&mut self, name: &ProjectName) {
        let now = self.now();
        let credential = match self.settings.github.token {
            Some(_) => Credential::Token,
            None => Credential::Anonymous,
        };
        let polled = self.projects.values().filter(|p| p.settings.source.is_some()).count();
        let polled = u32::try_from(polled).unwrap_or(u32::MAX);
        let Some(project) = self.projects.get_mut(name) else { return };
        let wanted = match project.settings.source.as_ref().map(|source| &source.poll) {
            Some(Schedule::Every(interval)) => *interval,
            Some(Schedule::Cron(_)) | None => CRON_PACE,
        };
        let state = &mut project.github;
        match poll_budget(wanted, polled, credential, state.budget, now) {
            Pace::AsWanted(_) => state.said_slowed = false,
            Pace::Slowed(interval) => {
                state.not_before = Some(now + interval);
                if !std::mem::replace(&mut state.said_slowed, true) {
                    let seconds = interval.as_secs();
                    slog::warn!(
                        self.shared.journal,
                        "{name}: GitHub's request budget allows a poll every {seconds} s at most: set `github.token`"
                    );
                }
            }
        }
    }
}
