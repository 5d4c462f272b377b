//! The images that are no way back any more, and caches that nobody uses: cleared away after a run, and once after a
//! start, since a run whose process was killed at its end leaves that to the next one.

use std::sync::Arc;

use crate::agent::Agent;
use crate::agent::Life;
use crate::cd::retain::retain;
use crate::ci::cache;
use crate::model::ProjectName;
use crate::model::RunKind;
use crate::model::RunReport;

impl Agent {
    /// After a deployment; on a machine that only builds, after each build.
    pub(super) async fn clear_images_after(&mut self, report: &RunReport) {
        let Some(project) = self.projects.get(&report.project) else { return };
        match (report.kind, &project.settings.deploy) {
            (RunKind::Cd, _) | (RunKind::Ci, None) => self.clear_images(&report.project).await,
            (RunKind::Ci, Some(_)) => {}
        }
        match report.kind {
            RunKind::Ci => self.clear_caches().await,
            RunKind::Cd => {}
        }
    }

    /// At the first answer of Docker's since the start. A single pass does so after its runs.
    pub(super) async fn clear_images_once(&mut self, name: &ProjectName) {
        let is_cleared = self.projects.get(name).is_none_or(|project| project.is_cleared);
        if self.life == Life::Service && !is_cleared {
            self.clear_caches().await;
            self.clear_images(name).await;
        }
    }

    /// After a start, a change of the configuration, and each build: the dependency caches of projects that have none any
    /// more.
    pub(super) async fn clear_caches(&self) {
        let (clients, journal) = (Arc::clone(&self.shared.clients), self.shared.journal.clone());
        let projects = self.settings.projects.clone();
        let clearing = async move {
            match cache::clear(&clients, &projects).await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => slog::info!(journal, "removed unused caches: {}", removed.join(", ")),
                Err(error) => slog::warn!(journal, "cannot remove unused caches: {error:#}"),
            }
        };
        self.aside(clearing).await;
    }

    async fn clear_images(&mut self, name: &ProjectName) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.is_cleared = true;
        let (clients, journal) = (Arc::clone(&self.shared.clients), self.shared.journal.clone());
        let settings = Arc::clone(&project.settings);
        let clearing = async move {
            match retain(&clients, &settings).await {
                Ok(0) => {}
                Ok(removed) => slog::info!(journal, "{}: removed {removed} old images", settings.name),
                Err(error) => slog::warn!(journal, "{}: cannot remove old images: {error:#}", settings.name),
            }
        };
        self.aside(clearing).await;
    }

    /// Beside everything else in the service; a pass waits, since nothing goes on behind its end.
    async fn aside(&self, clearing: impl Future<Output = ()> + Send + 'static) {
        match self.life {
            Life::Service => drop(tokio::spawn(clearing)),
            Life::OnePass => clearing.await,
        }
    }
}
