//! What goes on beside the runs: mail, the dead man's switch, a changed configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use chrono::Utc;

use crate::agent::Agent;
use crate::agent::Fresh;
use crate::agent::Life;
use crate::agent::project::ProjectState;
use crate::event::Event;
use crate::logging::retention;
use crate::logging::retention::Keep;
use crate::model::ProjectName;
use crate::notify::Notifier;
use crate::schedule::Timetable;

impl Agent {
    /// Writes mails to the outbox, in the settings of now.
    pub(super) fn shared_notifier(&self) -> Notifier {
        Notifier::new(&self.settings, Arc::clone(&self.shared.clients), self.shared.journal.clone())
    }

    /// Something was put into the outbox.
    pub(super) fn mail_soon(&mut self) {
        self.mailing.forget_plan();
        self.try_mails();
    }

    /// Goes through the outbox.
    pub(super) fn try_mails(&mut self) {
        if self.settings.email.is_none() || !self.mailing.begin() {
            return;
        }
        let (notifier, events) = (self.shared_notifier(), self.events.clone());
        tokio::spawn(async move {
            let next = notifier.deliver().await;
            // Fails only when the agent is gone.
            events.send(Event::MailsTried(next)).ok();
        });
    }

    /// Looks at the outbox again when it is time. In a single pass, and when the agent stops, a mail that could
    /// not be sent stays for the next one.
    pub(super) fn mails_tried(&mut self, next: Option<DateTime<Utc>>) {
        if self.mailing.end() && !self.stopping.is_cancelled() {
            return self.try_mails();
        }
        let Some(next) = next.filter(|_| self.life == Life::Service) else { return };
        if let Some(wait) = self.mailing.plan(next, self.now()) {
            self.send_later(wait, Event::MailDue);
        }
    }

    /// Removes the project's oldest run logs beyond what is kept.
    pub(super) fn sweep_logs(&self, name: &ProjectName) {
        let (log_dir, name, now) = (self.shared.log_dir.clone(), name.clone(), self.now());
        let journal = self.shared.journal.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = retention::sweep(&log_dir, &name, &Keep::default(), now) {
                slog::warn!(journal, "{name}: old run logs stay: {error}");
            }
        });
    }

    pub(super) fn ping_heartbeat(&self) {
        let (clients, journal) = (Arc::clone(&self.shared.clients), self.shared.journal.clone());
        tokio::spawn(async move {
            if let Some(heartbeat) = &clients.heartbeat
                && let Err(error) = heartbeat.ping().await
            {
                slog::warn!(journal, "the heartbeat could not be sent: {error:#}");
            }
        });
    }

    /// Reads the configuration again. A bad edit is refused aloud, and the old one stays in force.
    pub(super) async fn reload(&mut self) {
        let fresh = match (self.ties.reload)() {
            Ok(fresh) => fresh,
            Err(errors) => {
                slog::error!(
                    self.shared.journal,
                    "the changed configuration is refused, the old one stays in force:\n{errors}"
                );
                return;
            }
        };
        let moved = fresh.settings.state_dir != self.settings.state_dir;
        if moved {
            slog::error!(self.shared.journal, "`state_dir` cannot change while the agent runs: restart it");
            return;
        }
        if let Err(error) = self.apply(fresh).await {
            slog::error!(
                self.shared.journal,
                "the changed configuration could not be applied in full: {error:#}"
            );
        }
    }

    async fn apply(&mut self, fresh: Fresh) -> anyhow::Result<()> {
        let Fresh { settings, shared } = fresh;
        let known: Vec<ProjectName> = self.projects.keys().cloned().collect();
        let mut projects = BTreeMap::new();
        for project in &settings.projects {
            let known = self.projects.remove(&project.name);
            let mut state = known.unwrap_or_else(|| ProjectState::new(Arc::new(project.clone())));
            state.settings = Arc::new(project.clone());
            state.said_no_status = false;
            // Other tags may be followed now.
            state.etag = None;
            // Another address or token may answer where the old one did not.
            (state.github.told, state.github.not_before) = (None, None);
            (state.hub.told, state.hub.not_before) = (None, None);
            projects.insert(project.name.clone(), state);
        }
        for (name, mut removed) in std::mem::replace(&mut self.projects, projects) {
            removed.stop_watching();
            slog::info!(self.shared.journal, "{name} is no longer configured: its container is left running");
        }
        self.settings = settings;
        self.shared = shared;
        let added = self.projects.keys().filter(|name| !known.contains(name)).cloned().collect();
        self.take_up(added).await?;
        if let Some(webhook) = self.webhook.take() {
            webhook.abort();
            // Its port is free again only when it has ended; that it was aborted is what was wanted.
            webhook.await.ok();
        }
        let timetable = Timetable::new(self.shared.clients.clock.clone(), self.events.clone());
        std::mem::replace(&mut self.timetable, timetable).stop().await;
        self.open_for_service().await?;
        self.start_what_waits();
        self.clear_caches().await;
        slog::info!(self.shared.journal, "the changed configuration is in force");
        Ok(())
    }

    /// A number from 0 to 1 to spread retries with: no two boards start in the same nanosecond.
    pub(super) fn jitter(&self) -> f64 {
        f64::from(self.now().timestamp_subsec_nanos() % 1_000_000) / 1_000_000.0
    }
}
