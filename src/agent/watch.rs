//! The watch after a deployment: for a while a proven container is looked at every few seconds, and a
//! failure in that time rolls back.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::Agent;
use crate::agent::Life;
use crate::agent::job::Job;
use crate::cd::take_back::failure_of;
use crate::clients::store::Deployment;
use crate::event::Event;
use crate::event::Hindrance;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::RunKind;
use crate::model::RunNumber;
use crate::model::RunReport;
use crate::model::Trigger;
use crate::queue::Lane;
use crate::queue::Priority;

/// The most and the least time between two looks; a tenth of the window in between.
const PACE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(100));

impl Agent {
    /// After a run: watch what it deployed, and clear away what no longer is a way back.
    pub(super) async fn after_run(&mut self, report: &RunReport) {
        self.clear_images_after(report).await;
        match (report.kind, &report.outcome) {
            (RunKind::Cd, Outcome::Deployed(_)) => {}
            // What could not be taken back was told of once; to watch it on would be to tell it again and again.
            (RunKind::Cd, Outcome::Failed(_) | Outcome::Down(_)) if report.trigger == Trigger::Watch => {
                return;
            }
            // What served before still does, or does again: its watch goes on for what is left of it.
            (RunKind::Cd, _) => return self.watch_again(&report.project).await,
            (RunKind::Ci, _) => return,
        }
        let Some(project) = self.projects.get(&report.project) else { return };
        let Some(window) = project.settings.deploy.as_ref().map(|deploy| deploy.watch) else { return };
        match self.shared.clients.store.current(report.project.clone()).await {
            Ok(Some(deployment)) => self.watch(&report.project, deployment, window),
            Ok(None) => {}
            Err(error) => slog::error!(self.shared.journal, "{}: cannot watch: {error:#}", report.project),
        }
    }

    /// Watches a deployment for `window`. A single pass does not stay to watch.
    pub(super) fn watch(&mut self, name: &ProjectName, deployment: Deployment, window: Duration) {
        if self.life == Life::OnePass || window.is_zero() {
            return;
        }
        let Some(project) = self.projects.get_mut(name) else { return };
        project.stop_watching();
        let (clients, events, name) = (Arc::clone(&self.shared.clients), self.events.clone(), name.clone());
        let watch = tokio::spawn(async move {
            let pace = (window / 10).clamp(PACE.1, PACE.0);
            let began = clients.clock.monotonic();
            while clients.clock.monotonic().saturating_sub(began) < window {
                clients.clock.sleep(pace).await;
                // A Docker that does not answer says nothing against the deployment.
                let Ok(Some(container)) = clients.docker.inspect(deployment.container.as_str()).await else {
                    continue;
                };
                if let Some(reason) = failure_of(&container, deployment.deployed_at) {
                    // Fails only when the agent is gone.
                    events.send(Event::WatchFailed(name, deployment.run, reason)).ok();
                    // The watch is not over before its verdict was taken in: until then a look at the service, which
                    // shows the same, must not be told as an illness that came after it.
                    return std::future::pending().await;
                }
            }
        });
        project.watch = Some(watch.abort_handle());
    }

    /// A watched deployment has failed: back to the one before it, if there is one.
    pub(super) async fn watch_failed(&mut self, name: &ProjectName, run: RunNumber, reason: String) {
        // Another run is changing what serves, or will first: the watch begins again when it has ended.
        if self.queue.running(Lane::Cd) == Some(name) || self.queue.waiting(Lane::Cd).any(|(p, _)| p == name)
        {
            return;
        }
        let current = match self.shared.clients.store.current(name.clone()).await {
            Ok(current) => current,
            Err(error) => {
                slog::error!(
                    self.shared.journal,
                    "{name}: {reason}, but what is deployed cannot be read: {error:#}"
                );
                None
            }
        };
        let Some(deployment) = current.filter(|deployment| deployment.run == run) else {
            if let Some(project) = self.projects.get_mut(name) {
                project.stop_watching();
            }
            return;
        };
        let job = Job::TakeBack { deployment: Box::new(deployment), reason };
        self.request(Lane::Cd, name, Priority::Urgent, job);
    }

    /// A suspended deployment is taken up again.
    pub(super) async fn recovery_due(&mut self, name: &ProjectName) {
        let store = &self.shared.clients.store;
        let left = async {
            let Some(journal) = store.journal(name.clone()).await? else { return anyhow::Ok(None) };
            Ok(store.run(journal.run).await?.map(|row| (row, journal)))
        };
        match left.await {
            Ok(Some((row, journal))) => {
                let job = Job::Recover { row: Box::new(row), journal: Box::new(journal) };
                self.request(Lane::Cd, name, Priority::Urgent, job);
            }
            Ok(None) => {}
            Err(error) => {
                slog::error!(self.shared.journal, "{name}: cannot take its deployment up again: {error:#}");
                self.recover_later(name, Hindrance::Refusal);
            }
        }
    }
}
