//! One question to one source, from its address to an answer in our own words.

use anyhow::Context;

use crate::agent::ask_git;
use crate::cd::release_of;
use crate::cd::standing_in_place;
use crate::clients::Clients;
use crate::clients::github;
use crate::clients::github::GitHubError;
use crate::clients::github::TagRef;
use crate::clients::hub::HubError;
use crate::clients::store::StoreError;
use crate::config::settings::FileFilter;
use crate::config::settings::ProjectSettings;
use crate::config::settings::SourceSettings;
use crate::decide::newest_tag;
use crate::decide::nothing_newer_can_follow;
use crate::event::Again;
use crate::event::Head;
use crate::event::Listing;
use crate::event::NewCommit;
use crate::event::PollFailure;
use crate::model::Changed;
use crate::model::CommitFacts;
use crate::model::CommitSha;
use crate::model::Container;
use crate::model::Digest;
use crate::model::Followed;
use crate::model::Glob;
use crate::model::ListedTag;
use crate::model::Release;
use crate::model::Tag;

/// What GitHub need not say again.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The newest commit.
    pub head: Option<CommitSha>,
    /// The ETag of the tags.
    pub etag: Option<String>,
}

/// Asks GitHub where what the project follows stands, and what a new commit says.
pub(super) async fn ask_github(
    clients: &Clients,
    settings: &ProjectSettings,
    known: Known,
) -> Result<Head, PollFailure> {
    let Some(source) = &settings.source else {
        return Ok(Head { moved_to: None, etag: None, renamed_to: None, budget: None });
    };
    let (new, etag, renamed_to, budget) = match &source.followed {
        _ if clients.knows_by_git_alone(source) => {
            (ask_git::new_commit(clients, source, &known).await?, None, None, None)
        }
        Followed::Branch(branch) => {
            let answer = clients.github.head(&source.repository, branch, known.head.as_ref()).await;
            let answer = answer.map_err(github_failure)?;
            let new = match answer.head {
                github::Head::Unchanged => None,
                github::Head::At(sha) => Some((sha, None)),
            };
            (new, None, answer.moved_to, answer.budget)
        }
        Followed::Tags(glob) => {
            let answer =
                clients.github.tags(&source.repository, glob.beginning(), known.etag.as_deref()).await;
            let answer = answer.map_err(github_failure)?;
            let newest = newest_commit(clients, source, glob, answer.tags.unwrap_or_default()).await?;
            (
                newest.filter(|(sha, _)| known.head.as_ref() != Some(sha)),
                answer.etag,
                answer.moved_to,
                answer.budget,
            )
        }
    };
    let moved_to = match new {
        Some((sha, tag)) => {
            let facts = look_at(clients, settings, source, &sha).await?;
            Some(NewCommit { sha, facts: CommitFacts { tag, ..facts } })
        }
        None => None,
    };
    Ok(Head { moved_to, etag, renamed_to, budget })
}

/// The commit of the newest tag that matches, and the tag.
async fn newest_commit(
    clients: &Clients,
    source: &SourceSettings,
    glob: &Glob,
    tags: Vec<TagRef>,
) -> Result<Option<(CommitSha, Option<String>)>, PollFailure> {
    let names = tags.iter().map(|tag| tag.name.as_str()).filter(|name| glob.matches(name));
    let Some(newest) = newest_tag(names) else { return Ok(None) };
    let commit = tags.iter().find(|tag| tag.name == newest).and_then(|tag| tag.commit.clone());
    let commit = match commit {
        Some(commit) => commit,
        None => clients.github.commit_of_tag(&source.repository, newest).await.map_err(github_failure)?,
    };
    Ok(Some((commit, Some(newest.to_owned()))))
}

/// Asks what a new commit says, and what it changes where that matters. One that was judged is known well enough.
async fn look_at(
    clients: &Clients,
    settings: &ProjectSettings,
    source: &SourceSettings,
    sha: &CommitSha,
) -> Result<CommitFacts, PollFailure> {
    let verdict = clients.store.verdict(settings.name.clone(), sha.clone()).await;
    if verdict.map_err(store_failure)?.is_some() {
        return Ok(CommitFacts::default());
    }
    if clients.knows_by_git_alone(source) {
        let commit = ask_git::commit(clients, source, sha).await?;
        return Ok(CommitFacts { skip: commit.skip, ..CommitFacts::default() });
    }
    let commit = match clients.github.commit(&source.repository, sha).await {
        // It holds a changed file with it, which may be long. What is not known speaks for a run.
        Err(GitHubError::TooLong { .. }) => return Ok(CommitFacts::default()),
        commit => commit.map_err(github_failure)?,
    };
    let is_filtered = match &source.files {
        FileFilter::All => false,
        FileFilter::Only(_) | FileFilter::AllBut(_) => commit.skip.is_none(),
    };
    let base = match is_filtered {
        true => clients.store.last_run_judged(settings.name.clone()).await.map_err(store_failure)?,
        false => None,
    };
    let changed = match base {
        Some(base) => {
            clients.github.changed_files(&source.repository, &base, sha).await.map_err(github_failure)?
        }
        None => Changed::Unknown,
    };
    Ok(CommitFacts { tag: None, skip: commit.skip, changed })
}

fn github_failure(error: GitHubError) -> PollFailure {
    PollFailure { again: error.not_before().into(), reason: chain(error) }
}

fn store_failure(error: StoreError) -> PollFailure {
    PollFailure { again: Again::BySchedule, reason: chain(error) }
}

/// Asks Docker Hub what there is, and Docker what it must fit and what it would replace.
/// Docker's answer is given away too, whether or not Docker Hub gives one.
pub(super) async fn ask_hub(
    clients: &Clients,
    settings: &ProjectSettings,
    seen: impl FnOnce(Option<Container>),
) -> Result<Listing, PollFailure> {
    let local = async {
        let platform = match settings.platform.as_deref().and_then(|text| text.parse().ok()) {
            Some(platform) => platform,
            None => clients.platform().await?,
        };
        let serving = match &settings.deploy {
            Some(deploy) => standing_in_place(&clients.docker, &settings.name, deploy).await?,
            None => None,
        };
        anyhow::Ok((platform, serving))
    };
    let (platform, standing) = local
        .await
        .map_err(|error| PollFailure { reason: format!("{error:#}"), again: Again::BySchedule })?;
    let (serving, container) = standing.unzip();
    seen(container);
    let enough =
        |tags: &[ListedTag]| serving.as_ref().is_some_and(|now| nothing_newer_can_follow(tags, &now.tag));
    match clients.hub.tags(&settings.image, enough).await {
        Ok(tags) => Ok(Listing { tags, platform, serving }),
        // Before this machine's first push there is nothing to list, and nothing to change either.
        Err(HubError::NotFound { .. } | HubError::Empty { .. })
            if settings.source.is_some() && serving.is_none() =>
        {
            Ok(Listing { tags: Vec::new(), platform, serving })
        }
        Err(error) => Err(PollFailure { again: error.not_before().into(), reason: chain(error) }),
    }
}

/// Asks Docker what runs in the service's place. A Docker that does not answer is found out soon enough.
pub(super) async fn running_in_place(clients: &Clients, settings: &ProjectSettings) -> Option<Release> {
    let name = &settings.deploy.as_ref()?.spec.name;
    let container = clients.docker.inspect(name.as_str()).await.ok().flatten()?;
    release_of(&container).filter(|_| container.is_running())
}

/// Asks the registry itself what a tag stands for.
pub(super) async fn digest_of(
    clients: &Clients,
    settings: &ProjectSettings,
    tag: &Tag,
) -> anyhow::Result<Digest> {
    let digest = clients.registry_digest(&settings.image, tag).await?;
    digest
        .with_context(|| format!("Docker Hub lists {}:{tag}, the registry does not have it", settings.image))
}

pub(super) fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
