//! Telling GitHub how it stands with commits: when a run begins, when it has ended, and what an earlier process could
//! not tell any more.

use chrono::TimeDelta;

use crate::agent::Agent;
use crate::agent::Life;
use crate::agent::Telling;
use crate::event::Event;
use crate::event::Told;

impl Agent {
    /// Tells what was not told yet; if that is being done, once more after.
    pub(super) fn tell_github(&mut self) {
        if self.telling != Telling::Idle {
            self.telling = Telling::GoingAgain;
            return;
        }
        self.telling = Telling::Going;
        let (notifier, events) = (self.shared_notifier(), self.events.clone());
        tokio::spawn(async move {
            let told = notifier.tell_github().await;
            // Fails only when the agent is gone.
            events.send(Event::StatusesTold(told)).ok();
        });
    }

    /// A missing permission is said once, and hinders nothing.
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
        let once_more = std::mem::replace(&mut self.telling, Telling::Idle) == Telling::GoingAgain;
        if once_more && !self.stopping.is_cancelled() {
            return self.tell_github();
        }
        // A single pass leaves the rest to the next one.
        let Some(next) = told.next.filter(|_| self.life == Life::Service) else { return };
        let now = self.now();
        if self.next_telling.is_none_or(|planned| next < planned || planned <= now) {
            self.next_telling = Some(next);
            let wait = (next - now).max(TimeDelta::zero()).to_std().unwrap_or_default();
            self.send_later(wait, Event::StatusesDue);
        }
    }
}
