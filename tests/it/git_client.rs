//! The git client against a real repository behind git's own HTTP server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use homeport::clients::git::Git;
use homeport::clients::git::GitError;
use homeport::model::Blame;
use homeport::model::CommitSha;
use homeport::model::Followed;
use secrecy::SecretString;
use tempfile::TempDir;
use url::Url;

use crate::git_server::GitServer;
use crate::git_server::Rules;
use crate::git_server::run;
use crate::stub_server::StubServer;
use crate::stub_server::Then;
use crate::stub_server::answer;
use crate::stub_server::closed_address;
use crate::world::small_disk::SmallDisk;

const TOKEN: &str = "github_pat_TheToken";
const LIMIT: Duration = Duration::from_secs(60);

/// One board: a state directory and a folder to lay files out in.
struct Board {
    folder: TempDir,
    git: Git,
    output: Mutex<Vec<u8>>,
    tree_name: &'static str,
}

impl Board {
    fn new(url: &Url) -> Self {
        Self::with_token(url, None, LIMIT)
    }

    fn with_token(url: &Url, token: Option<&str>, limit: Duration) -> Self {
        let folder = TempDir::new().unwrap();
        let token = token.map(|token| SecretString::from(token.to_owned()));
        let git = Git::new(&folder.path().join("state"), url, token, limit);
        Self { folder, git, output: Mutex::default(), tree_name: "tree" }
    }

    /// The same board with a script of our own for git; `$GIT` in it is the real one.
    fn with_script(mut self, script: &str) -> Self {
        let path = self.folder.path().join("git-script");
        let draft = self.folder.path().join("git-script.draft");
        fs::write(&draft, format!("#!/bin/sh\nGIT=git\nHERE={}\n{script}\n", self.folder.path().display()))
            .unwrap();
        // Copied by another process: a child that some other test forks just now could hold a file that this one
        // has open for writing, and what is open for writing cannot be run.
        let install = std::process::Command::new("install").arg("-m755").arg(&draft).arg(&path).status();
        assert!(install.unwrap().success());
        self.git = self.git.with_program(&path);
        self
    }

    async fn checkout(&self, sha: &CommitSha) -> Result<(), GitError> {
        let out = |piece: &[u8]| self.output.lock().unwrap().extend_from_slice(piece);
        let (project, repository, branch) = ("hello", "me/hello", "main");
        let tree = self.tree();
        self.git
            .checkout(
                &project.parse().unwrap(),
                &repository.parse().unwrap(),
                &Followed::Branch(branch.parse().unwrap()),
                sha,
                &tree,
                &out,
            )
            .await
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join(self.tree_name)
    }

    fn mirror(&self) -> PathBuf {
        self.folder.path().join("state/mirrors/hello.git")
    }

    /// The paths below the tree, sorted.
    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = everything_below(&self.tree())
            .iter()
            .map(|path| path.strip_prefix(self.tree()).unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        files
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.tree().join(file)).unwrap()
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }
}

/// All files and links below a folder.
fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(everything_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Something that happens to a mirror.
type Damage = fn(&Path);

fn some_sha() -> CommitSha {
    "6dcb09b5b57875f334f61aebed695e2e4193db5e".parse().unwrap()
}

async fn error_of(url: &Url, token: Option<&str>) -> GitError {
    Board::with_token(url, token, LIMIT).checkout(&some_sha()).await.unwrap_err()
}

#[tokio::test]
async fn the_files_of_exactly_one_commit_are_laid_out_without_git() {
    let server = GitServer::start().await;
    let work = server.work();
    fs::write(work.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(work.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("run.sh", work.join("link")).unwrap();
    fs::write(work.join(".gitattributes"), "tests/ export-ignore\n*.sub export-subst\nnote.sub -text\n")
        .unwrap();
    fs::write(work.join("note.sub"), "$Format:%H$\r\n").unwrap();
    let first = server.commit("tests/a.txt", "one");
    let second = server.commit("tests/a.txt", "two");

    let board = Board::new(&server.url);
    fs::create_dir_all(board.tree()).unwrap();
    fs::write(board.tree().join("left-over"), "from a run before").unwrap();
    board.checkout(&first).await.unwrap();
    assert_eq!(board.files(), [".gitattributes", "link", "note.sub", "run.sh", "tests/a.txt"]);
    assert_eq!(board.read("tests/a.txt"), "one");
    assert_eq!(board.read("note.sub"), "$Format:%H$\r\n");
    assert_eq!(fs::read_link(board.tree().join("link")).unwrap(), Path::new("run.sh"));
    assert_eq!(fs::metadata(board.tree().join("run.sh")).unwrap().permissions().mode() & 0o111, 0o111);
    board.checkout(&second).await.unwrap();
    assert_eq!(board.read("tests/a.txt"), "two");
}

#[tokio::test]
async fn a_commit_that_was_fetched_is_not_asked_for_again_and_the_next_costs_only_the_difference() {
    let server = GitServer::start().await;
    let big: String = (0..20_000).map(|line| format!("{}\n", line * 7919 % 10_007)).collect();
    server.commit("big.txt", &big);
    let first = server.commit("a.txt", "one");
    let board = Board::new(&server.url);
    board.checkout(&first).await.unwrap();
    let size = || {
        everything_below(&board.mirror()).iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>()
    };
    let before = size();
    server.take_requests();

    board.checkout(&first).await.unwrap();
    assert_eq!(server.take_requests(), [""; 0]);

    let second = server.commit("a.txt", "two");
    board.checkout(&second).await.unwrap();
    assert_eq!(board.files(), ["a.txt", "big.txt"]);
    assert!(before > 20_000 && size() < before + 5_000, "{before} grew to {}", size());
}

#[tokio::test]
async fn a_forced_push_is_followed_and_a_commit_that_it_removed_is_gone() {
    // main: base - old, then forced to base - new
    let server = GitServer::start().await;
    let base = server.commit("base.txt", "base");
    let old = server.commit("a.txt", "old");
    let board = Board::new(&server.url);
    board.checkout(&old).await.unwrap();

    server.work_run(&["git", "reset", "-q", "--hard", base.as_str()]);
    let new = server.commit("b.txt", "new");
    server.forget_unreachable();
    board.checkout(&new).await.unwrap();
    assert_eq!(board.files(), ["b.txt", "base.txt"]);

    let other = Board::new(&server.url);
    let error = other.checkout(&old).await.unwrap_err();
    assert!(matches!(error, GitError::CommitGone { .. }), "{error}");
    assert!(!other.tree().exists());
}

#[tokio::test]
async fn a_commit_of_a_deleted_branch_is_gone() {
    let server = GitServer::start().await;
    let sha = server.commit("a.txt", "one");
    run(&server.bare(), &["git", "update-ref", "-d", "refs/heads/main"]);
    server.forget_unreachable();
    let error = Board::new(&server.url).checkout(&sha).await.unwrap_err();
    assert!(matches!(error, GitError::CommitGone { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_gives_out_only_tips_is_asked_for_the_whole_branch() {
    let server = GitServer::with_rules(Rules { only_tips: true, ..Rules::default() }).await;
    let first = server.commit("a.txt", "one");
    let second = server.commit("a.txt", "two");
    let board = Board::new(&server.url);
    for (sha, text) in [(&second, "two"), (&first, "one"), (&second, "two")] {
        board.checkout(sha).await.unwrap();
        assert_eq!(board.read("a.txt"), text);
    }
    let error = board.checkout(&some_sha()).await.unwrap_err();
    assert!(matches!(error, GitError::CommitGone { .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_or_foreign_mirror_is_made_anew() {
    let server = GitServer::start().await;
    let sha = server.commit("a.txt", "one");
    let next = server.commit("a.txt", "two");
    let damages: [(&str, Damage); 8] = [
        ("no HEAD", |mirror| fs::remove_file(mirror.join("HEAD")).unwrap()),
        ("a HEAD of zeros", |mirror| fs::write(mirror.join("HEAD"), [0; 40]).unwrap()),
        ("a config that is none", |mirror| fs::write(mirror.join("config"), "[core\n").unwrap()),
        ("empty objects", |mirror| {
            for file in everything_below(&mirror.join("objects")) {
                fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(file, "").unwrap();
            }
        }),
        ("no objects", |mirror| {
            fs::remove_dir_all(mirror.join("objects")).unwrap();
            fs::create_dir(mirror.join("objects")).unwrap();
        }),
        ("a file in its place", |mirror| {
            fs::remove_dir_all(mirror).unwrap();
            fs::write(mirror, "not a folder").unwrap();
        }),
        ("some other folder", |mirror| {
            fs::remove_dir_all(mirror).unwrap();
            fs::create_dir_all(mirror.join("photos")).unwrap();
        }),
        ("a shallow file of garbage", |mirror| fs::write(mirror.join("shallow"), "garbage\n").unwrap()),
    ];
    for (name, damage) in damages {
        for wanted in [&sha, &next] {
            let board = Board::new(&server.url);
            board.checkout(&sha).await.unwrap();
            damage(&board.mirror());
            board.checkout(wanted).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(board.read("a.txt"), if *wanted == sha { "one" } else { "two" }, "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_killed_git_left_behind_stops_nobody() {
    let server = GitServer::start().await;
    let first = server.commit("a.txt", "one");
    let board = Board::new(&server.url);
    board.checkout(&first).await.unwrap();
    let second = server.commit("a.txt", "two");
    let left = [
        "shallow.lock",
        "HEAD.lock",
        "config.lock",
        "packed-refs.lock",
        "homeport.index.lock",
        "refs/homeport/commit.lock",
        "objects/pack/tmp_pack_abc",
        "gc.pid",
    ];
    for file in left {
        fs::create_dir_all(board.mirror().join(file).parent().unwrap()).unwrap();
        fs::write(board.mirror().join(file), "").unwrap();
    }
    board.checkout(&second).await.unwrap();
    assert_eq!(board.read("a.txt"), "two");
    assert!(!board.output().contains("making a new one"), "{}", board.output());
    for file in left {
        assert!(!board.mirror().join(file).exists(), "{file}");
    }
}

#[tokio::test]
async fn a_mirror_of_many_commits_is_packed_and_forgets_the_old_ones() {
    let server = GitServer::start().await;
    let board = Board::new(&server.url);
    let mut most = 0;
    for commit in 0..25 {
        // A hundred objects and more arrive as a pack of their own.
        for file in 0..110 {
            fs::write(server.work().join(format!("{file}.txt")), format!("{commit} {file}")).unwrap();
        }
        let sha = server.commit_all("Write all");
        board.checkout(&sha).await.unwrap();
        assert_eq!(board.read("109.txt"), format!("{commit} 109"));
        let packs = everything_below(&board.mirror().join("objects/pack"));
        most = most.max(packs.iter().filter(|path| path.extension().is_some_and(|e| e == "pack")).count());
    }
    assert!((15..=21).contains(&most), "{most} packs");
    let count = run(&board.mirror(), &["git", "count-objects", "-v"]);
    let objects: usize = count
        .lines()
        .filter_map(|line| line.strip_prefix("in-pack: "))
        .map(|n| n.parse::<usize>().unwrap())
        .sum();
    assert!(objects < 10 * 112, "{count}");
    assert!(!board.output().contains("making a new one"), "{}", board.output());
}

#[tokio::test]
async fn a_private_repository_opens_to_the_token_which_is_seen_nowhere() {
    let server = GitServer::with_rules(Rules { token: Some(TOKEN), ..Rules::default() }).await;
    let sha = server.commit("a.txt", "one");
    let board = Board::with_token(&server.url, Some(TOKEN), LIMIT)
        .with_script(r#"echo "$0 $@" >> "$HERE/arguments"; exec $GIT "$@""#);
    board.checkout(&sha).await.unwrap();
    assert_eq!(board.read("a.txt"), "one");
    let arguments = fs::read_to_string(board.folder.path().join("arguments")).unwrap();
    assert!(arguments.contains(" fetch ") && arguments.contains(" read-tree "), "{arguments}");
    assert!(board.output().contains("From http://127.0.0.1"), "{}", board.output());
    let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("x-access-token:{TOKEN}"));
    for secret in [TOKEN, basic.as_str()] {
        assert!(!arguments.contains(secret) && !board.output().contains(secret));
        for file in everything_below(board.folder.path()) {
            let content = fs::read(&file).unwrap_or_default();
            let holds = content.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!holds, "{}", file.display());
        }
    }
}

#[tokio::test]
async fn only_the_command_that_talks_to_the_server_holds_the_token() {
    let server = GitServer::start().await;
    let sha = server.commit("a.txt", "one");
    let board = Board::with_token(&server.url, Some(TOKEN), LIMIT).with_script(
        r#"test -z "$HOMEPORT_GIT_TOKEN" || printf '%s\n' "$*" >> "$HERE/holders"; exec $GIT "$@""#,
    );
    board.checkout(&sha).await.unwrap();
    let holders = fs::read_to_string(board.folder.path().join("holders")).unwrap();
    assert_eq!(holders.lines().count(), 1);
    assert!(holders.contains(" fetch "), "{holders}");
}

#[tokio::test]
async fn a_wrong_token_and_none_are_denied_each_with_its_way_out() {
    let server = GitServer::with_rules(Rules { token: Some(TOKEN), ..Rules::default() }).await;
    let wrong = error_of(&server.url, Some("ghp_wrong")).await;
    assert!(matches!(wrong, GitError::Denied { has_token: true, .. }), "{wrong}");
    assert!(
        wrong.to_string().contains("`github.token`") && !wrong.to_string().contains("ghp_wrong"),
        "{wrong}"
    );
    let none = error_of(&server.url, None).await;
    assert!(matches!(none, GitError::Denied { has_token: false, .. }), "{none}");
    assert!(none.to_string().contains("set `github.token` if it is private"), "{none}");
    let forbidden = StubServer::start(|_, _| answer(403, &[], "")).await;
    assert!(matches!(error_of(&forbidden.url, Some(TOKEN)).await, GitError::Denied { .. }));
}

#[tokio::test]
async fn another_server_that_we_are_sent_to_gets_no_token() {
    let thief =
        StubServer::start(|_, _| answer(401, &[("www-authenticate", "Basic realm=\"GitHub\"")], "")).await;
    let target = thief.url.clone();
    let server = StubServer::start(move |seen, _| {
        answer(301, &[("location", target.join(&seen.target).unwrap().as_str())], "")
    })
    .await;
    let error = error_of(&server.url, Some(TOKEN)).await;
    assert!(matches!(error, GitError::Denied { .. }), "{error}");
    assert!(!thief.requests().is_empty());
    assert!(thief.requests().iter().all(|seen| seen.header("authorization").is_empty()));
}

#[tokio::test]
async fn a_renamed_repository_is_followed_at_home() {
    let server = GitServer::start().await;
    let sha = server.commit("a.txt", "one");
    let home = server.url.clone();
    let renamed = StubServer::start(move |seen, _| {
        answer(301, &[("location", home.join(&seen.target).unwrap().as_str())], "")
    })
    .await;
    let board = Board::new(&renamed.url);
    board.checkout(&sha).await.unwrap();
    assert_eq!(board.read("a.txt"), "one");
}

#[tokio::test]
async fn nothing_that_a_repository_brings_along_is_run() {
    let server = GitServer::start().await;
    let board = Board::new(&server.url);
    let mark = board.folder.path().join("pwned");
    let touch = format!("touch {}", mark.display());
    let work = server.work();
    for hook in ["post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"] {
        for folder in ["hooks", ".githooks"] {
            fs::create_dir_all(work.join(folder)).unwrap();
            fs::write(work.join(folder).join(hook), format!("#!/bin/sh\n{touch}\n")).unwrap();
            fs::set_permissions(work.join(folder).join(hook), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    fs::write(work.join(".gitattributes"), "*.bin filter=lfs\n*.x filter=evil ident\n").unwrap();
    fs::write(
        work.join(".gitconfig"),
        format!("[filter \"evil\"]\nsmudge = {touch}\n[core]\nfsmonitor = {touch}\n"),
    )
    .unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    fs::write(work.join("model.bin"), pointer).unwrap();
    fs::write(work.join("a.x"), "as it is").unwrap();
    let sha = server.commit_all("Be hostile");
    board.checkout(&sha).await.unwrap();
    assert_eq!(board.read("model.bin"), pointer);
    assert_eq!(board.read("a.x"), "as it is");
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_submodule_stays_an_empty_folder_and_its_address_is_not_visited() {
    let server = GitServer::start().await;
    let board = Board::new(&server.url);
    let modules =
        format!("[submodule \"s\"]\n\tpath = s\n\turl = {}\n", server.url.join("me/other.git").unwrap());
    fs::write(server.work().join(".gitmodules"), modules).unwrap();
    let entry = format!("160000,{},s", some_sha());
    server.work_run(&["git", "update-index", "--add", "--cacheinfo", &entry]);
    server.work_run(&["git", "add", ".gitmodules"]);
    server.work_run(&["git", "commit", "-q", "-m", "Add a submodule"]);
    let sha = server.push();
    server.take_requests();
    board.checkout(&sha).await.unwrap();
    assert_eq!(board.files(), [".gitmodules"]);
    assert!(fs::read_dir(board.tree().join("s")).unwrap().next().is_none());
    assert!(server.take_requests().iter().all(|request| !request.contains("other")));
}

#[tokio::test]
async fn a_tree_that_reaches_for_dot_git_or_out_of_itself_is_refused() {
    for path in [".git/hooks/post-checkout", ".GIT/config", "git~1/config", "../escaped"] {
        let server = GitServer::start().await;
        server.commit("a.txt", "one");
        // git itself would not make such trees, so they are written below its checks, from the inside out.
        let blob = server.work_run(&["git", "rev-parse", "HEAD:a.txt"]);
        let mut object = format!("100644 blob {}\t", blob.trim());
        let mut parts: Vec<&str> = path.split('/').collect();
        let mut tree = String::new();
        while let Some(part) = parts.pop() {
            let entries = server.work().join("../entries");
            fs::write(&entries, format!("{object}{part}\n")).unwrap();
            tree = server.work_run(&["sh", "-c", "git mktree < ../entries"]).trim().to_owned();
            object = format!("040000 tree {tree}\t");
        }
        let sha = server.work_run(&["git", "commit-tree", "-m", "Reach out", &tree]).trim().to_owned();
        server.work_run(&["git", "update-ref", "refs/heads/main", &sha]);
        let sha = server.push();
        let board = Board::new(&server.url);
        let error = board.checkout(&sha).await.unwrap_err();
        assert!(matches!(error, GitError::Refused { .. }), "{path}: {error}");
        assert_eq!(error.blame(), Blame::Commit);
        assert!(!board.tree().exists());
        assert!(!board.folder.path().join("escaped").exists());
    }
}

#[tokio::test]
async fn the_harmless_sins_of_old_tools_are_forgiven() {
    let server = GitServer::start().await;
    server.commit("a.txt", "one");
    let tree = server.work_run(&["git", "rev-parse", "HEAD^{tree}"]);
    let text = format!(
        "tree {}author Mona<mona@example.org> 1300000000 +051800\ncommitter <m@x> 1 +0000\n\nOld\n",
        tree
    );
    fs::write(server.work().join("../object"), text).unwrap();
    let sha = server.work_run(&["git", "hash-object", "-t", "commit", "-w", "--literally", "../object"]);
    server.work_run(&["git", "update-ref", "refs/heads/main", sha.trim()]);
    let board = Board::new(&server.url);
    board.checkout(&server.push()).await.unwrap();
    assert_eq!(board.read("a.txt"), "one");
}

#[tokio::test]
async fn servers_in_trouble_are_told_apart() {
    let gone = StubServer::start(|_, _| answer(404, &[], "not here")).await;
    let error = error_of(&gone.url, None).await;
    assert!(matches!(error, GitError::NotFound { .. }), "{error}");
    let broken = StubServer::start(|_, _| answer(502, &[], "<html>")).await;
    let limited = StubServer::start(|_, _| answer(429, &[("retry-after", "9")], "")).await;
    let portal =
        StubServer::start(|_, _| answer(200, &[("content-type", "text/html")], "<html>Log in</html>")).await;
    let cut = StubServer::raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\ncontent-length: 900\r\n\r\n001e# service",
        Then::Close,
    )
    .await;
    for url in [&broken.url, &limited.url, &portal.url, &cut.url, &closed_address().await] {
        let error = error_of(url, None).await;
        assert!(matches!(error, GitError::Unreachable { .. }), "{url}: {error}");
        assert!(error.to_string().starts_with("`me/hello` cannot be fetched: "), "{error}");
    }
    assert!(error_of(&portal.url, None).await.to_string().contains("login page"));
}

#[tokio::test]
async fn only_http_is_spoken_unless_the_owner_says_file() {
    let server = GitServer::start().await;
    let sha = server.commit("a.txt", "one");
    let srv = server.bare().parent().unwrap().parent().unwrap().to_owned();
    let board = Board::new(&Url::from_directory_path(&srv).unwrap());
    board.checkout(&sha).await.unwrap();
    assert_eq!(board.read("a.txt"), "one");
    for other in ["ssh://127.0.0.1/x", "git://127.0.0.1/x", "ext::sh -c touch% /x"] {
        let error = error_of(&Url::parse(other).unwrap(), None).await;
        assert!(
            error.to_string().contains("not allowed") || error.to_string().contains("not supported"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_a_killed_git_and_no_git_are_told_apart() {
    let url = closed_address().await;
    let full = Board::new(&url)
        .with_script("case \"$*\" in *fetch*) echo 'fatal: write error: No space left on device' >&2; exit 128;; *) exec $GIT \"$@\";; esac");
    let error = full.checkout(&some_sha()).await.unwrap_err();
    assert!(matches!(error, GitError::NoSpace { .. }), "{error}");
    let killed =
        Board::new(&url).with_script("case \"$*\" in *fetch*) kill -9 $$;; *) exec $GIT \"$@\";; esac");
    let error = killed.checkout(&some_sha()).await.unwrap_err();
    assert!(error.to_string().contains("signal: 9"), "{error}");
    let mut absent = Board::new(&url);
    absent.git = absent.git.with_program("git-of-another-world");
    let error = absent.checkout(&some_sha()).await.unwrap_err();
    assert!(matches!(error, GitError::NotInstalled { .. }), "{error}");
    assert!(error.to_string().contains("install the package git"), "{error}");
}

#[tokio::test]
async fn a_real_full_disk_is_recognised_below_the_mirror_and_below_the_tree() {
    let server = GitServer::start().await;
    let mut noise = vec![0; 3 << 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
    fs::write(server.work().join("noise"), noise).unwrap();
    let sha = server.commit("small.txt", "small");
    for full in ["state", "tree"] {
        let mut board = Board::new(&server.url);
        let disk = board.folder.path().join(full);
        let Some(_disk) = SmallDisk::mount(&disk, 1) else {
            eprintln!("not tested: this user may not mount");
            return;
        };
        // The disk's own folder cannot be removed, only what is below it.
        board.tree_name = "tree/inner";
        let error = board.checkout(&sha).await.unwrap_err();
        assert!(matches!(error, GitError::NoSpace { .. }), "{full}: {error}");
        assert!(!board.output().contains("making a new one"), "{}", board.output());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_holds_a_checkout_no_longer_than_its_limit() {
    let mute = StubServer::raw(b"", Then::Hang).await;
    let board = Board::with_token(&mute.url, None, Duration::from_millis(500));
    let started = Instant::now();
    let error = board.checkout(&some_sha()).await.unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(!board.tree().exists());
}

#[tokio::test]
async fn a_dropped_checkout_kills_git_and_whatever_it_started() {
    let url = closed_address().await;
    let board = Board::new(&url).with_script(
        "case \"$*\" in *fetch*) sleep 1000 & echo $$ $! > \"$HERE/new\"; mv \"$HERE/new\" \"$HERE/pids\"; wait;; *) exec $GIT \"$@\";; esac",
    );
    let pids = board.folder.path().join("pids");
    let sha = some_sha();
    {
        let checkout = board.checkout(&sha);
        tokio::pin!(checkout);
        let seen = async {
            while !pids.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            done = &mut checkout => panic!("ended: {done:?}"),
            () = seen => {}
        }
    }
    let pids = fs::read_to_string(pids).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    for pid in pids.split_whitespace() {
        // A killed process that nobody has waited for yet is a zombie, not gone.
        let is_alive =
            || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while is_alive() {
            assert!(Instant::now() < deadline, "{pid} lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
