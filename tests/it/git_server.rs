//! A bare repository behind git's own HTTP server program, and verbs to fill it: what the git client is
//! tested against.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use homeport::model::CommitSha;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::lfs_server::Shelf;
use crate::lfs_server::basic;
use crate::stub_server::answer;

/// Who may fetch, and how.
#[derive(Clone, Default)]
pub struct Rules {
    /// Only this token opens the repository.
    pub token: Option<&'static str>,
    /// The old protocol, in which a server gives out only the tips of branches.
    pub only_tips: bool,
}

/// `me/hello` behind HTTP; ends when dropped.
pub struct GitServer {
    pub url: Url,
    /// The contents of its LFS files.
    pub lfs: Shelf,
    folder: TempDir,
    seen: Arc<Mutex<Vec<String>>>,
    _serving: AbortOnDropHandle<()>,
}

impl GitServer {
    pub async fn start() -> Self {
        Self::with_rules(Rules::default()).await
    }

    pub async fn with_rules(rules: Rules) -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join("srv");
        std::fs::create_dir_all(root.join("me")).unwrap();
        run(folder.path(), &["git", "init", "-q", "--bare", "-b", "main", "srv/me/hello.git"]);
        run(folder.path(), &["git", "init", "-q", "-b", "main", "work"]);
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let remember = Arc::clone(&seen);
        let lfs = Shelf::default();
        let shelf = lfs.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (root, rules, shelf) = (root.clone(), rules.clone(), shelf.clone());
            remember.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            async move { serve(&root, &rules, &shelf, request).await }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, lfs, folder, seen, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The owner's own working copy.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Serves the repositories of another folder too, below `owner`.
    pub fn serve_also(&self, owner: &str, repositories: &Path) {
        std::os::unix::fs::symlink(repositories, self.folder.path().join("srv").join(owner)).unwrap();
    }

    /// Adds the repository `me/NAME` with one file, and gives its commit.
    pub fn another(&self, name: &str, file: &str) -> CommitSha {
        self.another_with(name, &[(file, &format!("{file} of {name}\n"))])
    }

    /// Adds the repository `me/NAME` with these files, and gives its commit.
    pub fn another_with(&self, name: &str, files: &[(&str, &str)]) -> CommitSha {
        let work = self.folder.path().join(format!("work-{name}"));
        let bare = self.folder.path().join(format!("srv/me/{name}.git"));
        run(self.folder.path(), &["git", "init", "-q", "--bare", "-b", "main", &bare.to_string_lossy()]);
        run(self.folder.path(), &["git", "init", "-q", "-b", "main", &work.to_string_lossy()]);
        for (file, text) in files {
            std::fs::write(work.join(file), text).unwrap();
        }
        run(&work, &["git", "add", "-A"]);
        run(&work, &["git", "commit", "-q", "-m", "Begin"]);
        run(&work, &["git", "push", "-q", &bare.to_string_lossy(), "HEAD:refs/heads/main"]);
        run(&work, &["git", "rev-parse", "HEAD"]).trim().parse().unwrap()
    }

    /// The folder of all served repositories.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("srv")
    }

    /// The served repository.
    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("srv/me/hello.git")
    }

    /// Runs a command in the working copy and gives what it prints.
    pub fn work_run(&self, command: &[&str]) -> String {
        run(&self.work(), command)
    }

    /// Writes a file, commits everything and pushes it.
    pub fn commit(&self, file: &str, text: &str) -> CommitSha {
        let path = self.work().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.commit_all(&format!("Write {file}"))
    }

    /// Commits whatever the working copy holds and pushes it.
    pub fn commit_all(&self, message: &str) -> CommitSha {
        self.work_run(&["git", "add", "-A"]);
        self.work_run(&["git", "commit", "-q", "--allow-empty", "-m", message]);
        self.push()
    }

    /// Pushes the working copy's commit with force.
    pub fn push(&self) -> CommitSha {
        let bare = self.bare().to_string_lossy().into_owned();
        self.work_run(&["git", "push", "-q", "--force", &bare, "HEAD:refs/heads/main"]);
        self.work_run(&["git", "rev-parse", "HEAD"]).trim().parse().unwrap()
    }

    /// Removes from the served repository what no branch reaches any more.
    pub fn forget_unreachable(&self) {
        run(&self.bare(), &["git", "-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now"]);
    }

    /// `METHOD target` of the requests since the last look.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Runs a command to its end and gives what it prints.
pub fn run(folder: &Path, command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Mona")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "mona@example.org")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn serve(root: &Path, rules: &Rules, lfs: &Shelf, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    if let Some(id) = parts.uri.path().strip_prefix("/lfs/") {
        return lfs.content(id);
    }
    let is_let_in = |token| header("authorization") == format!("Basic {}", basic(token));
    if rules.token.is_some_and(|token| !is_let_in(token)) {
        return answer(401, &[("www-authenticate", "Basic realm=\"GitHub\"")], "Repository not found.");
    }
    if parts.uri.path().ends_with("/info/lfs/objects/batch") {
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        return lfs.batch(&header("host"), &body).await;
    }
    let mut backend = tokio::process::Command::new("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or(""))
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", if rules.only_tips { String::new() } else { header("git-protocol") })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let mut child = backend.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move { stdin.write_all(&body).await.ok() };
    let (_, output) = tokio::join!(feed, child.wait_with_output());
    let output = output.unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output[..end].to_vec()).unwrap();
    let mut headers: Vec<(&str, &str)> = head.lines().map(|line| line.split_once(": ").unwrap()).collect();
    let status = match headers.iter().position(|(name, _)| *name == "Status") {
        Some(at) => headers.remove(at).1[..3].parse().unwrap(),
        None => 200,
    };
    answer(status, &headers, output[end + 4..].to_vec())
}
