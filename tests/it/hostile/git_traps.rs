//! What a repository can do to the git that fetches it, and by the names in it to whatever handles them.

use crate::hostile::expect_no_trees;
use crate::hostile::hostile;
use crate::world::World;
use crate::world::app::App;
use crate::world::repository::Change;

/// Whoever runs this has done what the repository wanted.
fn touch(world: &World) -> String {
    format!("touch {}", mark(world).display())
}

fn mark(world: &World) -> std::path::PathBuf {
    world.folder().join("pwned")
}

fn write(path: &str, content: impl Into<String>) -> Change {
    Change::Write(path.to_owned(), content.into())
}

/// The app, with a Dockerfile that takes everything along.
fn app(text: &str) -> Vec<Change> {
    let files = App::Page(text.to_owned()).files().into_iter().map(|(path, content)| {
        let content = content.replacen("COPY app /app\n", "COPY app /app\nCOPY . /all\n", 1);
        Change::Write(path, content)
    });
    [Change::DeleteAll].into_iter().chain(files).collect()
}

/// Hooks, a configuration, submodules and names that do something in the hands of a careless git or shell.
fn traps(touch: &str) -> Vec<Change> {
    let mut traps = Vec::new();
    for hook in ["post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"] {
        for folder in ["hooks", ".githooks"] {
            traps.push(write(&format!("{folder}/{hook}"), format!("#!/bin/sh\n{touch}\n")));
        }
    }
    let evil = format!(
        "[core]\n\tfsmonitor = {touch}\n\tsshCommand = {touch}\n\thooksPath = .githooks\n\
         [filter \"evil\"]\n\tsmudge = {touch}\n\tprocess = {touch}\n"
    );
    traps.push(write("evil.config", evil));
    traps.push(write(".gitconfig", "[include]\n\tpath = evil.config\n"));
    traps.push(write(".gitattributes", "* filter=evil\n"));
    let escaped = touch.replace(' ', "% ");
    let modules = format!(
        "[submodule \"a\"]\n\tpath = a\n\turl = ext::sh -c {escaped}\n\
         [submodule \"b\"]\n\tpath = b\n\turl = file:///etc\n\tupdate = checkout\n"
    );
    traps.push(write(".gitmodules", modules));
    let some_commit = "6dcb09b5b57875f334f61aebed695e2e4193db5e";
    traps.extend(["a", "b"].map(|path| Change::Submodule(path.to_owned(), some_commit.to_owned())));
    let names =
        ["--help", "-rf", "--upload-pack=sh", "--config=x", "-", "; reboot", "$(reboot)", "a\rb", "*"];
    traps.extend(names.map(|name| write(name, "a name\n")));
    traps
}

#[tokio::test]
async fn traps_for_git_and_links_out_of_the_tree_are_files_like_any_other() {
    let (world, canaries) = hostile().await;
    let mut changes = app("hello harmless");
    changes.extend(traps(&touch(&world)));
    let secret = world.agent.config_file().with_file_name("github-token");
    let secret = secret.to_str().unwrap();
    let links = [("to-secret", secret), ("to-root", "/"), ("sub/self", "../sub"), ("no", "where")];
    changes.extend(links.map(|(path, to)| Change::Symlink(path.to_owned(), to.to_owned())));
    let test = "#!/bin/sh\nset -e\ntest -L to-secret; test ! -e to-secret; test -L to-root\n\
                test -f ./-rf; test -x hooks/post-checkout; test -z \"$(ls a b | grep -v :)\"\necho all there\n";
    changes.push(write("test.sh", test));
    let sha = world.repo.commit_changes("main", &changes, "--exec=reboot $(reboot) `reboot`").await;
    for name in ["--upload-pack=sh", "-d", "--"] {
        world.repo.branch(name, &sha).await;
        world.repo.tag(name, &sha).await;
    }

    world.agent.once().await.expect_success();

    world.expect_serving("hello harmless").await;
    assert!(world.log_of(1).await.contains("| all there"));
    assert!(!mark(&world).exists(), "something that the repository brought along was run");
    world.expect_mail("1 deployed").await;
    canaries.expect_nowhere(&world).await;
    expect_no_trees(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_link_that_climbs_out_of_the_tree_is_the_commits_own_fault_and_harmless_to_a_build() {
    let (world, canaries) = hostile().await;
    let mut changes = app("hello climber");
    let links =
        [("up", "../../../../../etc"), ("app/up", "../../.."), ("to-socket", "../var/run/docker.sock")];
    changes.extend(links.map(|(path, to)| Change::Symlink(path.to_owned(), to.to_owned())));
    world.repo.commit_changes("main", &changes, "Climb out").await;

    world.agent.once().await.expect_code(1);
    world.expect_runs(&["1 ci failed at test"]).await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("no link that leads out of the repository"), "{}", mail.text);
    // It was judged: nothing is tried again.
    world.agent.once().await.expect_success();
    world.expect_runs(&["1 ci failed at test"]).await;

    world.agent.set("/projects/0/test", "none");
    changes.push(write("README.md", "Untested.\n"));
    world.repo.commit_changes("main", &changes, "Climb out untested").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello climber").await;
    world.expect_mail("1 deployed").await;
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn submodules_that_are_options_of_git_fail_the_checkout() {
    let (world, canaries) = hostile().await;
    let touch = touch(&world);
    let sins = [
        format!("path = a\n\turl = --upload-pack={touch}"),
        "path = --upload-pack=sh\n\turl = https://example.org/a".to_owned(),
        format!("path = a\n\turl = https://example.org/a\n\tupdate = !{touch}"),
    ];
    for sin in &sins {
        let mut changes = app("hello evil");
        changes.push(write(".gitmodules", format!("[submodule \"a\"]\n\t{sin}\n")));
        world.repo.commit_changes("main", &changes, "Add a submodule").await;
        world.agent.once().await.expect_code(1);
        let run = world.runs().await.pop().unwrap();
        assert_eq!(run.failed_stage.as_deref(), Some("checkout"), "{sin}: {run:?}");
        let reason = run.reason.unwrap_or_default();
        assert!(reason.contains("gitmodules"), "{sin}: {reason}");
    }
    // It was judged: nothing is tried again.
    world.agent.once().await.expect_success();
    assert!(!mark(&world).exists(), "something that the repository brought along was run");
    world.expect_nothing_deployed().await;
    world.expect_mail("checkout failed").await;
    world.mail.mark_all_read();
    canaries.expect_nowhere(&world).await;
    expect_no_trees(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_commit_of_which_github_says_more_than_is_read_is_run_all_the_same() {
    let (world, canaries) = hostile().await;
    let message = format!("Say much\n\n{}", "and more of it\n".repeat(400_000));
    world.repo.commit_changes("main", &app("hello talker"), &message).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello talker").await;
    world.expect_mail("1 deployed").await;
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_branch_that_is_an_option_is_refused() {
    let world = World::start().await;
    let sha = world.repo.commit_page("hello option").await;
    for branch in ["--upload-pack=sh", "-b"] {
        world.repo.branch(branch, &sha).await;
        world.agent.set("/projects/0/branch", branch);
        let checked = world.agent.command(&["check"]).await.expect_failure();
        assert!(checked.stderr.contains("is not a branch name that git accepts"), "{}", checked.stderr);
    }
    world.agent.set("/projects/0/branch", "main");
    world.end().await;
}
