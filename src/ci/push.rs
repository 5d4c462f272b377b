//! Stage `push`: the next version's tag is taken, durably, and then the image goes to the registry under it.

use std::time::Duration;

use anyhow::anyhow;

use crate::ci::build::Image;
use crate::ci::raise::raise;
use crate::clients::docker::DockerError;
use crate::clients::docker::ImageFacts;
use crate::clients::docker::ImageReference;
use crate::clients::hub::HubError;
use crate::config::project::TagSchemeName;
use crate::config::settings::SourceSettings;
use crate::model::Blame;
use crate::model::Commit;
use crate::model::Digest;
use crate::model::LABEL_REVISION;
use crate::model::Release;
use crate::model::Stage;
use crate::model::StageError;
use crate::model::Tag;
use crate::run::Run;
use crate::run::failed;
use crate::tag;

/// The most time one push may take: a gigabyte over a home's uplink.
const LIMIT: Duration = Duration::from_secs(2 * 3600);
/// How many foreign tags in the way are stepped over before something else must be wrong.
const MOST_STEPS: usize = 1000;

/// Pushes the image under the next tag, and under the moving ones.
///
/// # Errors
/// The registry, the network or the database failed. A tag that was taken stays taken.
pub async fn push(run: &Run, source: &SourceSettings, image: Image) -> Result<Release, StageError> {
    let tag = take_tag(run, source, &image).await?;
    let digest = push_as(run, image.id(), &tag).await?;
    finish(run, source, image.id(), Release { tag, digest }).await
}

/// The tags that earlier runs took for this commit.
///
/// # Errors
/// The database cannot be read.
pub async fn taken_before(run: &Run, commit: &Commit) -> Result<Vec<Tag>, StageError> {
    let (store, project) = (&run.clients.store, run.project.name.clone());
    let taken = store.tags_taken_for(project, commit.sha.clone(), run.number).await;
    taken.map_err(failed(Stage::Push, Blame::World))
}

/// What an earlier run of this commit pushed and could not say, since it was cut off in that moment: what is out is
/// not built and pushed a second time. Believed only if the image on this machine was built from this commit, and
/// the registry has just this image under a tag that was taken for it.
///
/// # Errors
/// Docker, the registry or the database does not answer.
pub async fn pushed_before(
    run: &Run,
    source: &SourceSettings,
    commit: &Commit,
    taken: Vec<Tag>,
) -> Result<Option<Release>, StageError> {
    let clients = &run.clients;
    let repository = ImageReference::repository_of(&clients.registry, &run.project.image);
    for tag in taken {
        let reference = ImageReference::tagged(&clients.registry, &run.project.image, &tag);
        let image = clients.docker.image(&reference.to_string()).await;
        let image = image.map_err(failed(Stage::Push, Blame::World))?;
        let is_of_commit = |image: &ImageFacts| {
            image.labels.get(LABEL_REVISION).map(String::as_str) == Some(commit.sha.as_str())
        };
        let Some(image) = image.filter(is_of_commit) else { continue };
        let Some(digest) = image.digest_in(&repository) else { continue };
        if ask_registry(run, &tag).await.map_err(failed(Stage::Push, Blame::World))?.as_ref() == Some(&digest)
        {
            run.log.line(
                Stage::Push,
                &format!("an earlier run of this commit pushed {tag} before it was cut off"),
            );
            return finish(run, source, &image.id, Release { tag, digest }).await.map(Some);
        }
    }
    Ok(None)
}

/// Records what is out, and lets the moving tags follow.
async fn finish(
    run: &Run,
    source: &SourceSettings,
    image_id: &str,
    release: Release,
) -> Result<Release, StageError> {
    let (tag, digest) = (release.tag.clone(), release.digest.clone());
    let recorded = run.clients.store.record_push(run.project.name.clone(), tag, digest).await;
    recorded.map_err(failed(Stage::Push, Blame::World))?;
    run.log.line(Stage::Push, &format!("the registry has {release}"));
    for moving in &source.build.also {
        // The version is out, and trying again would push another one: this is worth a line, not a failed run.
        if let Err(error) = push_as(run, image_id, moving).await {
            run.log.line(
                Stage::Push,
                &format!("the moving tag {moving} stays where it was: {:#}", error.source),
            );
            slog::warn!(run.journal, "the moving tag {moving} stays where it was: {:#}", error.source);
        }
    }
    Ok(release)
}

/// Finds the next free version and reserves it before anything is pushed: a crash after this leaves a gap,
/// never two contents under one tag.
async fn take_tag(run: &Run, source: &SourceSettings, image: &Image) -> Result<Tag, StageError> {
    let store = &run.clients.store;
    let project = &run.project.name;
    let mut taken = store.reserved_tags(project.clone()).await.map_err(failed(Stage::Push, Blame::World))?;
    taken.extend(listed_tags(run).await?);
    let bump = raise(run, source, image.commit(), &taken).await?;
    let today = run.clients.clock.now().date_naive();
    for _ in 0..MOST_STEPS {
        let next = tag::next(run.project.scheme, bump, &taken, &image.commit().sha, today);
        let tag = next.map_err(failed(Stage::Push, Blame::World))?;
        let reserved = store.reserve_tag(project.clone(), tag.clone(), run.number).await;
        let is_new = reserved.map_err(failed(Stage::Push, Blame::World))?;
        // A tag that is the commit's own stays its own when an earlier push of it failed.
        let is_ours = is_new || run.project.scheme == TagSchemeName::Commit;
        if is_ours && is_free(run, &tag).await? {
            run.log.line(Stage::Push, &format!("the next tag is {tag}"));
            return Ok(tag);
        }
        if taken.contains(&tag) {
            let why = anyhow!(
                "the registry has {tag} already, for another build of commit {}: remove that tag, or push a new commit",
                image.commit().sha.short()
            );
            return Err(StageError { stage: Stage::Push, blame: Blame::Commit, source: why });
        }
        run.log.line(Stage::Push, &format!("the tag {tag} is taken: stepping over it"));
        taken.push(tag);
    }
    let why = anyhow!("{MOST_STEPS} tags in a row are taken: does someone else push versions of this image?");
    Err(StageError { stage: Stage::Push, blame: Blame::World, source: why })
}

/// The versions on Docker Hub. A repository that is not there yet has none; that is believed only because
/// every tag is checked with the registry itself before it is used.
async fn listed_tags(run: &Run) -> Result<Vec<Tag>, StageError> {
    match run.clients.hub.tags(&run.project.image, |_| false).await {
        Ok(listed) => Ok(listed.into_iter().map(|listed| listed.tag).collect()),
        Err(HubError::NotFound { .. } | HubError::Empty { .. }) => {
            run.log.line(Stage::Push, "Docker Hub lists no tags: each is checked with the registry");
            Ok(Vec::new())
        }
        Err(error) => Err(StageError { stage: Stage::Push, blame: Blame::World, source: error.into() }),
    }
}

async fn is_free(run: &Run, tag: &Tag) -> Result<bool, StageError> {
    let digest = ask_registry(run, tag).await.map_err(failed(Stage::Push, Blame::World))?;
    Ok(digest.is_none())
}

async fn ask_registry(run: &Run, tag: &Tag) -> Result<Option<Digest>, DockerError> {
    run.clients.registry_digest(&run.project.image, tag).await
}

/// Pushes under one tag, and believes it when the registry itself names the digest.
async fn push_as(run: &Run, image_id: &str, tag: &Tag) -> Result<Digest, StageError> {
    let clients = &run.clients;
    let reference = ImageReference::tagged(&clients.registry, &run.project.image, tag);
    run.log.line(Stage::Push, &format!("pushing {reference}"));
    let output = run.log.output(Stage::Push);
    let pushed = async {
        clients.docker.tag(image_id, &reference).await?;
        clients.docker.push(&reference, clients.registry_login.as_ref(), LIMIT, &output).await
    };
    let digest = pushed.await.map_err(failed(Stage::Push, Blame::World))?;
    match ask_registry(run, tag).await.map_err(failed(Stage::Push, Blame::World))? {
        Some(found) if found == digest => Ok(digest),
        found => {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
            let why = anyhow!("pushed {reference} as {digest}, but the registry has {found}");
            Err(StageError { stage: Stage::Push, blame: Blame::World, source: why })
        }
    }
}
