//! Submodules, from real repositories behind git's own HTTP server.

use std::time::Duration;

use homeport::clients::git::Git;
use homeport::model::Blame;
use homeport::model::CommitSha;
use secrecy::SecretString;
use tempfile::TempDir;

use crate::git_board::Board;
use crate::git_server::GitServer;
use crate::git_server::Rules;

fn board_of(server: &GitServer, token: Option<&str>) -> Board {
    let token = token.map(|token| SecretString::from(token.to_owned()));
    Board::new(|here| Git::new(&here.join("state"), &server.url, token, Duration::from_secs(60)))
}

/// Commits submodules, each a path, an address and a commit.
fn with_submodules(server: &GitServer, modules: &[(&str, &str, &CommitSha)]) -> CommitSha {
    let text = |(path, url, _): &(&str, &str, &CommitSha)| {
        format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = \"{url}\"\n")
    };
    std::fs::write(server.work().join(".gitmodules"), modules.iter().map(text).collect::<String>()).unwrap();
    for (path, _, sha) in modules {
        let entry = format!("160000,{sha},{path}");
        server.work_run(&["git", "update-index", "--add", "--cacheinfo", &entry]);
    }
    server.work_run(&["git", "add", ".gitmodules"]);
    server.work_run(&["git", "commit", "-q", "-m", "Name submodules"]);
    server.push()
}

#[tokio::test]
async fn submodules_are_laid_out_at_the_commits_that_the_tree_names() {
    let server = GitServer::start().await;
    let (lib, tool) = (server.another("lib", "lib.txt"), server.another("tool", "tool.txt"));
    let full = server.url.join("me/tool.git").unwrap();
    let sha = with_submodules(&server, &[("libs/lib", "../lib.git", &lib), ("tool", full.as_str(), &tool)]);
    let board = board_of(&server, None);
    assert_eq!(board.checkout("me/hello", &sha).await.unwrap(), 2);
    assert_eq!(board.read("libs/lib/lib.txt"), "lib.txt of lib\n");
    assert_eq!(board.read("tool/tool.txt"), "tool.txt of tool\n");
    assert!(!board.tree().join("tool/.git").exists());

    server.take_requests();
    assert_eq!(board.checkout("me/hello", &sha).await.unwrap(), 2, "once more, from the mirror");
    assert_eq!(board.read("libs/lib/lib.txt"), "lib.txt of lib\n");
    assert_eq!(server.take_requests(), Vec::<String>::new());
}

#[tokio::test]
async fn an_old_server_is_asked_for_the_branches_of_a_submodule() {
    let server = GitServer::with_rules(Rules { only_tips: true, ..Rules::default() }).await;
    let lib = server.another("lib", "lib.txt");
    let sha = with_submodules(&server, &[("lib", "../lib.git", &lib)]);
    let board = board_of(&server, None);
    assert_eq!(board.checkout("me/hello", &sha).await.unwrap(), 1);
    assert_eq!(board.read("lib/lib.txt"), "lib.txt of lib\n");
}

#[tokio::test]
async fn private_submodules_on_the_same_server_open_to_the_token_which_is_seen_nowhere() {
    let token = "github_pat_TheToken";
    let server = GitServer::with_rules(Rules { token: Some(token), ..Rules::default() }).await;
    let lib = server.another("lib", "lib.txt");
    let sha = with_submodules(&server, &[("lib", "git@127.0.0.1:me/lib.git", &lib)]);
    let board = board_of(&server, Some(token));
    assert_eq!(board.checkout("me/hello", &sha).await.unwrap(), 1);
    assert_eq!(board.read("lib/lib.txt"), "lib.txt of lib\n");
    assert!(!board.output().contains(token));
    let found =
        std::process::Command::new("grep").args(["-r", token]).arg(board.folder.path()).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
}

#[tokio::test]
async fn a_commit_that_the_submodule_does_not_have_is_the_fault_of_who_named_it() {
    let server = GitServer::start().await;
    server.another("lib", "lib.txt");
    let nobody: CommitSha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    let sha = with_submodules(&server, &[("lib", "../lib.git", &nobody)]);
    let error = board_of(&server, None).checkout("me/hello", &sha).await.unwrap_err();
    assert_eq!(error.blame(), Blame::Commit);
    let said = error.to_string();
    assert!(said.starts_with("the submodule `lib` is to be at commit 0123456, which http"), "{said}");
    assert!(said.ends_with("does not have: push it there"), "{said}");
}

#[tokio::test]
async fn a_submodule_that_is_not_there_is_named_with_its_path() {
    let server = GitServer::start().await;
    let lib: CommitSha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    let sha = with_submodules(&server, &[("libs/lib", "../gone.git", &lib)]);
    let error = anyhow::Error::from(board_of(&server, None).checkout("me/hello", &sha).await.unwrap_err());
    let said = format!("{error:#}");
    assert!(
        said.starts_with("the submodule `libs/lib` cannot be laid out: the git server has no `me/gone`"),
        "{said}"
    );
}

#[tokio::test]
async fn no_address_of_a_submodule_makes_git_run_or_read_anything_of_this_machine() {
    let server = GitServer::start().await;
    let lib = server.another("lib", "lib.txt");
    let folder = TempDir::new().unwrap();
    let mark = folder.path().join("mark");
    let touch = format!("touch {}", mark.display());
    let own = format!("file://{}", server.bare().display());
    for url in [format!("ext::sh -c \\\"{touch}\\\""), own, server.bare().display().to_string()] {
        let sha = with_submodules(&server, &[("lib", &url, &lib)]);
        let board = board_of(&server, None);
        let error = board.checkout("me/hello", &sha).await.unwrap_err();
        assert_eq!(error.blame(), Blame::Commit, "{url}: {error}");
        assert!(!board.tree().join("lib/lib.txt").exists() && !mark.exists(), "{url}");
    }
}
