//! `homeport status`: what runs of each project, what ran before it, and how the last runs ended.

use chrono::DateTime;
use chrono::Utc;
use serde::Serialize;

use crate::cd::release_of;
use crate::cli::Exit;
use crate::cli::block_on;
use crate::cli::complain;
use crate::cli::history::in_a_line;
use crate::cli::lock::AgentLock;
use crate::cli::say;
use crate::clients::docker::Docker;
use crate::clients::store::Deployment;
use crate::clients::store::RunRow;
use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::Verdict;
use crate::config::load::Loaded;
use crate::config::settings::ProjectSettings;
use crate::model::CommitSha;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::Digest;
use crate::model::Hold;
use crate::model::ProjectName;
use crate::model::RunKind;
use crate::model::Tag;
use crate::swap::Slot;

/// The answer, whose field names are the contract of `--json`.
#[derive(Debug, Serialize)]
struct Status {
    /// Whether an agent works with the state folder now.
    agent: &'static str,
    projects: Vec<ProjectStatus>,
}

#[derive(Debug, Serialize)]
struct ProjectStatus {
    name: ProjectName,
    /// What was deployed last and held.
    current: Option<Place>,
    /// What stands ready as the way back.
    previous: Option<Place>,
    last_ci: Option<RunRow>,
    last_cd: Option<RunRow>,
    /// The newest commit, where it was not run.
    skipped: Option<SkippedCommit>,
    /// Since when nothing is started by itself.
    paused: Option<DateTime<Utc>>,
    /// The tags that were put aside by command: only what is newer is deployed by itself.
    held: Vec<Tag>,
}

#[derive(Debug, Serialize)]
struct SkippedCommit {
    commit: CommitSha,
    /// Why it was not run.
    reason: String,
}

#[derive(Debug, Serialize)]
struct Place {
    tag: Tag,
    digest: Digest,
    container: String,
    container_id: ContainerId,
    /// What Docker says the container is doing; `null` if Docker cannot be asked.
    state: Option<String>,
    /// Whether Docker says that it runs this digest.
    running: Option<bool>,
}

/// Prints the status.
pub fn status(loaded: &Loaded, json: bool) -> Exit {
    let gathered = block_on(gather(loaded)).map_err(anyhow::Error::from).flatten();
    let text = gathered.and_then(|status| match json {
        true => Ok(serde_json::to_string_pretty(&status)?),
        false => Ok(in_words(&status)),
    });
    match text {
        Ok(text) => {
            say(&text);
            Exit::Ok
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            Exit::Usage
        }
    }
}

async fn gather(loaded: &Loaded) -> anyhow::Result<Status> {
    let settings = &loaded.settings;
    let agent = if AgentLock::is_held(&settings.state_dir) { "running" } else { "stopped" };
    let store = match Store::open_to_look(&settings.state_dir) {
        Ok(store) => Some(store),
        Err(StoreError::Absent(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let docker = Docker::connect(&settings.docker_host)?;
    let mut projects = Vec::new();
    for project in &settings.projects {
        projects.push(match &store {
            Some(store) => of_project(store, &docker, project).await?,
            None => ProjectStatus {
                name: project.name.clone(),
                current: None,
                previous: None,
                last_ci: None,
                last_cd: None,
                skipped: None,
                paused: None,
                held: Vec::new(),
            },
        });
    }
    Ok(Status { agent, projects })
}

async fn of_project(
    store: &Store,
    docker: &Docker,
    project: &ProjectSettings,
) -> anyhow::Result<ProjectStatus> {
    let name = &project.name;
    let current = store.current(name.clone()).await?;
    let previous = store.previous(name.clone()).await?;
    let orders = store.standing_orders(name.clone()).await?;
    let in_force = |hold: &Hold| hold.is_in_force(current.as_ref().map(|deployment| &deployment.release));
    let held = orders.hold.filter(in_force).map(|hold| hold.tags()).unwrap_or_default();
    let skipped = match store.last_judged(name.clone()).await? {
        Some((commit, Verdict::Skipped { reason })) => Some(SkippedCommit { commit, reason }),
        Some((_, Verdict::Pushed { .. } | Verdict::Failed { .. } | Verdict::Wanted)) | None => None,
    };
    // Docker may be away; what is known without it is still an answer.
    let shown = docker.containers_of(name).await.ok();
    Ok(ProjectStatus {
        name: name.clone(),
        current: current.map(|d| place(d, Slot::Current, shown.as_deref())),
        previous: previous.map(|d| place(d, Slot::Previous, shown.as_deref())),
        last_ci: store.last_run(name.clone(), RunKind::Ci).await?,
        last_cd: store.last_run(name.clone(), RunKind::Cd).await?,
        skipped,
        paused: orders.paused_since,
        held,
    })
}

fn place(deployment: Deployment, slot: Slot, shown: Option<&[Container]>) -> Place {
    let container = shown.map(|all| all.iter().find(|c| c.id == deployment.container));
    let running = container.map(|container| {
        container.is_some_and(|c| c.is_running() && release_of(c).as_ref() == Some(&deployment.release))
    });
    Place {
        tag: deployment.release.tag,
        digest: deployment.release.digest,
        container: container
            .flatten()
            .map_or_else(|| slot.name(&deployment.spec).to_string(), |c| c.name.clone()),
        container_id: deployment.container,
        state: container.map(|container| container.map_or_else(|| "gone".to_owned(), |c| c.life.to_string())),
        running,
    }
}

fn in_words(status: &Status) -> String {
    let mut lines = vec![format!("agent: {}", status.agent)];
    for project in &status.projects {
        lines.push(String::new());
        lines.push(project.name.to_string());
        lines.extend(orders_in_words(project.paused, &project.held));
        lines.push(format!("  current   {}", place_in_words(project.current.as_ref())));
        lines.push(format!("  previous  {}", place_in_words(project.previous.as_ref())));
        let run = |row: Option<&RunRow>| row.map_or_else(|| "none yet".to_owned(), in_a_line);
        lines.push(format!("  last ci   {}", run(project.last_ci.as_ref())));
        if let Some(SkippedCommit { commit, reason }) = &project.skipped {
            lines.push(format!("  skipped   {}, which is newer: {reason}", commit.short()));
        }
        lines.push(format!("  last cd   {}", run(project.last_cd.as_ref())));
    }
    lines.join("\n")
}

/// What the owner has ordered until further notice, a line each.
pub fn orders_in_words(paused: Option<DateTime<Utc>>, held: &[Tag]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(since) = paused {
        lines.push(format!("  paused    since {}: nothing is started by itself", since.format("%FT%TZ")));
    }
    if !held.is_empty() {
        let held: Vec<&str> = held.iter().map(Tag::as_str).collect();
        lines.push(format!("  held      only what is newer than {} is deployed by itself", held.join(", ")));
    }
    lines
}

fn place_in_words(place: Option<&Place>) -> String {
    let Some(place) = place else { return "none".to_owned() };
    let state = place.state.as_deref().unwrap_or("Docker does not answer");
    format!("{} ({}) in {}: {state}", place.tag, place.digest.short(), place.container)
}
