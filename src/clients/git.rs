//! git, through its command line: the files of exactly one commit, laid out in a fresh folder. Takes checked
//! names, a folder and where output goes; gives the folder filled, or a [`GitError`]. Keeps one bare mirror per
//! project, which holds little more than the last commit and can be deleted at any time. Must not run anything
//! that a repository brings along.
//!
//! The tree is read through a private index and not by `git archive`, which leaves out what the repository
//! marks with `export-ignore`. Submodules stay empty folders, and LFS files pointers, unless they are asked for.

mod command;
mod error;
mod heads;
mod lfs;
mod mirror;
mod ssh;
mod submodules;

pub use error::GitError;
pub use ssh::DeployKey;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Mutex;
use url::Url;

use crate::clients::clock::Clock;
use crate::clients::git::command::Ended;
use crate::clients::git::command::GitCommand;
use crate::clients::git::lfs::Contents;
use crate::clients::git::mirror::Mirror;
use crate::config::settings::LfsFiles;
use crate::model::CommitSha;
use crate::model::Followed;
use crate::model::ProjectName;
use crate::model::Repository;

/// Where the output of git goes, piece by piece, as raw as it comes.
pub type Output<'a> = &'a (dyn Fn(&[u8]) + Send + Sync);

/// The commit that was fetched last. It stands there only after git has checked that its tree is whole.
const FETCHED: &str = "refs/homeport/commit";
/// Where a whole branch is fetched to, if a server gives out no single commits.
const FETCHED_BRANCH: &str = "refs/homeport/branch";

/// git, with a server to fetch from.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
    mirrors: PathBuf,
    clone_url: Url,
    token: Option<SecretString>,
    limit: Duration,
    lfs: LfsFiles,
    deploy_key: Option<DeployKey>,
    /// One look at a commit at a time, since all take place in one folder.
    looking: Arc<Mutex<()>>,
}

/// What one checkout is about.
struct Wanted<'a> {
    repository: &'a Repository,
    followed: &'a Followed,
    sha: &'a CommitSha,
    tree_dir: &'a Path,
    out: Output<'a>,
}

impl Git {
    /// git with mirrors below `state_dir`, fetching `OWNER/NAME.git` below `clone_url`. A checkout must be
    /// done within `limit`.
    pub fn new(state_dir: &Path, clone_url: &Url, token: Option<SecretString>, limit: Duration) -> Self {
        // git is started in other folders than this process.
        let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        let mirrors = state_dir.join("mirrors");
        Self {
            program: "git".into(),
            mirrors,
            clone_url: clone_url.clone(),
            token,
            limit,
            lfs: LfsFiles::Pointers,
            deploy_key: None,
            looking: Arc::default(),
        }
    }

    /// The same with another program than the `git` that `PATH` finds.
    #[must_use]
    pub fn with_program(self, program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..self }
    }

    /// The same, with this in the place of LFS files.
    #[must_use]
    pub fn with_lfs(self, lfs: LfsFiles) -> Self {
        Self { lfs, ..self }
    }

    /// The same, fetching repositories with a deploy key; submodules go by HTTPS still, since a key opens one repository.
    #[must_use]
    pub fn over_ssh(self, deploy_key: DeployKey) -> Self {
        Self { deploy_key: Some(deploy_key), ..self }
    }

    /// Fills `tree_dir` with the files of exactly this commit, without `.git`. Whatever was in that folder
    /// is removed, before and, on failure, after. When the future is dropped, git is killed with its children.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub async fn checkout(
        &self,
        project: &ProjectName,
        repository: &Repository,
        followed: &Followed,
        sha: &CommitSha,
        tree_dir: &Path,
        out: Output<'_>,
    ) -> Result<(), GitError> {
        let tree_dir = &std::path::absolute(tree_dir).unwrap_or_else(|_| tree_dir.to_owned());
        let wanted = Wanted { repository, followed, sha, tree_dir, out };
        let mirror = Mirror::of(&self.mirrors, project);
        let done = Clock::within(self.limit, self.lay_out(&mirror, &wanted)).await.unwrap_or_else(|slow| {
            Err(GitError::TimedOut { repository: repository.clone(), limit: slow.limit })
        });
        match &done {
            Ok(()) => self.tidy(&mirror).await,
            // The failure that is told is git's; a folder that cannot be removed either is found next time.
            Err(_) => mirror::remove(tree_dir).await.unwrap_or_default(),
        }
        done
    }

    /// The folder of what is fetched for a project.
    pub fn folder_of(&self, project: &ProjectName) -> PathBuf {
        Mirror::of(&self.mirrors, project).path().to_owned()
    }

    /// Removes what was fetched for a project.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub async fn forget(&self, project: &ProjectName) -> Result<(), GitError> {
        Mirror::of(&self.mirrors, project).discard().await
    }

    /// Tries with the mirror that is there, and once more with a new one if that may be what is wrong.
    async fn lay_out(&self, mirror: &Mirror, wanted: &Wanted<'_>) -> Result<(), GitError> {
        if mirror.is_there().await {
            mirror.remove_leftovers().await?;
            match self.fetch_and_read(mirror, wanted).await {
                Err(GitError::Failed { message }) => {
                    (wanted.out)(
                        format!("homeport: the mirror is unusable ({message}), making a new one\n")
                            .as_bytes(),
                    );
                }
                done => return done,
            }
        }
        mirror.discard().await?;
        let init = ["init", "--quiet", "--bare", "--template="];
        self.run(mirror, GitCommand::new(&init).path(mirror.path()), wanted).await?;
        self.fetch_and_read(mirror, wanted).await
    }

    async fn fetch_and_read(&self, mirror: &Mirror, wanted: &Wanted<'_>) -> Result<(), GitError> {
        if !self.has_fetched(mirror, wanted).await? {
            self.fetch(mirror, wanted).await?;
        }
        let contents =
            Contents { git: self, mirror, repository: wanted.repository, tree: 0, out: wanted.out };
        contents.gather(&address(&self.source_url(wanted.repository))?, wanted.sha).await?;
        mirror::remove(wanted.tree_dir).await?;
        mirror::create(wanted.tree_dir).await?;
        let read = GitCommand::new(&["read-tree", "--reset", "-u", wanted.sha.as_str()])
            .in_repository(mirror.path())
            .into_tree(wanted.tree_dir, &mirror.index());
        self.run(mirror, contents.fill(read), wanted).await?;
        mirror::remove(&mirror.index()).await
    }

    /// Whether a commit that was laid out marks files as those of LFS.
    pub async fn has_lfs_files(&self, project: &ProjectName, sha: &CommitSha) -> bool {
        let mirror = Mirror::of(&self.mirrors, project);
        let marks = ["grep", "-q", "-e", "filter=lfs", sha.as_str(), "--", ":(glob)**/.gitattributes"];
        let found =
            GitCommand::question(&marks).in_repository(mirror.path()).run(&self.program, &|_| {}).await;
        found.is_ok_and(|ended| ended.is_success())
    }

    /// Whether an earlier run has fetched this very commit.
    async fn has_fetched(&self, mirror: &Mirror, wanted: &Wanted<'_>) -> Result<bool, GitError> {
        let ask =
            GitCommand::question(&["rev-parse", "--verify", "--quiet", FETCHED]).in_repository(mirror.path());
        let ended = ask.run(&self.program, wanted.out).await?;
        Ok(ended.is_success() && ended.stdout.trim() == wanted.sha.as_str())
    }

    /// Fetches the commit alone, or its branch where the server gives out no single commits or has it no more.
    async fn fetch(&self, mirror: &Mirror, wanted: &Wanted<'_>) -> Result<(), GitError> {
        let sha = wanted.sha;
        let ended = self.fetch_ref(mirror, wanted, "--depth=1", &format!("+{sha}:{FETCHED}")).await?;
        if ended.is_success() {
            return Ok(());
        }
        if !error::is_refusal_of_commit(&ended) {
            return Err(self.failure(mirror, wanted, &ended));
        }
        let gone = || GitError::CommitGone {
            repository: wanted.repository.clone(),
            followed: Box::new(wanted.followed.clone()),
            sha: sha.clone(),
        };
        let Followed::Branch(branch) = wanted.followed else { return Err(gone()) };
        // The largest depth is git's own way to say "all of it", in a shallow mirror too.
        let all = "--depth=2147483647";
        let refspec = format!("+refs/heads/{branch}:{FETCHED_BRANCH}");
        let ended = self.fetch_ref(mirror, wanted, all, &refspec).await?;
        if error::is_refusal_of_commit(&ended) {
            return Err(gone());
        }
        self.check(mirror, wanted, &ended)?;
        let commit = format!("{sha}^{{commit}}");
        let find = GitCommand::question(&["cat-file", "-e", &commit]).in_repository(mirror.path());
        if !find.run(&self.program, wanted.out).await?.is_success() {
            return Err(gone());
        }
        let keep = GitCommand::new(&["update-ref", FETCHED, sha.as_str()]).in_repository(mirror.path());
        self.run(mirror, keep, wanted).await.map(drop)
    }

    async fn fetch_ref(
        &self,
        mirror: &Mirror,
        wanted: &Wanted<'_>,
        depth: &str,
        refspec: &str,
    ) -> Result<Ended, GitError> {
        let url = self.source_url(wanted.repository);
        let fetch =
            ["fetch", "--no-tags", "--no-recurse-submodules", depth, "--end-of-options", &url, refspec];
        self.talking(GitCommand::new(&fetch).in_repository(mirror.path()))?
            .run(&self.program, wanted.out)
            .await
    }

    /// Packs what has become many files, now and then. A failure costs only space, and the next fetch finds it.
    async fn tidy(&self, mirror: &Mirror) {
        let gc =
            GitCommand::new(&["gc", "--auto", "--quiet"]).in_repository(mirror.path()).with_housekeeping();
        Clock::within(self.limit, gc.run(&self.program, &|_| {})).await.ok();
    }

    async fn run(&self, mirror: &Mirror, command: GitCommand, wanted: &Wanted<'_>) -> Result<(), GitError> {
        let ended = command.run(&self.program, wanted.out).await?;
        self.check(mirror, wanted, &ended)
    }

    fn check(&self, mirror: &Mirror, wanted: &Wanted<'_>, ended: &Ended) -> Result<(), GitError> {
        if ended.is_success() { Ok(()) } else { Err(self.failure(mirror, wanted, ended)) }
    }

    fn failure(&self, mirror: &Mirror, wanted: &Wanted<'_>, ended: &Ended) -> GitError {
        let error = self.meaning(ended, wanted.repository, mirror.path());
        let full = [wanted.tree_dir, mirror.path()].into_iter().find(|path| mirror::is_full(path));
        match (error, full) {
            (GitError::Failed { .. } | GitError::NoSpace { .. }, Some(path)) => {
                GitError::NoSpace { path: path.to_owned() }
            }
            (error, _) => error,
        }
    }

    /// What a failed git means.
    fn meaning(&self, ended: &Ended, repository: &Repository, folder: &Path) -> GitError {
        let by_ssh = self.deploy_key.as_ref().and_then(|key| ssh::failure(ended, repository, key));
        by_ssh.unwrap_or_else(|| {
            let url = self.source_url(repository);
            error::failure(ended, repository, &url, folder, self.token.is_some())
        })
    }

    /// Lets a command talk to the server of the repository itself.
    fn talking(&self, command: GitCommand) -> Result<GitCommand, GitError> {
        match &self.deploy_key {
            Some(key) => command.talking_over_ssh(key),
            None => Ok(command.talking_to(&self.clone_url, self.token.as_ref())),
        }
    }

    /// Where the repository itself is fetched from.
    fn source_url(&self, repository: &Repository) -> String {
        let server = self.deploy_key.as_ref().map_or(&self.clone_url, |key| &key.url);
        below(server, repository)
    }
}

fn below(server: &Url, repository: &Repository) -> String {
    format!("{}/{repository}.git", server.as_str().trim_end_matches('/'))
}

fn address(text: &str) -> Result<Url, GitError> {
    Url::parse(text).map_err(|why| GitError::Failed { message: format!("{text} is no address: {why}") })
}
