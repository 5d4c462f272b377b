//! A start without the database that was there before: what can be found out again is, from the containers' labels
//! and the run logs, before anything else is done. Until Docker answers nothing is polled and nothing is run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use chrono::DateTime;
use chrono::Utc;

use crate::agent::Agent;
use crate::agent::Life;
use crate::cd::release_of;
use crate::cd::settle::Rest;
use crate::cd::settle::settle_project;
use crate::clients::docker::ImageReference;
use crate::clients::store::Deployment;
use crate::clients::store::Origin;
use crate::clients::store::Rebuilt;
use crate::clients::store::RunRow;
use crate::config::settings::ProjectSettings;
use crate::event::Event;
use crate::logging::past_run::PastRun;
use crate::logging::past_run::past_runs;
use crate::mail_text::FoundProject;
use crate::model::Container;
use crate::model::LABEL_REVISION;
use crate::model::LABEL_RUN;
use crate::model::ProjectName;
use crate::model::RunNumber;
use crate::model::Tag;
use crate::swap::run_of;

/// Between two attempts, while Docker does not answer.
const AGAIN: Duration = Duration::from_secs(3);

/// Whether the agent knows what it did before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Memory {
    /// The database is whole.
    Whole,
    /// It is to be rebuilt; why that was not possible yet.
    Lost(String),
}

impl Agent {
    /// Makes the database whole, if it is not; then takes up what was left. Without an answer from Docker it is
    /// tried again later.
    pub(super) async fn remember(&mut self) -> anyhow::Result<()> {
        match self.rebuild_if_lost().await? {
            Memory::Whole => {
                self.memory = Memory::Whole;
                self.take_up(self.projects.keys().cloned().collect()).await
            }
            Memory::Lost(why) => {
                if self.memory != Memory::Lost(why.clone()) {
                    slog::warn!(
                        self.shared.journal,
                        "the database is new: before anything is done, Docker has to say whether something is \
                         deployed; asking again: {why}"
                    );
                }
                self.memory = Memory::Lost(why);
                self.tally.unreachable += 1;
                match self.life {
                    Life::Service => self.send_later(AGAIN, Event::RebuildDue),
                    Life::OnePass => {}
                }
                Ok(())
            }
        }
    }

    /// It is time to try again.
    pub(super) async fn rebuild_due(&mut self) -> anyhow::Result<()> {
        if self.memory == Memory::Whole || self.stopping.is_cancelled() {
            return Ok(());
        }
        self.remember().await?;
        if self.memory == Memory::Whole {
            self.poll_everything();
            self.start_what_waits();
        }
        Ok(())
    }

    async fn rebuild_if_lost(&self) -> anyhow::Result<Memory> {
        let store = &self.shared.clients.store;
        let Some(origin) = store.origin().await.context("read where the database comes from")? else {
            return Ok(Memory::Whole);
        };
        let log_dir = self.shared.log_dir.clone();
        let past = tokio::task::spawn_blocking(move || past_runs(&log_dir)).await?;
        let past = past.context("read the run logs, from which the database is rebuilt")?;
        let mut rebuilt = Rebuilt { runs: past.iter().filter_map(row).collect(), ..Rebuilt::default() };
        rebuilt.highest = past.iter().map(|run| run.number).max().unwrap_or_default();
        let mut found = Vec::new();
        for project in &self.settings.projects {
            let began = past.iter().map(|run| (run.number, run.started_at)).collect();
            match self.find_out(project, &began, &mut rebuilt).await {
                Ok(of_project) => found.extend(of_project),
                Err(error) => return Ok(Memory::Lost(format!("{error:#}"))),
            }
        }
        let is_configured = |run: &PastRun| self.projects.contains_key(&run.project);
        if origin.damage.is_some() || !found.is_empty() || past.iter().any(is_configured) {
            self.tell_rebuilt(&origin, &mut rebuilt, &found).await;
        }
        store.rebuild(rebuilt).await.context("rebuild the database")?;
        Ok(Memory::Whole)
    }

    /// What Docker shows of a project; `None` if nothing of it is there.
    async fn find_out(
        &self,
        project: &ProjectSettings,
        began: &BTreeMap<RunNumber, DateTime<Utc>>,
        rebuilt: &mut Rebuilt,
    ) -> anyhow::Result<Option<FoundProject>> {
        let (clients, name) = (&self.shared.clients, &project.name);
        let standing = clients.docker.containers_of(name).await?;
        rebuilt.highest = standing.iter().filter_map(run_of).fold(rebuilt.highest, RunNumber::max);
        let rest = match &project.deploy {
            Some(deploy) => settle_project(&clients.docker, name, &deploy.spec).await?,
            None => Rest::default(),
        };
        for (container, place) in
            [(&rest.serving, &mut rebuilt.current), (&rest.previous, &mut rebuilt.previous)]
        {
            let behind = rest.previous.as_ref().filter(|behind| Some(*behind) != container.as_ref());
            let deployment =
                container.as_ref().and_then(|c| deployment(project, c, behind, began, clients.clock.now()));
            place.extend(deployment.map(|deployment| (name.clone(), deployment)));
        }
        find_pushes(self, project, rebuilt).await?;
        let release = |container: &Option<Container>| container.as_ref().and_then(release_of);
        let (serving, previous) = (release(&rest.serving), release(&rest.previous));
        let is_there = serving.is_some() || previous.is_some() || !rest.done.is_empty();
        Ok(is_there.then(|| FoundProject { project: name.clone(), serving, previous, done: rest.done }))
    }

    async fn tell_rebuilt(&self, origin: &Origin, rebuilt: &mut Rebuilt, found: &[FoundProject]) {
        let next = RunNumber(rebuilt.highest.0.saturating_add(1));
        rebuilt.mail = self.shared_notifier().database_lost(origin, found, rebuilt.runs.len(), next);
        let why =
            origin.damage.as_deref().unwrap_or("there was none, and yet something is deployed or was logged");
        let kept = origin.kept.as_ref().map_or_else(String::new, |kept| format!(" (kept as {kept})"));
        slog::warn!(
            self.shared.journal,
            "the database was lost{kept} and is rebuilt from {} run logs and the containers, the next run is {next}: {why}",
            rebuilt.runs.len()
        );
        for found in found {
            for done in &found.done {
                slog::warn!(self.shared.journal, "{}: {done}", found.project);
            }
        }
    }
}

/// What the labels of a container say of its deployment. What it was made from is taken to be what the
/// configuration says, so that nothing is deployed anew for a difference that nobody knows of.
fn deployment(
    project: &ProjectSettings,
    container: &Container,
    behind: Option<&Container>,
    began: &BTreeMap<RunNumber, DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Deployment> {
    let run = run_of(container)?;
    Some(Deployment {
        run,
        release: release_of(container)?,
        container: container.id.clone(),
        image_id: container.image_id.clone(),
        replaced: behind.map(|behind| behind.id.clone()),
        spec: project.deploy.as_ref()?.spec.clone(),
        deployed_at: began.get(&run).copied().unwrap_or(now),
    })
}

/// Commits whose images the registry has need no second run, and their tags are taken: the images on this machine
/// say both.
async fn find_pushes(agent: &Agent, project: &ProjectSettings, rebuilt: &mut Rebuilt) -> anyhow::Result<()> {
    let clients = &agent.shared.clients;
    let repository = ImageReference::repository_of(&clients.registry, &project.image);
    for image in clients.docker.images_of(&project.name, &repository).await? {
        let run =
            image.labels.get(LABEL_RUN).and_then(|run| run.parse().ok()).map_or(RunNumber(0), RunNumber);
        if image.digest_in(&repository).is_some()
            && let Some(sha) = image.labels.get(LABEL_REVISION).and_then(|sha| sha.parse().ok())
        {
            rebuilt.pushed.push((project.name.clone(), sha, run));
        }
        let tags =
            image.repo_tags.iter().filter_map(|name| name.strip_prefix(&repository)?.strip_prefix(':'));
        let tags = tags.filter_map(|tag| tag.parse::<Tag>().ok());
        rebuilt.tags.extend(tags.map(|tag| (project.name.clone(), tag, run)));
    }
    let pushed = |run: &&RunRow| run.project == project.name && run.outcome == "pushed";
    let logged: Vec<(ProjectName, Tag, RunNumber)> = rebuilt
        .runs
        .iter()
        .filter(pushed)
        .filter_map(|run| Some((run.project.clone(), run.tag.clone()?, run.number)))
        .collect();
    rebuilt.tags.extend(logged);
    Ok(())
}

/// A past run as history shows it; one without an end is ended like any other that was cut off.
fn row(past: &PastRun) -> Option<RunRow> {
    let (kind, trigger) = past.beginning?;
    Some(RunRow {
        number: past.number,
        project: past.project.clone(),
        kind,
        trigger,
        commit: None,
        tag: past.end.as_ref().and_then(|end| end.tag.clone()),
        digest: None,
        outcome: past.end.as_ref().map_or("running", |end| end.outcome).to_owned(),
        failed_stage: past.end.as_ref().and_then(|end| end.stage),
        reason: past.end.as_ref().and_then(|end| end.reason.clone()),
        stage: past.stage,
        started_at: past.started_at,
        finished_at: past.end.as_ref().map(|end| end.at),
        log: past.path.clone(),
    })
}
