//! Telling GitHub how it stands with commits: when a run begins, when it has ended, and what an earlier process could
//! not tell any more.

use crate::agent::Agent;
use crate::agent::Life;
use crate::event::Event;
use crate::event::Told;

impl Agent {
    /// Tells what was not told yet.
    pub(super) fn tell_github(&mut self) {
        if !self.reporting.begin() {
            return;
        }
        let (notifier, events) = (self.shared_notifier(), self.events.clone());
        tokio::spawn(async move {
            let told = notifier.tell_github().await;
            // Fails only when the agent is gone.
            events.send(Event::StatusesTold(told)).ok();
        });
    }

    /// A missing permission is said once, and hinders nothing. A single pass leaves what could not be told to the
    /// next one.
    pub(super) fn github_told(&mut self, told: Told) {
        for (name, message) in told.refused {
            let Some(project) = self.projects.get_mut(&name) else { continue };
            if !std::mem::replace(&mut project.said_no_status, true) {
                slog::warn!(
                    self.shared.journal,
                    "{name}: GitHub takes no commit statuses from this token ({message}): give it the permission \
                     `Commit statuses: read and write`, or set `github.statuses` to false"
                );
            }
        }
        if self.reporting.end() && !self.stopping.is_cancelled() {
            return self.tell_github();
        }
        let Some(next) = told.next.filter(|_| self.life == Life::Service) else { return };
        if let Some(wait) = self.reporting.plan(next, self.now()) {
            self.send_later(wait, Event::StatusesDue);
        }
    }
}
