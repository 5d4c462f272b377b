//! Stage `build`: the image, from the tree whose tests have passed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::SecondsFormat;

use crate::ci::context::Context;
use crate::ci::room::check_room;
use crate::ci::test::TestedCheckout;
use crate::clients::docker::BuildRequest;
use crate::config::settings::SourceSettings;
use crate::config::size::Size;
use crate::model::Blame;
use crate::model::Commit;
use crate::model::LABEL_CREATED;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_REVISION;
use crate::model::LABEL_ROLE;
use crate::model::LABEL_RUN;
use crate::model::ROLE_IMAGE;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;

/// An image built from a tested commit. Made only by [`build`].
#[derive(Debug)]
pub struct Image {
    commit: Commit,
    id: String,
}

impl Image {
    /// The commit it was built from.
    pub const fn commit(&self) -> &Commit {
        &self.commit
    }

    /// Docker's id of it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Builds the image. Waits until no swap is in progress: a build keeps every core of a small board busy.
///
/// # Errors
/// The Dockerfile fails, which is the commit's fault; or Docker, the network or the disk do.
pub async fn build(run: &Run, source: &SourceSettings, tested: TestedCheckout) -> Result<Image, StageError> {
    let _board = run.board.lock().await;
    check_room(run, Stage::Build).await?;
    let build = &source.build;
    let context = sent_tree(run, tested.tree(), &build.context, &build.dockerfile, Stage::Build).await?;
    let findings = context.findings();
    let platform = run.project.platform.as_deref().and_then(|text| text.parse().ok());
    let cgroup = run.clients.build_cgroup().await.map_err(failed(Stage::Build, Blame::World))?;
    let request = BuildRequest {
        context: Arc::new(context.at(&tested.commit().sha)),
        tree: &tree_name(run),
        dockerfile: &build.dockerfile,
        names: &[],
        args: &build.args,
        target: build.target.as_deref(),
        platform: platform.as_ref(),
        labels: &labels(run, source, tested.commit()),
        secrets: &build.secrets,
        login: run.clients.build_login(),
        cgroup_parent: cgroup.as_deref(),
        has_network: true,
        timeout: build.timeout,
    };
    let output = run.log.output(Stage::Build);
    let built = run.clients.docker.build(request, &output).await;
    if let Ok(id) = &built {
        run.log.line(Stage::Build, &format!("built {id}"));
    }
    trim_cache(run).await;
    if let Some(warning) = findings.warning() {
        run.log.line(Stage::Build, &warning);
        slog::warn!(run.journal, "{warning}");
    }
    let id = built.map_err(|error| StageError {
        stage: Stage::Build,
        blame: error.blame(),
        source: error.into(),
    })?;
    Ok(Image { commit: tested.commit().clone(), id })
}

/// Keeps the build cache within its budget. That it cannot be is worth a line, not a failed run.
async fn trim_cache(run: &Run) {
    let budget = run.clients.build_cache;
    match run.clients.docker.trim_build_cache(budget.bytes()).await {
        Ok(0) => {}
        Ok(freed) => {
            let freed = Size::from_bytes(freed);
            run.log
                .line(Stage::Build, &format!("removed {freed} of old build cache, to keep {budget} at most"));
        }
        Err(error) => run.log.line(Stage::Build, &format!("the build cache was not trimmed: {error}")),
    }
}

/// The part of a tree that is sent to a build.
///
/// # Errors
/// The Dockerfile is missing or outside the tree, or `.dockerignore` cannot be understood: the commit's fault.
pub async fn sent_tree(
    run: &Run,
    tree: &Path,
    context: &str,
    dockerfile: &str,
    stage: Stage,
) -> Result<Context, StageError> {
    run.log.line(stage, &format!("building {dockerfile} with the files of {context}"));
    Context::for_build(tree, context, dockerfile).await.map_err(failed(stage, Blame::Commit))
}

/// Under which name the engine keeps the files of a project's builds: the next one is sent only what it has not got, as
/// where tests were built from the same checkout before.
pub fn tree_name(run: &Run) -> String {
    format!("homeport/{}", run.project.name)
}

/// The annotations of the OCI image specification that say where an image comes from, and our own.
fn labels(run: &Run, source: &SourceSettings, commit: &Commit) -> BTreeMap<String, String> {
    let repository = format!("{}/{}", run.clients.clone_url, source.repository);
    let created = run.clients.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let labels = [
        (LABEL_REVISION, commit.sha.to_string()),
        ("org.opencontainers.image.source", repository),
        (LABEL_CREATED, created),
        (LABEL_PROJECT, run.project.name.to_string()),
        (LABEL_ROLE, ROLE_IMAGE.to_owned()),
        (LABEL_RUN, run.number.to_string()),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
