//! A real bare repository, written as a developer's pushes would leave it. Commits go straight into the object
//! store by `git fast-import`: no work tree, one process each. It never talks to the simulated GitHub.

use std::fmt::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::world::app::App;

/// The branch that HEAD names.
pub const DEFAULT_BRANCH: &str = "main";

const AUTHOR: &str = "Monalisa Octocat <mona@example.org>";

/// One change of a commit.
#[derive(Debug, Clone)]
pub enum Change {
    /// A file with its content; executable if it begins with `#!`.
    Write(String, String),
    /// A symbolic link and where it points.
    Symlink(String, String),
    /// A submodule's folder and the commit it stands at.
    Submodule(String, String),
    /// The path is gone.
    Delete(String),
    /// Everything is gone.
    DeleteAll,
}

impl Change {
    /// Those that write a version of the app.
    pub fn all_of(app: &App) -> Vec<Self> {
        app.files().into_iter().map(|(path, content)| Self::Write(path, content)).collect()
    }
}

/// The repository.
#[derive(Debug, Clone)]
pub struct Repository {
    name: String,
    id: u64,
    directory: PathBuf,
}

impl Repository {
    /// Makes an empty one for `owner/name` at this path, in GitHub's manner.
    pub async fn create(name: &str, id: u64, directory: &Path) -> Self {
        let path = directory.to_str().expect("a path in UTF-8");
        let branch = format!("--initial-branch={DEFAULT_BRANCH}");
        git(Path::new("/"), &["init", "--quiet", "--bare", &branch, path])
            .await
            .expect("make a bare repository");
        let allowed = ["uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter", "http.receivepack"];
        for key in allowed {
            git(directory, &["config", key, "true"]).await.expect("configure a bare repository");
        }
        Self::at(name, id, directory)
    }

    /// The one that is at this path.
    pub fn at(name: &str, id: u64, directory: &Path) -> Self {
        Self { name: name.to_owned(), id, directory: directory.to_owned() }
    }

    /// `owner/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// GitHub's number for it.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The bare repository's folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Pushes a good version that serves `text`. Gives the commit's SHA, as all of these do.
    pub async fn commit_page(&self, text: &str) -> String {
        self.commit_app(&App::Page(text.to_owned())).await
    }

    /// Pushes this version of the app, and nothing else in the tree.
    pub async fn commit_app(&self, app: &App) -> String {
        let mut changes = vec![Change::DeleteAll];
        changes.extend(Change::all_of(app));
        self.commit_changes(DEFAULT_BRANCH, &changes, &app.message()).await
    }

    /// Pushes these files on top of the default branch.
    pub async fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        let write = |(path, content): &(&str, &str)| Change::Write((*path).to_owned(), (*content).to_owned());
        let changes: Vec<Change> = files.iter().map(write).collect();
        self.commit_changes(DEFAULT_BRANCH, &changes, message).await
    }

    /// Pushes these changes on top of a branch, which begins here if it does not exist.
    pub async fn commit_changes(&self, branch: &str, changes: &[Change], message: &str) -> String {
        let parent = self.head_of(branch).await;
        self.import(branch, parent.as_deref(), changes, message).await
    }

    /// Rewrites the default branch: `base` (or nothing) with this version of the app on top replaces what there was.
    pub async fn force_push(&self, base: Option<&str>, app: &App) -> String {
        let mut changes = vec![Change::DeleteAll];
        changes.extend(Change::all_of(app));
        self.import(DEFAULT_BRANCH, base, &changes, &app.message()).await
    }

    /// Points a branch, new or not, at a commit.
    pub async fn branch(&self, name: &str, sha: &str) {
        self.update_ref(&format!("refs/heads/{name}"), sha).await;
    }

    /// Deletes a branch.
    pub async fn delete_branch(&self, name: &str) {
        let reference = format!("refs/heads/{name}");
        git(&self.directory, &["update-ref", "-d", &reference]).await.expect("delete a branch");
    }

    /// Points a lightweight tag at a commit.
    pub async fn tag(&self, name: &str, sha: &str) {
        self.update_ref(&format!("refs/tags/{name}"), sha).await;
    }

    /// Makes an annotated tag of a commit; gives the tag object's SHA.
    pub async fn annotated_tag(&self, name: &str, sha: &str) -> String {
        git(&self.directory, &["tag", "-a", "-m", name, name, sha]).await.expect("make an annotated tag");
        let object = git(&self.directory, &["rev-parse", &format!("refs/tags/{name}")]).await;
        object.expect("read the tag").trim().to_owned()
    }

    /// The commit at the head of the default branch.
    pub async fn head(&self) -> String {
        self.head_of(DEFAULT_BRANCH).await.expect("the default branch has a commit")
    }

    /// The commit at the head of a branch, if it exists.
    pub async fn head_of(&self, branch: &str) -> Option<String> {
        let reference = format!("refs/heads/{branch}");
        let found = git(&self.directory, &["rev-parse", "--verify", "--quiet", &reference]).await;
        found.ok().map(|sha| sha.trim().to_owned())
    }

    async fn update_ref(&self, reference: &str, sha: &str) {
        git(&self.directory, &["update-ref", reference, sha]).await.expect("move a reference");
    }

    async fn import(&self, branch: &str, parent: Option<&str>, changes: &[Change], message: &str) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut stream = String::new();
        if parent.is_none() {
            writeln!(stream, "reset refs/heads/{branch}").unwrap();
        }
        writeln!(stream, "commit refs/heads/{branch}\nmark :1\nauthor {AUTHOR} {since} +0000").unwrap();
        writeln!(stream, "committer {AUTHOR} {since} +0000\ndata {}\n{message}", message.len()).unwrap();
        if let Some(parent) = parent {
            writeln!(stream, "from {parent}").unwrap();
        }
        for change in changes {
            write_change(&mut stream, change);
        }
        stream.push_str("\nget-mark :1\ndone\n");
        let arguments = ["fast-import", "--quiet", "--force", "--done"];
        let answer = git_with_input(&self.directory, &arguments, stream.as_bytes()).await;
        answer.expect("write a commit").trim().to_owned()
    }
}

fn write_change(stream: &mut String, change: &Change) {
    match change {
        Change::Write(path, content) => {
            let mode = if content.starts_with("#!") { "100755" } else { "100644" };
            writeln!(stream, "M {mode} inline {path}\ndata {}\n{content}", content.len()).unwrap();
        }
        Change::Symlink(path, target) => {
            writeln!(stream, "M 120000 inline {path}\ndata {}\n{target}", target.len()).unwrap();
        }
        Change::Submodule(path, sha) => writeln!(stream, "M 160000 {sha} {path}").unwrap(),
        Change::Delete(path) => writeln!(stream, "D {path}").unwrap(),
        Change::DeleteAll => stream.push_str("deleteall\n"),
    }
}

/// Git with nothing of this machine's or user's configuration.
pub fn scrubbed_git() -> std::process::Command {
    let mut command = std::process::Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Monalisa Octocat")
        .env("GIT_AUTHOR_EMAIL", "mona@example.org")
        .env("GIT_COMMITTER_NAME", "Monalisa Octocat")
        .env("GIT_COMMITTER_EMAIL", "mona@example.org");
    command
}

/// Runs git in a directory; its output, or what it complained about.
pub async fn git(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    git_with_input(directory, arguments, b"").await
}

async fn git_with_input(directory: &Path, arguments: &[&str], input: &[u8]) -> Result<String, String> {
    let mut child = Command::from(scrubbed_git())
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start git");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input).await.ok();
    drop(stdin);
    let output = child.wait_with_output().await.expect("wait for git");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
