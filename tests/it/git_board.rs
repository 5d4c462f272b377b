//! A board's side of git: a mirror, a tree and an output of its own.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;

use homeport::clients::git::Git;
use homeport::clients::git::GitError;
use homeport::model::CommitSha;
use homeport::model::Followed;
use tempfile::TempDir;

use crate::git_server::run;

/// The board; its folder goes with it.
pub struct Board {
    pub folder: TempDir,
    pub git: Git,
    output: Mutex<Vec<u8>>,
}

impl Board {
    /// One with the git that is made for its folder.
    pub fn new(git: impl FnOnce(&Path) -> Git) -> Self {
        let folder = TempDir::new().unwrap();
        let git = git(folder.path());
        Self { folder, git, output: Mutex::default() }
    }

    /// The same with a script of our own for git; `$HERE` is its folder.
    pub fn with_script(mut self, script: &str) -> Self {
        let here = self.folder.path();
        fs::write(here.join("draft"), format!("#!/bin/sh\nHERE={}\n{script}\n", here.display())).unwrap();
        run(here, &["install", "-m755", "draft", "git-script"]);
        self.git = self.git.with_program(here.join("git-script"));
        self
    }

    pub fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// Lays out a commit of this repository with its submodules, and gives their number.
    pub async fn checkout(&self, repository: &str, sha: &CommitSha) -> Result<usize, GitError> {
        let out = |piece: &[u8]| self.output.lock().unwrap().extend_from_slice(piece);
        let (project, repository) = ("hello".parse().unwrap(), repository.parse().unwrap());
        let branch = Followed::Branch("main".parse().unwrap());
        self.git.checkout(&project, &repository, &branch, sha, &self.tree(), &out).await?;
        self.git.submodules(&project, &repository, sha, &self.tree(), &out).await
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.tree().join(file)).unwrap()
    }

    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }
}
