//! Taking up what an earlier process left: its unfinished runs, the deployments that stood in the middle, what was
//! ordered of it, and what it knew of each project. Then opening for service: the timetable and the webhook.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use tokio::net::TcpListener;

use crate::agent::Agent;
use crate::agent::job::Job;
use crate::clients::store::RunRow;
use crate::config::duration::Schedule;
use crate::config::settings::WebhookSettings;
use crate::control::Control;
use crate::event::Event;
use crate::event::Source;
use crate::event::Upkeep;
use crate::fault_point::Effect;
use crate::health::illness::Wellbeing;
use crate::model::Commit;
use crate::model::Outcome;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::RunKind;
use crate::model::Stage;
use crate::queue::Lane;
use crate::queue::Priority;
use crate::run::Run;
use crate::webhook;

/// How often systemd is told that the loop is alive; its limit is a multiple of this.
const WATCHDOG: Duration = Duration::from_secs(20);

impl Agent {
    /// For these projects: ends or takes up what was cut off, and reads what is known.
    pub(super) async fn take_up(&mut self, names: Vec<ProjectName>) -> anyhow::Result<()> {
        let unfinished =
            self.shared.clients.store.unfinished_runs().await.context("read the unfinished runs")?;
        for row in unfinished.into_iter().filter(|row| names.contains(&row.project)) {
            self.take_up_run(row).await?;
        }
        for name in &names {
            self.refresh(name).await;
            let judged =
                self.shared.clients.store.last_judged(name.clone()).await.context("read the commits")?;
            if let Some(project) = self.projects.get_mut(name) {
                project.judged = judged.map(|(sha, _)| sha);
                project.seen.clone_from(&project.judged);
            }
            let told = self.shared.clients.store.illness(name.clone()).await.context("read the illnesses")?;
            if let Some(project) = self.projects.get_mut(name) {
                project.wellbeing = Wellbeing::told(told);
            }
            self.take_up_order(name).await;
            self.watch_again(name).await;
        }
        self.mail_soon();
        self.tell_github();
        Ok(())
    }

    /// A deployment with a journal goes on; any other run ends as interrupted, and its commit or image is
    /// found due again by the next poll.
    async fn take_up_run(&mut self, row: RunRow) -> anyhow::Result<()> {
        let journal =
            self.shared.clients.store.journal(row.project.clone()).await.context("read the journal")?;
        let journal = journal.filter(|journal| journal.run == row.number);
        let Some(project) = self.projects.get(&row.project) else { return Ok(()) };
        if let (Some(journal), Some(_)) = (journal, &project.settings.deploy) {
            let (name, job) =
                (row.project.clone(), Job::Recover { row: Box::new(row), journal: Box::new(journal) });
            self.queue.request(Lane::Cd, name, Priority::Urgent, job);
            return Ok(());
        }
        let settings = Arc::clone(&project.settings);
        let run = Run::resume(&self.shared, settings, &row, "homeport was stopped in the middle of it");
        let stage = row.stage.unwrap_or(match row.kind {
            RunKind::Ci => Stage::Checkout,
            RunKind::Cd => Stage::Pull,
        });
        if let Some(sha) = row.commit {
            run.is_about(Commit::unknown(sha));
        }
        let candidate = row.tag.zip(row.digest).map(|(tag, digest)| Release { tag, digest });
        let report = run.report(candidate, None, Outcome::Interrupted(stage));
        let notifier = self.shared_notifier();
        match row.kind {
            RunKind::Ci => notifier.finish_ci(report).await,
            RunKind::Cd => notifier.finish_cd(report, None).await,
        }
        .context("end an unfinished run")?;
        Ok(())
    }

    /// Reads a project's standing from the database.
    pub(super) async fn refresh(&mut self, name: &ProjectName) {
        let store = self.shared.clients.store.clone();
        let known = async {
            let current = store.current(name.clone()).await?;
            let quarantined = store.quarantined(name.clone()).await?;
            let refused = store.refused_spec(name.clone()).await?;
            let orders = store.standing_orders(name.clone()).await?;
            anyhow::Ok((current, quarantined, refused, orders))
        };
        match known.await {
            Ok((current, quarantined, refused, orders)) => {
                let Some(project) = self.projects.get_mut(name) else { return };
                project.current = current;
                project.orders = orders;
                project.refused_spec = refused.map(|(spec, _)| spec);
                project.quarantined = quarantined.into_iter().map(|q| (q.digest, q.reason)).collect();
            }
            Err(error) => slog::error!(self.shared.journal, "{name}: cannot read its standing: {error:#}"),
        }
    }

    /// A deployment whose watch the restart cut short is watched to its end.
    pub(super) async fn watch_again(&mut self, name: &ProjectName) {
        let current = self.shared.clients.store.current(name.clone()).await;
        let Ok(Some(deployment)) = current else { return };
        let Some(project) = self.projects.get(name) else { return };
        let Some(deploy) = &project.settings.deploy else { return };
        // It failed before, and nothing could take its place: that was told.
        if project.quarantined.contains_key(&deployment.release.digest) {
            return;
        }
        let window = TimeDelta::from_std(deploy.watch).unwrap_or_default();
        // A clock that was set back must not make the watch longer than it was meant to be.
        let left = (deployment.deployed_at + window - self.now()).min(window);
        if let Ok(left) = left.to_std() {
            self.watch(name, deployment, left);
        }
    }

    /// Work trees that a killed process left. No run has begun yet, so whatever is there is left over.
    pub(super) fn clear_trees(&self) {
        let (trees, journal) = (self.shared.clients.trees_dir.clone(), self.shared.journal.clone());
        let _effect = Effect::begin("tree", "clear");
        if let Err(error) = std::fs::remove_dir_all(&trees)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            slog::warn!(journal, "cannot remove left-over work trees in {}: {error}", trees.display());
        }
    }

    /// Starts the timetable and the webhook.
    pub(super) async fn open_for_service(&mut self) -> anyhow::Result<()> {
        for project in &self.settings.projects {
            let name = &project.name;
            if let Some(source) = &project.source {
                let name = name.clone();
                let event = move || Event::PollDue(name.clone(), Source::GitHub);
                self.timetable.add(&source.poll, event).await?;
            }
            if let Some(deploy) = &project.deploy {
                let name = name.clone();
                let event = move || Event::PollDue(name.clone(), Source::DockerHub);
                self.timetable.add(&deploy.poll, event).await?;
            }
        }
        if let Some(heartbeat) = &self.settings.heartbeat {
            let every = Schedule::Every(heartbeat.every);
            self.timetable.add(&every, || Event::Tick(Upkeep::Heartbeat)).await?;
        }
        self.timetable.add(&Schedule::Every(WATCHDOG), || Event::Tick(Upkeep::Watchdog)).await?;
        if let Some(settings) = self.settings.webhook.clone()
            && let Err(error) = self.listen(&settings).await
        {
            // The webhook only hints: without it the polls find everything, a little later.
            slog::error!(self.shared.journal, "going on without the webhook: {error:#}");
        }
        Ok(())
    }

    /// Opens the control socket.
    pub(super) fn take_orders(&mut self) {
        let events = self.events.clone();
        let take = move |ordered, answers| {
            events.send(Event::Ordered(ordered, answers)).context("the agent is stopping")
        };
        match Control::open(&self.settings.state_dir, take, self.shared.journal.clone()) {
            Ok(control) => self.control = Some(control),
            // It builds and deploys without them.
            Err(error) => slog::error!(self.shared.journal, "going on without commands: {error:#}"),
        }
    }

    async fn listen(&mut self, settings: &WebhookSettings) -> anyhow::Result<()> {
        let listener = TcpListener::bind(settings.listen).await.with_context(|| {
            format!(
                "listen on {} for the webhook: is `webhook.listen` taken, or not an address of this machine?",
                settings.listen
            )
        })?;
        slog::info!(
            self.shared.journal,
            "listening for GitHub's webhook on http://{}/webhook",
            settings.listen
        );
        let watched = self.projects.values().filter_map(|p| p.settings.source.as_ref());
        let watched = watched
            .map(|s| webhook::Watched { repository: s.repository.clone(), followed: s.followed.clone() });
        let endpoint = webhook::Endpoint {
            secret: settings.secret.clone(),
            watched: watched.collect(),
            limits: webhook::Limits::default(),
        };
        let events = self.events.clone();
        let nudge = move |watched: &webhook::Watched| {
            let event = Event::Pushed(watched.repository.clone(), watched.followed.clone());
            events.send(event).context("the agent is stopping")
        };
        let served =
            webhook::serve(listener, endpoint, nudge, std::future::pending(), self.shared.journal.clone());
        self.webhook = Some(tokio::spawn(served));
        Ok(())
    }
}
