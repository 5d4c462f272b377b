//! LFS files, through the real `git-lfs`, from a real repository and an LFS server of a few lines.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use homeport::clients::git::Git;
use homeport::clients::git::GitError;
use homeport::config::settings::LfsFiles;
use homeport::model::Blame;
use homeport::model::Followed;
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

use crate::docker_bed::eventually;
use crate::git_board::Board;
use crate::git_server::GitServer;
use crate::git_server::Rules;
use crate::git_server::run;
use crate::lfs_server::Trouble;
use crate::lfs_server::basic;
use crate::stub_server::StubServer;
use crate::stub_server::answer;
use crate::world::World;
use crate::world::app::App;
use crate::world::repository::Change;

const TOKEN: &str = "github_pat_TheToken";
const LIMIT: Duration = Duration::from_secs(60);
const MARK: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\n";

/// A board that fetches LFS files.
fn board_of(server: &GitServer, limit: Duration) -> Board {
    let token = Some(SecretString::from(TOKEN));
    Board::new(|here| Git::new(&here.join("state"), &server.url, token, limit).with_lfs(LfsFiles::Contents))
}

/// The contents that are kept for the next run.
fn kept(board: &Board) -> Vec<PathBuf> {
    let here = board.folder.path();
    let found = run(here, &["find", "state/mirrors/hello.git/homeport.lfs", "-type", "f"]);
    found.lines().map(|path| here.join(path)).collect()
}

/// What is asked of the LFS server.
fn lfs_requests(server: &GitServer) -> Vec<String> {
    server.take_requests().into_iter().filter(|line| line.contains("lfs")).collect()
}

async fn private_server() -> GitServer {
    let server = GitServer::with_rules(Rules { token: Some(TOKEN), ..Rules::default() }).await;
    fs::write(server.work().join(".gitattributes"), MARK).unwrap();
    server
}

#[tokio::test]
async fn contents_take_the_place_of_pointers_are_kept_for_the_next_run_and_go_with_their_files() {
    let server = private_server().await;
    fs::write(server.work().join("plain.bin"), "no pointer\n").unwrap();
    fs::write(server.work().join("unmarked.txt"), server.lfs.upload(b"of no file that is marked")).unwrap();
    let one = server.commit("img/one.bin", &server.lfs.upload(b"contents of one"));
    let board = board_of(&server, LIMIT);
    board.checkout("me/hello", &one).await.unwrap();
    assert_eq!(board.read("img/one.bin"), "contents of one");
    assert_eq!(board.read("plain.bin"), "no pointer\n");
    assert!(board.read("unmarked.txt").starts_with("version https://git-lfs"));
    let asked = lfs_requests(&server);
    assert!(asked[0].starts_with("POST /me/hello.git/info/lfs/objects/batch"), "{asked:?}");

    board.checkout("me/hello", &one).await.unwrap();
    assert_eq!(lfs_requests(&server), [""; 0], "once more, from the mirror");

    for path in kept(&board) {
        run(board.folder.path(), &["chmod", "+w", path.to_str().unwrap()]);
        let rotten: Vec<u8> = fs::read(&path).unwrap().iter().map(|byte| byte ^ 1).collect();
        fs::write(&path, rotten).unwrap();
    }
    board.checkout("me/hello", &one).await.unwrap();
    assert_eq!(board.read("img/one.bin"), "contents of one", "what rots in the mirror is fetched again");

    server.work_run(&["git", "rm", "-q", "img/one.bin", "unmarked.txt"]);
    let two = server.commit("two.bin", &server.lfs.upload(b"contents of two"));
    board.checkout("me/hello", &two).await.unwrap();
    assert_eq!(board.read("two.bin"), "contents of two");
    let kept: Vec<String> = kept(&board).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(kept, ["contents of two"]);
    assert_eq!(run(board.folder.path(), &["find", "tree", "-name", "one.bin"]), "");

    let pointers = Git::new(&board.folder.path().join("state"), &server.url, None, LIMIT);
    let (project, repository) = ("hello".parse().unwrap(), "me/hello".parse().unwrap());
    let branch = Followed::Branch("main".parse().unwrap());
    pointers.checkout(&project, &repository, &branch, &two, &board.tree(), &|_| {}).await.unwrap();
    assert!(board.read("two.bin").starts_with("version https://git-lfs"), "without the option");
    assert!(!board.folder.path().join("state/mirrors/hello.git/homeport.lfs").exists());
}

#[tokio::test]
async fn submodules_get_their_contents_too() {
    let server = private_server().await;
    let lib =
        server.another_with("lib", &[(".gitattributes", MARK), ("a.bin", &server.lfs.upload(b"of lib"))]);
    let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n";
    fs::write(server.work().join(".gitmodules"), modules).unwrap();
    server.work_run(&["git", "update-index", "--add", "--cacheinfo", &format!("160000,{lib},lib")]);
    server.work_run(&["git", "add", ".gitmodules", ".gitattributes"]);
    server.work_run(&["git", "commit", "-q", "-m", "Name a submodule"]);
    let sha = server.push();
    let board = board_of(&server, LIMIT);
    board.checkout("me/hello", &sha).await.unwrap();
    assert_eq!(board.read("lib/a.bin"), "of lib");
    server.lfs.trouble(Trouble::Empty);
    board.checkout("me/hello", &sha).await.unwrap();
}

#[tokio::test]
async fn nothing_of_a_repository_redirects_the_download_or_runs_a_program() {
    let server = private_server().await;
    let (evil, folder) = (StubServer::start(|_, _| answer(200, &[], "{}")).await, TempDir::new().unwrap());
    let touch = format!("touch {}/mark", folder.path().display());
    let config = format!(
        "[lfs]\n\turl = {0}\n\tpushurl = {0}\n\tfetchexclude = *\n\tskipdownloaderrors = true\n\
         \tstandalonetransferagent = x\n\tstorage = {1}/storage\n\
         [lfs \"customtransfer.x\"]\n\tpath = sh\n\targs = -c \"{touch}\"\n\
         [lfs \"extension.x\"]\n\tsmudge = {touch}\n\tclean = {touch}\n\tpriority = 0\n\
         [remote \"origin\"]\n\tlfsurl = {0}\n\turl = {0}\n[filter \"x\"]\n\tsmudge = {touch}\n\tprocess = {touch}\n",
        evil.url,
        folder.path().display()
    );
    fs::write(server.work().join(".lfsconfig"), config).unwrap();
    fs::write(server.work().join(".gitattributes"), format!("{MARK}*.x filter=x\n")).unwrap();
    fs::write(server.work().join("a.x"), "as it is\n").unwrap();
    let sha = server.commit("a.bin", &server.lfs.upload(b"contents"));
    // Contents may lie elsewhere; whoever has them wants a login there, and gets none.
    let elsewhere = StubServer::start(|_, _| {
        answer(401, &[("www-authenticate", "Basic realm=\"GitHub\"")], "who are you?")
    })
    .await;
    server.lfs.trouble(Trouble::Elsewhere(elsewhere.url.clone()));
    let board = board_of(&server, LIMIT);
    board.checkout("me/hello", &sha).await.unwrap_err();
    assert!(!elsewhere.requests().is_empty());
    assert!(elsewhere.requests().iter().all(|seen| seen.header("authorization").is_empty()));

    server.lfs.trouble(Trouble::None);
    board.checkout("me/hello", &sha).await.unwrap();
    assert_eq!(board.read("a.bin"), "contents");
    assert_eq!(board.read("a.x"), "as it is\n");
    assert_eq!(evil.lines(), [""; 0]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was written elsewhere");
    for secret in [TOKEN, &basic(TOKEN)] {
        assert!(!board.output().contains(secret));
        let found = std::process::Command::new("grep").args(["-r", secret]).arg(board.folder.path()).output();
        assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
    }
}

#[tokio::test]
async fn each_trouble_with_contents_is_told_apart_and_leaves_no_tree() {
    let server = private_server().await;
    let sha = server.commit("a.bin", &server.lfs.upload(b"contents"));
    let board = board_of(&server, LIMIT);
    for (trouble, blame, words) in [
        (Trouble::Empty, Blame::Commit, "upload them with `git lfs push --all origin`"),
        (Trouble::WrongBytes, Blame::World, "expected OID"),
        (Trouble::Quota, Blame::World, "over its data quota"),
    ] {
        server.lfs.trouble(trouble.clone());
        let error = board.checkout("me/hello", &sha).await.unwrap_err();
        assert_eq!(error.blame(), blame, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!board.tree().exists() && !board.output().contains("making a new one"), "{trouble:?}");
    }
    server.lfs.trouble(Trouble::None);
    board.checkout("me/hello", &sha).await.unwrap();
    assert_eq!(board.read("a.bin"), "contents");

    let without = "mkdir -p \"$HERE/bin\"; ln -sf \"$(command -v git)\" \"$HERE/bin/git\"; PATH=$HERE/bin exec git \"$@\"";
    let board = board.with_script(without);
    let error = board.checkout("me/hello", &sha).await.unwrap_err();
    assert!(matches!(error, GitError::LfsNotInstalled), "{error}");
    assert!(error.to_string().contains("`sudo apt install git-lfs`"), "{error}");
}

#[tokio::test]
async fn git_lfs_ends_with_the_time_that_a_checkout_may_take() {
    let server = private_server().await;
    let sha = server.commit("a.bin", &server.lfs.upload(b"contents"));
    server.lfs.trouble(Trouble::Silence);
    let board = board_of(&server, Duration::from_secs(2));
    let storage = board.folder.path().join("state");
    let seen = eventually("git-lfs is there", async || is_anyone_told(&storage));
    let (ended, ()) = tokio::join!(board.checkout("me/hello", &sha), seen);
    let error = ended.unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error}");
    eventually("git-lfs is gone", async || !is_anyone_told(&storage)).await;
}

/// Whether a process of git-lfs was told of this folder.
fn is_anyone_told(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let mut told = processes.map(|process| read(process.path().join("environ")));
    let folder = folder.to_str().unwrap();
    told.any(|environment| environment.contains("GIT_CONFIG_PARAMETERS") && environment.contains(folder))
}

#[tokio::test]
async fn an_agent_says_that_files_stay_pointers_and_fetches_them_when_told() {
    let world = World::start().await;
    let server = GitServer::start().await;
    server.serve_also("acme", world.repo.directory().parent().unwrap());
    world.agent.set("/github/clone_url", server.url.as_str());
    world.agent.set(
        "/projects/0/test",
        json!({"in": "host", "commands": ["cat a.bin", "grep -q 'contents of' a.bin"]}),
    );
    let mut changes = Change::all_of(&App::Page("hello one".to_owned()));
    changes.push(Change::Write(".gitattributes".to_owned(), MARK.to_owned()));
    changes.push(Change::Write("a.bin".to_owned(), server.lfs.upload(b"contents of a\n")));
    world.repo.commit_changes("main", &changes, "Keep a file in LFS").await;

    world.agent.once().await.expect_code(1);
    world.expect_mail("tests failed").await;
    let log = world.log_of(1).await;
    assert!(log.contains("kept in Git LFS and stay pointers here"), "{log}");

    world.agent.set("/projects/0/lfs", true);
    world.repo.commit_page("hello two").await;
    world.repo.commit_changes("main", &changes, "Keep a file in LFS again").await;
    world.agent.once().await.expect_success();
    let log = world.log_of(2).await;
    assert!(log.contains("| contents of a") && !log.contains("stay pointers"), "{log}");
    world.expect_mail("1 deployed").await;
    world.end().await;
}
