//! Deploy keys, with the real `ssh` and `sshd`.

use std::fs;
use std::time::Duration;

use homeport::clients::git::DeployKey;
use homeport::clients::git::Git;
use homeport::clients::git::GitError;
use homeport::config::settings::LfsFiles;
use homeport::model::CommitSha;
use homeport::model::Repository;
use secrecy::SecretString;
use serde_json::json;

use crate::git_board::Board;
use crate::git_server::GitServer;
use crate::git_server::Rules;
use crate::git_server::run;
use crate::lfs_server::basic;
use crate::ssh_server::SshServer;
use crate::ssh_server::expect_nowhere_below;
use crate::world::Options;
use crate::world::World;
use crate::world::app::App;
use crate::world::github::Fault;
use crate::world::repository::Change;

const TOKEN: &str = "github_pat_TheToken";

/// A board with a deploy key.
fn board_of(server: &GitServer, ssh: &SshServer, key: &str, host_key: &str) -> Board {
    Board::new(|here| {
        let known_hosts = here.join("known hosts, 100%");
        fs::write(&known_hosts, ssh.known_host(host_key)).unwrap();
        let key = DeployKey { url: ssh.url.clone(), key: SecretString::from(ssh.key(key)), known_hosts };
        let token = Some(SecretString::from(TOKEN));
        let git = Git::new(&here.join("state"), &server.url, token, Duration::from_secs(60));
        git.over_ssh(key).with_lfs(LfsFiles::Contents)
    })
}

/// A private repository with an LFS file and a submodule, which are behind the token, and `sshd` in front of it.
async fn servers() -> (GitServer, SshServer, CommitSha) {
    let server = GitServer::with_rules(Rules { token: Some(TOKEN), ..Rules::default() }).await;
    let ssh = SshServer::start(&server.root(), &server.url, &basic(TOKEN)).await;
    let lib = server.another("lib", "lib.txt");
    let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n";
    fs::write(server.work().join(".gitmodules"), modules).unwrap();
    fs::write(server.work().join(".gitattributes"), "*.bin filter=lfs -text\n").unwrap();
    fs::write(server.work().join("a.bin"), server.lfs.upload(b"contents of a")).unwrap();
    server.work_run(&["git", "update-index", "--add", "--cacheinfo", &format!("160000,{lib},lib")]);
    server.work_run(&["git", "add", ".gitmodules", ".gitattributes", "a.bin"]);
    server.work_run(&["git", "commit", "-q", "-m", "Begin [skip ci]\n\nWith a body."]);
    let sha = server.push();
    (server, ssh, sha)
}

#[tokio::test]
async fn a_deploy_key_opens_the_repository_and_is_in_no_file_argument_or_output() {
    let (server, ssh, sha) = servers().await;
    let board = board_of(&server, &ssh, "deploy", "host")
        .with_script("printf '%s\\n' \"$0 $*\" >> \"$HERE/seen\"; env >> \"$HERE/seen\"; exec git \"$@\"");
    board.checkout("me/hello", &sha).await.unwrap();
    assert_eq!(board.read("lib/lib.txt"), "lib.txt of lib\n");
    assert_eq!(board.read("a.bin"), "contents of a");
    let asked = ssh.take_asked();
    assert_eq!(asked[0], "git-upload-pack '/me/hello.git'");
    assert!(asked.iter().any(|line| line == "git-lfs-authenticate /me/hello.git download"), "{asked:?}");
    let over_http = server.take_requests();
    assert!(!over_http.iter().any(|line| line.contains("me/hello.git/info/refs")), "{over_http:?}");

    let repository: Repository = "me/hello".parse().unwrap();
    let head = board.git.head(&repository, &"main".parse().unwrap()).await.unwrap();
    assert_eq!(head.as_ref(), Some(&sha));
    assert_eq!(board.git.head(&repository, &"mai".parse().unwrap()).await.unwrap(), None);
    run(&server.bare(), &["git", "tag", "-a", "-m", "one", "v1", sha.as_str()]);
    run(&server.bare(), &["git", "tag", "v2", sha.as_str()]);
    let tags = board.git.tags(&repository).await.unwrap();
    assert_eq!(tags, [("v1".to_owned(), sha.clone()), ("v2".to_owned(), sha.clone())]);
    let commit = board.git.commit(&repository, &sha).await.unwrap();
    assert_eq!((commit.subject.as_str(), commit.author.as_str()), ("Begin [skip ci]", "Mona"));
    assert!(commit.skip.is_some());

    let line = ssh.key("deploy").lines().nth(1).unwrap().to_owned();
    assert!(!board.output().contains(&line));
    expect_nowhere_below(board.folder.path(), &line);
}

#[tokio::test]
async fn whatever_keeps_ssh_from_the_repository_is_told_with_the_way_out() {
    let (server, ssh, sha) = servers().await;
    let error_of = async |key, host_key| {
        let board = board_of(&server, &ssh, key, host_key);
        let error = board.checkout("me/hello", &sha).await.unwrap_err();
        assert!(!board.tree().exists() && ssh.take_asked().is_empty(), "{error}");
        error
    };
    let refused = error_of("stranger", "host").await;
    assert!(matches!(refused, GitError::KeyRefused { .. }), "{refused}");
    assert!(refused.to_string().contains("the repository's Settings, Deploy keys"), "{refused}");
    let changed = error_of("deploy", "other-host").await;
    assert!(matches!(changed, GitError::HostKey { has_changed: true, .. }), "{changed}");

    let board = board_of(&server, &ssh, "deploy", "host");
    let missing = board.checkout("me/other", &sha).await.unwrap_err();
    assert!(matches!(missing, GitError::NotFound { .. }), "{missing}");
    fs::write(board.folder.path().join("known hosts, 100%"), "").unwrap();
    let unknown = board.checkout("me/hello", &sha).await.unwrap_err();
    assert!(matches!(unknown, GitError::HostKey { has_changed: false, .. }), "{unknown}");
    assert!(unknown.to_string().contains("known hosts, 100%"), "{unknown}");

    // Everything that a git over SSH needs, but ssh.
    let needed = "mkdir -p \"$HERE/bin\"; for it in git sh; do ln -sf \"$(command -v $it)\" \"$HERE/bin/$it\"; done\n\
                  PATH=$HERE/bin exec git \"$@\"";
    let board = board_of(&server, &ssh, "deploy", "host").with_script(needed);
    let error = board.checkout("me/hello", &sha).await.unwrap_err();
    assert!(matches!(error, GitError::SshNotInstalled), "{error}");

    drop(ssh);
    let board = board.with_script("exec git \"$@\"");
    let away = board.checkout("me/hello", &sha).await.unwrap_err();
    assert!(matches!(away, GitError::Unreachable { .. }), "{away}");
    assert!(away.to_string().contains("Connection refused"), "{away}");
}

#[tokio::test]
async fn an_agent_without_a_token_polls_and_deploys_a_private_repository_with_its_deploy_key() {
    let world = World::start_with(Options { private_repository: true, ..Options::default() }).await;
    let root = world.repo.directory().parent().and_then(|owner| owner.parent()).unwrap();
    let ssh = SshServer::start(root, &"http://127.0.0.1:9".parse().unwrap(), "").await;
    world.github.name_host_keys(&[ssh.public_key("host")]);
    world.agent.write_secret("deploy-key", &ssh.key("deploy"));
    world.agent.set("/github/token", json!(null));
    world.agent.set("/github/ssh_url", ssh.url.as_str());
    world.agent.set("/projects/0/deploy_key", json!({"file": "deploy-key"}));
    world.agent.set("/projects/0/image/tag", json!({"scheme": "semver", "bump": "conventional"}));
    let sha = world.repo.commit_page("hello one").await;
    let checked = world.agent.command(&["check"]).await.expect_success();
    assert!(
        checked.stdout.contains(&format!("deploy key of {}: opens it", world.repo.name())),
        "{}",
        checked.stdout
    );

    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    let mail = world.expect_mail("0.1.0 deployed").await;
    assert!(mail.text.contains("Monalisa Octocat") && mail.text.contains(&sha[..7]), "{}", mail.text);

    let skipped = Change::all_of(&App::Page("hello skipped".to_owned()));
    world.repo.commit_changes("main", &skipped, "Say nothing [skip ci]").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;

    // The keys that GitHub named before are good while it does not answer.
    world.github.fault_on("/meta", Fault::Status(503));
    let message = "feat: say hello two";
    world.repo.commit(&[("app/index.html", "hello two\n")], message).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("0.2.0 deployed").await;
    let log = world.log_of(3).await;
    assert!(log.contains("without `github.token` it is not known what came since"), "{log}");
    let trigger = ["trigger", world.project(), "--commit"];
    let refused = world.agent.command(&[&trigger[..], &[&sha[..7]]].concat()).await.expect_failure();
    assert!(refused.stderr.contains("give all 40 digits"), "{}", refused.stderr);
    world.agent.command(&[&trigger[..], &[&sha, "--wait"]].concat()).await.expect_success();
    assert!(agent.terminate().await.success());

    // Who asks for the first time has none.
    let checked = world.agent.command(&["check"]).await.expect_failure();
    assert!(checked.stdout.contains("name a file of them as `github.known_hosts`"), "{}", checked.stdout);

    let asked: Vec<String> = world.github.requests().all().iter().map(ToString::to_string).collect();
    assert!(asked.iter().all(|request| request.contains("/meta")), "{asked:?}");
    let line = ssh.key("deploy").lines().nth(1).unwrap().to_owned();
    for folder in [world.agent.state_dir(), world.agent.log_dir()] {
        expect_nowhere_below(&folder, &line);
    }
    assert!(!world.agent.transcript().contains(&line));
    world.end().await;
}
