//! Stage `checkout`: the files of exactly one commit, in a folder of their own that goes when the run ends.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;

use crate::ci::room::runs_short;
use crate::clients::disk::bytes_below;
use crate::clients::git::GitError;
use crate::config::settings::LfsFiles;
use crate::config::settings::SourceSettings;
use crate::config::settings::Submodules;
use crate::fault_point::Effect;
use crate::model::Blame;
use crate::model::Commit;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;

/// Said of a tree whose LFS files nobody asked for.
const POINTERS: &str = "homeport: files of this repository are kept in Git LFS and stay pointers here: to get their \
                        contents, give the project `\"lfs\": true`\n";

/// The files of one commit. Made only by [`checkout`].
#[derive(Debug)]
pub struct Checkout {
    commit: Commit,
    tree: WorkTree,
}

impl Checkout {
    /// The commit.
    pub const fn commit(&self) -> &Commit {
        &self.commit
    }

    /// The folder with its files, without `.git`.
    pub fn tree(&self) -> &Path {
        self.tree.path()
    }
}

/// A folder that is removed when it is no longer needed.
#[derive(Debug)]
pub struct WorkTree {
    path: PathBuf,
}

impl WorkTree {
    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn of(run: &Run, what: &str) -> anyhow::Result<Self> {
        let path = run.clients.trees_dir.join(format!("{}-{}-{what}", run.project.name, run.number));
        let _effect = Effect::begin("tree", "make");
        std::fs::create_dir_all(&path).with_context(|| format!("make the folder {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for WorkTree {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // A large tree takes its time to remove. What is left behind by a kill goes at the next start.
        let remove = move || {
            let _effect = Effect::begin("tree", "remove");
            std::fs::remove_dir_all(&path)
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => drop(remove()),
        }
    }
}

/// Lays out the files of a commit.
///
/// # Errors
/// GitHub or the disk failed; or the commit is gone, since the branch was rewritten meanwhile.
pub async fn checkout(run: &Run, source: &SourceSettings, commit: &Commit) -> Result<Checkout, StageError> {
    let tree = lay_out(run, source, commit, "tree").await?;
    let stays_pointers = match source.lfs {
        LfsFiles::Pointers => run.clients.has_lfs_files(&run.project.name, &commit.sha).await,
        LfsFiles::Contents => false,
    };
    if stays_pointers {
        run.log.output(Stage::Checkout)(POINTERS.as_bytes());
    }
    Ok(Checkout { commit: commit.clone(), tree })
}

/// A second, separate copy of a checkout's files, for tests that may leave their traces in it.
///
/// # Errors
/// As for [`checkout`].
pub async fn copy(run: &Run, source: &SourceSettings, checkout: &Checkout) -> Result<WorkTree, StageError> {
    lay_out(run, source, &checkout.commit, "test").await
}

/// An empty folder for the run's own use, such as a private home for tests.
///
/// # Errors
/// The disk failed.
pub fn scratch(run: &Run) -> Result<WorkTree, StageError> {
    WorkTree::of(run, "scratch").map_err(failed(Stage::Test, Blame::World))
}

fn told(error: GitError) -> StageError {
    StageError { stage: Stage::Checkout, blame: error.blame(), source: error.into() }
}

async fn lay_out(
    run: &Run,
    source: &SourceSettings,
    commit: &Commit,
    what: &str,
) -> Result<WorkTree, StageError> {
    let tree = WorkTree::of(run, what).map_err(failed(Stage::Checkout, Blame::World))?;
    let fetched = run.clients.fetched_in(&run.project.name);
    let kept = bytes_below(vec![fetched.clone()]).await;
    let filled = fill(run, source, commit, tree.path());
    tokio::select! {
        filled = filled => filled.map(|()| tree),
        short = runs_short(run, tree.path()) => {
            // Git has been killed. What it fetched takes room too, and is fetched again when it is wanted again.
            let own = bytes_below(vec![fetched, tree.path().to_owned()]).await.saturating_sub(kept);
            if let Err(error) = run.clients.forget_fetched(&run.project.name).await {
                run.log.line(Stage::Checkout, &format!("what was fetched stays: {error}"));
            }
            Err(short.failure(own, tree.path()))
        }
    }
}

async fn fill(run: &Run, source: &SourceSettings, commit: &Commit, tree: &Path) -> Result<(), StageError> {
    let output = run.log.output(Stage::Checkout);
    let git = run.clients.git_for(source).await.map_err(told)?;
    git.checkout(&run.project.name, &source.repository, &source.followed, &commit.sha, tree, &output)
        .await
        .map_err(told)?;
    match source.submodules {
        Submodules::Empty => {}
        Submodules::Filled => {
            let filled = git.submodules(&run.project.name, &source.repository, &commit.sha, tree, &output);
            filled.await.map_err(told)?;
        }
    }
    Ok(())
}
